/*
 * On the loop's thread an outcome is only taken apart and appended to arrays; sorting, merging and
 * adding up are done by ledger_settle() on the writer's.
 *
 * An order may be touched several times in one batch (reserved, paid).  Its touches are merged into
 * one row, which is checked: each touch must find the state that its event presupposes, and the
 * first one's is checked by the statement itself in MySQL.
 */
#include "guardian/ledger.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mutant.h"
#include "common/xmalloc.h"
#include "guardian/ledger_impl.h"

enum {
    ORDERS_PER_USER = TEST_BOUND(64, 6), /* remembered, at most; rules 1 */
};

/* Makes room for one more at the end of an array and counts it. */
#define GROW(array)                                                                                \
    ((array).at = grow((array).at, (array).n, &(array).room, sizeof((array).at[0])),               \
     &(array).at[(array).n++])

static void *grow(void *at, size_t n, size_t *room, size_t size)
{
    if (n == *room) {
        *room = n == 0 ? 64 : 2 * n;
        at = xreallocarray(at, *room, size);
    }
    assert(at != NULL);
    return at;
}

struct ledger *ledger_create(int partition)
{
    struct ledger *l = xcalloc(1, sizeof(*l));

    l->partition = partition;
    return l;
}

void ledger_destroy(struct ledger *l)
{
    if (l == NULL) {
        return;
    }
    free(l->mark.items);
    free(l->archive.users);
    free(l->refused.at);
    free(l->touches.at);
    free(l->moves.at);
    free(l->payments.at);
    free(l->operations.at);
    free(l->users.at);
    free(l->items.at);
    free(l->orders.at);
    free(l->sorted.at);
    free(l);
}

void ledger_begin(struct ledger *l, const struct progress *base)
{
    l->base = *base;
    l->end = *base;
    l->records = 0;
    l->rows = 0;
    free(l->mark.items);
    l->mark = (struct ledger_mark){0};
    l->has_mark = false;
    free(l->archive.users);
    l->archive = (struct ledger_archive){0};
    l->has_archive = false;
    l->refused.n = 0;
    l->touches.n = 0;
    l->moves.n = 0;
    l->payments.n = 0;
    l->operations.n = 0;
    ledger_rewind(l);
}

int ledger_partition(const struct ledger *l)
{
    return l->partition;
}

const struct progress *ledger_base(const struct ledger *l)
{
    return &l->base;
}

const struct progress *ledger_end(const struct ledger *l)
{
    return &l->end;
}

size_t ledger_records(const struct ledger *l)
{
    return l->records;
}

size_t ledger_rows(const struct ledger *l)
{
    return l->rows;
}

const struct ledger_mark *ledger_mark(const struct ledger *l)
{
    return l->has_mark ? &l->mark : NULL;
}

void ledger_skip_mark(struct ledger *l)
{
    l->mark.is_skipped = l->has_mark;
}

bool ledger_is_alone(const struct outcome *o)
{
    for (size_t i = 0; i < o->n_events; i++) {
        if (o->events[i].type == EVENT_MARK || o->events[i].type == EVENT_ARCHIVED) {
            return true;
        }
    }
    return false;
}

bool ledger_is_full(const struct ledger *l)
{
    return l->has_mark || l->has_archive;
}

/* Taking outcomes apart. */

static struct ledger_touch *add_touch(struct ledger *l, const struct outcome *o,
                                      const struct event *e)
{
    uint32_t seq = (uint32_t)l->touches.n;
    struct ledger_touch *t = GROW(l->touches);

    *t = (struct ledger_touch){
        .user_id = e->user_id,
        .item_id = e->item_id,
        .qty = e->qty,
        .due = e->due,
        .offset = o->offset,
        .log_time = o->log_time,
        .seq = seq,
    };
    memcpy(t->order_id, e->order_id, sizeof(t->order_id));
    return t;
}

static void add_move(struct ledger *l, const struct outcome *o, const struct event *e,
                     enum ledger_cause cause)
{
    struct ledger_move *m = GROW(l->moves);

    *m = (struct ledger_move){
        .cause = cause,
        .index = e->index,
        .offset = o->offset,
        .log_time = o->log_time,
        .item_id = e->item_id,
        .user_id = e->user_id,
        .qty = e->qty,
    };
    memcpy(m->order_id, e->order_id, sizeof(m->order_id));
}

