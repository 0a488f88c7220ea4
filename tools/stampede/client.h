/*
 * client.h - many keep-alive HTTP connections to one address, one request at a time on each.
 *
 * client_send() takes an idle connection, or waits in line for one.  The answer function runs
 * once per request, from the event loop (or from client_send() itself when no socket can be had);
 * status 0 means that no answer came (refused, closed, too late): nobody knows what became of the
 * request.
 *
 * On a loopback address the connections come from different addresses 127.x.y.z, as shoppers
 * do, so that limits per address see many of them.
 *
 * One event loop's thread.
 */
#ifndef STAMPEDE_CLIENT_H
#define STAMPEDE_CLIENT_H

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/slice.h"

struct client;

struct client_answer {
    int status;            /* 0: none */
    int64_t retry_after_s; /* -1 when not said */
    struct slice body;     /* borrowed for the call */
};

typedef void client_answer_fn(const struct client_answer *answer, void *arg);

/* url is http://HOST[:PORT]; connections are opened as they are needed.  NULL with err on failure. */
struct client *client_create(struct event_base *base, const char *url, size_t connections,
                             int64_t timeout_ms, struct err *err) ATTR_MUSTCHECK;

/* Requests under way end without an answer being told.  NULL is allowed. */
void client_destroy(struct client *c);

/* Opens every connection now, a few at a time, so that the storm meets them open. */
void client_open_all(struct client *c);

/*
 * request is everything before the body's blank line apart from Host and Content-Length:
 * "POST /v1/orders HTTP/1.1\r\nAuthorization: ...\r\n".  Both texts are copied.
 */
void client_send(struct client *c, const char *request, const char *body, client_answer_fn *answer,
                 void *arg);

size_t client_connected(const struct client *c);
uint64_t client_requests(const struct client *c);

#endif /* STAMPEDE_CLIENT_H */
