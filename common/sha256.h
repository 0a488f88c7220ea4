/*
 * sha256.h - SHA-256 and HMAC-SHA256 of short texts.
 *
 * libcrypto's rounds without its EVP layer, which costs many times what a token's few blocks do
 * (docs/performance.md).  Nothing here can fail, and nothing takes memory.  A prepared key is read
 * only: safe from any thread.
 */
#ifndef COMMON_SHA256_H
#define COMMON_SHA256_H

#include <openssl/sha.h>
#include <stddef.h>

#include "common/slice.h"

enum { SHA256_BYTES = 32 };

/* A key of HMAC, taken in once and for all. */
struct sha256_key {
    SHA256_CTX inner, outer;
};

/* Of all the parts, one behind the other. */
void sha256_digest(const struct slice *parts, size_t n, unsigned char out[SHA256_BYTES]);

void sha256_key_set(struct sha256_key *key, struct slice secret);
void sha256_mac(const struct sha256_key *key, struct slice text, unsigned char out[SHA256_BYTES]);

#endif /* COMMON_SHA256_H */
