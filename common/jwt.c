/*
 * The key is taken in once, so that a verification costs the token's blocks of SHA-256 and one more.
 *
 * Claims are read in place when they are texts and whole numbers, as they mostly are, and by jansson
 * when not; both ways lead to the same struct claims, and only that is judged.
 */
#include "common/jwt.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <xxhash.h>

#include "common/base64url.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/flat.h"
#include "common/hash.h"
#include "common/sha256.h"
#include "common/xmalloc.h"

enum {
    CACHED_TOKEN_MAX = 512,
    PART_MAX = BASE64URL_BYTES(JWT_TOKEN_MAX),
};

/* 9999-12-31T23:59:59Z: later is not a time but a mistake. */
static const int64_t TIME_MAX_S = 253402300799;

/* What everybody's library writes; known to be good without being parsed. */
static const char usual_header[] = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/*
 * Remembered tokens stand in the order of coming, the oldest gives way; a table by hash says where.
 * So a token that was not seen before touches one line of the table and nothing else, and what is
 * written of it stands beside what was written last.
 */
struct cached {
    int64_t from_ms; /* when it was verified; before that, its other times may forbid it */
    struct jwt_identity identity;
    size_t token_len; /* 0: empty */
    char token[CACHED_TOKEN_MAX];
};

struct place {
    uint32_t tag; /* the upper half of the hash */
    uint32_t at;
};

struct jwt {
    struct sha256_key key;
    char *issuer;
    char *audience;
    int64_t leeway_ms;
    struct cached *cached; /* NULL: none */
    struct place *places;
    size_t cached_mask; /* of both */
    size_t cached_next;
    uint64_t seed; /* of the cache's hash */
};

/* A token taken apart. */
struct parts {
    struct slice header, claims, mac;
    struct slice is_signed; /* header "." claims */
};

/* Making */

/* Appends bytes in base64url. */
static void put_base64url(struct buf *b, struct slice bytes)
{
    char *room = buf_reserve(b, BASE64URL_CHARS(bytes.len) + 1);

    if (room != NULL) {
        buf_commit(b, base64url_encode(bytes.ptr, bytes.len, room));
    }
}

bool jwt_mint(struct slice secret, struct slice user_id, int64_t ttl_s, char *out, size_t size,
              struct err *err)
{
    int64_t now_s = clock_wall_ms() / 1000;
    char storage[256];
    struct sha256_key key;
    unsigned char mac[SHA256_BYTES];
    struct buf claims;
    struct buf token;

    if (secret.len == 0) {
        return err_set(err, ERR_REJECT,
                       "no token-secret: give token-secret-file or SECKILL_TOKEN_SECRET");
    }
    if (!ids_is_id(user_id)) {
        return err_set(err, ERR_REJECT,
                       "a user_id has 1..64 printable characters without blanks \" , ; \\");
    }
    buf_init_fixed(&claims, storage, sizeof(storage));
    buf_puts(&claims, "{\"sub\":");
    buf_json_string(&claims, user_id);
    buf_printf(&claims, ",\"iat\":%" PRId64 ",\"exp\":%" PRId64 "}", now_s, now_s + ttl_s);
    buf_init_fixed(&token, out, size);
    buf_puts(&token, usual_header);
    buf_putc(&token, '.');
    put_base64url(&token, buf_slice(&claims));
    sha256_key_set(&key, secret);
    sha256_mac(&key, buf_slice(&token), mac);
    buf_putc(&token, '.');
    put_base64url(&token, (struct slice){(const char *)mac, sizeof(mac)});
    if (!buf_ok(&claims) || !buf_ok(&token)) {
        return err_set(err, ERR_REJECT, "the token does not fit in %zu bytes", size);
    }
    return true;
}

/* The verifier */

static void make_cache(struct jwt *j, size_t cached_max)
{
    size_t size = 1;

    while (size < cached_max) {
        size *= 2;
    }
    j->cached = xcalloc(size, sizeof(*j->cached));
    j->places = xcalloc(size, sizeof(*j->places));
    j->cached_mask = size - 1;
    j->seed = hash_seed();
}

