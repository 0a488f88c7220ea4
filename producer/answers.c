#include "producer/answers.h"

#include <string.h>

/* name comes with quotes and colon. */
static void put_name(struct buf *out, struct slice name)
{
    if (out->len > 0 && out->ptr[out->len - 1] != '{') {
        buf_putc(out, ',');
    }
    buf_put_slice(out, name);
}

static void put_text(struct buf *out, struct slice name, struct slice text)
{
    if (text.len > 0) {
        put_name(out, name);
        buf_json_string(out, text);
    }
}

static void put_word(struct buf *out, struct slice name, const char *word)
{
    put_text(out, name, slice_str(word));
}

static void put_number(struct buf *out, struct slice name, int64_t n)
{
    put_name(out, name);
    buf_put_i64(out, n);
}

static void put_known(struct buf *out, struct slice name, int64_t n, int64_t least)
{
    if (n >= least) {
        put_number(out, name, n);
    }
}

static void put_reason(struct buf *out, enum reason reason)
{
    if (reason != REASON_NONE) {
        put_word(out, SLICE_LIT("\"reason\":"), reason_name(reason));
    }
}

const char *answers_payment_name(char answer)
{
    return answer == 'P' ? "paid" : "refund_due";
}

static void put_payments(struct buf *out, struct slice payments)
{
    char answer;
    struct slice payment_id;

    if (payments.len == 0) {
        return;
    }
    put_name(out, SLICE_LIT("\"payments\":"));
    buf_putc(out, '[');
    while (order_payment_next(&payments, &answer, &payment_id) == 1) {
        if (out->len > 0 && out->ptr[out->len - 1] != '[') {
            buf_putc(out, ',');
        }
        buf_putc(out, '{');
        put_text(out, SLICE_LIT("\"payment_id\":"), payment_id);
        put_word(out, SLICE_LIT("\"payment\":"), answers_payment_name(answer));
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
}

void answers_order(struct buf *out, const struct answers_order *order)
{
    buf_putc(out, '{');
    put_text(out, SLICE_LIT("\"order_id\":"), order->order_id);
    put_text(out, SLICE_LIT("\"item_id\":"), order->item_id);
    put_text(out, SLICE_LIT("\"user_id\":"), order->user_id);
    put_known(out, SLICE_LIT("\"qty\":"), order->qty, 1);
    put_word(out, SLICE_LIT("\"state\":"), order->state);
    put_reason(out, order->reason);
    put_known(out, SLICE_LIT("\"due\":"), order->due, 1);
    put_payments(out, order->payments);
    put_known(out, SLICE_LIT("\"position\":"), order->position, 0);
    put_known(out, SLICE_LIT("\"records_ahead\":"), order->records_ahead, 0);
    put_word(out, SLICE_LIT("\"receipt\":"), order->receipt);
    buf_putc(out, '}');
}

void answers_entry(struct buf *out, const struct order_entry *entry, struct slice user_id)
{
    answers_order(out, &(struct answers_order){
                           .order_id = entry->order_id,
                           .item_id = entry->item_id,
                           .user_id = user_id,
                           .qty = entry->qty,
                           .state = order_state_name(entry->state),
                           .reason = entry->reason,
                           .due = entry->due,
                           .payments = entry->payments,
                           .position = entry->offset,
                           .records_ahead = -1,
                       });
}

void answers_payment(struct buf *out, const struct answers_payment *payment)
{
    buf_putc(out, '{');
    put_text(out, SLICE_LIT("\"order_id\":"), payment->order_id);
    put_text(out, SLICE_LIT("\"payment_id\":"), payment->payment_id);
    put_word(out, SLICE_LIT("\"payment\":"), payment->payment);
    put_reason(out, payment->reason);
    put_word(out, SLICE_LIT("\"first_order_id\":"), payment->first_order_id);
    put_word(out, SLICE_LIT("\"first_payment\":"), payment->first_payment);
    put_known(out, SLICE_LIT("\"position\":"), payment->position, 0);
    buf_putc(out, '}');
}

void answers_item(struct buf *out, struct slice item_id, const struct item_entry *item,
                  int64_t server_time_ms)
{
    buf_putc(out, '{');
    put_text(out, SLICE_LIT("\"item_id\":"), item_id);
    put_word(out, SLICE_LIT("\"state\":"), item_state_name(item->state));
    put_number(out, SLICE_LIT("\"total\":"), item->total);
    put_number(out, SLICE_LIT("\"available\":"), item->available);
    put_number(out, SLICE_LIT("\"held\":"), item->held);
    put_number(out, SLICE_LIT("\"sold\":"), item->sold);
    put_number(out, SLICE_LIT("\"limit\":"), item->limit);
    put_number(out, SLICE_LIT("\"hold_ms\":"), item->hold_ms);
    put_number(out, SLICE_LIT("\"opens_at\":"), item->opens_at);
    put_number(out, SLICE_LIT("\"closes_at\":"), item->closes_at);
    put_number(out, SLICE_LIT("\"price\":"), item->price);
    put_number(out, SLICE_LIT("\"server_time\":"), server_time_ms);
    buf_putc(out, '}');
}

const char *answers_advice(enum reason reason)
{
    switch (reason) {
    case REASON_SOLD_OUT:
        return "Not enough units were left. Some may come back when reservations lapse: place a new "
               "order later.";
    case REASON_LIMIT_REACHED:
        return "With this order you would have more of the item than one user may.";
    case REASON_NOT_OPEN:
        return "The sale had not begun; see opens_at of the item, and place a new order then.";
    case REASON_CLOSED:
        return "The sale is over.";
    case REASON_PAUSED:
        return "The sale is paused: place a new order later.";
    case REASON_TIMED_OUT:
        return "The order waited in line for too long and took no stock: place a new order.";
    case REASON_UNKNOWN_ITEM:
        return "No sale of this item was opened.";
    case REASON_ALREADY_PAID:
        return "The order is paid and cannot be cancelled.";
    case REASON_ALREADY_CANCELLED:
        return "The order was cancelled before; nothing is left to do.";
    case REASON_ALREADY_REJECTED:
        return "The order was rejected; nothing is left to do.";
    case REASON_EXPIRED:
        return "The reservation has lapsed; nothing is left to do.";
    default:
        return "See docs/protocol.md for the reason.";
    }
}
