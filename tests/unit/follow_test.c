/*
 * Which outcome records a partition applies: in order, once, with overlap by one; and that a missing
 * record is waited for, looked for, and only then called lost.
 */
#include "guardian/follow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char ours[] = "00112233445566778899aabbccddeeff";
static const char other[] = "ffeeddccbbaa99887766554433221100";

enum {
    PARTITION = 2,
    PARTITIONS = 4,
    PROBE_MS = 1000,
};

static uint64_t hash_of(int64_t offset)
{
    return (uint64_t)offset + 1000;
}

static uint64_t chain_of(int64_t offset)
{
    uint64_t chain = ids_chain_start(slice_str(ours));

    for (int64_t i = 0; i <= offset; i++) {
        chain = ids_chain_next(chain, hash_of(i));
    }
    return chain;
}

/* The outcome of a command: offset n, log time n + 5000. */
static struct outcome outcome_of(int64_t offset)
{
    struct outcome o = {
        .partition = PARTITION,
        .offset = offset,
        .prev = offset - 1,
        .hash = hash_of(offset),
        .chain = chain_of(offset),
        .rules = 1,
        .log_time = offset + 5000,
    };

    memcpy(o.genesis, ours, sizeof(ours));
    return o;
}

static struct event genesis_event = {.type = EVENT_GENESIS, .partitions = PARTITIONS, .rules = 1};

static struct outcome genesis(void)
{
    struct outcome o = outcome_of(0);

    o.events = &genesis_event;
    o.n_events = 1;
    return o;
}

/* What MySQL says after that outcome was applied, read at `read_at` of the topic. */
static struct progress progress_of(int64_t offset, int64_t read_at)
{
    struct progress p = {
        .position = offset,
        .chain = chain_of(offset),
        .partitions = PARTITIONS,
        .rules = 1,
        .log_time = offset + 5000,
        .outcomes_offset = read_at,
    };

    memcpy(p.genesis, ours, sizeof(ours));
    return p;
}

static enum follow_verdict give_action(struct follow *f, struct outcome o, int64_t read_at,
                                       enum follow_action wanted)
{
    enum follow_action action;
    enum follow_verdict verdict = follow_record(f, &o, read_at, 0, &action);

    assert_int_equal(action, wanted);
    return verdict;
}

static enum follow_verdict give(struct follow *f, struct outcome o, int64_t read_at)
{
    return give_action(f, o, read_at, FOLLOW_NOTHING);
}

/* A fresh partition, at its first outcome. */
static struct follow fresh(void)
{
    struct follow f;
    struct progress none = PROGRESS_NONE;

    follow_init(&f, PARTITION, PARTITIONS, PROBE_MS);
    assert_int_equal(follow_loaded(&f, &none, 0), FOLLOW_SEEK);
    assert_int_equal(follow_seek_offset(&f), FOLLOW_BEGIN);
    return f;
}

/* One that has applied up to offset 9, read at 19, and has just met that record again. */
static struct follow at_nine(void)
{
    struct follow f;
    struct progress nine = progress_of(9, 19);

    follow_init(&f, PARTITION, PARTITIONS, PROBE_MS);
    assert_int_equal(follow_loaded(&f, &nine, 0), FOLLOW_SEEK);
    assert_int_equal(follow_seek_offset(&f), 19);
    assert_int_equal(give(&f, outcome_of(9), 19), FOLLOW_DROP);
    return f;
}

static void applies_in_order(void **state)
{
    struct follow f = fresh();

    (void)state;
    assert_int_equal(give(&f, genesis(), 0), FOLLOW_APPLY);
    assert_string_equal(f.head.genesis, ours);
    assert_int_equal(f.head.partitions, PARTITIONS);
    assert_int_equal(give(&f, outcome_of(1), 1), FOLLOW_APPLY);
    assert_int_equal(give(&f, outcome_of(2), 2), FOLLOW_APPLY);
    assert_int_equal(f.head.position, 2);
    assert_int_equal(f.head.outcomes_offset, 2);
}

