#include "common/options.h"

#include "common/log.h"

const struct conf_option options_log[] = {
    CONF_ENUM("log-level", struct options_log, level, "info", log_level_names,
              "Least important lines shown; SIGUSR1 switches debug on and off."),
    CONF_ENUM("log-format", struct options_log, format, "text", log_format_names,
              "Log lines as key=value text or as JSON objects."),
    CONF_OPTIONS_END,
};

const struct conf_option options_kafka[] = {
    CONF_STRING("kafka-brokers", struct options_kafka, brokers, "127.0.0.1:9092", "KAFKA_BROKERS",
                "Brokers to ask first: host:port, comma-separated."),
    CONF_STRING("topic-orders", struct options_kafka, topic_orders, "seckill.orders", NULL,
                "Topic of the commands."),
    CONF_STRING("topic-outcomes", struct options_kafka, topic_outcomes, "seckill.outcomes", NULL,
                "Topic of what became of them; as many partitions as topic-orders."),
    CONF_STRING("topic-dead", struct options_kafka, topic_dead, "seckill.dead", NULL,
                "Topic for records that nobody could process."),
    CONF_INT("partitions", struct options_kafka, partitions, 4, 1, 4096,
             "Partitions of topic-orders; fixed for its life, the same for every program."),
    CONF_INT("replicas-min", struct options_kafka, replicas_min, 3, 1, 16,
             "Fewest replicas the topics may have; 1 only for development."),
    CONF_OPTIONS_END,
};

const struct conf_option options_redis[] = {
    CONF_STRING("redis-host", struct options_redis, host, "127.0.0.1", "REDIS_HOST",
                "Redis server."),
    CONF_INT_ENV("redis-port", struct options_redis, port, 6379, 1, 65535, "REDIS_PORT",
                 "Its port."),
    CONF_SECRET("redis-password", struct options_redis, password, "REDIS_PASSWORD",
                "Its password, if it wants one."),
    CONF_STRING("key-prefix", struct options_redis, key_prefix, "seckill", NULL,
                "Start of every key; one per pair of topics."),
    CONF_OPTIONS_END,
};

const struct conf_option options_mysql[] = {
    CONF_STRING("mysql-host", struct options_mysql, host, "127.0.0.1", "MYSQL_HOST",
                "MySQL or MariaDB server, reached over TCP."),
    CONF_INT_ENV("mysql-port", struct options_mysql, port, 3306, 1, 65535, "MYSQL_PORT",
                 "Its port."),
    CONF_STRING("mysql-user", struct options_mysql, user, "seckill", "MYSQL_USER",
                "Account to log in with."),
    CONF_SECRET("mysql-password", struct options_mysql, password, "MYSQL_PASSWORD",
                "Its password."),
    CONF_STRING("mysql-database", struct options_mysql, database, "seckill", "MYSQL_DATABASE",
                "Database with the tables; one per pair of topics."),
    CONF_OPTIONS_END,
};

const struct conf_option options_token[] = {
    CONF_SECRET("token-secret", struct options_token, secret, NULL,
                "Key of the HS256 bearer tokens, at least 32 bytes."),
    CONF_OPTIONS_END,
};

const struct conf_option options_metrics[] = {
    CONF_TEXT("metrics-listen", struct options_metrics, listen, "127.0.0.1:0", NULL,
              "Address for /metrics, /livez and /readyz; port 0 picks a free one, empty is off."),
    CONF_OPTIONS_END,
};

const struct conf_family options_family = {
    .programs = (const char *const[]){"producer", "matcher", "guardian", "ctl", NULL},
    .options =
        (const struct conf_option *const[]){options_log, options_kafka, options_redis,
                                            options_mysql, options_token, options_metrics, NULL},
};
