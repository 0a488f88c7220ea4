#include "tests/sim/judge.h"

#include <string.h>

/* The outcome under judgement. */
struct trial {
    struct world *w;
    struct shard *s;
    const struct node *node;
    const struct command *cmd;
};

#define BROKEN(t, promise, ...)                                                                    \
    wrong((t)->w, "promise " promise " is broken at %d/%" PRId64 ": %s", (t)->s->number,           \
          (t)->node->offset, __VA_ARGS__)

static void set_name(char *out, size_t size, const struct command_text *text)
{
    tables_name(out, size, command_text(text));
}

/* Moves units of an item; what is left must be what the event says. */
static void move(const struct trial *t, const struct event *e, int available, int held, int sold)
{
    struct tables *rows = &t->s->judged;
    struct row_item *item = tables_item(rows, e->item_id.s);

    if (item == NULL) {
        BROKEN(t, "1", "stock of an item that there is not");
    }
    tables_toggle_item(rows, item);
    item->available += available * e->qty;
    item->held += held * e->qty;
    item->sold += sold * e->qty;
    tables_toggle_item(rows, item);
    if (item->available < 0 || item->held < 0 || item->sold < 0 ||
        item->total != item->available + item->held + item->sold) {
        BROKEN(t, "1", "stock does not add up");
    }
    if (e->available != item->available) {
        BROKEN(t, "1", "what is left is not what the events before leave");
    }
}

static void check_limit(const struct trial *t, const struct event *e)
{
    struct tables *rows = &t->s->judged;
    const struct row_item *item = tables_item(rows, e->item_id.s);

    if (tables_committed(rows, e->user_id.s, e->item_id.s) > item->limit) {
        BROKEN(t, "4", "a user has more than the limit");
    }
}

static bool is_archived_order(struct tables *rows, const struct event *e)
{
    const struct row_order *row = tables_order(rows, e->order_id, e->user_id.s);

    return row != NULL && rows->archived[row - rows->orders] > 0;
}

static bool is_archived(struct tables *rows, const char *item_id)
{
    const struct row_item *item = tables_item(rows, item_id);

    return item != NULL && item->state == 'a';
}

static void add_order(const struct trial *t, const struct event *e, bool is_reserved,
                      bool is_forgotten)
{
    struct row_order row = {.qty = e->qty, .due = e->due, .decided_offset = t->node->offset};

    tables_name(row.order_id, sizeof(row.order_id), slice_str(e->order_id));
    set_name(row.user_id, sizeof(row.user_id), &e->user_id);
    set_name(row.item_id, sizeof(row.item_id), &e->item_id);
    row.state = is_reserved ? ORDER_RESERVED : ORDER_REJECTED;
    row.reason = e->reason;
    if (!tables_add_order(&t->s->judged, &row, is_forgotten)) {
        BROKEN(t, "of the simulator", "no room");
    }
}

static void decide(const struct trial *t, const struct event *e, bool is_reserved)
{
    struct tables *rows = &t->s->judged;
    struct row_order *known = tables_order(rows, e->order_id, e->user_id.s);
    bool is_keyed = false;
    bool is_forgotten;
    size_t n = 0;

    if (known != NULL && !rows->is_forgotten[known - rows->orders]) {
        BROKEN(t, "3", "an order is decided twice");
    }
    if (is_archived(rows, e->item_id.s)) {
        BROKEN(t, "3", "an order of an archived item is decided");
    }
    for (size_t i = 0; i < rows->n_orders; i++) {
        n += strcmp(rows->orders[i].user_id, e->user_id.s) == 0 && !rows->is_forgotten[i] ? 1 : 0;
    }
    (void)ids_parse_order(slice_str(e->order_id), NULL, &is_keyed);
    is_forgotten = !is_reserved && (!is_keyed || n >= ORDERS_REMEMBERED);
    if (known != NULL && is_keyed && !is_forgotten && !is_archived_order(rows, e)) {
        seen(COVER_DECIDED_ANEW);
    }
    add_order(t, e, is_reserved, is_forgotten);
    if (is_reserved) {
        move(t, e, -1, +1, 0);
        check_limit(t, e);
    }
}

