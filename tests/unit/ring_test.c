/*
 * What a ring promises, and threads that put it to the test: under TSan each access that release and
 * acquire do not order is an error.  All interleavings of small cases are in ring_model_test.
 */
#include "common/ring.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"

static struct ring *make(size_t producers, size_t records)
{
    const struct ring_settings settings = {
        .producers = producers, .records = records, .record_bytes = sizeof(uint64_t)};
    struct ring *r = ring_create(&settings, NULL);

    assert_non_null(r);
    return r;
}

/* Publishes one; false: full. */
static bool put(struct ring *r, size_t producer, uint64_t value)
{
    struct ring_lane *lane = ring_lane(r, producer);
    size_t n = 1;
    uint64_t *slot = ring_reserve(lane, &n);

    if (slot == NULL) {
        return false;
    }
    *slot = value;
    ring_publish(lane, n);
    return true;
}

static uint64_t get(struct ring *r)
{
    size_t n = 1;
    const uint64_t *record = ring_take(r, &n);
    uint64_t value;

    assert_non_null(record);
    assert_int_equal(n, 1);
    value = *record;
    ring_release(r, 1);
    return value;
}

static bool is_empty_now(struct ring *r)
{
    size_t n = 1;

    return ring_take(r, &n) == NULL;
}

static bool is_readable(const struct ring *r)
{
    struct pollfd fd = {.fd = ring_fd(r), .events = POLLIN};

    return poll(&fd, 1, 0) == 1;
}

static void what_goes_in_comes_out_in_order(void **state)
{
    struct ring *r = make(1, 4);

    (void)state;
    assert_true(is_empty_now(r));
    for (uint64_t i = 0; i < 100; i += 2) {
        assert_true(put(r, 0, i));
        assert_true(put(r, 0, i + 1));
        assert_int_equal(get(r), i);
        assert_int_equal(get(r), i + 1);
    }
    assert_true(is_empty_now(r));
    ring_destroy(r);
}

static void full_is_refused(void **state)
{
    struct ring *r = make(2, 4);

    (void)state;
    for (uint64_t i = 0; i < 4; i++) {
        assert_true(put(r, 0, i));
    }
    assert_false(put(r, 0, 4));
    assert_true(put(r, 1, 9)); /* one full lane is no other's */
    assert_int_equal(get(r), 0);
    assert_true(put(r, 0, 4));
    assert_false(put(r, 0, 5));
    ring_destroy(r);
}

static void a_batch_ends_at_the_end_of_the_circle(void **state)
{
    struct ring *r = make(1, 8);
    struct ring_lane *lane = ring_lane(r, 0);
    uint64_t *slots;
    const uint64_t *records;
    size_t n = 100;

    (void)state;
    slots = ring_reserve(lane, &n);
    assert_int_equal(n, 8);
    for (size_t i = 0; i < 5; i++) {
        slots[i] = i;
    }
    ring_publish(lane, 5);
    n = 100;
    records = ring_take(r, &n);
    assert_int_equal(n, 5);
    assert_int_equal(records[4], 4);
    ring_release(r, 2);

    n = 100;
    slots = ring_reserve(lane, &n);
    assert_int_equal(n, 3); /* there are two more at the beginning */
    slots[0] = 5;
    slots[1] = 6;
    slots[2] = 7;
    ring_publish(lane, 3);
    n = 100;
    assert_non_null(ring_reserve(lane, &n));
    assert_int_equal(n, 2);

    n = 100;
    records = ring_take(r, &n);
    assert_int_equal(n, 3); /* what was not released, as it was seen before */
    assert_int_equal(records[0], 2);
    ring_release(r, 3);
    n = 2;
    records = ring_take(r, &n);
    assert_int_equal(n, 2);
    assert_int_equal(records[1], 6);
    ring_release(r, 2);
    assert_int_equal(get(r), 7);
    ring_destroy(r);
}

static void producers_take_turns(void **state)
{
    struct ring *r = make(3, 4);

    (void)state;
    for (uint64_t i = 0; i < 2; i++) {
        for (size_t p = 0; p < 3; p++) {
            assert_true(put(r, p, p * 10 + i));
        }
    }
    assert_int_equal(get(r), 0);
    assert_int_equal(get(r), 10);
    assert_int_equal(get(r), 20);
    assert_int_equal(get(r), 1);
    assert_int_equal(get(r), 11);
    assert_int_equal(get(r), 21);
    assert_true(is_empty_now(r));
    ring_destroy(r);
}

static void only_a_sleeper_is_woken_and_once(void **state)
{
    struct ring *r = make(1, 4);
    uint64_t signals;

    (void)state;
    assert_true(put(r, 0, 1));
    assert_false(is_readable(r));
    assert_false(ring_arm(r)); /* there is a record */
    assert_int_equal(get(r), 1);
    assert_true(ring_arm(r));
    assert_false(is_readable(r));
    assert_true(put(r, 0, 2));
    assert_true(put(r, 0, 3));
    assert_int_equal(read(ring_fd(r), &signals, sizeof(signals)), sizeof(signals));
    assert_int_equal(signals, 1);
    assert_int_equal(get(r), 2);
    assert_int_equal(get(r), 3);
    assert_true(ring_arm(r));
    assert_true(put(r, 0, 4));
    assert_true(is_readable(r));
    ring_disarm(r);
    assert_false(is_readable(r));
    assert_true(put(r, 0, 5));
    assert_false(is_readable(r));
    assert_true(ring_wait(r, -1));
    ring_destroy(r);
}

static void waiting_ends_in_time(void **state)
{
    struct ring *r = make(1, 4);

    (void)state;
    assert_false(ring_wait(r, 1));
    assert_true(put(r, 0, 1));
    assert_false(is_readable(r)); /* nobody sleeps any more */
    ring_destroy(r);
}

