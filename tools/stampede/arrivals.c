#include "tools/stampede/arrivals.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

#define RATE_MAX 1e7

const char *const arrivals_names[] = {"crowd", "steady", "poisson", "ramp", "spike", NULL};

bool arrivals_rate(const char *text, double *rate_per_s, struct err *err)
{
    char *end = NULL;
    const double n = strtod(text, &end);
    const double seconds = strcmp(end, "/m") == 0 ? 60 : 1;

    if (end == text || !isfinite(n) || n <= 0 || n / seconds >= RATE_MAX ||
        (*end != '\0' && strcmp(end, "/s") != 0 && strcmp(end, "/m") != 0)) {
        return err_set(err, ERR_REJECT, "rate %.40s: not a number such as 5000/s or 300/m", text);
    }
    *rate_per_s = n / seconds;
    return true;
}

/*
 * How many have come at a time, as a share of the duration: the integral of the rate's course.
 * Arrival n comes when this reaches n; so a schedule is no more than the inverse of its course.
 */
static double share_when(enum arrivals_kind kind, double n, double whole)
{
    switch (kind) {
    case ARRIVALS_RAMP: /* n = whole * x^2 / 2 */
        return sqrt(2 * n / whole);
    case ARRIVALS_SPIKE: {
        const double calm = 0.1 * 0.4 * whole, burst = 0.2 * whole;

        if (n < calm) {
            return n / (0.1 * whole);
        }
        return n < calm + burst ? 0.4 + (n - calm) / whole
                                : 0.6 + (n - calm - burst) / (0.1 * whole);
    }
    default:
        return n / whole;
    }
}

static int by_time(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static int64_t *plan_crowd(const struct arrivals *a, struct random *dice)
{
    int64_t *times = xcalloc(a->shoppers, sizeof(*times));

    for (size_t i = 0; i < a->shoppers; i++) {
        const bool early = random_chance(dice, a->front);

        times[i] = random_below(dice, early ? a->duration_us / 5 + 1 : a->duration_us);
    }
    qsort(times, a->shoppers, sizeof(*times), by_time);
    return times;
}

int64_t *arrivals_plan(const struct arrivals *a, struct random *dice, size_t *count)
{
    const double whole = a->rate_per_s * (double)a->duration_us / 1e6;
    /* A Poisson process of rate 1 in the place of 0, 1, 2, ... makes any course a random one. */
    const bool at_random = a->kind == ARRIVALS_POISSON;
    size_t capacity = (size_t)whole + 16;
    int64_t *times = NULL;
    double n = 0;

    *count = a->shoppers;
    if (a->kind == ARRIVALS_CROWD) {
        return plan_crowd(a, dice);
    }
    times = xcalloc(capacity, sizeof(*times));
    for (*count = 0;; (*count)++) {
        n = at_random ? n - log(random_share(dice)) : (double)*count;
        const int64_t at_us = (int64_t)(share_when(a->kind, n, whole) * (double)a->duration_us);

        if (at_us >= a->duration_us) {
            return times;
        }
        if (*count == capacity) {
            capacity *= 2;
            times = xreallocarray(times, capacity, sizeof(*times));
        }
        times[*count] = at_us;
    }
}
