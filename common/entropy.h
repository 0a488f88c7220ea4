/*
 * entropy.h - unforeseeable bytes, a few at a time.
 *
 * libcrypto's generator costs as much for 16 bytes as for a thousand, so they are drawn in advance.
 * Not thread-safe.
 */
#ifndef COMMON_ENTROPY_H
#define COMMON_ENTROPY_H

#include <stdbool.h>
#include <stddef.h>

#include "common/attr.h"

enum { ENTROPY_MAX = 256 };

/* At most ENTROPY_MAX bytes, given to nobody else.  False when there are none. */
bool entropy_take(void *out, size_t len) ATTR_MUSTCHECK;

#endif /* COMMON_ENTROPY_H */
