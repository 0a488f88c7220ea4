/*
 * seckill-producer: start, run, drain, stop.
 */
#include <event2/event.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/daemon.h"
#include "common/kafka.h"
#include "common/log.h"
#include "common/stats.h"
#include "common/version.h"
#include "producer/calls.h"
#include "producer/counters.h"
#include "producer/http.h"
#include "producer/observer.h"
#include "producer/routes.h"
#include "producer/settings.h"

enum {
    CHECK_MS = 5000,      /* for the topics to answer, per attempt */
    POLL_MS = 20,         /* how often the start looks whether it is over */
    WAIT_GRACE_MS = 2000, /* of a drain: so long may waiting requests still wait */
    KAFKA_END_MS = 3000,  /* for the Kafka clients' threads to end */
};

struct program {
    struct settings settings;
    struct conf *conf;
    struct kafka_settings kafka;
    struct event_base *base;
    struct daemon *daemon;
    struct stats *stats;
    struct calls *calls;
    struct observer *observer;
    struct jwt *jwt;
    struct routes *routes;
    struct http *http;
    struct event *poll;
    bool is_drained;
};

/* Every client is answered; what was taken and is not settled yet still gets its time. */
static void on_drained(void *arg)
{
    struct program *p = arg;

    p->is_drained = true;
}

static void on_drain(const char *why, void *arg)
{
    struct program *p = arg;

    (void)why;
    calls_drain(p->calls, WAIT_GRACE_MS);
    http_drain(p->http, p->settings.drain_ms, on_drained, p);
}

static void on_poll(evutil_socket_t fd, short what, void *arg)
{
    struct program *p = arg;

    (void)fd;
    (void)what;
    if (calls_has_been_ready(p->calls)) {
        daemon_ready(p->daemon);
    }
    if (p->is_drained && calls_pending(p->calls) == 0) {
        daemon_leave(p->daemon, DAEMON_EXIT_OK);
    }
}

/* Waits for the topics: a door without them can do nothing, so it does not open. */
static bool check_topics(struct program *p, struct err *err)
{
    const struct options_kafka *o = &p->settings.kafka;
    const struct kafka_topic topics[] = {
        {o->topic_orders, (int)o->partitions, (int)o->replicas_min, true},
        {o->topic_outcomes, (int)o->partitions, (int)o->replicas_min, true},
    };

    return kafka_check_topics(&p->kafka, topics, sizeof(topics) / sizeof(topics[0]), CHECK_MS, NULL,
                              err);
}

static bool start(struct program *p, struct err *err)
{
    const struct timeval every = {0, POLL_MS * (suseconds_t)1000};
    struct calls_settings calls;
    struct http_settings http;
    struct jwt_settings jwt;
    struct routes_settings routes = {
        .partitions = (int)p->settings.kafka.partitions,
        .wait_max_ms = p->settings.wait_max_ms,
    };

    p->kafka = (struct kafka_settings){
        .brokers = p->settings.kafka.brokers,
        .client_id = "seckill-producer",
    };
    p->kafka.native = conf_kafka(p->conf, &p->kafka.n_native);
    p->base = event_base_new();
    if (p->base == NULL) {
        return err_set(err, ERR_FATAL, "no event loop");
    }
    p->daemon = daemon_create(p->base, p->settings.drain_ms + WAIT_GRACE_MS, on_drain, p, err);
    if (p->daemon == NULL || !check_topics(p, err)) {
        return false;
    }
    p->stats = stats_create("producer", counters_rows, STAT_COUNT);
    settings_calls(&p->settings, &calls);
    calls.kafka = &p->kafka;
    calls.stats = p->stats;
    p->calls = calls_create(p->base, &calls, err);
    if (p->calls == NULL) {
        return false;
    }
    if (p->settings.limiter_observer[0] != '\0') {
        p->observer = observer_create(p->base, p->settings.limiter_observer, calls_door(p->calls),
                                      p->stats, err);
        if (p->observer == NULL) {
            return false;
        }
    }
    routes.calls = p->calls;
    routes.stats = p->stats;
    if (!proxies_parse(&routes.proxies, p->settings.trusted_proxies, err)) {
        return false;
    }
    settings_jwt(&p->settings, &jwt);
    p->jwt = jwt_create(&jwt, err);
    if (p->jwt == NULL) {
        return false;
    }
    routes.jwt = p->jwt;
    p->routes = routes_create(&routes);
    settings_http(&p->settings, &http);
    http.stats = p->stats;
    p->http = http_create(p->base, &http, routes_handle, p->routes, err);
    if (p->http == NULL) {
        return false;
    }
    p->poll = event_new(p->base, -1, EV_PERSIST, on_poll, p);
    if (p->poll == NULL || event_add(p->poll, &every) != 0) {
        return err_set(err, ERR_FATAL, "no timer");
    }
    return true;
}

static int stop(struct program *p, int status)
{
    if (p->poll != NULL) {
        event_free(p->poll);
    }
    /* Answers may still go out while the calls end, so the server outlives them. */
    observer_destroy(p->observer);
    calls_destroy(p->calls);
    http_destroy(p->http);
    routes_destroy(p->routes);
    jwt_destroy(p->jwt);
    if (!kafka_wait_ended(KAFKA_END_MS)) {
        log_warn("kafka.still_ending");
    }
    stats_destroy(p->stats);
    daemon_destroy(p->daemon);
    if (p->base != NULL) {
        event_base_free(p->base);
    }
    log_flush();
    return status;
}

int main(int argc, char **argv)
{
    static struct program p;
    struct err err = {0};
    int status = DAEMON_EXIT_START;

    p.conf = conf_create(&settings_spec, &p.settings);
    if (!daemon_configure(p.conf, argc, argv, &status)) {
        return status;
    }
    log_init("producer", (enum log_level)p.settings.log.level,
             (enum log_format)p.settings.log.format);
    version_log();
    conf_log(p.conf);
    if (start(&p, &err)) {
        log_info("http.listening", LOG_STR("listen", p.settings.listen),
                 LOG_INT("port", http_port(p.http)));
        if (event_base_dispatch(p.base) < 0) {
            log_error("program.loop_failed");
        }
        status = (int)daemon_status(p.daemon);
    } else {
        log_error("program.failed", LOG_ERR(&err));
    }
    status = stop(&p, status);
    conf_destroy(p.conf);
    return status;
}