/* The row of an order that changes from one of two states. */
static struct row_order *changing(const struct trial *t, const struct event *e, int64_t from)
{
    struct tables *rows = &t->s->judged;
    struct row_order *row = tables_order(rows, e->order_id, e->user_id.s);

    if (row == NULL || rows->is_forgotten[row - rows->orders] || row->state != from ||
        row->qty != e->qty || strcmp(row->item_id, e->item_id.s) != 0) {
        BROKEN(t, "5", "an order changes that is not in that state");
    }
    return row;
}

static void change(const struct trial *t, const struct event *e, int64_t from, int64_t to)
{
    struct row_order *row = changing(t, e, from);

    tables_toggle_order(&t->s->judged, row);
    row->state = to;
    tables_toggle_order(&t->s->judged, row);
}

static void answer_payment(const struct trial *t, const struct event *e, char answer)
{
    struct tables *rows = &t->s->judged;
    struct row_payment row = {.answer = answer, .reason = e->reason, .offset = t->node->offset};

    if (tables_payment(rows, e->payment_id.s) != NULL) {
        BROKEN(t, "5", "a payment is answered twice");
    }
    if (is_archived_order(rows, e) && e->reason != REASON_UNKNOWN_ORDER) {
        BROKEN(t, "5", "a payment finds an order that is archived");
    }
    set_name(row.payment_id, sizeof(row.payment_id), &e->payment_id);
    tables_name(row.order_id, sizeof(row.order_id), slice_str(e->order_id));
    if (!tables_add_payment(rows, &row)) {
        BROKEN(t, "of the simulator", "no room");
    }
}

static void pay(const struct trial *t, const struct event *e)
{
    const struct row_order *row = changing(t, e, e->late ? ORDER_EXPIRED : ORDER_RESERVED);

    if (!e->late && row->due <= t->node->log_time) {
        BROKEN(t, "5", "a hold is paid after its time");
    }
    change(t, e, row->state, ORDER_PAID);
    move(t, e, e->late ? -1 : 0, e->late ? 0 : -1, +1);
    if (e->late) {
        const struct row_item *item = tables_item(&t->s->judged, e->item_id.s);

        check_limit(t, e);
        if (item->state != 'o') {
            BROKEN(t, "5", "a late payment takes stock of a sale that is not open");
        }
    }
    answer_payment(t, e, 'P');
    seen(e->late ? COVER_PAID_LATE : COVER_PAID);
}

static void give_back(const struct trial *t, const struct event *e)
{
    const struct row_order *row = changing(t, e, ORDER_RESERVED);
    const bool is_due = row->due <= t->node->log_time;

    if (is_due != (e->type == EVENT_EXPIRED)) {
        BROKEN(t, "5", is_due ? "a hold is cancelled after its time" : "a hold expires too early");
    }
    change(t, e, ORDER_RESERVED, is_due ? ORDER_EXPIRED : ORDER_CANCELLED);
    move(t, e, +1, -1, 0);
    seen(is_due ? COVER_EXPIRED : COVER_CANCELLED);
}

static void remember_operation(const struct trial *t, const struct event *e)
{
    struct tables *rows = &t->s->judged;
    struct row_operation row = {.offset = t->node->offset};

    if (tables_operation(rows, e->op_id.s) != NULL) {
        BROKEN(t, "1", "an operation counts twice");
    }
    set_name(row.op_id, sizeof(row.op_id), &e->op_id);
    set_name(row.item_id, sizeof(row.item_id), &e->item_id);
    if (!tables_add_operation(rows, &row)) {
        BROKEN(t, "of the simulator", "no room");
    }
}

