/*
 * Differences come out in the order of the log, however they were found.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h needs four of the above */
#include <cmocka.h>

#include "guardian/findings.h"

struct world {
    struct findings findings;
    struct report report;
};

static int set_up(void **state)
{
    *state = calloc(1, sizeof(struct world));
    return *state == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    report_fini(&w->report);
    free(w);
    return 0;
}

static void add(struct world *w, int64_t offset)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "at %" PRId64, offset);
    findings_add(&w->findings, offset, text);
}

static void the_earliest_comes_first(void **state)
{
    struct world *w = *state;
    const char *const wanted[] = {"zero", "five, a", "five, b", "nine", "nowhere"};

    findings_add(&w->findings, -1, "nowhere");
    findings_add(&w->findings, 5, "five, b");
    findings_add(&w->findings, 9, "nine");
    findings_add(&w->findings, 5, "five, a");
    findings_add(&w->findings, 0, "zero");
    findings_tell(&w->findings, &w->report);
    assert_int_equal(w->report.differences.n, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(w->report.differences.kept[i], wanted[i]);
    }
}

static void what_is_found_twice_is_one(void **state)
{
    struct world *w = *state;

    findings_add(&w->findings, 5, "five");
    findings_add(&w->findings, 5, "five");
    findings_add(&w->findings, 6, "five");
    findings_add(&w->findings, -1, "five");
    findings_add(&w->findings, -1, "five");
    findings_tell(&w->findings, &w->report);
    assert_int_equal(w->report.differences.n, 3);
}

static void the_first_ones_are_kept(void **state)
{
    struct world *w = *state;

    for (int64_t offset = REPORT_KEPT; offset >= 0; offset--) {
        add(w, offset);
    }
    add(w, REPORT_KEPT + 1);
    assert_int_equal(w->findings.n, REPORT_KEPT + 2);
    assert_int_equal(w->findings.n_kept, REPORT_KEPT);
    findings_tell(&w->findings, &w->report);
    assert_int_equal(w->report.differences.n, REPORT_KEPT + 2);
    assert_string_equal(w->report.differences.kept[0], "at 0");
    assert_string_equal(w->report.differences.kept[REPORT_KEPT - 1], "at 999");
}

static void one_partition_follows_the_other(void **state)
{
    struct world *w = *state;

    add(w, 7);
    findings_tell(&w->findings, &w->report);
    add(w, 3);
    findings_tell(&w->findings, &w->report);
    assert_int_equal(w->report.differences.n, 2);
    assert_string_equal(w->report.differences.kept[0], "at 7");
    assert_string_equal(w->report.differences.kept[1], "at 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_earliest_comes_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_found_twice_is_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_first_ones_are_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_partition_follows_the_other, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
