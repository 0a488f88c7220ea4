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

#include "common/clock.h"

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
    const struct pick_wait wait = {.patience_ms = 1000};
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

static void a_cancelled_wait_ends(void **state)
{
    const struct kafka_settings nobody = {.brokers = "127.0.0.1:1", .client_id = "test"};
    atomic_bool cancelled = true;
    const struct pick_wait wait = {.patience_ms = 60000, .cancelled = &cancelled};
    const struct pick_span span = {0, 0, NULL, NULL};
    const int64_t started_ms = clock_mono_ms();
    struct err err = {0};
    struct pick *pick = pick_create(&nobody, "seckill.orders", 0, &wait, &err);
    int64_t begin;
    int64_t end;

    (void)state;
    assert_non_null(pick);
    assert_false(pick_range(pick, &begin, &end, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_false(pick_read(pick, &span, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    pick_destroy(pick);
    assert_true(clock_mono_ms() - started_ms < 30000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_client_is_no_refusal),
        cmocka_unit_test(a_cancelled_wait_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
