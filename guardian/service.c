/*
 * Life of a partition here:
 *
 *     assigned ──> load job ──> follow_loaded() ──> seek ──> records ──> batches ──> commit jobs
 *                     ^                                                               │
 *                     └────────── MySQL is elsewhere (another guardian) <─────────────┘
 *
 * A job belongs to a life: a partition that was revoked, or has to start over, begins a new one, and
 * what jobs of earlier lives bring back is ignored.  That needs no more care than this, because a
 * commit compares the position itself; it only saves work.  A new life's first job waits for the
 * last one of the life before, so a partition never has two writers.
 */
#include "guardian/service.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/admin.h"
#include "common/backoff.h"
#include "common/clock.h"
#include "common/kafka.h"
#include "common/log.h"
#include "common/outcome.h"
#include "common/stats.h"
#include "common/version.h"
#include "common/xmalloc.h"
#include "guardian/commit.h"
#include "guardian/failpoint.h"
#include "guardian/follow.h"
#include "guardian/ledger.h"
#include "guardian/migrate.h"
#include "guardian/pool.h"

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
    X(ASSIGNED, GAUGE, "seckill_guardian_partitions", "state=\"assigned\"", "Partitions.")         \
    X(HALTED, GAUGE, "seckill_guardian_partitions", "state=\"halted\"", "Partitions.")             \
    X(WORKERS, GAUGE, "seckill_guardian_workers", "", "Writer threads.")

enum guardian_stat { GUARDIAN_STATS(STATS_ENUM) STAT_COUNT };
static const struct stats_row stat_rows[] = {GUARDIAN_STATS(STATS_ROW)};

enum {
    CHORES_MS = 200,
    START_PATIENCE_MS = 60000,
    START_PAUSE_MS = 500,
    RETRY_BASE_MS = 50,
    RETRY_MAX_MS = 5000,
    LEAVE_GROUP_MS = 3000,
    MARK_ATTEMPTS = 3,
};

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

/* Asking Redis whether something is missing. */
struct probe {
    struct pool_job job;
    struct part *part;
    uint64_t life;
    bool is_running; /* at the pool, or waiting for the topic's range */
    bool ok;
    struct follow_probe found;
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
    struct batch_queue queue;
    size_t queued_rows;
    struct batch *spare; /* an empty one, to save allocations */
    struct progress committed;
    struct load load;
    struct probe probe;
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
    bool
        is_assigning; /* the group gave partitions, the consumer has not been told where to start */
    bool is_draining;
    int64_t closing_since_ms; /* 0: the group was not left yet */
};

static void act(struct part *part, enum follow_action action);
static void kick(struct part *part);

/* ---- the writers' side: these three run on the pool's threads ---- */

static void run_load(struct pool_job *job, struct pool_tools *tools)
{
    struct load *load = (struct load *)job;

    load->ok = commit_load(tools->db, load->part->partition, &load->now, &load->err);
}

static void run_commit(struct pool_job *job, struct pool_tools *tools)
{
    struct batch *batch = (struct batch *)job;
    int64_t start_us = clock_mono_us();

    batch->result = commit_batch(tools->db, batch->ledger, &tools->sql, &batch->now, &batch->err);
    batch->took_us = clock_mono_us() - start_us;
}

static void run_probe(struct pool_job *job, struct pool_tools *tools)
{
    struct probe *probe = (struct probe *)job;

    probe->ok = peek_probe(tools->redis, probe->part->partition, &probe->found, &probe->err);
}

/* ---- batches ---- */

static struct batch *take_batch(struct part *part)
{
    struct batch *batch = part->spare;

    part->spare = NULL;
    if (batch == NULL) {
        batch = xcalloc(1, sizeof(*batch));
        batch->part = part;
        batch->ledger = ledger_create(part->partition);
    }
    return batch;
}

static void free_batch(struct batch *batch)
{
    if (batch != NULL) {
        ledger_destroy(batch->ledger);
        free(batch);
    }
}

static void put_batch(struct part *part, struct batch *batch)
{
    if (part->spare == NULL) {
        part->spare = batch;
    } else {
        free_batch(batch);
    }
}

