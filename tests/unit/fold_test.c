/*
 * The fold as a whole: which records it takes, and what it shows after many.
 */
#include "common/fold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/fold_world.h"

/* The log. */

static void only_a_genesis_starts_a_log(void **state)
{
    struct fold *f = fold_create(0, 4);
    const struct fold_record no_genesis = {
        .offset = 5, .timestamp = 1, .value = SLICE_LIT("{\"type\":\"tick\"}")};
    const struct fold_record malformed = {.offset = 5, .timestamp = 1, .value = SLICE_LIT("{")};
    const struct fold_record genesis_record = {
        .offset = 5,
        .timestamp = 7,
        .key = {NULL, 0},
        .value = SLICE_LIT("{\"type\":\"genesis\",\"log_id\":\"" LOG_ID
                           "\",\"partitions\":4,\"rules\":1}")};
    struct fold_log log;
    struct err err;

    (void)state;
    assert_false(fold_apply(f, &no_genesis, NULL, &err));
    assert_int_equal(err.kind, ERR_FATAL);
    assert_false(fold_apply(f, &malformed, NULL, &err));
    fold_log(f, &log);
    assert_int_equal(log.watermark, -1);
    assert_int_equal(log.log_time, 0);
    assert_string_equal(log.genesis, "");

    assert_true(fold_apply(f, &genesis_record, NULL, &err));
    fold_log(f, &log);
    assert_string_equal(log.genesis, LOG_ID);
    assert_int_equal(log.partitions, 4);
    assert_int_equal(log.rules, 1);
    assert_int_equal(log.watermark, 5);
    assert_int_equal(log.log_time, 7);
    assert_true(log.last_hash == ids_record_hash(5, 7, genesis_record.key, genesis_record.value));
    assert_true(log.chain == ids_chain_next(ids_chain_start(SLICE_LIT(LOG_ID)), log.last_hash));
    fold_destroy(f);
}

static void a_second_genesis_is_refused(void **state)
{
    struct world *w = *state;

    assert_string_equal(genesis(w), "x 14");
}

static void offsets_rise(void **state)
{
    struct world *w = *state;
    struct fold_record rec = {.offset = 0, .value = SLICE_LIT("{\"type\":\"tick\"}")};
    struct fold_log before, after;
    struct err err;

    fold_log(w->fold, &before);
    assert_false(fold_apply(w->fold, &rec, NULL, &err));
    assert_int_equal(err.kind, ERR_FATAL);
    rec.offset = COMMAND_TIME_MAX + 1;
    assert_false(fold_apply(w->fold, &rec, NULL, &err));
    rec.offset = 9;
    rec.timestamp = COMMAND_TIME_MAX + 1;
    assert_false(fold_apply(w->fold, &rec, NULL, &err));
    fold_log(w->fold, &after);
    assert_memory_equal(&before, &after, sizeof(before));
    rec.timestamp = 0;
    assert_true(fold_apply(w->fold, &rec, NULL, &err));
}

static void other_rules_are_the_end(void **state)
{
    struct world *w = *state;
    const struct fold_record rec = {.offset = 100, .value = SLICE_LIT("{\"type\":\"tick\"}")};
    struct command cmd = {.type = COMMAND_SET_RULES, .rules = 1};
    struct fold_log log;
    struct err err;

    assert_string_equal(apply(w, &cmd), "v");
    assert_string_equal(tick(w), "");
    cmd.rules = 2;
    assert_string_equal(apply(w, &cmd), "v");
    assert_string_equal(tick(w), "");
    cmd.rules = 3;
    assert_string_equal(apply(w, &cmd), "v");
    fold_log(w->fold, &log);
    assert_int_equal(log.rules, 3);
    assert_false(fold_apply(w->fold, &rec, NULL, &err));
    assert_int_equal(err.kind, ERR_FATAL);
}

