/*
 * client.h - many keep-alive HTTP connections to one address, one request at a time on each.
 *
 * A request is a member of whatever asks, so asking allocates nothing: client_send() puts it on an
 * idle connection, or in the waiting line, which cannot be longer than there are requests.  Its
 * bytes are written when it leaves the line, by the asker.  The answer is told once per
 * request, from the event loop (or from client_send() itself when no socket can be had).
 *
 * On a loopback address the connections come from different addresses 127.x.y.z, as shoppers do, so
 * that limits per address see many of them and ports do not run out.
 *
 * One event loop's thread.
 */
#ifndef STAMPEDE_CLIENT_H
#define STAMPEDE_CLIENT_H

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/attr.h"
#include "common/err.h"
#include "tools/stampede/answer.h"

enum { CLIENT_REQUEST_MAX = 4096, CLIENT_ADDRESSES_MAX = 62500 };

struct client;

/* Not to be sent again before its answer. */
struct client_request {
    STAILQ_ENTRY(client_request) link;
    void *owner;        /* the asker's own */
    int64_t planned_us; /* when it should have been sent */
    int64_t sent_us;    /* when it was; 0: it never left */
};

struct client_settings {
    const char *url;    /* http://HOST[:PORT]; borrowed for the call */
    size_t connections; /* opened as they are needed */
    size_t addresses;   /* that they come from; 0: the system's choice */
    int64_t timeout_ms; /* of an answer, and of opening */
    /* Writes all bytes of the request; host is for its Host field.  Returns their number. */
    size_t (*write)(void *context, struct client_request *r, const char *host,
                    char out[CLIENT_REQUEST_MAX]);
    /* status 0: none came (refused, closed, too late); what became of it nobody knows. */
    void (*answered)(void *context, struct client_request *r, const struct answer *answer,
                     int64_t now_us);
    void *context;
};

struct client_counts {
    uint64_t requests;   /* sent */
    uint64_t failed;     /* connections that could not be opened */
    uint64_t timeouts;   /* no answer in time */
    uint64_t broken;     /* connections that ended under a request */
    size_t connected;    /* now */
    size_t under_way;    /* requests sent and not answered */
    size_t backlog;      /* requests that wait for a connection */
    size_t backlog_peak; /* the most there were at once */
    size_t connected_peak;
};

/* NULL with err on failure. */
struct client *client_create(struct event_base *base, const struct client_settings *settings,
                             struct err *err) ATTR_MUSTCHECK;

/* Requests under way end without an answer being told.  NULL is allowed. */
void client_destroy(struct client *c);

/* Opens every connection now, a few at a time, so that the storm meets them open. */
void client_open_all(struct client *c);

void client_send(struct client *c, struct client_request *r, int64_t planned_us);

const struct client_counts *client_counts(const struct client *c);

#endif /* STAMPEDE_CLIENT_H */
