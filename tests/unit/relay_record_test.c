#include "producer/relay_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void assert_text(struct slice is, struct slice should_be)
{
    assert_int_equal(is.ptr == NULL, should_be.ptr == NULL);
    assert_int_equal(is.len, should_be.len);
    assert_memory_equal(is.ptr, should_be.ptr, should_be.len);
}

/* What the record of a request is read as; nothing in it may depend on what the slot held before. */
static void assert_same(const struct desk_request *request)
{
    struct relay_ask ask;
    struct desk_request read;

    memset(&ask, 0xa5, sizeof(ask));
    relay_ask_put(&ask, request);
    memset(&read, 0x5a, sizeof(read));
    relay_ask_get(&ask, &read);
    assert_int_equal(read.kind, request->kind);
    assert_int_equal(read.is_verbose, request->is_verbose);
    assert_memory_equal(read.address, request->address, sizeof(read.address));
    assert_int_equal(read.call.kind, request->call.kind);
    assert_int_equal(read.call.qty, request->call.qty);
    assert_int_equal(read.call.partition, request->call.partition);
    assert_int_equal(read.call.offset, request->call.offset);
    assert_int_equal(read.call.wait_ms, request->call.wait_ms);
    assert_int_equal(read.call.is_left, request->call.is_left);
    assert_text(read.call.user_id, request->call.user_id);
    assert_text(read.call.item_id, request->call.item_id);
    assert_text(read.call.order_id, request->call.order_id);
    assert_text(read.call.payment_id, request->call.payment_id);
    assert_text(read.call.traceparent, request->call.traceparent);
}

static void requests(void **state)
{
    static char long_id[IDS_MAX], trace[INPUT_TRACEPARENT_LEN], order_id[IDS_ORDER_LEN];
    struct desk_request request = {.kind = DESK_READY, .is_verbose = true};

    (void)state;
    assert_same(&request);
    assert_same(&(struct desk_request){.kind = DESK_METRICS});
    request = (struct desk_request){
        .kind = DESK_CALL,
        .address = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255},
        .call =
            {
                .kind = CALLS_PAY,
                .user_id = SLICE_LIT("u"),
                .order_id = SLICE_LIT("00000000-0000-7001-8000-00000000000a"),
                .payment_id = SLICE_LIT("p-1"),
                .qty = INT64_MAX,
                .partition = 4094,
                .offset = -1,
                .wait_ms = 60000,
                .is_left = true,
            },
    };
    assert_same(&request);
    request.call.is_left = false;
    /* All texts at once, each as long as can be. */
    memset(long_id, 'x', sizeof(long_id));
    memset(trace, 't', sizeof(trace));
    memset(order_id, 'o', sizeof(order_id));
    request.call.user_id = request.call.item_id = request.call.payment_id =
        (struct slice){long_id, sizeof(long_id)};
    request.call.order_id = (struct slice){order_id, sizeof(order_id)};
    request.call.traceparent = (struct slice){trace, sizeof(trace)};
    request.call.offset = INT64_MAX;
    assert_same(&request);
}

static void assert_answer(const struct http_field *fields, size_t n, struct slice body,
                          bool is_elsewhere)
{
    struct relay_answer answer;
    struct http_field read[RELAY_FIELDS_MAX + 1];
    struct slice read_body;

    memset(&answer, 0xa5, sizeof(answer));
    relay_answer_put(&answer, 503, fields, body);
    assert_int_equal(answer.told, RELAY_ANSWER);
    assert_int_equal(answer.status, 503);
    assert_int_equal(answer.elsewhere != NULL, is_elsewhere);
    memset(read, 0x5a, sizeof(read));
    read_body = relay_answer_get(&answer, read);
    assert_int_equal(read_body.len, body.len);
    assert_memory_equal(read_body.ptr, body.ptr, body.len);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(read[i].name, fields[i].name);
        assert_string_equal(read[i].value, fields[i].value);
    }
    assert_null(read[n].name);
    assert_null(read[n].value);
    relay_answer_fini(&answer);
}

static void answers(void **state)
{
    static const struct http_field two[] = {{"Content-Type", "a/b"}, {"X", ""}, {NULL, NULL}};
    static const size_t two_bytes =
        sizeof("Content-Type") + sizeof("a/b") + sizeof("X") + sizeof("");
    struct http_field all[RELAY_FIELDS_MAX + 1] = {{NULL, NULL}};
    static char body[RELAY_ANSWER_BYTES + 1];

    (void)state;
    memset(body, 'b', sizeof(body));
    for (size_t i = 0; i < RELAY_FIELDS_MAX; i++) {
        all[i] = (struct http_field){"Name", "value"};
    }
    assert_answer(NULL, 0, SLICE_LIT(""), false);
    assert_answer(two, 2, SLICE_LIT("{}"), false);
    assert_answer(all, RELAY_FIELDS_MAX, SLICE_LIT("x"), false);
    /* The last that has room, and the first that has not. */
    assert_answer(NULL, 0, (struct slice){body, RELAY_ANSWER_BYTES}, false);
    assert_answer(NULL, 0, (struct slice){body, RELAY_ANSWER_BYTES + 1}, true);
    assert_answer(two, 2, (struct slice){body, RELAY_ANSWER_BYTES - two_bytes}, false);
    assert_answer(two, 2, (struct slice){body, RELAY_ANSWER_BYTES - two_bytes + 1}, true);
}

/* A ring takes multiples of 8, and an answer is to fill whole lines of the processors' caches. */
static void sizes(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct relay_ask) % 8, 0);
    assert_int_equal(sizeof(struct relay_answer), 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(answers),
        cmocka_unit_test(sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
