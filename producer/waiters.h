/*
 * waiters.h - who waits for a decision.
 *
 * A waiter names an order and what it wants to hear about it: how the order was decided, how a
 * payment was answered, or how a cancel was answered.  It leaves exactly once: an event that
 * answers it arrives, its deadline passes, or it is removed.  The first two call told once, after
 * the waiter has left, so told may call any function here but waiters_destroy().
 *
 * Strangers hear nothing: an event must name the waiter's user.
 *
 * All memory is taken at creation; full is a refusal.  Not thread-safe: the loop makes every call.
 */
#ifndef PRODUCER_WAITERS_H
#define PRODUCER_WAITERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/outcome.h"
#include "common/slice.h"

struct waiters;

/* Names one waiter in one table.  WAITERS_NONE is never a valid ticket. */
typedef uint64_t waiters_ticket;
#define WAITERS_NONE ((waiters_ticket)0)

enum waiters_topic {
    WAITERS_ORDER,   /* reserved, rejected, or anything later; or a duplicate's content */
    WAITERS_PAYMENT, /* paid, refund_due or duplicate with this payment_id */
    WAITERS_CANCEL,  /* cancelled by whomever, or its own command refused */
};

/* The strings are copied. */
struct waiters_wish {
    enum waiters_topic topic;
    struct slice order_id;   /* IDS_ORDER_LEN characters */
    struct slice user_id;    /* at most IDS_MAX */
    struct slice payment_id; /* of a payment; at most IDS_MAX */
    int64_t deadline_ms;     /* monotonic */
};

/* event is what answers, from the record at offset; NULL at the deadline.  Borrowed. */
typedef void waiters_told_fn(uint64_t party, const struct event *event, int64_t offset, void *arg);

/* told and arg are borrowed for the life of the table. */
struct waiters *waiters_create(size_t capacity, waiters_told_fn *told, void *arg) ATTR_MUSTCHECK;

/* Forgets everybody without telling them.  NULL is allowed. */
void waiters_destroy(struct waiters *w);

/* WAITERS_NONE when the table is full. */
waiters_ticket waiters_add(struct waiters *w, const struct waiters_wish *wish,
                           uint64_t party) ATTR_MUSTCHECK;

/* Leaves without being told.  False when it had left already. */
bool waiters_remove(struct waiters *w, waiters_ticket ticket);

/*
 * The waiter has seen the state at position: records up to it are older than what it knows, and
 * are dropped.  The first call counts, later ones do nothing.
 */
void waiters_seen(struct waiters *w, waiters_ticket ticket, int64_t position);

/*
 * The waiter's own command stands at offset: refusals of others are not for it.  True when its own
 * has come before this: *reason says why, and nobody is told.
 */
bool waiters_placed(struct waiters *w, waiters_ticket ticket, int64_t offset,
                    enum reason *reason) ATTR_MUSTCHECK;

/* Tells those whom this event of the record at offset answers; returns how many. */
size_t waiters_tell(struct waiters *w, const struct event *event, int64_t offset);

/* Tells those whose deadline has passed, up to 50 ms late; returns how many. */
size_t waiters_expire(struct waiters *w, int64_t now_ms);

size_t waiters_count(const struct waiters *w);

#endif /* PRODUCER_WAITERS_H */
