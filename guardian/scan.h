/*
 * scan.h - reading a topic from one offset to another, one partition at a time; for commands.
 *
 * Blocks, on a loop of its own turn.  One thread.
 */
#ifndef GUARDIAN_SCAN_H
#define GUARDIAN_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/kafka.h"

struct scan;

/*
 * All is borrowed.  Each wait for Kafka lasts for at most patience_ms.  NULL with err set when Kafka
 * refuses the settings.
 */
struct scan *scan_create(const struct kafka_settings *kafka, const char *topic, int64_t patience_ms,
                         struct err *err) ATTR_MUSTCHECK;
void scan_destroy(struct scan *s);

/* The records of a partition that are there now: [*begin, *end). */
bool scan_range(struct scan *s, int partition, int64_t *begin, int64_t *end,
                struct err *err) ATTR_MUSTCHECK;

/* Called for each record in log order; false: that was enough. */
typedef bool scan_fn(const struct kafka_record *record, void *arg);

/*
 * Reads [from, to) of a partition, or until take has had enough; to INT64_MAX follows what is
 * appended.  ERR_RETRY when the next record does not come in time.
 */
bool scan_read(struct scan *s, const struct kafka_start *from, int64_t to, scan_fn *take, void *arg,
               struct err *err) ATTR_MUSTCHECK;

#endif /* GUARDIAN_SCAN_H */
