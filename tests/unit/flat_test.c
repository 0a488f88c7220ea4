#include "common/flat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void objects(void **state)
{
    struct flat f;

    (void)state;
    assert_true(flat_read(&f, SLICE_LIT("{}")));
    assert_int_equal(f.n, 0);
    assert_true(flat_read(&f, SLICE_LIT(" { \"a\"\t:\r\n\"x y\" , \"\":-12,\"b\":\"\" } \n")));
    assert_int_equal(f.n, 3);
    assert_true(slice_eq(flat_find(&f, SLICE_LIT("a"))->text, SLICE_LIT("x y")));
    assert_null(flat_find(&f, SLICE_LIT(""))->text.ptr);
    assert_int_equal(flat_find(&f, SLICE_LIT(""))->number, -12);
    assert_non_null(flat_find(&f, SLICE_LIT("b"))->text.ptr);
    assert_int_equal(flat_find(&f, SLICE_LIT("b"))->text.len, 0);
    assert_null(flat_find(&f, SLICE_LIT("c")));
}

static void others_are_left_to_the_library(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "{",
        "[]",
        "{}x",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1 \"b\":1}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1.0}",
        "{\"a\":1e1}",
        "{\"a\":01}",
        "{\"a\":-}",
        "{\"a\":1234567890123456789}",
        "{\"a\":true}",
        "{\"a\":null}",
        "{\"a\":[]}",
        "{\"a\":{}}",
        "{\"a\":\"\\n\"}",
        "{\"\\u0061\":1}",
        "{\"a\":\"\xc3\xa9\"}",
        "{\"a\":\"\x01\"}",
        "{\"a\":\"b}",
        "{a:1}",
        "\xef\xbb\xbf{}",
        "{\v}",
    };
    struct flat f;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (flat_read(&f, slice_str(texts[i]))) {
            fail_msg("%s", texts[i]);
        }
    }
    assert_false(flat_read(&f, (struct slice){NULL, 0}));
    assert_false(flat_read(&f, (struct slice){"{}\0", 3}));
}

static void no_more_than_there_is_room_for(void **state)
{
    char text[512] = "{";
    struct flat f;
    size_t n = 1;

    (void)state;
    for (int i = 0; i <= FLAT_MEMBERS_MAX; i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s\"%d\":%d", i == 0 ? "" : ",", i, i);
        text[n] = '}';
        assert_int_equal(flat_read(&f, (struct slice){text, n + 1}), i < FLAT_MEMBERS_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects),
        cmocka_unit_test(others_are_left_to_the_library),
        cmocka_unit_test(no_more_than_there_is_room_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
