#include "producer/poster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"

static struct clock_hands hands;
static int made;
static int64_t cost_us;

static int make(struct buf *page, void *arg)
{
    assert_ptr_equal(arg, &made);
    made++;
    hands.mono_us += cost_us;
    buf_printf(page, "page %d", made);
    return made % 2 == 1 ? 200 : 503;
}

static struct poster *open_poster(size_t max_bytes, int64_t page_us)
{
    hands = (struct clock_hands){.mono_us = 5000000};
    clock_pretend(&hands);
    made = 0;
    cost_us = page_us;
    return poster_create(max_bytes, make, &made);
}

static void close_poster(struct poster *p)
{
    poster_destroy(p);
    clock_pretend(NULL);
}

/* Whoever asks now and then gets a page of now. */
static void an_ordinary_visitor_gets_a_new_page(void **state)
{
    struct poster *p = open_poster(100, 10000);
    struct slice page;

    (void)state;
    assert_int_equal(poster_show(p, &page), 200);
    assert_true(slice_eq(page, SLICE_LIT("page 1")));
    assert_int_equal(poster_show(p, &page), 503); /* also a few at once, with a status of its own */
    assert_true(slice_eq(page, SLICE_LIT("page 2")));
    for (int i = 3; i < 100; i++) {
        hands.mono_us += cost_us * POSTER_SHARE;
        (void)poster_show(p, &page);
        assert_int_equal(made, i);
    }
    close_poster(p);
}

/* A flood gets copies, and does not cost more than its share of the rest of the time. */
static void a_flood_takes_its_share(void **state)
{
    struct poster *p = open_poster(100, 1000);
    struct slice page;
    int status = 0;

    (void)state;
    for (int i = 0; i < 1000000; i++) {
        hands.mono_us += 10;
        status = poster_show(p, &page);
    }
    /* Of ten seconds, and of one that was saved at first; a page takes a millisecond. */
    assert_in_range(made, 11000 / POSTER_SHARE - 1, 11000 / POSTER_SHARE + 1);
    assert_int_equal(status, made % 2 == 1 ? 200 : 503); /* that of the page shown again */
    /* A pause saves a second's share, however long it was. */
    hands.mono_us += INT64_C(3600000000);
    made = 0;
    for (int i = 0; i < 1000; i++) {
        (void)poster_show(p, &page);
    }
    assert_in_range(made, POSTER_AGE_MAX_MS / POSTER_SHARE, POSTER_AGE_MAX_MS / POSTER_SHARE + 1);
    close_poster(p);
}

/* However long a page took, the next is not more than a second away. */
static void no_page_is_too_old(void **state)
{
    struct poster *p = open_poster(100, 5000000);
    struct slice page;

    (void)state;
    (void)poster_show(p, &page);
    hands.mono_us += (int64_t)POSTER_AGE_MAX_MS * 1000 - 1;
    (void)poster_show(p, &page);
    assert_int_equal(made, 1);
    hands.mono_us += 1;
    (void)poster_show(p, &page);
    assert_int_equal(made, 2);
    close_poster(p);
}

static void a_page_too_large_is_an_error(void **state)
{
    struct poster *p = open_poster(3, 0);
    struct slice page;

    (void)state;
    assert_int_equal(poster_show(p, &page), 500);
    close_poster(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ordinary_visitor_gets_a_new_page),
        cmocka_unit_test(a_flood_takes_its_share),
        cmocka_unit_test(no_page_is_too_old),
        cmocka_unit_test(a_page_too_large_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
