/*
 * pick.h - some records of one partition of a topic, for those who may wait.
 *
 * Blocks, on a loop of its own; one thread at a time.
 */
#ifndef GUARDIAN_PICK_H
#define GUARDIAN_PICK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/kafka.h"

struct pick;

/* How long whoever reads may wait. */
struct pick_wait {
    int64_t patience_ms;          /* for an answer, or for the next record */
    const atomic_bool *cancelled; /* true: give up; may be NULL; borrowed */
};

/*
 * All is borrowed.  NULL with ERR_RETRY when no client can be had: that says nothing of the log, and
 * whoever starts has found out before whether the settings are good.
 */
struct pick *pick_create(const struct kafka_settings *kafka, const char *topic, int partition,
                         const struct pick_wait *wait, struct err *err) ATTR_MUSTCHECK;
void pick_destroy(struct pick *p);

/* The partition is [*begin, *end).  ERR_RETRY when that is not told in time, or the wait is cancelled. */
bool pick_range(struct pick *p, int64_t *begin, int64_t *end, struct err *err) ATTR_MUSTCHECK;

typedef void pick_record_fn(const struct kafka_record *record, void *arg);

struct pick_span {
    int64_t from, to; /* both included */
    pick_record_fn *each;
    void *arg;
};

/*
 * Gives every record of the span, in order.  ERR_FATAL when one of them is missing, ERR_RETRY when
 * the next one does not come in time, or the wait is cancelled.
 */
bool pick_read(struct pick *p, const struct pick_span *span, struct err *err) ATTR_MUSTCHECK;

#endif /* GUARDIAN_PICK_H */
