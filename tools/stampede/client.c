/*
 * A connection is closed, opening, idle or busy; idle ones form a stack, so that few of them
 * do the work when there is little.  A request belongs to exactly one of: the waiting line, a
 * connection.  The answer is told after the connection has left it, so that the answer
 * function may send again.
 */
#include "tools/stampede/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/xmalloc.h"

enum { OPEN_AT_ONCE = 100, OPEN_PAUSE_MS = 5, HEAD_MAX = 16384, BODY_MAX = 65536 };

struct request {
    STAILQ_ENTRY(request) link;
    char *bytes;
    size_t len;
    client_answer_fn *answer;
    void *arg;
};
STAILQ_HEAD(request_line, request);

struct connection {
    struct client *client;
    struct bufferevent *bev; /* NULL: closed */
    struct request *request; /* owned; NULL: idle or opening */
    size_t number;
    bool is_open;
    SLIST_ENTRY(connection) idle;
};

struct client {
    struct event_base *base;
    struct sockaddr_in address;
    char host[300];
    struct connection *connections;
    size_t n;
    size_t n_connected;
    size_t next_open;
    struct event *opener;
    SLIST_HEAD(, connection) idle;
    struct request_line line;
    int64_t timeout_ms;
    uint64_t requests;
};

static void on_read(struct bufferevent *bev, void *arg);
static void on_event(struct bufferevent *bev, short what, void *arg);

static void free_request(struct request *r)
{
    free(r->bytes);
    free(r);
}

/* Ends the connection; its request, if any, has no answer. */
static void drop(struct connection *conn)
{
    struct client *c = conn->client;
    struct request *r = conn->request;

    if (conn->bev != NULL) {
        bufferevent_free(conn->bev);
        conn->bev = NULL;
    }
    c->n_connected -= conn->is_open;
    conn->is_open = false;
    conn->request = NULL;
    if (r != NULL) {
        struct client_answer none = {.status = 0, .retry_after_s = -1};

        SLIST_INSERT_HEAD(&c->idle, conn, idle);
        r->answer(&none, r->arg);
        free_request(r);
    }
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
    if ((ntohl(c->address.sin_addr.s_addr) >> 24) == 127) {
        struct sockaddr_in own = {.sin_family = AF_INET};

        own.sin_addr.s_addr = htonl(0x7f000001U | (uint32_t)(1 + number % 250) << 16 |
                                    (uint32_t)(number / 250 % 250) << 8);
        if (bind(fd, (struct sockaddr *)&own, sizeof(own)) != 0) {
            (void)close(fd);
            return -1;
        }
    }
    return fd;
}

static bool open_connection(struct connection *conn)
{
    struct client *c = conn->client;
    int fd = make_socket(c, conn->number);
    struct timeval timeout = {.tv_sec = c->timeout_ms / 1000,
                              .tv_usec = (c->timeout_ms % 1000) * 1000};

    if (fd < 0) {
        return false;
    }
    conn->bev =
        bufferevent_socket_new(c->base, fd, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (conn->bev == NULL) {
        (void)close(fd);
        return false;
    }
    bufferevent_setcb(conn->bev, on_read, NULL, on_event, conn);
    if (bufferevent_enable(conn->bev, EV_READ | EV_WRITE) != 0 ||
        bufferevent_socket_connect(conn->bev, (struct sockaddr *)&c->address, sizeof(c->address)) !=
            0) {
        bufferevent_free(conn->bev);
        conn->bev = NULL;
        return false;
    }
    bufferevent_set_timeouts(conn->bev, conn->request == NULL ? NULL : &timeout, &timeout);
    return true;
}

static void start(struct connection *conn, struct request *r)
{
    struct timeval timeout = {.tv_sec = conn->client->timeout_ms / 1000,
                              .tv_usec = (conn->client->timeout_ms % 1000) * 1000};

    conn->request = r;
    if (conn->bev == NULL && !open_connection(conn)) {
        drop(conn);
        return;
    }
    bufferevent_set_timeouts(conn->bev, &timeout, &timeout);
    if (bufferevent_write(conn->bev, r->bytes, r->len) != 0) {
        drop(conn);
    }
}

/* Idle connections take what waits in line. */
static void serve_line(struct client *c)
{
    while (!STAILQ_EMPTY(&c->line) && !SLIST_EMPTY(&c->idle)) {
        struct connection *conn = SLIST_FIRST(&c->idle);
        struct request *r = STAILQ_FIRST(&c->line);

        SLIST_REMOVE_HEAD(&c->idle, idle);
        STAILQ_REMOVE_HEAD(&c->line, link);
        start(conn, r);
    }
}

/* The value of a header field in a NUL-terminated head, or NULL. */
static const char *field_of(const char *head, const char *name)
{
    size_t len = strlen(name);

    for (const char *line = strchr(head, '\n'); line != NULL; line = strchr(line, '\n')) {
        line++;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            return line + len + 1 + strspn(line + len + 1, " ");
        }
    }
    return NULL;
}

struct head {
    int status;
    size_t head_bytes, body_bytes;
    int64_t retry_after_s;
    bool closes;
};

