/*
 * inflight.h - commands handed to Kafka and not yet answered over HTTP, and orders not yet decided.
 *
 * A command enters with inflight_add() and leaves flight exactly once: its delivery report
 * arrives, its deadline passes, or the table is destroyed.  Leaving calls done once per party (the
 * request that sent it, and those that joined it), after the command has left, so done may call
 * any function here but inflight_destroy().
 *
 * Callers hold tickets, never pointers.  Kafka keeps the ticket as the message opaque and may
 * report long after the deadline; a ticket whose command has left is recognised and ignored.
 *
 * An order that was delivered stays findable by its id ("placed") until its decision was seen, or
 * until its room is needed: that is how this door knows its own queued orders without being told
 * their place.  Placed orders never stand in the way of new commands.
 *
 * All memory is taken at creation; full is the producer's back-pressure signal.
 * Not thread-safe: the loop makes every call.
 */
#ifndef PRODUCER_INFLIGHT_H
#define PRODUCER_INFLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/ids.h"
#include "common/slice.h"

struct inflight;

/* Names one command in one table.  INFLIGHT_NONE is never a valid ticket. */
typedef uint64_t inflight_ticket;
#define INFLIGHT_NONE ((inflight_ticket)0)

enum inflight_fate {
    INFLIGHT_DELIVERED, /* Kafka stored the command */
    INFLIGHT_FAILED,    /* Kafka gave up: the command is certainly not stored */
    INFLIGHT_UNKNOWN,   /* deadline, fatal error or shutdown came first: it may be stored */
};

/* What is handed to Kafka; the strings are copied. */
struct inflight_command {
    struct slice order_id; /* IDS_ORDER_LEN characters */
    struct slice user_id;  /* at most IDS_MAX characters */
    int partition;
    int64_t qty; /* of an order; 0 for a payment or cancel, which cannot be found or joined */
};

/* An order of this door, as found by its id; borrowed until the next call that is not const. */
struct inflight_order {
    inflight_ticket ticket; /* INFLIGHT_NONE once it is placed */
    struct slice user_id;
    int partition;
    int64_t qty;
    int64_t offset;  /* where it was placed; -1 in flight, or when Kafka did not say */
    bool is_decided; /* the decision was seen before Kafka's report */
};

/* offset is -1 unless delivered, and when Kafka did not say. */
typedef void inflight_done_fn(uint64_t party, enum inflight_fate fate, int64_t offset, void *arg);

/*
 * Room for capacity commands, each of which may fly for timeout_ms, and for twice as many
 * parties.  done and arg are borrowed for the life of the table.
 */
struct inflight *inflight_create(size_t capacity, int64_t timeout_ms, inflight_done_fn *done,
                                 void *arg) ATTR_MUSTCHECK;

/*
 * Reports INFLIGHT_UNKNOWN for every command in flight, then frees t.  While it runs
 * inflight_add() refuses.  NULL is allowed.
 */
void inflight_destroy(struct inflight *t);

/*
 * Adds a command at time now_ms (monotonic, never decreasing between calls) for party, a
 * number of the caller's.  Returns INFLIGHT_NONE when capacity commands are in flight.  An order
 * whose id is in flight already must be joined, not added (checked).  done never runs before this
 * returns.
 */
inflight_ticket inflight_add(struct inflight *t, int64_t now_ms, const struct inflight_command *cmd,
                             uint64_t party) ATTR_MUSTCHECK;

/* Also tells party when ticket leaves.  False when it has left, or no room for parties is left. */
bool inflight_join(struct inflight *t, inflight_ticket ticket, uint64_t party) ATTR_MUSTCHECK;

/* Applies a delivery report.  False for a ticket whose command has already left. */
bool inflight_settle(struct inflight *t, inflight_ticket ticket, enum inflight_fate fate,
                     int64_t offset);

/* Reports INFLIGHT_UNKNOWN for every command past its deadline; returns how many there were. */
size_t inflight_expire(struct inflight *t, int64_t now_ms);

/* Since when a command has been in flight; -1: it has left. */
int64_t inflight_since(const struct inflight *t, inflight_ticket ticket);

/* Finds an order in flight or placed. */
bool inflight_find(const struct inflight *t, struct slice order_id,
                   struct inflight_order *order) ATTR_MUSTCHECK;

/* The order's decision was seen: it need not be remembered as placed. */
void inflight_decided(struct inflight *t, struct slice order_id);

/* Commands in flight, those of one partition, and orders placed. */
size_t inflight_count(const struct inflight *t);
size_t inflight_flying(const struct inflight *t, int partition);
size_t inflight_placed(const struct inflight *t);

#endif /* PRODUCER_INFLIGHT_H */