static void log_time_never_goes_back(void **state)
{
    struct world *w = *state;
    struct fold_log log;

    w->now = START + 50;
    (void)tick(w);
    w->now = START - 50;
    (void)open_item(w, "a", 5, 5);
    assert_string_equal(order(w, 1, "a", "u", 1), "4 1150");
    fold_log(w->fold, &log);
    assert_int_equal(log.log_time, START + 50);
}

static void malformed_records_are_refused(void **state)
{
    struct world *w = *state;

    assert_string_equal(apply_raw(w, SLICE_LIT("{")), "x 15");
    assert_string_equal(apply_raw(w, (struct slice){NULL, 0}), "x 15");
    assert_int_equal(fold_last_command(w->fold)->detail, COMMAND_NULL_VALUE);
}

/* All together. */

static void a_mark_has_the_items_in_byte_order(void **state)
{
    struct world *w = *state;
    struct command cmd = {.type = COMMAND_MARK};

    cmd.other_id = text("run");
    assert_string_equal(apply(w, &cmd), "m 0 0");
    (void)open_item(w, "b", 5, 5);
    (void)open_item(w, "a.b", 6, 5);
    (void)open_item(w, "a", 7, 5);
    (void)open_item(w, "Z", 8, 5);
    (void)order(w, 1, "a", "u", 2);
    (void)order(w, 2, "b", "u", 1);
    (void)pay(w, 2, "u", "p");
    (void)order(w, KEYED, "nowhere", "u", 1);
    assert_string_equal(apply(w, &cmd), "m 3 1 Z,8,8,0,0 a,7,5,2,0 a.b,6,6,0,0 b,5,4,0,1");
}

static bool join(struct slice field, struct slice value, void *arg)
{
    struct buf *out = arg;

    buf_printf(out, "%.*s=%.*s;", (int)field.len, field.ptr, (int)value.len, value.ptr);
    return true;
}

static bool take_one(struct slice field, struct slice value, void *arg)
{
    size_t *n = arg;

    (void)field;
    (void)value;
    ++*n;
    return false;
}

static void holds_are_told_in_due_order(void **state)
{
    struct world *w = *state;
    struct command *cmd;
    size_t n = 0;

    (void)open_item(w, "a", 10, 10);
    (void)order(w, 1, "a", "u", 1);
    cmd = sale(w, COMMAND_CHANGE, "a");
    cmd->hold_ms = 30;
    (void)apply(w, cmd);
    (void)order(w, 2, "a", "v", 1);
    (void)order(w, 3, "a", "v", 1);
    (void)cancel(w, 3, "v");
    buf_clear(&w->line);
    fold_each_hold(w->fold, join, &w->line);
    assert_string_equal(w->line.ptr, "30=1030 4 00000000-0000-7000-8000-000000000002 v;"
                                     "100=1100 2 00000000-0000-7000-8000-000000000001 u;");
    fold_each_hold(w->fold, take_one, &n);
    assert_int_equal(n, 1);
    fold_each(w->fold, FOLD_ITEMS, take_one, &n);
    assert_int_equal(n, 2);
    buf_clear(&w->line);
    fold_each(w->fold, FOLD_OPERATIONS, join, &w->line);
    assert_non_null(strstr(w->line.ptr, "op0=a 1;"));
    assert_non_null(strstr(w->line.ptr, "op1=a 3;"));
    buf_clear(&w->line);
    (void)pay(w, 2, "v", "p");
    fold_each(w->fold, FOLD_PAYMENTS, join, &w->line);
    assert_non_null(strstr(w->line.ptr, "p=P 0 00000000-0000-7000-8000-000000000002 7;"));
}

static uint32_t next_random(uint32_t *x)
{
    *x = *x * 1664525u + 1013904223u;
    return *x >> 8;
}