static void set_stock(const struct trial *t, const struct event *e)
{
    struct tables *rows = &t->s->judged;
    struct row_item *item = tables_item(rows, e->item_id.s);
    struct row_item next = {.total = e->total,
                            .available = e->available,
                            .held = e->held,
                            .sold = e->sold,
                            .limit = e->limit,
                            .hold_ms = e->hold_ms,
                            .opens_at = e->opens_at,
                            .closes_at = e->closes_at,
                            .state = e->item_state,
                            .price = e->price};

    set_name(next.item_id, sizeof(next.item_id), &e->item_id);
    if (next.total != next.available + next.held + next.sold || next.available < 0 ||
        next.held != (item == NULL ? 0 : item->held) ||
        next.sold != (item == NULL ? 0 : item->sold)) {
        BROKEN(t, "1", "a sale command moves what is held or sold");
    }
    remember_operation(t, e);
    if (item == NULL) {
        if (!tables_add_item(rows, &next)) {
            BROKEN(t, "of the simulator", "no room");
        }
        return;
    }
    tables_toggle_item(rows, item);
    *item = next;
    tables_toggle_item(rows, item);
}

/* Only what can no longer change is forgotten, and only of those who are named. */
static void archive(const struct trial *t, const struct event *e)
{
    struct tables *rows = &t->s->judged;
    struct row_item *item = tables_item(rows, e->item_id.s);
    const struct slice users = e->users == NULL ? (struct slice){NULL, 0} : slice_str(e->users);
    int64_t n;

    remember_operation(t, e);
    if (item == NULL || (item->state != 'c' && item->state != 'a') || item->held > 0) {
        BROKEN(t, "3", "an item is archived that can still change");
    }
    if (item->total != e->total || item->sold != e->sold) {
        BROKEN(t, "1", "an archive tells other counters");
    }
    if (t->node->rules < 2) {
        BROKEN(t, "10", "an archive by rules that know of none");
    }
    seen(item->state == 'a' ? COVER_ARCHIVED_AGAIN : COVER_ARCHIVED);
    tables_toggle_item(rows, item);
    item->state = 'a';
    tables_toggle_item(rows, item);
    n = tables_archive(rows, item->item_id, users, t->node->offset);
    if (n != e->orders) {
        BROKEN(t, "3", "an archive forgets other orders than those of its users");
    }
    if (n > 0) {
        seen(COVER_ARCHIVED_ORDERS);
    }
}

/* An order of what is archived may have been decided and forgotten: it is refused, and not decided. */
static void refuse(const struct trial *t, const struct event *e)
{
    struct tables *rows = &t->s->judged;
    const struct row_order *row;

    seen(COVER_REFUSED);
    if (e->op_id.len > 0) {
        remember_operation(t, e);
        if (t->cmd->type == COMMAND_ARCHIVE) {
            seen(t->node->rules < 2 ? COVER_ARCHIVE_UNKNOWN : COVER_ARCHIVE_REFUSED);
        }
        return;
    }
    if (t->cmd->type == COMMAND_CANCEL && is_archived_order(rows, e) &&
        e->reason != REASON_UNKNOWN_ORDER) {
        BROKEN(t, "3", "a cancel finds an order that is archived");
    }
    if (t->cmd->type != COMMAND_ORDER) {
        return;
    }
    row = tables_order(rows, e->order_id, e->user_id.s);
    if (!is_archived(rows, e->item_id.s) || e->reason != REASON_CLOSED ||
        (row != NULL && !rows->is_forgotten[row - rows->orders])) {
        BROKEN(t, "3", "an order is refused that is not of an archived item, or is remembered");
    }
    seen(is_archived_order(rows, e) ? COVER_FORGOTTEN_AGAIN : COVER_ARCHIVED_ORDER);
    if (row == NULL) {
        add_order(t, e, false, true); /* what MySQL tells of it */
    }
}

/* A result: it must repeat what is true, and changes nothing. */
static void check_duplicate(const struct trial *t, const struct event *e)
{
    struct tables *rows = &t->s->judged;

    seen(COVER_DUPLICATE);
    if (e->payment_id.len > 0) {
        const struct row_payment *row = tables_payment(rows, e->payment_id.s);

        if (row == NULL || row->answer != e->payment ||
            strcmp(row->order_id, e->first_order_id) != 0) {
            BROKEN(t, "5", "a payment is a duplicate of none");
        }
    } else if (e->op_id.len > 0) {
        if (tables_operation(rows, e->op_id.s) == NULL) {
            BROKEN(t, "1", "an operation is a duplicate of none");
        }
    } else {
        const struct row_order *row = tables_order(rows, e->order_id, e->user_id.s);

        if (row == NULL || rows->is_forgotten[row - rows->orders] ||
            row->state != (int64_t)e->state || row->qty != e->qty) {
            BROKEN(t, "3", "an order is a duplicate of none, or in another state");
        }
    }
}