static void drops_the_older_and_does_not_apply_the_later(void **state)
{
    struct follow f = at_nine();

    (void)state;
    assert_int_equal(give(&f, outcome_of(3), 20), FOLLOW_DROP);
    assert_int_equal(give(&f, outcome_of(11), 21), FOLLOW_LATER);
    assert_int_equal(give(&f, outcome_of(10), 22), FOLLOW_APPLY);
    assert_int_equal(give(&f, outcome_of(11), 23), FOLLOW_APPLY);
    assert_int_equal(give(&f, outcome_of(11), 24), FOLLOW_DROP);
}

static void a_command_may_leave_a_hole_in_the_offsets(void **state)
{
    struct follow f = at_nine();
    struct outcome o = outcome_of(14);

    (void)state;
    o.prev = 9;
    o.chain = ids_chain_next(chain_of(9), o.hash);
    assert_int_equal(give(&f, o, 20), FOLLOW_APPLY);
}

static void overlaps_by_one(void **state)
{
    struct follow f = at_nine();

    (void)state;
    assert_int_equal(give(&f, outcome_of(10), 20), FOLLOW_APPLY);
}

static void reads_from_the_start_when_the_overlap_is_not_there(void **state)
{
    struct follow f;
    struct progress nine = progress_of(9, 19);

    (void)state;
    follow_init(&f, PARTITION, PARTITIONS, PROBE_MS);
    assert_int_equal(follow_loaded(&f, &nine, 0), FOLLOW_SEEK);
    assert_int_equal(give_action(&f, outcome_of(7), 19, FOLLOW_SEEK), FOLLOW_DROP);
    assert_int_equal(follow_seek_offset(&f), FOLLOW_BEGIN);
    for (int64_t i = 0; i <= 9; i++) {
        assert_int_equal(give(&f, i == 0 ? genesis() : outcome_of(i), i), FOLLOW_DROP);
    }
    assert_int_equal(give(&f, outcome_of(10), 10), FOLLOW_APPLY);
}

static void reads_from_the_start_when_the_topic_was_trimmed(void **state)
{
    struct follow f;
    struct progress nine = progress_of(9, 19);

    (void)state;
    follow_init(&f, PARTITION, PARTITIONS, PROBE_MS);
    assert_int_equal(follow_loaded(&f, &nine, 0), FOLLOW_SEEK);
    assert_int_equal(follow_stuck(&f, true, "", 0), FOLLOW_SEEK);
    assert_int_equal(follow_seek_offset(&f), FOLLOW_BEGIN);
    assert_int_equal(give(&f, outcome_of(10), 30), FOLLOW_APPLY);
}

static void tries_again_where_it_cannot_read_and_halts_in_the_end(void **state)
{
    struct follow f = at_nine();
    int64_t now_ms = 0;

    (void)state;
    for (int i = 0; i < 9; i++) {
        assert_int_equal(follow_stuck(&f, false, "bad message", now_ms), FOLLOW_NOTHING);
        now_ms += 500;
        assert_int_not_equal(follow_tick(&f, now_ms), FOLLOW_SEEK);
        now_ms += 600;
        while (follow_tick(&f, now_ms) != FOLLOW_SEEK) {
            assert_true(now_ms < 100000);
            now_ms += 10;
        }
        assert_int_equal(follow_seek_offset(&f), 20);
    }
    assert_int_equal(follow_stuck(&f, false, "bad message", now_ms), FOLLOW_HALT);
    assert_non_null(strstr(follow_why(&f), "bad message"));
}

