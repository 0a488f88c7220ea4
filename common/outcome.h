/*
 * outcome.h - what became of one command: packed lines, outcome records, and reading them.
 *
 * lua/apply.lua and fold.c answer each command with a packed line (docs/protocol.md section 6).
 * outcome_format() turns (command, line, position) into the bytes of the outcome record: always
 * the same bytes for the same input.  outcome_parse() is what readers of the outcomes topic use.
 *
 * Pure; safe from any thread.
 */
#ifndef COMMON_OUTCOME_H
#define COMMON_OUTCOME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/buf.h"
#include "common/command.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/mutant.h"
#include "common/slice.h"

enum reason {
    REASON_NONE,
    REASON_SOLD_OUT,
    REASON_LIMIT_REACHED,
    REASON_NOT_OPEN,
    REASON_CLOSED,
    REASON_PAUSED,
    REASON_TIMED_OUT,
    REASON_UNKNOWN_ITEM,
    REASON_UNKNOWN_ORDER,
    REASON_ALREADY_PAID,
    REASON_ALREADY_CANCELLED,
    REASON_ALREADY_REJECTED,
    REASON_EXPIRED,
    REASON_BELOW_COMMITTED,
    REASON_BAD_OPERATION,
    REASON_MALFORMED,
    REASON_COUNT,
};

/* An order's state as its letter in Redis; 0 is none. */
enum order_state {
    ORDER_NONE = 0,
    ORDER_RESERVED = 'H',
    ORDER_REJECTED = 'R',
    ORDER_PAID = 'P',
    ORDER_CANCELLED = 'C',
    ORDER_EXPIRED = 'E',
};

enum event_type {
    EVENT_RESERVED,
    EVENT_REJECTED,
    EVENT_PAID,
    EVENT_CANCELLED,
    EVENT_EXPIRED,
    EVENT_REFUND_DUE,
    EVENT_DUPLICATE,
    EVENT_REFUSED,
    EVENT_STOCK,
    EVENT_GENESIS,
    EVENT_RULES,
    EVENT_MARK,
    EVENT_ARCHIVED,
};
enum { EVENT_COUNT = EVENT_ARCHIVED + 1 };

/* One event of an outcome.  Members its type lacks are zero, empty or -1 (numbers of stock). */
struct event {
    enum event_type type;
    int index;
    enum reason reason;
    enum order_state state; /* duplicate of an order */
    char order_id[IDS_ORDER_LEN + 1];
    char first_order_id[IDS_ORDER_LEN + 1]; /* duplicate of a payment */
    struct command_text item_id;
    struct command_text user_id;
    struct command_text payment_id;
    struct command_text op_id; /* also run_id of a mark */
    int64_t qty, due, available;
    bool late;
    char payment;    /* duplicate of a payment: 'P' or 'R' */
    char item_state; /* stock: 'o' 'p' 'c' 'a' */
    char action[16]; /* stock */
    int64_t total, held, sold, limit, hold_ms, opens_at, closes_at, price;
    enum command_detail detail;   /* refused, of a malformed record */
    char log_id[IDS_LOG_LEN + 1]; /* genesis */
    int64_t partitions, rules;    /* genesis, rules */
    int64_t orders;               /* mark: remembered; archived: forgotten */
    int64_t payments;             /* mark */
    size_t n_items;               /* mark */
    struct event_item *items;     /* mark; owned by the outcome */
    char *users;                  /* archived: as in the command, NULL: none; likewise */
};

/* One item's counters in a mark. */
struct event_item {
    struct command_text item_id;
    int64_t total, available, held, sold;
};

/* A parsed outcome record.  outcome_fini() frees events; zero it before first use. */
struct outcome {
    int partition;
    int64_t offset, prev;
    char genesis[IDS_LOG_LEN + 1];
    uint64_t hash, chain; /* of the command's record; after it */
    int64_t rules, log_time;
    size_t n_events;
    struct event *events; /* owned; reused by the next outcome_parse() */
    size_t cap_events;
};

/* Where a command stands: what an outcome says beside its events. */
struct outcome_head {
    int partition;
    int64_t offset, prev;
    const char *genesis; /* borrowed */
    uint64_t hash;       /* of this record */
    uint64_t chain;      /* after it */
    int64_t rules;       /* after this record */
    int64_t log_time;
};

/*
 * Appends the outcome record of cmd, answered by line (without its newline), to out.
 * Fails with ERR_FATAL, leaving out as it was, when line is not one that the rules can give for
 * cmd (then script and program disagree, and the partition must halt) or out's bound is too small.
 */
bool outcome_format(struct buf *out, const struct outcome_head *head, const struct command *cmd,
                    struct slice line, struct err *err) ATTR_MUSTCHECK;

/*
 * Reads an outcome record; members that this build does not know are passed over.  Fails with
 * ERR_REJECT, naming what is wrong and leaving o without events, when it is none.
 */
bool outcome_parse(struct outcome *o, struct slice value, struct err *err) ATTR_MUSTCHECK;
void outcome_fini(struct outcome *o);

/*
 * The i-th event is no state of its order after the record: an order that has lapsed when its payment
 * comes expires and is paid by one command.
 */
bool outcome_is_passing(const struct outcome *o, size_t i);

/* Bounds of the rules, under both numbers (docs/protocol.md section 1). */
enum {
    ORDERS_REMEMBERED_MAX = TEST_BOUND(64, 6), /* of a user in a partition */
    ORDER_PAYMENTS_MAX = 8,                    /* listed with an order */
};

/*
 * One remembered order, as it stands in Redis (docs/protocol.md section 6, `orders`).
 */
struct order_entry {
    struct slice order_id, item_id; /* borrowed from the value */
    int64_t qty;
    enum order_state state;
    enum reason reason;
    int64_t due, offset;
    struct slice payments; /* "-" or a list */
};

/*
 * Takes the next entry off *value (a user's orders).  Returns 1, 0 at the end, -1 when the
 * value is not well-formed.
 */
int order_entry_next(struct slice *value, struct order_entry *entry) ATTR_MUSTCHECK;

/* Takes the next payment off *payments; answer is 'P' or 'R'.  Returns as order_entry_next(). */
int order_payment_next(struct slice *payments, char *answer,
                       struct slice *payment_id) ATTR_MUSTCHECK;

/* A payment's value in Redis (`payments`). */
struct payment_entry {
    char answer; /* 'P' or 'R' */
    enum reason reason;
    struct slice order_id; /* borrowed from the value */
    int64_t offset;
};
bool payment_entry_parse(struct slice value, struct payment_entry *payment) ATTR_MUSTCHECK;

/* An item's value in Redis (`items`). */
struct item_entry {
    int64_t total, available, held, sold, limit, hold_ms, opens_at, closes_at;
    char state; /* 'o' 'p' 'c' 'a' */
    int64_t price;
};
bool item_entry_parse(struct slice value, struct item_entry *item) ATTR_MUSTCHECK;

const char *reason_name(enum reason reason);
const char *order_state_name(enum order_state state); /* "reserved", ... */
bool order_state_is_final(enum order_state state);    /* expired is not: a late payment may come */
const char *item_state_name(char state);              /* "open", ... */
const char *event_type_name(enum event_type type);

#endif /* COMMON_OUTCOME_H */
