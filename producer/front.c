#include "producer/front.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "producer/relay.h"

/* One server, with what belongs to it alone. */
struct post {
    struct front *front;
    struct event_base *base; /* the door's, or its thread's */
    struct jwt *jwt;
    struct routes *routes;
    struct http *http;
    pthread_t thread;
    bool is_started;
    atomic_bool is_drained;
};

struct front {
    struct front_settings settings;
    struct relay *relay; /* NULL: no threads */
    struct post *posts;
    size_t n;
    int64_t drain_ms; /* written before the relay's word, read after it */
};

/* ---- a server ---- */

static void on_drained(void *arg)
{
    struct post *p = arg;

    atomic_store(&p->is_drained, true);
}

static void drain(void *arg)
{
    struct post *p = arg;

    http_drain(p->http, p->front->drain_ms, on_drained, p);
}

static void end(void *arg)
{
    struct post *p = arg;

    if (event_base_loopexit(p->base, NULL) != 0) {
        (void)event_base_loopbreak(p->base); /* takes no memory */
    }
}

static size_t share(size_t of_all, size_t n)
{
    return (of_all + n - 1) / n;
}

/* Listens; port: 0, or that of the server before. */
static bool open_post(struct post *p, uint16_t port, desk_take_fn *take, void *arg, struct err *err)
{
    const struct front_settings *s = &p->front->settings;
    struct http_settings http = s->http;
    struct jwt_settings jwt = s->jwt;
    struct routes_settings routes = s->routes;

    jwt.cached_max = share(jwt.cached_max, p->front->n);
    p->jwt = jwt_create(&jwt, err);
    if (p->jwt == NULL) {
        return false;
    }
    routes.jwt = p->jwt;
    routes.take = take;
    routes.take_arg = arg;
    p->routes = routes_create(&routes);
    http.port = port;
    http.connections_max = share(http.connections_max, p->front->n);
    http.connections_per_ip_max = share(http.connections_per_ip_max, p->front->n);
    p->http = http_create(p->base, &http, routes_handle, p->routes, err);
    return p->http != NULL;
}

static void close_post(struct post *p)
{
    http_destroy(p->http);
    routes_destroy(p->routes);
    jwt_destroy(p->jwt);
    if (p->front->settings.threads > 0 && p->base != NULL) {
        event_base_free(p->base);
    }
}

/* ---- its thread ---- */

static void *run(void *arg)
{
    const struct post *p = arg;

    if (event_base_dispatch(p->base) < 0) {
        /* Its clients are lost; the others come to an end in order. */
        log_error("program.loop_failed");
        (void)kill(getpid(), SIGTERM);
    }
    return NULL;
}

/* With all signals blocked, which a thread has from the one that starts it. */
static bool start_thread(struct post *p, size_t number, struct err *err)
{
    char name[16];
    sigset_t all, before;
    int rc;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* fails for a wrong first argument only */
    rc = pthread_create(&p->thread, NULL, run, p);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        return err_set(err, ERR_FATAL, "pthread_create: %s", strerror(rc));
    }
    p->is_started = true;
    (void)snprintf(name, sizeof(name), "http-%zu", number % 1000);
    (void)pthread_setname_np(p->thread, name); /* for top and gdb */
    return true;
}

static bool open_threads(struct front *f, struct event_base *base, struct err *err)
{
    const struct relay_settings relay = {
        .threads = f->n,
        .slots = share(f->settings.requests_max, f->n),
        .take = f->settings.routes.take,
        .take_arg = f->settings.routes.take_arg,
        .stats = f->settings.routes.stats,
    };
    uint16_t port = 0;

    f->relay = relay_create(base, &relay, err);
    if (f->relay == NULL) {
        return false;
    }
    for (size_t i = 0; i < f->n; i++) {
        struct post *p = &f->posts[i];
        const struct relay_words words = {.drain = drain, .end = end, .arg = p};
        struct relay_thread *thread;

        p->base = event_base_new();
        if (p->base == NULL) {
            return err_set(err, ERR_FATAL, "no event loop");
        }
        thread = relay_thread_start(f->relay, i, p->base, &words, err);
        if (thread == NULL || !open_post(p, port, relay_pass, thread, err)) {
            return false;
        }
        port = http_port(p->http);
    }
    for (size_t i = 0; i < f->n; i++) {
        if (!start_thread(&f->posts[i], i, err)) {
            return false;
        }
    }
    return true;
}

/* ---- all of them ---- */

struct front *front_create(struct event_base *base, const struct front_settings *settings,
                           struct err *err)
{
    struct front *f = xcalloc(1, sizeof(*f));
    bool is_open;

    f->settings = *settings;
    f->n = settings->threads > 0 ? settings->threads : 1;
    f->posts = xcalloc(f->n, sizeof(*f->posts));
    for (size_t i = 0; i < f->n; i++) {
        f->posts[i].front = f;
    }
    if (settings->threads > 0) {
        is_open = open_threads(f, base, err);
    } else {
        f->posts[0].base = base;
        is_open = open_post(&f->posts[0], 0, settings->routes.take, settings->routes.take_arg, err);
    }
    if (!is_open) {
        front_destroy(f);
        return NULL;
    }
    return f;
}

void front_drain(struct front *f, int64_t timeout_ms)
{
    f->drain_ms = timeout_ms;
    for (size_t i = 0; i < f->n; i++) {
        if (f->settings.threads > 0) {
            relay_drain(f->relay, i);
        } else {
            drain(&f->posts[i]);
        }
    }
}

bool front_is_drained(const struct front *f)
{
    for (size_t i = 0; i < f->n; i++) {
        if (!atomic_load(&f->posts[i].is_drained)) {
            return false;
        }
    }
    return true;
}

uint16_t front_port(const struct front *f)
{
    return http_port(f->posts[0].http);
}

void front_destroy(struct front *f)
{
    if (f == NULL) {
        return;
    }
    for (size_t i = 0; i < f->n; i++) {
        if (f->posts[i].is_started) {
            relay_end(f->relay, i);
        }
    }
    for (size_t i = 0; i < f->n; i++) {
        if (f->posts[i].is_started) {
            (void)pthread_join(f->posts[i].thread, NULL); /* ours, joinable, joined once */
        }
    }
    relay_destroy(f->relay);
    for (size_t i = 0; i < f->n; i++) {
        close_post(&f->posts[i]);
    }
    free(f->posts);
    free(f);
}
