/*
 * What producer and consumer share: configuration, the check of the topics, the pump between a
 * librdkafka queue and libevent, and the end of a client.
 *
 * The pump.  librdkafka writes to the eventfd once when the queue becomes non-empty, and again only
 * after somebody polled it; a write that fails is forgotten.  So: drain the fd, then poll until the
 * queue is empty or a bound is reached, in which case the event is made active again; and poll
 * once a second in any case, which also keeps max.poll.interval.ms from running out.
 *
 * The end.  rd_kafka_destroy() joins threads and is known to hang; it runs on a thread of its own,
 * counted, so that a program can wait for it as long as it likes and no longer.
 */
#include "common/kafka.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/kafka_internal.h"
#include "common/log.h"
#include "common/xmalloc.h"

enum {
    PUMP_EVENTS = 512, /* served per turn of the loop */
    PUMP_MS = 5,       /* spent per turn of the loop, about */
    TOPICS_MAX = 8,    /* checked in one call */

    /* Of syslog, whose header has macros that collide with ours. */
    SEVERITY_ERROR = 3,
    SEVERITY_WARNING = 4,
};

struct kafka_pump {
    rd_kafka_queue_t *queue;
    struct event *event;
    int fd;
    bool is_held;
    kafka_event_fn *serve;
    void *arg; /* borrowed */
};

static pthread_mutex_t ending_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ending_less = PTHREAD_COND_INITIALIZER;
static unsigned ending; /* clients being destroyed; under ending_lock */

static bool set_property(rd_kafka_conf_t *conf, const char *name, const char *value,
                         struct err *err)
{
    char why[200];

    if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) != RD_KAFKA_CONF_OK) {
        return err_set(err, ERR_FATAL, "kafka %s: %s", name, why);
    }
    return true;
}

static bool set_all(rd_kafka_conf_t *conf, const struct kafka_property *properties, struct err *err)
{
    for (; properties->name != NULL; properties++) {
        if (!set_property(conf, properties->name, properties->value, err)) {
            return false;
        }
    }
    return true;
}

rd_kafka_conf_t *kafka_conf(const struct kafka_settings *settings, enum conf_kafka_role role,
                            const struct kafka_property *tunables,
                            const struct kafka_property *invariants, struct err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    bool ok = set_property(conf, "socket.nagle.disable", "true", err) &&
              set_property(conf, "broker.address.ttl", "1000", err) &&
              set_property(conf, "reconnect.backoff.max.ms", "2000", err) &&
              set_property(conf, "client.id", settings->client_id, err) &&
              set_all(conf, tunables, err);

    for (size_t i = 0; ok && i < settings->n_native; i++) {
        const struct conf_kafka *native = &settings->native[i];

        if (native->role == CONF_KAFKA_ANY || native->role == role) {
            ok = set_property(conf, native->name, native->value, err);
        }
    }
    ok = ok && set_property(conf, "bootstrap.servers", settings->brokers, err) &&
         set_property(conf, "log.queue", "true", err) && set_all(conf, invariants, err);
    if (!ok) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    return conf;
}

rd_kafka_t *kafka_client(rd_kafka_type_t type, rd_kafka_conf_t *conf, bool is_watched,
                         struct err *err)
{
    char why[200];
    rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof(why));

    if (rk == NULL) {
        /* librdkafka (issue 4142) may have freed its interceptors: 3 KB are given up, not freed twice. */
        if (!is_watched) {
            rd_kafka_conf_destroy(conf);
        }
        (void)err_set(err, ERR_FATAL, "kafka: %s", why);
        return NULL;
    }
    /* Cannot fail: log.queue is on and NULL means the client's own main queue. */
    (void)rd_kafka_set_log_queue(rk, NULL);
    return rk;
}

