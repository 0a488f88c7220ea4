/*
 * random.h - small random numbers (SplitMix64): the same luck for the same seed.  No secrets.
 */
#ifndef COMMON_RANDOM_H
#define COMMON_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random {
    uint64_t state;
};

static inline uint64_t random_u64(struct random *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15U);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

/* 0..n-1; n at least 1. */
static inline int64_t random_below(struct random *r, int64_t n)
{
    return (int64_t)(random_u64(r) % (uint64_t)n);
}

static inline int64_t random_between(struct random *r, int64_t min, int64_t max)
{
    return min + random_below(r, max - min + 1);
}

/* True in percent of all cases. */
static inline bool random_chance(struct random *r, int64_t percent)
{
    return random_below(r, 100) < percent;
}

/* In (0, 1]. */
static inline double random_share(struct random *r)
{
    return (double)((random_u64(r) >> 11) + 1) / (double)(UINT64_C(1) << 53);
}

#endif /* COMMON_RANDOM_H */
