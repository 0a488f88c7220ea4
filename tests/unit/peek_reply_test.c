/*
 * What the guardian reads out of Redis's answers, and which it refuses.
 */
#include "guardian/peek_reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/reply.h"

#define LOG "0123456789abcdef0123456789abcdef"

typedef bool answer_fn(const redisReply *reply, struct peek_answer *a);

static bool read_answer(answer_fn *fn, const char *bytes, struct peek_answer *a)
{
    *a = (struct peek_answer){.watermark = -1};
    a->reply = reply_of(bytes);
    return fn(a->reply, a);
}

static void finish(struct peek_answer *a)
{
    freeReplyObject(a->reply);
    free(a->values);
}

static void refused(answer_fn *fn, const char *bytes)
{
    struct peek_answer a;

    assert_false(read_answer(fn, bytes, &a));
    finish(&a);
}

static void test_chunk(void **state)
{
    struct peek_answer a;

    (void)state;
    assert_true(read_answer(peek_reply_chunk, "*0\r\n", &a));
    assert_false(a.has_state);
    finish(&a);
    assert_true(read_answer(peek_reply_chunk, "*2\r\n$1\r\n0\r\n$1\r\n0\r\n", &a));
    assert_true(a.has_state && a.watermark == 0 && a.n == 0 && strcmp(a.cursor, "0") == 0);
    finish(&a);
    assert_true(read_answer(peek_reply_chunk,
                            "*4\r\n$2\r\n17\r\n$3\r\n768\r\n$1\r\na\r\n$2\r\nbc\r\n", &a));
    assert_true(a.watermark == 17 && a.n == 2 && strcmp(a.cursor, "768") == 0);
    assert_true(slice_eq(a.values[0], SLICE_LIT("a")) && slice_eq(a.values[1], SLICE_LIT("bc")));
    finish(&a);
    refused(peek_reply_chunk, "$2\r\n17\r\n");
    refused(peek_reply_chunk, "*1\r\n$2\r\n17\r\n");
    refused(peek_reply_chunk, "*2\r\n$2\r\n-1\r\n$1\r\n0\r\n");
    refused(peek_reply_chunk, "*2\r\n$2\r\n17\r\n:0\r\n");
    refused(peek_reply_chunk, "*2\r\n$2\r\n17\r\n$24\r\n123456789012345678901234\r\n");
    refused(peek_reply_chunk, "*3\r\n$2\r\n17\r\n$1\r\n0\r\n:5\r\n");
}

static void test_values(void **state)
{
    struct peek_answer a;

    (void)state;
    assert_true(read_answer(peek_reply_values, "*2\r\n$-1\r\n*1\r\n$1\r\na\r\n", &a));
    assert_true(!a.has_state && a.n == 0);
    finish(&a);
    /* A key `log` of another type. */
    assert_true(read_answer(peek_reply_values, "*2\r\n-WRONGTYPE\r\n*0\r\n", &a));
    assert_false(a.has_state);
    finish(&a);
    assert_true(read_answer(peek_reply_values, "*2\r\n$2\r\n17\r\n*2\r\n$1\r\na\r\n$-1\r\n", &a));
    assert_true(a.has_state && a.watermark == 17 && a.n == 2);
    assert_true(slice_eq(a.values[0], SLICE_LIT("a")) && a.values[1].ptr == NULL);
    finish(&a);
    refused(peek_reply_values, "*1\r\n$2\r\n17\r\n");
    refused(peek_reply_values, "*2\r\n$2\r\n1x\r\n*0\r\n");
    refused(peek_reply_values, "*2\r\n$2\r\n17\r\n-WRONGTYPE\r\n");
    refused(peek_reply_values, "*2\r\n$2\r\n17\r\n*1\r\n:1\r\n");
}

static bool time_of(const char *bytes, int64_t *time_ms)
{
    redisReply *reply = reply_of(bytes);
    const bool ok = peek_reply_time(reply, time_ms);

    freeReplyObject(reply);
    return ok;
}

static void test_time(void **state)
{
    int64_t ms;

    (void)state;
    assert_true(time_of("*2\r\n$10\r\n1700000000\r\n$6\r\n123456\r\n", &ms));
    assert_int_equal(ms, 1700000000123);
    assert_false(time_of("*1\r\n$10\r\n1700000000\r\n", &ms));
    assert_false(time_of("*2\r\n$1\r\nx\r\n$1\r\n0\r\n", &ms));
    assert_false(time_of("*2\r\n$1\r\n1\r\n:0\r\n", &ms));
    assert_false(time_of("*2\r\n$19\r\n9223372036854775807\r\n$1\r\n0\r\n", &ms));
}

static bool probe_of(const char *bytes, struct follow_probe *probe)
{
    redisReply *reply = reply_of(bytes);
    const bool ok = peek_reply_probe(reply, probe);

    freeReplyObject(reply);
    return ok;
}

