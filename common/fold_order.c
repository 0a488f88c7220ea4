/*
 * Orders, payments, cancellations and what falls due.
 */
#include "common/fold_impl.h"

#include <string.h>

static void expire_order(struct fold *f, struct order *order)
{
    struct stock *stock = &order->item->stock;
    struct buf *line = fold_next_event(f);

    fold_dequeue(f, order);
    order->state = ORDER_EXPIRED;
    stock->held -= order->qty;
    stock->available += order->qty;
    fold_change(f, order);
    if (line != NULL) {
        buf_puts(line, "e ");
        buf_append(line, order->id, sizeof(order->id));
        fold_put_text(line, fold_name(&order->user->node));
        fold_put_text(line, fold_name(&order->item->node));
        fold_put_number(line, order->qty);
        fold_put_number(line, stock->available);
    }
}

void fold_expire_due(struct fold *f)
{
    struct order *order;

    if (f->next_due > f->log.log_time) {
        return;
    }
    order = fold_earliest_hold(f);
    for (int n = 0; n < EXPIRE_MAX && order != NULL && order->due <= f->log.log_time; n++) {
        expire_order(f, order);
        order = fold_earliest_hold(f);
    }
    f->next_due = order == NULL ? INT64_MAX : order->due;
}

/* A hold past its time that EXPIRE_MAX left standing is none any more for pay and cancel. */
static void expire_lapsed(struct fold *f, struct order *order)
{
    if (order->state == ORDER_RESERVED && order->due <= f->log.log_time &&
        !MUTANT(LAPSED_HOLD_LIVES)) {
        expire_order(f, order);
    }
}

static bool is_past_end(const struct fold *f, const struct stock *stock)
{
    return stock->state == 'c' || stock->state == 'a' ||
           (stock->closes_at != 0 && f->log.log_time >= stock->closes_at);
}

/* Does the user's limit of this item forbid qty more? */
static bool is_over_limit(const struct user *user, const struct item *item, int64_t qty)
{
    const struct order *order = user == NULL ? NULL : user->first;
    int64_t sum = qty;

    for (; order != NULL; order = order->next) {
        if (order->item == item && (order->state == ORDER_RESERVED || order->state == ORDER_PAID)) {
            sum += order->qty;
        }
    }
    return sum > item->stock.limit;
}

static enum reason judge_order(const struct fold *f, const struct user *user,
                               const struct item *item)
{
    const struct command *cmd = &f->command;

    if (cmd->not_after < f->log.log_time) {
        return REASON_TIMED_OUT;
    }
    if (item == NULL) {
        return REASON_UNKNOWN_ITEM;
    }
    if (is_past_end(f, &item->stock)) {
        return REASON_CLOSED;
    }
    if (f->log.log_time < item->stock.opens_at) {
        return REASON_NOT_OPEN;
    }
    if (item->stock.state == 'p') {
        return REASON_PAUSED;
    }
    if (is_over_limit(user, item, cmd->qty)) {
        return REASON_LIMIT_REACHED;
    }
    return item->stock.available < cmd->qty ? REASON_SOLD_OUT : REASON_NONE;
}

static void reserve(struct fold *f, struct user *user, struct item *item)
{
    struct order *order = fold_remember(f, user, item, ORDER_RESERVED, REASON_NONE);
    struct buf *line = fold_next_event(f);

    order->due = f->log.log_time + item->stock.hold_ms;
    order->queue = (uint8_t)fold_find_queue(f, item->stock.hold_ms);
    fold_enqueue(f, order);
    fold_change(f, order);
    item->stock.available -= order->qty;
    item->stock.held += order->qty;
    if (line != NULL) {
        buf_put_i64(line, item->stock.available);
        fold_put_number(line, order->due);
    }
}

void fold_apply_order(struct fold *f)
{
    const struct command *cmd = &f->command;
    struct item *item = fold_find_item(f, command_text(&cmd->item_id));
    struct user *user = fold_find_user(f, command_text(&cmd->user_id));
    const struct order *known = fold_find_order(user, cmd->order_id);
    enum reason reason;

    if (MUTANT(FORGET_HELD) && known != NULL && known->state == ORDER_RESERVED) {
        known = NULL;
    }
    if (known != NULL && MUTANT(RESULT_SETS_STATE)) {
        fold_tell_rejected(f, REASON_LIMIT_REACHED, item);
        return;
    }
    if (known != NULL) {
        struct buf *line = fold_next_event(f);

        if (line != NULL) {
            const char state[] = {' ', known->state, '\0'};

            buf_putc(line, 'd');
            fold_put_text(line, fold_name(&known->item->node));
            fold_put_number(line, known->qty);
            buf_puts(line, state);
            fold_put_number(line, known->reason);
        }
        return;
    }
    if (item != NULL && item->stock.state == 'a' && !MUTANT(ARCHIVED_DECIDED)) {
        /* It may have been decided and forgotten: this is no decision. */
        fold_tell_reason(f, "x", REASON_CLOSED);
        fold_note_command(f, FOLD_REFUSED, REASON_CLOSED);
        return;
    }
    if (user != NULL && user->n_orders >= ORDERS_REMEMBERED_MAX) {
        fold_note_command(f, FOLD_FORGOTTEN, REASON_LIMIT_REACHED);
        fold_tell_rejected(f, REASON_LIMIT_REACHED, item);
        return;
    }
    reason = judge_order(f, user, item);
    if (reason == REASON_NONE) {
        reserve(f, user, item);
        return;
    }
    fold_tell_rejected(f, reason, item);
    if (cmd->keyed && !MUTANT(FORGET_DECIDED)) {
        (void)fold_remember(f, user, item, ORDER_REJECTED, reason);
    } else {
        fold_note_command(f, FOLD_FORGOTTEN, reason);
    }
}

