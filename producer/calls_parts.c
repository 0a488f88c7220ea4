/*
 * The parts of calls, made and listened to.  What a part tells names a call by its number: one that
 * is over, or has gone on to another stage, is passed over.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/mutant.h"
#include "common/probe.h"
#include "producer/calls_internal.h"

static void on_look(uint64_t party, const struct door_look *look, struct slice item_id, void *arg)
{
    struct calls *c = arg;
    struct call *call = call_of(c, party);

    door_on_look(c->door, look, item_id.len > 0 ? item_id : (struct slice){NULL, 0},
                 clock_mono_ms());
    if (call != NULL && call->stage == STAGE_LOOKING) {
        call_looked(c, call, look);
    }
}

static void on_settled(uint64_t party, enum inflight_fate fate, int64_t offset, void *arg)
{
    static const char *const fates[] = {
        [INFLIGHT_DELIVERED] = "delivered",
        [INFLIGHT_FAILED] = "failed",
        [INFLIGHT_UNKNOWN] = "unknown",
    };
    struct calls *c = arg;
    struct call *call = call_of(c, party);

    if (call == NULL || call->stage != STAGE_FLYING) {
        return;
    }
    call->offset = offset;
    log_debug("command.settled", LOG_STR("order_id", call->order_id), LOG_STR("fate", fates[fate]),
              LOG_INT("partition", call->partition), LOG_INT("offset", offset),
              LOG_INT("us", clock_mono_us() - call->started_us));
    if (fate == INFLIGHT_DELIVERED) {
        histogram_add(c->accepted, clock_mono_us() - call->started_us);
    }
    if (call->kind == CALLS_ORDER) {
        order_on_settled(c, call, fate);
    } else {
        command_on_settled(c, call, fate);
    }
}

static void on_told(uint64_t party, const struct event *event, int64_t offset, void *arg)
{
    struct calls *c = arg;
    struct call *call = call_of(c, party);

    if (call == NULL) {
        return;
    }
    call->waiter = WAITERS_NONE;
    if (event == NULL || (event->type == EVENT_REFUSED && call->kind == CALLS_SHOW)) {
        call_end_wait(c, call); /* an order that is refused has no new state: look at what it has */
        return;
    }
    switch (call->kind) {
    case CALLS_ORDER:
        order_on_event(c, call, event, offset);
        break;
    case CALLS_SHOW:
        show_on_event(c, call, event, offset);
        break;
    default:
        command_on_event(c, call, event, offset);
        break;
    }
}

static void on_record(uint64_t party, enum record_result result, struct slice entry, void *arg)
{
    struct calls *c = arg;
    struct call *call = call_of(c, party);

    if (call != NULL && call->stage == STAGE_READING) {
        show_on_record(c, call, result, entry);
    }
}

static void on_report(const struct publish_report *report, void *arg)
{
    static const enum producer_stat stat[] = {
        [INFLIGHT_DELIVERED] = STAT_DELIVERED,
        [INFLIGHT_FAILED] = STAT_FAILED,
        [INFLIGHT_UNKNOWN] = STAT_UNKNOWN,
    };
    struct calls *c = arg;
    const int64_t now_ms = clock_mono_ms();

    logclock_learn(&c->clock, report->timestamp_ms, now_ms);
    if (report->fate == INFLIGHT_DELIVERED) {
        door_on_placed(c->door,
                       &(struct door_placed){
                           .partition = report->partition,
                           .offset = report->offset,
                           .since_ms = inflight_since(c->inflight, report->ticket),
                       },
                       now_ms);
    }
    if (inflight_settle(c->inflight, report->ticket, report->fate, report->offset)) {
        stats_add(c->stats, stat[report->fate], 1);
    } else {
        stats_add(c->stats, STAT_LATE, 1);
    }
}

