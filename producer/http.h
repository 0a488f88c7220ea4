/*
 * http.h - an HTTP/1.1 server on one event loop: connections, deadlines, requests in, answers out.
 *
 * Each complete request is given to the handler, which owes it exactly one answer: within the
 * call, or later, from anywhere on the loop's thread.  A request is a handle, valid until it is
 * answered; its contents (http_message()) are valid only while the handler runs, so that a
 * waiting request costs bytes, not buffers.  The client may leave before its answer: then the
 * answer goes nowhere, harmlessly, and whoever waits can be told (http_on_leave()).  Answering
 * twice is our bug and asserted.
 *
 * A connection has one request with the handler at a time; more may be on the way (pipelining) and
 * are answered in their order.  Whatever cannot be read without doubt is answered with a problem
 * and the connection is closed.  Every phase of a connection has an absolute deadline, every size
 * and number a limit; see struct http_settings.
 *
 * Answering never runs the handler: what a client sent ahead is looked at in the loop's next turn.
 * No globals; as many servers as there are threads, each on its own base, may share a port
 * (is_port_shared).  One server and all its requests belong to one thread; relay.h makes others of
 * them for another thread, which are answered and left in the same way, and have no message or peer.
 */
#ifndef PRODUCER_HTTP_H
#define PRODUCER_HTTP_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/slice.h"
#include "common/stats.h"
#include "producer/http_answer.h"
#include "producer/http_parse.h"

struct http;
struct http_request;

struct http_settings {
    const char *listen; /* "127.0.0.1:8080", "[::]:0", ":80"; port 0 lets the kernel choose */
    uint16_t port;      /* unless 0: instead of listen's */
    bool is_port_shared;
    int backlog;

    size_t connections_max;        /* when full, the longest idle one makes room, else 503 */
    size_t connections_per_ip_max; /* 0: any number; IPv6 counts by /64 */
    size_t requests_per_connection_max;
    struct http_limits limits;

    int64_t header_ms; /* from accept or first byte to the end of the head */
    int64_t body_ms;   /* from there to the last byte of the body */
    int64_t write_ms;  /* for the client to take its answer */
    int64_t idle_ms;   /* between requests */

    /* Optional: HTTP_STATS rows begin at stats_first of stats; borrowed. */
    struct stats *stats;
    size_t stats_first;
};

/* Rows for the program's table; put them in this order, and the first one's number in stats_first. */
#define HTTP_STATS(X)                                                                              \
    X(HTTP_CONNECTIONS, COUNTER, "seckill_http_connections_total", "", "Connections accepted.")    \
    X(HTTP_OPEN, GAUGE, "seckill_http_open_connections", "", "Connections open now.")              \
    X(HTTP_REFUSED_FULL, COUNTER, "seckill_http_refused_connections_total", "limit=\"all\"",       \
      "Connections refused at a limit.")                                                           \
    X(HTTP_REFUSED_IP, COUNTER, "seckill_http_refused_connections_total", "limit=\"ip\"",          \
      "Connections refused at a limit.")                                                           \
    X(HTTP_EVICTED, COUNTER, "seckill_http_evicted_connections_total", "",                         \
      "Idle connections closed to make room.")                                                     \
    X(HTTP_ACCEPT_ERRORS, COUNTER, "seckill_http_accept_errors_total", "",                         \
      "Failed accepts (out of descriptors).")                                                      \
    X(HTTP_REQUESTS, COUNTER, "seckill_http_requests_total", "", "Requests given to a handler.")   \
    X(HTTP_PENDING, GAUGE, "seckill_http_pending_requests", "", "Requests not yet answered.")      \
    X(HTTP_ANSWERS, COUNTER, "seckill_http_answers_total", "to=\"client\"",                        \
      "Answers to requests of handlers.")                                                          \
    X(HTTP_ORPHANS, COUNTER, "seckill_http_answers_total", "to=\"nobody\"",                        \
      "Answers to requests of handlers.")                                                          \
    X(HTTP_BAD, COUNTER, "seckill_http_bad_requests_total", "", "Requests refused by the parser.") \
    X(HTTP_LATE_HEADER, COUNTER, "seckill_http_timeouts_total", "phase=\"header\"",                \
      "Connections closed at a deadline.")                                                         \
    X(HTTP_LATE_BODY, COUNTER, "seckill_http_timeouts_total", "phase=\"body\"",                    \
      "Connections closed at a deadline.")                                                         \
    X(HTTP_LATE_WRITE, COUNTER, "seckill_http_timeouts_total", "phase=\"write\"",                  \
      "Connections closed at a deadline.")                                                         \
    X(HTTP_LATE_IDLE, COUNTER, "seckill_http_timeouts_total", "phase=\"idle\"",                    \
      "Connections closed at a deadline.")

