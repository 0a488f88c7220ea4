/*
 * fold.h - the rules, numbers 1 and 2, as a pure function: state x record -> state x line.
 *
 * The oracle: written from docs/protocol.md section 4, not from lua/apply.lua, and used by the
 * tests and by `seckill-guardian verify` to say what Redis and MySQL must hold at a position.
 * It shares only command.h (the parser) with what runs; speed matters (millions of records).
 *
 * A fold holds one partition.  It is a plain heap object; one thread at a time.
 */
#ifndef COMMON_FOLD_H
#define COMMON_FOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/buf.h"
#include "common/command.h"
#include "common/err.h"
#include "common/outcome.h"

struct fold;

enum {
    FOLD_VALUE_MAX = 65536, /* bytes of any field's value: 64 orders of 8 payments each fit */
};

/* A raw record of the orders topic; key and value are borrowed. */
struct fold_record {
    int64_t offset, timestamp;
    struct slice key, value;
};

/* Of each, the offset of the last record that changed it; -1: none did. */
struct fold_changes {
    int64_t genesis, rules, log_time, items, orders, payments, holds;
};

/* The state's numbers; genesis is empty before the first record. */
struct fold_log {
    char genesis[IDS_LOG_LEN + 1];
    int64_t partitions, rules;
    int64_t watermark; /* -1 before the first record */
    uint64_t chain, last_hash;
    int64_t log_time;
    size_t items, orders, payments, operations; /* items: those not archived */
    size_t archived;
    struct fold_changes changed; /* of a loaded state: all at its watermark */
};

struct fold *fold_create(int partition, int partitions);
void fold_destroy(struct fold *f);

/*
 * Applies one record and appends its packed line (without newline) to line, which may be NULL.
 * Fails with ERR_FATAL, changing nothing, when the first record is not genesis, when the
 * state's rules number is none of this build's, when offset is not above the watermark, or when
 * offset or timestamp is above COMMAND_TIME_MAX.
 */
bool fold_apply(struct fold *f, const struct fold_record *rec, struct buf *line,
                struct err *err) ATTR_MUSTCHECK;

/*
 * Orders as they enter and leave the fold's memory, for who wants to know what is not in it: called
 * within fold_apply().  Texts are borrowed for the call.
 */
enum fold_memory {
    FOLD_REMEMBERED,
    FOLD_FORGOTTEN, /* a rejection that the rules do not remember */
    FOLD_ARCHIVED,  /* as it was when it was forgotten */
    FOLD_REFUSED,   /* no decision: its item is archived */
};
struct fold_decision {
    enum fold_memory memory;
    struct slice order_id, item_id, user_id;
    int64_t qty, due, offset; /* of its decision */
    int64_t at;               /* the offset of the record being applied */
    enum order_state state;
    enum reason reason;
};
typedef void fold_watch_fn(const struct fold_decision *decision, void *arg);
void fold_watch(struct fold *f, fold_watch_fn *watch, void *arg);

void fold_log(const struct fold *f, struct fold_log *log);

/* The command that fold_apply() parsed last. */
const struct command *fold_last_command(const struct fold *f);

/*
 * What Redis must hold, in its own text (docs/protocol.md section 6).  Each writes the value of
 * one field into out (replacing it) and returns false when there is no such field.
 */
bool fold_item(const struct fold *f, struct slice item_id, struct buf *out);
bool fold_orders(const struct fold *f, struct slice user_id, struct buf *out);
bool fold_payment(const struct fold *f, struct slice payment_id, struct buf *out);
bool fold_operation(const struct fold *f, struct slice op_id, struct buf *out);
void fold_holds(const struct fold *f, struct buf *out); /* `holds` of `log` */

/* The number of users who have remembered orders. */
size_t fold_users(const struct fold *f);

enum fold_table { FOLD_ITEMS, FOLD_ORDERS, FOLD_PAYMENTS, FOLD_OPERATIONS };

/*
 * Calls each(field, value, arg) for every field of a table, in no particular order, until it
 * returns false.  field and value are borrowed for the call.
 */
typedef bool fold_each_fn(struct slice field, struct slice value, void *arg);
void fold_each(const struct fold *f, enum fold_table table, fold_each_fn *each, void *arg);

/*
 * The offset of the last record that changed a field, -1 when there is no such field.  Of an item, or
 * a user's orders, that no record has changed since they were loaded: the loaded state's watermark.
 */
int64_t fold_changed(const struct fold *f, enum fold_table table, struct slice field);

/*
 * Loading: makes a fresh fold the state at a position, from what Redis must hold there.  First the
 * log (its counts are made anew) and `holds`, then items, operations, payments and orders in this
 * order of tables, then the live holds of each hold_ms in due order, one of every reserved order.
 * Each fails with ERR_FATAL on text that is none, or that says again what was said; then the fold is of
 * no use.  Whether the numbers add up is not asked.
 */
struct fold_field {
    struct slice name, value;
};

struct fold_hold {
    struct slice hold_ms, order_id, user_id;
};

bool fold_load_log(struct fold *f, const struct fold_log *log, struct slice holds,
                   struct err *err) ATTR_MUSTCHECK;
bool fold_load(struct fold *f, enum fold_table table, const struct fold_field *field,
               struct err *err) ATTR_MUSTCHECK;
bool fold_load_hold(struct fold *f, const struct fold_hold *hold, struct err *err) ATTR_MUSTCHECK;

/* Calls each(hold_ms in text, entry as in a due list) for every live hold, in due order. */
void fold_each_hold(const struct fold *f, fold_each_fn *each, void *arg);

/* What an entry of a due list, as fold_each_hold() tells it, stands for. */
enum fold_due {
    FOLD_DUE_HELD,    /* a live hold of this hold_ms */
    FOLD_DUE_OVER,    /* an order that was held once */
    FOLD_DUE_UNKNOWN, /* none that is remembered */
};
enum fold_due fold_due(const struct fold *f, struct slice hold_ms, struct slice entry);

#endif /* COMMON_FOLD_H */
