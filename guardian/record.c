/*
 * A scan is one query, sorted by the server, so one field is in memory at a time.  A user's orders
 * come by order id, each with its payments behind it, and are put in order of decision when the
 * user is complete.  A payment whose order does not stand before it belongs to one that Redis has
 * forgotten, and is passed over.
 *
 * Each row says since when it is there and when it changed last.  There since after the watermark:
 * Redis cannot have it.  Changed after it: it was there, nobody knows how, and the field is
 * unsure.
 */
#include "guardian/record.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/outcome.h"
#include "common/xmalloc.h"
#include "guardian/commit.h"
#include "guardian/ledger_impl.h"

enum {
    SQL_BYTES = 4 << 20,
    VALUE_BYTES = 1 << 20,
    WAIT_MS = 50,
};

/* How each table's value is made, and when it changed. */
static const struct table {
    const char *redis_name, *field, *select;
} tables[RECORD_TABLES] = {
    [RECORD_ITEMS] = {"items", "item_id",
                      "SELECT item_id, CONCAT_WS(' ', total, available, held, sold, item_limit, "
                      "hold_ms, opens_at, closes_at, state, price), created_offset, changed_offset "
                      "FROM items"},
    [RECORD_CONFIGS] = {"items", "item_id",
                        "SELECT item_id, CONCAT_WS(' ', item_limit, hold_ms, opens_at, closes_at, "
                        "state, price), created_offset, config_offset FROM items"},
    [RECORD_ORDERS] = {"orders", "o.user_id",
                       "SELECT o.user_id AS field, CONCAT_WS(' ', o.order_id, o.item_id, o.qty, "
                       "o.state, o.reason, o.due, o.decided_offset), o.decided_offset AS since, "
                       "o.changed_offset, o.order_id AS order_id, 0 AS is_payment FROM orders o"},
    [RECORD_PAYMENTS] = {"payments", "payment_id",
                         "SELECT payment_id, CONCAT_WS(' ', IF(answer = 'paid', 'P', 'R'), reason, "
                         "order_id, log_offset), log_offset, log_offset FROM payments"},
    [RECORD_OPERATIONS] = {"ops", "op_id",
                           "SELECT op_id, CONCAT_WS(' ', item_id, log_offset), log_offset, "
                           "log_offset FROM operations"},
};

const char *record_redis_name(enum record_table table)
{
    return tables[table].redis_name;
}

/* One order of a user, as text: its value, a blank, and its payments. */
struct listed {
    int64_t since;
    size_t at, len, id_len; /* in scan.texts; the id comes first */
    size_t payments;
};

/* A scan under way: the rows of one field, one after the other, make its value. */
struct scan {
    int64_t watermark;
    record_field_fn *each;
    void *arg;
    struct buf name, value;
    bool has_field, is_unsure, is_stopped, is_broken;
    int64_t changed;

    /* Of a user; rows come by order id. */
    struct buf texts;
    struct listed *orders;
    size_t n_orders, room;
};

static int compare_listed(const void *a, const void *b)
{
    const struct listed *x = a, *y = b;

    return (x->since > y->since) - (x->since < y->since);
}

/* Redis has a user's orders as they were decided. */
static void list_orders(struct scan *s)
{
    if (s->n_orders > 0) {
        qsort(s->orders, s->n_orders, sizeof(*s->orders), compare_listed);
    }
    for (size_t i = 0; i < s->n_orders && buf_ok(&s->texts); i++) {
        const struct listed *order = &s->orders[i];

        buf_puts(&s->value, i == 0 ? "" : ";");
        buf_put_slice(&s->value, (struct slice){s->texts.ptr + order->at, order->len});
        buf_puts(&s->value, order->payments == 0 ? "-" : "");
    }
    s->is_broken = s->is_broken || !buf_ok(&s->texts) || !buf_ok(&s->value);
}

