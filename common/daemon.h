/*
 * daemon.h - signals and the life cycle of a daemon on a libevent loop.
 *
 * SIGTERM or SIGINT: the first one drains (the drain function is called once: take nothing new,
 * finish what is there, then daemon_leave()); a second one, or the end of the drain time, leaves
 * at once.  From daemon_leave() to daemon_destroy() another one ends the process, and so does the
 * fifth second after the drain time.  SIGUSR1 switches debug lines on and off.  SIGPIPE is ignored.  Under systemd
 * (NOTIFY_SOCKET) READY=1 and STOPPING=1 are sent.
 *
 *     daemon = daemon_create(base, settings.drain_ms, drain, &state, &err);
 *     daemon_ready(daemon);
 *     event_base_dispatch(base);
 *     status = daemon_status(daemon);
 *     daemon_destroy(daemon);
 *
 * All calls and callbacks are on the thread of base.  Create it early: until then a signal ends the
 * process at once.
 */
#ifndef COMMON_DAEMON_H
#define COMMON_DAEMON_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/conf.h"
#include "common/err.h"

/* Exit statuses of every daemon; docs/operations.md lists them. */
enum daemon_exit {
    DAEMON_EXIT_OK = 0,     /* drained cleanly */
    DAEMON_EXIT_START = 1,  /* could not start: configuration, schema, address in use */
    DAEMON_EXIT_FATAL = 2,  /* failed while running, or left before it was drained */
    DAEMON_EXIT_HALTED = 3, /* a partition is halted: an operator must look */

    /* Of a command, never of a daemon: its words or the settings are wrong, and nothing was done. */
    DAEMON_EXIT_USAGE = 64,
};

/*
 * Loads conf for main().  False: the program ends now, and conf is destroyed.  If it did as asked
 * (--help and the like), *status is DAEMON_EXIT_OK; else what was wrong is on stderr, and *status
 * stays what it was.
 */
bool daemon_configure(struct conf *conf, int argc, char *const *argv, int *status) ATTR_MUSTCHECK;

struct daemon;

/* Starts draining; why is a word for the log ("SIGTERM").  Never called twice. */
typedef void daemon_drain_fn(const char *why, void *arg);

/* base and arg are borrowed and outlive the object. */
struct daemon *daemon_create(struct event_base *base, int64_t drain_ms, daemon_drain_fn *drain,
                             void *arg, struct err *err) ATTR_MUSTCHECK;

/* NULL is allowed. */
void daemon_destroy(struct daemon *d);

/* Serving: logs program.ready and tells systemd.  Later calls do nothing. */
void daemon_ready(struct daemon *d);

/* The same as a first signal, for the program's own reasons. */
void daemon_drain(struct daemon *d, const char *why);

/*
 * Ends the loop with its present turn (or its first one) and this exit status; of several calls the
 * first status other than DAEMON_EXIT_OK wins.  Logs program.leaving.
 */
void daemon_leave(struct daemon *d, enum daemon_exit status);

bool daemon_is_draining(const struct daemon *d);

/* The status to end with: as daemon_leave() said; DAEMON_EXIT_FATAL when forced out of a drain. */
enum daemon_exit daemon_status(const struct daemon *d);

#endif /* COMMON_DAEMON_H */
