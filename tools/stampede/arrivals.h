/*
 * arrivals.h - when shoppers come: planned beforehand, so that no server can delay them.
 *
 * Pure; the same plan gives the same times.
 */
#ifndef STAMPEDE_ARRIVALS_H
#define STAMPEDE_ARRIVALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/random.h"

enum arrivals_kind {
    ARRIVALS_CROWD,   /* a number of shoppers at random times, many of them early */
    ARRIVALS_STEADY,  /* at even distances */
    ARRIVALS_POISSON, /* independent of each other */
    ARRIVALS_RAMP,    /* from nothing to the full rate */
    ARRIVALS_SPIKE,   /* the full rate for the middle fifth, a tenth of it before and behind */
};
extern const char *const arrivals_names[]; /* NULL at the end */

struct arrivals {
    enum arrivals_kind kind;
    int64_t duration_us;
    double rate_per_s; /* the greatest; not of a crowd */
    size_t shoppers;   /* of a crowd */
    unsigned front;    /* percent of a crowd that comes in the first fifth */
};

/* "5000", "5000/s", "300/m"; below 10 million a second. */
bool arrivals_rate(const char *text, double *rate_per_s, struct err *err) ATTR_MUSTCHECK;

/*
 * The times in us from the start, in order, each below duration_us; *count of them.  The caller
 * frees them.
 */
int64_t *arrivals_plan(const struct arrivals *arrivals, struct random *dice,
                       size_t *count) ATTR_MUSTCHECK;

#endif /* STAMPEDE_ARRIVALS_H */