/* Behind a damaged batch librdkafka asks for an offset that is none, as often as it gets there. */
static void halts_where_every_reading_ends_outside_the_topic(void **state)
{
    struct follow f;
    struct progress nine = progress_of(9, 19);
    int64_t now_ms = 0;

    (void)state;
    follow_init(&f, PARTITION, PARTITIONS, PROBE_MS);
    assert_int_equal(follow_loaded(&f, &nine, now_ms), FOLLOW_SEEK);
    assert_int_equal(give(&f, outcome_of(9), 19), FOLLOW_DROP);
    assert_int_equal(follow_stuck(&f, true, "out of range", now_ms), FOLLOW_SEEK);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(follow_seek_offset(&f), FOLLOW_BEGIN);
        assert_int_equal(give(&f, outcome_of(9), 19), FOLLOW_DROP);
        assert_int_equal(follow_read_offset(&f), 20);
        assert_int_equal(follow_stuck(&f, true, "out of range", now_ms), FOLLOW_NOTHING);
        while (follow_tick(&f, now_ms) != FOLLOW_SEEK) {
            assert_true(now_ms < 100000);
            now_ms += 10;
        }
    }
    assert_int_equal(give(&f, outcome_of(9), 19), FOLLOW_DROP);
    assert_int_equal(follow_stuck(&f, true, "out of range", now_ms), FOLLOW_HALT);
}

static void what_is_read_again_was_not_stuck(void **state)
{
    struct follow f = at_nine();

    (void)state;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(follow_stuck(&f, false, "bad message", 0), FOLLOW_NOTHING);
        assert_int_equal(give(&f, outcome_of(9), 20 + i), FOLLOW_DROP);
    }
}

static void a_stale_record_from_before_the_seek_is_no_overlap(void **state)
{
    struct follow f;
    struct progress nine = progress_of(9, 19);

    (void)state;
    follow_init(&f, PARTITION, PARTITIONS, PROBE_MS);
    assert_int_equal(follow_loaded(&f, &nine, 0), FOLLOW_SEEK);
    assert_int_equal(give(&f, outcome_of(4), 5), FOLLOW_DROP);
    assert_int_equal(give(&f, outcome_of(9), 19), FOLLOW_DROP);
    assert_int_equal(give(&f, outcome_of(10), 20), FOLLOW_APPLY);
}

static void halts(struct follow *f, struct outcome o)
{
    assert_int_not_equal(give_action(f, o, 20, FOLLOW_HALT), FOLLOW_APPLY);
    assert_true(follow_is_halted(f));
    assert_true(strlen(follow_why(f)) > 0);
    /* For ever, and told once. */
    assert_int_not_equal(give(f, outcome_of(10), 21), FOLLOW_APPLY);
    follow_reset(f);
    assert_true(follow_is_halted(f));
}

/* Its prev is our position, and yet it follows another record: the log was cut back and grew again. */
static void halts_on_an_outcome_that_is_not_linked(void **state)
{
    struct follow f = at_nine();
    struct outcome o = outcome_of(10);

    (void)state;
    o.hash++;
    halts(&f, o);
    f = at_nine();
    o.hash = 77;
    o.chain = ids_chain_next(chain_of(8), 77);
    halts(&f, o);
}

static void halts_on_another_log(void **state)
{
    struct follow f = at_nine();
    struct outcome o = outcome_of(10);

    (void)state;
    memcpy(o.genesis, other, sizeof(other));
    halts(&f, o);
}

static void halts_on_another_history(void **state)
{
    struct follow f;
    struct progress nine = progress_of(9, 20);
    struct outcome o = outcome_of(9);

    (void)state;
    follow_init(&f, PARTITION, PARTITIONS, PROBE_MS);
    assert_int_equal(follow_loaded(&f, &nine, 0), FOLLOW_SEEK);
    o.chain++;
    halts(&f, o);
}

static void halts_on_a_first_record_that_is_no_genesis(void **state)
{
    struct follow f = fresh();

    (void)state;
    halts(&f, outcome_of(0));
}

static void halts_on_a_genesis_for_other_partitions(void **state)
{
    struct follow f = fresh();
    struct event e = genesis_event;
    struct outcome o = genesis();

    (void)state;
    e.partitions = PARTITIONS + 1;
    o.events = &e;
    halts(&f, o);
}

static void halts_when_log_time_goes_back(void **state)
{
    struct follow f = at_nine();
    struct outcome o = outcome_of(10);

    (void)state;
    o.log_time = 5008;
    halts(&f, o);
}