/* What is at the pool stays there, and is put away when it comes back. */
static void drop_queue(struct part *part)
{
    struct batch *batch;

    while ((batch = TAILQ_FIRST(&part->queue)) != NULL) {
        TAILQ_REMOVE(&part->queue, batch, link);
        put_batch(part, batch);
    }
    part->queued_rows = 0;
}

static bool is_reading(const struct part *part)
{
    return part->is_assigned && part->is_loaded && !follow_is_halted(&part->follow) &&
           !part->service->is_draining;
}

/* Holds the partition back while enough is queued, or nothing of it is wanted. */
static void regulate(struct part *part)
{
    struct service *s = part->service;
    size_t bound = 2 * (size_t)s->settings->batch_rows;

    part->is_held = !is_reading(part) || part->queued_rows >= (part->is_held ? bound / 2 : bound);
    if (part->is_assigned && s->consumer != NULL) {
        kafka_consumer_want(s->consumer, part->partition, !part->is_held);
    }
}

static void arm(struct part *part, int64_t delay_ms)
{
    const struct timeval tv = {
        .tv_sec = delay_ms / 1000,
        .tv_usec = (delay_ms % 1000) * 1000,
    };

    if (event_add(part->timer, &tv) != 0) {
        log_error("event.failed", LOG_INT("partition", part->partition));
    }
}

/* ---- lives ---- */

static void submit_load(struct part *part)
{
    if (part->is_busy) {
        part->wants_load = true;
        return;
    }
    part->wants_load = false;
    part->is_busy = true;
    part->load.life = part->life;
    pool_submit(part->service->pool, &part->load.job);
}

/* Forgets all that was read and not committed; the position has to be loaded anew. */
static void start_over(struct part *part)
{
    part->life++;
    part->is_loaded = false;
    part->is_sought = false;
    drop_queue(part);
    follow_reset(&part->follow);
    regulate(part);
    (void)event_del(part->timer);
    if (part->is_assigned && !follow_is_halted(&part->follow)) {
        submit_load(part);
    }
}

static void leave_if_all_halted(struct service *s)
{
    int assigned = 0;
    int halted = 0;
    int busy = 0;

    for (int i = 0; i < s->n_parts; i++) {
        const struct part *part = &s->parts[i];

        assigned += part->is_assigned ? 1 : 0;
        halted += part->is_assigned && follow_is_halted(&part->follow) ? 1 : 0;
        busy += part->is_busy || !TAILQ_EMPTY(&part->queue) ? 1 : 0;
    }
    if (assigned > 0 && halted == assigned && busy == 0 && !s->is_draining) {
        daemon_drain(s->daemon, "all partitions are halted");
    }
}

static void tell_halted(struct part *part)
{
    log_error("partition.halted", LOG_INT("partition", part->partition),
              LOG_INT("position", part->committed.position),
              LOG_STR("why", follow_why(&part->follow)));
    regulate(part);
}

/* ---- the consumer's start ---- */

static void assign_now(struct service *s)
{
    static const struct timeval again = {.tv_sec = 1};
    struct kafka_start *starts = xcalloc((size_t)s->n_parts, sizeof(*starts));
    struct err err = {0};
    size_t n = 0;

    s->is_assigning = false;
    (void)event_del(s->assign_timer);
    for (int i = 0; i < s->n_parts; i++) {
        struct part *part = &s->parts[i];

        if (!part->is_assigned) {
            continue;
        }
        starts[n] = (struct kafka_start){i, KAFKA_OFFSET_END};
        if (part->is_loaded && !follow_is_halted(&part->follow)) {
            starts[n].offset = follow_seek_offset(&part->follow);
            part->is_sought = true;
        }
        n++;
    }
    if (!kafka_consumer_assign(s->consumer, starts, n, &err)) {
        /* Without it not even a seek would do anything. */
        log_limited(LOG_LEVEL_WARN, "kafka.assign_failed", LOG_ERR(&err));
        s->is_assigning = true;
        if (event_add(s->assign_timer, &again) != 0) {
            log_error("event.failed");
        }
        goto out;
    }
    for (int i = 0; i < s->n_parts; i++) {
        regulate(&s->parts[i]);
    }
    daemon_ready(s->daemon);
out:
    free(starts);
}