static void add_payment(struct ledger *l, const struct outcome *o, const struct event *e)
{
    struct ledger_payment *p = GROW(l->payments);

    *p = (struct ledger_payment){
        .payment_id = e->payment_id,
        .user_id = e->user_id,
        .reason = e->type == EVENT_PAID ? REASON_NONE : e->reason,
        .late = e->late,
        .offset = o->offset,
        .log_time = o->log_time,
    };
    memcpy(p->order_id, e->order_id, sizeof(p->order_id));
}

static void add_operation(struct ledger *l, const struct outcome *o, const struct event *e)
{
    size_t place = l->operations.n;
    struct ledger_operation *op = GROW(l->operations);

    *op = (struct ledger_operation){
        .op_id = e->op_id,
        .item_id = e->item_id,
        .reason = e->reason, /* none of what was done */
        .state = e->item_state,
        .offset = o->offset,
        .log_time = o->log_time,
    };
    if (e->reason != REASON_NONE) {
        return;
    }
    memcpy(op->action, e->action, sizeof(op->action));
    op->total = e->total;
    op->available = e->available;
    op->held = e->held;
    op->sold = e->sold;
    op->limit = e->limit;
    op->hold_ms = e->hold_ms;
    op->opens_at = e->opens_at;
    op->closes_at = e->closes_at;
    op->price = e->price;
    if (e->type == EVENT_STOCK) {
        add_move(l, o, e, LEDGER_STOCK);
        l->moves.at[l->moves.n - 1].operation = place;
        l->moves.at[l->moves.n - 1].qty = 0;
    }
}

static void add_archive(struct ledger *l, const struct outcome *o, const struct event *e)
{
    struct ledger_operation *op;

    add_operation(l, o, e);
    op = &l->operations.at[l->operations.n - 1];
    (void)snprintf(op->action, sizeof(op->action), "archive");
    op->state = 'a';
    op->held = 0;
    op->available = e->total - e->sold;
    l->has_archive = true;
    l->archive = (struct ledger_archive){
        .item_id = e->item_id,
        .users = e->users == NULL ? NULL : xstrdup(e->users),
        .orders = e->orders,
        .total = e->total,
        .sold = e->sold,
        .offset = o->offset,
    };
}

static void add_refused(struct ledger *l, const struct outcome *o, const struct event *e)
{
    struct ledger_refused *r = GROW(l->refused);

    *r = (struct ledger_refused){
        .user_id = e->user_id,
        .item_id = e->item_id,
        .reason = e->reason,
        .qty = e->qty,
        .offset = o->offset,
        .log_time = o->log_time,
    };
    memcpy(r->order_id, e->order_id, sizeof(r->order_id));
}

static void add_decision(struct ledger *l, const struct outcome *o, const struct event *e)
{
    struct ledger_touch *t = add_touch(l, o, e);
    bool is_keyed = false;

    t->prior = ORDER_NONE;
    if (e->type == EVENT_RESERVED) {
        t->state = ORDER_RESERVED;
        t->memory = LEDGER_REMEMBERED;
        add_move(l, o, e, LEDGER_RESERVED);
        return;
    }
    t->state = ORDER_REJECTED;
    t->reason = e->reason;
    if (!ids_parse_order(slice_str(e->order_id), NULL, &is_keyed) || !is_keyed) {
        t->memory = LEDGER_FORGOTTEN;
    } else {
        t->memory = e->reason == REASON_LIMIT_REACHED ? LEDGER_DEPENDS : LEDGER_REMEMBERED;
    }
}

static void add_change(struct ledger *l, const struct outcome *o, const struct event *e)
{
    struct ledger_touch *t = add_touch(l, o, e);

    t->prior = e->type == EVENT_PAID && e->late ? ORDER_EXPIRED : ORDER_RESERVED;
    switch (e->type) {
    case EVENT_PAID:
        t->state = ORDER_PAID;
        add_move(l, o, e, e->late ? LEDGER_LATE : LEDGER_PAID);
        add_payment(l, o, e);
        break;
    case EVENT_CANCELLED:
        t->state = ORDER_CANCELLED;
        add_move(l, o, e, LEDGER_CANCELLED);
        break;
    default:
        t->state = ORDER_EXPIRED;
        add_move(l, o, e, LEDGER_EXPIRED);
        break;
    }
}

