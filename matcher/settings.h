/*
 * settings.h - the matcher's options.
 */
#ifndef MATCHER_SETTINGS_H
#define MATCHER_SETTINGS_H

#include <stdint.h>

#include "common/conf.h"
#include "common/options.h"

struct settings {
    struct options_log log;
    struct options_kafka kafka;
    struct options_redis redis;
    struct options_metrics metrics;

    const char *group_id;
    const char *instance_id;
    int64_t session_timeout_ms;
    int64_t linger_ms;
    int64_t redis_timeout_ms;
    int64_t batch_max, queue_max, unacked_max;
    int64_t outbox_max, remembered_max;
    int64_t clock_skew_max_ms;
    int64_t tick_min_ms, tick_max_ms;
    int64_t idle_ms;
    int64_t start_ms, drain_ms;
};

extern const struct conf_spec settings_spec;

#endif /* MATCHER_SETTINGS_H */
