/*
 * matcher_impl.h - the inside of the matcher, shared by matcher.c (its life, its turns, what operators
 * see), matcher_read.c (the group, and reading the log) and matcher_redis.c (scripts) only.
 */
#ifndef MATCHER_MATCHER_IMPL_H
#define MATCHER_MATCHER_IMPL_H

#include "common/clock.h"
#include "common/histogram.h"
#include "common/kafka.h"
#include "common/redis.h"
#include "matcher/matcher.h"
#include "matcher/part.h"
#include "matcher/publish.h"

/* What the matcher keeps beside a part. */
struct matcher_desk {
    bool is_dirty;
    enum part_wait told_wait;
    bool is_ours;
    bool has_start; /* during an assignment: start is known */
    int64_t start;
    int64_t silent_since; /* 0: records come, or there are none */
    int fetches;          /* since a record came */
};

struct matcher {
    struct event_base *base;         /* borrowed */
    const struct settings *settings; /* borrowed */
    struct matcher_calls calls;
    struct part_settings part_settings;
    struct part **parts;        /* by partition */
    struct matcher_desk *desks; /* by partition */
    int n;

    struct kafka_consumer *consumer;
    struct publish *publish;
    struct redis *redis;
    struct event *stepper;
    struct event *ticker;

    uint64_t lineage;
    bool is_joined;                       /* the group has answered */
    bool is_assigning;                    /* and the partitions are not yet given to the consumer */
    int64_t assign_by_ms, assign_from_ms; /* not later than, not before */

    bool is_ready, was_all_halted, is_draining, is_closing, was_drained;
    int64_t drain_by_ms;
    struct histogram *latency; /* NULL until registered */
    int64_t *ends;
};

/* How many of the partitions. */
struct matcher_tally {
    int ours, halted, waiting, steady, quiet;
};

static inline struct part_time matcher_now(void)
{
    return (struct part_time){.mono_ms = clock_mono_ms(), .wall_ms = clock_wall_ms()};
}

/* matcher.c */

/* Lets a partition, or each, act before the turn ends. */
void matcher_touch(struct matcher *m, int partition);
void matcher_touch_all(struct matcher *m);

struct matcher_tally matcher_count(const struct matcher *m);

/* matcher_read.c */

bool matcher_open_log(struct matcher *m, const struct kafka_settings *kafka,
                      struct err *err) ATTR_MUSTCHECK;

/* Reads a partition from offset on: an action of its part. */
void matcher_fetch(struct matcher *m, int partition, int64_t offset);

/* Every record that comes after this may be from another log than those before. */
void matcher_look_at_lineage(struct matcher *m);

/* Starts to read what the group gave, once it is known from where. */
void matcher_go_on_assigning(struct matcher *m);

/* The log is known to go on, and nothing comes: a seek may have got lost. */
void matcher_watch_silence(struct matcher *m, int partition, int64_t now_ms);

/* matcher_redis.c */

bool matcher_open_redis(struct matcher *m, struct err *err) ATTR_MUSTCHECK;

/* Sends the script that a part asked for. */
void matcher_call_script(struct matcher *m, int partition, const struct part_action *action);

#endif /* MATCHER_MATCHER_IMPL_H */