/* A program's own rows come behind these; see struct http_settings. */
enum http_stat { HTTP_STATS(STATS_ENUM) HTTP_STAT_COUNT };

/* Sane values for everything but listen. */
void http_settings_init(struct http_settings *settings);

/* Owes req one http_reply() or http_reply_problem(). */
typedef void http_handler_fn(struct http_request *req, void *arg);

/*
 * Listens, and serves from the next turn of base on.  settings are copied; base and arg are
 * borrowed and outlive the server.  NULL with err set when the address cannot be had.
 */
struct http *http_create(struct event_base *base, const struct http_settings *settings,
                         http_handler_fn *handler, void *arg, struct err *err) ATTR_MUSTCHECK;

/*
 * Closes everything at once, without answers.  Requests still pending stay valid and must still
 * be answered (which then only frees them).  Not from within the handler.  NULL is allowed.
 */
void http_destroy(struct http *h);

/* The port it listens at. */
uint16_t http_port(const struct http *h);

/*
 * Stops listening (serving what the kernel had already accepted), closes idle connections, says
 * "Connection: close" with every answer from now on, and runs done once when nothing is left, or
 * after timeout_ms, when the rest is closed without answers.  done never runs before this returns,
 * and may call http_destroy().  Once per server.
 */
typedef void http_drained_fn(void *arg);
void http_drain(struct http *h, int64_t timeout_ms, http_drained_fn *done, void *arg);

/* Connections open, and requests with the handler. */
size_t http_connections(const struct http *h);
size_t http_pending(const struct http *h);

/* What was asked, its path unescaped; only while the handler runs.  GET for a HEAD. */
const struct http_message *http_message(const struct http_request *req);

struct http_peer {
    uint8_t address[16]; /* IPv6, or IPv4 mapped into it */
    uint16_t port;
};

/* Who asked; until answered, also when it has left. */
const struct http_peer *http_peer(const struct http_request *req);

/* Writes "192.0.2.1" or "2001:db8::1". */
#define HTTP_ADDRESS_SIZE 46
void http_peer_format(const struct http_peer *peer, char out[HTTP_ADDRESS_SIZE]);

/*
 * leave runs at most once, on the loop and never within this call, when the client closes its
 * side (it may still read: half-closed) or is lost, before the answer.  The request remains to be
 * answered, now or later; leave may do it.
 */
typedef void http_leave_fn(struct http_request *req, void *arg);
void http_on_leave(struct http_request *req, http_leave_fn *leave, void *arg);

/*
 * Whether it has: since, or before the handler ran, in which case leave will not (requests were sent
 * ahead, and a FIN behind them).
 */
bool http_has_left(const struct http_request *req);

/*
 * Answers: req is gone afterwards.  fields (NULL or ended by {NULL, NULL}) and body are copied or
 * sent before it returns; Date, Content-Length and Connection are added.
 */
void http_reply(struct http_request *req, int status, const struct http_field *fields,
                struct slice body);

/* The same with Content-Type: application/json. */
void http_reply_json(struct http_request *req, int status, const struct http_field *fields,
                     struct slice body);

/* The same with application/problem+json (docs/protocol.md section 7). */
void http_reply_problem(struct http_request *req, const struct http_problem *problem,
                        const struct http_field *fields);

#endif /* PRODUCER_HTTP_H */
