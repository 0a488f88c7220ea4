#include "tools/stampede/arrivals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/stampede/wakes.h"

#define SECOND INT64_C(1000000)

/* Counts the arrivals in each of ten equal parts, and checks that they are in order. */
static size_t plan(const struct arrivals *a, uint64_t seed, size_t parts[10])
{
    struct random dice = {seed};
    size_t n = 0;
    int64_t *times = arrivals_plan(a, &dice, &n);
    int64_t before = 0;

    memset(parts, 0, 10 * sizeof(*parts));
    for (size_t i = 0; i < n; i++) {
        assert_in_range(times[i], before, a->duration_us - 1);
        before = times[i];
        parts[times[i] * 10 / a->duration_us]++;
    }
    free(times);
    return n;
}

static void test_steady(void **state)
{
    const struct arrivals a = {ARRIVALS_STEADY, 10 * SECOND, 1000, 0, 0};
    struct random dice = {1};
    size_t parts[10], n = 0;
    int64_t *times = NULL;

    (void)state;
    assert_int_equal(plan(&a, 1, parts), 10000);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(parts[i], 1000);
    }
    times = arrivals_plan(&a, &dice, &n);
    assert_int_equal(times[0], 0);
    assert_int_equal(times[1], 1000);
    assert_in_range(times[9999], 9998999, 9999000);
    free(times);
}

static void test_poisson(void **state)
{
    const struct arrivals a = {ARRIVALS_POISSON, 10 * SECOND, 1000, 0, 0};
    size_t parts[10], again[10];
    struct random dice = {1};
    size_t n = 0, close = 0;
    int64_t *times = arrivals_plan(&a, &dice, &n);

    (void)state;
    assert_in_range(n, 9600, 10400); /* four standard deviations */
    for (size_t i = 1; i < n; i++) {
        close += times[i] - times[i - 1] < 1000; /* the mean distance: 1 - 1/e of all are closer */
    }
    assert_in_range(close * 1000 / n, 600, 664);
    free(times);
    assert_int_equal(plan(&a, 1, parts), n);
    assert_int_equal(plan(&a, 1, again), n);
    assert_memory_equal(parts, again, sizeof(parts));
    assert_int_not_equal(plan(&a, 2, again), n);
}

static void test_ramp(void **state)
{
    const struct arrivals a = {ARRIVALS_RAMP, 10 * SECOND, 1000, 0, 0};
    size_t parts[10];

    (void)state;
    assert_int_equal(plan(&a, 1, parts), 5000);
    for (size_t i = 0; i < 10; i++) {
        assert_in_range(parts[i], 100 * i + 50 - 2, 100 * i + 50 + 2);
    }
}

static void test_spike(void **state)
{
    const struct arrivals a = {ARRIVALS_SPIKE, 10 * SECOND, 1000, 0, 0};
    size_t parts[10];

    (void)state;
    assert_in_range(plan(&a, 1, parts), 2799, 2801);
    for (size_t i = 0; i < 10; i++) {
        const size_t expected = i == 4 || i == 5 ? 1000 : 100;

        assert_in_range(parts[i], expected - 1, expected + 1);
    }
}

static void test_crowd(void **state)
{
    struct arrivals a = {ARRIVALS_CROWD, 10 * SECOND, 0, 10000, 50};
    size_t parts[10];

    (void)state;
    assert_int_equal(plan(&a, 1, parts), 10000);
    assert_in_range(parts[0] + parts[1], 5800, 6200); /* 50 % and a fifth of the others */
    a.front = 0;
    assert_int_equal(plan(&a, 1, parts), 10000);
    assert_in_range(parts[0] + parts[1], 1840, 2160);
    a.shoppers = 1;
    a.duration_us = 1000; /* the shortest */
    assert_int_equal(plan(&a, 1, parts), 1);
}

static void test_rates(void **state)
{
    static const char *const bad[] = {"",    "x",   "0",   "-1",       "5000/h", "5000 /s",
                                      "inf", "nan", "1e8", "10000000", "5/s/s",  "5k"};
    struct err err = {0};
    double rate = 0;

    (void)state;
    assert_true(arrivals_rate("5000/s", &rate, &err));
    assert_true(rate == 5000);
    assert_true(arrivals_rate("300/m", &rate, &err));
    assert_true(rate == 5);
    assert_true(arrivals_rate("0.5", &rate, &err));
    assert_true(rate == 0.5);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(arrivals_rate(bad[i], &rate, &err));
    }
}

static void test_wakes(void **state)
{
    struct wakes w;
    struct random dice = {7};
    int64_t before = -1;

    (void)state;
    wakes_init(&w, 1000);
    assert_true(wakes_next_us(&w) == INT64_MAX);
    for (uint32_t i = 0; i < 1000; i++) {
        wakes_add(&w, random_below(&dice, 500), i);
    }
    for (size_t i = 0; i < 1000; i++) {
        const int64_t next = wakes_next_us(&w);
        const struct wake wake = wakes_take(&w);

        assert_int_equal(wake.at_us, next);
        assert_true(wake.at_us >= before);
        before = wake.at_us;
    }
    assert_true(wakes_next_us(&w) == INT64_MAX);
    wakes_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steady), cmocka_unit_test(test_poisson), cmocka_unit_test(test_ramp),
        cmocka_unit_test(test_spike),  cmocka_unit_test(test_crowd),   cmocka_unit_test(test_rates),
        cmocka_unit_test(test_wakes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
