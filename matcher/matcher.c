/*
 * Events mark a part dirty and make `stepper` active; it runs once per turn of the loop, after all
 * that arrived in the turn has been told, and lets every dirty part act.  So records that come
 * together are applied together.  A slow timer marks everything dirty, for what is due by time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/failpoint.h"
#include "common/log.h"
#include "common/xmalloc.h"
#include "matcher/matcher_impl.h"
#include "matcher/metrics.h"

enum {
    STEP_MS = 50,
};

void matcher_touch(struct matcher *m, int partition)
{
    m->desks[partition].is_dirty = true;
    event_active(m->stepper, EV_TIMEOUT, 0);
}

void matcher_touch_all(struct matcher *m)
{
    for (int i = 0; i < m->n; i++) {
        m->desks[i].is_dirty = true;
    }
    event_active(m->stepper, EV_TIMEOUT, 0);
}

/* ---- acting ---- */

static void tell_halt(const struct matcher *m, int partition, const struct part_action *action)
{
    struct part_view view;

    part_look(m->parts[partition], &view);
    log_error("partition.halted", LOG_INT("partition", partition),
              LOG_STR("reason", part_halt_name(action->halt)), LOG_INT("watermark", view.watermark),
              LOG_STR("error", action->text), LOG_STR("todo", part_halt_todo(action->halt)));
}

static void tell_wait(int partition, enum part_wait before, const struct part_view *after)
{
    switch (after->wait) {
    case PART_WAIT_KEYS:
    case PART_WAIT_HEAD:
        log_error("partition.needs_rebuild", LOG_INT("partition", partition),
                  LOG_STR("reason", part_wait_name(after->wait)));
        break;
    case PART_WAIT_REBUILD:
        log_warn("partition.rebuilding", LOG_INT("partition", partition));
        break;
    case PART_WAIT_NONE:
    case PART_WAIT_COUNT:
        log_info("partition.waited", LOG_INT("partition", partition),
                 LOG_STR("for", part_wait_name(before)), LOG_INT("watermark", after->watermark));
        break;
    }
}

/* Returns false when the part must wait for the world to change. */
static bool act(struct matcher *m, int partition, const struct part_action *action)
{
    struct part *part = m->parts[partition];

    switch (action->type) {
    case PART_READ:
    case PART_APPLY:
        matcher_call_script(m, partition, action);
        return true;
    case PART_FETCH:
        matcher_fetch(m, partition, action->offset);
        return true;
    case PART_RANGE:
        kafka_consumer_query(m->consumer, partition);
        return true;
    case PART_PUBLISH:
        if (!publish_message(m->publish, partition, &action->message)) {
            return false;
        }
        log_debug(action->message.kind == PART_OUTCOME ? "outcome.told" : "dead.told",
                  LOG_INT("partition", partition), LOG_INT("offset", action->message.offset));
        part_published(part);
        return true;
    case PART_TICK:
        if (!publish_tick(m->publish, partition)) {
            part_ticked(part);
            return false;
        }
        log_debug("partition.tick", LOG_INT("partition", partition));
        return true;
    case PART_HALT:
        tell_halt(m, partition, action);
        return true;
    }
    return false;
}

static void step(struct matcher *m, int partition)
{
    struct part *part = m->parts[partition];
    struct part_view before;
    struct part_view after;

    part_look(part, &before);
    for (;;) {
        const unsigned can = (redis_is_up(m->redis) ? PART_CAN_CALL : 0U) |
                             (publish_is_open(m->publish) ? PART_CAN_PUBLISH : 0U);
        struct part_action action;

        if (!part_next(part, matcher_now(), can, &action) || !act(m, partition, &action)) {
            break;
        }
    }
    part_look(part, &after);
    if (m->desks[partition].told_wait != after.wait) {
        tell_wait(partition, m->desks[partition].told_wait, &after);
        m->desks[partition].told_wait = after.wait;
    }
    if (strcmp(before.phase, after.phase) != 0) {
        log_debug("partition.phase", LOG_INT("partition", partition), LOG_STR("from", before.phase),
                  LOG_STR("to", after.phase));
    }
    kafka_consumer_want(m->consumer, partition, part_wants(part));
}

