/*
 * The rules for orders, from the hold to its end: expired, paid or cancelled.
 */
#include "common/fold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/fold_world.h"

/* Orders. */

/* All conditions of a rejection are true at first and are then taken away, one by one. */
static void rejections_come_in_their_order(void **state)
{
    struct world *w = *state;
    struct command cmd = {.type = COMMAND_ORDER, .qty = 3, .not_after = START - 1};
    struct command *change;

    cmd.item_id = text("a");
    cmd.user_id = text("u");
    set_order_id(&cmd, 1);
    assert_string_equal(apply(w, &cmd), "-6 0");
    cmd.not_after = START;
    assert_string_equal(apply(w, &cmd), "-7 0");

    (void)open_item(w, "a", 2, 1);
    change = sale(w, COMMAND_CHANGE, "a");
    change->opens_at = START + 1;
    change->closes_at = START + 2;
    (void)apply(w, change);
    (void)act(w, COMMAND_PAUSE, "a");
    cmd.not_after = START - 1;
    assert_string_equal(apply(w, &cmd), "-6 2");
    cmd.not_after = START + 2;
    assert_string_equal(apply(w, &cmd), "-3 2");
    w->now = START + 2;
    assert_string_equal(apply(w, &cmd), "-4 2");
    change = sale(w, COMMAND_CHANGE, "a");
    change->closes_at = START + 3;
    (void)apply(w, change);
    assert_string_equal(apply(w, &cmd), "-5 2");
    (void)act(w, COMMAND_RESUME, "a");
    assert_string_equal(apply(w, &cmd), "-2 2");
    change = sale(w, COMMAND_CHANGE, "a");
    change->limit = 3;
    (void)apply(w, change);
    assert_string_equal(apply(w, &cmd), "-1 2");
    (void)restock(w, "a", 1);
    assert_string_equal(apply(w, &cmd), "0 1102");
}

static void the_window_is_half_open(void **state)
{
    struct world *w = *state;
    struct command *cmd = sale(w, COMMAND_OPEN, "a");

    cmd->total = 10;
    cmd->limit = 10;
    cmd->hold_ms = HOLD_MS;
    cmd->opens_at = START + 1;
    cmd->closes_at = START + 3;
    (void)apply(w, cmd);
    assert_string_equal(order(w, 1, "a", "u", 1), "-3 10");
    w->now = START + 1;
    assert_string_equal(order(w, 1, "a", "u", 1), "9 1101");
    w->now = START + 2;
    assert_string_equal(order(w, 2, "a", "u", 1), "8 1102");
    w->now = START + 3;
    assert_string_equal(order(w, 3, "a", "u", 1), "-4 8");
    (void)act(w, COMMAND_CLOSE, "a");
    assert_string_equal(order(w, 3, "a", "u", 1), "-4 8");
}

static void a_rejection_is_remembered_when_keyed(void **state)
{
    struct world *w = *state;

    (void)open_item(w, "a", 1, 10);
    assert_string_equal(order(w, 1, "a", "u", 2), "-1 1");
    assert_string_equal(orders_of(w, "u"), "none");
    assert_int_equal(fold_users(w->fold), 0);
    assert_string_equal(order(w, 1, "a", "u", 1), "0 1100");

    assert_string_equal(order(w, KEYED, "b", "v", 7), "-7 0");
    assert_string_equal(orders_of(w, "v"), "00000000-0000-8000-8000-000000001000 b 7 R 7 0 4 -");
    (void)open_item(w, "b", 100, 100);
    assert_string_equal(order(w, KEYED, "b", "v", 1), "d b 7 R 7");
    assert_string_equal(pay(w, KEYED, "v", "p1"), "r 11");
    assert_string_equal(cancel(w, KEYED, "v"), "x 11");
}

static void a_duplicate_tells_the_first_order(void **state)
{
    struct world *w = *state;

    (void)open_item(w, "a", 10, 10);
    (void)open_item(w, "b", 10, 10);
    assert_string_equal(order(w, 1, "a", "u", 2), "8 1100");
    assert_string_equal(order(w, 1, "b", "u", 5), "d a 2 H 0");
    assert_string_equal(pay(w, 1, "u", "p"), "p a 2 0 8");
    assert_string_equal(order(w, 1, "b", "u", 5), "d a 2 P 0");
    (void)order(w, 2, "a", "u", 1);
    (void)cancel(w, 2, "u");
    assert_string_equal(order(w, 2, "a", "u", 1), "d a 1 C 0");
    (void)order(w, 3, "a", "u", 1);
    w->now = START + HOLD_MS;
    (void)tick(w);
    assert_string_equal(order(w, 3, "a", "u", 1), "d a 1 E 0");
    assert_string_equal(order(w, 1, "a", "v", 1), "7 1200");
}

