/*
 * archive.h - `seckill-guardian archive`: what the record in MySQL has, and the log need not keep.
 */
#ifndef GUARDIAN_ARCHIVE_H
#define GUARDIAN_ARCHIVE_H

#include "guardian/settings.h"

/*
 * Deletes, in both topics, what lies before the position that MySQL and Redis have passed, and never
 * the records at it.  Returns 0, 1 when a partition must not be trimmed, 2 when somebody did not
 * answer, 64 for wrong usage.
 */
int archive_run(const struct settings *settings);

#endif /* GUARDIAN_ARCHIVE_H */
