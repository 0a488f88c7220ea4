/*
 * A fold that does not start at genesis.  Everything comes in the text that Redis holds, which says all
 * there is; only in which queue a hold waits is told apart.  It may come from a MySQL that somebody
 * edited: what would lead a fold astray (a queue that there is not, a payment in two lists) is refused.
 */
#include <string.h>

#include "common/fields.h"
#include "common/xmalloc.h"

#define uthash_malloc(size) xmalloc(size)
#include "common/fold_impl.h"

static bool bad(struct err *err, const char *what, struct slice field)
{
    return err_set(err, ERR_FATAL, "%s %.*s is not well-formed", what,
                   (int)(field.len < 64 ? field.len : 64), field.ptr);
}

bool fold_load_log(struct fold *f, const struct fold_log *log, struct slice holds, struct err *err)
{
    f->log = *log;
    f->log.items = 0;
    f->log.archived = 0;
    f->log.orders = 0;
    f->log.payments = 0;
    f->log.operations = 0;
    f->log.changed = (struct fold_changes){
        log->watermark, log->watermark, log->watermark, log->watermark,
        log->watermark, log->watermark, log->watermark,
    };
    for (bool more = holds.len > 0; more; more = holds.ptr != NULL) {
        const struct slice hold = slice_cut(holds, ',', &holds);
        int64_t hold_ms;

        if (f->n_queues == HOLDS_MAX || !slice_to_i64(hold, 1, INT64_MAX, &hold_ms) ||
            fold_find_queue(f, hold_ms) != HOLDS_MAX) {
            return bad(err, "hold_ms", hold);
        }
        f->queues[f->n_queues++].hold_ms = hold_ms;
    }
    return true;
}

static bool load_item(struct fold *f, struct slice field, struct slice value, struct err *err)
{
    struct item_entry entry;
    struct item *item;

    if (!ids_is_item(field) || !item_entry_parse(value, &entry) ||
        fold_find_queue(f, entry.hold_ms) == HOLDS_MAX || fold_find_item(f, field) != NULL) {
        return bad(err, "item", field);
    }
    item = fold_name_item(f, field);
    item->is_present = true;
    item->changed = f->log.watermark;
    item->stock = (struct stock){
        .total = entry.total,
        .available = entry.available,
        .held = entry.held,
        .sold = entry.sold,
        .limit = entry.limit,
        .hold_ms = entry.hold_ms,
        .opens_at = entry.opens_at,
        .closes_at = entry.closes_at,
        .price = entry.price,
        .state = entry.state,
    };
    if (entry.state == 'a') {
        f->log.archived++;
    } else {
        f->log.items++;
    }
    return true;
}

static bool load_operation(struct fold *f, struct slice field, struct slice value, struct err *err)
{
    struct fields rest = fields_start(value, ' ');
    struct command_text item_id = {0};
    struct operation *op;
    int64_t offset;

    fields_item(&rest, &item_id);
    offset = fields_number(&rest, 0, COMMAND_TIME_MAX);
    if (!ids_is_id(field) || !fields_end(&rest) || fold_find(f->operations, field) != NULL) {
        return bad(err, "operation", field);
    }
    op = fold_add(&f->operations, sizeof(*op), field);
    op->item_id = item_id;
    op->offset = offset;
    f->log.operations++;
    return true;
}

static bool load_payment(struct fold *f, struct slice field, struct slice value, struct err *err)
{
    struct payment_entry entry;
    struct payment *payment;

    if (!ids_is_id(field) || !payment_entry_parse(value, &entry) ||
        fold_find(f->payments, field) != NULL) {
        return bad(err, "payment", field);
    }
    payment = fold_add(&f->payments, sizeof(*payment), field);
    payment->answer = entry.answer;
    payment->reason = (uint8_t)entry.reason;
    payment->offset = entry.offset;
    memcpy(payment->order_id, entry.order_id.ptr, sizeof(payment->order_id));
    f->log.payments++;
    return true;
}

