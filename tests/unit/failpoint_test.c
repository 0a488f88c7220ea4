#include "common/failpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void a_failpoint_hits_once(void **state)
{
    (void)state;
    assert_int_equal(setenv("SECKILL_FAILPOINT", "here:2", 1), 0);
    failpoint_init();
    assert_false(failpoint_hit("elsewhere"));
    assert_false(failpoint_hit("here"));
    assert_true(failpoint_hit("here"));
    assert_false(failpoint_hit("here"));
    assert_int_equal(unsetenv("SECKILL_FAILPOINT"), 0);
    failpoint_init();
    assert_false(failpoint_hit("here"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failpoint_hits_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
