/*
 * A connection is closed, opening, idle or busy.  Closed and idle ones form a stack, idle ones on
 * top, so that few of them do the work when there is little; those that wait for something (to be
 * open, for an answer) form a line in the order of their deadlines, which are all equally far off.
 * A request belongs to exactly one of: the waiting line, a connection.  The answer is told
 * after the connection has left it, so that the asker may send it again.
 *
 * What a request costs is a write() and a read(): bytes are written from, and read into, one buffer
 * for all; only an answer that comes in pieces is kept with its connection.
 */
#include "tools/stampede/client.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <event2/event_struct.h>
#include <event2/http.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/xmalloc.h"

enum {
    OPEN_AT_ONCE = 100,
    OPEN_PAUSE_MS = 5,
    SWEEP_MS = 100,
    READ_MAX = ANSWER_HEAD_MAX + ANSWER_BODY_MAX,
};

struct connection {
    struct client *client;
    struct event event;
    int fd; /* -1: closed */
    bool is_open;
    struct client_request *request; /* borrowed; NULL: idle, closed, or opening for its own sake */
    int64_t since_us;               /* it waits */
    char *piece;                    /* the beginning of an answer; NULL: none */
    size_t piece_len;
    size_t number;
    SLIST_ENTRY(connection) idle;
    TAILQ_ENTRY(connection) waiting;
};

struct client {
    struct event_base *base;
    struct client_settings settings;
    struct client_counts counts;
    struct sockaddr_in address;
    char host[300];
    struct connection *connections;
    size_t next_open;
    struct event *opener, *sweeper;
    SLIST_HEAD(, connection) idle;
    TAILQ_HEAD(, connection) waiting;
    STAILQ_HEAD(, client_request) line;
    char out[CLIENT_REQUEST_MAX];
    char in[READ_MAX];
};

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);

static void wait_for_it(struct connection *conn, int64_t now_us)
{
    conn->since_us = now_us;
    TAILQ_INSERT_TAIL(&conn->client->waiting, conn, waiting);
}

static void waits_no_more(struct connection *conn)
{
    if (conn->since_us != 0) {
        conn->since_us = 0;
        TAILQ_REMOVE(&conn->client->waiting, conn, waiting);
    }
}

static void close_it(struct connection *conn)
{
    if (conn->fd >= 0) {
        (void)event_del(&conn->event); /* it may not have been added */
        (void)close(conn->fd);
        conn->fd = -1;
        conn->client->counts.connected -= conn->is_open;
        conn->is_open = false;
    }
    free(conn->piece);
    conn->piece = NULL;
    conn->piece_len = 0;
}

/* Takes the request from its connection, which is idle then, and tells its answer. */
static void tell(struct connection *conn, const struct answer *answer, int64_t now_us)
{
    struct client *c = conn->client;
    struct client_request *r = conn->request;

    waits_no_more(conn);
    if (r != NULL) {
        conn->request = NULL;
        SLIST_INSERT_HEAD(&c->idle, conn, idle);
        c->counts.under_way -= r->sent_us != 0;
        c->settings.answered(c->settings.context, r, answer, now_us);
    }
}

/* Ends the connection; its request, if any, has no answer. */
static void drop(struct connection *conn, int64_t now_us)
{
    const struct answer none = {.retry_after_s = -1};

    conn->client->counts.failed += !conn->is_open;
    conn->client->counts.broken += conn->is_open && conn->request != NULL;
    close_it(conn);
    tell(conn, &none, now_us);
}

