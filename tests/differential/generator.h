/*
 * generator.h - records of one partition that make trouble: from one seed, always the same ones.
 *
 * Names come from small alphabets, so that commands meet; some names look like numbers, separators
 * or absent text.  Time goes forward, back, and often exactly onto, just before or just behind the
 * next due hold or the end of a sale, for which the generator looks into the fold.
 */
#ifndef TESTS_DIFFERENTIAL_GENERATOR_H
#define TESTS_DIFFERENTIAL_GENERATOR_H

#include <stddef.h>
#include <stdint.h>

#include "common/command.h"
#include "common/fold.h"
#include "common/random.h"

/* What a run is about: it sets the sizes of the alphabets and the weights of the commands. */
enum theme {
    THEME_SMALL,    /* everything meets everything */
    THEME_MEMORY,   /* few users, many orders: 64 are remembered */
    THEME_CROWD,    /* many holds, due at once */
    THEME_HOLDS,    /* more than 64 hold_ms */
    THEME_PAYMENTS, /* more than 8 payments of an order */
    THEME_COUNT,
};

/* The last kind of record to come; the harness cuts batches there. */
enum record_kind {
    RECORD_ANY,
    RECORD_MARK,  /* stands alone in its batch */
    RECORD_RULES, /* ends its batch */
};

struct record {
    struct fold_record raw; /* key and value are owned by the record */
    enum record_kind kind;
};

struct generator;

struct generator *generator_create(uint64_t seed, enum theme theme);
void generator_destroy(struct generator *g);

int generator_partition(const struct generator *g);
int generator_partitions(const struct generator *g);

/*
 * The next record, given the state before it; the first is a genesis.  A record's offset is
 * above all earlier ones.  The caller frees it with record_free().
 */
void generator_next(struct generator *g, const struct fold *fold, struct record *rec);

/* A mark, or a rules command with that number. */
void generator_mark(struct generator *g, struct record *rec);
void generator_rules(struct generator *g, int64_t rules, struct record *rec);

/*
 * A sale of its own with an order for each of many users: the opening (n 0) and their orders; when all
 * holds are due a tick, or a payment or cancel of user n's; the closing (n 0), then each time the
 * archive of COMMAND_USERS_MAX users.
 */
void generator_many(struct generator *g, int n, struct record *rec);
void generator_late(struct generator *g, enum command_type type, int n, struct record *rec);
void generator_forget(struct generator *g, int n, struct record *rec);

/* A sale that opens item number n of any number, for a run with more items and hold_ms than may be. */
void generator_open(struct generator *g, int n, struct record *rec);

void record_free(struct record *rec);

#endif /* TESTS_DIFFERENTIAL_GENERATOR_H */
