/*
 * part_impl.h - the inside of a part, shared by part.c (life and positions), part_log.c (what comes
 * from the log) and part_apply.c (what goes to Redis and to Kafka) only.
 */
#ifndef MATCHER_PART_IMPL_H
#define MATCHER_PART_IMPL_H

#include "matcher/part.h"
#include "matcher/queue.h"
#include "matcher/replay.h"

enum {
    PART_RETRY_MIN_MS = 50,
    PART_RETRY_MAX_MS = 1000,
};

/* Keys of a partition, in the order of apply.lua's KEYS. */
enum part_key {
    PART_KEY_LOG,
    PART_KEY_ITEMS,
    PART_KEY_ORDERS,
    PART_KEY_PAYMENTS,
    PART_KEY_OPS,
    PART_KEY_OUTBOX,
    PART_KEY_DUE, /* the base of the due lists' names */
    PART_KEY_REBUILD,
    PART_KEYS,
};

enum phase {
    PHASE_IDLE,
    PHASE_READING,
    PHASE_CATCHING,
    PHASE_STEADY,
    PHASE_WAITING,
    PHASE_HALTED,
};

/* After which record, and what is true there. */
struct place {
    int64_t offset; /* -1: before the first record */
    int64_t log_time, rules;
    uint64_t chain, hash;
};

struct part {
    const struct part_settings *settings; /* borrowed */
    int partition;
    enum phase phase;
    bool is_assigned;
    bool is_draining;

    char genesis[IDS_LOG_LEN + 1]; /* "" before the first record */
    struct place applied, tail;
    int64_t base_prev; /* outbox entries from here on are ours, or were adopted */
    int64_t acked;

    struct queue queue;
    struct replay replay;
    size_t batch; /* records at the front of the unapplied that were sent to the script */

    uint32_t calls;    /* the number of the last call */
    bool is_calling;   /* it has not been answered */
    bool call_is_read; /* it was position.lua */
    bool needs_trim;   /* the next call is an empty one */
    bool is_full;
    int64_t call_at;    /* no call before */
    int64_t call_acked; /* what the call under way says is acknowledged */
    size_t call_batch;  /* commands in it: `batch`, or none */
    unsigned attempts;  /* refused in a row */
    unsigned restarts;  /* without a batch applied in between */
    unsigned absent;    /* times that there was no state, in a row */
    enum part_wait wait;
    int64_t waits_for; /* the record that must be read and is gone; -1: the log's first */
    int64_t idle_at;

    int64_t fetch_at;    /* not before */
    int64_t next_offset; /* of the record to come */
    int64_t gap_at;      /* where a gap was seen and fetched again */
    int64_t gap_until;   /* no verdict before */
    unsigned gaps;       /* times it was seen there */
    bool gap_is_inside;  /* since then a broker said that the log holds that offset */
    bool needs_fetch, needs_recheck;
    bool needs_begin; /* next_offset is to be the log's first */
    bool needs_range, asks_range;
    int64_t log_begin;   /* as it was told then */
    int64_t progress_at; /* when catching up last went on */
    int64_t range_at;
    unsigned shorts; /* times the log was too short, in a row */
    unsigned stuck;  /* times reading failed at stuck_at, in a row */
    int64_t stuck_at;

    int64_t next_due;
    int64_t outbox;
    int64_t time_at; /* monotonic time at which log time was applied.log_time, about */
    int64_t tick_at, tick_wait_ms;
    bool tick_flies;

    enum part_halt stop; /* halt when everything before has been told */
    enum part_halt halt;
    bool halt_is_told;
    char text[256]; /* of stop or halt */

    struct slice keys[PART_KEYS];
    char *key_text; /* owned: behind keys */
    struct script_words words;
    struct buf outcome;
    struct part_counts counts;
};

/* part.c */

void part_enter_halted(struct part *p, enum part_halt why);
void part_halt(struct part *p, enum part_halt why, const char *text);

/* Lets what was read before be applied and told, then halts. */
void part_stop(struct part *p, enum part_halt why, const char *text);

/* The record at offset must be read and is gone; -1: the log's first. */
void part_wait_for_head(struct part *p, int64_t offset, struct part_time now);

/* As on assignment. */
void part_restart(struct part *p, struct part_time now);
int64_t part_delay_ms(unsigned attempts);

void part_enter_steady(struct part *p, struct part_time now);

/* What must be read again starts at the oldest batch of the outbox, or is the last record. */
void part_begin_catching(struct part *p, struct part_time now);

/*
 * The time now is when log time was applied.log_time, unless that is clearly long ago; then our wall
 * clock must do.  It paces ticks, so being wrong costs a few that change nothing.
 */
void part_note_time(struct part *p, int64_t log_time, struct part_time now);

/* part_log.c */

void part_fetch_from(struct part *p, int64_t offset);

/* Asks where the log begins, then fetches from there: a real offset can be checked. */
void part_fetch_from_begin(struct part *p);

/*
 * Only when no script is under way: its batch must be resolved first, and cannot be sent again.  And
 * only after catching up, which compares by itself and applies nothing: otherwise a broker that
 * keeps coming and going would keep a long way back from ever ending.
 */
void part_compare_again(struct part *p, struct part_time now);
bool part_next_reading(struct part *p, struct part_time now,
                       struct part_action *action) ATTR_MUSTCHECK;

/* part_apply.c */

/* Makes the outcome of item from its line; halts for `why` when the two do not fit. */
bool part_tell_item(struct part *p, struct item *item, struct slice line,
                    enum part_halt why) ATTR_MUSTCHECK;
bool part_next_call(struct part *p, struct part_time now,
                    struct part_action *action) ATTR_MUSTCHECK;
bool part_next_tick(struct part *p, struct part_time now,
                    struct part_action *action) ATTR_MUSTCHECK;
bool part_next_message(struct part *p, struct part_action *action) ATTR_MUSTCHECK;

#endif /* MATCHER_PART_IMPL_H */
