/*
 * wakes.h - who is to be woken when: a binary heap.
 *
 * As many at once as there is room for, which the owner makes sure of.  Pure.
 */
#ifndef STAMPEDE_WAKES_H
#define STAMPEDE_WAKES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wakes {
    struct wake {
        int64_t at_us;
        uint32_t who;
    } * heap; /* owned */
    size_t n;
};

void wakes_init(struct wakes *w, size_t capacity);
void wakes_fini(struct wakes *w);

void wakes_add(struct wakes *w, int64_t at_us, uint32_t who);

/* The earliest; INT64_MAX when there is none. */
static inline int64_t wakes_next_us(const struct wakes *w)
{
    return w->n == 0 ? INT64_MAX : w->heap[0].at_us;
}

/* Takes the earliest out; there is one. */
struct wake wakes_take(struct wakes *w);

#endif /* STAMPEDE_WAKES_H */
