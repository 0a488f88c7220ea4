/*
 * The server as a whole, and requests as their handlers see them.  A request outlives its client
 * and even the server: whoever owes the answer holds a handle that stays valid, so a destroyed
 * server is kept until the last one is answered.
 */
#include "producer/http.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/xmalloc.h"
#include "producer/http_internal.h"

enum { TICK_US = 50 * 1000 };

/* Visits: requests, as those who ask and those who answer see them */

static struct visit *visit_of(struct http_request *req)
{
    return (struct visit *)req; /* its first member */
}

static void free_visits(struct http *h)
{
    struct visit *v;
    while ((v = STAILQ_FIRST(&h->free_visits)) != NULL) {
        STAILQ_REMOVE_HEAD(&h->free_visits, link);
        free(v);
    }
}

/* Ends a visit; returns the connection to answer, or NULL when nobody is there. */
static struct conn *finish_visit(struct visit *v)
{
    struct http *h = v->http;
    struct conn *c = v->conn;
    v->conn = NULL;
    h->pending--;
    http_count(h, STAT_HTTP_PENDING, -1);
    http_count(h, c == NULL ? STAT_HTTP_ORPHANS : STAT_HTTP_ANSWERS, 1);
    STAILQ_INSERT_HEAD(&h->free_visits, v, link);
    if (c != NULL) {
        c->visit = NULL;
    } else if (h->is_destroyed && h->pending == 0) {
        free_visits(h);
        free(h);
    }
    return c;
}

static void answer(struct http_request *req, int status, const struct http_field *fields,
                   struct slice body)
{
    struct http *h = visit_of(req)->http;
    struct conn *c = finish_visit(visit_of(req));
    if (c == NULL) {
        return;
    }
    if (h->is_draining) {
        c->is_closing = true;
    }
    struct http_answer a = {
        .status = status, .fields = fields, .body = body, .is_head_only = c->is_head};
    http_conn_answer(c, &a);
    if (c != h->serving) {
        http_conn_settle(c);
    }
}

struct visit *http_visit_take(struct conn *c)
{
    struct http *h = c->http;
    struct visit *v = STAILQ_FIRST(&h->free_visits);
    if (v != NULL) {
        STAILQ_REMOVE_HEAD(&h->free_visits, link);
    } else {
        v = xmalloc(sizeof(*v));
    }
    *v = (struct visit){
        .request = {.answer = answer, .is_pending = true},
        .http = h,
        .conn = c,
        .peer = c->peer,
    };
    h->pending++;
    http_count(h, STAT_HTTP_REQUESTS, 1);
    http_count(h, STAT_HTTP_PENDING, 1);
    return v;
}

const struct http_message *http_message(const struct http_request *req)
{
    const struct visit *v = (const struct visit *)req;
    assert(req->is_pending && v->http->handling == v);
    return &v->http->message;
}

const struct http_peer *http_peer(const struct http_request *req)
{
    assert(req->is_pending);
    return &((const struct visit *)req)->peer;
}

void http_peer_format(const struct http_peer *peer, char out[HTTP_ADDRESS_SIZE])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    bool is_ipv4 = memcmp(peer->address, mapped, sizeof(mapped)) == 0;
    const void *from = is_ipv4 ? peer->address + 12 : peer->address;
    if (inet_ntop(is_ipv4 ? AF_INET : AF_INET6, from, out, HTTP_ADDRESS_SIZE) == NULL) {
        out[0] = '\0'; /* cannot happen: the room is that of the longest address */
    }
}

/* The server */

void http_settings_init(struct http_settings *settings)
{
    *settings = (struct http_settings){
        .backlog = 4096,
        .connections_max = 20000,
        .requests_per_connection_max = 100000,
        .limits = {.line_bytes = 2048, .head_bytes = 16384, .body_bytes = 4096},
        .header_ms = 5000,
        .body_ms = 10000,
        .write_ms = 10000,
        .idle_ms = 60000,
    };
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct http *h = arg;
    int64_t now_ms = clock_mono_ms();
    (void)fd;
    (void)what;
    http_conn_expire(h, now_ms);
    if (h->drained == NULL) {
        return;
    }
    bool is_over = now_ms >= h->drain_deadline_ms;
    if (is_over) {
        http_conn_close_all(h);
    }
    if (is_over || (h->connections == 0 && h->pending == 0)) {
        http_drained_fn *drained = h->drained;
        h->drained = NULL;
        drained(h->drained_arg); /* may destroy h */
    }
}

struct http *http_create(struct event_base *base, const struct http_settings *settings,
                         http_handler_fn *handler, void *arg, struct err *err)
{
    static const struct timeval tick = {0, TICK_US};
    assert(settings->connections_max > 0);
    struct http *h = xcalloc(1, sizeof(*h));
    h->base = base;
    h->settings = *settings;
    h->handler = handler;
    h->arg = arg;
    STAILQ_INIT(&h->free_visits);
    http_conn_init(h);
    h->peers = peers_create(settings->connections_max, settings->connections_per_ip_max == 0
                                                           ? SIZE_MAX
                                                           : settings->connections_per_ip_max);
    (void)event_assign(&h->tick_event, base, -1, EV_PERSIST, on_tick, h);
    if (!http_listen(h, err)) {
        http_destroy(h);
        return NULL;
    }
    if (event_add(&h->tick_event, &tick) != 0) {
        (void)err_set(err, ERR_FATAL, "no memory for a timer");
        http_destroy(h);
        return NULL;
    }
    return h;
}

void http_destroy(struct http *h)
{
    if (h == NULL) {
        return;
    }
    assert(h->serving == NULL);
    http_conn_close_all(h);
    http_listen_end(h);
    (void)event_del(&h->tick_event);
    http_conn_fini(h);
    peers_destroy(h->peers);
    if (h->pending > 0) {
        h->is_destroyed = true;
        return;
    }
    free_visits(h);
    free(h);
}

uint16_t http_port(const struct http *h)
{
    return h->port;
}

size_t http_connections(const struct http *h)
{
    return h->connections;
}

size_t http_pending(const struct http *h)
{
    return h->pending;
}

void http_drain(struct http *h, int64_t timeout_ms, http_drained_fn *done, void *arg)
{
    assert(!h->is_draining);
    http_listen_drain(h);
    h->is_draining = true;
    h->drain_deadline_ms = clock_mono_ms() + timeout_ms;
    h->drained = done;
    h->drained_arg = arg;
    http_conn_close_idle(h);
}
