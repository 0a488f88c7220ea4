/*
 * dice.h - splitmix64: small, and the same crowd for the same seed.  Pure.
 */
#ifndef STAMPEDE_DICE_H
#define STAMPEDE_DICE_H

#include <stdbool.h>
#include <stdint.h>

struct dice {
    uint64_t state;
};

static inline uint64_t dice_draw(struct dice *d)
{
    uint64_t z = (d->state += 0x9e3779b97f4a7c15U);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

/* 0 .. n - 1 */
static inline int64_t dice_below(struct dice *d, int64_t n)
{
    return (int64_t)(dice_draw(d) % (uint64_t)n);
}

static inline bool dice_chance(struct dice *d, int64_t percent)
{
    return dice_below(d, 100) < percent;
}

/* (0, 1] */
static inline double dice_share(struct dice *d)
{
    return (double)((dice_draw(d) >> 11) + 1) / (double)(UINT64_C(1) << 53);
}

#endif /* STAMPEDE_DICE_H */
