/*
 * Life of a partition here:
 *
 *     assigned ──> load job ──> follow_loaded() ──> seek ──> records ──> batches ──> commit jobs
 *                     ^                                                               │
 *                     └────────── MySQL is elsewhere (another guardian) <─────────────┘
 *
 * A job belongs to a life: a partition that was revoked, has to start over, or is halted at once begins
 * a new one, and what jobs of earlier lives bring back is ignored.  That needs no more care than this, because a
 * commit compares the position itself; it only saves work.  A new life's first job waits for the
 * last one of the life before, so a partition never has two writers.
 */
#include "guardian/service_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/xmalloc.h"
#include "guardian/commit.h"

enum {
    RETRY_BASE_MS = 50,
    RETRY_MAX_MS = 5000,
    LOG_END_MS = 1000, /* longest wait for an answer */
};

/* ---- jobs: the first two run on the pool's threads ---- */

static void run_load(struct pool_job *job, struct pool_tools *tools)
{
    struct load *load = (struct load *)job;

    load->ok = commit_load(tools->db, load->part->partition, &load->now, &load->err);
}

static void run_probe(struct pool_job *job, struct pool_tools *tools)
{
    struct probe *probe = (struct probe *)job;
    const struct part *part = probe->part;
    const struct service *s = part->service;

    probe->ok = peek_probe(tools->redis, part->partition, &probe->found, &probe->err);
    if (!kafka_consumer_ask_end(s->consumer, s->settings->kafka.topic_orders, part->partition,
                                LOG_END_MS, &probe->log_end)) {
        probe->log_end = -1;
    }
}

/* ---- lives ---- */

bool service_is_reading(const struct part *part)
{
    return part->is_assigned && part->is_loaded && !follow_is_halted(&part->follow) &&
           !part->service->is_draining;
}

void service_regulate(struct part *part)
{
    struct service *s = part->service;
    size_t bound = 2 * (size_t)s->settings->batch_rows;

    part->is_held =
        !service_is_reading(part) || part->queued_rows >= (part->is_held ? bound / 2 : bound);
    if (part->is_assigned && s->consumer != NULL) {
        kafka_consumer_want(s->consumer, part->partition, !part->is_held);
    }
}

void service_arm(struct part *part, int64_t delay_ms)
{
    const struct timeval tv = {
        .tv_sec = delay_ms / 1000,
        .tv_usec = (delay_ms % 1000) * 1000,
    };

    if (event_add(part->timer, &tv) != 0) {
        log_error("event.failed", LOG_INT("partition", part->partition));
    }
}

void service_submit_load(struct part *part)
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

void service_start_over(struct part *part)
{
    part->is_loaded = false;
    part->is_sought = false;
    service_drop_queue(part);
    follow_reset(&part->follow);
    service_regulate(part);
    (void)event_del(part->timer);
    if (part->is_assigned && !follow_is_halted(&part->follow)) {
        service_submit_load(part);
    }
}

static void tell_halted(struct part *part)
{
    log_error("partition.halted", LOG_INT("partition", part->partition),
              LOG_STR("reason", follow_halt_name(part->follow.halt)),
              LOG_INT("position", part->committed.position),
              LOG_STR("error", follow_why(&part->follow)),
              LOG_STR("todo", follow_halt_todo(part->follow.halt)));
    service_regulate(part);
}