static void halts_when_rules_change_without_a_command(void **state)
{
    struct follow f = at_nine();
    struct outcome o = outcome_of(10);

    (void)state;
    o.rules = 2;
    halts(&f, o);
}

static void applies_the_change_of_rules_and_halts_after_it(void **state)
{
    struct follow f = at_nine();
    struct event e = {.type = EVENT_RULES, .rules = 3};
    struct outcome o = outcome_of(10);
    struct outcome next = outcome_of(11);

    (void)state;
    o.rules = 3;
    o.events = &e;
    o.n_events = 1;
    assert_int_equal(give(&f, o, 20), FOLLOW_APPLY);
    next.rules = 3;
    halts(&f, next);
}

static void goes_on_under_other_rules_that_it_has(void **state)
{
    struct follow f = at_nine();
    struct event e = {.type = EVENT_RULES, .rules = 2};
    struct outcome o = outcome_of(10);
    struct outcome next = outcome_of(11);

    (void)state;
    o.rules = 2;
    o.events = &e;
    o.n_events = 1;
    assert_int_equal(give(&f, o, 20), FOLLOW_APPLY);
    next.rules = 2;
    assert_int_equal(give(&f, next, 21), FOLLOW_APPLY);
}

static void does_not_start_on_rules_it_lacks(void **state)
{
    struct follow f;
    struct progress nine = progress_of(9, 19);

    (void)state;
    nine.rules = 3;
    follow_init(&f, PARTITION, PARTITIONS, PROBE_MS);
    assert_int_equal(follow_loaded(&f, &nine, 0), FOLLOW_HALT);
}

static void passes_over_what_is_no_outcome_of_its_partition(void **state)
{
    struct follow f = at_nine();
    struct outcome o = outcome_of(10);

    (void)state;
    o.partition = PARTITION + 1;
    assert_int_equal(give(&f, o, 20), FOLLOW_FOREIGN);
    assert_int_equal(follow_garbage(&f, 21, 0), FOLLOW_NOTHING);
    assert_int_equal(give(&f, outcome_of(10), 22), FOLLOW_APPLY);
}

static void starts_over_after_a_reset(void **state)
{
    struct follow f = at_nine();
    struct progress twelve = progress_of(12, 40);

    (void)state;
    follow_reset(&f);
    assert_int_equal(give(&f, outcome_of(10), 20), FOLLOW_DROP);
    assert_int_equal(follow_loaded(&f, &twelve, 0), FOLLOW_SEEK);
    assert_int_equal(give(&f, outcome_of(12), 40), FOLLOW_DROP);
    assert_int_equal(give(&f, outcome_of(13), 41), FOLLOW_APPLY);
}

/* Lost outcomes. */

static struct follow_probe probe_of(int64_t watermark, int64_t first_prev, int64_t end)
{
    struct follow_probe p = {
        .is_known = true,
        .watermark = watermark,
        .has_outbox = first_prev >= -1,
        .first_prev = first_prev,
        .topic_end = end,
    };

    memcpy(p.genesis, ours, sizeof(ours));
    return p;
}

enum { NO_OUTBOX = -9 };

static void asks_redis_when_nothing_comes(void **state)
{
    struct follow f = at_nine();

    (void)state;
    assert_int_equal(follow_tick(&f, PROBE_MS - 1), FOLLOW_NOTHING);
    assert_int_equal(follow_tick(&f, PROBE_MS), FOLLOW_PROBE);
    assert_int_equal(follow_tick(&f, PROBE_MS + 1), FOLLOW_NOTHING);
    assert_int_equal(follow_tick(&f, 2L * PROBE_MS), FOLLOW_PROBE);
}

