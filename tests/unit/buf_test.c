#include "common/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void grows_to_its_bound_and_not_further(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    for (int i = 0; i < 1000; i++) {
        buf_putc(&b, 'x');
    }
    assert_true(buf_ok(&b));
    assert_int_equal(b.len, 1000);
    assert_int_equal(strlen(b.ptr), 1000);
    buf_putc(&b, 'y');
    assert_false(buf_ok(&b));
    assert_int_equal(b.len, 1000);
    buf_truncate(&b, 999);
    assert_true(buf_ok(&b));
    buf_printf(&b, "%d", 12);
    assert_false(buf_ok(&b));
    assert_int_equal(strlen(b.ptr), 999);
    buf_clear(&b);
    buf_printf(&b, "%0999d", 7);
    assert_true(buf_ok(&b));
    assert_int_equal(b.len, 999);
    buf_fini(&b);
    assert_null(b.ptr);
    assert_int_equal(b.max_bytes, 1000);
}

static void fixed_storage_never_moves(void **state)
{
    char storage[8];
    struct buf b;

    (void)state;
    buf_init_fixed(&b, storage, sizeof(storage));
    buf_puts(&b, "1234567");
    assert_true(buf_ok(&b));
    assert_ptr_equal(b.ptr, storage);
    assert_string_equal(storage, "1234567");
    buf_append(&b, "", 0);
    assert_true(buf_ok(&b));
    buf_putc(&b, '8');
    assert_false(buf_ok(&b));
    buf_fini(&b);
    buf_printf(&b, "%s", "12345678");
    assert_false(buf_ok(&b));
    assert_string_equal(storage, "");
}

static void once_failed_nothing_more_is_written(void **state)
{
    char storage[4];
    struct buf b;

    (void)state;
    buf_init_fixed(&b, storage, sizeof(storage));
    buf_puts(&b, "abcd");
    buf_puts(&b, "a");
    assert_int_equal(b.len, 0);
}

static void numbers(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    buf_put_i64(&b, 0);
    buf_putc(&b, ' ');
    buf_put_i64(&b, INT64_MIN);
    buf_putc(&b, ' ');
    buf_put_i64(&b, INT64_MAX);
    assert_string_equal(b.ptr, "0 -9223372036854775808 9223372036854775807");
    buf_fini(&b);
}

static void json_of(struct slice s, const char *want)
{
    struct buf b;

    buf_init(&b, 100);
    buf_json_string(&b, s);
    assert_string_equal(b.ptr, want);
    buf_fini(&b);
}

static void json_strings_are_always_well_formed(void **state)
{
    (void)state;
    json_of(SLICE_LIT(""), "\"\"");
    json_of(SLICE_LIT("plain"), "\"plain\"");
    json_of(SLICE_LIT("a\"b\\c\n\t\x01\x7f"), "\"a\\\"b\\\\c\\n\\t\\u0001\\u007f\"");
    json_of(SLICE_LIT("\0x"), "\"\\u0000x\"");
    json_of(SLICE_LIT("\xc3\xbc\xff!\xe2\x82"),
            "\"\xc3\xbc\xef\xbf\xbd!\xef\xbf\xbd\xef\xbf\xbd\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_to_its_bound_and_not_further),
        cmocka_unit_test(fixed_storage_never_moves),
        cmocka_unit_test(once_failed_nothing_more_is_written),
        cmocka_unit_test(numbers),
        cmocka_unit_test(json_strings_are_always_well_formed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
