/*
 * tables.h - a partition's orders, items, payments and operations as plain rows, with a digest.
 *
 * The judge keeps one such set, made from outcomes alone; the simulated MySQL keeps another, made by
 * the guardian's statements; and the fold's own state has the same digest when they agree.  A
 * digest is the XOR of all rows' hashes, so it follows each change and knows no order.
 */
#ifndef TESTS_SIM_TABLES_H
#define TESTS_SIM_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/fold.h"
#include "common/slice.h"

enum {
    ROWS_ORDERS = 224,
    ROWS_ITEMS = 4,
    ROWS_PAYMENTS = 128,
    ROWS_OPERATIONS = 64,
    NAME_SIZE = 12,
};

/* All rows are zeroed before they are set: they are hashed as bytes, padding included. */
struct row_order {
    char order_id[40];
    char user_id[NAME_SIZE], item_id[NAME_SIZE];
    int64_t qty, due, decided_offset;
    int64_t state, reason;
};

struct row_item {
    char item_id[16];
    int64_t total, available, held, sold, limit, hold_ms, opens_at, closes_at, state, price;
};

struct row_payment {
    char payment_id[16];
    char order_id[40];
    int64_t answer, reason, offset;
};

struct row_operation {
    char op_id[16], item_id[16];
    int64_t offset;
};

struct tables {
    size_t n_orders, n_items, n_payments, n_operations;
    uint64_t digest;
    bool is_forgotten[ROWS_ORDERS]; /* an order that the rules do not remember: not in the digest */
    int64_t
        archived[ROWS_ORDERS]; /* ... any more since the record there; 0: another, or remembered */
    struct row_order orders[ROWS_ORDERS];
    struct row_item items[ROWS_ITEMS];
    struct row_payment payments[ROWS_PAYMENTS];
    struct row_operation operations[ROWS_OPERATIONS];
};

/* NULL when there is none.  A row found may be changed between two calls of rows_toggle_*(). */
struct row_order *tables_order(struct tables *t, const char *order_id, const char *user_id);
struct row_item *tables_item(struct tables *t, const char *item_id);
struct row_payment *tables_payment(struct tables *t, const char *payment_id);
struct row_operation *tables_operation(struct tables *t, const char *op_id);

/* Adds a copy; false when there is no more room. */
bool tables_add_order(struct tables *t, const struct row_order *row, bool is_forgotten);
bool tables_add_item(struct tables *t, const struct row_item *row);
bool tables_add_payment(struct tables *t, const struct row_payment *row);
bool tables_add_operation(struct tables *t, const struct row_operation *row);

/* The users' orders of the item are remembered no longer; returns how many were.  Names are joined by `,`. */
int64_t tables_archive(struct tables *t, const char *item_id, struct slice users, int64_t offset);

/* The rows that there are, and no more: a copy is made for each transaction. */
void tables_copy(struct tables *to, const struct tables *from);

/* Takes a row out of the digest, or puts it back. */
void tables_toggle_order(struct tables *t, const struct row_order *row);
void tables_toggle_item(struct tables *t, const struct row_item *row);

/* Units of the item that the user holds or has bought. */
int64_t tables_committed(const struct tables *t, const char *user_id, const char *item_id);

/* The digest that the fold's state has. */
uint64_t tables_fold_digest(const struct fold *fold);

/* Copies a slice into a name of size bytes, zeroed behind; longer ones are cut off. */
void tables_name(char *out, size_t size, struct slice text);

#endif /* TESTS_SIM_TABLES_H */