static void assign_if_loaded(struct service *s)
{
    for (int i = 0; i < s->n_parts; i++) {
        const struct part *part = &s->parts[i];

        if (part->is_assigned && !part->is_loaded && !follow_is_halted(&part->follow)) {
            return;
        }
    }
    assign_now(s);
}

static void on_assign_timer(evutil_socket_t fd ATTR_UNUSED, short what ATTR_UNUSED, void *arg)
{
    struct service *s = arg;

    if (s->is_assigning) {
        assign_now(s);
    }
}

static void on_assigned(const int *partitions, size_t n, void *arg)
{
    struct service *s = arg;
    /* Without partitions there is nothing to wait for; but no answer from within a callback. */
    const int64_t patience_ms = n == 0 ? 0 : s->settings->session_timeout_ms / 2;
    const struct timeval patience = {
        .tv_sec = patience_ms / 1000,
        .tv_usec = (patience_ms % 1000) * 1000,
    };

    log_info("partitions.assigned", LOG_INT("count", (int64_t)n));
    s->is_assigning = true;
    for (size_t i = 0; i < n; i++) {
        if (partitions[i] < s->n_parts) {
            s->parts[partitions[i]].is_assigned = true;
            start_over(&s->parts[partitions[i]]);
        }
    }
    /* MySQL may be away for longer than the group has patience: then it is a seek, later. */
    if (event_add(s->assign_timer, &patience) != 0) {
        log_error("event.failed");
    }
}

static void on_revoked(void *arg)
{
    struct service *s = arg;

    log_info("partitions.revoked");
    s->is_assigning = false;
    (void)event_del(s->assign_timer);
    for (int i = 0; i < s->n_parts; i++) {
        struct part *part = &s->parts[i];

        if (part->is_assigned) {
            part->is_assigned = false;
            start_over(part);
        }
    }
}

static void seek(struct part *part)
{
    struct service *s = part->service;
    struct err err = {0};

    if (s->is_assigning || !part->is_assigned) {
        return;
    }
    part->is_sought = true;
    regulate(part);
    if (!kafka_consumer_seek(s->consumer, part->partition, follow_seek_offset(&part->follow),
                             &err)) {
        /* follow asks again when nothing comes. */
        log_limited(LOG_LEVEL_WARN, "kafka.seek_failed", LOG_INT("partition", part->partition),
                    LOG_ERR(&err));
    }
}

static void ask_redis(struct part *part)
{
    struct probe *probe = &part->probe;

    if (probe->is_running) {
        return;
    }
    stats_add(part->service->stats, STAT_PROBES, 1);
    probe->is_running = true;
    probe->life = part->life;
    pool_submit(part->service->pool, &probe->job);
}

static void act(struct part *part, enum follow_action action)
{
    switch (action) {
    case FOLLOW_NOTHING:
        break;
    case FOLLOW_SEEK:
        log_debug("partition.seek", LOG_INT("partition", part->partition),
                  LOG_INT("offset", follow_seek_offset(&part->follow)));
        seek(part);
        break;
    case FOLLOW_PROBE:
        ask_redis(part);
        break;
    case FOLLOW_HALT:
        tell_halted(part);
        break;
    }
}

/* ---- jobs come back ---- */

static void done_load(struct pool_job *job, void *arg ATTR_UNUSED)
{
    struct load *load = (struct load *)job;
    struct part *part = load->part;
    struct service *s = part->service;

    part->is_busy = false;
    if (load->life != part->life || !part->is_assigned) {
        if (part->wants_load) {
            submit_load(part);
        }
        return;
    }
    if (!load->ok) {
        stats_add(s->stats, STAT_RETRIES, 1);
        log_limited(LOG_LEVEL_WARN, "mysql.unwell", LOG_INT("partition", part->partition),
                    LOG_ERR(&load->err));
        arm(part, backoff_next(&part->backoff, arc4random()));
        return;
    }
    backoff_reset(&part->backoff);
    part->committed = load->now;
    part->is_loaded = true;
    log_info("partition.loaded", LOG_INT("partition", part->partition),
             LOG_INT("position", load->now.position),
             LOG_INT("outcomes_offset", load->now.outcomes_offset));
    act(part, follow_loaded(&part->follow, &load->now, clock_mono_ms()));
    if (s->is_assigning) {
        assign_if_loaded(s);
    }
    regulate(part);
}

