#include "common/hex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void round_trip(void **state)
{
    char text[17];
    uint64_t n = 0;
    unsigned char bytes[3];

    (void)state;
    hex_encode("\x00\x7f\xff", 3, text);
    assert_string_equal(text, "007fff");
    assert_true(hex_decode(slice_str(text), bytes, 3));
    assert_memory_equal(bytes, "\x00\x7f\xff", 3);
    hex_encode_u64(0x0123456789abcdefULL, text);
    assert_string_equal(text, "0123456789abcdef");
    assert_true(hex_decode_u64(slice_str(text), &n));
    assert_true(n == 0x0123456789abcdefULL);
}

static void other_texts_are_refused(void **state)
{
    unsigned char bytes[3];
    uint64_t n = 0;

    (void)state;
    assert_false(hex_decode(SLICE_LIT("007FFF"), bytes, 3));
    assert_false(hex_decode(SLICE_LIT("007ff"), bytes, 3));
    assert_false(hex_decode(SLICE_LIT("007fff0"), bytes, 3));
    assert_false(hex_decode(SLICE_LIT("007ff "), bytes, 3));
    assert_false(hex_decode_u64(SLICE_LIT("0123456789abcde"), &n));
    assert_false(hex_decode_u64(SLICE_LIT("0123456789abcdefa"), &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(other_texts_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