/* One random command on three items and five users. */
static void walk_one_step(struct world *w, uint32_t *seed)
{
    static const char *const items[] = {"a", "b", "c"};
    static const char *const users[] = {"u", "v", "w", "x", "y"};
    const char *item = items[next_random(seed) % 3];
    const char *user = users[next_random(seed) % 5];
    const int n = (int)(next_random(seed) % 60) + (next_random(seed) % 2 == 0 ? KEYED : 0);
    char payment[16];
    struct command *cmd;

    (void)snprintf(payment, sizeof(payment), "p%u", (unsigned)(next_random(seed) % 300));
    w->now += next_random(seed) % 12;
    switch (next_random(seed) % 8) {
    case 0:
        (void)pay(w, n, user, payment);
        break;
    case 1:
        (void)cancel(w, n, user);
        break;
    case 2:
        cmd = sale(w, next_random(seed) % 2 == 0 ? COMMAND_OPEN : COMMAND_CHANGE, item);
        cmd->total = next_random(seed) % 12;
        cmd->limit = 1 + next_random(seed) % 4;
        cmd->hold_ms = 10 + next_random(seed) % 3 * 45;
        (void)apply(w, cmd);
        break;
    case 3:
        (void)restock(w, item, 1 + next_random(seed) % 3);
        break;
    default:
        (void)order(w, n, item, user, 1 + next_random(seed) % 2);
        break;
    }
}

static void units_are_conserved_on_a_random_walk(void **state)
{
    struct world *w = *state;
    uint32_t seed = 7;

    for (int i = 0; i < 20000; i++) {
        walk_one_step(w, &seed);
        assert_conserved(w);
    }
}

enum {
    WATCHED_ITEMS = 3,
    WATCHED = 8, /* the items and users of the walk */
};

static char *value_of(struct world *w, int i)
{
    static const char *const names[WATCHED] = {"a", "b", "c", "u", "v", "w", "x", "y"};

    return strdup(i < WATCHED_ITEMS ? item_of(w, names[i]) : orders_of(w, names[i]));
}

static int64_t changed_of(const struct world *w, int i)
{
    static const char *const names[WATCHED] = {"a", "b", "c", "u", "v", "w", "x", "y"};

    return fold_changed(w->fold, i < WATCHED_ITEMS ? FOLD_ITEMS : FOLD_ORDERS, slice_str(names[i]));
}

/* A number of the log that is another now has the offset of the record at hand, the same one has not. */
static void assert_noted(const struct world *w, bool is_changed, int64_t at)
{
    assert_int_equal(is_changed, at == w->offset - 1);
}

static void a_change_has_the_offset_of_its_record(void **state)
{
    struct world *w = *state;
    uint32_t seed = 11;
    int changes[WATCHED] = {0};

    for (int step = 0; step < 5000; step++) {
        struct fold_log was, is;
        char *before[WATCHED];

        for (int i = 0; i < WATCHED; i++) {
            before[i] = value_of(w, i);
        }
        fold_log(w->fold, &was);
        walk_one_step(w, &seed);
        fold_log(w->fold, &is);
        assert_noted(w, was.log_time != is.log_time, is.changed.log_time);
        assert_noted(w, was.items != is.items, is.changed.items);
        assert_noted(w, was.orders != is.orders, is.changed.orders);
        assert_noted(w, was.payments != is.payments, is.changed.payments);
        for (int i = 0; i < WATCHED; i++) {
            char *after = value_of(w, i);
            const bool is_new = changed_of(w, i) == w->offset - 1;

            if (strcmp(before[i], after) != 0) {
                assert_true(is_new);
                changes[i]++;
            } else if (i >= WATCHED_ITEMS) { /* an item may be set to what it is */
                assert_false(is_new);
            }
            free(before[i]);
            free(after);
        }
    }
    for (int i = 0; i < WATCHED; i++) {
        assert_true(changes[i] > 20);
    }
}

static void assert_changed(const struct world *w, int64_t item, int64_t user)
{
    assert_int_equal(fold_changed(w->fold, FOLD_ITEMS, SLICE_LIT("a")), item);
    assert_int_equal(fold_changed(w->fold, FOLD_ORDERS, SLICE_LIT("u")), user);
}

