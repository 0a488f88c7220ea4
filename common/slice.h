/*
 * slice.h - bytes that belong to someone else.
 *
 * A slice is not NUL-terminated, may hold any byte, and is good only as long as its owner says.
 * ptr NULL with len 0 means absent; an empty one has a ptr.  Slices are passed by value.  Pure.
 */
#ifndef COMMON_SLICE_H
#define COMMON_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/attr.h"

struct slice {
    const char *ptr; /* borrowed */
    size_t len;
};

#define SLICE_LIT(literal) ((struct slice){(literal), sizeof(literal) - 1})

static inline struct slice slice_str(const char *s)
{
    return (struct slice){s, s == NULL ? 0 : strlen(s)};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool slice_starts(struct slice s, struct slice prefix);

/* Without blanks, tabs, CR and LF at both ends. */
struct slice slice_trim(struct slice s);

/*
 * Cuts s at the first separator: returns what stands before it and sets *rest to what follows.
 * Without a separator returns all of s and makes *rest absent.
 */
struct slice slice_cut(struct slice s, char separator, struct slice *rest);

/*
 * Copies s and a NUL into dst of size bytes.  False, with dst empty, when it does not fit or s
 * holds a NUL byte (the copy would read shorter than the original).
 */
bool slice_copy(struct slice s, char *dst, size_t size) ATTR_MUSTCHECK;

/*
 * The one decimal reading of a number within [min, max]: optional '-', no '+', no blanks, no
 * leading zero, no "-0".  On false *out is untouched.
 */
bool slice_to_i64(struct slice s, int64_t min, int64_t max, int64_t *out) ATTR_MUSTCHECK;

/*
 * The length of the well-formed UTF-8 character that s starts with (1..4), or 0: overlong forms,
 * surrogates, beyond U+10FFFF, cut short, and the empty slice.
 */
size_t slice_utf8_char(struct slice s);

bool slice_is_utf8(struct slice s);

#endif /* COMMON_SLICE_H */
