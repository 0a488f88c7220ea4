/*
 * Lines: one array of entries, each in the free list or in the line of one partition.  When the
 * oldest entry of any has lingered, all lines are handed over; else only a line in which `batch`
 * entries stand.  One timer runs to that time, or every TICK_MS while the rate holds entries back.
 *
 * Kafka's cost is per request and batch, not per message, and librdkafka's linger.ms is fixed for
 * an instance.  So the waiting is done here, and librdkafka gets NATIVE_LINGER_MS, just
 * enough to make one request for each partition of what one turn hands over.  Those requests then
 * come together: a reader's fetch that waits at the broker brings home many partitions at once, and
 * whatever is done further down for each batch is done as often as here.
 *
 * After a fatal error the instance is kept until its last reports came or it is too old for any;
 * what it never reported ends as unknown at the deadline of inflight.h.  Entries in line were not
 * given to it, so they go to the next instance; nothing is ever sent twice by us.
 */
#include "producer/publish.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/backoff.h"
#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/probe.h"
#include "common/xmalloc.h"
#include "producer/counters.h"
#include "producer/input.h"

#define NIL UINT32_MAX

enum {
    NATIVE_LINGER_MS = 1,
    TICK_MS = 5,
    VALUE_SIZE = 512,     /* the longest order: 4 ids of 64, two numbers, names: below 420 */
    TURN_MAX = 2000,      /* commands handed over in one turn of the loop */
    RATE_WINDOW_MS = 100, /* over which the rate is measured, and burst of the settings' rate */
    RATE_PER_MS = 400,    /* so many more commands per second are worth a millisecond more */
    RECREATE_BASE_MS = 50,
    RECREATE_MAX_MS = 2000,
};
#define CERTAINTY_MS ((int64_t)500) /* Kafka's own timeout ends so much before ours */

struct entry {
    uint32_t next;
    bool has_trace;
    uint8_t key_len;
    uint16_t value_len;
    int64_t since_ms;
    inflight_ticket ticket;
    char key[IDS_MAX];
    char traceparent[INPUT_TRACEPARENT_LEN];
    char value[VALUE_SIZE];
};

struct line {
    uint32_t head, tail;
    size_t count;
};

struct publish {
    struct publish_settings settings;
    struct event_base *base;      /* borrowed */
    struct kafka_producer *kafka; /* NULL while it is being replaced */
    struct kafka_producer *dying; /* after a fatal error, for its last reports */
    int64_t dying_since_ms;
    struct backoff recreate;
    int64_t recreate_ms; /* when to, while kafka is NULL */
    bool is_hurried;
    struct event *timer;
    struct entry *entries;
    uint32_t free_entries;
    size_t queued;
    int first_line; /* whose turn it is to be first */
    int64_t linger_ms;
    int64_t window_ms; /* start of the window being counted */
    int64_t window_count;
    int64_t tokens; /* thousandths of commands that the rate allows now */
    int64_t tokens_ms;
    struct line *lines;
};

int64_t publish_linger_ms(const struct publish_settings *settings, int64_t rate)
{
    const int64_t linger_ms = rate / RATE_PER_MS;

    if (linger_ms > settings->linger_max_ms) {
        return settings->linger_max_ms;
    }
    return linger_ms < settings->linger_min_ms ? settings->linger_min_ms : linger_ms;
}

static void report(struct publish *p, const struct publish_report *r)
{
    PROBE(command_settled, r->ticket, r->partition, r->offset, (int)r->fate);
    p->settings.report(r, p->settings.arg);
}

static void on_report(const struct kafka_report *r, void *arg)
{
    static const enum inflight_fate fates[] = {
        [KAFKA_DELIVERED] = INFLIGHT_DELIVERED,
        [KAFKA_FAILED] = INFLIGHT_FAILED,
        [KAFKA_UNKNOWN] = INFLIGHT_UNKNOWN,
    };
    struct publish *p = arg;

    if (r->delivery == KAFKA_DELIVERED) {
        failpoint_kill("report.before");
        backoff_reset(&p->recreate);
    } else {
        log_limited(LOG_LEVEL_WARN, "publish.failed", LOG_INT("partition", r->partition),
                    LOG_BOOL("unknown", r->delivery == KAFKA_UNKNOWN), LOG_STR("error", r->why));
    }
    report(p, &(struct publish_report){
                  .ticket = r->ticket,
                  .fate = fates[r->delivery],
                  .partition = r->partition,
                  .offset = r->offset,
                  .timestamp_ms = r->timestamp_ms,
              });
}

