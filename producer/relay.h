/*
 * relay.h - carries requests from HTTP threads to the door's thread, and the answers back.
 *
 * One ring leads to the door, with a lane for each HTTP thread, and one to each thread.  A thread
 * has a fixed number of slots, each for a request that is out, until its answer is back.  No slot,
 * or the lane full: the request is refused on the spot (503 queue_full), and nothing ever grows.
 * The rings to the threads are never full, as no more answers can come than there are slots.
 *
 * On the door's thread a request is another handle (http_request.h): an answer given to it goes into
 * a ring, and its client's leaving comes as a record, which may be late: then it is ignored.  That
 * handle is of the slot's generation, and an answer ends it.
 *
 * Who frees what: each side its own; the bytes of an answer too long for its record belong to
 * whoever has the record.  Threads: relay_create(), relay_thread_start() and relay_destroy() while
 * no other thread uses the relay; otherwise as said at each.
 */
#ifndef PRODUCER_RELAY_H
#define PRODUCER_RELAY_H

#include <event2/event.h>
#include <stddef.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/stats.h"
#include "producer/desk.h"

struct relay;
struct relay_thread; /* what an HTTP thread has of it */

struct relay_settings {
    size_t threads;      /* at least 1 */
    size_t slots;        /* of each thread, two fewer when it is a power of two; at least 1 */
    desk_take_fn *take;  /* runs on the door's thread, for each request */
    void *take_arg;      /* borrowed */
    struct stats *stats; /* the producer's; borrowed */
};

/* base is the door's, borrowed. */
struct relay *relay_create(struct event_base *base, const struct relay_settings *settings,
                           struct err *err) ATTR_MUSTCHECK;

/*
 * When the threads have ended, their servers are still there, and the door has answered all it took.
 * Answers on the way are given to the servers; what the door never took is refused (503 draining).
 * NULL is allowed.
 */
void relay_destroy(struct relay *r);

/* ---- on the door's thread ---- */

/* Says a word to an HTTP thread, behind all answers so far; each at most once. */
void relay_drain(struct relay *r, size_t thread);
void relay_end(struct relay *r, size_t thread);

/* ---- of an HTTP thread ---- */

struct relay_words {
    void (*drain)(void *arg);
    void (*end)(void *arg);
    void *arg; /* borrowed */
};

/* base is the thread's; both run on it. */
struct relay_thread *relay_thread_start(struct relay *r, size_t thread, struct event_base *base,
                                        const struct relay_words *words,
                                        struct err *err) ATTR_MUSTCHECK;

/* Takes the duty to answer req: a desk_take_fn, on that thread. */
void relay_pass(struct http_request *req, const struct desk_request *request, void *relay_thread);

#endif /* PRODUCER_RELAY_H */
