/*
 * report.h - the end of a storm: one JSON object, from which the text for a terminal and the page
 * (page.h) are made.  docs/stampede.md says what its members mean.
 */
#ifndef STAMPEDE_REPORT_H
#define STAMPEDE_REPORT_H

#include <jansson.h>
#include <stdbool.h>

#include "tools/stampede/record.h"
#include "tools/stampede/storm.h"

/* What a storm is judged by. */
struct report_judges {
    const struct record_check *record;
    json_t
        *proof; /* `seckill-guardian verify --json`'s answer; borrowed; NULL when there was none */
};

/*
 * Puts everything together.  Without judges (NULL) nothing is said of what is true: no `ok`.  The caller
 * owns the object.
 */
json_t *report_make(const struct storm_plan *plan, const struct storm *storm,
                    const struct report_judges *judges);

/* What `storm` in the ledger's last line is. */
json_t *report_counts(const struct storm *storm);

void report_tell(const json_t *report);

#endif /* STAMPEDE_REPORT_H */
