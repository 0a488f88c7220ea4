/*
 * The outcomes' reader on a consumer that the tests play.
 */
#include "producer/stream.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/log.h"
#include "producer/counters.h"

static const int64_t S_US = 1000000;

static struct kafka_consumer_calls calls;
static void *calls_arg;
static int assignments;
static int64_t assigned_at;
static int logged;

struct kafka_consumer *kafka_consumer_create(struct event_base *base,
                                             const struct kafka_consumer_settings *settings,
                                             struct err *err)
{
    static char consumer;

    (void)base;
    (void)err;
    calls = settings->calls;
    calls_arg = settings->arg;
    return (struct kafka_consumer *)&consumer;
}

void kafka_consumer_destroy(struct kafka_consumer *c)
{
    (void)c;
}

void kafka_consumer_query(struct kafka_consumer *c, int partition)
{
    (void)c;
    (void)partition;
}

void kafka_consumer_query_other(struct kafka_consumer *c, const char *topic, int partition)
{
    (void)c;
    (void)topic;
    (void)partition;
}

bool kafka_consumer_assign(struct kafka_consumer *c, const struct kafka_start *starts, size_t n,
                           struct err *err)
{
    (void)c;
    (void)err;
    assert_int_equal(n, 1);
    assignments++;
    assigned_at = starts[0].offset;
    return true;
}

/* ---- what the door is told ---- */

static bool is_ready;

static void on_outcome(const struct outcome *outcome, void *arg)
{
    (void)outcome;
    (void)arg;
}

static void on_ready(int partition, bool ready, void *arg)
{
    (void)partition;
    (void)arg;
    is_ready = ready;
}

static void on_log_end(int partition, int64_t end, void *arg)
{
    (void)partition;
    (void)end;
    (void)arg;
}

static void on_kafka(bool is_up, void *arg)
{
    (void)is_up;
    (void)arg;
}

static void on_line(struct slice line, void *arg)
{
    (void)arg;
    logged += memmem(line.ptr, line.len, "stream.stuck", 12) != NULL;
}

/* ---- a topic [10, 20), of which the last record is read ---- */

struct world {
    struct event_base *base;
    struct stats *stats;
    struct stream *stream;
    struct clock_hands hands;
};

static void tell_range(struct world *w, int64_t end, int64_t later_s)
{
    w->hands.mono_us += later_s * S_US;
    calls.range(0, true, 10, end, calls_arg);
}

static void read_record(int64_t offset)
{
    const struct kafka_record record = {.offset = offset, .value = SLICE_LIT("no outcome")};

    calls.record(&record, calls_arg);
}

static int open_world(void **state)
{
    static struct world w;
    const struct stream_settings settings = {
        .topic = "outcomes",
        .topic_orders = "orders",
        .partitions = 1,
        .stats = w.stats = stats_create("producer", counters_rows, STAT_COUNT),
        .calls = {.outcome = on_outcome,
                  .ready = on_ready,
                  .log_end = on_log_end,
                  .kafka = on_kafka},
    };
    struct err err;

    w.hands = (struct clock_hands){.mono_us = 1000 * S_US};
    clock_pretend(&w.hands);
    log_set_sink(on_line, NULL);
    assignments = logged = 0;
    w.base = event_base_new();
    w.stream = stream_create(w.base, &settings, &err);
    assert_non_null(w.stream);
    tell_range(&w, 20, 0);
    calls.other_end(0, true, 100, calls_arg);
    assert_int_equal(assigned_at, 19);
    read_record(19);
    assert_true(is_ready);
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;

    stream_destroy(w->stream);
    stats_destroy(w->stats);
    event_base_free(w->base);
    log_set_sink(NULL, NULL);
    clock_pretend(NULL);
    return 0;
}

static void nothing_new_is_no_standstill(void **state)
{
    for (int i = 0; i < 5; i++) {
        tell_range(*state, 20, 60);
    }
    tell_range(*state, 21, 60);
    read_record(20);
    tell_range(*state, 25, 9);
    read_record(21);
    tell_range(*state, 25, 9);
    assert_int_equal(logged, 0);
    assert_int_equal(assignments, 1);
}

static void a_second_time_it_has_longer(void **state)
{
    tell_range(*state, 25, 1);
    tell_range(*state, 25, 10);
    tell_range(*state, 25, 1);
    calls.other_end(0, true, 100, calls_arg);
    assert_int_equal(logged, 1);
    tell_range(*state, 25, 1);
    tell_range(*state, 25, 19);
    assert_int_equal(logged, 1);
    tell_range(*state, 25, 1);
    assert_int_equal(logged, 2);
}

static void starts_over(struct world *w, int64_t end)
{
    tell_range(w, end, 1);
    tell_range(w, end, 9);
    assert_int_equal(logged, 0);
    tell_range(w, end, 1);
    assert_int_equal(logged, 1);
    assert_false(is_ready);
    tell_range(w, end, 1);
    calls.other_end(0, true, 100, calls_arg);
    assert_int_equal(assignments, 2);
    assert_int_equal(assigned_at, end - 1);
    read_record(end - 1);
    assert_true(is_ready);
    tell_range(w, end, 60);
    assert_int_equal(logged, 1);
}

static void what_is_there_and_does_not_come(void **state)
{
    starts_over(*state, 25);
}

static void a_topic_that_was_made_anew_and_is_shorter(void **state)
{
    starts_over(*state, 15);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(nothing_new_is_no_standstill),
        TEST(what_is_there_and_does_not_come),
        TEST(a_second_time_it_has_longer),
        TEST(a_topic_that_was_made_anew_and_is_shorter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
