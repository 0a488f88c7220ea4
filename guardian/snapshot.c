#include "guardian/snapshot.h"

#include <stdint.h>
#include <stdio.h>

#include "guardian/ledger_impl.h"

enum {
    SQL_BYTES = 400,
    TABLES = 4,
};

struct reading {
    const struct snapshot_sink *sink;
    enum record_table table;
    bool has_failed;
    struct err err; /* of the sink */
};

static bool take_hold_ms(const struct slice *columns, unsigned n ATTR_UNUSED, void *arg)
{
    struct reading *r = arg;

    r->has_failed = !r->sink->hold_ms(columns[0], r->sink->arg, &r->err);
    return !r->has_failed;
}

static bool take_field(const struct record_field *field, void *arg)
{
    struct reading *r = arg;

    r->has_failed = !r->sink->field(r->table, field, r->sink->arg, &r->err);
    return !r->has_failed;
}

static bool take_hold(const struct slice *columns, unsigned n ATTR_UNUSED, void *arg)
{
    struct reading *r = arg;
    const struct snapshot_hold hold = {columns[0], columns[1], columns[2], columns[3], columns[4]};

    r->has_failed = !r->sink->hold(&hold, r->sink->arg, &r->err);
    return !r->has_failed;
}

static bool query(struct reading *r, struct db *db, db_row_fn *row, const char *sql,
                  struct err *err)
{
    return db_query(db, slice_str(sql), row, r, err) && !r->has_failed;
}

static bool read_fields(struct reading *r, struct db *db, int partition,
                        const enum record_table order[TABLES], struct err *err)
{
    bool ok = true;

    for (size_t i = 0; ok && i < TABLES; i++) {
        const struct record_range range = {
            .partition = partition,
            .table = order[i],
            .watermark = INT64_MAX, /* the picture is all there is */
        };

        r->table = order[i];
        ok = record_scan(db, &range, take_field, r, err) && !r->has_failed;
    }
    return ok;
}

static bool read_all(struct db *db, int partition, const enum record_table order[TABLES],
                     const struct snapshot_sink *sink, struct err *err)
{
    struct reading r = {.sink = sink};
    char hold_ms[SQL_BYTES], holds[SQL_BYTES];
    bool ok;

    (void)snprintf(hold_ms, sizeof(hold_ms),
                   "SELECT hold_ms FROM operations WHERE partition_id = %d AND hold_ms IS NOT "
                   "NULL GROUP BY hold_ms ORDER BY MIN(log_offset)",
                   partition);
    /* Log time at the decision and hold_ms make the due time: those two say which list it is. */
    (void)snprintf(holds, sizeof(holds),
                   "SELECT due - decided_at, due, decided_offset, order_id, user_id FROM orders "
                   "WHERE partition_id = %d AND state = 'H' AND remembered = %d "
                   "ORDER BY due - decided_at, due, decided_offset",
                   partition, LEDGER_REMEMBERED);
    ok = query(&r, db, take_hold_ms, hold_ms, err) && read_fields(&r, db, partition, order, err) &&
         query(&r, db, take_hold, holds, err);
    if (r.has_failed) {
        *err = r.err;
    }
    return ok;
}

bool snapshot_read(struct db *db, int partition, const struct snapshot_sink *sink, struct err *err)
{
    static const enum record_table order[TABLES] = {RECORD_ITEMS, RECORD_OPERATIONS,
                                                    RECORD_PAYMENTS, RECORD_ORDERS};

    return read_all(db, partition, order, sink, err);
}

bool snapshot_read_orders_first(struct db *db, int partition, const struct snapshot_sink *sink,
                                struct err *err)
{
    static const enum record_table order[TABLES] = {RECORD_ORDERS, RECORD_ITEMS, RECORD_OPERATIONS,
                                                    RECORD_PAYMENTS};

    return read_all(db, partition, order, sink, err);
}