struct jwt *jwt_create(const struct jwt_settings *settings, struct err *err)
{
    if (settings->secret.len < JWT_SECRET_MIN) {
        (void)err_set(err, ERR_FATAL, "token-secret has %zu bytes; HS256 needs at least %d",
                      settings->secret.len, JWT_SECRET_MIN);
        return NULL;
    }
    if (settings->leeway_s < 0 || settings->leeway_s > JWT_LEEWAY_MAX_S ||
        settings->cached_max > JWT_CACHED_MAX) {
        (void)err_set(err, ERR_FATAL, "token leeway or cache size out of range");
        return NULL;
    }
    struct jwt *j = xcalloc(1, sizeof(*j));
    j->leeway_ms = settings->leeway_s * 1000;
    if (settings->issuer != NULL && settings->issuer[0] != '\0') {
        j->issuer = xstrdup(settings->issuer);
    }
    if (settings->audience != NULL && settings->audience[0] != '\0') {
        j->audience = xstrdup(settings->audience);
    }
    if (settings->cached_max > 0) {
        make_cache(j, settings->cached_max);
    }
    sha256_key_set(&j->key, settings->secret);
    return j;
}

void jwt_destroy(struct jwt *j)
{
    if (j == NULL) {
        return;
    }
    free(j->issuer);
    free(j->audience);
    free(j->cached);
    free(j->places);
    free(j);
}

/* The cache */

static bool is_cacheable(const struct jwt *j, struct slice token)
{
    return j->cached != NULL && token.len > 0 && token.len <= CACHED_TOKEN_MAX;
}

static struct place *place_of(const struct jwt *j, uint64_t hash)
{
    return &j->places[hash & j->cached_mask];
}

/* NULL when the token is not remembered.  A place may be another's meanwhile: the token decides. */
static const struct cached *recall(const struct jwt *j, struct slice token, uint64_t hash,
                                   int64_t now_ms)
{
    const struct place *place = place_of(j, hash);
    const struct cached *c = &j->cached[place->at];

    return place->tag == (uint32_t)(hash >> 32) &&
                   slice_eq(token, (struct slice){c->token, c->token_len}) &&
                   now_ms >= c->from_ms && now_ms < c->identity.expires_ms
               ? c
               : NULL;
}

static void remember(struct jwt *j, struct slice token, uint64_t hash, int64_t now_ms,
                     const struct jwt_identity *identity)
{
    const size_t at = j->cached_next++ & j->cached_mask;
    struct cached *c = &j->cached[at];

    c->from_ms = now_ms;
    c->identity = *identity;
    c->token_len = token.len;
    memcpy(c->token, token.ptr, token.len);
    *place_of(j, hash) = (struct place){.tag = (uint32_t)(hash >> 32), .at = (uint32_t)at};
}

/* Checking */

static bool reject(struct err *err, const char *why)
{
    return err_set(err, ERR_REJECT, "%s", why);
}

static bool take_apart(struct slice token, struct parts *parts, struct err *err)
{
    struct slice rest;
    struct slice more;

    if (token.len > JWT_TOKEN_MAX) {
        return reject(err, "the token is too long");
    }
    parts->header = slice_cut(token, '.', &rest);
    if (rest.ptr == NULL) {
        return reject(err, "the token does not have three parts");
    }
    parts->claims = slice_cut(rest, '.', &more);
    if (more.ptr == NULL || memchr(more.ptr, '.', more.len) != NULL) {
        return reject(err, "the token does not have three parts");
    }
    parts->mac = more;
    parts->is_signed = (struct slice){token.ptr, parts->header.len + 1 + parts->claims.len};
    return true;
}

static bool check_mac(const struct jwt *j, const struct parts *parts, struct err *err)
{
    unsigned char claimed[SHA256_BYTES];
    unsigned char actual[SHA256_BYTES];
    size_t len = 0;

    if (!base64url_decode(parts->mac, claimed, sizeof(claimed), &len) || len != sizeof(claimed)) {
        return reject(err, "the signature is not that of HS256");
    }
    sha256_mac(&j->key, parts->is_signed, actual);
    if (CRYPTO_memcmp(claimed, actual, sizeof(actual)) != 0) {
        return reject(err, "the signature does not match");
    }
    return true;
}

/* The JSON object in a text, or NULL. */
static json_t *load(struct slice text)
{
    json_error_t error;
    json_t *json = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &error);

    if (!json_is_object(json)) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* What a part says, in the memory given; ptr NULL when it is no base64url. */
static struct slice decode_part(struct slice part, char text[PART_MAX])
{
    size_t len = 0;

    if (!base64url_decode(part, text, PART_MAX, &len)) {
        return (struct slice){NULL, 0};
    }
    return (struct slice){text, len};
}

static bool is_string(const json_t *json, const char *expected)
{
    return json_is_string(json) && strcmp(json_string_value(json), expected) == 0;
}

