/*
 * clock.h - the two clocks.
 *
 * Monotonic time is for deadlines and durations; wall time only for what is written down (records
 * before the broker's time is known, logs).  Any thread.
 */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>

enum { CLOCK_TEXT_SIZE = 32 };

int64_t clock_mono_us(void);
int64_t clock_mono_ms(void);

/* Milliseconds since 1970, UTC. */
int64_t clock_wall_ms(void);

/* Such a time as 2026-11-11T12:00:00.000Z; "-" for one before 1970 or beyond all calendars. */
void clock_text(int64_t wall_ms, char out[CLOCK_TEXT_SIZE]);

/* What the clocks show while pretended; the test moves the hands. */
struct clock_hands {
    int64_t mono_us;
    int64_t wall_ms;
};

/*
 * For tests: every clock call reads *hands (borrowed) until clock_pretend(NULL).  Not while other
 * threads run.
 */
void clock_pretend(const struct clock_hands *hands);

#endif /* COMMON_CLOCK_H */
