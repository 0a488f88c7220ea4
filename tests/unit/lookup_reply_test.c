/*
 * What the door reads out of an answer of lookup.lua, and which it refuses.
 */
#include "producer/lookup_reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/reply.h"

#define LOG "$32\r\n0123456789abcdef0123456789abcdef\r\n"

static void refused(const char *bytes, size_t n)
{
    redisReply *reply = reply_of(bytes);
    struct lookup_reply found;

    assert_false(lookup_reply_parse(reply, n, &found));
    freeReplyObject(reply);
}

static void test_answers(void **state)
{
    redisReply *reply = reply_of("*5\r\n$2\r\n17\r\n$4\r\n4096\r\n" LOG "$3\r\no i\r\n$-1\r\n");
    struct lookup_reply found;

    (void)state;
    assert_true(lookup_reply_parse(reply, 2, &found));
    assert_true(found.has_state && found.watermark == 17 && found.log_time == 4096);
    assert_int_equal(found.genesis.len, 32);
    assert_true(slice_eq(lookup_reply_value(&found, 0), SLICE_LIT("o i")));
    assert_null(lookup_reply_value(&found, 1).ptr);
    freeReplyObject(reply);
}

static void test_no_state(void **state)
{
    redisReply *reply = reply_of("*0\r\n");
    struct lookup_reply found;

    (void)state;
    assert_true(lookup_reply_parse(reply, 2, &found));
    assert_false(found.has_state);
    freeReplyObject(reply);
}

static void test_something_else(void **state)
{
    (void)state;
    refused("$2\r\n17\r\n", 0);
    refused("*2\r\n$2\r\n17\r\n$1\r\n1\r\n", 0);
    refused("*4\r\n$2\r\n17\r\n$1\r\n1\r\n" LOG "$1\r\na\r\n", 0);
    refused("*4\r\n$2\r\n17\r\n$1\r\n1\r\n" LOG "$1\r\na\r\n", 2);
    refused("*4\r\n$2\r\n17\r\n$1\r\n1\r\n" LOG ":1\r\n", 1);
    refused("*3\r\n$-1\r\n$1\r\n1\r\n" LOG, 0);
    refused("*3\r\n$2\r\n17\r\n$1\r\n1\r\n$-1\r\n", 0);
    refused("*3\r\n$2\r\n-2\r\n$1\r\n1\r\n" LOG, 0);
    refused("*3\r\n$2\r\n17\r\n$2\r\n-1\r\n" LOG, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_no_state),
        cmocka_unit_test(test_something_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
