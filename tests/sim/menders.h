/*
 * menders.h - rebuilds: the real judgement of when one is needed (guardian/mend.c), and around it what
 * guardian/service_mend.c and rebuild.c do with it.
 */
#ifndef TESTS_SIM_MENDERS_H
#define TESTS_SIM_MENDERS_H

#include "tests/sim/world.h"

void menders_init(struct mender *m);

/* One step of a rebuild or a look, or nothing. */
void menders_go_on(struct world *w, int guardian, struct shard *s);

/* Because an outcome is lost: at once, unless it is busy or has to wait; then later. */
void menders_mend(struct world *w, int guardian, struct shard *s);

/* By hand. */
void menders_rebuild(struct world *w, int guardian, struct shard *s);

#endif /* TESTS_SIM_MENDERS_H */
