/*
 * xmalloc.h - allocation that does not fail: out of memory ends the process with a line on stderr.
 *
 * For sizes that we choose.  What an outsider chooses is bounded first (see buf.h) or allocated
 * with a checked malloc().  All state is in Kafka, so a restart is cheap.  Results are freed with
 * free().  A size of 0 gives a pointer that may be freed and not read.
 */
#ifndef COMMON_XMALLOC_H
#define COMMON_XMALLOC_H

#include <stddef.h>

#include "common/attr.h"

void *xmalloc(size_t size) ATTR_MUSTCHECK;
void *xcalloc(size_t n, size_t size) ATTR_MUSTCHECK;

/* Resizes to n * size bytes; the product may not overflow. */
void *xreallocarray(void *p, size_t n, size_t size) ATTR_MUSTCHECK;

char *xstrdup(const char *text) ATTR_MUSTCHECK;

/* A copy of len bytes with a NUL behind them. */
char *xmemdup0(const void *bytes, size_t len) ATTR_MUSTCHECK;

#endif /* COMMON_XMALLOC_H */
