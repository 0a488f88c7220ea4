/*
 * A fixed array of calls.  A call's number is its place and its generation, so a number outlives
 * its call harmlessly.  Waiting calls that have not been looked up yet stand in a queue by time:
 * the look-up is for decisions that the outcome stream did not bring, so it is given a while.
 *
 * One timer ticks for deadlines and look-ups that are due; every partition is looked up once a
 * second besides, which tells the door the watermark, the genesis, and that Redis is there.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/xmalloc.h"
#include "producer/calls_internal.h"

enum {
    TICK_MS = 10,
    PULSE_MS = 1000,
    PULSE_UNREADY_MS = 200,
};

uint64_t call_number(const struct calls *c, const struct call *call)
{
    return ((uint64_t)call->generation << 32) | (uint64_t)(call - c->calls);
}

struct call *call_of(const struct calls *c, uint64_t number)
{
    const uint32_t at = (uint32_t)number;

    if (number == 0 || at >= (uint64_t)c->settings.calls_max || !c->calls[at].is_used ||
        c->calls[at].generation != (uint32_t)(number >> 32)) {
        return NULL;
    }
    return &c->calls[at];
}

struct slice call_order_id(const struct call *call)
{
    return (struct slice){call->order_id, strlen(call->order_id)};
}

void call_now(const struct calls *c, struct door_now *now)
{
    now->mono_ms = clock_mono_ms();
    now->log_clock_ms = logclock_now(&c->clock, now->mono_ms, clock_wall_ms());
}

void call_copy(struct command_text *to, struct slice from)
{
    if (!command_set_text(to, from)) {
        assert(false); /* checked at the door */
    }
}

static void dequeue(struct calls *c, struct call *call)
{
    if (!call->is_queued) {
        return;
    }
    if (call->prev == CALLS_NIL) {
        c->queue_head = call->next;
    } else {
        c->calls[call->prev].next = call->next;
    }
    if (call->next == CALLS_NIL) {
        c->queue_tail = call->prev;
    } else {
        c->calls[call->next].prev = call->prev;
    }
    call->is_queued = false;
}

static void enqueue(struct calls *c, struct call *call, int64_t look_ms)
{
    const uint32_t at = (uint32_t)(call - c->calls);

    call->look_ms = look_ms;
    call->prev = c->queue_tail;
    call->next = CALLS_NIL;
    if (c->queue_tail == CALLS_NIL) {
        c->queue_head = at;
    } else {
        c->calls[c->queue_tail].next = at;
    }
    c->queue_tail = at;
    call->is_queued = true;
}

void call_end(struct calls *c, struct call *call)
{
    const uint32_t at = (uint32_t)(call - c->calls);

    log_debug("request.answered", LOG_STR("order_id", call->order_id),
              LOG_INT("us", clock_mono_us() - call->started_us));
    dequeue(c, call);
    if (call->waiter != WAITERS_NONE) {
        (void)waiters_remove(c->waiters, call->waiter); /* it may have left by itself */
    }
    call->is_used = false;
    call->generation = call->generation == UINT32_MAX ? 1 : call->generation + 1;
    call->next = c->free;
    c->free = at;
    c->count--;
}

bool call_is_waiting_on(const struct call *call)
{
    return call->deadline_ms > 0 && !call->is_last;
}

bool call_await(struct calls *c, struct call *call, enum waiters_topic topic)
{
    const struct waiters_wish wish = {
        .topic = topic,
        .order_id = call_order_id(call),
        .user_id = command_text(&call->user_id),
        .payment_id = command_text(&call->payment_id),
        .deadline_ms = call->deadline_ms,
    };

    if (!call_is_waiting_on(call) || call->waiter != WAITERS_NONE) {
        return true;
    }
    call->waiter = waiters_add(c->waiters, &wish, call_number(c, call));
    if (call->waiter == WAITERS_NONE) {
        reply_refusal(c, call, REFUSAL_WAITERS_FULL);
        return false;
    }
    return true;
}

