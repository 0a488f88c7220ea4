/*
 * topics.c - the three topics, and a genesis in each partition that is still empty.
 *
 * Everything is safe to repeat, also by two at once: a topic that exists is left as it is, a
 * second genesis is refused by the rules.
 */
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/hex.h"
#include "ctl/bus.h"

static rd_kafka_NewTopic_t *new_topic(const struct ctl *c, const char *name, struct err *err)
{
    char text[200] = "";
    int replicas = (int)c->kafka.replicas_min;
    char in_sync[16];
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(name, (int)c->kafka.partitions, replicas, text, sizeof(text));

    if (topic == NULL) {
        (void)err_set(err, ERR_FATAL, "topic %s: %s", name, text);
        return NULL;
    }
    (void)snprintf(in_sync, sizeof(in_sync), "%d", replicas > 1 ? replicas - 1 : 1);
    (void)rd_kafka_NewTopic_set_config(topic, "message.timestamp.type", "LogAppendTime");
    (void)rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "delete");
    (void)rd_kafka_NewTopic_set_config(topic, "retention.ms", "-1");
    (void)rd_kafka_NewTopic_set_config(topic, "retention.bytes", "-1");
    (void)rd_kafka_NewTopic_set_config(topic, "min.insync.replicas", in_sync);
    (void)rd_kafka_NewTopic_set_config(topic, "unclean.leader.election.enable", "false");
    return topic;
}

/* The results of one CreateTopics request: there, or why not. */
static bool check_created(rd_kafka_event_t *event, struct err *err)
{
    const rd_kafka_CreateTopics_result_t *result = rd_kafka_event_CreateTopics_result(event);
    size_t n = 0;
    const rd_kafka_topic_result_t **topics =
        result == NULL ? NULL : rd_kafka_CreateTopics_result_topics(result, &n);

    if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return err_set(err, ERR_RETRY, "kafka: %s", rd_kafka_event_error_string(event));
    }
    for (size_t i = 0; i < n; i++) {
        rd_kafka_resp_err_t code = rd_kafka_topic_result_error(topics[i]);

        if (code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
            return err_set(err, ERR_FATAL, "topic %s: %s", rd_kafka_topic_result_name(topics[i]),
                           rd_kafka_topic_result_error_string(topics[i]));
        }
    }
    return true;
}

static bool create(const struct ctl *c, rd_kafka_t *rk, struct err *err)
{
    const char *names[] = {c->kafka.topic_orders, c->kafka.topic_outcomes, c->kafka.topic_dead};
    rd_kafka_NewTopic_t *topics[3] = {NULL};
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_event_t *event = NULL;
    char text[200] = "";
    bool done = false;

    for (size_t i = 0; i < 3; i++) {
        topics[i] = new_topic(c, names[i], err);
        if (topics[i] == NULL) {
            goto out;
        }
    }
    if (rd_kafka_AdminOptions_set_request_timeout(options, (int)c->timeout_ms, text,
                                                  sizeof(text)) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void)err_set(err, ERR_FATAL, "kafka: %s", text);
        goto out;
    }
    rd_kafka_CreateTopics(rk, topics, 3, options, queue);
    event = rd_kafka_queue_poll(queue, (int)c->timeout_ms + 1000);
    done = event == NULL ? err_set(err, ERR_RETRY, "kafka at %s does not answer", c->kafka.brokers)
                         : check_created(event, err);
out:
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    for (size_t i = 0; i < 3; i++) {
        if (topics[i] != NULL) {
            rd_kafka_NewTopic_destroy(topics[i]);
        }
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    return done;
}

/* 1 when every partition of the topic has a leader, 0 not yet, -1 when it is another topic than ours. */
static int look(const struct ctl *c, rd_kafka_t *rk, const char *name, struct err *err)
{
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
    const struct rd_kafka_metadata *meta = NULL;
    int ready = 0;

    if (topic != NULL &&
        rd_kafka_metadata(rk, 0, topic, &meta, 1000) == RD_KAFKA_RESP_ERR_NO_ERROR &&
        meta->topic_cnt == 1 && meta->topics[0].err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        const struct rd_kafka_metadata_topic *t = &meta->topics[0];

        ready = 1;
        if (t->partition_cnt != (int)c->kafka.partitions) {
            (void)err_set(err, ERR_FATAL,
                          "topic %s has %d partitions and not %d: the number is fixed for the life "
                          "of a topic; set `partitions`, or name new topics",
                          name, t->partition_cnt, (int)c->kafka.partitions);
            ready = -1;
        }
        for (int i = 0; ready == 1 && i < t->partition_cnt; i++) {
            ready = t->partitions[i].leader >= 0;
        }
    }
    if (meta != NULL) {
        rd_kafka_metadata_destroy(meta);
    }
    if (topic != NULL) {
        rd_kafka_topic_destroy(topic);
    }
    return ready;
}

