/*
 * hex.h - bytes as lower-case hexadecimal text.  Pure.
 */
#ifndef COMMON_HEX_H
#define COMMON_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/slice.h"

/* Writes 2 * len characters and a NUL to out. */
void hex_encode(const void *bytes, size_t len, char *out);

/* Reads exactly len bytes from exactly 2 * len lower-case digits; false for anything else. */
bool hex_decode(struct slice text, void *out, size_t len) ATTR_MUSTCHECK;

/* A 64-bit number as 16 digits and a NUL, most significant first (chain values, log ids). */
void hex_encode_u64(uint64_t n, char out[17]);
bool hex_decode_u64(struct slice text, uint64_t *out) ATTR_MUSTCHECK;

#endif /* COMMON_HEX_H */