/* librdkafka calls error what we call degraded: it goes on trying. */
static void log_line(rd_kafka_event_t *event)
{
    const char *facility;
    const char *text;
    int severity;

    if (rd_kafka_event_log(event, &facility, &text, &severity) != 0) {
        return;
    }
    if (severity <= SEVERITY_ERROR) {
        log_limited(LOG_LEVEL_WARN, "kafka.trouble", LOG_STR("facility", facility),
                    LOG_STR("text", text));
    } else if (severity <= SEVERITY_WARNING) {
        log_limited(LOG_LEVEL_INFO, "kafka.notice", LOG_STR("facility", facility),
                    LOG_STR("text", text));
    } else {
        log_debug("kafka.log", LOG_STR("facility", facility), LOG_STR("text", text));
    }
}

void kafka_log_event(rd_kafka_event_t *event)
{
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_LOG) {
        log_line(event);
    } else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR) {
        log_limited(LOG_LEVEL_WARN, "kafka.unwell",
                    LOG_STR("code", rd_kafka_err2name(rd_kafka_event_error(event))),
                    LOG_STR("error", rd_kafka_event_error_string(event)));
    }
}

/* ---- the pump ---- */

static void drain_fd(int fd)
{
    uint64_t count;

    /* EAGAIN when the timer brought us here; nothing else can be done about other errors. */
    while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
}

static void pump(evutil_socket_t fd, short what ATTR_UNUSED, void *arg)
{
    struct kafka_pump *p = arg;
    const int64_t until_ms = clock_mono_ms() + PUMP_MS;

    drain_fd(fd);
    for (int n = 0; !p->is_held; n++) {
        rd_kafka_event_t *event;

        if (n >= PUMP_EVENTS || (n % 64 == 63 && clock_mono_ms() > until_ms)) {
            event_active(p->event, EV_READ, 0);
            return;
        }
        event = rd_kafka_queue_poll(p->queue, 0);
        if (event == NULL) {
            return;
        }
        p->serve(event, p->arg);
        rd_kafka_event_destroy(event);
    }
}

struct kafka_pump *kafka_pump_create(struct event_base *base, rd_kafka_queue_t *queue,
                                     kafka_event_fn *serve, void *arg, struct err *err)
{
    static const uint64_t one = 1;
    static const struct timeval second = {.tv_sec = 1};
    struct kafka_pump *p = xcalloc(1, sizeof(*p));

    p->queue = queue;
    p->serve = serve;
    p->arg = arg;
    p->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (p->fd < 0) {
        (void)err_set(err, ERR_RETRY, "eventfd: %s", strerror(errno));
        goto fail;
    }
    p->event = event_new(base, p->fd, EV_READ | EV_PERSIST, pump, p);
    if (p->event == NULL || event_add(p->event, &second) != 0) {
        (void)err_set(err, ERR_RETRY, "cannot watch a Kafka queue");
        goto fail;
    }
    rd_kafka_queue_io_event_enable(queue, p->fd, &one, sizeof(one));
    /* What came before the fd was known is told by nobody. */
    event_active(p->event, EV_READ, 0);
    return p;
fail:
    kafka_pump_destroy(p);
    return NULL;
}

void kafka_pump_destroy(struct kafka_pump *p)
{
    if (p == NULL) {
        return;
    }
    rd_kafka_queue_io_event_enable(p->queue, -1, NULL, 0);
    rd_kafka_queue_destroy(p->queue);
    if (p->event != NULL) {
        event_free(p->event);
    }
    if (p->fd >= 0) {
        (void)close(p->fd); /* an eventfd has nothing to lose */
    }
    free(p);
}

void kafka_pump_hold(struct kafka_pump *p, bool is_held)
{
    if (p->is_held && !is_held) {
        event_active(p->event, EV_READ, 0);
    }
    p->is_held = is_held;
}

/* ---- the end ---- */

struct end {
    rd_kafka_t *rk;
    void (*first)(void *arg);
    void *arg;
    void *opaque;
};

