/*
 * A thin layer over Connector/C.  Its defaults are dangerous here: no timeouts at all, and a
 * server-chosen sql_mode.  So each session sets what it needs and then reads it back.
 *
 * wait_timeout is short: a guardian that is frozen in the middle of a transaction would otherwise
 * keep its row locks for eight hours.  The price is that an idle connection is closed by the
 * server, so one that has rested is replaced before it is used.
 *
 * A server that sorts a million rows sends nothing before it has done so, and the library's time
 * for a read cannot be changed later.  So who may wait longer for an answer waits for its first byte
 * here, and leaves the rest to the library.
 */
#include "guardian/db.h"

#include <errmsg.h>
#include <errno.h>
#include <inttypes.h>
#include <mysql.h>
#include <mysqld_error.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/sql.h"
#include "common/xmalloc.h"

enum {
    WAIT_TIMEOUT_S = 60,
    REST_MS = 30000,
    LOCK_WAIT_S = 5,
    ROW_WAIT_S = 600, /* how long we may be busy with one row */
    SLICE_MS = 200,   /* how often it is asked whether the answer is still wanted */
    KILL_MS = 2000,   /* for ending at the server what was given up */
};

struct db {
    const struct db_settings *settings; /* borrowed */
    enum db_session session;
    MYSQL *mysql; /* NULL: not connected */
    int64_t used_ms;
    bool failed; /* only a rollback may follow */
    unsigned error;
    char server[300]; /* which one the session is on */
};

bool db_library_start(struct err *err)
{
    if (mysql_library_init(0, NULL, NULL) != 0) {
        return err_set(err, ERR_FATAL, "mysql: the client library does not start");
    }
    return true;
}

void db_library_stop(void)
{
    mysql_library_end();
}

void db_thread_start(void)
{
    mysql_thread_init();
}

void db_thread_stop(void)
{
    mysql_thread_end();
}

struct db *db_create(const struct db_settings *settings, enum db_session session)
{
    struct db *db = xcalloc(1, sizeof(*db));

    db->settings = settings;
    db->session = session;
    return db;
}

static void close_connection(struct db *db)
{
    if (db->mysql != NULL) {
        mysql_close(db->mysql);
        db->mysql = NULL;
    }
    db->failed = false;
}

void db_destroy(struct db *db)
{
    if (db != NULL) {
        close_connection(db);
        free(db);
    }
}

enum err_kind db_classify(unsigned number)
{
    /* What the data or the schema is to blame for; everything else may pass. */
    static const unsigned fatal[] = {
        ER_DUP_ENTRY,
        ER_BAD_NULL_ERROR,
        ER_WARN_DATA_OUT_OF_RANGE,
        ER_DATA_TOO_LONG,
        ER_NO_SUCH_TABLE,
        ER_BAD_FIELD_ERROR,
        ER_PARSE_ERROR,
        WARN_DATA_TRUNCATED,
        ER_NO_REFERENCED_ROW_2,
        ER_TRUNCATED_WRONG_VALUE_FOR_FIELD,
        3819, /* ER_CHECK_CONSTRAINT_VIOLATED of MySQL */
        4025, /* ER_CONSTRAINT_FAILED of MariaDB */
    };

    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++) {
        if (number == fatal[i]) {
            return ERR_FATAL;
        }
    }
    return ERR_RETRY;
}

static bool fail(struct db *db, const char *what, struct err *err)
{
    db->failed = true;
    db->error = mysql_errno(db->mysql);
    return err_set(err, db_classify(db->error), "mysql: %s: %s (%u)", what, mysql_error(db->mysql),
                   db->error);
}

unsigned db_error(const struct db *db)
{
    return db->error;
}

/* What the session must be like, read back. */
struct session_check {
    bool has_strict_mode, has_isolation, has_autocommit_off;
    const char *isolation; /* wanted */
};

static bool check_variable(const struct slice *columns, unsigned n, void *arg)
{
    struct session_check *check = arg;
    const char *name = columns[0].ptr;
    const char *value = n > 1 && columns[1].ptr != NULL ? columns[1].ptr : "";

    if (strcmp(name, "sql_mode") == 0) {
        check->has_strict_mode = strstr(value, "STRICT_ALL_TABLES") != NULL;
    } else if (strcmp(name, "autocommit") == 0) {
        check->has_autocommit_off = strcmp(value, "OFF") == 0;
    } else {
        /* tx_isolation of MariaDB, transaction_isolation of MySQL. */
        check->has_isolation = strcmp(value, check->isolation) == 0;
    }
    return true;
}

/* Which server this is: an address may lead to another one by now. */
static const char identity[] = "SELECT CONCAT(@@hostname, ':', @@port, ':', @@server_id)";

