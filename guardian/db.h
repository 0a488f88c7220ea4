/*
 * db.h - one connection to MySQL or MariaDB, for one thread at a time.
 *
 * Every statement runs in a transaction that only db_commit() makes last: the session has autocommit
 * off.  After any error nothing more may be sent but db_rollback(), and everything else is
 * refused until then: some errors have ended the transaction and some have not (1213, 1205), and
 * going on would commit half of it.
 *
 * Nothing reconnects behind the caller's back.  db_connect() at the start of a transaction does,
 * when there is no connection or it has been idle for long.  Every call is bounded by the timeouts.
 *
 * An error of db_commit() with ERR_RETRY is "unknown": it may have been committed.
 */
#ifndef GUARDIAN_DB_H
#define GUARDIAN_DB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/slice.h"

struct db;

struct db_settings {
    const char *host, *user, *password, *database; /* borrowed for the life of the connections */
    int port;
    int64_t timeout_ms;           /* for connecting, each read and each write */
    int64_t answer_ms;            /* from a statement to the first of its answer, if that is more */
    const atomic_bool *cancelled; /* then: true: no answer is wanted any more; may be NULL */
};

enum db_session {
    DB_SESSION_WRITE, /* read committed: what the lock on the progress row protects is current */
    DB_SESSION_READ,  /* repeatable read: one picture per transaction */
};

/* Once per process before, and per thread around, all use of connections. */
bool db_library_start(struct err *err) ATTR_MUSTCHECK;
void db_library_stop(void);
void db_thread_start(void);
void db_thread_stop(void);

/* Does not connect yet. */
struct db *db_create(const struct db_settings *settings, enum db_session session);
void db_destroy(struct db *db);

/*
 * Makes sure of a fresh, checked session.  ERR_RETRY when the server cannot be had now, ERR_FATAL
 * when it must be set up differently.
 */
bool db_connect(struct db *db, struct err *err) ATTR_MUSTCHECK;

/* affected may be NULL; it counts an upserted row once when inserted, twice when changed. */
bool db_exec(struct db *db, struct slice sql, int64_t *affected, struct err *err) ATTR_MUSTCHECK;

/*
 * Calls row for each row, until it returns false; a NULL column is an absent slice.  row must not
 * use the connection.  Where answers are waited for longer, false ends the transaction as an error
 * does.
 */
typedef bool db_row_fn(const struct slice *columns, unsigned n, void *arg);
bool db_query(struct db *db, struct slice sql, db_row_fn *row, void *arg,
              struct err *err) ATTR_MUSTCHECK;

/* The first column of the first row as a number; fallback when there is no row or it is NULL. */
bool db_query_i64(struct db *db, const char *sql, int64_t fallback, int64_t *out,
                  struct err *err) ATTR_MUSTCHECK;

bool db_commit(struct db *db, struct err *err) ATTR_MUSTCHECK;

/* Never fails: a connection that cannot be rolled back is closed, which comes to the same. */
void db_rollback(struct db *db);

/* The server's number of the last error, 0 after success. */
unsigned db_error(const struct db *db);

/* What an error number means: ERR_RETRY (the other side is unwell) or ERR_FATAL (data, schema). */
enum err_kind db_classify(unsigned number);

#endif /* GUARDIAN_DB_H */
