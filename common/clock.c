#include "common/clock.h"

#include <stddef.h>
#include <stdio.h>
#include <time.h>

static const struct clock_hands *pretended;

static int64_t read_us(clockid_t id)
{
    struct timespec ts = {0};

    /* Neither clock can fail on Linux: both ids are valid and the pointer is good. */
    (void)clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_mono_us(void)
{
    return pretended != NULL ? pretended->mono_us : read_us(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

int64_t clock_wall_ms(void)
{
    return pretended != NULL ? pretended->wall_ms : read_us(CLOCK_REALTIME) / 1000;
}

void clock_text(int64_t wall_ms, char out[CLOCK_TEXT_SIZE])
{
    const time_t seconds = (time_t)(wall_ms / 1000);
    char text[CLOCK_TEXT_SIZE - 6];
    struct tm tm;

    if (wall_ms < 0 || gmtime_r(&seconds, &tm) == NULL ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm) == 0) {
        (void)snprintf(out, CLOCK_TEXT_SIZE, "-");
    } else {
        (void)snprintf(out, CLOCK_TEXT_SIZE, "%s.%03dZ", text, (int)(wall_ms % 1000));
    }
}

void clock_pretend(const struct clock_hands *hands)
{
    pretended = hands;
}
