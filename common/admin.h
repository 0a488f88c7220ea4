/*
 * admin.h - a small HTTP endpoint for operators: /metrics, /livez, /readyz.
 *
 * For daemons that have no HTTP door of their own.  It listens where the option metrics-listen
 * says (normally loopback: it has no authentication), with small limits on headers, body, time and
 * connections, and logs the port it got: admin.listening host= port=.  Port 0 lets the kernel
 * choose.  All callbacks run on the loop of base.
 *
 * /livez answers 200 as long as the loop turns.  /readyz asks the program: 200 when every check is
 * good, else 503 with the failed ones; with ?verbose every check is listed, [+] or [-].
 */
#ifndef COMMON_ADMIN_H
#define COMMON_ADMIN_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/stats.h"

struct admin;

/* Collects the checks of one /readyz request. */
struct admin_report {
    struct buf all;    /* every check, a line each */
    struct buf failed; /* only the bad ones */
};

/* One check: why says what is wrong, or what is right; it may be NULL. */
void admin_check(struct admin_report *report, const char *name, bool good, const char *why);

/* Makes the checks, quickly and without blocking. */
typedef void admin_ready_fn(struct admin_report *report, void *arg);

/*
 * Listens at `listen` ("127.0.0.1:0", "[::1]:9100").  base, stats and arg are borrowed and outlive
 * the object; ready may be NULL (always ready).  NULL with err set when the address cannot be had.
 * An empty `listen` is the caller's business: do not create one then.
 */
struct admin *admin_create(struct event_base *base, const char *listen, const struct stats *stats,
                           admin_ready_fn *ready, void *arg, struct err *err) ATTR_MUSTCHECK;

/* Not from within a callback of it.  NULL is allowed. */
void admin_destroy(struct admin *a);

/* The port it listens at. */
uint16_t admin_port(const struct admin *a);

/* Writes the answer to a /readyz from report, as the producer's own door needs it too. */
bool admin_report_write(const struct admin_report *report, bool is_verbose, struct buf *out);
void admin_report_init(struct admin_report *report);
void admin_report_fini(struct admin_report *report);

#endif /* COMMON_ADMIN_H */