static void arm(struct publish *p, int64_t in_ms)
{
    const struct timeval tv = {in_ms / 1000, in_ms % 1000 * 1000};

    if (event_add(p->timer, &tv) != 0) {
        log_limited(LOG_LEVEL_ERROR, "publish.timer_failed");
    }
}

/* The instance cannot be destroyed within its own callback: the timer does it. */
static void on_fatal(const char *why, void *arg)
{
    struct publish *p = arg;

    stats_add(p->settings.stats, STAT_RECREATED, 1);
    log_warn("publish.recreated", LOG_STR("error", why),
             LOG_INT("unreported", (int64_t)kafka_producer_unreported(p->kafka)));
    p->recreate_ms = clock_mono_ms() + backoff_next(&p->recreate, arc4random());
    arm(p, 0);
}

static bool create_kafka(struct publish *p, struct err *err)
{
    const struct publish_settings *s = &p->settings;
    const struct kafka_producer_settings settings = {
        .kafka = s->kafka,
        .linger_ms = NATIVE_LINGER_MS,
        .message_timeout_ms =
            s->timeout_ms > 2 * CERTAINTY_MS ? s->timeout_ms - CERTAINTY_MS : s->timeout_ms / 2,
        .queue_max = s->queue_max + 100000,
        .report = on_report,
        .fatal = on_fatal,
        .arg = p,
    };

    p->recreate_ms = -1;
    p->kafka = kafka_producer_create(p->base, &settings, err);
    return p->kafka != NULL;
}

/* Replaces an instance that told us it is at its end. */
static void replace_kafka(struct publish *p, int64_t now_ms)
{
    struct err err;

    if (p->dying != NULL && (kafka_producer_unreported(p->dying) == 0 ||
                             now_ms - p->dying_since_ms > p->settings.timeout_ms)) {
        kafka_producer_destroy(p->dying);
        p->dying = NULL;
    }
    if (p->recreate_ms < 0) {
        return;
    }
    if (p->kafka != NULL) {
        kafka_producer_destroy(p->dying);
        p->dying = p->kafka;
        p->dying_since_ms = now_ms;
        p->kafka = NULL;
    }
    if (now_ms >= p->recreate_ms && !create_kafka(p, &err)) {
        log_error("publish.failed", LOG_ERR(&err));
        p->recreate_ms = now_ms + backoff_next(&p->recreate, arc4random());
    }
}

static void free_head(struct publish *p, struct line *line)
{
    const uint32_t at = line->head;

    line->head = p->entries[at].next;
    if (line->head == NIL) {
        line->tail = NIL;
    }
    line->count--;
    p->queued--;
    p->entries[at].next = p->free_entries;
    p->free_entries = at;
}

static void fail_head(struct publish *p, int partition)
{
    const inflight_ticket ticket = p->entries[p->lines[partition].head].ticket;

    free_head(p, &p->lines[partition]);
    report(p, &(struct publish_report){
                  .ticket = ticket,
                  .fate = INFLIGHT_FAILED,
                  .partition = partition,
                  .offset = -1,
                  .timestamp_ms = -1,
              });
}

/* How long a command may stand in line: Kafka is to have time for it before the timeout. */
static int64_t line_ms(const struct publish_settings *s)
{
    const int64_t most_ms = s->timeout_ms - 2 * CERTAINTY_MS;

    return most_ms > s->timeout_ms / 2 ? most_ms : s->timeout_ms / 2;
}

/* What has stood in line for too long was never sent, and that is certain. */
static void drop_old(struct publish *p, int64_t now_ms)
{
    const int64_t limit_ms = line_ms(&p->settings);

    for (int i = 0; i < p->settings.partitions; i++) {
        const struct line *line = &p->lines[i];

        while (line->head != NIL && now_ms - p->entries[line->head].since_ms >= limit_ms) {
            fail_head(p, i);
        }
    }
}

