/*
 * Each statement checks what it presupposes, so that a contradiction between record and log stops
 * the partition instead of being written over:
 *
 *   - A newly decided order may only meet nothing, or a rejection that the rules forget.  Otherwise
 *     the upsert sets remembered to 3, which a CHECK refuses.
 *   - A changed order must meet the state that the event presupposes: the upsert changes nothing
 *     otherwise, and the number of affected rows (two for each row changed, one for each that was
 *     not there) gives it away.
 *   - An archive must find its item closed, with those totals, and forget so many orders.
 *   - Plain inserts meet nothing.  Inside the compared transaction 1062 cannot be a repetition.
 */
#include <inttypes.h>
#include <string.h>

#include "common/hex.h"
#include "common/mutant.h"
#include "guardian/ledger_impl.h"

enum {
    ROWS_PER_STATEMENT = 1000,
};

void ledger_put_id(struct buf *sql, struct slice id)
{
    static const char digits[] = "0123456789abcdef";
    char *out;

    if (id.len == 0) {
        buf_puts(sql, "''");
        return;
    }
    out = buf_reserve(sql, 2 * id.len + 3);
    if (out == NULL) {
        return;
    }
    *out++ = 'x';
    *out++ = '\'';
    for (size_t i = 0; i < id.len; i++) {
        *out++ = digits[(unsigned char)id.ptr[i] >> 4];
        *out++ = digits[(unsigned char)id.ptr[i] & 15];
    }
    *out = '\'';
    buf_commit(sql, 2 * id.len + 3);
}

static void put_text(struct buf *sql, const struct command_text *text)
{
    ledger_put_id(sql, command_text(text));
    buf_putc(sql, ',');
}

static void put_order_id(struct buf *sql, const char *order_id)
{
    ledger_put_id(sql, slice_str(order_id));
    buf_putc(sql, ',');
}

static void put_number(struct buf *sql, int64_t n)
{
    buf_put_i64(sql, n);
    buf_putc(sql, ',');
}

/* -1 is none. */
static void put_known(struct buf *sql, int64_t n)
{
    if (n < 0) {
        buf_puts(sql, "NULL,");
    } else {
        put_number(sql, n);
    }
}

/* Opens a row, after the others. */
static void open_row(struct buf *sql, size_t place)
{
    buf_puts(sql, place == 0 ? "(" : ",(");
}

/* Closes a row: its last comma becomes the bracket. */
static void close_row(struct buf *sql)
{
    if (buf_ok(sql)) {
        sql->ptr[sql->len - 1] = ')';
    }
}

static void put_order(const struct ledger *l, const struct ledger_order *o, struct buf *sql)
{
    const struct ledger_touch *decision = o->decision != NULL ? o->decision : o->first;
    const struct ledger_touch *last = o->last;

    put_order_id(sql, last->order_id);
    put_text(sql, &last->user_id);
    put_number(sql, l->partition);
    put_text(sql, &last->item_id);
    put_number(sql, last->qty);
    buf_printf(sql, "'%c',", (char)last->state);
    put_number(sql, last->reason);
    put_number(sql, decision->memory == LEDGER_FORGOTTEN ? LEDGER_FORGOTTEN : LEDGER_REMEMBERED);
    put_number(sql, decision->due);
    put_number(sql, decision->offset);
    put_number(sql, last->offset);
    put_number(sql, decision->log_time);
    put_number(sql, last->log_time);
}

#define INSERT_ORDERS                                                                              \
    "INSERT INTO orders (order_id, user_id, partition_id, item_id, qty, state, reason, "           \
    "remembered, due, decided_offset, changed_offset, decided_at, changed_at) VALUES "

/* The orders whose row must be in `prior` state before; returns how many are in the statement. */
static size_t put_orders(struct ledger *l, enum order_state prior, struct buf *sql)
{
    size_t n = 0;

    for (; l->cursor < l->orders.n && n < ROWS_PER_STATEMENT; l->cursor++) {
        const struct ledger_order *o = &l->orders.at[l->cursor];

        if (o->first->prior != prior) {
            continue;
        }
        if (n == 0) {
            buf_puts(sql, INSERT_ORDERS);
        }
        open_row(sql, n);
        put_order(l, o, sql);
        close_row(sql);
        n++;
    }
    return n;
}

