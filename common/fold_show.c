/*
 * The state in Redis's words.
 */
#include "common/fold_impl.h"

#include <string.h>

static void write_item(const struct node *node, struct buf *out)
{
    fold_put_stock(out, &((const struct item *)node)->stock);
}

static void write_order(const struct order *order, struct buf *out)
{
    const char state[] = {' ', order->state, '\0'};
    char separator = ' ';

    buf_append(out, order->id, sizeof(order->id));
    fold_put_text(out, fold_name(&order->item->node));
    fold_put_number(out, order->qty);
    buf_puts(out, state);
    fold_put_number(out, order->reason);
    fold_put_number(out, order->due);
    fold_put_number(out, order->offset);
    if (order->listed == NULL) {
        buf_puts(out, " -");
    }
    for (const struct payment *p = order->listed; p != NULL; p = p->next_listed) {
        buf_putc(out, separator);
        buf_putc(out, p->answer);
        buf_put_slice(out, fold_name(&p->node));
        separator = ',';
    }
}

static void write_orders(const struct node *node, struct buf *out)
{
    const struct user *user = (const struct user *)node;

    for (const struct order *order = user->first; order != NULL; order = order->next) {
        if (order != user->first) {
            buf_putc(out, ';');
        }
        write_order(order, out);
    }
}

static void write_payment(const struct node *node, struct buf *out)
{
    const struct payment *payment = (const struct payment *)node;

    buf_putc(out, payment->answer);
    fold_put_number(out, payment->reason);
    buf_putc(out, ' ');
    buf_append(out, payment->order_id, sizeof(payment->order_id));
    fold_put_number(out, payment->offset);
}

static void write_operation(const struct node *node, struct buf *out)
{
    const struct operation *operation = (const struct operation *)node;

    buf_put_slice(out, command_text(&operation->item_id));
    fold_put_number(out, operation->offset);
}

typedef void write_fn(const struct node *node, struct buf *out);

static bool write_field(const struct node *node, struct buf *out, write_fn *write)
{
    buf_clear(out);
    if (node == NULL) {
        return false;
    }
    write(node, out);
    return true;
}

bool fold_item(const struct fold *f, struct slice item_id, struct buf *out)
{
    return write_field((const struct node *)fold_find_item(f, item_id), out, write_item);
}

bool fold_orders(const struct fold *f, struct slice user_id, struct buf *out)
{
    return write_field(fold_find(f->users, user_id), out, write_orders);
}

bool fold_payment(const struct fold *f, struct slice payment_id, struct buf *out)
{
    return write_field(fold_find(f->payments, payment_id), out, write_payment);
}

bool fold_operation(const struct fold *f, struct slice op_id, struct buf *out)
{
    return write_field(fold_find(f->operations, op_id), out, write_operation);
}

int64_t fold_changed(const struct fold *f, enum fold_table table, struct slice field)
{
    const struct item *item;
    const struct user *user;
    const struct node *node;

    switch (table) {
    case FOLD_ITEMS:
        item = fold_find_item(f, field);
        return item == NULL ? -1 : item->changed;
    case FOLD_ORDERS:
        user = fold_find_user(f, field);
        return user == NULL ? -1 : user->changed;
    case FOLD_PAYMENTS:
        node = fold_find(f->payments, field);
        return node == NULL ? -1 : ((const struct payment *)node)->offset;
    case FOLD_OPERATIONS:
        node = fold_find(f->operations, field);
        return node == NULL ? -1 : ((const struct operation *)node)->offset;
    }
    return -1;
}

void fold_holds(const struct fold *f, struct buf *out)
{
    buf_clear(out);
    for (size_t i = 0; i < f->n_queues; i++) {
        if (i > 0) {
            buf_putc(out, ',');
        }
        buf_put_i64(out, f->queues[i].hold_ms);
    }
}

size_t fold_users(const struct fold *f)
{
    return HASH_COUNT(f->users);
}

void fold_each(const struct fold *f, enum fold_table table, fold_each_fn *each, void *arg)
{
    static write_fn *const writes[] = {
        [FOLD_ITEMS] = write_item,
        [FOLD_ORDERS] = write_orders,
        [FOLD_PAYMENTS] = write_payment,
        [FOLD_OPERATIONS] = write_operation,
    };
    const struct node *const tables[] = {
        [FOLD_ITEMS] = f->items,
        [FOLD_ORDERS] = f->users,
        [FOLD_PAYMENTS] = f->payments,
        [FOLD_OPERATIONS] = f->operations,
    };
    struct buf value;

    buf_init(&value, FOLD_VALUE_MAX);
    for (const struct node *node = tables[table]; node != NULL; node = node->hh.next) {
        if (table == FOLD_ITEMS && !((const struct item *)node)->is_present) {
            continue;
        }
        buf_clear(&value);
        writes[table](node, &value);
        if (!each(fold_name(node), buf_slice(&value), arg)) {
            break;
        }
    }
    buf_fini(&value);
}

void fold_each_hold(const struct fold *f, fold_each_fn *each, void *arg)
{
    struct queue queues[HOLDS_MAX]; /* each cut off at the front as it is told */
    char hold_text[24], entry_text[160];
    struct buf hold, entry;
    size_t i;

    memcpy(queues, f->queues, sizeof(queues));
    buf_init_fixed(&hold, hold_text, sizeof(hold_text));
    buf_init_fixed(&entry, entry_text, sizeof(entry_text));
    while ((i = fold_earliest_queue(queues, f->n_queues)) < f->n_queues) {
        const struct order *order = queues[i].first;

        queues[i].first = order->due_next;
        buf_clear(&hold);
        buf_put_i64(&hold, queues[i].hold_ms);
        buf_clear(&entry);
        buf_put_i64(&entry, order->due);
        fold_put_number(&entry, order->offset);
        buf_putc(&entry, ' ');
        buf_append(&entry, order->id, sizeof(order->id));
        fold_put_text(&entry, fold_name(&order->user->node));
        if (!each(buf_slice(&hold), buf_slice(&entry), arg)) {
            break;
        }
    }
}

enum fold_due fold_due(const struct fold *f, struct slice hold_ms, struct slice entry)
{
    struct slice rest;
    const struct slice due = slice_cut(entry, ' ', &rest);
    const struct slice offset = slice_cut(rest, ' ', &rest);
    const struct slice order_id = slice_cut(rest, ' ', &rest);
    const struct order *order = NULL;
    int64_t numbers[3];

    if (order_id.len == IDS_ORDER_LEN) {
        order = fold_find_order(fold_find_user(f, rest), order_id.ptr);
    }
    if (order == NULL || order->state == ORDER_REJECTED ||
        !slice_to_i64(due, 0, COMMAND_TIME_MAX, &numbers[0]) || numbers[0] != order->due ||
        !slice_to_i64(offset, 0, COMMAND_TIME_MAX, &numbers[1]) || numbers[1] != order->offset ||
        !slice_to_i64(hold_ms, 1, COMMAND_TIME_MAX, &numbers[2]) ||
        /* Of an order that was loaded, and over by then, nobody knows in which queue it was. */
        (order->queue < f->n_queues && f->queues[order->queue].hold_ms != numbers[2])) {
        return FOLD_DUE_UNKNOWN;
    }
    return order->state == ORDER_RESERVED ? FOLD_DUE_HELD : FOLD_DUE_OVER;
}
