/*
 * Replies of Redis that do not come, come late, refuse, or cannot be true.
 */
#include "matcher/part.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/part_world.h"

/* ---- replies that do not come ---- */

static void test_reply_lost_before_execution(void **state)
{
    struct world *w = *state;
    struct copied *first;

    begin(w, 5);
    w->holds_calls = true;
    append_orders(w, 3);
    settle(w);
    first = w->pending;
    w->pending = NULL;
    assert_non_null(first);
    part_unanswered(w->part, first->call, false, w->now);
    append_orders(w, 3);
    pass(w, 100);
    /* The same batch, though more is there by now. */
    assert_int_equal(first->n, w->pending->n);
    for (size_t i = KEYS + 1; i < first->n; i++) {
        if (i != KEYS + 7) { /* acked may have grown */
            assert_string_equal(first->words[i], w->pending->words[i]);
        }
    }
    w->holds_calls = false;
    answer_apply(w, w->pending, false);
    w->pending = NULL;
    pass(w, 100);
    check_well(w);
    /* The first one runs after all: the compare-and-set refuses it, and its answer is nobody's. */
    answer_apply(w, first, false);
    pass(w, 100);
    check_well(w);
    assert_int_equal(part_counted(w->part)->mismatches, 0);
}

static void test_reply_lost_after_execution(void **state)
{
    struct world *w = *state;

    begin(w, 5);
    w->holds_calls = true;
    append_orders(w, 12);
    settle(w);
    w->holds_calls = false;
    answer_apply(w, w->pending, true);
    w->pending = NULL;
    pass(w, 500);
    check_well(w);
    assert_int_equal(part_counted(w->part)->mismatches, 1);
    assert_true(part_counted(w->part)->republished > 0);
}

static void test_refused_batches_are_tried_again(void **state)
{
    struct world *w = *state;

    begin(w, 2);
    w->holds_calls = true;
    append_orders(w, 2);
    settle(w);
    for (int i = 0; i < 20; i++) {
        const int before = w->applies;

        part_unanswered(w->part, w->pending->call, true, w->now);
        free_call(w->pending);
        w->pending = NULL;
        pass(w, 1000);
        assert_int_equal(w->applies, before + 1);
    }
    w->holds_calls = false;
    answer_apply(w, w->pending, false);
    w->pending = NULL;
    pass(w, 100);
    check_well(w);
}

/* Out of memory Redis still takes what adds nothing, so what is acknowledged makes room. */
static void test_refused_batches_let_the_outbox_be_trimmed(void **state)
{
    struct world *w = *state;

    begin(w, 2);
    assert_int_equal(w->n_outbox, 1);
    w->holds_calls = true;
    append_orders(w, 2);
    settle(w);
    part_unanswered(w->part, w->pending->call, true, w->now);
    free_call(w->pending);
    w->pending = NULL;
    w->empty_applies = 0;
    pass(w, 1000);
    assert_int_equal(w->empty_applies, 1);
    w->holds_calls = false;
    answer_apply(w, w->pending, false);
    w->pending = NULL;
    assert_int_equal(w->n_outbox, 0);
    pass(w, 100);
    check_well(w);
}

static void test_full_waits_for_acknowledgements(void **state)
{
    struct world *w = *state;

    w->settings.outbox_max = 2;
    w->holds_acks = true;
    begin(w, 30);
    assert_int_equal(w->n_outbox, 2);
    assert_int_equal(w->watermark, 15);
    pass(w, 5000);
    assert_in_range(part_counted(w->part)->full, 4, 8); /* asked about once a second */
    ack_all(w);
    w->holds_acks = false;
    settle(w); /* at once, not after the second */
    check_well(w);
}

/* Kafka's metadata come anew while outcomes wait: what is on its way still counts. */
static void test_full_is_not_read_anew(void **state)
{
    struct world *w = *state;
    int reads;

    w->settings.outbox_max = 2;
    w->holds_acks = true;
    begin(w, 30);
    assert_int_equal(w->n_outbox, 2);
    reads = w->reads;
    part_recheck(w->part);
    pass(w, 5000);
    assert_int_equal(w->reads, reads);
    ack_all(w);
    w->holds_acks = false;
    pass(w, 2000);
    check_well(w);
}

static void test_unacked_outcomes_are_bounded(void **state)
{
    struct world *w = *state;

    w->settings.unacked_max = 10;
    w->holds_acks = true;
    begin(w, 30);
    assert_int_equal(look(w).unacked, 10);
    w->holds_acks = false;
    pass(w, 500);
    check_well(w);
}

static void test_reading_ahead_is_bounded(void **state)
{
    struct world *w = *state;

    begin(w, 1);
    w->can = 0;
    append_orders(w, 100);
    pass(w, 1000);
    assert_int_equal(look(w).unapplied, 64);
    w->can = PART_CAN_CALL | PART_CAN_PUBLISH;
    pass(w, 1000);
    check_well(w);
}

/* ---- replies that cannot be true ---- */

static void test_script_failures_halt(void **state)
{
    struct world *w = *state;

    begin(w, 2);
    w->holds_calls = true;
    append_order(w, 3);
    settle(w);
    part_applied(w->part, w->pending->call, SLICE_LIT("ok 99 5 0 - 0\n"), w->now);
    settle(w);
    assert_int_equal(w->halt, PART_HALT_SCRIPT);
}

static void test_damaged_state_halts(void **state)
{
    struct world *w = *state;

    begin(w, 2);
    w->holds_calls = true;
    append_order(w, 3);
    settle(w);
    part_applied(w->part, w->pending->call, SLICE_LIT("corrupt items: 0 of 1 are there"), w->now);
    settle(w);
    assert_int_equal(w->halt, PART_HALT_STATE);
    assert_string_equal(w->why, "the state in Redis is damaged: items: 0 of 1 are there");
}

static void test_script_that_stands_elsewhere_halts(void **state)
{
    struct world *w = *state;
    char reply[80];

    begin(w, 2);
    w->holds_calls = true;
    append_order(w, 3);
    settle(w);
    (void)snprintf(reply, sizeof(reply), "ok %" PRId64 " %" PRId64 " 0 - 0\n1 2\n", log_end(w),
                   w->now.wall_ms + 1);
    part_applied(w->part, w->pending->call, slice_str(reply), w->now);
    settle(w);
    assert_int_equal(w->halt, PART_HALT_SCRIPT);
}

static void test_answers_to_older_calls_are_nobodys(void **state)
{
    struct world *w = *state;

    begin(w, 2);
    w->holds_calls = true;
    append_order(w, 3);
    settle(w);
    part_applied(w->part, w->pending->call - 1, SLICE_LIT("bad"), w->now);
    part_unanswered(w->part, w->pending->call - 1, false, w->now);
    part_position(w->part, w->pending->call, NULL, 0, w->now);
    settle(w);
    assert_int_equal(w->halt, PART_HALT_NONE);
    w->holds_calls = false;
    answer_apply(w, w->pending, false);
    w->pending = NULL;
    pass(w, 100);
    check_well(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_reply_lost_before_execution),
        TEST(test_reply_lost_after_execution),
        TEST(test_refused_batches_are_tried_again),
        TEST(test_refused_batches_let_the_outbox_be_trimmed),
        TEST(test_full_waits_for_acknowledgements),
        TEST(test_full_is_not_read_anew),
        TEST(test_unacked_outcomes_are_bounded),
        TEST(test_reading_ahead_is_bounded),
        TEST(test_script_failures_halt),
        TEST(test_damaged_state_halts),
        TEST(test_script_that_stands_elsewhere_halts),
        TEST(test_answers_to_older_calls_are_nobodys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
