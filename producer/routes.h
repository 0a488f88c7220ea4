/*
 * routes.h - paths and methods: from an HTTP request to a call, and the answers that need none.
 *
 * Here a request is authenticated, checked and admitted, in this order; docs/protocol.md section 7
 * lists the paths.  No rules about orders.
 */
#ifndef PRODUCER_ROUTES_H
#define PRODUCER_ROUTES_H

#include <stdint.h>

#include "common/attr.h"
#include "common/jwt.h"
#include "common/stats.h"
#include "producer/calls.h"
#include "producer/http.h"
#include "producer/proxies.h"

struct routes;

struct routes_settings {
    struct calls *calls; /* borrowed */
    struct stats *stats; /* borrowed */
    struct jwt *jwt;     /* borrowed */
    struct proxies proxies;
    int partitions;
    int64_t wait_max_ms;
};

struct routes *routes_create(const struct routes_settings *settings) ATTR_MUSTCHECK;
void routes_destroy(struct routes *r);

/* The HTTP server's handler. */
void routes_handle(struct http_request *req, void *routes);

#endif /* PRODUCER_ROUTES_H */
