/*
 * judge.h - whether an outcome is one that the promises allow, from the outcomes before it alone.
 *
 * The fold says what the rules make of a command; the judge knows no rules of that kind, only what
 * must be true of any: stock adds up, an order is decided once, money is answered once, a result
 * changes nothing.  So it also finds a rule that is wrong, or left out, in both scripts alike.
 */
#ifndef TESTS_SIM_JUDGE_H
#define TESTS_SIM_JUDGE_H

#include "tests/sim/world.h"

/* Judges the outcome of the record at the end of the log, and adds it to s->judged. */
void judge(struct world *w, struct shard *s, const struct node *node, const struct command *cmd);

#endif /* TESTS_SIM_JUDGE_H */
