/*
 * wire.h - calls of a matcher to Redis that are under way: lost, late, refused, or run when nobody waits.
 */
#ifndef TESTS_SIM_WIRE_H
#define TESTS_SIM_WIRE_H

#include "tests/sim/world.h"

void wire_send(struct world *w, int matcher, struct shard *s, const struct part_action *action);

/* One step of any call that is under way. */
void wire_go_on(struct world *w);

/* Nobody waits for them any more; the server may still run them. */
void wire_forget(struct world *w, int matcher, bool tells);

/* A time without trouble: what nobody waits for never runs, and the rest is answered. */
void wire_end_forgotten(struct world *w);
void wire_answer_all(struct world *w);

void wire_fini(struct world *w);

#endif /* TESTS_SIM_WIRE_H */
