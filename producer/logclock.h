/*
 * logclock.h - what the log's clock shows, about: for `not_after` and the opening of sales.
 *
 * Learned from delivery reports, which carry the time at which the broker appended the record;
 * before the first one the own wall clock stands in.  The estimate runs on the monotonic clock,
 * so a step of our wall clock does not matter.  Pure.  All zero is one that has learned nothing.
 */
#ifndef PRODUCER_LOGCLOCK_H
#define PRODUCER_LOGCLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct logclock {
    bool is_known;
    int64_t ahead_ms; /* of the monotonic clock */
    int64_t moved_ms; /* when that last changed */
};

/* A record was stamped timestamp_ms (below 0: not told), as we hear at mono_ms. */
void logclock_learn(struct logclock *c, int64_t timestamp_ms, int64_t mono_ms);

int64_t logclock_now(const struct logclock *c, int64_t mono_ms, int64_t wall_ms);

#endif /* PRODUCER_LOGCLOCK_H */
