#include "producer/limiter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { SLEEP_MS = 2 * LIMITER_WINDOW_MS };

/* A line, as the limiter is told of it, in which as many pass as its test says. */
struct line {
    struct limiter limiter;
    int64_t now_ms;
    int64_t inside, passed;
};

/* In one window so many come, and n come out, each after took_ms; how many go in. */
static int window(struct line *line, int come, int n, int64_t took_ms)
{
    int admitted = 0;

    for (int i = 0; i < come; i++) {
        const int64_t at_ms = line->now_ms + (int64_t)i * LIMITER_WINDOW_MS / come;

        admitted += limiter_admit(&line->limiter, at_ms) ? 1 : 0;
    }
    line->inside += admitted;
    line->now_ms += LIMITER_WINDOW_MS;
    for (int i = 0; i < n && line->inside > 0; i++) {
        limiter_observe(&line->limiter, line->now_ms - took_ms, line->now_ms);
        line->inside--;
        line->passed++;
    }
    limiter_judge(&line->limiter, line->inside, line->passed, line->now_ms);
    return admitted;
}

/* It has known the line for a while. */
static void begin(struct line *line, enum limiter_preset preset, enum limiter_side side)
{
    *line = (struct line){.now_ms = 1000000};
    limiter_init(&line->limiter, preset, side);
    for (int i = 0; i < 20; i++) {
        (void)window(line, 0, 0, 0);
    }
}

/* Windows in which all who come in come out so late, until it is armed; how many those were. */
static int arm(struct line *line, int come, int64_t took_ms)
{
    int windows = 0;

    while (!line->limiter.is_armed && windows < 100) {
        (void)window(line, come, come, took_ms);
        windows++;
    }
    return windows;
}

static void arms_after_three_slow_windows_in_a_row(void **state)
{
    struct line line;

    (void)state;
    begin(&line, LIMITER_CLASSIC, LIMITER_KAFKA);
    for (int i = 0; i < 10; i++) { /* two in a row are none, nor is what is just in time */
        assert_int_equal(window(&line, 100, 100, i % 3 == 2 ? 20 : 21), 100);
        assert_false(line.limiter.is_armed);
    }
    begin(&line, LIMITER_CLASSIC, LIMITER_KAFKA);
    assert_int_equal(arm(&line, 100, 21), LIMITER_STRIKES);
    assert_int_equal(line.limiter.limit, 900); /* 1,000 a second came, and a tenth is off */
    assert_in_range(window(&line, 100, 100, 1), 85, 90);
}

static void a_window_with_few_is_not_in_a_row(void **state)
{
    struct line line;

    (void)state;
    begin(&line, LIMITER_CLASSIC, LIMITER_KAFKA);
    for (int i = 0; i < 10; i++) {
        (void)window(&line, i % 3 == 2 ? 1 : 100, 100, 60);
    }
    assert_false(line.limiter.is_armed);
}

static void one_in_a_hundred_may_be_late(void **state)
{
    struct line line;

    (void)state;
    for (int late = 1; late <= 2; late++) {
        begin(&line, LIMITER_STEADY, LIMITER_DECISION);
        for (int i = 0; i < LIMITER_STRIKES; i++) {
            limiter_told(&line.limiter, line.now_ms - 501, late, line.now_ms);
            limiter_told(&line.limiter, line.now_ms - 500, 100 - late, line.now_ms);
            (void)window(&line, 100, 100, 1);
        }
        assert_true(line.limiter.is_armed == (late == 2));
    }
}

static void a_lone_shopper_is_never_limited(void **state)
{
    struct line line;

    (void)state;
    begin(&line, LIMITER_CLASSIC, LIMITER_DECISION);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(window(&line, LIMITER_CROWD - 1, 1, 60000), LIMITER_CROWD - 1);
    }
    assert_false(line.limiter.is_armed);
}

