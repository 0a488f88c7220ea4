#include "ctl/bus.h"

#include <string.h>

#include "common/clock.h"

static bool set(rd_kafka_conf_t *conf, const char *name, const char *value, struct err *err)
{
    char text[200];

    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) != RD_KAFKA_CONF_OK) {
        return err_set(err, ERR_FATAL, "kafka setting %s: %s", name, text);
    }
    return true;
}

static bool set_native(const struct ctl *c, rd_kafka_conf_t *conf, rd_kafka_type_t type,
                       struct err *err)
{
    size_t n = 0;
    const struct conf_kafka *native = conf_kafka(c->conf, &n);
    enum conf_kafka_role other =
        type == RD_KAFKA_PRODUCER ? CONF_KAFKA_CONSUMER : CONF_KAFKA_PRODUCER;

    for (size_t i = 0; i < n; i++) {
        if (native[i].role != other && !set(conf, native[i].name, native[i].value, err)) {
            return false;
        }
    }
    return true;
}

/* What a delivery report says; lives in bus_append()'s frame, which outlasts the producer's calls. */
struct report {
    bool here;
    rd_kafka_resp_err_t code;
    int64_t offset;
};

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct report *report = m->_private;

    (void)rk;
    (void)opaque;
    report->here = true;
    report->code = m->err;
    report->offset = m->offset;
}

rd_kafka_t *bus_client(const struct ctl *c, rd_kafka_type_t type, struct err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *rk = NULL;
    char text[200];
    char timeout[24];

    (void)snprintf(timeout, sizeof(timeout), "%lld", (long long)c->timeout_ms);
    if (!set(conf, "bootstrap.servers", c->kafka.brokers, err) ||
        !set(conf, "client.id", "seckillctl", err) || !set(conf, "log_level", "3", err) ||
        !set(conf, "socket.nagle.disable", "true", err) || !set_native(c, conf, type, err)) {
        goto out;
    }
    if (type == RD_KAFKA_PRODUCER) {
        rd_kafka_conf_set_dr_msg_cb(conf, on_report);
        if (!set(conf, "enable.idempotence", "true", err) || !set(conf, "linger.ms", "0", err) ||
            !set(conf, "message.timeout.ms", timeout, err)) {
            goto out;
        }
    } else if (!set(conf, "group.id", "seckillctl",
                    err) || /* demanded, though assign() uses none */
               !set(conf, "enable.auto.commit", "false", err) ||
               !set(conf, "auto.offset.reset", "error", err) ||
               !set(conf, "fetch.wait.max.ms", "20", err)) {
        goto out;
    }
    rk = rd_kafka_new(type, conf, text, sizeof(text));
    if (rk == NULL) {
        (void)err_set(err, ERR_FATAL, "kafka: %s", text);
        goto out;
    }
    return rk;
out:
    rd_kafka_conf_destroy(conf);
    return NULL;
}

bool bus_append(const struct ctl *c, rd_kafka_t *producer, const struct command *cmd, int partition,
                int64_t *offset, struct err *err)
{
    char value[COMMAND_VALUE_MAX];
    size_t len = command_format(cmd, value, sizeof(value));
    struct slice key = command_key(cmd);
    struct report report = {.here = false};
    rd_kafka_resp_err_t code;

    if (len == 0) {
        return err_set(err, ERR_FATAL, "the command does not fit into a record");
    }
    code = rd_kafka_producev(
        producer, RD_KAFKA_V_TOPIC(c->kafka.topic_orders), RD_KAFKA_V_PARTITION(partition),
        /* librdkafka copies the key, too, and does not write through the pointer. */
        RD_KAFKA_V_VALUE(value, len), RD_KAFKA_V_KEY((void *)(uintptr_t)key.ptr, key.len),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE(&report), RD_KAFKA_V_END);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return err_set(err, ERR_RETRY, "kafka: %s", rd_kafka_err2str(code));
    }
    while (!report.here) { /* message.timeout.ms ends it */
        rd_kafka_poll(producer, 100);
    }
    if (report.code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return err_set(err, ERR_RETRY, "kafka at %s has not confirmed the command (%s): unknown",
                       c->kafka.brokers, rd_kafka_err2str(report.code));
    }
    if (offset != NULL) {
        *offset = report.offset;
    }
    return true;
}

/* Starts reading the outcomes of partition at their present end. */
static rd_kafka_t *tail_outcomes(const struct ctl *c, int partition, struct err *err)
{
    rd_kafka_t *rk = bus_client(c, RD_KAFKA_CONSUMER, err);
    rd_kafka_topic_partition_list_t *list = NULL;
    rd_kafka_resp_err_t code;
    int64_t low = 0;
    int64_t high = 0;

    if (rk == NULL) {
        return NULL;
    }
    code = rd_kafka_query_watermark_offsets(rk, c->kafka.topic_outcomes, partition, &low, &high,
                                            (int)c->timeout_ms);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, c->kafka.topic_outcomes, partition)->offset = high;
        code = rd_kafka_assign(rk, list);
        rd_kafka_topic_partition_list_destroy(list);
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void)err_set(err, ERR_RETRY, "kafka at %s, topic %s: %s", c->kafka.brokers,
                      c->kafka.topic_outcomes, rd_kafka_err2str(code));
        rd_kafka_destroy(rk);
        return NULL;
    }
    return rk;
}

/* Reads until the outcome of the command at offset comes. */
static bool await(const struct ctl *c, rd_kafka_t *consumer, int64_t offset,
                  struct outcome *outcome, struct err *err)
{
    int64_t end_ms = clock_mono_ms() + c->timeout_ms;

    while (clock_mono_ms() < end_ms) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(consumer, 100);
        bool found = false;

        if (m == NULL) {
            continue;
        }
        if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR &&
            outcome_parse(outcome, (struct slice){m->payload, m->len}, NULL)) {
            found = outcome->offset == offset;
        }
        rd_kafka_message_destroy(m);
        if (found) {
            return true;
        }
    }
    return err_set(
        err, ERR_RETRY,
        "the command is in the log (offset %lld) but not decided yet; does a matcher run?",
        (long long)offset);
}

bool bus_ask(const struct ctl *c, const struct command *cmd, int partition, struct outcome *outcome,
             struct err *err)
{
    rd_kafka_t *consumer = tail_outcomes(c, partition, err);
    rd_kafka_t *producer = consumer == NULL ? NULL : bus_client(c, RD_KAFKA_PRODUCER, err);
    int64_t offset = -1;
    bool done = producer != NULL && bus_append(c, producer, cmd, partition, &offset, err) &&
                await(c, consumer, offset, outcome, err);

    if (producer != NULL) {
        rd_kafka_destroy(producer);
    }
    if (consumer != NULL) {
        rd_kafka_destroy(consumer);
    }
    return done;
}
