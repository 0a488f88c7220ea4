/*
 * cover.h - what schedules have come to, counted: a generator that never makes something happen
 * proves nothing about it.
 */
#ifndef TESTS_SIM_COVER_H
#define TESTS_SIM_COVER_H

#include <stdint.h>

/* X(name, text) */
#define COVERS(X)                                                                                  \
    X(RECORD, "log: a record is appended")                                                         \
    X(MALFORMED, "log: ... a malformed one")                                                       \
    X(SWITCH_RULES, "log: ... other rules of this build")                                          \
    X(SET_RULES, "log: ... rules that this build has not")                                         \
    X(CUT, "log: cut back and grown again")                                                        \
    X(RECREATED, "log: made anew under the same name")                                             \
    X(TRIMMED, "log: its head is deleted, and that of the outcomes")                               \
    X(RESTORE, "log: ... with the outcomes, and Redis")                                            \
    X(SKEW, "log: the broker's clock steps")                                                       \
    X(LEAP, "log: ... by minutes")                                                                 \
    X(CLOCKS_OFF, "processes: their clocks differ by seconds")                                     \
    X(RESERVED, "outcome: reserved")                                                               \
    X(REJECTED, "outcome: rejected")                                                               \
    X(PAID, "outcome: paid")                                                                       \
    X(PAID_LATE, "outcome: paid late")                                                             \
    X(CANCELLED, "outcome: cancelled")                                                             \
    X(EXPIRED, "outcome: expired")                                                                 \
    X(BACKLOG, "outcome: more due than one command expires")                                       \
    X(REFUND, "outcome: refund_due")                                                               \
    X(DUPLICATE, "outcome: duplicate")                                                             \
    X(REFUSED, "outcome: refused")                                                                 \
    X(ARCHIVED, "outcome: archived")                                                               \
    X(ARCHIVED_AGAIN, "outcome: ... what was archived before")                                     \
    X(ARCHIVED_ORDERS, "outcome: ... and orders of it are forgotten")                              \
    X(ARCHIVE_REFUSED, "outcome: an archive is refused")                                           \
    X(ARCHIVE_UNKNOWN, "outcome: ... by rules that know of none")                                  \
    X(ARCHIVED_ORDER, "outcome: refused, an order of what is archived")                            \
    X(FORGOTTEN_AGAIN, "outcome: ... which was decided, and is forgotten")                         \
    X(DECIDED_ANEW, "outcome: decided anew, because an archive has made room")                     \
    X(EFFECTLESS, "outcome: without an event")                                                     \
    X(APPLY, "script: a batch is applied")                                                         \
    X(APPLY_EMPTY, "script: an empty one is")                                                      \
    X(TRIM, "script: the outbox is trimmed")                                                       \
    X(MISMATCH, "script: answers its own position")                                                \
    X(ABSENT, "script: there is no state")                                                         \
    X(FULL_OUTBOX, "script: the outbox is full")                                                   \
    X(FULL_REMEMBERED, "script: the memory is full")                                               \
    X(CALL_LATE, "script: runs when nobody waits any more")                                        \
    X(REPLY_LOST, "script: its reply is lost")                                                     \
    X(CALL_REFUSED, "script: refused without effect")                                              \
    X(FAILOVER, "Redis: falls back to an older state")                                             \
    X(SAME_WATERMARK, "Redis: ... to the same watermark with an older outbox")                     \
    X(FLUSH, "Redis: forgets everything")                                                          \
    X(SPLIT, "Redis: two masters at once")                                                         \
    X(SPLIT_APPLY, "Redis: ... of which the old one applies a batch")                              \
    X(SPLIT_END, "Redis: ... until the old one gives up")                                          \
    X(SLOT_MOVED, "Redis: the slot moves, with its keys")                                          \
    X(SLOT_LOST, "Redis: ... without them")                                                        \
    X(SLOT_TORN, "Redis: ... with some of them, but not its log")                                  \
    X(SLOT_BACK, "Redis: ... and gets back what was left behind")                                  \
    X(CALL_ASTRAY, "script: refused, because the slot is on its way")                              \
    X(LINK_DOWN, "Redis: a link is cut")                                                           \
    X(CRASH, "matcher: killed")                                                                    \
    X(STOP, "matcher: stopped, and goes on later")                                                 \
    X(REGROUP, "matcher: loses and regains its partitions")                                        \
    X(ZOMBIE, "matcher: applies although another owns the partition, too")                         \
    X(RECHECK, "matcher: compares after a new connection")                                         \
    X(REREAD, "matcher: fetches again")                                                            \
    X(SKIPPED, "matcher: the consumer skips or repeats")                                           \
    X(SEEK_LOST, "matcher: a seek gets lost")                                                      \
    X(QUEUE_FULL, "matcher: the producer takes nothing")                                           \
    X(TICK, "matcher: a tick")                                                                     \
    X(DEAD, "matcher: a dead letter")                                                              \
    X(PRODUCE_FAILED, "producer: a message is lost")                                               \
    X(ACK_LOST, "producer: a message lands, and its report is lost")                               \
    X(TWICE, "outcomes: a record stands there twice")                                              \
    X(OUT_OF_ORDER, "outcomes: a record comes after later ones")                                   \
    X(PHASE_READING, "matcher: is reading the position")                                           \
    X(PHASE_CATCHING, "matcher: is catching up")                                                   \
    X(PHASE_STEADY, "matcher: is steady")                                                          \
    X(STEADY_READING, "matcher: from steady to reading")                                           \
    X(STEADY_CATCHING, "matcher: from steady to catching up")                                      \
    X(CATCHING_READING, "matcher: from catching up to reading")                                    \
    X(WAIT_HEAD, "matcher: waits, for what it must read is deleted")                               \
    X(FRESH, "matcher: folds the log from its genesis")                                            \
    X(HALT_RULES, "halt: rules")                                                                   \
    X(HALT_CHAIN, "halt: chain")                                                                   \
    X(HALT_SHORT, "halt: log_too_short")                                                           \
    X(HALT_CLOCK, "halt: clock")                                                                   \
    X(COMMIT, "MySQL: a transaction")                                                              \
    X(COMMIT_LOST, "MySQL: the reply of COMMIT is lost")                                           \
    X(COMMIT_RETRY, "MySQL: a transaction has to be done again")                                   \
    X(MYSQL_FAILOVER, "MySQL: falls back to an older copy")                                        \
    X(MOVED, "guardian: finds MySQL elsewhere")                                                    \
    X(MARK, "guardian: compares a mark")                                                           \
    X(LATER, "guardian: reads a record that is too late")                                          \
    X(GUARDIAN_CRASH, "guardian: killed")                                                          \
    X(GUARDIAN_STOP, "guardian: stopped, and goes on later")                                       \
    X(GUARDIAN_HALT, "guardian: halts")                                                            \
    X(PROBE, "guardian: asks whether something is missing")                                        \
    X(LOST, "guardian: an outcome is lost for certain")                                            \
    X(TOPIC_CUT, "outcomes: the topic loses its end")                                              \
    X(REBUILD_BEGIN, "rebuild: begins")                                                            \
    X(REBUILD, "rebuild: is done")                                                                 \
    X(REBUILD_TAKEN, "rebuild: another began later")                                               \
    X(MEND_KEYS, "rebuild: by itself, for keys without a watermark")                               \
    X(MEND_HEAD, "rebuild: ... for what the log no longer has")                                    \
    X(MEND_INTERRUPTED, "rebuild: ... for one that does not go on")                                \
    X(WAITING, "matcher: waits for a rebuild")                                                     \
    X(DOOR_CRASH, "door: killed")                                                                  \
    X(DOOR_LEFT, "door: drains, and ends")                                                         \
    X(DOOR_STOP, "door: stopped, and goes on later")                                               \
    X(DOOR_REWIND, "door: reads outcomes again")                                                   \
    X(DOOR_BEGAN_BEHIND, "door: begins while Redis lacks what was told before")                    \
    X(LOOK_FULL, "door: has too many look-ups under way")                                          \
    X(LOOK_LOST, "door: a look-up is not answered")                                                \
    X(SEND_FAILED, "door: a command certainly does not land")                                      \
    X(SEND_UNKNOWN, "door: ... perhaps not")                                                       \
    X(SEND_LOST, "door: ... and nobody says so")                                                   \
    X(SENT_TWICE, "door: a command lands twice")                                                   \
    X(REPORT_LOST, "door: a command lands, and its report is lost")                                \
    X(RECORD_FOUND, "door: finds an order in MySQL")                                               \
    X(GATE_SHUT, "door: the gate says sold out")                                                   \
    X(PRESSED_AGAIN, "shopper: orders again with the same key")                                    \
    X(SHOPPER_LEFT, "shopper: leaves")                                                             \
    X(TOLD_STATE, "shopper: is told a state")                                                      \
    X(TOLD_REJECTED, "shopper: ... that the log rejects the order")                                \
    X(TOLD_QUEUED, "shopper: ... queued")                                                          \
    X(TOLD_UNKNOWN, "shopper: ... unknown")                                                        \
    X(TOLD_LATER, "shopper: ... to come again")                                                    \
    X(TOLD_ARCHIVED, "shopper: ... that nothing is decided of that item any more")                 \
    X(TOLD_FORGOTTEN, "shopper: ... a state that Redis has forgotten")                             \
    X(TOLD_REUSED, "shopper: ... that the key is another order's")                                 \
    X(TOLD_PAYMENT, "shopper: ... how a payment was answered")                                     \
    X(PROBED, "shopper: orders what is there when all is well")                                    \
    X(KILLED_SENDING, "matcher: killed when it has sent a batch")                                  \
    X(KILLED_APPLIED, "matcher: ... heard what became of it")                                      \
    X(KILLED_ASKING, "matcher: ... asked for the position")                                        \
    X(KILLED_PLACED, "matcher: ... heard the position")                                            \
    X(KILLED_FETCHING, "matcher: ... begun to fetch")                                              \
    X(KILLED_READING, "matcher: ... read a record")                                                \
    X(KILLED_MEASURING, "matcher: ... asked where the log ends")                                   \
    X(KILLED_MEASURED, "matcher: ... heard where it ends")                                         \
    X(KILLED_PUBLISHING, "matcher: ... handed a message to Kafka")                                 \
    X(KILLED_ACKED, "matcher: ... heard that it is there")                                         \
    X(CRASHED_LOADED, "guardian: killed when it has read the position")                            \
    X(CRASHED_READING, "guardian: ... read an outcome")                                            \
    X(CRASHED_COMMITTED, "guardian: ... committed")                                                \
    X(CRASHED_UNSURE, "guardian: ... heard nothing of its commit")                                 \
    X(CRASHED_PROBING, "guardian: ... asked Redis what is missing")                                \
    X(CRASHED_PROBED, "guardian: ... asked the topic")                                             \
    X(CRASHED_WIPED, "guardian: ... begun a rebuild")                                              \
    X(CRASHED_PIECE, "guardian: ... written a piece of it")                                        \
    X(CRASHED_REBUILT, "guardian: ... ended it")                                                   \
    X(LEFT_ASKING, "door: killed when it has asked Redis")                                         \
    X(LEFT_LOOKED, "door: ... heard the answer")                                                   \
    X(LEFT_SENDING, "door: ... handed a command to Kafka")                                         \
    X(LEFT_REPORTED, "door: ... heard that it is in the log")                                      \
    X(LEFT_FAILED, "door: ... heard that it is not, or perhaps not")                               \
    X(LEFT_READING, "door: ... read an outcome")                                                   \
    X(LEFT_ASKING_MYSQL, "door: ... asked MySQL")                                                  \
    X(LEFT_ANSWERING, "door: ... answered")                                                        \
    X(HEAL, "a time without trouble")

#define COVER_ENUM(name, text) COVER_##name,
enum cover { COVER_NONE, COVERS(COVER_ENUM) COVER_COUNT };

/* What somebody may be killed behind. */
enum {
    COVER_FATAL_FIRST = COVER_KILLED_SENDING,
    FATAL_KINDS = COVER_LEFT_ANSWERING - COVER_KILLED_SENDING + 1,
};

/* Of this process; the runner adds them up. */
extern uint64_t *cover_counts;
extern const char *const cover_texts[COVER_COUNT];

static inline void seen(enum cover what)
{
    cover_counts[what]++;
}

#endif /* TESTS_SIM_COVER_H */
