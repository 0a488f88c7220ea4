/*
 * A fold loaded from what another shows is that fold: it shows the same, and gives the same lines to
 * whatever comes after.
 */
#include "common/fold.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define LOG_ID "00112233445566778899aabbccddeeff"

enum {
    BEFORE = 600,
    AFTER = 600,
    USERS = 30,
    ORDERS = 1500,
    STEP_MS = 7,
};

struct world {
    unsigned seed;
    int64_t offset, now;
    int ops, payments;
};

static unsigned die(struct world *w, unsigned sides)
{
    w->seed = w->seed * 1103515245U + 12345U;
    return w->seed / 65536U % sides;
}

static int next_order(struct world *w, char *text, size_t size)
{
    const unsigned n = die(w, ORDERS);
    const unsigned user = n % USERS;
    const char kind = n % 2 == 0 ? '8' : '7';

    switch (die(w, 5)) {
    case 0:
        return snprintf(text, size,
                        "{\"type\":\"cancel\",\"order_id\":\"00000000-0000-%c000-8000-%012u\","
                        "\"user_id\":\"user%u\"}",
                        kind, n, user);
    case 1:
        return snprintf(text, size,
                        "{\"type\":\"pay\",\"order_id\":\"00000000-0000-%c000-8000-%012u\","
                        "\"payment_id\":\"pay%d\",\"user_id\":\"user%u\"}",
                        kind, die(w, 4) == 0 ? 4 : n, w->payments++, die(w, 4) == 0 ? 4 : user);
    default:
        return snprintf(text, size,
                        "{\"type\":\"order\",\"order_id\":\"00000000-0000-%c000-8000-%012u\","
                        "\"item_id\":\"item%u\",\"user_id\":\"user%u\",\"qty\":1,"
                        "\"not_after\":9000000}",
                        kind, n, n % 4, user);
    }
}

/* item3 is never opened. */
static int next_sale(struct world *w, char *text, size_t size)
{
    return snprintf(text, size,
                    "{\"type\":\"sale\",\"op_id\":\"op%d\",\"item_id\":\"item%u\","
                    "\"action\":\"open\",\"total\":%u,\"limit\":40,\"hold_ms\":%u}",
                    w->ops++, die(w, 3), 20 + die(w, 60), 100 * (1 + die(w, 8)));
}

static void apply(struct world *w, struct fold *const folds[2], int n)
{
    for (int i = 0; i < n; i++) {
        struct buf lines[2];
        char text[400];
        struct fold_record record = {.offset = w->offset, .timestamp = w->now};
        struct err err;
        int len;

        if (w->offset == 0) {
            len = snprintf(text, sizeof(text),
                           "{\"type\":\"genesis\",\"log_id\":\"" LOG_ID
                           "\",\"partitions\":1,\"rules\":1}");
        } else {
            len = w->offset < 4 || die(w, 40) == 0 ? next_sale(w, text, sizeof(text))
                                                   : next_order(w, text, sizeof(text));
        }
        w->offset++;
        w->now += STEP_MS;
        record.value = (struct slice){text, (size_t)len};
        for (int f = 0; f < 2 && folds[f] != NULL; f++) {
            buf_init(&lines[f], 65536);
            buf_putc(&lines[f], '>');
            assert_true(fold_apply(folds[f], &record, &lines[f], &err));
            buf_putc(&lines[f], '\0');
        }
        if (folds[1] != NULL) {
            assert_string_equal(lines[0].ptr, lines[1].ptr);
            buf_fini(&lines[1]);
        }
        buf_fini(&lines[0]);
    }
}

/* ---- copying and comparing ---- */

struct sink {
    const struct fold *from;
    struct fold *to;
    enum fold_table table;
    size_t n;
};

static bool load_field(struct slice field, struct slice value, void *arg)
{
    struct sink *s = arg;
    const struct fold_field loaded = {field, value};
    struct err err;

    assert_true(fold_load(s->to, s->table, &loaded, &err));
    return true;
}

