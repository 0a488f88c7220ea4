/*
 * What those hear who read a few records, and cannot.
 */
#include "guardian/pick.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* For the memory sanitizer; kafka_client() says why.  NOLINTNEXTLINE(bugprone-reserved-identifier): its name */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) /* NOLINT(bugprone-reserved-identifier): as above */
{
    return "leak:kafka_conf\n";
}

static void cannot_have_one(const char *name, const char *value)
{
    const struct conf_kafka native[] = {{CONF_KAFKA_ANY, "security.protocol", "ssl"},
                                        {CONF_KAFKA_ANY, name, value}};
    const struct kafka_settings kafka = {"127.0.0.1:1", "test", native, 2};
    const struct pick_wait wait = {1000};
    struct err err = {0};

    assert_null(pick_create(&kafka, "seckill.orders", 0, &wait, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_non_null(strstr(err.text, name));
}

/*
 * A guardian halts a partition over ERR_FATAL, for ever.  That there is no certificate while it is
 * replaced, or no thread to be had, says nothing of the log.
 */
static void no_client_is_no_refusal(void **state)
{
    (void)state;
    cannot_have_one("ssl.ca.location", "/nowhere/ca.pem");
    cannot_have_one("ssl.endpoint.identification.algorithm", "guess");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_client_is_no_refusal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
