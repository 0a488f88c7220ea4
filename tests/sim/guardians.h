/*
 * guardians.h - guardian processes: the real reading (guardian/follow.c) and writing (ledger, commit),
 * and around them what guardian/service_*.c does with them.  menders.h has the rebuilds.
 */
#ifndef TESTS_SIM_GUARDIANS_H
#define TESTS_SIM_GUARDIANS_H

#include "tests/sim/world.h"

/* By its own clock. */
static inline int64_t guardians_now_ms(const struct world *w, int guardian)
{
    return clock_of(w, &w->clocks.guardians[guardian]).mono_ms;
}

void guardians_init(struct world *w);
void guardians_fini(struct world *w);

void guardians_go_on(struct world *w, int guardian);

/* Forgets all that was read and not committed; the position has to be loaded anew. */
void guardians_start_over(struct keeper *k);

/* MySQL and the log do not fit. */
void guardians_halt(struct world *w, int guardian, struct shard *s, const char *why);

/* Trouble. */
void guardians_crash(struct world *w, int guardian);
void guardians_stop(struct world *w, int guardian); /* or it goes on */
void guardians_regroup(struct world *w, int guardian);

/* A time without trouble: the first guardian owns everything. */
void guardians_heal(struct world *w);
void guardians_heal_step(struct world *w);

#endif /* TESTS_SIM_GUARDIANS_H */
