/*
 * event_shape.h - which members each kind of event has in JSON, for the modules behind outcome.h.
 *
 * One table for writing and reading, so that the two cannot disagree.  Pure; constant data.
 */
#ifndef COMMON_EVENT_SHAPE_H
#define COMMON_EVENT_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/command.h"
#include "common/outcome.h"
#include "common/slice.h"

enum shape_kind {
    SHAPE_ORDER, /* char[IDS_ORDER_LEN + 1] */
    SHAPE_ITEM,  /* struct command_text */
    SHAPE_ID,    /* struct command_text */
    SHAPE_LOG,   /* char[IDS_LOG_LEN + 1] */
    SHAPE_NUMBER,
    SHAPE_BOOL,
    SHAPE_REASON,
    SHAPE_STATE,
    SHAPE_PAYMENT,
    SHAPE_ITEM_STATE,
    SHAPE_ACTION,
    SHAPE_DETAIL,
    SHAPE_ITEMS,
    SHAPE_USERS, /* char *, owned */
};

/* One member of an event: where it lives in struct event, and a number's range. */
struct shape_member {
    struct slice opening; /* how it begins in JSON: ,"NAME": */
    enum shape_kind kind;
    bool optional; /* absent from JSON when empty or zero */
    size_t at;
    int64_t min, max;
};

/*
 * A `duplicate` and a `refused` have several shapes, by what the command was.  Of the shapes of one
 * type the first whose telling member is there is meant.
 */
struct shape {
    enum event_type type;
    const char *telling; /* NULL: needs none */
    const struct shape_member *members;
    size_t n_members;
};

/* All shapes, those of one type together and in order. */
const struct shape *shape_list(size_t *n);

/* The shape that a filled event has. */
const struct shape *shape_of_event(const struct event *e);

/* The member's name, without what surrounds it in JSON. */
static inline struct slice shape_member_name(const struct shape_member *m)
{
    return (struct slice){m->opening.ptr + 2, m->opening.len - 4};
}

/* An event of no type yet: members that it may lack have the values outcome.h promises. */
void event_clear(struct event *e);

/* Frees what an event owns. */
void event_fini(struct event *e);

/* Room for one more item of a mark. */
struct event_item *event_add_item(struct event *e);

/* The reasons that an order can be rejected for, as bits. */
enum {
    EVENT_WHY_REJECTED = 1 << REASON_SOLD_OUT | 1 << REASON_LIMIT_REACHED | 1 << REASON_NOT_OPEN |
                         1 << REASON_CLOSED | 1 << REASON_PAUSED | 1 << REASON_TIMED_OUT |
                         1 << REASON_UNKNOWN_ITEM,
};

/* The reasons that a payment can be due back for, as bits. */
enum {
    EVENT_WHY_REFUND = 1 << REASON_SOLD_OUT | 1 << REASON_LIMIT_REACHED | 1 << REASON_CLOSED |
                       1 << REASON_PAUSED | 1 << REASON_UNKNOWN_ORDER | 1 << REASON_ALREADY_PAID |
                       1 << REASON_ALREADY_CANCELLED | 1 << REASON_ALREADY_REJECTED,
};

/* The letters of states and payments, as C strings. */
extern const char EVENT_ORDER_STATES[]; /* HRPCE */
extern const char EVENT_ITEM_STATES[];  /* opca */
extern const char EVENT_PAYMENTS[];     /* PR */
const char *event_payment_name(char payment);

#endif /* COMMON_EVENT_SHAPE_H */