static void impossible_settings_are_refused(void **state)
{
    const struct ring_settings bad[] = {
        {.producers = 0, .records = 8, .record_bytes = 8},
        {.producers = RING_PRODUCERS_MAX + 1, .records = 8, .record_bytes = 8},
        {.producers = 1, .records = 0, .record_bytes = 8},
        {.producers = 1, .records = 6, .record_bytes = 8},
        {.producers = 1, .records = (size_t)RING_RECORDS_MAX * 2, .record_bytes = 8},
        {.producers = 1, .records = 8, .record_bytes = 0},
        {.producers = 1, .records = 8, .record_bytes = 12},
        {.producers = 1, .records = 8, .record_bytes = RING_RECORD_MAX_BYTES + 8},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err = {0};
        assert_null(ring_create(&bad[i], &err));
        assert_int_equal(err.kind, ERR_FATAL);
    }
    ring_destroy(NULL);
}

static void huge_pages_are_no_condition(void **state)
{
    const struct ring_settings settings = {
        .producers = 2, .records = 1024, .record_bytes = 512, .huge_pages = true};
    struct ring *r = ring_create(&settings, NULL);
    size_t n = 1024;

    (void)state;
    assert_non_null(r);
    memset(ring_reserve(ring_lane(r, 1), &n), 1, (size_t)1024 * 512);
    assert_int_equal(n, 1024);
    ring_destroy(r);
}

/* ---- threads ---- */

enum {
    PRODUCERS = 2,
    RECORDS = 40000, /* of each */
    SLOTS = 8,
    WORDS = 4,           /* in a record, all the same */
    PATIENCE_MS = 10000, /* nothing comes for so long: a wake-up was lost */
};

struct worker {
    pthread_t thread;
    struct ring_lane *lane;
    uint64_t first;
};

static void *produce(void *arg)
{
    const struct worker *w = arg;
    uint64_t draws = w->first;

    for (uint64_t i = 0; i < RECORDS;) {
        size_t n = 1 + (draws >> 33) % 3;
        uint64_t(*slots)[WORDS] = ring_reserve(w->lane, &n);
        draws = draws * 6364136223846793005U + 1442695040888963407U;
        if (slots == NULL) {
            (void)sched_yield();
            continue;
        }
        n = n < RECORDS - i ? n : RECORDS - i;
        for (size_t k = 0; k < n; k++) {
            for (size_t word = 0; word < WORDS; word++) {
                slots[k][word] = w->first + i + k;
            }
        }
        ring_publish(w->lane, n);
        i += n;
        if ((draws >> 40) % 64 == 0) {
            (void)sched_yield(); /* so that the consumer sleeps now and then */
        }
    }
    return NULL;
}

static void check_batch(uint64_t (*const records)[WORDS], size_t n, uint64_t *next)
{
    const size_t p = records[0][0] >> 32;

    assert_true(p < PRODUCERS);
    for (size_t i = 0; i < n; i++) {
        for (size_t word = 0; word < WORDS; word++) {
            assert_int_equal(records[i][word], next[p]);
        }
        next[p]++;
    }
}

static void stress(bool is_fenced, size_t spins)
{
    const struct ring_settings settings = {
        .producers = PRODUCERS,
        .records = SLOTS,
        .record_bytes = sizeof(uint64_t[WORDS]),
        .spins = spins,
        .yields = spins / 10,
        .is_fenced = is_fenced,
    };
    struct ring *r = ring_create(&settings, NULL);
    struct worker workers[PRODUCERS];
    uint64_t next[PRODUCERS];

    assert_non_null(r);
    for (size_t p = 0; p < PRODUCERS; p++) {
        next[p] = (uint64_t)p << 32;
        workers[p] = (struct worker){.lane = ring_lane(r, p), .first = next[p]};
        assert_int_equal(pthread_create(&workers[p].thread, NULL, produce, &workers[p]), 0);
    }
    for (size_t taken = 0; taken < (size_t)PRODUCERS * RECORDS;) {
        size_t n = 5;
        uint64_t(*records)[WORDS] = (uint64_t(*)[WORDS])(uintptr_t)ring_take(r, &n);
        if (records == NULL) {
            /* One sleep may end for nothing, but none lasts: the producers will soon be full. */
            const int64_t from_ms = clock_mono_ms();
            (void)!ring_wait(r, PATIENCE_MS);
            assert_true(clock_mono_ms() - from_ms < PATIENCE_MS);
            continue;
        }
        check_batch(records, n, next);
        ring_release(r, n);
        taken += n;
    }
    for (size_t p = 0; p < PRODUCERS; p++) {
        assert_int_equal(pthread_join(workers[p].thread, NULL), 0);
        assert_int_equal(next[p], ((uint64_t)p << 32) + RECORDS);
    }
    assert_true(is_empty_now(r));
    ring_destroy(r);
}

static void nothing_is_lost_between_threads(void **state)
{
    (void)state;
    stress(false, 0);
    stress(false, 100);
}

static void nor_without_membarrier(void **state)
{
    (void)state;
    stress(true, 0);
    stress(true, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_comes_out_in_order),
        cmocka_unit_test(full_is_refused),
        cmocka_unit_test(a_batch_ends_at_the_end_of_the_circle),
        cmocka_unit_test(producers_take_turns),
        cmocka_unit_test(only_a_sleeper_is_woken_and_once),
        cmocka_unit_test(waiting_ends_in_time),
        cmocka_unit_test(impossible_settings_are_refused),
        cmocka_unit_test(huge_pages_are_no_condition),
        cmocka_unit_test(nothing_is_lost_between_threads),
        cmocka_unit_test(nor_without_membarrier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
