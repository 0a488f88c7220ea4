#include "common/version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void names_build_and_libraries(void **state)
{
    struct buf b;

    (void)state;
    assert_true(version_string()[0] != '\0');
    buf_init(&b, 1000);
    version_libraries(&b);
    assert_true(buf_ok(&b));
    assert_non_null(strstr(b.ptr, "librdkafka="));
    assert_non_null(strstr(b.ptr, "hiredis="));
    /* It fits a value of a log line. */
    assert_true(b.len < 256);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_build_and_libraries),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
