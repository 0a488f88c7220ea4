#include "tools/stampede/answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static enum answer_read read_text(const char *text, struct answer *a, size_t *used)
{
    return answer_read(slice_str(text), a, used);
}

static void test_whole_only_when_whole(void **state)
{
    static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\nX: y\r\n"
                               "Content-Length: 5\r\nConnection: close\r\n\r\nhello";
    struct answer a;
    size_t used = 0;

    (void)state;
    for (size_t len = 1; len < sizeof(text) - 1; len++) {
        char *copy = malloc(len); /* so that a sanitizer sees a byte too far */

        memcpy(copy, text, len);
        assert_int_equal(answer_read((struct slice){copy, len}, &a, &used), ANSWER_MORE);
        free(copy);
    }
    assert_int_equal(read_text(text, &a, &used), ANSWER_WHOLE);
    assert_int_equal(used, sizeof(text) - 1);
    assert_int_equal(a.status, 503);
    assert_int_equal(a.retry_after_s, 2);
    assert_true(a.closes);
    assert_true(slice_eq(a.body, SLICE_LIT("hello")));
    assert_int_equal(read_text("HTTP/1.1 204 No Content\r\n\r\nHTTP", &a, &used), ANSWER_WHOLE);
    assert_int_equal(used, strlen("HTTP/1.1 204 No Content\r\n\r\n"));
    assert_int_equal(a.retry_after_s, -1);
    assert_false(a.closes);
}

static void test_bad_ones(void **state)
{
    static const char *const bad[] = {
        "HTTP/1.0 200 OK\r\n\r\n",
        "SSH-2.0",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1 99 x\r\n\r\n",
        "HTTP/1.1 600 x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    struct answer a;
    size_t used = 0;
    char *endless = calloc(1, ANSWER_HEAD_MAX + 64);

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(read_text(bad[i], &a, &used), ANSWER_BAD);
    }
    (void)snprintf(endless, ANSWER_HEAD_MAX + 64, "HTTP/1.1 200 %0*d", ANSWER_HEAD_MAX, 0);
    assert_int_equal(read_text(endless, &a, &used), ANSWER_BAD);
    free(endless);
}

static void test_words(void **state)
{
    struct answer_words w;

    (void)state;
    answer_words(SLICE_LIT("{\"order_id\":\"abc\",\"qty\":1,\"state\":\"paid\",\"payments\":[{"
                           "\"payment_id\":\"p\",\"payment\":\"refund_due\"}],\"x\":{\"state\":"
                           "\"inner\"},\"reason\":\"a\\\"b\",\"first_payment\": \"paid\"}"),
                 &w);
    assert_true(slice_eq(w.order_id, SLICE_LIT("abc")));
    assert_true(slice_eq(w.state, SLICE_LIT("paid"))); /* not the inner one */
    assert_null(w.payment.ptr);
    assert_null(w.reason.ptr); /* escaped */
    assert_null(w.first_payment.ptr == NULL ? "" : NULL);
    answer_words(SLICE_LIT("[\"state\",\"paid\"]"), &w);
    assert_null(w.state.ptr);
    answer_words(SLICE_LIT("{\"state\":\"pai"), &w);
    assert_null(w.state.ptr);
    answer_words(SLICE_LIT("{\"state\":\"\\"), &w);
    assert_null(w.state.ptr);
    answer_words((struct slice){NULL, 0}, &w);
    assert_null(w.state.ptr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_only_when_whole),
        cmocka_unit_test(test_bad_ones),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
