/*
 * record.h - what Redis must hold, in its own text, as MySQL has it.
 *
 * MySQL stands at a position M of a partition, Redis answered at a watermark W <= M.  Rows that came
 * after W are left out; where a row that was there at W has been changed since, MySQL no longer
 * knows what it was, and the value is `unsure`: ask again at a later W.
 *
 * All scans run in the caller's transaction and give their fields in byte order.  No state of its
 * own: any thread, each with its own db.
 */
#ifndef GUARDIAN_RECORD_H
#define GUARDIAN_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/slice.h"
#include "guardian/db.h"

enum record_table {
    RECORD_ITEMS,
    RECORD_CONFIGS, /* of items only what a sale command sets: the value from the limit on */
    RECORD_ORDERS,  /* a field is a user */
    RECORD_PAYMENTS,
    RECORD_OPERATIONS,
    RECORD_TABLES,
};

/* Its name in Redis: "items", "orders", "payments", "ops". */
const char *record_redis_name(enum record_table table);

/* Which fields of a partition's table. */
struct record_range {
    int partition;
    enum record_table table;
    int64_t watermark;
    const struct slice *fields; /* these; NULL: all of them, or those behind `after` */
    size_t n_fields;
    struct slice after; /* payments and operations, without fields: only what is greater; */
    size_t limit;       /* ... and at most so many; 0: all */
};

/* One field; borrowed for the call.  The offset is of the last command that changed it. */
struct record_field {
    struct slice name, value;
    bool is_unsure;
    int64_t offset;
};

/* Returns false to end the scan. */
typedef bool record_field_fn(const struct record_field *field, void *arg);

bool record_scan(struct db *db, const struct record_range *range, record_field_fn *each, void *arg,
                 struct err *err) ATTR_MUSTCHECK;

/*
 * Begins a snapshot in which the partition's position is at least `watermark`, waiting for it until
 * deadline_ms (monotonic).  *position is where it stands.  ERR_RETRY when it does not get there.
 */
bool record_begin(struct db *db, int partition, int64_t watermark, int64_t deadline_ms,
                  int64_t *position, struct err *err) ATTR_MUSTCHECK;

#endif /* GUARDIAN_RECORD_H */