/* Hands over the first of a line.  False when Kafka takes no more now. */
static bool hand_over(struct publish *p, int partition)
{
    struct line *line = &p->lines[partition];
    const struct entry *e = &p->entries[line->head];
    const struct kafka_header trace = {"traceparent", {e->traceparent, INPUT_TRACEPARENT_LEN}};
    const struct kafka_message message = {
        .topic = p->settings.topic,
        .partition = partition,
        .key = {e->key, e->key_len},
        .value = {e->value, e->value_len},
        .headers = &trace,
        .n_headers = e->has_trace ? 1 : 0,
        .ticket = e->ticket,
    };
    struct err err;

    if (kafka_producer_send(p->kafka, &message, &err)) {
        failpoint_kill("send.after");
        PROBE(command_handed, e->ticket, partition);
        free_head(p, line);
        return true;
    }
    if (err.kind == ERR_REJECT) {
        log_limited(LOG_LEVEL_ERROR, "publish.rejected", LOG_INT("partition", partition),
                    LOG_ERR(&err));
        fail_head(p, partition);
        return true;
    }
    return false;
}

/* At least one command's, or a low rate would never let any go. */
static void refill(struct publish *p, int64_t now_ms)
{
    const int64_t rate = p->settings.rate;
    const int64_t full = rate * RATE_WINDOW_MS > 1000 ? rate * RATE_WINDOW_MS : 1000;

    p->tokens += (now_ms - p->tokens_ms) * rate;
    p->tokens_ms = now_ms;
    if (p->tokens > full) {
        p->tokens = full;
    }
}

/* When the oldest of all entries will have lingered; INT64_MAX without entries. */
static int64_t due_ms(const struct publish *p)
{
    int64_t due = INT64_MAX;

    for (int i = 0; i < p->settings.partitions; i++) {
        const uint32_t head = p->lines[i].head;

        if (head != NIL && p->entries[head].since_ms + p->linger_ms < due) {
            due = p->entries[head].since_ms + p->linger_ms;
        }
    }
    return due;
}

/* Whether every due line was emptied; bounded by the rate and by TURN_MAX. */
static bool flush(struct publish *p, int64_t now_ms)
{
    const bool is_time = p->is_hurried || now_ms >= due_ms(p);
    const int n = p->settings.partitions;
    int64_t left = TURN_MAX;

    if (p->settings.rate > 0) {
        refill(p, now_ms);
        left = p->tokens / 1000 < left ? p->tokens / 1000 : left;
    }
    for (int i = 0; i < n; i++) {
        const int at = (p->first_line + i) % n;
        struct line *line = &p->lines[at];

        if (line->head == NIL || (!is_time && line->count < (size_t)p->settings.batch)) {
            continue;
        }
        stats_add(p->settings.stats, STAT_BATCHES, left > 0 ? 1 : 0);
        while (line->head != NIL) {
            if (left == 0 || !hand_over(p, at)) {
                p->first_line = at;
                return false;
            }
            left--;
            p->tokens -= p->settings.rate > 0 ? 1000 : 0;
        }
    }
    p->first_line = (p->first_line + 1) % n;
    return true;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct publish *p = arg;
    const int64_t now_ms = clock_mono_ms();
    int64_t next_ms = INT64_MAX;
    int64_t due;

    (void)fd;
    (void)what;
    replace_kafka(p, now_ms);
    drop_old(p, now_ms);
    if (p->kafka == NULL || !flush(p, now_ms)) {
        next_ms = TICK_MS;
    }
    if (p->dying != NULL && next_ms == INT64_MAX) {
        next_ms = RATE_WINDOW_MS;
    }
    due = due_ms(p);
    if (due != INT64_MAX && due > now_ms && due - now_ms < next_ms) {
        next_ms = due - now_ms; /* what is due already waits for Kafka, or for the rate */
    }
    if (next_ms != INT64_MAX) {
        arm(p, next_ms);
    }
}

