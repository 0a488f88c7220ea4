/*
 * Questions: an order (Redis, then MySQL, then its place in line), an item.
 */
#include "common/log.h"
#include "common/mutant.h"
#include "producer/calls_internal.h"

/* False, and refused: what Redis tells could be of any time. */
static bool may_look(struct calls *c, struct call *call)
{
    if (!door_has_horizon(c->door, call->partition)) {
        reply_refusal(c, call, REFUSAL_NOT_READY);
        return false;
    }
    return true;
}

void show_begin(struct calls *c, struct call *call)
{
    if (may_look(c, call) && call_await_news(c, call)) {
        call_look(c, call, true, false);
    }
}

/* Undecided or not known here: waits on if it may (for Redis too), else tells what is known. */
static void wait_or_tell(struct calls *c, struct call *call, const char *state, int64_t ahead)
{
    if (call_is_waiting_on(call)) {
        call_wait(c, call, call->is_behind ? LOOK_AFTER_MS : -1);
    } else if (state != NULL) {
        reply_undecided(c, call, state, ahead);
    } else {
        reply_refusal(c, call, call->is_behind ? REFUSAL_RECOVERING : REFUSAL_UNKNOWN_ORDER);
    }
}

/* This shopper's order, of which this door has seen no decision after it was placed. */
static bool find_ours(const struct calls *c, const struct call *call, struct inflight_order *order)
{
    return inflight_find(c->inflight, call_order_id(call), order) &&
           slice_eq(order->user_id, command_text(&call->user_id));
}

/* Where the order is by what this door remembers; true: it flies, undecided. */
static bool is_flying(const struct calls *c, struct call *call)
{
    struct inflight_order order;

    if (!find_ours(c, call, &order)) {
        return false;
    }
    if (order.offset >= 0) {
        call->offset = order.offset;
    }
    call->qty = order.qty;
    return order.ticket != INFLIGHT_NONE && !order.is_decided;
}

void show_on_look(struct calls *c, struct call *call, const struct door_look *look)
{
    struct order_entry entry;
    bool is_found;
    int64_t decided;

    if (look->result != DOOR_LOOK_GOT) {
        reply_refusal(c, call,
                      look->result == DOOR_LOOK_FULL ? REFUSAL_QUEUE_FULL : REFUSAL_NOT_READY);
        return;
    }
    is_found =
        look->orders.ptr != NULL && door_find_entry(look->orders, call_order_id(call), &entry);
    if (is_found && !door_is_outdated(look, &entry)) {
        reply_entry(c, call, 200, &entry);
        return;
    }
    call->is_behind = door_has_gone_back(look);
    if (is_found) {
        wait_or_tell(c, call, NULL, -1);
        return;
    }
    if (is_flying(c, call)) {
        /* Where Redis went back, an outcome may have been here before Kafka's report. */
        wait_or_tell(c, call, call->is_behind ? NULL : "queued", -1);
        return;
    }
    decided = door_horizon(c->door, call->partition);
    if (decided < look->watermark) {
        decided = look->watermark;
    }
    if (call->offset > decided && !call->is_behind) { /* else its key may have been placed before */
        wait_or_tell(c, call, "queued", call->offset - decided - 1);
        return;
    }
    if (MUTANT(RECORD_UNASKED)) {
        wait_or_tell(c, call, NULL, -1);
        return;
    }
    if (!record_ask(c->record, call_order_id(call), command_text(&call->user_id),
                    call_number(c, call))) {
        reply_refusal(c, call, REFUSAL_QUEUE_FULL);
        return;
    }
    call->stage = STAGE_READING;
}

/*
 * Redis does not know the order: it forgot it, or went back.  MySQL may know an older state, also of one
 * that was archived: until it knows of that.
 */
void show_on_record(struct calls *c, struct call *call, enum record_result result,
                    struct slice entry_text)
{
    struct order_entry entry;
    struct inflight_order order;
    const bool is_found = (result == RECORD_FOUND || result == RECORD_FORGOTTEN) &&
                          order_entry_next(&entry_text, &entry) == 1;

    if (is_found && (result == RECORD_FORGOTTEN || order_state_is_final(entry.state) ||
                     MUTANT(OUTDATED_TOLD))) {
        reply_entry(c, call, 200, &entry);
    } else if (is_found || call->offset >= 0 || find_ours(c, call, &order)) {
        /* Decided, and its record is on the way; or Kafka did not say where it is. */
        wait_or_tell(c, call, is_found && call->is_behind ? NULL : "unknown", -1);
    } else if (result == RECORD_ABSENT) {
        wait_or_tell(c, call, NULL, -1);
    } else {
        reply_refusal(c, call, REFUSAL_NOT_READY);
    }
}

void show_on_event(struct calls *c, struct call *call, const struct event *event, int64_t offset)
{
    reply_event(c, call, 200, event, offset);
}

void item_begin(struct calls *c, struct call *call)
{
    struct door_now now;
    struct item_entry item;

    call_now(c, &now);
    switch (gates_item(door_gates(c->door), command_text(&call->item_id), now.mono_ms, &item)) {
    case 1:
        reply_item(c, call, &item);
        break;
    case 0:
        reply_refusal(c, call, REFUSAL_UNKNOWN_ITEM);
        break;
    default:
        if (may_look(c, call)) {
            call_look(c, call, false, true);
        }
        break;
    }
}

void item_on_look(struct calls *c, struct call *call, const struct door_look *look)
{
    struct item_entry item;

    if (look->result == DOOR_LOOK_FULL) {
        reply_refusal(c, call, REFUSAL_QUEUE_FULL);
    } else if (look->result != DOOR_LOOK_GOT) {
        reply_refusal(c, call, REFUSAL_NOT_READY);
    } else if (door_has_gone_back(look)) {
        reply_refusal(c, call, REFUSAL_RECOVERING);
    } else if (look->item.ptr == NULL) {
        reply_refusal(c, call, REFUSAL_UNKNOWN_ITEM);
    } else if (!item_entry_parse(look->item, &item)) {
        log_limited(LOG_LEVEL_ERROR, "item.malformed",
                    LOG_SLICE("item_id", command_text(&call->item_id)));
        reply_refusal(c, call, REFUSAL_NOT_READY);
    } else {
        reply_item(c, call, &item);
    }
}
