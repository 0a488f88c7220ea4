/*
 * mutant.h - rules of the protocol that a test build can leave out, one at a time.
 *
 * A simulator that finds nothing proves nothing, unless it finds what was broken on purpose.  So each
 * rule that the promises hang on has a mark where it is kept, and tests/sim/ is built with
 * SECKILL_MUTANTS, where one name (mutant_chosen) takes that rule away.  In every other build a mark
 * is `false` and a bound is the real one: nothing of this is in what runs.
 */
#ifndef COMMON_MUTANT_H
#define COMMON_MUTANT_H

#include <stdbool.h>

#ifdef SECKILL_MUTANTS

/* X(name, the rule that is left out) */
#define MUTANTS(X)                                                                                 \
    /* the rules: common/fold.c */                                                                 \
    X(FORGET_DECIDED, "decided orders are remembered")                                             \
    X(FORGET_HELD, "... those with a hold, too")                                                   \
    X(FORGET_ENDED, "... and when they are paid, cancelled or expired")                            \
    X(RESULT_SETS_STATE, "an answer to a command never sets an order's state")                     \
    X(LATE_PAYMENT_UNCHECKED, "a late payment is checked against limit and sale state")            \
    X(PAYMENT_ANSWERED_TWICE, "a payment id gets one answer ever, also refund_due")                \
    X(PAYMENT_UNANSWERED, "a payment that finds no order is refund_due")                           \
    X(LAPSED_HOLD_LIVES, "a hold past its due time is none for pay and cancel")                    \
    X(OPERATION_REPEATED, "operation ids are remembered")                                          \
    X(ARCHIVED_TOO_EARLY, "only what holds nothing is archived")                                   \
    X(ARCHIVED_DECIDED, "an order of what is archived is refused, and not decided")                \
    /* the script: tests/sim/redis.c */                                                            \
    X(APPLY_ANYWHERE, "apply compares the position")                                               \
    X(BOUND_PER_BATCH, "the bound of expiries counts per command, not per batch")                  \
    /* the matcher: matcher/part.c */                                                              \
    X(KEEP_ACKED, "after a mismatch the matcher forgets its acked, as on assignment")              \
    X(KEEP_QUEUE, "... and its queue")                                                             \
    X(NO_SEEK_BACK, "... seeks the log back to what it needs")                                     \
    X(STALE_TAKEN, "... drops what comes before the record that it wants")                         \
    X(REPUBLISH_LEFT_OUT, "... and tells the outbox again, from its oldest entry on")              \
    X(ACK_ANY, "acked is contiguous")                                                              \
    X(LATE_ACK_TAKEN, "... and what is acknowledged of before a restart counts for nothing")       \
    X(ACK_WHEN_SENT, "acked means acknowledged, not handed over")                                  \
    X(IDLE_SILENT, "an idle matcher applies an empty batch (notices a Redis that went back)")      \
    X(IDLE_NO_TRIM, "an idle apply trims the outbox")                                              \
    X(OUTBOX_UNCOMPARED, "an outbox entry that is not ours means start as on assignment")          \
    X(RESEND_ONE, "after a failed produce all from it on is sent again (go-back-N)")               \
    X(EFFECTLESS_UNTOLD, "one outcome per command, also without effect")                           \
    X(PUBLISH_BEFORE_APPLY, "an outcome is told only after its command was applied")               \
    X(LAST_UNCOMPARED, "overlap by one: the last applied record is read again and compared")       \
    X(CHAIN_UNCOMPARED, "what the outbox covers is read again and its chain compared")             \
    X(RECHECK_IGNORED, "after a new connection the log is compared before more is applied")        \
    X(RULES_OUTRUN, "a matcher that lacks the rules halts")                                        \
    /* the guardian: guardian/follow.c, commit.c, ledger*.c */                                     \
    X(APPLY_LATER, "an outcome is applied only if its prev is the position")                       \
    X(POSITION_IN_COMMAND, "a position is never a place inside a command")                         \
    X(RULES_UNREAD, "a guardian that lacks the rules halts")                                       \
    X(PROGRESS_UNCOMPARED, "the progress row is compared in the transaction")                      \
    X(POSITION_BEFORE_ROWS, "rows and position are one transaction (commit before rows)")          \
    X(LINK_UNCHECKED, "an outcome's chain is that of the one before it and its record's hash")     \
    X(OVERLAP_UNCHECKED, "reading starts at the last outcome applied and checks it")               \
    X(LOSS_UNNOTICED, "an outcome lost for certain is noticed")                                    \
    X(LOSS_GUESSED, "lost for certain: the topic is read to an end looked up afterwards")          \
    X(LOSS_WATERMARK, "... Redis is past it")                                                      \
    X(LOSS_OUTBOX, "... and its outbox no longer holds it")                                        \
    X(REJECTED_UNRECORDED, "MySQL keeps rejected orders too")                                      \
    X(LOG_TIME_UNRECORDED, "log time is in the progress row")                                      \
    /* rebuild: lua/rebuild_*.lua, played by tests/sim/redis.c; guardian/mend.c */                 \
    X(REBUILD_UNFENCED, "a rebuild is fenced by a token")                                          \
    X(MEND_ONCE, "a cause counts when it was seen twice, a second apart")                          \
    X(MEND_KEYS_LEFT, "keys without a watermark are rebuilt")                                      \
    X(MEND_HEAD_LEFT, "... and a Redis that lacks what the log no longer has")                     \
    X(MEND_OUTBOX_LEFT, "... or whose outbox is from before that")                                 \
    X(MEND_UNRESUMED, "a rebuild that stands still is done again")                                 \
    X(MEND_IMPATIENT, "... but not before it has stood still for long")                            \
    X(MEND_UNWATCHED, "... and one that goes on does not stand still")                             \
    /* the door: producer/, common/ids.c */                                                        \
    X(GATE_BEFORE_LOOKUP, "a keyed order is looked up before a gate refuses it")                   \
    X(UNANSWERED_TO_GATE, "no answer to a look-up is a 503, never the gate's refusal")             \
    X(BEHIND_TO_GATE, "nothing found in a Redis that is behind is no reason to refuse")            \
    X(START_UNTOLD, "what the log had when a door began counts as told")                           \
    X(GATE_STAYS_SHUT, "the gate opens with the outcome that brings units back")                   \
    X(GATE_OLDER_NEWS, "older news of an item never replaces newer")                               \
    X(CONTENT_UNCOMPARED, "a key with other content is refused")                                   \
    X(UNKNOWN_AS_FAILED, "a timed-out send is unknown, never failed")                              \
    X(ACCEPTED_UNACKED, "202 only when Kafka has acknowledged")                                    \
    X(KEY_NOT_IN_ID, "an order id is made from its key")                                           \
    X(USER_NOT_IN_ID, "... and from its user")                                                     \
    X(RECORD_UNASKED, "what Redis does not know, or no longer, is asked of MySQL")                 \
    X(STRANGER_TOLD, "a decision is told to its order's user only")                                \
    X(OLDER_TOLD, "outcomes older than what was told before tell nothing")                         \
    X(OUTDATED_TOLD, "an order open in an older state is not told as one that is open now")        \
    X(PASSING_TOLD, "a state within a record is none")

#define MUTANT_ENUM(name, rule) MUTANT_##name,
enum mutant { MUTANT_NONE, MUTANTS(MUTANT_ENUM) MUTANT_COUNT };

extern enum mutant mutant_chosen;
extern enum mutant mutant_also; /* a rule that would hide the other's loss */

#define MUTANT(name)            (mutant_chosen == MUTANT_##name || mutant_also == MUTANT_##name)
#define TEST_BOUND(real, small) (small)

#else

#define MUTANT(name)            false
#define TEST_BOUND(real, small) (real)

#endif

#endif /* COMMON_MUTANT_H */
