/*
 * Tokens signed with the right key and otherwise of every kind: the header and the claims of each
 * vector are signed here, independently of jwt_mint().
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base64url.h"
#include "common/clock.h"
#include "common/jwt.h"
#include "producer/settings.h"

#define KEY "0123456789abcdef0123456789abcdef"
#define NOW 1800000000 /* seconds; all vectors are judged at this time, with a leeway of 10 s */
#define ALG "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define EXP "\"exp\":1800000100"
#define SUB "\"sub\":\"alice\""

static struct jwt *verifier;

static void put_dot(char *out)
{
    size_t len = strlen(out);
    out[len] = '.';
    out[len + 1] = '\0';
}

static void put_part(char *out, const char *text, size_t len)
{
    (void)base64url_encode(text, len, out + strlen(out));
}

static void put_mac(char *token, const char *key)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    assert_non_null(HMAC(EVP_sha256(), key, (int)strlen(key), (const unsigned char *)token,
                         strlen(token), mac, &len));
    put_dot(token);
    put_part(token, (const char *)mac, len);
}

/* Signs header "." claims, as they are. */
static const char *sign_bytes(const char *header, struct slice claims)
{
    static char token[16384];
    token[0] = '\0';
    put_part(token, header, strlen(header));
    put_dot(token);
    put_part(token, claims.ptr, claims.len);
    put_mac(token, KEY);
    return token;
}

static const char *sign(const char *header, const char *claims)
{
    return sign_bytes(header, slice_str(claims));
}

static bool verify_with(struct jwt *j, const char *token, int64_t now_ms, struct err *err)
{
    struct jwt_identity identity;
    *err = (struct err){.text = ""};
    bool is_good = jwt_verify(j, slice_str(token), now_ms, &identity, err);
    if (is_good) {
        assert_string_equal(identity.user_id, "alice");
        assert_int_equal(identity.user_id_len, 5);
    } else {
        assert_int_equal(err->kind, ERR_REJECT);
        assert_true(err->text[0] != '\0');
        assert_null(strpbrk(err->text, "\"\\\r\n"));
    }
    return is_good;
}

struct vector {
    const char *header;
    const char *claims;
    const char *why; /* part of the error's text; NULL: good */
};

