/*
 * The rules for sales: opened, changed, paused, restocked, and the bounds of all that.
 */
#include "common/fold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/fold_world.h"

static void open_needs_total_limit_and_hold(void **state)
{
    struct world *w = *state;
    struct command *cmd;

    for (int missing = 0; missing < 3; missing++) {
        cmd = sale(w, COMMAND_OPEN, "a");
        cmd->total = missing == 0 ? -1 : 5;
        cmd->limit = missing == 1 ? -1 : 5;
        cmd->hold_ms = missing == 2 ? -1 : 5;
        assert_string_equal(apply(w, cmd), "x 14");
    }
    assert_string_equal(item_of(w, "a"), "none");
    fold_holds(w->fold, &w->value);
    assert_int_equal(w->value.len, 0);
    cmd = sale(w, COMMAND_OPEN, "a");
    cmd->total = 0;
    cmd->limit = 5;
    cmd->hold_ms = 7;
    cmd->price = 99;
    assert_string_equal(apply(w, cmd), "s 0 0 0 0 5 7 0 0 o 99");
    assert_string_equal(item_of(w, "a"), "0 0 0 0 5 7 0 0 o 99");
}

static void change_replaces_what_is_present(void **state)
{
    struct world *w = *state;
    struct command *cmd;

    assert_string_equal(act(w, COMMAND_CHANGE, "a"), "x 7");
    (void)open_item(w, "a", 10, 4);
    (void)order(w, 1, "a", "u", 3);
    (void)pay(w, 1, "u", "p");
    (void)order(w, 2, "a", "v", 2);
    (void)act(w, COMMAND_PAUSE, "a");
    cmd = sale(w, COMMAND_CHANGE, "a");
    cmd->total = 5;
    cmd->opens_at = 3;
    cmd->closes_at = 4;
    assert_string_equal(apply(w, cmd), "s 5 0 2 3 4 100 3 4 p 0");
    cmd = sale(w, COMMAND_CHANGE, "a");
    cmd->total = 4;
    cmd->closes_at = 3;
    assert_string_equal(apply(w, cmd), "x 13");
    cmd->other_id = text("again");
    cmd->total = 5;
    assert_string_equal(apply(w, cmd), "x 14");
    cmd = sale(w, COMMAND_CHANGE, "a");
    cmd->closes_at = 0;
    assert_string_equal(apply(w, cmd), "s 5 0 2 3 4 100 3 0 p 0");
    cmd = sale(w, COMMAND_OPEN, "a");
    cmd->total = 4;
    assert_string_equal(apply(w, cmd), "x 13");
    assert_string_equal(item_of(w, "a"), "5 0 2 3 4 100 3 0 p 0");
    assert_string_equal(act(w, COMMAND_OPEN, "a"), "s 5 0 2 3 4 100 3 0 o 0");
}

static void nothing_follows_a_close(void **state)
{
    struct world *w = *state;

    assert_string_equal(act(w, COMMAND_PAUSE, "a"), "x 7");
    assert_string_equal(act(w, COMMAND_RESUME, "a"), "x 7");
    assert_string_equal(act(w, COMMAND_CLOSE, "a"), "x 7");
    (void)open_item(w, "a", 10, 4);
    assert_string_equal(act(w, COMMAND_PAUSE, "a"), "s 10 10 0 0 4 100 0 0 p 0");
    assert_string_equal(act(w, COMMAND_PAUSE, "a"), "s 10 10 0 0 4 100 0 0 p 0");
    assert_string_equal(act(w, COMMAND_RESUME, "a"), "s 10 10 0 0 4 100 0 0 o 0");
    assert_string_equal(act(w, COMMAND_CLOSE, "a"), "s 10 10 0 0 4 100 0 0 c 0");
    for (int action = COMMAND_OPEN; action <= COMMAND_CLOSE; action++) {
        assert_string_equal(act(w, (enum command_action)action, "a"), "x 4");
    }
    assert_string_equal(restock(w, "a", 1), "x 4");
}

