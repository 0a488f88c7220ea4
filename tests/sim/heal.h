/*
 * heal.h - a time without trouble, at whose end everything must have converged.
 */
#ifndef TESTS_SIM_HEAL_H
#define TESTS_SIM_HEAL_H

#include "tests/sim/world.h"

void heal(struct world *w);

#endif /* TESTS_SIM_HEAL_H */
