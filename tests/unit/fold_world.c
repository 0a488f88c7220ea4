#include "tests/unit/fold_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct command_text text(const char *s)
{
    struct command_text t;

    assert_true(command_set_text(&t, slice_str(s)));
    return t;
}

const char *apply_raw(struct world *w, struct slice value)
{
    const struct fold_record rec = {.offset = w->offset++, .timestamp = w->now, .value = value};
    struct err err = {.text = ""};

    buf_clear(&w->line);
    if (!fold_apply(w->fold, &rec, w->is_silent ? NULL : &w->line, &err)) {
        fail_msg("%s", err.text);
    }
    return w->line.len == 0 ? "" : w->line.ptr;
}

const char *apply(struct world *w, const struct command *cmd)
{
    char value[COMMAND_VALUE_MAX];
    const size_t len = command_format(cmd, value, sizeof(value));

    assert_true(len > 0);
    return apply_raw(w, (struct slice){value, len});
}

void set_order_id(struct command *cmd, int n)
{
    (void)snprintf(cmd->order_id, sizeof(cmd->order_id), "00000000-0000-%c000-8000-%012d",
                   n >= KEYED ? '8' : '7', n);
    cmd->keyed = n >= KEYED;
}

const char *order(struct world *w, int n, const char *item, const char *user, int64_t qty)
{
    struct command cmd = {.type = COMMAND_ORDER, .qty = qty, .not_after = COMMAND_TIME_MAX};

    set_order_id(&cmd, n);
    cmd.item_id = text(item);
    cmd.user_id = text(user);
    return apply(w, &cmd);
}

const char *pay(struct world *w, int n, const char *user, const char *payment)
{
    struct command cmd = {.type = COMMAND_PAY};

    set_order_id(&cmd, n);
    cmd.user_id = text(user);
    cmd.other_id = text(payment);
    return apply(w, &cmd);
}

const char *cancel(struct world *w, int n, const char *user)
{
    struct command cmd = {.type = COMMAND_CANCEL};

    set_order_id(&cmd, n);
    cmd.user_id = text(user);
    return apply(w, &cmd);
}

const char *tick(struct world *w)
{
    const struct command cmd = {.type = COMMAND_TICK};

    return apply(w, &cmd);
}

struct command *sale(struct world *w, enum command_action action, const char *item)
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

const char *open_item(struct world *w, const char *item, int64_t total, int64_t limit)
{
    struct command *cmd = sale(w, COMMAND_OPEN, item);

    cmd->total = total;
    cmd->limit = limit;
    cmd->hold_ms = HOLD_MS;
    return apply(w, cmd);
}

const char *act(struct world *w, enum command_action action, const char *item)
{
    return apply(w, sale(w, action, item));
}

const char *restock(struct world *w, const char *item, int64_t qty)
{
    struct command *cmd = sale(w, COMMAND_OPEN, item);

    cmd->type = COMMAND_RESTOCK;
    cmd->qty = qty;
    return apply(w, cmd);
}

const char *item_of(struct world *w, const char *item)
{
    return fold_item(w->fold, slice_str(item), &w->value) ? w->value.ptr : "none";
}

const char *orders_of(struct world *w, const char *user)
{
    return fold_orders(w->fold, slice_str(user), &w->value) ? w->value.ptr : "none";
}

const char *payment_of(struct world *w, const char *payment)
{
    return fold_payment(w->fold, slice_str(payment), &w->value) ? w->value.ptr : "none";
}

const char *genesis(struct world *w)
{
    struct command cmd = {.type = COMMAND_GENESIS, .partitions = 1, .rules = 1};

    cmd.other_id = text(LOG_ID);
    return apply(w, &cmd);
}

int set_up(void **state)
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

int tear_down(void **state)
{
    struct world *w = *state;

    fold_destroy(w->fold);
    buf_fini(&w->line);
    buf_fini(&w->value);
    free(w);
    return 0;
}

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

void assert_conserved(struct world *w)
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
