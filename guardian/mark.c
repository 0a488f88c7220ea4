/*
 * MySQL says everything three times: `items` has the counters, `orders` what is held and sold,
 * `journal` each movement.  All are read as sums in the transaction that applies the mark, so they
 * are of one position.  `items` has to agree with Redis, and the other two with `items`: so a
 * difference names who is wrong.  Marks pass over archived items; only the second is asked of
 * them.
 *
 * Both sides have their items by id in byte order, so one walk along them meets every pair.
 */
#include "guardian/mark.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "guardian/ledger_impl.h"

enum {
    DETAIL_BYTES = 32768, /* TEXT has room for 65,535 */
};

void mark_record_fini(struct mark_record *r)
{
    free(r->items);
    *r = (struct mark_record){0};
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(((const struct mark_item *)a)->item_id.s,
                  ((const struct mark_item *)b)->item_id.s);
}

/* The item of that id; rows of orders and ledger may speak of items that the table lacks. */
static struct mark_item *item_of(struct mark_record *r, struct slice item_id)
{
    struct mark_item key = {0};
    size_t low = 0;
    size_t high = r->n_items;

    if (!command_set_text(&key.item_id, item_id)) {
        return NULL;
    }
    while (low < high) {
        size_t middle = (low + high) / 2;

        if (compare_ids(&r->items[middle], &key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low < r->n_items && compare_ids(&r->items[low], &key) == 0) {
        return &r->items[low];
    }
    if (r->n_items == r->room) {
        r->room = r->room == 0 ? 64 : 2 * r->room;
        r->items = xreallocarray(r->items, r->room, sizeof(*r->items));
    }
    memmove(&r->items[low + 1], &r->items[low], (r->n_items - low) * sizeof(*r->items));
    r->items[low] = key;
    r->n_items++;
    return &r->items[low];
}

static int64_t number_of(struct slice s)
{
    int64_t n = 0;

    return slice_to_i64(s, INT64_MIN, INT64_MAX, &n) ? n : 0;
}

static bool take_item(const struct slice *columns, unsigned n, void *arg)
{
    struct mark_item *item = item_of(arg, columns[0]);

    if (item != NULL && n == 6) {
        item->is_archived = slice_eq(columns[5], SLICE_LIT("a"));
        item->row = (struct mark_counters){
            .total = number_of(columns[1]),
            .available = number_of(columns[2]),
            .held = number_of(columns[3]),
            .sold = number_of(columns[4]),
        };
    }
    return true;
}

static bool take_orders(const struct slice *columns, unsigned n, void *arg)
{
    struct mark_item *item = item_of(arg, columns[0]);

    if (item != NULL && n == 3 && columns[1].len == 1) {
        int64_t *qty = columns[1].ptr[0] == ORDER_PAID ? &item->sold : &item->held;

        *qty += number_of(columns[2]);
    }
    return true;
}

/* As the view stock_ledger has it, which would be grouped by texts. */
static bool take_ledger(const struct slice *columns, unsigned n, void *arg)
{
    static const struct {
        const char *cause;
        int total, available, held, sold;
    } causes[] = {
        {"added", +1, +1, 0, 0}, {"removed", -1, -1, 0, 0},   {"reserved", 0, -1, +1, 0},
        {"paid", 0, 0, -1, +1},  {"cancelled", 0, +1, -1, 0}, {"expired", 0, +1, -1, 0},
        {"late", 0, -1, 0, +1},
    };
    struct mark_item *item = item_of(arg, columns[0]);

    for (size_t i = 0; item != NULL && n == 3 && i < sizeof(causes) / sizeof(causes[0]); i++) {
        const int64_t qty = number_of(columns[2]);

        if (slice_eq(columns[1], slice_str(causes[i].cause))) {
            item->ledger.total += causes[i].total * qty;
            item->ledger.available += causes[i].available * qty;
            item->ledger.held += causes[i].held * qty;
            item->ledger.sold += causes[i].sold * qty;
        }
    }
    return true;
}

bool mark_read(struct db *db, int partition, struct mark_record *r, struct err *err)
{
    struct buf sql;
    char storage[256];
    bool ok;

    r->n_items = 0;
    buf_init_fixed(&sql, storage, sizeof(storage));
    buf_printf(
        &sql,
        "SELECT item_id, total, available, held, sold, state FROM items WHERE partition_id = %d "
        "ORDER BY item_id",
        partition);
    ok = db_query(db, buf_slice(&sql), take_item, r, err);
    buf_clear(&sql);
    buf_printf(&sql,
               "SELECT item_id, state, SUM(qty) FROM orders WHERE partition_id = %d AND state IN "
               "('H', 'P') GROUP BY item_id, state",
               partition);
    ok = ok && db_query(db, buf_slice(&sql), take_orders, r, err);
    buf_clear(&sql);
    buf_printf(&sql,
               "SELECT item_id, cause, SUM(qty) FROM journal WHERE partition_id = %d "
               "GROUP BY item_id, cause",
               partition);
    ok = ok && db_query(db, buf_slice(&sql), take_ledger, r, err);
    buf_clear(&sql);
    buf_printf(&sql, "SELECT COUNT(*) FROM orders WHERE partition_id = %d AND remembered = %d",
               partition, LEDGER_REMEMBERED);
    ok = ok && db_query_i64(db, sql.ptr, 0, &r->orders, err);
    buf_clear(&sql);
    buf_printf(&sql, "SELECT COUNT(*) FROM payments WHERE partition_id = %d", partition);
    return ok && db_query_i64(db, sql.ptr, 0, &r->payments, err);
}

static size_t differs(struct buf *detail, const char *key, const char *what, int64_t redis,
                      int64_t mysql)
{
    if (redis == mysql) {
        return 0;
    }
    buf_printf(detail, "%s: %s: redis %" PRId64 ", mysql %" PRId64 "\n", key, what, redis, mysql);
    return 1;
}

static size_t disagrees(struct buf *detail, const char *key, const char *what, int64_t row,
                        int64_t other)
{
    if (row == other) {
        return 0;
    }
    buf_printf(detail, "%s: mysql: items %" PRId64 ", %s %" PRId64 "\n", key, row, what, other);
    return 1;
}

static size_t compare_item(const struct event_item *redis, const struct mark_item *m,
                           struct buf *detail)
{
    const char *key = m->item_id.s;

    return differs(detail, key, "total", redis->total, m->row.total) +
           differs(detail, key, "available", redis->available, m->row.available) +
           differs(detail, key, "held", redis->held, m->row.held) +
           differs(detail, key, "sold", redis->sold, m->row.sold);
}

static size_t compare_books(const struct mark_item *m, struct buf *detail)
{
    const char *key = m->item_id.s;

    return disagrees(detail, key, "total in stock_ledger", m->row.total, m->ledger.total) +
           disagrees(detail, key, "available in stock_ledger", m->row.available,
                     m->ledger.available) +
           disagrees(detail, key, "held in stock_ledger", m->row.held, m->ledger.held) +
           disagrees(detail, key, "sold in stock_ledger", m->row.sold, m->ledger.sold) +
           disagrees(detail, key, "held in orders", m->row.held, m->held) +
           disagrees(detail, key, "sold in orders", m->row.sold, m->sold);
}

size_t mark_compare_within(const struct mark_record *r, struct buf *detail)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n_items; i++) {
        n += compare_books(&r->items[i], detail);
    }
    return n;
}

