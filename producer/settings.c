#include "producer/settings.h"

#include <stddef.h>
#include <stdlib.h>

#include "common/hash.h"

enum {
    FRESH_MS = 1000,   /* the gates may refuse by knowledge this old */
    SILENCE_MS = 3000, /* three look-ups without an answer */
};

static const struct conf_option own[] = {
    CONF_STRING("listen", struct settings, listen, "127.0.0.1:8080", NULL,
                "Address of the HTTP door; port 0 lets the kernel choose."),
    CONF_BOOL("listen-shared", struct settings, is_port_shared, true,
              "Several producers may listen at one port (SO_REUSEPORT): one process per core."),
    CONF_INT(
        "http-threads", struct settings, http_threads, 0, 0, 64,
        "Threads that do nothing but HTTP, beside the one of the orders; 0: it does that too."),
    CONF_TEXT("trusted-proxies", struct settings, trusted_proxies, "", NULL,
              "Proxies whose X-Forwarded-For is believed: addresses or prefixes, comma-separated."),
    CONF_TEXT("token-issuer", struct settings, token_issuer, "", NULL,
              "What `iss` of a token must be; empty: anything."),
    CONF_TEXT("token-audience", struct settings, token_audience, "", NULL,
              "What `aud` of a token must be or contain; empty: anything."),
    CONF_MS("token-leeway", struct settings, token_leeway_ms, "5s", 0,
            JWT_LEEWAY_MAX_S *(int64_t)1000,
            "How far the issuer's clock may be off; whole seconds."),
    CONF_INT("token-cache-max", struct settings, token_cache_max, 65536, 0, JWT_CACHED_MAX,
             "Good tokens remembered, so that they need not be verified again; 640 bytes each."),
    CONF_INT("connections-max", struct settings, connections_max, 20000, 1, 1000000,
             "Connections at once; when full, an idle one makes room, else 503."),
    CONF_INT("connections-per-ip", struct settings, connections_per_ip, 10000, 0, 1000000,
             "Connections at once from one address (IPv6: one /64); 0 is off."),
    CONF_INT("listen-backlog", struct settings, backlog, 4096, 1, 65535,
             "Connections that the kernel may hold until they are accepted."),
    CONF_MS("header-timeout", struct settings, header_ms, "10s", 100, 600000,
            "Longest time from a request's first byte to the end of its head."),
    CONF_MS("body-timeout", struct settings, body_ms, "10s", 100, 600000,
            "Longest time from there to the last byte of its body."),
    CONF_MS("write-timeout", struct settings, write_ms, "20s", 100, 600000,
            "Longest time for a client to take its answer."),
    CONF_MS("idle-timeout", struct settings, idle_ms, "60s", 100, 3600000,
            "Longest time between two requests of a connection."),
    CONF_INT("rate-global", struct settings, rate_all, 50000, 0, 10000000,
             "Orders per second let in by this process, 503 beyond; 0 is off."),
    CONF_INT("burst-global", struct settings, burst_all, 50000, 1, 10000000,
             "So many of them at once."),
    CONF_ENUM("limiter", struct settings, limiter, "steady", limiter_preset_names,
              "Lets fewer new orders in, 503 beyond, while Kafka or decisions are slow."),
    CONF_TEXT(
        "limiter-observer", struct settings, limiter_observer, "", NULL,
        "Named pipe in which an observer tells the limiter what it sees; empty: nobody does."),
    CONF_INT("rate-item", struct settings, rate_item, 20000, 0, 10000000,
             "Orders per second for one item, 503 beyond; 0 is off."),
    CONF_INT("burst-item", struct settings, burst_item, 20000, 1, 10000000,
             "So many of them at once."),
    CONF_INT("rate-user", struct settings, rate_user, 20, 0, 1000000,
             "Requests per second of one user, 429 beyond; 0 is off."),
    CONF_INT("burst-user", struct settings, burst_user, 60, 1, 1000000, "So many of them at once."),
    CONF_INT("rate-ip", struct settings, rate_ip, 2000, 0, 1000000,
             "Requests per second from one address (IPv6: one /64), 429 beyond; 0 is off."),
    CONF_INT("burst-ip", struct settings, burst_ip, 4000, 1, 1000000, "So many of them at once."),
    CONF_INT("rate-keys-max", struct settings, rate_keys_max, 65536, 64, 16777216,
             "Users, addresses and items whose rate is remembered, each."),
    CONF_MS("wait-max", struct settings, wait_max_ms, "30s", 0, 60000,
            "Longest wait that Prefer: wait gets."),
    CONF_MS("send-timeout", struct settings, send_timeout_ms, "10s", 1000, 120000,
            "When a command that Kafka has not acknowledged is answered 504 unknown."),
    CONF_MS("patience", struct settings, patience_ms, "60s", 1000, 86400000,
            "How old an order may be when it is decided; beyond, it is rejected as timed_out."),
    CONF_INT("calls-max", struct settings, calls_max, 65536, 16, 4194304,
             "Requests being worked on at once, waiting ones included."),
    CONF_INT("inflight-max", struct settings, inflight_max, 65536, 16, 4194304,
             "Commands taken and not yet settled by Kafka; 503 queue_full beyond."),
    CONF_INT("waiters-max", struct settings, waiters_max, 65536, 1, 4194304,
             "Requests that wait for a decision at once; 503 queue_full beyond."),
    CONF_INT("items-max", struct settings, items_max, 8192, 16, 1048576,
             "Items whose state is remembered here to refuse early."),
    CONF_INT("lag-max", struct settings, lag_max, 200000, 1, 1000000000,
             "Records placed and not yet decided in a partition; 503 lagging beyond."),
    CONF_MS("linger-min", struct settings, linger_min_ms, "0ms", 0, 1000,
            "How long a lone command waits for company on its way to Kafka."),
    CONF_MS("linger-max", struct settings, linger_max_ms, "10ms", 0, 1000,
            "How long at most: a millisecond for each 400 commands per second."),
    CONF_INT("publish-batch", struct settings, publish_batch, 500, 1, 10000,
             "Commands of a partition that are company enough."),
    CONF_INT("publish-queue-max", struct settings, publish_queue_max, 32768, 16, 1048576,
             "Commands waiting to be handed to Kafka; 503 queue_full beyond."),
    CONF_INT("publish-rate", struct settings, publish_rate, 100000, 0, 10000000,
             "Commands per second handed to Kafka at most; the rest wait; 0 is off."),
    CONF_MS("redis-timeout", struct settings, redis_timeout_ms, "2s", 50, 60000,
            "Longest wait for Redis to connect or to answer."),
    CONF_MS("mysql-timeout", struct settings, mysql_timeout_ms, "3s", 1000, 60000,
            "Longest wait for MySQL to connect or to answer, and in line for it; whole seconds."),
    CONF_INT("mysql-threads", struct settings, mysql_threads, 2, 1, 64,
             "Threads, each with a connection, that look up old orders."),
    CONF_INT("mysql-queue-max", struct settings, mysql_queue_max, 256, 1, 65536,
             "Questions to MySQL at once; 503 queue_full beyond."),
    CONF_MS("drain-timeout", struct settings, drain_ms, "20s", 100, 3600000,
            "Longest time to finish what is there after a signal; the end comes seconds later."),
    CONF_OPTIONS_END,
};

