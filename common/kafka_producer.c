/*
 * The producer.  Delivery reports come as events over the client's main queue, together with its
 * logs and errors, so everything of ours runs on the loop.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/failpoint.h"
#include "common/kafka.h"
#include "common/kafka_internal.h"
#include "common/log.h"
#include "common/xmalloc.h"

enum {
    TOPICS_MAX = 8, /* different topics one producer may send to */
};

struct kafka_producer {
    rd_kafka_t *rk;
    struct kafka_pump *pump;
    rd_kafka_topic_t *topics[TOPICS_MAX]; /* handles are kept: looking one up takes a lock */
    size_t n_topics;
    size_t unreported;
    bool is_fatal;
    kafka_report_fn *report;
    kafka_fatal_fn *fatal;
    void *arg; /* borrowed */
};

static enum kafka_delivery delivery_of(const rd_kafka_message_t *m)
{
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        return KAFKA_DELIVERED;
    }
    switch (rd_kafka_message_status(m)) {
    case RD_KAFKA_MSG_STATUS_PERSISTED:
        return KAFKA_DELIVERED;
    case RD_KAFKA_MSG_STATUS_NOT_PERSISTED:
        return KAFKA_FAILED;
    case RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED:
    default:
        return KAFKA_UNKNOWN;
    }
}

static void report_one(struct kafka_producer *p, const rd_kafka_message_t *m)
{
    rd_kafka_timestamp_type_t type;
    const int64_t timestamp_ms = rd_kafka_message_timestamp(m, &type);
    /* A retry that the broker recognised is reported as delivered, with neither place nor time. */
    const struct kafka_report report = {
        .ticket = (uint64_t)(uintptr_t)m->_private,
        .delivery = delivery_of(m),
        .topic = rd_kafka_topic_name(m->rkt),
        .partition = m->partition,
        .offset = m->offset >= 0 ? m->offset : -1,
        .timestamp_ms = type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME ? timestamp_ms : -1,
        .why = rd_kafka_err2str(m->err),
    };

    p->unreported--;
    p->report(&report, p->arg);
}

/* The event of a fatal error has the code of its cause: only the client knows that it is at its end. */
static void become_fatal(struct kafka_producer *p)
{
    char why[200] = "";

    if (p->is_fatal || rd_kafka_fatal_error(p->rk, why, sizeof(why)) == 0) {
        return;
    }
    p->is_fatal = true;
    log_warn("kafka.producer_fatal", LOG_STR("error", why));
    if (p->fatal != NULL) {
        p->fatal(why, p->arg);
    }
}

static void serve(rd_kafka_event_t *event, void *arg)
{
    struct kafka_producer *p = arg;
    const rd_kafka_message_t *message;

    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_DR:
        while ((message = rd_kafka_event_message_next(event)) != NULL) {
            report_one(p, message);
        }
        break;
    case RD_KAFKA_EVENT_ERROR:
        kafka_log_event(event);
        become_fatal(p);
        break;
    default:
        kafka_log_event(event);
        break;
    }
}

struct kafka_producer *kafka_producer_create(struct event_base *base,
                                             const struct kafka_producer_settings *settings,
                                             struct err *err)
{
    char linger[24];
    char timeout[24];
    char queue_max[24];
    const struct kafka_property tunables[] = {
        {"linger.ms", linger},
        {"queue.buffering.max.messages", queue_max},
        {"compression.codec", "none"},
        {"topic.metadata.refresh.interval.ms", "60000"},
        {NULL, NULL},
    };
    const struct kafka_property invariants[] = {
        {"enable.idempotence", "true"},
        {"acks", "all"},
        {"message.timeout.ms", timeout},
        {NULL, NULL},
    };
    struct kafka_producer *p;
    rd_kafka_conf_t *conf;

    (void)snprintf(linger, sizeof(linger), "%" PRId64, settings->linger_ms);
    (void)snprintf(timeout, sizeof(timeout), "%" PRId64, settings->message_timeout_ms);
    (void)snprintf(queue_max, sizeof(queue_max), "%" PRId64,
                   settings->queue_max == 0 ? 100000 : settings->queue_max);
    conf = kafka_conf(settings->kafka, CONF_KAFKA_PRODUCER, tunables, invariants, err);
    if (conf == NULL) {
        return NULL;
    }
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);
    p = xcalloc(1, sizeof(*p));
    p->report = settings->report;
    p->fatal = settings->fatal;
    p->arg = settings->arg;
    p->rk = kafka_client(RD_KAFKA_PRODUCER, conf, false, err);
    if (p->rk != NULL) {
        p->pump = kafka_pump_create(base, rd_kafka_queue_get_main(p->rk), serve, p, err);
    }
    if (p->pump == NULL) {
        kafka_producer_destroy(p);
        return NULL;
    }
    return p;
}