static void check_mark(const struct trial *t, const struct event *e)
{
    for (size_t i = 0; i < e->n_items; i++) {
        const struct event_item *told = &e->items[i];
        const struct row_item *item = tables_item(&t->s->judged, told->item_id.s);

        if (item == NULL || item->state == 'a' || item->total != told->total ||
            item->available != told->available || item->held != told->held ||
            item->sold != told->sold) {
            BROKEN(t, "7", "a mark tells other counters");
        }
    }
}

static void judge_event(const struct trial *t, const struct event *e)
{
    switch (e->type) {
    case EVENT_RESERVED:
        decide(t, e, true);
        seen(COVER_RESERVED);
        break;
    case EVENT_REJECTED:
        decide(t, e, false);
        seen(COVER_REJECTED);
        break;
    case EVENT_PAID:
        pay(t, e);
        break;
    case EVENT_CANCELLED:
    case EVENT_EXPIRED:
        give_back(t, e);
        break;
    case EVENT_REFUND_DUE:
        answer_payment(t, e, 'R');
        seen(COVER_REFUND);
        break;
    case EVENT_DUPLICATE:
        check_duplicate(t, e);
        break;
    case EVENT_REFUSED:
        refuse(t, e);
        break;
    case EVENT_ARCHIVED:
        archive(t, e);
        break;
    case EVENT_STOCK:
        set_stock(t, e);
        break;
    case EVENT_MARK:
        check_mark(t, e);
        break;
    case EVENT_GENESIS:
    case EVENT_RULES:
        break;
    }
}

/* The event that answers the command, and no other order's, payment's or operation's. */
static bool is_answer(const struct command *cmd, const struct event *e)
{
    switch (cmd->type) {
    case COMMAND_ORDER:
        return (e->type == EVENT_RESERVED || e->type == EVENT_REJECTED ||
                e->type == EVENT_DUPLICATE || e->type == EVENT_REFUSED) &&
               strcmp(e->order_id, cmd->order_id) == 0 && strcmp(e->user_id.s, cmd->user_id.s) == 0;
    case COMMAND_PAY:
        return (e->type == EVENT_PAID || e->type == EVENT_REFUND_DUE ||
                e->type == EVENT_DUPLICATE) &&
               strcmp(e->payment_id.s, cmd->other_id.s) == 0;
    case COMMAND_CANCEL:
        return (e->type == EVENT_CANCELLED || e->type == EVENT_REFUSED) &&
               strcmp(e->order_id, cmd->order_id) == 0;
    case COMMAND_TICK:
        return false;
    case COMMAND_GENESIS:
    case COMMAND_SET_RULES:
    case COMMAND_SALE:
    case COMMAND_RESTOCK:
    case COMMAND_MARK:
    case COMMAND_ARCHIVE:
    case COMMAND_MALFORMED:
        break;
    }
    return e->type != EVENT_EXPIRED;
}

void judge(struct world *w, struct shard *s, const struct node *node, const struct command *cmd)
{
    const struct trial trial = {w, s, node, cmd};
    const struct outcome *o = &w->outcome;
    size_t answers = 0;
    struct err err;

    if (!outcome_parse(&w->outcome, slice_str(node->outcome), &err)) {
        BROKEN(&trial, "3", err.text);
    }
    if (o->offset != node->offset || o->prev != node->offset - 1 || o->chain != node->chain) {
        BROKEN(&trial, "3", "an outcome is of another place");
    }
    for (size_t i = 0; i < o->n_events; i++) {
        judge_event(&trial, &o->events[i]);
        answers += is_answer(cmd, &o->events[i]) ? 1 : 0;
        if (!is_answer(cmd, &o->events[i]) && o->events[i].type != EVENT_EXPIRED) {
            BROKEN(&trial, "3", "an event that the command does not explain");
        }
    }
    if (answers != (cmd->type == COMMAND_TICK ? 0 : 1)) {
        BROKEN(&trial, "3 or 5", "a command has not one answer");
    }
}
