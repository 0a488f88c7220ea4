#include "matcher/metrics.h"

#include "common/stats.h"

/* The sum of one counter over all parts; at names its place in struct part_counts. */
static uint64_t sum(const struct metrics_source *source, size_t at)
{
    uint64_t total = 0;

    for (size_t i = 0; i < source->n; i++) {
        const char *counts = (const char *)part_counted(source->parts[i]);

        total += *(const uint64_t *)(const void *)(counts + at);
    }
    return total;
}

static void put_totals(struct buf *out, const struct metrics_source *source)
{
    static const struct {
        const char *name;
        const char *help;
        size_t at;
    } rows[] = {
        {"seckill_matcher_batches_total", "Scripts that applied commands.",
         offsetof(struct part_counts, batches)},
        {"seckill_matcher_records_total", "Commands applied.",
         offsetof(struct part_counts, records)},
        {"seckill_matcher_malformed_total", "Commands that were malformed.",
         offsetof(struct part_counts, malformed)},
        {"seckill_matcher_republished_total", "Outcomes told again from the outbox.",
         offsetof(struct part_counts, republished)},
        {"seckill_matcher_mismatches_total", "Times that Redis stood elsewhere than expected.",
         offsetof(struct part_counts, mismatches)},
        {"seckill_matcher_rechecks_total", "Times that the log was compared again.",
         offsetof(struct part_counts, rechecks)},
        {"seckill_matcher_full_total", "Batches refused because a bound was reached.",
         offsetof(struct part_counts, full)},
        {"seckill_matcher_ticks_total", "Ticks appended to the log.",
         offsetof(struct part_counts, ticks)},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        stats_put_head(out, rows[i].name, STATS_COUNTER, rows[i].help);
        stats_put_sample(out, rows[i].name, (int64_t)sum(source, rows[i].at), "%s", "");
    }
    stats_put_head(out, "seckill_matcher_producer_renewals_total", STATS_COUNTER,
                   "Times that the producer was made anew after a failure.");
    stats_put_sample(out, "seckill_matcher_producer_renewals_total", (int64_t)source->renewals,
                     "%s", "");
}

static void put_results(struct buf *out, const struct metrics_source *source)
{
    const char *name = "seckill_matcher_events_total";

    stats_put_head(out, name, STATS_COUNTER, "Results of commands applied, by event.");
    for (size_t i = 0; i < EVENT_COUNT; i++) {
        const size_t at = offsetof(struct part_counts, events) + i * sizeof(uint64_t);

        stats_put_sample(out, name, (int64_t)sum(source, at), "event=\"%s\"",
                         event_type_name((enum event_type)i));
    }
    name = "seckill_matcher_rejected_total";
    stats_put_head(out, name, STATS_COUNTER, "Orders rejected, by reason.");
    for (size_t i = REASON_SOLD_OUT; i <= REASON_UNKNOWN_ITEM; i++) {
        const size_t at = offsetof(struct part_counts, rejected) + i * sizeof(uint64_t);

        stats_put_sample(out, name, (int64_t)sum(source, at), "reason=\"%s\"",
                         reason_name((enum reason)i));
    }
}

static void put_halts(struct buf *out, const struct metrics_source *source)
{
    const char *name = "seckill_matcher_halted";

    stats_put_head(out, name, STATS_GAUGE, "Partitions halted, by reason: an operator must look.");
    for (int why = PART_HALT_RULES; why < PART_HALT_COUNT; why++) {
        int64_t halted = 0;

        for (size_t i = 0; i < source->n; i++) {
            struct part_view view;

            part_look(source->parts[i], &view);
            halted += (int)view.halt == why;
        }
        stats_put_sample(out, name, halted, "reason=\"%s\"", part_halt_name((enum part_halt)why));
    }
}

static void put_waits(struct buf *out, const struct metrics_source *source)
{
    const char *name = "seckill_matcher_waiting";

    stats_put_head(out, name, STATS_GAUGE, "Partitions that wait for a rebuild, by reason.");
    for (int why = PART_WAIT_REBUILD; why < PART_WAIT_COUNT; why++) {
        int64_t waiting = 0;

        for (size_t i = 0; i < source->n; i++) {
            struct part_view view;

            part_look(source->parts[i], &view);
            waiting += (int)view.wait == why;
        }
        stats_put_sample(out, name, waiting, "reason=\"%s\"", part_wait_name((enum part_wait)why));
    }
}

enum gauge {
    GAUGE_WATERMARK,
    GAUGE_LAG,
    GAUGE_LAG_SECONDS,
    GAUGE_QUEUED,
    GAUGE_UNACKED,
    GAUGE_OUTBOX,
    GAUGE_STEADY,
    GAUGES,
};

static int64_t gauge_of(const struct metrics_source *source, size_t i, enum gauge gauge)
{
    struct part_view view;
    int64_t waiting_ms;

    part_look(source->parts[i], &view);
    switch (gauge) {
    case GAUGE_WATERMARK:
        return view.watermark;
    case GAUGE_LAG:
        return source->ends[i] > view.watermark ? source->ends[i] - view.watermark - 1 : 0;
    case GAUGE_LAG_SECONDS:
        waiting_ms = view.waiting_since == 0 ? 0 : source->wall_ms - view.waiting_since;
        return waiting_ms > 0 ? waiting_ms / 1000 : 0;
    case GAUGE_QUEUED:
        return (int64_t)view.unapplied;
    case GAUGE_UNACKED:
        return (int64_t)view.unacked;
    case GAUGE_OUTBOX:
        return view.outbox;
    case GAUGE_STEADY:
        return view.is_steady;
    case GAUGES:
        break;
    }
    return 0;
}

static void put_gauges(struct buf *out, const struct metrics_source *source)
{
    static const struct {
        const char *name;
        const char *help;
    } rows[GAUGES] = {
        [GAUGE_WATERMARK] = {"seckill_matcher_watermark", "Offset of the last command applied."},
        [GAUGE_LAG] = {"seckill_matcher_lag_records", "Commands in the log and not yet applied."},
        [GAUGE_LAG_SECONDS] = {"seckill_matcher_lag_seconds",
                               "Age of the oldest command that was read and is not applied."},
        [GAUGE_QUEUED] = {"seckill_matcher_queued", "Commands read and not yet applied."},
        [GAUGE_UNACKED] = {"seckill_matcher_unacked",
                           "Outcomes that Kafka has not acknowledged yet."},
        [GAUGE_OUTBOX] = {"seckill_matcher_outbox_entries", "Batches in the outbox in Redis."},
        [GAUGE_STEADY] = {"seckill_matcher_steady",
                          "1 while the partition is ours and being applied."},
    };

    for (int gauge = 0; gauge < GAUGES; gauge++) {
        stats_put_head(out, rows[gauge].name, STATS_GAUGE, rows[gauge].help);
        for (size_t i = 0; i < source->n; i++) {
            struct part_view view;

            part_look(source->parts[i], &view);
            if (view.is_assigned) {
                stats_put_sample(out, rows[gauge].name, gauge_of(source, i, (enum gauge)gauge),
                                 "partition=\"%zu\"", i);
            }
        }
    }
}

void metrics_write(struct buf *out, const struct metrics_source *source)
{
    put_totals(out, source);
    put_results(out, source);
    put_halts(out, source);
    put_waits(out, source);
    put_gauges(out, source);
}
