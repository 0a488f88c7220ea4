/*
 * histogram.h - how long things took, for percentiles and for Prometheus.
 *
 * Log-linear buckets: 64 per power of two, so a quantile is at most 1.6 % too high; values from 0
 * to 2^36 us (19 hours; larger ones count as that).  Fixed size (16 kB), no allocation.  Adding
 * is a few relaxed atomic steps: any thread may add while another reads; a reader may see a
 * value's count before its sum.
 */
#ifndef COMMON_HISTOGRAM_H
#define COMMON_HISTOGRAM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_SUB_BITS 6
#define HISTOGRAM_MAX_BITS 36
#define HISTOGRAM_BUCKETS  ((HISTOGRAM_MAX_BITS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

/* All zero is an empty one. */
struct histogram {
    _Atomic uint64_t buckets[HISTOGRAM_BUCKETS];
    _Atomic uint64_t count;
    _Atomic uint64_t sum_us;
    _Atomic int64_t max_us;
};

/* A negative duration counts as 0. */
void histogram_add(struct histogram *h, int64_t us);

/* Adds all of from to into. */
void histogram_merge(struct histogram *into, const struct histogram *from);

uint64_t histogram_count(const struct histogram *h);
int64_t histogram_max(const struct histogram *h);

/* The value that a share q (0..1) of all does not exceed, in us; 0 when empty. */
int64_t histogram_quantile(const struct histogram *h, double q);

/* How many values were below 2^bits us; exact for bits <= HISTOGRAM_MAX_BITS. */
uint64_t histogram_below(const struct histogram *h, unsigned bits);

#endif /* COMMON_HISTOGRAM_H */
