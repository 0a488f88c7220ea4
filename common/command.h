/*
 * command.h - a record of the orders topic: bytes in, one command out; and back.
 *
 * The parser is part of the rules: which bytes are malformed, and with which detail, depends on
 * their number and on nothing else.  docs/protocol.md section 3.
 *
 * Pure, allocation-free apart from the JSON library's own; safe from any thread.
 */
#ifndef COMMON_COMMAND_H
#define COMMON_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/ids.h"
#include "common/slice.h"

enum {
    COMMAND_RULES = 2,        /* the newest rules number; this build has all from 1 on */
    COMMAND_VALUE_MAX = 4096, /* bytes of a record's value */
    COMMAND_QTY_MAX = 1000,   /* units of an order */
    COMMAND_LIMIT_MAX = 1000, /* units per user and item */
    COMMAND_TOTAL_MAX = 1000000000,
    COMMAND_HOLD_MAX_MS = 604800000,
    COMMAND_RULES_MAX = 1000000,
    COMMAND_USERS_MAX = 64, /* named by one archive */
};
#define COMMAND_TIME_MAX  ((int64_t)9007199254740991)
#define COMMAND_PRICE_MAX ((int64_t)1000000000000)

enum command_type {
    COMMAND_GENESIS,
    COMMAND_SET_RULES,
    COMMAND_SALE,
    COMMAND_RESTOCK,
    COMMAND_ORDER,
    COMMAND_PAY,
    COMMAND_CANCEL,
    COMMAND_TICK,
    COMMAND_MARK,
    COMMAND_ARCHIVE,
    COMMAND_MALFORMED,
};

enum command_action {
    COMMAND_OPEN,
    COMMAND_CHANGE,
    COMMAND_PAUSE,
    COMMAND_RESUME,
    COMMAND_CLOSE,
};

enum command_detail {
    COMMAND_OK,
    COMMAND_NULL_VALUE,
    COMMAND_TOO_LARGE,
    COMMAND_NOT_JSON,
    COMMAND_UNKNOWN_TYPE,
    COMMAND_MISSING_FIELD,
    COMMAND_UNKNOWN_FIELD,
    COMMAND_BAD_FIELD,
    COMMAND_WRONG_PARTITION,
};

/* A text of at most IDS_MAX bytes, NUL-terminated; empty means absent. */
struct command_text {
    char s[IDS_MAX + 1];
    uint8_t len;
};

/*
 * One command.  Only the members its type has in docs/protocol.md are set; absent numbers of a
 * sale are -1.  A plain value: copy it freely; only users is borrowed.
 */
struct command {
    enum command_type type;
    enum command_detail detail; /* COMMAND_OK unless malformed */
    enum command_action action; /* sale */
    bool keyed;                 /* order: the id is a UUIDv8 */
    char order_id[IDS_ORDER_LEN + 1];
    struct command_text item_id;
    struct command_text user_id;
    struct command_text other_id; /* payment_id, op_id, run_id or log_id */
    int64_t qty;
    int64_t not_after;
    int64_t total, limit, hold_ms, opens_at, closes_at, price; /* sale; -1: absent */
    int64_t partitions, rules;                                 /* genesis, rules */
    struct slice users; /* archive: ids joined by `,`; ptr NULL: it names none */
};

/* True when this build has the rules of that number. */
static inline bool command_has_rules(int64_t rules)
{
    return rules >= 1 && rules <= COMMAND_RULES;
}

/*
 * Parses a record of partition (of partitions) into cmd, under the rules of that number (those in
 * force before it; of a genesis any will do).  Never fails: what cannot be understood is
 * COMMAND_MALFORMED with its detail.  A genesis record is not checked against partitions.
 * cmd->users is good as long as value is and this thread parses nothing else.
 */
void command_parse(struct command *cmd, struct slice value, int64_t rules, int partition,
                   int partitions);

/*
 * The member that the detail of a malformed record is about, for people: of a missing_field or a
 * bad_field; NULL for every other.
 */
const char *command_blame(struct slice value);

/*
 * Writes cmd as JSON and a NUL into out and returns its length, or 0 when it does not fit in size
 * or cmd is malformed or holds a value that its type may not have.  command_parse() of the result
 * gives cmd again.
 */
size_t command_format(const struct command *cmd, char *out, size_t size) ATTR_MUSTCHECK;

/* Sets text from s; false (and text empty) when s is longer than IDS_MAX. */
bool command_set_text(struct command_text *text, struct slice s) ATTR_MUSTCHECK;
struct slice command_text(const struct command_text *text);

/* True when s is 1..COMMAND_USERS_MAX ids joined by `,`. */
bool command_is_users(struct slice s);

/* The record key that docs/protocol.md section 3 gives cmd; ptr NULL for none.  Borrows from cmd. */
struct slice command_key(const struct command *cmd);

const char *command_type_name(enum command_type type);
const char *command_action_name(enum command_action action);
const char *command_detail_name(enum command_detail detail);

#endif /* COMMON_COMMAND_H */
