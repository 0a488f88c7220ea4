/*
 * ledger.h - outcomes in, rows out: what one transaction of one partition writes to MySQL.
 *
 * A batch starts at a progress (its base), takes outcomes in order, and ends at another.  It is
 * filled on one thread and written on another, one after the other.  To be written it needs two
 * things from MySQL, read inside the transaction: totals of items whose total changes, and for
 * some users how many orders are remembered.  So:
 *
 *     ledger_begin(batch, base), ledger_add()...           as outcomes come
 *     ledger_rewind(); while (ledger_question()) ledger_answer()...; ledger_settle()
 *     while (ledger_next_statement()) execute it
 *
 * The second line may be repeated when the transaction has to start over.
 *
 * Pure: no I/O.  Ids go into SQL as hexadecimal literals, so no text from outside is ever parsed as
 * SQL.
 */
#ifndef GUARDIAN_LEDGER_H
#define GUARDIAN_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/outcome.h"
#include "guardian/progress.h"

struct ledger;

/* The counters of a mark, kept until the batch is begun anew. */
struct ledger_mark {
    struct command_text run_id;
    int64_t offset, log_time;
    int64_t orders, payments;
    size_t n_items;
    struct event_item *items; /* by item_id in byte order */
    bool is_skipped;          /* it is noted, and not compared */
};

struct ledger *ledger_create(int partition);
void ledger_destroy(struct ledger *l);

/* Empties the batch; what is added next follows base. */
void ledger_begin(struct ledger *l, const struct progress *base);

/*
 * Adds the next outcome; `after` is the progress that it leads to.  A mark or an archive has to be
 * alone in its batch.  ERR_FATAL when the outcome contradicts itself: then the batch is spoilt.
 */
bool ledger_add(struct ledger *l, const struct outcome *o, const struct progress *after,
                struct err *err) ATTR_MUSTCHECK;

int ledger_partition(const struct ledger *l);
const struct progress *ledger_base(const struct ledger *l);
const struct progress *ledger_end(const struct ledger *l);
size_t ledger_records(const struct ledger *l);

/* Events that became rows: what bounds a batch. */
size_t ledger_rows(const struct ledger *l);

/* NULL when there is none. */
const struct ledger_mark *ledger_mark(const struct ledger *l);

/* Comparing has failed too often: the partition must go on without. */
void ledger_skip_mark(struct ledger *l);

/* True when the outcome wants a batch of its own: a mark, or an archive. */
bool ledger_is_alone(const struct outcome *o);

/* True when the batch holds such a one. */
bool ledger_is_full(const struct ledger *l);

/* Forgets all answers. */
void ledger_rewind(struct ledger *l);

/*
 * Writes the next query into sql (replacing it) and returns true, or returns false when there are
 * no more.  Each row of its result, an id and a number, goes to ledger_answer().
 */
bool ledger_question(struct ledger *l, struct buf *sql) ATTR_MUSTCHECK;
bool ledger_answer(struct ledger *l, struct slice id, int64_t number) ATTR_MUSTCHECK;

/* All answers are there: makes the rows.  ERR_FATAL when events contradict each other. */
bool ledger_settle(struct ledger *l, struct err *err) ATTR_MUSTCHECK;

/*
 * Writes the next statement into sql (replacing it) and returns true, or returns false when there
 * are no more.  *affected is the exact number that the server must report, -1 when any is good.
 */
bool ledger_next_statement(struct ledger *l, struct buf *sql, int64_t *affected) ATTR_MUSTCHECK;

#endif /* GUARDIAN_LEDGER_H */
