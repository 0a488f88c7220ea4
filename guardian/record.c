#include "guardian/record.h"

#include <inttypes.h>
#include <time.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/outcome.h"
#include "guardian/commit.h"
#include "guardian/ledger_impl.h"

enum {
    SQL_BYTES = 4 << 20,
    VALUE_BYTES = 1 << 20,
    LISTED_PAYMENTS = 8, /* per order; rules 1 */
    WAIT_MS = 50,
};

/* How each table's value is made, and when it changed.  Orders are joined with their payments. */
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
                       "SELECT o.user_id, CONCAT_WS(' ', o.order_id, o.item_id, o.qty, o.state, "
                       "o.reason, o.due, o.decided_offset), o.decided_offset, o.changed_offset, "
                       "p.payment_id, p.answer, p.log_offset FROM orders o LEFT JOIN payments p ON "
                       "p.order_id = o.order_id AND p.user_id = o.user_id AND p.reason <> 8 AND "
                       "p.log_offset > o.decided_offset"},
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

/* A scan under way: rows of one field, one after the other, make its value. */
struct scan {
    int64_t watermark;
    record_field_fn *each;
    void *arg;
    struct buf name, value;
    bool has_field, is_unsure, is_stopped, is_broken;
    int64_t changed;

    /* The order that the last row spoke of. */
    int64_t order_offset;
    size_t listed;
};

static bool tell(struct scan *s)
{
    struct record_field field = {
        .name = buf_slice(&s->name),
        .value = buf_slice(&s->value),
        .is_unsure = s->is_unsure,
        .offset = s->changed,
    };

    if (s->has_field && (s->value.len > 0 || s->is_unsure)) {
        if (s->listed == 0 && s->order_offset >= 0 && s->value.len > 0) {
            buf_puts(&s->value, "-");
            field.value = buf_slice(&s->value);
        }
        s->is_stopped = !s->each(&field, s->arg);
    }
    s->has_field = false;
    return !s->is_stopped;
}

static void begin_field(struct scan *s, struct slice name)
{
    s->has_field = true;
    s->is_unsure = false;
    s->changed = -1;
    s->order_offset = -1;
    s->listed = 0;
    buf_clear(&s->name);
    buf_clear(&s->value);
    buf_put_slice(&s->name, name);
}

/* The payment that an order's row carries, if any. */
static void add_payment(struct scan *s, const struct slice *columns)
{
    int64_t offset;

    if (columns[4].ptr == NULL || !slice_to_i64(columns[6], 0, INT64_MAX, &offset) ||
        offset > s->watermark || s->listed == LISTED_PAYMENTS) {
        return;
    }
    buf_puts(&s->value, s->listed == 0 ? "" : ",");
    buf_putc(&s->value, slice_eq(columns[5], SLICE_LIT("paid")) ? 'P' : 'R');
    buf_put_slice(&s->value, columns[4]);
    s->changed = offset > s->changed ? offset : s->changed;
    s->listed++;
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
    s->is_unsure = s->is_unsure || changed > s->watermark;
    s->changed = changed > s->changed ? changed : s->changed;
    if (n == 4) {
        buf_put_slice(&s->value, columns[1]);
        return true;
    }
    if (s->order_offset != since) {
        if (s->order_offset >= 0) {
            buf_puts(&s->value, s->listed == 0 ? "-;" : ";");
        }
        s->order_offset = since;
        s->listed = 0;
        buf_put_slice(&s->value, columns[1]);
        buf_putc(&s->value, ' ');
    }
    add_payment(s, columns);
    return true;
}

static void put_query(const struct record_range *range, struct buf *sql)
{
    const struct table *t = &tables[range->table];
    bool is_orders = range->table == RECORD_ORDERS;

    buf_printf(sql, "%s WHERE %spartition_id = %d", t->select, is_orders ? "o." : "",
               range->partition);
    if (is_orders) {
        /* What was archived after the watermark was remembered there. */
        buf_printf(sql,
                   " AND (o.remembered = 1 OR o.remembered = 2 AND o.changed_offset > %" PRId64 ")",
                   range->watermark);
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
    buf_printf(sql, " ORDER BY %s%s", t->field,
               is_orders ? ", o.decided_offset, p.log_offset" : "");
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
    put_query(range, &sql);
    ok = buf_ok(&sql) ? db_query(db, buf_slice(&sql), take_row, &scan, err)
                      : err_set(err, ERR_FATAL, "a query is too long");
    if (ok && !scan.is_stopped) {
        (void)tell(&scan);
    }
    if (ok && (scan.is_broken || !buf_ok(&scan.value))) {
        ok = err_set(err, ERR_FATAL, "mysql: a row of %s cannot be read",
                     tables[range->table].redis_name);
    }
    buf_fini(&sql);
    buf_fini(&scan.name);
    buf_fini(&scan.value);
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
