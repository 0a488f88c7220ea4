/*
 * sweep.h - one partition of Redis against MySQL, field by field and in both directions, at
 * whatever positions the two are while traffic runs.
 *
 * Forwards, Redis is read in chunks and MySQL asked for the same fields: finds what differs and what
 * MySQL lacks.  Backwards, MySQL is read in key order and Redis asked: finds what Redis lacks.
 * What changed between the two positions is asked for again, a bounded number of times.
 */
#ifndef GUARDIAN_SWEEP_H
#define GUARDIAN_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guardian/db.h"
#include "guardian/peek.h"
#include "guardian/report.h"

struct sweep {
    struct db *db;                             /* borrowed; a session of repeatable reads */
    struct peek *redis;                        /* borrowed */
    struct report *report;                     /* borrowed */
    int64_t patience_ms;                       /* how long MySQL may take to come to a watermark */
    size_t users, payments, operations, items; /* compared */
    size_t repeated;                           /* looked at once more, because they had changed */
};

/* Compares a partition.  False: it could not be compared to the end, and the report says why. */
bool sweep_partition(struct sweep *s, int partition);

#endif /* GUARDIAN_SWEEP_H */
