/*
 * evhttp suffices here: the endpoint is for operators on a private address, answers three GETs and
 * takes no bodies.  It is not good enough for the producer's door (see producer/http_parse.h).
 */
#include "common/admin.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "common/log.h"
#include "common/xmalloc.h"

enum {
    HEADERS_BYTES = 8192,
    TIMEOUT_S = 10,
    REPORT_BYTES = 16384,
    METRICS_BYTES = 4 << 20,
};

struct admin {
    struct evhttp *http;
    const struct stats *stats; /* borrowed, outlives us */
    admin_ready_fn *ready;
    void *arg;
    uint16_t port;
};

void admin_report_init(struct admin_report *report)
{
    buf_init(&report->all, REPORT_BYTES);
    buf_init(&report->failed, REPORT_BYTES);
}

void admin_report_fini(struct admin_report *report)
{
    buf_fini(&report->all);
    buf_fini(&report->failed);
}

static void put_check(struct buf *b, const char *name, bool good, const char *why)
{
    const bool has_why = why != NULL && why[0] != '\0';

    buf_printf(b, "[%c] %s%s%s\n", good ? '+' : '-', name, has_why ? ": " : "", has_why ? why : "");
}

void admin_check(struct admin_report *report, const char *name, bool good, const char *why)
{
    put_check(&report->all, name, good, why);
    if (!good) {
        put_check(&report->failed, name, good, why);
    }
}

bool admin_report_write(const struct admin_report *report, bool is_verbose, struct buf *out)
{
    const bool ready = report->failed.len == 0 && buf_ok(&report->failed);

    if (is_verbose) {
        buf_put_slice(out, buf_slice(&report->all));
    } else {
        buf_put_slice(out, buf_slice(&report->failed));
    }
    buf_puts(out, ready ? "ready\n" : "not ready\n");
    return ready;
}

static void answer(struct evhttp_request *req, int status, const char *type, const struct buf *body)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    struct evbuffer *out = evhttp_request_get_output_buffer(req);

    if (!buf_ok(body) || evhttp_add_header(headers, "Content-Type", type) != 0 ||
        evhttp_add_header(headers, "Cache-Control", "no-store") != 0 ||
        evbuffer_add(out, body->ptr, body->len) != 0) {
        evhttp_send_error(req, HTTP_INTERNAL, NULL);
        return;
    }
    evhttp_send_reply(req, status, NULL, NULL);
}

static void on_metrics(struct evhttp_request *req, void *arg)
{
    const struct admin *a = arg;
    struct buf body;

    buf_init(&body, METRICS_BYTES);
    stats_write(a->stats, &body);
    answer(req, HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &body);
    buf_fini(&body);
}

static void answer_text(struct evhttp_request *req, int status, const struct buf *body)
{
    answer(req, status, "text/plain; charset=utf-8", body);
}

static void on_livez(struct evhttp_request *req, void *arg)
{
    struct buf body;

    (void)arg;
    buf_init(&body, REPORT_BYTES);
    buf_puts(&body, "alive\n");
    answer_text(req, HTTP_OK, &body);
    buf_fini(&body);
}

static bool is_verbose(struct evhttp_request *req)
{
    const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(req));

    return query != NULL && strncmp(query, "verbose", strlen("verbose")) == 0;
}

static void on_readyz(struct evhttp_request *req, void *arg)
{
    const struct admin *a = arg;
    struct admin_report report;
    struct buf body;

    admin_report_init(&report);
    buf_init(&body, REPORT_BYTES + 64);
    if (a->ready != NULL) {
        a->ready(&report, a->arg);
    }
    const bool ready = admin_report_write(&report, is_verbose(req), &body);

    answer_text(req, ready ? HTTP_OK : HTTP_SERVUNAVAIL, &body);
    buf_fini(&body);
    admin_report_fini(&report);
}

/* Splits "host:port" or "[host]:port". */
static bool split_address(const char *listen, char *host, size_t size, uint16_t *port,
                          struct err *err)
{
    const char *colon = strrchr(listen, ':');
    int64_t n = 0;

    if (colon != NULL && slice_to_i64(slice_str(colon + 1), 0, 65535, &n)) {
        struct slice name = {listen, (size_t)(colon - listen)};

        if (name.len >= 2 && name.ptr[0] == '[' && name.ptr[name.len - 1] == ']') {
            name = (struct slice){name.ptr + 1, name.len - 2};
        }
        if (name.len > 0 && slice_copy(name, host, size)) {
            *port = (uint16_t)n;
            return true;
        }
    }
    return err_set(err, ERR_FATAL, "metrics-listen must be host:port, not \"%.80s\"", listen);
}

static uint16_t port_of(evutil_socket_t fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        return 0;
    }
    if (address.ss_family == AF_INET6) {
        memcpy(&v6, &address, sizeof(v6));
        return ntohs(v6.sin6_port);
    }
    memcpy(&v4, &address, sizeof(v4));
    return ntohs(v4.sin_port);
}

static bool route_all(struct admin *a)
{
    evhttp_set_max_headers_size(a->http, HEADERS_BYTES);
    evhttp_set_max_body_size(a->http, 0);
    evhttp_set_timeout(a->http, TIMEOUT_S);
    evhttp_set_allowed_methods(a->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
    return evhttp_set_cb(a->http, "/metrics", on_metrics, a) == 0 &&
           evhttp_set_cb(a->http, "/livez", on_livez, a) == 0 &&
           evhttp_set_cb(a->http, "/readyz", on_readyz, a) == 0;
}

struct admin *admin_create(struct event_base *base, const char *listen, const struct stats *stats,
                           admin_ready_fn *ready, void *arg, struct err *err)
{
    struct admin *a = xcalloc(1, sizeof(*a));
    struct evhttp_bound_socket *bound = NULL;
    char host[256];
    uint16_t port = 0;

    a->stats = stats;
    a->ready = ready;
    a->arg = arg;
    a->http = evhttp_new(base);
    if (a->http == NULL || !route_all(a)) {
        (void)err_set(err, ERR_FATAL, "evhttp: out of memory");
        goto failed;
    }
    if (!split_address(listen, host, sizeof(host), &port, err)) {
        goto failed;
    }
    bound = evhttp_bind_socket_with_handle(a->http, host, port);
    if (bound == NULL) {
        (void)err_set(err, ERR_FATAL, "cannot listen at %s: %s", listen,
                      evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
        goto failed;
    }
    a->port = port_of(evhttp_bound_socket_get_fd(bound));
    log_info("admin.listening", LOG_STR("host", host), LOG_INT("port", a->port));
    return a;

failed:
    admin_destroy(a);
    return NULL;
}

void admin_destroy(struct admin *a)
{
    if (a == NULL) {
        return;
    }
    if (a->http != NULL) {
        evhttp_free(a->http);
    }
    free(a);
}

uint16_t admin_port(const struct admin *a)
{
    return a->port;
}