static void note_commit(struct part *part, struct batch *batch)
{
    struct service *s = part->service;
    const struct ledger_mark *mark = ledger_mark(batch->ledger);

    histogram_add(s->commit_us, batch->took_us);
    stats_add(s->stats, STAT_COMMITS, 1);
    stats_add(s->stats, STAT_APPLIED, (int64_t)ledger_records(batch->ledger));
    stats_add(s->stats, STAT_ROWS, (int64_t)ledger_rows(batch->ledger));
    if (mark != NULL) {
        stats_add(s->stats, STAT_MARKS, 1);
    }
    part->committed = *ledger_end(batch->ledger);
    log_debug("batch.committed", LOG_INT("partition", part->partition),
              LOG_INT("position", part->committed.position),
              LOG_INT("records", (int64_t)ledger_records(batch->ledger)),
              LOG_INT("us", batch->took_us));
}

static void finish_commit(struct part *part, struct batch *batch)
{
    struct service *s = part->service;

    switch (batch->result) {
    case COMMIT_DONE:
        backoff_reset(&part->backoff);
        part->queued_rows -= ledger_rows(batch->ledger);
        note_commit(part, batch);
        put_batch(part, batch);
        regulate(part);
        kick(part);
        return;
    case COMMIT_RETRY:
        stats_add(s->stats, STAT_RETRIES, 1);
        log_limited(LOG_LEVEL_WARN, "mysql.unwell", LOG_INT("partition", part->partition),
                    LOG_ERR(&batch->err));
        /* A mark reads whole tables; if that takes longer than MySQL may, the sale comes first. */
        if (++batch->attempts == MARK_ATTEMPTS) {
            ledger_skip_mark(batch->ledger);
        }
        TAILQ_INSERT_HEAD(&part->queue, batch, link);
        arm(part, backoff_next(&part->backoff, arc4random()));
        return;
    case COMMIT_MOVED:
        stats_add(s->stats, STAT_MOVED, 1);
        log_info("partition.moved", LOG_INT("partition", part->partition),
                 LOG_INT("position", batch->now.position),
                 LOG_INT("expected", ledger_base(batch->ledger)->position));
        put_batch(part, batch);
        start_over(part);
        return;
    case COMMIT_HALTED:
        put_batch(part, batch);
        drop_queue(part);
        act(part, follow_halt(&part->follow, batch->err.text));
        return;
    }
}

static void done_commit(struct pool_job *job, void *arg ATTR_UNUSED)
{
    struct batch *batch = (struct batch *)job;
    struct part *part = batch->part;

    part->is_busy = false;
    if (batch->life != part->life) {
        put_batch(part, batch);
        if (part->wants_load) {
            submit_load(part);
        }
        return;
    }
    finish_commit(part, batch);
}

static void done_probe(struct pool_job *job, void *arg ATTR_UNUSED)
{
    struct probe *probe = (struct probe *)job;
    struct part *part = probe->part;

    if (!probe->ok) {
        log_limited(LOG_LEVEL_WARN, "redis.unwell", LOG_INT("partition", part->partition),
                    LOG_ERR(&probe->err));
    }
    /* The topic's end matters only if Redis is ahead of us. */
    if (!probe->ok || !probe->found.is_known || probe->life != part->life || !is_reading(part) ||
        probe->found.watermark <= part->follow.head.position) {
        probe->is_running = false;
        return;
    }
    kafka_consumer_query(part->service->consumer, part->partition);
}