static void restock_adds_up_to_a_bound(void **state)
{
    struct world *w = *state;

    assert_string_equal(restock(w, "a", 1), "x 7");
    (void)open_item(w, "a", 10, 4);
    assert_string_equal(restock(w, "a", 5), "s 15 15 0 0 4 100 0 0 o 0");
    assert_string_equal(restock(w, "a", COMMAND_TOTAL_MAX - 14), "x 14");
    assert_string_equal(restock(w, "a", COMMAND_TOTAL_MAX - 15),
                        "s 1000000000 1000000000 0 0 4 100 0 0 o 0");
}

static void an_operation_counts_once(void **state)
{
    struct world *w = *state;
    struct command *cmd = sale(w, COMMAND_PAUSE, "a");

    assert_string_equal(apply(w, cmd), "x 7");
    assert_string_equal(apply(w, cmd), "o");
    assert_true(fold_operation(w->fold, SLICE_LIT("op0"), &w->value));
    assert_string_equal(w->value.ptr, "a 1");
    cmd->type = COMMAND_ARCHIVE;
    assert_string_equal(apply(w, cmd), "o");
    cmd->other_id = text("other");
    assert_string_equal(apply(w, cmd), "x 14");
    assert_string_equal(apply(w, cmd), "o");
    (void)open_item(w, "a", 10, 4);
    cmd->type = COMMAND_RESTOCK;
    cmd->qty = 5;
    cmd->item_id = text("a");
    cmd->other_id = text("third");
    assert_string_equal(apply(w, cmd), "s 15 15 0 0 4 100 0 0 o 0");
    assert_string_equal(apply(w, cmd), "o");
    assert_string_equal(item_of(w, "a"), "15 15 0 0 4 100 0 0 o 0");
}

static void there_are_64_hold_ms(void **state)
{
    struct world *w = *state;
    struct command *cmd;

    (void)open_item(w, "a", 10, 4);
    for (int64_t hold_ms = 1; hold_ms <= 63; hold_ms++) {
        cmd = sale(w, COMMAND_CHANGE, "a");
        cmd->hold_ms = hold_ms;
        (void)apply(w, cmd);
    }
    cmd = sale(w, COMMAND_CHANGE, "a");
    cmd->hold_ms = 64;
    assert_string_equal(apply(w, cmd), "x 14");
    cmd = sale(w, COMMAND_OPEN, "b");
    cmd->total = 1;
    cmd->limit = 1;
    cmd->hold_ms = 64;
    assert_string_equal(apply(w, cmd), "x 14");
    assert_string_equal(item_of(w, "b"), "none");
    cmd->other_id = text("again");
    cmd->hold_ms = HOLD_MS;
    assert_string_equal(apply(w, cmd), "s 1 1 0 0 1 100 0 0 o 0");
    fold_holds(w->fold, &w->value);
    assert_memory_equal(w->value.ptr, "100,1,2,3,", 10);
    assert_string_equal(w->value.ptr + w->value.len - 6, ",62,63");
}

static void there_are_4096_items(void **state)
{
    struct world *w = *state;
    struct fold_log log;
    char item[16];

    (void)order(w, KEYED, "known", "u", 1); /* named, but on sale it is not */
    for (int i = 0; i < 4096; i++) {
        (void)snprintf(item, sizeof(item), "i%d", i);
        assert_string_equal(open_item(w, item, 1, 1), "s 1 1 0 0 1 100 0 0 o 0");
    }
    assert_string_equal(open_item(w, "more", 1, 1), "x 14");
    assert_string_equal(open_item(w, "known", 1, 1), "x 14");
    assert_string_equal(open_item(w, "i7", 2, 1), "s 2 2 0 0 1 100 0 0 o 0");
    fold_log(w->fold, &log);
    assert_int_equal(log.items, 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(open_needs_total_limit_and_hold),
        IN_WORLD(change_replaces_what_is_present),
        IN_WORLD(nothing_follows_a_close),
        IN_WORLD(restock_adds_up_to_a_bound),
        IN_WORLD(an_operation_counts_once),
        IN_WORLD(there_are_64_hold_ms),
        IN_WORLD(there_are_4096_items),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
