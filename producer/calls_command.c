/*
 * Payments and cancels: one command for an order that exists, or does not; the log answers.
 */
#include "common/clock.h"
#include "producer/calls_internal.h"

static void tell_queued(struct calls *c, struct call *call)
{
    if (call->kind == CALLS_PAY) {
        reply_payment(c, call, 'Q', REASON_NONE, NULL);
    } else {
        reply_cancel_queued(c, call);
    }
}

void command_begin(struct calls *c, struct call *call)
{
    const bool is_pay = call->kind == CALLS_PAY;
    struct command cmd = {.type = is_pay ? COMMAND_PAY : COMMAND_CANCEL};
    struct door_verdict verdict;

    door_command(c->door, call->partition, clock_mono_ms(), &verdict);
    if (verdict.move == DOOR_REFUSE) {
        reply_verdict(c, call, &verdict);
        return;
    }
    if (!call_await(c, call, is_pay ? WAITERS_PAYMENT : WAITERS_CANCEL)) {
        return;
    }
    if (!slice_copy(call_order_id(call), cmd.order_id, sizeof(cmd.order_id))) {
        reply_refusal(c, call, REFUSAL_BAD_REQUEST); /* cannot be: ids are of one length */
        return;
    }
    cmd.user_id = call->user_id;
    cmd.other_id = call->payment_id;
    call_send(c, call, &cmd);
}

void command_on_settled(struct calls *c, struct call *call, enum inflight_fate fate)
{
    enum reason reason;

    if (fate != INFLIGHT_DELIVERED) {
        reply_not_delivered(c, call, fate);
    } else if (waiters_placed(c->waiters, call->waiter, call->offset, &reason)) {
        reply_reason(c, call, reason, NULL);
    } else if (call_is_waiting_on(call)) {
        call_wait(c, call, LOOK_AFTER_MS);
    } else {
        tell_queued(c, call);
    }
}

/* Whether the order lists the call's payment; its answer goes to *answer. */
static bool find_payment(const struct call *call, const struct order_entry *entry, char *answer)
{
    struct slice payments = entry->payments;
    struct slice payment_id;

    while (order_payment_next(&payments, answer, &payment_id) == 1) {
        if (slice_eq(payment_id, command_text(&call->payment_id))) {
            return true;
        }
    }
    return false;
}

/* Why it is due back: the order lists the answer alone. */
static enum reason reason_of(const struct door_look *look)
{
    struct payment_entry payment;

    return look->payment.ptr != NULL && payment_entry_parse(look->payment, &payment)
               ? payment.reason
               : REASON_NONE;
}

/* Answers a cancel by the state after its record. */
static void judge_cancel(struct calls *c, struct call *call, const struct order_entry *entry)
{
    enum reason reason;

    switch (entry->state) {
    case ORDER_CANCELLED:
        reply_entry(c, call, 200, entry);
        return;
    case ORDER_PAID:
        reason = REASON_ALREADY_PAID;
        break;
    case ORDER_REJECTED:
        reason = REASON_ALREADY_REJECTED;
        break;
    case ORDER_EXPIRED:
        reason = REASON_EXPIRED;
        break;
    default:
        /* Held still: the order came after its cancel, which nothing else can have refused. */
        reply_reason(c, call, REASON_UNKNOWN_ORDER, NULL);
        return;
    }
    reply_reason(c, call, reason, order_state_name(entry->state));
}

void command_on_look(struct calls *c, struct call *call, const struct door_look *look)
{
    struct order_entry entry;
    char answer;

    if (look->result == DOOR_LOOK_GOT) {
        const bool is_found =
            look->orders.ptr != NULL && door_find_entry(look->orders, call_order_id(call), &entry);

        if (call->kind == CALLS_PAY && is_found && find_payment(call, &entry, &answer)) {
            reply_payment(c, call, answer, answer == 'R' ? reason_of(look) : REASON_NONE, NULL);
            return;
        }
        if (call->kind == CALLS_CANCEL && call->offset >= 0 && look->watermark >= call->offset) {
            if (is_found) {
                judge_cancel(c, call, &entry);
                return;
            }
            /* Never there, or forgotten by an archive since: its outcome tells which. */
        } else {
            call_seen(c, call, look->watermark);
        }
    }
    if (call_is_waiting_on(call)) {
        call_wait(c, call, -1);
    } else {
        tell_queued(c, call);
    }
}

void command_on_event(struct calls *c, struct call *call, const struct event *event, int64_t offset)
{
    call->offset = offset;
    if (call->kind == CALLS_CANCEL) {
        if (event->type == EVENT_CANCELLED) {
            reply_event(c, call, 200, event, offset);
        } else {
            reply_reason(c, call, event->reason, NULL);
        }
        return;
    }
    switch (event->type) {
    case EVENT_PAID:
        reply_payment(c, call, 'P', REASON_NONE, NULL);
        break;
    case EVENT_DUPLICATE:
        reply_payment(c, call, event->payment, REASON_NONE, event);
        break;
    default:
        reply_payment(c, call, 'R', event->reason, NULL);
        break;
    }
}
