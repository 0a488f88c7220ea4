/*
 * A log that is not what it was: other records, gaps, other rules, clocks gone mad; and the log
 * compared again after a new connection.
 */
#include "matcher/part.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/part_world.h"

/* ---- the log is not what it was ---- */

static void restart_part(struct world *w)
{
    part_destroy(w->part);
    w->part = part_create(&w->settings, 0);
    w->fetch = -1;
    part_assign(w->part, w->now);
}

static void test_last_record_differs(void **state)
{
    struct world *w = *state;

    begin(w, 5);
    pass(w, 2000);
    /* Redis was made from the log as it was; now another record stands at the watermark. */
    part_revoke(w->part);
    part_assign(w->part, w->now);
    w->no_delivery = true;
    settle(w);
    w->log[6].timestamp_ms++;
    w->no_delivery = false;
    settle(w);
    assert_int_equal(w->halt, PART_HALT_CHAIN);
}

static void replay_with_a_difference(struct world *w, size_t at)
{
    w->can = PART_CAN_CALL;
    begin(w, 20);
    part_revoke(w->part);
    part_assign(w->part, w->now);
    w->no_delivery = true;
    settle(w);
    w->log[at].timestamp_ms++;
    w->no_delivery = false;
    w->can |= PART_CAN_PUBLISH;
    settle(w);
    assert_int_equal(w->halt, PART_HALT_CHAIN);
    assert_int_equal(w->n_told, 0); /* nothing is told before all is compared */
}

static void test_replayed_record_differs(void **state)
{
    replay_with_a_difference(*state, 9);
}

static void test_last_replayed_record_differs(void **state)
{
    replay_with_a_difference(*state, 21);
}

static void test_log_ends_before_the_watermark(void **state)
{
    struct world *w = *state;

    begin(w, 5);
    pass(w, 2000);
    part_revoke(w->part);
    part_assign(w->part, w->now);
    w->no_delivery = true;
    settle(w);
    w->n_log = 6;
    w->no_delivery = false;
    pass(w, 1500);
    assert_int_equal(w->halt, PART_HALT_NONE);
    pass(w, 5000);
    assert_int_equal(w->halt, PART_HALT_SHORT);
    assert_int_equal(w->ranges, 3); /* the one at the start, and twice short */
}

static void test_first_record_is_not_genesis(void **state)
{
    struct world *w = *state;

    append_sale(w, 1000);
    part_assign(w->part, w->now);
    pass(w, 2000);
    assert_int_equal(w->halt, PART_HALT_GENESIS);
    assert_int_equal(w->applies, 0);
}

static void test_genesis_of_other_partitions(void **state)
{
    struct world *w = *state;

    append(w, "{\"type\":\"genesis\",\"log_id\":\"00112233445566778899aabbccddeeff\","
              "\"partitions\":2,\"rules\":1}");
    part_assign(w->part, w->now);
    pass(w, 2000);
    assert_int_equal(w->halt, PART_HALT_PARTITIONS);
}

static void test_record_from_the_future(void **state)
{
    struct world *w = *state;

    begin(w, 2);
    append_orders(w, 3);
    append_order(w, 9);
    w->log[w->n_log - 1].timestamp_ms += 60001;
    settle(w);
    pass(w, 200);
    assert_int_equal(w->halt, PART_HALT_CLOCK);
    assert_int_equal(w->watermark, log_end(w) - 1); /* all before it, and not it */
    assert_int_equal(w->told[w->n_told - 1].offset, log_end(w) - 1);
    part_revoke(w->part);
    part_assign(w->part, w->now);
    pass(w, 2000);
    assert_int_equal(look(w).halt, PART_HALT_CLOCK); /* for ever */
}

static void test_record_just_ahead(void **state)
{
    struct world *w = *state;

    begin(w, 2);
    append_order(w, 9);
    w->log[w->n_log - 1].timestamp_ms += 60000;
    settle(w);
    check_well(w);
}

static void test_wrong_timestamp_type(void **state)
{
    struct world *w = *state;

    begin(w, 2);
    append_order(w, 9);
    w->log[w->n_log - 1].is_log_append_time = false;
    pass(w, 200);
    assert_int_equal(w->halt, PART_HALT_TIMESTAMP);
}

