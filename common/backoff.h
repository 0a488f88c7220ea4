/*
 * backoff.h - how long to wait before the next attempt: capped exponential with jitter.
 *
 * Pure: the caller brings the randomness (arc4random() in daemons, a seed in simulators), so that
 * a hundred processes that lost the same server do not come back in the same millisecond.
 */
#ifndef COMMON_BACKOFF_H
#define COMMON_BACKOFF_H

#include <stdint.h>

struct backoff {
    int64_t base_ms; /* ceiling of the first delay, > 0 */
    int64_t max_ms;  /* ceiling of every delay, >= base_ms */
    unsigned attempts;
};

#define BACKOFF_INIT(base, max) ((struct backoff){.base_ms = (base), .max_ms = (max)})

/*
 * The delay before the next attempt: between half and all of min(max_ms, base_ms * 2^attempts).
 * Counts the attempt.
 */
int64_t backoff_next(struct backoff *b, uint32_t random);

/* The other side answered: the next delay starts from base_ms again. */
void backoff_reset(struct backoff *b);

#endif /* COMMON_BACKOFF_H */
