/*
 * front.h - the HTTP servers: one on the door's loop, or one on each of several threads.
 *
 * Each has its own connections, parser and memory of tokens, and its share of their limits.  What a
 * server on the door's loop has read it gives to the desk by a call; the others send it over the
 * relay.  All of them listen at one port, and the kernel shares the connections out.
 *
 * All functions are for the door's thread.  The threads have no signals: those are the main thread's.
 */
#ifndef PRODUCER_FRONT_H
#define PRODUCER_FRONT_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/jwt.h"
#include "producer/desk.h"
#include "producer/http.h"
#include "producer/routes.h"

struct front;

struct front_settings {
    size_t threads;                /* 0: the server is on the door's loop */
    size_t requests_max;           /* on their way between the threads and the door */
    struct http_settings http;     /* limits of all servers together; one port for several */
    struct jwt_settings jwt;       /* likewise */
    struct routes_settings routes; /* jwt is set here; take: where all requests end up */
};

/* Listens and serves, from the next turn of base on.  base and what settings point to are borrowed. */
struct front *front_create(struct event_base *base, const struct front_settings *settings,
                           struct err *err) ATTR_MUSTCHECK;

/* http_drain() for all servers; once. */
void front_drain(struct front *f, int64_t timeout_ms);

/* That has come to its end. */
bool front_is_drained(const struct front *f);

/* The port they listen at. */
uint16_t front_port(const struct front *f);

/*
 * Ends the threads, when what the requests end up at has answered all it took; answers on their way
 * still go out.  NULL is allowed.
 */
void front_destroy(struct front *f);

#endif /* PRODUCER_FRONT_H */