static void test_gap_once(void **state)
{
    struct world *w = *state;
    int before;

    begin(w, 2);
    before = w->fetches;
    append_orders(w, 4);
    w->fetch += 2;
    pass(w, 200);
    assert_int_equal(w->fetches, before + 1);
    check_well(w);
}

static void test_gap_for_ever(void **state)
{
    struct world *w = *state;
    int64_t until_ms;

    begin(w, 2);
    append_orders(w, 4);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(w->halt, PART_HALT_NONE);
        w->fetch = log_end(w) - 1;
        settle(w);
    }
    /* The world fetches what was asked for, so only the last turn can have halted it. */
    assert_int_equal(w->halt, PART_HALT_NONE);
    check_well(w);

    append_orders(w, 4);
    until_ms = w->now.mono_ms + 2000;
    for (int i = 0; i < 60; i++) {
        const struct raw *r = &w->log[w->n_log - 1];
        const struct part_record record = {.offset = r->offset,
                                           .timestamp_ms = r->timestamp_ms,
                                           .is_log_append_time = true,
                                           .value = slice_str(r->value)};
        struct part_action a;

        part_record(w->part, &record, w->now);
        if (part_next(w->part, w->now, 0, &a)) {
            act(w, &a);
        }
        /* What comes right after a seek may have been on its way before: so it takes time, too. */
        assert_true(w->halt == PART_HALT_NONE || w->now.mono_ms >= until_ms);
        w->now.mono_ms += 51;
    }
    assert_int_equal(w->halt, PART_HALT_GAP);
}

/* A verdict needs a broker that says that the log holds what is missing. */
static void test_gap_without_a_broker(void **state)
{
    struct world *w = *state;
    struct part_action a;

    begin(w, 2);
    append_orders(w, 4);
    for (int i = 0; i < 100; i++) {
        const struct raw *r = &w->log[w->n_log - 1];
        const struct part_record record = {.offset = r->offset,
                                           .timestamp_ms = r->timestamp_ms,
                                           .is_log_append_time = true,
                                           .value = slice_str(r->value)};

        part_record(w->part, &record, w->now);
        while (part_next(w->part, w->now, 0, &a)) {
            if (a.type == PART_RANGE) {
                part_range(w->part, false, 0, 0, w->now);
            }
            assert_int_not_equal(a.type, PART_HALT);
        }
        w->now.mono_ms += 51;
    }
    w->fetch = look(w).next_offset;
    pass(w, 1000);
    check_well(w);
}

static void test_old_records_are_dropped(void **state)
{
    struct world *w = *state;

    begin(w, 10);
    w->fetch = 3;
    w->fetches = 0;
    append_orders(w, 1);
    pass(w, 200);
    check_well(w);
    assert_int_equal(w->fetches, 0); /* older is no gap */
    assert_int_equal(part_counted(w->part)->records, 13);
}

static void test_unknown_rules(void **state)
{
    struct world *w = *state;
    int64_t end;

    begin(w, 2);
    append(w, "{\"type\":\"rules\",\"rules\":3}");
    end = log_end(w);
    append_order(w, 1);
    pass(w, 3000);
    assert_int_equal(w->halt, PART_HALT_RULES);
    assert_int_equal(w->watermark, end); /* after it, not before */
    assert_int_equal(w->told[w->n_told - 1].offset, end);
    w->halt = PART_HALT_NONE;
    restart_part(w);
    pass(w, 2000);
    assert_int_equal(w->halt, PART_HALT_RULES);
}

static void test_stuck_log(void **state)
{
    struct world *w = *state;
    int before;

    begin(w, 2);
    before = w->fetches;
    part_stuck(w->part, false, "bad checksum", w->now);
    pass(w, 1100);
    assert_int_equal(w->fetches, before + 1);
    part_stuck(w->part, false, "bad checksum", w->now);
    pass(w, 1100);
    part_stuck(w->part, false, "bad checksum", w->now);
    settle(w);
    assert_int_equal(w->halt, PART_HALT_LOG);
    assert_string_equal(w->why, "bad checksum");
}