static bool check_header(struct slice part, struct err *err)
{
    if (slice_eq(part, SLICE_LIT(usual_header))) {
        return true;
    }
    char storage[PART_MAX];
    const struct slice text = decode_part(part, storage);
    json_t *header = text.ptr == NULL ? NULL : load(text);
    const json_t *type = json_object_get(header, "typ");
    bool is_good = false;
    if (header == NULL) {
        (void)reject(err, "the header is malformed");
    } else if (!is_string(json_object_get(header, "alg"), "HS256")) {
        (void)reject(err, "the algorithm is not HS256");
    } else if (json_object_get(header, "crit") != NULL) {
        (void)reject(err, "the token has critical extensions");
    } else if (type != NULL &&
               (!json_is_string(type) || (strcasecmp(json_string_value(type), "JWT") != 0 &&
                                          strcasecmp(json_string_value(type), "at+jwt") != 0))) {
        (void)reject(err, "the token is not a JWT");
    } else {
        is_good = true;
    }
    json_decref(header);
    return is_good;
}

/* What we ask of claims.  A text is borrowed, and has ptr NULL when it is absent or no text. */
struct claims {
    struct slice sub, iss;
    int64_t exp_ms, nbf_ms, iat_ms; /* TIME_ABSENT, TIME_BAD */
    bool is_for_us;                 /* aud names the audience that is asked for */
};

static const int64_t TIME_ABSENT = INT64_MIN;
static const int64_t TIME_BAD = INT64_MIN + 1;

static int64_t time_of(int64_t s)
{
    return s >= 0 && s <= TIME_MAX_S ? s * 1000 : TIME_BAD;
}

/* ---- in the usual form ---- */

static struct slice flat_text(const struct flat *f, struct slice name)
{
    const struct flat_member *m = flat_find(f, name);

    return m == NULL ? (struct slice){NULL, 0} : m->text;
}

static int64_t flat_time(const struct flat *f, struct slice name)
{
    const struct flat_member *m = flat_find(f, name);

    if (m == NULL) {
        return TIME_ABSENT;
    }
    return m->text.ptr == NULL ? time_of(m->number) : TIME_BAD;
}

static void flat_claims(const struct jwt *j, const struct flat *f, struct claims *c)
{
    *c = (struct claims){
        .sub = flat_text(f, SLICE_LIT("sub")),
        .iss = flat_text(f, SLICE_LIT("iss")),
        .exp_ms = flat_time(f, SLICE_LIT("exp")),
        .nbf_ms = flat_time(f, SLICE_LIT("nbf")),
        .iat_ms = flat_time(f, SLICE_LIT("iat")),
        .is_for_us =
            j->audience != NULL && slice_eq(flat_text(f, SLICE_LIT("aud")), slice_str(j->audience)),
    };
}

/* ---- any JSON ---- */

static struct slice json_text(const json_t *claims, const char *name)
{
    const json_t *json = json_object_get(claims, name);

    return json_is_string(json) ? (struct slice){json_string_value(json), json_string_length(json)}
                                : (struct slice){NULL, 0};
}

/* A NumericDate. */
static int64_t json_time(const json_t *claims, const char *name)
{
    const json_t *json = json_object_get(claims, name);

    if (json == NULL) {
        return TIME_ABSENT;
    }
    if (json_is_real(json)) {
        const double s = json_real_value(json);

        return s >= 0 && s <= (double)TIME_MAX_S ? (int64_t)floor(s * 1000) : TIME_BAD;
    }
    return json_is_integer(json) ? time_of(json_integer_value(json)) : TIME_BAD;
}

/* `aud` is one string or an array of strings. */
static bool has_audience(const json_t *aud, const char *wanted)
{
    bool is_found = is_string(aud, wanted);
    size_t i;
    json_t *one;
    json_array_foreach(aud, i, one)
    {
        if (!json_is_string(one)) {
            return false;
        }
        is_found = is_found || is_string(one, wanted);
    }
    return is_found;
}

static void json_claims(const struct jwt *j, const json_t *json, struct claims *c)
{
    *c = (struct claims){
        .sub = json_text(json, "sub"),
        .iss = json_text(json, "iss"),
        .exp_ms = json_time(json, "exp"),
        .nbf_ms = json_time(json, "nbf"),
        .iat_ms = json_time(json, "iat"),
        .is_for_us = j->audience != NULL && has_audience(json_object_get(json, "aud"), j->audience),
    };
}

/* ---- the judgement ---- */

