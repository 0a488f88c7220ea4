/*
 * The consumer.
 *
 * Start positions come from the owner: either in the list given to rd_kafka_assign(), or later by
 * rd_kafka_seek() of one partition.  rd_kafka_seek_partitions() is broken in 2.0.2, and
 * pausing loses positions and refetches, so neither is used: a split consumer takes each
 * partition's queue out of the common one (rd_kafka_queue_forward(queue, NULL)) and simply does not
 * poll it while its owner wants nothing; librdkafka then stops fetching by itself.
 *
 * Assignment is eager (range): at a rebalance everything is revoked and given anew.  Between the
 * group's answer and kafka_consumer_assign() nothing is read.  Partition queues live from
 * their first assignment until the end, because the record callback may run from their pumps.
 *
 * After a seek librdkafka's version barrier drops what it had queued before, but 2.0.2 is known to
 * let stale fetches through: the owner must check every offset all the same.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/kafka.h"
#include "common/kafka_internal.h"
#include "common/log.h"
#include "common/xmalloc.h"

enum {
    PATIENCE_MIN_MS = 10000,
    FETCH_LATE_MS = 2000,
    FETCH_PATIENT_BYTES = 65536,
    API_FETCH = 1, /* Kafka's numbers of its requests */
    API_METADATA = 3,
};

/* One partition of a split consumer. */
struct lane {
    struct kafka_pump *pump; /* NULL until first assigned */
    bool is_wanted;
};

struct kafka_consumer {
    rd_kafka_t *rk;
    rd_kafka_topic_t *topic;
    struct kafka_pump *pump; /* the common queue: rebalances, errors, records unless split */
    struct kafka_query *query;
    struct event_base *base; /* borrowed */
    struct kafka_consumer_calls calls;
    void *arg; /* borrowed */
    char *topic_name;
    bool is_split;
    bool is_assigned; /* told to the owner, or assigned by it, and not yet taken back */
    bool is_closing;
    bool is_fatal;
    struct lane *lanes; /* by partition */
    size_t n_lanes;
    /* Raised by librdkafka's broker threads too, which end after this object: so on its own. */
    atomic_uint_fast64_t *lineage;
};

/*
 * What tells that the log may be another one.  Records do not: a topic that was deleted and made
 * again goes on at the next offset as if nothing had been.  All of it runs on librdkafka's threads.
 *
 * A new connection; and metadata, which are asked for after every error of a fetch (the partition
 * has moved, or is gone, or is there again) long before the fetch is tried again, and answered
 * before a new leader is read from.  A fetch is always waiting at the broker, so that nobody deletes
 * a topic without an error here, unless this process stood still: then the next one comes late.
 */
static int connect_broker(int fd, const struct sockaddr *address, int length,
                          const char *id ATTR_UNUSED, void *arg)
{
    atomic_uint_fast64_t *lineage = arg;

    atomic_fetch_add(lineage, 1);
    if (connect(fd, address, (socklen_t)length) < 0 && errno != EINPROGRESS) {
        return errno;
    }
    return 0;
}

