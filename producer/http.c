/*
 * A connection is in exactly one list, that of its state, and only set_state() moves it.  States
 * with a deadline all wait equally long, so each list is in the order of its deadlines and the
 * tick looks at heads only; a connection that stays in its state keeps its deadline, which is what
 * makes deadlines absolute.
 *
 *   accept -> HEADER -> BODY -> BUSY (handler runs) -> PENDING -> IDLE -> HEADER ...
 *                                  \-> IDLE            \-> READY (input was sent ahead)
 *   any -> WRITE (the answer did not go out at once) ;  any -> LINGER -> gone
 *
 * Input is received into one buffer per server and parsed there; only what is left over (a part
 * of a request, or requests sent ahead) is kept with the connection.  Answers given while serve()
 * runs are collected and sent with one call; so an ordinary request costs one recv(), one send()
 * and no allocation.  evbuffers hold what the client does not take at once.
 *
 * While a request is pending the socket is still read, up to the size of one more request:
 * otherwise a client that left would not be noticed.
 *
 * Closing is FIN first, then reading until the client's own (LINGER): a close() with unread input
 * would send RST, and the client might never see the answer that says what was wrong.
 */
#include "producer/http.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event_struct.h>
#include <event2/listener.h>
#include <event2/util.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/xmalloc.h"
#include "producer/peers.h"

enum {
    TICK_US = 50 * 1000,
    ACCEPT_PAUSE_US = 100 * 1000, /* out of descriptors: trying again at once would only spin */
    LINGER_MS = 1000,             /* for the client's FIN */
    LINGER_BYTES = 256 * 1024,    /* of input thrown away meanwhile */
    TURN_REQUESTS = 32,           /* of one connection, before others have their turn */
    BATCH_BYTES = 256 * 1024,     /* of answers collected before they are sent */
    ANSWER_BYTES = 16 * 1024 * 1024,
    KEPT_BYTES = 64 * 1024, /* an answer buffer grown past this is given back */
    READ_BYTES = 4096,      /* step by which a connection's own input grows */
    ORPHAN_FACTOR = 4,      /* requests pending, clients gone included, per connection */
};

enum conn_state {
    CONN_BUSY,    /* being set up, or in serve() */
    CONN_HEADER,  /* waits for the rest of a head, or for the first one */
    CONN_BODY,    /* waits for the rest of a body */
    CONN_IDLE,    /* between requests */
    CONN_PENDING, /* the handler owes an answer; it has its own deadlines */
    CONN_READY,   /* has input to look at, in the next turn */
    CONN_WRITE,   /* the client has yet to take its answer */
    CONN_LINGER,  /* our side is closed, the client's not yet */
    CONN_FREE,    /* no connection: memory for the next one, used in the order it was given back */
    CONN_STATES,
};

struct conn {
    TAILQ_ENTRY(conn) link;
    struct http *http;
    struct event read_event;
    struct event write_event;
    int fd;
    enum conn_state state;
    int64_t deadline_ms;
    struct http_peer peer;
    struct http_progress progress;
    struct buf in;                /* received and not yet consumed */
    struct evbuffer *out;         /* answered and not yet sent; NULL when empty */
    struct http_request *request; /* pending, or NULL */
    size_t requests;
    size_t discarded_bytes;
    bool is_head;      /* the pending request was a HEAD */
    bool is_continued; /* "100 Continue" was sent for the request being read */
    bool is_closing;   /* no more requests; close when what is owed is sent */
    bool is_eof;       /* the client closed its side */
    bool is_broken;    /* sending failed */
};

struct http_request {
    STAILQ_ENTRY(http_request) link; /* while free */
    struct http *http;
    struct conn *conn; /* NULL: the client has left */
    struct http_peer peer;
    http_leave_fn *leave;
    void *leave_arg;
    bool is_pending;
};

TAILQ_HEAD(conn_list, conn);
STAILQ_HEAD(request_list, http_request);

struct http {
    struct event_base *base; /* borrowed */
    struct http_settings settings;
    http_handler_fn *handler;
    void *arg;
    struct evconnlistener *listener;
    uint16_t port;
    struct peers *peers;
    struct event tick_event;
    struct event ready_event;
    struct event accept_event;

    struct conn_list lists[CONN_STATES];
    size_t connections;

    /* First in, first out: a handle used after its answer is most likely found unused. */
    struct request_list free_requests;
    size_t pending;