/* May an expired order be paid after all? */
static enum reason judge_late(const struct fold *f, const struct order *order)
{
    const struct stock *stock = &order->item->stock;

    if (is_past_end(f, stock) && !MUTANT(LATE_PAYMENT_UNCHECKED)) {
        return REASON_CLOSED;
    }
    if (stock->state == 'p' && !MUTANT(LATE_PAYMENT_UNCHECKED)) {
        return REASON_PAUSED;
    }
    if (is_over_limit(order->user, order->item, order->qty) && !MUTANT(LATE_PAYMENT_UNCHECKED)) {
        return REASON_LIMIT_REACHED;
    }
    return stock->available < order->qty ? REASON_SOLD_OUT : REASON_NONE;
}

/* Pays the order, or says why the money is due back. */
static enum reason pay_order(struct fold *f, struct order *order)
{
    struct stock *stock;
    enum reason reason;

    if (order == NULL) {
        return REASON_UNKNOWN_ORDER;
    }
    expire_lapsed(f, order);
    stock = &order->item->stock;
    switch (order->state) {
    case ORDER_RESERVED:
        fold_dequeue(f, order);
        stock->held -= order->qty;
        stock->sold += order->qty;
        order->state = ORDER_PAID;
        fold_change(f, order);
        fold_tell_order(f, order, "p", 0);
        return REASON_NONE;
    case ORDER_EXPIRED:
        reason = judge_late(f, order);
        if (reason == REASON_NONE) {
            stock->available -= order->qty;
            stock->sold += order->qty;
            order->state = ORDER_PAID;
            fold_change(f, order);
            fold_tell_order(f, order, "p", 1);
        }
        return reason;
    case ORDER_PAID:
        return REASON_ALREADY_PAID;
    case ORDER_CANCELLED:
        return REASON_ALREADY_CANCELLED;
    default:
        return REASON_ALREADY_REJECTED;
    }
}

static void list_payment(const struct fold *f, struct order *order, struct payment *payment)
{
    if (order == NULL || order->n_listed >= ORDER_PAYMENTS_MAX) {
        return;
    }
    if (order->listed_last == NULL) {
        order->listed = payment;
    } else {
        order->listed_last->next_listed = payment;
    }
    order->listed_last = payment;
    order->n_listed++;
    order->user->changed = f->offset;
}

void fold_apply_pay(struct fold *f)
{
    const struct command *cmd = &f->command;
    struct slice payment_id = command_text(&cmd->other_id);
    struct slice user_id = command_text(&cmd->user_id);
    struct payment *payment = (struct payment *)fold_find(f->payments, payment_id);
    struct order *order;
    enum reason reason;

    if (payment != NULL) {
        struct buf *line = fold_next_event(f);

        if (line != NULL) {
            const char answer[] = {' ', payment->answer, '\0'};

            buf_puts(line, "D ");
            buf_append(line, payment->order_id, sizeof(payment->order_id));
            buf_puts(line, answer);
        }
        return;
    }
    order = user_id.len == 0 ? NULL : fold_find_order(fold_find_user(f, user_id), cmd->order_id);
    if (order == NULL && MUTANT(PAYMENT_UNANSWERED)) {
        return;
    }
    reason = pay_order(f, order);
    if (reason != REASON_NONE) {
        fold_tell_reason(f, "r", reason);
    }
    if (reason != REASON_NONE && MUTANT(PAYMENT_ANSWERED_TWICE)) {
        return;
    }
    payment = fold_add(&f->payments, sizeof(*payment), payment_id);
    payment->answer = reason == REASON_NONE ? 'P' : 'R';
    payment->reason = (uint8_t)reason;
    payment->offset = f->offset;
    memcpy(payment->order_id, cmd->order_id, sizeof(payment->order_id));
    f->log.payments++;
    list_payment(f, order, payment);
}

static enum reason cancel_order(struct fold *f, struct order *order)
{
    if (order == NULL) {
        return REASON_UNKNOWN_ORDER;
    }
    expire_lapsed(f, order);
    switch (order->state) {
    case ORDER_RESERVED:
        fold_dequeue(f, order);
        order->item->stock.held -= order->qty;
        order->item->stock.available += order->qty;
        order->state = ORDER_CANCELLED;
        fold_change(f, order);
        fold_tell_order(f, order, "c", -1);
        return REASON_NONE;
    case ORDER_PAID:
        return REASON_ALREADY_PAID;
    case ORDER_CANCELLED:
        return REASON_ALREADY_CANCELLED;
    case ORDER_EXPIRED:
        return REASON_EXPIRED;
    default:
        return REASON_ALREADY_REJECTED;
    }
}

void fold_apply_cancel(struct fold *f)
{
    const struct command *cmd = &f->command;
    const struct user *user = fold_find_user(f, command_text(&cmd->user_id));
    enum reason reason = cancel_order(f, fold_find_order(user, cmd->order_id));

    if (reason != REASON_NONE) {
        fold_tell_reason(f, "x", reason);
    }
}
