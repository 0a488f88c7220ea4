/*
 * Who reads a log waits for its next record, not for all of them: a long log takes longer than any one
 * wait may.  The broker is librdkafka's own, and slow.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "common/clock.h"
#include "guardian/pick.h"
#include "guardian/refold.h"

enum {
    RECORDS = 36,
    RTT_MS = 60,
    PATIENCE_MS = 1500, /* for a record; all of them take longer */
};

static const char topic[] = "seckill.orders";

struct broker {
    rd_kafka_t *rk;
    rd_kafka_mock_cluster_t *cluster;
    struct kafka_settings kafka;
};

/* Each record is a batch of its own, and the broker answers with one of them at a time. */
static void put(struct broker *b, int number)
{
    char value[200];

    (void)snprintf(value, sizeof(value),
                   number == 0
                       ? "{\"type\":\"genesis\",\"log_id\":\"%032d\",\"partitions\":1,\"rules\":1}"
                       : "%d",
                   number);
    assert_int_equal(rd_kafka_producev(b->rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                       RD_KAFKA_V_VALUE(value, strlen(value)), RD_KAFKA_V_END),
                     RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(rd_kafka_flush(b->rk, 60000), RD_KAFKA_RESP_ERR_NO_ERROR);
}

static int start(void **state)
{
    static struct broker b;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char why[200];

    assert_int_equal(rd_kafka_conf_set(conf, "test.mock.num.brokers", "1", why, sizeof(why)),
                     RD_KAFKA_CONF_OK);
    b.rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
    assert_non_null(b.rk);
    b.cluster = rd_kafka_handle_mock_cluster(b.rk);
    b.kafka = (struct kafka_settings){.brokers = rd_kafka_mock_cluster_bootstraps(b.cluster),
                                      .client_id = "test"};
    assert_int_equal(rd_kafka_mock_topic_create(b.cluster, topic, 1, 1),
                     RD_KAFKA_RESP_ERR_NO_ERROR);
    for (int i = 0; i < RECORDS; i++) {
        put(&b, i);
    }
    assert_int_equal(rd_kafka_mock_broker_set_rtt(b.cluster, 1, RTT_MS),
                     RD_KAFKA_RESP_ERR_NO_ERROR);
    *state = &b;
    return 0;
}

static int stop(void **state)
{
    struct broker *b = *state;

    (void)kafka_wait_ended(10000);
    rd_kafka_destroy(b->rk);
    return 0;
}

static void count(const struct kafka_record *record, void *arg)
{
    int *n = arg;

    (void)record;
    (*n)++;
}

static void a_long_log_is_picked(void **state)
{
    const struct broker *b = *state;
    const struct pick_wait wait = {.patience_ms = PATIENCE_MS};
    const int64_t started_ms = clock_mono_ms();
    int n = 0;
    const struct pick_span span = {0, RECORDS - 1, count, &n};
    struct err err = {0};
    struct pick *pick = pick_create(&b->kafka, topic, 0, &wait, &err);

    assert_non_null(pick);
    if (!pick_read(pick, &span, &err)) {
        fail_msg("after %d: %s", n, err.text);
    }
    assert_int_equal(n, RECORDS);
    assert_true(clock_mono_ms() - started_ms > PATIENCE_MS);
    pick_destroy(pick);
}

static void a_record_that_does_not_come_is_not_waited_for(void **state)
{
    const struct broker *b = *state;
    const struct pick_wait wait = {.patience_ms = PATIENCE_MS};
    int n = 0;
    const struct pick_span span = {RECORDS - 1, RECORDS, count, &n};
    struct err err = {0};
    struct pick *pick = pick_create(&b->kafka, topic, 0, &wait, &err);

    assert_non_null(pick);
    assert_false(pick_read(pick, &span, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_int_equal(n, 1);
    pick_destroy(pick);
}

static void a_long_log_is_folded(void **state)
{
    const struct broker *b = *state;
    const int64_t started_ms = clock_mono_ms();
    struct refold_range range;
    struct err err = {0};
    struct refold *refold = refold_create(&b->kafka, topic, 1, PATIENCE_MS, &err);

    assert_non_null(refold);
    assert_true(refold_ranges(refold, &range, &err));
    assert_int_equal(range.end, RECORDS - 1);
    assert_true(refold_open(refold, 0, NULL, -1, &err));
    if (!refold_advance(refold, range.end, &err)) {
        fail_msg("%s", err.text);
    }
    assert_true(clock_mono_ms() - started_ms > PATIENCE_MS);
    refold_destroy(refold);
}

/* However much comes: under traffic that would be for ever. */
static void what_the_log_lacks_is_not_waited_for(void **state)
{
    const struct broker *b = *state;
    struct err err = {0};
    struct refold *refold = refold_create(&b->kafka, topic, 1, PATIENCE_MS, &err);

    assert_non_null(refold);
    assert_true(refold_open(refold, 0, NULL, -1, &err));
    assert_false(refold_advance(refold, RECORDS, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_in_range(refold_position(refold), 1, RECORDS - 2);
    refold_destroy(refold);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_log_is_picked),
        cmocka_unit_test(a_record_that_does_not_come_is_not_waited_for),
        cmocka_unit_test(a_long_log_is_folded),
        cmocka_unit_test(what_the_log_lacks_is_not_waited_for),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
