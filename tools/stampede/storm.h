/*
 * storm.h - a crowd of shoppers with plans, and what they were told.
 *
 * Shopper i arrives at a moment drawn from the seed, many of them in the first fifth of the storm,
 * presses, and follows a plan: wait for the decision or come back for it, pay, cancel or
 * abandon, press twice, ask again with the same key.  Turned away with "sold out", some come back
 * later with a new key.  Answers 429 and 503 are obeyed (Retry-After), 504 and silence are
 * answered by asking again with the same key.  Latency counts from the scheduled moment, so a
 * server that stalls cannot hide it.
 *
 * What a shopper was told is kept, to be compared with the record afterwards.  One thread.
 */
#ifndef STAMPEDE_STORM_H
#define STAMPEDE_STORM_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/histogram.h"
#include "common/ids.h"
#include "tools/stampede/client.h"

enum { STORM_REASON_MAX = 24, STORM_REASONS = 48, STORM_ORDERS_MAX = 4 };

/* Counts by name ("sold_out"): how often shoppers heard it. */
struct storm_tally {
    size_t n;
    struct {
        char name[STORM_REASON_MAX];
        uint64_t count;
    } rows[STORM_REASONS];
};

/* What one shopper was told about one order. */
struct storm_order {
    char order_id[IDS_ORDER_LEN + 1]; /* empty: never heard of */
    char user_id[32];
    char payment_id[40];                               /* empty: did not pay */
    char reason[STORM_REASON_MAX];                     /* of the rejection */
    bool accepted;                                     /* 202 */
    bool reserved, rejected, paid, cancelled, expired; /* states told */
    bool pay_paid, pay_refund;                         /* answers to the payment */
    bool contradicted;                                 /* two answers did not fit together */
};

struct storm_plan {
    const char *url;
    const char *item_id;
    const char *secret;
    size_t shoppers, connections;
    int64_t spread_ms;   /* arrivals */
    int64_t patience_ms; /* everybody goes home after this */
    int returns;         /* how often some come back after "sold out" */
    unsigned front;      /* percent of the crowd that comes in the first fifth */
    uint64_t seed;
    unsigned run;  /* stands in payment ids: one of them is answered once in a log's life */
    bool progress; /* a line on stderr that moves */
};

struct storm_result {
    uint64_t requests, accepted, decided, unknown, unexpected;
    struct storm_tally rejected; /* decisions of the sale */
    struct storm_tally refused;  /* at the door: ours and theirs */
    struct histogram to_accepted, to_decided;
    uint64_t accepted_in_time, decided_in_time; /* while the crowd was arriving */
    size_t n_orders;
    struct storm_order *orders; /* owned; freed by storm_fini() */
    size_t connected;           /* most connections open at once */
};

/* Runs the storm to its end.  Fails when it cannot begin. */
bool storm_run(const struct storm_plan *plan, struct storm_result *result,
               struct err *err) ATTR_MUSTCHECK;
void storm_fini(struct storm_result *result);

void storm_count(struct storm_tally *tally, const char *name);

#endif /* STAMPEDE_STORM_H */
