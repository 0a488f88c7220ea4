/*
 * counters.h - every number the producer counts; see stats.h.
 *
 * Commands: accepted = delivered + failed + unknown + inflight, at any time.
 */
#ifndef PRODUCER_COUNTERS_H
#define PRODUCER_COUNTERS_H

#include <stddef.h>

#include "common/stats.h"
#include "producer/http.h"
#include "producer/refusal.h"

#define PRODUCER_STATS(X)                                                                          \
    X(ACCEPTED, COUNTER, "seckill_producer_accepted_total", "",                                    \
      "Commands taken for publishing; equals delivered + failed + unknown + inflight.")            \
    X(DELIVERED, COUNTER, "seckill_producer_delivered_total", "", "Commands that Kafka stored.")   \
    X(FAILED, COUNTER, "seckill_producer_failed_total", "", "Commands certainly not stored.")      \
    X(UNKNOWN, COUNTER, "seckill_producer_unknown_total", "", "Commands of unknown fate.")         \
    X(INFLIGHT, GAUGE, "seckill_producer_inflight", "", "Commands taken and not yet settled.")     \
    X(PLACED, GAUGE, "seckill_producer_placed", "", "Orders delivered here, decision not seen.")   \
    X(LATE, COUNTER, "seckill_producer_late_reports_total", "", "Reports after the deadline.")     \
    X(JOINED, COUNTER, "seckill_producer_joined_total", "", "Requests that joined one in flight.") \
    X(REPLAYED, COUNTER, "seckill_producer_replayed_total", "",                                    \
      "Keyed requests answered with the order they already had.")                                  \
    X(QUEUED, GAUGE, "seckill_producer_publish_queued", "", "Commands not yet given to Kafka.")    \
    X(BATCHES, COUNTER, "seckill_producer_batches_total", "",                                      \
      "Times that commands of a partition were given to Kafka together.")                          \
    X(RECREATED, COUNTER, "seckill_producer_kafka_recreated_total", "",                            \
      "Kafka producers given up after a fatal error.")                                             \
    X(CALLS, GAUGE, "seckill_producer_calls", "", "Requests being worked on.")                     \
    X(WAITERS, GAUGE, "seckill_producer_waiters", "", "Requests that wait for a decision.")        \
    X(WAIT_OVER, COUNTER, "seckill_producer_wait_over_total", "", "Waits that ended undecided.")   \
    X(GONE, COUNTER, "seckill_producer_gone_total", "", "Clients that left before their answer.")  \
    X(LOOKUPS, COUNTER, "seckill_producer_lookups_total", "", "Look-ups asked for.")               \
    X(LOOKUP_SCRIPTS, COUNTER, "seckill_producer_lookup_scripts_total", "",                        \
      "Scripts run for them.")                                                                     \
    X(LOOKUPS_FULL, COUNTER, "seckill_producer_lookups_refused_total", "reason=\"full\"",          \
      "Look-ups not made.")                                                                        \
    X(LOOKUPS_DOWN, COUNTER, "seckill_producer_lookups_refused_total", "reason=\"down\"",          \
      "Look-ups not made.")                                                                        \
    X(LOOKUPS_LOST, COUNTER, "seckill_producer_lookups_unanswered_total", "",                      \
      "Look-ups made and not answered.")                                                           \
    X(RECORDS, COUNTER, "seckill_producer_record_reads_total", "", "Orders asked of MySQL.")       \
    X(RECORDS_FULL, COUNTER, "seckill_producer_record_reads_refused_total", "",                    \
      "Orders not asked of MySQL, as its queue was full.")                                         \
    X(RECORDS_FAILED, COUNTER, "seckill_producer_record_reads_failed_total", "",                   \
      "Orders asked of MySQL without an answer.")                                                  \
    X(OUTCOMES, COUNTER, "seckill_producer_outcomes_total", "", "Outcome records read.")           \
    X(OUTCOMES_BAD, COUNTER, "seckill_producer_outcomes_malformed_total", "",                      \
      "Records of the outcomes topic that are none.")                                              \
    X(OBSERVED, COUNTER, "seckill_producer_observed_total", "",                                    \
      "Orders told of by an observer of the lines.")                                               \
    X(OBSERVED_BAD, COUNTER, "seckill_producer_observed_malformed_total", "",                      \
      "Lines of an observer that are none.")                                                       \
    X(ITEMS, GAUGE, "seckill_producer_items", "", "Items known to the gates.")                     \
    X(ITEMS_EVICTED, COUNTER, "seckill_producer_items_evicted_total", "",                          \
      "Items forgotten for want of room.")                                                         \
    X(RELAYED, COUNTER, "seckill_producer_relayed_total", "",                                      \
      "Requests that came to the door from an HTTP thread.")                                       \
    X(RELAY_ANSWERS, COUNTER, "seckill_producer_relay_answers_total", "", "Answers to them.")      \
    X(RELAY_FULL, COUNTER, "seckill_producer_relay_refused_total", "",                             \
      "Requests that an HTTP thread refused, as too many were on the way already.")                \
    REFUSALS(COUNTERS_REFUSAL)

/* One row per way to refuse; several may share a reason, told apart by status. */
#define COUNTERS_REFUSAL(id, status, reason, title, detail)                                        \
    COUNTERS_ROW(REFUSED_##id, COUNTER, "seckill_producer_refused_total",                          \
                 "reason=\"" reason "\",kind=\"" #id "\"", "Requests refused.")

/* Behind the rows of the HTTP server, which come first. */
enum producer_stat {
    STAT_BEFORE_FIRST = HTTP_STAT_COUNT - 1,
#define COUNTERS_ROW(id, kind, name, labels, help) STAT_##id,
    PRODUCER_STATS(STATS_ENUM)
#undef COUNTERS_ROW
        STAT_COUNT,
};

extern const struct stats_row counters_rows[STAT_COUNT];

/* The row that counts a refusal. */
static inline size_t counters_refused(enum refusal refusal)
{
    return (size_t)STAT_COUNT - REFUSAL_COUNT + (size_t)refusal;
}

#endif /* PRODUCER_COUNTERS_H */
