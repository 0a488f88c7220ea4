#include "producer/observation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { PARTITIONS = 4 };

static void a_line_is_read(void **state)
{
    struct observation o;

    (void)state;
    assert_true(observation_parse(SLICE_LIT("decision 2 35 120"), PARTITIONS, &o));
    assert_true(o.side == LIMITER_DECISION && o.partition == 2 && o.took_ms == 35 &&
                o.orders == 120);
    assert_true(observation_parse(SLICE_LIT("kafka 0 0 1"), PARTITIONS, &o));
    assert_true(o.side == LIMITER_KAFKA && o.partition == 0 && o.took_ms == 0 && o.orders == 1);
    assert_true(observation_parse(SLICE_LIT("kafka 3 3600000 1000000"), PARTITIONS, &o));
    assert_true(o.partition == 3 && o.took_ms == 3600000 && o.orders == 1000000);
}

static void what_is_no_line_changes_nothing(void **state)
{
    static const char *const wrong[] = {
        "",
        " ",
        "decision",
        "decision 2",
        "decision 2 35",
        "decision 2 35 ",
        "decision 2 35 120 ",
        "decision 2 35 120 7",
        "decision  2 35 120",
        " decision 2 35 120",
        "Decision 2 35 120",
        "decisions 2 35 120",
        "redis 2 35 120",
        "decision 4 35 120",
        "decision -1 35 120",
        "decision 2 -1 120",
        "decision 2 3600001 120",
        "decision 2 35 0",
        "decision 2 35 1000001",
        "decision 2 35 fifty",
        "decision 02 35 120",
        "decision 2 35 120\r",
        "decision\t2\t35\t120",
    };
    struct observation o = {.orders = 77};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(observation_parse(slice_str(wrong[i]), PARTITIONS, &o));
    }
    assert_false(observation_parse(SLICE_LIT("decision 2 35 120\0"), PARTITIONS, &o));
    assert_false(observation_parse((struct slice){NULL, 0}, PARTITIONS, &o));
    assert_int_equal(o.orders, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_read),
        cmocka_unit_test(what_is_no_line_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
