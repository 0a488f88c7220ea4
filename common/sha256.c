/*
 * HMAC is H(key ^ opad, H(key ^ ipad, text)) (RFC 2104): both states after their first block are
 * kept, so that a text costs its own blocks and one more.
 *
 * OpenSSL 3 deprecates these functions in favour of EVP and keeps them; they return 1, always.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "common/sha256.h"

#include <openssl/crypto.h>
#include <string.h>

static void start(SHA256_CTX *state, const unsigned char block[SHA256_CBLOCK], unsigned char mask)
{
    unsigned char masked[SHA256_CBLOCK];

    for (size_t i = 0; i < sizeof(masked); i++) {
        masked[i] = block[i] ^ mask;
    }
    (void)SHA256_Init(state);
    (void)SHA256_Update(state, masked, sizeof(masked));
    OPENSSL_cleanse(masked, sizeof(masked));
}

void sha256_digest(const struct slice *parts, size_t n, unsigned char out[SHA256_BYTES])
{
    SHA256_CTX state;

    (void)SHA256_Init(&state);
    for (size_t i = 0; i < n; i++) {
        (void)SHA256_Update(&state, parts[i].ptr, parts[i].len);
    }
    (void)SHA256_Final(out, &state);
}

void sha256_key_set(struct sha256_key *key, struct slice secret)
{
    unsigned char block[SHA256_CBLOCK] = {0};

    if (secret.len > sizeof(block)) {
        sha256_digest(&secret, 1, block);
    } else if (secret.len > 0) {
        memcpy(block, secret.ptr, secret.len);
    }
    start(&key->inner, block, 0x36);
    start(&key->outer, block, 0x5c);
    OPENSSL_cleanse(block, sizeof(block));
}

void sha256_mac(const struct sha256_key *key, struct slice text, unsigned char out[SHA256_BYTES])
{
    SHA256_CTX state = key->inner;

    (void)SHA256_Update(&state, text.ptr, text.len);
    (void)SHA256_Final(out, &state);
    state = key->outer;
    (void)SHA256_Update(&state, out, SHA256_BYTES);
    (void)SHA256_Final(out, &state);
}
