/*
 * anchor.h - whether the log is the one that MySQL was made from, at MySQL's position.
 *
 * Reads the record at the position, and proves as far as it can that it is the one which MySQL has: its
 * hash is in the outcome that led to MySQL's chain or, when that is no longer in the outcomes topic,
 * the log leads to MySQL's chain from its genesis on.
 *
 * Blocks.
 */
#ifndef GUARDIAN_ANCHOR_H
#define GUARDIAN_ANCHOR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "guardian/pick.h"
#include "guardian/progress.h"
#include "guardian/settings.h"

struct anchor {
    int64_t begin, end; /* the log is [begin, end) */
    uint64_t hash;      /* of the record at the position */
    bool has_outcome;   /* that of the position is in the topic */
    bool is_proven;     /* it is; false: neither the outcome nor the genesis is there */
};

/*
 * Fails with ERR_FATAL when MySQL cannot have been made from this log, or when the log no longer has
 * what comes after MySQL's position; ERR_RETRY when Kafka does not answer in time.
 */
bool anchor_find(const struct settings *settings, int partition, const struct progress *at,
                 const struct pick_wait *wait, struct anchor *anchor,
                 struct err *err) ATTR_MUSTCHECK;

#endif /* GUARDIAN_ANCHOR_H */
