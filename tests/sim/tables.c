#include "tests/sim/tables.h"

#include <string.h>
#include <xxhash.h>

#include "common/outcome.h"

static uint64_t hash_of(const void *row, size_t size, uint64_t table)
{
    return XXH3_64bits_withSeed(row, size, table);
}

struct row_order *tables_order(struct tables *t, const char *order_id, const char *user_id)
{
    for (size_t i = t->n_orders; i > 0; i--) {
        struct row_order *row = &t->orders[i - 1];

        if (strcmp(row->order_id, order_id) == 0 && strcmp(row->user_id, user_id) == 0) {
            return row;
        }
    }
    return NULL;
}

struct row_item *tables_item(struct tables *t, const char *item_id)
{
    for (size_t i = 0; i < t->n_items; i++) {
        if (strcmp(t->items[i].item_id, item_id) == 0) {
            return &t->items[i];
        }
    }
    return NULL;
}

struct row_payment *tables_payment(struct tables *t, const char *payment_id)
{
    for (size_t i = 0; i < t->n_payments; i++) {
        if (strcmp(t->payments[i].payment_id, payment_id) == 0) {
            return &t->payments[i];
        }
    }
    return NULL;
}

struct row_operation *tables_operation(struct tables *t, const char *op_id)
{
    for (size_t i = 0; i < t->n_operations; i++) {
        if (strcmp(t->operations[i].op_id, op_id) == 0) {
            return &t->operations[i];
        }
    }
    return NULL;
}

void tables_toggle_order(struct tables *t, const struct row_order *row)
{
    if (!t->is_forgotten[row - t->orders]) {
        t->digest ^= hash_of(row, sizeof(*row), 1);
    }
}

void tables_toggle_item(struct tables *t, const struct row_item *row)
{
    t->digest ^= hash_of(row, sizeof(*row), 2);
}

bool tables_add_order(struct tables *t, const struct row_order *row, bool is_forgotten)
{
    if (t->n_orders == ROWS_ORDERS) {
        return false;
    }
    t->is_forgotten[t->n_orders] = is_forgotten;
    t->archived[t->n_orders] = 0;
    t->orders[t->n_orders] = *row;
    tables_toggle_order(t, &t->orders[t->n_orders++]);
    return true;
}

bool tables_add_item(struct tables *t, const struct row_item *row)
{
    if (t->n_items == ROWS_ITEMS) {
        return false;
    }
    t->items[t->n_items] = *row;
    tables_toggle_item(t, &t->items[t->n_items++]);
    return true;
}

bool tables_add_payment(struct tables *t, const struct row_payment *row)
{
    if (t->n_payments == ROWS_PAYMENTS) {
        return false;
    }
    t->payments[t->n_payments++] = *row;
    t->digest ^= hash_of(row, sizeof(*row), 3);
    return true;
}

bool tables_add_operation(struct tables *t, const struct row_operation *row)
{
    if (t->n_operations == ROWS_OPERATIONS) {
        return false;
    }
    t->operations[t->n_operations++] = *row;
    t->digest ^= hash_of(row, sizeof(*row), 4);
    return true;
}

static bool is_named(struct slice users, const char *user_id)
{
    while (users.ptr != NULL) {
        if (slice_eq(slice_cut(users, ',', &users), slice_str(user_id))) {
            return true;
        }
    }
    return false;
}

int64_t tables_archive(struct tables *t, const char *item_id, struct slice users, int64_t offset)
{
    int64_t n = 0;

    for (size_t i = 0; i < t->n_orders; i++) {
        const struct row_order *row = &t->orders[i];

        if (!t->is_forgotten[i] && strcmp(row->item_id, item_id) == 0 &&
            is_named(users, row->user_id)) {
            tables_toggle_order(t, row);
            t->is_forgotten[i] = true;
            t->archived[i] = offset;
            n++;
        }
    }
    return n;
}