/* The topic was cut back, and ends before the place of the overlap: nothing would ever come there. */
static void does_not_wait_behind_the_end_of_the_topic(void **state)
{
    struct follow f;
    struct progress nine = progress_of(9, 19);
    struct follow_probe longer = probe_of(11, NO_OUTBOX, 20);
    struct follow_probe level = probe_of(9, NO_OUTBOX, 19);
    struct follow_probe ahead = probe_of(11, NO_OUTBOX, 19);

    (void)state;
    follow_init(&f, PARTITION, PARTITIONS, PROBE_MS);
    assert_int_equal(follow_loaded(&f, &nine, 0), FOLLOW_SEEK);
    assert_int_equal(follow_tick(&f, PROBE_MS), FOLLOW_PROBE);
    assert_int_equal(follow_probed(&f, &longer, PROBE_MS), FOLLOW_NOTHING);
    assert_int_equal(follow_probed(&f, &level, PROBE_MS), FOLLOW_NOTHING);
    assert_int_equal(follow_probed(&f, &ahead, PROBE_MS), FOLLOW_SEEK);
    assert_int_equal(follow_seek_offset(&f), FOLLOW_BEGIN);
    assert_int_equal(give(&f, outcome_of(10), 3), FOLLOW_APPLY);
}

static void waits_for_what_will_still_come(void **state)
{
    struct follow f = at_nine();
    struct follow_probe unknown = {0};
    struct follow_probe level = probe_of(9, NO_OUTBOX, 20);
    struct follow_probe behind = probe_of(5, NO_OUTBOX, 20);
    struct follow_probe in_outbox = probe_of(12, 9, 20);
    struct follow_probe unread = probe_of(12, NO_OUTBOX, 22);
    struct follow_probe foreign = probe_of(12, NO_OUTBOX, 20);

    (void)state;
    memcpy(foreign.genesis, other, sizeof(other));
    assert_int_equal(follow_probed(&f, &unknown, 0), FOLLOW_NOTHING);
    assert_int_equal(follow_probed(&f, &level, 0), FOLLOW_NOTHING);
    assert_int_equal(follow_probed(&f, &behind, 0), FOLLOW_NOTHING);
    assert_int_equal(follow_probed(&f, &in_outbox, 0), FOLLOW_NOTHING);
    assert_int_equal(follow_probed(&f, &unread, 0), FOLLOW_NOTHING);
    assert_int_equal(follow_probed(&f, &foreign, 0), FOLLOW_NOTHING);
    assert_false(follow_is_halted(&f));
}

static struct follow scanning(void)
{
    struct follow f = at_nine();
    struct follow_probe lost = probe_of(12, 10, 22);

    assert_int_equal(give(&f, outcome_of(11), 20), FOLLOW_LATER);
    assert_int_equal(give(&f, outcome_of(12), 21), FOLLOW_LATER);
    assert_int_equal(follow_tick(&f, PROBE_MS), FOLLOW_PROBE);
    assert_int_equal(follow_probed(&f, &lost, PROBE_MS), FOLLOW_SEEK);
    assert_int_equal(follow_seek_offset(&f), FOLLOW_BEGIN);
    return f;
}

static void is_lost_when_the_whole_topic_lacks_it(void **state)
{
    struct follow f = scanning();

    (void)state;
    for (int64_t i = 0; i < 21; i++) {
        assert_int_not_equal(give(&f, i == 0 ? genesis() : outcome_of(i < 10 ? i : 9), i),
                             FOLLOW_APPLY);
    }
    assert_int_equal(give_action(&f, outcome_of(12), 21, FOLLOW_REBUILD), FOLLOW_LATER);
    assert_non_null(strstr(follow_why(&f), "lost"));
}

static void waits_until_redis_is_rebuilt(void **state)
{
    struct follow f = scanning();
    struct progress nine = progress_of(9, 19);
    enum follow_action action = FOLLOW_NOTHING;
    struct outcome ten = outcome_of(10);

    (void)state;
    for (int64_t i = 0; i < 22; i++) {
        struct outcome o = i == 21 ? outcome_of(12) : outcome_of(9);

        assert_int_not_equal(follow_record(&f, &o, i, 0, &action), FOLLOW_APPLY);
    }
    assert_int_equal(action, FOLLOW_REBUILD);
    assert_int_equal(follow_record(&f, &ten, 22, 0, &action), FOLLOW_DROP);
    assert_int_equal(follow_tick(&f, (int64_t)100 * PROBE_MS), FOLLOW_NOTHING);
    assert_false(follow_is_halted(&f));
    follow_reset(&f);
    assert_int_equal(follow_loaded(&f, &nine, 0), FOLLOW_SEEK);
}