static const struct vector vectors[] = {
    {ALG, "{" SUB "," EXP "}", NULL},
    {"{\"alg\":\"HS256\"}", "{" SUB "," EXP "}", NULL},
    {"{\"typ\":\"jwt\",\"alg\":\"HS256\"}", "{" SUB "," EXP "}", NULL},
    {"{\"typ\":\"at+jwt\",\"alg\":\"HS256\",\"kid\":\"1\"}", "{" SUB "," EXP "}", NULL},
    {" {\"alg\" : \"HS\\u0032\\u00356\"} ", " {" SUB " , " EXP " } ", NULL},
    {ALG, "{\"\\u0073ub\":\"\\u0061lice\"," EXP "}", NULL},
    {ALG, "{" SUB "," EXP ",\"name\":\"\xc3\xa9\",\"roles\":[1,{\"a\":null}]}", NULL},

    {"{\"alg\":\"none\"}", "{" SUB "," EXP "}", "algorithm"},
    {"{\"alg\":\"None\"}", "{" SUB "," EXP "}", "algorithm"},
    {"{\"alg\":\"hs256\"}", "{" SUB "," EXP "}", "algorithm"},
    {"{\"alg\":\"HS384\"}", "{" SUB "," EXP "}", "algorithm"},
    {"{\"alg\":\"HS512\"}", "{" SUB "," EXP "}", "algorithm"},
    {"{\"alg\":\"RS256\"}", "{" SUB "," EXP "}", "algorithm"},
    {"{\"alg\":\"ES256\"}", "{" SUB "," EXP "}", "algorithm"},
    {"{\"alg\":\"HS256 \"}", "{" SUB "," EXP "}", "algorithm"},
    {"{\"alg\":\"\"}", "{" SUB "," EXP "}", "algorithm"},
    {"{\"alg\":null}", "{" SUB "," EXP "}", "algorithm"},
    {"{\"alg\":256}", "{" SUB "," EXP "}", "algorithm"},
    {"{\"alg\":[\"HS256\"]}", "{" SUB "," EXP "}", "algorithm"},
    {"{\"typ\":\"JWT\"}", "{" SUB "," EXP "}", "algorithm"},
    {"{}", "{" SUB "," EXP "}", "algorithm"},
    {"{\"alg\":\"HS256\",\"alg\":\"HS256\"}", "{" SUB "," EXP "}", "header"},
    {"{\"alg\":\"none\",\"alg\":\"HS256\"}", "{" SUB "," EXP "}", "header"},
    {"{\"alg\":\"HS256\",\"\\u0061lg\":\"none\"}", "{" SUB "," EXP "}", "header"},
    {"{\"alg\":\"HS256\",\"crit\":[]}", "{" SUB "," EXP "}", "critical"},
    {"{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", "{" SUB "," EXP "}", "critical"},
    {"{\"alg\":\"HS256\",\"crit\":null}", "{" SUB "," EXP "}", "critical"},
    {"{\"alg\":\"HS256\",\"typ\":\"JOSE\"}", "{" SUB "," EXP "}", "not a JWT"},
    {"{\"alg\":\"HS256\",\"typ\":1}", "{" SUB "," EXP "}", "not a JWT"},
    {"[\"alg\",\"HS256\"]", "{" SUB "," EXP "}", "header"},
    {"\"HS256\"", "{" SUB "," EXP "}", "header"},
    {"", "{" SUB "," EXP "}", "header"},
    {"{\"alg\":\"HS256\"}x", "{" SUB "," EXP "}", "header"},
    {"{\"alg\":\"HS256\",}", "{" SUB "," EXP "}", "header"},
    {"{\"alg\":\"HS256\",\"x\":\"\xff\"}", "{" SUB "," EXP "}", "header"},

    {ALG, "", "claims"},
    {ALG, "[]", "claims"},
    {ALG, "null", "claims"},
    {ALG, "{" SUB "," EXP, "claims"},
    {ALG, "{" SUB "," EXP "}{}", "claims"},
    {ALG, "{" SUB "," EXP ",\"exp\":1800000200}", "claims"},
    {ALG, "{" SUB "," SUB "," EXP "}", "claims"},
    {ALG, "{" SUB ",\"\\u0073ub\":\"bob\"," EXP "}", "claims"},
    {ALG, "{" SUB "," EXP ",\"x\":{\"a\":1,\"a\":2}}", "claims"},
    {ALG, "{" SUB "," EXP ",\"x\":\"\xed\xa0\x80\"}", "claims"},
    {ALG, "{\"sub\":\"alice\\u0000\"," EXP "}", "claims"},
    {ALG, "{" SUB "," EXP ",\"x\":NaN}", "claims"},
    {ALG, "{" SUB ",\"exp\":1e999}", "claims"},
    {ALG, "{" SUB ",\"exp\":99999999999999999999}", "claims"},
    {ALG, "{" SUB ",\"exp\":+1800000100}", "claims"},
    {ALG, "{" SUB ",\"exp\":01800000100}", "claims"},

    {ALG, "{" SUB "}", "no exp"},
    {ALG, "{" SUB ",\"exp\":null}", "not a time"},
    {ALG, "{" SUB ",\"exp\":\"1800000100\"}", "not a time"},
    {ALG, "{" SUB ",\"exp\":true}", "not a time"},
    {ALG, "{" SUB ",\"exp\":[1800000100]}", "not a time"},
    {ALG, "{" SUB ",\"exp\":-1}", "not a time"},
    {ALG, "{" SUB ",\"exp\":-0.5}", "not a time"},
    {ALG, "{" SUB ",\"exp\":253402300800}", "not a time"},
    {ALG, "{" SUB ",\"exp\":1e300}", "not a time"},
    {ALG, "{" SUB ",\"exp\":9223372036854775807}", "not a time"},
    {ALG, "{" SUB ",\"exp\":253402300799}", NULL},
    {ALG, "{" SUB ",\"exp\":1800000100.75}", NULL},
    {ALG, "{" SUB ",\"exp\":18.000001e8}", NULL},
    {ALG, "{" SUB ",\"exp\":0}", "expired"},
    {ALG, "{" SUB ",\"exp\":1799999991}", NULL}, /* leeway */
    {ALG, "{" SUB ",\"exp\":1799999990}", "expired"},
    {ALG, "{" SUB ",\"exp\":1799999990.001}", NULL},
    {ALG, "{" SUB ",\"exp\":1799999989.999}", "expired"},
    {ALG, "{" SUB "," EXP ",\"nbf\":1800000010}", NULL},
    {ALG, "{" SUB "," EXP ",\"nbf\":1800000011}", "not valid yet"},
    {ALG, "{" SUB "," EXP ",\"nbf\":1800000010.5}", "not valid yet"},
    {ALG, "{" SUB "," EXP ",\"nbf\":\"0\"}", "not a time"},
    {ALG, "{" SUB "," EXP ",\"nbf\":null}", "not a time"},
    {ALG, "{" SUB "," EXP ",\"iat\":1800000010}", NULL},
    {ALG, "{" SUB "," EXP ",\"iat\":1800000011}", "future"},
    {ALG, "{" SUB "," EXP ",\"iat\":{}}", "not a time"},
    {ALG, "{" SUB "," EXP ",\"iat\":0,\"nbf\":0}", NULL},

    {ALG, "{" EXP "}", "no sub"},
    {ALG, "{\"sub\":null," EXP "}", "no sub"},
    {ALG, "{\"sub\":1," EXP "}", "no sub"},
    {ALG, "{\"sub\":[\"alice\"]," EXP "}", "no sub"},
    {ALG, "{\"Sub\":\"alice\"," EXP "}", "no sub"},
    {ALG, "{\"sub\":\"\"," EXP "}", "user_id"},
    {ALG, "{\"sub\":\"ali ce\"," EXP "}", "user_id"},
    {ALG, "{\"sub\":\"alice\\n\"," EXP "}", "user_id"},
    {ALG, "{\"sub\":\"ali\\\"ce\"," EXP "}", "user_id"},
    {ALG, "{\"sub\":\"ali\\\\ce\"," EXP "}", "user_id"},
    {ALG, "{\"sub\":\"ali,ce\"," EXP "}", "user_id"},
    {ALG, "{\"sub\":\"ali;ce\"," EXP "}", "user_id"},
    {ALG, "{\"sub\":\"alic\xc3\xa9\"," EXP "}", "user_id"},
    {ALG, "{\"sub\":\"alice\\u007f\"," EXP "}", "user_id"},
    {ALG, "{\"sub\":\"00000000001111111111222222222233333333334444444444555555555566666\"," EXP "}",
     "user_id"},
};

