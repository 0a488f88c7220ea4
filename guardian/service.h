/*
 * service.h - the daemon: outcomes from Kafka, through follow and ledger, into MySQL.
 *
 * One loop reads, decides and hands out; writer threads (pool) do what blocks.  Per partition there
 * is a queue of batches: the last one is being filled, the first one may be at a writer, one at
 * a time and in order.  When the queue is full the partition is held back; the others go on.
 */
#ifndef GUARDIAN_SERVICE_H
#define GUARDIAN_SERVICE_H

#include "common/attr.h"
#include "common/daemon.h"
#include "guardian/settings.h"

/* Runs until it is told to leave.  *is_forced: threads may still be at work, so only _exit() is safe. */
enum daemon_exit service_run(const struct settings *settings, bool *is_forced) ATTR_MUSTCHECK;

#endif /* GUARDIAN_SERVICE_H */