static void goes_on_when_the_scan_finds_it(void **state)
{
    struct follow f = scanning();

    (void)state;
    assert_int_equal(give(&f, outcome_of(9), 0), FOLLOW_DROP);
    assert_int_equal(give(&f, outcome_of(10), 1), FOLLOW_APPLY);
    assert_int_equal(give(&f, outcome_of(12), 21), FOLLOW_LATER);
    assert_false(follow_is_halted(&f));
}

static void a_long_scan_is_not_begun_anew(void **state)
{
    struct follow f = scanning();
    enum follow_action action;
    struct outcome later = outcome_of(11);

    (void)state;
    for (int64_t now_ms = PROBE_MS; now_ms < INT64_C(20) * PROBE_MS; now_ms += PROBE_MS) {
        assert_int_equal(follow_record(&f, &later, now_ms / PROBE_MS - 1, now_ms, &action),
                         FOLLOW_LATER);
        assert_int_equal(follow_tick(&f, now_ms), FOLLOW_NOTHING);
    }
}

/* A later outcome each second, at offset and onwards, until there is another probe; then it is found. */
static void is_begun_anew(struct follow *f, int64_t offset, int64_t now_ms)
{
    const int64_t begin = offset;
    const struct outcome later = outcome_of(12);
    enum follow_action action = FOLLOW_NOTHING;
    struct follow_probe lost;

    for (int i = 0; i < 60 && action != FOLLOW_PROBE; i++) {
        now_ms += 1000;
        assert_int_equal(follow_record(f, &later, offset++, now_ms, &action), FOLLOW_LATER);
        assert_int_equal(action, FOLLOW_NOTHING);
        action = follow_tick(f, now_ms);
    }
    assert_int_equal(action, FOLLOW_PROBE);
    lost = probe_of(12, 10, offset);
    lost.topic_begin = begin;
    assert_int_equal(follow_probed(f, &lost, now_ms), FOLLOW_SEEK);
    for (int64_t i = begin; i < offset; i++) {
        assert_int_not_equal(action, FOLLOW_REBUILD);
        assert_int_equal(follow_record(f, &later, i, now_ms, &action), FOLLOW_LATER);
    }
    assert_int_equal(action, FOLLOW_REBUILD);
}

/* What it is reading is deleted (`archive --trim`), while outcomes keep coming. */
static void a_scan_that_a_trim_breaks_off_is_begun_anew(void **state)
{
    struct follow f = scanning();

    (void)state;
    for (int64_t i = 0; i < 6; i++) {
        assert_int_equal(give(&f, outcome_of(9), i), FOLLOW_DROP);
    }
    assert_int_equal(follow_stuck(&f, true, "gone", PROBE_MS), FOLLOW_SEEK);
    assert_int_equal(follow_seek_offset(&f), FOLLOW_BEGIN);
    is_begun_anew(&f, 15, PROBE_MS);
}

/* It was before the first record was read, and so nothing is out of range. */
static void a_scan_that_a_trim_overtakes_is_begun_anew(void **state)
{
    struct follow f = scanning();

    (void)state;
    is_begun_anew(&f, 15, PROBE_MS);
}

static void a_stale_record_ends_no_scan(void **state)
{
    struct follow f = scanning();

    (void)state;
    assert_int_equal(give(&f, outcome_of(12), 21), FOLLOW_LATER);
    assert_false(follow_is_halted(&f));
}

static void an_empty_topic_that_should_not_be(void **state)
{
    struct follow f = fresh();
    struct follow_probe lost = probe_of(12, NO_OUTBOX, 0);

    (void)state;
    assert_int_equal(follow_tick(&f, PROBE_MS), FOLLOW_PROBE);
    assert_int_equal(follow_probed(&f, &lost, PROBE_MS), FOLLOW_REBUILD);
}

