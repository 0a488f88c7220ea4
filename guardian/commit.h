/*
 * commit.h - one batch, one transaction: rows and position, or neither.
 *
 * The progress row is locked and compared first, so however many guardians there are, and whatever
 * became of an earlier attempt, a batch takes effect once: a position that is already the batch's
 * end means that it is done, any other than its base that somebody else has moved on.
 */
#ifndef GUARDIAN_COMMIT_H
#define GUARDIAN_COMMIT_H

#include "common/attr.h"
#include "common/buf.h"
#include "common/err.h"
#include "guardian/db.h"
#include "guardian/ledger.h"
#include "guardian/progress.h"

enum commit_result {
    COMMIT_DONE,
    COMMIT_MOVED,  /* MySQL is elsewhere, at *now: nothing was changed */
    COMMIT_RETRY,  /* unknown or not done: the same call again, later */
    COMMIT_HALTED, /* MySQL refuses these rows: they contradict what is recorded */
};

/* sql is room to write statements in; its content is of no use afterwards. */
enum commit_result commit_batch(struct db *db, struct ledger *l, struct buf *sql,
                                struct progress *now, struct err *err) ATTR_MUSTCHECK;

/* Reads a partition's progress; makes the row when there is none.  Starts and ends a transaction. */
bool commit_load(struct db *db, int partition, struct progress *now,
                 struct err *err) ATTR_MUSTCHECK;

/* Reads it within the present transaction; is_locked also keeps it from changing. */
bool commit_read_progress(struct db *db, int partition, bool is_locked, struct progress *now,
                          struct err *err) ATTR_MUSTCHECK;

#endif /* GUARDIAN_COMMIT_H */