static size_t put_new_orders(struct ledger *l, struct buf *sql, int64_t *affected)
{
    size_t n = put_orders(l, ORDER_NONE, sql);

    /* Assigned from left to right, so the test comes first. */
    buf_puts(sql,
             " ON DUPLICATE KEY UPDATE remembered = IF(remembered = 0, VALUES(remembered), 3), "
             "item_id = VALUES(item_id), qty = VALUES(qty), state = VALUES(state), "
             "reason = VALUES(reason), due = VALUES(due), decided_offset = VALUES(decided_offset), "
             "changed_offset = VALUES(changed_offset), decided_at = VALUES(decided_at), "
             "changed_at = VALUES(changed_at)");
    *affected = -1;
    return n;
}

static size_t put_changed_orders(struct ledger *l, enum order_state prior, struct buf *sql,
                                 int64_t *affected)
{
    size_t n = put_orders(l, prior, sql);

    buf_printf(sql,
               " ON DUPLICATE KEY UPDATE changed_offset = IF(state = '%c', VALUES(changed_offset), "
               "changed_offset), changed_at = IF(state = '%c', VALUES(changed_at), changed_at), "
               "state = IF(state = '%c', VALUES(state), state)",
               (char)prior, (char)prior, (char)prior);
    *affected = 2 * (int64_t)n;
    return n;
}

/* They are told to MySQL only so that one who asks for such an order finds it. */
static size_t put_refused_orders(struct ledger *l, struct buf *sql, int64_t *affected)
{
    size_t n = 0;

    for (; l->cursor < l->refused.n && n < ROWS_PER_STATEMENT; l->cursor++, n++) {
        const struct ledger_refused *r = &l->refused.at[l->cursor];

        buf_puts(sql, n == 0 ? INSERT_ORDERS : "");
        open_row(sql, n);
        put_order_id(sql, r->order_id);
        put_text(sql, &r->user_id);
        put_number(sql, l->partition);
        put_text(sql, &r->item_id);
        put_number(sql, r->qty);
        buf_puts(sql, "'R',");
        put_number(sql, r->reason);
        buf_puts(sql, "0,0,");
        put_number(sql, r->offset);
        put_number(sql, r->offset);
        put_number(sql, r->log_time);
        put_number(sql, r->log_time);
        close_row(sql);
    }
    buf_puts(sql, " ON DUPLICATE KEY UPDATE order_id = VALUES(order_id)");
    *affected = -1;
    return n;
}

static size_t put_payments(struct ledger *l, struct buf *sql, int64_t *affected)
{
    size_t n = 0;

    for (; l->cursor < l->payments.n && n < ROWS_PER_STATEMENT; l->cursor++, n++) {
        const struct ledger_payment *p = &l->payments.at[l->cursor];

        if (n == 0) {
            buf_puts(sql,
                     "INSERT INTO payments (partition_id, payment_id, order_id, user_id, answer, "
                     "reason, late, log_offset, log_time) VALUES ");
        }
        open_row(sql, n);
        put_number(sql, l->partition);
        put_text(sql, &p->payment_id);
        put_order_id(sql, p->order_id);
        put_text(sql, &p->user_id);
        buf_puts(sql, p->reason == REASON_NONE ? "'paid'," : "'refund_due',");
        put_number(sql, p->reason);
        put_number(sql, p->late ? 1 : 0);
        put_number(sql, p->offset);
        put_number(sql, p->log_time);
        close_row(sql);
    }
    *affected = (int64_t)n;
    return n;
}

static size_t put_operations(struct ledger *l, struct buf *sql, int64_t *affected)
{
    size_t n = 0;

    for (; l->cursor < l->operations.n && n < ROWS_PER_STATEMENT; l->cursor++, n++) {
        const struct ledger_operation *op = &l->operations.at[l->cursor];

        if (n == 0) {
            buf_puts(sql,
                     "INSERT INTO operations (partition_id, op_id, item_id, log_offset, log_time, "
                     "reason, action, state, total, available, held, sold, item_limit, hold_ms, "
                     "opens_at, closes_at, price) VALUES ");
        }
        open_row(sql, n);
        put_number(sql, l->partition);
        put_text(sql, &op->op_id);
        put_text(sql, &op->item_id);
        put_number(sql, op->offset);
        put_number(sql, op->log_time);
        put_number(sql, op->reason);
        if (op->reason != REASON_NONE) {
            buf_puts(sql, "NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,");
        } else {
            ledger_put_id(sql, slice_str(op->action));
            buf_printf(sql, ",'%c',", op->state);
            put_number(sql, op->total);
            put_number(sql, op->available);
            put_number(sql, op->held);
            put_number(sql, op->sold);
            put_known(sql, op->limit);
            put_known(sql, op->hold_ms);
            put_known(sql, op->opens_at);
            put_known(sql, op->closes_at);
            put_known(sql, op->price);
        }
        close_row(sql);
    }
    *affected = (int64_t)n;
    return n;
}

