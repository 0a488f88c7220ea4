/*
 * settings.h - the guardian's options, the same table for the daemon and its commands.
 */
#ifndef GUARDIAN_SETTINGS_H
#define GUARDIAN_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/conf.h"
#include "common/kafka.h"
#include "common/options.h"
#include "guardian/db.h"

/* Each event of a batch may name another user, and one query asks about all: see POOL_SQL_BYTES. */
enum {
    SETTINGS_BATCH_ROWS_MAX = 50000,
};

struct settings {
    const struct conf *conf; /* where they come from; borrowed */

    struct options_log log;
    struct options_kafka kafka;
    struct options_redis redis;
    struct options_mysql mysql;
    struct options_metrics metrics;

    const char *group_id;
    const char *instance_id;
    int64_t session_timeout_ms;
    int64_t batch_rows;
    int64_t linger_ms;
    int64_t workers_max;
    int64_t probe_ms;
    bool auto_rebuild;
    int64_t rebuild_stall_ms;
    int64_t mysql_timeout_ms;
    int64_t mysql_scan_ms;
    int64_t redis_timeout_ms;
    int64_t drain_ms;

    /* Of the commands; words are those after the command's name, borrowed from conf. */
    const char *const *words;
    size_t n_words;
    bool json;
    bool quiet;
    int64_t timeout_ms;
    const char *prometheus;
    int64_t partition; /* -1: all */
    const char *reason;
    int64_t since_ms;
    const char *value;
    bool force;
    bool dry_run;
    bool raw;
    bool repair;
    bool trim;
    int64_t upto; /* -1: as far as may be */
};

extern const struct conf_spec settings_spec;

/* Where MySQL is, for who reads whole tables; borrows from settings. */
struct db_settings settings_db(const struct settings *settings);

/* Where Kafka is; likewise. */
struct kafka_settings settings_kafka(const struct settings *settings);

#endif /* GUARDIAN_SETTINGS_H */
