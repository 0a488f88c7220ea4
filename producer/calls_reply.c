/*
 * Answers.  Bodies are built in a buffer on the stack; the largest, an order with eight payments,
 * has less than 1,200 bytes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "producer/answers.h"
#include "producer/calls_internal.h"
#include "producer/refusal_reply.h"

enum {
    BODY_SIZE = 2048,
    FIELDS_MAX = 6,
    ASK_AGAIN_S = 1,
};

/* Headers of one answer, with room for what is written into them. */
struct fields {
    struct http_field list[FIELDS_MAX + 1];
    size_t n;
    char location[160];
    char retry_after[24];
};

static void add_field(struct fields *f, const char *name, const char *value)
{
    if (f->n < FIELDS_MAX) {
        f->list[f->n++] = (struct http_field){name, value};
    }
}

static void add_retry_after(struct fields *f, int64_t seconds)
{
    struct buf text;

    buf_init_fixed(&text, f->retry_after, sizeof(f->retry_after));
    buf_put_i64(&text, seconds); /* fits */
    add_field(f, "Retry-After", f->retry_after);
}

static void add_location(struct fields *f, const struct call *call, const char *receipt)
{
    struct buf location;

    buf_init_fixed(&location, f->location, sizeof(f->location));
    buf_puts(&location, "/v1/orders/");
    buf_puts(&location, call->order_id);
    if (receipt != NULL) {
        buf_puts(&location, "?receipt=");
        buf_puts(&location, receipt);
    }
    if (buf_ok(&location)) {
        add_field(f, "Location", f->location);
    }
}

static void add_replayed(struct fields *f, const struct call *call)
{
    if (call->is_replay) {
        add_field(f, "Idempotency-Replayed", "true");
    }
}

static void send_json(struct calls *c, struct call *call, int status, const struct fields *f,
                      const struct buf *body)
{
    if (!buf_ok(body)) {
        log_error("answer.too_large", LOG_STR("order_id", call->order_id));
    }
    http_reply_json(call->req, status, f->list, buf_slice(body));
    call_end(c, call);
}

void calls_refuse(struct calls *c, struct http_request *req, const struct door_verdict *verdict)
{
    refusal_reply(req, c->stats, verdict->refusal,
                  &(struct refusal_details){.retry_after_s = verdict->retry_after_s});
}

void reply_verdict(struct calls *c, struct call *call, const struct door_verdict *verdict)
{
    calls_refuse(c, call->req, verdict);
    call_end(c, call);
}

void reply_refusal(struct calls *c, struct call *call, enum refusal refusal)
{
    struct door_verdict verdict;

    door_refuse(c->door, refusal, &verdict);
    reply_verdict(c, call, &verdict);
}

void reply_not_delivered(struct calls *c, struct call *call, enum inflight_fate fate)
{
    const enum refusal refusal =
        fate == INFLIGHT_FAILED ? REFUSAL_NOT_PLACED : REFUSAL_UNKNOWN_FATE;
    struct refusal_details details = {.detail = NULL};
    struct door_verdict verdict;
    char members[64];

    door_refuse(c->door, refusal, &verdict);
    details.retry_after_s = verdict.retry_after_s;
    if (refusal == REFUSAL_UNKNOWN_FATE) {
        const int n =
            snprintf(members, sizeof(members), "\"order_id\":\"%s\"", call->order_id); /* fits */

        details.members = (struct slice){members, (size_t)n};
        if (call->kind != CALLS_ORDER) {
            details.detail =
                "It may have been taken or not. Send the same request again: it counts "
                "once.";
        } else if (call->is_keyed) {
            details.detail =
                "The order may have been placed or not. Ask for it by its id, or send the "
                "same request with the same Idempotency-Key again.";
        } else {
            details.detail =
                "The order may have been placed or not. Ask for it by its id; sending it "
                "again might place a second one.";
        }
    }
    refusal_reply(call->req, c->stats, refusal, &details);
    call_end(c, call);
}

/* The receipt of the call's order, in out; NULL when its place is not known. */
static const char *receipt_of(const struct calls *c, const struct call *call,
                              char out[INPUT_RECEIPT_MAX])
{
    if (call->offset < 0 || call->order_id[0] == '\0' ||
        !input_receipt_format(&c->receipt_key, call->order_id, call->partition, call->offset,
                              out)) {
        return NULL;
    }
    return out;
}

static int64_t records_ahead(const struct calls *c, const struct call *call)
{
    const int64_t decided = door_highest(c->door, call->partition);

    if (call->offset < 0 || decided < 0) {
        return -1;
    }
    return call->offset > decided ? call->offset - decided - 1 : 0;
}

/* The order as far as it is known before its decision. */
static void put_undecided(struct buf *body, const struct call *call, const char *state,
                          int64_t ahead, const char *receipt)
{
    answers_order(body, &(struct answers_order){
                            .order_id = call_order_id(call),
                            .item_id = command_text(&call->item_id),
                            .user_id = command_text(&call->user_id),
                            .qty = call->qty,
                            .state = state,
                            .position = call->offset,
                            .records_ahead = ahead,
                            .receipt = receipt,
                        });
}

void reply_accepted(struct calls *c, struct call *call, const char *state)
{
    const bool is_queued = strcmp(state, "queued") == 0;
    char receipt_text[INPUT_RECEIPT_MAX];
    const char *receipt = receipt_of(c, call, receipt_text);
    char storage[BODY_SIZE];
    struct buf body;
    struct fields f = {.n = 0};

    buf_init_fixed(&body, storage, sizeof(storage));
    put_undecided(&body, call, state, is_queued ? records_ahead(c, call) : -1, receipt);
    add_location(&f, call, receipt);
    add_retry_after(&f, ASK_AGAIN_S);
    add_replayed(&f, call);
    send_json(c, call, 202, &f, &body);
}

