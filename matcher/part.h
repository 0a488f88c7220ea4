/*
 * part.h - one partition of the log as a pure state machine: events in, actions out.
 *
 * The owner tells a part what happened (part_assign(), part_record(), part_applied()...) and then
 * takes actions with part_next() until there is none.  A part does no I/O, reads no clock and draws
 * no random number, so a simulator drives the very same code.  Not thread-safe: all calls of a part
 * are made on one thread, in the matcher that of the loop.
 *
 *   IDLE -> READING -> CATCHING -> STEADY          any -> HALTED, which is for ever
 *           |  ^___________|__________|
 *           |          |  mismatch, foreign outbox entry, nothing there
 *           +-> WAITING, until there is a state again
 *
 * READING   asks Redis for its position (lua/position.lua).  Nothing there, twice, a second apart:
 *           the log is folded from its genesis.
 * CATCHING  reads the log again from the oldest outbox entry on, remakes the chain and the
 *           outcomes, and compares at the watermark; or, without outbox, reads the last applied
 *           record again and compares its hash.  Also after every new broker connection.
 * STEADY    applies batches, one script in flight, and tells their outcomes in order.  A reply that
 *           does not come leaves the batch as it is: it is sent again, and the script's
 *           compare-and-set makes that harmless.
 * WAITING   the log cannot give Redis its state back: a rebuild is under way, or is needed because
 *           there are keys without a watermark, or the log's head is gone.  Asks again every second.
 * HALTED    something that must not be guessed about; an operator has to look.
 *
 * Everything it counts on from Redis is compared by the script; everything it counts on from the
 * log is compared by hash.  So a part that is a zombie, or a Redis that has gone back in
 * time, costs a round of reading, never a wrong outcome.
 */
#ifndef MATCHER_PART_H
#define MATCHER_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/outcome.h"
#include "common/slice.h"
#include "matcher/script.h"

struct part;

/* Borrowed by all parts of a program. */
struct part_settings {
    const char *key_prefix;
    int partitions;
    int64_t batch_max;         /* records per script */
    int64_t queue_max;         /* records read ahead and not yet applied */
    int64_t unacked_max;       /* records applied and not yet told; then applying waits */
    int64_t outbox_max;        /* as given to the script */
    int64_t remembered_max;    /* as given to the script */
    int64_t clock_skew_max_ms; /* how far a record may be ahead of our wall clock */
    int64_t tick_min_ms, tick_max_ms;
    int64_t idle_ms; /* how often an idle part asks Redis whether it is still there */
};

/* Both clocks at the time of an event. */
struct part_time {
    int64_t mono_ms;
    int64_t wall_ms;
};

/* What a partition waits for; part_wait_name() gives the word for logs and metrics. */
enum part_wait {
    PART_WAIT_NONE,
    PART_WAIT_REBUILD, /* somebody rebuilds the state */
    PART_WAIT_KEYS,    /* keys without a watermark */
    PART_WAIT_HEAD,    /* the log starts after what must be read */
    PART_WAIT_COUNT,
};

/* Why a partition is halted: part_halt_name() and part_halt_todo(). */
enum part_halt {
    PART_HALT_NONE,
    PART_HALT_RULES,      /* a rules number that this build does not have */
    PART_HALT_GENESIS,    /* another log, or one that does not start with its genesis */
    PART_HALT_CHAIN,      /* the log is not the one that Redis was made from */
    PART_HALT_SHORT,      /* the log ends before the watermark */
    PART_HALT_GAP,        /* records are missing in the middle of the log */
    PART_HALT_CLOCK,      /* a record from the future */
    PART_HALT_TIMESTAMP,  /* a record without LogAppendTime */
    PART_HALT_PARTITIONS, /* the log was made for another number of partitions */
    PART_HALT_SCRIPT,     /* script and program do not understand each other */
    PART_HALT_STATE,      /* the state in Redis is not one */
    PART_HALT_LOG,        /* the log cannot be read */
    PART_HALT_EVICTING,   /* Redis may forget on its own */
    PART_HALT_COUNT,
};

enum part_action_type {
    PART_READ,    /* run position.lua with words; answer part_position() or part_unanswered() */
    PART_FETCH,   /* deliver records from offset on; part_unfetched() when that cannot be done */
    PART_RANGE,   /* ask for begin and end of the log; answer part_range() */
    PART_APPLY,   /* run apply.lua with words; answer part_applied() or part_unanswered() */
    PART_PUBLISH, /* send message; say part_published() when it was taken */
    PART_TICK,    /* append a tick; part_ticked() when its report comes */
    PART_HALT,    /* tell the operator; comes once */
};

