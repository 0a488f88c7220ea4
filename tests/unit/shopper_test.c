/*
 * What a shopper makes of answers, what it does next, and what the ledger and the series keep of it.
 */
#include "tools/stampede/shopper.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ID   "0190b2a4-0000-7000-8000-000000000001"
#define ID_2 "0190b2a4-0000-7000-8000-000000000002"
#define MS   INT64_C(1000)

static struct crowd crowd;
static struct shopper shopper;

static int setup(void **state)
{
    (void)state;
    memset(&crowd, 0, sizeof(crowd));
    crowd.habits = (struct habits){.pay = 1, .keyed = 100, .wait_s = 5, .returns = 1};
    (void)snprintf(crowd.ledger.items[0], sizeof(crowd.ledger.items[0]), "phone");
    crowd.ledger.n_items = 1;
    told_init(&crowd.ledger, 1);
    series_init(&crowd.series, 0, 1000000);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    told_fini(&crowd.ledger);
    series_fini(&crowd.series);
    return 0;
}

/* The answer, heard at now; 503 and 429 say: in 2 s. */
static int64_t hear(int status, const char *body, int64_t now_us)
{
    const struct answer a = {status, status == 503 || status == 429 ? 2 : -1, false,
                             slice_str(body)};

    return shopper_answered(&crowd, &shopper, &a, shopper.step_us, true, now_us);
}

static const struct told_order *order(void)
{
    return shopper_order(&crowd, &shopper);
}

static void test_reserves_and_pays(void **state)
{
    (void)state;
    shopper_arrive(&crowd, &shopper, 0, 1000 * MS);
    assert_in_range(hear(202, "{\"order_id\":\"" ID "\",\"state\":\"queued\"}", 1004 * MS),
                    1024 * MS, 1124 * MS);
    assert_int_equal(shopper.step, SHOPPER_ASK);
    assert_int_equal(histogram_max(&crowd.series.now[SERIES_TO_ACCEPTED]), 4 * MS);
    assert_int_equal(hear(200, "{\"state\":\"queued\"}", 1100 * MS), 1150 * MS);
    assert_int_equal(hear(404, "{\"reason\":\"unknown_order\"}", 1200 * MS), 1300 * MS);
    assert_int_equal(hear(200, "{\"order_id\":\"" ID "\",\"state\":\"reserved\"}", 1400 * MS),
                     1400 * MS);
    assert_int_equal(shopper.step, SHOPPER_PAY);
    assert_int_equal(histogram_max(&crowd.series.now[SERIES_TO_DECIDED]), 400 * MS);
    assert_int_equal(hear(202, "{\"payment\":\"queued\"}", 1450 * MS), 1550 * MS);
    assert_int_equal(hear(200, "{\"payment\":\"duplicate\",\"first_payment\":\"paid\"}", 1600 * MS),
                     -1);
    assert_int_equal(histogram_max(&crowd.series.now[SERIES_TO_PAID]), 200 * MS);
    assert_int_equal(told_ended(order()), TOLD_PAID);
    assert_false(order()->contradicted);
    assert_int_equal(crowd.series.counts[SERIES_ACCEPTED], 1);
    assert_int_equal(crowd.series.counts[SERIES_RESERVED], 1);
    assert_int_equal(crowd.series.counts[SERIES_PAID], 1);
}

static void test_refused_for_now_comes_again_when_told(void **state)
{
    (void)state;
    shopper_arrive(&crowd, &shopper, 0, 0);
    assert_in_range(hear(503, "{\"reason\":\"lagging\"}", 10 * MS), 2010 * MS, 2210 * MS);
    assert_int_equal(shopper.step, SHOPPER_ORDER);
    assert_int_equal(shopper.press, 1); /* the same key */
    assert_int_equal(crowd.series.counts[SERIES_REFUSED], 1);
    assert_string_equal(crowd.ledger.refused.rows[0].name, "lagging");
    assert_int_equal(told_ended(order()), TOLD_REFUSED);
}

static void test_unknown_is_an_outcome_of_its_own(void **state)
{
    (void)state;
    shopper_arrive(&crowd, &shopper, 0, 0);
    assert_true(hear(504, "{\"reason\":\"unknown\",\"order_id\":\"" ID "\"}", 10 * MS) > 0);
    assert_int_equal(shopper.step, SHOPPER_ORDER);
    assert_int_equal(told_ended(order()), TOLD_UNKNOWN);
    assert_true(hear(503, "{\"reason\":\"recovering\"}", 400 * MS) > 0); /* says nothing about it */
    assert_int_equal(told_ended(order()), TOLD_UNKNOWN);
    assert_true(hear(0, "", 3000 * MS) > 0);
    assert_int_equal(crowd.series.counts[SERIES_UNKNOWN], 2);
    assert_true(hear(200, "{\"order_id\":\"" ID "\",\"state\":\"reserved\"}", 4000 * MS) > 0);
    assert_true(hear(0, "", 5000 * MS) > 0); /* the payment's fate */
    assert_int_equal(told_ended(order()), TOLD_UNKNOWN);
    assert_int_equal(hear(200, "{\"payment\":\"paid\"}", 6000 * MS), -1);
    assert_int_equal(told_ended(order()), TOLD_PAID);
}

static void test_without_a_key_nobody_presses_again(void **state)
{
    (void)state;
    crowd.habits.keyed = 0;
    crowd.habits.double_press = crowd.habits.retry = 100;
    shopper_arrive(&crowd, &shopper, 0, 0);
    assert_false(shopper.presses_twice);
    assert_int_equal(hear(0, "", 10 * MS), -1);
    assert_int_equal(told_ended(order()), TOLD_UNKNOWN);
    shopper_arrive(&crowd, &shopper, 1, 0);
    assert_true(hear(504, "{\"order_id\":\"" ID "\"}", 10 * MS) > 0);
    assert_int_equal(shopper.step, SHOPPER_ASK);
    assert_true(hear(200, "{\"state\":\"rejected\",\"reason\":\"sold_out\"}", 20 * MS) < 0);
    assert_int_equal(told_ended(order()), TOLD_REJECTED);
}