static void off_is_off(void **state)
{
    struct line line;

    (void)state;
    begin(&line, LIMITER_OFF, LIMITER_DECISION);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(window(&line, 500, i, 60000), 500);
    }
    assert_int_equal(limiter_limit(&line.limiter, line.now_ms), LIMITER_RATE_MAX);
}

static void what_stands_still_is_slow(void **state)
{
    struct line line;
    int64_t before;

    (void)state;
    begin(&line, LIMITER_STEADY, LIMITER_KAFKA);
    for (int i = 0; i < 20; i++) {
        (void)window(&line, 100, 100, 1);
    }
    /* Nothing comes out any more, and nothing else tells: 500 ms of it are too long. */
    for (int i = 0; i < 1 + 6 + LIMITER_STRIKES - 1; i++) {
        assert_false(line.limiter.is_armed);
        (void)window(&line, 100, 0, 0);
    }
    assert_true(line.limiter.is_armed);
    before = line.limiter.limit;
    for (int i = 0; i < 100; i++) {
        (void)window(&line, 100, 0, 0);
    }
    assert_true(line.inside < 1000);
    /* It says nothing of what the line takes once it moves. */
    assert_int_equal(line.limiter.limit, before);
    (void)window(&line, 100, 1000, 10000);
    for (int i = 0; i < 2; i++) {
        (void)window(&line, 100, 100, 1);
    }
    assert_true(window(&line, 100, 100, 1) >= 90);
}

static void a_long_line_is_slow_before_anyone_is_late(void **state)
{
    struct line line;
    int windows = 0;

    (void)state;
    begin(&line, LIMITER_STEADY, LIMITER_DECISION);
    while (!line.limiter.is_armed && windows++ < 50) {
        (void)window(&line, 300, 50, 1);
    }
    assert_in_range(windows, 3, 6); /* 1,000 in line, 500 pass in a second */
    assert_int_equal(limiter_limit(&line.limiter, line.now_ms), 0);
}

static void a_pause_is_over_when_the_line_has_drained(void **state)
{
    struct line line;
    int windows = 0;

    (void)state;
    begin(&line, LIMITER_STEADY, LIMITER_DECISION);
    while (!line.limiter.is_armed && windows++ < 50) {
        (void)window(&line, 300, 10, 1);
    }
    assert_true(line.limiter.pause_until_ms > line.now_ms + 1000);
    assert_int_equal(window(&line, 100, 10000, 1), 0);
    assert_true(window(&line, 100, 0, 0) > 0);
}

static void a_late_decision_stops_everything_for_a_while(void **state)
{
    struct line line;
    int paused = 0;

    (void)state;
    begin(&line, LIMITER_CLASSIC, LIMITER_DECISION);
    (void)arm(&line, 100, 30);
    assert_int_equal(line.limiter.limit, 900);
    while (limiter_limit(&line.limiter, line.now_ms) == 0) {
        assert_int_equal(window(&line, 100, 100, 30), 0);
        paused++;
    }
    assert_int_equal(paused, 10);
    assert_true(window(&line, 100, 100, 1) > 0);
    assert_true(line.limiter.limit > 900); /* what came out in the pause is not held against it */
}

static void it_widens_again_and_disarms(void **state)
{
    struct line line;
    int windows = 0;

    (void)state;
    begin(&line, LIMITER_CLASSIC, LIMITER_KAFKA);
    (void)arm(&line, 100, 30);
    while (line.limiter.is_armed && windows++ < 300) {
        const int64_t before = line.limiter.limit;
        const int come = windows % 2 == 0 ? 1 : 100; /* a lone shopper too, and a late one */

        (void)window(&line, come, come, come == 1 ? 60000 : 1);
        assert_true(line.limiter.limit > before && line.limiter.limit <= LIMITER_RATE_MAX);
    }
    assert_in_range(windows, 20, 150);
    assert_int_equal(window(&line, 5000, 5000, 1), 5000);
}

