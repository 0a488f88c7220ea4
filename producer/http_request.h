/*
 * http_request.h - what every request begins with.
 *
 * For those who make requests, that is, pass them to a handler and take its answer: http.c, for what
 * its connections ask, and relay.c, for what was asked on another thread.  Handlers include http.h.
 */
#ifndef PRODUCER_HTTP_REQUEST_H
#define PRODUCER_HTTP_REQUEST_H

#include <stdbool.h>

#include "producer/http.h"

/* Sends the answer, which http_reply() was given; req is free afterwards, for its maker to use anew. */
typedef void http_answer_fn(struct http_request *req, int status, const struct http_field *fields,
                            struct slice body);

struct http_request {
    http_answer_fn *answer;
    http_leave_fn *leave;
    void *leave_arg;
    bool is_pending; /* its maker sets it, http_reply() ends it */
    bool has_left;   /* its client has closed its side */
};

/* The client has left: tells who waits for that, if anybody, once. */
void http_request_leave(struct http_request *req);

#endif /* PRODUCER_HTTP_REQUEST_H */