void reply_undecided(struct calls *c, struct call *call, const char *state, int64_t ahead)
{
    char receipt_text[INPUT_RECEIPT_MAX];
    char storage[BODY_SIZE];
    struct buf body;
    struct fields f = {.n = 0};

    buf_init_fixed(&body, storage, sizeof(storage));
    put_undecided(&body, call, state, ahead, receipt_of(c, call, receipt_text));
    add_retry_after(&f, ASK_AGAIN_S);
    send_json(c, call, 200, &f, &body);
}

void reply_entry(struct calls *c, struct call *call, int status, const struct order_entry *entry)
{
    char storage[BODY_SIZE];
    struct buf body;
    struct fields f = {.n = 0};

    buf_init_fixed(&body, storage, sizeof(storage));
    answers_entry(&body, entry, command_text(&call->user_id));
    if (call->kind == CALLS_ORDER) {
        add_location(&f, call, NULL);
        add_replayed(&f, call);
        stats_add(c->stats, STAT_REPLAYED, call->is_replay);
    }
    if (call->kind == CALLS_SHOW && entry->state == ORDER_RESERVED) {
        add_retry_after(&f, ASK_AGAIN_S);
    }
    send_json(c, call, status, &f, &body);
}

static enum order_state state_of(const struct event *event)
{
    switch (event->type) {
    case EVENT_RESERVED:
        return ORDER_RESERVED;
    case EVENT_REJECTED:
        return ORDER_REJECTED;
    case EVENT_PAID:
        return ORDER_PAID;
    case EVENT_CANCELLED:
        return ORDER_CANCELLED;
    case EVENT_EXPIRED:
        return ORDER_EXPIRED;
    default:
        return event->state;
    }
}

void reply_event(struct calls *c, struct call *call, int status, const struct event *event,
                 int64_t offset)
{
    const bool is_first = event->type == EVENT_RESERVED || event->type == EVENT_REJECTED;
    const struct order_entry entry = {
        .order_id = slice_str(event->order_id),
        .item_id = command_text(&event->item_id),
        .qty = event->qty,
        .state = state_of(event),
        .reason = event->reason,
        .due = event->type == EVENT_RESERVED ? event->due : 0,
        .offset = is_first ? offset : -1,
        .payments = is_first ? slice_str("-") : (struct slice){NULL, 0},
    };

    reply_entry(c, call, status, &entry);
}

void reply_reason(struct calls *c, struct call *call, enum reason reason, const char *state)
{
    const bool is_unknown = reason == REASON_UNKNOWN_ORDER;
    char storage[256];
    struct buf members;
    struct fields f = {.n = 0};

    buf_init_fixed(&members, storage, sizeof(storage));
    buf_printf(&members, "\"order_id\":\"%s\"", call->order_id);
    if (state != NULL) {
        buf_printf(&members, ",\"state\":\"%s\"", state);
    }
    if (call->kind == CALLS_ORDER && call->offset >= 0) {
        buf_printf(&members, ",\"position\":%" PRId64, call->offset);
    }
    add_replayed(&f, call);
    stats_add(c->stats, STAT_REPLAYED, call->is_replay);
    http_reply_problem(call->req,
                       &(struct http_problem){
                           .status = is_unknown ? 404 : 409,
                           .reason = reason_name(reason),
                           .title = call->kind == CALLS_CANCEL ? "Not cancelled" : "Rejected",
                           .detail = is_unknown ? refusal_text(REFUSAL_UNKNOWN_ORDER)->detail
                                                : answers_advice(reason),
                           .members = buf_slice(&members),
                       },
                       f.list);
    call_end(c, call);
}

void reply_payment(struct calls *c, struct call *call, char answer, enum reason reason,
                   const struct event *duplicate)
{
    const bool is_queued = answer == 'Q';
    char storage[BODY_SIZE];
    struct buf body;
    struct fields f = {.n = 0};
    struct answers_payment payment = {
        .order_id = call_order_id(call),
        .payment_id = command_text(&call->payment_id),
        .payment = is_queued ? "queued" : answers_payment_name(answer),
        .reason = reason,
        .position = call->offset,
    };

    if (duplicate != NULL) {
        payment.payment = "duplicate";
        payment.first_order_id = duplicate->first_order_id;
        payment.first_payment = answers_payment_name(duplicate->payment);
    }
    buf_init_fixed(&body, storage, sizeof(storage));
    answers_payment(&body, &payment);
    if (is_queued) {
        add_location(&f, call, NULL);
        add_retry_after(&f, ASK_AGAIN_S);
    }
    send_json(c, call, is_queued ? 202 : 200, &f, &body);
}

void reply_cancel_queued(struct calls *c, struct call *call)
{
    char storage[BODY_SIZE];
    struct buf body;
    struct fields f = {.n = 0};

    buf_init_fixed(&body, storage, sizeof(storage));
    buf_printf(&body, "{\"order_id\":\"%s\",\"cancel\":\"queued\"", call->order_id);
    if (call->offset >= 0) {
        buf_printf(&body, ",\"position\":%" PRId64, call->offset);
    }
    buf_putc(&body, '}');
    add_location(&f, call, NULL);
    add_retry_after(&f, ASK_AGAIN_S);
    send_json(c, call, 202, &f, &body);
}

void reply_item(struct calls *c, struct call *call, const struct item_entry *item)
{
    char storage[BODY_SIZE];
    struct buf body;
    struct fields f = {.n = 0};

    buf_init_fixed(&body, storage, sizeof(storage));
    answers_item(&body, command_text(&call->item_id), item, clock_wall_ms());
    add_field(&f, "Cache-Control", "max-age=1");
    send_json(c, call, 200, &f, &body);
}
