/*
 * failpoint.h - places at which a test may end the process, or pretend that something failed.
 *
 * Always compiled in and inert, unless the environment names one: SECKILL_FAILPOINT=NAME:N takes
 * effect when NAME is passed for the Nth time; NAME:N:stop stops where the others kill.  Only for
 * tests; docs/operations.md says so.  Any thread.
 */
#ifndef COMMON_FAILPOINT_H
#define COMMON_FAILPOINT_H

#include <stdbool.h>

/* Reads the environment; once, before threads are started.  daemon_create() does. */
void failpoint_init(void);

/* True when this is the pass that was asked for. */
bool failpoint_hit(const char *name);

/* Dies by SIGKILL, without any cleaning up, when it is. */
void failpoint_kill(const char *name);

#endif /* COMMON_FAILPOINT_H */
