/*
 * tail.h - what the log says of its last records, to compare an outbox with.
 *
 * Of each record only a hash of its line is kept, and what a batch's entry says of the state before
 * it.  Pure; one thread.
 */
#ifndef GUARDIAN_TAIL_H
#define GUARDIAN_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/fold.h"
#include "common/slice.h"

struct tail_record {
    uint64_t line, chain; /* hash of its line; chain after it */
    int64_t log_time, rules;
};

struct tail {
    int64_t first;          /* offset of the first one, of which only the state is known */
    struct tail_record *at; /* owned */
    size_t n, room;
};

void tail_fini(struct tail *t);

/* Forgets all; also before the first use. */
void tail_clear(struct tail *t);

/* The next record, by the state after it, and its line.  The genesis brings what was before it. */
void tail_note(struct tail *t, const struct fold_log *log, struct slice line);

/* An entry of an outbox; the slices are its own. */
struct tail_entry {
    int64_t prev, to;
    struct slice head, lines;
};

/* False when it is none. */
bool tail_parse(struct slice text, struct tail_entry *entry) ATTR_MUSTCHECK;

/*
 * The offset of the entry's first record of which the log says something else, -1: none; *text is what
 * the entry says there.  What the tail does not reach back to is not compared.
 */
int64_t tail_compare(const struct tail *t, const struct tail_entry *entry, struct slice *text);

#endif /* GUARDIAN_TAIL_H */
