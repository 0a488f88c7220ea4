#include "common/span.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Every byte at every place of a word, between bytes that are at the edges of what is plain. */
static void every_byte_at_every_place(void **state)
{
    static const char around[] = {' ', '~', '!', '#', '[', ']', 'a', '0'};

    (void)state;
    for (size_t k = 0; k < sizeof(around); k++) {
        for (size_t at = 0; at < 24; at++) {
            for (int c = 0; c < 256; c++) {
                char text[24];
                const bool is_plain = c >= 0x20 && c <= 0x7e && c != 0x22 && c != 0x5c;

                memset(text, around[k], sizeof(text));
                text[at] = (char)c;
                assert_int_equal(span_plain(text, sizeof(text)), is_plain ? sizeof(text) : at);
                assert_int_equal(span_plain(text, at), at);
            }
        }
    }
}

/* Two in one word: the first ends it. */
static void the_first_of_two(void **state)
{
    static const unsigned char bad[] = {0, 0x1f, '"', '\\', 0x7f, 0x80, 0xff};

    (void)state;
    for (size_t i = 0; i < sizeof(bad); i++) {
        for (size_t k = 0; k < sizeof(bad); k++) {
            char text[] = "abc.def.ghi";

            text[3] = (char)bad[i];
            text[4] = (char)bad[k];
            assert_int_equal(span_plain(text, 11), 3);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_at_every_place),
        cmocka_unit_test(the_first_of_two),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