    size_t input_bytes; /* the largest request */
    char *input;        /* received into */
    char *path;         /* unescaped into */
    struct http_message message;
    struct conn *serving;          /* its answers go to batch */
    struct http_request *handling; /* what http_message() may be asked for */
    struct buf batch;
    struct buf late; /* an answer outside of serve() */
    struct buf body; /* a problem's */
    int64_t date_s;
    char date[HTTP_DATE_SIZE];

    bool is_draining;
    bool is_destroyed; /* kept only until the last request is answered */
    int64_t drain_deadline_ms;
    http_drained_fn *drained;
    void *drained_arg;
};

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);

static void count(struct http *h, enum http_stat what, int64_t n)
{
    if (h->settings.stats != NULL) {
        stats_add(h->settings.stats, h->settings.stats_first + what, n);
    }
}

/* States */

static int64_t patience_ms(const struct http *h, enum conn_state state)
{
    switch (state) {
    case CONN_HEADER:
        return h->settings.header_ms;
    case CONN_BODY:
        return h->settings.body_ms;
    case CONN_IDLE:
        return h->settings.idle_ms;
    case CONN_WRITE:
        return h->settings.write_ms;
    case CONN_LINGER:
        return LINGER_MS;
    default:
        return 0;
    }
}

static void set_state(struct conn *c, enum conn_state state)
{
    struct http *h = c->http;
    if (c->state == state) {
        return;
    }
    TAILQ_REMOVE(&h->lists[c->state], c, link);
    TAILQ_INSERT_TAIL(&h->lists[state], c, link);
    c->state = state;
    int64_t patience = patience_ms(h, state);
    c->deadline_ms = patience > 0 ? clock_mono_ms() + patience : 0;
    if (state == CONN_READY) {
        /* A timer, not event_active(): that would run in this turn, before other sockets. */
        static const struct timeval at_once = {0, 0};
        (void)event_add(&h->ready_event, &at_once); /* a timer's memory was reserved */
    }
}

/* event_add() fails only when memory is short; then the connection is given up. */
static void set_reading(struct conn *c, bool is_on)
{
    bool is_set = event_pending(&c->read_event, EV_READ, NULL) != 0;
    if (is_on && !is_set && event_add(&c->read_event, NULL) != 0) {
        c->is_broken = true;
    } else if (!is_on && is_set) {
        (void)event_del(&c->read_event);
    }
}

static void close_conn(struct conn *c)
{
    struct http *h = c->http;
    assert(c->request == NULL && c != h->serving);
    (void)event_del(&c->read_event);
    (void)event_del(&c->write_event);
    (void)close(c->fd); /* nothing can be done about a failure, and the fd is gone either way */
    peers_leave(h->peers, c->peer.address);
    h->connections--;
    count(h, STAT_HTTP_OPEN, -1);
    buf_fini(&c->in);
    if (c->out != NULL) {
        evbuffer_free(c->out);
        c->out = NULL;
    }
    set_state(c, CONN_FREE);
}

/* Closes a connection whose client is lost, and tells who waits for it.  c is gone afterwards. */
static void lose_conn(struct conn *c)
{
    struct http_request *req = c->request;
    c->request = NULL;
    close_conn(c);
    if (req != NULL) {
        req->conn = NULL;
        http_leave_fn *leave = req->leave;
        req->leave = NULL;
        if (leave != NULL) {
            leave(req, req->leave_arg);
        }
    }
}

static void linger(struct conn *c)
{
    buf_fini(&c->in);
    if (c->is_eof || shutdown(c->fd, SHUT_WR) != 0) {
        close_conn(c);
        return;
    }
    set_state(c, CONN_LINGER);
    set_reading(c, true);
    if (c->is_broken) {
        close_conn(c);
    }
}

/* Moves c, with nothing more to do for it now, to where it waits.  c may be gone afterwards. */
static void settle(struct conn *c)
{
    bool is_sent = c->out == NULL;
    if (c->is_broken) {
        lose_conn(c);
    } else if (c->request != NULL) {
        set_state(c, CONN_PENDING);
        set_reading(c, !c->is_eof && c->in.len < c->http->input_bytes);
    } else if (!is_sent) {
        set_state(c, CONN_WRITE);
        set_reading(c, false);
    } else if (c->is_closing) {
        linger(c);
    } else if (c->is_eof) {
        close_conn(c);
    } else if (c->in.len == 0 && c->requests > 0) {
        if (c->http->is_draining) {
            linger(c);
            return;
        }
        set_state(c, CONN_IDLE);
        set_reading(c, true);
    } else {
        set_state(c, c->progress.head_bytes > 0 ? CONN_BODY : CONN_HEADER);
        set_reading(c, true);
    }
}

