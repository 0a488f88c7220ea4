/*
 * ring.h - fixed-size records from one thread, or several, to one other: bounded, without locks.
 *
 * A ring has one lane for each producer, and a lane is a circle of slots with one writer and one
 * reader.  So no producer ever waits for another, nor the consumer for one that was stopped in the
 * middle of a record; what it has published keeps its order, and lanes have none among each other.
 * All memory is taken by ring_create(): a full lane refuses, and nothing ever grows.
 *
 * Records are made and read where they lie, in batches:
 *
 *     producer                                      consumer
 *     n = wanted;                                   n = at most;
 *     slots = ring_reserve(lane, &n);               records = ring_take(r, &n);
 *     NULL: full, refuse; else fill n of them       NULL: ring_wait(r, ...); else use n of them
 *     ring_publish(lane, n);                        ring_release(r, n);
 *
 * Who waits.  Producers never do.  The consumer spins, a bounded number of times, then yields, then
 * sleeps on an eventfd; a producer makes a system call only when the consumer has said that it
 * sleeps.  A consumer with an event loop watches ring_fd() and calls ring_arm() whenever it is about
 * to go back to the loop.
 *
 * Memory order.  Per lane there are two counters, each written by one side only.
 *
 *   A record is whole when it is seen: it is written before the lane's tail is stored with release,
 *   and read after the tail was loaded with acquire.  A slot is free when it is reused: it is read
 *   before the head is stored with release, and written after the head was loaded with acquire.
 *   Counters never go back, so an old value of the other side's only hides records or free slots.
 *
 *   No wake-up is lost: the producer stores the tail and then loads is_asleep, the consumer stores
 *   is_asleep and then loads all tails.  If both loads came before the other side's store, the
 *   consumer would sleep beside a record; with release and acquire alone that may happen, as each
 *   store can wait in its processor's buffer.  Where the kernel has membarrier(2), the consumer
 *   alone pays against it: the call between its store and its loads makes each running thread of
 *   the process pass a full barrier.  A tail stored before that barrier is seen by the consumer; one
 *   stored after it belongs to a producer whose load comes later still, and sees is_asleep.  Without
 *   the call all four are sequentially consistent: in their one order the last of the two stores
 *   precedes the load behind it, and this one sees the other's.
 *
 *   Whoever takes is_asleep away writes to the eventfd: one system call for each sleep.  The consumer
 *   may have found a record meanwhile; then one later sleep ends early, for nothing.
 *
 * tests/unit/ring_model_test.c runs this code through all interleavings of small cases.
 *
 * The producer's HTTP threads use it (producer/relay.h, docs/decisions/0018).
 *
 * Threads: for each lane one at a time makes the producer's calls, and one the consumer's.
 */
#ifndef COMMON_RING_H
#define COMMON_RING_H

#include <stdbool.h>
#include <stddef.h>

#include "common/attr.h"
#include "common/err.h"

struct ring;
struct ring_lane;

enum {
    RING_PRODUCERS_MAX = 256,
    RING_RECORDS_MAX = 1 << 24,
    RING_RECORD_MAX_BYTES = 1 << 16,
};

struct ring_settings {
    size_t producers;
    size_t records;      /* of each producer; a power of two */
    size_t record_bytes; /* a multiple of 8, to which slots are aligned */
    size_t spins;    /* looks of the consumer before it yields; 0 where there is one processor */
    size_t yields;   /* looks before it sleeps */
    bool huge_pages; /* asks for them; the kernel may have none */
    bool is_fenced;  /* without membarrier(2), which costs the other processors an interrupt */
};

/* Fails when a setting is out of range, or memory or descriptors are short. */
struct ring *ring_create(const struct ring_settings *settings, struct err *err) ATTR_MUSTCHECK;

/* When all threads have made their last call.  What was not taken is dropped.  NULL is allowed. */
void ring_destroy(struct ring *r);

/* ---- a producer ---- */

/* That of producer 0, 1, ...; lives as long as r. */
struct ring_lane *ring_lane(struct ring *r, size_t producer) ATTR_MUSTCHECK;

/*
 * Free slots next to each other, at most *n, which is set; there may be more behind the circle's
 * end: ask again after publishing these.  NULL: full.  Repeated, it gives the same slots.
 */
void *ring_reserve(struct ring_lane *lane, size_t *n) ATTR_MUSTCHECK;

/* Hands the first n of the reserved slots to the consumer, and wakes it if it sleeps. */
void ring_publish(struct ring_lane *lane, size_t n);

/* ---- the consumer ---- */

/*
 * Records of one producer, oldest first and next to each other, at most *n, which is set; the
 * producers take turns.  NULL: none.  Valid until ring_release(), which comes before the next take.
 */
const void *ring_take(struct ring *r, size_t *n) ATTR_MUSTCHECK;

/* Gives the first n of those taken back to the producer; the others will be taken again. */
void ring_release(struct ring *r, size_t n);

/*
 * Waits until there is something to take; timeout_ms as in poll(2).  False: nothing came, or not for
 * certain (a signal, a late wake-up): the caller decides whether to wait on.
 */
bool ring_wait(struct ring *r, int timeout_ms) ATTR_MUSTCHECK;

/* Becomes readable when something is published while the ring is armed.  Of the ring. */
int ring_fd(const struct ring *r);

/* Says that the consumer sleeps.  False: it must not, as there is something to take. */
bool ring_arm(struct ring *r) ATTR_MUSTCHECK;

/* After a sleep: producers need not signal, and ring_fd() is not readable any more. */
void ring_disarm(struct ring *r);

#endif /* COMMON_RING_H */