/* NOLINTNEXTLINE(readability-function-size): librdkafka's interface */
static rd_kafka_resp_err_t request_sent(rd_kafka_t *rk ATTR_UNUSED, int fd ATTR_UNUSED,
                                        const char *name ATTR_UNUSED, int32_t id ATTR_UNUSED,
                                        int16_t api, int16_t version ATTR_UNUSED,
                                        int32_t correlation ATTR_UNUSED, size_t size ATTR_UNUSED,
                                        void *arg)
{
    static _Thread_local int64_t fetched_ms; /* each broker has a thread */
    atomic_uint_fast64_t *lineage = arg;

    if (api == API_METADATA) {
        atomic_fetch_add(lineage, 1);
    } else if (api == API_FETCH) {
        const int64_t now_ms = clock_mono_ms();

        if (fetched_ms != 0 && now_ms - fetched_ms > FETCH_LATE_MS) {
            atomic_fetch_add(lineage, 1);
        }
        fetched_ms = now_ms;
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Before it is parsed.  NOLINTNEXTLINE(readability-function-size): librdkafka's interface */
static rd_kafka_resp_err_t response_received(rd_kafka_t *rk ATTR_UNUSED, int fd ATTR_UNUSED,
                                             const char *name ATTR_UNUSED, int32_t id ATTR_UNUSED,
                                             int16_t api, int16_t version ATTR_UNUSED,
                                             int32_t correlation ATTR_UNUSED,
                                             size_t size ATTR_UNUSED, int64_t rtt_us ATTR_UNUSED,
                                             rd_kafka_resp_err_t error ATTR_UNUSED, void *arg)
{
    atomic_uint_fast64_t *lineage = arg;

    if (api == API_METADATA) {
        atomic_fetch_add(lineage, 1);
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t watch_requests(rd_kafka_t *rk, const rd_kafka_conf_t *conf ATTR_UNUSED,
                                          void *arg, char *why ATTR_UNUSED, size_t size ATTR_UNUSED)
{
    const rd_kafka_resp_err_t code =
        rd_kafka_interceptor_add_on_request_sent(rk, "lineage", request_sent, arg);

    return code != RD_KAFKA_RESP_ERR_NO_ERROR ? code
                                              : rd_kafka_interceptor_add_on_response_received(
                                                    rk, "lineage", response_received, arg);
}

static void make_room(struct kafka_consumer *c, size_t n)
{
    if (n <= c->n_lanes) {
        return;
    }
    c->lanes = xreallocarray(c->lanes, n, sizeof(*c->lanes));
    for (size_t i = c->n_lanes; i < n; i++) {
        c->lanes[i] = (struct lane){.is_wanted = true};
    }
    c->n_lanes = n;
}

/* ---- events ---- */

static void deliver(struct kafka_consumer *c, const rd_kafka_message_t *m)
{
    rd_kafka_timestamp_type_t type;
    const int64_t timestamp_ms = rd_kafka_message_timestamp(m, &type);
    const struct kafka_record record = {
        .partition = m->partition,
        .offset = m->offset,
        .timestamp_ms = timestamp_ms,
        .is_log_append_time = type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME,
        .key = {m->key, m->key_len},
        .value = {m->payload, m->len},
        .native = m,
    };

    if (c->is_assigned && m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        c->calls.record(&record, c->arg);
    }
}

struct slice kafka_record_header(const struct kafka_record *record, const char *name)
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t len;

    if (rd_kafka_message_headers(record->native, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        rd_kafka_header_get_last(headers, name, &value, &len) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return (struct slice){NULL, 0};
    }
    return (struct slice){value, len};
}

static void rebalance(struct kafka_consumer *c, rd_kafka_event_t *event)
{
    const rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);
    const rd_kafka_resp_err_t why = rd_kafka_event_error(event);

    if (why == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && !c->is_closing) {
        int *partitions = xcalloc((size_t)list->cnt + 1, sizeof(*partitions));

        for (int i = 0; i < list->cnt; i++) {
            partitions[i] = list->elems[i].partition;
        }
        c->is_assigned = true;
        c->calls.assigned(partitions, (size_t)list->cnt, c->arg);
        free(partitions);
        return;
    }
    if (c->is_assigned) {
        c->is_assigned = false;
        c->calls.revoked(c->arg);
    }
    if (rd_kafka_assign(c->rk, NULL) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        log_limited(LOG_LEVEL_WARN, "kafka.unassign_failed", LOG_STR("topic", c->topic_name));
    }
}

static bool is_passing(rd_kafka_resp_err_t error)
{
    switch (error) {
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
        return false;
    default:
        return true;
    }
}

static void take_error(struct kafka_consumer *c, rd_kafka_event_t *event)
{
    const rd_kafka_resp_err_t error = rd_kafka_event_error(event);
    rd_kafka_topic_partition_t *where;
    char why[200] = "";

    /* It comes with the code of what was fatal, not with _FATAL, and comes only once. */
    if (!c->is_fatal && rd_kafka_fatal_error(c->rk, why, sizeof(why)) != 0) {
        c->is_fatal = true;
        c->calls.fatal(why, c->arg);
        return;
    }
    where = rd_kafka_event_topic_partition(event);
    if (where != NULL && where->partition >= 0 && !is_passing(error) && c->is_assigned &&
        c->calls.stuck != NULL) {
        c->calls.stuck(where->partition,
                       error == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
                           error == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE,
                       rd_kafka_event_error_string(event), c->arg);
    } else {
        kafka_log_event(event);
    }
    if (where != NULL) {
        rd_kafka_topic_partition_destroy(where);
    }
}

static void serve(rd_kafka_event_t *event, void *arg)
{
    struct kafka_consumer *c = arg;
    const rd_kafka_message_t *message;

    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_FETCH:
        while ((message = rd_kafka_event_message_next(event)) != NULL) {
            deliver(c, message);
        }
        break;
    case RD_KAFKA_EVENT_REBALANCE:
        rebalance(c, event);
        break;
    case RD_KAFKA_EVENT_ERROR:
        take_error(c, event);
        break;
    default:
        kafka_log_event(event);
        break;
    }
}

/* ---- making and ending it ---- */

static rd_kafka_conf_t *conf_of(const struct kafka_consumer_settings *settings, struct err *err)
{
    char timeout[24];
    char heartbeat[24];
    char patience[24];
    char fetch_min[24];
    const int64_t timeout_ms =
        settings->session_timeout_ms == 0 ? 10000 : settings->session_timeout_ms;
    /*
     * For so long a rebalance waits for members that do not come: after a crash of everything those
     * from before it.  Whoever is alive has polled by then.
     */
    const int64_t patience_ms = 2 * timeout_ms > PATIENCE_MIN_MS ? 2 * timeout_ms : PATIENCE_MIN_MS;
    const bool is_static = settings->instance_id != NULL && settings->instance_id[0] != '\0';
    const struct kafka_property tunables[] = {
        {"fetch.wait.max.ms", "100"},
        {"fetch.min.bytes", fetch_min},
        /* Metadata are asked for first: see request_sent(). */
        {"topic.metadata.refresh.fast.interval.ms", "10"},
        {"fetch.error.backoff.ms", "200"},
        {"queued.max.messages.kbytes", "8192"},
        {"topic.metadata.refresh.interval.ms", "10000"},
        {"session.timeout.ms", timeout},
        {"heartbeat.interval.ms", heartbeat},
        {"max.poll.interval.ms", patience},
        {NULL, NULL},
    };
    const struct kafka_property invariants[] = {
        /* Without a group librdkafka still wants a name before it lets us assign. */
        {"group.id", settings->group_id != NULL ? settings->group_id : "seckill-no-group"},
        {"partition.assignment.strategy", "range"},
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"auto.offset.reset", "error"},
        {"check.crcs", "true"},
        {"allow.auto.create.topics", "false"},
        {is_static ? "group.instance.id" : NULL, settings->instance_id},
        {NULL, NULL},
    };

    (void)snprintf(timeout, sizeof(timeout), "%" PRId64, timeout_ms);
    (void)snprintf(heartbeat, sizeof(heartbeat), "%" PRId64, timeout_ms / 4);
    (void)snprintf(patience, sizeof(patience), "%" PRId64, patience_ms);
    (void)snprintf(fetch_min, sizeof(fetch_min), "%d",
                   settings->is_patient ? FETCH_PATIENT_BYTES : 1);
    return kafka_conf(settings->kafka, CONF_KAFKA_CONSUMER, tunables, invariants, err);
}

static bool join_group(struct kafka_consumer *c, struct err *err)
{
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_resp_err_t rc;

    (void)rd_kafka_topic_partition_list_add(topics, c->topic_name, RD_KAFKA_PARTITION_UA);
    rc = rd_kafka_subscribe(c->rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return err_set(err, ERR_FATAL, "subscribe to %s: %s", c->topic_name, rd_kafka_err2str(rc));
    }
    return true;
}

static void tell_range(const char *topic, int partition, bool ok, int64_t begin, int64_t end,
                       void *arg)
{
    struct kafka_consumer *c = arg;

    if (strcmp(topic, c->topic_name) != 0) {
        c->calls.other_end(partition, ok, end, c->arg);
    } else if (c->calls.range != NULL) {
        c->calls.range(partition, ok, begin, end, c->arg);
    }
}

struct kafka_consumer *kafka_consumer_create(struct event_base *base,
                                             const struct kafka_consumer_settings *settings,
                                             struct err *err)
{
    rd_kafka_conf_t *conf = conf_of(settings, err);
    struct kafka_consumer *c;

    if (conf == NULL) {
        return NULL;
    }
    c = xcalloc(1, sizeof(*c));
    c->base = base;
    c->calls = settings->calls;
    c->arg = settings->arg;
    c->is_split = settings->is_split;
    c->topic_name = xstrdup(settings->topic);
    c->lineage = xcalloc(1, sizeof(*c->lineage));
    atomic_init(c->lineage, 0);
    rd_kafka_conf_set_opaque(conf, c->lineage);
    rd_kafka_conf_set_connect_cb(conf, connect_broker);
    /* Fails only when it is already there. */
    (void)rd_kafka_conf_interceptor_add_on_new(conf, "lineage", watch_requests, c->lineage);
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_FETCH | RD_KAFKA_EVENT_REBALANCE |
                                       RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);
    c->rk = kafka_client(RD_KAFKA_CONSUMER, conf, true, err);
    if (c->rk == NULL) {
        goto fail;
    }
    (void)rd_kafka_poll_set_consumer(c->rk); /* fails only when there is no group.id */
    c->topic = rd_kafka_topic_new(c->rk, c->topic_name, NULL);
    if (c->topic == NULL) {
        (void)err_set(err, ERR_FATAL, "topic %s: %s", c->topic_name,
                      rd_kafka_err2str(rd_kafka_last_error()));
        goto fail;
    }
    c->pump = kafka_pump_create(base, rd_kafka_queue_get_consumer(c->rk), serve, c, err);
    c->query = kafka_query_create(base, c->rk, tell_range, c, err);
    if (c->pump == NULL || c->query == NULL ||
        (settings->group_id != NULL && !join_group(c, err))) {
        goto fail;
    }
    return c;
fail:
    kafka_consumer_destroy(c);
    return NULL;
}

