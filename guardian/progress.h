/*
 * progress.h - how far one partition has come in MySQL: a row of the table progress.
 *
 * A plain value.
 */
#ifndef GUARDIAN_PROGRESS_H
#define GUARDIAN_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/ids.h"

struct progress {
    int64_t position;              /* offset of the last command applied; -1: none yet */
    char genesis[IDS_LOG_LEN + 1]; /* empty before the first record */
    uint64_t chain;                /* after that command */
    int64_t partitions;
    int64_t rules; /* 0 before the first record */
    int64_t log_time;
    int64_t outcomes_offset; /* where that command's outcome was read */
};

#define PROGRESS_NONE ((struct progress){.position = -1, .outcomes_offset = -1})

/* The same place in the same history; where it was read does not matter. */
static inline bool progress_same(const struct progress *a, const struct progress *b)
{
    return a->position == b->position && a->chain == b->chain &&
           strcmp(a->genesis, b->genesis) == 0;
}

#endif /* GUARDIAN_PROGRESS_H */