static void check_vector(const struct vector *v, const char *claims)
{
    struct err err;
    bool is_good = verify_with(verifier, sign(v->header, claims), NOW * 1000LL, &err);

    if (is_good != (v->why == NULL) || (!is_good && strstr(err.text, v->why) == NULL)) {
        fail_msg("%s (%s), expected %s: %s . %s", is_good ? "good" : "bad", err.text,
                 v->why == NULL ? "good" : v->why, v->header, claims);
    }
}

static void battery(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        const struct vector *v = &vectors[i];
        char nested[4096]; /* what the first reads in place, the second leaves to the library */

        check_vector(v, v->claims);
        if (v->claims[0] == '{' && v->claims[1] == '"') {
            (void)snprintf(nested, sizeof(nested), "{\"a\":[],%s", v->claims + 1);
            check_vector(v, nested);
        }
    }
}

static void assert_refused(const char *token, const char *why)
{
    struct err err;
    if (verify_with(verifier, token, NOW * 1000LL, &err)) {
        fail_msg("good: %s", token);
    }
    if (strstr(err.text, why) == NULL) {
        fail_msg("%s, expected %s: %s", err.text, why, token);
    }
}

/* The text around the parts. */
static void shapes(void **state)
{
    (void)state;
    char token[8192];
    const char *good = sign(ALG, "{" SUB "," EXP "}");
    struct err err;
    assert_true(verify_with(verifier, good, NOW * 1000LL, &err));

    static const char *const shapeless[] = {"",  ".",   "..",      "...",
                                            "a", "a.b", "a.b.c.d", "eyJhbGciOiJub25lIn0.e30."};
    for (size_t i = 0; i < sizeof(shapeless) / sizeof(shapeless[0]); i++) {
        assert_refused(shapeless[i], "");
    }
    for (size_t i = 0; i < strlen(good); i++) {
        char cut[8192];
        (void)snprintf(cut, sizeof(cut), "%.*s", (int)i, good);
        assert_refused(cut, "");
    }
    /* Every character matters, the last ones of a part too: no loose tail bits. */
    for (size_t i = 0; i < strlen(good); i++) {
        static const char others[] = "AQgwZz09-_+/=. \n\t\x80";
        for (const char *o = others; *o != '\0'; o++) {
            if (good[i] != *o) {
                (void)snprintf(token, sizeof(token), "%s", good);
                token[i] = *o;
                assert_refused(token, "");
            }
        }
    }
    (void)snprintf(token, sizeof(token), "%s=", good);
    assert_refused(token, "HS256");
    (void)snprintf(token, sizeof(token), "%s.", good);
    assert_refused(token, "three parts");
    (void)snprintf(token, sizeof(token), "%sA", good);
    assert_refused(token, "HS256");
    (void)snprintf(token, sizeof(token), " %s", good);
    assert_refused(token, "match");

    /* Rightly signed, but not base64url. */
    static const struct {
        const char *is_signed;
        const char *why;
    } loose[] = {
        {"eyJhbGciOiJIUzI1NiJ9=.eyJzdWIiOiJhbGljZSIsImV4cCI6MTgwMDAwMDEwMH0", "header"},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImV4cCI6MTgwMDAwMDEwMH0=", "claims"},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImV4cCI6MTgwMDAwMDEwMH1", "claims"},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImV4cCI6 MTgwMDAwMDEwMH0", "claims"},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImV4cCI6MTgwMDAwMDEwMH0\n", "claims"},
        {"eyJhbGciOiJIUzI1NiJ9.e", "claims"},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImV4cCI6MTgwMDAwMDEwMCwieCI6Ij8/fn4ifQ",
         "claims"},
    };
    for (size_t i = 0; i < sizeof(loose) / sizeof(loose[0]); i++) {
        (void)snprintf(token, sizeof(token), "%s", loose[i].is_signed);
        put_mac(token, KEY);
        assert_refused(token, loose[i].why);
    }
    (void)snprintf(token, sizeof(token),
                   "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImV4cCI6MTgwMDAwMDEwMH0");
    put_mac(token, KEY);
    assert_true(verify_with(verifier, token, NOW * 1000LL, &err));

    /* Another key, also one of which ours is the beginning. */
    static const char *const keys[] = {"", KEY "x", "fedcba9876543210fedcba9876543210"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        *strrchr(token, '.') = '\0';
        put_mac(token, keys[i]);
        assert_refused(token, "match");
    }
}

