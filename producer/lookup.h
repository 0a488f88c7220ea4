/*
 * lookup.h - asks Redis for orders, items and payments, many at a time, by lua/lookup.lua.
 *
 * What is asked within one turn of the loop goes out as one script per partition, each with the
 * position its answers are valid at.  Every question taken is answered exactly once, never before
 * lookup_ask() returns.  Bounded: per partition one batch is being collected and a fixed number is
 * under way; what finds no room is refused at once.
 *
 * All calls and callbacks are on the loop's thread.
 */
#ifndef PRODUCER_LOOKUP_H
#define PRODUCER_LOOKUP_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/slice.h"
#include "common/stats.h"
#include "producer/door.h"

struct lookup;

/* Slices are copied; ptr NULL: not asked.  With none, it asks for the position alone. */
struct lookup_question {
    int partition;
    struct slice user_id, item_id, payment_id;
    int64_t horizon; /* door_horizon() now: comes back in the answer */
    uint64_t party;
};

/* look is borrowed for the call; item_id is the question's. */
typedef void lookup_done_fn(uint64_t party, const struct door_look *look, struct slice item_id,
                            void *arg);

struct lookup_settings {
    const char *host;
    int port;
    const char *password;
    const char *key_prefix;
    int64_t timeout_ms;
    int partitions;
    struct stats *stats; /* borrowed */
    lookup_done_fn *done;
    void (*up)(void *arg); /* the connection is usable; may be NULL */
    void *arg;             /* borrowed */
};

/* base is borrowed; starts connecting. */
struct lookup *lookup_create(struct event_base *base, const struct lookup_settings *settings,
                             struct err *err) ATTR_MUSTCHECK;

/* Answers everything as unanswered first.  NULL is allowed.  Not from within done. */
void lookup_destroy(struct lookup *l);

/* DOOR_LOOK_GOT: taken.  DOOR_LOOK_FULL or DOOR_LOOK_UNANSWERED (Redis is away): not taken. */
enum door_look_result lookup_ask(struct lookup *l,
                                 const struct lookup_question *question) ATTR_MUSTCHECK;

bool lookup_is_up(const struct lookup *l);

#endif /* PRODUCER_LOOKUP_H */
