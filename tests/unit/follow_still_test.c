#include "guardian/follow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const int64_t S = 1000;

static struct follow loaded(void)
{
    struct follow f;

    follow_init(&f, 0, 1, 2 * S);
    assert_int_equal(follow_loaded(&f, &PROGRESS_NONE, 0), FOLLOW_SEEK);
    return f;
}

static void what_is_there_and_does_not_come(void **state)
{
    struct follow f = loaded();

    (void)state;
    assert_false(follow_stands_still(&f, 5, 100 * S)); /* it may be on its way */
    assert_false(follow_stands_still(&f, 6, 109 * S));
    assert_true(follow_stands_still(&f, 7, 110 * S));
    assert_false(follow_stands_still(&f, 7, 111 * S)); /* an assignment takes its time */
    assert_false(follow_stands_still(&f, 7, 129 * S));
    assert_true(follow_stands_still(&f, 7, 130 * S));
    assert_int_equal(follow_garbage(&f, 0, 131 * S), FOLLOW_NOTHING);
    assert_false(follow_stands_still(&f, 7, 132 * S));
    assert_true(follow_stands_still(&f, 7, 142 * S));
}

static void what_comes_is_not_still(void **state)
{
    struct follow f = loaded();

    (void)state;
    assert_false(follow_stands_still(&f, 5, 100 * S));
    assert_int_equal(follow_garbage(&f, 0, 105 * S), FOLLOW_NOTHING);
    assert_false(follow_stands_still(&f, 5, 110 * S));
    assert_int_equal(follow_garbage(&f, 4, 111 * S), FOLLOW_NOTHING);
    assert_false(follow_stands_still(&f, 5, 125 * S)); /* that was all */
    assert_false(follow_stands_still(&f, 6, 140 * S)); /* one more, just now */
    assert_true(follow_stands_still(&f, 6, 150 * S));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_there_and_does_not_come),
        cmocka_unit_test(what_comes_is_not_still),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
