/*
 * door.h - whether an order may go into the log: the door's decisions, without I/O.
 *
 * The door knows its partitions (from look-ups and the outcome stream), items (gates), buckets, and
 * what it has in flight.  A request for an order is decided in one or two steps:
 *
 *     door_admit(...)                     rate limits: the request may be looked at
 *     door_order(door, &order, ...)       DOOR_LOOK? look the order and the item up, then
 *     door_order_looked(..., &look, ...)  which never says DOOR_LOOK
 *
 * and the caller does what the verdict says.  A keyed order is always looked up before a local gate
 * or a full queue may refuse it: the owner of the last unit who asks again must not hear "sold out".
 * No answer to a look-up is a 503, never the gate's refusal.
 *
 * Time is an argument.  One thread.
 */
#ifndef PRODUCER_DOOR_H
#define PRODUCER_DOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/outcome.h"
#include "common/slice.h"
#include "producer/bucket.h"
#include "producer/gates.h"
#include "producer/inflight.h"
#include "producer/limiter.h"
#include "producer/refusal.h"

struct door;

struct door_settings {
    int partitions;
    size_t items_max;
    int64_t fresh_ms;   /* for how long knowledge of an item may refuse */
    int64_t silence_ms; /* a partition without an answered look-up for longer is not ready */
    int64_t lag_max;    /* records placed and not decided, per partition */
    struct bucket_settings rates;
    enum limiter_preset limiter;
    uint64_t seed; /* of the jitter */
};

enum door_move {
    DOOR_REFUSE, /* refusal, retry_after_s */
    DOOR_LOOK,   /* look up user and item, then door_order_looked() */
    DOOR_JOIN,   /* the same order is in flight: found.ticket */
    DOOR_PLACED, /* the same order was placed here and is not decided yet: found.offset */
    DOOR_KNOWN,  /* the same order is decided: known */
    DOOR_SEND,   /* mint an id if there is none, and publish */
};

struct door_verdict {
    enum door_move move;
    enum refusal refusal;
    int64_t retry_after_s; /* 0: no such header */
    struct inflight_order found;
    struct order_entry known; /* borrowed from the look-up */
};

struct door_order {
    struct slice user_id, item_id;
    struct slice order_id; /* keyed: its id; unkeyed: ptr NULL */
    int64_t qty;
    int partition;
};

struct door_now {
    int64_t mono_ms;
    int64_t log_clock_ms; /* what the log's clock shows, about */
};

enum door_look_result {
    DOOR_LOOK_GOT,
    DOOR_LOOK_ABSENT,     /* the partition has no state */
    DOOR_LOOK_FULL,       /* too many look-ups: not asked */
    DOOR_LOOK_UNANSWERED, /* nobody knows */
};

/* What a look-up told; slices are borrowed. */
struct door_look {
    enum door_look_result result;
    int partition;
    int64_t watermark, log_time;
    struct slice genesis;
    struct slice orders;  /* of the user asked for; ptr NULL: none, or not asked */
    struct slice item;    /* of the item asked for; ptr NULL: none, or not asked */
    struct slice payment; /* of the payment asked for; likewise */
    int64_t horizon;      /* door_horizon() when it was asked */
};

/* inflight is borrowed for the life of the door. */
struct door *door_create(const struct door_settings *settings,
                         const struct inflight *inflight) ATTR_MUSTCHECK;
void door_destroy(struct door *d);

/* Takes a token of each of the visitor's buckets, or refuses. */
bool door_admit(struct door *d, const struct bucket_visit *visit, int64_t now_ms,
                struct door_verdict *verdict) ATTR_MUSTCHECK;

void door_order(struct door *d, const struct door_order *order, const struct door_now *now,
                struct door_verdict *verdict);
void door_order_looked(struct door *d, const struct door_order *order, const struct door_look *look,
                       const struct door_now *now, struct door_verdict *verdict);

/* Payments, cancels: DOOR_SEND or DOOR_REFUSE.  The length of the line does not refuse them. */
void door_command(struct door *d, int partition, int64_t now_ms, struct door_verdict *verdict);

/* A refusal for a reason that only the caller knows, with its Retry-After. */
void door_refuse(struct door *d, enum refusal refusal, struct door_verdict *verdict);

/* Finds order_id among a user's orders.  False when it is not there. */
bool door_find_entry(struct slice orders, struct slice order_id,
                     struct order_entry *entry) ATTR_MUSTCHECK;

/*
 * Redis stands behind what may have been told when it was asked: what it does not know may be there,
 * and what it does may have changed.
 */
bool door_has_gone_back(const struct door_look *look) ATTR_MUSTCHECK;

/* ... and what it told of this order is not what it came to in the end. */
bool door_is_outdated(const struct door_look *look, const struct order_entry *entry) ATTR_MUSTCHECK;

/* ---- events ---- */

/* Any look-up that was answered, before what it says is used; item_id of look->item, if asked. */
void door_on_look(struct door *d, const struct door_look *look, struct slice item_id,
                  int64_t now_ms);

/* A record of the outcome stream.  False when it is of another log than the look-ups told. */
bool door_on_outcome(struct door *d, const struct outcome *outcome, int64_t now_ms);

struct door_placed {
    int partition;
    int64_t offset;   /* -1: not told */
    int64_t since_ms; /* when it was sent; -1: it has left flight since */
};

/* Kafka stored a command. */
void door_on_placed(struct door *d, const struct door_placed *placed, int64_t now_ms);

/*
 * What was told, by whomever, and is not read in the outcome stream is of commands before end: a
 * look-up that does not know them all may be of the past.
 */
void door_on_log_end(struct door *d, int partition, int64_t end);

/* The outcome stream of a partition has reached the end found at start. */
void door_on_stream(struct door *d, int partition, bool is_ready);
void door_on_kafka(struct door *d, bool is_up);
void door_on_drain(struct door *d);

/* To be called a good deal more often than every LIMITER_WINDOW_MS. */
void door_on_tick(struct door *d, int64_t now_ms);

/* ---- questions ---- */

enum door_state {
    DOOR_READY,
    DOOR_NO_KAFKA,
    DOOR_NO_STREAM,
    DOOR_NO_REDIS,   /* no look-up was answered for silence_ms */
    DOOR_NO_GENESIS, /* Redis has no state of the partition */
    DOOR_OTHER_LOG,  /* look-ups and outcomes speak of different logs */
    DOOR_RECOVERING, /* Redis stands behind outcomes already told, or perhaps told */
};
enum door_state door_state(const struct door *d, int partition, int64_t now_ms);
const char *door_state_name(enum door_state state);

bool door_is_draining(const struct door *d);

/* The highest offset whose outcome was seen; -1: none yet. */
int64_t door_highest(const struct door *d, int partition);

/*
 * Up to which offset somebody may have been told what became of a command, as far as this door can
 * know: by outcomes that it has read, or before it read any.  -1: nobody.
 */
int64_t door_horizon(const struct door *d, int partition);

/* False: it cannot say yet whether a look-up is of the past. */
bool door_has_horizon(const struct door *d, int partition);

int door_partitions(const struct door *d);

/* Records between what is decided and the newest known; never negative. */
int64_t door_lag(const struct door *d, int partition);

struct gates *door_gates(struct door *d);

/* Somebody else saw so many orders that took so long on a part of that line. */
void door_observe(struct door *d, int partition, enum limiter_side side, int64_t took_ms,
                  int64_t count, int64_t now_ms);

/* Of the line to Kafka, or of the line to a decision. */
const struct limiter *door_limiter(const struct door *d, int partition, enum limiter_side side);

#endif /* PRODUCER_DOOR_H */