static bool load_hold(struct slice hold_ms, struct slice entry, void *arg)
{
    struct sink *s = arg;
    struct fold_hold hold = {.hold_ms = hold_ms};
    struct slice rest;
    struct err err;

    (void)slice_cut(entry, ' ', &rest);
    (void)slice_cut(rest, ' ', &rest);
    hold.order_id = slice_cut(rest, ' ', &hold.user_id);
    assert_true(fold_load_hold(s->to, &hold, &err));
    s->n++;
    return true;
}

static const enum fold_table tables[] = {FOLD_ITEMS, FOLD_OPERATIONS, FOLD_PAYMENTS, FOLD_ORDERS};

static struct fold *copy(const struct fold *from)
{
    struct sink s = {.from = from, .to = fold_create(0, 1)};
    struct fold_log log;
    struct buf holds;
    struct err err;

    buf_init(&holds, 4096);
    fold_log(from, &log);
    fold_holds(from, &holds);
    assert_true(fold_load_log(s.to, &log, buf_slice(&holds), &err));
    buf_fini(&holds);
    for (size_t i = 0; i < 4; i++) {
        s.table = tables[i];
        fold_each(from, s.table, load_field, &s);
    }
    fold_each_hold(from, load_hold, &s);
    assert_true(s.n > 0); /* else the test shows little */
    return s.to;
}

static bool compare_field(struct slice field, struct slice value, void *arg)
{
    struct sink *s = arg;
    struct buf out;
    bool found = false;

    buf_init(&out, FOLD_VALUE_MAX);
    switch (s->table) {
    case FOLD_ITEMS:
        found = fold_item(s->to, field, &out);
        break;
    case FOLD_ORDERS:
        found = fold_orders(s->to, field, &out);
        break;
    case FOLD_PAYMENTS:
        found = fold_payment(s->to, field, &out);
        break;
    case FOLD_OPERATIONS:
        found = fold_operation(s->to, field, &out);
        break;
    }
    assert_true(found && slice_eq(buf_slice(&out), value));
    buf_fini(&out);
    s->n++;
    return true;
}

static void assert_same(const struct fold *a, struct fold *b)
{
    struct sink s = {.from = a, .to = b};
    struct fold_log log[2];

    fold_log(a, &log[0]);
    fold_log(b, &log[1]);
    assert_memory_equal(log[0].genesis, log[1].genesis, sizeof(log[0].genesis));
    assert_true(log[0].watermark == log[1].watermark && log[0].chain == log[1].chain &&
                log[0].last_hash == log[1].last_hash && log[0].log_time == log[1].log_time);
    assert_true(log[0].items == log[1].items && log[0].orders == log[1].orders &&
                log[0].payments == log[1].payments && log[0].operations == log[1].operations);
    for (size_t i = 0; i < 4; i++) {
        s.table = tables[i];
        fold_each(a, s.table, compare_field, &s);
    }
    assert_int_equal(fold_users(a), fold_users(b));
    assert_true(s.n > 50);
}

static void a_loaded_fold_goes_on_as_the_other(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 20; seed++) {
        struct world w = {.seed = seed, .now = 1000};
        struct fold *folds[2] = {fold_create(0, 1), NULL};

        apply(&w, folds, BEFORE);
        folds[1] = copy(folds[0]);
        assert_same(folds[0], folds[1]);
        apply(&w, folds, AFTER);
        assert_same(folds[0], folds[1]);
        fold_destroy(folds[0]);
        fold_destroy(folds[1]);
    }
}

static bool expect_loaded(struct slice field, struct slice value, void *arg)
{
    const struct sink *s = arg;

    (void)value;
    assert_int_equal(fold_changed(s->to, s->table, field), BEFORE - 1);
    return true;
}

static void what_was_loaded_has_the_offset_of_its_state(void **state)
{
    struct world w = {.seed = 5, .now = 1000};
    struct fold *folds[2] = {fold_create(0, 1), NULL};
    struct sink s = {.table = FOLD_ITEMS};
    struct fold_log log;

    (void)state;
    apply(&w, folds, BEFORE);
    folds[1] = copy(folds[0]);
    s.to = folds[1];
    fold_each(folds[1], FOLD_ITEMS, expect_loaded, &s);
    s.table = FOLD_ORDERS;
    fold_each(folds[1], FOLD_ORDERS, expect_loaded, &s);
    fold_log(folds[1], &log);
    assert_true(log.changed.genesis == BEFORE - 1 && log.changed.holds == BEFORE - 1);
    fold_destroy(folds[0]);
    fold_destroy(folds[1]);
}