/* As settle(), for one that may have been sent more requests than were served. */
static void settle_or_serve(struct conn *c)
{
    if (c->in.len > 0 && !c->is_broken && !c->is_closing && c->request == NULL && c->out == NULL) {
        set_reading(c, false);
        set_state(c, CONN_READY);
        return;
    }
    settle(c);
}

/* Sending */

static void send_bytes(struct conn *c, struct slice bytes)
{
    size_t sent = 0;
    if (c->is_broken || bytes.len == 0) {
        return;
    }
    if (c->out == NULL) {
        ssize_t n = send(c->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            c->is_broken = true;
            return;
        }
        sent = n > 0 ? (size_t)n : 0;
        if (sent == bytes.len) {
            return;
        }
        c->out = evbuffer_new();
    }
    if (c->out == NULL || evbuffer_add(c->out, bytes.ptr + sent, bytes.len - sent) != 0 ||
        event_add(&c->write_event, NULL) != 0) {
        c->is_broken = true;
    }
}

/* Sends what the socket takes; evbuffer_write() would raise SIGPIPE. */
static void send_more(struct conn *c)
{
    struct evbuffer_iovec parts[8];
    int n = evbuffer_peek(c->out, -1, NULL, parts, 8);
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)(n > 8 ? 8 : n)};
    ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL);
    if (sent < 0) {
        c->is_broken = errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
        return;
    }
    if (evbuffer_drain(c->out, (size_t)sent) != 0) {
        c->is_broken = true;
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    (void)fd;
    (void)what;
    send_more(c);
    if (c->is_broken) {
        lose_conn(c);
        return;
    }
    if (evbuffer_get_length(c->out) > 0) {
        return;
    }
    (void)event_del(&c->write_event);
    evbuffer_free(c->out);
    c->out = NULL;
    if (c->request == NULL) {
        settle_or_serve(c);
    }
}

static const char *date_now(struct http *h)
{
    int64_t now_s = clock_wall_ms() / 1000;
    if (now_s != h->date_s) {
        h->date_s = now_s;
        http_date(h->date, now_s);
    }
    return h->date;
}

/* Writes an answer for c: at once, or with the batch when c is being served. */
static void answer(struct conn *c, struct http_answer *a)
{
    struct http *h = c->http;
    struct buf *out = c == h->serving ? &h->batch : &h->late;
    a->date = date_now(h);
    a->is_close = c->is_closing;
    http_answer_write(out, a);
    if (!buf_ok(out)) {
        log_limited(LOG_LEVEL_ERROR, "http.answer_too_large",
                    LOG_INT("body_bytes", (int64_t)a->body.len));
        c->is_broken = true;
    }
    if (c != h->serving) {
        send_bytes(c, buf_slice(out));
        buf_clear(out);
        if (out->capacity > KEPT_BYTES) {
            buf_fini(out);
        }
    }
}

struct refusal {
    int status;
    const char *reason;
};

static const struct refusal refusals[] = {
    {400, "bad_request"},           {408, "timeout"},         {411, "length_required"},
    {413, "content_too_large"},     {414, "uri_too_long"},    {417, "expectation_failed"},
    {431, "headers_too_large"},     {501, "not_implemented"}, {503, "connections"},
    {505, "version_not_supported"},
};

static const char *refusal_reason(int status)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        if (refusals[i].status == status) {
            return refusals[i].reason;
        }
    }
    return "bad_request";
}

/* Answers what never became a request for the handler, and closes. */
static void refuse(struct conn *c, int status, const char *detail)
{
    struct http *h = c->http;
    static const struct http_field fields[] = {{"Content-Type", "application/problem+json"},
                                               {NULL, NULL}};
    static const struct http_field later[] = {
        {"Content-Type", "application/problem+json"}, {"Retry-After", "1"}, {NULL, NULL}};
    const struct http_problem problem = {
        .status = status, .reason = refusal_reason(status), .detail = detail};
    buf_clear(&h->body);
    http_problem_write(&h->body, &problem);
    c->is_closing = true;
    struct http_answer a = {.status = status,
                            .fields = status == 503 ? later : fields,
                            .body = buf_slice(&h->body),
                            .is_head_only = c->is_head};
    answer(c, &a);
}

