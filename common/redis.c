/*
 * The life of a connection:
 *
 *   WAITING --timer--> RESOLVING --> PROVING --all answers good--> UP
 *      ^___________________________|______________________________|   lost, too slow, unfit
 *
 * PROVING sends its questions (redis_prove.c) at once, before hiredis has connected: it queues them
 * itself, which avoids its trap of calling it from its connect callback.
 *
 * Traps of hiredis 0.14.1 that shape this file: a context that fails to connect frees itself and
 * calls only the connect callback; one that is freed answers NULL to every pending command first,
 * and commands sent from those callbacks are refused or lost, so `state` leaves UP before anything
 * is freed; redisAsyncDisconnect() hangs on a dead server, so only redisAsyncFree() is used, and
 * from the loop, never from a hiredis callback (there `is_doomed` asks for it); it has no timeouts, so a
 * timer of ours watches the oldest command; its resolver blocks, so names are resolved by libevent
 * and it gets addresses; its libevent glue is used as it is, because contexts are only freed from
 * events of ours or by itself.
 *
 * Commands are formatted once and kept until answered: that is what NOSCRIPT sends again.
 */
#include <arpa/inet.h>
#include <event2/dns.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/redis_impl.h"
#include "common/xmalloc.h"

/* The adapter is a header with static functions that do not meet our warnings. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual"
#include <hiredis/adapters/libevent.h>
#pragma GCC diagnostic pop

enum {
    ATTEMPT_MIN_MS = 50,
    ATTEMPT_MAX_MS = 2000,
    SCRIPTS_MAX = 8,
    WATCH_S = 1,
};

/* A command on its way; in `commands` from being sent until answered. */
struct command_sent {
    TAILQ_ENTRY(command_sent) link;
    struct redis *redis; /* borrowed */
    redis_done_fn *done;
    void *arg;
    char *bytes; /* as formatted by hiredis; owned */
    int length;
    int64_t sent_ms;
    bool is_script;
    bool is_resent;
};

static void attempt(struct redis *r);

/* ---- errors ---- */

enum redis_result redis_classify(struct slice error)
{
    static const char *const passing[] = {
        "READONLY",   "LOADING",  "BUSY ",    "OOM ",       "MOVED ",
        "ASK ",       "TRYAGAIN", "MISCONF ", "NOREPLICAS", "CLUSTERDOWN",
        "MASTERDOWN", "NOSCRIPT", "NOAUTH",   "UNBLOCKED",  "NOPERM",
    };

    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++) {
        if (slice_starts(error, slice_str(passing[i]))) {
            return REDIS_LATER;
        }
    }
    /* Only a script that has written nothing can be killed. */
    if (memmem(error.ptr, error.len, "Script killed by user", 21) != NULL) {
        return REDIS_LATER;
    }
    return REDIS_FAILED;
}

/* ---- the timer: the next attempt, or the watch over the oldest command ---- */

static void arm(struct redis *r, int64_t ms)
{
    const struct timeval wait = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    /* Adding a timer fails only without memory. */
    (void)event_add(r->timer, &wait);
}

static void note_why(struct redis *r, const char *why)
{
    if (r->why[0] == '\0') {
        (void)snprintf(r->why, sizeof(r->why), "%s", why); /* cutting a message is fine */
    }
}

/* Leaves UP or PROVING for WAITING; the context is gone, or is freed by the caller right after. */
static void go_down(struct redis *r)
{
    const bool was_up = r->state == REDIS_STATE_UP;

    r->state = REDIS_STATE_WAITING;
    r->is_doomed = false;
    if (r->is_ending) {
        return;
    }
    log_limited(LOG_LEVEL_WARN, was_up ? "redis.lost" : "redis.unreachable",
                LOG_STR("host", r->settings.host), LOG_INT("port", r->settings.port),
                LOG_STR("error", r->why));
    arm(r, backoff_next(&r->backoff, arc4random()));
    if (was_up && r->settings.down != NULL) {
        r->settings.down(r->why, r->settings.arg);
    }
}

