/*
 * refold.h - the log from its genesis, or from a known state, folded as far as one wants.
 *
 * One partition at a time: refold_open() starts at the first record or after the state's,
 * refold_advance() goes on to a position and stops exactly there.  Blocks, on a loop of its own turn;
 * for commands.
 */
#ifndef GUARDIAN_REFOLD_H
#define GUARDIAN_REFOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/fold.h"
#include "common/kafka.h"

struct refold;

/*
 * All is borrowed.  The ends of the log, and each next record, are waited for for patience_ms; so is all
 * of what the log does not have yet.  NULL with err set when Kafka refuses.
 */
struct refold *refold_create(const struct kafka_settings *kafka, const char *topic, int partitions,
                             int64_t patience_ms, struct err *err) ATTR_MUSTCHECK;
void refold_destroy(struct refold *r);

/* The first record that each partition has now, and the last one, -1 when there was none ever. */
struct refold_range {
    int64_t begin, end;
};

bool refold_ranges(struct refold *r, struct refold_range *ranges, struct err *err) ATTR_MUSTCHECK;

/* Whoever watches the folds of all refold_open() to come; before the first. */
void refold_watch(struct refold *r, fold_watch_fn *watch, void *arg);

/*
 * Whoever is told the line of each record from offset `from` on, as soon as it is folded; NULL:
 * nobody.  For the refold_open() to come.
 */
typedef void refold_line_fn(struct slice line, void *arg);
void refold_tell(struct refold *r, int64_t from, refold_line_fn *tell, void *arg);

/* fold: the state after `position`, which is taken; NULL with -1: from the genesis. */
bool refold_open(struct refold *r, int partition, struct fold *fold, int64_t position,
                 struct err *err) ATTR_MUSTCHECK;

/* Folds up to and including the record at offset.  ERR_RETRY when the next does not come in time. */
bool refold_advance(struct refold *r, int64_t offset, struct err *err) ATTR_MUSTCHECK;

/* Where it stands: the offset of the last record folded; -1: none. */
int64_t refold_position(const struct refold *r);

/* Of the open partition; lives until the next refold_open(). */
const struct fold *refold_fold(const struct refold *r);

#endif /* GUARDIAN_REFOLD_H */
