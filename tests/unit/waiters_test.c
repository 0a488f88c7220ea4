#include "producer/waiters.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/ids.h"

enum {
    CAPACITY = 4,
    TOLD_MAX = 32,
};

#define ORDER_A "00000000-0000-8000-8000-00000000000a"
#define ORDER_B "00000000-0000-8000-8000-00000000000b"

struct told {
    struct waiters *table;
    size_t n;
    uint64_t party[TOLD_MAX];
    const struct event *event[TOLD_MAX];
    bool adds_again;
};

static struct waiters_wish wish(enum waiters_topic topic, const char *order, int64_t deadline_ms)
{
    return (struct waiters_wish){
        .topic = topic,
        .order_id = slice_str(order),
        .user_id = SLICE_LIT("ann"),
        .payment_id = SLICE_LIT("pay-1"),
        .deadline_ms = deadline_ms,
    };
}

static struct event event(enum event_type type, const char *order, const char *user)
{
    struct event e = {.type = type};

    memcpy(e.order_id, order, IDS_ORDER_LEN);
    assert_true(command_set_text(&e.user_id, slice_str(user)));
    return e;
}

static void on_told(uint64_t party, const struct event *e, int64_t offset, void *arg)
{
    struct told *t = arg;

    (void)offset;
    assert_true(t->n < TOLD_MAX);
    t->party[t->n] = party;
    t->event[t->n++] = e;
    if (t->adds_again) {
        const struct waiters_wish again = wish(WAITERS_ORDER, ORDER_B, 100000);

        t->adds_again = false;
        assert_int_not_equal(waiters_add(t->table, &again, 99), WAITERS_NONE);
    }
}

static int setup(void **state)
{
    static struct told t;

    t = (struct told){.n = 0};
    t.table = waiters_create(CAPACITY, on_told, &t);
    *state = &t;
    return 0;
}

static int teardown(void **state)
{
    struct told *t = *state;

    waiters_destroy(t->table);
    return 0;
}

static waiters_ticket add(struct told *t, enum waiters_topic topic, const char *order,
                          int64_t deadline_ms, uint64_t party)
{
    const struct waiters_wish w = wish(topic, order, deadline_ms);

    return waiters_add(t->table, &w, party);
}

static void told_once(void **state)
{
    struct told *t = *state;
    const struct event e = event(EVENT_RESERVED, ORDER_A, "ann");

    assert_int_not_equal(add(t, WAITERS_ORDER, ORDER_A, 1000, 1), WAITERS_NONE);
    assert_int_equal(waiters_tell(t->table, &e, 5), 1);
    assert_int_equal(waiters_tell(t->table, &e, 5), 0);
    assert_int_equal(t->party[0], 1);
    assert_ptr_equal(t->event[0], &e);
    assert_int_equal(waiters_expire(t->table, 100000), 0);
    assert_int_equal(waiters_count(t->table), 0);
}

static void strangers_hear_nothing(void **state)
{
    struct told *t = *state;
    const struct event other_user = event(EVENT_RESERVED, ORDER_A, "bob");
    const struct event other_order = event(EVENT_RESERVED, ORDER_B, "ann");

    assert_int_not_equal(add(t, WAITERS_ORDER, ORDER_A, 1000, 1), WAITERS_NONE);
    assert_int_equal(waiters_tell(t->table, &other_user, 5), 0);
    assert_int_equal(waiters_tell(t->table, &other_order, 6), 0);
    assert_int_equal(waiters_count(t->table), 1);
}

static void topics_hear_their_events(void **state)
{
    struct told *t = *state;
    struct event paid = event(EVENT_PAID, ORDER_A, "ann");
    struct event refund = event(EVENT_REFUND_DUE, ORDER_A, "ann");
    struct event refused = event(EVENT_REFUSED, ORDER_A, "ann");
    struct event again = event(EVENT_DUPLICATE, ORDER_A, "ann");

    assert_true(command_set_text(&paid.payment_id, SLICE_LIT("pay-2")));
    assert_true(command_set_text(&refund.payment_id, SLICE_LIT("pay-1")));
    assert_int_not_equal(add(t, WAITERS_PAYMENT, ORDER_A, 1000, 1), WAITERS_NONE);
    assert_false(
        waiters_placed(t->table, add(t, WAITERS_CANCEL, ORDER_A, 1000, 2), 8, &refused.reason));
    assert_int_equal(waiters_tell(t->table, &paid, 5), 0); /* another payment */
    assert_int_equal(waiters_tell(t->table, &refund, 6), 1);
    assert_int_equal(t->party[0], 1);
    again.state = ORDER_RESERVED;
    assert_int_equal(waiters_tell(t->table, &again, 7), 0); /* says nothing of a cancel */
    assert_int_equal(waiters_tell(t->table, &refused, 8), 1);
    assert_int_equal(t->party[1], 2);
    assert_int_not_equal(add(t, WAITERS_ORDER, ORDER_A, 1000, 3), WAITERS_NONE);
    assert_int_equal(waiters_tell(t->table, &refused, 9), 0); /* says nothing of the order */
    assert_int_equal(waiters_tell(t->table, &again, 10), 1);
}