/* From events of ours only: pending commands are answered within. */
static void drop(struct redis *r, const char *why)
{
    redisAsyncContext *context = r->context;

    note_why(r, why);
    if (context == NULL) {
        return;
    }
    r->context = NULL;
    go_down(r);
    redisAsyncFree(context);
}

void redis_doom(struct redis *r, const char *why)
{
    note_why(r, why);
    if (r->context != NULL && !r->is_doomed) {
        r->is_doomed = true;
        arm(r, 0);
    }
}

static int64_t oldest_wait_ms(const struct redis *r, int64_t now_ms)
{
    const struct command_sent *oldest = TAILQ_FIRST(&r->commands);
    int64_t since_ms;

    if (oldest == NULL) {
        return -1;
    }
    since_ms = oldest->sent_ms > r->answered_ms ? oldest->sent_ms : r->answered_ms;
    return now_ms - since_ms;
}

static void on_timer(evutil_socket_t fd ATTR_UNUSED, short what ATTR_UNUSED, void *arg)
{
    struct redis *r = arg;
    int64_t wait_ms;

    if (r->is_doomed) {
        drop(r, "dropped");
        return;
    }
    switch (r->state) {
    case REDIS_STATE_WAITING:
        attempt(r);
        return;
    case REDIS_STATE_RESOLVING:
        return;
    case REDIS_STATE_PROVING:
    case REDIS_STATE_UP:
        wait_ms = oldest_wait_ms(r, clock_mono_ms());
        if (wait_ms >= r->settings.timeout_ms) {
            drop(r, "no reply in time");
        } else if (wait_ms >= 0) {
            arm(r, r->settings.timeout_ms - wait_ms);
        }
        return;
    }
}

/* ---- commands ---- */

static void free_command(struct command_sent *c)
{
    free(c->bytes);
    free(c);
}

static void on_reply(redisAsyncContext *context, void *raw, void *arg);

static bool transmit(struct redis *r, struct command_sent *c)
{
    if (redisAsyncFormattedCommand(r->context, on_reply, c, c->bytes, (size_t)c->length) !=
        REDIS_OK) {
        return false;
    }
    c->sent_ms = clock_mono_ms();
    if (TAILQ_EMPTY(&r->commands)) {
        arm(r, r->settings.timeout_ms);
    }
    TAILQ_INSERT_TAIL(&r->commands, c, link);
    return true;
}

static struct command_sent *make_command(struct redis *r, const struct slice *words, size_t n)
{
    struct command_sent *c = xcalloc(1, sizeof(*c));
    const char **argv = xcalloc(n, sizeof(*argv));
    size_t *lengths = xcalloc(n, sizeof(*lengths));

    for (size_t i = 0; i < n; i++) {
        argv[i] = words[i].ptr == NULL ? "" : words[i].ptr;
        lengths[i] = words[i].len;
    }
    c->redis = r;
    c->length = redisFormatCommandArgv(&c->bytes, (int)n, argv, lengths);
    free(lengths);
    free(argv);
    if (c->length < 0) {
        free(c);
        return NULL;
    }
    return c;
}

/* Returns true when the command is on its way once more. */
static bool resend(struct redis *r, struct command_sent *c)
{
    if (c->is_resent || r->state != REDIS_STATE_UP || r->is_doomed) {
        return false;
    }
    c->is_resent = true;
    log_limited(LOG_LEVEL_INFO, "redis.scripts_forgotten", LOG_STR("host", r->settings.host));
    return redis_load_scripts(r) && transmit(r, c);
}

static void on_reply(redisAsyncContext *context ATTR_UNUSED, void *raw, void *arg)
{
    struct command_sent *c = arg;
    struct redis *r = c->redis;
    const redisReply *reply = raw;
    enum redis_result result = REDIS_GOT;

    TAILQ_REMOVE(&r->commands, c, link);
    if (reply == NULL) {
        /* hiredis is taking the connection down and calls this for all that is under way. */
        result = REDIS_UNKNOWN;
        if (r->state == REDIS_STATE_UP) {
            r->is_doomed = true;
        }
    } else {
        r->answered_ms = clock_mono_ms();
        if (c->is_script && redis_is_error(reply, "NOSCRIPT") && resend(r, c)) {
            return;
        }
        if (reply->type == REDIS_REPLY_ERROR) {
            result = redis_classify(redis_text(reply));
        }
        if (redis_is_error(reply, "READONLY")) {
            redis_doom(r, "no longer a master");
        }
    }
    if (c->done != NULL) {
        r->pending--;
        c->done(result, reply, c->arg);
    }
    free_command(c);
}

