#include "guardian/letter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEADERS(r, t, p, o)                                                                        \
    (struct letter_headers)                                                                        \
    {                                                                                              \
        SLICE_LIT(r), SLICE_LIT(t), SLICE_LIT(p), SLICE_LIT(o)                                     \
    }

static bool reads(const struct letter_headers *headers)
{
    struct letter l = {.partition = 3};

    return letter_read(&l, headers);
}

static void the_matchers_headers(void **state)
{
    const struct letter_headers good = HEADERS("bad_field", "seckill.orders", "3", "4711");
    struct letter l = {.partition = 3};
    char name[LETTER_NAME_SIZE];

    (void)state;
    assert_true(letter_read(&l, &good));
    assert_string_equal(l.reason, "bad_field");
    assert_int_equal(l.offset, 4711);
    letter_name(&l, name);
    assert_string_equal(name, "3:4711");
}

static void other_headers(void **state)
{
    const struct letter_headers wrong[] = {
        HEADERS("ok", "t", "3", "1"),
        HEADERS("", "t", "3", "1"),
        HEADERS("bad_field ", "t", "3", "1"),
        HEADERS("bad_field", "", "3", "1"),
        HEADERS("bad_field", "t", "2", "1"),
        HEADERS("bad_field", "t", "03", "1"),
        HEADERS("bad_field", "t", "", "1"),
        HEADERS("bad_field", "t", "3", "-1"),
        HEADERS("bad_field", "t", "3", "1x"),
        HEADERS("bad_field", "t", "3", ""),
        HEADERS("bad_field", "t", "3", "9007199254740992"),
    };

    (void)state;
    assert_true(reads(&HEADERS("null_value", "t", "3", "0")));
    assert_true(reads(&HEADERS("wrong_partition", "t", "3", "9007199254740991")));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(reads(&wrong[i]));
    }
    assert_false(reads(&(struct letter_headers){{NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}}));
}

static void names(void **state)
{
    static const char *const wrong[] = {"",     "1",    ":",    "1:",    ":1",   "4:1",  "-1:1",
                                        "1:-1", "01:1", "1:01", "1:1:1", " 1:1", "1:1 ", "1;1"};
    int partition;
    int64_t offset;

    (void)state;
    assert_true(letter_parse_name(SLICE_LIT("3:4711"), 4, &partition, &offset));
    assert_int_equal(partition, 3);
    assert_int_equal(offset, 4711);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(letter_parse_name(slice_str(wrong[i]), 4, &partition, &offset));
    }
}

static void every_byte_is_printable_or_escaped(void **state)
{
    char all[256];
    struct buf out;

    (void)state;
    for (int i = 0; i < 256; i++) {
        all[i] = (char)i;
    }
    buf_init(&out, 4096);
    letter_put_escaped(&out, (struct slice){all, sizeof(all)}, sizeof(all));
    for (size_t i = 0; i < out.len; i++) {
        assert_in_range(out.ptr[i], 0x20, 0x7e);
    }
    buf_clear(&out);
    letter_put_escaped(&out, SLICE_LIT("a\x1b[\n\r\t\\\x7f\xc2\x9b"), 20);
    assert_string_equal(out.ptr, "a\\x1b[\\n\\r\\t\\\\\\x7f\\xc2\\x9b");
    buf_clear(&out);
    letter_put_escaped(&out, SLICE_LIT("abcd"), 3);
    assert_string_equal(out.ptr, "abc...");
    buf_fini(&out);
}

static struct letter some(struct slice key, struct slice value)
{
    return (struct letter){
        .partition = 2,
        .offset = 17,
        .copy_offset = 5,
        .copied_ms = 1712345678901,
        .reason = "not_json",
        .topic = SLICE_LIT("orders"),
        .key = key,
        .value = value,
    };
}

