/*
 * A report is heard later than the record was stamped, by a few ms or by seconds under load, so
 * the largest difference is nearest to the truth: larger ones are taken at once.  Smaller ones
 * pull us back no faster than a second a minute, however many come: thousands of records may be
 * stamped and reported together, all late.  So a broker whose clock was set back is followed at
 * that speed, and until then we are ahead of it.
 */
#include "producer/logclock.h"

enum {
    PULL = 64,           /* we are pulled back by 1/PULL of the time that passes */
    PULL_SPAN_MS = 1000, /* ... of which so much counts between two reports */
};

void logclock_learn(struct logclock *c, int64_t timestamp_ms, int64_t mono_ms)
{
    const int64_t ahead_ms = timestamp_ms - mono_ms;
    int64_t span_ms = mono_ms - c->moved_ms;

    if (timestamp_ms < 0) {
        return;
    }
    if (!c->is_known || ahead_ms >= c->ahead_ms) {
        *c = (struct logclock){.is_known = true, .ahead_ms = ahead_ms, .moved_ms = mono_ms};
        return;
    }
    span_ms = span_ms < PULL_SPAN_MS ? span_ms : PULL_SPAN_MS;
    if (span_ms >= PULL) {
        const int64_t pulled_ms = c->ahead_ms - span_ms / PULL;

        c->ahead_ms = pulled_ms > ahead_ms ? pulled_ms : ahead_ms;
        c->moved_ms = mono_ms;
    }
}

int64_t logclock_now(const struct logclock *c, int64_t mono_ms, int64_t wall_ms)
{
    return c->is_known ? mono_ms + c->ahead_ms : wall_ms;
}
