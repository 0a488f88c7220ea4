#include "tools/stampede/series.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

const char *const series_count_names[SERIES_COUNTS] = {
    [SERIES_ARRIVED] = "arrived",
    [SERIES_ACCEPTED] = "accepted",
    [SERIES_DECIDED] = "decided",
    [SERIES_RESERVED] = "reserved",
    [SERIES_PAID] = "paid",
    [SERIES_CANCELLED] = "cancelled",
    [SERIES_REFUSED] = "refused",
    [SERIES_UNKNOWN] = "unknown",
    [SERIES_UNEXPECTED] = "unexpected",
};

const char *const series_time_names[SERIES_TIMES] = {
    [SERIES_TO_ACCEPTED] = "accepted", [SERIES_TO_DECIDED] = "decided", [SERIES_TO_PAID] = "paid",
    [SERIES_SERVICE] = "service",      [SERIES_LATE] = "late",
};

const char *const series_quantile_names[SERIES_QUANTILES] = {"p50", "p90", "p99", "p99.9", "max"};

static void begin_row(struct series *s)
{
    if (s->n == s->capacity) {
        s->capacity = s->capacity == 0 ? 256 : s->capacity * 2;
        s->rows = xreallocarray(s->rows, s->capacity, sizeof(*s->rows));
    }
    memset(&s->rows[s->n++], 0, sizeof(*s->rows));
}

void series_init(struct series *s, int64_t start_us, int64_t step_us)
{
    memset(s, 0, sizeof(*s));
    s->start_us = start_us;
    s->step_us = step_us;
    begin_row(s);
}

void series_fini(struct series *s)
{
    free(s->rows);
    s->rows = NULL;
    s->n = s->capacity = 0;
}

void series_time(struct series *s, enum series_time what, int64_t us)
{
    histogram_add(&s->now[what], us);
}

int64_t series_due_us(const struct series *s)
{
    return s->start_us + (int64_t)s->n * s->step_us;
}

void series_quantiles(const struct histogram *h, int64_t out[SERIES_QUANTILES])
{
    static const double shares[SERIES_QUANTILES] = {0.5, 0.9, 0.99, 0.999, 1};

    for (size_t i = 0; i < SERIES_QUANTILES; i++) {
        out[i] = histogram_count(h) == 0 ? -1 : histogram_quantile(h, shares[i]);
    }
}

void series_step(struct series *s, const struct series_state *state)
{
    struct series_row *row = &s->rows[s->n - 1];

    row->state = *state;
    for (size_t i = 0; i < SERIES_TIMES; i++) {
        series_quantiles(&s->now[i], row->times_us[i]);
        histogram_merge(&s->times[i], &s->now[i]);
        memset(&s->now[i], 0, sizeof(s->now[i]));
    }
    begin_row(s);
}
