/*
 * inbox.h - a ring's consumer on an event loop.
 *
 * Sleeps with the loop and is woken by the ring's descriptor.  A turn takes so many records at most
 * that the loop's other events have their turn too.  On the loop's thread, but for create and
 * destroy, which may be called while the loop does not run.
 */
#ifndef PRODUCER_INBOX_H
#define PRODUCER_INBOX_H

#include <event2/event.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/ring.h"

struct inbox;

/* record is the caller's until it returns, also to finish what it points to. */
typedef void inbox_fn(const void *record, void *arg);

/* base, ring and arg are borrowed. */
struct inbox *inbox_create(struct event_base *base, struct ring *ring, size_t record_bytes,
                           inbox_fn *take, void *arg, struct err *err) ATTR_MUSTCHECK;

/* What was not taken stays in the ring.  NULL is allowed. */
void inbox_destroy(struct inbox *b);

/* Takes all there is, now. */
void inbox_empty(struct inbox *b);

#endif /* PRODUCER_INBOX_H */
