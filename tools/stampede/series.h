/*
 * series.h - what was counted and timed, in all and step by step.
 *
 * A step's row is finished, and its percentiles are computed, when the next one begins: memory grows by
 * a row per step and not with what is timed.  What an answer counts for stands in the row in
 * which the answer came.  Pure; one thread.
 */
#ifndef STAMPEDE_SERIES_H
#define STAMPEDE_SERIES_H

#include <stddef.h>
#include <stdint.h>

#include "common/histogram.h"

enum series_count {
    SERIES_ARRIVED,  /* shoppers whose moment came */
    SERIES_ACCEPTED, /* orders that the door took */
    SERIES_DECIDED,  /* decisions heard */
    SERIES_RESERVED, /* of these */
    SERIES_PAID,
    SERIES_CANCELLED,
    SERIES_REFUSED,    /* turned away at the door, for now or for good */
    SERIES_UNKNOWN,    /* no answer, or one that says: nobody knows yet */
    SERIES_UNEXPECTED, /* answers that the protocol does not have */
    SERIES_COUNTS,
};

enum series_time {
    SERIES_TO_ACCEPTED, /* from the planned moment of the press that was accepted */
    SERIES_TO_DECIDED,  /* from the planned moment of the first press */
    SERIES_TO_PAID,     /* from the planned moment of the payment */
    SERIES_SERVICE,     /* from a request's bytes to its answer: what hides a server's stalls */
    SERIES_LATE,        /* from a request's planned moment to its bytes: our own delay */
    SERIES_TIMES,
};

enum { SERIES_QUANTILES = 5, SERIES_PROCESSES = 16 };

extern const char *const series_count_names[SERIES_COUNTS];
extern const char *const series_time_names[SERIES_TIMES];
extern const char *const series_quantile_names[SERIES_QUANTILES];

/* What is looked at when a row ends; -1: unknown. */
struct series_state {
    uint64_t requests; /* so far */
    size_t connected, under_way, backlog;
    int64_t available, held, sold;
    double cpu_s[SERIES_PROCESSES]; /* so far */
};

struct series_row {
    uint64_t counts[SERIES_COUNTS];
    int64_t times_us[SERIES_TIMES][SERIES_QUANTILES]; /* -1: nothing was timed */
    struct series_state state;
};

struct series {
    int64_t step_us;
    int64_t start_us;
    uint64_t counts[SERIES_COUNTS];
    struct histogram times[SERIES_TIMES];
    struct histogram now[SERIES_TIMES];
    struct series_row *rows; /* owned; the last one is being filled */
    size_t n, capacity;
};

void series_init(struct series *s, int64_t start_us, int64_t step_us);
void series_fini(struct series *s);

static inline void series_add(struct series *s, enum series_count what)
{
    s->counts[what]++;
    s->rows[s->n - 1].counts[what]++;
}

void series_time(struct series *s, enum series_time what, int64_t us);

/* When the row that is being filled ends. */
int64_t series_due_us(const struct series *s);

/* Ends that row and begins the next one. */
void series_step(struct series *s, const struct series_state *state);

/* Fills times_us of one histogram. */
void series_quantiles(const struct histogram *h, int64_t out[SERIES_QUANTILES]);

#endif /* STAMPEDE_SERIES_H */
