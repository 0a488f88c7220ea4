/*
 * Deletes records at the front of partitions: for `seckill-guardian archive`.
 */
#include <stdio.h>
#include <string.h>

#include "common/kafka_internal.h"

/* What became of each partition of one DeleteRecords request. */
static bool check_deleted(rd_kafka_event_t *event, struct err *err)
{
    const rd_kafka_DeleteRecords_result_t *result = rd_kafka_event_DeleteRecords_result(event);
    const rd_kafka_topic_partition_list_t *offsets;

    if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR || result == NULL) {
        return err_set(err, ERR_RETRY, "kafka: %s", rd_kafka_event_error_string(event));
    }
    offsets = rd_kafka_DeleteRecords_result_offsets(result);
    for (int i = 0; i < offsets->cnt; i++) {
        const rd_kafka_topic_partition_t *p = &offsets->elems[i];

        if (p->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return err_set(err, ERR_RETRY, "kafka: %s [%d]: %s", p->topic, p->partition,
                           rd_kafka_err2str(p->err));
        }
    }
    return true;
}

static bool delete_before(rd_kafka_t *rk, rd_kafka_DeleteRecords_t *request, int64_t timeout_ms,
                          struct err *err)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DELETERECORDS);
    rd_kafka_event_t *event = NULL;
    char text[200] = "";
    bool ok = true;

    if (rd_kafka_AdminOptions_set_request_timeout(options, (int)timeout_ms, text, sizeof(text)) !=
        RD_KAFKA_RESP_ERR_NO_ERROR) {
        ok = err_set(err, ERR_FATAL, "kafka: %s", text);
        goto out;
    }
    rd_kafka_DeleteRecords(rk, &request, 1, options, queue);
    event = rd_kafka_queue_poll(queue, (int)timeout_ms + 1000);
    ok = event == NULL ? err_set(err, ERR_RETRY, "kafka: no answer to DeleteRecords")
                       : check_deleted(event, err);
out:
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    return ok;
}

bool kafka_delete_before(const struct kafka_settings *settings, const char *topic,
                         const struct kafka_start *first, size_t n, int64_t timeout_ms,
                         struct err *err)
{
    static const struct kafka_property none[] = {{NULL, NULL}};
    rd_kafka_conf_t *conf = kafka_conf(settings, CONF_KAFKA_ANY, none, none, err);
    rd_kafka_t *rk = conf == NULL ? NULL : kafka_client(RD_KAFKA_PRODUCER, conf, false, err);
    rd_kafka_topic_partition_list_t *list;
    rd_kafka_DeleteRecords_t *request;
    bool ok;

    if (rk == NULL) {
        return false;
    }
    list = rd_kafka_topic_partition_list_new((int)n);
    for (size_t i = 0; i < n; i++) {
        rd_kafka_topic_partition_list_add(list, topic, first[i].partition)->offset =
            first[i].offset;
    }
    request = rd_kafka_DeleteRecords_new(list);
    rd_kafka_topic_partition_list_destroy(list);
    ok = delete_before(rk, request, timeout_ms, err);
    rd_kafka_DeleteRecords_destroy(request);
    kafka_end(rk, NULL, NULL, NULL);
    return ok;
}