bool call_await_news(struct calls *c, struct call *call)
{
    if (!call_await(c, call, WAITERS_ORDER)) {
        return false;
    }
    waiters_seen(c->waiters, call->waiter, door_horizon(c->door, call->partition));
    return true;
}

void call_wait(struct calls *c, struct call *call, int64_t look_in_ms)
{
    call->stage = STAGE_WAITING;
    if (look_in_ms >= 0 && !call->is_queued) {
        enqueue(c, call, clock_mono_ms() + look_in_ms);
    }
}

void call_seen(struct calls *c, const struct call *call, int64_t watermark)
{
    /*
     * Rejections that are not remembered, and answers about orders that are not there, are in
     * no look-up: the call's own record must not count as seen.
     */
    if (call->offset >= 0) {
        waiters_seen(c->waiters, call->waiter,
                     watermark < call->offset ? watermark : call->offset - 1);
    }
}

void call_looked(struct calls *c, struct call *call, const struct door_look *look)
{
    switch (call->kind) {
    case CALLS_ORDER:
        order_on_look(c, call, look);
        break;
    case CALLS_SHOW:
        show_on_look(c, call, look);
        break;
    case CALLS_ITEM:
        item_on_look(c, call, look);
        break;
    case CALLS_PAY:
    case CALLS_CANCEL:
        command_on_look(c, call, look);
        break;
    }
}

void call_look(struct calls *c, struct call *call, bool with_user, bool with_item)
{
    const struct slice none = {NULL, 0};
    const struct lookup_question question = {
        .partition = call->partition,
        .user_id = with_user ? command_text(&call->user_id) : none,
        .item_id = with_item ? command_text(&call->item_id) : none,
        .payment_id = call->kind == CALLS_PAY ? command_text(&call->payment_id) : none,
        .horizon = door_horizon(c->door, call->partition),
        .party = call_number(c, call),
    };
    const enum door_look_result result = lookup_ask(c->lookup, &question);

    dequeue(c, call);
    call->stage = STAGE_LOOKING;
    if (result != DOOR_LOOK_GOT) {
        call_looked(c, call, &(struct door_look){.result = result, .partition = call->partition});
    }
}

void call_send(struct calls *c, struct call *call, const struct command *cmd)
{
    const struct inflight_command command = {
        .order_id = call_order_id(call),
        .user_id = command_text(&call->user_id),
        .partition = call->partition,
        .qty = cmd->type == COMMAND_ORDER ? cmd->qty : 0,
    };
    const struct slice trace = {call->traceparent, INPUT_TRACEPARENT_LEN};
    inflight_ticket ticket;

    if (!publish_has_room(c->publish)) {
        reply_refusal(c, call, REFUSAL_QUEUE_FULL);
        return;
    }
    ticket = inflight_add(c->inflight, clock_mono_ms(), &command, call_number(c, call));
    if (ticket == INFLIGHT_NONE) {
        reply_refusal(c, call, REFUSAL_QUEUE_FULL);
        return;
    }
    call->stage = STAGE_FLYING;
    call->is_sent = true;
    stats_add(c->stats, STAT_ACCEPTED, 1);
    if (!publish_send(c->publish, cmd, call->partition,
                      call->has_trace ? trace : (struct slice){NULL, 0}, ticket)) {
        stats_add(c->stats, STAT_FAILED, 1);
        (void)inflight_settle(c->inflight, ticket, INFLIGHT_FAILED, -1); /* it flies: just added */
    }
}

void call_end_wait(struct calls *c, struct call *call)
{
    call->is_last = true;
    if (call->waiter != WAITERS_NONE) {
        (void)waiters_remove(c->waiters, call->waiter); /* it may have left by itself */
        call->waiter = WAITERS_NONE;
    }
    if (call->stage == STAGE_WAITING) {
        stats_add(c->stats, STAT_WAIT_OVER, 1);
        call_look(c, call, true, false);
    } else if (call->stage == STAGE_READING) {
        /* MySQL may take its time, or several others' before: this one's is over. */
        stats_add(c->stats, STAT_WAIT_OVER, 1);
        show_on_record(c, call, RECORD_UNANSWERED, (struct slice){NULL, 0});
    }
}

/* ---- time ---- */