/* A socket whose own address is 127.(1..250).(0..249).1 when the server is on loopback. */
static int make_socket(const struct client *c, size_t number)
{
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -1;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* only slower without */
    if (c->settings.addresses > 0 && (ntohl(c->address.sin_addr.s_addr) >> 24) == 127) {
        const uint32_t n = (uint32_t)(number % c->settings.addresses);
        struct sockaddr_in own = {.sin_family = AF_INET};

        own.sin_addr.s_addr = htonl(0x7f000001U | (1 + n % 250) << 16 | (n / 250 % 250) << 8);
        /* The port is chosen by connect(), which may take one that goes elsewhere already. */
        (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
        if (bind(fd, (struct sockaddr *)&own, sizeof(own)) != 0) {
            (void)close(fd);
            return -1;
        }
    }
    return fd;
}

static bool open_it(struct connection *conn, int64_t now_us)
{
    struct client *c = conn->client;

    conn->fd = make_socket(c, conn->number);
    if (conn->fd < 0) {
        return false;
    }
    if (event_assign(&conn->event, c->base, conn->fd, EV_WRITE, on_writable, conn) != 0 ||
        (connect(conn->fd, (struct sockaddr *)&c->address, sizeof(c->address)) != 0 &&
         errno != EINPROGRESS) ||
        event_add(&conn->event, NULL) != 0) {
        return false;
    }
    wait_for_it(conn, now_us);
    return true;
}

/* The request's bytes go out, all at once: the connection is idle, so nothing is in their way. */
static void write_request(struct connection *conn, int64_t now_us)
{
    struct client *c = conn->client;
    struct client_request *r = conn->request;
    const size_t len = c->settings.write(c->settings.context, r, c->host, c->out);

    assert(len <= sizeof(c->out));
    r->sent_us = now_us;
    c->counts.requests++;
    c->counts.under_way++;
    wait_for_it(conn, now_us);
    if (send(conn->fd, c->out, len, MSG_NOSIGNAL) != (ssize_t)len) {
        drop(conn, now_us);
    }
}

static void start(struct connection *conn, struct client_request *r, int64_t now_us)
{
    conn->request = r;
    if (conn->is_open) {
        write_request(conn, now_us);
    } else if (conn->fd < 0 && !open_it(conn, now_us)) {
        drop(conn, now_us);
    }
}

/* Idle connections take what waits in line. */
static void serve_line(struct client *c, int64_t now_us)
{
    while (!STAILQ_EMPTY(&c->line) && !SLIST_EMPTY(&c->idle)) {
        struct connection *conn = SLIST_FIRST(&c->idle);
        struct client_request *r = STAILQ_FIRST(&c->line);

        SLIST_REMOVE_HEAD(&c->idle, idle);
        STAILQ_REMOVE_HEAD(&c->line, link);
        c->counts.backlog--;
        start(conn, r, now_us);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct connection *conn = arg;
    struct client *c = conn->client;
    const int64_t now_us = clock_mono_us();
    int error = 0;
    socklen_t size = sizeof(error);

    (void)what;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0 ||
        event_assign(&conn->event, c->base, fd, EV_READ | EV_PERSIST, on_readable, conn) != 0 ||
        event_add(&conn->event, NULL) != 0) {
        drop(conn, now_us);
        serve_line(c, now_us);
        return;
    }
    waits_no_more(conn);
    conn->is_open = true;
    c->counts.connected++;
    if (c->counts.connected > c->counts.connected_peak) {
        c->counts.connected_peak = c->counts.connected;
    }
    if (conn->request != NULL) {
        write_request(conn, now_us);
    }
}

static void keep_piece(struct connection *conn, size_t len)
{
    conn->piece = xreallocarray(conn->piece, len, 1);
    memcpy(conn->piece, conn->client->in, len);
    conn->piece_len = len;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct connection *conn = arg;
    struct client *c = conn->client;
    const int64_t now_us = clock_mono_us();
    size_t len = conn->piece_len;
    size_t used = 0;
    struct answer answer = {.status = 0};
    enum answer_read whole = ANSWER_BAD;
    ssize_t n = 0;

    (void)what;
    if (len > 0) {
        memcpy(c->in, conn->piece, len);
    }
    n = recv(fd, c->in + len, sizeof(c->in) - len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    len += n > 0 ? (size_t)n : 0;
    if (n > 0 && conn->request != NULL) {
        whole = answer_read((struct slice){c->in, len}, &answer, &used);
    }
    if (whole == ANSWER_MORE && len < sizeof(c->in)) {
        keep_piece(conn, len);
        return;
    }
    if (whole == ANSWER_WHOLE) {
        free(conn->piece);
        conn->piece = NULL;
        conn->piece_len = 0;
        if (answer.closes ||
            used != len) { /* a server that speaks out of turn cannot be followed */
            close_it(conn);
        }
        tell(conn, &answer, now_us);
    } else {
        drop(conn, now_us);
    }
    serve_line(c, now_us);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    struct client *c = arg;
    const int64_t now_us = clock_mono_us();
    struct connection *conn = NULL;

    (void)fd;
    (void)what;
    while ((conn = TAILQ_FIRST(&c->waiting)) != NULL &&
           conn->since_us + c->settings.timeout_ms * 1000 <= now_us) {
        c->counts.timeouts += conn->is_open;
        drop(conn, now_us);
    }
    serve_line(c, now_us);
}

static void on_open_more(evutil_socket_t fd, short what, void *arg)
{
    struct client *c = arg;
    const struct timeval pause = {.tv_usec = OPEN_PAUSE_MS * 1000L};
    const int64_t now_us = clock_mono_us();

    (void)fd;
    (void)what;
    for (int i = 0; i < OPEN_AT_ONCE && c->next_open < c->settings.connections; c->next_open++) {
        struct connection *conn = &c->connections[c->next_open];

        if (conn->fd < 0) {
            if (!open_it(conn, now_us)) { /* tried again when it is needed */
                drop(conn, now_us);
            }
            i++;
        }
    }
    if (c->next_open < c->settings.connections) {
        (void)event_add(c->opener, &pause); /* else they are opened when they are needed */
    }
}

void client_open_all(struct client *c)
{
    on_open_more(-1, 0, c);
}

static bool resolve(struct client *c, const char *url, struct err *err)
{
    struct evhttp_uri *uri = evhttp_uri_parse(url);
    const char *host = uri == NULL ? NULL : evhttp_uri_get_host(uri);
    int port = uri == NULL ? 0 : evhttp_uri_get_port(uri);
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    bool done = false;

    if (host == NULL || getaddrinfo(host, NULL, &hints, &found) != 0) {
        (void)err_set(err, ERR_FATAL, "url %s: not http://HOST[:PORT] with a known host", url);
    } else {
        memcpy(&c->address, found->ai_addr, sizeof(c->address));
        c->address.sin_port = htons((uint16_t)(port > 0 ? port : 80));
        (void)snprintf(c->host, sizeof(c->host), "%s", host);
        done = true;
    }
    if (found != NULL) {
        freeaddrinfo(found);
    }
    if (uri != NULL) {
        evhttp_uri_free(uri);
    }
    return done;
}

struct client *client_create(struct event_base *base, const struct client_settings *settings,
                             struct err *err)
{
    struct client *c = xcalloc(1, sizeof(*c));
    const struct timeval sweep = {.tv_usec = SWEEP_MS * 1000L};

    c->base = base;
    c->settings = *settings;
    SLIST_INIT(&c->idle);
    TAILQ_INIT(&c->waiting);
    STAILQ_INIT(&c->line);
    c->connections = xcalloc(settings->connections, sizeof(*c->connections));
    for (size_t i = settings->connections; i-- > 0;) {
        c->connections[i].client = c;
        c->connections[i].number = i;
        c->connections[i].fd = -1;
        SLIST_INSERT_HEAD(&c->idle, &c->connections[i], idle);
    }
    c->opener = evtimer_new(base, on_open_more, c);
    c->sweeper = event_new(base, -1, EV_PERSIST, on_sweep, c);
    if (c->opener == NULL || c->sweeper == NULL || event_add(c->sweeper, &sweep) != 0) {
        (void)err_set(err, ERR_FATAL, "out of memory");
    } else if (resolve(c, settings->url, err)) {
        return c;
    }
    client_destroy(c);
    return NULL;
}

void client_destroy(struct client *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < c->settings.connections; i++) {
        close_it(&c->connections[i]);
    }
    if (c->opener != NULL) {
        event_free(c->opener);
    }
    if (c->sweeper != NULL) {
        event_free(c->sweeper);
    }
    free(c->connections);
    free(c);
}

void client_send(struct client *c, struct client_request *r, int64_t planned_us)
{
    r->planned_us = planned_us;
    r->sent_us = 0;
    STAILQ_INSERT_TAIL(&c->line, r, link);
    c->counts.backlog++;
    serve_line(c, clock_mono_us());
    if (c->counts.backlog > c->counts.backlog_peak) {
        c->counts.backlog_peak = c->counts.backlog;
    }
}

const struct client_counts *client_counts(const struct client *c)
{
    return &c->counts;
}