static bool keep_identity(const struct slice *columns, unsigned n, void *arg)
{
    struct db *db = arg;

    if (n != 1 || !slice_copy(columns[0], db->server, sizeof(db->server))) {
        db->server[0] = '\0'; /* like none */
    }
    return true;
}

static bool prepare_session(struct db *db, struct err *err)
{
    bool is_write = db->session == DB_SESSION_WRITE;
    struct session_check check = {.isolation = is_write ? "READ-COMMITTED" : "REPEATABLE-READ"};
    char sql[320];
    int n =
        snprintf(sql, sizeof(sql),
                 "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', autocommit "
                 "= 0, innodb_lock_wait_timeout = %d, wait_timeout = %d, net_write_timeout = %d, "
                 "time_zone = '+00:00'",
                 LOCK_WAIT_S, is_write ? WAIT_TIMEOUT_S : 28800, ROW_WAIT_S);

    if (!db_exec(db, (struct slice){sql, (size_t)n}, NULL, err)) {
        return false;
    }
    n = snprintf(sql, sizeof(sql), "SET SESSION TRANSACTION ISOLATION LEVEL %s",
                 is_write ? "READ COMMITTED" : "REPEATABLE READ");
    if (!db_exec(db, (struct slice){sql, (size_t)n}, NULL, err) ||
        !db_query(db,
                  SLICE_LIT("SHOW SESSION VARIABLES WHERE Variable_name IN ('sql_mode', "
                            "'autocommit', 'tx_isolation', 'transaction_isolation')"),
                  check_variable, &check, err) ||
        !db_query(db, slice_str(identity), keep_identity, db, err)) {
        return false;
    }
    if (!check.has_strict_mode || !check.has_isolation || !check.has_autocommit_off) {
        return err_set(err, ERR_FATAL,
                       "mysql: the session does not keep sql_mode, isolation and autocommit");
    }
    return true;
}

static bool open_session(const struct db *db, MYSQL *mysql, int64_t timeout_ms)
{
    const struct db_settings *s = db->settings;
    const struct sql_address where = {
        .host = s->host,
        .user = s->user,
        .password = s->password,
        .database = s->database,
        .port = s->port,
        .timeout_ms = timeout_ms,
    };

    return sql_connect(mysql, &where);
}

bool db_connect(struct db *db, struct err *err)
{
    if (db->failed) {
        db_rollback(db);
    }
    if (db->mysql != NULL && clock_mono_ms() - db->used_ms < REST_MS) {
        return true;
    }
    close_connection(db);
    db->error = 0;
    db->mysql = mysql_init(NULL);
    if (db->mysql == NULL) {
        return err_set(err, ERR_RETRY, "mysql: no memory for a connection");
    }
    if (!open_session(db, db->mysql, db->settings->timeout_ms)) {
        bool rc = fail(db, "connect", err);

        close_connection(db);
        return rc;
    }
    db->used_ms = clock_mono_ms();
    if (!prepare_session(db, err)) {
        close_connection(db);
        return false;
    }
    return true;
}

static bool usable(struct db *db, struct err *err)
{
    if (db->mysql == NULL) {
        return err_set(err, ERR_RETRY, "mysql: not connected");
    }
    if (db->failed) {
        return err_set(err, ERR_RETRY, "mysql: the transaction has failed before");
    }
    db->error = 0;
    return true;
}

static bool is_patient(const struct db *db)
{
    return db->settings->answer_ms > db->settings->timeout_ms;
}

static bool is_our_server(const struct db *db, MYSQL *other)
{
    MYSQL_RES *answer = mysql_query(other, identity) == 0 ? mysql_store_result(other) : NULL;
    const MYSQL_ROW row = answer == NULL ? NULL : mysql_fetch_row(answer);
    const bool is_ours = row != NULL && row[0] != NULL && strcmp(row[0], db->server) == 0;

    mysql_free_result(answer);
    return is_ours;
}

/* The server would go on with what nobody waits for any more, and keep its locks from the next attempt. */
static void end_on_server(const struct db *db)
{
    const int64_t timeout_ms =
        db->settings->timeout_ms < KILL_MS ? db->settings->timeout_ms : KILL_MS;
    MYSQL *other = mysql_init(NULL);
    char sql[40];

    (void)snprintf(sql, sizeof(sql), "KILL %lu", mysql_thread_id(db->mysql));
    if (other != NULL && open_session(db, other, timeout_ms) && is_our_server(db, other)) {
        (void)mysql_query(other, sql); /* if not, it goes on */
    }
    mysql_close(other);
}

static bool give_up(struct db *db, const char *why, struct err *err)
{
    end_on_server(db);
    db->failed = true;
    db->error = CR_SERVER_LOST;
    return err_set(err, ERR_RETRY, "mysql: %s", why);
}

