/*
 * seckill-producer: start, run, drain, stop.
 */
#include <event2/event.h>
#include <stdio.h>

#include "common/admin.h"
#include "common/clock.h"
#include "common/conf.h"
#include "common/daemon.h"
#include "common/kafka.h"
#include "common/log.h"
#include "common/stats.h"
#include "common/version.h"
#include "producer/calls.h"
#include "producer/counters.h"
#include "producer/desk.h"
#include "producer/front.h"
#include "producer/observer.h"
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
    struct desk *desk;
    struct front *front;
    struct admin *admin;
    struct event *poll;
};

static void on_drain(const char *why, void *arg)
{
    struct program *p = arg;

    (void)why;
    calls_drain(p->calls, WAIT_GRACE_MS);
    front_drain(p->front, p->settings.drain_ms);
}

static void on_poll(evutil_socket_t fd, short what, void *arg)
{
    struct program *p = arg;

    (void)fd;
    (void)what;
    if (calls_has_been_ready(p->calls)) {
        daemon_ready(p->daemon);
    }
    /* Every client is answered; what was taken and is not settled yet still gets its time. */
    if (front_is_drained(p->front) && calls_pending(p->calls) == 0) {
        daemon_leave(p->daemon, DAEMON_EXIT_OK);
    }
}

/* Waits for the topics: a door without them can do nothing, so it does not open. */
static bool check_topics(struct program *p, struct err *err)
{
    const struct options_kafka *o = &p->settings.kafka;
    const struct kafka_topic topics[] = {
        {o->topic_orders, (int)o->partitions, (int)o->replicas_min, true, true},
        {o->topic_outcomes, (int)o->partitions, (int)o->replicas_min, true, true},
    };

    return kafka_check_topics(&p->kafka, topics, sizeof(topics) / sizeof(topics[0]), CHECK_MS, NULL,
                              err);
}

static bool start(struct program *p, struct err *err)
{
    const struct timeval every = {0, POLL_MS * (suseconds_t)1000};
    struct calls_settings calls;
    struct front_settings front;

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
    p->desk = desk_create(p->calls, p->stats);
    settings_front(&p->settings, &front);
    front.http.stats = front.routes.stats = p->stats;
    front.routes.take = desk_take;
    front.routes.take_arg = p->desk;
    if (!proxies_parse(&front.routes.proxies, p->settings.trusted_proxies, err)) {
        return false;
    }
    p->front = front_create(p->base, &front, err);
    if (p->front == NULL) {
        return false;
    }
    if (p->settings.metrics.listen[0] != '\0') {
        p->admin =
            admin_create(p->base, p->settings.metrics.listen, p->stats, calls_ready, p->calls, err);
        if (p->admin == NULL) {
            return false;
        }
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
    admin_destroy(p->admin);
    observer_destroy(p->observer);
    /* Answers may still go out while the calls end, so the servers outlive them. */
    calls_destroy(p->calls);
    front_destroy(p->front);
    desk_destroy(p->desk);
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
                 LOG_INT("port", front_port(p.front)), LOG_INT("threads", p.settings.http_threads));
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
