/*
 * shoppers.h - those who order, ask, pay and cancel at the doors, and try again.
 */
#ifndef TESTS_SIM_SHOPPERS_H
#define TESTS_SIM_SHOPPERS_H

#include "tests/sim/world.h"

/* Somebody does something. */
void shoppers_go_on(struct world *w);

/* Who does not know yet what became of his order asks, or tries again. */
void shoppers_insist(struct world *w);

/* Everybody asks for each of his orders once more. */
void shoppers_ask_all(struct world *w);

/* Somebody new asks each door for what is there. */
void shoppers_probe(struct world *w);

/* Nobody waits, and nobody is left without an answer. */
bool shoppers_are_done(const struct world *w);

#endif /* TESTS_SIM_SHOPPERS_H */