static bool submit(struct redis *r, struct command_sent *c, redis_done_fn *done, void *arg,
                   struct err *err)
{
    if (c == NULL) {
        return err_set(err, ERR_REJECT, "redis: the command cannot be formatted");
    }
    c->done = done;
    c->arg = arg;
    if (!transmit(r, c)) {
        free_command(c);
        return err_set(err, ERR_RETRY, "redis %s:%d is going down", r->settings.host,
                       r->settings.port);
    }
    if (done != NULL) {
        r->pending++;
    }
    return true;
}

bool redis_send_own(struct redis *r, const struct slice *words, size_t n, redis_done_fn *done)
{
    struct command_sent *c = make_command(r, words, n);

    if (c == NULL) {
        return false;
    }
    c->done = done;
    c->arg = r;
    r->pending++; /* on_reply() takes it off again */
    if (!transmit(r, c)) {
        r->pending--;
        free_command(c);
        return false;
    }
    return true;
}

bool redis_is_up(const struct redis *r)
{
    return r->state == REDIS_STATE_UP && !r->is_doomed;
}

size_t redis_pending(const struct redis *r)
{
    return r->pending;
}

bool redis_send(struct redis *r, const struct slice *words, size_t n, redis_done_fn *done,
                void *arg, struct err *err)
{
    if (!redis_is_up(r)) {
        return err_set(err, ERR_RETRY, "redis %s:%d is down", r->settings.host, r->settings.port);
    }
    return submit(r, make_command(r, words, n), done, arg, err);
}

bool redis_eval(struct redis *r, const struct redis_call *call, redis_done_fn *done, void *arg,
                struct err *err)
{
    const size_t n = call->n_words + 3;
    struct slice *words;
    struct command_sent *c;
    char keys[24];

    if (!redis_is_up(r)) {
        return err_set(err, ERR_RETRY, "redis %s:%d is down", r->settings.host, r->settings.port);
    }
    words = xcalloc(n, sizeof(*words));
    (void)snprintf(keys, sizeof(keys), "%zu", call->n_keys);
    words[0] = SLICE_LIT("EVALSHA");
    words[1] = slice_str(r->settings.scripts[call->script].sha1);
    words[2] = slice_str(keys);
    memcpy(words + 3, call->words, call->n_words * sizeof(*words));
    c = make_command(r, words, n);
    free(words);
    if (c != NULL) {
        c->is_script = true;
    }
    return submit(r, c, done, arg, err);
}

/* ---- connecting ---- */

static void on_connect(const redisAsyncContext *context, int status)
{
    struct redis *r = context->data;

    if (status == REDIS_OK || r->context != context) {
        return;
    }
    /* It frees itself after this, once the commands under way are answered. */
    note_why(r, context->c.errstr);
    r->context = NULL;
    go_down(r);
}

static void on_disconnect(const redisAsyncContext *context, int status)
{
    struct redis *r = context->data;

    if (r->context != context) {
        return; /* drop() did it */
    }
    note_why(r, status == REDIS_OK ? "closed" : context->c.errstr);
    r->context = NULL;
    go_down(r);
}

static void connect_to(struct redis *r, const char *address)
{
    redisAsyncContext *context = address[0] == '/' ? redisAsyncConnectUnix(address)
                                                   : redisAsyncConnect(address, r->settings.port);

    r->state = REDIS_STATE_PROVING;
    r->answered_ms = clock_mono_ms();
    if (context == NULL || context->err != 0) {
        note_why(r, context == NULL ? "out of memory" : context->errstr);
        if (context != NULL) {
            redisAsyncFree(context);
        }
        go_down(r);
        return;
    }
    context->data = r;
    r->context = context;
    if (redisLibeventAttach(context, r->base) != REDIS_OK ||
        redisAsyncSetConnectCallback(context, on_connect) != REDIS_OK ||
        redisAsyncSetDisconnectCallback(context, on_disconnect) != REDIS_OK ||
        !redis_send_proofs(r)) {
        drop(r, "cannot set up the connection");
    }
}

