/*
 * snapshot.h - all that Redis must hold of a partition at MySQL's position, in Redis's own text.
 *
 * Reads within the caller's transaction, which must be one picture.  For a rebuild, which writes it
 * into Redis, and for a verification of a log whose head is gone, which starts from it.
 */
#ifndef GUARDIAN_SNAPSHOT_H
#define GUARDIAN_SNAPSHOT_H

#include <stdbool.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/slice.h"
#include "guardian/db.h"
#include "guardian/record.h"

/* A live hold. */
struct snapshot_hold {
    struct slice hold_ms, due, offset, order_id, user_id;
};

/* Where it goes; each returns false with err set to end it. */
struct snapshot_sink {
    bool (*hold_ms)(struct slice hold_ms, void *arg, struct err *err);
    bool (*field)(enum record_table table, const struct record_field *field, void *arg,
                  struct err *err);
    bool (*hold)(const struct snapshot_hold *hold, void *arg, struct err *err);
    void *arg;
};

/*
 * First every hold_ms ever used, in order of first use; then fields of items, operations, payments
 * and orders, in this order of tables; then live holds by hold_ms, due and offset.
 */
bool snapshot_read(struct db *db, int partition, const struct snapshot_sink *sink,
                   struct err *err) ATTR_MUSTCHECK;

/* The same with orders before the other fields: MySQL sorts them for long before it gives any. */
bool snapshot_read_orders_first(struct db *db, int partition, const struct snapshot_sink *sink,
                                struct err *err) ATTR_MUSTCHECK;

#endif /* GUARDIAN_SNAPSHOT_H */
