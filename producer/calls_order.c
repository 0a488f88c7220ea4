/*
 * An order: door, look-up if the door wants one, Kafka, and the decision if the client waits.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/mutant.h"
#include "producer/calls_internal.h"

static void ask_door(const struct call *call, struct door_order *order)
{
    *order = (struct door_order){
        .user_id = command_text(&call->user_id),
        .item_id = command_text(&call->item_id),
        .order_id = call->is_keyed ? call_order_id(call) : (struct slice){NULL, 0},
        .qty = call->qty,
        .partition = call->partition,
    };
}

static void send_order(struct calls *c, struct call *call)
{
    struct door_now now;
    struct command cmd = {.type = COMMAND_ORDER, .keyed = call->is_keyed, .qty = call->qty};

    if (!call->is_keyed && call->is_gone) {
        reply_refusal(c, call, REFUSAL_LEFT); /* nobody would ever know its id */
        return;
    }
    call_now(c, &now);
    if (!call->is_keyed && !ids_order_unkeyed(call->order_id, call->partition, clock_wall_ms())) {
        log_limited(LOG_LEVEL_ERROR, "order.no_random");
        reply_refusal(c, call, REFUSAL_NOT_READY);
        return;
    }
    if (!call_await(c, call, WAITERS_ORDER)) {
        return;
    }
    if (!slice_copy(call_order_id(call), cmd.order_id, sizeof(cmd.order_id))) {
        reply_refusal(c, call, REFUSAL_BAD_REQUEST); /* cannot be: ids are of one length */
        return;
    }
    cmd.item_id = call->item_id;
    cmd.user_id = call->user_id;
    cmd.not_after = now.log_clock_ms + c->settings.patience_ms;
    call_send(c, call, &cmd);
    if (MUTANT(ACCEPTED_UNACKED) && call->is_used && call->stage == STAGE_FLYING) {
        reply_accepted(c, call, "queued");
    }
}

static void join_order(struct calls *c, struct call *call, inflight_ticket ticket)
{
    call->is_replay = true;
    if (!call_await_news(c, call)) {
        return;
    }
    if (!inflight_join(c->inflight, ticket, call_number(c, call))) {
        reply_refusal(c, call, REFUSAL_QUEUE_FULL);
        return;
    }
    stats_add(c->stats, STAT_JOINED, 1);
    call->stage = STAGE_FLYING;
    call->is_sent = true;
}

static void wait_or_tell(struct calls *c, struct call *call)
{
    if (call_is_waiting_on(call)) {
        call_wait(c, call, LOOK_AFTER_MS);
    } else {
        reply_accepted(c, call, "queued");
    }
}

static void act(struct calls *c, struct call *call, const struct door_verdict *verdict)
{
    switch (verdict->move) {
    case DOOR_REFUSE:
        reply_verdict(c, call, verdict);
        break;
    case DOOR_LOOK:
        call_look(c, call, call->is_keyed, true);
        break;
    case DOOR_JOIN:
        join_order(c, call, verdict->found.ticket);
        break;
    case DOOR_PLACED:
        call->is_replay = true;
        call->is_sent = true;
        call->offset = verdict->found.offset;
        if (call_await_news(c, call)) {
            wait_or_tell(c, call);
        }
        break;
    case DOOR_KNOWN:
        call->is_replay = true;
        reply_entry(c, call, 200, &verdict->known);
        break;
    case DOOR_SEND:
        send_order(c, call);
        break;
    }
}

void order_begin(struct calls *c, struct call *call)
{
    struct door_order order;
    struct door_now now;
    struct door_verdict verdict;

    ask_door(call, &order);
    call_now(c, &now);
    door_order(c->door, &order, &now, &verdict);
    act(c, call, &verdict);
}

/* What a look-up told a call whose order is in the log. */
static void look_again(struct calls *c, struct call *call, const struct door_look *look)
{
    struct order_entry entry;
    const bool is_found = look->result == DOOR_LOOK_GOT && look->orders.ptr != NULL &&
                          door_find_entry(look->orders, call_order_id(call), &entry);
    const bool is_decided =
        look->result == DOOR_LOOK_GOT && call->offset >= 0 && look->watermark >= call->offset;

    if (is_found && entry.qty != call->qty && !MUTANT(CONTENT_UNCOMPARED)) {
        reply_refusal(c, call, REFUSAL_KEY_REUSED);
    } else if (is_found && !door_is_outdated(look, &entry)) {
        if (entry.state == ORDER_REJECTED) {
            reply_reason(c, call, entry.reason, order_state_name(entry.state));
        } else {
            reply_entry(c, call, entry.state == ORDER_RESERVED ? 201 : 200, &entry);
        }
    } else if (!call_is_waiting_on(call)) {
        /* Redis does not remember what was rejected without a key; its outcome is on the way. */
        reply_accepted(c, call, is_decided ? "unknown" : "queued");
    } else {
        if (look->result == DOOR_LOOK_GOT) {
            call_seen(c, call, look->watermark);
        }
        call_wait(c, call, is_found ? LOOK_AFTER_MS : -1);
    }
}

void order_on_look(struct calls *c, struct call *call, const struct door_look *look)
{
    struct door_order order;
    struct door_now now;
    struct door_verdict verdict;

    if (call->is_sent) {
        look_again(c, call, look);
        return;
    }
    ask_door(call, &order);
    call_now(c, &now);
    door_order_looked(c->door, &order, look, &now, &verdict);
    act(c, call, &verdict);
}

void order_on_settled(struct calls *c, struct call *call, enum inflight_fate fate)
{
    if (fate != INFLIGHT_DELIVERED) {
        reply_not_delivered(c, call, fate);
        return;
    }
    wait_or_tell(c, call);
}

void order_on_event(struct calls *c, struct call *call, const struct event *event, int64_t offset)
{
    histogram_add(c->decided, clock_mono_us() - call->started_us);
    if (event->qty != call->qty && !MUTANT(CONTENT_UNCOMPARED)) {
        reply_refusal(c, call, REFUSAL_KEY_REUSED);
        return;
    }
    if (event->type == EVENT_DUPLICATE) {
        call->is_replay = true;
    }
    if (event->type == EVENT_REFUSED) { /* the item is archived: no decision, so no state */
        call->offset = offset;
        reply_reason(c, call, event->reason, NULL);
        return;
    }
    if (event->type == EVENT_REJECTED) {
        call->offset = offset;
        reply_reason(c, call, event->reason, order_state_name(ORDER_REJECTED));
    } else {
        reply_event(c, call, event->type == EVENT_RESERVED ? 201 : 200, event, offset);
    }
}
