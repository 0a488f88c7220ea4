/*
 * refold.h - the log from its genesis, folded as far as one wants.
 *
 * One partition at a time: refold_open() starts at the first record, refold_advance() goes on to a
 * position and stops exactly there.  Blocks, on a loop of its own turn; for commands.
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

/* All is borrowed.  NULL with err set when Kafka refuses. */
struct refold *refold_create(const struct kafka_settings *kafka, const char *topic, int partitions,
                             struct err *err) ATTR_MUSTCHECK;
void refold_destroy(struct refold *r);

/*
 * The offset of the last record that each partition has now, -1 when it is empty.  ERR_FATAL when a
 * log no longer starts at its genesis: then it cannot be refolded.
 */
bool refold_ends(struct refold *r, int64_t *ends, int64_t deadline_ms,
                 struct err *err) ATTR_MUSTCHECK;

bool refold_open(struct refold *r, int partition, struct err *err) ATTR_MUSTCHECK;

/* Folds up to and including the record at offset.  ERR_RETRY when it does not come in time. */
bool refold_advance(struct refold *r, int64_t offset, int64_t deadline_ms,
                    struct err *err) ATTR_MUSTCHECK;

/* Where it stands: the offset of the last record folded; -1: none. */
int64_t refold_position(const struct refold *r);

/* Of the open partition; lives until the next refold_open(). */
const struct fold *refold_fold(const struct refold *r);

#endif /* GUARDIAN_REFOLD_H */