/* Waits for the first byte; what is wrong with the connection the library finds out. */
static bool await_answer(struct db *db, struct err *err)
{
    const struct db_settings *s = db->settings;
    const int64_t deadline_ms = clock_mono_ms() + (is_patient(db) ? s->answer_ms : s->timeout_ms);
    struct pollfd fd = {.fd = mysql_get_socket(db->mysql), .events = POLLIN};

    for (;;) {
        const int n = poll(&fd, 1, SLICE_MS);

        if (n > 0 || (n < 0 && errno != EINTR)) {
            return true;
        }
        if (s->cancelled != NULL && atomic_load(s->cancelled)) {
            return give_up(db, "no answer yet, and none is wanted any more", err);
        }
        if (clock_mono_ms() >= deadline_ms) {
            return give_up(db, "no answer in time", err);
        }
    }
}

static bool send_statement(struct db *db, struct slice sql, const char *what, struct err *err)
{
    if (mysql_send_query(db->mysql, sql.ptr, sql.len) != 0) {
        return fail(db, what, err);
    }
    return await_answer(db, err) &&
           (mysql_read_query_result(db->mysql) == 0 || fail(db, what, err));
}

bool db_exec(struct db *db, struct slice sql, int64_t *affected, struct err *err)
{
    if (!usable(db, err) || !send_statement(db, sql, "statement", err)) {
        return false;
    }
    db->used_ms = clock_mono_ms();
    if (affected != NULL) {
        *affected = (int64_t)mysql_affected_rows(db->mysql);
    }
    return true;
}

/* Of those who read whole tables: millions of rows may follow, to be read only to be thrown away. */
static void leave(struct db *db)
{
    if (!is_patient(db)) {
        return;
    }
    (void)shutdown(mysql_get_socket(db->mysql), SHUT_RDWR);
    db->failed = true;
    db->error = CR_SERVER_LOST;
}

/* Rows are streamed: a reader of millions must not hold them all. */
bool db_query(struct db *db, struct slice sql, db_row_fn *row, void *arg, struct err *err)
{
    enum { COLUMNS_MAX = 24 };
    struct slice columns[COLUMNS_MAX];
    MYSQL_RES *result;
    MYSQL_ROW values;
    unsigned n;

    if (!usable(db, err) || !send_statement(db, sql, "query", err)) {
        return false;
    }
    result = mysql_use_result(db->mysql);
    if (result == NULL) {
        return fail(db, "query", err);
    }
    n = mysql_num_fields(result);
    n = n < COLUMNS_MAX ? n : COLUMNS_MAX;
    while ((values = mysql_fetch_row(result)) != NULL) {
        const unsigned long *lengths = mysql_fetch_lengths(result);

        for (unsigned i = 0; i < n; i++) {
            columns[i] = (struct slice){values[i], values[i] == NULL ? 0 : lengths[i]};
        }
        if (!row(columns, n, arg)) {
            leave(db);
            break;
        }
    }
    if (values == NULL && mysql_errno(db->mysql) != 0) {
        bool rc = fail(db, "reading rows", err);

        mysql_free_result(result);
        return rc;
    }
    mysql_free_result(result);
    db->used_ms = clock_mono_ms();
    return true;
}

static bool take_number(const struct slice *columns, unsigned n, void *arg)
{
    int64_t *out = arg;
    int64_t value;

    if (n > 0 && columns[0].ptr != NULL && slice_to_i64(columns[0], INT64_MIN, INT64_MAX, &value)) {
        *out = value;
    }
    return true;
}

bool db_query_i64(struct db *db, const char *sql, int64_t fallback, int64_t *out, struct err *err)
{
    *out = fallback;
    return db_query(db, slice_str(sql), take_number, out, err);
}

bool db_commit(struct db *db, struct err *err)
{
    if (!usable(db, err)) {
        return false;
    }
    if (mysql_commit(db->mysql) != 0) {
        return fail(db, "commit", err);
    }
    db->used_ms = clock_mono_ms();
    return true;
}

/* A server that has become read-only has been replaced: the next connection finds the new one. */
static bool is_gone(unsigned error)
{
    return (error >= CR_MIN_ERROR && error <= CR_MAX_ERROR) ||
           error == ER_OPTION_PREVENTS_STATEMENT || error == ER_READ_ONLY_MODE;
}

void db_rollback(struct db *db)
{
    if (db->mysql == NULL) {
        db->failed = false;
        return;
    }
    if (is_gone(db->error) || mysql_rollback(db->mysql) != 0) {
        close_connection(db);
        return;
    }
    db->failed = false;
}
