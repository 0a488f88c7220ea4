/*
 * generator_impl.h - the inside of a generator, shared by generator.c (which record comes, and when) and
 * generator_command.c (what a command says) only.
 */
#ifndef TESTS_DIFFERENTIAL_GENERATOR_IMPL_H
#define TESTS_DIFFERENTIAL_GENERATOR_IMPL_H

#include "tests/differential/generator.h"

enum {
    GENERATOR_NAMES_MAX = 512,
    GENERATOR_EARLIER_MAX = 64,
    GENERATOR_PLACED_MAX = 256,
    GENERATOR_RUSH_RECORDS = 12,
    GENERATOR_KINDS = COMMAND_MALFORMED + 1,
};

/* Sizes of alphabets, and weights by command type. */
struct plan {
    int users, items, orders, payments, operations, holds;
    int limit_max, total_max, qty_max;
    int step_ms;      /* usual distance of two records */
    int first_hold;   /* the shortest of usual_holds to be used */
    int aims;         /* percent of records that are timed at a hold's end */
    int jump_records; /* usual distance of two jumps far ahead */
    int weights[GENERATOR_KINDS];
    int users_max; /* named by one archive */
};

struct generator {
    struct random random;
    struct plan plan;
    int partition, partitions;
    int64_t next_offset, now, n_records;
    bool has_genesis;
    struct command_text users[GENERATOR_NAMES_MAX], items[GENERATOR_NAMES_MAX];
    struct record earlier[GENERATOR_EARLIER_MAX]; /* owned copies */
    size_t n_earlier;
    char named[COMMAND_VALUE_MAX]; /* an archive's users */
    int rush;                      /* records to come at the same time, which pay and cancel */
    struct command target;         /* names an order that has just lapsed */
    struct command
        placed[GENERATOR_PLACED_MAX]; /* the last orders sent, to pay, cancel and repeat */
    size_t n_placed;
};

/* generator_command.c */

struct command_text generator_text(const char *s);

/* The n-th id of a kind, or item: different for every n, odd, usual or as long as may be. */
struct command_text generator_id(const struct generator *g, const char *kind, int64_t n);
struct command_text generator_item(const struct generator *g, int64_t n);

/* Makes a sale's terms absent. */
void generator_clear_terms(struct command *cmd);

/* Makes a well-formed command of cmd's type; an order, pay or cancel often names an order that there is. */
void generator_fill(struct generator *g, const struct fold *fold, struct command *cmd);

#endif /* TESTS_DIFFERENTIAL_GENERATOR_IMPL_H */
