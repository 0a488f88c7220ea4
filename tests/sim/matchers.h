/*
 * matchers.h - matcher processes: the real state machine of each partition, and around it a simulated
 * consumer, producer, and connection to Redis.
 */
#ifndef TESTS_SIM_MATCHERS_H
#define TESTS_SIM_MATCHERS_H

#include "tests/sim/world.h"

/* By its own clocks. */
static inline struct part_time matchers_now(const struct world *w, int matcher)
{
    return clock_of(w, &w->clocks.matchers[matcher]);
}

void matchers_init(struct world *w);
void matchers_fini(struct world *w);

/* One step of what goes on by itself. */
void matchers_go_on(struct world *w, int matcher);

/* Trouble. */
void matchers_crash(struct world *w, int matcher);
void matchers_cut_link(struct world *w, int matcher);
void matchers_break_producer(struct world *w, int matcher);
void matchers_regroup(struct world *w, int matcher);
void matchers_switch_master(struct world *w, int matcher);

/* A time without trouble: owners[shard] owns it, and nobody else. */
void matchers_heal(struct world *w, const int *owners);
void matchers_heal_step(struct world *w, int n);
void matchers_note_phases(struct world *w, int matcher);

#endif /* TESTS_SIM_MATCHERS_H */
