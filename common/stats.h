/*
 * stats.h - a program's numbers, in Prometheus' text format 0.0.4.
 *
 * A program names its counters and gauges once, in an X-macro; enum, exposition and documentation
 * come from it.  Rows of one metric with different labels stand next to each other:
 *
 *     #define MATCHER_STATS(X)                                                                   \
 *         X(APPLIED, COUNTER, "seckill_matcher_applied_total", "", "Commands applied.")          \
 *         X(LOST_REDIS, COUNTER, "seckill_matcher_lost_total", "peer=\"redis\"", "Connections lost.") \
 *         X(LOST_KAFKA, COUNTER, "seckill_matcher_lost_total", "peer=\"kafka\"", "Connections lost.")
 *
 *     enum matcher_stat { MATCHER_STATS(STATS_ENUM) STAT_COUNT };
 *     static const struct stats_row rows[] = { MATCHER_STATS(STATS_ROW) };
 *
 *     struct stats *stats = stats_create("matcher", rows, STAT_COUNT);
 *     struct histogram *apply = stats_histogram(stats, "seckill_matcher_apply_seconds", "", "...");
 *     stats_add(stats, STAT_APPLIED, n);
 *
 * What has labels known only while running (partitions) is written at each scrape by a collector.
 * Counting is relaxed-atomic: any thread.  Everything else: the thread that scrapes.
 */
#ifndef COMMON_STATS_H
#define COMMON_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/buf.h"
#include "common/histogram.h"

enum stats_kind {
    STATS_COUNTER,
    STATS_GAUGE,
};

struct stats_row {
    const char *name;
    const char *labels; /* `reason="sold_out"`, or "" */
    const char *help;
    enum stats_kind kind;
};

#define STATS_ENUM(id, kind, name, labels, help) STAT_##id,
#define STATS_ROW(id, kind, name, labels, help)  {name, labels, help, STATS_##kind},

struct stats;

/* program and rows are borrowed for the life of the object; all values start at 0. */
struct stats *stats_create(const char *program, const struct stats_row *rows,
                           size_t count) ATTR_MUSTCHECK;

/* NULL is allowed. */
void stats_destroy(struct stats *s);

void stats_add(struct stats *s, size_t id, int64_t n);
void stats_set(struct stats *s, size_t id, int64_t value);
int64_t stats_get(const struct stats *s, size_t id);

/*
 * Adds a latency histogram, shown in seconds with bounds at powers of two from 256 us to 16.8 s.
 * The strings are borrowed; the result lives as long as s.  Same name, other labels: one metric,
 * if registered one after the other.  At most 32.
 */
struct histogram *stats_histogram(struct stats *s, const char *name, const char *labels,
                                  const char *help) ATTR_MUSTCHECK;

/* Called at each scrape; at most 8. */
typedef void stats_collect_fn(struct buf *out, void *arg);
void stats_collect(struct stats *s, stats_collect_fn *collect, void *arg);

/* For collectors: the HELP and TYPE lines of a metric, then its samples. */
void stats_put_head(struct buf *out, const char *name, enum stats_kind kind, const char *help);
void stats_put_sample(struct buf *out, const char *name, int64_t value, const char *labels_fmt, ...)
    ATTR_PRINTF(4, 5);

/* Everything: collectors, rows, histograms, process_* and seckill_build_info. */
void stats_write(const struct stats *s, struct buf *out);

#endif /* COMMON_STATS_H */
