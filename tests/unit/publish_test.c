#include "producer/publish.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "producer/logclock.h"

static const struct publish_settings settings = {
    .linger_min_ms = 0, .linger_max_ms = 5, .batch = 500};

static void lingering_follows_the_load(void **state)
{
    (void)state;
    assert_int_equal(publish_linger_ms(&settings, 0), 0);
    assert_int_equal(publish_linger_ms(&settings, 100), 0);    /* nobody would come */
    assert_int_equal(publish_linger_ms(&settings, 1000), 5);   /* five would */
    assert_int_equal(publish_linger_ms(&settings, 100000), 5); /* a batch takes that long */
    assert_int_equal(publish_linger_ms(&settings, 250000), 2); /* it is full sooner */
}

static void lingering_stays_in_its_bounds(void **state)
{
    struct publish_settings s = settings;

    (void)state;
    s.linger_min_ms = 3;
    for (int64_t rate = 0; rate < 10000000; rate = rate * 2 + 1) {
        const int64_t linger_ms = publish_linger_ms(&s, rate);

        assert_true(linger_ms >= 3 && linger_ms <= 5);
    }
    s.linger_min_ms = s.linger_max_ms = 0;
    assert_int_equal(publish_linger_ms(&s, 1000000), 0);
}

static void the_logs_clock(void **state)
{
    struct logclock c = {.is_known = false};

    (void)state;
    assert_int_equal(logclock_now(&c, 50, 1000), 1000); /* the wall clock stands in */
    logclock_learn(&c, -1, 50);
    assert_int_equal(logclock_now(&c, 50, 1000), 1000);
    logclock_learn(&c, 9000, 60);
    assert_int_equal(logclock_now(&c, 70, 1000), 9010);
    logclock_learn(&c, 9000, 160); /* heard late: hardly moves it */
    assert_in_range(logclock_now(&c, 70, 1000), 9008, 9010);
    logclock_learn(&c, 9200, 200);
    assert_int_equal(logclock_now(&c, 200, 1000), 9200);
}

static void a_brokers_clock_set_back_is_followed(void **state)
{
    struct logclock c = {.is_known = false};

    (void)state;
    logclock_learn(&c, 3600000, 0);
    for (int i = 0; i < 2000; i++) {
        logclock_learn(&c, 0, 0);
    }
    assert_in_range(logclock_now(&c, 0, 0), 0, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lingering_follows_the_load),
        cmocka_unit_test(lingering_stays_in_its_bounds),
        cmocka_unit_test(the_logs_clock),
        cmocka_unit_test(a_brokers_clock_set_back_is_followed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
