#include "common/fold.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LOG_ID "00112233445566778899aabbccddeeff"

enum {
    HOLD_MS = 100,
    START = 1000, /* log time of the genesis */
    KEYED = 1000, /* order numbers from here on are keyed */
};

/* A fold, the next offset, and the time of the next record. */
struct world {
    struct fold *fold;
    int64_t offset, now;
    struct buf line, value;
    struct command command;
    int n_operations;
    bool is_silent; /* asks for no lines */
};

static struct command_text text(const char *s)
{
    struct command_text t;

    assert_true(command_set_text(&t, slice_str(s)));
    return t;
}

static const char *apply_raw(struct world *w, struct slice value)
{
    const struct fold_record rec = {.offset = w->offset++, .timestamp = w->now, .value = value};
    struct err err = {.text = ""};

    buf_clear(&w->line);
    if (!fold_apply(w->fold, &rec, w->is_silent ? NULL : &w->line, &err)) {
        fail_msg("%s", err.text);
    }
    return w->line.len == 0 ? "" : w->line.ptr;
}

static const char *apply(struct world *w, const struct command *cmd)
{
    char value[COMMAND_VALUE_MAX];
    const size_t len = command_format(cmd, value, sizeof(value));

    assert_true(len > 0);
    return apply_raw(w, (struct slice){value, len});
}

static void set_order_id(struct command *cmd, int n)
{
    (void)snprintf(cmd->order_id, sizeof(cmd->order_id), "00000000-0000-%c000-8000-%012d",
                   n >= KEYED ? '8' : '7', n);
    cmd->keyed = n >= KEYED;
}

static const char *order(struct world *w, int n, const char *item, const char *user, int64_t qty)
{
    struct command cmd = {.type = COMMAND_ORDER, .qty = qty, .not_after = COMMAND_TIME_MAX};

    set_order_id(&cmd, n);
    cmd.item_id = text(item);
    cmd.user_id = text(user);
    return apply(w, &cmd);
}

static const char *pay(struct world *w, int n, const char *user, const char *payment)
{
    struct command cmd = {.type = COMMAND_PAY};

    set_order_id(&cmd, n);
    cmd.user_id = text(user);
    cmd.other_id = text(payment);
    return apply(w, &cmd);
}

static const char *cancel(struct world *w, int n, const char *user)
{
    struct command cmd = {.type = COMMAND_CANCEL};

    set_order_id(&cmd, n);
    cmd.user_id = text(user);
    return apply(w, &cmd);
}

static const char *tick(struct world *w)
{
    const struct command cmd = {.type = COMMAND_TICK};

    return apply(w, &cmd);
}

/* A sale command in w->command, to be changed and applied; its operation id is a new one. */
static struct command *sale(struct world *w, enum command_action action, const char *item)
{
    char op_id[24];

    (void)snprintf(op_id, sizeof(op_id), "op%d", w->n_operations++);
    w->command = (struct command){
        .type = COMMAND_SALE,
        .action = action,
        .total = -1,
        .limit = -1,
        .hold_ms = -1,
        .opens_at = -1,
        .closes_at = -1,
        .price = -1,
    };
    w->command.item_id = text(item);
    w->command.other_id = text(op_id);
    return &w->command;
}

static const char *open_item(struct world *w, const char *item, int64_t total, int64_t limit)
{
    struct command *cmd = sale(w, COMMAND_OPEN, item);

    cmd->total = total;
    cmd->limit = limit;
    cmd->hold_ms = HOLD_MS;
    return apply(w, cmd);
}

static const char *act(struct world *w, enum command_action action, const char *item)
{
    return apply(w, sale(w, action, item));
}

static const char *restock(struct world *w, const char *item, int64_t qty)
{
    struct command *cmd = sale(w, COMMAND_OPEN, item);

    cmd->type = COMMAND_RESTOCK;
    cmd->qty = qty;
    return apply(w, cmd);
}

