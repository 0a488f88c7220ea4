/*
 * told.h - the ledger: what each shopper was told about each order, and whether it fits together.
 *
 * It keeps every answer that says anything; two that cannot both be true are a contradiction by
 * themselves, the rest is compared with the record (record.h) or by a judge outside this program.
 * One thread.
 */
#ifndef STAMPEDE_TOLD_H
#define STAMPEDE_TOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/slice.h"

enum { TOLD_REASON_MAX = 24, TOLD_REASONS = 48, TOLD_NAME_MAX = 48, TOLD_ITEMS = 64 };

/* Counts by name ("sold_out"): how often shoppers heard it. */
struct told_tally {
    size_t n;
    struct {
        char name[TOLD_REASON_MAX];
        uint64_t count;
    } rows[TOLD_REASONS];
};

/* What one shopper was told about one order. */
struct told_order {
    char order_id[IDS_ORDER_LEN + 1]; /* empty: never heard of */
    uint32_t shopper;
    uint16_t press; /* which of the shopper's orders: 1, 2, ... */
    uint8_t reason; /* of the rejection: a row of ledger->reasons */
    bool accepted : 1, refused : 1;
    bool reserved : 1, rejected : 1, paid : 1, cancelled : 1, expired : 1; /* states told */
    bool pays : 1, cancels : 1;                                            /* was asked for */
    bool pay_paid : 1, pay_refund : 1; /* answers to the payment */
    bool unknown : 1;                  /* the last word on it: nobody knows */
    bool contradicted : 1;             /* two answers did not fit together */
};

/* How an order ended for its shopper; every shopper's last order is exactly one of them. */
enum told_end {
    TOLD_PAID,
    TOLD_REFUND_DUE,
    TOLD_CANCELLED,
    TOLD_ABANDONED, /* reserved, and left to expire */
    TOLD_REJECTED,  /* by the sale */
    TOLD_REFUSED,   /* at the door; no order was made */
    TOLD_UNKNOWN,   /* the shopper does not know what became of order, payment or cancel */
    TOLD_UNSERVED,  /* nothing of theirs ever reached the door */
    TOLD_ENDS,
};
extern const char *const told_end_names[TOLD_ENDS];

struct told {
    char items[TOLD_ITEMS][IDS_MAX + 1]; /* shopper i wants item i % n_items */
    size_t n_items;
    unsigned run; /* stands in payment ids: one of them is answered once in a log's life */
    struct told_order *orders; /* owned; index of an order is good for ever, a pointer is not */
    size_t n, capacity;
    struct told_tally reasons; /* of rejections */
    struct told_tally refused; /* at the door */
};

void told_tally_add(struct told_tally *tally, struct slice name);

/* capacity is only a first guess. */
void told_init(struct told *l, size_t capacity);
void told_fini(struct told *l);

/* A new order's index. */
size_t told_begin(struct told *l, uint32_t shopper, uint16_t press);

const char *told_item(const struct told *l, uint32_t shopper);
size_t told_user(uint32_t shopper, char out[TOLD_NAME_MAX]);
size_t told_payment(const struct told *l, const struct told_order *o, char out[TOLD_NAME_MAX]);

/* Two different ids for one order contradict each other; an absent one says nothing. */
void told_note_id(struct told_order *o, struct slice order_id);

/*
 * States that cannot follow each other contradict each other.  False for one that decides
 * nothing (queued, unknown, absent).
 */
bool told_note_state(struct told *l, struct told_order *o, struct slice state, struct slice reason);

enum told_end told_ended(const struct told_order *o);

/*
 * One JSON object per line and order that was heard of: order_id, user_id, item_id, accepted, the
 * states told (told), and where there is one: reason, payment_id with its answer (payment),
 * contradicted.  The last line, {"storm":{...}}, is counts (borrowed JSON text); a ledger without it
 * is not whole.
 */
bool told_write(const struct told *l, const char *path, const char *counts,
                struct err *err) ATTR_MUSTCHECK;

#endif /* STAMPEDE_TOLD_H */
