/*
 * Start-up per partition: ask for the range [begin, end) of the log; start at the last record (or at
 * the end of an empty log); ready when the record before `end` has been read.  kafka_consumer has
 * one assignment for all partitions, so it is made once all ranges are known; until then each
 * unknown range is asked for again whenever an answer says that nobody answered.
 *
 * The end of the orders topic is asked for once it is known where reading starts, and never before:
 * between the two, outcomes could be told that are not read here.
 *
 * Afterwards the same question, put to one partition after the other, is the sign of life, and shows
 * where the client has lost a partition (librdkafka 2.0.2, of a topic made anew, without a word).
 */
#include "producer/stream.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/xmalloc.h"
#include "producer/counters.h"

enum {
    PING_S = 1,
    AWAY_AFTER = 2,   /* pings in a row without an answer; each waits for seconds */
    STILL_MS = 10000, /* twice as long each time until something comes: it may only be slow */
    STILL_MAX_MS = 600000,
};

struct partition {
    bool is_known; /* end is */
    bool is_read;  /* up to end */
    bool has_log_end;
    bool is_ready;
    bool is_asked;
    bool is_stuck; /* what stands last could not be read */
    int64_t end;   /* found at start */
    int64_t start;
    int64_t still_at;                /* start, while it is not where the topic ends; -1: it is */
    int64_t still_ms, still_wait_ms; /* since when, and how long that may be */
};

struct stream {
    struct stream_settings settings;
    struct kafka_consumer *consumer;
    struct event *ping;
    bool is_assigned;
    bool is_up;
    int unanswered; /* pings in a row */
    int next_ping;
    struct outcome outcome;
    struct partition *partitions;
};

static void set_up(struct stream *s, bool is_up)
{
    if (s->is_up != is_up) {
        s->is_up = is_up;
        s->settings.calls.kafka(is_up, s->settings.calls.arg);
    }
}

static void check_ready(struct stream *s, int partition)
{
    struct partition *p = &s->partitions[partition];
    const bool is_ready = p->is_read && p->has_log_end;

    if (p->is_ready != is_ready) {
        p->is_ready = is_ready;
        s->settings.calls.ready(partition, is_ready, s->settings.calls.arg);
    }
}

static void set_read(struct stream *s, int partition)
{
    s->partitions[partition].is_read = true;
    check_ready(s, partition);
}

static void on_record(const struct kafka_record *record, void *arg)
{
    struct stream *s = arg;
    struct err err;

    s->unanswered = 0;
    s->partitions[record->partition].is_stuck = false;
    s->partitions[record->partition].start = record->offset + 1;
    s->partitions[record->partition].still_wait_ms = STILL_MS;
    set_up(s, true);
    if (!outcome_parse(&s->outcome, record->value, &err) ||
        s->outcome.partition != record->partition) {
        stats_add(s->settings.stats, STAT_OUTCOMES_BAD, 1);
        log_limited(LOG_LEVEL_WARN, "outcome.malformed", LOG_INT("partition", record->partition),
                    LOG_INT("offset", record->offset));
    } else {
        stats_add(s->settings.stats, STAT_OUTCOMES, 1);
        s->settings.calls.outcome(&s->outcome, s->settings.calls.arg);
    }
    if (record->offset + 1 >= s->partitions[record->partition].end) {
        set_read(s, record->partition);
    }
}

static void ask(struct stream *s, int partition)
{
    if (!s->partitions[partition].is_asked) {
        s->partitions[partition].is_asked = true;
        kafka_consumer_query(s->consumer, partition);
    }
}

static void assign(struct stream *s)
{
    struct kafka_start *starts;
    struct err err;

    for (int p = 0; p < s->settings.partitions; p++) {
        if (!s->partitions[p].is_known) {
            return;
        }
    }
    starts = xcalloc((size_t)s->settings.partitions, sizeof(*starts));
    for (int p = 0; p < s->settings.partitions; p++) {
        starts[p] = (struct kafka_start){.partition = p, .offset = s->partitions[p].start};
    }
    s->is_assigned =
        kafka_consumer_assign(s->consumer, starts, (size_t)s->settings.partitions, &err);
    free(starts);
    if (!s->is_assigned) {
        log_error("stream.failed", LOG_ERR(&err));
        return;
    }
    for (int p = 0; p < s->settings.partitions; p++) {
        if (s->partitions[p].start >= s->partitions[p].end) {
            set_read(s, p);
        }
    }
}

static void ask_log_end(struct stream *s, int partition)
{
    kafka_consumer_query_other(s->consumer, s->settings.topic_orders, partition);
}

static void on_log_end(int partition, bool ok, int64_t end, void *arg)
{
    struct stream *s = arg;
    struct partition *p = &s->partitions[partition];

    if (ok && !p->has_log_end) {
        p->has_log_end = true;
        s->settings.calls.log_end(partition, end, s->settings.calls.arg);
        check_ready(s, partition);
    }
}