static void test_never_reached(void **state)
{
    const struct answer none = {.retry_after_s = -1};

    (void)state;
    shopper_arrive(&crowd, &shopper, 0, 0);
    assert_true(shopper_answered(&crowd, &shopper, &none, 0, false, 10 * MS) > 0);
    assert_int_equal(crowd.series.counts[SERIES_UNKNOWN], 0);
    assert_int_equal(told_ended(order()), TOLD_UNSERVED);
}

static void test_comes_back_with_a_new_key(void **state)
{
    (void)state;
    crowd.habits.come_back = 100;
    shopper_arrive(&crowd, &shopper, 0, 0);
    assert_in_range(hear(409, "{\"reason\":\"sold_out\"}", 10 * MS), 1510 * MS, 4510 * MS);
    assert_int_equal(shopper.press, 2);
    assert_int_equal(crowd.ledger.n, 2);
    assert_int_equal(hear(409, "{\"reason\":\"sold_out\"}", 5000 * MS), -1);
    assert_int_equal(told_ended(order()), TOLD_REFUSED);
}

static void test_cancels(void **state)
{
    (void)state;
    crowd.habits.pay = 0;
    crowd.habits.cancel = 1;
    crowd.habits.wait = 100;
    shopper_arrive(&crowd, &shopper, 0, 0);
    assert_true(hear(201, "{\"order_id\":\"" ID "\",\"state\":\"reserved\"}", 10 * MS) > 0);
    assert_int_equal(histogram_count(&crowd.series.now[SERIES_TO_ACCEPTED]), 0); /* it waited */
    assert_int_equal(shopper.step, SHOPPER_CANCEL);
    assert_int_equal(hear(200, "{\"state\":\"cancelled\"}", 20 * MS), -1);
    assert_int_equal(told_ended(order()), TOLD_CANCELLED);
    assert_int_equal(crowd.series.counts[SERIES_CANCELLED], 1);
}

static void test_contradictions(void **state)
{
    const struct answer other = {202, -1, false,
                                 SLICE_LIT("{\"order_id\":\"" ID_2 "\",\"state\":\"queued\"}")};
    const struct answer same = {200, -1, false,
                                SLICE_LIT("{\"order_id\":\"" ID "\",\"state\":\"reserved\"}")};

    (void)state;
    shopper_arrive(&crowd, &shopper, 0, 0);
    assert_true(hear(202, "{\"order_id\":\"" ID "\",\"state\":\"queued\"}", 10 * MS) > 0);
    shopper_answered_twice(&crowd, shopper.order, &same);
    assert_false(order()->contradicted);
    shopper_answered_twice(&crowd, shopper.order, &other); /* one key, two orders */
    assert_true(order()->contradicted);

    shopper_arrive(&crowd, &shopper, 1, 0);
    assert_true(hear(200, "{\"order_id\":\"" ID "\",\"state\":\"reserved\"}", 10 * MS) > 0);
    shopper_answered_twice(
        &crowd, shopper.order,
        &(struct answer){409, -1, false,
                         SLICE_LIT("{\"state\":\"rejected\",\"reason\":\"sold_out\"}")});
    assert_true(order()->contradicted);
}

static void test_answers_outside_the_protocol(void **state)
{
    (void)state;
    shopper_arrive(&crowd, &shopper, 0, 0);
    assert_int_equal(hear(418, "{}", 10 * MS), -1);
    assert_int_equal(crowd.series.counts[SERIES_UNEXPECTED], 1);
}

static void test_series(void **state)
{
    struct series *s = &crowd.series;
    const struct series_state seen = {.requests = 5, .available = 3};

    (void)state;
    assert_int_equal(series_due_us(s), 1000000);
    for (int i = 1; i <= 1000; i++) {
        series_time(s, SERIES_SERVICE, i);
    }
    series_add(s, SERIES_PAID);
    series_step(s, &seen);
    series_add(s, SERIES_PAID);
    series_time(s, SERIES_SERVICE, 5000);
    series_step(s, &seen);
    assert_int_equal(s->n, 3);
    assert_int_equal(series_due_us(s), 3000000);
    assert_in_range(s->rows[0].times_us[SERIES_SERVICE][0], 500, 508);
    assert_in_range(s->rows[0].times_us[SERIES_SERVICE][2], 990, 1000);
    assert_int_equal(s->rows[0].times_us[SERIES_SERVICE][4], 1000);
    assert_int_equal(s->rows[1].times_us[SERIES_SERVICE][0], 5000);
    assert_int_equal(s->rows[1].times_us[SERIES_TO_PAID][0], -1); /* nothing was timed */
    assert_int_equal(histogram_count(&s->times[SERIES_SERVICE]), 1001);
    assert_int_equal(s->rows[0].counts[SERIES_PAID], 1);
    assert_int_equal(s->rows[1].counts[SERIES_PAID], 1);
    assert_int_equal(s->counts[SERIES_PAID], 2);
    assert_int_equal(s->rows[0].state.available, 3);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_reserves_and_pays),
        TEST(test_refused_for_now_comes_again_when_told),
        TEST(test_unknown_is_an_outcome_of_its_own),
        TEST(test_without_a_key_nobody_presses_again),
        TEST(test_never_reached),
        TEST(test_comes_back_with_a_new_key),
        TEST(test_cancels),
        TEST(test_contradictions),
        TEST(test_answers_outside_the_protocol),
        TEST(test_series),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
