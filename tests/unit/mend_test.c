/*
 * When the guardian rebuilds a partition's Redis by itself: only for what was seen twice, and a rebuild
 * that goes on is left alone.
 */
#include "guardian/mend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum {
    STALL_MS = 5000,
};

static struct mend fresh(void)
{
    return (struct mend){.stall_ms = STALL_MS};
}

static struct peek_look found(enum peek_found what, int64_t watermark)
{
    return (struct peek_look){
        .found = what, .genesis = "ours", .watermark = watermark, .first = watermark};
}

static enum mend_cause see(struct mend *m, struct peek_look look, int64_t log_begin, int64_t now_ms)
{
    const struct mend_view view = {.look = &look,
                                   .position = 100,
                                   .genesis = "ours",
                                   .log_begin = log_begin,
                                   .now_ms = now_ms};

    return mend_see(m, &view);
}

static bool wants_log(const struct mend *m, struct peek_look look)
{
    return mend_wants_log(m, &look, 100);
}

static void a_state_is_left_alone(void **state)
{
    struct mend m = fresh();

    (void)state;
    for (int64_t now_ms = 0; now_ms < 10000; now_ms += 1000) {
        assert_int_equal(see(&m, found(PEEK_STATE, 100), 0, now_ms), MEND_NONE);
        assert_int_equal(see(&m, found(PEEK_STATE, 300), 50, now_ms), MEND_NONE);
    }
}

/* A wrong setting: it is another shop's. */
static void another_logs_state_is_left_alone(void **state)
{
    struct peek_look look = found(PEEK_STATE, 10);
    struct mend m = fresh();

    (void)state;
    assert_int_equal(see(&m, look, 50, 0), MEND_NONE);
    assert_int_equal(see(&m, look, 50, 2000), MEND_HEAD);
    memcpy(look.genesis, "theirs", sizeof("theirs"));
    for (int64_t now_ms = 3000; now_ms < 10000; now_ms += 1000) {
        assert_int_equal(see(&m, look, 50, now_ms), MEND_NONE);
    }
}

/* The matcher folds it from the genesis, or catches up. */
static void what_the_log_has_is_left_to_the_log(void **state)
{
    struct mend m = fresh();

    (void)state;
    for (int64_t now_ms = 0; now_ms < 10000; now_ms += 1000) {
        assert_int_equal(see(&m, found(PEEK_NOTHING, -1), 0, now_ms), MEND_NONE);
    }
    for (int64_t now_ms = 0; now_ms < 10000; now_ms += 1000) {
        assert_int_equal(see(&m, found(PEEK_STATE, 40), 40, now_ms), MEND_NONE);
    }
    assert_true(wants_log(&m, found(PEEK_NOTHING, -1)));
    assert_true(wants_log(&m, found(PEEK_STATE, 99)));
    assert_false(wants_log(&m, found(PEEK_STATE, 100)));
    assert_false(wants_log(&m, found(PEEK_KEYS, -1)));
}

static void a_head_that_is_gone(void **state)
{
    struct mend m = fresh();

    (void)state;
    assert_int_equal(see(&m, found(PEEK_NOTHING, -1), 1, 0), MEND_NONE);
    assert_int_equal(see(&m, found(PEEK_NOTHING, -1), 1, MEND_TWICE_MS - 1), MEND_NONE);
    assert_int_equal(see(&m, found(PEEK_NOTHING, -1), 1, MEND_TWICE_MS), MEND_HEAD);
    m = fresh();
    assert_int_equal(see(&m, found(PEEK_STATE, 40), 41, 0), MEND_NONE);
    assert_int_equal(see(&m, found(PEEK_STATE, 40), 41, MEND_TWICE_MS), MEND_HEAD);
}

/* Redis fell back to the same watermark and an older outbox. */
static void an_outbox_from_before_the_head(void **state)
{
    struct peek_look look = found(PEEK_STATE, 120);
    struct mend m = fresh();

    (void)state;
    look.first = 40;
    assert_false(wants_log(&m, look)); /* what is told now is in the outbox, too */
    assert_int_equal(see(&m, look, 0, 0), MEND_NONE);
    assert_true(wants_log(&m, look));
    assert_int_equal(see(&m, look, 40, 1000), MEND_NONE);
    assert_int_equal(see(&m, look, 40, 2000), MEND_NONE);
    assert_int_equal(see(&m, look, 41, 3000), MEND_NONE);
    assert_int_equal(see(&m, look, 41, 3000 + MEND_TWICE_MS), MEND_HEAD);
    look.first = 60;
    assert_false(wants_log(&m, look)); /* it goes on */
    look.first = 100;
    assert_int_equal(see(&m, look, 0, 9000), MEND_NONE);
    assert_false(wants_log(&m, look)); /* nothing that MySQL has: a rebuild would not help */
    assert_int_equal(see(&m, look, 110, 10000), MEND_NONE);
    assert_int_equal(see(&m, look, 110, 20000), MEND_NONE);
}

static void once_is_not_enough(void **state)
{
    struct mend m = fresh();

    (void)state;
    assert_int_equal(see(&m, found(PEEK_KEYS, -1), 0, 0), MEND_NONE);
    assert_int_equal(see(&m, found(PEEK_STATE, 100), 0, 1000), MEND_NONE); /* a failover */
    assert_int_equal(see(&m, found(PEEK_KEYS, -1), 0, 2000), MEND_NONE);
    assert_int_equal(see(&m, found(PEEK_KEYS, -1), 0, 3000), MEND_KEYS);
}

static struct peek_look rebuilding(const char *token, int64_t progress)
{
    struct peek_look look = found(PEEK_REBUILD, -1);

    (void)snprintf(look.token, sizeof(look.token), "%s", token);
    look.progress = progress;
    return look;
}

static void a_rebuild_that_goes_on(void **state)
{
    struct mend m = fresh();

    (void)state;
    for (int64_t n = 0; n < 20; n++) {
        assert_int_equal(see(&m, rebuilding("one", n), 0, n * (STALL_MS - 1)), MEND_NONE);
    }
    /* Another one has begun: it may well stand at the same piece. */
    assert_int_equal(see(&m, rebuilding("two", 19), 0, INT64_C(20) * STALL_MS), MEND_NONE);
    assert_int_equal(see(&m, rebuilding("two", 19), 0, INT64_C(21) * STALL_MS - 1), MEND_NONE);
    assert_int_equal(see(&m, rebuilding("two", 19), 0, INT64_C(21) * STALL_MS), MEND_INTERRUPTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_is_left_alone),
        cmocka_unit_test(another_logs_state_is_left_alone),
        cmocka_unit_test(what_the_log_has_is_left_to_the_log),
        cmocka_unit_test(a_head_that_is_gone),
        cmocka_unit_test(an_outbox_from_before_the_head),
        cmocka_unit_test(once_is_not_enough),
        cmocka_unit_test(a_rebuild_that_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
