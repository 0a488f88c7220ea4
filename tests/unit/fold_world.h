/*
 * fold_world.h - a log that is folded (common/fold.h) record by record, for the tests of its rules.
 * Names have no prefix: these are the words that the tests are written in.
 */
#ifndef TESTS_UNIT_FOLD_WORLD_H
#define TESTS_UNIT_FOLD_WORLD_H

#include "common/fold.h"

#define LOG_ID "00112233445566778899aabbccddeeff"

enum {
    HOLD_MS = 100,
    START = 1000, /* log time of the genesis */
    KEYED = 1000, /* order numbers from here on are keyed */
};

/* A fold, the next offset, and the time of the next record. */
struct world {
    struct fold *fold;
    int64_t offset, now;
    struct buf line, value;
    struct command command;
    int n_operations;
    bool is_silent; /* asks for no lines */
};

/* A world of its own for each test, in which there is a genesis and nothing else. */
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
int set_up(void **state);
int tear_down(void **state);

/* A record now; its line, which lives until the next one. */
const char *apply_raw(struct world *w, struct slice value);
const char *apply(struct world *w, const struct command *cmd);

/* Such a record of each kind.  Orders have numbers, from KEYED on keyed ones. */
const char *genesis(struct world *w);
const char *tick(struct world *w);
const char *order(struct world *w, int n, const char *item, const char *user, int64_t qty);
const char *pay(struct world *w, int n, const char *user, const char *payment);
const char *cancel(struct world *w, int n, const char *user);
const char *open_item(struct world *w, const char *item, int64_t total, int64_t limit);
const char *act(struct world *w, enum command_action action, const char *item);
const char *restock(struct world *w, const char *item, int64_t qty);

/* A sale command in w->command, to be changed and applied; its operation id is a new one. */
struct command *sale(struct world *w, enum command_action action, const char *item);
struct command_text text(const char *s);
void set_order_id(struct command *cmd, int n);

/* What the fold shows of one, or "none"; lives until the next such call. */
const char *item_of(struct world *w, const char *item);
const char *orders_of(struct world *w, const char *user);
const char *payment_of(struct world *w, const char *payment);

/* What must hold after every record, whatever it was. */
void assert_conserved(struct world *w);

#endif /* TESTS_UNIT_FOLD_WORLD_H */