static void it_is_never_shut_for_good(void **state)
{
    struct line line;
    int64_t admitted = 0;

    (void)state;
    begin(&line, LIMITER_CLASSIC, LIMITER_KAFKA);
    (void)arm(&line, 100, 21);
    for (int i = 0; i < 200; i++) { /* late, whoever is let in */
        (void)window(&line, 100, 100, 20);
    }
    assert_int_equal(line.limiter.limit, LIMITER_RATE_MIN);
    for (int i = 0; i < 100; i++) {
        admitted += window(&line, 100, 100, 20);
    }
    assert_in_range(admitted, LIMITER_RATE_MIN * 4, LIMITER_RATE_MIN * 11);
}

/* A process that was stopped finds everything late, and knows nothing. */
static void our_own_sleep_is_nobodys_fault(void **state)
{
    struct line line;

    (void)state;
    begin(&line, LIMITER_CLASSIC, LIMITER_KAFKA);
    for (int i = 0; i < 20; i++) {
        line.now_ms += SLEEP_MS;
        (void)window(&line, 100, 100, SLEEP_MS);
        for (int j = 1; j <= LIMITER_STRIKES; j++) { /* they went in before it woke up */
            (void)window(&line, 100, 100, (int64_t)j * LIMITER_WINDOW_MS + 1);
        }
    }
    assert_false(line.limiter.is_armed);
}

/* ---- a flood ---- */

enum {
    COME = 3,            /* in a millisecond */
    SLOW = 500,          /* in a second */
    FAST = 9000,         /* likewise */
    ENOUGH = COME * 940, /* but for a few */
    QUEUE = 1 << 17,
};

/* First come, first served; time in milliseconds. */
struct flood {
    struct limiter limiter;
    int64_t now_ms;
    int64_t in, out;
    int64_t work; /* thousandths that could have come out */
    int64_t since[QUEUE];
    int64_t come, late; /* since the last look */
};

static void begin_flood(struct flood *f, enum limiter_preset preset, enum limiter_side side)
{
    *f = (struct flood){.now_ms = 1000000};
    limiter_init(&f->limiter, preset, side);
    limiter_judge(&f->limiter, 0, 0, f->now_ms);
}

/* For so many milliseconds; in a second `rate` may come out, `batch` at a time. */
static void flow_ms(struct flood *f, int64_t ms, int64_t rate, int64_t batch, int64_t bound_ms)
{
    const int64_t until_ms = f->now_ms + ms;

    f->come = f->late = 0;
    for (; f->now_ms < until_ms; f->now_ms++) {
        for (int i = 0; i < COME; i++) {
            f->come++;
            if (limiter_admit(&f->limiter, f->now_ms)) {
                assert_true(f->in - f->out < QUEUE);
                f->since[f->in++ % QUEUE] = f->now_ms;
            }
        }
        f->work += rate;
        if (f->work >= batch * 1000) {
            for (; f->work >= 1000 && f->out < f->in; f->work -= 1000) {
                const int64_t since_ms = f->since[f->out++ % QUEUE];

                limiter_observe(&f->limiter, since_ms, f->now_ms);
                f->late += f->now_ms - since_ms > bound_ms;
            }
            f->work = f->out == f->in ? 0 : f->work;
        }
        if (f->now_ms % LIMITER_WINDOW_MS == 0) {
            limiter_judge(&f->limiter, f->in - f->out, f->out, f->now_ms);
        }
    }
}

static void flow(struct flood *f, int64_t seconds, int64_t rate, int64_t batch, int64_t bound_ms)
{
    flow_ms(f, seconds * 1000, rate, batch, bound_ms);
}