static void add_mark(struct ledger *l, const struct outcome *o, const struct event *e)
{
    free(l->mark.items);
    l->has_mark = true;
    l->mark = (struct ledger_mark){
        .run_id = e->op_id,
        .offset = o->offset,
        .log_time = o->log_time,
        .orders = e->orders,
        .payments = e->payments,
        .n_items = e->n_items,
        .items = xreallocarray(NULL, e->n_items + 1, sizeof(*l->mark.items)),
    };
    if (e->n_items > 0) {
        memcpy(l->mark.items, e->items, e->n_items * sizeof(*e->items));
    }
}

static bool add_event(struct ledger *l, const struct outcome *o, const struct event *e)
{
    switch (e->type) {
    case EVENT_RESERVED:
    case EVENT_REJECTED:
        if (e->type == EVENT_RESERVED || !MUTANT(REJECTED_UNRECORDED)) {
            add_decision(l, o, e);
        }
        return true;
    case EVENT_PAID:
    case EVENT_CANCELLED:
    case EVENT_EXPIRED:
        add_change(l, o, e);
        return true;
    case EVENT_REFUND_DUE:
        add_payment(l, o, e);
        return true;
    case EVENT_STOCK:
        add_operation(l, o, e);
        return true;
    case EVENT_REFUSED:
        if (e->op_id.len > 0) {
            add_operation(l, o, e);
        } else if (e->qty > 0) {
            add_refused(l, o, e);
        }
        return true;
    case EVENT_ARCHIVED:
        if (l->records > 0) {
            return false;
        }
        add_archive(l, o, e);
        return true;
    case EVENT_MARK:
        if (l->records > 0) {
            return false;
        }
        add_mark(l, o, e);
        return true;
    case EVENT_DUPLICATE:
    case EVENT_GENESIS:
    case EVENT_RULES:
        return true;
    }
    return false;
}

bool ledger_add(struct ledger *l, const struct outcome *o, const struct progress *after,
                struct err *err)
{
    if (ledger_is_full(l)) {
        return err_set(err, ERR_FATAL, "offset %" PRId64 " follows what must be alone in its batch",
                       o->offset);
    }
    for (size_t i = 0; i < o->n_events; i++) {
        if (!add_event(l, o, &o->events[i])) {
            return err_set(err, ERR_FATAL, "offset %" PRId64 ": event %zu cannot be recorded",
                           o->offset, i);
        }
    }
    l->rows += o->n_events;
    l->records++;
    l->end = *after;
    return true;
}

/* Questions. */

static int compare_texts(const struct command_text *a, const struct command_text *b)
{
    size_t n = a->len < b->len ? a->len : b->len;
    int order = memcmp(a->s, b->s, n);

    return order != 0 ? order : (int)a->len - (int)b->len;
}

static int compare_users(const void *a, const void *b)
{
    return compare_texts(&((const struct ledger_user *)a)->user_id,
                         &((const struct ledger_user *)b)->user_id);
}

static int compare_items(const void *a, const void *b)
{
    return compare_texts(&((const struct ledger_item *)a)->item_id,
                         &((const struct ledger_item *)b)->item_id);
}

static struct ledger_user *find_user(struct ledger *l, const struct command_text *user_id)
{
    struct ledger_user key = {.user_id = *user_id};

    return l->users.n == 0
               ? NULL
               : bsearch(&key, l->users.at, l->users.n, sizeof(*l->users.at), compare_users);
}

static struct ledger_item *find_item(struct ledger *l, const struct command_text *item_id)
{
    struct ledger_item key = {.item_id = *item_id};

    return l->items.n == 0
               ? NULL
               : bsearch(&key, l->items.at, l->items.n, sizeof(*l->items.at), compare_items);
}

static void collect_users(struct ledger *l)
{
    size_t n = 0;

    for (size_t i = 0; i < l->touches.n; i++) {
        if (l->touches.at[i].memory == LEDGER_DEPENDS) {
            struct ledger_user *u = GROW(l->users);

            *u = (struct ledger_user){.user_id = l->touches.at[i].user_id};
        }
    }
    if (l->users.n == 0) {
        return;
    }
    qsort(l->users.at, l->users.n, sizeof(*l->users.at), compare_users);
    for (size_t i = 0; i < l->users.n; i++) {
        if (n == 0 || compare_users(&l->users.at[n - 1], &l->users.at[i]) != 0) {
            l->users.at[n++] = l->users.at[i];
        }
    }
    l->users.n = n;
}