void kafka_producer_destroy(struct kafka_producer *p)
{
    if (p == NULL) {
        return;
    }
    kafka_pump_destroy(p->pump);
    for (size_t i = 0; i < p->n_topics; i++) {
        rd_kafka_topic_destroy(p->topics[i]);
    }
    if (p->rk != NULL) {
        kafka_end(p->rk, NULL, NULL, NULL);
    }
    free(p);
}

static rd_kafka_topic_t *topic_of(struct kafka_producer *p, const char *name, struct err *err)
{
    for (size_t i = 0; i < p->n_topics; i++) {
        if (strcmp(rd_kafka_topic_name(p->topics[i]), name) == 0) {
            return p->topics[i];
        }
    }
    if (p->n_topics == TOPICS_MAX) {
        (void)err_set(err, ERR_REJECT, "too many topics for one producer");
        return NULL;
    }
    p->topics[p->n_topics] = rd_kafka_topic_new(p->rk, name, NULL);
    if (p->topics[p->n_topics] == NULL) {
        (void)err_set(err, ERR_REJECT, "topic %s: %s", name,
                      rd_kafka_err2str(rd_kafka_last_error()));
        return NULL;
    }
    return p->topics[p->n_topics++];
}

void kafka_producer_warm(struct kafka_producer *p, const char *topic)
{
    struct err err;

    if (topic_of(p, topic, &err) == NULL) {
        log_debug("kafka.not_warmed", LOG_ERR(&err)); /* sending will say it louder */
    }
}

static rd_kafka_headers_t *headers_of(const struct kafka_message *m)
{
    rd_kafka_headers_t *headers;

    if (m->n_headers == 0) {
        return NULL;
    }
    headers = rd_kafka_headers_new(m->n_headers);
    for (size_t i = 0; i < m->n_headers; i++) {
        /* Fails only for a read-only list, which this is not. */
        (void)rd_kafka_header_add(headers, m->headers[i].name, -1, m->headers[i].value.ptr,
                                  (ssize_t)m->headers[i].value.len);
    }
    return headers;
}

static bool refuse(struct kafka_producer *p, rd_kafka_resp_err_t rc, struct err *err)
{
    switch (rc) {
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
        return err_set(err, ERR_RETRY, "the producer's queue is full");
    case RD_KAFKA_RESP_ERR__FATAL:
        become_fatal(p);
        return err_set(err, ERR_FATAL, "the producer is at its end");
    default:
        return err_set(err, p->is_fatal ? ERR_FATAL : ERR_REJECT, "produce: %s",
                       rd_kafka_err2str(rc));
    }
}

bool kafka_producer_send(struct kafka_producer *p, const struct kafka_message *message,
                         struct err *err)
{
    rd_kafka_topic_t *topic;
    rd_kafka_headers_t *headers;
    rd_kafka_resp_err_t rc;

    if (p->is_fatal) {
        return err_set(err, ERR_FATAL, "the producer is at its end");
    }
    topic = topic_of(p, message->topic, err);
    if (topic == NULL) {
        return false;
    }
    headers = headers_of(message);
    rc = rd_kafka_producev(
        p->rk, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_PARTITION(message->partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        /* librdkafka takes the pointers as they are: it copies, and does not write through them. */
        RD_KAFKA_V_KEY((void *)(uintptr_t)message->key.ptr, message->key.len),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)message->value.ptr, message->value.len),
        RD_KAFKA_V_OPAQUE((void *)(uintptr_t)message->ticket),
        headers == NULL ? RD_KAFKA_VTYPE_END : RD_KAFKA_VTYPE_HEADERS, headers, RD_KAFKA_V_END);
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (headers != NULL) {
            rd_kafka_headers_destroy(headers);
        }
        return refuse(p, rc, err);
    }
    p->unreported++;
    if (failpoint_hit("send.fatal")) {
        (void)rd_kafka_test_fatal_error(p->rk, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
                                        "pretending that the broker lost count");
    }
    return true;
}

size_t kafka_producer_unreported(const struct kafka_producer *p)
{
    return p->unreported;
}
