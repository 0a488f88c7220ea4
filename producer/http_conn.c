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
#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/xmalloc.h"
#include "producer/http_internal.h"

enum {
    LINGER_MS = 1000,          /* for the client's FIN */
    LINGER_BYTES = 256 * 1024, /* of input thrown away meanwhile */
    TURN_REQUESTS = 32,        /* of one connection, before others have their turn */
    BATCH_BYTES = 256 * 1024,  /* of answers collected before they are sent */
    ANSWER_BYTES = 16 * 1024 * 1024,
    KEPT_BYTES = 64 * 1024, /* an answer buffer grown past this is given back */
    READ_BYTES = 4096,      /* step by which a connection's own input grows */
    ORPHAN_FACTOR = 4,      /* requests pending, clients gone included, per connection */
};

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);

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
    assert(c->visit == NULL && c != h->serving);
    (void)event_del(&c->read_event);
    (void)event_del(&c->write_event);
    (void)close(c->fd); /* nothing can be done about a failure, and the fd is gone either way */
    peers_leave(h->peers, c->peer.address);
    h->connections--;
    http_count(h, STAT_HTTP_OPEN, -1);
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
    struct visit *v = c->visit;
    c->visit = NULL;
    close_conn(c);
    if (v != NULL) {
        v->conn = NULL;
        http_request_leave(&v->request);
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
    } else if (c->visit != NULL) {
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
void http_conn_settle(struct conn *c)
{
    if (c->in.len > 0 && !c->is_broken && !c->is_closing && c->visit == NULL && c->out == NULL) {
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
    if (c->visit == NULL) {
        http_conn_settle(c);
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
void http_conn_answer(struct conn *c, struct http_answer *a)
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
    http_conn_answer(c, &a);
}

/* Requests */

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
        http_count(h, STAT_HTTP_REFUSED_FULL, 1);
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
    c->visit = http_visit_take(c);
    c->visit->request.has_left = c->is_eof;
    h->handling = c->visit;
    h->handler(&c->visit->request, h->arg);
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
    while (c->visit == NULL && !c->is_closing && !c->is_broken && used < data.len) {
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
            http_count(h, STAT_HTTP_BAD, 1);
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
        http_conn_settle(c);
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
    c->is_eof = true;
    set_reading(c, false);
    if (c->visit == NULL) {
        close_conn(c);
        return;
    }
    http_request_leave(&c->visit->request);
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
    bool is_own = c->in.len > 0 || c->visit != NULL;
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
    if (c->visit != NULL) {
        settle(c);
    } else {
        serve(c, is_own ? buf_slice(&c->in) : (struct slice){h->input, (size_t)n});
    }
}

/* Accepted, evicted */

bool http_conn_evict(struct http *h)
{
    struct conn *c = TAILQ_FIRST(&h->lists[CONN_LINGER]);
    if (c == NULL) {
        c = TAILQ_FIRST(&h->lists[CONN_IDLE]);
    }
    if (c == NULL) {
        return false;
    }
    http_count(h, STAT_HTTP_EVICTED, 1);
    close_conn(c);
    return true;
}

void http_conn_add(struct http *h, int fd, const struct http_peer *peer)
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
    http_count(h, STAT_HTTP_CONNECTIONS, 1);
    http_count(h, STAT_HTTP_OPEN, 1);
    (void)event_assign(&c->read_event, h->base, fd, EV_READ | EV_PERSIST, on_readable, c);
    (void)event_assign(&c->write_event, h->base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
    settle(c);
    if (c->is_broken) {
        close_conn(c); /* no memory to watch its socket with */
    }
}

/* Deadlines, and the end */

static void expire_conn(struct conn *c)
{
    struct http *h = c->http;
    switch (c->state) {
    case CONN_HEADER:
        http_count(h, STAT_HTTP_LATE_HEADER, 1);
        break;
    case CONN_BODY:
        http_count(h, STAT_HTTP_LATE_BODY, 1);
        break;
    case CONN_WRITE:
        http_count(h, STAT_HTTP_LATE_WRITE, 1);
        close_conn(c);
        return;
    case CONN_IDLE:
        http_count(h, STAT_HTTP_LATE_IDLE, 1);
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

void http_conn_expire(struct http *h, int64_t now_ms)
{
    static const enum conn_state waiting[] = {CONN_HEADER, CONN_BODY, CONN_IDLE, CONN_WRITE,
                                              CONN_LINGER};
    for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++) {
        expire_list(h, waiting[i], now_ms);
    }
}

void http_conn_close_idle(struct http *h)
{
    struct conn *c;
    while ((c = TAILQ_FIRST(&h->lists[CONN_IDLE])) != NULL) {
        linger(c);
    }
}

void http_conn_close_all(struct http *h)
{
    for (int state = 0; state < CONN_FREE; state++) {
        struct conn *c;
        while ((c = TAILQ_FIRST(&h->lists[state])) != NULL) {
            if (c->visit != NULL) {
                c->visit->conn = NULL;
                c->visit = NULL;
            }
            close_conn(c);
        }
    }
}

void http_conn_init(struct http *h)
{
    for (int state = 0; state < CONN_STATES; state++) {
        TAILQ_INIT(&h->lists[state]);
    }
    h->input_bytes = h->settings.limits.head_bytes + h->settings.limits.body_bytes;
    h->input = xmalloc(h->input_bytes);
    h->path = xmalloc(h->settings.limits.line_bytes);
    buf_init(&h->batch, ANSWER_BYTES);
    buf_init(&h->late, ANSWER_BYTES);
    buf_init(&h->body, ANSWER_BYTES);
    (void)event_assign(&h->ready_event, h->base, -1, 0, on_ready, h);
}

void http_conn_fini(struct http *h)
{
    struct conn *next;
    for (struct conn *c = TAILQ_FIRST(&h->lists[CONN_FREE]); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        free(c);
    }
    (void)event_del(&h->ready_event);
    buf_fini(&h->batch);
    buf_fini(&h->late);
    buf_fini(&h->body);
    free(h->input);
    free(h->path);
}
