/*
 * stream.h - reads every partition of the outcomes topic, from its end on.
 *
 * Each door reads all outcomes by itself (assigned, no group).  Reading starts at the last record
 * there is, so that the newest position is known; a partition is ready once everything found at
 * start was read, and where the orders topic ended then is known.  Records are handed on in the order
 * of the topic, which repeats and reorders nothing but may show older offsets again after a recovery:
 * the reader's business.
 *
 * So the last record need not be the newest outcome that anybody has read.  But that one is of a
 * command, so its offset is below the end that the orders topic had when reading started: what is told
 * later is read here.
 *
 * It also finds out whether Kafka is there at all, by asking for a partition's range every so often.
 */
#ifndef PRODUCER_STREAM_H
#define PRODUCER_STREAM_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/kafka.h"
#include "common/outcome.h"
#include "common/stats.h"

struct stream;

struct stream_calls {
    void (*outcome)(const struct outcome *outcome, void *arg);
    /* Before ready: what was told without being read here is of commands before end. */
    void (*log_end)(int partition, int64_t end, void *arg);
    void (*ready)(int partition, bool is_ready, void *arg);
    void (*kafka)(bool is_up, void *arg); /* on every change; it is down at first */
    void *arg;                            /* borrowed */
};

struct stream_settings {
    const struct kafka_settings *kafka; /* borrowed */
    const char *topic;
    const char *topic_orders;
    int partitions;
    struct stats *stats; /* borrowed */
    struct stream_calls calls;
};

/* Starts reading.  base is borrowed. */
struct stream *stream_create(struct event_base *base, const struct stream_settings *settings,
                             struct err *err) ATTR_MUSTCHECK;

/* NULL is allowed. */
void stream_destroy(struct stream *s);

#endif /* PRODUCER_STREAM_H */
