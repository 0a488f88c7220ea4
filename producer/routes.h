/*
 * routes.h - paths and methods: from an HTTP request to what the desk is asked, and the answers
 * that need no desk.
 *
 * Here a request is authenticated and checked, in this order; docs/protocol.md section 7 lists the
 * paths.  No rules about orders, no state but the tokens'.  On the thread of its HTTP server.
 */
#ifndef PRODUCER_ROUTES_H
#define PRODUCER_ROUTES_H

#include <stdint.h>

#include "common/attr.h"
#include "common/jwt.h"
#include "common/stats.h"
#include "producer/desk.h"
#include "producer/http.h"
#include "producer/proxies.h"

struct routes;

struct routes_settings {
    struct stats *stats; /* borrowed */
    struct jwt *jwt;     /* borrowed */
    struct proxies proxies;
    struct slice secret; /* the tokens': receipts are signed with a key made from it */
    int partitions;
    int64_t wait_max_ms;
    desk_take_fn *take; /* gets every good request */
    void *take_arg;
};

/* settings are copied. */
struct routes *routes_create(const struct routes_settings *settings) ATTR_MUSTCHECK;

/* NULL is allowed. */
void routes_destroy(struct routes *r);

/* The HTTP server's handler. */
void routes_handle(struct http_request *req, void *routes);

#endif /* PRODUCER_ROUTES_H */
