/*
 * verify.h - refolds the log and compares MySQL and Redis with it, key by key.
 *
 * The oracle is common/fold.h, written independently of what runs.  MySQL is compared in one
 * snapshot at its position; Redis piece by piece, the fold advanced to each piece's watermark: every
 * field, the due lists, the outbox, and that there are no other keys.  What differs is told in the order
 * of the log, by the last record that changed it.  The totals it prints are a proof when all three
 * stand at the same position (`settled`).
 */
#ifndef GUARDIAN_VERIFY_H
#define GUARDIAN_VERIFY_H

#include "guardian/settings.h"

/* Returns the exit status: an enum report_status. */
int verify_run(const struct settings *settings);

#endif /* GUARDIAN_VERIFY_H */
