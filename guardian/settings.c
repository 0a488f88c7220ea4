#include "guardian/settings.h"

#include <inttypes.h>

static const struct conf_option own[] = {
    CONF_STRING(
        "group-id", struct settings, group_id, "seckill-guardian", NULL,
        "Consumer group that shares the partitions among guardians; it keeps no positions."),
    CONF_TEXT("instance-id", struct settings, instance_id, "", NULL,
              "Name of this process in the group, for restarts without a rebalance; empty: none."),
    CONF_MS("session-timeout", struct settings, session_timeout_ms, "10s", 1000, 300000,
            "How long the group waits for a guardian that is silent."),
    CONF_INT("batch-rows", struct settings, batch_rows, 5000, 1, SETTINGS_BATCH_ROWS_MAX,
             "Events per transaction, about; twice as many may wait per partition."),
    CONF_MS("batch-linger", struct settings, linger_ms, "250ms", 0, 3600000,
            "Least time from one transaction of a partition to its next, unless that is full."),
    CONF_INT(
        "workers-max", struct settings, workers_max, 16, 4, 256,
        "Most writer threads, each with a connection to MySQL; there are at least 4. At most half "
        "of them rebuild."),
    CONF_MS("probe-after", struct settings, probe_ms, "2s", 50, 600000,
            "Silence of a partition after which Redis is asked whether an outcome is missing."),
    CONF_BOOL("auto-rebuild", struct settings, auto_rebuild, true,
              "Rebuild Redis from MySQL when nothing else can give it its state back."),
    CONF_MS("rebuild-stall", struct settings, rebuild_stall_ms, "10s", 1000, 600000,
            "Standstill after which a rebuild that somebody has begun is done again."),
    CONF_MS("mysql-timeout", struct settings, mysql_timeout_ms, "20s", 1000, 600000,
            "Longest wait for MySQL to connect or to answer."),
    CONF_MS("mysql-scan-timeout", struct settings, mysql_scan_ms, "15m", 1000, 86400000,
            "The same where whole tables are read: rebuild, verify, reconcile, migrate."),
    CONF_MS("redis-timeout", struct settings, redis_timeout_ms, "5s", 100, 600000,
            "Longest wait for Redis to connect or to answer."),
    CONF_MS("drain-timeout", struct settings, drain_ms, "30s", 100, 3600000,
            "Longest time to finish what is there after a signal; the end comes seconds later."),
    CONF_ARG_BOOL(
        "json", struct settings, json,
        "reconcile, verify, explain, dead: the result as a JSON object (list: one per line)."),
    CONF_ARG_BOOL("quiet", struct settings, quiet,
                  "reconcile, verify, dead: print no more than has to be told; for crontab."),
    {.name = "timeout",
     .type = CONF_TYPE_MS,
     .is_argument = true,
     .offset = CONF_FIELD(struct settings, timeout_ms, int64_t),
     .fallback = "60s",
     .min = 100,
     .max = 86400000,
     .help =
         "Commands: longest wait for Kafka, Redis and MySQL to come to a position, and for each "
         "record that has to be read."},
    CONF_ARG_STRING("prometheus", struct settings, prometheus, "",
                    "reconcile: also write the result to this file, for node_exporter."),
    CONF_ARG_INT("partition", struct settings, partition, -1, -1, 4095,
                 "dead list, archive: of this partition only.  rebuild: this one, whatever its "
                 "state; else every one without a state."),
    CONF_ARG_STRING("reason", struct settings, reason, "", "dead list: with this reason only."),
    {.name = "since",
     .type = CONF_TYPE_MS,
     .is_argument = true,
     .offset = CONF_FIELD(struct settings, since_ms, int64_t),
     .fallback = "0",
     .max = INT64_C(1000) * 86400 * 366 * 10,
     .help = "dead list: copied within this time only."},
    CONF_ARG_BOOL("raw", struct settings, raw,
                  "dead show: the value's bytes as they are, into a file or a pipe."),
    CONF_ARG_STRING("value", struct settings, value, "",
                    "dead replay: file with the corrected value; - is standard input."),
    CONF_ARG_BOOL("force", struct settings, force,
                  "dead replay: the value as it is (it may be right elsewhere)."),
    CONF_ARG_BOOL("dry-run", struct settings, dry_run,
                  "dead replay: only print what would be appended, and where."),
    CONF_ARG_BOOL("repair", struct settings, repair,
                  "reconcile: rebuild the partitions that differ from MySQL."),
    CONF_ARG_BOOL("trim", struct settings, trim,
                  "archive: delete what the log and the outcomes no longer need to keep."),
    CONF_ARG_INT("upto", struct settings, upto, -1, -1, 9007199254740991,
                 "archive --trim --partition=N: keep the record at this offset and what follows; "
                 "-1: all that Redis and MySQL have passed may go."),
    CONF_OPTIONS_END,
};