static void collect_items(struct ledger *l)
{
    size_t n = 0;

    for (size_t i = 0; i < l->moves.n; i++) {
        struct ledger_item *last = l->items.n == 0 ? NULL : &l->items.at[l->items.n - 1];

        /* Runs of one item are the rule. */
        if (last == NULL || compare_texts(&last->item_id, &l->moves.at[i].item_id) != 0) {
            struct ledger_item *item = GROW(l->items);

            *item = (struct ledger_item){.item_id = l->moves.at[i].item_id};
        }
    }
    if (l->items.n == 0) {
        return;
    }
    qsort(l->items.at, l->items.n, sizeof(*l->items.at), compare_items);
    for (size_t i = 0; i < l->items.n; i++) {
        if (n == 0 || compare_items(&l->items.at[n - 1], &l->items.at[i]) != 0) {
            l->items.at[n++] = l->items.at[i];
        }
    }
    l->items.n = n;
}

void ledger_rewind(struct ledger *l)
{
    l->users.n = 0;
    l->items.n = 0;
    l->orders.n = 0;
    l->sorted.n = 0;
    l->question = 0;
    l->phase = MUTANT(POSITION_BEFORE_ROWS) ? LEDGER_PHASE_PROGRESS : LEDGER_PHASE_NEW_ORDERS;
    l->cursor = 0;
}

static bool ask_items(struct ledger *l, struct buf *sql)
{
    bool is_first = true;

    collect_items(l);
    for (size_t i = 0; i < l->moves.n; i++) {
        struct ledger_item *item;

        if (l->moves.at[i].cause != LEDGER_STOCK) {
            continue;
        }
        item = find_item(l, &l->moves.at[i].item_id);
        if (item == NULL || item->config != NULL) {
            continue;
        }
        item->config = &l->operations.at[l->moves.at[i].operation];
        buf_puts(sql, is_first ? "SELECT item_id, total FROM items WHERE item_id IN (" : ",");
        ledger_put_id(sql, command_text(&item->item_id));
        is_first = false;
    }
    buf_puts(sql, is_first ? "" : ") FOR UPDATE");
    return !is_first;
}

static bool ask_users(struct ledger *l, struct buf *sql)
{
    collect_users(l);
    if (l->users.n == 0) {
        return false;
    }
    for (size_t i = 0; i < l->users.n; i++) {
        buf_puts(sql, i == 0 ? "SELECT user_id, COUNT(*) FROM orders WHERE user_id IN (" : ",");
        ledger_put_id(sql, command_text(&l->users.at[i].user_id));
    }
    buf_printf(sql, ") AND partition_id = %d AND remembered = 1 GROUP BY user_id", l->partition);
    return true;
}

bool ledger_question(struct ledger *l, struct buf *sql)
{
    buf_clear(sql);
    l->question++;
    if (l->question == 1) {
        if (ask_items(l, sql)) {
            return true;
        }
        l->question++;
    }
    return l->question == 2 && ask_users(l, sql);
}

bool ledger_answer(struct ledger *l, struct slice id, int64_t number)
{
    struct command_text text;

    if (!command_set_text(&text, id)) {
        return false;
    }
    if (l->question == 1) {
        struct ledger_item *item = find_item(l, &text);

        if (item == NULL) {
            return false;
        }
        item->is_known = true;
        item->total = number;
    } else {
        struct ledger_user *user = find_user(l, &text);

        if (user == NULL) {
            return false;
        }
        user->remembered = number;
    }
    return true;
}

/* Settling. */

/* Which rejections the rules forget, for users with many orders: in log order. */
static void settle_memory(struct ledger *l)
{
    if (l->users.n == 0) {
        return;
    }
    for (size_t i = 0; i < l->touches.n; i++) {
        struct ledger_touch *t = &l->touches.at[i];
        struct ledger_user *user;
        bool is_remembered;

        if (t->prior != ORDER_NONE || t->memory == LEDGER_FORGOTTEN) {
            continue;
        }
        user = find_user(l, &t->user_id);
        if (user == NULL) {
            continue;
        }
        is_remembered = t->memory == LEDGER_REMEMBERED || user->remembered < ORDERS_PER_USER;
        user->remembered += is_remembered ? 1 : 0;
        if (!is_remembered) {
            t->memory = LEDGER_FORGOTTEN;
        }
    }
}