static size_t put_moves(struct ledger *l, struct buf *sql, int64_t *affected)
{
    static const char *const causes[LEDGER_CAUSES] = {
        [LEDGER_RESERVED] = "'reserved',", [LEDGER_PAID] = "'paid',",
        [LEDGER_LATE] = "'late',",         [LEDGER_CANCELLED] = "'cancelled',",
        [LEDGER_EXPIRED] = "'expired',",   [LEDGER_STOCK] = "'added',",
    };
    size_t n = 0;

    for (; l->cursor < l->moves.n && n < ROWS_PER_STATEMENT; l->cursor++) {
        const struct ledger_move *m = &l->moves.at[l->cursor];

        if (m->qty == 0) {
            continue;
        }
        if (n == 0) {
            buf_puts(sql, "INSERT INTO journal (partition_id, log_offset, event_index, cause, "
                          "item_id, order_id, user_id, qty, log_time) VALUES ");
        }
        open_row(sql, n);
        put_number(sql, l->partition);
        put_number(sql, m->offset);
        put_number(sql, m->index);
        buf_puts(sql, m->qty > 0 ? causes[m->cause] : "'removed',");
        put_text(sql, &m->item_id);
        put_order_id(sql, m->order_id);
        put_text(sql, &m->user_id);
        put_number(sql, m->qty > 0 ? m->qty : -m->qty);
        put_number(sql, m->log_time);
        close_row(sql);
        n++;
    }
    *affected = (int64_t)n;
    return n;
}

static void put_config(const struct ledger_operation *op, struct buf *sql)
{
    buf_printf(
        sql,
        ", item_limit = %" PRId64 ", hold_ms = %" PRId64 ", opens_at = %" PRId64
        ", closes_at = %" PRId64 ", state = '%c', price = %" PRId64 ", config_offset = %" PRId64,
        op->limit, op->hold_ms, op->opens_at, op->closes_at, op->state, op->price, op->offset);
}

static size_t put_item(struct ledger *l, struct buf *sql, int64_t *affected)
{
    const struct ledger_item *item;

    if (l->cursor == l->items.n) {
        return 0;
    }
    item = &l->items.at[l->cursor++];
    *affected = 1;
    if (item->config != NULL && !item->is_known) {
        const struct ledger_operation *op = item->config;

        buf_puts(sql, "INSERT INTO items (item_id, partition_id, total, available, held, sold, "
                      "item_limit, hold_ms, opens_at, closes_at, state, price, created_offset, "
                      "config_offset, changed_offset) VALUES (");
        put_text(sql, &item->item_id);
        put_number(sql, l->partition);
        put_number(sql, item->add_total);
        put_number(sql, item->add_available);
        put_number(sql, item->add_held);
        put_number(sql, item->add_sold);
        put_number(sql, op->limit);
        put_number(sql, op->hold_ms);
        put_number(sql, op->opens_at);
        put_number(sql, op->closes_at);
        buf_printf(sql, "'%c',", op->state);
        put_number(sql, op->price);
        put_number(sql, item->first_offset);
        put_number(sql, op->offset);
        put_number(sql, item->changed_offset);
        close_row(sql);
        return 1;
    }
    buf_printf(
        sql,
        "UPDATE items SET total = total + (%" PRId64 "), available = available + (%" PRId64
        "), held = held + (%" PRId64 "), sold = sold + (%" PRId64 "), changed_offset = %" PRId64,
        item->add_total, item->add_available, item->add_held, item->add_sold, item->changed_offset);
    if (item->config != NULL) {
        put_config(item->config, sql);
    }
    buf_puts(sql, " WHERE item_id = ");
    ledger_put_id(sql, command_text(&item->item_id));
    buf_printf(sql, " AND partition_id = %d", l->partition);
    return 1;
}