static void on_step(evutil_socket_t fd ATTR_UNUSED, short what ATTR_UNUSED, void *arg)
{
    struct matcher *m = arg;

    matcher_look_at_lineage(m);
    for (int i = 0; i < m->n; i++) {
        if (m->desks[i].is_dirty) {
            m->desks[i].is_dirty = false;
            step(m, i);
        }
    }
    matcher_go_on_assigning(m);
}

struct matcher_tally matcher_count(const struct matcher *m)
{
    struct matcher_tally tally = {0};

    for (int i = 0; i < m->n; i++) {
        struct part_view view;

        part_look(m->parts[i], &view);
        tally.ours += m->desks[i].is_ours;
        tally.halted += m->desks[i].is_ours && view.halt != PART_HALT_NONE;
        tally.waiting += m->desks[i].is_ours && view.wait != PART_WAIT_NONE;
        tally.steady += m->desks[i].is_ours && view.is_steady;
        tally.quiet += part_is_quiet(m->parts[i]);
    }
    return tally;
}

/* ---- what the producer tells ---- */

static void on_acked(int partition, uint64_t seq, enum part_message_kind kind, void *arg)
{
    struct matcher *m = arg;
    struct part_view view;

    failpoint_kill("publish.some");
    part_acked(m->parts[partition], seq, kind);
    part_look(m->parts[partition], &view);
    if (view.unacked == 0) {
        failpoint_kill("publish.all");
    }
    matcher_touch(m, partition);
}

static void on_ticked(int partition, void *arg)
{
    struct matcher *m = arg;

    part_ticked(m->parts[partition]);
}

static void on_renewed(void *arg)
{
    struct matcher *m = arg;

    for (int i = 0; i < m->n; i++) {
        part_resend(m->parts[i]);
    }
    matcher_touch_all(m);
}

static void on_open(void *arg)
{
    matcher_touch_all(arg);
}

/* ---- time ---- */

static void go_on_draining(struct matcher *m, const struct matcher_tally *tally)
{
    if (!m->is_closing && (tally->quiet == m->n || clock_mono_ms() >= m->drain_by_ms)) {
        if (tally->quiet != m->n) {
            /* Nothing is lost: who takes over finds it in Redis and in the log. */
            log_warn("drain.unfinished", LOG_INT("partitions", m->n - tally->quiet));
        }
        m->is_closing = true;
        kafka_consumer_close(m->consumer);
    }
    if (m->is_closing && !m->was_drained && kafka_consumer_is_closed(m->consumer)) {
        m->was_drained = true;
        m->calls.drained(m->calls.arg);
    }
}

static void on_ticker(evutil_socket_t fd ATTR_UNUSED, short what ATTR_UNUSED, void *arg)
{
    struct matcher *m = arg;
    const struct matcher_tally tally = matcher_count(m);

    matcher_touch_all(m);
    for (int i = 0; i < m->n; i++) {
        matcher_watch_silence(m, i, clock_mono_ms());
    }
    if (m->is_draining) {
        go_on_draining(m, &tally);
        return;
    }
    if (tally.ours > 0 && tally.halted == tally.ours && !m->was_all_halted) {
        m->was_all_halted = true;
        m->calls.all_halted(m->calls.arg);
    }
    if (!m->is_ready && m->is_joined && !m->is_assigning && redis_is_up(m->redis) &&
        tally.steady + tally.halted + tally.waiting == tally.ours) {
        m->is_ready = true;
        m->calls.ready(m->calls.arg);
    }
}

/* ---- life ---- */

static void make_parts(struct matcher *m)
{
    const struct settings *s = m->settings;

    m->part_settings = (struct part_settings){
        .key_prefix = s->redis.key_prefix,
        .partitions = (int)s->kafka.partitions,
        .batch_max = s->batch_max,
        .queue_max = s->queue_max,
        .unacked_max = s->unacked_max,
        .outbox_max = s->outbox_max,
        .remembered_max = s->remembered_max,
        .clock_skew_max_ms = s->clock_skew_max_ms,
        .tick_min_ms = s->tick_min_ms,
        .tick_max_ms = s->tick_max_ms,
        .idle_ms = s->idle_ms,
    };
    m->n = (int)s->kafka.partitions;
    m->parts = xcalloc((size_t)m->n,
                       sizeof(struct part *)); /* NOLINT(bugprone-sizeof-expression): of pointers */
    m->desks = xcalloc((size_t)m->n, sizeof(*m->desks));
    m->ends = xcalloc((size_t)m->n, sizeof(*m->ends));
    for (int i = 0; i < m->n; i++) {
        m->parts[i] = part_create(&m->part_settings, i);
    }
}

