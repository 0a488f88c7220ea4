#include "matcher/settings.h"

static const struct conf_option own[] = {
    CONF_STRING("group-id", struct settings, group_id, "seckill-matcher", NULL,
                "Consumer group that shares the partitions among matchers; it keeps no positions."),
    CONF_TEXT("instance-id", struct settings, instance_id, "", NULL,
              "Name of this process in the group, for restarts without a rebalance; empty: none."),
    CONF_MS("session-timeout", struct settings, session_timeout_ms, "10s", 1000, 300000,
            "How long the group waits for a matcher that is silent."),
    CONF_MS("linger", struct settings, linger_ms, "2ms", 0, 1000,
            "How long outcomes wait in the producer for company."),
    CONF_MS("redis-timeout", struct settings, redis_timeout_ms, "5s", 100, 600000,
            "Longest wait for Redis to connect or to answer; then the same batch is sent again."),
    CONF_INT("batch-max", struct settings, batch_max, 512, 1, 4000,
             "Most commands per script; Redis serves nobody else while one runs."),
    CONF_INT("queue-max", struct settings, queue_max, 4096, 1, 1000000,
             "Most commands read ahead per partition."),
    CONF_INT("unacked-max", struct settings, unacked_max, 32768, 1, 1000000,
             "Most outcomes per partition that Kafka has not acknowledged; then applying waits."),
    CONF_INT("outbox-max", struct settings, outbox_max, 256, 1, 100000,
             "Most batches per partition whose outcomes are not all acknowledged, kept in Redis."),
    CONF_INT("remembered-max", struct settings, remembered_max, 10000000, 1, 1000000000000,
             "Most orders and payments remembered per partition; then it waits for an operator."),
    CONF_MS("clock-skew-max", struct settings, clock_skew_max_ms, "60s", 1000, 86400000,
            "A record this far ahead of our clock halts its partition."),
    CONF_MS("tick-min", struct settings, tick_min_ms, "250ms", 50, 60000,
            "Shortest time between two ticks of a partition without traffic."),
    CONF_MS("tick-max", struct settings, tick_max_ms, "5s", 50, 600000,
            "Longest time between two ticks while they change nothing."),
    CONF_MS("idle-check", struct settings, idle_ms, "1s", 100, 60000,
            "How often an idle partition is compared with Redis."),
    CONF_MS("start-timeout", struct settings, start_ms, "60s", 100, 3600000,
            "How long to wait for Kafka and the topics when starting."),
    CONF_MS("drain-timeout", struct settings, drain_ms, "15s", 100, 3600000,
            "Longest time to finish what is there after a signal; the end comes seconds later."),
    CONF_OPTIONS_END,
};

static const struct conf_group groups[] = {
    {options_log, offsetof(struct settings, log)},
    {options_kafka, offsetof(struct settings, kafka)},
    {options_redis, offsetof(struct settings, redis)},
    {options_metrics, offsetof(struct settings, metrics)},
    {own, 0},
    {NULL, 0},
};

static bool check(const void *values, struct err *err)
{
    const struct settings *settings = values;

    if (settings->tick_max_ms < settings->tick_min_ms) {
        return err_set(err, ERR_FATAL, "tick-max is below tick-min");
    }
    return true;
}

const struct conf_spec settings_spec = {
    .program = "matcher",
    .binary = "seckill-matcher",
    .summary = "decides every order: applies the log to Redis, in order, and tells the outcomes",
    .usage = "  seckill-matcher                run any number of them; they share the partitions\n"
             "\n"
             "Exit status: 0 drained, 1 could not start, 2 failed, 3 a partition is halted.\n",
    .groups = groups,
    .family = &options_family,
    .check = check,
};
