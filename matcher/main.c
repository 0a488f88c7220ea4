/*
 * seckill-matcher: reads its settings, checks the topics, runs the loop.
 */
#include <event2/event.h>
#include <stdio.h>
#include <time.h>

#include "common/admin.h"
#include "common/clock.h"
#include "common/conf.h"
#include "common/daemon.h"
#include "common/kafka.h"
#include "common/log.h"
#include "common/stats.h"
#include "common/version.h"
#include "matcher/matcher.h"
#include "matcher/settings.h"

enum {
    CHECK_TIMEOUT_MS = 5000,
    CHECK_AGAIN_MS = 500,
    ENDING_TIMEOUT_MS = 3000,
};

/* What lives as long as the program. */
struct program {
    struct settings settings;
    struct kafka_settings kafka;
    struct event_base *base;
    struct daemon *daemon;
    struct matcher *matcher;
    struct stats *stats;
    struct admin *admin;
    bool was_ready;
};

static void on_drain(const char *why ATTR_UNUSED, void *arg)
{
    struct program *p = arg;

    if (p->matcher != NULL) {
        matcher_drain(p->matcher);
    } else {
        daemon_leave(p->daemon, DAEMON_EXIT_OK);
    }
}

static void on_drained(void *arg)
{
    struct program *p = arg;

    daemon_leave(p->daemon, matcher_has_halted(p->matcher) ? DAEMON_EXIT_HALTED : DAEMON_EXIT_OK);
}

static void on_all_halted(void *arg)
{
    struct program *p = arg;

    daemon_drain(p->daemon, "all partitions are halted");
}

static void on_failed(const char *why, void *arg)
{
    struct program *p = arg;

    log_error("program.failed", LOG_STR("error", why));
    daemon_leave(p->daemon, p->was_ready ? DAEMON_EXIT_FATAL : DAEMON_EXIT_START);
}

static void on_ready(void *arg)
{
    struct program *p = arg;

    p->was_ready = true;
    daemon_ready(p->daemon);
}

static void on_check(struct admin_report *report, void *arg)
{
    struct program *p = arg;

    matcher_check(p->matcher, report);
}

/* Blocks: nothing else can be done before the topics are there. */
static bool wait_for_topics(const struct program *p, struct err *err)
{
    const struct options_kafka *k = &p->settings.kafka;
    const struct timespec pause = {.tv_nsec = CHECK_AGAIN_MS * 1000000L};
    const struct kafka_topic topics[] = {
        {k->topic_orders, (int)k->partitions, (int)k->replicas_min, true, true},
        {k->topic_outcomes, (int)k->partitions, (int)k->replicas_min, false, true},
        {k->topic_dead, (int)k->partitions, (int)k->replicas_min, false, false},
    };
    const int64_t until_ms = clock_mono_ms() + p->settings.start_ms;

    while (!kafka_check_topics(&p->kafka, topics, 3, CHECK_TIMEOUT_MS, NULL, err)) {
        if (err->kind != ERR_RETRY || clock_mono_ms() >= until_ms) {
            return false;
        }
        log_limited(LOG_LEVEL_WARN, "topics.awaited", LOG_ERR(err));
        (void)nanosleep(&pause, NULL); /* an early return only asks sooner */
    }
    return true;
}

static bool start(struct program *p, struct err *err)
{
    const struct matcher_calls calls = {.all_halted = on_all_halted,
                                        .failed = on_failed,
                                        .drained = on_drained,
                                        .ready = on_ready,
                                        .arg = p};

    if (!wait_for_topics(p, err)) {
        return false;
    }
    p->base = event_base_new();
    if (p->base == NULL) {
        return err_set(err, ERR_FATAL, "libevent: no event base");
    }
    p->daemon = daemon_create(p->base, p->settings.drain_ms, on_drain, p, err);
    if (p->daemon == NULL) {
        return false;
    }
    p->stats = stats_create("matcher", NULL, 0);
    p->matcher = matcher_create(p->base, &p->settings, &p->kafka, &calls, err);
    if (p->matcher == NULL) {
        return false;
    }
    matcher_register(p->matcher, p->stats);
    if (p->settings.metrics.listen[0] != '\0') {
        p->admin = admin_create(p->base, p->settings.metrics.listen, p->stats, on_check, p, err);
        return p->admin != NULL;
    }
    return true;
}

static void end(struct program *p)
{
    admin_destroy(p->admin);
    matcher_destroy(p->matcher);
    stats_destroy(p->stats);
    daemon_destroy(p->daemon);
    if (!kafka_wait_ended(ENDING_TIMEOUT_MS)) {
        log_warn("kafka.ends_slowly");
    }
    if (p->base != NULL) {
        event_base_free(p->base);
    }
}

static int run(struct program *p)
{
    struct err err = {0};
    int status = DAEMON_EXIT_START;

    if (!start(p, &err)) {
        log_error("program.failed", LOG_ERR(&err));
    } else if (event_base_dispatch(p->base) < 0) {
        log_error("program.failed", LOG_STR("error", "libevent: the loop failed"));
        status = DAEMON_EXIT_FATAL;
    } else {
        status = (int)daemon_status(p->daemon);
        if (status != DAEMON_EXIT_START && matcher_has_halted(p->matcher)) {
            status = DAEMON_EXIT_HALTED;
        }
    }
    end(p);
    return status;
}

int main(int argc, char **argv)
{
    struct program program = {.was_ready = false};
    struct conf *conf = conf_create(&settings_spec, &program.settings);
    size_t n_words = 0;
    int status = DAEMON_EXIT_START;

    if (!daemon_configure(conf, argc, argv, &status)) {
        return status;
    }
    log_init("matcher", (enum log_level)program.settings.log.level,
             (enum log_format)program.settings.log.format);
    (void)conf_arguments(conf, &n_words);
    if (n_words > 0) {
        (void)fprintf(stderr, "seckill-matcher: takes no words; see --help\n");
    } else {
        version_log();
        conf_log(conf);
        program.kafka.brokers = program.settings.kafka.brokers;
        program.kafka.client_id = "seckill-matcher";
        program.kafka.native = conf_kafka(conf, &program.kafka.n_native);
        status = run(&program);
    }
    log_flush();
    conf_destroy(conf);
    return status;
}
