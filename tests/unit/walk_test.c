/*
 * guardian/walk.c: a list that is read piece by piece is read whole and once, while its head goes and
 * its end grows.
 */
#include "guardian/walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ENTRIES_MAX = 20000 };

/* The list is [begin, end) of all; what was taken is counted. */
struct world {
    char all[ENTRIES_MAX][24];
    int taken[ENTRIES_MAX];
    int begin, end, pieces;
    struct walk walk;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    for (int i = 0; i < ENTRIES_MAX; i++) {
        (void)snprintf(w->all[i], sizeof(w->all[i]), "%d %d order", 1000 + i / 3, i);
    }
    walk_init(&w->walk);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    walk_fini(&w->walk);
    free(w);
    return 0;
}

/* One piece of the list as it is now. */
static void read_piece(struct world *w)
{
    struct slice piece[WALK_PIECE];
    const int64_t from = w->begin + w->walk.from;
    size_t n = 0;

    while (n < WALK_PIECE && from + (int64_t)n < w->end) {
        piece[n] = slice_str(w->all[from + (int64_t)n]);
        n++;
    }
    for (size_t i = walk_take(&w->walk, piece, n); i < n; i++) {
        w->taken[from + (int64_t)i]++;
    }
    assert_true(++w->pieces < 1000);
}

/* A new walk over [0, end); nothing moves. */
static void walk_still(struct world *w, int end)
{
    walk_fini(&w->walk);
    walk_init(&w->walk);
    w->end = end;
    w->pieces = 0;
    memset(w->taken, 0, sizeof(w->taken));
    while (!w->walk.is_over) {
        read_piece(w);
    }
    for (int i = 0; i < ENTRIES_MAX; i++) {
        assert_int_equal(w->taken[i], i < end ? 1 : 0);
    }
}

static void takes_a_still_list_whole(void **state)
{
    static const int sizes[] = {0,
                                1,
                                WALK_OVERLAP,
                                WALK_PIECE - 1,
                                WALK_PIECE,
                                WALK_PIECE + 1,
                                2 * WALK_PIECE - WALK_OVERLAP,
                                7 * WALK_PIECE + 13};
    struct world *w = *state;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        walk_still(w, sizes[i]);
    }
    assert_true(w->pieces <= 14);
}

/* Damage is for the reader to see: none of it is passed over, where the list stands still. */
static void takes_a_damaged_list_whole(void **state)
{
    struct world *w = *state;

    for (int i = WALK_PIECE - 2; i < WALK_PIECE + 2; i++) {
        (void)snprintf(w->all[i], sizeof(w->all[i]), "garbage");
    }
    for (int i = 2 * WALK_PIECE - WALK_OVERLAP; i < 2 * WALK_PIECE; i++) {
        (void)snprintf(w->all[i], sizeof(w->all[i]), "7 %d order", 5000 - i);
    }
    (void)snprintf(w->all[100], sizeof(w->all[100]), "999999 1 order");
    walk_still(w, 4 * WALK_PIECE);
}

static int below(uint32_t *dice, int n)
{
    *dice = *dice * 1664525 + 1013904223;
    return (int)((*dice >> 8) % (uint32_t)n);
}

/* What stands in the list in the end was taken once, and nothing twice. */
static void takes_a_list_whole_that_moves(void **state)
{
    struct world *w = *state;

    for (unsigned seed = 1; seed <= 300; seed++) {
        const int most = seed % 3 == 0 ? WALK_OVERLAP / 2 : seed % 3 == 1 ? 400 : 3 * WALK_PIECE;
        uint32_t dice = seed;

        walk_fini(&w->walk);
        walk_init(&w->walk);
        w->begin = 0;
        w->end = below(&dice, ENTRIES_MAX / 2);
        w->pieces = 0;
        memset(w->taken, 0, sizeof(w->taken));
        while (!w->walk.is_over) {
            read_piece(w);
            if (!w->walk.is_over) {
                w->begin += below(&dice, 3) == 0 ? below(&dice, most) : 0;
                w->begin = w->begin < w->end ? w->begin : w->end;
                w->end += below(&dice, 50);
                assert_true(w->end < ENTRIES_MAX);
            }
        }
        for (int i = 0; i < ENTRIES_MAX; i++) {
            assert_true(w->taken[i] <= 1);
            assert_true(i < w->begin || i >= w->end || w->taken[i] == 1);
        }
    }
}

/* The head goes before every piece, further than they overlap. */
static void gets_on_while_the_head_goes(void **state)
{
    struct world *w = *state;

    w->end = ENTRIES_MAX - 1;
    while (!w->walk.is_over) {
        read_piece(w);
        w->begin = w->begin + 2 * WALK_OVERLAP < w->end ? w->begin + 2 * WALK_OVERLAP : w->end;
    }
    assert_true(w->pieces < 100);
    for (int i = w->begin; i < w->end; i++) {
        assert_int_equal(w->taken[i], 1);
    }
}

/* Redis went back, and the head is there again. */
static void passes_over_a_head_that_came_back(void **state)
{
    struct world *w = *state;

    w->begin = 700;
    w->end = 5000;
    read_piece(w);
    read_piece(w);
    w->begin = 0;
    while (!w->walk.is_over) {
        read_piece(w);
    }
    for (int i = 0; i < ENTRIES_MAX; i++) {
        assert_int_equal(w->taken[i], i >= 700 && i < 5000 ? 1 : 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(takes_a_still_list_whole),          TEST(takes_a_damaged_list_whole),
        TEST(takes_a_list_whole_that_moves),     TEST(gets_on_while_the_head_goes),
        TEST(passes_over_a_head_that_came_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