static void on_range(int partition, bool ok, int64_t begin, int64_t end, void *arg)
{
    struct service *s = arg;
    struct part *part = &s->parts[partition];
    struct probe *probe = &part->probe;

    if (!probe->is_running) {
        return;
    }
    probe->is_running = false;
    if (!ok || probe->life != part->life || !is_reading(part)) {
        return;
    }
    probe->found.topic_begin = begin;
    probe->found.topic_end = end;
    act(part, follow_probed(&part->follow, &probe->found, clock_mono_ms()));
}

/* ---- writing ---- */

static bool is_backing_off(const struct part *part)
{
    return part->backoff.attempts > 0 && event_pending(part->timer, EV_TIMEOUT, NULL);
}

/* Gives the first batch to a writer, unless it should wait for company. */
static void kick(struct part *part)
{
    struct service *s = part->service;
    struct batch *batch = TAILQ_FIRST(&part->queue);
    int64_t wait_ms;

    if (batch == NULL || part->is_busy || is_backing_off(part)) {
        return;
    }
    wait_ms = batch->since_ms + s->settings->linger_ms - clock_mono_ms();
    if (TAILQ_NEXT(batch, link) == NULL && wait_ms > 0 && !s->is_draining &&
        part->queued_rows < (size_t)s->settings->batch_rows) {
        if (!event_pending(part->timer, EV_TIMEOUT, NULL)) {
            arm(part, wait_ms);
        }
        return;
    }
    TAILQ_REMOVE(&part->queue, batch, link);
    part->is_busy = true;
    pool_submit(s->pool, &batch->job);
}

static void on_timer(evutil_socket_t fd ATTR_UNUSED, short what ATTR_UNUSED, void *arg)
{
    struct part *part = arg;

    if (part->is_assigned && !part->is_loaded && !follow_is_halted(&part->follow)) {
        submit_load(part);
    } else {
        kick(part);
    }
}

/* The batch that the outcome goes into: a full one and a mark stand alone. */
static struct batch *batch_for(struct part *part, const struct outcome *o,
                               const struct progress *base)
{
    struct service *s = part->service;
    struct batch *batch = TAILQ_LAST(&part->queue, batch_queue);

    if (batch != NULL && ledger_mark(batch->ledger) == NULL && !ledger_is_mark(o) &&
        ledger_rows(batch->ledger) < (size_t)s->settings->batch_rows) {
        return batch;
    }
    batch = take_batch(part);
    batch->life = part->life;
    batch->attempts = 0;
    batch->since_ms = clock_mono_ms();
    batch->job = (struct pool_job){.run = run_commit, .done = done_commit};
    ledger_begin(batch->ledger, base);
    TAILQ_INSERT_TAIL(&part->queue, batch, link);
    return batch;
}

static void apply(struct part *part, const struct progress *base)
{
    struct service *s = part->service;
    struct batch *batch = batch_for(part, &s->outcome, base);
    size_t rows = ledger_rows(batch->ledger);
    struct err err = {0};

    if (!ledger_add(batch->ledger, &s->outcome, &part->follow.head, &err)) {
        /* The batch is spoilt; those before it are complete and will be written. */
        TAILQ_REMOVE(&part->queue, batch, link);
        part->queued_rows -= rows;
        put_batch(part, batch);
        act(part, follow_halt(&part->follow, err.text));
        return;
    }
    part->queued_rows += ledger_rows(batch->ledger) - rows;
    regulate(part);
    kick(part);
}

static void on_record(const struct kafka_record *record, void *arg)
{
    struct service *s = arg;
    struct part *part = &s->parts[record->partition];
    struct progress base = part->follow.head;
    enum follow_action action;
    struct err err = {0};

    if (!is_reading(part)) {
        return;
    }
    if (!outcome_parse(&s->outcome, record->value, &err)) {
        stats_add(s->stats, STAT_FOREIGN, 1);
        log_limited(LOG_LEVEL_WARN, "outcome.foreign", LOG_INT("partition", record->partition),
                    LOG_INT("offset", record->offset), LOG_ERR(&err));
        act(part, follow_garbage(&part->follow, record->offset, clock_mono_ms()));
        return;
    }
    switch (follow_record(&part->follow, &s->outcome, record->offset, clock_mono_ms(), &action)) {
    case FOLLOW_APPLY:
        apply(part, &base);
        break;
    case FOLLOW_DROP:
        stats_add(s->stats, STAT_OLD, 1);
        break;
    case FOLLOW_LATER:
        stats_add(s->stats, STAT_LATER, 1);
        break;
    case FOLLOW_FOREIGN:
        stats_add(s->stats, STAT_FOREIGN, 1);
        log_limited(LOG_LEVEL_WARN, "outcome.foreign", LOG_INT("partition", record->partition),
                    LOG_INT("offset", record->offset),
                    LOG_INT("names_partition", s->outcome.partition));
        break;
    }
    act(part, action);
}

