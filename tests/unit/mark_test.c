/*
 * What a mark told about Redis, against what MySQL has: every difference is found and named.
 */
#include "guardian/mark.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct event_item redis[2];
    struct mark_item mysql[2];
    struct ledger_mark mark;
    struct mark_record record;
    char text[2000];
    struct buf detail;
};

static struct command_text text_of(const char *id)
{
    struct command_text text;

    assert_true(command_set_text(&text, slice_str(id)));
    return text;
}

/* An item as Redis has it, and the same as MySQL has it. */
static void set_item(struct fixture *f, size_t i, const char *id, struct mark_counters c)
{
    f->redis[i] = (struct event_item){
        .item_id = text_of(id),
        .total = c.total,
        .available = c.available,
        .held = c.held,
        .sold = c.sold,
    };
    f->mysql[i] = (struct mark_item){
        .item_id = text_of(id),
        .row = c,
        .ledger = c,
        .held = c.held,
        .sold = c.sold,
    };
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    set_item(f, 0, "chair", (struct mark_counters){10, 5, 3, 2});
    set_item(f, 1, "phone", (struct mark_counters){7, 0, 0, 7});
    f->mark = (struct ledger_mark){.orders = 9, .payments = 4, .n_items = 2, .items = f->redis};
    f->record = (struct mark_record){.orders = 9, .payments = 4, .n_items = 2, .items = f->mysql};
    buf_init_fixed(&f->detail, f->text, sizeof(f->text));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static void finds(struct fixture *f, size_t n, const char *line)
{
    assert_int_equal(mark_compare(&f->mark, &f->record, &f->detail), n);
    assert_true(buf_ok(&f->detail));
    if (n > 0) {
        assert_non_null(strstr(f->text, line));
    }
}

static void equal_sides_are_clean(void **state)
{
    finds(*state, 0, NULL);
}

static void a_counter_differs(void **state)
{
    struct fixture *f = *state;

    f->redis[0].held = 4;
    finds(f, 1, "chair: held: redis 4, mysql 3\n");
}

static void the_number_of_orders_differs(void **state)
{
    struct fixture *f = *state;

    f->record.orders = 8;
    finds(f, 1, "orders: remembered: redis 9, mysql 8\n");
}

static void the_number_of_payments_differs(void **state)
{
    struct fixture *f = *state;

    f->record.payments = 5;
    finds(f, 1, "payments: answered: redis 4, mysql 5\n");
}

static void the_ledger_does_not_add_up(void **state)
{
    struct fixture *f = *state;

    f->mysql[1].ledger.sold = 6;
    f->mysql[1].ledger.available = 1;
    finds(f, 2, "phone: mysql: items 7, sold in stock_ledger 6\n");
}

static void the_orders_do_not_add_up(void **state)
{
    struct fixture *f = *state;

    f->mysql[1].sold = 6;
    finds(f, 1, "phone: mysql: items 7, sold in orders 6\n");
    f->mysql[1].sold = 7;
    buf_clear(&f->detail);
    f->mysql[0].held = 2;
    finds(f, 1, "chair: mysql: items 3, held in orders 2\n");
    assert_int_equal(mark_compare_within(&f->record, &f->detail), 1);
}

static void one_side_lacks_an_item(void **state)
{
    struct fixture *f = *state;

    f->mark.n_items = 1;
    finds(f, 1, "phone: redis lacks the item\n");
    buf_clear(&f->detail);
    f->mark.n_items = 2;
    f->record.n_items = 1;
    f->record.items = f->mysql + 1;
    finds(f, 1, "chair: mysql lacks the item\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(equal_sides_are_clean),        TEST(a_counter_differs),
        TEST(the_number_of_orders_differs), TEST(the_number_of_payments_differs),
        TEST(the_ledger_does_not_add_up),   TEST(the_orders_do_not_add_up),
        TEST(one_side_lacks_an_item),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