static void assert_line(struct slice key, struct slice value, const char *want)
{
    const struct letter l = some(key, value);
    struct buf out;

    buf_init(&out, 65536);
    letter_put_line(&out, &l);
    assert_string_equal(out.ptr, want);
    buf_fini(&out);
}

static void lines(void **state)
{
    const struct slice null = {NULL, 0};

    (void)state;
    assert_line(SLICE_LIT("k"), SLICE_LIT("{ x"),
                "2:17 2024-04-05T19:34:38.901Z not_json 3 k { x\n");
    assert_line(null, null, "2:17 2024-04-05T19:34:38.901Z not_json 0 - -\n");
    assert_line(SLICE_LIT(""), SLICE_LIT(""),
                "2:17 2024-04-05T19:34:38.901Z not_json 0 \"\" \"\"\n");
    assert_line(SLICE_LIT("a b\n"), SLICE_LIT("\n"),
                "2:17 2024-04-05T19:34:38.901Z not_json 1 a\\x20b\\n \\n\n");
}

static void a_copy_may_be_cut(void **state)
{
    static char large[LETTER_VALUE_MAX];
    struct letter l = some(SLICE_LIT("k"), (struct slice){large, sizeof(large) - 1});

    (void)state;
    assert_false(letter_is_cut(&l));
    l.value.len++;
    assert_true(letter_is_cut(&l));
}

static void whole_ones(void **state)
{
    const struct letter l = some(SLICE_LIT("k\"\x1b"), SLICE_LIT("{\xff}"));
    const struct letter empty = some((struct slice){NULL, 0}, (struct slice){NULL, 0});
    struct buf out;

    (void)state;
    buf_init(&out, 65536);
    letter_put_text(&out, &l);
    assert_string_equal(out.ptr, "letter: 2:17\nreason: not_json\ntopic: orders\n"
                                 "copied: 2024-04-05T19:34:38.901Z to offset 5\n"
                                 "key: 3 bytes\n  k\"\\x1b\nvalue: 3 bytes\n  {\\xff}\n");
    buf_clear(&out);
    letter_put_whole_json(&out, &l);
    assert_string_equal(
        out.ptr, "{\"letter\":\"2:17\",\"partition\":2,\"offset\":17,\"reason\":\"not_json\","
                 "\"copied_ms\":1712345678901,\"copy_offset\":5,\"topic\":\"orders\","
                 "\"key\":\"k\\\"\\\\x1b\",\"bytes\":3,\"is_cut\":false,"
                 "\"value\":\"{\\\\xff}\",\"key_hex\":\"6b221b\",\"value_hex\":\"7bff7d\"}\n");
    buf_clear(&out);
    letter_put_json(&out, &empty);
    assert_string_equal(
        out.ptr, "{\"letter\":\"2:17\",\"partition\":2,\"offset\":17,\"reason\":\"not_json\","
                 "\"copied_ms\":1712345678901,\"copy_offset\":5,\"topic\":\"orders\","
                 "\"key\":null,\"bytes\":0,\"is_cut\":false,\"value\":null}\n");
    buf_fini(&out);
}

static void times_that_are_none(void **state)
{
    struct letter l = some((struct slice){NULL, 0}, (struct slice){NULL, 0});
    struct buf out;

    (void)state;
    buf_init(&out, 4096);
    l.copied_ms = -1;
    letter_put_line(&out, &l);
    assert_string_equal(out.ptr, "2:17 - not_json 0 - -\n");
    buf_clear(&out);
    l.copied_ms = INT64_MAX;
    letter_put_line(&out, &l);
    assert_true(buf_ok(&out));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_matchers_headers),
        cmocka_unit_test(other_headers),
        cmocka_unit_test(names),
        cmocka_unit_test(every_byte_is_printable_or_escaped),
        cmocka_unit_test(lines),
        cmocka_unit_test(a_copy_may_be_cut),
        cmocka_unit_test(whole_ones),
        cmocka_unit_test(times_that_are_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