static void on_stuck(int partition, bool is_out_of_range, const char *why, void *arg)
{
    struct service *s = arg;
    struct part *part = &s->parts[partition];

    log_limited(LOG_LEVEL_WARN, "outcomes.stuck", LOG_INT("partition", partition),
                LOG_BOOL("out_of_range", is_out_of_range), LOG_STR("why", why));
    if (!is_reading(part)) {
        return;
    }
    act(part, follow_stuck(&part->follow, is_out_of_range, why, clock_mono_ms()));
}

static void on_fatal(const char *why, void *arg)
{
    struct service *s = arg;

    log_error("kafka.fatal", LOG_STR("why", why));
    daemon_leave(s->daemon, DAEMON_EXIT_FATAL);
}

/* ---- chores, draining ---- */

static void drain_on(struct service *s)
{
    bool is_halted = false;

    for (int i = 0; i < s->n_parts; i++) {
        struct part *part = &s->parts[i];

        is_halted = is_halted || follow_is_halted(&part->follow);
        if (!TAILQ_EMPTY(&part->queue) || (part->is_busy && part->is_loaded)) {
            return;
        }
    }
    if (s->closing_since_ms == 0) {
        s->closing_since_ms = clock_mono_ms();
        kafka_consumer_close(s->consumer);
        return;
    }
    if (kafka_consumer_is_closed(s->consumer) ||
        clock_mono_ms() - s->closing_since_ms >= LEAVE_GROUP_MS) {
        daemon_leave(s->daemon, is_halted ? DAEMON_EXIT_HALTED : DAEMON_EXIT_OK);
    }
}

static void on_drain(const char *why ATTR_UNUSED, void *arg)
{
    struct service *s = arg;

    s->is_draining = true;
    for (int i = 0; i < s->n_parts; i++) {
        regulate(&s->parts[i]);
        kick(&s->parts[i]);
    }
}

static void on_chores(evutil_socket_t fd ATTR_UNUSED, short what ATTR_UNUSED, void *arg)
{
    struct service *s = arg;
    int64_t assigned = 0;
    int64_t halted = 0;

    for (int i = 0; i < s->n_parts; i++) {
        struct part *part = &s->parts[i];

        assigned += part->is_assigned ? 1 : 0;
        halted += part->is_assigned && follow_is_halted(&part->follow) ? 1 : 0;
        if (!is_reading(part) || part->is_held || s->is_assigning) {
            continue;
        }
        if (!part->is_sought) {
            seek(part);
        }
        act(part, follow_tick(&part->follow, clock_mono_ms()));
    }
    stats_set(s->stats, STAT_ASSIGNED, assigned);
    stats_set(s->stats, STAT_HALTED, halted);
    stats_set(s->stats, STAT_WORKERS, (int64_t)pool_threads(s->pool));
    if (s->is_draining) {
        drain_on(s);
    } else {
        leave_if_all_halted(s);
    }
}

/* ---- what operators see ---- */

