/*
 * dead.h - `seckill-guardian dead list|show|replay`: what stands in the dead-letter topic, and back.
 */
#ifndef GUARDIAN_DEAD_H
#define GUARDIAN_DEAD_H

#include "guardian/settings.h"

enum dead_status {
    DEAD_DONE = 0,
    DEAD_REFUSED =
        1, /* there is no such letter, it is still malformed, or the log's answer is no */
    DEAD_UNKNOWN = 2, /* could not be read, appended or answered; repeating it is safe */
    DEAD_USAGE = 64,
};

/*
 * Runs the command that the settings' words name.  What went wrong has been said on stderr; returns
 * an enum dead_status, the status to end with.
 */
int dead_run(const struct settings *settings);

#endif /* GUARDIAN_DEAD_H */
