/*
 * A Redis that stands elsewhere than the part thinks: it starts there, or the other went on or back.
 */
#include "matcher/part.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/part_world.h"

static void test_starts_at_the_watermark(void **state)
{
    struct world *w = *state;

    begin(w, 20);
    pass(w, 2000);
    assert_int_equal(w->n_outbox, 0);
    part_destroy(w->part);
    w->part = part_create(&w->settings, 0);
    keep_told(w, 0);
    append_orders(w, 2);
    part_assign(w->part, w->now);
    settle(w);
    assert_int_equal(w->fetch, 24);
    assert_int_equal(w->watermark, 23);
    assert_int_equal(w->n_told, 2); /* only what is new */
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(w->told[i].offset, 22 + (int64_t)i);
    }
}

static void test_tells_what_the_outbox_holds(void **state)
{
    struct world *w = *state;

    w->can = PART_CAN_CALL;
    begin(w, 20);
    assert_int_equal(w->n_told, 0);
    assert_int_equal(w->watermark, 21);
    part_destroy(w->part);
    w->part = part_create(&w->settings, 0);
    w->can |= PART_CAN_PUBLISH;
    part_assign(w->part, w->now);
    settle(w);
    check_well(w);
    assert_int_equal(w->n_told, 22);
    assert_int_equal(part_counted(w->part)->republished, 22);
}

static void test_outbox_in_the_middle(void **state)
{
    struct world *w = *state;

    begin(w, 20);
    pass(w, 1100);
    w->can = PART_CAN_CALL;
    append_orders(w, 20);
    pass(w, 100);
    assert_int_equal(w->outbox[0].prev, 21);
    part_destroy(w->part);
    w->part = part_create(&w->settings, 0);
    w->can |= PART_CAN_PUBLISH;
    keep_told(w, 22);
    append_orders(w, 3);
    part_assign(w->part, w->now);
    pass(w, 100);
    check_well(w);
}

static void test_another_owner_went_on(void **state)
{
    struct world *w = *state;
    struct part *other = part_create(&w->settings, 0);
    struct part *zombie = w->part;
    int64_t fetch;

    begin(w, 5);
    fetch = w->fetch;
    append_orders(w, 10);
    w->part = other;
    w->fetch = -1;
    part_assign(other, w->now);
    pass(w, 200);
    check_well(w);
    w->part = zombie;
    w->fetch = fetch;
    keep_told(w, 0);
    pass(w, 2000);
    assert_true(part_counted(zombie)->mismatches > 0);
    append_orders(w, 3);
    pass(w, 2000);
    assert_int_equal(w->watermark, log_end(w));
    assert_int_equal(w->halt, PART_HALT_NONE);
    part_destroy(other);
}

static void test_redis_goes_back(void **state)
{
    struct world *w = *state;

    begin(w, 20);
    fall_back(w, 10, 8);
    pass(w, 2500); /* noticed by the idle check, without traffic */
    check_well(w);
    assert_int_equal(part_counted(w->part)->mismatches, 1);
}

static void test_acked_is_forgotten_with_the_position(void **state)
{
    struct world *w = *state;

    begin(w, 20);
    pass(w, 2000);
    w->holds_acks = true;
    fall_back(w, 10, 8);
    pass(w, 4000);
    /* Told again, not acknowledged again: what was acknowledged before says nothing about now. */
    assert_int_equal(w->outbox[0].prev, 8);
    w->holds_acks = false;
    pass(w, 2000);
    check_well(w);
    assert_int_equal(w->n_outbox, 0);
}

static void test_older_outbox_at_the_same_watermark(void **state)
{
    struct world *w = *state;

    begin(w, 20);
    pass(w, 2000);
    part_destroy(w->part);
    w->part = part_create(&w->settings, 0);
    part_assign(w->part, w->now);
    settle(w);
    keep_told(w, 0);
    fall_back(w, 21, -1); /* the one before us trimmed these; perhaps nobody else told them */
    pass(w, 2500);
    check_well(w);
}

static void test_flushed(void **state)
{
    struct world *w = *state;

    begin(w, 20);
    flush_redis(w);
    pass(w, 4000);
    check_well(w);
}

static void test_bad_states_halt(void **state)
{
    struct world *w = *state;

    begin(w, 5);
    w->can = PART_CAN_CALL;
    append_orders(w, 3);
    pass(w, 100);
    memcpy(w->outbox[w->n_outbox - 1].text, "9999", 4);
    part_destroy(w->part);
    w->part = part_create(&w->settings, 0);
    part_assign(w->part, w->now);
    settle(w);
    assert_int_equal(w->halt, PART_HALT_STATE);
}

static void test_evicting_redis_halts_what_is_ours(void **state)
{
    struct world *w = *state;

    part_evicting(w->part, "it evicts");
    settle(w);
    assert_int_equal(w->halt, PART_HALT_NONE); /* not ours yet */
    begin(w, 2);
    part_evicting(w->part, "it evicts");
    part_evicting(w->part, "again");
    settle(w);
    assert_int_equal(w->halt, PART_HALT_EVICTING);
    assert_string_equal(w->why, "it evicts");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_starts_at_the_watermark),
        TEST(test_tells_what_the_outbox_holds),
        TEST(test_outbox_in_the_middle),
        TEST(test_another_owner_went_on),
        TEST(test_redis_goes_back),
        TEST(test_acked_is_forgotten_with_the_position),
        TEST(test_older_outbox_at_the_same_watermark),
        TEST(test_flushed),
        TEST(test_bad_states_halt),
        TEST(test_evicting_redis_halts_what_is_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