static void the_limit_counts_what_is_held_or_bought(void **state)
{
    struct world *w = *state;

    (void)open_item(w, "a", 100, 3);
    (void)open_item(w, "b", 100, 3);
    (void)order(w, 1, "a", "u", 2);
    (void)pay(w, 1, "u", "p");
    assert_string_equal(order(w, 2, "a", "u", 2), "-2 98");
    assert_string_equal(order(w, 3, "a", "u", 1), "97 1100");
    assert_string_equal(order(w, 4, "a", "u", 1), "-2 97");
    assert_string_equal(order(w, 5, "b", "u", 3), "97 1100");
    assert_string_equal(order(w, 6, "a", "v", 3), "94 1100");
    (void)cancel(w, 3, "u");
    assert_string_equal(order(w, 7, "a", "u", 1), "94 1100");
    w->now = START + HOLD_MS;
    (void)tick(w);
    assert_string_equal(order(w, 8, "a", "u", 1), "97 1200");
}

static void a_user_has_64_orders(void **state)
{
    struct world *w = *state;
    struct fold_log log;

    (void)open_item(w, "a", 1000, 1000);
    for (int n = 1; n <= 32; n++) {
        (void)order(w, n, "a", "u", 1);
        (void)cancel(w, n, "u");
        (void)order(w, KEYED + n, "none", "u", 1);
    }
    fold_log(w->fold, &log);
    assert_int_equal(log.orders, 64);
    assert_string_equal(order(w, 65, "a", "u", 1), "-2 1000");
    assert_string_equal(order(w, KEYED + 65, "none", "u", 1), "-2 0");
    fold_log(w->fold, &log);
    assert_int_equal(log.orders, 64);
    assert_string_equal(order(w, 1, "a", "u", 1), "d a 1 C 0");
    assert_string_equal(order(w, 65, "a", "v", 1), "999 1100");
}

/* Expiry. */

static void a_hold_expires_when_log_time_reaches_due(void **state)
{
    struct world *w = *state;

    (void)open_item(w, "a", 10, 10);
    (void)order(w, 1, "a", "u", 4);
    w->now = START + HOLD_MS - 1;
    assert_string_equal(tick(w), "");
    w->now = START + HOLD_MS;
    assert_string_equal(tick(w), "e 00000000-0000-7000-8000-000000000001 u a 4 10");
    assert_string_equal(tick(w), "");
    assert_string_equal(orders_of(w, "u"), "00000000-0000-7000-8000-000000000001 a 4 E 0 1100 2 -");
}

static void holds_expire_by_due_then_offset(void **state)
{
    struct world *w = *state;
    struct command *cmd;

    (void)open_item(w, "slow", 10, 10);
    cmd = sale(w, COMMAND_OPEN, "fast");
    cmd->total = 10;
    cmd->limit = 10;
    cmd->hold_ms = 40;
    (void)apply(w, cmd);

    (void)order(w, 1, "slow", "u", 1); /* due 1100 */
    w->now = START + 60;
    (void)order(w, 2, "fast", "u", 1); /* due 1100 */
    w->now = START + 70;
    (void)order(w, 3, "fast", "v", 1); /* due 1110 */
    (void)order(w, 4, "slow", "v", 1); /* due 1170 */
    w->now = START + 1000;
    assert_string_equal(tick(w), "e 00000000-0000-7000-8000-000000000001 u slow 1 9;"
                                 "e 00000000-0000-7000-8000-000000000002 u fast 1 9;"
                                 "e 00000000-0000-7000-8000-000000000003 v fast 1 10;"
                                 "e 00000000-0000-7000-8000-000000000004 v slow 1 10");
}

static size_t count_events(const char *line)
{
    size_t n = *line == '\0' ? 0 : 1;

    for (; *line != '\0'; line++) {
        n += *line == ';';
    }
    return n;
}

static void order_many(struct world *w, int n)
{
    (void)open_item(w, "a", 1000, 1000);
    for (int i = 1; i <= n; i++) {
        char user[16];

        (void)snprintf(user, sizeof(user), "u%d", i);
        (void)order(w, i, "a", user, 1);
    }
}

static void any_command_expires_64_at_most(void **state)
{
    struct world *w = *state;

    order_many(w, 64 * 3 + 1);
    w->now = START + HOLD_MS;
    assert_int_equal(count_events(apply_raw(w, SLICE_LIT("{"))), 65);
    assert_string_equal(strrchr(w->line.ptr, ';'), ";x 15");
    assert_int_equal(count_events(genesis(w)), 65);
    assert_string_equal(strrchr(w->line.ptr, ';'), ";x 14");
    assert_int_equal(count_events(tick(w)), 64);
    assert_string_equal(tick(w), "e 00000000-0000-7000-8000-000000000193 u193 a 1 1000");
    assert_string_equal(tick(w), "");
    assert_conserved(w);
}