static int compare_touches(const void *a, const void *b)
{
    const struct ledger_touch *x = ((const struct ledger_slot *)a)->touch;
    const struct ledger_touch *y = ((const struct ledger_slot *)b)->touch;
    int order = memcmp(x->order_id, y->order_id, sizeof(x->order_id));

    if (order == 0) {
        order = compare_texts(&x->user_id, &y->user_id);
    }
    if (order == 0) {
        order = compare_texts(&x->item_id, &y->item_id);
    }
    if (order == 0) {
        order = x->seq < y->seq ? -1 : 1;
    }
    return order;
}

static bool same_order(const struct ledger_touch *a, const struct ledger_touch *b)
{
    return memcmp(a->order_id, b->order_id, sizeof(a->order_id)) == 0 &&
           compare_texts(&a->user_id, &b->user_id) == 0 &&
           compare_texts(&a->item_id, &b->item_id) == 0;
}

static bool merge_touch(struct ledger_order *order, const struct ledger_touch *t, struct err *err)
{
    /* A forgotten rejection may be decided once more. */
    bool is_decidable =
        order->last->state == ORDER_REJECTED && order->last->memory == LEDGER_FORGOTTEN;

    if (t->prior == ORDER_NONE ? !is_decidable : t->prior != order->last->state) {
        return err_set(err, ERR_FATAL,
                       "order %s: offset %" PRId64
                       " makes it %s, but it is %s since offset %" PRId64,
                       t->order_id, t->offset, order_state_name(t->state),
                       order_state_name(order->last->state), order->last->offset);
    }
    if (t->prior == ORDER_NONE) {
        order->decision = t;
    }
    order->last = t;
    return true;
}

static bool settle_orders(struct ledger *l, struct err *err)
{
    for (size_t i = 0; i < l->touches.n; i++) {
        struct ledger_slot *slot = GROW(l->sorted);

        slot->touch = &l->touches.at[i];
    }
    if (l->sorted.n == 0) {
        return true;
    }
    qsort(l->sorted.at, l->sorted.n, sizeof(l->sorted.at[0]), compare_touches);
    for (size_t i = 0; i < l->sorted.n; i++) {
        const struct ledger_touch *t = l->sorted.at[i].touch;
        struct ledger_order *order = l->orders.n == 0 ? NULL : &l->orders.at[l->orders.n - 1];

        if (order != NULL && same_order(order->last, t)) {
            if (!merge_touch(order, t, err)) {
                return false;
            }
            continue;
        }
        order = GROW(l->orders);
        *order = (struct ledger_order){
            .first = t,
            .decision = t->prior == ORDER_NONE ? t : NULL,
            .last = t,
        };
    }
    return true;
}

static bool settle_stock(struct ledger *l, struct ledger_move *m, struct ledger_item *item,
                         struct err *err)
{
    const struct ledger_operation *op = &l->operations.at[m->operation];

    if (!item->is_known && item->first_offset == m->offset && strcmp(op->action, "open") != 0) {
        return err_set(err, ERR_FATAL, "offset %" PRId64 ": %s of item %s, which is not recorded",
                       m->offset, op->action, item->item_id.s);
    }
    m->qty = op->total - item->total;
    item->total = op->total;
    item->add_total += m->qty;
    item->add_available += m->qty;
    item->config = op;
    return true;
}

static bool settle_items(struct ledger *l, struct err *err)
{
    static const struct {
        int available, held, sold;
    } signs[LEDGER_CAUSES] = {
        [LEDGER_RESERVED] = {-1, +1, 0}, [LEDGER_PAID] = {0, -1, +1},
        [LEDGER_LATE] = {-1, 0, +1},     [LEDGER_CANCELLED] = {+1, -1, 0},
        [LEDGER_EXPIRED] = {+1, -1, 0},
    };

    for (size_t i = 0; i < l->moves.n; i++) {
        struct ledger_move *m = &l->moves.at[i];
        struct ledger_item *item = find_item(l, &m->item_id);

        if (item == NULL) {
            return err_set(err, ERR_FATAL, "item %s is not collected", m->item_id.s);
        }
        if (item->first_offset == 0) {
            item->first_offset = m->offset;
        }
        item->changed_offset = m->offset;
        if (m->cause == LEDGER_STOCK) {
            if (!settle_stock(l, m, item, err)) {
                return false;
            }
            continue;
        }
        item->add_available += signs[m->cause].available * m->qty;
        item->add_held += signs[m->cause].held * m->qty;
        item->add_sold += signs[m->cause].sold * m->qty;
    }
    return true;
}

bool ledger_settle(struct ledger *l, struct err *err)
{
    settle_memory(l);
    return settle_orders(l, err) && settle_items(l, err);
}
