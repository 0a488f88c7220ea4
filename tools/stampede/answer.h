/*
 * answer.h - HTTP answers read: where one ends, and what its JSON says.
 *
 * Pure; nothing is copied.  Made for answers of our own doors: whatever else comes is refused, or
 * says nothing.
 */
#ifndef STAMPEDE_ANSWER_H
#define STAMPEDE_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/slice.h"

enum { ANSWER_HEAD_MAX = 16384, ANSWER_BODY_MAX = 65536 };

struct answer {
    int status;            /* 0: none came */
    int64_t retry_after_s; /* -1 when not said */
    bool closes;           /* the connection ends with it */
    struct slice body;     /* borrowed */
};

enum answer_read {
    ANSWER_WHOLE,
    ANSWER_MORE, /* bytes are missing */
    ANSWER_BAD,  /* this is none, or larger than the bounds */
};

/* Reads the answer that bytes begin with; *used is its length when it is whole. */
enum answer_read answer_read(struct slice bytes, struct answer *answer, size_t *used);

/* What shoppers listen to: text members of the outermost object; ptr NULL where there is none. */
struct answer_words {
    struct slice order_id, state, reason, payment, first_payment;
};

/* Reads a JSON object.  Texts with escapes, and whatever is no object, say nothing. */
void answer_words(struct slice body, struct answer_words *words);

#endif /* STAMPEDE_ANSWER_H */