void kafka_consumer_destroy(struct kafka_consumer *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < c->n_lanes; i++) {
        kafka_pump_destroy(c->lanes[i].pump);
    }
    kafka_pump_destroy(c->pump);
    if (c->query != NULL) {
        kafka_query_stop(c->query);
    }
    if (c->topic != NULL) {
        rd_kafka_topic_destroy(c->topic);
    }
    if (c->rk != NULL) {
        kafka_end(c->rk, kafka_query_end, c->query, c->lineage);
    } else {
        free(c->lineage);
    }
    free(c->lanes);
    free(c->topic_name);
    free(c);
}

void kafka_consumer_close(struct kafka_consumer *c)
{
    rd_kafka_queue_t *queue;
    rd_kafka_error_t *error;

    if (c->is_closing) {
        return;
    }
    c->is_closing = true;
    queue = rd_kafka_queue_get_consumer(c->rk);
    error = rd_kafka_consumer_close_queue(c->rk, queue);
    if (error != NULL) {
        log_warn("kafka.close_failed", LOG_STR("error", rd_kafka_error_string(error)));
        rd_kafka_error_destroy(error);
    }
    rd_kafka_queue_destroy(queue);
}

bool kafka_consumer_is_closed(const struct kafka_consumer *c)
{
    return rd_kafka_consumer_closed(c->rk) != 0;
}

