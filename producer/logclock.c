/*
 * A report is heard later than the record was stamped, by a few ms or by seconds under load, so
 * the largest difference is nearest to the truth: larger ones are taken at once.  Smaller ones
 * pull slowly, so that a broker whose clock was set back is followed within some hundred reports.
 */
#include "producer/logclock.h"

enum {
    PULL = 64, /* a smaller difference moves us by 1/PULL of the way */
};

void logclock_learn(struct logclock *c, int64_t timestamp_ms, int64_t mono_ms)
{
    const int64_t ahead_ms = timestamp_ms - mono_ms;

    if (timestamp_ms < 0) {
        return;
    }
    if (!c->is_known || ahead_ms > c->ahead_ms) {
        c->ahead_ms = ahead_ms;
    } else {
        c->ahead_ms -= (c->ahead_ms - ahead_ms) / PULL;
    }
    c->is_known = true;
}

int64_t logclock_now(const struct logclock *c, int64_t mono_ms, int64_t wall_ms)
{
    return c->is_known ? mono_ms + c->ahead_ms : wall_ms;
}
