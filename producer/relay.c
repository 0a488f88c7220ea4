/*
 * Slots that are free are in a list, the one used last first.  A slot's generation is one more at
 * each use.  As each ring keeps its order, and a slot is used anew only when its answer has come,
 * whatever comes for a slot is of its generation or of a request already answered; since anything
 * else would be an answer to a stranger, it is asserted.
 *
 * That a client has left is a hint, and has to wait while the lane is full: the slot is marked, and
 * a timer looks for marks until none are left.
 */
#include "producer/relay.h"

#include <assert.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/random.h"
#include "common/ring.h"
#include "common/xmalloc.h"
#include "producer/counters.h"
#include "producer/http_request.h"
#include "producer/inbox.h"
#include "producer/refusal_reply.h"
#include "producer/relay_record.h"

#define NIL UINT32_MAX

enum {
    LINE_RECORDS = 4096, /* of a lane; a tenth of a second of what a door does */
    WORDS = 2,           /* RELAY_DRAIN, RELAY_END */
    MARKS_MS = 10,
};

/* An HTTP thread's half of a slot. */
struct out {
    struct http_request *req; /* NULL: the slot is free */
    struct relay_thread *thread;
    uint32_t generation;
    uint32_t next;  /* while free */
    bool is_marked; /* its client has left, and the door has not been told */
};

struct relay_thread {
    struct relay *relay;
    uint32_t number;
    struct relay_words words;
    struct ring_lane *lane; /* to the door */
    struct inbox *inbox;
    struct event *marks_timer;
    struct out *outs;
    uint32_t free;
    size_t marks;
    struct random luck;
};

/* The door's half of a slot. */
struct in {
    struct http_request request;
    const struct line *line;
    uint32_t generation;
};

/* What the door has of a thread; never changes. */
struct line {
    struct relay *relay;
    struct ring *ring;
    struct ring_lane *lane; /* the ring's only one */
    struct in *ins;
};

struct relay {
    struct relay_settings settings;
    struct ring *ring; /* to the door */
    struct inbox *inbox;
    struct histogram *latency;
    struct line *lines;
    struct relay_thread *threads;
};

/* ---- an HTTP thread asks ---- */

/* A record in the lane, to be published; NULL: it is full. */
static struct relay_ask *reserve(const struct relay_thread *t, const struct out *out,
                                 enum relay_asked asked)
{
    size_t n = 1;
    struct relay_ask *ask = ring_reserve(t->lane, &n);

    if (ask != NULL) {
        ask->handle = (struct relay_handle){(uint32_t)(out - t->outs), out->generation};
        ask->thread = t->number;
        ask->asked = (uint8_t)asked;
    }
    return ask;
}

/* False: the lane is full. */
static bool tell_left(const struct relay_thread *t, const struct out *out)
{
    if (reserve(t, out, RELAY_LEFT) == NULL) {
        return false;
    }
    ring_publish(t->lane, 1);
    return true;
}

static void set_mark(struct relay_thread *t, struct out *out, bool is_marked)
{
    if (out->is_marked != is_marked) {
        out->is_marked = is_marked;
        t->marks += is_marked ? 1 : -(size_t)1;
    }
}

static void await_room(struct relay_thread *t)
{
    static const struct timeval soon = {0, MARKS_MS * (suseconds_t)1000};

    (void)event_add(t->marks_timer, &soon); /* without memory for it, the door hears later */
}

static void on_marks(evutil_socket_t fd, short what, void *arg)
{
    struct relay_thread *t = arg;

    (void)fd;
    (void)what;
    for (size_t i = 0; t->marks > 0; i++) {
        assert(i < t->relay->settings.slots);
        if (t->outs[i].is_marked && !tell_left(t, &t->outs[i])) {
            await_room(t);
            return;
        }
        set_mark(t, &t->outs[i], false);
    }
}

static void on_leave(struct http_request *req, void *arg)
{
    struct out *out = arg;

    (void)req;
    if (!tell_left(out->thread, out)) {
        set_mark(out->thread, out, true);
        await_room(out->thread);
    }
}

