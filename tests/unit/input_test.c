#include "producer/input.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ORDER_ID "00000000-0000-7001-8000-00000000000a"

static enum refusal order_refusal(const char *body)
{
    struct input_order order;
    struct input_problem problem = {.refusal = REFUSAL_NONE};

    if (input_order(slice_str(body), &order, &problem)) {
        return REFUSAL_NONE;
    }
    assert_true(strlen(problem.detail) > 10);
    return problem.refusal;
}

static void good_orders(void **state)
{
    struct input_order order;
    struct input_problem problem;

    (void)state;
    assert_true(input_order(SLICE_LIT("{\"item_id\":\"a\"}"), &order, &problem));
    assert_int_equal(order.qty, 1);
    assert_string_equal(order.item_id.s, "a");
    assert_true(
        input_order(SLICE_LIT(" {\"qty\" : 1000, \"item_id\":\"a@3\"} "), &order, &problem));
    assert_int_equal(order.qty, 1000);
}

static void bad_orders(void **state)
{
    static const struct {
        const char *body;
        enum refusal refusal;
    } cases[] = {
        {"", REFUSAL_BAD_JSON},
        {"{", REFUSAL_BAD_JSON},
        {"[]", REFUSAL_BAD_JSON},
        {"\"a\"", REFUSAL_BAD_JSON},
        {"null", REFUSAL_BAD_JSON},
        {"{\"item_id\":\"a\"} x", REFUSAL_BAD_JSON},
        {"{\"item_id\":\"a\",\"item_id\":\"a\"}", REFUSAL_BAD_JSON},
        {"{\"item_id\":\"a\",}", REFUSAL_BAD_JSON},
        {"{'item_id':'a'}", REFUSAL_BAD_JSON},
        {"{\"item_id\":\"\xff\"}", REFUSAL_BAD_JSON},
        {"{\"item_id\":\"a\\u0000b\"}", REFUSAL_BAD_JSON},
        {"{}", REFUSAL_BAD_FIELD},
        {"{\"item_id\":1}", REFUSAL_BAD_FIELD},
        {"{\"item_id\":null}", REFUSAL_BAD_FIELD},
        {"{\"item_id\":\"\"}", REFUSAL_BAD_FIELD},
        {"{\"item_id\":\"a b\"}", REFUSAL_BAD_FIELD},
        {"{\"item_id\":\"\xc3\xa9\"}", REFUSAL_BAD_FIELD},
        {"{\"item_id\":\"a\",\"qty\":0}", REFUSAL_BAD_FIELD},
        {"{\"item_id\":\"a\",\"qty\":-1}", REFUSAL_BAD_FIELD},
        {"{\"item_id\":\"a\",\"qty\":1001}", REFUSAL_BAD_FIELD},
        {"{\"item_id\":\"a\",\"qty\":1.0}", REFUSAL_BAD_FIELD},
        {"{\"item_id\":\"a\",\"qty\":\"1\"}", REFUSAL_BAD_FIELD},
        {"{\"item_id\":\"a\",\"qty\":true}", REFUSAL_BAD_FIELD},
        {"{\"item_id\":\"a\",\"qty\":null}", REFUSAL_BAD_FIELD},
        {"{\"item_id\":\"a\",\"qty\":99999999999999999999}", REFUSAL_BAD_JSON},
        {"{\"item_id\":\"a\",\"user_id\":\"b\"}", REFUSAL_UNKNOWN_FIELD},
        {"{\"item_id\":\"a\",\"Qty\":1}", REFUSAL_UNKNOWN_FIELD},
        {"{\"\":1}", REFUSAL_UNKNOWN_FIELD},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (order_refusal(cases[i].body) != cases[i].refusal) {
            fail_msg("%s: %d", cases[i].body, (int)order_refusal(cases[i].body));
        }
    }
}

static void item_ids_up_to_64(void **state)
{
    char body[128];

    (void)state;
    (void)snprintf(body, sizeof(body), "{\"item_id\":\"%064d\"}", 7);
    assert_int_equal(order_refusal(body), REFUSAL_NONE);
    (void)snprintf(body, sizeof(body), "{\"item_id\":\"%065d\"}", 7);
    assert_int_equal(order_refusal(body), REFUSAL_BAD_FIELD);
}

static void payments(void **state)
{
    struct input_payment payment;
    struct input_problem problem;

    (void)state;
    assert_true(input_payment(SLICE_LIT("{\"payment_id\":\"p-1\"}"), &payment, &problem));
    assert_string_equal(payment.payment_id.s, "p-1");
    assert_false(input_payment(SLICE_LIT("{\"payment_id\":\"p,1\"}"), &payment, &problem));
    assert_int_equal(problem.refusal, REFUSAL_BAD_FIELD);
    assert_false(input_payment(SLICE_LIT("{\"payment_id\":\"p\",\"qty\":1}"), &payment, &problem));
    assert_int_equal(problem.refusal, REFUSAL_UNKNOWN_FIELD);
    assert_false(input_payment(SLICE_LIT("{}"), &payment, &problem));
    assert_int_equal(problem.refusal, REFUSAL_BAD_FIELD);
}

