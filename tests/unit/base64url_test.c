#include "common/base64url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void round_trips_every_length(void **state)
{
    unsigned char bytes[40];
    char text[BASE64URL_CHARS(sizeof(bytes)) + 1];
    unsigned char back[sizeof(bytes)];
    size_t len = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (unsigned char)(i * 37 + 200);
    }
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        assert_int_equal(base64url_encode(bytes, n, text), BASE64URL_CHARS(n));
        assert_int_equal(strlen(text), BASE64URL_CHARS(n));
        assert_true(base64url_decode(slice_str(text), back, n, &len));
        assert_int_equal(len, n);
        assert_memory_equal(back, bytes, n);
        if (n > 0) {
            assert_false(base64url_decode(slice_str(text), back, n - 1, &len));
        }
    }
}

static void known_values(void **state)
{
    char text[16];

    (void)state;
    base64url_encode("foob", 4, text);
    assert_string_equal(text, "Zm9vYg");
    base64url_encode("\xfb\xff\xfe", 3, text);
    assert_string_equal(text, "-__-");
}

static void one_value_has_one_text(void **state)
{
    static const char *const bad[] = {"A",    "Zg==",   "Zh",    "Zm9=",   "Zm9v\n", "Zm+v",
                                      "Z/9v", "Zm9w A", "Zm9vY", "Zm9vYh", "Zm9vYmB"};
    unsigned char out[32];
    size_t len = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_false(base64url_decode(slice_str(bad[i]), out, sizeof(out), &len));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips_every_length),
        cmocka_unit_test(known_values),
        cmocka_unit_test(one_value_has_one_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