static const char *item_of(struct world *w, const char *item)
{
    return fold_item(w->fold, slice_str(item), &w->value) ? w->value.ptr : "none";
}

static const char *orders_of(struct world *w, const char *user)
{
    return fold_orders(w->fold, slice_str(user), &w->value) ? w->value.ptr : "none";
}

static const char *payment_of(struct world *w, const char *payment)
{
    return fold_payment(w->fold, slice_str(payment), &w->value) ? w->value.ptr : "none";
}

static const char *genesis(struct world *w)
{
    struct command cmd = {.type = COMMAND_GENESIS, .partitions = 1, .rules = 1};

    cmd.other_id = text(LOG_ID);
    return apply(w, &cmd);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    w->fold = fold_create(0, 1);
    w->now = START;
    buf_init(&w->line, 1 << 20);
    buf_init(&w->value, FOLD_VALUE_MAX);
    assert_string_equal(genesis(w), "g");
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    fold_destroy(w->fold);
    buf_fini(&w->line);
    buf_fini(&w->value);
    free(w);
    return 0;
}

/* What must hold after every record, whatever it was. */

struct census {
    int64_t held, sold; /* units of the orders */
    int64_t counted_held, counted_sold;
    size_t n_orders, n_holds, n_reserved;
};

static bool count_item(struct slice field, struct slice value, void *arg)
{
    struct census *c = arg;
    struct item_entry item;

    (void)field;
    assert_true(item_entry_parse(value, &item));
    assert_true(item.available >= 0 && item.held >= 0 && item.sold >= 0);
    assert_int_equal(item.total, item.available + item.held + item.sold);
    c->counted_held += item.held;
    c->counted_sold += item.sold;
    return true;
}

static bool count_orders(struct slice field, struct slice value, void *arg)
{
    struct census *c = arg;
    struct order_entry entry;
    int rc;

    (void)field;
    while ((rc = order_entry_next(&value, &entry)) == 1) {
        c->n_orders++;
        c->n_reserved += entry.state == ORDER_RESERVED;
        c->held += entry.state == ORDER_RESERVED ? entry.qty : 0;
        c->sold += entry.state == ORDER_PAID ? entry.qty : 0;
    }
    assert_int_equal(rc, 0);
    return true;
}

static bool count_hold(struct slice field, struct slice value, void *arg)
{
    struct census *c = arg;

    (void)field;
    (void)value;
    c->n_holds++;
    return true;
}

static void assert_conserved(struct world *w)
{
    struct census c = {.held = 0};
    struct fold_log log;

    fold_log(w->fold, &log);
    fold_each(w->fold, FOLD_ITEMS, count_item, &c);
    fold_each(w->fold, FOLD_ORDERS, count_orders, &c);
    fold_each_hold(w->fold, count_hold, &c);
    assert_int_equal(c.held, c.counted_held);
    assert_int_equal(c.sold, c.counted_sold);
    assert_int_equal(c.n_orders, log.orders);
    assert_int_equal(c.n_holds, c.n_reserved);
}

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

/* Sales. */

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

/* All together. */

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
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_a_genesis_starts_a_log),
        IN_WORLD(a_second_genesis_is_refused),
        IN_WORLD(offsets_rise),
        IN_WORLD(other_rules_are_the_end),
        IN_WORLD(log_time_never_goes_back),
        IN_WORLD(malformed_records_are_refused),
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
        IN_WORLD(open_needs_total_limit_and_hold),
        IN_WORLD(change_replaces_what_is_present),
        IN_WORLD(nothing_follows_a_close),
        IN_WORLD(restock_adds_up_to_a_bound),
        IN_WORLD(an_operation_counts_once),
        IN_WORLD(there_are_64_hold_ms),
        IN_WORLD(there_are_4096_items),
        IN_WORLD(a_mark_has_the_items_in_byte_order),
        IN_WORLD(holds_are_told_in_due_order),
        IN_WORLD(units_are_conserved_on_a_random_walk),
        IN_WORLD(nobody_need_read_the_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