static void sizes(void **state)
{
    (void)state;
    char claims[4096];
    struct err err;
    for (int filler = 1400; filler < 1500; filler++) {
        (void)snprintf(claims, sizeof(claims), "{" SUB "," EXP ",\"x\":\"%0*d\"}", filler, 0);
        const char *token = sign(ALG, claims);
        bool fits = strlen(token) <= JWT_TOKEN_MAX;
        assert_int_equal(verify_with(verifier, token, NOW * 1000LL, &err), fits);
        assert_true(fits || strstr(err.text, "too long") != NULL);
    }
    assert_refused(sign_bytes(ALG, SLICE_LIT("{" SUB "," EXP "}\0")), "claims");
    char user[IDS_MAX + 1];
    memset(user, '~', IDS_MAX);
    user[IDS_MAX] = '\0';
    (void)snprintf(claims, sizeof(claims), "{\"sub\":\"%s\"," EXP "}", user);
    struct jwt_identity identity;
    assert_true(jwt_verify(verifier, slice_str(sign(ALG, claims)), NOW * 1000LL, &identity, &err));
    assert_string_equal(identity.user_id, user);
    assert_int_equal(identity.expires_ms, 1800000110000);
}

static struct jwt *make(const char *issuer, const char *audience, size_t cached_max)
{
    const struct jwt_settings settings = {.secret = slice_str(KEY),
                                          .issuer = issuer,
                                          .audience = audience,
                                          .leeway_s = 10,
                                          .cached_max = cached_max};
    struct jwt *j = jwt_create(&settings, NULL);
    assert_non_null(j);
    return j;
}