static void measure(struct publish *p, int64_t now_ms)
{
    if (now_ms - p->window_ms >= RATE_WINDOW_MS) {
        p->linger_ms =
            publish_linger_ms(&p->settings, p->window_count * 1000 / (now_ms - p->window_ms));
        p->window_ms = now_ms;
        p->window_count = 0;
    }
    p->window_count++;
}

bool publish_send(struct publish *p, const struct command *cmd, int partition,
                  struct slice traceparent, inflight_ticket ticket)
{
    const uint32_t at = p->free_entries;
    struct line *line = &p->lines[partition];
    const int64_t now_ms = clock_mono_ms();
    struct entry *e;
    struct slice key;
    size_t n;

    failpoint_kill("send.before");
    if (at == NIL) {
        return false;
    }
    e = &p->entries[at];
    n = command_format(cmd, e->value, sizeof(e->value));
    key = command_key(cmd);
    if (n == 0 || key.len > sizeof(e->key)) {
        log_limited(LOG_LEVEL_ERROR, "publish.unwritable",
                    LOG_STR("type", command_type_name(cmd->type)));
        return false;
    }
    e->value_len = (uint16_t)n;
    e->key_len = (uint8_t)key.len;
    if (key.len > 0) {
        memcpy(e->key, key.ptr, key.len);
    }
    e->has_trace = traceparent.ptr != NULL && traceparent.len == INPUT_TRACEPARENT_LEN;
    if (e->has_trace) {
        memcpy(e->traceparent, traceparent.ptr, INPUT_TRACEPARENT_LEN);
    }
    e->ticket = ticket;
    e->since_ms = now_ms;
    p->free_entries = e->next;
    e->next = NIL;
    if (line->tail == NIL) {
        line->head = at;
    } else {
        p->entries[line->tail].next = at;
    }
    line->tail = at;
    line->count++;
    p->queued++;
    PROBE(command_lined, ticket, partition);
    measure(p, now_ms);
    if (line->count == 1) {
        if (!event_pending(p->timer, EV_TIMEOUT, NULL) || p->linger_ms == 0) {
            arm(p, p->linger_ms);
        }
    } else if (line->count == (size_t)p->settings.batch && p->kafka != NULL) {
        arm(p, 0);
    }
    return true;
}

bool publish_has_room(const struct publish *p)
{
    return p->free_entries != NIL;
}

void publish_hurry(struct publish *p)
{
    p->is_hurried = true;
    arm(p, 0);
}

size_t publish_queued(const struct publish *p)
{
    return p->queued;
}

size_t publish_unreported(const struct publish *p)
{
    return (p->kafka != NULL ? kafka_producer_unreported(p->kafka) : 0) +
           (p->dying != NULL ? kafka_producer_unreported(p->dying) : 0);
}

struct publish *publish_create(struct event_base *base, const struct publish_settings *settings,
                               struct err *err)
{
    struct publish *p = xcalloc(1, sizeof(*p));
    const size_t n = (size_t)settings->queue_max;

    assert(settings->queue_max > 0 && settings->batch > 0);
    p->settings = *settings;
    p->base = base;
    p->recreate = BACKOFF_INIT(RECREATE_BASE_MS, RECREATE_MAX_MS);
    p->recreate_ms = -1;
    p->tokens_ms = clock_mono_ms();
    p->linger_ms = settings->linger_min_ms;
    p->lines = xcalloc((size_t)settings->partitions, sizeof(*p->lines));
    for (int i = 0; i < settings->partitions; i++) {
        p->lines[i] = (struct line){.head = NIL, .tail = NIL};
    }
    p->entries = xmalloc(n * sizeof(*p->entries));
    for (size_t i = 0; i < n; i++) {
        p->entries[i].next = i + 1 < n ? (uint32_t)(i + 1) : NIL;
    }
    p->timer = event_new(base, -1, 0, on_timer, p);
    if (p->timer == NULL) {
        (void)err_set(err, ERR_FATAL, "no timer for publishing");
        publish_destroy(p);
        return NULL;
    }
    if (!create_kafka(p, err)) {
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
    if (p->timer != NULL) {
        event_free(p->timer);
    }
    kafka_producer_destroy(p->kafka);
    kafka_producer_destroy(p->dying);
    free(p->entries);
    free(p->lines);
    free(p);
}
