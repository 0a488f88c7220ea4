/*
 * All state of partitions is the loop's.  A job at the pool has what it needs with it and comes
 * back to the loop; `life` tells whether its partition is still the one that it left.  Only
 * is_leaving is read by the pool's threads, so that a drain ends a rebuild.
 *
 * The end: nothing new is read, what is queued is committed, the group is left, the loop ends.
 * When that takes too long a thread may stand in MySQL still, and then nothing may be freed.
 */
#include "guardian/service_impl.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/version.h"
#include "guardian/migrate.h"

enum {
    CHORES_MS = 200,
    START_PATIENCE_MS = 60000,
    START_PAUSE_MS = 500,
    LEAVE_GROUP_MS = 3000,
};

static const struct stats_row stat_rows[] = {GUARDIAN_STATS(STATS_ROW)};

/* ---- chores, draining ---- */

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
    atomic_store(&s->is_leaving, true);
    for (int i = 0; i < s->n_parts; i++) {
        service_regulate(&s->parts[i]);
        service_kick(&s->parts[i]);
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
        service_mend(part);
        if (!service_is_reading(part) || part->is_held || s->is_assigning) {
            continue;
        }
        if (!part->is_sought) {
            service_seek(part);
        }
        service_act(part, follow_tick(&part->follow, clock_mono_ms()));
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

static void put_halts(struct buf *out, const struct service *s)
{
    stats_put_head(out, "seckill_guardian_halted", STATS_GAUGE,
                   "Partitions halted, by reason: an operator must look.");
    for (int why = FOLLOW_HALT_NONE + 1; why < FOLLOW_HALT_COUNT; why++) {
        int64_t halted = 0;

        for (int i = 0; i < s->n_parts; i++) {
            halted += (int)s->parts[i].follow.halt == why;
        }
        stats_put_sample(out, "seckill_guardian_halted", halted, "reason=\"%s\"",
                         follow_halt_name((enum follow_halt)why));
    }
}

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
    stats_put_head(out, "seckill_guardian_queued", STATS_GAUGE, "Events read and not committed.");
    for (int i = 0; i < s->n_parts; i++) {
        if (s->parts[i].is_assigned) {
            stats_put_sample(out, "seckill_guardian_queued", (int64_t)s->parts[i].queued_rows,
                             "partition=\"%d\"", i);
        }
    }
    put_halts(out, s);
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
    admin_check(report, "group", s->is_joined,
                s->is_joined ? "has partitions" : "waits for partitions");
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
         .replicas_min = (int)kafka->replicas_min,
         .keeps_all = true},
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
    if (!service_make_parts(s) || s->chores == NULL || event_add(s->chores, &chores) != 0) {
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

static bool start(struct service *s, struct err *err)
{
    s->mysql = settings_db(s->settings);
    s->mysql.answer_ms = 0; /* the sale waits for these */
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
    return s->pool != NULL && service_start_reading(s, err);
}

static void stop(struct service *s)
{
    pool_destroy(s->pool);
    kafka_consumer_destroy(s->consumer);
    admin_destroy(s->admin);
    for (int i = 0; i < s->n_parts; i++) {
        service_drop_queue(&s->parts[i]);
        service_free_batch(s->parts[i].spare);
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