static size_t put_archive(struct ledger *l, struct buf *sql, int64_t *affected)
{
    const struct ledger_archive *a = &l->archive;
    struct slice rest = a->users == NULL ? (struct slice){NULL, 0} : slice_str(a->users);

    if (!l->has_archive || l->cursor == 2 || (l->cursor == 1 && a->users == NULL)) {
        return 0;
    }
    if (l->cursor++ == 0) {
        buf_printf(sql,
                   "UPDATE items SET state = 'a', config_offset = %" PRId64
                   ", changed_offset = %" PRId64 " WHERE partition_id = %d AND state IN ('c', 'a') "
                   "AND held = 0 AND total = %" PRId64 " AND sold = %" PRId64 " AND item_id = ",
                   a->offset, a->offset, l->partition, a->total, a->sold);
        ledger_put_id(sql, command_text(&a->item_id));
        *affected = 1;
        return 1;
    }
    buf_printf(sql,
               "UPDATE orders SET remembered = %d, changed_offset = %" PRId64 " WHERE user_id ",
               LEDGER_ARCHIVED, a->offset);
    for (size_t i = 0; rest.ptr != NULL; i++) {
        buf_puts(sql, i == 0 ? "IN (" : ",");
        ledger_put_id(sql, slice_cut(rest, ',', &rest));
    }
    buf_printf(sql, ") AND partition_id = %d AND remembered = %d AND item_id = ", l->partition,
               LEDGER_REMEMBERED);
    ledger_put_id(sql, command_text(&a->item_id));
    *affected = a->orders;
    return 1;
}

static size_t put_progress(struct ledger *l, struct buf *sql, int64_t *affected)
{
    const struct progress *end = &l->end;

    if (l->cursor > 0) {
        return 0;
    }
    l->cursor = 1;
    buf_printf(sql,
               "UPDATE progress SET position = %" PRId64 ", genesis = '%s', chain = '%016" PRIx64
               "', partitions = %" PRId64 ", rules = %" PRId64 ", log_time = %" PRId64
               ", outcomes_offset = %" PRId64 " WHERE partition_id = %d AND position = %" PRId64,
               end->position, end->genesis, end->chain, end->partitions, end->rules,
               MUTANT(LOG_TIME_UNRECORDED) ? 0 : end->log_time, end->outcomes_offset, l->partition,
               l->base.position);
    *affected = 1;
    return 1;
}

static size_t put_phase(struct ledger *l, struct buf *sql, int64_t *affected)
{
    switch (l->phase) {
    case LEDGER_PHASE_NEW_ORDERS:
        return put_new_orders(l, sql, affected);
    case LEDGER_PHASE_HELD_ORDERS:
        return put_changed_orders(l, ORDER_RESERVED, sql, affected);
    case LEDGER_PHASE_EXPIRED_ORDERS:
        return put_changed_orders(l, ORDER_EXPIRED, sql, affected);
    case LEDGER_PHASE_REFUSED_ORDERS:
        return put_refused_orders(l, sql, affected);
    case LEDGER_PHASE_PAYMENTS:
        return put_payments(l, sql, affected);
    case LEDGER_PHASE_OPERATIONS:
        return put_operations(l, sql, affected);
    case LEDGER_PHASE_MOVES:
        return put_moves(l, sql, affected);
    case LEDGER_PHASE_ITEMS:
        return put_item(l, sql, affected);
    case LEDGER_PHASE_ARCHIVE:
        return put_archive(l, sql, affected);
    case LEDGER_PHASE_PROGRESS:
        return put_progress(l, sql, affected);
    case LEDGER_PHASE_END:
        return 0;
    }
    return 0;
}

static enum ledger_phase next_phase(enum ledger_phase phase)
{
    if (MUTANT(POSITION_BEFORE_ROWS)) {
        return phase == LEDGER_PHASE_PROGRESS ? LEDGER_PHASE_NEW_ORDERS
               : phase == LEDGER_PHASE_ITEMS  ? LEDGER_PHASE_END
                                              : phase + 1;
    }
    return phase + 1;
}

bool ledger_next_statement(struct ledger *l, struct buf *sql, int64_t *affected)
{
    while (l->phase != LEDGER_PHASE_END) {
        buf_clear(sql);
        if (put_phase(l, sql, affected) > 0) {
            return true;
        }
        l->phase = next_phase(l->phase);
        l->cursor = 0;
    }
    return false;
}
