/*
 * record.h - asks MySQL for an order that Redis does not know (any more).
 *
 * A small pool of threads, each with a connection of its own and timeouts on everything, works off
 * one bounded queue; answers come back on the loop.  Every question taken is answered exactly once,
 * never before record_ask() returns.  Full is a refusal; what has stood in the queue for the timeout
 * is not asked any more.
 *
 * All calls and callbacks are on the loop's thread; record_destroy() waits for the threads, at most
 * for the timeout of what they do.
 */
#ifndef PRODUCER_RECORD_H
#define PRODUCER_RECORD_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/slice.h"
#include "common/stats.h"

struct record;

enum record_result {
    RECORD_FOUND,
    RECORD_FORGOTTEN, /* found, and Redis forgets it for good: it is what it came to */
    RECORD_ABSENT,
    RECORD_UNANSWERED, /* MySQL is away or slow */
};

/* entry is an order as in Redis (outcome.h: order_entry_next()), when found; borrowed. */
typedef void record_done_fn(uint64_t party, enum record_result result, struct slice entry,
                            void *arg);

struct record_settings {
    const char *host;
    int port;
    const char *user, *password, *database;
    int64_t timeout_ms;
    int threads;
    int64_t queue_max;
    struct stats *stats; /* borrowed */
    record_done_fn *done;
    void *arg; /* borrowed */
};

struct record *record_create(struct event_base *base, const struct record_settings *settings,
                             struct err *err) ATTR_MUSTCHECK;

/* Without further answers.  NULL is allowed. */
void record_destroy(struct record *r);

/* Asks for one user's order; the strings are copied.  False when the queue is full. */
bool record_ask(struct record *r, struct slice order_id, struct slice user_id,
                uint64_t party) ATTR_MUSTCHECK;

#endif /* PRODUCER_RECORD_H */
