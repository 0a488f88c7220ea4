#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "producer/bucket.h"
#include "producer/peers.h"

static struct bucket *make(enum bucket_kind kind, int64_t rate, int64_t burst, size_t keys_max)
{
    struct bucket_settings settings = {.keys_max = keys_max, .seed = 42};
    settings.rates[kind] = (struct bucket_rate){rate, burst};
    return bucket_create(&settings);
}

/* 0: taken; else how long to wait. */
static int64_t take_key(struct bucket *b, enum bucket_kind kind, struct slice key, int64_t now_ms)
{
    struct bucket_visit visit = {.is_global = kind == BUCKET_GLOBAL};
    struct bucket_refusal refusal = {0};
    if (kind != BUCKET_GLOBAL) {
        visit.keys[kind] = key;
    }
    if (bucket_take(b, &visit, now_ms, &refusal)) {
        return 0;
    }
    assert_int_equal(refusal.kind, kind);
    assert_true(refusal.wait_ms > 0);
    return refusal.wait_ms;
}

static int64_t take(struct bucket *b, enum bucket_kind kind, const char *key, int64_t now_ms)
{
    return take_key(b, kind, slice_str(key), now_ms);
}

static int64_t take_all(struct bucket *b, enum bucket_kind kind, const char *key, int64_t now_ms)
{
    int64_t n = 0;
    while (n < 100000 && take(b, kind, key, now_ms) == 0) {
        n++;
    }
    return n;
}

static void burst_and_refill(void **state)
{
    (void)state;
    for (int kind = 0; kind < BUCKET_KINDS; kind++) {
        struct bucket *b = make((enum bucket_kind)kind, 10, 5, 1000);
        assert_int_equal(take_all(b, (enum bucket_kind)kind, "k", 1000), 5);
        assert_int_equal(take(b, (enum bucket_kind)kind, "k", 1000), 100);
        assert_int_equal(take(b, (enum bucket_kind)kind, "k", 1001), 99);
        assert_int_equal(take(b, (enum bucket_kind)kind, "k", 1099), 1);
        assert_int_equal(take(b, (enum bucket_kind)kind, "k", 1100), 0);
        assert_int_equal(take(b, (enum bucket_kind)kind, "k", 1100), 100);
        assert_int_equal(take_all(b, (enum bucket_kind)kind, "k", 1350), 2);
        /* Never more than the burst, however long nobody came. */
        assert_int_equal(take_all(b, (enum bucket_kind)kind, "k", 1000000000), 5);
        bucket_destroy(b);
    }
}

static void steady(void **state)
{
    (void)state;
    struct bucket *b = make(BUCKET_USER, 7, 3, 10);
    int64_t n = 0;
    for (int64_t now_ms = 0; now_ms < 100000; now_ms++) {
        n += take(b, BUCKET_USER, "k", now_ms) == 0;
    }
    assert_in_range(n, 700, 703);
    bucket_destroy(b);
}

/* Burst 1, slow and fast rates, and numbers at the edge. */
static void edges(void **state)
{
    (void)state;
    struct bucket *b = make(BUCKET_ITEM, 1, 0, 1);
    assert_int_equal(take(b, BUCKET_ITEM, "k", 5), 0);
    assert_int_equal(take(b, BUCKET_ITEM, "k", 5), 1000);
    bucket_destroy(b);

    b = make(BUCKET_ITEM, INT64_MAX, INT64_MAX, 0);
    assert_int_equal(take_all(b, BUCKET_ITEM, "k", 0), 100000);
    bucket_destroy(b);

    b = make(BUCKET_ITEM, 1, INT64_MAX, 8);
    assert_int_equal(take_all(b, BUCKET_ITEM, "k", 9000000000), 100000);
    bucket_destroy(b);

    /* Off, by rate or because the visit does not name it. */
    b = make(BUCKET_ITEM, 0, 1, 8);
    assert_int_equal(take_all(b, BUCKET_ITEM, "k", 0), 100000);
    assert_int_equal(bucket_bytes(b), 0);
    bucket_destroy(b);
    b = make(BUCKET_ITEM, 1, 1, 8);
    struct bucket_visit nobody = {.is_global = true};
    struct bucket_refusal refusal;
    for (int i = 0; i < 10; i++) {
        assert_true(bucket_take(b, &nobody, 0, &refusal));
    }
    assert_int_equal(take_key(b, BUCKET_ITEM, SLICE_LIT(""), 0), 0); /* empty is a key */
    assert_int_not_equal(take_key(b, BUCKET_ITEM, SLICE_LIT(""), 0), 0);
    bucket_destroy(b);
}