/* Requests */

static struct http_request *take_request(struct conn *c)
{
    struct http *h = c->http;
    struct http_request *req = STAILQ_FIRST(&h->free_requests);
    if (req != NULL) {
        STAILQ_REMOVE_HEAD(&h->free_requests, link);
    } else {
        req = xmalloc(sizeof(*req));
    }
    *req = (struct http_request){.http = h, .conn = c, .peer = c->peer, .is_pending = true};
    h->pending++;
    count(h, STAT_HTTP_REQUESTS, 1);
    count(h, STAT_HTTP_PENDING, 1);
    return req;
}

static void free_conns(struct http *h)
{
    struct conn *next;
    for (struct conn *c = TAILQ_FIRST(&h->lists[CONN_FREE]); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        free(c);
    }
}

static void free_requests(struct http *h)
{
    struct http_request *req;
    while ((req = STAILQ_FIRST(&h->free_requests)) != NULL) {
        STAILQ_REMOVE_HEAD(&h->free_requests, link);
        free(req);
    }
}

/* Ends a request; returns the connection to answer, or NULL when nobody is there. */
static struct conn *finish_request(struct http_request *req)
{
    struct http *h = req->http;
    struct conn *c = req->conn;
    assert(req->is_pending);
    req->is_pending = false;
    req->conn = NULL;
    h->pending--;
    count(h, STAT_HTTP_PENDING, -1);
    count(h, c == NULL ? STAT_HTTP_ORPHANS : STAT_HTTP_ANSWERS, 1);
    STAILQ_INSERT_TAIL(&h->free_requests, req, link);
    if (c != NULL) {
        c->request = NULL;
    } else if (h->is_destroyed && h->pending == 0) {
        free_requests(h);
        free(h);
    }
    return c;
}

/* Gives the parsed request to the handler. */
static void dispatch(struct conn *c)
{
    struct http *h = c->http;
    struct http_message *msg = &h->message;
    set_state(c, CONN_BUSY);
    c->requests++;
    c->is_continued = false;
    c->is_head = msg->method == HTTP_HEAD;
    c->is_closing = !msg->is_keep_alive || c->requests >= h->settings.requests_per_connection_max;
    if (h->pending >= h->settings.connections_max * ORPHAN_FACTOR) {
        count(h, STAT_HTTP_REFUSED_FULL, 1);
        refuse(c, 503, "Too many requests are waiting here; come again in a moment.");
        return;
    }
    if (c->is_head) {
        msg->method = HTTP_GET;
    }
    if (msg->is_path_escaped) {
        msg->path.len = http_unescape(msg->path, h->path);
        msg->path.ptr = h->path;
    }
    c->request = take_request(c);
    h->handling = c->request;
    h->handler(c->request, h->arg);
    h->handling = NULL;
}

/*
 * Serves the requests in data, which is h->input or c->in; returns how much was consumed.  Stops
 * at the first that is incomplete, bad or left pending, and after a fair share.
 */
static size_t serve_input(struct conn *c, struct slice data, bool *is_cut)
{
    struct http *h = c->http;
    size_t used = 0;
    int served = 0;
    *is_cut = false;
    while (c->request == NULL && !c->is_closing && !c->is_broken && used < data.len) {
        if (served++ == TURN_REQUESTS || h->batch.len > BATCH_BYTES) {
            *is_cut = true;
            break;
        }
        enum http_verdict verdict = http_parse(&c->progress, &h->settings.limits, data.ptr + used,
                                               data.len - used, &h->message);
        if (verdict == HTTP_PARSE_MORE) {
            if (c->progress.is_continue_wanted && !c->is_continued) {
                buf_puts(&h->batch, "HTTP/1.1 100 Continue\r\n\r\n");
                c->is_continued = true;
            }
            break;
        }
        if (verdict == HTTP_PARSE_BAD) {
            count(h, STAT_HTTP_BAD, 1);
            c->is_head = h->message.method == HTTP_HEAD;
            refuse(c, h->message.status, h->message.reason);
            break;
        }
        used += h->message.consumed;
        c->progress = (struct http_progress){0};
        dispatch(c);
    }
    return used;
}