static void test_probe(void **state)
{
    struct follow_probe p = {0};

    (void)state;
    assert_true(probe_of("*2\r\n*2\r\n$32\r\n" LOG "\r\n$2\r\n17\r\n$-1\r\n", &p));
    assert_true(p.watermark == 17 && !p.has_outbox && strcmp(p.genesis, LOG) == 0);
    assert_true(probe_of("*2\r\n*2\r\n$32\r\n" LOG "\r\n$2\r\n17\r\n$6\r\n-1 4 x\r\n", &p));
    assert_true(p.has_outbox && p.first_prev == -1);
    assert_false(probe_of("*2\r\n*2\r\n$32\r\n" LOG "\r\n$2\r\n17\r\n$1\r\nx\r\n", &p));
    assert_false(probe_of("*2\r\n*2\r\n$-1\r\n$-1\r\n$-1\r\n", &p));
    assert_false(probe_of("*2\r\n*2\r\n$33\r\n" LOG "0\r\n$2\r\n17\r\n$-1\r\n", &p));
    assert_false(probe_of("*2\r\n-WRONGTYPE\r\n$-1\r\n", &p));
    assert_false(probe_of("*1\r\n*0\r\n", &p));
}

static bool look_of(const char *bytes, struct peek_look *look)
{
    redisReply *reply = reply_of(bytes);
    bool ok;

    *look = (struct peek_look){.watermark = -1};
    ok = peek_reply_look(reply, look);
    freeReplyObject(reply);
    return ok;
}

/* chain, last_hash, log_time, rules, partitions */
#define REST "$1\r\nc\r\n$1\r\nh\r\n$1\r\n5\r\n$1\r\n1\r\n$1\r\n4\r\n"

static void test_look(void **state)
{
    struct peek_look l;

    (void)state;
    assert_true(look_of("*0\r\n", &l) && l.found == PEEK_NOTHING);
    assert_true(look_of("*1\r\n$4\r\nkeys\r\n", &l) && l.found == PEEK_KEYS);
    assert_true(look_of("*3\r\n$7\r\nrebuild\r\n$2\r\nab\r\n$1\r\n3\r\n", &l));
    assert_true(l.found == PEEK_REBUILD && l.progress == 3 && strcmp(l.token, "ab") == 0);
    assert_true(look_of("*3\r\n$32\r\n" LOG "\r\n$2\r\n17\r\n$1\r\nc\r\n", &l));
    assert_true(l.found == PEEK_STATE && l.watermark == 17 && strcmp(l.genesis, LOG) == 0);
    assert_int_equal(l.first, 17);
    assert_true(look_of("*8\r\n$32\r\n" LOG "\r\n$2\r\n17\r\n" REST "$9\r\n11 17 c 0\r\n", &l));
    assert_int_equal(l.first, 12);
    assert_true(look_of("*8\r\n$32\r\n" LOG "\r\n$2\r\n17\r\n" REST "$9\r\n-1 17 c 0\r\n", &l));
    assert_int_equal(l.first, 0);
    assert_true(look_of("*8\r\n$32\r\n" LOG "\r\n$2\r\n17\r\n" REST "$4\r\nrust\r\n", &l));
    assert_int_equal(l.first, 17);
    assert_false(look_of("+OK\r\n", &l));
    assert_false(look_of("*1\r\n$4\r\nkeyz\r\n", &l));
    assert_false(look_of("*1\r\n:1\r\n", &l));
    assert_false(look_of("*2\r\n$7\r\nrebuild\r\n$2\r\nab\r\n", &l));
    assert_false(look_of("*3\r\n$7\r\nrebuild\r\n$2\r\nab\r\n$2\r\n-1\r\n", &l));
    assert_false(look_of("*2\r\n$32\r\n" LOG "\r\n$2\r\n-1\r\n", &l));
}

static void count(struct slice key, void *arg)
{
    int *n = arg;

    assert_true(key.len > 0);
    ++*n;
}

static bool keys_of(const char *bytes, char cursor[PEEK_CURSOR_BYTES], int *n)
{
    redisReply *reply = reply_of(bytes);
    const bool ok = peek_reply_keys(reply, cursor, count, n);

    freeReplyObject(reply);
    return ok;
}

static void test_keys(void **state)
{
    char cursor[PEEK_CURSOR_BYTES] = "0";
    int n = 0;

    (void)state;
    assert_true(keys_of("*2\r\n$2\r\n42\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n", cursor, &n));
    assert_true(n == 2 && strcmp(cursor, "42") == 0);
    assert_true(keys_of("*2\r\n$1\r\n0\r\n*0\r\n", cursor, &n));
    assert_true(n == 2 && strcmp(cursor, "0") == 0);
    assert_false(keys_of("*2\r\n$1\r\n0\r\n$1\r\na\r\n", cursor, &n));
    assert_false(keys_of("*2\r\n:0\r\n*0\r\n", cursor, &n));
    assert_false(keys_of("*2\r\n$1\r\n0\r\n*1\r\n:1\r\n", cursor, &n));
    assert_false(keys_of("*1\r\n$1\r\n0\r\n", cursor, &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunk), cmocka_unit_test(test_values), cmocka_unit_test(test_time),
        cmocka_unit_test(test_probe), cmocka_unit_test(test_look),   cmocka_unit_test(test_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
