/*
 * A partition is assigned for each reading, so what is left of the one before cannot come: records
 * of another partition, or from before the wanted offset, are passed over all the same.
 */
#include "guardian/scan.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/xmalloc.h"

enum { TURN_MS = 50 };

struct scan {
    struct event_base *base;
    struct kafka_consumer *consumer;
    const char *topic; /* borrowed */
    int64_t patience_ms, deadline_ms;
    int partition; /* being read or asked about */
    bool has_failed;
    struct err err;

    /* Of a reading. */
    int64_t next, to;
    bool is_over;
    scan_fn *take;
    void *arg;

    /* Of a question; filled in when is_told. */
    bool is_asking, is_told;
    int64_t begin, end;
};

static bool is_done(const struct scan *s)
{
    return s->has_failed || s->is_over || s->next >= s->to;
}

static void on_record(const struct kafka_record *record, void *arg)
{
    struct scan *s = arg;

    if (record->partition != s->partition || record->offset < s->next || is_done(s)) {
        return;
    }
    s->next = record->offset + 1;
    s->deadline_ms = clock_mono_ms() + s->patience_ms;
    s->is_over = record->offset < s->to && !s->take(record, s->arg);
    if (is_done(s)) {
        (void)event_base_loopbreak(s->base);
    }
}

static void fail(struct scan *s, const char *why)
{
    s->has_failed = true;
    (void)err_set(&s->err, ERR_RETRY, "kafka: %s, partition %d: %s", s->topic, s->partition, why);
    (void)event_base_loopbreak(s->base);
}

static void on_stuck(int partition, bool is_out_of_range ATTR_UNUSED, const char *why, void *arg)
{
    struct scan *s = arg;

    if (partition == s->partition) {
        fail(s, why);
    }
}

static void on_fatal(const char *why, void *arg)
{
    fail(arg, why);
}

static void on_range(int partition, bool ok, int64_t begin, int64_t end, void *arg)
{
    struct scan *s = arg;

    if (!s->is_asking || partition != s->partition) {
        return;
    }
    if (!ok) {
        kafka_consumer_query(s->consumer, partition);
        return;
    }
    s->is_told = true;
    s->begin = begin;
    s->end = end;
    (void)event_base_loopbreak(s->base);
}

struct scan *scan_create(const struct kafka_settings *kafka, const char *topic, int64_t patience_ms,
                         struct err *err)
{
    struct scan *s = xcalloc(1, sizeof(*s));
    const struct kafka_consumer_settings settings = {
        .kafka = kafka,
        .topic = topic,
        .calls =
            {
                .record = on_record,
                .stuck = on_stuck,
                .fatal = on_fatal,
                .range = on_range,
            },
        .arg = s,
    };

    s->topic = topic;
    s->patience_ms = patience_ms;
    s->partition = -1;
    s->base = event_base_new();
    if (s->base == NULL) {
        (void)err_set(err, ERR_FATAL, "no event loop");
        scan_destroy(s);
        return NULL;
    }
    s->consumer = kafka_consumer_create(s->base, &settings, err);
    if (s->consumer == NULL) {
        scan_destroy(s);
        return NULL;
    }
    return s;
}

void scan_destroy(struct scan *s)
{
    if (s == NULL) {
        return;
    }
    kafka_consumer_destroy(s->consumer);
    if (s->base != NULL) {
        event_base_free(s->base);
    }
    free(s);
}

/* Turns the loop for a moment; false when it is too late for another. */
static bool turn(struct scan *s)
{
    const struct timeval moment = {.tv_usec = TURN_MS * 1000L};

    if (clock_mono_ms() >= s->deadline_ms) {
        return false;
    }
    (void)event_base_loopexit(s->base, &moment);
    (void)event_base_dispatch(s->base);
    return true;
}

bool scan_range(struct scan *s, int partition, int64_t *begin, int64_t *end, struct err *err)
{
    s->partition = partition;
    s->deadline_ms = clock_mono_ms() + s->patience_ms;
    s->is_asking = true;
    s->is_told = false;
    s->has_failed = false;
    kafka_consumer_query(s->consumer, partition);
    while (!s->is_told && !s->has_failed && turn(s)) {
    }
    s->is_asking = false;
    if (s->has_failed) {
        *err = s->err;
        return false;
    }
    if (!s->is_told) {
        return err_set(err, ERR_RETRY, "kafka: %s, partition %d: its end is not told in time",
                       s->topic, partition);
    }
    *begin = s->begin;
    *end = s->end;
    return true;
}

bool scan_read(struct scan *s, const struct kafka_start *from, int64_t to, scan_fn *take, void *arg,
               struct err *err)
{
    s->partition = from->partition;
    s->next = from->offset;
    s->to = to;
    s->take = take;
    s->arg = arg;
    s->is_over = false;
    s->has_failed = false;
    s->deadline_ms = clock_mono_ms() + s->patience_ms;
    if (is_done(s)) {
        return true;
    }
    if (!kafka_consumer_assign(s->consumer, from, 1, err)) {
        return false;
    }
    while (!is_done(s) && turn(s)) {
    }
    if (s->has_failed) {
        *err = s->err;
        return false;
    }
    return is_done(s) || err_set(err, ERR_RETRY,
                                 "kafka: %s, partition %d: read up to %" PRId64
                                 " only, the next record does not come",
                                 s->topic, s->partition, s->next - 1);
}