static void collect(struct buf *out, void *arg)
{
    const struct service *s = arg;

    stats_put_head(out, "seckill_guardian_position", STATS_GAUGE,
                   "Offset of the last command committed.");
    for (int i = 0; i < s->n_parts; i++) {
        if (s->parts[i].is_assigned) {
            stats_put_sample(out, "seckill_guardian_position", s->parts[i].committed.position,
                             "partition=\"%d\"", i);
        }
    }
    stats_put_head(out, "seckill_guardian_lag", STATS_GAUGE, "Outcome records not read yet.");
    for (int i = 0; i < s->n_parts; i++) {
        const struct part *part = &s->parts[i];
        int64_t end = part->is_assigned ? kafka_consumer_end(s->consumer, i) : -1;

        if (end >= 0 && part->follow.next_offset >= 0) {
            stats_put_sample(out, "seckill_guardian_lag",
                             end > part->follow.next_offset ? end - part->follow.next_offset : 0,
                             "partition=\"%d\"", i);
        }
    }
    stats_put_head(out, "seckill_guardian_halted", STATS_GAUGE,
                   "1: the partition is halted, an operator must look.");
    for (int i = 0; i < s->n_parts; i++) {
        stats_put_sample(out, "seckill_guardian_halted", follow_is_halted(&s->parts[i].follow),
                         "partition=\"%d\"", i);
    }
}

static void on_ready(struct admin_report *report, void *arg)
{
    const struct service *s = arg;
    bool has_loaded = !s->is_assigning;
    const char *halted = NULL;
    bool is_well = true;

    for (int i = 0; i < s->n_parts; i++) {
        const struct part *part = &s->parts[i];

        has_loaded = has_loaded && (!part->is_assigned || part->is_loaded);
        is_well = is_well && (!part->is_assigned || part->backoff.attempts < 3);
        if (follow_is_halted(&part->follow)) {
            halted = follow_why(&part->follow);
        }
    }
    admin_check(report, "partitions", has_loaded,
                has_loaded ? NULL : "positions are not known yet");
    admin_check(report, "mysql", is_well, is_well ? NULL : "transactions fail");
    admin_check(report, "halted", halted == NULL, halted);
    admin_check(report, "draining", !s->is_draining, NULL);
}

/* ---- starting and ending ---- */

static bool check_schema(struct service *s, struct err *err)
{
    struct db *db = db_create(&s->mysql, DB_SESSION_WRITE);
    bool ok = migrate_check(db, err);

    db_destroy(db);
    return ok;
}

static bool check_topics(struct service *s, struct err *err)
{
    const struct options_kafka *kafka = &s->settings->kafka;
    const struct kafka_topic topics[] = {
        {.name = kafka->topic_outcomes,
         .partitions = (int)kafka->partitions,
         .replicas_min = (int)kafka->replicas_min},
    };

    return kafka_check_topics(&s->kafka, topics, 1, 5000, NULL, err);
}

/* Repeats a check while the other side is unwell; signals end the process at this stage. */
static bool insist(struct service *s, bool (*check)(struct service *, struct err *),
                   struct err *err)
{
    int64_t deadline_ms = clock_mono_ms() + START_PATIENCE_MS;
    const struct timespec pause = {.tv_nsec = START_PAUSE_MS * 1000000L};

    while (!check(s, err)) {
        if (err->kind != ERR_RETRY || clock_mono_ms() >= deadline_ms) {
            return false;
        }
        log_limited(LOG_LEVEL_WARN, "program.waiting", LOG_ERR(err));
        (void)nanosleep(&pause, NULL);
    }
    return true;
}

static bool start_parts(struct service *s)
{
    s->n_parts = (int)s->settings->kafka.partitions;
    s->parts = xcalloc((size_t)s->n_parts, sizeof(*s->parts));
    for (int i = 0; i < s->n_parts; i++) {
        struct part *part = &s->parts[i];

        part->service = s;
        part->partition = i;
        part->is_held = true;
        part->committed = PROGRESS_NONE;
        part->backoff = BACKOFF_INIT(RETRY_BASE_MS, RETRY_MAX_MS);
        part->load = (struct load){.job = {.run = run_load, .done = done_load}, .part = part};
        part->probe = (struct probe){.job = {.run = run_probe, .done = done_probe}, .part = part};
        TAILQ_INIT(&part->queue);
        follow_init(&part->follow, i, s->n_parts, s->settings->probe_ms);
        part->timer = evtimer_new(s->base, on_timer, part);
        if (part->timer == NULL) {
            return false;
        }
    }
    return true;
}

