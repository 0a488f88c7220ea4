/*
 * Nothing in Redis, or older than what the log still has: a part waits for the rebuild.
 */
#include "matcher/part.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/part_world.h"

static void wipe(struct world *w, const char *absence)
{
    flush_redis(w);
    w->absence = absence;
}

/* What a rebuild leaves: the state at a position, and no outbox. */
static void rebuilt(struct world *w, int64_t watermark)
{
    drop_outbox(w, INT64_MAX);
    w->is_there = true;
    w->watermark = watermark;
    w->absence = NULL;
}

static void assert_waits(struct world *w, enum part_wait why)
{
    assert_int_equal(w->halt, PART_HALT_NONE);
    assert_string_equal(part_wait_name(look(w).wait), part_wait_name(why));
    assert_int_equal(look(w).is_steady, why == PART_WAIT_NONE);
}

static void test_waits_while_somebody_rebuilds(void **state)
{
    struct world *w = *state;

    append_genesis(w);
    append_sale(w, 3600000);
    append_orders(w, 8);
    w->absence = "rebuild";
    part_assign(w->part, w->now);
    settle(w);
    assert_waits(w, PART_WAIT_REBUILD);
    pass(w, 5000);
    assert_waits(w, PART_WAIT_REBUILD);
    assert_int_equal(w->reads, 6); /* once a second */
    assert_int_equal(w->applies, 0);
    assert_int_equal(w->fetches, 0);
    rebuilt(w, 4);
    pass(w, 1100);
    assert_waits(w, PART_WAIT_NONE);
    assert_int_equal(w->watermark, log_end(w));
    assert_int_equal(w->told[0].offset, 5);
}

static void test_a_rebuild_under_a_live_part(void **state)
{
    struct world *w = *state;

    begin(w, 6);
    pass(w, 2000);
    wipe(w, "rebuild");
    append_orders(w, 2);
    settle(w);
    pass(w, 1100);
    assert_waits(w, PART_WAIT_REBUILD);
    append_orders(w, 2);
    pass(w, 3000);
    assert_waits(w, PART_WAIT_REBUILD);
    rebuilt(w, 3);
    pass(w, 1100);
    assert_waits(w, PART_WAIT_NONE);
    check_well(w); /* what was told again has the same bytes */
}

static void test_a_rebuild_that_was_dropped(void **state)
{
    struct world *w = *state;

    append_genesis(w);
    append_orders(w, 3);
    w->absence = "rebuild";
    part_assign(w->part, w->now);
    settle(w);
    w->absence = NULL; /* MySQL had nothing either */
    pass(w, 900);
    assert_waits(w, PART_WAIT_REBUILD);
    pass(w, 2200);
    check_well(w);
}

static void test_keys_without_a_watermark(void **state)
{
    struct world *w = *state;

    append_genesis(w);
    append_orders(w, 3);
    w->absence = "keys";
    part_assign(w->part, w->now);
    settle(w);
    pass(w, 950);
    assert_int_equal(look(w).wait, PART_WAIT_NONE); /* once is not enough */
    pass(w, 100);
    assert_waits(w, PART_WAIT_KEYS);
    pass(w, 3000);
    assert_int_equal(w->applies, 0);
    w->absence = "rebuild";
    pass(w, 1100);
    assert_waits(w, PART_WAIT_REBUILD);
    rebuilt(w, 2);
    pass(w, 1100);
    assert_waits(w, PART_WAIT_NONE);
    assert_int_equal(w->watermark, log_end(w));
}

static void test_nothing_there_and_the_head_is_gone(void **state)
{
    struct world *w = *state;

    append_genesis(w);
    append_sale(w, 3600000);
    append_orders(w, 8);
    w->trimmed = 4;
    part_assign(w->part, w->now);
    pass(w, 1100);
    assert_waits(w, PART_WAIT_HEAD);
    pass(w, 5000);
    assert_waits(w, PART_WAIT_HEAD);
    assert_int_equal(w->applies, 0);
    assert_int_equal(w->ranges, 1); /* the log is not asked again */
    rebuilt(w, 4);
    pass(w, 1100);
    assert_waits(w, PART_WAIT_NONE);
    assert_int_equal(w->watermark, log_end(w));
}

static void test_nothing_there_and_all_is_trimmed(void **state)
{
    struct world *w = *state;

    append_genesis(w);
    append_orders(w, 2);
    w->trimmed = 3;
    part_assign(w->part, w->now);
    pass(w, 1100);
    assert_waits(w, PART_WAIT_HEAD);
    w->trimmed = 0; /* another log: the broker connection is new */
    part_recheck(w->part);
    pass(w, 2100);
    check_well(w);
}

static void test_redis_is_from_before_the_head(void **state)
{
    struct world *w = *state;

    begin(w, 8);
    pass(w, 2000);
    part_revoke(w->part);
    drop_outbox(w, INT64_MAX);
    w->watermark = 2;
    w->trimmed = 5;
    part_assign(w->part, w->now);
    w->no_delivery = true;
    settle(w);
    w->no_delivery = false;
    part_stuck(w->part, true, "out of range", w->now);
    settle(w);
    assert_waits(w, PART_WAIT_HEAD);
    pass(w, 4000);
    assert_waits(w, PART_WAIT_HEAD);
    assert_int_equal(w->ranges, 2); /* the one at the start, and the one that told */
    rebuilt(w, 5);
    pass(w, 1100);
    check_well(w);
}

/* The outcomes that the outbox is for have been lost with their commands; the state has not. */
static void test_the_outbox_is_from_before_the_head(void **state)
{
    struct world *w = *state;
    int64_t at;

    w->holds_acks = true;
    begin(w, 8);
    pass(w, 2000);
    at = w->watermark;
    part_revoke(w->part);
    w->trimmed = at;
    part_assign(w->part, w->now);
    pass(w, 1100);
    assert_waits(w, PART_WAIT_HEAD);
    rebuilt(w, at);
    w->holds_acks = false;
    append_orders(w, 2);
    pass(w, 1100);
    assert_waits(w, PART_WAIT_NONE);
    assert_int_equal(w->watermark, log_end(w));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_waits_while_somebody_rebuilds),
        TEST(test_a_rebuild_under_a_live_part),
        TEST(test_a_rebuild_that_was_dropped),
        TEST(test_keys_without_a_watermark),
        TEST(test_nothing_there_and_the_head_is_gone),
        TEST(test_nothing_there_and_all_is_trimmed),
        TEST(test_redis_is_from_before_the_head),
        TEST(test_the_outbox_is_from_before_the_head),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
