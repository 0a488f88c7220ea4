/*
 * What stands in Redis of a user's orders and of an item.
 */
#include "common/outcome.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/outcome_check.h"

static void a_users_orders_are_read_one_by_one(void **state)
{
    struct slice value = SLICE_LIT(ONE " phone@3 2 P 0 5 6 PpayA,RpayB;" TWO " cup@3 1 R 7 0 8 -");
    struct order_entry entry;
    struct slice payment_id;
    char answer;

    (void)state;
    assert_int_equal(order_entry_next(&value, &entry), 1);
    assert_true(slice_eq(entry.order_id, SLICE_LIT(ONE)));
    assert_true(slice_eq(entry.item_id, SLICE_LIT("phone@3")));
    assert_int_equal(entry.qty, 2);
    assert_int_equal(entry.state, ORDER_PAID);
    assert_int_equal(entry.reason, REASON_NONE);
    assert_int_equal(entry.due, 5);
    assert_int_equal(entry.offset, 6);
    assert_int_equal(order_payment_next(&entry.payments, &answer, &payment_id), 1);
    assert_int_equal(answer, 'P');
    assert_true(slice_eq(payment_id, SLICE_LIT("payA")));
    assert_int_equal(order_payment_next(&entry.payments, &answer, &payment_id), 1);
    assert_int_equal(answer, 'R');
    assert_true(slice_eq(payment_id, SLICE_LIT("payB")));
    assert_int_equal(order_payment_next(&entry.payments, &answer, &payment_id), 0);
    assert_int_equal(order_payment_next(&entry.payments, &answer, &payment_id), 0);

    assert_int_equal(order_entry_next(&value, &entry), 1);
    assert_true(slice_eq(entry.order_id, SLICE_LIT(TWO)));
    assert_int_equal(entry.state, ORDER_REJECTED);
    assert_int_equal(entry.reason, REASON_UNKNOWN_ITEM);
    assert_int_equal(order_payment_next(&entry.payments, &answer, &payment_id), 0);
    assert_int_equal(order_entry_next(&value, &entry), 0);
    assert_int_equal(order_entry_next(&value, &entry), 0);
}

static void a_spoilt_value_is_noticed(void **state)
{
    static const char *const entries[] = {
        ";",
        ONE " phone@3 2 P 0 5 6 -;",
        ";" ONE " phone@3 2 P 0 5 6 -",
        ONE " phone@3 2 P 0 5 6",
        ONE " phone@3 2 P 0 5 6 ",
        ONE " phone@3 2 P 0 5 6 - ",
        ONE " phone@3 2 P 1 5 6 -",
        ONE " phone@3 2 R 0 5 6 -",
        ONE " phone@3 2 Q 0 5 6 -",
        ONE " phone@3 0 P 0 5 6 -",
        ONE " phone@3 2 P 0 -5 6 -",
        "x phone@3 2 P 0 5 6 -",
        ONE "  2 P 0 5 6 -",
        " ",
    };
    static const char *const payments[] = {",", "P", "Pa,", "Qa", "a", "Pa b"};
    struct order_entry entry;
    struct slice payment_id;
    char answer;

    (void)state;
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        struct slice value = slice_str(entries[i]);

        assert_int_equal(order_entry_next(&value, &entry), -1);
    }
    for (size_t i = 0; i < sizeof(payments) / sizeof(payments[0]); i++) {
        struct slice value = slice_str(payments[i]);

        assert_int_equal(order_payment_next(&value, &answer, &payment_id), -1);
    }
}

static void a_payments_value_is_read(void **state)
{
    static const char *const bad[] = {
        "",
        "P 0 " ONE,
        "P 0 " ONE " 17 ",
        "P 0 " ONE " 17 1",
        "P 1 " ONE " 17",
        "R 0 " ONE " 17",
        "R 3 " ONE " 17", /* not_open: of orders only */
        "R 99 " ONE " 17",
        "Q 0 " ONE " 17",
        "P 0 x 17",
        "P 0 " ONE " -1",
    };
    struct payment_entry payment;

    (void)state;
    assert_true(payment_entry_parse(SLICE_LIT("R 10 " ONE " 17"), &payment));
    assert_int_equal(payment.answer, 'R');
    assert_int_equal(payment.reason, REASON_ALREADY_CANCELLED);
    assert_true(slice_eq(payment.order_id, SLICE_LIT(ONE)));
    assert_int_equal(payment.offset, 17);
    assert_true(payment_entry_parse(SLICE_LIT("P 0 " ONE " 0"), &payment));
    assert_int_equal(payment.answer, 'P');
    assert_int_equal(payment.reason, REASON_NONE);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(payment_entry_parse(slice_str(bad[i]), &payment));
    }
}

static void an_items_value_is_read(void **state)
{
    static const char *const bad[] = {"",
                                      "10 5 3 2 1 300000 4 5 p",
                                      "10 5 3 2 1 300000 4 5 p 1999 ",
                                      "10 5 3 2 1 300000 4 5 p 1999 1",
                                      "10 5 3 2 1 300000 4 5 x 1999",
                                      "10 5 3 2 0 300000 4 5 p 1999",
                                      "10 -5 3 2 1 300000 4 5 p 1999",
                                      "10 5 3 2 1 3e5 4 5 p 1999"};
    struct item_entry item;

    (void)state;
    assert_true(item_entry_parse(SLICE_LIT("10 5 3 2 1 300000 4 5 p 1999"), &item));
    assert_int_equal(item.total, 10);
    assert_int_equal(item.available, 5);
    assert_int_equal(item.held, 3);
    assert_int_equal(item.sold, 2);
    assert_int_equal(item.limit, 1);
    assert_int_equal(item.hold_ms, 300000);
    assert_int_equal(item.opens_at, 4);
    assert_int_equal(item.closes_at, 5);
    assert_int_equal(item.state, 'p');
    assert_int_equal(item.price, 1999);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(item_entry_parse(slice_str(bad[i]), &item));
    }
    assert_false(item_entry_parse(slice_str(NULL), &item));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_users_orders_are_read_one_by_one),
        cmocka_unit_test(a_spoilt_value_is_noticed),
        cmocka_unit_test(a_payments_value_is_read),
        cmocka_unit_test(an_items_value_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