enum part_message_kind {
    PART_OUTCOME,
    PART_DEAD,
};

/* One message to send.  Borrowed from the part until its next call. */
struct part_message {
    enum part_message_kind kind;
    uint64_t seq;
    struct slice key, value;
    int64_t offset;     /* of the command */
    const char *detail; /* of a malformed one */
};

struct part_action {
    enum part_action_type type;
    uint32_t call; /* READ, APPLY: to be given back with the answer */
    const struct script_words *words;
    size_t n_keys;
    size_t n_commands; /* APPLY */
    int64_t offset;    /* FETCH */
    struct part_message message;
    enum part_halt halt;
    const char *text; /* HALT: in words; borrowed from the part */
};

/* What the owner can do at the moment; part_next() gives no other actions of these kinds. */
enum part_can {
    PART_CAN_CALL = 1,    /* Redis is up */
    PART_CAN_PUBLISH = 2, /* the producer takes messages */
};

/* A raw record of the log; borrowed for the call. */
struct part_record {
    int64_t offset, timestamp_ms;
    bool is_log_append_time;
    struct slice key, value;
};

/* Starts in IDLE.  settings is borrowed. */
struct part *part_create(const struct part_settings *settings, int partition) ATTR_MUSTCHECK;
void part_destroy(struct part *p);

/* The partition became ours / is no longer ours.  A halted part stays halted. */
void part_assign(struct part *p, struct part_time now);
void part_revoke(struct part *p);

/* Takes nothing new any more; what is under way is finished.  part_is_quiet() says when. */
void part_drain(struct part *p);
bool part_is_quiet(const struct part *p);

/* The next thing to do, if any. */
bool part_next(struct part *p, struct part_time now, unsigned can,
               struct part_action *action) ATTR_MUSTCHECK;

/* ---- events ---- */

void part_record(struct part *p, const struct part_record *record, struct part_time now);

/* fields: what position.lua answered. */
void part_position(struct part *p, uint32_t call, const struct slice *fields, size_t n,
                   struct part_time now);
void part_applied(struct part *p, uint32_t call, struct slice text, struct part_time now);

/* No answer came: unknown; or the server refused without effect (is_refused). */
void part_unanswered(struct part *p, uint32_t call, bool is_refused, struct part_time now);

/* The script failed in a way that will not pass. */
void part_failed(struct part *p, uint32_t call, struct slice why);

void part_published(struct part *p);
void part_acked(struct part *p, uint64_t seq, enum part_message_kind kind);

/* The producer was made anew: what was sent and is not acknowledged is sent again, in order. */
void part_resend(struct part *p);
void part_ticked(struct part *p);

/* The log may be another than before: compare before applying anything more. */
void part_recheck(struct part *p);
void part_range(struct part *p, bool ok, int64_t begin, int64_t end, struct part_time now);

/* A fetch could not be started, or seems to have got lost: ask for it again. */
void part_unfetched(struct part *p, struct part_time now);

/* Reading stands still: see common/kafka.h. */
void part_stuck(struct part *p, bool is_out_of_range, const char *why, struct part_time now);

/* Redis may forget single keys by itself: what it says is worth nothing any more. */
void part_evicting(struct part *p, const char *why);

/* Redis is up again: no need to wait out a delay. */
void part_wake(struct part *p);

/* ---- looking at it ---- */

/* Whether records should be delivered. */
bool part_wants(const struct part *p);

struct part_counts {
    uint64_t batches, records, republished, ticks, mismatches, rechecks, full;
    uint64_t events[EVENT_COUNT];
    uint64_t rejected[REASON_COUNT];
    uint64_t malformed;
};

struct part_view {
    bool is_assigned;
    bool is_steady;
    bool is_reading; /* catching up or steady: next_offset is a place in the log */
    const char *phase;
    enum part_wait wait;
    enum part_halt halt;
    int64_t watermark;
    int64_t next_offset; /* of the record to come */
    int64_t log_time;
    int64_t waiting_since; /* timestamp of the oldest record read and not applied; 0: none */
    int64_t outbox;        /* entries, as of the last reply */
    size_t unapplied, unacked;
};

void part_look(const struct part *p, struct part_view *view);
const struct part_counts *part_counted(const struct part *p);
const char *part_wait_name(enum part_wait why);

/* The word for logs and metrics, and what an operator does about it. */
const char *part_halt_name(enum part_halt why);
const char *part_halt_todo(enum part_halt why);

#endif /* MATCHER_PART_H */