static bool tell(struct scan *s)
{
    list_orders(s);
    if (s->has_field && !s->is_broken && (s->value.len > 0 || s->is_unsure)) {
        const struct record_field field = {
            .name = buf_slice(&s->name),
            .value = buf_slice(&s->value),
            .is_unsure = s->is_unsure,
            .offset = s->changed,
        };

        s->is_stopped = !s->each(&field, s->arg);
    }
    s->has_field = false;
    return !s->is_stopped && !s->is_broken;
}

static void begin_field(struct scan *s, struct slice name)
{
    s->has_field = true;
    s->is_unsure = false;
    s->changed = -1;
    s->n_orders = 0;
    buf_clear(&s->name);
    buf_clear(&s->value);
    buf_clear(&s->texts);
    buf_put_slice(&s->name, name);
}

static void add_order(struct scan *s, const struct slice *columns, int64_t since)
{
    struct listed *order;

    if (s->n_orders == s->room) {
        s->room = s->room == 0 ? ORDERS_REMEMBERED_MAX : s->room * 2;
        s->orders = xreallocarray(s->orders, s->room, sizeof(*s->orders));
    }
    order = &s->orders[s->n_orders++];
    *order = (struct listed){.since = since, .at = s->texts.len, .id_len = columns[4].len};
    buf_put_slice(&s->texts, columns[1]);
    buf_putc(&s->texts, ' ');
    order->len = s->texts.len - order->at;
}

/* Follows the row of its order, if that is remembered. */
static void add_payment(struct scan *s, const struct slice *columns, int64_t offset)
{
    struct listed *order;

    if (s->n_orders == 0 || !buf_ok(&s->texts)) {
        return;
    }
    order = &s->orders[s->n_orders - 1];
    if (!slice_eq(columns[4], (struct slice){s->texts.ptr + order->at, order->id_len}) ||
        offset < order->since || order->payments == ORDER_PAYMENTS_MAX) {
        return;
    }
    buf_puts(&s->texts, order->payments == 0 ? "" : ",");
    buf_put_slice(&s->texts, columns[1]);
    order->len = s->texts.len - order->at;
    order->payments++;
    s->changed = offset > s->changed ? offset : s->changed;
}

static bool take_row(const struct slice *columns, unsigned n, void *arg)
{
    struct scan *s = arg;
    int64_t since, changed;

    if (n < 4 || !slice_to_i64(columns[2], 0, INT64_MAX, &since) ||
        !slice_to_i64(columns[3], 0, INT64_MAX, &changed)) {
        s->is_broken = true;
        return false;
    }
    if (!s->has_field || !slice_eq(columns[0], buf_slice(&s->name))) {
        if (!tell(s)) {
            return false;
        }
        begin_field(s, columns[0]);
    }
    if (since > s->watermark) {
        return true;
    }
    if (n > 4 && slice_eq(columns[5], SLICE_LIT("1"))) {
        add_payment(s, columns, since);
        return true;
    }
    s->is_unsure = s->is_unsure || changed > s->watermark;
    s->changed = changed > s->changed ? changed : s->changed;
    if (n > 4) {
        add_order(s, columns, since);
    } else {
        buf_put_slice(&s->value, columns[1]);
    }
    return true;
}

static void put_where(const struct record_range *range, struct buf *sql)
{
    const struct table *t = &tables[range->table];
    bool is_orders = range->table == RECORD_ORDERS;

    buf_printf(sql, " WHERE %spartition_id = %d", is_orders ? "o." : "", range->partition);
    if (is_orders) {
        /* What was archived after the watermark was remembered there. */
        buf_printf(
            sql, " AND (o.remembered = %d OR o.remembered = %d AND o.changed_offset > %" PRId64 ")",
            LEDGER_REMEMBERED, LEDGER_ARCHIVED, range->watermark);
    }
    if (range->fields != NULL) {
        for (size_t i = 0; i < range->n_fields; i++) {
            if (i == 0) {
                buf_printf(sql, " AND %s IN (", t->field);
            } else {
                buf_putc(sql, ',');
            }
            ledger_put_id(sql, range->fields[i]);
        }
        buf_putc(sql, ')');
    } else if (range->after.ptr != NULL) {
        buf_printf(sql, " AND %s > ", t->field);
        ledger_put_id(sql, range->after);
    }
}