static void issuer_and_audience(void **state)
{
    (void)state;
    static const struct {
        const char *claims;
        bool is_issuer, is_audience;
    } cases[] = {
        {"\"iss\":\"shop\"", true, false},
        {"\"iss\":\"shop2\"", false, false},
        {"\"iss\":\"sho\"", false, false},
        {"\"iss\":[\"shop\"]", false, false},
        {"\"aud\":\"sale\"", false, true},
        {"\"aud\":[\"sale\"]", false, true},
        {"\"aud\":[\"other\",\"sale\"]", false, true},
        {"\"aud\":[\"other\"]", false, false},
        {"\"aud\":[]", false, false},
        {"\"aud\":[\"sale\",1]", false, false},
        {"\"aud\":{\"sale\":1}", false, false},
        {"\"aud\":\"sale \"", false, false},
        {"\"x\":1", false, false},
    };
    struct jwt *by_issuer = make("shop", "", 0);
    struct jwt *by_audience = make(NULL, "sale", 0);
    struct err err;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char claims[256];
        (void)snprintf(claims, sizeof(claims), "{" SUB "," EXP ",%s}", cases[i].claims);
        const char *token = sign(ALG, claims);
        assert_int_equal(verify_with(by_issuer, token, NOW * 1000LL, &err), cases[i].is_issuer);
        assert_int_equal(verify_with(by_audience, token, NOW * 1000LL, &err), cases[i].is_audience);
    }
    jwt_destroy(by_issuer);
    jwt_destroy(by_audience);
}

/* What is remembered expires like what is not, and is nobody else's. */
static void cache(void **state)
{
    (void)state;
    struct jwt *j = make(NULL, NULL, 4);
    struct err err;
    char token[8192];
    char other[8192];
    (void)snprintf(token, sizeof(token), "%s", sign(ALG, "{" SUB "," EXP "}"));
    assert_true(verify_with(j, token, NOW * 1000LL, &err));
    assert_true(verify_with(j, token, NOW * 1000LL + 1, &err));
    assert_true(verify_with(j, token, 1800000109999, &err));
    assert_false(verify_with(j, token, 1800000110000, &err));
    assert_true(verify_with(j, token, NOW * 1000LL, &err));
    (void)snprintf(other, sizeof(other), "%s", token);
    other[strlen(other) - 2] ^= 1;
    assert_false(verify_with(j, other, NOW * 1000LL, &err));
    other[strlen(other) - 2] ^= 1;
    other[strlen(other) - 1] = '\0';
    assert_false(verify_with(j, other, NOW * 1000LL, &err));

    /* A clock set back must not make a token good before its nbf. */
    (void)snprintf(token, sizeof(token), "%s", sign(ALG, "{" SUB "," EXP ",\"nbf\":1800000000}"));
    assert_true(verify_with(j, token, NOW * 1000LL, &err));
    assert_false(verify_with(j, token, NOW * 1000LL - 20000, &err));

    /* Many users through few places: everybody stays who they are. */
    struct jwt_identity identity;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++) {
            char claims[128];
            char user[16];
            (void)snprintf(user, sizeof(user), "user-%d", i);
            (void)snprintf(claims, sizeof(claims), "{\"sub\":\"%s\"," EXP "}", user);
            const char *one = sign(ALG, claims);
            assert_true(jwt_verify(j, slice_str(one), NOW * 1000LL, &identity, &err));
            assert_string_equal(identity.user_id, user);
            assert_true(jwt_verify(j, slice_str(one), NOW * 1000LL, &identity, &err));
            assert_string_equal(identity.user_id, user);
        }
    }
    jwt_destroy(j);
}

static void minted(void **state)
{
    (void)state;
    const struct clock_hands hands = {.wall_ms = NOW * 1000LL};
    clock_pretend(&hands);
    char token[512];
    struct err err;
    assert_true(jwt_mint(slice_str(KEY), SLICE_LIT("alice"), 60, token, sizeof(token), &err));
    clock_pretend(NULL);
    assert_true(verify_with(verifier, token, NOW * 1000LL, &err));
    assert_true(verify_with(verifier, token, NOW * 1000LL + 69999, &err));
    assert_false(verify_with(verifier, token, NOW * 1000LL + 70000, &err));

    char small[64];
    assert_false(jwt_mint(slice_str(KEY), SLICE_LIT("alice"), 60, small, sizeof(small), &err));
    assert_false(jwt_mint(slice_str(KEY), SLICE_LIT("ali ce"), 60, token, sizeof(token), &err));
    assert_false(jwt_mint(slice_str(""), SLICE_LIT("alice"), 60, token, sizeof(token), &err));
}