static void each_command_changes_its_own(void **state)
{
    struct world *w = *state;

    (void)open_item(w, "a", 9, 9);
    assert_changed(w, 1, -1);
    (void)order(w, 1, "a", "u", 1);
    assert_changed(w, 2, 2);
    (void)cancel(w, 1, "u");
    assert_changed(w, 3, 3);
    (void)order(w, 2, "a", "u", 1);
    (void)pay(w, 2, "u", "p1");
    assert_changed(w, 5, 5);
    (void)pay(w, 2, "u", "p2"); /* due back, and listed */
    assert_changed(w, 5, 6);
    (void)pay(w, 9, "u", "p3");
    (void)cancel(w, 2, "u");
    (void)order(w, 2, "a", "u", 1);
    assert_changed(w, 5, 6);
    (void)restock(w, "a", 1);
    assert_changed(w, 10, 6);
    (void)order(w, 3, "a", "u", 1);
    w->now += HOLD_MS;
    (void)tick(w);
    assert_changed(w, 12, 12);
    (void)pay(w, 3, "u", "p4"); /* late */
    assert_changed(w, 13, 13);
    (void)order(w, KEYED, "a", "u", 99); /* rejected */
    assert_changed(w, 13, 14);
}

static void what_there_is_not_was_never_changed(void **state)
{
    struct world *w = *state;
    struct fold_log log;

    assert_int_equal(fold_changed(w->fold, FOLD_ITEMS, SLICE_LIT("a")), -1);
    (void)order(w, KEYED, "a", "u", 1); /* names an item that there is not */
    assert_int_equal(fold_changed(w->fold, FOLD_ITEMS, SLICE_LIT("a")), -1);
    assert_int_equal(fold_changed(w->fold, FOLD_ORDERS, SLICE_LIT("u")), 1);
    assert_int_equal(fold_changed(w->fold, FOLD_ORDERS, SLICE_LIT("v")), -1);
    (void)open_item(w, "a", 9, 9);
    (void)pay(w, KEYED, "u", "p");
    assert_int_equal(fold_changed(w->fold, FOLD_OPERATIONS, SLICE_LIT("op0")), 2);
    assert_int_equal(fold_changed(w->fold, FOLD_PAYMENTS, SLICE_LIT("p")), 3);
    assert_int_equal(fold_changed(w->fold, FOLD_PAYMENTS, SLICE_LIT("op0")), -1);
    (void)tick(w);
    fold_log(w->fold, &log);
    assert_int_equal(log.changed.genesis, 0);
    assert_int_equal(log.changed.rules, 0);
    assert_int_equal(log.changed.holds, 2);
    assert_int_equal(log.changed.items, 2);
    assert_int_equal(log.changed.payments, 3);
}

static void an_archive_changes_what_it_forgets_of(void **state)
{
    struct world *w = *state;
    struct command cmd = {.type = COMMAND_SET_RULES, .rules = 2};
    struct fold_log log;

    (void)open_item(w, "a", 9, 9);
    (void)open_item(w, "b", 9, 9);
    (void)order(w, 1, "a", "u", 1);
    (void)order(w, 2, "a", "v", 1);
    (void)order(w, 3, "b", "v", 1);
    (void)cancel(w, 1, "u");
    (void)cancel(w, 2, "v");
    (void)order(w, 4, "b", "w", 1);
    (void)act(w, COMMAND_CLOSE, "a");
    assert_string_equal(apply(w, &cmd), "v");
    cmd = (struct command){.type = COMMAND_ARCHIVE, .users = SLICE_LIT("u,v,w")};
    cmd.item_id = text("a");
    cmd.other_id = text("archive");
    assert_string_equal(apply(w, &cmd), "a 2 9 0");
    assert_int_equal(fold_changed(w->fold, FOLD_ITEMS, SLICE_LIT("a")), 11);
    assert_int_equal(fold_changed(w->fold, FOLD_ITEMS, SLICE_LIT("b")), 8);
    assert_int_equal(fold_changed(w->fold, FOLD_ORDERS, SLICE_LIT("u")), -1);
    assert_int_equal(fold_changed(w->fold, FOLD_ORDERS, SLICE_LIT("v")), 11);
    assert_int_equal(fold_changed(w->fold, FOLD_ORDERS, SLICE_LIT("w")), 8);
    fold_log(w->fold, &log);
    assert_int_equal(log.changed.rules, 10);
    assert_int_equal(log.changed.items, 11);
}

