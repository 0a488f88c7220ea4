#include "producer/gates.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum {
    CAPACITY = 3,
    FRESH_MS = 1000,
};

static const struct slice phone = {"phone", 5};

static struct item_entry open_item(int64_t available)
{
    return (struct item_entry){
        .total = 100, .available = available, .held = 100 - available, .limit = 2, .state = 'o'};
}

static enum gates_answer ask(struct gates *g, int64_t qty, int64_t now_ms, enum reason *reason)
{
    const struct gates_question q = {
        .item_id = phone, .qty = qty, .now_ms = now_ms, .log_clock_ms = 5000, .log_time_ms = 5000};

    return gates_check(g, &q, reason);
}

static void count(struct gates *g, enum event_type type, int64_t offset, int64_t available,
                  int64_t now_ms)
{
    struct event e = {.type = type, .available = available};

    assert_true(command_set_text(&e.item_id, phone));
    gates_record(g, offset);
    gates_event(g, &e, now_ms);
}

static int setup(void **state)
{
    *state = gates_create(CAPACITY, FRESH_MS);
    return 0;
}

static int teardown(void **state)
{
    gates_destroy(*state);
    return 0;
}

static void an_unknown_item_is_asked(void **state)
{
    struct gates *g = *state;
    enum reason reason;

    assert_int_equal(ask(g, 1, 0, &reason), GATES_ASK);
    gates_learn(g, phone, NULL, 5, 0);
    assert_int_equal(ask(g, 1, FRESH_MS, &reason), GATES_REFUSE);
    assert_int_equal(reason, REASON_UNKNOWN_ITEM);
    assert_int_equal(ask(g, 1, FRESH_MS + 1, &reason), GATES_ASK);
}

static void refusals_need_fresh_knowledge(void **state)
{
    struct gates *g = *state;
    struct item_entry item = open_item(0);
    enum reason reason;

    gates_learn(g, phone, &item, 5, 0);
    assert_int_equal(ask(g, 1, FRESH_MS, &reason), GATES_REFUSE);
    assert_int_equal(reason, REASON_SOLD_OUT);
    assert_int_equal(ask(g, 1, FRESH_MS + 1, &reason), GATES_ASK);
    item = open_item(1);
    gates_learn(g, phone, &item, 6, 10000);
    assert_int_equal(ask(g, 1, 900000, &reason), GATES_PASS); /* passing needs none */
    assert_int_equal(ask(g, 2, 10000, &reason), GATES_REFUSE);
    assert_int_equal(ask(g, 3, 10000, &reason), GATES_REFUSE);
    assert_int_equal(reason, REASON_LIMIT_REACHED);
}

static void in_the_order_of_the_rules(void **state)
{
    struct gates *g = *state;
    struct item_entry item = open_item(0);
    enum reason reason;

    item.limit = 0;
    item.state = 'p';
    item.opens_at = 5001;
    item.closes_at = 5000;
    gates_learn(g, phone, &item, 1, 0);
    assert_int_equal(ask(g, 1, 0, &reason), GATES_REFUSE);
    assert_int_equal(reason, REASON_CLOSED);
    item.closes_at = 5001;
    gates_learn(g, phone, &item, 2, 0);
    assert_int_equal(ask(g, 1, 0, &reason), GATES_REFUSE);
    assert_int_equal(reason, REASON_NOT_OPEN);
    item.opens_at = 5000;
    gates_learn(g, phone, &item, 3, 0);
    assert_int_equal(ask(g, 1, 0, &reason), GATES_REFUSE);
    assert_int_equal(reason, REASON_PAUSED);
    item.state = 'o';
    gates_learn(g, phone, &item, 4, 0);
    assert_int_equal(ask(g, 1, 0, &reason), GATES_REFUSE);
    assert_int_equal(reason, REASON_LIMIT_REACHED);
    item.state = 'c';
    item.closes_at = 0;
    gates_learn(g, phone, &item, 5, 0);
    assert_int_equal(ask(g, 1, 0, &reason), GATES_REFUSE);
    assert_int_equal(reason, REASON_CLOSED);
}

static void of_the_logs_clock_only_what_is_certain_closes(void **state)
{
    static const struct {
        int64_t log_clock_ms, log_time_ms;
        enum reason reason;
    } cases[] = {
        {999, 999, REASON_NOT_OPEN}, {1000, 0, REASON_NONE},      {999, 1000, REASON_NONE},
        {9000, 1999, REASON_NONE},   {1500, 2000, REASON_CLOSED},
    };
    struct gates *g = *state;
    struct item_entry item = open_item(5);

    item.opens_at = 1000;
    item.closes_at = 2000;
    gates_learn(g, phone, &item, 5, 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct gates_question q = {.item_id = phone,
                                         .qty = 1,
                                         .log_clock_ms = cases[i].log_clock_ms,
                                         .log_time_ms = cases[i].log_time_ms};
        enum reason reason;

        assert_int_equal(gates_check(g, &q, &reason),
                         cases[i].reason == REASON_NONE ? GATES_PASS : GATES_REFUSE);
        assert_int_equal(reason, cases[i].reason);
    }
}

static void a_unit_that_returns_opens_the_gate(void **state)
{
    struct gates *g = *state;
    const struct item_entry item = open_item(0);
    enum reason reason;

    gates_learn(g, phone, &item, 10, 0);
    assert_int_equal(ask(g, 1, 1, &reason), GATES_REFUSE);
    count(g, EVENT_EXPIRED, 11, 1, 1);
    assert_int_equal(ask(g, 1, 1, &reason), GATES_PASS);
    count(g, EVENT_RESERVED, 12, 0, 2);
    assert_int_equal(ask(g, 1, FRESH_MS + 2, &reason), GATES_REFUSE); /* confirmed by the event */
    assert_int_equal(ask(g, 1, FRESH_MS + 3, &reason), GATES_ASK);
}

