/*
 * steps.h - schedules: lists of steps, each with the luck that decides what it does.
 */
#ifndef TESTS_SIM_STEPS_H
#define TESTS_SIM_STEPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/world.h"

enum { STEPS_MAX = 1600 };

enum step_kind {
    STEP_GO,   /* anything happens */
    STEP_LOSS, /* Redis loses its last writes: it strikes when all is quiet, too */
    STEP_HEAL, /* no more trouble: everything must converge */
};

struct step {
    uint64_t luck;
    enum step_kind kind;
};

struct schedule {
    uint64_t seed;
    size_t n;
    struct step steps[STEPS_MAX];
};

void schedule_make(struct schedule *s, uint64_t seed);

/* Runs it in w; false when a promise is broken: w->complaint says which. */
bool schedule_run(struct world *w, const struct schedule *s, bool is_told) ATTR_MUSTCHECK;

/* Leaves out whatever can be left out of a schedule that breaks a promise. */
void schedule_shrink(struct world *w, struct schedule *s);

#endif /* TESTS_SIM_STEPS_H */