static const struct conf_group groups[] = {
    {options_log, offsetof(struct settings, log)},
    {options_kafka, offsetof(struct settings, kafka)},
    {options_redis, offsetof(struct settings, redis)},
    {options_mysql, offsetof(struct settings, mysql)},
    {options_metrics, offsetof(struct settings, metrics)},
    {own, 0},
    {NULL, 0},
};

static bool check_settings(const void *settings, struct err *err)
{
    const struct settings *s = settings;

    return s->partition < s->kafka.partitions ||
           err_set(err, ERR_FATAL, "--partition=%" PRId64 ": there are %" PRId64, s->partition,
                   s->kafka.partitions);
}

const struct conf_spec settings_spec = {
    .program = "guardian",
    .binary = "seckill-guardian",
    .summary = "keeps the record of every order in MySQL, and finds disagreement with Redis",
    .usage =
        "  seckill-guardian               the daemon: outcomes into MySQL, exactly once\n"
        "  seckill-guardian migrate       brings the database's schema up to this build's\n"
        "  seckill-guardian reconcile     compares Redis and MySQL while traffic runs\n"
        "  seckill-guardian verify        refolds the log and compares Redis and MySQL with it\n"
        "  seckill-guardian explain ORDER one order's life in the log, Redis and MySQL\n"
        "  seckill-guardian dead list     records that nobody could process, as PARTITION:OFFSET\n"
        "  seckill-guardian dead show PARTITION:OFFSET\n"
        "  seckill-guardian dead replay PARTITION:OFFSET   appends it anew, corrected\n"
        "  seckill-guardian rebuild       puts Redis at MySQL's position\n"
        "  seckill-guardian archive       lets the log forget what MySQL has (--trim)\n"
        "\n"
        "Exit status of the daemon: 0 drained, 1 could not start, 2 failed, 3 a partition is\n"
        "halted.  Of reconcile and verify: 0 clean, 1 differences, 2 could not check.  Of explain:\n"
        "0 Redis and MySQL agree, 1 not, or nobody knows it, 2 could not ask all.\n"
        "Of dead: 0 done, 1 not found, still malformed or refused, 2 could not or unknown.\n"
        "Of rebuild and archive: 0 done, 1 refused, 2 could not; rebuild 3 another one took over.\n"
        "Of migrate: 0 done, 1 could not.  Of each command: 64 wrong usage or settings.\n",
    .groups = groups,
    .family = &options_family,
    .check = check_settings,
};

struct db_settings settings_db(const struct settings *settings)
{
    return (struct db_settings){
        .host = settings->mysql.host,
        .user = settings->mysql.user,
        .password = settings->mysql.password,
        .database = settings->mysql.database,
        .port = (int)settings->mysql.port,
        .timeout_ms = settings->mysql_timeout_ms,
        .answer_ms = settings->mysql_scan_ms,
    };
}

struct kafka_settings settings_kafka(const struct settings *settings)
{
    struct kafka_settings kafka = {
        .brokers = settings->kafka.brokers,
        .client_id = "seckill-guardian",
    };

    kafka.native = conf_kafka(settings->conf, &kafka.n_native);
    return kafka;
}
