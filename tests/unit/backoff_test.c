#include "common/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void stays_between_half_and_the_ceiling(void **state)
{
    struct backoff b = BACKOFF_INIT(100, 1000);
    const int64_t ceilings[] = {100, 200, 400, 800, 1000, 1000};

    (void)state;
    for (size_t i = 0; i < sizeof(ceilings) / sizeof(*ceilings); i++) {
        struct backoff low = b;
        struct backoff high = b;

        assert_int_equal(backoff_next(&low, 0), ceilings[i] / 2);
        assert_int_equal(backoff_next(&high, (uint32_t)(ceilings[i] - ceilings[i] / 2)),
                         ceilings[i]);
        const int64_t any = backoff_next(&b, 0xdeadbeef);

        assert_in_range(any, ceilings[i] / 2, ceilings[i]);
    }
    backoff_reset(&b);
    assert_in_range(backoff_next(&b, UINT32_MAX), 50, 100);
}

static void never_overflows(void **state)
{
    struct backoff b = BACKOFF_INIT(1, INT64_MAX);

    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_true(backoff_next(&b, UINT32_MAX) >= 0);
    }
}

static void a_constant_delay_is_fine(void **state)
{
    struct backoff b = BACKOFF_INIT(1, 1);

    (void)state;
    assert_in_range(backoff_next(&b, 0), 0, 1);
    assert_in_range(backoff_next(&b, 1), 0, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stays_between_half_and_the_ceiling),
        cmocka_unit_test(never_overflows),
        cmocka_unit_test(a_constant_delay_is_fine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
