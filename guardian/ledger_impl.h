/*
 * ledger_impl.h - the inside of a ledger, shared by ledger.c (what a batch takes),
 * ledger_settle.c (what it makes of that) and ledger_sql.c (how that is written).  Whoever else asks
 * MySQL for its rows takes from here only how an id is written, and what `remembered` says.
 */
#ifndef GUARDIAN_LEDGER_IMPL_H
#define GUARDIAN_LEDGER_IMPL_H

#include "guardian/ledger.h"

/* Whether Redis remembers a decided order; in MySQL it is orders.remembered. */
enum ledger_memory {
    LEDGER_FORGOTTEN = 0, /* a rejection that the rules forget */
    LEDGER_REMEMBERED = 1,
    LEDGER_ARCHIVED = 2, /* remembered until an archive */

    /* Not settled, so never in MySQL: keyed, limit_reached; forgotten only if the user had 64. */
    LEDGER_DEPENDS,
};

/* One event that sets an order's state. */
struct ledger_touch {
    char order_id[IDS_ORDER_LEN + 1];
    struct command_text user_id, item_id;
    enum order_state prior; /* what it must be before; ORDER_NONE: not decided */
    enum order_state state;
    enum reason reason;
    enum ledger_memory memory;
    int64_t qty, due, offset, log_time;
    uint32_t seq; /* place among the batch's touches */
};

/* A touch in its place by order. */
struct ledger_slot {
    const struct ledger_touch *touch;
};

/* What the batch makes of one order. */
struct ledger_order {
    const struct ledger_touch *first;    /* its prior is what MySQL must have */
    const struct ledger_touch *decision; /* NULL: decided before this batch */
    const struct ledger_touch *last;
};

/* An order that was refused because its item is archived: a row if MySQL has none of it. */
struct ledger_refused {
    char order_id[IDS_ORDER_LEN + 1];
    struct command_text user_id, item_id;
    enum reason reason;
    int64_t qty, offset, log_time;
};

enum ledger_cause {
    LEDGER_RESERVED,
    LEDGER_PAID,
    LEDGER_LATE,
    LEDGER_CANCELLED,
    LEDGER_EXPIRED,
    LEDGER_STOCK,
    LEDGER_CAUSES,
};

/* One event that moves stock, or changes an item. */
struct ledger_move {
    enum ledger_cause cause;
    int index;
    int64_t offset, log_time;
    struct command_text item_id, user_id;
    char order_id[IDS_ORDER_LEN + 1];
    int64_t qty;      /* of stock: what is added to the total, once settled; may be negative */
    size_t operation; /* of stock: its place among the operations */
};

struct ledger_payment {
    struct command_text payment_id, user_id;
    char order_id[IDS_ORDER_LEN + 1];
    enum reason reason; /* REASON_NONE: paid */
    bool late;
    int64_t offset, log_time;
};

/* What an archive makes Redis forget. */
struct ledger_archive {
    struct command_text item_id;
    char *users; /* owned; joined by `,`; NULL: none */
    int64_t orders, total, sold, offset;
};

struct ledger_operation {
    struct command_text op_id, item_id;
    enum reason reason; /* REASON_NONE: done, and the numbers below are set */
    char action[16];
    char state; /* 'a': archived, and what that leaves alone is -1 */
    int64_t total, available, held, sold, limit, hold_ms, opens_at, closes_at, price;
    int64_t offset, log_time;
};

/* What the batch does to one item. */
struct ledger_item {
    struct command_text item_id;
    bool is_known; /* MySQL has it; only asked when its total changes */
    int64_t total; /* before the batch, then after it; likewise */
    int64_t add_total, add_available, add_held, add_sold;
    const struct ledger_operation *config; /* the last stock event, or NULL */
    int64_t first_offset, changed_offset;
};

struct ledger_user {
    struct command_text user_id;
    int64_t remembered;
};

enum ledger_phase {
    LEDGER_PHASE_NEW_ORDERS,
    LEDGER_PHASE_HELD_ORDERS,
    LEDGER_PHASE_EXPIRED_ORDERS,
    LEDGER_PHASE_REFUSED_ORDERS,
    LEDGER_PHASE_PAYMENTS,
    LEDGER_PHASE_OPERATIONS,
    LEDGER_PHASE_MOVES,
    LEDGER_PHASE_ITEMS,
    LEDGER_PHASE_ARCHIVE,
    LEDGER_PHASE_PROGRESS,
    LEDGER_PHASE_END,
};

/* A growing array of one type: items, how many, how much room. */
#define LEDGER_ARRAY(type)                                                                         \
    struct {                                                                                       \
        type *at;                                                                                  \
        size_t n, room;                                                                            \
    }

/* Makes room for one more at the end of an array and counts it. */
#define LEDGER_GROW(array)                                                                         \
    ((array).at = ledger_grow((array).at, (array).n, &(array).room, sizeof((array).at[0])),        \
     &(array).at[(array).n++])

void *ledger_grow(void *at, size_t n, size_t *room, size_t size);

struct ledger {
    int partition;
    struct progress base, end;
    size_t records, rows;
    bool has_mark, has_archive;
    struct ledger_mark mark;
    struct ledger_archive archive;

    /* As they came. */
    LEDGER_ARRAY(struct ledger_touch) touches;
    LEDGER_ARRAY(struct ledger_move) moves;
    LEDGER_ARRAY(struct ledger_payment) payments;
    LEDGER_ARRAY(struct ledger_operation) operations;
    LEDGER_ARRAY(struct ledger_refused) refused;

    /* Made by asking and settling. */
    LEDGER_ARRAY(struct ledger_user) users;   /* sorted */
    LEDGER_ARRAY(struct ledger_item) items;   /* sorted */
    LEDGER_ARRAY(struct ledger_order) orders; /* sorted by key */
    LEDGER_ARRAY(struct ledger_slot) sorted;
    int question;

    enum ledger_phase phase;
    size_t cursor;
};

/* Appends x'..' of an id. */
void ledger_put_id(struct buf *sql, struct slice id);

#endif /* GUARDIAN_LEDGER_IMPL_H */
