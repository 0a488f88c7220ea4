/*
 * Values of the `orders`, `payments` and `items` hashes in Redis.  Strict: they are written by one script only,
 * so anything odd means that somebody else wrote there.
 */
#include "common/outcome.h"

#include "common/event_shape.h"
#include "common/fields.h"

int order_entry_next(struct slice *value, struct order_entry *entry)
{
    struct fields f;

    if (value->len == 0) {
        return 0;
    }
    f = fields_start(slice_cut(*value, ';', value), ' ');
    if (value->ptr != NULL && value->len == 0) {
        return -1; /* a separator with nothing after it */
    }
    entry->order_id = fields_next(&f);
    entry->item_id = fields_next(&f);
    entry->qty = fields_number(&f, 1, COMMAND_QTY_MAX);
    entry->state = (enum order_state)fields_char(&f, EVENT_ORDER_STATES);
    entry->reason = fields_reason(&f, entry->state == ORDER_REJECTED ? EVENT_WHY_REJECTED
                                                                     : FIELDS_BIT(REASON_NONE));
    entry->due = fields_number(&f, 0, COMMAND_TIME_MAX);
    entry->offset = fields_number(&f, 0, COMMAND_TIME_MAX);
    entry->payments = fields_next(&f);
    if (!fields_end(&f) || entry->payments.len == 0 ||
        !ids_parse_order(entry->order_id, NULL, NULL) || !ids_is_item(entry->item_id)) {
        return -1;
    }
    return 1;
}

int order_payment_next(struct slice *payments, char *answer, struct slice *payment_id)
{
    struct slice payment;

    if (payments->len == 0) {
        return 0;
    }
    if (slice_eq(*payments, SLICE_LIT("-"))) {
        *payments = (struct slice){NULL, 0};
        return 0;
    }
    payment = slice_cut(*payments, ',', payments);
    if (payments->ptr != NULL && payments->len == 0) {
        return -1; /* a separator with nothing after it */
    }
    if (payment.len == 0 || (payment.ptr[0] != 'P' && payment.ptr[0] != 'R')) {
        return -1;
    }
    *answer = payment.ptr[0];
    *payment_id = (struct slice){payment.ptr + 1, payment.len - 1};
    return ids_is_id(*payment_id) ? 1 : -1;
}

bool payment_entry_parse(struct slice value, struct payment_entry *payment)
{
    struct fields f = fields_start(value, ' ');

    payment->answer = fields_char(&f, EVENT_PAYMENTS);
    payment->reason =
        fields_reason(&f, payment->answer == 'R' ? EVENT_WHY_REFUND : FIELDS_BIT(REASON_NONE));
    payment->order_id = fields_next(&f);
    payment->offset = fields_number(&f, 0, COMMAND_TIME_MAX);
    return fields_end(&f) && ids_parse_order(payment->order_id, NULL, NULL);
}

bool item_entry_parse(struct slice value, struct item_entry *item)
{
    struct fields f = fields_start(value, ' ');

    item->total = fields_number(&f, 0, COMMAND_TOTAL_MAX);
    item->available = fields_number(&f, 0, COMMAND_TOTAL_MAX);
    item->held = fields_number(&f, 0, COMMAND_TOTAL_MAX);
    item->sold = fields_number(&f, 0, COMMAND_TOTAL_MAX);
    item->limit = fields_number(&f, 1, COMMAND_LIMIT_MAX);
    item->hold_ms = fields_number(&f, 1, COMMAND_HOLD_MAX_MS);
    item->opens_at = fields_number(&f, 0, COMMAND_TIME_MAX);
    item->closes_at = fields_number(&f, 0, COMMAND_TIME_MAX);
    item->state = fields_char(&f, EVENT_ITEM_STATES);
    item->price = fields_number(&f, 0, COMMAND_PRICE_MAX);
    return fields_end(&f);
}
