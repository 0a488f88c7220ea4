/*
 * base64url.h - RFC 4648 section 5 without padding, as JWTs use it.
 *
 * Decoding is strict, so that one value has one text: padding, blanks, other alphabets, impossible
 * lengths and non-zero tail bits are refused.  Pure.
 */
#ifndef COMMON_BASE64URL_H
#define COMMON_BASE64URL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/attr.h"
#include "common/slice.h"

/* Characters for n bytes, without a NUL. */
#define BASE64URL_CHARS(n) (((n)*4 + 2) / 3)

/* Bytes from n characters, at most. */
#define BASE64URL_BYTES(n) ((n)*3 / 4)

/* Writes BASE64URL_CHARS(len) characters and a NUL to out; returns the number of characters. */
size_t base64url_encode(const void *bytes, size_t len, char *out);

/*
 * Writes at most capacity bytes to out and their number to *len.  False, with out undefined, when
 * text is not strict base64url or does not fit.
 */
bool base64url_decode(struct slice text, void *out, size_t capacity, size_t *len) ATTR_MUSTCHECK;

#endif /* COMMON_BASE64URL_H */
