#include "producer/publish.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/log.h"
#include "producer/counters.h"
#include "producer/logclock.h"

static const struct publish_settings settings = {
    .linger_min_ms = 0, .linger_max_ms = 10, .batch = 500};

static void lingering_follows_the_load(void **state)
{
    (void)state;
    assert_int_equal(publish_linger_ms(&settings, 0), 0);
    assert_int_equal(publish_linger_ms(&settings, 399), 0); /* nobody would come */
    assert_int_equal(publish_linger_ms(&settings, 2000), 5);
    assert_int_equal(publish_linger_ms(&settings, 4000), 10);
    assert_int_equal(publish_linger_ms(&settings, 100000), 10);
}

static void lingering_stays_in_its_bounds(void **state)
{
    struct publish_settings s = settings;

    (void)state;
    s.linger_min_ms = 3;
    for (int64_t rate = 0; rate < 10000000; rate = rate * 2 + 1) {
        const int64_t linger_ms = publish_linger_ms(&s, rate);

        assert_true(linger_ms >= 3 && linger_ms <= 10);
    }
    s.linger_min_ms = s.linger_max_ms = 0;
    assert_int_equal(publish_linger_ms(&s, 1000000), 0);
}

static void not_reported(const struct publish_report *report, void *arg)
{
    (void)report;
    (void)arg;
    fail_msg("nobody is there to report");
}

/* Two partitions and no broker: what was handed over stays with Kafka's client. */
struct world {
    struct event_base *base;
    struct stats *stats;
    struct publish *publish;
    struct clock_hands hands;
};

