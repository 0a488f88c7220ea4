/*
 * The input is header, a line end and claims, or a token as it is when it holds no line end.  The
 * parts are signed here, so that the fuzzer reaches what a stranger does not.  What a verifier
 * with a cache says must be what one without it says, twice.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base64url.h"
#include "common/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char key[] = "0123456789abcdef0123456789abcdef";
static const int64_t now_ms = 1800000000000;

static void require(bool fact)
{
    if (!fact) {
        abort();
    }
}

static struct jwt *make(size_t cached_max)
{
    const struct jwt_settings settings = {
        .secret = slice_str(key), .leeway_s = 10, .cached_max = cached_max};
    struct jwt *j = jwt_create(&settings, NULL);
    require(j != NULL);
    return j;
}

static size_t sign(struct slice header, struct slice claims, char *token)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned int mac_len = 0;
    size_t n = base64url_encode(header.ptr, header.len, token);
    token[n++] = '.';
    n += base64url_encode(claims.ptr, claims.len, token + n);
    require(HMAC(EVP_sha256(), key, (int)strlen(key), (const unsigned char *)token, n, mac,
                 &mac_len) != NULL);
    token[n++] = '.';
    return n + base64url_encode(mac, mac_len, token + n);
}

static void check(struct slice token)
{
    static struct jwt *plain;
    static struct jwt *caching;
    if (plain == NULL) {
        plain = make(0);
        caching = make(16);
    }
    struct jwt_identity a;
    struct jwt_identity b;
    struct err err = {.text = ""};
    bool is_good = jwt_verify(plain, token, now_ms, &a, &err);
    require(is_good || (err.kind == ERR_REJECT && strpbrk(err.text, "\"\\\r\n") == NULL));
    for (int i = 0; i < 2; i++) {
        require(jwt_verify(caching, token, now_ms, &b, &err) == is_good);
        require(!is_good || (strcmp(a.user_id, b.user_id) == 0 && a.expires_ms == b.expires_ms));
    }
    if (is_good) {
        require(ids_is_id((struct slice){a.user_id, a.user_id_len}));
        require(a.user_id[a.user_id_len] == '\0');
        require(a.expires_ms > now_ms);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char token[16384];
    if (size > 8192) {
        return 0;
    }
    struct slice input = {(const char *)data, size};
    struct slice claims;
    struct slice header = slice_cut(input, '\n', &claims);
    if (claims.ptr == NULL) {
        /* Exactly as long as it is, so that the sanitizer sees an over-read. */
        char *copy = malloc(size);
        require(copy != NULL || size == 0);
        if (size > 0) {
            memcpy(copy, data, size);
        }
        check((struct slice){copy, size});
        (void)jwt_bearer((struct slice){copy, size});
        free(copy);
    } else {
        check((struct slice){token, sign(header, claims, token)});
    }
    return 0;
}
