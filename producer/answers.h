/*
 * answers.h - what is told about orders, payments and items, in JSON.  Pure.
 *
 * docs/protocol.md section 7 lists the members.
 */
#ifndef PRODUCER_ANSWERS_H
#define PRODUCER_ANSWERS_H

#include <stdint.h>

#include "common/buf.h"
#include "common/outcome.h"
#include "common/slice.h"

/* Members that are absent: slices with ptr NULL or empty, numbers below 0 (qty and due: 0). */
struct answers_order {
    struct slice order_id, item_id, user_id;
    int64_t qty;
    const char *state;
    enum reason reason;
    int64_t due;
    struct slice payments; /* as in Redis: "-" or a list */
    int64_t position;
    int64_t records_ahead;
    const char *receipt; /* NULL: none */
};

void answers_order(struct buf *out, const struct answers_order *order);

/* The order as Redis or MySQL remember it. */
void answers_entry(struct buf *out, const struct order_entry *entry, struct slice user_id);

struct answers_payment {
    struct slice order_id, payment_id;
    const char *payment; /* queued, paid, refund_due, duplicate */
    enum reason reason;
    const char *first_order_id; /* of a duplicate, or NULL */
    const char *first_payment;
    int64_t position;
};

void answers_payment(struct buf *out, const struct answers_payment *payment);

void answers_item(struct buf *out, struct slice item_id, const struct item_entry *item,
                  int64_t server_time_ms);

/* "paid" for 'P', "refund_due" for 'R'. */
const char *answers_payment_name(char answer);

/* What to do about an order that was rejected, or a cancel that was refused, for this reason. */
const char *answers_advice(enum reason reason);

#endif /* PRODUCER_ANSWERS_H */