/*
 * The second half of what is asked of orders.  For a whole partition orders and payments are each read
 * from one end to the other and sorted by the server: looking every order's payments up by its
 * random id reads most pages of a large table from the disk, many times.
 */
static void put_payments(const struct record_range *range, struct buf *sql)
{
    buf_puts(sql,
             " UNION ALL SELECT p.user_id, CONCAT(IF(p.answer = 'paid', 'P', 'R'), p.payment_id),"
             " p.log_offset, p.log_offset, p.order_id, 1 FROM ");
    if (range->fields != NULL) {
        buf_puts(sql,
                 "orders o JOIN payments p ON p.order_id = o.order_id AND p.user_id = o.user_id");
        put_where(range, sql);
        buf_puts(sql, " AND");
    } else {
        buf_printf(sql, "payments p WHERE p.partition_id = %d AND", range->partition);
    }
    buf_printf(sql, " p.reason <> %d ORDER BY field, order_id, is_payment, since",
               REASON_UNKNOWN_ORDER);
}

static void put_query(const struct record_range *range, struct buf *sql)
{
    buf_puts(sql, tables[range->table].select);
    put_where(range, sql);
    if (range->table == RECORD_ORDERS) {
        put_payments(range, sql);
    } else {
        buf_printf(sql, " ORDER BY %s", tables[range->table].field);
    }
    if (range->limit > 0) {
        buf_printf(sql, " LIMIT %zu", range->limit);
    }
}

bool record_scan(struct db *db, const struct record_range *range, record_field_fn *each, void *arg,
                 struct err *err)
{
    struct scan scan = {.watermark = range->watermark, .each = each, .arg = arg};
    struct buf sql;
    bool ok;

    if (range->fields != NULL && range->n_fields == 0) {
        return true;
    }
    buf_init(&sql, SQL_BYTES);
    buf_init(&scan.name, 256);
    buf_init(&scan.value, VALUE_BYTES);
    buf_init(&scan.texts, VALUE_BYTES);
    put_query(range, &sql);
    ok = buf_ok(&sql) ? db_query(db, buf_slice(&sql), take_row, &scan, err)
                      : err_set(err, ERR_FATAL, "a query is too long");
    if (ok && !scan.is_stopped) {
        (void)tell(&scan);
    }
    if (ok && scan.is_broken) {
        ok = err_set(err, ERR_FATAL, "mysql: a row of %s cannot be read",
                     tables[range->table].redis_name);
    }
    buf_fini(&sql);
    buf_fini(&scan.name);
    buf_fini(&scan.value);
    buf_fini(&scan.texts);
    free(scan.orders);
    return ok;
}

bool record_begin(struct db *db, int partition, int64_t watermark, int64_t deadline_ms,
                  int64_t *position, struct err *err)
{
    const struct timespec pause = {.tv_nsec = WAIT_MS * 1000000L};

    for (;;) {
        struct progress now;

        if (!db_connect(db, err) ||
            !db_exec(db, SLICE_LIT("START TRANSACTION WITH CONSISTENT SNAPSHOT"), NULL, err) ||
            !commit_read_progress(db, partition, false, &now, err)) {
            return false;
        }
        *position = now.position;
        if (now.position >= watermark) {
            return true;
        }
        db_rollback(db);
        if (clock_mono_ms() >= deadline_ms) {
            return err_set(err, ERR_RETRY,
                           "partition %d: mysql stands at %" PRId64 ", redis at %" PRId64
                           ": is the guardian running?",
                           partition, now.position, watermark);
        }
        (void)nanosleep(&pause, NULL);
    }
}