/* Serves what has come, keeps the rest, sends the answers.  c may be gone afterwards. */
static void serve(struct conn *c, struct slice data)
{
    struct http *h = c->http;
    bool is_cut = false;

    h->serving = c;
    size_t used = serve_input(c, data, &is_cut);
    h->serving = NULL;

    if (data.ptr != c->in.ptr) {
        buf_append(&c->in, data.ptr + used, data.len - used);
    } else if (used > 0) {
        memmove(c->in.ptr, c->in.ptr + used, c->in.len - used);
        buf_truncate(&c->in, c->in.len - used);
    }
    if (c->in.len == 0 || c->is_closing) {
        buf_fini(&c->in);
    }
    send_bytes(c, buf_slice(&h->batch));
    buf_clear(&h->batch);
    if (h->batch.capacity > 2 * (size_t)BATCH_BYTES) {
        buf_fini(&h->batch);
    }
    if (is_cut) {
        settle_or_serve(c);
    } else {
        settle(c);
    }
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct http *h = arg;
    (void)fd;
    (void)what;
    /* Only those that are ready now: one that becomes so meanwhile waits for the next turn. */
    struct conn *last = TAILQ_LAST(&h->lists[CONN_READY], conn_list);
    struct conn *c;
    bool is_last = last == NULL;
    while (!is_last && (c = TAILQ_FIRST(&h->lists[CONN_READY])) != NULL) {
        is_last = c == last;
        set_state(c, CONN_BUSY);
        serve(c, buf_slice(&c->in));
    }
}

/* Receiving */

static void discard_input(struct conn *c)
{
    struct http *h = c->http;
    ssize_t n = recv(c->fd, h->input, h->input_bytes, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return;
    }
    c->discarded_bytes += n > 0 ? (size_t)n : 0;
    if (n <= 0 || c->discarded_bytes > LINGER_BYTES) {
        close_conn(c);
    }
}

/* The client sends no more.  It may have closed its half only, so what is pending is answered. */
static void take_eof(struct conn *c)
{
    struct http_request *req = c->request;
    c->is_eof = true;
    set_reading(c, false);
    if (req == NULL) {
        close_conn(c);
        return;
    }
    http_leave_fn *leave = req->leave;
    req->leave = NULL;
    if (leave != NULL) {
        leave(req, req->leave_arg);
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    struct http *h = c->http;
    (void)what;
    if (c->state == CONN_LINGER) {
        discard_input(c);
        return;
    }
    /* Kept input continues in its own buffer; its bound is never reached while a request lacks. */
    bool is_own = c->in.len > 0 || c->request != NULL;
    size_t room = h->input_bytes - c->in.len;
    assert(room > 0);
    char *into = h->input;
    if (is_own) {
        room = room < READ_BYTES ? room : READ_BYTES;
        into = buf_reserve(&c->in, room);
        assert(into != NULL);
    }
    ssize_t n = recv(fd, into, room, 0);
    if (n < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            lose_conn(c);
        }
        return;
    }
    if (n == 0) {
        take_eof(c);
        return;
    }
    if (is_own) {
        buf_commit(&c->in, (size_t)n);
    }
    if (c->request != NULL) {
        settle(c);
    } else {
        serve(c, is_own ? buf_slice(&c->in) : (struct slice){h->input, (size_t)n});
    }
}

/* Accepting */

static void read_peer(const struct sockaddr *address, struct http_peer *peer)
{
    *peer = (struct http_peer){.port = 0};
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
        memcpy(peer->address, &in6->sin6_addr, sizeof(peer->address));
        peer->port = ntohs(in6->sin6_port);
    } else if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
        peer->address[10] = peer->address[11] = 0xff;
        memcpy(peer->address + 12, &in->sin_addr, 4);
        peer->port = ntohs(in->sin_port);
    }
}