static void what_is_no_state_is_refused(void **state)
{
    static const struct {
        enum fold_table table;
        const char *value;
    } wrong[] = {
        {FOLD_ITEMS, "1 2 3"},
        {FOLD_ORDERS, "x y 1 H 0 1 1 -"},
        {FOLD_ORDERS, "00000000-0000-7000-8000-000000000001 item 1 H 0 9 9 Pnobody"},
        {FOLD_PAYMENTS, "P 0 short 1"},
        {FOLD_OPERATIONS, "item"},
    };
    const struct fold_hold nobody = {
        SLICE_LIT("100"), SLICE_LIT("00000000-0000-7000-8000-000000000001"), SLICE_LIT("ann")};
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const struct fold_field field = {SLICE_LIT("a"), slice_str(wrong[i].value)};
        struct fold *f = fold_create(0, 1);

        assert_false(fold_load(f, wrong[i].table, &field, &err));
        assert_false(fold_load_hold(f, &nobody, &err));
        fold_destroy(f);
    }
}

/* ---- what somebody wrote into MySQL by hand ---- */

#define ORDER1 "00000000-0000-7000-8000-000000000001"
#define ORDER2 "00000000-0000-7000-8000-000000000002"

/* A state with two hold_ms, an item of the first, and a payment that is listed. */
static struct fold *some_state(void)
{
    const struct {
        enum fold_table table;
        struct fold_field field;
    } fields[] = {
        {FOLD_ITEMS, {SLICE_LIT("pen"), SLICE_LIT("9 7 0 2 5 100 0 0 c 1")}},
        {FOLD_OPERATIONS, {SLICE_LIT("op"), SLICE_LIT("pen 2")}},
        {FOLD_PAYMENTS, {SLICE_LIT("paid"), SLICE_LIT("P 0 " ORDER1 " 9")}},
        {FOLD_PAYMENTS, {SLICE_LIT("late"), SLICE_LIT("R 10 " ORDER1 " 11")}},
        {FOLD_ORDERS,
         {SLICE_LIT("ann"),
          SLICE_LIT(ORDER1 " pen 2 P 0 5100 4 Ppaid;" ORDER2 " pen 1 H 0 5200 7 -")}},
    };
    const struct fold_hold hold = {SLICE_LIT("200"), SLICE_LIT(ORDER2), SLICE_LIT("ann")};
    static const struct fold_log log = {
        .genesis = LOG_ID, .partitions = 1, .rules = 2, .watermark = 20, .log_time = 5000};
    struct fold *f = fold_create(0, 1);
    struct err err;

    assert_true(fold_load_log(f, &log, SLICE_LIT("100,200"), &err));
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        assert_true(fold_load(f, fields[i].table, &fields[i].field, &err));
    }
    assert_true(fold_load_hold(f, &hold, &err));
    return f;
}

