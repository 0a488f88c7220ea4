/*
 * storm.h - a crowd at the door: shoppers come at their planned times whatever the door does, and
 * all that they were told is kept.
 *
 * One thread.
 */
#ifndef STAMPEDE_STORM_H
#define STAMPEDE_STORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "tools/stampede/arrivals.h"
#include "tools/stampede/client.h"
#include "tools/stampede/shopper.h"

struct storm_plan {
    const char *url;
    const char *secret;
    struct arrivals arrivals;
    struct habits habits;
    size_t connections, addresses;
    int64_t timeout_ms;  /* of an answer */
    int64_t patience_ms; /* after the last arrival's time everybody goes home */
    int64_t step_ms;     /* of the series */
    uint64_t seed;
    bool progress; /* a line on stderr that moves */
};

struct storm {
    struct crowd crowd;              /* its ledger has items and run beforehand */
    struct client_counts counts;     /* at the end */
    uint64_t ends[TOLD_ENDS];        /* of each shopper's last order */
    uint64_t arrived[SERIES_COUNTS]; /* counted while shoppers arrived */
    char processes[SERIES_PROCESSES][32];
    struct series_state before, after;
    size_t shoppers;
    bool interrupted; /* SIGINT or SIGTERM: everybody went home early */
};

/* Runs the storm to its end.  Fails when it cannot begin; storm_fini() either way. */
bool storm_run(const struct storm_plan *plan, struct storm *storm, struct err *err) ATTR_MUSTCHECK;
void storm_fini(struct storm *storm);

#endif /* STAMPEDE_STORM_H */
