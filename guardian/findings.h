/*
 * findings.h - the differences of a partition, in the order of the log.
 *
 * Each has the offset of the last record that changed what differs; the earliest come first, and those
 * without one last.  Equal offsets are in byte order of the texts, so the order does not depend on
 * that in which they were found.  All are counted, and the first REPORT_KEPT kept; one that is
 * found again is the same.  Pure; one thread.
 */
#ifndef GUARDIAN_FINDINGS_H
#define GUARDIAN_FINDINGS_H

#include <stddef.h>
#include <stdint.h>

#include "guardian/report.h"

struct finding {
    int64_t offset; /* INT64_MAX: none */
    char *text;     /* owned */
};

struct findings {
    size_t n;
    size_t n_kept;
    struct finding kept[REPORT_KEPT]; /* in order */
};

/* offset -1: none.  The text is copied. */
void findings_add(struct findings *f, int64_t offset, const char *text);

/* Adds all to the report's differences and leaves none. */
void findings_tell(struct findings *f, struct report *report);

#endif /* GUARDIAN_FINDINGS_H */
