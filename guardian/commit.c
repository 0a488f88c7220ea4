#include "guardian/commit.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/failpoint.h"
#include "common/mutant.h"
#include "guardian/mark.h"

struct reading {
    struct progress *out;
    bool found, good;
};

static bool take_progress(const struct slice *columns, unsigned n, void *arg)
{
    struct reading *r = arg;
    struct progress *p = r->out;

    r->found = true;
    r->good = n == 7 && slice_to_i64(columns[0], -1, INT64_MAX, &p->position) &&
              slice_copy(columns[1], p->genesis, sizeof(p->genesis)) &&
              (columns[2].len == 0 || ids_hash_parse(columns[2], &p->chain)) &&
              slice_to_i64(columns[3], 0, INT64_MAX, &p->partitions) &&
              slice_to_i64(columns[4], 0, INT64_MAX, &p->rules) &&
              slice_to_i64(columns[5], 0, INT64_MAX, &p->log_time) &&
              slice_to_i64(columns[6], -1, INT64_MAX, &p->outcomes_offset);
    return true;
}

bool commit_read_progress(struct db *db, int partition, bool is_locked, struct progress *now,
                          struct err *err)
{
    struct reading reading = {.out = now};
    char sql[192];
    int n =
        snprintf(sql, sizeof(sql),
                 "SELECT position, genesis, chain, partitions, rules, log_time, outcomes_offset "
                 "FROM progress WHERE partition_id = %d%s",
                 partition, is_locked ? " FOR UPDATE" : "");

    *now = PROGRESS_NONE;
    if (!db_query(db, (struct slice){sql, (size_t)n}, take_progress, &reading, err)) {
        return false;
    }
    if (reading.found && !reading.good) {
        return err_set(err, ERR_FATAL, "mysql: the progress of partition %d is not readable",
                       partition);
    }
    return true;
}

bool commit_load(struct db *db, int partition, struct progress *now, struct err *err)
{
    char sql[128];
    int n = snprintf(sql, sizeof(sql),
                     "INSERT INTO progress (partition_id) VALUES (%d) ON DUPLICATE KEY UPDATE "
                     "partition_id = partition_id",
                     partition);
    bool ok;

    if (!db_connect(db, err)) {
        return false;
    }
    ok = commit_read_progress(db, partition, false, now, err);
    if (ok && now->position < 0) {
        ok = db_exec(db, (struct slice){sql, (size_t)n}, NULL, err) && db_commit(db, err);
    }
    db_rollback(db);
    return ok;
}

static bool take_answer(const struct slice *columns, unsigned n, void *arg)
{
    int64_t number;

    /* An answer to what was not asked is a bug that settling finds out about. */
    return n == 2 && slice_to_i64(columns[1], INT64_MIN, INT64_MAX, &number) &&
           ledger_answer(arg, columns[0], number);
}

static bool ask(struct db *db, struct ledger *l, struct buf *sql, struct err *err)
{
    ledger_rewind(l);
    while (ledger_question(l, sql)) {
        if (!buf_ok(sql)) {
            return err_set(err, ERR_FATAL, "a query is longer than %zu bytes", sql->max_bytes);
        }
        if (!db_query(db, buf_slice(sql), take_answer, l, err)) {
            return false;
        }
    }
    return ledger_settle(l, err);
}

static bool write_rows(struct db *db, struct ledger *l, struct buf *sql, struct err *err)
{
    int64_t wanted, affected;

    while (ledger_next_statement(l, sql, &wanted)) {
        if (!buf_ok(sql)) {
            return err_set(err, ERR_FATAL, "a statement is longer than %zu bytes", sql->max_bytes);
        }
        if (!db_exec(db, buf_slice(sql), &affected, err)) {
            return false;
        }
        if (wanted >= 0 && affected != wanted) {
            return err_set(err, ERR_FATAL,
                           "the record contradicts the log: %" PRId64 " rows changed, not %" PRId64
                           ", by %.100s",
                           affected, wanted, sql->ptr);
        }
        failpoint_kill("commit.row");
        if (MUTANT(POSITION_BEFORE_ROWS) && !db_commit(db, err)) {
            return false;
        }
    }
    return true;
}

static bool run_transaction(struct db *db, struct ledger *l, struct buf *sql, struct err *err)
{
    if (!ask(db, l, sql, err) || !write_rows(db, l, sql, err) ||
        (ledger_mark(l) != NULL && !mark_record_run(db, l, err))) {
        return false;
    }
    failpoint_kill("commit.before");
    if (!db_commit(db, err)) {
        return false;
    }
    failpoint_kill("commit.after");
    if (failpoint_hit("commit.reply")) {
        return err_set(err, ERR_RETRY, "pretending that the reply was lost");
    }
    return true;
}

enum commit_result commit_batch(struct db *db, struct ledger *l, struct buf *sql,
                                struct progress *now, struct err *err)
{
    enum commit_result result = COMMIT_DONE;
    bool ok;

    *now = *ledger_base(l);
    ok = db_connect(db, err);
    if (ok) {
        failpoint_kill("commit.begin");
        ok = commit_read_progress(db, ledger_partition(l), true, now, err);
    }
    if (ok && progress_same(now, ledger_end(l))) {
        db_rollback(db);
        return COMMIT_DONE;
    }
    if (ok && !progress_same(now, ledger_base(l)) && !MUTANT(PROGRESS_UNCOMPARED)) {
        db_rollback(db);
        return COMMIT_MOVED;
    }
    ok = ok && run_transaction(db, l, sql, err);
    if (!ok) {
        db_rollback(db);
        result = err->kind == ERR_RETRY ? COMMIT_RETRY : COMMIT_HALTED;
    }
    return result;
}
