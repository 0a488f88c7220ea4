/*
 * What a part does when nothing goes wrong: batches, outcomes told and acknowledged, ticks.
 */
#include "matcher/part.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/part_world.h"

/* ---- the ordinary way ---- */

static void test_starts_from_genesis(void **state)
{
    struct world *w = *state;

    append_genesis(w);
    append_sale(w, 3600000);
    append_orders(w, 20);
    part_assign(w->part, w->now);
    settle(w);
    assert_int_equal(w->reads, 1);
    assert_int_equal(w->applies, 0); /* nothing there once is not enough */
    pass(w, 950);
    assert_int_equal(w->reads, 1);
    pass(w, 100);
    assert_int_equal(w->reads, 2);
    check_well(w);
    assert_int_equal(w->n_told, 22); /* each once */
    assert_int_equal(w->fetch, 22);
}

static void test_waits_for_the_first_record(void **state)
{
    struct world *w = *state;

    part_assign(w->part, w->now);
    pass(w, 5000);
    assert_int_equal(w->applies, 0);
    append_genesis(w);
    append_sale(w, 1000);
    pass(w, 100);
    check_well(w);
}

static void test_idle_trims_the_outbox(void **state)
{
    struct world *w = *state;

    begin(w, 10);
    pass(w, 1100);
    assert_int_equal(w->n_outbox, 0);
    assert_true(w->empty_applies > 0);
    w->empty_applies = 0;
    pass(w, 10000);
    assert_in_range(w->empty_applies, 9, 11); /* once a second */
}

static void test_acked_is_contiguous(void **state)
{
    struct world *w = *state;

    w->holds_acks = true;
    begin(w, 10);
    pass(w, 1100);
    assert_int_equal(w->n_outbox, 2);
    /* All but the first: nothing may be dropped. */
    for (size_t i = 1; i < w->n_told; i++) {
        part_acked(w->part, w->told[i].seq, PART_OUTCOME);
    }
    pass(w, 2000);
    assert_int_equal(w->n_outbox, 2);
    part_acked(w->part, w->told[0].seq, PART_OUTCOME);
    pass(w, 2000);
    assert_int_equal(w->n_outbox, 0);
}

static void test_batches_are_cut_at_mark_and_rules(void **state)
{
    struct world *w = *state;

    append_genesis(w);
    append_sale(w, 3600000);
    append(w, "{\"type\":\"mark\",\"run_id\":\"r\"}");
    append_orders(w, 3);
    append(w, "{\"type\":\"rules\",\"rules\":1}");
    append_orders(w, 9);
    w->holds_acks = true;
    part_assign(w->part, w->now);
    pass(w, 1500);
    assert_int_equal(w->n_outbox, 5);
    assert_int_equal(w->outbox[0].to, 1);
    assert_int_equal(w->outbox[1].to, 2);
    assert_int_equal(w->outbox[2].to, 6);
    assert_int_equal(w->outbox[3].to, 14);
    assert_int_equal(w->outbox[4].to, 15);
}

static void test_malformed_goes_to_dead_first(void **state)
{
    struct world *w = *state;

    begin(w, 1);
    w->holds_acks = true;
    keep_told(w, 0);
    append(w, "{nonsense");
    pass(w, 100);
    assert_int_equal(w->n_told, 2);
    assert_int_equal(w->told[0].kind, PART_DEAD);
    assert_string_equal(w->told[0].value, "{nonsense");
    assert_int_equal(w->told[1].kind, PART_OUTCOME);
    part_acked(w->part, w->told[1].seq, PART_OUTCOME);
    pass(w, 2100);
    assert_int_equal(w->n_outbox, 1); /* not acknowledged before its dead letter is */
    part_acked(w->part, w->told[0].seq, PART_DEAD);
    pass(w, 2100);
    assert_int_equal(w->n_outbox, 0);
}

/* ---- telling ---- */

