/*
 * random.h - a small random number generator whose seed is the whole of a test's luck (SplitMix64).
 */
#ifndef TESTS_DIFFERENTIAL_RANDOM_H
#define TESTS_DIFFERENTIAL_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random {
    uint64_t state;
};

static inline uint64_t random_u64(struct random *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
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
static inline bool random_chance(struct random *r, int percent)
{
    return random_below(r, 100) < percent;
}

#endif /* TESTS_DIFFERENTIAL_RANDOM_H */
