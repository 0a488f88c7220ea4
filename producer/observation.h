/*
 * observation.h - a line of an observer (observer.h), read.
 *
 * Pure; nothing is owned.
 */
#ifndef PRODUCER_OBSERVATION_H
#define PRODUCER_OBSERVATION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/slice.h"
#include "producer/limiter.h"

enum {
    OBSERVATION_TOOK_MAX_MS = 3600000,
    OBSERVATION_ORDERS_MAX = 1000000,
};

struct observation {
    enum limiter_side side;
    int partition;
    int64_t took_ms, orders;
};

/* False, with *o untouched, when the line, which is without its end, is none. */
bool observation_parse(struct slice line, int partitions, struct observation *o) ATTR_MUSTCHECK;

#endif /* PRODUCER_OBSERVATION_H */