static void content_types(void **state)
{
    (void)state;
    assert_true(input_is_json(SLICE_LIT("application/json")));
    assert_true(input_is_json(SLICE_LIT("Application/JSON; charset=UTF-8")));
    assert_true(input_is_json(SLICE_LIT("application/json ;charset=\"utf-8\"")));
    assert_false(input_is_json((struct slice){NULL, 0}));
    assert_false(input_is_json(SLICE_LIT("")));
    assert_false(input_is_json(SLICE_LIT("text/plain")));
    assert_false(input_is_json(SLICE_LIT("application/jsonx")));
    assert_false(input_is_json(SLICE_LIT("application/json; charset=latin1")));
    assert_false(input_is_json(SLICE_LIT("application/x-www-form-urlencoded")));
}

static void keys(void **state)
{
    char text[300];
    struct slice key;

    (void)state;
    assert_true(input_key(SLICE_LIT("abc"), &key) && slice_eq(key, SLICE_LIT("abc")));
    assert_true(input_key(SLICE_LIT("\"abc\""), &key) && slice_eq(key, SLICE_LIT("abc")));
    assert_false(input_key(SLICE_LIT(""), &key));
    assert_false(input_key(SLICE_LIT("\"\""), &key));
    assert_false(input_key(SLICE_LIT("\""), &key));
    assert_false(input_key(SLICE_LIT("\"abc"), &key));
    assert_false(input_key(SLICE_LIT("a\"b"), &key));
    assert_false(input_key(SLICE_LIT("\"a\\b\""), &key));
    assert_false(input_key(SLICE_LIT("a\tb"), &key));
    assert_false(input_key(SLICE_LIT("\xc3\xa9"), &key));
    memset(text, 'k', sizeof(text));
    assert_true(input_key((struct slice){text, INPUT_KEY_MAX}, &key));
    assert_false(input_key((struct slice){text, INPUT_KEY_MAX + 1}, &key));
}

static void waits(void **state)
{
    (void)state;
    assert_int_equal(input_wait_ms((struct slice){NULL, 0}, 30000), 0);
    assert_int_equal(input_wait_ms(SLICE_LIT(""), 30000), 30000);
    assert_int_equal(input_wait_ms(SLICE_LIT("0"), 30000), 0);
    assert_int_equal(input_wait_ms(SLICE_LIT("5"), 30000), 5000);
    assert_int_equal(input_wait_ms(SLICE_LIT("\"5\""), 30000), 5000);
    assert_int_equal(input_wait_ms(SLICE_LIT("31"), 30000), 30000);
    assert_int_equal(input_wait_ms(SLICE_LIT("9223372036854775"), 30000), 30000);
    assert_int_equal(input_wait_ms(SLICE_LIT("-1"), 30000), 0);
    assert_int_equal(input_wait_ms(SLICE_LIT("5s"), 30000), 0);
    assert_int_equal(input_wait_ms(SLICE_LIT("99999999999999999999"), 30000), 0);
}

static void traceparents(void **state)
{
    (void)state;
    assert_true(
        input_is_traceparent(SLICE_LIT("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")));
    assert_true(
        input_is_traceparent(SLICE_LIT("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")));
    assert_false(
        input_is_traceparent(SLICE_LIT("00-00000000000000000000000000000000-00f067aa0ba902b7-01")));
    assert_false(
        input_is_traceparent(SLICE_LIT("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01")));
    assert_false(
        input_is_traceparent(SLICE_LIT("00-4BF92F3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")));
    assert_false(
        input_is_traceparent(SLICE_LIT("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")));
    assert_false(input_is_traceparent((struct slice){NULL, 0}));
}

static void receipts(void **state)
{
    struct sha256_key key;
    struct sha256_key other;
    char receipt[INPUT_RECEIPT_MAX];
    char damaged[INPUT_RECEIPT_MAX];
    int64_t offset = -1;

    (void)state;
    input_receipt_key(SLICE_LIT("a secret of the tokens, 32 bytes"), &key);
    input_receipt_key(SLICE_LIT("another secret of some 32 bytes!"), &other);
    assert_true(input_receipt_format(&key, ORDER_ID, 1, 42, receipt));
    assert_int_equal(strlen(receipt), strlen("42.") + 32);
    assert_true(input_receipt_check(&key, ORDER_ID, 1, slice_str(receipt), &offset));
    assert_int_equal(offset, 42);
    assert_false(input_receipt_check(&other, ORDER_ID, 1, slice_str(receipt), &offset));
    assert_false(input_receipt_check(&key, ORDER_ID, 2, slice_str(receipt), &offset));
    assert_false(input_receipt_check(&key, "00000000-0000-7001-8000-00000000000b", 1,
                                     slice_str(receipt), &offset));
    for (size_t i = 0; i < strlen(receipt); i++) {
        memcpy(damaged, receipt, sizeof(damaged));
        damaged[i] = damaged[i] == '1' ? '2' : '1';
        assert_false(input_receipt_check(&key, ORDER_ID, 1, slice_str(damaged), &offset));
        assert_false(input_receipt_check(&key, ORDER_ID, 1, (struct slice){receipt, i}, &offset));
    }
    assert_false(input_receipt_check(&key, ORDER_ID, 1, (struct slice){NULL, 0}, &offset));
    assert_false(input_receipt_format(&key, ORDER_ID, 1, -1, receipt));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_orders),
        cmocka_unit_test(bad_orders),
        cmocka_unit_test(item_ids_up_to_64),
        cmocka_unit_test(payments),
        cmocka_unit_test(content_types),
        cmocka_unit_test(keys),
        cmocka_unit_test(waits),
        cmocka_unit_test(traceparents),
        cmocka_unit_test(receipts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
