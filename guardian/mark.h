/*
 * mark.h - Redis's counters, as a mark told them, against MySQL's at the same position.
 *
 * The comparison is pure; the reading runs in the transaction that applies the mark.
 */
#ifndef GUARDIAN_MARK_H
#define GUARDIAN_MARK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/buf.h"
#include "common/err.h"
#include "guardian/db.h"
#include "guardian/ledger.h"

/* What came of a mark: the column `clean` of reconcile_runs. */
enum mark_result {
    MARK_DIFFERENT = 0,
    MARK_CLEAN = 1,
    MARK_SKIPPED = 2, /* comparing failed again and again, and the partition had to go on */
};

/* Four counters of an item. */
struct mark_counters {
    int64_t total, available, held, sold;
};

/* One item as MySQL has it, three times over. */
struct mark_item {
    struct command_text item_id;
    bool is_archived;            /* a mark passes over it */
    struct mark_counters row;    /* items */
    struct mark_counters ledger; /* balances of stock_ledger; total is minus that of supply */
    int64_t held, sold;          /* qty of its orders in states H and P */
};

/* A partition as MySQL has it. */
struct mark_record {
    int64_t orders, payments;
    size_t n_items, room;
    struct mark_item *items; /* owned; by item_id in byte order */
};

void mark_record_fini(struct mark_record *r);

/* Reads a partition within the present transaction.  r is zeroed or used before. */
bool mark_read(struct db *db, int partition, struct mark_record *r, struct err *err) ATTR_MUSTCHECK;

/* Appends a line per difference to detail; returns how many there are. */
size_t mark_compare(const struct ledger_mark *mark, const struct mark_record *r,
                    struct buf *detail);

/* The same for what MySQL alone can tell: items against ledger and orders. */
size_t mark_compare_within(const struct mark_record *r, struct buf *detail);

/* Reads, compares, and inserts the row of reconcile_runs. */
bool mark_record_run(struct db *db, const struct ledger *l, struct err *err) ATTR_MUSTCHECK;

#endif /* GUARDIAN_MARK_H */
