/*
 * settings.h - the producer's options; see settings.c for each one's meaning.
 */
#ifndef PRODUCER_SETTINGS_H
#define PRODUCER_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/conf.h"
#include "common/options.h"
#include "producer/calls.h"
#include "producer/front.h"

struct settings {
    struct options_log log;
    struct options_kafka kafka;
    struct options_redis redis;
    struct options_mysql mysql;
    struct options_token token;
    struct options_metrics metrics;

    const char *token_issuer, *token_audience;
    int64_t token_leeway_ms, token_cache_max;

    const char *listen;
    bool is_port_shared;
    int64_t http_threads;
    const char *trusted_proxies;
    int64_t connections_max, connections_per_ip, backlog;
    int64_t header_ms, body_ms, write_ms, idle_ms;

    int limiter; /* enum limiter_preset */
    const char *limiter_observer;
    int64_t rate_all, burst_all;
    int64_t rate_item, burst_item;
    int64_t rate_user, burst_user;
    int64_t rate_ip, burst_ip;
    int64_t rate_keys_max;

    int64_t wait_max_ms, send_timeout_ms, patience_ms;
    int64_t calls_max, inflight_max, waiters_max, items_max, lag_max;
    int64_t linger_min_ms, linger_max_ms;
    int64_t publish_batch, publish_queue_max, publish_rate;
    int64_t redis_timeout_ms;
    int64_t mysql_timeout_ms, mysql_threads, mysql_queue_max;
    int64_t drain_ms;
};

extern const struct conf_spec settings_spec;

/* What the parts want, from the settings; nothing is copied. */
void settings_calls(const struct settings *s, struct calls_settings *calls);
void settings_front(const struct settings *s, struct front_settings *front);

#endif /* PRODUCER_SETTINGS_H */
