/*
 * Appends orders to a topic as fast as librdkafka takes them, or at a rate, each by a user of its
 * own: what Kafka itself can do, and logs for those who read them.
 *
 *     build/tests/fill_bench BROKERS TOPIC PARTITIONS ITEMS ORDERS [PAID [RATE]]
 *
 * The orders are for ITEMS things in turn, "thing0@0" and so on, the i-th in partition i modulo
 * PARTITIONS; of PAID orders, one is paid at once (0: none).  Tells the records stored, the seconds
 * until all were, and p50 and p99 of the time from sending a record to its acknowledgement.
 */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/command.h"
#include "common/histogram.h"

enum { PATIENCE_MS = 3600000, FLUSH_MS = 120000 };

struct fill {
    rd_kafka_t *rk;
    const char *topic;
    long partitions, items, orders, paid, rate;
    struct histogram acked;
    size_t failed;
};

static void fail(const char *why)
{
    (void)fprintf(stderr, "fill_bench: %s\n", why);
    exit(1);
}

static void require(bool fact, const char *why)
{
    if (!fact) {
        fail(why);
    }
}

static long number(const char *text)
{
    char *end = NULL;
    long n = strtol(text, &end, 10);
    require(*text != '\0' && *end == '\0' && n >= 0, "numbers are digits");
    return n;
}

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct fill *f = opaque;
    const int64_t *sent_us = message->_private;
    (void)rk;
    histogram_add(&f->acked, clock_mono_us() - *sent_us);
    f->failed += message->err != RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_t *client(struct fill *f, const char *brokers)
{
    const char *const settings[][2] = {{"bootstrap.servers", brokers},
                                       {"enable.idempotence", "true"},
                                       {"linger.ms", f->rate > 0 ? "1" : "5"},
                                       {"batch.num.messages", "10000"},
                                       {"queue.buffering.max.messages", "1000000"},
                                       {"queue.buffering.max.kbytes", "1000000"}};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char why[256];

    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        require(rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why, sizeof(why)) ==
                    RD_KAFKA_CONF_OK,
                why);
    }
    rd_kafka_conf_set_opaque(conf, f);
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
    require(rk != NULL, why);
    /* The first record shall not wait for this. */
    const struct rd_kafka_metadata *known = NULL;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, f->topic, NULL);
    require(topic != NULL &&
                rd_kafka_metadata(rk, 0, topic, &known, FLUSH_MS) == RD_KAFKA_RESP_ERR_NO_ERROR,
            "Kafka does not answer");
    rd_kafka_metadata_destroy(known);
    rd_kafka_topic_destroy(topic);
    return rk;
}

static void append(struct fill *f, const struct command *c, int partition, int64_t *sent_us)
{
    char value[COMMAND_VALUE_MAX];
    size_t len = command_format(c, value, sizeof(value));
    struct slice key = command_key(c);
    rd_kafka_resp_err_t rc;

    require(len > 0, "a command that cannot be written");
    *sent_us = clock_mono_us();
    do {
        rc = rd_kafka_producev(f->rk, RD_KAFKA_V_TOPIC(f->topic), RD_KAFKA_V_PARTITION(partition),
                               RD_KAFKA_V_KEY(key.ptr, key.len), RD_KAFKA_V_VALUE(value, len),
                               RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE(sent_us),
                               RD_KAFKA_V_END);
        rd_kafka_poll(f->rk, rc == RD_KAFKA_RESP_ERR__QUEUE_FULL ? 1 : 0);
    } while (rc == RD_KAFKA_RESP_ERR__QUEUE_FULL);
    require(rc == RD_KAFKA_RESP_ERR_NO_ERROR, rd_kafka_err2str(rc));
}

static void set_text(struct command_text *text, const char *what, long n, long where)
{
    char s[IDS_MAX];
    int len = where < 0 ? snprintf(s, sizeof(s), "%s%ld", what, n)
                        : snprintf(s, sizeof(s), "%s%ld@%ld", what, n, where);
    require(command_set_text(text, (struct slice){s, (size_t)len}), "a name that is too long");
}

/* The i-th order and, if it is paid, its payment. */
static void place(struct fill *f, long i, int64_t *sent_us)
{
    int partition = (int)(i % f->items % f->partitions);
    struct command c = {
        .type = COMMAND_ORDER, .qty = 1, .not_after = clock_wall_ms() + PATIENCE_MS};

    require(ids_order_unkeyed(c.order_id, partition, clock_wall_ms()), "no random bytes");
    set_text(&c.item_id, "thing", i % f->items, partition);
    set_text(&c.user_id, "user", i, -1);
    append(f, &c, partition, &sent_us[0]);
    if (f->paid > 0 && i % f->paid == 0) {
        c.type = COMMAND_PAY;
        set_text(&c.other_id, "pay", i, -1);
        append(f, &c, partition, &sent_us[1]);
    }
}

int main(int argc, char **argv)
{
    static struct fill f;

    require(argc >= 6 && argc <= 8,
            "fill_bench BROKERS TOPIC PARTITIONS ITEMS ORDERS [PAID [RATE]]");
    f.topic = argv[2];
    f.partitions = number(argv[3]);
    f.items = number(argv[4]);
    f.orders = number(argv[5]);
    f.paid = argc > 6 ? number(argv[6]) : 0;
    f.rate = argc > 7 ? number(argv[7]) : 0;
    require(f.partitions > 0 && f.items > 0 && f.orders > 0, "there is nothing to append");
    f.rk = client(&f, argv[1]);

    int64_t *sent_us = calloc((size_t)f.orders, 2 * sizeof(*sent_us));
    require(sent_us != NULL, "no memory");
    int64_t from_us = clock_mono_us();
    for (long i = 0; i < f.orders; i++) {
        while (f.rate > 0 && clock_mono_us() - from_us < i * 1000000 / f.rate) {
            rd_kafka_poll(f.rk, 1);
        }
        place(&f, i, sent_us + 2 * i);
    }
    require(rd_kafka_flush(f.rk, FLUSH_MS) == RD_KAFKA_RESP_ERR_NO_ERROR, "not all was stored");
    int64_t took_us = clock_mono_us() - from_us;
    require(f.failed == 0, "Kafka refused some");
    printf("%" PRIu64 " %.6f %" PRId64 " %" PRId64 "\n", histogram_count(&f.acked),
           (double)took_us / 1e6, histogram_quantile(&f.acked, 0.5),
           histogram_quantile(&f.acked, 0.99));
    rd_kafka_destroy(f.rk);
    free(sent_us);
    return 0;
}