static void *end_client(void *arg)
{
    struct end *end = arg;

    if (end->first != NULL) {
        end->first(end->arg);
    }
    rd_kafka_destroy_flags(end->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    free(end->opaque);
    free(end);
    (void)pthread_mutex_lock(&ending_lock);
    ending--;
    (void)pthread_cond_broadcast(&ending_less);
    (void)pthread_mutex_unlock(&ending_lock);
    return NULL;
}

void kafka_end(rd_kafka_t *rk, void (*first)(void *arg), void *arg, void *opaque)
{
    struct end *end = xcalloc(1, sizeof(*end));
    pthread_t thread;

    end->rk = rk;
    end->first = first;
    end->arg = arg;
    end->opaque = opaque;
    (void)pthread_mutex_lock(&ending_lock);
    ending++;
    (void)pthread_mutex_unlock(&ending_lock);
    if (pthread_create(&thread, NULL, end_client, end) == 0) {
        (void)pthread_detach(thread); /* it is ours and joinable: cannot fail */
    } else {
        (void)end_client(end);
    }
}

bool kafka_wait_ended(int64_t timeout_ms)
{
    struct timespec until;
    bool all;
    int rc = 0;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_mutex_lock(&ending_lock);
    while (ending > 0 && rc == 0) {
        rc = pthread_cond_timedwait(&ending_less, &ending_lock, &until);
    }
    all = ending == 0;
    (void)pthread_mutex_unlock(&ending_lock);
    return all;
}

/* ---- the check of the topics ---- */

static const rd_kafka_metadata_topic_t *find_topic(const rd_kafka_metadata_t *md, const char *name)
{
    for (int i = 0; i < md->topic_cnt; i++) {
        if (strcmp(md->topics[i].topic, name) == 0) {
            return &md->topics[i];
        }
    }
    return NULL;
}

static bool check_shape(const rd_kafka_metadata_t *md, const struct kafka_topic *want,
                        int *partitions, struct err *err)
{
    const rd_kafka_metadata_topic_t *topic = find_topic(md, want->name);

    if (topic == NULL || topic->partition_cnt == 0) {
        return err_set(err, ERR_RETRY,
                       "topic %s does not exist: create it with `seckillctl topics create`",
                       want->name);
    }
    if (want->partitions != 0 && topic->partition_cnt != want->partitions) {
        return err_set(err, ERR_FATAL, "topic %s has %d partitions, not %d", want->name,
                       topic->partition_cnt, want->partitions);
    }
    for (int i = 0; i < topic->partition_cnt; i++) {
        if (topic->partitions[i].replica_cnt < want->replicas_min) {
            return err_set(err, ERR_FATAL,
                           "topic %s partition %d has %d replicas; replicas-min asks for %d",
                           want->name, topic->partitions[i].id, topic->partitions[i].replica_cnt,
                           want->replicas_min);
        }
    }
    *partitions = topic->partition_cnt;
    return true;
}

static bool check_property(const struct kafka_topic *want, const char *name, const char *value,
                           struct err *err)
{
    if (strcmp(name, "message.timestamp.type") == 0 && want->is_log_append_time &&
        strcmp(value, "LogAppendTime") != 0) {
        return err_set(err, ERR_FATAL, "topic %s has message.timestamp.type=%s, not LogAppendTime",
                       want->name, value);
    }
    if (strcmp(name, "cleanup.policy") == 0 && strstr(value, "compact") != NULL) {
        return err_set(err, ERR_FATAL, "topic %s has cleanup.policy=%s: compaction loses records",
                       want->name, value);
    }
    if (want->keeps_all && strncmp(name, "retention.", strlen("retention.")) == 0 &&
        strcmp(value, "-1") != 0) {
        return err_set(err, ERR_FATAL, "topic %s has %s=%s, not -1: Kafka would delete its records",
                       want->name, name, value);
    }
    if (strcmp(name, "min.insync.replicas") == 0 &&
        strtol(value, NULL, 10) < want->replicas_min - 1) {
        return err_set(err, ERR_FATAL,
                       "topic %s has min.insync.replicas=%s; replicas-min=%d asks for %d",
                       want->name, value, want->replicas_min, want->replicas_min - 1);
    }
    if (strcmp(name, "unclean.leader.election.enable") == 0 && want->replicas_min > 1 &&
        strcmp(value, "false") != 0) {
        return err_set(err, ERR_FATAL, "topic %s allows unclean leader election", want->name);
    }
    return true;
}

static bool check_properties(const rd_kafka_ConfigResource_t *resource,
                             const struct kafka_topic *want, struct err *err)
{
    const rd_kafka_ConfigEntry_t **entries;
    size_t n;

    if (rd_kafka_ConfigResource_error(resource) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return err_set(err, ERR_RETRY, "settings of topic %s: %s", want->name,
                       rd_kafka_ConfigResource_error_string(resource));
    }
    entries = rd_kafka_ConfigResource_configs(resource, &n);
    for (size_t i = 0; i < n; i++) {
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);

        if (value != NULL &&
            !check_property(want, rd_kafka_ConfigEntry_name(entries[i]), value, err)) {
            return false;
        }
    }
    return true;
}

