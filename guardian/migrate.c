/*
 * DDL commits by itself, so a migration that is cut short stays half applied.  That is why each of
 * its statements may be run twice (IF NOT EXISTS), and why it is noted only after its last one.
 */
#include "guardian/migrate.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"

struct migration {
    int version;
    const char *name;
    const unsigned char *text;
    size_t len;
};

#include "schema.h"

enum {
    MIGRATIONS = sizeof(migrations) / sizeof(migrations[0]),
    LOCK_WAIT_S = 30,
};

int migrate_version(void)
{
    return migrations[MIGRATIONS - 1].version;
}

struct slice migrate_next_statement(struct slice *sql)
{
    for (;;) {
        struct slice trimmed = slice_trim(*sql);

        if (!slice_starts(trimmed, SLICE_LIT("--"))) {
            *sql = trimmed;
            break;
        }
        (void)slice_cut(trimmed, '\n', sql);
    }
    for (size_t i = 0; i < sql->len; i++) {
        if (sql->ptr[i] == ';' && (i + 1 == sql->len || sql->ptr[i + 1] == '\n')) {
            struct slice statement = {sql->ptr, i};

            sql->ptr += i + 1;
            sql->len -= i + 1;
            return statement;
        }
    }
    *sql = (struct slice){NULL, 0};
    return *sql;
}

static bool read_version(struct db *db, int64_t *version, struct err *err)
{
    return db_query_i64(db, "SELECT MAX(version) FROM schema_version", 0, version, err);
}

static bool apply(struct db *db, const struct migration *m, struct err *err)
{
    struct slice sql = {(const char *)m->text, m->len};
    char note[160];
    int n;

    for (;;) {
        struct slice statement = migrate_next_statement(&sql);

        if (statement.ptr == NULL) {
            break;
        }
        if (!db_exec(db, statement, NULL, err)) {
            return false;
        }
    }
    n = snprintf(note, sizeof(note), "INSERT INTO schema_version (version, name) VALUES (%d, '%s')",
                 m->version, m->name);
    if (!db_exec(db, (struct slice){note, (size_t)n}, NULL, err) || !db_commit(db, err)) {
        return false;
    }
    log_info("schema.migrated", LOG_INT("version", m->version), LOG_STR("name", m->name));
    return true;
}

static bool run_locked(struct db *db, int *applied, struct err *err)
{
    int64_t version;

    if (!db_exec(
            db,
            SLICE_LIT("CREATE TABLE IF NOT EXISTS schema_version (version INT NOT NULL PRIMARY "
                      "KEY, name VARBINARY(128) NOT NULL, applied_at TIMESTAMP NOT NULL "
                      "DEFAULT CURRENT_TIMESTAMP) ENGINE=InnoDB"),
            NULL, err) ||
        !read_version(db, &version, err)) {
        return false;
    }
    if (version > migrate_version()) {
        return err_set(err, ERR_FATAL,
                       "the database has schema %" PRId64
                       ", this build knows %d: use a newer build",
                       version, migrate_version());
    }
    for (size_t i = 0; i < MIGRATIONS; i++) {
        if (migrations[i].version > version) {
            if (!apply(db, &migrations[i], err)) {
                return false;
            }
            *applied += 1;
        }
    }
    return true;
}

bool migrate_run(struct db *db, int *applied, struct err *err)
{
    char sql[128];
    int64_t locked;
    int count = 0;
    bool ok;

    (void)snprintf(sql, sizeof(sql),
                   "SELECT GET_LOCK(CONCAT('seckill migrate ', LEFT(DATABASE(), 40)), %d)",
                   LOCK_WAIT_S);
    if (!db_connect(db, err) || !db_query_i64(db, sql, 0, &locked, err)) {
        return false;
    }
    if (locked != 1) {
        return err_set(err, ERR_RETRY, "another migration of this database is running");
    }
    ok = run_locked(db, &count, err);
    /* Ending the session gives the lock back, whatever state it is in. */
    db_rollback(db);
    if (ok) {
        int64_t released;

        ok = db_query_i64(db,
                          "SELECT RELEASE_LOCK(CONCAT('seckill migrate ', LEFT(DATABASE(), 40)))",
                          0, &released, err);
    }
    if (applied != NULL) {
        *applied = count;
    }
    return ok;
}

bool migrate_check(struct db *db, struct err *err)
{
    int64_t tables, version, foreign;

    if (!db_connect(db, err) ||
        !db_query_i64(db,
                      "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = "
                      "DATABASE() AND TABLE_NAME = 'schema_version'",
                      0, &tables, err)) {
        return false;
    }
    if (tables == 0) {
        return err_set(err, ERR_FATAL, "the database has no schema: run seckill-guardian migrate");
    }
    if (!read_version(db, &version, err) ||
        !db_query_i64(
            db,
            "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() "
            "AND TABLE_TYPE = 'BASE TABLE' AND ENGINE <> 'InnoDB'",
            0, &foreign, err)) {
        return false;
    }
    db_rollback(db);
    if (version != migrate_version()) {
        return err_set(
            err, ERR_FATAL, "the database has schema %" PRId64 ", this build needs %d: %s", version,
            migrate_version(),
            version < migrate_version() ? "run seckill-guardian migrate" : "use a newer build");
    }
    if (foreign != 0) {
        return err_set(err, ERR_FATAL,
                       "%" PRId64
                       " tables of the database are not in InnoDB: transactions would not hold",
                       foreign);
    }
    return true;
}