static void on_outcome(const struct outcome *outcome, void *arg)
{
    struct calls *c = arg;

    PROBE(outcome_read, outcome->partition, outcome->offset);
    if (!door_on_outcome(c->door, outcome, clock_mono_ms())) {
        log_limited(LOG_LEVEL_ERROR, "outcome.other_log", LOG_INT("partition", outcome->partition),
                    LOG_INT("offset", outcome->offset), LOG_STR("genesis", outcome->genesis));
        return;
    }
    for (size_t i = 0; i < outcome->n_events; i++) {
        const struct event *event = &outcome->events[i];

        if (event->order_id[0] == '\0' ||
            (outcome_is_passing(outcome, i) && !MUTANT(PASSING_TOLD))) {
            continue;
        }
        if (event->type == EVENT_RESERVED || event->type == EVENT_REJECTED ||
            (event->type == EVENT_DUPLICATE && event->state != ORDER_NONE) ||
            (event->type == EVENT_REFUSED && event->qty > 0)) {
            inflight_decided(c->inflight, slice_str(event->order_id));
        }
        log_debug("outcome.seen", LOG_STR("order_id", event->order_id),
                  LOG_STR("event", event_type_name(event->type)),
                  LOG_INT("partition", outcome->partition), LOG_INT("offset", outcome->offset));
        (void)waiters_tell(c->waiters, event, outcome->offset); /* nobody need be waiting */
    }
}

static void on_log_end(int partition, int64_t end, void *arg)
{
    struct calls *c = arg;

    door_on_log_end(c->door, partition, end);
    c->pulse_ms = 0; /* has Redis come so far? */
}

static void on_ready(int partition, bool is_ready, void *arg)
{
    struct calls *c = arg;

    log_info(is_ready ? "stream.ready" : "stream.lost", LOG_INT("partition", partition));
    door_on_stream(c->door, partition, is_ready);
}

static void on_kafka(bool is_up, void *arg)
{
    struct calls *c = arg;

    if (is_up) {
        log_info("kafka.up");
    } else {
        log_warn("kafka.away");
    }
    door_on_kafka(c->door, is_up);
}

bool calls_make_parts(struct calls *c, struct err *err)
{
    const struct calls_settings *s = &c->settings;
    const struct lookup_settings lookup = {
        .host = s->redis.host,
        .port = (int)s->redis.port,
        .password = s->redis.password,
        .key_prefix = s->redis.key_prefix,
        .timeout_ms = s->redis_timeout_ms,
        .partitions = (int)s->topics.partitions,
        .stats = s->stats,
        .done = on_look,
        .arg = c,
    };
    const struct publish_settings publish = {
        .kafka = s->kafka,
        .topic = s->topics.topic_orders,
        .partitions = (int)s->topics.partitions,
        .linger_min_ms = s->linger_min_ms,
        .linger_max_ms = s->linger_max_ms,
        .batch = s->publish_batch,
        .queue_max = s->publish_queue_max,
        .rate = s->publish_rate,
        .timeout_ms = s->send_timeout_ms,
        .stats = s->stats,
        .report = on_report,
        .arg = c,
    };
    const struct stream_settings stream = {
        .kafka = s->kafka,
        .topic = s->topics.topic_outcomes,
        .topic_orders = s->topics.topic_orders,
        .partitions = (int)s->topics.partitions,
        .stats = s->stats,
        .calls = {.outcome = on_outcome,
                  .log_end = on_log_end,
                  .ready = on_ready,
                  .kafka = on_kafka,
                  .arg = c},
    };
    const struct record_settings record = {
        .host = s->mysql.host,
        .port = (int)s->mysql.port,
        .user = s->mysql.user,
        .password = s->mysql.password,
        .database = s->mysql.database,
        .timeout_ms = s->mysql_timeout_ms,
        .threads = (int)s->mysql_threads,
        .queue_max = s->mysql_queue_max,
        .stats = s->stats,
        .done = on_record,
        .arg = c,
    };

    c->inflight = inflight_create((size_t)s->inflight_max, s->send_timeout_ms, on_settled, c);
    c->waiters = waiters_create((size_t)s->waiters_max, on_told, c);
    c->door = door_create(&s->door, c->inflight);
    return (c->lookup = lookup_create(c->base, &lookup, err)) != NULL &&
           (c->publish = publish_create(c->base, &publish, err)) != NULL &&
           (c->record = record_create(c->base, &record, err)) != NULL &&
           (c->stream = stream_create(c->base, &stream, err)) != NULL;
}
