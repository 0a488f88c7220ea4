/*
 * flat.h - reading a JSON object of texts and whole numbers in place, as clients send them.
 *
 * Like plain.h, but blanks may stand anywhere between and members come in any order.  What is not
 * flat (escapes, bytes beyond ASCII, other values, a name twice, more members) is not wrong: the
 * caller then asks the JSON library, which alone decides what is JSON.  Pure; slices are borrowed
 * from the text.
 */
#ifndef COMMON_FLAT_H
#define COMMON_FLAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/slice.h"

enum { FLAT_MEMBERS_MAX = 16 };

struct flat_member {
    struct slice name;
    struct slice text; /* ptr NULL: a number */
    int64_t number;
};

struct flat {
    size_t n;
    struct flat_member members[FLAT_MEMBERS_MAX];
};

/* False for a text that is not such an object. */
bool flat_read(struct flat *f, struct slice json) ATTR_MUSTCHECK;

/* NULL when there is no member of this name. */
const struct flat_member *flat_find(const struct flat *f, struct slice name);

#endif /* COMMON_FLAT_H */