static const struct conf_group groups[] = {
    {options_log, offsetof(struct settings, log)},
    {options_kafka, offsetof(struct settings, kafka)},
    {options_redis, offsetof(struct settings, redis)},
    {options_mysql, offsetof(struct settings, mysql)},
    {options_token, offsetof(struct settings, token)},
    {options_metrics, offsetof(struct settings, metrics)},
    {own, 0},
    {NULL, 0},
};

static bool check(const void *settings, struct err *err)
{
    const struct settings *s = settings;
    struct proxies proxies;

    if (slice_str(s->token.secret).len < JWT_SECRET_MIN) {
        return err_set(err, ERR_FATAL, "token-secret is needed, with at least %d bytes",
                       JWT_SECRET_MIN);
    }
    if (s->linger_min_ms > s->linger_max_ms) {
        return err_set(err, ERR_FATAL, "linger-min is above linger-max");
    }
    if (s->inflight_max < s->publish_queue_max) {
        return err_set(err, ERR_FATAL,
                       "inflight-max is below publish-queue-max: it counts those too");
    }
    if (s->http_threads > 1 && !s->is_port_shared) {
        return err_set(err, ERR_FATAL,
                       "http-threads = %d needs listen-shared: each thread listens at the port",
                       (int)s->http_threads);
    }
    return proxies_parse(&proxies, s->trusted_proxies, err);
}

