/*
 * replay.h - the outbox as found on start: batches whose outcomes may not be in Kafka yet.
 *
 * The records are read from the log again; each gets its line from here, and at the end of each
 * batch chain and log time must be those that the next batch started from.
 */
#ifndef MATCHER_REPLAY_H
#define MATCHER_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/slice.h"
#include "matcher/script.h"

/* Zero it before first use. */
struct replay {
    struct script_entry *entries; /* owned; their lines point into text */
    size_t n, at;
    char *text;         /* owned */
    struct slice lines; /* of the batch at hand, not yet given out */
};

/*
 * Takes copies of the outbox's entries, oldest first.  Fails with ERR_FATAL when they are not a
 * chain of batches that ends at watermark.
 */
bool replay_load(struct replay *r, const struct slice *entries, size_t n, int64_t watermark,
                 struct err *err) ATTR_MUSTCHECK;
void replay_fini(struct replay *r);

/* True while lines are left. */
bool replay_is_open(const struct replay *r);

/* The oldest batch, or NULL. */
const struct script_entry *replay_oldest(const struct replay *r);

/* The line of the next record, which is at offset. */
bool replay_take(struct replay *r, int64_t offset, struct slice *line,
                 struct err *err) ATTR_MUSTCHECK;

/* After that record: fails when a batch ends here and the next one started from something else. */
bool replay_check(struct replay *r, uint64_t chain, int64_t log_time,
                  struct err *err) ATTR_MUSTCHECK;

#endif /* MATCHER_REPLAY_H */
