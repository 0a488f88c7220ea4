/*
 * run_impl.h - a history under way, shared by run.c (what is played) and spoil.c (calls that must be
 * refused) only.
 */
#ifndef TESTS_DIFFERENTIAL_RUN_IMPL_H
#define TESTS_DIFFERENTIAL_RUN_IMPL_H

#include "tests/differential/compare.h"
#include "tests/differential/generator.h"
#include "tests/differential/run.h"

enum {
    RUN_PLENTY = 1000000000, /* a bound that is never reached */
    RUN_RULES_TO_COME = COMMAND_RULES + 1,
};

/* A record and what became of it. */
struct step {
    struct record record;
    char *line;     /* owned */
    int64_t prev;   /* position before it */
    uint64_t chain; /* after it */
    uint64_t hash;
    int64_t log_time; /* after it */
    int64_t rules;    /* after it */
};

struct run {
    uint64_t seed;
    int number;
    enum theme theme;
    struct random random;
    struct generator *generator;
    struct fold *fold;
    struct script script;
    struct outbox outbox;
    struct call call;
    struct buf line, reply, before, after;
    struct step *steps;
    size_t n_steps, capacity;
    int n_batches;
    int64_t acked, next_due;
};

/* Where Redis stands while the fold is ahead, and what the reply must repeat. */
struct place {
    struct fold_log log;
    size_t first_step;
};

/* run.c */

/* Ends the program; says what makes it happen again. */
void run_fail(const struct run *run, const char *what) ATTR_NORETURN;

/* Drops from outbox what is acknowledged, and tells the call so. */
void run_trim(struct run *run, struct outbox *outbox, int64_t acked);

/* spoil.c */

/* Calls and sees that nothing has changed since run->before; the reply starts with want. */
void spoil_expect(struct run *run, const struct call *call, const char *want);

/* The same of a caller that is not where Redis is. */
void spoil_expect_position(struct run *run, const struct call *call, const struct fold_log *log);

/* Spoils the run's call in one way or another, sees it refused, and mends it again. */
void spoil_batch(struct run *run, const struct place *place);

#endif /* TESTS_DIFFERENTIAL_RUN_IMPL_H */
