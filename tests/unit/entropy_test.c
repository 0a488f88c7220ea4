#include "common/entropy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void all_are_different(void **state)
{
    static uint64_t taken[2000]; /* of more than one store */

    (void)state;
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        assert_true(entropy_take(&taken[i], sizeof(taken[i])));
        for (size_t k = 0; k < i; k++) {
            assert_true(taken[k] != taken[i]);
        }
    }
}

static void any_length(void **state)
{
    unsigned char bytes[ENTROPY_MAX + 1];
    unsigned int ever = 0;

    (void)state;
    for (size_t len = 0; len <= ENTROPY_MAX; len++) {
        memset(bytes, 0, sizeof(bytes));
        assert_true(entropy_take(bytes, len));
        assert_int_equal(bytes[len], 0);
        for (size_t i = 0; i < len; i++) {
            ever |= bytes[i];
        }
    }
    assert_int_equal(ever, 0xff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_are_different),
        cmocka_unit_test(any_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