/* ---- where the consumer reads ---- */

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
            starts[n].offset = follow_read_offset(&part->follow);
            part->is_sought = true;
            part->is_adrift = false;
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
        service_regulate(&s->parts[i]);
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
    s->is_joined = true;
    s->is_assigning = true;
    for (size_t i = 0; i < n; i++) {
        if (partitions[i] < s->n_parts) {
            s->parts[partitions[i]].is_assigned = true;
            service_start_over(&s->parts[partitions[i]]);
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
    s->is_joined = false;
    s->is_assigning = false;
    (void)event_del(s->assign_timer);
    for (int i = 0; i < s->n_parts; i++) {
        struct part *part = &s->parts[i];

        if (part->is_assigned) {
            part->is_assigned = false;
            service_start_over(part);
        }
    }
}

/* Not from within a callback of the consumer. */
static void assign_soon(struct service *s)
{
    static const struct timeval at_once = {0};

    s->is_assigning = true;
    if (event_add(s->assign_timer, &at_once) != 0) {
        log_error("event.failed");
    }
}

void service_seek(struct part *part)
{
    struct service *s = part->service;
    struct err err = {0};

    if (s->is_assigning || !part->is_assigned) {
        return;
    }
    if (part->is_adrift) {
        assign_soon(s);
        return;
    }
    part->is_sought = true;
    service_regulate(part);
    if (!kafka_consumer_seek(s->consumer, part->partition, follow_seek_offset(&part->follow),
                             &err)) {
        /* follow asks again when nothing comes. */
        log_limited(LOG_LEVEL_WARN, "kafka.seek_failed", LOG_INT("partition", part->partition),
                    LOG_ERR(&err));
    }
}

/* Nobody is to rebuild Redis by itself. */
static void halt_lost(struct part *part)
{
    char why[sizeof(part->follow.why)];

    (void)snprintf(why, sizeof(why), "%s", follow_why(&part->follow));
    service_act(part, follow_halt(&part->follow, FOLLOW_HALT_LOST, why));
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

void service_act(struct part *part, enum follow_action action)
{
    switch (action) {
    case FOLLOW_NOTHING:
        break;
    case FOLLOW_SEEK:
        log_debug("partition.seek", LOG_INT("partition", part->partition),
                  LOG_INT("offset", follow_seek_offset(&part->follow)));
        service_seek(part);
        break;
    case FOLLOW_PROBE:
        ask_redis(part);
        break;
    case FOLLOW_REBUILD:
        if (part->service->settings->auto_rebuild) {
            log_error("outcome.lost", LOG_INT("partition", part->partition),
                      LOG_STR("why", follow_why(&part->follow)));
            service_mend(part);
        } else {
            halt_lost(part);
        }
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
            service_submit_load(part);
        }
        return;
    }
    if (!load->ok) {
        stats_add(s->stats, STAT_RETRIES, 1);
        log_limited(LOG_LEVEL_WARN, "mysql.unwell", LOG_INT("partition", part->partition),
                    LOG_ERR(&load->err));
        service_arm(part, backoff_next(&part->backoff, arc4random()));
        return;
    }
    backoff_reset(&part->backoff);
    part->committed = load->now;
    part->is_loaded = true;
    log_info("partition.loaded", LOG_INT("partition", part->partition),
             LOG_INT("position", load->now.position),
             LOG_INT("outcomes_offset", load->now.outcomes_offset));
    service_act(part, follow_loaded(&part->follow, &load->now, clock_mono_ms()));
    if (s->is_assigning) {
        assign_if_loaded(s);
    }
    service_regulate(part);
}

static void done_probe(struct pool_job *job, void *arg ATTR_UNUSED)
{
    struct probe *probe = (struct probe *)job;
    struct part *part = probe->part;

    if (!probe->ok) {
        log_limited(LOG_LEVEL_WARN, "redis.unwell", LOG_INT("partition", part->partition),
                    LOG_ERR(&probe->err));
    }
    if (probe->log_end >= 0 && probe->life == part->life && service_is_reading(part)) {
        service_act(part, follow_log_end(&part->follow, probe->log_end));
    }
    /* The topic's end matters only if Redis is ahead of us. */
    if (!probe->ok || !probe->found.is_known || probe->life != part->life ||
        !service_is_reading(part) || probe->found.watermark <= part->follow.head.position) {
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
    if (!ok || probe->life != part->life || !service_is_reading(part)) {
        return;
    }
    if (begin < end && !part->is_held && !s->is_assigning &&
        follow_stands_still(&part->follow, end, clock_mono_ms())) {
        log_warn("outcomes.stuck", LOG_INT("partition", partition), LOG_BOOL("out_of_range", false),
                 LOG_STR("why", "nothing comes, though there is more"));
        part->is_adrift = true;
        assign_soon(s);
        return;
    }
    probe->found.topic_begin = begin;
    probe->found.topic_end = end;
    service_act(part, follow_probed(&part->follow, &probe->found, clock_mono_ms()));
}

/* ---- what the consumer tells ---- */

static void on_record(const struct kafka_record *record, void *arg)
{
    struct service *s = arg;
    struct part *part = &s->parts[record->partition];
    struct progress base = part->follow.head;
    enum follow_action action;
    struct err err = {0};

    if (!service_is_reading(part)) {
        return;
    }
    if (!outcome_parse(&s->outcome, record->value, &err)) {
        stats_add(s->stats, STAT_FOREIGN, 1);
        log_limited(LOG_LEVEL_WARN, "outcome.foreign", LOG_INT("partition", record->partition),
                    LOG_INT("offset", record->offset), LOG_ERR(&err));
        service_act(part, follow_garbage(&part->follow, record->offset, clock_mono_ms()));
        return;
    }
    switch (follow_record(&part->follow, &s->outcome, record->offset, clock_mono_ms(), &action)) {
    case FOLLOW_APPLY:
        service_apply(part, &base);
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
    service_act(part, action);
}

static void on_stuck(int partition, bool is_out_of_range, const char *why, void *arg)
{
    struct service *s = arg;
    struct part *part = &s->parts[partition];

    log_limited(LOG_LEVEL_WARN, "outcomes.stuck", LOG_INT("partition", partition),
                LOG_BOOL("out_of_range", is_out_of_range), LOG_STR("why", why));
    part->is_adrift = part->is_adrift || is_out_of_range;
    if (!service_is_reading(part)) {
        return;
    }
    service_act(part, follow_stuck(&part->follow, is_out_of_range, why, clock_mono_ms()));
}

static void on_fatal(const char *why, void *arg)
{
    struct service *s = arg;

    log_error("kafka.fatal", LOG_STR("why", why));
    daemon_leave(s->daemon, DAEMON_EXIT_FATAL);
}

/* ---- starting ---- */

static void on_timer(evutil_socket_t fd ATTR_UNUSED, short what ATTR_UNUSED, void *arg)
{
    struct part *part = arg;

    if (part->is_assigned && !part->is_loaded && !follow_is_halted(&part->follow)) {
        service_submit_load(part);
    } else {
        service_kick(part);
    }
}

bool service_make_parts(struct service *s)
{
    s->assign_timer = evtimer_new(s->base, on_assign_timer, s);
    s->n_parts = (int)s->settings->kafka.partitions;
    s->parts = xcalloc((size_t)s->n_parts, sizeof(*s->parts));
    for (int i = 0; i < s->n_parts; i++) {
        struct part *part = &s->parts[i];

        part->service = s;
        part->partition = i;
        part->is_held = true;
        part->begun_ms = -s->settings->linger_ms;
        part->committed = PROGRESS_NONE;
        part->backoff = BACKOFF_INIT(RETRY_BASE_MS, RETRY_MAX_MS);
        part->load = (struct load){.job = {.run = run_load, .done = done_load}, .part = part};
        part->probe = (struct probe){.job = {.run = run_probe, .done = done_probe}, .part = part};
        service_mend_init(part);
        TAILQ_INIT(&part->queue);
        follow_init(&part->follow, i, s->n_parts, s->settings->probe_ms);
        part->timer = evtimer_new(s->base, on_timer, part);
        if (part->timer == NULL) {
            return false;
        }
    }
    return s->assign_timer != NULL;
}

bool service_start_reading(struct service *s, struct err *err)
{
    const struct kafka_consumer_settings consumer = {
        .kafka = &s->kafka,
        .topic = s->settings->kafka.topic_outcomes,
        .group_id = s->settings->group_id,
        .instance_id = s->settings->instance_id,
        .session_timeout_ms = s->settings->session_timeout_ms,
        .is_split = true,
        .is_patient = true,
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
