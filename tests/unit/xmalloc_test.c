#include "common/xmalloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void nothing_is_still_something(void **state)
{
    (void)state;
    free(xmalloc(0));
    free(xcalloc(0, 8));
    void *p = xreallocarray(NULL, 4, 8);

    p = xreallocarray(p, 0, 8);
    assert_non_null(p);
    free(p);
}

static void copies(void **state)
{
    (void)state;
    char *text = xstrdup("abc");
    char *bytes = xmemdup0("a\0b", 3);
    char *empty = xmemdup0(NULL, 0);

    assert_string_equal(text, "abc");
    assert_memory_equal(bytes, "a\0b", 4);
    assert_string_equal(empty, "");
    free(text);
    free(bytes);
    free(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_still_something),
        cmocka_unit_test(copies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
