/*
 * What verify knows of orders that Redis does not hold: the last word of the log on each counts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>

#include "guardian/forgotten.h"

#define ORDER "00000000-0000-7000-8000-000000000001"
#define KEY   ORDER " ann phone"

static struct fold_decision decision(enum fold_memory memory, int64_t offset)
{
    return (struct fold_decision){
        .memory = memory,
        .order_id = SLICE_LIT(ORDER),
        .item_id = SLICE_LIT("phone"),
        .user_id = SLICE_LIT("ann"),
        .qty = 2,
        .offset = offset,
        .state = ORDER_REJECTED,
        .reason = REASON_SOLD_OUT,
    };
}

static void note(struct forgotten *f, enum fold_memory memory, int64_t offset)
{
    const struct fold_decision d = decision(memory, offset);

    forgotten_note(&d, f);
}

static enum forgotten_answer compare(struct forgotten *f, const char *key, const char *value)
{
    return forgotten_compare(f, slice_str(key), slice_str(value));
}

static void rows_are_compared_with_the_last_decision(void **state)
{
    struct forgotten *f = forgotten_create();
    int64_t offset = -1;

    (void)state;
    assert_int_equal(compare(f, KEY, "2 R 1 0 0 7"), FORGOTTEN_UNKNOWN);
    note(f, FOLD_FORGOTTEN, 7);
    assert_int_equal(forgotten_lacking(f, &offset), 1);
    assert_int_equal(offset, 7);
    assert_int_equal(compare(f, KEY, "2 R 1 0 0 7"), FORGOTTEN_SAME);
    assert_int_equal(forgotten_lacking(f, &offset), 0);
    assert_int_equal(compare(f, KEY, "3 R 1 0 0 7"), FORGOTTEN_DIFFERENT);
    assert_int_equal(compare(f, KEY, "2 R 1 2 0 7"), FORGOTTEN_DIFFERENT);
    assert_int_equal(compare(f, ORDER " bob phone", "2 R 1 0 0 7"), FORGOTTEN_UNKNOWN);
    note(f, FOLD_FORGOTTEN, 9);
    assert_int_equal(compare(f, KEY, "2 R 1 0 0 9"), FORGOTTEN_SAME);
    note(f, FOLD_ARCHIVED, 11);
    assert_int_equal(compare(f, KEY, "2 R 1 2 0 11"), FORGOTTEN_SAME);
    note(f, FOLD_REFUSED, 12); /* no decision where there is one */
    assert_int_equal(compare(f, KEY, "2 R 1 2 0 11"), FORGOTTEN_SAME);
    forgotten_clear(f);
    note(f, FOLD_REFUSED, 12);
    assert_int_equal(compare(f, KEY, "2 R 1 0 0 12"), FORGOTTEN_SAME);
    forgotten_destroy(f);
}

static void what_is_remembered_after_all_is_not_forgotten(void **state)
{
    struct forgotten *f = forgotten_create();
    int64_t offset = -1;

    (void)state;
    note(f, FOLD_REMEMBERED, 6);
    note(f, FOLD_FORGOTTEN, 7);
    note(f, FOLD_REMEMBERED, 8);
    assert_int_equal(compare(f, KEY, "2 R 1 0 0 7"), FORGOTTEN_UNKNOWN);
    assert_int_equal(forgotten_lacking(f, &offset), 0);
    forgotten_destroy(f);
}

static void count_due(uint64_t hash, void *arg)
{
    size_t *n = arg;

    *n += hash == forgotten_hash(SLICE_LIT("1234 7 " ORDER " ann")) ? 1 : 100;
}

static void what_is_archived_may_still_be_due(void **state)
{
    struct forgotten *f = forgotten_create();
    struct fold_decision d = decision(FOLD_ARCHIVED, 7);
    size_t n = 0;

    (void)state;
    assert_int_equal(forgotten_changed(f, SLICE_LIT(KEY)), -1);
    note(f, FOLD_FORGOTTEN, 6);
    forgotten_each_due(f, count_due, &n);
    assert_int_equal(n, 0);
    d.due = 1234;
    d.at = 9;
    forgotten_note(&d, f);
    forgotten_each_due(f, count_due, &n);
    assert_int_equal(n, 1);
    assert_int_equal(forgotten_changed(f, SLICE_LIT(KEY)), 9);
    forgotten_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_compared_with_the_last_decision),
        cmocka_unit_test(what_is_remembered_after_all_is_not_forgotten),
        cmocka_unit_test(what_is_archived_may_still_be_due),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