/* ---- positions ---- */

static int64_t native_offset(int64_t offset)
{
    switch (offset) {
    case KAFKA_OFFSET_BEGIN:
        return RD_KAFKA_OFFSET_BEGINNING;
    case KAFKA_OFFSET_END:
        return RD_KAFKA_OFFSET_END;
    default:
        return offset;
    }
}

static bool open_lane(struct kafka_consumer *c, int partition, struct err *err)
{
    struct lane *lane = &c->lanes[partition];
    rd_kafka_queue_t *queue;

    lane->is_wanted = true;
    if (lane->pump != NULL) {
        kafka_pump_hold(lane->pump, false);
        return true;
    }
    queue = rd_kafka_queue_get_partition(c->rk, c->topic_name, partition);
    if (queue == NULL) {
        return err_set(err, ERR_RETRY, "no queue for partition %d", partition);
    }
    rd_kafka_queue_forward(queue, NULL);
    lane->pump = kafka_pump_create(c->base, queue, serve, c, err);
    return lane->pump != NULL;
}

bool kafka_consumer_assign(struct kafka_consumer *c, const struct kafka_start *starts, size_t n,
                           struct err *err)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
    rd_kafka_resp_err_t rc;
    bool ok = true;

    for (size_t i = 0; ok && i < n; i++) {
        make_room(c, (size_t)starts[i].partition + 1);
        rd_kafka_topic_partition_list_add(list, c->topic_name, starts[i].partition)->offset =
            native_offset(starts[i].offset);
        ok = !c->is_split || open_lane(c, starts[i].partition, err);
    }
    if (ok) {
        rc = rd_kafka_assign(c->rk, list);
        ok = rc == RD_KAFKA_RESP_ERR_NO_ERROR ||
             err_set(err, ERR_RETRY, "assign: %s", rd_kafka_err2str(rc));
    }
    c->is_assigned = c->is_assigned || ok;
    rd_kafka_topic_partition_list_destroy(list);
    return ok;
}