static void repeats_a_seek_that_was_lost(void **state)
{
    struct follow f;
    struct progress nine = progress_of(9, 19);

    (void)state;
    follow_init(&f, PARTITION, PARTITIONS, PROBE_MS);
    assert_int_equal(follow_loaded(&f, &nine, 0), FOLLOW_SEEK);
    assert_int_equal(follow_tick(&f, 100), FOLLOW_NOTHING);
    assert_int_equal(follow_tick(&f, 60000), FOLLOW_PROBE); /* it may be the topic that is short */
    assert_int_equal(follow_tick(&f, 60001), FOLLOW_SEEK);
    assert_int_equal(follow_seek_offset(&f), 19);
}

static void halts_when_the_log_ends_before_mysql(void **state)
{
    struct follow f = fresh();
    struct progress nine = progress_of(9, 19);

    (void)state;
    follow_reset(&f);
    assert_int_equal(follow_loaded(&f, &nine, 0), FOLLOW_SEEK);
    assert_int_equal(follow_log_end(&f, 9), FOLLOW_NOTHING); /* a new leader may not know better */
    assert_int_equal(follow_stuck(&f, true, "out of range", 0), FOLLOW_SEEK);
    assert_int_equal(follow_log_end(&f, 10), FOLLOW_NOTHING);
    assert_int_equal(follow_log_end(&f, 9), FOLLOW_NOTHING);
    assert_int_equal(follow_log_end(&f, 9), FOLLOW_HALT);
    assert_string_equal(follow_halt_name(f.halt), "log_too_short");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(applies_in_order),
        cmocka_unit_test(drops_the_older_and_does_not_apply_the_later),
        cmocka_unit_test(a_command_may_leave_a_hole_in_the_offsets),
        cmocka_unit_test(overlaps_by_one),
        cmocka_unit_test(reads_from_the_start_when_the_overlap_is_not_there),
        cmocka_unit_test(reads_from_the_start_when_the_topic_was_trimmed),
        cmocka_unit_test(does_not_wait_behind_the_end_of_the_topic),
        cmocka_unit_test(tries_again_where_it_cannot_read_and_halts_in_the_end),
        cmocka_unit_test(halts_where_every_reading_ends_outside_the_topic),
        cmocka_unit_test(what_is_read_again_was_not_stuck),
        cmocka_unit_test(a_stale_record_from_before_the_seek_is_no_overlap),
        cmocka_unit_test(halts_on_an_outcome_that_is_not_linked),
        cmocka_unit_test(halts_on_another_log),
        cmocka_unit_test(halts_on_another_history),
        cmocka_unit_test(halts_on_a_first_record_that_is_no_genesis),
        cmocka_unit_test(halts_on_a_genesis_for_other_partitions),
        cmocka_unit_test(halts_when_log_time_goes_back),
        cmocka_unit_test(halts_when_rules_change_without_a_command),
        cmocka_unit_test(applies_the_change_of_rules_and_halts_after_it),
        cmocka_unit_test(goes_on_under_other_rules_that_it_has),
        cmocka_unit_test(does_not_start_on_rules_it_lacks),
        cmocka_unit_test(passes_over_what_is_no_outcome_of_its_partition),
        cmocka_unit_test(starts_over_after_a_reset),
        cmocka_unit_test(asks_redis_when_nothing_comes),
        cmocka_unit_test(waits_for_what_will_still_come),
        cmocka_unit_test(is_lost_when_the_whole_topic_lacks_it),
        cmocka_unit_test(waits_until_redis_is_rebuilt),
        cmocka_unit_test(goes_on_when_the_scan_finds_it),
        cmocka_unit_test(a_long_scan_is_not_begun_anew),
        cmocka_unit_test(a_scan_that_a_trim_breaks_off_is_begun_anew),
        cmocka_unit_test(a_scan_that_a_trim_overtakes_is_begun_anew),
        cmocka_unit_test(a_stale_record_ends_no_scan),
        cmocka_unit_test(an_empty_topic_that_should_not_be),
        cmocka_unit_test(repeats_a_seek_that_was_lost),
        cmocka_unit_test(halts_when_the_log_ends_before_mysql),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
