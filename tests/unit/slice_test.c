#include "common/slice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool reads(const char *text, int64_t min, int64_t max, int64_t want)
{
    int64_t got = 4711;
    const bool ok = slice_to_i64(slice_str(text), min, max, &got);

    assert_true(ok || got == 4711);
    return ok && got == want;
}

static void numbers_have_one_spelling(void **state)
{
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      "01",
                                      "-0",
                                      "00",
                                      " 1",
                                      "1 ",
                                      "1a",
                                      "0x1",
                                      "1.0",
                                      "9223372036854775808",
                                      "--1",
                                      "-9223372036854775809",
                                      "99999999999999999999"};

    (void)state;
    assert_true(reads("0", 0, 0, 0));
    assert_true(reads("-1", -1, 0, -1));
    assert_true(reads("9223372036854775807", 0, INT64_MAX, INT64_MAX));
    assert_true(reads("-9223372036854775808", INT64_MIN, 0, INT64_MIN));
    assert_false(reads("4", 0, 3, 4));
    assert_false(reads("-1", 0, 3, -1));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        int64_t n = 0;

        assert_false(slice_to_i64(slice_str(bad[i]), INT64_MIN, INT64_MAX, &n));
    }
}

static void utf8_is_strict(void **state)
{
    static const char *const good[] = {"",
                                       "a",
                                       "\x7f",
                                       "\xc2\x80",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "gr\xc3\xbc\xc3\x9f"};
    static const char *const bad[] = {"\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2 ",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xe2\x82",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80",
                                      "\xff",
                                      "ok\xe2\x82x"};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_true(slice_is_utf8(slice_str(good[i])));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_false(slice_is_utf8(slice_str(bad[i])));
    }
}

static void cutting_and_trimming(void **state)
{
    struct slice rest;

    (void)state;
    assert_true(slice_eq(slice_cut(SLICE_LIT("a=b=c"), '=', &rest), SLICE_LIT("a")));
    assert_true(slice_eq(rest, SLICE_LIT("b=c")));
    assert_true(slice_eq(slice_cut(SLICE_LIT("a="), '=', &rest), SLICE_LIT("a")));
    assert_non_null(rest.ptr);
    assert_int_equal(rest.len, 0);
    assert_true(slice_eq(slice_cut(SLICE_LIT("abc"), '=', &rest), SLICE_LIT("abc")));
    assert_null(rest.ptr);
    assert_true(slice_eq(slice_trim(SLICE_LIT(" \ta b\r\n")), SLICE_LIT("a b")));
    assert_int_equal(slice_trim(SLICE_LIT("  \n")).len, 0);
    assert_true(slice_starts(SLICE_LIT("kafka.x"), SLICE_LIT("kafka.")));
    assert_false(slice_starts(SLICE_LIT("kaf"), SLICE_LIT("kafka.")));
}

static void copies_whole_or_not_at_all(void **state)
{
    char dst[4] = "xxx";

    (void)state;
    assert_true(slice_copy(SLICE_LIT("abc"), dst, sizeof(dst)));
    assert_string_equal(dst, "abc");
    assert_false(slice_copy(SLICE_LIT("abcd"), dst, sizeof(dst)));
    assert_string_equal(dst, "");
    assert_false(slice_copy(SLICE_LIT("a\0b"), dst, sizeof(dst)));
    assert_true(slice_copy((struct slice){NULL, 0}, dst, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_have_one_spelling),
        cmocka_unit_test(utf8_is_strict),
        cmocka_unit_test(cutting_and_trimming),
        cmocka_unit_test(copies_whole_or_not_at_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
