/*
 * A value below 64 has a bucket of its own.  Above, the bucket is the power of two (the position of
 * the highest bit) and the 6 bits below it; both together are one number, so buckets are in order:
 *
 *     index = (power - 6) * 64 + (value >> (power - 6)),   64 <= value >> (power - 6) < 128
 */
#include "common/histogram.h"

#define SUB_COUNT (1 << HISTOGRAM_SUB_BITS)

static size_t index_of(uint64_t value)
{
    if (value < SUB_COUNT) {
        return (size_t)value;
    }
    const unsigned shift = 63U - (unsigned)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;

    return (size_t)shift * SUB_COUNT + (size_t)(value >> shift);
}

/* The largest value that falls into the bucket. */
static int64_t upper_of(size_t index)
{
    if (index < SUB_COUNT) {
        return (int64_t)index;
    }
    const unsigned shift = (unsigned)(index / SUB_COUNT) - 1;
    const uint64_t lead = index - (size_t)shift * SUB_COUNT;

    return (int64_t)(((lead + 1) << shift) - 1);
}

static uint64_t load(const _Atomic uint64_t *n)
{
    return atomic_load_explicit(n, memory_order_relaxed);
}

static void add(_Atomic uint64_t *n, uint64_t by)
{
    atomic_fetch_add_explicit(n, by, memory_order_relaxed);
}

static void raise_max(struct histogram *h, int64_t us)
{
    int64_t seen = atomic_load_explicit(&h->max_us, memory_order_relaxed);

    while (us > seen && !atomic_compare_exchange_weak_explicit(
                            &h->max_us, &seen, us, memory_order_relaxed, memory_order_relaxed)) {
    }
}

void histogram_add(struct histogram *h, int64_t us)
{
    const int64_t largest = (INT64_C(1) << HISTOGRAM_MAX_BITS) - 1;

    us = us < 0 ? 0 : us;
    us = us > largest ? largest : us;
    add(&h->buckets[index_of((uint64_t)us)], 1);
    add(&h->count, 1);
    add(&h->sum_us, (uint64_t)us);
    raise_max(h, us);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        const uint64_t n = load(&from->buckets[i]);

        if (n > 0) {
            add(&into->buckets[i], n);
        }
    }
    add(&into->count, load(&from->count));
    add(&into->sum_us, load(&from->sum_us));
    raise_max(into, histogram_max(from));
}

uint64_t histogram_count(const struct histogram *h)
{
    return load(&h->count);
}

int64_t histogram_max(const struct histogram *h)
{
    return atomic_load_explicit(&h->max_us, memory_order_relaxed);
}

int64_t histogram_quantile(const struct histogram *h, double q)
{
    const int64_t max = histogram_max(h);
    const double exact = q * (double)histogram_count(h);
    uint64_t wanted = (uint64_t)exact;
    uint64_t seen = 0;

    if ((double)wanted < exact || wanted == 0) {
        wanted++; /* the smallest value that at least this many do not exceed */
    }
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += load(&h->buckets[i]);
        if (seen >= wanted) {
            return upper_of(i) < max ? upper_of(i) : max;
        }
    }
    return max;
}

uint64_t histogram_below(const struct histogram *h, unsigned bits)
{
    const size_t end =
        bits >= HISTOGRAM_MAX_BITS ? HISTOGRAM_BUCKETS : index_of(UINT64_C(1) << bits);
    uint64_t n = 0;

    for (size_t i = 0; i < end; i++) {
        n += load(&h->buckets[i]);
    }
    return n;
}