static bool list_payments(struct fold *f, struct order *order, struct slice list)
{
    char answer;
    struct slice id;
    int n;

    if (slice_eq(list, SLICE_LIT("-"))) {
        return true;
    }
    while ((n = order_payment_next(&list, &answer, &id)) == 1) {
        struct payment *payment = (struct payment *)fold_find(f->payments, id);

        if (payment == NULL || payment->is_listed || payment->answer != answer ||
            memcmp(payment->order_id, order->id, sizeof(order->id)) != 0 ||
            order->n_listed == ORDER_PAYMENTS_MAX) {
            return false;
        }
        payment->is_listed = true;
        if (order->listed_last == NULL) {
            order->listed = payment;
        } else {
            order->listed_last->next_listed = payment;
        }
        order->listed_last = payment;
        order->n_listed++;
    }
    return n == 0;
}

/* fold_remember() takes what an order is from the command at hand. */
static bool load_order(struct fold *f, struct slice user_id, const struct order_entry *entry)
{
    struct command *cmd = &f->command;
    struct user *user = fold_find_user(f, user_id);
    struct order *order;

    if (!command_set_text(&cmd->user_id, user_id) ||
        !command_set_text(&cmd->item_id, entry->item_id) ||
        !slice_copy(entry->order_id, cmd->order_id, sizeof(cmd->order_id)) ||
        fold_find_order(user, cmd->order_id) != NULL ||
        (user != NULL && user->n_orders == ORDERS_REMEMBERED_MAX)) {
        return false;
    }
    cmd->qty = entry->qty;
    f->offset = entry->offset;
    order = fold_remember(f, user, NULL, entry->state, entry->reason);
    order->user->changed = f->log.watermark;
    order->due = entry->due;
    order->queue = HOLDS_MAX;
    return list_payments(f, order, entry->payments);
}

static bool load_orders(struct fold *f, struct slice field, struct slice value, struct err *err)
{
    struct order_entry entry;
    int n;

    if (!ids_is_id(field) || value.len == 0 || fold_find_user(f, field) != NULL) {
        return bad(err, "orders of", field);
    }
    while ((n = order_entry_next(&value, &entry)) == 1) {
        if (!load_order(f, field, &entry)) {
            return bad(err, "an order of", field);
        }
    }
    return n == 0 || bad(err, "orders of", field);
}

bool fold_load(struct fold *f, enum fold_table table, const struct fold_field *field,
               struct err *err)
{
    switch (table) {
    case FOLD_ITEMS:
        return load_item(f, field->name, field->value, err);
    case FOLD_ORDERS:
        return load_orders(f, field->name, field->value, err);
    case FOLD_PAYMENTS:
        return load_payment(f, field->name, field->value, err);
    case FOLD_OPERATIONS:
        return load_operation(f, field->name, field->value, err);
    }
    return false;
}

bool fold_load_hold(struct fold *f, const struct fold_hold *hold, struct err *err)
{
    const struct user *user = fold_find_user(f, hold->user_id);
    char order_id[IDS_ORDER_LEN + 1];
    struct order *order;
    int64_t hold_ms;
    size_t queue;

    if (hold->order_id.len != IDS_ORDER_LEN ||
        !slice_copy(hold->order_id, order_id, sizeof(order_id)) ||
        !slice_to_i64(hold->hold_ms, 1, INT64_MAX, &hold_ms)) {
        return bad(err, "hold", hold->order_id);
    }
    order = fold_find_order(user, order_id);
    queue = fold_find_queue(f, hold_ms);
    if (order == NULL || order->state != ORDER_RESERVED || order->queue != HOLDS_MAX ||
        queue == HOLDS_MAX) {
        return bad(err, "hold", hold->order_id);
    }
    order->queue = (uint8_t)queue;
    fold_enqueue(f, order);
    return true;
}
