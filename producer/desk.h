/*
 * desk.h - what is done with a request that was read: admitted and made a call, or an operator's page.
 *
 * This is where a request arrives on the door's thread: straight from routes.h, or from an HTTP
 * thread by relay.h.  All on that thread.
 */
#ifndef PRODUCER_DESK_H
#define PRODUCER_DESK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/stats.h"
#include "producer/calls.h"
#include "producer/http.h"

struct desk;

enum desk_kind {
    DESK_CALL,
    DESK_LIVE,
    DESK_READY,
    DESK_METRICS,
};

enum { DESK_ADDRESS_BYTES = 16 };

/* What was asked, checked, and who asks; only a DESK_CALL has the latter two. */
struct desk_request {
    enum desk_kind kind;
    bool is_verbose; /* a DESK_READY that lists every check */
    uint8_t address[DESK_ADDRESS_BYTES];
    struct calls_request call;
};

/* calls and stats are borrowed. */
struct desk *desk_create(struct calls *calls, struct stats *stats) ATTR_MUSTCHECK;

/* NULL is allowed. */
void desk_destroy(struct desk *d);

/* Takes the duty to answer req; request is borrowed until it returns. */
void desk_take(struct http_request *req, const struct desk_request *request, void *desk);

/* Such a function: of the desk itself, or one that hands the request on to it. */
typedef void desk_take_fn(struct http_request *req, const struct desk_request *request, void *arg);

#endif /* PRODUCER_DESK_H */