static void what_is_let_in_of_a_flood_stays_fast(enum limiter_preset preset, enum limiter_side side,
                                                 int64_t batch, int64_t bound_ms)
{
    static struct flood f;
    int64_t out;
    int64_t in;

    begin_flood(&f, preset, side);
    flow(&f, 3, FAST, 1, bound_ms);
    assert_int_equal(f.in, f.come); /* all of them */
    flow(&f, 5, SLOW, batch, bound_ms);
    assert_true(f.limiter.is_armed);
    out = f.out;
    flow(&f, 20, SLOW, batch, bound_ms);
    out = f.out - out;
    /* Without it the last would wait for a minute and a half, and here the line is seldom empty. */
    assert_true(f.late * 20 <= out);
    assert_true(out * 4 > INT64_C(3) * 20 * SLOW);
    flow(&f, 10, FAST, 1, bound_ms);
    in = f.in;
    flow(&f, 1, FAST, 1, bound_ms);
    assert_int_equal(f.in - in, f.come);
}

static void a_flood_that_kafka_cannot_take(void **state)
{
    (void)state;
    what_is_let_in_of_a_flood_stays_fast(LIMITER_STEADY, LIMITER_KAFKA, 1, 500);
    what_is_let_in_of_a_flood_stays_fast(LIMITER_STEADY, LIMITER_KAFKA, 100, 700);
    what_is_let_in_of_a_flood_stays_fast(LIMITER_CLASSIC, LIMITER_KAFKA, 1, 150);
}

static void a_flood_that_redis_cannot_take(void **state)
{
    (void)state;
    what_is_let_in_of_a_flood_stays_fast(LIMITER_STEADY, LIMITER_DECISION, 1, 500);
    what_is_let_in_of_a_flood_stays_fast(LIMITER_STEADY, LIMITER_DECISION, 100, 700);
}

/* As a request to Kafka that has to wait for the former does: it takes everybody who stands there by then. */
static void a_flood_that_comes_out_in_bursts(void **state)
{
    static struct flood f;

    (void)state;
    for (int64_t rate = 100; rate <= 500; rate += 100) {
        for (int64_t burst_ms = 600; burst_ms <= 1500; burst_ms += 100) {
            const int64_t batch = rate * burst_ms / 1000;
            int64_t out;

            begin_flood(&f, LIMITER_STEADY, LIMITER_KAFKA);
            flow(&f, 3, FAST, 1, 0);
            flow(&f, 60, rate, batch, 0);
            out = f.out;
            flow(&f, 60, rate, batch, 2 * burst_ms + 1000);
            out = f.out - out;
            assert_true(f.late * 10 <= out);
            assert_true(out * 10 > INT64_C(7) * 60 * rate);
        }
    }
}

/*
 * One request takes everybody who stands there, and is answered after a_ms and so much for each.  Lets in
 * what comes for two minutes, judges the second: `late` are beyond bound_ms.  How many come out in a second.
 */
static int64_t flow_requests(struct flood *f, int64_t come_each_ms, int64_t a_ms, int64_t each_us,
                             int64_t bound_ms)
{
    int64_t begun = 0;
    int64_t until_ms = 0;
    int64_t out = 0;

    begin_flood(f, LIMITER_STEADY, LIMITER_KAFKA);
    for (int i = 0; i < 120000; i++, f->now_ms++) {
        if (i == 60000) {
            out = f->out;
            f->late = 0;
        }
        for (int n = 0; n < COME && f->now_ms % come_each_ms == 0; n++) {
            if (limiter_admit(&f->limiter, f->now_ms)) {
                f->since[f->in++ % QUEUE] = f->now_ms;
            }
        }
        if (f->now_ms >= until_ms) {
            for (; f->out < begun; f->out++) {
                limiter_observe(&f->limiter, f->since[f->out % QUEUE], f->now_ms);
                f->late += f->now_ms - f->since[f->out % QUEUE] > bound_ms;
            }
            begun = f->in;
            until_ms = f->now_ms + a_ms + (f->in - f->out) * each_us / 1000;
        }
        if (f->now_ms % LIMITER_WINDOW_MS == 0) {
            limiter_judge(&f->limiter, f->in - f->out, f->out, f->now_ms);
        }
    }
    return (f->out - out) / 60;
}

