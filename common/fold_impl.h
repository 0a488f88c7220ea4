/*
 * fold_impl.h - the inside of a fold, shared by the fold*.c files only.
 */
#ifndef COMMON_FOLD_IMPL_H
#define COMMON_FOLD_IMPL_H

#include "common/fold.h"
#include "common/mutant.h"

#include <uthash.h>

enum {
    EXPIRE_MAX = TEST_BOUND(64, 2), /* holds that expire per command */
    HOLDS_MAX = 64,                 /* distinct hold_ms */
    ITEMS_MAX = 4096,               /* items of a partition */
    SLAB_ORDERS = 1024,             /* orders per allocation */
};

/* The head of everything that is found by a name; the name's bytes follow the whole object. */
struct node {
    UT_hash_handle hh;
};

struct stock {
    int64_t total, available, held, sold, limit, hold_ms, opens_at, closes_at, price;
    char state; /* 'o' 'p' 'c' 'a' */
};

struct item {
    struct node node;
    bool is_present;
    struct stock stock;
    int64_t changed; /* offset */
};

struct payment {
    struct node node;
    struct payment *next_listed; /* with the same order */
    char answer;                 /* 'P' or 'R' */
    bool is_listed;              /* while a state is loaded */
    uint8_t reason;
    char order_id[IDS_ORDER_LEN];
    int64_t offset;
};

struct operation {
    struct node node;
    struct command_text item_id;
    int64_t offset;
};

struct order {
    struct user *user;
    struct item *item;
    struct order *next;                   /* of the same user */
    struct order *due_prev, *due_next;    /* in its queue, while held */
    struct payment *listed, *listed_last; /* at most ORDER_PAYMENTS_MAX */
    int64_t due, offset;
    int16_t qty;
    char state; /* enum order_state */
    uint8_t reason;
    uint8_t queue; /* index, while held */
    uint8_t n_listed;
    char id[IDS_ORDER_LEN];
};

struct user {
    struct node node;
    struct order *first, *last;
    size_t n_orders;
    int64_t changed; /* offset */
};

struct queue {
    int64_t hold_ms;
    struct order *first, *last;
};

struct slab {
    struct slab *next;
    struct order orders[SLAB_ORDERS];
};

struct fold {
    int partition, partitions; /* what records are parsed against */
    struct fold_log log;
    struct node *items, *users, *payments, *operations;
    struct queue queues[HOLDS_MAX]; /* in order of first use */
    size_t n_queues;
    int64_t next_due;
    struct slab *slabs;
    size_t slab_used;
    struct order *free_orders; /* linked by next */
    struct command command;
    fold_watch_fn *watch; /* NULL: nobody */
    void *watch_arg;

    /* The line being written, for the length of fold_apply(); NULL: nobody wants it. */
    struct buf *line;
    size_t n_events;
    int64_t offset; /* of the record being applied */
};

/* Tables. */

/* fold_table.c */

struct node *fold_find(struct node *table, struct slice id);
void *fold_add(struct node **table, size_t size, struct slice id);
void fold_free_table(struct node **table);
struct slice fold_name(const struct node *node);

/* The item, or NULL when the sale has none of that name. */
struct item *fold_find_item(const struct fold *f, struct slice item_id);
struct item *fold_name_item(struct fold *f, struct slice item_id);
struct user *fold_find_user(const struct fold *f, struct slice user_id);
struct order *fold_find_order(const struct user *user, const char *order_id);

/* Remembers the command's order with its first state. */
struct order *fold_remember(struct fold *f, struct user *user, struct item *item,
                            enum order_state state, enum reason reason);

/* Forgets the user's orders of item, none of which is held, and a user left with none. */
size_t fold_forget(struct fold *f, struct user *user, const struct item *item);

/* The queue of hold_ms, or HOLDS_MAX when it was never used. */
size_t fold_find_queue(const struct fold *f, int64_t hold_ms);
void fold_enqueue(struct fold *f, struct order *order);
void fold_dequeue(struct fold *f, struct order *order);

/* The queue whose head is due first, or n when all are empty. */
size_t fold_earliest_queue(const struct queue queues[], size_t n);
struct order *fold_earliest_hold(const struct fold *f);

/* The record at hand changes the order, and its item's stock with it. */
static inline void fold_change(const struct fold *f, struct order *order)
{
    order->item->changed = f->offset;
    order->user->changed = f->offset;
}

/* Tells the watcher of an order, or of the command's, which is not remembered. */
void fold_note(const struct fold *f, const struct order *order, enum fold_memory memory);
void fold_note_command(const struct fold *f, enum fold_memory memory, enum reason reason);

/* fold_tell.c */

/* The line, ready for the next event; NULL when nobody wants it. */
struct buf *fold_next_event(struct fold *f);
void fold_put_number(struct buf *out, int64_t n);
void fold_put_text(struct buf *out, struct slice s);
void fold_put_stock(struct buf *out, const struct stock *s);

/* `letter item qty available`, with `late` before the last for a payment. */
void fold_tell_order(struct fold *f, const struct order *order, const char *letter, int late);
void fold_tell_rejected(struct fold *f, enum reason reason, const struct item *item);

/* `letter reason`: refused or refund_due. */
void fold_tell_reason(struct fold *f, const char *letter, enum reason reason);
void fold_tell_letter(struct fold *f, const char *letter);
void fold_tell_stock(struct fold *f, const struct item *item);

/* fold_order.c */

void fold_expire_due(struct fold *f);
void fold_apply_order(struct fold *f);
void fold_apply_pay(struct fold *f);
void fold_apply_cancel(struct fold *f);

/* fold_sale.c */

void fold_apply_sale(struct fold *f);
void fold_apply_restock(struct fold *f);
void fold_apply_archive(struct fold *f);
void fold_apply_mark(struct fold *f);

#endif /* COMMON_FOLD_IMPL_H */