void relay_pass(struct http_request *req, const struct desk_request *request, void *relay_thread)
{
    struct relay_thread *t = relay_thread;
    struct out *out = t->free != NIL ? &t->outs[t->free] : NULL;
    struct relay_ask *ask = out != NULL ? reserve(t, out, RELAY_REQUEST) : NULL;
    struct stats *stats = t->relay->settings.stats;

    if (ask == NULL) {
        stats_add(stats, STAT_RELAY_FULL, 1);
        refusal_reply(req, stats, REFUSAL_QUEUE_FULL,
                      &(struct refusal_details){.retry_after_s = random_between(&t->luck, 1, 2)});
        return;
    }
    t->free = out->next;
    out->req = req;
    http_on_leave(req, on_leave, out);
    ask->since_us = clock_mono_us();
    relay_ask_put(ask, request);
    ring_publish(t->lane, 1);
}

/* ---- the door takes and answers ---- */

/* A record for the thread, to be published. */
static struct relay_answer *reserve_answer(const struct line *line)
{
    size_t n = 1;
    struct relay_answer *answer = ring_reserve(line->lane, &n);

    assert(answer != NULL); /* there is room for all slots and words */
    return answer;
}

static void answer(struct http_request *req, int status, const struct http_field *fields,
                   struct slice body)
{
    const struct in *in = (const struct in *)req; /* its first member */
    const struct line *line = in->line;
    struct relay_answer *record = reserve_answer(line);

    record->handle = (struct relay_handle){(uint32_t)(in - line->ins), in->generation};
    relay_answer_put(record, status, fields, body);
    ring_publish(line->lane, 1);
    stats_add(line->relay->settings.stats, STAT_RELAY_ANSWERS, 1);
}

static void on_asked(const void *record, void *arg)
{
    const struct relay_ask *ask = record;
    const struct relay *r = arg;
    struct in *in = &r->lines[ask->thread].ins[ask->handle.slot];
    struct desk_request request;

    if (ask->asked == RELAY_LEFT) {
        if (in->request.is_pending) { /* else it was answered meanwhile */
            assert(in->generation == ask->handle.generation);
            http_request_leave(&in->request);
        }
        return;
    }
    assert(!in->request.is_pending);
    in->request = (struct http_request){.answer = answer, .is_pending = true};
    in->generation = ask->handle.generation;
    histogram_add(r->latency, clock_mono_us() - ask->since_us);
    stats_add(r->settings.stats, STAT_RELAYED, 1);
    relay_ask_get(ask, &request);
    r->settings.take(&in->request, &request, r->settings.take_arg);
}

static void say(const struct relay *r, size_t thread, enum relay_told word)
{
    struct relay_answer *record = reserve_answer(&r->lines[thread]);

    *record = (struct relay_answer){.told = (uint8_t)word};
    ring_publish(r->lines[thread].lane, 1);
}

void relay_drain(struct relay *r, size_t thread)
{
    say(r, thread, RELAY_DRAIN);
}

void relay_end(struct relay *r, size_t thread)
{
    say(r, thread, RELAY_END);
}

/* ---- an HTTP thread hears ---- */

/* Frees the slot; the request that was in it. */
static struct http_request *end_out(struct relay_thread *t, struct out *out)
{
    struct http_request *req = out->req;

    set_mark(t, out, false);
    out->req = NULL;
    out->generation++;
    out->next = t->free;
    t->free = (uint32_t)(out - t->outs);
    return req;
}

static void on_told(const void *record, void *arg)
{
    const struct relay_answer *told = record;
    struct relay_thread *t = arg;
    struct http_field fields[RELAY_FIELDS_MAX + 1];
    struct out *out;
    struct slice body;

    switch ((enum relay_told)told->told) {
    case RELAY_ANSWER:
        out = &t->outs[told->handle.slot];
        assert(out->req != NULL && out->generation == told->handle.generation);
        body = relay_answer_get(told, fields);
        http_reply(end_out(t, out), told->status, fields, body);
        relay_answer_fini(told);
        break;
    case RELAY_DRAIN:
        t->words.drain(t->words.arg);
        break;
    case RELAY_END:
        t->words.end(t->words.arg);
        break;
    }
}

/* ---- life ---- */

static size_t power_of_two(size_t least)
{
    size_t n = 2 * (size_t)WORDS;

    while (n < least) {
        n *= 2;
    }
    return n;
}