static void pulse(struct calls *c, int64_t now_ms)
{
    bool is_ready = true;

    for (int p = 0; p < (int)c->settings.topics.partitions; p++) {
        const struct lookup_question question = {
            .partition = p,
            .horizon = door_horizon(c->door, p),
        };

        is_ready = is_ready && door_state(c->door, p, now_ms) == DOOR_READY;
        if (lookup_ask(c->lookup, &question) != DOOR_LOOK_GOT) {
            is_ready = false;
        }
    }
    c->has_been_ready = c->has_been_ready || is_ready;
    c->pulse_ms = now_ms + (is_ready ? PULSE_MS : PULSE_UNREADY_MS);
}

static void end_all_waits(struct calls *c)
{
    for (int64_t i = 0; i < c->settings.calls_max; i++) {
        struct call *call = &c->calls[i];

        if (call->is_used && call_is_waiting_on(call)) {
            call_end_wait(c, call);
        }
    }
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct calls *c = arg;
    const int64_t now_ms = clock_mono_ms();

    (void)fd;
    (void)what;
    stats_add(c->stats, STAT_UNKNOWN, (int64_t)inflight_expire(c->inflight, now_ms));
    (void)waiters_expire(c->waiters, now_ms); /* counted where they are told */
    door_on_tick(c->door, now_ms);
    while (c->queue_head != CALLS_NIL && c->calls[c->queue_head].look_ms <= now_ms) {
        call_look(c, &c->calls[c->queue_head], true, false);
    }
    if (now_ms >= c->pulse_ms) {
        pulse(c, now_ms);
    }
    if (c->waits_end_ms >= 0 && now_ms >= c->waits_end_ms) {
        c->waits_end_ms = INT64_MAX;
        end_all_waits(c);
    }
}

/* ---- requests ---- */

static void on_leave(struct http_request *req, void *arg)
{
    struct call *call = arg; /* the slot outlives every request, and the call its request */

    (void)req;
    stats_add(call->calls->stats, STAT_GONE, 1);
    call->is_gone = true;
    call_end_wait(call->calls, call); /* whatever is under way is let finish */
}

void calls_start(struct calls *c, struct http_request *req, const struct calls_request *request)
{
    struct call *call;
    struct door_verdict verdict;

    if (c->free == CALLS_NIL || c->is_closing) {
        door_refuse(c->door, c->is_closing ? REFUSAL_DRAINING : REFUSAL_QUEUE_FULL, &verdict);
        calls_refuse(c, req, &verdict);
        return;
    }
    call = &c->calls[c->free];
    c->free = call->next;
    c->count++;
    *call = (struct call){
        .generation = call->generation,
        .next = CALLS_NIL,
        .prev = CALLS_NIL,
        .is_used = true,
        .calls = c,
        .kind = request->kind,
        .req = req,
        .started_us = clock_mono_us(),
        .partition = request->partition,
        .qty = request->qty,
        .offset = request->offset,
        .is_keyed = request->kind == CALLS_ORDER && request->order_id.ptr != NULL,
        .is_gone = request->is_left,
        .has_trace = request->traceparent.ptr != NULL,
    };
    stats_add(c->stats, STAT_GONE, request->is_left);
    if (request->wait_ms > 0 && !door_is_draining(c->door)) {
        call->deadline_ms = call->started_us / 1000 + request->wait_ms;
    }
    call_copy(&call->user_id, request->user_id);
    call_copy(&call->item_id, request->item_id);
    call_copy(&call->payment_id, request->payment_id);
    if (request->order_id.ptr != NULL) {
        assert(request->order_id.len == IDS_ORDER_LEN);
        memcpy(call->order_id, request->order_id.ptr, IDS_ORDER_LEN);
    }
    if (request->traceparent.ptr != NULL) {
        memcpy(call->traceparent, request->traceparent.ptr, INPUT_TRACEPARENT_LEN);
    }
    if (call->deadline_ms > 0 || call->kind == CALLS_ORDER) {
        http_on_leave(req, on_leave, call);
    }
    switch (request->kind) {
    case CALLS_ORDER:
        order_begin(c, call);
        break;
    case CALLS_SHOW:
        show_begin(c, call);
        break;
    case CALLS_ITEM:
        item_begin(c, call);
        break;
    case CALLS_PAY:
    case CALLS_CANCEL:
        command_begin(c, call);
        break;
    }
}