size_t mark_compare(const struct ledger_mark *mark, const struct mark_record *r, struct buf *detail)
{
    size_t n = differs(detail, "orders", "remembered", mark->orders, r->orders) +
               differs(detail, "payments", "answered", mark->payments, r->payments);
    size_t i = 0;
    size_t k = 0;

    while (i < mark->n_items || k < r->n_items) {
        int order;

        if (i == mark->n_items) {
            order = 1;
        } else if (k == r->n_items) {
            order = -1;
        } else {
            order = strcmp(mark->items[i].item_id.s, r->items[k].item_id.s);
        }
        if (order < 0) {
            buf_printf(detail, "%s: mysql lacks the item\n", mark->items[i++].item_id.s);
            n++;
        } else if (order > 0 && r->items[k].is_archived) {
            n += compare_books(&r->items[k++], detail);
        } else if (order > 0) {
            buf_printf(detail, "%s: redis lacks the item\n", r->items[k++].item_id.s);
            n++;
        } else {
            n += compare_item(&mark->items[i++], &r->items[k], detail);
            n += compare_books(&r->items[k++], detail);
        }
    }
    return n;
}

/* As in the column `clean`. */
static int result_of(const struct ledger_mark *mark, size_t differences)
{
    if (mark->is_skipped) {
        return MARK_SKIPPED;
    }
    return differences == 0 ? MARK_CLEAN : MARK_DIFFERENT;
}

bool mark_record_run(struct db *db, const struct ledger *l, struct err *err)
{
    const struct ledger_mark *mark = ledger_mark(l);
    struct mark_record record = {0};
    struct buf detail, sql;
    size_t differences = 0;
    bool ok;

    buf_init(&detail, DETAIL_BYTES);
    buf_init(&sql, 4 * (size_t)DETAIL_BYTES);
    ok = mark->is_skipped || mark_read(db, ledger_partition(l), &record, err);
    if (ok) {
        int64_t affected;

        if (!mark->is_skipped) {
            differences = mark_compare(mark, &record, &detail);
        }
        buf_puts(&sql,
                 "INSERT INTO reconcile_runs (run_id, partition_id, log_offset, log_time, clean, "
                 "redis_orders, mysql_orders, redis_payments, mysql_payments, items, "
                 "differences, detail, chain_before, chain) VALUES (");
        ledger_put_id(&sql, command_text(&mark->run_id));
        buf_printf(&sql,
                   ",%d,%" PRId64 ",%" PRId64 ",%d,%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64
                   ",%zu,%zu,",
                   ledger_partition(l), mark->offset, mark->log_time, result_of(mark, differences),
                   mark->orders, record.orders, mark->payments, record.payments, mark->n_items,
                   differences);
        ledger_put_id(&sql, buf_slice(&detail));
        buf_printf(&sql, ",'%016" PRIx64 "','%016" PRIx64 "')", ledger_base(l)->chain,
                   ledger_end(l)->chain);
        ok = db_exec(db, buf_slice(&sql), &affected, err);
    }
    mark_record_fini(&record);
    buf_fini(&detail);
    buf_fini(&sql);
    return ok;
}
