/*
 * watch.h - looks at the sale from outside while the storm goes on: the stock, as the door tells
 * it, and the CPU that each process has used.
 *
 * Processes are those that the environment names, as the stack's env file does: PRODUCER_PID,
 * MATCHER_2_PID and so on; and this one.  One thread.
 */
#ifndef STAMPEDE_WATCH_H
#define STAMPEDE_WATCH_H

#include <event2/event.h>

#include "common/attr.h"
#include "common/err.h"
#include "tools/stampede/series.h"
#include "tools/stampede/told.h"

struct watch;

/* ledger (borrowed) has the items.  NULL with err on failure. */
struct watch *watch_create(struct event_base *base, const char *url, const struct told *ledger,
                           struct err *err) ATTR_MUSTCHECK;

/* NULL is allowed. */
void watch_destroy(struct watch *w);

/* Asks the door; the answers come while the loop runs. */
void watch_ask(struct watch *w);

/* Fills what is known now: the stock last heard of, -1 before that; CPU seconds, -1: gone. */
void watch_read(const struct watch *w, struct series_state *state);

/* The names of cpu_s; NULL behind the last one. */
const char *watch_process(const struct watch *w, size_t i);

#endif /* STAMPEDE_WATCH_H */
