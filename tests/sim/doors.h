/*
 * doors.h - producer processes: the real calls with door, gates and tables, around them simulated
 * look-ups, publisher, outcome stream and record, and shoppers who come, wait, leave and try again.
 */
#ifndef TESTS_SIM_DOORS_H
#define TESTS_SIM_DOORS_H

#include "tests/sim/world.h"

void doors_init(struct world *w);
void doors_fini(struct world *w);

/* One step of what goes on by itself. */
void doors_go_on(struct world *w);

/* Time has passed, in which the doors mostly did what they had to. */
void doors_pass_time(struct world *w);

/* Trouble. */
void doors_crash(struct world *w, int door);
void doors_crash_fatal(struct world *w);     /* those that have just done what is fatal now */
void doors_stop(struct world *w, int door);  /* or it goes on */
void doors_leave(struct world *w, int door); /* asked to end */
void doors_cut_link(struct world *w, int door);
void doors_lose_kafka(struct world *w, int door); /* or find it again */
void doors_rewind(struct world *w, int door);     /* outcomes are read again */
void doors_switch_master(struct world *w, int door);
void doors_fill(struct world *w, int door); /* its line is full, or not any more */

/* A time without trouble. */
void doors_heal(struct world *w);
void doors_heal_step(struct world *w);

/* Nothing is under way at any door, and every shopper knows what became of each wish. */
bool doors_are_done(const struct world *w);

/* When all has converged: every key is asked for once more, and told its present state. */
void doors_check(struct world *w);

/* Redis or MySQL may have gone back: whoever waits may be told what it knew then. */
void doors_note_redis(struct world *w);

#endif /* TESTS_SIM_DOORS_H */