static void on_stuck(int partition, bool is_out_of_range, const char *why, void *arg)
{
    struct stream *s = arg;
    struct partition *p = &s->partitions[partition];

    /*
     * As at the start, at the next ping: its range, the log's end, and an assignment of all, each from
     * where it is.  Of a partition whose offset is out of range librdkafka reads nothing before that.
     */
    log_warn("stream.stuck", LOG_INT("partition", partition),
             LOG_BOOL("out_of_range", is_out_of_range), LOG_STR("error", why));
    p->is_stuck = !is_out_of_range;
    p->is_known = p->is_read = p->has_log_end = false;
    p->still_at = -1;
    s->is_assigned = false;
    check_ready(s, partition);
}

/* Where it is read to, is not where the topic ends: for so long, that it is not on its way. */
static bool stands_still(struct partition *p, int64_t end)
{
    const int64_t now_ms = clock_mono_ms();

    if (p->start == end || p->start != p->still_at) {
        p->still_at = p->start != end ? p->start : -1;
        p->still_ms = now_ms;
    }
    if (now_ms - p->still_ms < p->still_wait_ms) {
        return false;
    }
    p->still_wait_ms *= p->still_wait_ms < STILL_MAX_MS ? 2 : 1;
    return true;
}

static void on_range(int partition, bool ok, int64_t begin, int64_t end, void *arg)
{
    struct stream *s = arg;
    struct partition *p = &s->partitions[partition];

    p->is_asked = false;
    s->unanswered = ok ? 0 : s->unanswered + 1;
    if (ok || s->unanswered >= AWAY_AFTER) {
        set_up(s, ok);
    }
    if (ok && p->is_known && s->is_assigned && stands_still(p, end)) {
        on_stuck(partition, true, "nothing comes, though there is more", s);
        return;
    }
    if (!ok || p->is_known) {
        return;
    }
    p->is_known = true;
    p->end = end;
    p->start = end > begin && !p->is_stuck ? end - 1 : end;
    ask_log_end(s, partition);
    assign(s);
}

static void on_fatal(const char *why, void *arg)
{
    struct stream *s = arg;

    log_error("stream.failed", LOG_STR("error", why));
    for (int p = 0; p < s->settings.partitions; p++) {
        s->partitions[p].is_read = false;
        check_ready(s, p);
    }
}

static void on_ping(evutil_socket_t fd, short what, void *arg)
{
    struct stream *s = arg;

    (void)fd;
    (void)what;
    for (int p = 0; p < s->settings.partitions; p++) {
        if (s->partitions[p].is_known && !s->partitions[p].has_log_end) {
            ask_log_end(s, p);
        }
    }
    if (s->is_assigned) {
        ask(s, s->next_ping);
        s->next_ping = (s->next_ping + 1) % s->settings.partitions;
        return;
    }
    for (int p = 0; p < s->settings.partitions; p++) {
        if (!s->partitions[p].is_known) {
            ask(s, p);
        }
    }
    assign(s);
}

struct stream *stream_create(struct event_base *base, const struct stream_settings *settings,
                             struct err *err)
{
    const struct timeval every = {PING_S, 0};
    struct stream *s = xcalloc(1, sizeof(*s));
    const struct kafka_consumer_settings consumer = {
        .kafka = settings->kafka,
        .topic = settings->topic,
        .calls = {.record = on_record,
                  .stuck = on_stuck,
                  .fatal = on_fatal,
                  .range = on_range,
                  .other_end = on_log_end},
        .arg = s,
    };

    s->settings = *settings;
    s->partitions = xcalloc((size_t)settings->partitions, sizeof(*s->partitions));
    for (int p = 0; p < settings->partitions; p++) {
        s->partitions[p].still_at = -1;
        s->partitions[p].still_wait_ms = STILL_MS;
    }
    s->consumer = kafka_consumer_create(base, &consumer, err);
    if (s->consumer == NULL) {
        stream_destroy(s);
        return NULL;
    }
    s->ping = event_new(base, -1, EV_PERSIST, on_ping, s);
    if (s->ping == NULL || event_add(s->ping, &every) != 0) {
        (void)err_set(err, ERR_FATAL, "no timer for the outcome stream");
        stream_destroy(s);
        return NULL;
    }
    for (int p = 0; p < settings->partitions; p++) {
        ask(s, p);
    }
    return s;
}

void stream_destroy(struct stream *s)
{
    if (s == NULL) {
        return;
    }
    if (s->ping != NULL) {
        event_free(s->ping);
    }
    kafka_consumer_destroy(s->consumer);
    outcome_fini(&s->outcome);
    free(s->partitions);
    free(s);
}
