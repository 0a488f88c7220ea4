#include "guardian/pick.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/xmalloc.h"

enum {
    TURN_MS = 50,
};

struct pick {
    struct event_base *base;
    struct kafka_consumer *consumer;
    int partition;
    const struct pick_wait *wait;
    int64_t deadline_ms;
    bool has_failed;
    struct err err;

    bool is_asking;
    int64_t begin, end;
    const struct pick_span *span; /* being read; NULL: none */
    int64_t next;
};

static void fail(struct pick *p, enum err_kind kind, const char *why)
{
    if (!p->has_failed) {
        p->has_failed = true;
        (void)err_set(&p->err, kind, "kafka: partition %d: %s", p->partition, why);
    }
    (void)event_base_loopbreak(p->base);
}

static void on_record(const struct kafka_record *record, void *arg)
{
    struct pick *p = arg;

    if (p->span == NULL || p->has_failed || record->offset < p->next || p->next > p->span->to) {
        return;
    }
    if (record->offset > p->next) {
        fail(p, ERR_FATAL, "records are missing");
        return;
    }
    p->next++;
    p->deadline_ms = clock_mono_ms() + p->wait->patience_ms;
    p->span->each(record, p->span->arg);
    if (p->next > p->span->to) {
        (void)event_base_loopbreak(p->base);
    }
}

static void on_stuck(int partition ATTR_UNUSED, bool is_out_of_range, const char *why, void *arg)
{
    fail(arg, is_out_of_range ? ERR_FATAL : ERR_RETRY, why);
}

static void on_fatal(const char *why, void *arg)
{
    fail(arg, ERR_RETRY, why);
}

static void on_range(int partition, bool ok, int64_t begin, int64_t end, void *arg)
{
    struct pick *p = arg;

    if (!p->is_asking || partition != p->partition) {
        return;
    }
    if (!ok) {
        kafka_consumer_query(p->consumer, p->partition);
        return;
    }
    p->is_asking = false;
    p->begin = begin;
    p->end = end;
    (void)event_base_loopbreak(p->base);
}

struct pick *pick_create(const struct kafka_settings *kafka, const char *topic, int partition,
                         const struct pick_wait *wait, struct err *err)
{
    struct pick *p = xcalloc(1, sizeof(*p));
    const struct kafka_consumer_settings settings = {
        .kafka = kafka,
        .topic = topic,
        .calls = {.record = on_record, .stuck = on_stuck, .fatal = on_fatal, .range = on_range},
        .arg = p,
    };
    struct err why;

    p->partition = partition;
    p->wait = wait;
    p->base = event_base_new();
    if (p->base == NULL) {
        (void)err_set(&why, ERR_RETRY, "no event loop");
    } else {
        p->consumer = kafka_consumer_create(p->base, &settings, &why);
    }
    if (p->consumer == NULL) {
        pick_destroy(p);
        (void)err_set(err, ERR_RETRY, "%s", why.text);
        return NULL;
    }
    return p;
}

void pick_destroy(struct pick *p)
{
    if (p == NULL) {
        return;
    }
    kafka_consumer_destroy(p->consumer);
    if (p->base != NULL) {
        event_base_free(p->base);
    }
    free(p);
}

/* Turns the loop for a moment; false when nothing more is to be waited for. */
static bool turn(struct pick *p, struct err *err)
{
    const struct timeval moment = {.tv_usec = TURN_MS * 1000L};

    if (p->has_failed) {
        *err = p->err;
        return false;
    }
    if (p->wait->cancelled != NULL && atomic_load(p->wait->cancelled)) {
        return err_set(err, ERR_RETRY, "given up");
    }
    if (clock_mono_ms() >= p->deadline_ms) {
        return err_set(err, ERR_RETRY, "kafka: partition %d: no answer in time", p->partition);
    }
    (void)event_base_loopexit(p->base, &moment);
    (void)event_base_dispatch(p->base);
    return true;
}

bool pick_range(struct pick *p, int64_t *begin, int64_t *end, struct err *err)
{
    p->deadline_ms = clock_mono_ms() + p->wait->patience_ms;
    p->is_asking = true;
    kafka_consumer_query(p->consumer, p->partition);
    while (p->is_asking) {
        if (!turn(p, err)) {
            return false;
        }
    }
    *begin = p->begin;
    *end = p->end;
    return true;
}

bool pick_read(struct pick *p, const struct pick_span *span, struct err *err)
{
    const struct kafka_start start = {p->partition, span->from};
    bool ok = true;

    p->span = span;
    p->next = span->from;
    p->deadline_ms = clock_mono_ms() + p->wait->patience_ms;
    if (!kafka_consumer_assign(p->consumer, &start, 1, err)) {
        return false;
    }
    while (ok && p->next <= span->to) {
        ok = turn(p, err);
    }
    p->span = NULL;
    return ok;
}
