/*
 * calls.h - the requests that cannot be answered at once, and everything they need.
 *
 * A call is one HTTP request on its way to an answer: it looks things up, hands a command to Kafka,
 * waits for a decision, reads the record, as its kind and the door's verdicts demand, and is
 * answered exactly once.  Everything it waits for (look-up, delivery report, decision, record)
 * holds the call's number, never a pointer, so what comes for a call that is over is ignored.
 *
 * Owns the parts: door, tables, look-ups, publisher, outcome stream, record.  Bounded: a call needs
 * a slot, and with it may have one look-up, one command, one waiter and one reading under way.
 *
 * All on the loop's thread.
 */
#ifndef PRODUCER_CALLS_H
#define PRODUCER_CALLS_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/admin.h"
#include "common/attr.h"
#include "common/err.h"
#include "common/kafka.h"
#include "common/options.h"
#include "common/stats.h"
#include "producer/door.h"
#include "producer/http.h"
#include "producer/input.h"

struct calls;

enum calls_kind {
    CALLS_ORDER,  /* user_id, item_id, qty, order_id (keyed), partition */
    CALLS_SHOW,   /* user_id, order_id, partition, offset */
    CALLS_PAY,    /* user_id, order_id, partition, payment_id */
    CALLS_CANCEL, /* user_id, order_id, partition */
    CALLS_ITEM,   /* item_id, partition */
};

/* A request, checked and admitted; slices are copied, ptr NULL: the kind has none. */
struct calls_request {
    enum calls_kind kind;
    struct slice user_id, item_id, order_id, payment_id;
    struct slice traceparent; /* ptr NULL: none, or not well-formed */
    int64_t qty;
    int partition;
    int64_t offset;  /* as a genuine receipt tells; -1 */
    int64_t wait_ms; /* 0: answer as soon as the log has it */
    bool is_left;    /* the client had closed its side before it was read */
};

struct calls_settings {
    const struct kafka_settings *kafka; /* borrowed; strings of the others too */
    struct options_kafka topics;
    struct options_redis redis;
    struct options_mysql mysql;
    struct door_settings door;
    int64_t calls_max, inflight_max, waiters_max;
    int64_t send_timeout_ms, patience_ms, redis_timeout_ms, mysql_timeout_ms;
    int64_t mysql_threads, mysql_queue_max;
    int64_t linger_min_ms, linger_max_ms, publish_batch, publish_queue_max, publish_rate;
    struct slice secret; /* the tokens': receipts are signed with a key made from it */
    struct stats *stats; /* borrowed */
};

/* base is borrowed.  Starts connecting to everything; serving may begin at once (with 503s). */
struct calls *calls_create(struct event_base *base, const struct calls_settings *settings,
                           struct err *err) ATTR_MUSTCHECK;

/* Answers what is pending as unknown, queued or draining.  NULL is allowed. */
void calls_destroy(struct calls *c);

/* Takes the duty to answer req. */
void calls_start(struct calls *c, struct http_request *req, const struct calls_request *request);

/* Answers req, which has no call, with a refusal, and counts it. */
void calls_refuse(struct calls *c, struct http_request *req, const struct door_verdict *verdict);

/* Nothing new is placed, what is on its way is hurried, and waits end after grace_ms. */
void calls_drain(struct calls *c, int64_t grace_ms);

/* Calls not yet answered, and commands not yet settled. */
size_t calls_pending(const struct calls *c);

struct door *calls_door(struct calls *c);

/* The checks of /readyz. */
void calls_ready(struct admin_report *report, void *calls);

/* Every partition took orders at some time: the start is over. */
bool calls_has_been_ready(const struct calls *c);

#endif /* PRODUCER_CALLS_H */