bool kafka_consumer_seek(struct kafka_consumer *c, int partition, int64_t offset, struct err *err)
{
    /* With a timeout of 0 it only enqueues; the answer would say no more than silence does. */
    const rd_kafka_resp_err_t rc = rd_kafka_seek(c->topic, partition, native_offset(offset), 0);

    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return err_set(err, ERR_RETRY, "seek: %s", rd_kafka_err2str(rc));
    }
    return true;
}

void kafka_consumer_want(struct kafka_consumer *c, int partition, bool is_wanted)
{
    struct lane *lane;

    if ((size_t)partition >= c->n_lanes || c->lanes[partition].is_wanted == is_wanted) {
        return;
    }
    lane = &c->lanes[partition];
    lane->is_wanted = is_wanted;
    if (lane->pump != NULL) {
        kafka_pump_hold(lane->pump, !is_wanted);
    }
}

void kafka_consumer_query(struct kafka_consumer *c, int partition)
{
    kafka_query_ask(c->query, c->topic_name, partition);
}

void kafka_consumer_query_other(struct kafka_consumer *c, const char *topic, int partition)
{
    kafka_query_ask(c->query, topic, partition);
}

bool kafka_consumer_ask_end(const struct kafka_consumer *c, const char *topic, int partition,
                            int64_t timeout_ms, int64_t *end)
{
    int64_t begin;

    return kafka_query_range(c->rk, topic, partition, timeout_ms, &begin, end);
}

uint64_t kafka_consumer_lineage(const struct kafka_consumer *c)
{
    return atomic_load(c->lineage);
}

int64_t kafka_consumer_end(const struct kafka_consumer *c, int partition)
{
    int64_t begin;
    int64_t end;

    if (rd_kafka_get_watermark_offsets(c->rk, c->topic_name, partition, &begin, &end) !=
        RD_KAFKA_RESP_ERR_NO_ERROR) {
        return -1;
    }
    return end >= 0 ? end : -1;
}
