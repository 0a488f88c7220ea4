/*
 * What the pure parts of a request cost: parsing, the token with and without the cache, the rate
 * limits.  Nanoseconds of CPU each, on this machine.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/jwt.h"
#include "producer/bucket.h"
#include "producer/http_parse.h"

enum { ROUNDS = 300000, USERS = 1000, TOKEN_BYTES = 256 };

static char tokens[USERS][TOKEN_BYTES];
static const char secret[] = "0123456789abcdef0123456789abcdef";

static int64_t cpu_us(void)
{
    struct timespec t;
    return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0
               ? (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000
               : 0;
}

static void tell(const char *what, int64_t from_us, size_t rounds)
{
    printf("%-28s %6.0f ns\n", what, (double)(cpu_us() - from_us) * 1e3 / (double)rounds);
}

static void require(bool fact)
{
    if (!fact) {
        abort();
    }
}

static void bench_parse(void)
{
    static struct http_message msg;
    static const struct http_limits limits = {2048, 16384, 4096};
    static char text[2048];
    int len = snprintf(text, sizeof(text),
                       "POST /v1/orders HTTP/1.1\r\nHost: shop.example:8080\r\n"
                       "User-Agent: curl/7.88.1\r\nAccept: */*\r\nAuthorization: Bearer %s\r\n"
                       "Content-Type: application/json\r\nIdempotency-Key: 0198-key\r\n"
                       "Prefer: wait=10\r\nContent-Length: 32\r\n\r\n"
                       "{\"item_id\":\"phone@3\",\"qty\":    1}",
                       tokens[0]);
    int64_t from_us = cpu_us();
    for (size_t i = 0; i < ROUNDS; i++) {
        struct http_progress progress = {0};
        require(http_parse(&progress, &limits, text, (size_t)len, &msg) == HTTP_PARSE_DONE);
    }
    tell("parse an order", from_us, ROUNDS);
}

static void bench_verify(const char *what, size_t cached_max, size_t users)
{
    const struct jwt_settings settings = {.secret = slice_str(secret), .cached_max = cached_max};
    struct jwt *j = jwt_create(&settings, NULL);
    require(j != NULL);
    int64_t now_ms = clock_wall_ms();
    struct jwt_identity identity;
    int64_t from_us = cpu_us();
    for (size_t i = 0; i < ROUNDS; i++) {
        require(jwt_verify(j, slice_str(tokens[i % users]), now_ms, &identity, NULL));
    }
    tell(what, from_us, ROUNDS);
    jwt_destroy(j);
}

static void bench_buckets(void)
{
    struct bucket_settings settings = {.keys_max = 65536, .seed = 1};
    for (int i = 0; i < BUCKET_KINDS; i++) {
        settings.rates[i] = (struct bucket_rate){1000000, 1000000};
    }
    struct bucket *b = bucket_create(&settings);
    struct bucket_refusal refusal;
    static const char address[16] = {0};
    int64_t from_us = cpu_us();
    for (size_t i = 0; i < ROUNDS; i++) {
        struct bucket_visit visit = {.is_global = true};
        visit.keys[BUCKET_IP] = (struct slice){address, sizeof(address)};
        visit.keys[BUCKET_USER] = (struct slice){(const char *)&i, sizeof(i)};
        visit.keys[BUCKET_ITEM] = SLICE_LIT("phone@3");
        require(bucket_take(b, &visit, (int64_t)i, &refusal));
    }
    tell("rate limits, all four", from_us, ROUNDS);
    bucket_destroy(b);
}

int main(void)
{
    for (size_t i = 0; i < USERS; i++) {
        char user[32];
        (void)snprintf(user, sizeof(user), "shopper-%zu", i);
        require(jwt_mint(slice_str(secret), slice_str(user), 3600, tokens[i], TOKEN_BYTES, NULL));
    }
    bench_parse();
    bench_verify("verify a token", 0, 1);
    bench_verify("verify, remembered", 4096, USERS);
    bench_verify("verify, never remembered", 1, USERS);
    bench_buckets();
    return 0;
}
