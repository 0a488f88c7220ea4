/*
 * observer.h - what somebody outside has seen of the lines behind the door, for their limiters.
 *
 * A named pipe that the door makes (for its own user alone) and reads.  Who may write to it tells,
 * in a line of its own,
 *
 *     decision 2 35 120
 *
 * that 120 orders of partition 2 took 35 ms of their way to the decision; `kafka` is the other line
 * (limiter_side_names).  tools/trace/observe.bt writes such lines from the probes of a matcher.
 * Nobody need write; what is no such line is counted and has no effect.
 *
 * One pipe per door, which stays when the door ends.  The loop's thread.
 */
#ifndef PRODUCER_OBSERVER_H
#define PRODUCER_OBSERVER_H

#include <event2/event.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/stats.h"
#include "producer/door.h"

struct observer;

/* All is borrowed.  NULL with err set if path is something else, or can be no pipe. */
struct observer *observer_create(struct event_base *base, const char *path, struct door *door,
                                 struct stats *stats, struct err *err) ATTR_MUSTCHECK;

/* NULL is allowed. */
void observer_destroy(struct observer *o);

#endif /* PRODUCER_OBSERVER_H */