static void a_cancel_hears_its_own_refusal_only(void **state)
{
    struct told *t = *state;
    struct event refused = event(EVENT_REFUSED, ORDER_A, "ann");
    const struct event cancelled = event(EVENT_CANCELLED, ORDER_A, "ann");
    const waiters_ticket first = add(t, WAITERS_CANCEL, ORDER_A, 1000, 1);
    const waiters_ticket second = add(t, WAITERS_CANCEL, ORDER_A, 1000, 2);
    enum reason reason;

    assert_false(waiters_placed(t->table, first, 5, &reason));
    assert_false(waiters_placed(t->table, second, 7, &reason));
    assert_int_equal(waiters_tell(t->table, &refused, 5), 1);
    assert_int_equal(t->party[0], 1);
    assert_int_equal(waiters_tell(t->table, &cancelled, 6), 1); /* whoever did it */
    assert_int_equal(t->party[1], 2);
}

static void a_refusal_may_come_before_the_place(void **state)
{
    struct told *t = *state;
    struct event refused = event(EVENT_REFUSED, ORDER_A, "ann");
    const waiters_ticket first = add(t, WAITERS_CANCEL, ORDER_A, 1000, 1);
    const waiters_ticket second = add(t, WAITERS_CANCEL, ORDER_A, 1000, 2);
    enum reason reason;

    refused.reason = REASON_UNKNOWN_ORDER;
    assert_int_equal(waiters_tell(t->table, &refused, 5), 0);
    assert_false(waiters_placed(t->table, first, 6, &reason));
    refused.reason = REASON_EXPIRED;
    assert_int_equal(waiters_tell(t->table, &refused, 7), 0);
    assert_true(waiters_placed(t->table, second, 7, &reason));
    assert_int_equal(reason, REASON_EXPIRED);
    assert_int_equal(waiters_count(t->table), 2);
}

/* Kafka may report a command as stored, and not where. */
static void a_place_that_was_not_told_is_no_refusal(void **state)
{
    struct told *t = *state;
    enum reason reason;

    assert_false(waiters_placed(t->table, add(t, WAITERS_PAYMENT, ORDER_A, 1000, 1), -1, &reason));
    assert_false(waiters_placed(t->table, add(t, WAITERS_CANCEL, ORDER_A, 1000, 2), -1, &reason));
}

static void a_duplicate_payment_answers(void **state)
{
    struct told *t = *state;
    struct event e = event(EVENT_DUPLICATE, ORDER_A, "ann");

    e.payment = 'P';
    assert_true(command_set_text(&e.payment_id, SLICE_LIT("pay-1")));
    assert_int_not_equal(add(t, WAITERS_PAYMENT, ORDER_A, 1000, 1), WAITERS_NONE);
    assert_int_not_equal(add(t, WAITERS_ORDER, ORDER_A, 1000, 2), WAITERS_NONE);
    assert_int_equal(waiters_tell(t->table, &e, 5), 1);
    assert_int_equal(t->party[0], 1);
}

static void many_wait_for_one(void **state)
{
    struct told *t = *state;
    const struct event e = event(EVENT_REJECTED, ORDER_A, "ann");

    for (uint64_t i = 1; i <= CAPACITY; i++) {
        assert_int_not_equal(add(t, WAITERS_ORDER, ORDER_A, 1000, i), WAITERS_NONE);
    }
    assert_int_equal(add(t, WAITERS_ORDER, ORDER_A, 1000, 9), WAITERS_NONE);
    assert_int_equal(waiters_tell(t->table, &e, 5), CAPACITY);
    assert_int_not_equal(add(t, WAITERS_ORDER, ORDER_A, 1000, 9), WAITERS_NONE);
}

