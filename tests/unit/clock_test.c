#include "common/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void runs_forwards(void **state)
{
    (void)state;
    const int64_t before = clock_mono_us();

    assert_true(clock_mono_us() >= before);
    assert_true(clock_mono_ms() >= before / 1000);
    assert_true(clock_wall_ms() > INT64_C(1600000000000));
}

static void shows_what_a_test_pretends(void **state)
{
    struct clock_hands hands = {.mono_us = 1999, .wall_ms = 42};

    (void)state;
    clock_pretend(&hands);
    assert_int_equal(clock_mono_us(), 1999);
    assert_int_equal(clock_mono_ms(), 1);
    assert_int_equal(clock_wall_ms(), 42);
    hands.mono_us = 2000;
    assert_int_equal(clock_mono_ms(), 2);
    clock_pretend(NULL);
    assert_true(clock_wall_ms() > 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_forwards),
        cmocka_unit_test(shows_what_a_test_pretends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