/* Both sides of a thread, but for its inbox. */
static bool make_thread(struct relay *r, size_t number, size_t records, struct err *err)
{
    const struct ring_settings ring = {
        .producers = 1,
        .records = records,
        .record_bytes = sizeof(struct relay_answer),
    };
    const size_t slots = r->settings.slots;
    struct line *line = &r->lines[number];
    struct relay_thread *t = &r->threads[number];

    *line = (struct line){.relay = r, .ins = xcalloc(slots, sizeof(*line->ins))};
    *t = (struct relay_thread){
        .relay = r,
        .number = (uint32_t)number,
        .lane = ring_lane(r->ring, number),
        .outs = xcalloc(slots, sizeof(*t->outs)),
        .luck = {.state = (uint64_t)clock_mono_us() + number},
    };
    for (size_t i = 0; i < slots; i++) {
        line->ins[i].line = line;
        t->outs[i].thread = t;
        t->outs[i].next = i + 1 < slots ? (uint32_t)(i + 1) : NIL;
    }
    line->ring = ring_create(&ring, err);
    if (line->ring == NULL) {
        return false;
    }
    line->lane = ring_lane(line->ring, 0);
    return true;
}

struct relay *relay_create(struct event_base *base, const struct relay_settings *settings,
                           struct err *err)
{
    const size_t records = power_of_two(settings->slots);
    const struct ring_settings ring = {
        .producers = settings->threads,
        .records = records < LINE_RECORDS ? records : LINE_RECORDS,
        .record_bytes = sizeof(struct relay_ask),
    };
    struct relay *r = xcalloc(1, sizeof(*r));

    r->settings = *settings;
    if (r->settings.slots > records - WORDS) {
        r->settings.slots = records - WORDS;
    }
    r->latency = stats_histogram(settings->stats, "seckill_producer_relay_seconds", "",
                                 "From an HTTP thread to the door's.");
    r->lines = xcalloc(settings->threads, sizeof(*r->lines));
    r->threads = xcalloc(settings->threads, sizeof(*r->threads));
    r->ring = ring_create(&ring, err);
    if (r->ring == NULL) {
        goto failed;
    }
    for (size_t i = 0; i < settings->threads; i++) {
        if (!make_thread(r, i, records, err)) {
            goto failed;
        }
    }
    r->inbox = inbox_create(base, r->ring, sizeof(struct relay_ask), on_asked, r, err);
    if (r->inbox == NULL) {
        goto failed;
    }
    return r;
failed:
    relay_destroy(r);
    return NULL;
}

struct relay_thread *relay_thread_start(struct relay *r, size_t thread, struct event_base *base,
                                        const struct relay_words *words, struct err *err)
{
    struct relay_thread *t = &r->threads[thread];

    t->words = *words;
    t->marks_timer = evtimer_new(base, on_marks, t);
    if (t->marks_timer == NULL) {
        (void)err_set(err, ERR_FATAL, "no timer for an HTTP thread");
        return NULL;
    }
    t->inbox =
        inbox_create(base, r->lines[thread].ring, sizeof(struct relay_answer), on_told, t, err);
    return t->inbox != NULL ? t : NULL;
}

static void end_thread(struct relay_thread *t, struct line *line)
{
    if (t->inbox != NULL) {
        inbox_empty(t->inbox);
        for (size_t i = 0; i < t->relay->settings.slots; i++) {
            if (t->outs[i].req != NULL) {
                refusal_reply(end_out(t, &t->outs[i]), t->relay->settings.stats, REFUSAL_DRAINING,
                              &(struct refusal_details){.retry_after_s = 1});
            }
        }
    }
    inbox_destroy(t->inbox);
    if (t->marks_timer != NULL) {
        event_free(t->marks_timer);
    }
    ring_destroy(line->ring);
    free(line->ins);
    free(t->outs);
}

void relay_destroy(struct relay *r)
{
    if (r == NULL) {
        return;
    }
    for (size_t i = 0; i < r->settings.threads; i++) {
        end_thread(&r->threads[i], &r->lines[i]);
    }
    inbox_destroy(r->inbox);
    ring_destroy(r->ring);
    free(r->lines);
    free(r->threads);
    free(r);
}
