/*
 * Answers every request with a small JSON body, to measure what HTTP itself costs:
 *
 *     build/tests/http_bench 127.0.0.1:8089 & wrk -t1 -c64 -d5 http://127.0.0.1:8089/v1/x
 *
 * With a second argument, "later", answers are given together at a turn of the loop, as the door's
 * mostly are.  Ends after 60 s, or with SIGTERM, telling the CPU time of a request.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/xmalloc.h"
#include "producer/http.h"

enum { WAITING_MAX = 4096 };

struct bench {
    struct event *later;
    struct http_request *waiting[WAITING_MAX];
    size_t waiting_count;
    size_t answered;
    bool is_later;
};

static void reply(struct bench *b, struct http_request *req)
{
    static const struct http_field fields[] = {
        {"Location", "/v1/orders/01980000-0000-7000-8000-000000000000"},
        {"Retry-After", "1"},
        {NULL, NULL}};
    http_reply_json(req, 202, fields,
                    SLICE_LIT("{\"order_id\":\"01980000-0000-7000-8000-000000000000\","
                              "\"state\":\"queued\"}"));
    b->answered++;
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
    struct bench *b = arg;
    (void)fd;
    (void)what;
    size_t n = b->waiting_count;
    b->waiting_count = 0;
    for (size_t i = 0; i < n; i++) {
        reply(b, b->waiting[i]);
    }
}

static void handle(struct http_request *req, void *arg)
{
    static const struct timeval at_once = {0, 0};
    struct bench *b = arg;
    if (!b->is_later || b->waiting_count == WAITING_MAX) {
        reply(b, req);
        return;
    }
    b->waiting[b->waiting_count++] = req;
    if (event_add(b->later, &at_once) != 0) {
        abort();
    }
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)event_base_loopbreak(arg);
}

int main(int argc, char **argv)
{
    static const struct timeval at_most = {60, 0};
    struct event_base *base = event_base_new();
    struct bench *b = xcalloc(1, sizeof(*b));
    struct http_settings settings;
    struct err err;

    http_settings_init(&settings);
    settings.listen = argc > 1 ? argv[1] : "127.0.0.1:0";
    settings.requests_per_connection_max = SIZE_MAX;
    b->is_later = argc > 2 && strcmp(argv[2], "later") == 0;
    b->later = event_new(base, -1, 0, on_later, b);
    struct event *term = event_new(base, SIGTERM, EV_SIGNAL, on_end, base);
    struct http *h = http_create(base, &settings, handle, b, &err);
    if (h == NULL || event_add(term, &at_most) != 0) {
        (void)fprintf(stderr, "%s\n", h == NULL ? err.text : "no memory");
        return 1;
    }
    printf("port %u\n", (unsigned int)http_port(h));
    (void)event_base_dispatch(base);

    struct rusage used;
    if (getrusage(RUSAGE_SELF, &used) == 0 && b->answered > 0) {
        double us = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
                    (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
        printf("%zu requests, %.2f us of CPU each\n", b->answered, us / (double)b->answered);
    }
    http_destroy(h);
    event_free(term);
    event_free(b->later);
    event_base_free(base);
    free(b);
    return 0;
}