/* Asks for the settings of all topics; the answer is an event on queue. */
static void ask_settings(rd_kafka_t *rk, rd_kafka_queue_t *queue, const struct kafka_topic *topics,
                         size_t n)
{
    rd_kafka_ConfigResource_t *resources[TOPICS_MAX];

    for (size_t i = 0; i < n; i++) {
        resources[i] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topics[i].name);
    }
    rd_kafka_DescribeConfigs(rk, resources, n, NULL, queue);
    rd_kafka_ConfigResource_destroy_array(resources, n);
}

static bool check_settings(rd_kafka_t *rk, const struct kafka_topic *topics, size_t n,
                           int64_t timeout_ms, struct err *err)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    const rd_kafka_ConfigResource_t **resources;
    rd_kafka_event_t *event;
    bool ok = true;
    size_t got = 0;

    ask_settings(rk, queue, topics, n);
    event = rd_kafka_queue_poll(queue, (int)timeout_ms);
    if (event == NULL || rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        ok = err_set(err, ERR_RETRY, "settings of the topics: %s",
                     event == NULL ? "no answer" : rd_kafka_event_error_string(event));
        goto out;
    }
    resources = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(event), &got);
    for (size_t i = 0; ok && i < n; i++) {
        ok = err_set(err, ERR_RETRY, "no settings of topic %s", topics[i].name);
        for (size_t k = 0; k < got; k++) {
            if (strcmp(rd_kafka_ConfigResource_name(resources[k]), topics[i].name) == 0) {
                ok = check_properties(resources[k], &topics[i], err);
            }
        }
    }
out:
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
    return ok;
}

bool kafka_check_topics(const struct kafka_settings *settings, const struct kafka_topic *topics,
                        size_t n, int64_t timeout_ms, int *partitions, struct err *err)
{
    static const struct kafka_property none[] = {{NULL, NULL}};
    static const struct kafka_property invariants[] = {
        {"allow.auto.create.topics", "false"},
        {NULL, NULL},
    };
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_conf_t *conf = kafka_conf(settings, CONF_KAFKA_ANY, none, invariants, err);
    rd_kafka_t *rk = conf == NULL ? NULL : kafka_client(RD_KAFKA_CONSUMER, conf, false, err);
    rd_kafka_resp_err_t rc;
    bool ok = true;

    if (rk == NULL) {
        return false;
    }
    if (n > TOPICS_MAX) {
        ok = err_set(err, ERR_FATAL, "too many topics in one check");
        goto out;
    }
    rc = rd_kafka_metadata(rk, 1, NULL, &md, (int)timeout_ms);
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR) {
        ok = err_set(err, ERR_RETRY, "no Kafka broker answers at %s: %s", settings->brokers,
                     rd_kafka_err2str(rc));
        goto out;
    }
    for (size_t i = 0; ok && i < n; i++) {
        int count = 0;

        ok = check_shape(md, &topics[i], &count, err);
        if (ok && i == 0 && partitions != NULL) {
            *partitions = count;
        }
    }
    ok = ok && check_settings(rk, topics, n, timeout_ms, err);
out:
    if (md != NULL) {
        rd_kafka_metadata_destroy(md);
    }
    kafka_end(rk, NULL, NULL, NULL);
    return ok;
}