/* Says why, as far as the socket takes it; reading first, since unread input would turn into RST. */
static void turn_away(struct http *h, int fd)
{
    static const char text[] = "HTTP/1.1 503 Service Unavailable\r\n"
                               "Content-Type: application/problem+json\r\n"
                               "Retry-After: 1\r\n"
                               "Connection: close\r\n"
                               "\r\n"
                               "{\"type\":\"urn:seckill:problem:connections\","
                               "\"title\":\"Service Unavailable\",\"status\":503,"
                               "\"detail\":\"Too many connections; come again in a moment.\","
                               "\"reason\":\"connections\"}";
    ssize_t n = recv(fd, h->input, h->input_bytes, MSG_DONTWAIT);
    if (n != 0) {
        n = send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    (void)n; /* best effort: this client is refused either way */
    (void)shutdown(fd, SHUT_WR);
    (void)close(fd);
}

/* Closes the connection that is missed least; false when there is none. */
static bool make_room(struct http *h)
{
    struct conn *c = TAILQ_FIRST(&h->lists[CONN_LINGER]);
    if (c == NULL) {
        c = TAILQ_FIRST(&h->lists[CONN_IDLE]);
    }
    if (c == NULL) {
        return false;
    }
    count(h, STAT_HTTP_EVICTED, 1);
    close_conn(c);
    return true;
}

static void add_conn(struct http *h, int fd, const struct http_peer *peer)
{
    static const int one = 1;
    /* Answers are sent whole; waiting for more to send would only delay them. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct conn *c = TAILQ_FIRST(&h->lists[CONN_FREE]);
    if (c != NULL) {
        TAILQ_REMOVE(&h->lists[CONN_FREE], c, link);
    } else {
        c = xmalloc(sizeof(*c));
    }
    *c = (struct conn){.http = h, .fd = fd, .peer = *peer, .state = CONN_BUSY};
    buf_init(&c->in, h->input_bytes);
    TAILQ_INSERT_TAIL(&h->lists[CONN_BUSY], c, link);
    h->connections++;
    count(h, STAT_HTTP_CONNECTIONS, 1);
    count(h, STAT_HTTP_OPEN, 1);
    (void)event_assign(&c->read_event, h->base, fd, EV_READ | EV_PERSIST, on_readable, c);
    (void)event_assign(&c->write_event, h->base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
    settle(c);
    if (c->is_broken) {
        close_conn(c); /* no memory to watch its socket with */
    }
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int len, void *arg)
{
    struct http *h = arg;
    struct http_peer peer;
    (void)listener;
    (void)len;
    read_peer(address, &peer);
    if (h->connections >= h->settings.connections_max && !make_room(h)) {
        count(h, STAT_HTTP_REFUSED_FULL, 1);
        turn_away(h, fd);
        return;
    }
    if (!peers_enter(h->peers, peer.address)) {
        count(h, STAT_HTTP_REFUSED_IP, 1);
        turn_away(h, fd);
        return;
    }
    add_conn(h, fd, &peer);
}

static void on_accept_error(struct evconnlistener *listener, void *arg)
{
    struct http *h = arg;
    static const struct timeval pause = {0, ACCEPT_PAUSE_US};
    int error = EVUTIL_SOCKET_ERROR();
    count(h, STAT_HTTP_ACCEPT_ERRORS, 1);
    log_limited(LOG_LEVEL_ERROR, "http.accept_failed", LOG_ERRNO(error));
    (void)evconnlistener_disable(listener);
    (void)event_add(&h->accept_event, &pause); /* a timer's memory was reserved */
}

static void on_accept_again(evutil_socket_t fd, short what, void *arg)
{
    struct http *h = arg;
    (void)fd;
    (void)what;
    if (h->listener != NULL) {
        (void)evconnlistener_enable(h->listener);
    }
}

/* Deadlines */

static void expire_conn(struct conn *c)
{
    struct http *h = c->http;
    switch (c->state) {
    case CONN_HEADER:
        count(h, STAT_HTTP_LATE_HEADER, 1);
        break;
    case CONN_BODY:
        count(h, STAT_HTTP_LATE_BODY, 1);
        break;
    case CONN_WRITE:
        count(h, STAT_HTTP_LATE_WRITE, 1);
        close_conn(c);
        return;
    case CONN_IDLE:
        count(h, STAT_HTTP_LATE_IDLE, 1);
        linger(c);
        return;
    default:
        close_conn(c);
        return;
    }
    if (c->in.len == 0) {
        linger(c);
        return;
    }
    c->is_head = false;
    refuse(c, 408, "The request did not come in time.");
    settle(c);
}

static void expire_list(struct http *h, enum conn_state state, int64_t now_ms)
{
    struct conn *c;
    while ((c = TAILQ_FIRST(&h->lists[state])) != NULL && c->deadline_ms <= now_ms) {
        expire_conn(c);
    }
}