static bool make_events(struct matcher *m, struct err *err)
{
    static const struct timeval period = {.tv_usec = STEP_MS * 1000L};

    m->stepper = event_new(m->base, -1, 0, on_step, m);
    m->ticker = event_new(m->base, -1, EV_PERSIST, on_ticker, m);
    if (m->stepper == NULL || m->ticker == NULL || event_add(m->ticker, &period) != 0) {
        return err_set(err, ERR_FATAL, "no timers");
    }
    return true;
}

static bool open_publish(struct matcher *m, const struct kafka_settings *kafka, struct err *err)
{
    const struct settings *s = m->settings;
    const struct publish_settings publish = {
        .kafka = kafka,
        .topic_orders = s->kafka.topic_orders,
        .topic_outcomes = s->kafka.topic_outcomes,
        .topic_dead = s->kafka.topic_dead,
        .linger_ms = s->linger_ms,
        .acked = on_acked,
        .ticked = on_ticked,
        .renewed = on_renewed,
        .open = on_open,
        .arg = m,
    };

    m->publish = publish_create(m->base, &publish, err);
    return m->publish != NULL;
}

struct matcher *matcher_create(struct event_base *base, const struct settings *settings,
                               const struct kafka_settings *kafka,
                               const struct matcher_calls *calls, struct err *err)
{
    struct matcher *m = xcalloc(1, sizeof(*m));

    m->base = base;
    m->settings = settings;
    m->calls = *calls;
    make_parts(m);
    if (!make_events(m, err) || !matcher_open_redis(m, err) || !open_publish(m, kafka, err) ||
        !matcher_open_log(m, kafka, err)) {
        matcher_destroy(m);
        return NULL;
    }
    return m;
}

void matcher_destroy(struct matcher *m)
{
    if (m == NULL) {
        return;
    }
    if (m->redis != NULL) {
        redis_destroy(m->redis); /* answers the calls under way, which touch the parts */
    }
    kafka_consumer_destroy(m->consumer);
    publish_destroy(m->publish);
    if (m->ticker != NULL) {
        event_free(m->ticker);
    }
    if (m->stepper != NULL) {
        event_free(m->stepper);
    }
    for (int i = 0; i < m->n; i++) {
        part_destroy(m->parts[i]);
    }
    free(m->parts);
    free(m->desks);
    free(m->ends);
    free(m);
}

void matcher_drain(struct matcher *m)
{
    m->is_draining = true;
    m->drain_by_ms = clock_mono_ms() + m->settings->drain_ms / 2;
    for (int i = 0; i < m->n; i++) {
        part_drain(m->parts[i]);
    }
}

bool matcher_has_halted(const struct matcher *m)
{
    for (int i = 0; i < m->n; i++) {
        struct part_view view;

        part_look(m->parts[i], &view);
        if (view.halt != PART_HALT_NONE) {
            return true;
        }
    }
    return false;
}

static void collect(struct buf *out, void *arg)
{
    struct matcher *m = arg;
    const struct metrics_source source = {
        .parts = m->parts,
        .ends = m->ends,
        .n = (size_t)m->n,
        .renewals = publish_renewals(m->publish),
        .wall_ms = clock_wall_ms(),
    };

    for (int i = 0; i < m->n; i++) {
        m->ends[i] = kafka_consumer_end(m->consumer, i);
    }
    metrics_write(out, &source);
}

void matcher_register(struct matcher *m, struct stats *stats)
{
    m->latency = stats_histogram(stats, "seckill_matcher_apply_seconds", "",
                                 "From sending a batch to Redis until its answer.");
    stats_collect(stats, collect, m);
}

void matcher_check(struct matcher *m, struct admin_report *report)
{
    const struct matcher_tally tally = matcher_count(m);
    char text[120];

    admin_check(report, "redis", redis_is_up(m->redis),
                redis_is_up(m->redis) ? NULL : "not connected, or not fit; see the log");
    admin_check(report, "group", m->is_joined && !m->is_assigning,
                m->is_joined ? "has partitions" : "waits for partitions");
    (void)snprintf(text, sizeof(text), "%d ours, %d applied, %d waiting for a rebuild, %d halted",
                   tally.ours, tally.steady, tally.waiting, tally.halted);
    admin_check(report, "partitions", tally.steady == tally.ours, text);
}
