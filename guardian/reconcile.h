/*
 * reconcile.h - compares Redis with MySQL while traffic runs.
 *
 * A mark is appended to every partition; the guardian compares totals, counts, ledger sums and
 * chain at exactly that position and leaves a row, for which this command waits.  Then it compares
 * order by order, payment by payment: each piece of Redis with its watermark, against MySQL as of
 * that position, in both directions.
 */
#ifndef GUARDIAN_RECONCILE_H
#define GUARDIAN_RECONCILE_H

#include "guardian/settings.h"

/* Returns the exit status: an enum report_status. */
int reconcile_run(const struct settings *settings);

#endif /* GUARDIAN_RECONCILE_H */
