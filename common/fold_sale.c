/*
 * Operations on sales, and marks.
 */
#include "common/fold_impl.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

/* False, and told as a duplicate, when the operation was seen before. */
static bool is_new_operation(struct fold *f)
{
    struct slice op_id = command_text(&f->command.other_id);
    struct operation *operation;

    if (fold_find(f->operations, op_id) != NULL && !MUTANT(OPERATION_REPEATED)) {
        fold_tell_letter(f, "o");
        return false;
    }
    operation = fold_add(&f->operations, sizeof(*operation), op_id);
    operation->item_id = f->command.item_id;
    operation->offset = f->offset;
    f->log.operations++;
    return true;
}

static bool is_closed(const struct stock *stock)
{
    return stock->state == 'c' || stock->state == 'a';
}

static void replace(int64_t *member, int64_t value)
{
    if (value >= 0) {
        *member = value;
    }
}

/* Puts the command's members over next and judges the result. */
static enum reason merge_terms(const struct fold *f, struct stock *next)
{
    const struct command *cmd = &f->command;

    replace(&next->total, cmd->total);
    replace(&next->limit, cmd->limit);
    replace(&next->hold_ms, cmd->hold_ms);
    replace(&next->opens_at, cmd->opens_at);
    replace(&next->closes_at, cmd->closes_at);
    replace(&next->price, cmd->price);
    if (next->total < next->held + next->sold) {
        return REASON_BELOW_COMMITTED;
    }
    if (next->closes_at != 0 && next->closes_at <= next->opens_at) {
        return REASON_BAD_OPERATION;
    }
    if (f->n_queues == HOLDS_MAX && fold_find_queue(f, next->hold_ms) == HOLDS_MAX) {
        return REASON_BAD_OPERATION;
    }
    next->available = next->total - next->held - next->sold;
    return REASON_NONE;
}

/* What the item becomes, in next. */
static enum reason change_sale(const struct fold *f, const struct item *item, struct stock *next)
{
    const struct command *cmd = &f->command;

    if (item == NULL) {
        if (cmd->action != COMMAND_OPEN) {
            return REASON_UNKNOWN_ITEM;
        }
        if (cmd->total < 0 || cmd->limit < 0 || cmd->hold_ms < 0 || f->log.items >= ITEMS_MAX) {
            return REASON_BAD_OPERATION;
        }
        *next = (struct stock){.state = 'o'};
        return merge_terms(f, next);
    }
    if (is_closed(&item->stock)) {
        return REASON_CLOSED;
    }
    *next = item->stock;
    switch (cmd->action) {
    case COMMAND_PAUSE:
        next->state = 'p';
        return REASON_NONE;
    case COMMAND_RESUME:
        next->state = 'o';
        return REASON_NONE;
    case COMMAND_CLOSE:
        next->state = 'c';
        return REASON_NONE;
    case COMMAND_OPEN:
        next->state = 'o';
        return merge_terms(f, next);
    case COMMAND_CHANGE:
        break;
    }
    return merge_terms(f, next);
}

void fold_apply_sale(struct fold *f)
{
    struct slice item_id = command_text(&f->command.item_id);
    struct item *item = fold_find_item(f, item_id);
    struct stock next;
    enum reason reason;

    if (!is_new_operation(f)) {
        return;
    }
    reason = change_sale(f, item, &next);
    if (reason != REASON_NONE) {
        fold_tell_reason(f, "x", reason);
        return;
    }
    if (item == NULL) {
        item = fold_name_item(f, item_id);
        item->is_present = true;
        f->log.items++;
    }
    item->stock = next;
    item->changed = f->offset;
    if (fold_find_queue(f, next.hold_ms) == HOLDS_MAX) {
        f->queues[f->n_queues++] = (struct queue){.hold_ms = next.hold_ms};
    }
    fold_tell_stock(f, item);
}

void fold_apply_restock(struct fold *f)
{
    const struct command *cmd = &f->command;
    struct item *item = fold_find_item(f, command_text(&cmd->item_id));

    if (!is_new_operation(f)) {
        return;
    }
    if (item == NULL) {
        fold_tell_reason(f, "x", REASON_UNKNOWN_ITEM);
    } else if (is_closed(&item->stock)) {
        fold_tell_reason(f, "x", REASON_CLOSED);
    } else if (item->stock.total + cmd->qty > COMMAND_TOTAL_MAX) {
        fold_tell_reason(f, "x", REASON_BAD_OPERATION);
    } else {
        item->stock.total += cmd->qty;
        item->stock.available += cmd->qty;
        item->changed = f->offset;
        fold_tell_stock(f, item);
    }
}

static int compare_items(const void *a, const void *b)
{
    const struct slice x = fold_name(&(*(struct item *const *)a)->node);
    const struct slice y = fold_name(&(*(struct item *const *)b)->node);
    const int order = memcmp(x.ptr, y.ptr, x.len < y.len ? x.len : y.len);

    return order != 0 ? order : (x.len > y.len) - (x.len < y.len);
}

void fold_apply_mark(struct fold *f)
{
    struct buf *line = fold_next_event(f);
    const struct item **items;
    size_t n = 0;

    if (line == NULL) {
        return;
    }
    items = xcalloc(f->log.items, sizeof(struct item *));
    for (const struct node *node = f->items; node != NULL; node = node->hh.next) {
        const struct item *item = (const struct item *)node;

        if (item->is_present && item->stock.state != 'a') {
            items[n++] = item;
        }
    }
    qsort(items, n, sizeof(struct item *), compare_items);

    buf_putc(line, 'm');
    fold_put_number(line, (int64_t)f->log.orders);
    fold_put_number(line, (int64_t)f->log.payments);
    for (size_t i = 0; i < n; i++) {
        const struct stock *stock = &items[i]->stock;
        const int64_t counters[] = {stock->total, stock->available, stock->held, stock->sold};

        fold_put_text(line, fold_name(&items[i]->node));
        for (size_t k = 0; k < 4; k++) {
            buf_putc(line, ',');
            buf_put_i64(line, counters[k]);
        }
    }
    free(items);
}

/* Forgets the orders of the item that the named users have; returns how many. */
static size_t forget_orders(struct fold *f, const struct item *item)
{
    struct slice rest = f->command.users;
    size_t n = 0;

    while (rest.ptr != NULL) {
        struct user *user = fold_find_user(f, slice_cut(rest, ',', &rest));

        n += user == NULL ? 0 : fold_forget(f, user, item);
    }
    return n;
}

static void archive_item(struct fold *f, struct item *item)
{
    struct buf *line = fold_next_event(f);
    size_t n;

    if (item->stock.state != 'a') {
        item->stock.state = 'a';
        item->changed = f->offset;
        f->log.items--;
        f->log.archived++;
    }
    n = forget_orders(f, item);
    if (line != NULL) {
        buf_putc(line, 'a');
        fold_put_number(line, (int64_t)n);
        fold_put_number(line, item->stock.total);
        fold_put_number(line, item->stock.sold);
    }
}

void fold_apply_archive(struct fold *f)
{
    struct item *item = fold_find_item(f, command_text(&f->command.item_id));

    if (!is_new_operation(f)) {
        return;
    }
    if (f->log.rules >= 2 && item == NULL) {
        fold_tell_reason(f, "x", REASON_UNKNOWN_ITEM);
    } else if (f->log.rules < 2 || !is_closed(&item->stock) ||
               (item->stock.held > 0 && !MUTANT(ARCHIVED_TOO_EARLY))) {
        fold_tell_reason(f, "x", REASON_BAD_OPERATION);
    } else {
        archive_item(f, item);
    }
}