static bool check_times(const struct jwt *j, const struct claims *c, int64_t now_ms,
                        int64_t *expires_ms, struct err *err)
{
    if (c->exp_ms == TIME_BAD || c->nbf_ms == TIME_BAD || c->iat_ms == TIME_BAD) {
        return reject(err, "exp, nbf or iat is not a time in seconds");
    }
    if (c->exp_ms == TIME_ABSENT) {
        return reject(err, "the token has no exp");
    }
    *expires_ms = c->exp_ms + j->leeway_ms;
    if (now_ms >= *expires_ms) {
        return reject(err, "the token has expired");
    }
    if (c->nbf_ms > now_ms + j->leeway_ms) {
        return reject(err, "the token is not valid yet");
    }
    if (c->iat_ms > now_ms + j->leeway_ms) {
        return reject(err, "the token was issued in the future");
    }
    return true;
}

static bool check_claims(const struct jwt *j, const struct claims *c, int64_t now_ms,
                         struct jwt_identity *identity, struct err *err)
{
    if (!check_times(j, c, now_ms, &identity->expires_ms, err)) {
        return false;
    }
    if (j->issuer != NULL && !slice_eq(c->iss, slice_str(j->issuer))) {
        return reject(err, "the issuer is not the expected one");
    }
    if (j->audience != NULL && !c->is_for_us) {
        return reject(err, "the audience is not the expected one");
    }
    if (c->sub.ptr == NULL) {
        return reject(err, "the token has no sub");
    }
    if (!ids_is_id(c->sub)) {
        return reject(err, "sub is not a user_id: 1..64 printable ASCII characters without "
                           "quote, backslash, comma and semicolon");
    }
    memcpy(identity->user_id, c->sub.ptr, c->sub.len);
    identity->user_id[c->sub.len] = '\0';
    identity->user_id_len = c->sub.len;
    return true;
}

static bool check_part(const struct jwt *j, struct slice part, int64_t now_ms,
                       struct jwt_identity *identity, struct err *err)
{
    char storage[PART_MAX];
    const struct slice text = decode_part(part, storage);
    struct flat flat;
    struct claims claims;
    json_t *json = NULL;
    bool is_good;

    if (text.ptr != NULL && flat_read(&flat, text)) {
        flat_claims(j, &flat, &claims);
    } else {
        json = text.ptr == NULL ? NULL : load(text);
        if (json == NULL) {
            return reject(err, "the claims are malformed");
        }
        json_claims(j, json, &claims);
    }
    is_good = check_claims(j, &claims, now_ms, identity, err);
    json_decref(json);
    return is_good;
}

static bool verify(const struct jwt *j, struct slice token, int64_t now_ms,
                   struct jwt_identity *identity, struct err *err)
{
    struct parts parts = {.header = {NULL, 0}};

    return take_apart(token, &parts, err) && check_mac(j, &parts, err) &&
           check_header(parts.header, err) && check_part(j, parts.claims, now_ms, identity, err);
}

bool jwt_verify(struct jwt *j, struct slice token, int64_t now_ms, struct jwt_identity *identity,
                struct err *err)
{
    const struct cached *cached;
    uint64_t hash;

    if (!is_cacheable(j, token)) {
        return verify(j, token, now_ms, identity, err);
    }
    hash = XXH3_64bits_withSeed(token.ptr, token.len, j->seed);
    cached = recall(j, token, hash, now_ms);
    if (cached != NULL) {
        *identity = cached->identity;
        return true;
    }
    if (!verify(j, token, now_ms, identity, err)) {
        return false;
    }
    remember(j, token, hash, now_ms, identity);
    return true;
}

struct slice jwt_bearer(struct slice authorization)
{
    static const struct slice none = {NULL, 0};

    if (authorization.len < 8 || strncasecmp(authorization.ptr, "Bearer ", 7) != 0) {
        return none;
    }
    struct slice token = {authorization.ptr + 7, authorization.len - 7};
    while (token.len > 0 && token.ptr[0] == ' ') {
        token.ptr++;
        token.len--;
    }
    return token.len == 0 || memchr(token.ptr, ' ', token.len) != NULL ? none : token;
}

void jwt_challenge(const struct err *err, char out[JWT_CHALLENGE_MAX])
{
    if (err == NULL) {
        (void)snprintf(out, JWT_CHALLENGE_MAX, "Bearer realm=\"seckill\"");
        return;
    }
    (void)snprintf(out, JWT_CHALLENGE_MAX,
                   "Bearer realm=\"seckill\", error=\"invalid_token\", error_description=\"%s\"",
                   err->text);
}