static void a_lapsed_hold_is_none_for_pay_and_cancel(void **state)
{
    struct world *w = *state;
    const char *line;

    order_many(w, 64 * 2 + 3);
    w->now = START + HOLD_MS;
    line = pay(w, 131, "u131", "p1");
    assert_int_equal(count_events(line), 66);
    assert_non_null(
        strstr(line, ";e 00000000-0000-7000-8000-000000000131 u131 a 1 934;p a 1 1 933"));
    line = cancel(w, 130, "u130");
    assert_int_equal(count_events(line), 66);
    assert_non_null(strstr(line, ";e 00000000-0000-7000-8000-000000000130 u130 a 1 998;x 12"));
    assert_string_equal(tick(w), "e 00000000-0000-7000-8000-000000000129 u129 a 1 999");
    assert_conserved(w);
}

/* Payments. */

static void a_hold_is_paid_though_the_sale_is_over(void **state)
{
    struct world *w = *state;

    (void)open_item(w, "a", 10, 10);
    (void)order(w, 1, "a", "u", 2);
    (void)order(w, 2, "a", "u", 3);
    (void)act(w, COMMAND_PAUSE, "a");
    assert_string_equal(pay(w, 1, "u", "p1"), "p a 2 0 5");
    (void)act(w, COMMAND_CLOSE, "a");
    w->now = START + HOLD_MS - 1;
    assert_string_equal(pay(w, 2, "u", "p2"), "p a 3 0 5");
    assert_string_equal(item_of(w, "a"), "10 5 0 5 10 100 0 0 c 0");
    w->now = START + HOLD_MS;
    assert_string_equal(tick(w), "");
}

static void a_payment_without_an_order_is_due_back(void **state)
{
    struct world *w = *state;

    (void)open_item(w, "a", 10, 10);
    assert_string_equal(pay(w, 1, "u", "p1"), "r 8");
    (void)order(w, 1, "a", "u", 1);
    assert_string_equal(pay(w, 1, "", "p2"), "r 8");
    assert_string_equal(pay(w, 1, "v", "p3"), "r 8");
    assert_string_equal(payment_of(w, "p3"), "R 8 00000000-0000-7000-8000-000000000001 5");
    assert_string_equal(orders_of(w, "u"), "00000000-0000-7000-8000-000000000001 a 1 H 0 1100 3 -");
}

static void a_payment_id_is_answered_once(void **state)
{
    struct world *w = *state;
    struct fold_log log;

    (void)open_item(w, "a", 10, 10);
    assert_string_equal(pay(w, 2, "u", "early"), "r 8");
    (void)order(w, 1, "a", "u", 1);
    (void)order(w, 2, "a", "u", 1);
    assert_string_equal(pay(w, 1, "u", "p"), "p a 1 0 8");
    assert_string_equal(pay(w, 1, "u", "p"), "D 00000000-0000-7000-8000-000000000001 P");
    assert_string_equal(pay(w, 2, "u", "p"), "D 00000000-0000-7000-8000-000000000001 P");
    assert_string_equal(pay(w, 2, "v", "early"), "D 00000000-0000-7000-8000-000000000002 R");
    assert_string_equal(pay(w, 1, "u", "q"), "r 9");
    (void)cancel(w, 2, "u");
    assert_string_equal(pay(w, 2, "u", "r"), "r 10");
    assert_string_equal(payment_of(w, "p"), "P 0 00000000-0000-7000-8000-000000000001 5");
    assert_string_equal(payment_of(w, "none"), "none");
    fold_log(w->fold, &log);
    assert_int_equal(log.payments, 4);
    assert_conserved(w);
}

static void eight_payments_are_listed(void **state)
{
    struct world *w = *state;

    (void)open_item(w, "a", 10, 10);
    (void)order(w, 1, "a", "u", 1);
    for (int i = 1; i <= 9; i++) {
        char payment[8];

        (void)snprintf(payment, sizeof(payment), "p%d", i);
        assert_string_equal(pay(w, 1, "u", payment), i == 1 ? "p a 1 0 9" : "r 9");
    }
    assert_string_equal(orders_of(w, "u"), "00000000-0000-7000-8000-000000000001 a 1 P 0 1100 2 "
                                           "Pp1,Rp2,Rp3,Rp4,Rp5,Rp6,Rp7,Rp8");
    assert_string_equal(payment_of(w, "p9"), "R 9 00000000-0000-7000-8000-000000000001 11");
    assert_string_equal(pay(w, 1, "u", "p9"), "D 00000000-0000-7000-8000-000000000001 R");
}

/* An expired order of 2 units, in a sale of 10 with limit 4. */
static void expire_one(struct world *w)
{
    (void)open_item(w, "a", 10, 4);
    (void)order(w, 1, "a", "u", 2);
    w->now = START + HOLD_MS;
    (void)tick(w);
}