void tables_copy(struct tables *to, const struct tables *from)
{
    to->n_orders = from->n_orders;
    to->n_items = from->n_items;
    to->n_payments = from->n_payments;
    to->n_operations = from->n_operations;
    to->digest = from->digest;
    memcpy(to->is_forgotten, from->is_forgotten, from->n_orders * sizeof(to->is_forgotten[0]));
    memcpy(to->archived, from->archived, from->n_orders * sizeof(to->archived[0]));
    memcpy(to->orders, from->orders, from->n_orders * sizeof(to->orders[0]));
    memcpy(to->items, from->items, from->n_items * sizeof(to->items[0]));
    memcpy(to->payments, from->payments, from->n_payments * sizeof(to->payments[0]));
    memcpy(to->operations, from->operations, from->n_operations * sizeof(to->operations[0]));
}

int64_t tables_committed(const struct tables *t, const char *user_id, const char *item_id)
{
    int64_t sum = 0;

    for (size_t i = 0; i < t->n_orders; i++) {
        const struct row_order *row = &t->orders[i];

        if ((row->state == ORDER_RESERVED || row->state == ORDER_PAID) &&
            strcmp(row->user_id, user_id) == 0 && strcmp(row->item_id, item_id) == 0) {
            sum += row->qty;
        }
    }
    return sum;
}

void tables_name(char *out, size_t size, struct slice text)
{
    const size_t n = text.len < size - 1 ? text.len : size - 1;

    memset(out, 0, size);
    if (n > 0) {
        memcpy(out, text.ptr, n);
    }
}

/* ---- the fold's state as rows ---- */

static bool add_fold_item(struct slice field, struct slice value, void *arg)
{
    struct row_item row = {.total = 0};
    struct item_entry e;

    if (item_entry_parse(value, &e)) {
        tables_name(row.item_id, sizeof(row.item_id), field);
        row.total = e.total;
        row.available = e.available;
        row.held = e.held;
        row.sold = e.sold;
        row.limit = e.limit;
        row.hold_ms = e.hold_ms;
        row.opens_at = e.opens_at;
        row.closes_at = e.closes_at;
        row.state = (unsigned char)e.state;
        row.price = e.price;
    }
    *(uint64_t *)arg ^= hash_of(&row, sizeof(row), 2);
    return true;
}

static bool add_fold_orders(struct slice field, struct slice value, void *arg)
{
    struct order_entry e;

    while (order_entry_next(&value, &e) == 1) {
        struct row_order row = {.qty = e.qty, .due = e.due, .decided_offset = e.offset};

        tables_name(row.order_id, sizeof(row.order_id), e.order_id);
        tables_name(row.user_id, sizeof(row.user_id), field);
        tables_name(row.item_id, sizeof(row.item_id), e.item_id);
        row.state = e.state;
        row.reason = e.reason;
        *(uint64_t *)arg ^= hash_of(&row, sizeof(row), 1);
    }
    return true;
}

static int64_t number(struct slice text)
{
    int64_t n;

    return slice_to_i64(text, 0, INT64_MAX, &n) ? n : -1;
}

static bool add_fold_payment(struct slice field, struct slice value, void *arg)
{
    struct row_payment row = {.answer = value.ptr[0]};
    struct slice rest = {value.ptr + 2, value.len - 2};
    struct slice reason = slice_cut(rest, ' ', &rest);
    struct slice order_id = slice_cut(rest, ' ', &rest);

    tables_name(row.payment_id, sizeof(row.payment_id), field);
    tables_name(row.order_id, sizeof(row.order_id), order_id);
    row.reason = number(reason);
    row.offset = number(rest);
    *(uint64_t *)arg ^= hash_of(&row, sizeof(row), 3);
    return true;
}

static bool add_fold_operation(struct slice field, struct slice value, void *arg)
{
    struct row_operation row = {.offset = 0};
    struct slice rest;

    tables_name(row.op_id, sizeof(row.op_id), field);
    tables_name(row.item_id, sizeof(row.item_id), slice_cut(value, ' ', &rest));
    row.offset = number(rest);
    *(uint64_t *)arg ^= hash_of(&row, sizeof(row), 4);
    return true;
}

uint64_t tables_fold_digest(const struct fold *fold)
{
    uint64_t digest = 0;

    fold_each(fold, FOLD_ITEMS, add_fold_item, &digest);
    fold_each(fold, FOLD_ORDERS, add_fold_orders, &digest);
    fold_each(fold, FOLD_PAYMENTS, add_fold_payment, &digest);
    fold_each(fold, FOLD_OPERATIONS, add_fold_operation, &digest);
    return digest;
}