static void what_was_seen_is_dropped(void **state)
{
    struct told *t = *state;
    const struct event e = event(EVENT_RESERVED, ORDER_A, "ann");
    const waiters_ticket ticket = add(t, WAITERS_ORDER, ORDER_A, 1000, 1);

    waiters_seen(t->table, ticket, 10);
    waiters_seen(t->table, ticket, 20); /* only the first look-up counts */
    assert_int_equal(waiters_tell(t->table, &e, 10), 0);
    assert_int_equal(waiters_tell(t->table, &e, 11), 1);
}

static void deadlines(void **state)
{
    struct told *t = *state;

    assert_int_not_equal(add(t, WAITERS_ORDER, ORDER_A, 1000, 1), WAITERS_NONE);
    assert_int_not_equal(add(t, WAITERS_ORDER, ORDER_B, 500, 2), WAITERS_NONE);
    assert_int_equal(waiters_expire(t->table, 499), 0);
    assert_int_equal(waiters_expire(t->table, 550), 1);
    assert_int_equal(t->party[0], 2);
    assert_null(t->event[0]);
    assert_int_equal(waiters_expire(t->table, 999), 0);
    assert_int_equal(waiters_expire(t->table, 1050), 1);
    assert_int_equal(waiters_count(t->table), 0);
}

static void a_deadline_beyond_the_wheel(void **state)
{
    struct told *t = *state;
    const int64_t far_ms = 500000;

    assert_int_equal(waiters_expire(t->table, 1000), 0);
    assert_int_not_equal(add(t, WAITERS_ORDER, ORDER_A, far_ms, 1), WAITERS_NONE);
    for (int64_t now_ms = 1000; now_ms < far_ms; now_ms += 1000) {
        assert_int_equal(waiters_expire(t->table, now_ms), 0);
    }
    assert_int_equal(waiters_expire(t->table, far_ms + 50), 1);
}

static void a_deadline_in_the_past_comes_soon(void **state)
{
    struct told *t = *state;

    assert_int_equal(waiters_expire(t->table, 10000), 0);
    assert_int_not_equal(add(t, WAITERS_ORDER, ORDER_A, 5000, 1), WAITERS_NONE);
    assert_int_equal(waiters_expire(t->table, 10050), 1);
}

static void a_sleeping_loop_misses_nobody(void **state)
{
    struct told *t = *state;

    assert_int_equal(waiters_expire(t->table, 1000), 0);
    assert_int_not_equal(add(t, WAITERS_ORDER, ORDER_A, 2000, 1), WAITERS_NONE);
    assert_int_equal(waiters_expire(t->table, 10000000), 1);
}

static void removed_and_stale_tickets(void **state)
{
    struct told *t = *state;
    const struct event e = event(EVENT_RESERVED, ORDER_A, "ann");
    const waiters_ticket ticket = add(t, WAITERS_ORDER, ORDER_A, 1000, 1);

    assert_true(waiters_remove(t->table, ticket));
    assert_false(waiters_remove(t->table, ticket));
    assert_int_equal(waiters_tell(t->table, &e, 5), 0);
    assert_int_not_equal(add(t, WAITERS_ORDER, ORDER_A, 1000, 2), WAITERS_NONE);
    waiters_seen(t->table, ticket, 100); /* names nobody any more */
    assert_int_equal(waiters_tell(t->table, &e, 5), 1);
}

static void told_may_add(void **state)
{
    struct told *t = *state;
    const struct event e = event(EVENT_RESERVED, ORDER_A, "ann");

    t->adds_again = true;
    for (uint64_t i = 1; i <= CAPACITY; i++) {
        assert_int_not_equal(add(t, WAITERS_ORDER, ORDER_A, 1000, i), WAITERS_NONE);
    }
    assert_int_equal(waiters_tell(t->table, &e, 5), CAPACITY);
    assert_int_equal(waiters_count(t->table), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(told_once),
        TEST(strangers_hear_nothing),
        TEST(topics_hear_their_events),
        TEST(a_cancel_hears_its_own_refusal_only),
        TEST(a_refusal_may_come_before_the_place),
        TEST(a_place_that_was_not_told_is_no_refusal),
        TEST(a_duplicate_payment_answers),
        TEST(many_wait_for_one),
        TEST(what_was_seen_is_dropped),
        TEST(deadlines),
        TEST(a_deadline_beyond_the_wheel),
        TEST(a_deadline_in_the_past_comes_soon),
        TEST(a_sleeping_loop_misses_nobody),
        TEST(removed_and_stale_tickets),
        TEST(told_may_add),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
