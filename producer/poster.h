/*
 * poster.h - a page that anybody may ask for as often as they like.
 *
 * It is made anew for each who asks, as long as the making takes a small part of the time (1 /
 * POSTER_SHARE; what was not used is saved, so that an ordinary visitor never waits for it).  Beyond,
 * the last one is shown again, which is at most POSTER_AGE_MAX_MS old.
 *
 * Not thread-safe.
 */
#ifndef PRODUCER_POSTER_H
#define PRODUCER_POSTER_H

#include <stddef.h>

#include "common/attr.h"
#include "common/buf.h"
#include "common/slice.h"

struct poster;

enum {
    POSTER_SHARE = 20,
    POSTER_AGE_MAX_MS = 1000,
};

/* Writes the page; returns its HTTP status. */
typedef int poster_make_fn(struct buf *page, void *arg);

/* For pages of at most max_bytes; arg is borrowed. */
struct poster *poster_create(size_t max_bytes, poster_make_fn *make, void *arg) ATTR_MUSTCHECK;

/* NULL is allowed. */
void poster_destroy(struct poster *p);

/* The page, valid until the next call, and its status; 500 for one that was too large. */
int poster_show(struct poster *p, struct slice *page);

#endif /* PRODUCER_POSTER_H */