const struct conf_spec settings_spec = {
    .program = "producer",
    .binary = "seckill-producer",
    .summary = "takes orders, payments and cancels over HTTP, puts them into the log, and tells "
               "what became of them",
    .groups = groups,
    .family = &options_family,
    .check = check,
};

void settings_calls(const struct settings *s, struct calls_settings *calls)
{
    *calls = (struct calls_settings){
        .topics = s->kafka,
        .redis = s->redis,
        .mysql = s->mysql,
        .door =
            {
                .partitions = (int)s->kafka.partitions,
                .items_max = (size_t)s->items_max,
                .fresh_ms = FRESH_MS,
                .silence_ms = SILENCE_MS,
                .lag_max = s->lag_max,
                .rates =
                    {
                        .rates =
                            {
                                [BUCKET_IP] = {s->rate_ip, s->burst_ip},
                                [BUCKET_USER] = {s->rate_user, s->burst_user},
                                [BUCKET_ITEM] = {s->rate_item, s->burst_item},
                                [BUCKET_GLOBAL] = {s->rate_all, s->burst_all},
                            },
                        .keys_max = (size_t)s->rate_keys_max,
                        .seed = hash_seed(),
                    },
                .limiter = (enum limiter_preset)s->limiter,
                .seed = arc4random(),
            },
        .calls_max = s->calls_max,
        .inflight_max = s->inflight_max,
        .waiters_max = s->waiters_max,
        .send_timeout_ms = s->send_timeout_ms,
        .patience_ms = s->patience_ms,
        .redis_timeout_ms = s->redis_timeout_ms,
        .mysql_timeout_ms = s->mysql_timeout_ms,
        .mysql_threads = s->mysql_threads,
        .mysql_queue_max = s->mysql_queue_max,
        .linger_min_ms = s->linger_min_ms,
        .linger_max_ms = s->linger_max_ms,
        .publish_batch = s->publish_batch,
        .publish_queue_max = s->publish_queue_max,
        .publish_rate = s->publish_rate,
        .secret = slice_str(s->token.secret),
    };
}

void settings_front(const struct settings *s, struct front_settings *front)
{
    *front = (struct front_settings){
        .threads = (size_t)s->http_threads,
        .requests_max = (size_t)s->calls_max,
        .jwt =
            {
                .secret = slice_str(s->token.secret),
                .issuer = s->token_issuer,
                .audience = s->token_audience,
                .leeway_s = s->token_leeway_ms / 1000,
                .cached_max = (size_t)s->token_cache_max,
            },
        .routes =
            {
                .secret = slice_str(s->token.secret),
                .partitions = (int)s->kafka.partitions,
                .wait_max_ms = s->wait_max_ms,
            },
    };
    http_settings_init(&front->http);
    front->http.listen = s->listen;
    front->http.is_port_shared = s->is_port_shared;
    front->http.backlog = (int)s->backlog;
    front->http.connections_max = (size_t)s->connections_max;
    front->http.connections_per_ip_max = (size_t)s->connections_per_ip;
    front->http.limits.body_bytes = INPUT_BODY_MAX;
    front->http.header_ms = s->header_ms;
    front->http.body_ms = s->body_ms;
    front->http.write_ms = s->write_ms;
    front->http.idle_ms = s->idle_ms;
}