/* RFC 7515 appendix A.1: somebody else's token, with its own key. */
static void known_answer(void **state)
{
    (void)state;
    static const char token[] =
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
        "cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    unsigned char key[64];
    size_t len = 0;
    assert_true(base64url_decode(SLICE_LIT("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75"
                                           "aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"),
                                 key, sizeof(key), &len));
    const struct jwt_settings settings = {.secret = {(const char *)key, len}};
    struct jwt *j = jwt_create(&settings, NULL);
    struct jwt_identity identity;
    struct err err;
    assert_non_null(j);
    /* Its signature is good; what it lacks is a sub. */
    assert_false(jwt_verify(j, SLICE_LIT(token), 1300819370000, &identity, &err));
    assert_non_null(strstr(err.text, "no sub"));
    assert_false(jwt_verify(j, SLICE_LIT(token), 1300819380000, &identity, &err));
    assert_non_null(strstr(err.text, "expired"));
    jwt_destroy(j);
}

static void settings_out_of_range(void **state)
{
    (void)state;
    struct err err;
    struct jwt_settings settings = {.secret = {KEY, 31}};
    assert_null(jwt_create(&settings, &err));
    assert_non_null(strstr(err.text, "at least 32"));
    settings = (struct jwt_settings){.secret = {KEY, 32}, .leeway_s = 61};
    assert_null(jwt_create(&settings, &err));
    settings.leeway_s = -1;
    assert_null(jwt_create(&settings, &err));
    jwt_destroy(NULL);
}

static void assert_bearer(const char *header, const char *token)
{
    struct slice got = jwt_bearer(slice_str(header));
    if (token == NULL) {
        assert_null(got.ptr);
        return;
    }
    assert_true(slice_eq(got, slice_str(token)));
}

static void bearer(void **state)
{
    (void)state;
    assert_bearer("Bearer a.b.c", "a.b.c");
    assert_bearer("bearer a.b.c", "a.b.c");
    assert_bearer("BEARER   a", "a");
    assert_bearer("Bearer", NULL);
    assert_bearer("Bearer ", NULL);
    assert_bearer("Bearer    ", NULL);
    assert_bearer("Bearer\ta", NULL);
    assert_bearer("Bearera", NULL);
    assert_bearer("Basic YTpi", NULL);
    assert_bearer("Bearer a b", NULL);
    assert_bearer("", NULL);
    assert_bearer(NULL, NULL);

    char text[JWT_CHALLENGE_MAX];
    jwt_challenge(NULL, text);
    assert_string_equal(text, "Bearer realm=\"seckill\"");
    const struct err err = {.text = "the token has expired"};
    jwt_challenge(&err, text);
    assert_string_equal(text, "Bearer realm=\"seckill\", error=\"invalid_token\", "
                              "error_description=\"the token has expired\"");
}

/* Whatever the door's settings allow a verifier takes. */
static void settings_of_the_door(void **state)
{
    int64_t most = -1;

    (void)state;
    for (const struct conf_group *g = settings_spec.groups; g->options != NULL; g++) {
        for (const struct conf_option *o = g->options; o->name != NULL; o++) {
            most = strcmp(o->name, "token-cache-max") == 0 ? o->max : most;
        }
    }
    assert_true(most > 0);
    jwt_destroy(make(NULL, NULL, (size_t)most));
}

static int start(void **state)
{
    (void)state;
    verifier = make(NULL, NULL, 0);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    jwt_destroy(verifier);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(battery),      cmocka_unit_test(shapes),
        cmocka_unit_test(sizes),        cmocka_unit_test(issuer_and_audience),
        cmocka_unit_test(cache),        cmocka_unit_test(minted),
        cmocka_unit_test(known_answer), cmocka_unit_test(settings_out_of_range),
        cmocka_unit_test(bearer),       cmocka_unit_test(settings_of_the_door),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
