/*
 * mysql.h - the simulated MySQL: what guardian/db.h promises, over tables in memory, for exactly the
 * statements that guardian/commit.c and guardian/ledger_sql.c write.
 */
#ifndef TESTS_SIM_MYSQL_H
#define TESTS_SIM_MYSQL_H

#include "guardian/commit.h"
#include "tests/sim/world.h"

/* What befalls the next transaction. */
enum mysql_fate {
    MYSQL_WELL,
    MYSQL_BREAKS,     /* the connection breaks at some statement */
    MYSQL_NO_COMMIT,  /* ... at COMMIT, which is not done */
    MYSQL_LOST_REPLY, /* ... which is */
};

/* As the guardian's; luck says at which statement it breaks. */
enum commit_result mysql_commit(struct world *w, struct ledger *ledger, enum mysql_fate fate,
                                struct progress *now, struct err *err);

/* A copy that is behind takes over. */
void mysql_fail_over(struct world *w, struct shard *s);

/* To copies that stand before a position nobody goes back any more. */
void mysql_forget_past(struct shard *s, int64_t position);

/* MySQL is the fold up to its position. */
void mysql_check(struct world *w, struct shard *s);

#endif /* TESTS_SIM_MYSQL_H */
