/*
 * compare.h - is what Redis holds exactly what the fold says, byte for byte and nothing more?
 */
#ifndef TESTS_DIFFERENTIAL_COMPARE_H
#define TESTS_DIFFERENTIAL_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/fold.h"
#include "tests/differential/script.h"

/* What the outbox must hold. */
struct outbox {
    struct outbox_entry {
        int64_t prev, to;
        char *text; /* owned */
        size_t len;
    } * entries;
    size_t n, capacity;
};

void outbox_init(struct outbox *o);
void outbox_fini(struct outbox *o);
void outbox_add(struct outbox *o, int64_t prev, int64_t to, struct slice text);

/* Drops what is acknowledged up to offset acked. */
void outbox_trim(struct outbox *o, int64_t acked);

/*
 * Compares everything; prints the first difference to stderr and returns false.  next_due is what
 * the script's last reply said.
 */
bool compare_state(const struct script *s, const struct fold *fold, const struct outbox *outbox,
                   int64_t next_due) ATTR_MUSTCHECK;

/*
 * Do the fold's counters fit its orders?  total = available + held + sold, none negative, held
 * and sold the sums of the orders in those states, the counts those of the tables.
 */
bool compare_identity(const struct fold *fold) ATTR_MUSTCHECK;

bool compare_outbox(const struct script *s, const struct outbox *outbox) ATTR_MUSTCHECK;

/*
 * All keys of the partition but the outbox, and all their bytes, to see that a call changed
 * nothing.
 */
void compare_snapshot(const struct script *s, struct buf *out);

#endif /* TESTS_DIFFERENTIAL_COMPARE_H */