static void older_news_changes_nothing(void **state)
{
    struct gates *g = *state;
    struct item_entry item = open_item(5);
    enum reason reason;

    gates_learn(g, phone, &item, 10, 0);
    count(g, EVENT_RESERVED, 9, 0, 0);
    count(g, EVENT_RESERVED, 10, 0, 0); /* the look-up had seen that record */
    assert_int_equal(ask(g, 2, 0, &reason), GATES_PASS);
    count(g, EVENT_RESERVED, 12, 0, 0);
    gates_learn(g, phone, &item, 11, 0); /* a Redis that went back */
    assert_int_equal(ask(g, 1, 0, &reason), GATES_REFUSE);
    gates_learn(g, phone, &item, 12, 0);
    assert_int_equal(ask(g, 1, 0, &reason), GATES_PASS);
}

static void all_events_of_one_record_count(void **state)
{
    struct gates *g = *state;
    const struct item_entry item = open_item(0);
    struct event e = {.type = EVENT_EXPIRED, .available = 1};
    enum reason reason;

    gates_learn(g, phone, &item, 10, 0);
    assert_true(command_set_text(&e.item_id, phone));
    gates_record(g, 11);
    gates_event(g, &e, 0);
    e.type = EVENT_RESERVED;
    e.available = 0;
    gates_event(g, &e, 0);
    assert_int_equal(ask(g, 1, 0, &reason), GATES_REFUSE);
    /* The same record once more, as after a recovery: not news. */
    e.available = 7;
    gates_record(g, 11);
    gates_event(g, &e, 0);
    assert_int_equal(ask(g, 1, 0, &reason), GATES_REFUSE);
}

static void a_stock_event_tells_everything(void **state)
{
    struct gates *g = *state;
    struct event e = {.type = EVENT_STOCK,
                      .total = 9,
                      .available = 7,
                      .held = 1,
                      .sold = 1,
                      .limit = 3,
                      .item_state = 'p'};
    struct item_entry item;
    enum reason reason;

    gates_learn(g, phone, NULL, 1, 0);
    assert_int_equal(gates_item(g, phone, 0, &item), 0);
    assert_true(command_set_text(&e.item_id, phone));
    gates_record(g, 2);
    gates_event(g, &e, 0);
    assert_int_equal(ask(g, 1, 0, &reason), GATES_REFUSE);
    assert_int_equal(reason, REASON_PAUSED);
    assert_int_equal(gates_item(g, phone, 0, &item), 1);
    assert_int_equal(item.total, 9);
    count(g, EVENT_RESERVED, 3, 6, 0);
    assert_int_equal(gates_item(g, phone, 0, &item), 1);
    assert_int_equal(item.total, item.available + item.held + item.sold); /* of one moment */
    assert_int_equal(gates_item(g, phone, 10, &item), 1);
    assert_int_equal(gates_item(g, phone, 11, &item), -1); /* its counts have moved since */
    gates_learn(g, phone, &(struct item_entry){.total = 9, .available = 6}, 3, 20);
    assert_int_equal(gates_item(g, phone, FRESH_MS + 20, &item), 1);
    assert_int_equal(gates_item(g, phone, FRESH_MS + 21, &item), -1);
}

static void events_of_unknown_items_take_no_room(void **state)
{
    struct gates *g = *state;

    count(g, EVENT_RESERVED, 3, 6, 0);
    assert_int_equal(gates_count(g), 0);
}

static void the_one_not_used_longest_gives_way(void **state)
{
    struct gates *g = *state;
    const struct item_entry item = open_item(5);
    struct item_entry out;
    char name[8];

    for (int i = 0; i < CAPACITY; i++) {
        (void)snprintf(name, sizeof(name), "i%d", i);
        gates_learn(g, slice_str(name), &item, 1, 0);
    }
    assert_int_equal(gates_item(g, SLICE_LIT("i0"), 0, &out), 1); /* used again */
    gates_learn(g, SLICE_LIT("new"), &item, 1, 0);
    assert_int_equal(gates_item(g, SLICE_LIT("i1"), 0, &out), -1);
    assert_int_equal(gates_item(g, SLICE_LIT("i0"), 0, &out), 1);
    assert_int_equal(gates_item(g, SLICE_LIT("i2"), 0, &out), 1);
    assert_int_equal(gates_count(g), CAPACITY);
    assert_int_equal(gates_evicted(g), 1);
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof(name), "j%d", i);
        gates_learn(g, slice_str(name), &item, 1, 0);
        assert_int_equal(gates_item(g, slice_str(name), 0, &out), 1);
    }
    assert_int_equal(gates_count(g), CAPACITY);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_unknown_item_is_asked),
        TEST(refusals_need_fresh_knowledge),
        TEST(in_the_order_of_the_rules),
        TEST(of_the_logs_clock_only_what_is_certain_closes),
        TEST(a_unit_that_returns_opens_the_gate),
        TEST(older_news_changes_nothing),
        TEST(all_events_of_one_record_count),
        TEST(a_stock_event_tells_everything),
        TEST(events_of_unknown_items_take_no_room),
        TEST(the_one_not_used_longest_gives_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
