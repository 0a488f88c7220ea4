#include "common/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct histogram h;
static struct histogram other;

static int clear(void **state)
{
    (void)state;
    memset(&h, 0, sizeof(h));
    memset(&other, 0, sizeof(other));
    return 0;
}

static void empty_is_zero(void **state)
{
    (void)state;
    assert_int_equal(histogram_quantile(&h, 0.99), 0);
    assert_int_equal(histogram_count(&h), 0);
    assert_int_equal(histogram_below(&h, 36), 0);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    for (int64_t us = 1; us <= 100; us++) {
        histogram_add(&h, us);
    }
    assert_int_equal(histogram_quantile(&h, 0.0), 1);
    assert_int_equal(histogram_quantile(&h, 0.5), 50);
    assert_int_equal(histogram_quantile(&h, 0.99), 99);
    assert_int_equal(histogram_quantile(&h, 1.0), 100);
    assert_int_equal(h.sum_us, 5050);
}

static void a_quantile_is_hardly_too_high(void **state)
{
    (void)state;
    for (int64_t us = 1; us < INT64_C(1) << HISTOGRAM_MAX_BITS; us += us / 3 + 1) {
        assert_int_equal(clear(NULL), 0);
        histogram_add(&h, us);
        histogram_add(&h, (INT64_C(1) << HISTOGRAM_MAX_BITS) - 1);
        const int64_t got = histogram_quantile(&h, 0.5);

        assert_true(got >= us);
        assert_true(got - us <= us / 64);
    }
}

static void the_edges_are_counted(void **state)
{
    (void)state;
    histogram_add(&h, -5);
    histogram_add(&h, INT64_MAX);
    assert_int_equal(histogram_count(&h), 2);
    assert_int_equal(histogram_max(&h), (INT64_C(1) << HISTOGRAM_MAX_BITS) - 1);
    assert_int_equal(histogram_quantile(&h, 0.5), 0);
}

static void below_is_exact_at_powers_of_two(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < HISTOGRAM_MAX_BITS; bits++) {
        assert_int_equal(clear(NULL), 0);
        histogram_add(&h, (INT64_C(1) << bits) - 1);
        histogram_add(&h, INT64_C(1) << bits);
        assert_int_equal(histogram_below(&h, bits), 1);
        assert_int_equal(histogram_below(&h, HISTOGRAM_MAX_BITS), 2);
    }
}

static void merging_adds_all(void **state)
{
    (void)state;
    histogram_add(&h, 10);
    histogram_add(&other, 20);
    histogram_add(&other, 3000);
    histogram_merge(&h, &other);
    assert_int_equal(histogram_count(&h), 3);
    assert_int_equal(histogram_max(&h), 3000);
    assert_int_equal(histogram_quantile(&h, 0.6), 20);
    assert_int_equal(h.sum_us, 3030);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(empty_is_zero, clear),
        cmocka_unit_test_setup(small_values_are_exact, clear),
        cmocka_unit_test_setup(a_quantile_is_hardly_too_high, clear),
        cmocka_unit_test_setup(the_edges_are_counted, clear),
        cmocka_unit_test_setup(below_is_exact_at_powers_of_two, clear),
        cmocka_unit_test_setup(merging_adds_all, clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
