/*
 * rebuild.h - the one recovery: a partition's Redis put at MySQL's position.
 *
 * What comes after that position the matcher applies again, and its outcomes come out again with the
 * same bytes.  The partition is closed from the first write to the last; whoever begins later wins.
 * Before the first write MySQL has read and sorted what is to be written, which may take minutes; who
 * is found to have begun by then is left alone.
 *
 * Blocks; any thread that may use db.h.
 */
#ifndef GUARDIAN_REBUILD_H
#define GUARDIAN_REBUILD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "guardian/peek.h"
#include "guardian/settings.h"

/* Also the exit statuses of the command. */
enum rebuild_end {
    REBUILD_DONE = 0,
    REBUILD_REFUSED = 1, /* MySQL and the log do not fit: nothing was changed */
    REBUILD_FAILED = 2,  /* somebody did not answer; if it was begun, it has to be done again */
    REBUILD_TAKEN = 3,   /* another rebuild began later, goes on, or finished */
};

struct rebuild {
    const struct settings *settings; /* borrowed, as is cancelled */
    int partition;
    atomic_bool *cancelled; /* true: give up; may be NULL */

    /*
     * What Redis was seen to be, which is why it is rebuilt; borrowed.  One that is otherwise is left alone:
     * it was put right meanwhile, or is another server than the one that was looked at.  NULL: whatever it is.
     */
    const struct peek_look *seen;

    /* Afterwards. */
    bool has_begun;
    bool is_proven;   /* the log leads to MySQL's chain; else it could not be checked */
    int64_t position; /* -1: MySQL has nothing, and Redis was emptied */
    int64_t orders, payments, pieces;
    int64_t took_ms;
};

enum rebuild_end rebuild_partition(struct rebuild *r, struct err *err) ATTR_MUSTCHECK;

/* The command: the partitions it names, one after the other. */
int rebuild_run(const struct settings *settings);

#endif /* GUARDIAN_REBUILD_H */