static void what_contradicts_what_was_loaded_is_refused(void **state)
{
    static const struct {
        enum fold_table table;
        const char *name, *value;
    } wrong[] = {
        {FOLD_ITEMS, "pen", "9 7 0 2 5 100 0 0 c 1"}, /* once more */
        {FOLD_ITEMS, "cup", "9 9 0 0 5 300 0 0 o 1"}, /* no such queue */
        {FOLD_ITEMS, "", "9 9 0 0 5 100 0 0 o 1"},
        {FOLD_OPERATIONS, "op", "pen 2"},
        {FOLD_OPERATIONS, "op;2", "pen 2"},
        {FOLD_OPERATIONS, "op2", "pen 2 "},
        {FOLD_OPERATIONS, "op2", " 2"},
        {FOLD_PAYMENTS, "paid", "P 0 " ORDER1 " 9"},
        {FOLD_PAYMENTS, "other", "X 0 " ORDER1 " 9"},
        {FOLD_PAYMENTS, "other", "P 10 " ORDER1 " 9"}, /* paid, and why not */
        {FOLD_PAYMENTS, "other", "P 0 00000000-0000-1000-8000-000000000001 9"},
        {FOLD_ORDERS, "ann", ORDER1 " pen 2 P 0 5100 4 -"},
        {FOLD_ORDERS, "bob", ""},
        {FOLD_ORDERS, "bob", ORDER1 " pen 2 P 0 5100 4 -;" ORDER1 " pen 2 P 0 5100 4 -"},
        {FOLD_ORDERS, "bob", ORDER1 " pen 2 P 0 5100 4 Rlate,Rlate"}, /* a list without an end */
        {FOLD_ORDERS, "bob", ORDER1 " pen 2 P 0 5100 4 Ppaid"},       /* ann's order has it */
        {FOLD_ORDERS, "bob", ORDER1 " pen 2 P 0 5100 4 Plate"},
        {FOLD_ORDERS, "bob", ORDER2 " pen 2 P 0 5100 4 Rlate"}, /* it names the other */
    };
    const struct fold_hold holds[] = {
        {SLICE_LIT("200"), SLICE_LIT(ORDER2), SLICE_LIT("ann")}, /* once more */
        {SLICE_LIT("300"), SLICE_LIT(ORDER2), SLICE_LIT("ann")},
        {SLICE_LIT("100"), SLICE_LIT(ORDER1), SLICE_LIT("ann")}, /* paid */
        {SLICE_LIT("100"), SLICE_LIT("0000"), SLICE_LIT("ann")},
    };
    static const char *const lists[] = {"100,", ",100", "100,,200", "100,100", "0", "x"};
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const struct fold_field field = {slice_str(wrong[i].name), slice_str(wrong[i].value)};
        struct fold *f = some_state();

        assert_false(fold_load(f, wrong[i].table, &field, &err));
        assert_int_equal(err.kind, ERR_FATAL);
        fold_destroy(f);
    }
    for (size_t i = 0; i < sizeof(holds) / sizeof(holds[0]); i++) {
        struct fold *f = some_state();

        assert_false(fold_load_hold(f, &holds[i], &err));
        fold_destroy(f);
    }
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        const struct fold_log log = {.watermark = 20};
        struct fold *f = fold_create(0, 1);

        assert_false(fold_load_log(f, &log, slice_str(lists[i]), &err));
        fold_destroy(f);
    }
}

static bool count(struct slice hold_ms, struct slice entry, void *arg)
{
    int *n = arg;

    (void)hold_ms;
    (void)entry;
    ++*n;
    return true;
}

static int count_holds(const struct fold *f)
{
    int n = 0;

    fold_each_hold(f, count, &n);
    return n;
}

/* The item says that nothing of it is held, so it may be archived; an order of it is. */
static void an_order_held_against_its_item_is_forgotten_whole(void **state)
{
    const struct fold_record archive = {
        .offset = 21,
        .timestamp = 5000,
        .value = SLICE_LIT("{\"type\":\"archive\",\"op_id\":\"a\",\"item_id\":\"pen\","
                           "\"users\":\"ann\"}"),
    };
    const struct fold_record later = {
        .offset = 22, .timestamp = 6000, .value = SLICE_LIT("{\"type\":\"tick\"}")};
    struct fold *f = some_state();
    struct err err;

    (void)state;
    assert_int_equal(count_holds(f), 1);
    assert_true(fold_apply(f, &archive, NULL, &err));
    assert_int_equal(fold_users(f), 0);
    assert_int_equal(count_holds(f), 0);
    assert_true(fold_apply(f, &later, NULL, &err));
    fold_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loaded_fold_goes_on_as_the_other),
        cmocka_unit_test(what_was_loaded_has_the_offset_of_its_state),
        cmocka_unit_test(what_is_no_state_is_refused),
        cmocka_unit_test(what_contradicts_what_was_loaded_is_refused),
        cmocka_unit_test(an_order_held_against_its_item_is_forgotten_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