static void time_goes_nowhere_or_back(void **state)
{
    (void)state;
    struct bucket *b = make(BUCKET_USER, 1000, 2, 8);
    assert_int_equal(take_all(b, BUCKET_USER, "k", 50000), 2);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(take(b, BUCKET_USER, "k", 50000), 1);
        assert_int_equal(take(b, BUCKET_USER, "k", 1), 1);
        assert_int_equal(take(b, BUCKET_USER, "k", -5), 1);
    }
    assert_int_equal(take(b, BUCKET_USER, "k", 50001), 0);
    bucket_destroy(b);
}

static void keys_are_apart(void **state)
{
    (void)state;
    struct bucket *b = make(BUCKET_USER, 1, 3, 4096);
    char key[32];
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof(key), "user-%d", i);
        assert_int_equal(take_all(b, BUCKET_USER, key, 100), 3);
    }
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof(key), "user-%d", i);
        assert_int_equal(take(b, BUCKET_USER, key, 100), 1000);
    }
    bucket_destroy(b);
}

/* A visit that one kind refuses takes no token of the others. */
static void all_or_nothing(void **state)
{
    (void)state;
    struct bucket_settings settings = {.keys_max = 64, .seed = 1};
    settings.rates[BUCKET_IP] = (struct bucket_rate){1, 3};
    settings.rates[BUCKET_USER] = (struct bucket_rate){1, 1};
    settings.rates[BUCKET_GLOBAL] = (struct bucket_rate){10, 2};
    struct bucket *b = bucket_create(&settings);
    struct bucket_visit visit = {.is_global = true};
    visit.keys[BUCKET_IP] = SLICE_LIT("1234567890123456");
    visit.keys[BUCKET_USER] = SLICE_LIT("u");
    struct bucket_refusal refusal;
    assert_true(bucket_take(b, &visit, 0, &refusal));
    for (int i = 0; i < 5; i++) {
        assert_false(bucket_take(b, &visit, 0, &refusal));
        assert_int_equal(refusal.kind, BUCKET_USER);
        assert_int_equal(refusal.wait_ms, 1000);
    }
    visit.keys[BUCKET_USER] = SLICE_LIT("v");
    assert_true(bucket_take(b, &visit, 0, &refusal));
    visit.keys[BUCKET_USER] = SLICE_LIT("w");
    assert_false(bucket_take(b, &visit, 0, &refusal));
    assert_int_equal(refusal.kind, BUCKET_GLOBAL);
    assert_int_equal(refusal.wait_ms, 100);
    /* Of two that refuse, the one to wait longer for is told: after it the visit may succeed. */
    visit.keys[BUCKET_USER] = SLICE_LIT("u");
    assert_false(bucket_take(b, &visit, 0, &refusal));
    assert_int_equal(refusal.kind, BUCKET_USER);
    assert_int_equal(refusal.wait_ms, 1000);
    visit.keys[BUCKET_USER] = SLICE_LIT("w");
    visit.is_global = false;
    assert_true(bucket_take(b, &visit, 0, &refusal));
    visit.keys[BUCKET_USER] = SLICE_LIT("x");
    assert_false(bucket_take(b, &visit, 0, &refusal));
    assert_int_equal(refusal.kind, BUCKET_IP);
    bucket_destroy(b);
}

/* However many keys come, the memory stays and what they get together is bounded. */
static void flood_of_keys(void **state)
{
    (void)state;
    enum { KEYS = 200000, BUCKETS = 256, BURST = 4 };
    struct bucket *b = make(BUCKET_USER, 1, BURST, BUCKETS);
    size_t bytes = bucket_bytes(b);
    assert_int_equal(bytes, BUCKETS * 16);
    char key[32];
    int64_t got = 0;
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof(key), "user-%d", i);
        got += take(b, BUCKET_USER, key, 1000) == 0;
    }
    assert_int_equal(bucket_bytes(b), bytes);
    assert_int_equal(got, BUCKETS * BURST);
    /* Ten seconds on, as much more as all the buckets were refilled. */
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof(key), "other-%d", i);
        got += take(b, BUCKET_USER, key, 3000) == 0;
    }
    assert_int_equal(got, BUCKETS * (BURST + 2));
    bucket_destroy(b);
}

/* Pushing one's own key out with others does not make its bucket fresh again. */
static void eviction_is_no_refill(void **state)
{
    (void)state;
    enum { BURST = 5 };
    struct bucket *b = make(BUCKET_USER, 1, BURST, BUCKET_WAYS); /* one set */
    char key[32];
    int64_t got = 0;
    for (int round = 0; round < 100; round++) {
        got += take_all(b, BUCKET_USER, "me", 1000);
        for (int i = 0; i < 3 * BUCKET_WAYS; i++) {
            (void)snprintf(key, sizeof(key), "%d-%d", round, i);
            got += take(b, BUCKET_USER, key, 1000) == 0;
        }
    }
    assert_int_equal(got, BUCKET_WAYS * BURST);
    bucket_destroy(b);
}

