/*
 * migrate.h - the schema that this build carries (schema/NNNN_what.sql), and the one in the database.
 */
#ifndef GUARDIAN_MIGRATE_H
#define GUARDIAN_MIGRATE_H

#include <stdbool.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/slice.h"
#include "guardian/db.h"

/*
 * Applies the migrations that the database lacks, in order, while holding a lock that keeps other
 * migrators out.  *applied (may be NULL) is their number; none is fine.  ERR_FATAL when the
 * database is newer than this build.
 */
bool migrate_run(struct db *db, int *applied, struct err *err) ATTR_MUSTCHECK;

/* True when the database has exactly this build's schema, every table in InnoDB. */
bool migrate_check(struct db *db, struct err *err) ATTR_MUSTCHECK;

/* The version this build carries. */
int migrate_version(void);

/*
 * Takes the next statement off *sql: up to a semicolon at the end of a line, without comment lines
 * and blanks around it.  Absent at the end.  Pure.
 */
struct slice migrate_next_statement(struct slice *sql);

#endif /* GUARDIAN_MIGRATE_H */
