/*
 * metrics.h - the matcher's numbers for Prometheus, read from the parts at each scrape.
 */
#ifndef MATCHER_METRICS_H
#define MATCHER_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "matcher/part.h"

/* Borrowed for the call. */
struct metrics_source {
    struct part *const *parts; /* by partition */
    const int64_t *ends;       /* end of each partition's log; -1: not known */
    size_t n;
    uint64_t renewals;
    int64_t wall_ms;
};

void metrics_write(struct buf *out, const struct metrics_source *source);

#endif /* MATCHER_METRICS_H */
