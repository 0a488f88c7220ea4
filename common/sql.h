/*
 * sql.h - a connection to MySQL or MariaDB, as every program of ours makes it.
 *
 * Over TCP, with bounded waits and a kernel that asks whether the server's host is still there, in
 * utf8mb4, and encrypted when the server can be: an account or a server may demand it, and without it
 * MySQL's caching_sha2_password depends on keys that a server need not have.  The certificate is not
 * verified.
 */
#ifndef COMMON_SQL_H
#define COMMON_SQL_H

#include <mysql.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"

struct sql_address {
    const char *host, *user, *password, *database;
    int port;
    int64_t timeout_ms; /* for connecting, each read and each write */
};

/* Connects my, fresh from mysql_init(); false: mysql_error(my) says why, and my can only be closed. */
bool sql_connect(MYSQL *my, const struct sql_address *where) ATTR_MUSTCHECK;

#endif /* COMMON_SQL_H */
