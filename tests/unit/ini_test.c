#include "common/ini.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void reads_sections_and_entries(void **state)
{
    struct ini r;
    struct err err;

    (void)state;
    ini_init(&r, SLICE_LIT("# all\n\n a-b =  1 = 2 \r\n[matcher]\nkafka.x_y=\npass = a#b"));
    assert_int_equal(ini_next(&r, &err), INI_ENTRY);
    assert_null(r.section.ptr);
    assert_int_equal(r.line, 3);
    assert_true(slice_eq(r.key, SLICE_LIT("a-b")));
    assert_true(slice_eq(r.value, SLICE_LIT("1 = 2")));
    assert_int_equal(ini_next(&r, &err), INI_SECTION);
    assert_true(slice_eq(r.section, SLICE_LIT("matcher")));
    assert_int_equal(ini_next(&r, &err), INI_ENTRY);
    assert_true(slice_eq(r.key, SLICE_LIT("kafka.x_y")));
    assert_int_equal(r.value.len, 0);
    assert_int_equal(ini_next(&r, &err), INI_ENTRY);
    assert_int_equal(r.line, 6);
    assert_true(slice_eq(r.value, SLICE_LIT("a#b")));
    assert_int_equal(ini_next(&r, &err), INI_END);
    assert_int_equal(ini_next(&r, &err), INI_END);
}

static void lines_may_be_long(void **state)
{
    char text[5000];
    struct ini r;
    struct err err;

    (void)state;
    memset(text, 'x', sizeof(text));
    text[0] = 'k';
    text[1] = '=';
    ini_init(&r, (struct slice){text, sizeof(text)});
    assert_int_equal(ini_next(&r, &err), INI_ENTRY);
    assert_int_equal(r.value.len, sizeof(text) - 2);
}

static void what_could_be_meant_otherwise_is_refused(void **state)
{
    static const struct slice bad[] = {
        {"key", 3},
        {"= value", 7},
        {"key = 1 # one", 13},
        {"Key = 1", 7},
        {"[matcher", 8},
        {"[]", 2},
        {"[", 1},
        {"[a b]", 5},
        {"key = a\0b", 9},
        {"key = \x1b[1m", 9},
        {"a b = 1", 7},
        {"key = # one", 11},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct ini r;
        struct err err = {.text = ""};

        ini_init(&r, bad[i]);
        assert_int_equal(ini_next(&r, &err), INI_WRONG);
        assert_int_equal(r.line, 1);
        assert_true(err.text[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_sections_and_entries),
        cmocka_unit_test(lines_may_be_long),
        cmocka_unit_test(what_could_be_meant_otherwise_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