static enum fold_due due_of(const struct world *w, const char *hold_ms, const char *entry)
{
    return fold_due(w->fold, slice_str(hold_ms), slice_str(entry));
}

static void a_due_lists_entry_is_known(void **state)
{
    static const char entry[] = "1100 2 00000000-0000-7000-8000-000000000001 u";
    static const char *const strange[] = {
        "",
        "1100",
        "1101 2 00000000-0000-7000-8000-000000000001 u",
        "1100 3 00000000-0000-7000-8000-000000000001 u",
        "1100 2 00000000-0000-7000-8000-000000000002 u",
        "1100 2 00000000-0000-7000-8000-000000000001 v",
        "1100 2 00000000-0000-7000-8000-000000000001 u ",
        "01100 2 00000000-0000-7000-8000-000000000001 u",
        "0 3 00000000-0000-8000-8000-000000001000 u", /* rejected: it was never held */
    };
    struct world *w = *state;
    struct command *cmd;

    (void)open_item(w, "a", 10, 10);
    (void)order(w, 1, "a", "u", 1);
    (void)order(w, KEYED, "a", "u", 99);
    cmd = sale(w, COMMAND_CHANGE, "a");
    cmd->hold_ms = 30;
    (void)apply(w, cmd);
    assert_int_equal(due_of(w, "100", entry), FOLD_DUE_HELD);
    assert_int_equal(due_of(w, "30", entry), FOLD_DUE_UNKNOWN);
    for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
        assert_int_equal(due_of(w, "100", strange[i]), FOLD_DUE_UNKNOWN);
    }
    (void)pay(w, 1, "u", "p");
    assert_int_equal(due_of(w, "100", entry), FOLD_DUE_OVER);
    assert_int_equal(due_of(w, "30", entry), FOLD_DUE_UNKNOWN);
}

static void nobody_need_read_the_lines(void **state)
{
    struct world *w = *state;
    struct world silent = {.fold = fold_create(0, 1), .now = START, .is_silent = true};
    struct buf told, untold;
    uint32_t seed = 9, same_seed = 9;

    (void)genesis(&silent);
    for (int i = 0; i < 500; i++) {
        walk_one_step(w, &seed);
        walk_one_step(&silent, &same_seed);
    }
    buf_init(&told, 1 << 20);
    buf_init(&untold, 1 << 20);
    for (int table = FOLD_ITEMS; table <= FOLD_OPERATIONS; table++) {
        fold_each(w->fold, (enum fold_table)table, join, &told);
        fold_each(silent.fold, (enum fold_table)table, join, &untold);
    }
    assert_true(told.len > 0);
    assert_string_equal(told.ptr, untold.ptr);
    buf_fini(&told);
    buf_fini(&untold);
    fold_destroy(silent.fold);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_a_genesis_starts_a_log),
        IN_WORLD(a_second_genesis_is_refused),
        IN_WORLD(offsets_rise),
        IN_WORLD(other_rules_are_the_end),
        IN_WORLD(log_time_never_goes_back),
        IN_WORLD(malformed_records_are_refused),
        IN_WORLD(a_mark_has_the_items_in_byte_order),
        IN_WORLD(holds_are_told_in_due_order),
        IN_WORLD(units_are_conserved_on_a_random_walk),
        IN_WORLD(a_change_has_the_offset_of_its_record),
        IN_WORLD(each_command_changes_its_own),
        IN_WORLD(what_there_is_not_was_never_changed),
        IN_WORLD(an_archive_changes_what_it_forgets_of),
        IN_WORLD(a_due_lists_entry_is_known),
        IN_WORLD(nobody_need_read_the_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
