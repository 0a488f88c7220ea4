/*
 * jwt.h - bearer tokens: JSON Web Tokens (RFC 7519) signed with HS256, made and verified.
 *
 * The algorithm is ours, not the token's: a header that names another, or asks for anything
 * critical, is refused.  So is all that could be read in two ways: repeated members, padded or
 * loose base64url, numbers that are none.  A token must carry `exp` and `sub`; `sub` is the user_id
 * and must be an id (docs/protocol.md section 1).
 *
 * The signature is checked, in constant time, before anything inside is looked at.  A verifier
 * remembers tokens that it found good in a table of fixed size, whole: a hash alone would let a
 * collision speak for somebody else.  One verifier belongs to one thread.
 */
#ifndef COMMON_JWT_H
#define COMMON_JWT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/slice.h"

enum {
    JWT_SECRET_MIN = 32, /* bytes; RFC 7518 section 3.2 */
    JWT_TOKEN_MAX = 2048,
    JWT_LEEWAY_MAX_S = 60,
    JWT_CACHED_MAX = 1 << 20,
    JWT_CHALLENGE_MAX = 384,
};

/*
 * Writes a token for user_id, good for ttl_s seconds from now, and a NUL to out: for development
 * and tests; a shop's own login makes the real ones.  Fails with ERR_REJECT when there is no
 * secret, user_id is no id, or out is too small.
 */
bool jwt_mint(struct slice secret, struct slice user_id, int64_t ttl_s, char *out, size_t size,
              struct err *err) ATTR_MUSTCHECK;

struct jwt_settings {
    struct slice secret;  /* at least JWT_SECRET_MIN bytes */
    const char *issuer;   /* `iss` must be this; NULL or "": anything */
    const char *audience; /* `aud` must be or contain this; NULL or "": anything */
    int64_t leeway_s;     /* for clocks that differ, at most JWT_LEEWAY_MAX_S */
    size_t cached_max;    /* tokens remembered, 640 bytes each, at most JWT_CACHED_MAX; 0: none */
};

struct jwt_identity {
    char user_id[IDS_MAX + 1];
    size_t user_id_len;
    int64_t expires_ms; /* wall time, leeway included */
};

struct jwt;

/* Copies what it needs of settings.  NULL with err set when they are out of range. */
struct jwt *jwt_create(const struct jwt_settings *settings, struct err *err) ATTR_MUSTCHECK;

/* NULL is allowed. */
void jwt_destroy(struct jwt *j);

/*
 * Whose token it is, at wall time now_ms.  False with err (ERR_REJECT, a text without quotes or
 * anything of the token) when it is not good.
 */
bool jwt_verify(struct jwt *j, struct slice token, int64_t now_ms, struct jwt_identity *identity,
                struct err *err) ATTR_MUSTCHECK;

/* The token of an Authorization header "Bearer TOKEN"; ptr NULL when it is something else. */
struct slice jwt_bearer(struct slice authorization);

/*
 * The value of WWW-Authenticate for a 401: with the error of jwt_verify(), or, with err NULL, for
 * a request that brought no token (RFC 6750 section 3).
 */
void jwt_challenge(const struct err *err, char out[JWT_CHALLENGE_MAX]);

#endif /* COMMON_JWT_H */