static void one_request_after_the_other(void **state)
{
    static struct flood f;
    int64_t rate;

    (void)state;
    /* 300 a second come and 100 can be taken: more in line are no gain. */
    rate = flow_requests(&f, 10, 50, 10000, 2000);
    assert_true(rate >= 75);
    assert_true(f.late <= rate * 60 / 10);
    /* Any number can be taken: fewer would not be faster. */
    assert_true(flow_requests(&f, 1, 1000, 0, 0) >= 1400);
    assert_true(flow_requests(&f, 1, 400, 100, 0) >= 2400);
}

/* Of one that came out in bursts, and stops. */
static void the_next_burst_is_overdue(void **state)
{
    static struct flood f;
    int64_t in;

    (void)state;
    begin_flood(&f, LIMITER_STEADY, LIMITER_KAFKA);
    flow(&f, 3, FAST, 1, 0);
    flow(&f, 20, SLOW, SLOW, 0);
    flow(&f, 5, 0, 1, 0);
    in = f.in;
    flow(&f, 20, 0, 1, 0);
    assert_true(f.limiter.is_still);
    assert_true(f.in - in <= INT64_C(20) * LIMITER_RATE_MIN);
}

/* A line that grows by and by does not become what one takes anyway. */
static void a_little_more_than_kafka_can_take(void **state)
{
    static struct flood f;
    int64_t in;

    (void)state;
    begin_flood(&f, LIMITER_STEADY, LIMITER_KAFKA);
    flow(&f, 10, FAST, 1, 0);
    in = f.in;
    flow(&f, 300, ENOUGH, 1, 1000);
    assert_int_equal(f.late, 0);
    assert_true((f.in - in) * 10 > f.come * 8);
}

/* As when a broker is started again, or a matcher's partitions wait for another one. */
static void a_line_that_stands_still_now_and_then(enum limiter_preset preset,
                                                  enum limiter_side side)
{
    static struct flood f;
    int64_t come = 0;
    int64_t in;

    begin_flood(&f, preset, side);
    flow(&f, 3, FAST, 1, 0);
    in = f.in;
    for (int i = 0; i < 10; i++) {
        flow(&f, 3, 0, 1, 0);
        flow(&f, 3, FAST, 1, 0);
        come += f.come;
    }
    assert_true((f.in - in) * 10 > come * 9);
}

static void a_broker_that_is_away_now_and_then(void **state)
{
    (void)state;
    a_line_that_stands_still_now_and_then(LIMITER_STEADY, LIMITER_KAFKA);
    a_line_that_stands_still_now_and_then(LIMITER_STEADY, LIMITER_DECISION);
}

/* In a millisecond so many come; who has been inside for takes_ms comes out, if somebody does just then. */
static void flow_late(struct flood *f, int come, int64_t takes_ms, int64_t burst_ms)
{
    for (int i = 0; i < come; i++) {
        f->come++;
        if (limiter_admit(&f->limiter, f->now_ms)) {
            f->since[f->in++ % QUEUE] = f->now_ms;
        }
    }
    while (f->now_ms % burst_ms == 0 && f->out < f->in &&
           f->now_ms - f->since[f->out % QUEUE] >= takes_ms) {
        limiter_observe(&f->limiter, f->since[f->out++ % QUEUE], f->now_ms);
    }
    if (f->now_ms % LIMITER_WINDOW_MS == 0) {
        limiter_judge(&f->limiter, f->in - f->out, f->out, f->now_ms);
    }
    f->now_ms++;
}

/*
 * Every so often a few come, and however few go in, all of them come out so late, after a minute of so
 * little.  How many in a hundred are let in, when that has gone on for a minute more.
 */