static const struct evutil_addrinfo *best_address(const struct evutil_addrinfo *list)
{
    for (const struct evutil_addrinfo *a = list; a != NULL; a = a->ai_next) {
        if (a->ai_family == AF_INET) {
            return a;
        }
    }
    return list;
}

static void on_resolved(int rc, struct evutil_addrinfo *list, void *arg)
{
    struct redis *r = arg;
    const struct evutil_addrinfo *best = best_address(list);
    char address[64] = "";

    if (rc == EVUTIL_EAI_CANCEL) {
        return; /* r may be gone: libevent tells of it in a later turn */
    }
    r->lookup = NULL;
    if (rc == 0 && best != NULL &&
        getnameinfo(best->ai_addr, (socklen_t)best->ai_addrlen, address, sizeof(address), NULL, 0,
                    NI_NUMERICHOST) == 0) {
        connect_to(r, address);
    } else {
        note_why(r, rc != 0 ? evutil_gai_strerror(rc) : "the name has no address");
        go_down(r);
    }
    if (list != NULL) {
        evutil_freeaddrinfo(list);
    }
}

static bool is_numeric(const char *host)
{
    struct in6_addr address;

    return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

static void attempt(struct redis *r)
{
    static const struct evutil_addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};

    r->why[0] = '\0';
    if (r->settings.host[0] == '/' || is_numeric(r->settings.host)) {
        connect_to(r, r->settings.host);
        return;
    }
    r->state = REDIS_STATE_RESOLVING;
    if (r->dns != NULL) {
        evdns_base_free(r->dns, 0); /* resolv.conf and hosts, as it read them, may have changed */
    }
    r->dns = evdns_base_new(r->base,
                            EVDNS_BASE_INITIALIZE_NAMESERVERS | EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    /* Its second question gives up 3 s after the first was answered: ask the next nameserver before that. */
    if (r->dns == NULL || evdns_base_set_option(r->dns, "timeout:", "1") != 0) {
        note_why(r, "no resolver");
        go_down(r);
        return;
    }
    /* May call back at once, from /etc/hosts: then it returns NULL and lookup was cleared before. */
    r->lookup = evdns_getaddrinfo(r->dns, r->settings.host, NULL, &hints, on_resolved, r);
}

/* ---- public ---- */

struct redis *redis_create(struct event_base *base, const struct redis_settings *settings,
                           struct err *err)
{
    const struct timeval every = {.tv_sec = WATCH_S};
    struct redis *r;

    if (settings->n_scripts > SCRIPTS_MAX) {
        (void)err_set(err, ERR_FATAL, "redis: too many scripts");
        return NULL;
    }
    r = xcalloc(1, sizeof(*r));
    r->base = base;
    r->settings = *settings;
    r->backoff = BACKOFF_INIT(ATTEMPT_MIN_MS, ATTEMPT_MAX_MS);
    TAILQ_INIT(&r->commands);
    r->timer = evtimer_new(base, on_timer, r);
    r->watch = event_new(base, -1, EV_PERSIST, redis_watch, r);
    if (r->timer == NULL || r->watch == NULL || event_add(r->watch, &every) != 0) {
        redis_destroy(r);
        (void)err_set(err, ERR_FATAL, "redis: no timer");
        return NULL;
    }
    arm(r, 0);
    return r;
}

void redis_destroy(struct redis *r)
{
    if (r == NULL) {
        return;
    }
    r->is_ending = true;
    if (r->lookup != NULL) {
        evdns_getaddrinfo_cancel(r->lookup);
    }
    drop(r, "destroyed");
    if (r->dns != NULL) {
        evdns_base_free(r->dns, 0);
    }
    if (r->timer != NULL) {
        event_free(r->timer);
    }
    if (r->watch != NULL) {
        event_free(r->watch);
    }
    free(r);
}

void redis_reconnect(struct redis *r, const char *why)
{
    redis_doom(r, why);
}