/* The newcomer gets the fullest bucket; the one that is in debt stays with its key. */
static void fullest_goes_first(void **state)
{
    (void)state;
    struct bucket *b = make(BUCKET_USER, 1, 10, BUCKET_WAYS);
    char key[8] = "k";
    for (int i = 0; i < BUCKET_WAYS; i++) {
        key[1] = (char)('0' + i);
        for (int n = 0; n <= i; n++) {
            assert_int_equal(take(b, BUCKET_USER, key, 1000), 0);
        }
    }
    assert_int_equal(take_all(b, BUCKET_USER, "new", 1000), 9); /* k0's, less one */
    key[1] = (char)('0' + BUCKET_WAYS - 1);
    assert_int_equal(take_all(b, BUCKET_USER, key, 1000), 10 - BUCKET_WAYS);
    bucket_destroy(b);
}

static void addresses(void **state)
{
    (void)state;
    struct bucket *b = make(BUCKET_IP, 1, 1, 4096);
    char v6[16] = {0x20, 0x01, 0x0d, (char)0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1};
    assert_int_equal(take_key(b, BUCKET_IP, (struct slice){v6, 16}, 0), 0);
    v6[15] = 2; /* the same /64 */
    assert_int_equal(take_key(b, BUCKET_IP, (struct slice){v6, 16}, 0), 1000);
    v6[8] = 2;
    assert_int_equal(take_key(b, BUCKET_IP, (struct slice){v6, 16}, 0), 1000);
    v6[7] = 2; /* another */
    assert_int_equal(take_key(b, BUCKET_IP, (struct slice){v6, 16}, 0), 0);
    char v4[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, (char)0xff, (char)0xff, 10, 0, 0, 1};
    assert_int_equal(take_key(b, BUCKET_IP, (struct slice){v4, 16}, 0), 0);
    assert_int_equal(take_key(b, BUCKET_IP, (struct slice){v4, 16}, 0), 1000);
    v4[15] = 2; /* IPv4 counts whole */
    assert_int_equal(take_key(b, BUCKET_IP, (struct slice){v4, 16}, 0), 0);
    bucket_destroy(b);
}

static void address_of(uint8_t out[PEERS_ADDRESS_BYTES], unsigned int n)
{
    memset(out, 0, PEERS_ADDRESS_BYTES);
    out[10] = out[11] = 0xff;
    out[12] = (uint8_t)(n >> 24);
    out[13] = (uint8_t)(n >> 16);
    out[14] = (uint8_t)(n >> 8);
    out[15] = (uint8_t)n;
}

/* Against plain counting, with many collisions, through a full table and back to empty. */
static void peers_counting(void **state)
{
    (void)state;
    enum { ADDRESSES = 50, STEPS = 200000, LIMIT = 4, ALL = 60 };
    struct peers *p = peers_create(ALL, LIMIT);
    size_t counts[ADDRESSES] = {0};
    size_t all = 0;
    uint32_t random = 1;
    uint8_t address[PEERS_ADDRESS_BYTES];
    for (int i = 0; i < STEPS; i++) {
        random = random * 1664525 + 1013904223;
        unsigned int n = (random >> 8) % ADDRESSES;
        address_of(address, n);
        assert_int_equal(peers_is_full(p, address), counts[n] >= LIMIT);
        if ((random >> 4 & 3) != 0) {
            bool expected = counts[n] < LIMIT && all < ALL;
            assert_int_equal(peers_enter(p, address), expected);
            counts[n] += expected;
            all += expected;
        } else if (counts[n] > 0) {
            peers_leave(p, address);
            counts[n]--;
            all--;
        }
    }
    for (unsigned int n = 0; n < ADDRESSES; n++) {
        address_of(address, n);
        for (; counts[n] > 0; counts[n]--) {
            peers_leave(p, address);
        }
        assert_true(peers_enter(p, address));
        peers_leave(p, address);
    }
    peers_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(burst_and_refill),
        cmocka_unit_test(steady),
        cmocka_unit_test(edges),
        cmocka_unit_test(time_goes_nowhere_or_back),
        cmocka_unit_test(keys_are_apart),
        cmocka_unit_test(all_or_nothing),
        cmocka_unit_test(flood_of_keys),
        cmocka_unit_test(eviction_is_no_refill),
        cmocka_unit_test(fullest_goes_first),
        cmocka_unit_test(addresses),
        cmocka_unit_test(peers_counting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