static int64_t let_in_of_a_late_line(enum limiter_side side, int64_t every_ms, int64_t burst_ms,
                                     int64_t first_ms, int64_t took_ms)
{
    static struct flood f;

    begin_flood(&f, LIMITER_STEADY, side);
    for (int second = 0; second < 180; second++) {
        const int64_t until_ms = f.now_ms + 1000;

        if (second == 120) {
            f.come = 0;
            f.late = f.in;
        }
        while (f.now_ms < until_ms) {
            flow_late(&f, f.now_ms % every_ms == 0 ? COME : 0, second < 60 ? first_ms : took_ms,
                      burst_ms);
        }
    }
    return (f.in - f.late) * 100 / f.come;
}

static void a_line_that_is_late_without_a_crowd(void **state)
{
    (void)state;
    for (int64_t took_ms = 100; took_ms <= 1800; took_ms += 100) {
        assert_true(let_in_of_a_late_line(LIMITER_KAFKA, 1, 1, took_ms, took_ms) >= 95);
        assert_true(let_in_of_a_late_line(LIMITER_DECISION, 10, 1, took_ms, took_ms) >= 95);
    }
}

/* Who comes out together with those who came long after him does not stand in a longer line for it. */
static void a_line_that_lets_out_many_at_once(void **state)
{
    (void)state;
    for (int64_t took_ms = 100; took_ms <= 600; took_ms += 100) {
        for (int64_t burst_ms = 200; burst_ms <= 700; burst_ms += 100) {
            assert_true(let_in_of_a_late_line(LIMITER_KAFKA, 1, burst_ms, took_ms, took_ms) >= 95);
        }
    }
    assert_true(let_in_of_a_late_line(LIMITER_KAFKA, 1, 1000, 600, 600) >= 95);
}

/* A sale opens: how many in a hundred of the crowd's first ten seconds are let in, after one now and then. */
static int64_t let_in_after_a_few(int64_t takes_ms, int64_t burst_ms)
{
    static struct flood f;
    int64_t in;

    begin_flood(&f, LIMITER_STEADY, LIMITER_KAFKA);
    for (int i = 0; i < 30000; i++) {
        flow_late(&f, i % 100 == 0 ? 1 : 0, takes_ms, burst_ms);
    }
    in = f.in;
    f.come = 0;
    for (int i = 0; i < 10000; i++) {
        flow_late(&f, COME, takes_ms, burst_ms);
    }
    return (f.in - in) * 100 / f.come;
}

/* How few came out at once before is no measure. */
static void a_crowd_after_a_few(void **state)
{
    (void)state;
    assert_int_equal(let_in_after_a_few(300, 400), 100);
    assert_int_equal(let_in_after_a_few(200, 700), 100);
    assert_int_equal(let_in_after_a_few(200, 900), 100);
    assert_true(let_in_after_a_few(600, 1000) >= 90);
    assert_true(let_in_after_a_few(300, 700) >= 60);
    assert_true(let_in_after_a_few(600, 700) >= 50);
}

/* Nor for a line that flows. */
static void a_crowd_after_small_ones(void **state)
{
    static struct flood f;

    (void)state;
    begin_flood(&f, LIMITER_STEADY, LIMITER_KAFKA);
    for (int i = 0; i < 90000; i++) {
        flow_late(&f, i % 30000 < 100 ? COME : 0, 40, LIMITER_WINDOW_MS);
    }
    flow(&f, 3, 2000, 100, 0);
    assert_true(f.limiter.is_armed);
}

/* What it knew of the line holds no more; it finds out by what those take whom it lets in. */
static void a_line_that_is_late_of_late(void **state)
{
    (void)state;
    for (int64_t took_ms = 100; took_ms <= 1000; took_ms += 100) {
        assert_true(let_in_of_a_late_line(LIMITER_KAFKA, 1, 1, 1, took_ms) >= 75);
        assert_true(let_in_of_a_late_line(LIMITER_DECISION, 10, 1, 1, took_ms) >= 75);
    }
}

