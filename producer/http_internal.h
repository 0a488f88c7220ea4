/*
 * http_internal.h - what the files of http share: http.c (the server, and requests as handlers see
 * them), http_listen.c (accepting), http_conn.c (connections).  Nobody else includes it.
 */
#ifndef PRODUCER_HTTP_INTERNAL_H
#define PRODUCER_HTTP_INTERNAL_H

#include <event2/buffer.h>
#include <event2/event_struct.h>
#include <event2/listener.h>
#include <sys/queue.h>

#include "common/buf.h"
#include "producer/http_request.h"
#include "producer/peers.h"

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
    struct buf in;        /* received and not yet consumed */
    struct evbuffer *out; /* answered and not yet sent; NULL when empty */
    struct visit *visit;  /* pending, or NULL */
    size_t requests;
    size_t discarded_bytes;
    bool is_head;      /* the pending request was a HEAD */
    bool is_continued; /* "100 Continue" was sent for the request being read */
    bool is_closing;   /* no more requests; close when what is owed is sent */
    bool is_eof;       /* the client closed its side */
    bool is_broken;    /* sending failed */
};

/* A request of a connection's. */
struct visit {
    struct http_request request;
    STAILQ_ENTRY(visit) link; /* while free */
    struct http *http;
    struct conn *conn; /* NULL: the client has left */
    struct http_peer peer;
};

TAILQ_HEAD(conn_list, conn);
STAILQ_HEAD(visit_list, visit);

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
    struct visit_list free_visits;
    size_t pending;

    size_t input_bytes; /* the largest request */
    char *input;        /* received into */
    char *path;         /* unescaped into */
    struct http_message message;
    struct conn *serving;   /* its answers go to batch */
    struct visit *handling; /* what http_message() may be asked for */
    struct buf batch;
    struct buf late; /* an answer outside of serve() */
    struct buf body; /* of a refusal of ours */
    int64_t date_s;
    char date[HTTP_DATE_SIZE];

    bool is_draining;
    bool is_destroyed; /* kept only until the last request is answered */
    int64_t drain_deadline_ms;
    http_drained_fn *drained;
    void *drained_arg;
};

static inline void http_count(struct http *h, enum http_stat what, int64_t n)
{
    if (h->settings.stats != NULL) {
        stats_add(h->settings.stats, h->settings.stats_first + what, n);
    }
}

/* ---- http.c ---- */

/* The request that c has read, pending from now on. */
struct visit *http_visit_take(struct conn *c);

/* ---- http_listen.c ---- */

/* Listens as the settings say; http_listen_end() undoes it, also after a failure. */
bool http_listen(struct http *h, struct err *err) ATTR_MUSTCHECK;

/* Takes what the kernel has already accepted, then stops listening. */
void http_listen_drain(struct http *h);

/* Undoes http_listen(), drained or not. */
void http_listen_end(struct http *h);

/* ---- http_conn.c ---- */

void http_conn_init(struct http *h);

/* Takes over fd, a client's; c is closed when it, or we, are done. */
void http_conn_add(struct http *h, int fd, const struct http_peer *peer);

/* Closes the connection that is missed least; false when there is none. */
bool http_conn_evict(struct http *h) ATTR_MUSTCHECK;

/* Writes an answer for c: at once, or with the batch when c is being served. */
void http_conn_answer(struct conn *c, struct http_answer *a);

/* Moves c, answered outside of serve(), to where it waits or is served on.  It may be gone then. */
void http_conn_settle(struct conn *c);

/* Closes, as politely as can be, what has no request under way. */
void http_conn_close_idle(struct http *h);

/* Whatever is past its deadline. */
void http_conn_expire(struct http *h, int64_t now_ms);

/* All of them, at once; requests stay, and have no client any more. */
void http_conn_close_all(struct http *h);

/* After http_conn_close_all(). */
void http_conn_fini(struct http *h);

#endif /* PRODUCER_HTTP_INTERNAL_H */
