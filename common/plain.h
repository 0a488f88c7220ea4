/*
 * plain.h - reading JSON in the narrow form that our own programs write it in.
 *
 * Plain JSON has no blanks, no escapes, only printable ASCII in texts and only integers of at most
 * 18 digits as numbers.  What is plain is read in place, without memory and many times faster than
 * by a JSON library; what is not plain is not wrong: the caller then asks the library, which alone
 * decides what is JSON (docs/decisions/0003-plain-json.md).
 *
 * Each function takes one thing off the front and returns true, or returns false, after which the
 * cursor is good for nothing.  Pure; slices are borrowed from the text.
 */
#ifndef COMMON_PLAIN_H
#define COMMON_PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/attr.h"
#include "common/slice.h"
#include "common/span.h"

struct plain {
    const char *at;
    const char *end;
};

static inline struct plain plain_start(struct slice text)
{
    return (struct plain){text.ptr, text.ptr + text.len};
}

static inline bool plain_is_end(const struct plain *p)
{
    return p->at == p->end;
}

/* The byte that comes next, or 0 at the end. */
static inline char plain_peek(const struct plain *p)
{
    if (p->at == p->end) {
        return '\0';
    }
    return *p->at;
}

static inline bool plain_char(struct plain *p, char c)
{
    if (p->at == p->end || *p->at != c) {
        return false;
    }
    p->at++;
    return true;
}

/* Exactly these bytes. */
static inline bool plain_bytes(struct plain *p, struct slice bytes)
{
    if ((size_t)(p->end - p->at) < bytes.len || memcmp(p->at, bytes.ptr, bytes.len) != 0) {
        return false;
    }
    p->at += bytes.len;
    return true;
}

/* A text; *out is what stands between its quotes. */
static inline bool plain_text(struct plain *p, struct slice *out)
{
    const char *start = p->at + 1;
    const char *c;

    if (p->at == p->end || *p->at != '"') {
        return false;
    }
    c = start + span_plain(start, (size_t)(p->end - start));
    if (c == p->end || *c != '"') {
        return false;
    }
    *out = (struct slice){start, (size_t)(c - start)};
    p->at = c + 1;
    return true;
}

/* An integer of at most 18 digits; what follows it is not looked at. */
static inline bool plain_i64(struct plain *p, int64_t *out)
{
    const bool negative = p->at < p->end && *p->at == '-';
    const char *start = p->at + (negative ? 1 : 0);
    const char *c = start;
    int64_t n = 0;

    while (c < p->end && *c >= '0' && *c <= '9') {
        if (c - start == 18) {
            return false;
        }
        n = n * 10 + (*c - '0');
        c++;
    }
    if (c == start || (*start == '0' && c - start > 1)) {
        return false;
    }
    *out = negative ? -n : n;
    p->at = c;
    return true;
}

#endif /* COMMON_PLAIN_H */