/* A new connection has the records before it read again and compared: that is no way past it. */
static void test_stuck_log_with_rechecks(void **state)
{
    struct world *w = *state;

    begin(w, 2);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(w->halt, PART_HALT_NONE);
        part_recheck(w->part);
        settle(w);
        part_stuck(w->part, false, "bad checksum", w->now);
        pass(w, 1100);
    }
    settle(w);
    assert_int_equal(w->halt, PART_HALT_LOG);
}

/* ---- comparing again ---- */

static void test_recheck_finds_the_same_log(void **state)
{
    struct world *w = *state;

    begin(w, 5);
    w->can = 0;
    append_orders(w, 5);
    settle(w);
    assert_int_equal(look(w).unapplied, 5);
    part_recheck(w->part);
    w->no_delivery = true;
    w->can = PART_CAN_CALL | PART_CAN_PUBLISH;
    pass(w, 1000);
    assert_int_equal(w->fetch, 6);     /* the last record applied */
    assert_int_equal(w->watermark, 6); /* and nothing more before that has come */
    w->no_delivery = false;
    pass(w, 100);
    check_well(w);
}

static void test_recheck_finds_another_log(void **state)
{
    struct world *w = *state;

    begin(w, 5);
    pass(w, 2000);
    w->can = 0;
    append_orders(w, 5);
    settle(w);
    part_recheck(w->part);
    w->log[6].timestamp_ms++;
    w->can = PART_CAN_CALL | PART_CAN_PUBLISH;
    settle(w);
    assert_int_equal(w->halt, PART_HALT_CHAIN);
    assert_int_equal(w->watermark, 6);
}

static void test_recheck_with_an_unknown_batch(void **state)
{
    struct world *w = *state;
    struct copied *first;

    begin(w, 5);
    w->holds_calls = true;
    append_orders(w, 5);
    settle(w);
    first = w->pending;
    w->pending = NULL;
    part_recheck(w->part);
    part_unanswered(w->part, first->call, false, w->now);
    w->holds_calls = false;
    pass(w, 500);
    check_well(w);
    assert_true(w->reads >= 3); /* as on assignment: that batch is not sent again */
    answer_apply(w, first, false);
    pass(w, 500);
    check_well(w);
}

/* A broker that comes and goes may not keep a long way back from ending. */
static void test_recheck_waits_for_the_way_back(void **state)
{
    struct world *w = *state;
    int reads;

    w->can = PART_CAN_CALL;
    begin(w, 20);
    part_revoke(w->part);
    part_assign(w->part, w->now);
    w->no_delivery = true;
    settle(w);
    reads = w->reads;
    for (int i = 0; i < 22; i++) {
        w->no_delivery = false;
        assert_true(deliver(w));
        w->no_delivery = true;
        part_recheck(w->part);
        settle(w);
        assert_string_equal(look(w).phase, "catching");
    }
    assert_int_equal(w->reads, reads);
    w->no_delivery = false;
    w->can |= PART_CAN_PUBLISH;
    pass(w, 1500);
    assert_int_equal(w->reads, reads);
    check_well(w);
}

static void test_queued_records_that_vanished(void **state)
{
    struct world *w = *state;

    begin(w, 5);
    w->can = 0;
    append_orders(w, 5);
    settle(w);
    w->n_log -= 3;
    part_stuck(w->part, true, "out of range", w->now);
    settle(w);
    w->can = PART_CAN_CALL | PART_CAN_PUBLISH;
    append_order(w, 77);
    pass(w, 1000);
    check_well(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_last_record_differs),
        TEST(test_replayed_record_differs),
        TEST(test_last_replayed_record_differs),
        TEST(test_log_ends_before_the_watermark),
        TEST(test_first_record_is_not_genesis),
        TEST(test_genesis_of_other_partitions),
        TEST(test_record_from_the_future),
        TEST(test_record_just_ahead),
        TEST(test_wrong_timestamp_type),
        TEST(test_gap_once),
        TEST(test_gap_for_ever),
        TEST(test_gap_without_a_broker),
        TEST(test_old_records_are_dropped),
        TEST(test_unknown_rules),
        TEST(test_stuck_log),
        TEST(test_stuck_log_with_rechecks),
        TEST(test_recheck_finds_the_same_log),
        TEST(test_recheck_finds_another_log),
        TEST(test_recheck_with_an_unknown_batch),
        TEST(test_recheck_waits_for_the_way_back),
        TEST(test_queued_records_that_vanished),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