/* ---- life ---- */

static void measure(const struct calls *c)
{
    stats_set(c->stats, STAT_INFLIGHT, (int64_t)inflight_count(c->inflight));
    stats_set(c->stats, STAT_PLACED, (int64_t)inflight_placed(c->inflight));
    stats_set(c->stats, STAT_QUEUED, (int64_t)publish_queued(c->publish));
    stats_set(c->stats, STAT_CALLS, (int64_t)c->count);
    stats_set(c->stats, STAT_WAITERS, (int64_t)waiters_count(c->waiters));
    stats_set(c->stats, STAT_ITEMS, (int64_t)gates_count(door_gates(c->door)));
    stats_set(c->stats, STAT_ITEMS_EVICTED, (int64_t)gates_evicted(door_gates(c->door)));
}

static void collect_limiters(const struct calls *c, struct buf *out)
{
    const int64_t now_ms = clock_mono_ms();

    stats_put_head(out, "seckill_producer_limiter_armed", STATS_GAUGE,
                   "1 while what is slow behind the door narrows what is let in.");
    for (int i = 0; i < (int)c->settings.topics.partitions * LIMITER_SIDES; i++) {
        const int partition = i / LIMITER_SIDES, side = i % LIMITER_SIDES;

        stats_put_sample(out, "seckill_producer_limiter_armed",
                         door_limiter(c->door, partition, (enum limiter_side)side)->is_armed,
                         "partition=\"%d\",line=\"%s\"", partition, limiter_side_names[side]);
    }
    stats_put_head(out, "seckill_producer_limit", STATS_GAUGE,
                   "New orders per second that the limiter lets in; 0 in a pause.");
    for (int i = 0; i < (int)c->settings.topics.partitions * LIMITER_SIDES; i++) {
        const int partition = i / LIMITER_SIDES, side = i % LIMITER_SIDES;

        stats_put_sample(
            out, "seckill_producer_limit",
            limiter_limit(door_limiter(c->door, partition, (enum limiter_side)side), now_ms),
            "partition=\"%d\",line=\"%s\"", partition, limiter_side_names[side]);
    }
}

static void collect(struct buf *out, void *arg)
{
    const struct calls *c = arg;

    measure(c);
    collect_limiters(c, out);
    stats_put_head(out, "seckill_producer_outcome_offset", STATS_GAUGE,
                   "Offset of the newest command whose outcome was seen.");
    for (int p = 0; p < (int)c->settings.topics.partitions; p++) {
        stats_put_sample(out, "seckill_producer_outcome_offset", door_highest(c->door, p),
                         "partition=\"%d\"", p);
    }
    stats_put_head(out, "seckill_producer_lag", STATS_GAUGE,
                   "Commands placed and not known to be decided.");
    for (int p = 0; p < (int)c->settings.topics.partitions; p++) {
        stats_put_sample(out, "seckill_producer_lag", door_lag(c->door, p), "partition=\"%d\"", p);
    }
    stats_put_head(out, "seckill_producer_partition_ready", STATS_GAUGE,
                   "1 when the partition takes orders.");
    for (int p = 0; p < (int)c->settings.topics.partitions; p++) {
        stats_put_sample(out, "seckill_producer_partition_ready",
                         door_state(c->door, p, clock_mono_ms()) == DOOR_READY, "partition=\"%d\"",
                         p);
    }
}

struct calls *calls_create(struct event_base *base, const struct calls_settings *settings,
                           struct err *err)
{
    const struct timeval tick = {0, TICK_MS * (suseconds_t)1000};
    struct calls *c = xcalloc(1, sizeof(*c));

