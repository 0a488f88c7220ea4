/*
 * What the pure parts of a request cost: parsing, the token with and without the cache, the rate
 * limits; and its records beside the same done with the JSON library alone.  Nanoseconds of CPU
 * each, on this machine.
 *
 *     build/tests/pure_bench [request | records | all [ROUNDS]]
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/command.h"
#include "common/jwt.h"
#include "common/outcome.h"
#include "producer/bucket.h"
#include "producer/http_parse.h"

enum { ROUNDS_MAX = 50000, USERS = 1000, TOKEN_BYTES = 256 };

static char tokens[USERS][TOKEN_BYTES];
static size_t rounds = ROUNDS_MAX;
static const char secret[] = "0123456789abcdef0123456789abcdef";

static int64_t cpu_us(void)
{
    struct timespec t;
    return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0
               ? (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000
               : 0;
}

static void tell(const char *what, int64_t from_us)
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
    for (size_t i = 0; i < rounds; i++) {
        struct http_progress progress = {0};
        require(http_parse(&progress, &limits, text, (size_t)len, &msg) == HTTP_PARSE_DONE);
    }
    tell("parse an order", from_us);
}

static void bench_verify(const char *what, size_t cached_max, size_t users)
{
    const struct jwt_settings settings = {.secret = slice_str(secret), .cached_max = cached_max};
    struct jwt *j = jwt_create(&settings, NULL);
    require(j != NULL);
    int64_t now_ms = clock_wall_ms();
    struct jwt_identity identity;
    int64_t from_us = cpu_us();
    for (size_t i = 0; i < rounds; i++) {
        require(jwt_verify(j, slice_str(tokens[i % users]), now_ms, &identity, NULL));
    }
    tell(what, from_us);
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
    for (size_t i = 0; i < rounds; i++) {
        struct bucket_visit visit = {.is_global = true};
        visit.keys[BUCKET_IP] = (struct slice){address, sizeof(address)};
        visit.keys[BUCKET_USER] = (struct slice){(const char *)&i, sizeof(i)};
        visit.keys[BUCKET_ITEM] = SLICE_LIT("phone@3");
        require(bucket_take(b, &visit, (int64_t)i, &refusal));
    }
    tell("rate limits, all four", from_us);
    bucket_destroy(b);
}

#define ORDER_ID "0190163d-8694-7003-b966-02a1b9e15d3c"
#define LOG_ID   "0123456789abcdef0123456789abcdef"
static const char order_text[] = "{\"type\":\"order\",\"order_id\":\"" ORDER_ID
                                 "\",\"item_id\":\"phone@3\",\"user_id\":\"shopper-4711\","
                                 "\"qty\":1,\"not_after\":1712345978901}";

static json_t *order_tree(void)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:i,s:I}", "type", "order", "order_id", ORDER_ID, "item_id",
                     "phone@3", "user_id", "shopper-4711", "qty", 1, "not_after",
                     (json_int_t)1712345978901);
}

static json_t *outcome_tree(void)
{
    return json_pack("{s:i,s:i,s:i,s:s,s:s,s:s,s:i,s:I,s:[{s:i,s:s,s:s,s:s,s:s,s:i,s:I,s:i}]}",
                     "partition", 3, "offset", 17, "prev", 16, "genesis", LOG_ID, "hash",
                     "00000000000000fe", "chain", "00000000000000ff", "rules", 1, "log_time",
                     (json_int_t)1712345678901, "events", "index", 0, "type", "reserved",
                     "order_id", ORDER_ID, "item_id", "phone@3", "user_id", "shopper-4711", "qty",
                     1, "due", (json_int_t)1712345978901, "available", 998);
}

/* The library's are the very same bytes. */
static void bench_encode(void)
{
    static char text[COMMAND_VALUE_MAX];
    static const struct outcome_head head = {3, 17, 16, LOG_ID, 254, 255, 1, 1712345678901};
    struct command cmd;
    struct buf out;

    command_parse(&cmd, slice_str(order_text), 1, 3, 4);
    require(cmd.type == COMMAND_ORDER);
    int64_t from_us = cpu_us();
    for (size_t i = 0; i < rounds; i++) {
        require(command_format(&cmd, text, sizeof(text)) > 0);
    }
    tell("encode an order", from_us);
    require(strcmp(text, order_text) == 0);

    buf_init(&out, sizeof(text));
    from_us = cpu_us();
    for (size_t i = 0; i < rounds; i++) {
        buf_clear(&out);
        require(outcome_format(&out, &head, &cmd, SLICE_LIT("998 1712345978901"), NULL));
    }
    tell("encode an outcome", from_us);
    json_t *tree = outcome_tree();
    size_t len = json_dumpb(tree, text, sizeof(text), JSON_COMPACT);
    require(slice_eq(buf_slice(&out), (struct slice){text, len}));
    json_decref(tree);
    buf_fini(&out);
}

static size_t bench_dump(const char *what, json_t *tree(void), char *text, size_t size)
{
    size_t len = 0;
    int64_t from_us = cpu_us();
    for (size_t i = 0; i < rounds; i++) {
        json_t *made = tree();
        len = json_dumpb(made, text, size, JSON_COMPACT);
        require(len > 0 && len < size);
        json_decref(made);
    }
    tell(what, from_us);
    return len;
}

static void bench_load(const char *what, struct slice text)
{
    int64_t from_us = cpu_us();
    for (size_t i = 0; i < rounds; i++) {
        json_t *made = json_loadb(text.ptr, text.len, 0, NULL);
        require(made != NULL);
        json_decref(made);
    }
    tell(what, from_us);
}

static void bench_records(void)
{
    static char text[COMMAND_VALUE_MAX];
    struct command cmd;
    struct outcome outcome = {0};

    bench_encode();
    struct slice order = {text,
                          bench_dump("library encodes an order", order_tree, text, sizeof(text))};
    require(slice_eq(order, slice_str(order_text)));
    bench_load("library decodes an order", order);
    int64_t from_us = cpu_us();
    for (size_t i = 0; i < rounds; i++) {
        command_parse(&cmd, order, 1, 3, 4);
        require(cmd.type == COMMAND_ORDER);
    }
    tell("decode an order", from_us);

    struct slice told = {
        text, bench_dump("library encodes an outcome", outcome_tree, text, sizeof(text))};
    bench_load("library decodes an outcome", told);
    from_us = cpu_us();
    for (size_t i = 0; i < rounds; i++) {
        require(outcome_parse(&outcome, told, NULL) && outcome.n_events == 1);
    }
    tell("decode an outcome", from_us);
    outcome_fini(&outcome);
}

static void bench_requests(void)
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
}

int main(int argc, char **argv)
{
    const char *part = argc > 1 ? argv[1] : "all";
    if (argc > 2) {
        long n = strtol(argv[2], NULL, 10);
        require(n > 0 && n <= ROUNDS_MAX);
        rounds = (size_t)n;
    }
    if (strcmp(part, "records") != 0) {
        bench_requests();
    }
    if (strcmp(part, "request") != 0) {
        bench_records();
    }
    return 0;
}
