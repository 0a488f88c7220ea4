/*
 * flights.h - messages of the matchers' producers that are under way: outcomes, dead letters, ticks.
 *
 * They land in the order of their instance, and are reported later, or lost, or land without a report.
 */
#ifndef TESTS_SIM_FLIGHTS_H
#define TESTS_SIM_FLIGHTS_H

#include "tests/sim/world.h"

void flights_publish(struct world *w, int matcher, struct shard *s,
                     const struct part_action *action);
void flights_tick(struct world *w, int matcher, const struct shard *s);

/* One step of any message, or of as many as there are in a time without trouble. */
void flights_go_on(struct world *w);
void flights_land_all(struct world *w, int max);

/*
 * Those of an instance that is thrown away: some land, some do not, and nobody is told.  An idempotent
 * producer leaves no hole, so behind one that is lost all of the same topic and partition are.
 */
void flights_orphan(struct world *w, int matcher);

/* What was on its way to the partition never comes there. */
void flights_lose(struct world *w, const struct shard *s);

#endif /* TESTS_SIM_FLIGHTS_H */