    c->settings = *settings;
    c->base = base;
    c->stats = settings->stats;
    c->waits_end_ms = -1;
    c->calls = xcalloc((size_t)settings->calls_max, sizeof(*c->calls));
    for (int64_t i = 0; i < settings->calls_max; i++) {
        c->calls[i].generation = 1;
        c->calls[i].next = i + 1 < settings->calls_max ? (uint32_t)(i + 1) : CALLS_NIL;
    }
    c->queue_head = c->queue_tail = CALLS_NIL;
    c->accepted = stats_histogram(c->stats, "seckill_producer_accepted_seconds", "",
                                  "From a request to Kafka's acknowledgement of its command.");
    c->decided = stats_histogram(c->stats, "seckill_producer_decided_seconds", "",
                                 "From a request that waits to its decision.");
    input_receipt_key(settings->secret, &c->receipt_key);
    c->tick = event_new(base, -1, EV_PERSIST, on_tick, c);
    if (c->tick == NULL || event_add(c->tick, &tick) != 0) {
        (void)err_set(err, ERR_FATAL, "no timer for calls");
        goto failed;
    }
    if (!calls_make_parts(c, err)) {
        goto failed;
    }
    stats_collect(c->stats, collect, c);
    return c;
failed:
    calls_destroy(c);
    return NULL;
}

/* The last word to a call: what was sent is in the log, as everything in flight was settled. */
static void dismiss(struct calls *c, struct call *call)
{
    if (!call->is_sent) {
        reply_refusal(c, call, REFUSAL_DRAINING);
    } else if (call->kind == CALLS_ORDER) {
        reply_accepted(c, call, "queued");
    } else if (call->kind == CALLS_PAY) {
        reply_payment(c, call, 'Q', REASON_NONE, NULL);
    } else {
        reply_cancel_queued(c, call);
    }
}

void calls_destroy(struct calls *c)
{
    if (c == NULL) {
        return;
    }
    c->is_closing = true;
    if (c->tick != NULL) {
        event_free(c->tick);
    }
    stream_destroy(c->stream);
    record_destroy(c->record);
    publish_destroy(c->publish);
    inflight_destroy(c->inflight);
    lookup_destroy(c->lookup);
    for (int64_t i = 0; i < c->settings.calls_max; i++) {
        if (c->calls[i].is_used) {
            dismiss(c, &c->calls[i]);
        }
    }
    waiters_destroy(c->waiters);
    door_destroy(c->door);
    free(c->calls);
    free(c);
}

void calls_drain(struct calls *c, int64_t grace_ms)
{
    door_on_drain(c->door);
    publish_hurry(c->publish);
    c->waits_end_ms = clock_mono_ms() + grace_ms;
}

size_t calls_pending(const struct calls *c)
{
    return c->count + inflight_count(c->inflight);
}

struct door *calls_door(struct calls *c)
{
    return c->door;
}

bool calls_has_been_ready(const struct calls *c)
{
    return c->has_been_ready;
}

static bool is_open(enum door_state state)
{
    return state == DOOR_READY || state == DOOR_RECOVERING;
}

/* A partition that is rebuilt sells at no door: to send shoppers elsewhere would shut the others, too. */
static bool is_shut_for_all(enum door_state state)
{
    return state == DOOR_NO_GENESIS || state == DOOR_OTHER_LOG;
}

void calls_ready(struct admin_report *report, void *calls)
{
    struct calls *c = calls;
    const int64_t now_ms = clock_mono_ms();
    bool sells = false;

    for (int p = 0; p < (int)c->settings.topics.partitions; p++) {
        sells = sells || is_open(door_state(c->door, p, now_ms));
    }
    sells = sells && c->has_been_ready; /* one that starts waits for all */
    admin_check(report, "serving", !door_is_draining(c->door),
                door_is_draining(c->door) ? "draining" : "not draining");
    admin_check(report, "redis", lookup_is_up(c->lookup), NULL);
    for (int p = 0; p < (int)c->settings.topics.partitions; p++) {
        const enum door_state state = door_state(c->door, p, now_ms);
        char name[32];

        (void)snprintf(name, sizeof(name), "partition-%d", p); /* fits */
        admin_check(report, name, is_open(state) || (sells && is_shut_for_all(state)),
                    door_state_name(state));
    }
}