static bool await_leaders(const struct ctl *c, rd_kafka_t *rk, struct err *err)
{
    const char *names[] = {c->kafka.topic_orders, c->kafka.topic_outcomes, c->kafka.topic_dead};
    int64_t end_ms = clock_mono_ms() + c->timeout_ms;
    size_t i = 0;

    while (i < 3) {
        int ready = look(c, rk, names[i], err);

        if (ready < 0) {
            return false;
        }
        i += (size_t)ready;
        if (ready == 0) {
            if (clock_mono_ms() > end_ms) {
                return err_set(err, ERR_RETRY, "topic %s has partitions without a leader",
                               names[i]);
            }
            rd_kafka_poll(rk, 50);
        }
    }
    return true;
}

/*
 * The offset behind the partition's last record, or -1 with err.  A broker that has just made
 * the topic says "not leader" for a moment.
 */
static int64_t end_of(const struct ctl *c, rd_kafka_t *rk, int partition, struct err *err)
{
    int64_t end_ms = clock_mono_ms() + c->timeout_ms;
    rd_kafka_resp_err_t code;
    int64_t low = 0;
    int64_t high = -1;

    do {
        code = rd_kafka_query_watermark_offsets(rk, c->kafka.topic_orders, partition, &low, &high,
                                                (int)c->timeout_ms);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            return high;
        }
        rd_kafka_poll(rk, 50);
    } while (clock_mono_ms() < end_ms);
    (void)err_set(err, ERR_RETRY, "topic %s [%d]: %s", c->kafka.topic_orders, partition,
                  rd_kafka_err2str(code));
    return -1;
}

/* Appends genesis if the partition is empty; *made tells. */
static bool begin(const struct ctl *c, rd_kafka_t *rk, int partition, bool *made, struct err *err)
{
    struct command genesis = {.type = COMMAND_GENESIS,
                              .partitions = c->kafka.partitions,
                              .rules = c->rules == 0 ? COMMAND_RULES : c->rules};
    unsigned char bytes[IDS_LOG_LEN / 2];
    char log_id[IDS_LOG_LEN + 1];
    int64_t end = end_of(c, rk, partition, err);

    *made = false;
    if (end != 0) {
        return end > 0;
    }
    if (RAND_bytes(bytes, sizeof(bytes)) != 1) {
        return err_set(err, ERR_FATAL, "no random bytes for a log id");
    }
    hex_encode(bytes, sizeof(bytes), log_id);
    if (!command_set_text(&genesis.other_id, slice_str(log_id))) {
        return err_set(err, ERR_FATAL, "log id");
    }
    *made = true;
    return bus_append(c, rk, &genesis, partition, NULL, err);
}

int topics_create(const struct ctl *c)
{
    struct err err = {0};
    rd_kafka_t *rk;
    int begun = 0;
    bool done;

    if (c->rules > COMMAND_RULES) {
        return ctl_say(CTL_USAGE, "--rules: this build has 1..%d", COMMAND_RULES);
    }
    rk = bus_client(c, RD_KAFKA_PRODUCER, &err);
    done = rk != NULL && create(c, rk, &err) && await_leaders(c, rk, &err);

    for (int p = 0; done && p < (int)c->kafka.partitions; p++) {
        bool made = false;

        done = begin(c, rk, p, &made, &err);
        begun += made;
    }
    if (rk != NULL) {
        rd_kafka_destroy(rk);
    }
    if (!done) {
        return ctl_fail(&err);
    }
    if (c->json) {
        printf("{\"partitions\":%lld,\"begun\":%d}\n", (long long)c->kafka.partitions, begun);
    } else {
        printf("%s, %s, %s: %lld partitions, genesis written to %d\n", c->kafka.topic_orders,
               c->kafka.topic_outcomes, c->kafka.topic_dead, (long long)c->kafka.partitions, begun);
    }
    return CTL_DONE;
}