/* 1: all of an answer is in; 0: not yet; -1: this is none. */
static int read_head(struct evbuffer *in, struct head *head)
{
    struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
    char text[HEAD_MAX];
    const char *field = NULL;

    if (end.pos < 0) {
        return evbuffer_get_length(in) > HEAD_MAX ? -1 : 0;
    }
    head->head_bytes = (size_t)end.pos + 4;
    if (head->head_bytes >= sizeof(text) ||
        evbuffer_copyout(in, text, head->head_bytes) != (ev_ssize_t)head->head_bytes) {
        return -1;
    }
    text[head->head_bytes] = '\0';
    if (strncmp(text, "HTTP/1.1 ", 9) != 0) {
        return -1;
    }
    head->status = (int)strtol(text + 9, NULL, 10);
    field = field_of(text, "Content-Length");
    head->body_bytes = field == NULL ? 0 : strtoul(field, NULL, 10);
    field = field_of(text, "Retry-After");
    head->retry_after_s = field == NULL ? -1 : strtol(field, NULL, 10);
    field = field_of(text, "Connection");
    head->closes = field != NULL && strncasecmp(field, "close", 5) == 0;
    if (head->status < 100 || head->body_bytes > BODY_MAX) {
        return -1;
    }
    return evbuffer_get_length(in) >= head->head_bytes + head->body_bytes;
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct connection *conn = arg;
    struct client *c = conn->client;
    struct evbuffer *in = bufferevent_get_input(bev);
    struct request *r = conn->request;
    struct head head = {.status = 0};
    int whole = read_head(in, &head);
    char body[BODY_MAX + 1];
    struct client_answer answer;

    if (whole == 0 && r != NULL) {
        return;
    }
    if (whole < 0 || r == NULL) { /* a server that speaks out of turn is about to close */
        drop(conn);
        serve_line(c);
        return;
    }
    (void)evbuffer_drain(in, head.head_bytes); /* both cannot fail: the bytes are there */
    (void)evbuffer_remove(in, body, head.body_bytes);
    body[head.body_bytes] = '\0';
    answer = (struct client_answer){head.status, head.retry_after_s, {body, head.body_bytes}};
    conn->request = NULL;
    bufferevent_set_timeouts(bev, NULL, NULL);
    if (head.closes) {
        drop(conn);
    }
    SLIST_INSERT_HEAD(&c->idle, conn, idle);
    r->answer(&answer, r->arg);
    free_request(r);
    serve_line(c);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct connection *conn = arg;
    struct client *c = conn->client;

    (void)bev;
    if ((what & BEV_EVENT_CONNECTED) != 0) {
        conn->is_open = true;
        c->n_connected++;
        return;
    }
    drop(conn);
    serve_line(c);
}

static void on_open_more(evutil_socket_t fd, short what, void *arg)
{
    struct client *c = arg;
    struct timeval pause = {.tv_usec = OPEN_PAUSE_MS * 1000L};

    (void)fd;
    (void)what;
    for (int i = 0; i < OPEN_AT_ONCE && c->next_open < c->n; c->next_open++) {
        struct connection *conn = &c->connections[c->next_open];

        if (conn->bev == NULL) {
            (void)open_connection(conn); /* tried again when it is needed */
            i++;
        }
    }
    if (c->next_open < c->n) {
        (void)event_add(c->opener, &pause);
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

struct client *client_create(struct event_base *base, const char *url, size_t connections,
                             int64_t timeout_ms, struct err *err)
{
    struct client *c = xcalloc(1, sizeof(*c));

    c->base = base;
    c->n = connections;
    c->timeout_ms = timeout_ms;
    SLIST_INIT(&c->idle);
    STAILQ_INIT(&c->line);
    c->connections = xcalloc(connections, sizeof(*c->connections));
    c->opener = evtimer_new(base, on_open_more, c);
    if (c->opener == NULL || !resolve(c, url, err)) {
        client_destroy(c);
        return NULL;
    }
    for (size_t i = connections; i-- > 0;) {
        c->connections[i].client = c;
        c->connections[i].number = i;
        SLIST_INSERT_HEAD(&c->idle, &c->connections[i], idle);
    }
    return c;
}

void client_destroy(struct client *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < c->n; i++) {
        if (c->connections[i].bev != NULL) {
            bufferevent_free(c->connections[i].bev);
        }
        if (c->connections[i].request != NULL) {
            free_request(c->connections[i].request);
        }
    }
    while (!STAILQ_EMPTY(&c->line)) {
        struct request *r = STAILQ_FIRST(&c->line);

        STAILQ_REMOVE_HEAD(&c->line, link);
        free_request(r);
    }
    if (c->opener != NULL) {
        event_free(c->opener);
    }
    free(c->connections);
    free(c);
}

void client_send(struct client *c, const char *request, const char *body, client_answer_fn *answer,
                 void *arg)
{
    struct request *r = xcalloc(1, sizeof(*r));
    size_t body_len = body == NULL ? 0 : strlen(body);
    size_t size = strlen(request) + strlen(c->host) + body_len + 100;
    int n = 0;

    r->bytes = xmalloc(size);
    if (body == NULL) {
        n = snprintf(r->bytes, size, "%sHost: %s\r\n\r\n", request, c->host);
    } else {
        n = snprintf(r->bytes, size, "%sHost: %s\r\nContent-Length: %zu\r\n\r\n%s", request,
                     c->host, body_len, body);
    }
    r->len = (size_t)n; /* size leaves room for all of it */
    r->answer = answer;
    r->arg = arg;
    c->requests++;
    STAILQ_INSERT_TAIL(&c->line, r, link);
    serve_line(c);
}

size_t client_connected(const struct client *c)
{
    return c->n_connected;
}

uint64_t client_requests(const struct client *c)
{
    return c->requests;
}