static void close_all(struct http *h)
{
    for (int state = 0; state < CONN_FREE; state++) {
        struct conn *c;
        while ((c = TAILQ_FIRST(&h->lists[state])) != NULL) {
            if (c->request != NULL) {
                c->request->conn = NULL;
                c->request = NULL;
            }
            close_conn(c);
        }
    }
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    static const enum conn_state waiting[] = {CONN_HEADER, CONN_BODY, CONN_IDLE, CONN_WRITE,
                                              CONN_LINGER};
    struct http *h = arg;
    int64_t now_ms = clock_mono_ms();
    (void)fd;
    (void)what;
    for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++) {
        expire_list(h, waiting[i], now_ms);
    }
    if (h->drained == NULL) {
        return;
    }
    bool is_over = now_ms >= h->drain_deadline_ms;
    if (is_over) {
        close_all(h);
    }
    if (is_over || (h->connections == 0 && h->pending == 0)) {
        http_drained_fn *drained = h->drained;
        h->drained = NULL;
        drained(h->drained_arg); /* may destroy h */
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

/* Reads "HOST:PORT", "[IPV6]:PORT" or ":PORT"; evutil_parse_sockaddr_port() refuses port 0. */
static bool resolve(const char *text, struct sockaddr_storage *address, int *len, struct err *err)
{
    char host[256] = "";
    struct slice name = slice_str(text);
    const char *colon = text == NULL ? NULL : strrchr(text, ':');
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                                   .ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;

    if (colon == NULL || colon[1] < '0' || colon[1] > '9') {
        return err_set(err, ERR_REJECT, "listen address \"%s\" is not HOST:PORT",
                       text == NULL ? "" : text);
    }
    name.len = (size_t)(colon - text);
    if (name.len >= 2 && name.ptr[0] == '[' && colon[-1] == ']') {
        name = (struct slice){name.ptr + 1, name.len - 2};
    }
    if (!slice_copy(name, host, sizeof(host))) {
        return err_set(err, ERR_REJECT, "listen address \"%s\" is too long", text);
    }
    int rc = getaddrinfo(host[0] == '\0' ? NULL : host, colon + 1, &hints, &found);
    if (rc != 0) {
        return err_set(err, ERR_REJECT, "listen address \"%s\": %s", text, gai_strerror(rc));
    }
    memcpy(address, found->ai_addr, found->ai_addrlen);
    *len = (int)found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static bool start_listening(struct http *h, struct err *err)
{
    struct sockaddr_storage address;
    int len = 0;
    const char *text = h->settings.listen;
    if (!resolve(text, &address, &len, err)) {
        return false;
    }
    unsigned int flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE;
    if (h->settings.is_port_shared) {
        flags |= LEV_OPT_REUSEABLE_PORT;
    }
    h->listener = evconnlistener_new_bind(h->base, on_accept, h, flags, h->settings.backlog,
                                          (struct sockaddr *)&address, len);
    if (h->listener == NULL) {
        int error = EVUTIL_SOCKET_ERROR();
        return err_set(err, ERR_FATAL, "listen %s: %s", text, strerror(error));
    }
    evconnlistener_set_error_cb(h->listener, on_accept_error);

    socklen_t size = sizeof(address);
    struct http_peer self;
    if (getsockname(evconnlistener_get_fd(h->listener), (struct sockaddr *)&address, &size) != 0) {
        return err_set(err, ERR_FATAL, "getsockname: %s", strerror(errno));
    }
    read_peer((struct sockaddr *)&address, &self);
    h->port = self.port;
    return true;
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
    for (int state = 0; state < CONN_STATES; state++) {
        TAILQ_INIT(&h->lists[state]);
    }
    STAILQ_INIT(&h->free_requests);
    h->input_bytes = settings->limits.head_bytes + settings->limits.body_bytes;
    h->input = xmalloc(h->input_bytes);
    h->path = xmalloc(settings->limits.line_bytes);
    h->peers = peers_create(settings->connections_max, settings->connections_per_ip_max == 0
                                                           ? SIZE_MAX
                                                           : settings->connections_per_ip_max);
    buf_init(&h->batch, ANSWER_BYTES);
    buf_init(&h->late, ANSWER_BYTES);
    buf_init(&h->body, ANSWER_BYTES);
    (void)event_assign(&h->tick_event, base, -1, EV_PERSIST, on_tick, h);
    (void)event_assign(&h->ready_event, base, -1, 0, on_ready, h);
    (void)event_assign(&h->accept_event, base, -1, 0, on_accept_again, h);
    if (!start_listening(h, err)) {
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
    close_all(h);
    if (h->listener != NULL) {
        evconnlistener_free(h->listener);
        h->listener = NULL;
    }
    (void)event_del(&h->tick_event);
    (void)event_del(&h->ready_event);
    (void)event_del(&h->accept_event);
    peers_destroy(h->peers);
    buf_fini(&h->batch);
    buf_fini(&h->late);
    buf_fini(&h->body);
    free(h->input);
    free(h->path);
    free_conns(h);
    if (h->pending > 0) {
        h->is_destroyed = true;
        return;
    }
    free_requests(h);
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
    /*
     * Closing the listener resets what waits in its queue, which with a shared port no other
     * listener inherits: take it first.
     */
    (void)evconnlistener_disable(h->listener);
    while (true) {
        struct sockaddr_storage address = {0};
        socklen_t len = sizeof(address);
        int fd = accept4(evconnlistener_get_fd(h->listener), (struct sockaddr *)&address, &len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            break;
        }
        on_accept(h->listener, fd, (struct sockaddr *)&address, (int)len, h);
    }
    evconnlistener_free(h->listener);
    h->listener = NULL;
    h->is_draining = true;
    h->drain_deadline_ms = clock_mono_ms() + timeout_ms;
    h->drained = done;
    h->drained_arg = arg;
    struct conn *c;
    while ((c = TAILQ_FIRST(&h->lists[CONN_IDLE])) != NULL) {
        linger(c);
    }
}

/* A request, seen by its handler */

const struct http_message *http_message(const struct http_request *req)
{
    assert(req->is_pending && req->http->handling == req);
    return &req->http->message;
}

const struct http_peer *http_peer(const struct http_request *req)
{
    assert(req->is_pending);
    return &req->peer;
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

void http_on_leave(struct http_request *req, http_leave_fn *leave, void *arg)
{
    assert(req->is_pending);
    req->leave = leave;
    req->leave_arg = arg;
}

void http_reply(struct http_request *req, int status, const struct http_field *fields,
                struct slice body)
{
    struct http *h = req->http;
    struct conn *c = finish_request(req);
    if (c == NULL) {
        return;
    }
    if (h->is_draining) {
        c->is_closing = true;
    }
    struct http_answer a = {
        .status = status, .fields = fields, .body = body, .is_head_only = c->is_head};
    answer(c, &a);
    if (c != h->serving) {
        settle_or_serve(c);
    }
}

enum { FIELDS_MAX = 16 };

/* Answers with a Content-Type, and a Retry-After when retry_after_s > 0, before fields. */
static void reply_typed(struct http_request *req, int status, const char *type,
                        int64_t retry_after_s, const struct http_field *fields, struct slice body)
{
    char seconds[24];
    struct buf text;
    struct http_field all[FIELDS_MAX + 1];
    size_t n = 0;
    all[n++] = (struct http_field){"Content-Type", type};
    if (retry_after_s > 0) {
        buf_init_fixed(&text, seconds, sizeof(seconds));
        buf_put_i64(&text, retry_after_s);
        all[n++] = (struct http_field){"Retry-After", seconds};
    }
    while (fields != NULL && fields->name != NULL) {
        assert(n < FIELDS_MAX);
        all[n++] = *fields++;
    }
    all[n] = (struct http_field){NULL, NULL};
    http_reply(req, status, all, body);
}

void http_reply_json(struct http_request *req, int status, const struct http_field *fields,
                     struct slice body)
{
    reply_typed(req, status, "application/json", 0, fields, body);
}

void http_reply_problem(struct http_request *req, const struct http_problem *problem,
                        const struct http_field *fields)
{
    struct http *h = req->http;
    if (req->conn == NULL) {
        http_reply(req, problem->status, NULL, (struct slice){NULL, 0});
        return;
    }
    buf_clear(&h->body);
    http_problem_write(&h->body, problem);
    reply_typed(req, problem->status, "application/problem+json", problem->retry_after_s, fields,
                buf_slice(&h->body));
}