static void a_late_payment_takes_stock_again(void **state)
{
    struct world *w = *state;

    expire_one(w);
    assert_string_equal(pay(w, 1, "u", "p"), "p a 2 1 8");
    assert_string_equal(item_of(w, "a"), "10 8 0 2 4 100 0 0 o 0");
    assert_string_equal(orders_of(w, "u"),
                        "00000000-0000-7000-8000-000000000001 a 2 P 0 1100 2 Pp");
    assert_string_equal(pay(w, 1, "u", "q"), "r 9");
    assert_string_equal(order(w, 2, "a", "u", 3), "-2 8");
}

/* All reasons are true at first and are then taken away, one by one. */
static void late_refusals_come_in_their_order(void **state)
{
    struct world *w = *state;
    struct command *cmd;

    expire_one(w);
    (void)order(w, 2, "a", "u", 3);
    (void)order(w, 3, "a", "v", 4);
    (void)order(w, 4, "a", "x", 2);
    (void)act(w, COMMAND_PAUSE, "a");
    cmd = sale(w, COMMAND_CHANGE, "a");
    cmd->closes_at = w->now;
    (void)apply(w, cmd);
    assert_string_equal(pay(w, 1, "u", "p1"), "r 4");
    cmd = sale(w, COMMAND_CHANGE, "a");
    cmd->opens_at = w->now + 1; /* a late payment does not ask whether the sale has begun */
    cmd->closes_at = w->now + 2;
    (void)apply(w, cmd);
    assert_string_equal(pay(w, 1, "u", "p2"), "r 5");
    (void)act(w, COMMAND_RESUME, "a");
    assert_string_equal(pay(w, 1, "u", "p3"), "r 2");
    cmd = sale(w, COMMAND_CHANGE, "a");
    cmd->limit = 5;
    (void)apply(w, cmd);
    assert_string_equal(pay(w, 1, "u", "p4"), "r 1");
    (void)restock(w, "a", 1);
    assert_string_equal(pay(w, 1, "u", "p5"), "p a 2 1 0");
    (void)act(w, COMMAND_CLOSE, "a");
    assert_string_equal(orders_of(w, "x"), "00000000-0000-7000-8000-000000000004 a 2 H 0 1200 6 -");
    assert_conserved(w);
}

static void a_closed_sale_takes_no_late_payment(void **state)
{
    struct world *w = *state;

    expire_one(w);
    (void)act(w, COMMAND_CLOSE, "a");
    assert_string_equal(pay(w, 1, "u", "p"), "r 4");
    assert_string_equal(orders_of(w, "u"),
                        "00000000-0000-7000-8000-000000000001 a 2 E 0 1100 2 Rp");
}

/* Cancels. */

static void cancel_has_an_answer_for_each_state(void **state)
{
    struct world *w = *state;

    (void)open_item(w, "a", 10, 10);
    assert_string_equal(cancel(w, 1, "u"), "x 8");
    (void)order(w, 1, "a", "u", 3);
    assert_string_equal(cancel(w, 1, "v"), "x 8");
    assert_string_equal(cancel(w, 1, "u"), "c a 3 10");
    assert_string_equal(cancel(w, 1, "u"), "x 10");
    (void)order(w, 2, "a", "u", 3);
    (void)pay(w, 2, "u", "p");
    assert_string_equal(cancel(w, 2, "u"), "x 9");
    (void)order(w, 3, "a", "u", 3);
    w->now = START + HOLD_MS;
    assert_string_equal(cancel(w, 3, "u"), "e 00000000-0000-7000-8000-000000000003 u a 3 7;x 12");
    assert_string_equal(cancel(w, 3, "u"), "x 12");
    assert_conserved(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(rejections_come_in_their_order),
        IN_WORLD(the_window_is_half_open),
        IN_WORLD(a_rejection_is_remembered_when_keyed),
        IN_WORLD(a_duplicate_tells_the_first_order),
        IN_WORLD(the_limit_counts_what_is_held_or_bought),
        IN_WORLD(a_user_has_64_orders),
        IN_WORLD(a_hold_expires_when_log_time_reaches_due),
        IN_WORLD(holds_expire_by_due_then_offset),
        IN_WORLD(any_command_expires_64_at_most),
        IN_WORLD(a_lapsed_hold_is_none_for_pay_and_cancel),
        IN_WORLD(a_hold_is_paid_though_the_sale_is_over),
        IN_WORLD(a_payment_without_an_order_is_due_back),
        IN_WORLD(a_payment_id_is_answered_once),
        IN_WORLD(eight_payments_are_listed),
        IN_WORLD(a_late_payment_takes_stock_again),
        IN_WORLD(late_refusals_come_in_their_order),
        IN_WORLD(a_closed_sale_takes_no_late_payment),
        IN_WORLD(cancel_has_an_answer_for_each_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
