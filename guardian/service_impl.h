/*
 * service_impl.h - the inside of the daemon, shared by service.c (its life, and what operators see),
 * service_read.c (lives of partitions, what is read), service_write.c (batches and their writing) and
 * service_mend.c (rebuilding Redis) only.
 */
#ifndef GUARDIAN_SERVICE_IMPL_H
#define GUARDIAN_SERVICE_IMPL_H

#include <event2/event.h>
#include <sys/queue.h>

#include "common/admin.h"
#include "common/backoff.h"
#include "common/daemon.h"
#include "common/kafka.h"
#include "common/outcome.h"
#include "common/stats.h"
#include "guardian/commit.h"
#include "guardian/follow.h"
#include "guardian/ledger.h"
#include "guardian/mend.h"
#include "guardian/pool.h"
#include "guardian/rebuild.h"
#include "guardian/service.h"

#define GUARDIAN_STATS(X)                                                                          \
    X(APPLIED, COUNTER, "seckill_guardian_outcomes_applied_total", "", "Outcomes committed.")      \
    X(ROWS, COUNTER, "seckill_guardian_events_applied_total", "", "Events committed.")             \
    X(COMMITS, COUNTER, "seckill_guardian_commits_total", "", "Transactions committed.")           \
    X(RETRIES, COUNTER, "seckill_guardian_retries_total", "",                                      \
      "Attempts that have to be repeated.")                                                        \
    X(MOVED, COUNTER, "seckill_guardian_moved_total", "",                                          \
      "Batches found applied by another guardian.")                                                \
    X(OLD, COUNTER, "seckill_guardian_outcomes_skipped_total", "why=\"old\"",                      \
      "Outcome records not applied.")                                                              \
    X(LATER, COUNTER, "seckill_guardian_outcomes_skipped_total", "why=\"later\"",                  \
      "Outcome records not applied.")                                                              \
    X(FOREIGN, COUNTER, "seckill_guardian_outcomes_skipped_total", "why=\"foreign\"",              \
      "Outcome records not applied.")                                                              \
    X(PROBES, COUNTER, "seckill_guardian_probes_total", "",                                        \
      "Times Redis was asked whether an outcome is missing.")                                      \
    X(MARKS, COUNTER, "seckill_guardian_marks_total", "", "Marks compared.")                       \
    X(REBUILDS_LOST, COUNTER, "seckill_guardian_rebuilds_total", "cause=\"lost\"",                 \
      "Partitions whose Redis was rebuilt by itself.")                                             \
    X(REBUILDS_KEYS, COUNTER, "seckill_guardian_rebuilds_total", "cause=\"keys\"",                 \
      "Partitions whose Redis was rebuilt by itself.")                                             \
    X(REBUILDS_HEAD, COUNTER, "seckill_guardian_rebuilds_total", "cause=\"head\"",                 \
      "Partitions whose Redis was rebuilt by itself.")                                             \
    X(REBUILDS_INTERRUPTED, COUNTER, "seckill_guardian_rebuilds_total", "cause=\"interrupted\"",   \
      "Partitions whose Redis was rebuilt by itself.")                                             \
    X(REBUILDS_FAILED, COUNTER, "seckill_guardian_rebuilds_failed_total", "",                      \
      "Rebuilds that came to nothing, and are tried again.")                                       \
    X(ASSIGNED, GAUGE, "seckill_guardian_partitions", "state=\"assigned\"", "Partitions.")         \
    X(HALTED, GAUGE, "seckill_guardian_partitions", "state=\"halted\"", "Partitions.")             \
    X(WORKERS, GAUGE, "seckill_guardian_workers", "", "Writer threads.")

enum guardian_stat { GUARDIAN_STATS(STATS_ENUM) STAT_COUNT };

/* A batch, and the job of writing it. */
struct batch {
    struct pool_job job;
    TAILQ_ENTRY(batch) link;
    struct part *part; /* borrowed; parts live as long as the service */
    struct ledger *ledger;
    uint64_t life;
    int attempts;
    int64_t since_ms; /* when its first outcome came */
    int64_t took_us;
    enum commit_result result;
    struct progress now;
    struct err err;
};
TAILQ_HEAD(batch_queue, batch);

