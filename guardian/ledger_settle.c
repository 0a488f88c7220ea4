/*
 * An order may be touched several times in one batch (reserved, paid).  Its touches are merged into
 * one row, which is checked: each touch must find the state that its event presupposes, and the
 * first one's is checked by the statement itself in MySQL.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "guardian/ledger_impl.h"

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

/* Sorts n things of a size and keeps one of those that are alike; how many stay. */
static size_t sort_once(void *at, size_t n, size_t size, int (*compare)(const void *, const void *))
{
    char *first = at;
    size_t kept = 0;

    if (n == 0) {
        return 0;
    }
    qsort(at, n, size, compare);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || compare(first + (kept - 1) * size, first + i * size) != 0) {
            memmove(first + kept++ * size, first + i * size, size);
        }
    }
    return kept;
}

static void collect_users(struct ledger *l)
{
    for (size_t i = 0; i < l->touches.n; i++) {
        if (l->touches.at[i].memory == LEDGER_DEPENDS) {
            struct ledger_user *u = LEDGER_GROW(l->users);

            *u = (struct ledger_user){.user_id = l->touches.at[i].user_id};
        }
    }
    l->users.n = sort_once(l->users.at, l->users.n, sizeof(*l->users.at), compare_users);
}

static void collect_items(struct ledger *l)
{
    for (size_t i = 0; i < l->moves.n; i++) {
        struct ledger_item *last = l->items.n == 0 ? NULL : &l->items.at[l->items.n - 1];

        /* Runs of one item are the rule. */
        if (last == NULL || compare_texts(&last->item_id, &l->moves.at[i].item_id) != 0) {
            struct ledger_item *item = LEDGER_GROW(l->items);

            *item = (struct ledger_item){.item_id = l->moves.at[i].item_id};
        }
    }
    l->items.n = sort_once(l->items.at, l->items.n, sizeof(*l->items.at), compare_items);
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
    buf_printf(sql, ") AND partition_id = %d AND remembered = %d GROUP BY user_id", l->partition,
               LEDGER_REMEMBERED);
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

/* ---- settling ---- */

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
        is_remembered = t->memory == LEDGER_REMEMBERED || user->remembered < ORDERS_REMEMBERED_MAX;
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
        struct ledger_slot *slot = LEDGER_GROW(l->sorted);

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
        order = LEDGER_GROW(l->orders);
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