/* more: what is not as usual; report, rate and timeout of it count. */
static void open_world_with(struct world *w, int64_t linger_ms, int64_t batch,
                            const struct publish_settings *more)
{
    const struct kafka_settings kafka = {.brokers = "127.0.0.1:1", .client_id = "test"};
    const struct publish_settings s = {
        .kafka = &kafka,
        .topic = "orders",
        .partitions = 2,
        .linger_min_ms = linger_ms,
        .linger_max_ms = linger_ms,
        .batch = batch,
        .queue_max = 100,
        .timeout_ms = more->timeout_ms,
        .rate = more->rate,
        .report = more->report,
        .arg = more->arg,
    };
    struct publish_settings mine = s;
    struct err err;

    log_init("test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT); /* Kafka's client misses its broker */
    *w = (struct world){.hands = {.mono_us = 1000000}};
    clock_pretend(&w->hands);
    w->base = event_base_new();
    mine.stats = w->stats = stats_create("producer", counters_rows, STAT_COUNT);
    w->publish = publish_create(w->base, &mine, &err);
    assert_non_null(w->publish);
}

static void open_world(struct world *w, int64_t linger_ms, int64_t batch)
{
    open_world_with(w, linger_ms, batch,
                    &(struct publish_settings){.timeout_ms = 10000, .report = not_reported});
}

static void close_world(struct world *w)
{
    publish_destroy(w->publish);
    stats_destroy(w->stats);
    assert_true(kafka_wait_ended(10000));
    event_base_free(w->base);
    clock_pretend(NULL);
}

static void send_tick(struct world *w, int partition)
{
    const struct command tick = {.type = COMMAND_TICK};

    assert_true(publish_send(w->publish, &tick, partition, (struct slice){NULL, 0}, 1));
}

/* Turns of the loop until at most so many are in line. */
static void run_until(struct world *w, size_t queued)
{
    for (int turns = 0; publish_queued(w->publish) > queued; turns++) {
        const struct timeval patience = {10, 0};

        assert_true(turns < 1000);
        assert_int_equal(event_base_loopexit(w->base, &patience), 0);
        assert_int_equal(event_base_loop(w->base, EVLOOP_ONCE), 0);
    }
}

static void the_oldest_takes_all_along(void **state)
{
    struct world w;

    (void)state;
    open_world(&w, 10, 500);
    send_tick(&w, 0);
    w.hands.mono_us += 9000;
    send_tick(&w, 1);
    assert_int_equal(publish_queued(w.publish), 2);
    w.hands.mono_us += 1000;
    run_until(&w, 1);
    assert_int_equal(publish_queued(w.publish), 0);
    assert_int_equal(publish_unreported(w.publish), 2);
    /* And the next after a pause. */
    w.hands.mono_us += 5000000;
    send_tick(&w, 1);
    w.hands.mono_us += 10000;
    run_until(&w, 0);
    close_world(&w);
}

static void a_full_line_goes_alone(void **state)
{
    struct world w;

    (void)state;
    open_world(&w, 10, 3);
    send_tick(&w, 0);
    for (int i = 0; i < 3; i++) {
        send_tick(&w, 1);
    }
    run_until(&w, 3);
    assert_int_equal(publish_queued(w.publish), 1);
    close_world(&w);
}

/* Below ten a second, too: one each second. */
static void a_low_rate_lets_one_go_at_a_time(void **state)
{
    struct world w;

    (void)state;
    open_world_with(
        &w, 0, 500,
        &(struct publish_settings){.timeout_ms = 10000, .rate = 1, .report = not_reported});
    send_tick(&w, 0);
    send_tick(&w, 1);
    w.hands.mono_us += 5000000;
    run_until(&w, 1);
    assert_int_equal(publish_queued(w.publish), 1); /* what was not used is not saved */
    w.hands.mono_us += 1000000;
    run_until(&w, 0);
    close_world(&w);
}

static void count_failed(const struct publish_report *report, void *arg)
{
    assert_int_equal(report->fate, INFLIGHT_FAILED);
    (*(int *)arg)++;
}

/* One that stood in line for so long: whether it was too long to be sent. */
static bool is_too_long(int64_t timeout_ms, int64_t in_line_ms)
{
    struct world w;
    int failed = 0;

    open_world_with(&w, 1000000, 500,
                    &(struct publish_settings){
                        .timeout_ms = timeout_ms, .report = count_failed, .arg = &failed});
    send_tick(&w, 0);
    w.hands.mono_us += in_line_ms * 1000;
    publish_hurry(w.publish);
    run_until(&w, 0);
    assert_int_equal(publish_unreported(w.publish) + (size_t)failed, 1);
    close_world(&w);
    return failed == 1;
}

static void whatever_the_timeout_there_is_time_in_line(void **state)
{
    (void)state;
    assert_false(is_too_long(1000, 0));
    assert_false(is_too_long(1000, 499));
    assert_true(is_too_long(1000, 500));
    assert_false(is_too_long(1001, 499));
    assert_false(is_too_long(2000, 999));
    assert_true(is_too_long(2000, 1000));
    assert_false(is_too_long(10000, 8999));
    assert_true(is_too_long(10000, 9000));
}

static void the_logs_clock(void **state)
{
    struct logclock c = {.is_known = false};

    (void)state;
    assert_int_equal(logclock_now(&c, 50, 1000), 1000); /* the wall clock stands in */
    logclock_learn(&c, -1, 50);
    assert_int_equal(logclock_now(&c, 50, 1000), 1000);
    logclock_learn(&c, 9000, 60);
    assert_int_equal(logclock_now(&c, 70, 1000), 9010);
    logclock_learn(&c, 9000, 160); /* heard late: hardly moves it */
    assert_in_range(logclock_now(&c, 70, 1000), 9008, 9010);
    logclock_learn(&c, 9200, 200);
    assert_int_equal(logclock_now(&c, 200, 1000), 9200);
}

static void a_brokers_clock_set_back_is_followed(void **state)
{
    struct logclock c = {.is_known = false};
    int64_t mono_ms = 0;

    (void)state;
    logclock_learn(&c, 4000, 0);
    for (; mono_ms < 60000; mono_ms += 10) {
        logclock_learn(&c, mono_ms, mono_ms);
    }
    assert_in_range(logclock_now(&c, 0, 0), 3000, 3600);
    for (; mono_ms < 300000; mono_ms += 10) {
        logclock_learn(&c, mono_ms, mono_ms);
    }
    assert_int_equal(logclock_now(&c, 0, 0), 0);
}

static void thousands_of_late_reports_hardly_move_it(void **state)
{
    static const int64_t heard_ms[] = {20000, 3600000};
    struct logclock c = {.is_known = false};

    (void)state;
    logclock_learn(&c, 9000, 0);
    for (int batch = 0; batch < 2; batch++) {
        for (int i = 0; i < 2000; i++) {
            logclock_learn(&c, 9000 + heard_ms[batch] - 8000, heard_ms[batch]); /* 8 s late */
        }
        assert_in_range(logclock_now(&c, 0, 0), 9000 - 15 * (batch + 1), 9000);
    }
    logclock_learn(&c, 9000 + 3700000, 3700000);
    assert_int_equal(logclock_now(&c, 0, 0), 9000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lingering_follows_the_load),
        cmocka_unit_test(lingering_stays_in_its_bounds),
        cmocka_unit_test(the_oldest_takes_all_along),
        cmocka_unit_test(a_full_line_goes_alone),
        cmocka_unit_test(a_low_rate_lets_one_go_at_a_time),
        cmocka_unit_test(whatever_the_timeout_there_is_time_in_line),
        cmocka_unit_test(the_logs_clock),
        cmocka_unit_test(a_brokers_clock_set_back_is_followed),
        cmocka_unit_test(thousands_of_late_reports_hardly_move_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