/* Reading a partition's progress. */
struct load {
    struct pool_job job;
    struct part *part;
    uint64_t life;
    bool ok;
    struct progress now;
    struct err err;
};

/* Asking Redis whether something is missing, and Kafka whether all that we have is in the log. */
struct probe {
    struct pool_job job;
    struct part *part;
    uint64_t life;
    bool is_running; /* at the pool, or waiting for the topic's range */
    bool ok;
    struct follow_probe found;
    int64_t log_end; /* -1: nobody answered */
    struct err err;
};

/* Looking at Redis, and rebuilding it. */
struct mender {
    struct pool_job job;
    struct part *part;
    bool is_running;  /* at the pool */
    int64_t again_ms; /* no job before */
    struct mend mend;

    /* Of a look. */
    bool ok;
    int64_t position, log_begin;
    char genesis[IDS_LOG_LEN + 1]; /* MySQL's */
    struct peek_look look;

    /* Of a rebuild. */
    enum mend_cause cause;
    struct rebuild rebuild;
    enum rebuild_end end;
    struct err err;
};

struct part {
    struct service *service; /* borrowed */
    int partition;
    struct follow follow;
    uint64_t life;
    bool is_assigned;
    bool is_loaded;  /* follow knows the position in this life */
    bool is_busy;    /* a load or a commit is at the pool */
    bool wants_load; /* to be submitted when not busy any more */
    bool is_held;    /* reading is held back */
    bool is_sought;  /* the consumer has been told where to read in this life */
    bool is_adrift;  /* there is no such offset: librdkafka reads nothing until an assignment */
    struct batch_queue queue;
    size_t queued_rows;
    int64_t begun_ms;    /* when a transaction was begun last */
    struct batch *spare; /* an empty one, to save allocations */
    struct progress committed;
    struct load load;
    struct probe probe;
    struct mender mender;
    struct backoff backoff;
    struct event *timer; /* lingering, or waiting to try again */
};

struct service {
    const struct settings *settings; /* borrowed */
    struct event_base *base;
    struct daemon *daemon;
    struct stats *stats;
    struct histogram *commit_us;
    struct admin *admin;
    struct pool *pool;
    struct kafka_consumer *consumer;
    struct event *chores, *assign_timer;
    struct db_settings mysql;
    struct pool_settings pool_settings;
    struct kafka_settings kafka;
    struct outcome outcome;
    struct part *parts;
    int n_parts;
    bool is_joined; /* the group has answered */
    bool
        is_assigning; /* the group gave partitions, the consumer has not been told where to start */
    bool is_draining;
    atomic_bool is_leaving;   /* the same, for the pool's threads */
    int64_t closing_since_ms; /* 0: the group was not left yet */
};

/* service_read.c */

/* Makes the parts and their timers; false when there are no timers. */
bool service_make_parts(struct service *s) ATTR_MUSTCHECK;
bool service_start_reading(struct service *s, struct err *err) ATTR_MUSTCHECK;

bool service_is_reading(const struct part *part);

/* Holds the partition back while enough is queued, or nothing of it is wanted. */
void service_regulate(struct part *part);
void service_arm(struct part *part, int64_t delay_ms);
void service_submit_load(struct part *part);

/* Forgets all that was read and not committed; the position has to be loaded anew. */
void service_start_over(struct part *part);
void service_seek(struct part *part);
void service_act(struct part *part, enum follow_action action);

/* service_write.c */

void service_free_batch(struct batch *batch);

/* Begins a new life: what is at the pool stays there, and is put away when it comes back. */
void service_drop_queue(struct part *part);

/* Gives the first batch to a writer, unless it should wait for company. */
void service_kick(struct part *part);

/* Queues the outcome that was just parsed; base is the head before it. */
void service_apply(struct part *part, const struct progress *base);

/* service_mend.c */

void service_mend_init(struct part *part);

/* Looks after the partition's Redis; to be called now and then. */
void service_mend(struct part *part);

#endif /* GUARDIAN_SERVICE_IMPL_H */