static void what_one_takes_who_meets_no_crowd(void **state)
{
    struct line line;

    (void)state;
    begin(&line, LIMITER_STEADY, LIMITER_KAFKA);
    (void)window(&line, 10, 10, 30);
    assert_int_equal(line.limiter.base_ms, 30);
    /* One halt is not believed at once, who is faster is. */
    (void)window(&line, 10, 10, 90);
    assert_int_equal(line.limiter.base_ms, 80);
    (void)window(&line, 100, 100, 10);
    assert_int_equal(line.limiter.base_ms, 10);
    /* Of a crowd only those prove something who are faster, also when the line is short again. */
    (void)window(&line, 100, 0, 0);
    (void)window(&line, 0, 95, 150);
    assert_int_equal(line.limiter.base_ms, 10);
    (void)window(&line, 5, 5, 250);
    assert_int_equal(line.limiter.base_ms, 10);
    (void)window(&line, 0, 5, 150);
    assert_int_equal(line.limiter.base_ms, 40);
    /* That all take so long is no reason to let everybody wait. */
    begin(&line, LIMITER_STEADY, LIMITER_KAFKA);
    (void)window(&line, 10, 10, 60000);
    assert_int_equal(line.limiter.base_ms, 2000);
}

/* On a machine that is full: nobody comes out for a while, then many do. */
static void a_line_that_stutters(void **state)
{
    static struct flood f;
    uint64_t dice = 1;
    int64_t come = 0;
    int64_t in;

    (void)state;
    begin_flood(&f, LIMITER_STEADY, LIMITER_KAFKA);
    flow(&f, 3, FAST, 1, 0);
    in = f.in;
    for (int i = 0; i < 200; i++) {
        dice = dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        flow_ms(&f, (int64_t)(dice >> 33) % 700, 0, 1, 0);
        come += f.come;
        dice = dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        flow_ms(&f, (int64_t)(dice >> 33) % 500, FAST, 1, 0);
        come += f.come;
    }
    assert_true((f.in - in) * 2 > come);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arms_after_three_slow_windows_in_a_row),
        cmocka_unit_test(a_window_with_few_is_not_in_a_row),
        cmocka_unit_test(one_in_a_hundred_may_be_late),
        cmocka_unit_test(a_lone_shopper_is_never_limited),
        cmocka_unit_test(off_is_off),
        cmocka_unit_test(what_stands_still_is_slow),
        cmocka_unit_test(a_long_line_is_slow_before_anyone_is_late),
        cmocka_unit_test(a_pause_is_over_when_the_line_has_drained),
        cmocka_unit_test(a_late_decision_stops_everything_for_a_while),
        cmocka_unit_test(it_widens_again_and_disarms),
        cmocka_unit_test(it_is_never_shut_for_good),
        cmocka_unit_test(our_own_sleep_is_nobodys_fault),
        cmocka_unit_test(a_flood_that_kafka_cannot_take),
        cmocka_unit_test(a_flood_that_redis_cannot_take),
        cmocka_unit_test(a_flood_that_comes_out_in_bursts),
        cmocka_unit_test(one_request_after_the_other),
        cmocka_unit_test(the_next_burst_is_overdue),
        cmocka_unit_test(a_little_more_than_kafka_can_take),
        cmocka_unit_test(a_broker_that_is_away_now_and_then),
        cmocka_unit_test(a_line_that_is_late_without_a_crowd),
        cmocka_unit_test(a_line_that_lets_out_many_at_once),
        cmocka_unit_test(a_crowd_after_a_few),
        cmocka_unit_test(a_crowd_after_small_ones),
        cmocka_unit_test(a_line_that_is_late_of_late),
        cmocka_unit_test(what_one_takes_who_meets_no_crowd),
        cmocka_unit_test(a_line_that_stutters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