static void test_go_back_n(void **state)
{
    struct world *w = *state;
    size_t n;

    begin(w, 4);
    w->holds_acks = true;
    append_orders(w, 6);
    pass(w, 100);
    n = w->n_told;
    assert_int_equal(n, 12);
    part_acked(w->part, w->told[6].seq, PART_OUTCOME);
    part_acked(w->part, w->told[9].seq, PART_OUTCOME); /* its forerunners failed */
    part_resend(w->part);
    settle(w);
    assert_int_equal(w->n_told, n + 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(w->told[n + i].offset, 7 + (int64_t)i);
    }
    part_acked(w->part, w->told[n].seq, PART_OUTCOME);
    part_acked(w->part, w->told[n + 1].seq, PART_OUTCOME);
    assert_int_equal(look(w).unacked, 3); /* the early acknowledgement does not count any more */
    w->holds_acks = false;
    pass(w, 2000);
    assert_int_equal(w->n_outbox, 0);
    check_well(w);
}

static void test_late_reports_are_ignored(void **state)
{
    struct world *w = *state;

    w->holds_acks = true;
    begin(w, 10);
    part_revoke(w->part);
    part_assign(w->part, w->now);
    settle(w);
    /* Reports on what was told before the revocation say nothing about what is told now. */
    for (size_t i = 0; i < 12; i++) {
        part_acked(w->part, w->told[i].seq, PART_OUTCOME);
    }
    pass(w, 2000);
    assert_int_equal(w->n_outbox, 2);
    w->holds_acks = false;
    pass(w, 2000);
    check_well(w);
}

static void test_drain(void **state)
{
    struct world *w = *state;

    begin(w, 4);
    w->holds_calls = true;
    w->holds_acks = true;
    append_orders(w, 20);
    settle(w);
    part_drain(w->part);
    assert_false(part_is_quiet(w->part));
    w->holds_calls = false;
    answer_apply(w, w->pending, false);
    w->pending = NULL;
    pass(w, 3000);
    assert_false(part_is_quiet(w->part)); /* told, not acknowledged */
    ack_all(w);
    settle(w);
    assert_true(part_is_quiet(w->part));
    assert_int_equal(w->watermark, 13); /* the batch under way and no other */
}

/* ---- ticks ---- */

static void test_ticks_expire_holds(void **state)
{
    struct world *w = *state;

    append_genesis(w);
    append_sale(w, 2000);
    append_orders(w, 3);
    part_assign(w->part, w->now);
    pass(w, 1500);
    assert_int_equal(w->ticks, 0);
    pass(w, 1000);
    assert_int_equal(w->ticks, 1);
    assert_int_equal(part_counted(w->part)->events[EVENT_EXPIRED], 3);
    pass(w, 60000);
    assert_int_equal(w->ticks, 1); /* nothing is due any more */
    check_well(w);
}

static void test_ticks_back_off(void **state)
{
    struct world *w = *state;
    int early;

    append_genesis(w);
    append_sale(w, 2000);
    append_orders(w, 3);
    part_assign(w->part, w->now);
    pass(w, 1500);
    /* A broker whose clock stands still: ticks change nothing. */
    for (int i = 0; i < 1200; i++) {
        w->now.mono_ms += 50;
        settle(w);
        if (i == 39) {
            early = w->ticks;
            assert_in_range(early, 3, 4);
        }
    }
    assert_in_range(w->ticks, 10, 20); /* 60 s: 250 ms doubling to 5 s */
}

static void test_old_holds_tick_at_once(void **state)
{
    struct world *w = *state;

    append_genesis(w);
    append_sale(w, 2000);
    append_orders(w, 3);
    part_assign(w->part, w->now);
    pass(w, 1500);
    part_revoke(w->part);
    w->now.wall_ms += 3600000;
    w->now.mono_ms += 3600000;
    part_assign(w->part, w->now);
    pass(w, 200);
    assert_int_equal(w->ticks, 1);
    check_well(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_starts_from_genesis),
        TEST(test_waits_for_the_first_record),
        TEST(test_idle_trims_the_outbox),
        TEST(test_acked_is_contiguous),
        TEST(test_batches_are_cut_at_mark_and_rules),
        TEST(test_malformed_goes_to_dead_first),
        TEST(test_go_back_n),
        TEST(test_late_reports_are_ignored),
        TEST(test_drain),
        TEST(test_ticks_expire_holds),
        TEST(test_ticks_back_off),
        TEST(test_old_holds_tick_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