static bool start_loop(struct service *s, struct err *err)
{
    const struct timeval chores = {.tv_usec = CHORES_MS * 1000L};

    s->base = event_base_new();
    if (s->base == NULL) {
        return err_set(err, ERR_FATAL, "no event loop");
    }
    s->daemon = daemon_create(s->base, s->settings->drain_ms, on_drain, s, err);
    if (s->daemon == NULL) {
        return false;
    }
    s->chores = event_new(s->base, -1, EV_PERSIST, on_chores, s);
    s->assign_timer = evtimer_new(s->base, on_assign_timer, s);
    if (!start_parts(s) || s->chores == NULL || s->assign_timer == NULL ||
        event_add(s->chores, &chores) != 0) {
        return err_set(err, ERR_FATAL, "no timers");
    }
    return true;
}

static bool start_admin(struct service *s, struct err *err)
{
    s->stats = stats_create("guardian", stat_rows, STAT_COUNT);
    s->commit_us = stats_histogram(s->stats, "seckill_guardian_commit_seconds", "",
                                   "From the beginning of a transaction to its end.");
    stats_collect(s->stats, collect, s);
    if (s->settings->metrics.listen[0] == '\0') {
        return true;
    }
    s->admin = admin_create(s->base, s->settings->metrics.listen, s->stats, on_ready, s, err);
    return s->admin != NULL;
}

static bool start_consumer(struct service *s, struct err *err)
{
    const struct kafka_consumer_settings consumer = {
        .kafka = &s->kafka,
        .topic = s->settings->kafka.topic_outcomes,
        .group_id = s->settings->group_id,
        .instance_id = s->settings->instance_id,
        .session_timeout_ms = s->settings->session_timeout_ms,
        .is_split = true,
        .calls =
            {
                .record = on_record,
                .assigned = on_assigned,
                .revoked = on_revoked,
                .stuck = on_stuck,
                .fatal = on_fatal,
                .range = on_range,
            },
        .arg = s,
    };

    s->consumer = kafka_consumer_create(s->base, &consumer, err);
    return s->consumer != NULL;
}

static bool start(struct service *s, struct err *err)
{
    s->mysql = settings_db(s->settings);
    s->kafka = settings_kafka(s->settings);
    s->pool_settings = (struct pool_settings){
        .mysql = &s->mysql,
        .redis = &s->settings->redis,
        .redis_timeout_ms = s->settings->redis_timeout_ms,
        .threads_max = (size_t)s->settings->workers_max,
        .arg = s,
    };
    if (!insist(s, check_schema, err) || !insist(s, check_topics, err) || !start_loop(s, err) ||
        !start_admin(s, err)) {
        return false;
    }
    s->pool = pool_create(s->base, &s->pool_settings, err);
    return s->pool != NULL && start_consumer(s, err);
}

static void stop(struct service *s)
{
    pool_destroy(s->pool);
    kafka_consumer_destroy(s->consumer);
    admin_destroy(s->admin);
    for (int i = 0; i < s->n_parts; i++) {
        drop_queue(&s->parts[i]);
        free_batch(s->parts[i].spare);
        if (s->parts[i].timer != NULL) {
            event_free(s->parts[i].timer);
        }
    }
    free(s->parts);
    if (s->chores != NULL) {
        event_free(s->chores);
    }
    if (s->assign_timer != NULL) {
        event_free(s->assign_timer);
    }
    daemon_destroy(s->daemon);
    stats_destroy(s->stats);
    outcome_fini(&s->outcome);
    if (s->base != NULL) {
        event_base_free(s->base);
    }
    (void)kafka_wait_ended(1000);
}

enum daemon_exit service_run(const struct settings *settings, bool *is_forced)
{
    struct service s = {.settings = settings};
    enum daemon_exit status = DAEMON_EXIT_START;
    struct err err = {0};

    *is_forced = false;
    failpoint_init();
    version_log();
    if (!start(&s, &err)) {
        log_error("program.failed", LOG_ERR(&err));
    } else {
        (void)event_base_dispatch(s.base);
        status = daemon_status(s.daemon);
        if (status == DAEMON_EXIT_FATAL) {
            *is_forced = true;
            return status;
        }
    }
    stop(&s);
    return status;
}
