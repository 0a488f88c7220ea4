/*
 * A ticket is all that a report brings back: partition (12 bits), what it was (2), seq (50).
 */
#include "matcher/publish.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/backoff.h"
#include "common/command.h"
#include "common/log.h"
#include "common/probe.h"
#include "common/xmalloc.h"

enum {
    RENEW_MIN_MS = 100,
    RENEW_MAX_MS = 5000,

    SEQ_BITS = 50,
    KIND_BITS = 2,
    KIND_TICK = 3, /* beside enum part_message_kind */
};

struct publish {
    struct event_base *base; /* borrowed */
    struct publish_settings settings;
    struct kafka_producer *producer; /* NULL while a new one is awaited */
    struct event *timer;             /* runs while the producer is broken */
    struct backoff backoff;
    bool is_broken;
    bool is_full;
    uint64_t renewals;
    char tick[32];
    size_t tick_len;
};

static uint64_t ticket_of(int partition, unsigned kind, uint64_t seq)
{
    return (uint64_t)partition << (SEQ_BITS + KIND_BITS) | (uint64_t)kind << SEQ_BITS |
           (seq & ((UINT64_C(1) << SEQ_BITS) - 1));
}

static void break_down(struct publish *p, const char *why)
{
    struct timeval wait;
    int64_t ms;

    if (p->is_broken) {
        return;
    }
    p->is_broken = true;
    ms = backoff_next(&p->backoff, arc4random());
    wait = (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    (void)event_add(p->timer, &wait); /* fails only without memory */
    log_limited(LOG_LEVEL_WARN, "publish.broken", LOG_STR("error", why), LOG_INT("again_ms", ms));
}

static void on_report(const struct kafka_report *report, void *arg)
{
    struct publish *p = arg;
    const int partition = (int)(report->ticket >> (SEQ_BITS + KIND_BITS));
    const unsigned kind = (unsigned)(report->ticket >> SEQ_BITS) & ((1U << KIND_BITS) - 1);
    const uint64_t seq = report->ticket & ((UINT64_C(1) << SEQ_BITS) - 1);

    PROBE(message_settled, report->ticket, partition, (int)report->delivery);
    if (kind == KIND_TICK) {
        p->settings.ticked(partition, p->settings.arg);
    }
    if (report->delivery != KAFKA_DELIVERED) {
        break_down(p, report->why);
        return;
    }
    /* After a failure, acknowledgements of later messages prove nothing about earlier ones. */
    if (p->is_broken) {
        return;
    }
    backoff_reset(&p->backoff);
    if (kind != KIND_TICK) {
        p->settings.acked(partition, seq, (enum part_message_kind)kind, p->settings.arg);
    }
    if (p->is_full) {
        p->is_full = false;
        p->settings.open(p->settings.arg);
    }
}

static void on_fatal(const char *why, void *arg)
{
    break_down(arg, why);
}

static bool make_producer(struct publish *p, struct err *err)
{
    const struct kafka_producer_settings settings = {
        .kafka = p->settings.kafka,
        .linger_ms = p->settings.linger_ms,
        .message_timeout_ms = 0,
        .report = on_report,
        .fatal = on_fatal,
        .arg = p,
    };

    p->producer = kafka_producer_create(p->base, &settings, err);
    if (p->producer == NULL) {
        return false;
    }
    kafka_producer_warm(p->producer, p->settings.topic_outcomes);
    kafka_producer_warm(p->producer, p->settings.topic_orders);
    return true;
}

static void renew(evutil_socket_t fd ATTR_UNUSED, short what ATTR_UNUSED, void *arg)
{
    struct publish *p = arg;
    struct err err;

    kafka_producer_destroy(p->producer);
    p->is_broken = false;
    p->is_full = false;
    if (!make_producer(p, &err)) {
        break_down(p, err.text);
        return;
    }
    p->renewals++;
    log_info("publish.renewed", LOG_INT("renewals", (int64_t)p->renewals));
    p->settings.renewed(p->settings.arg);
}

struct publish *publish_create(struct event_base *base, const struct publish_settings *settings,
                               struct err *err)
{
    const struct command tick = {.type = COMMAND_TICK};
    struct publish *p = xcalloc(1, sizeof(*p));

    p->base = base;
    p->settings = *settings;
    p->backoff = BACKOFF_INIT(RENEW_MIN_MS, RENEW_MAX_MS);
    p->tick_len = command_format(&tick, p->tick, sizeof(p->tick));
    p->timer = evtimer_new(base, renew, p);
    if (p->timer == NULL || !make_producer(p, err)) {
        publish_destroy(p);
        return NULL;
    }
    return p;
}

void publish_destroy(struct publish *p)
{
    if (p == NULL) {
        return;
    }
    kafka_producer_destroy(p->producer);
    if (p->timer != NULL) {
        event_free(p->timer);
    }
    free(p);
}

bool publish_is_open(const struct publish *p)
{
    return !p->is_broken && !p->is_full;
}

static bool send_message(struct publish *p, const struct kafka_message *message)
{
    struct err err;

    if (!publish_is_open(p)) {
        return false;
    }
    if (kafka_producer_send(p->producer, message, &err)) {
        PROBE(message_handed, message->ticket, message->partition);
        return true;
    }
    if (err.kind == ERR_RETRY) {
        p->is_full = true;
    } else {
        break_down(p, err.text);
    }
    return false;
}

bool publish_message(struct publish *p, int partition, const struct part_message *message)
{
    char origin[12];
    char offset[24];
    struct kafka_header headers[] = {
        {"reason", slice_str(message->detail)},
        {"topic", slice_str(p->settings.topic_orders)},
        {"partition", {origin, 0}},
        {"offset", {offset, 0}},
    };
    struct kafka_message m = {
        .topic = p->settings.topic_outcomes,
        .partition = partition,
        .key = message->key,
        .value = message->value,
        .ticket = ticket_of(partition, message->kind, message->seq),
    };

    if (message->kind == PART_DEAD) {
        headers[2].value.len = (size_t)snprintf(origin, sizeof(origin), "%d", partition);
        headers[3].value.len =
            (size_t)snprintf(offset, sizeof(offset), "%" PRId64, message->offset);
        m.topic = p->settings.topic_dead;
        m.headers = headers;
        m.n_headers = sizeof(headers) / sizeof(headers[0]);
    }
    return send_message(p, &m);
}

bool publish_tick(struct publish *p, int partition)
{
    const struct kafka_message m = {
        .topic = p->settings.topic_orders,
        .partition = partition,
        .value = {p->tick, p->tick_len},
        .ticket = ticket_of(partition, KIND_TICK, 0),
    };

    return send_message(p, &m);
}

uint64_t publish_renewals(const struct publish *p)
{
    return p->renewals;
}
