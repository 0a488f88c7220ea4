/*
 * explain.h - `seckill-guardian explain ORDER`: one order's life, as the log, Redis and MySQL have it.
 */
#ifndef GUARDIAN_EXPLAIN_H
#define GUARDIAN_EXPLAIN_H

#include "guardian/settings.h"

enum explain_status {
    EXPLAIN_AGREED = 0,
    EXPLAIN_DIFFERENT = 1, /* Redis and MySQL do not say the same, or nobody knows the order */
    EXPLAIN_UNKNOWN = 2,   /* somebody did not answer; the rest is printed */
    EXPLAIN_USAGE = 64,
};

/* Prints it, reading only; returns an enum explain_status, the status to end with. */
int explain_run(const struct settings *settings);

#endif /* GUARDIAN_EXPLAIN_H */
