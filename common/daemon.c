/*
 * Three phases: serving, draining, leaving.  Each is entered once; signals, the drain's deadline and
 * the program itself only ask for the next one.
 */
#include "common/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/xmalloc.h"

enum phase {
    SERVING,
    DRAINING,
    LEAVING,
};

enum {
    SIGNALS = 3,
    END_S = 5, /* from the end of the drain time to that of the process */
};

static volatile sig_atomic_t cut_status; /* the process's, where its threads are not waited for */

struct daemon {
    struct event_base *base; /* borrowed */
    struct event *signals[SIGNALS];
    struct event *deadline;
    int64_t drain_ms;
    daemon_drain_fn *drain;
    void *arg;
    enum phase phase;
    bool is_ready;
    int64_t draining_since_ms;
    enum daemon_exit status;
};

bool daemon_configure(struct conf *conf, int argc, char *const *argv, int *status)
{
    struct err err = {0};
    const enum conf_next next = conf_load(conf, argc, argv, &err);

    if (next == CONF_RUN) {
        return true;
    }
    if (next == CONF_WRONG) {
        (void)fprintf(stderr, "%s: %s\n", program_invocation_short_name, err.text);
    } else {
        *status = DAEMON_EXIT_OK;
    }
    conf_destroy(conf);
    return false;
}

/* Tells systemd, if it asked to be told; it tells us nothing back and must not stop us. */
static void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = 0;

    if (path == NULL || (path[0] != '/' && path[0] != '@')) {
        return;
    }
    len = strlen(path);
    if (len >= sizeof(address.sun_path)) {
        log_warn("systemd.unreachable", LOG_STR("socket", path));
        return;
    }
    memcpy(address.sun_path, path, len);
    if (path[0] == '@') {
        address.sun_path[0] = '\0'; /* the abstract namespace */
    }
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);

    if (fd < 0 ||
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, size) < 0) {
        log_warn("systemd.unreachable", LOG_STR("socket", path));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct daemon *d = arg;

    (void)fd;
    (void)what;
    log_warn("program.drain_ended", LOG_INT("ms", clock_mono_ms() - d->draining_since_ms));
    daemon_leave(d, DAEMON_EXIT_FATAL);
}

static void on_stop(evutil_socket_t number, short what, void *arg)
{
    struct daemon *d = arg;

    (void)what;
    if (d->phase == SERVING) {
        daemon_drain(d, number == SIGINT ? "SIGINT" : "SIGTERM");
    } else {
        daemon_leave(d, DAEMON_EXIT_FATAL);
    }
}

static void on_debug(evutil_socket_t number, short what, void *arg)
{
    (void)number;
    (void)what;
    (void)arg;
    log_toggle_debug();
    log_info("log.switched", LOG_BOOL("debug", log_enabled(LOG_LEVEL_DEBUG)));
}

static bool watch(struct daemon *d)
{
    static const struct {
        int number;
        event_callback_fn callback;
    } wanted[SIGNALS] = {{SIGTERM, on_stop}, {SIGINT, on_stop}, {SIGUSR1, on_debug}};

    for (size_t i = 0; i < SIGNALS; i++) {
        d->signals[i] = evsignal_new(d->base, wanted[i].number, wanted[i].callback, d);
        if (d->signals[i] == NULL || evsignal_add(d->signals[i], NULL) != 0) {
            return false;
        }
    }
    d->deadline = evtimer_new(d->base, on_deadline, d);
    return d->deadline != NULL && signal(SIGPIPE, SIG_IGN) != SIG_ERR;
}

/* libevent's own complaints become log lines like all others. */
static void on_libevent_log(int severity, const char *text)
{
    if (severity >= EVENT_LOG_WARN) {
        log_limited(severity == EVENT_LOG_WARN ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR, "libevent.said",
                    LOG_STR("text", text));
    }
}

struct daemon *daemon_create(struct event_base *base, int64_t drain_ms, daemon_drain_fn *drain,
                             void *arg, struct err *err)
{
    struct daemon *d = xcalloc(1, sizeof(*d));

    d->base = base;
    d->drain_ms = drain_ms;
    d->drain = drain;
    d->arg = arg;
    failpoint_init();
    event_set_log_callback(on_libevent_log);
    if (!watch(d)) {
        (void)err_set(err, ERR_FATAL, "libevent: cannot watch signals");
        daemon_destroy(d);
        return NULL;
    }
    return d;
}

void daemon_destroy(struct daemon *d)
{
    if (d == NULL) {
        return;
    }
    (void)alarm(0);
    for (size_t i = 0; i < SIGNALS; i++) {
        if (d->signals[i] != NULL) {
            event_free(d->signals[i]);
        }
    }
    if (d->deadline != NULL) {
        event_free(d->deadline);
    }
    free(d);
}

void daemon_ready(struct daemon *d)
{
    if (d->is_ready) {
        return;
    }
    d->is_ready = true;
    log_info("program.ready");
    notify("READY=1");
}

void daemon_drain(struct daemon *d, const char *why)
{
    const struct timeval patience = {.tv_sec = d->drain_ms / 1000,
                                     .tv_usec = d->drain_ms % 1000 * 1000};

    if (d->phase != SERVING) {
        return;
    }
    d->phase = DRAINING;
    d->draining_since_ms = clock_mono_ms();
    log_info("program.draining", LOG_STR("why", why), LOG_INT("within_ms", d->drain_ms));
    notify("STOPPING=1");
    if (evtimer_add(d->deadline, &patience) != 0) {
        /* Without a deadline the drain might never end. */
        log_error("program.no_deadline");
        daemon_leave(d, DAEMON_EXIT_FATAL);
        return;
    }
    d->drain(why, d->arg);
}

static void cut_off(int number)
{
    (void)number;
    _exit(cut_status);
}

/*
 * The loop ends, and threads are waited for that may stand in a server's call: no longer than END_S
 * after the drain time, and not after another signal.
 */
static void bound_the_end(const struct daemon *d)
{
    const struct sigaction at_once = {.sa_handler = cut_off};
    int64_t left = d->drain_ms;

    if (d->draining_since_ms > 0) {
        left -= clock_mono_ms() - d->draining_since_ms;
    }
    cut_status = (int)(d->status == DAEMON_EXIT_OK ? DAEMON_EXIT_FATAL : d->status);
    if (sigaction(SIGALRM, &at_once, NULL) != 0 || sigaction(SIGTERM, &at_once, NULL) != 0 ||
        sigaction(SIGINT, &at_once, NULL) != 0) {
        log_error("program.no_deadline");
        return;
    }
    (void)alarm(END_S + (left > 0 ? (unsigned)(left / 1000) : 0));
}

void daemon_leave(struct daemon *d, enum daemon_exit status)
{
    if (d->status == DAEMON_EXIT_OK) {
        d->status = status;
    }
    if (d->phase == LEAVING) {
        return;
    }
    d->phase = LEAVING;
    bound_the_end(d);
    log_info("program.leaving", LOG_INT("status", d->status));
    /* Not loopbreak: that is forgotten when the loop has not started yet. */
    if (event_base_loopexit(d->base, NULL) != 0) {
        log_error("program.loop_unbroken");
    }
}

bool daemon_is_draining(const struct daemon *d)
{
    return d->phase != SERVING;
}

enum daemon_exit daemon_status(const struct daemon *d)
{
    return d->status;
}
