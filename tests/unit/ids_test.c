/*
 * The pinned values come from elsewhere: Kafka's own test of Utils.murmur2(), Python's hashlib, and
 * libxxhash over records packed by Python's struct.
 */
#include "common/ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include <cmocka.h>

static struct slice repeat(char c, size_t n)
{
    static char bytes[8192];

    assert_true(n <= sizeof(bytes));
    memset(bytes, c, n);
    return (struct slice){bytes, n};
}

static void an_id_is_1_to_64_printable_characters(void **state)
{
    (void)state;
    assert_false(ids_is_id(slice_str("")));
    assert_false(ids_is_id(slice_str(NULL)));
    assert_true(ids_is_id(repeat('a', 1)));
    assert_true(ids_is_id(repeat('a', 64)));
    assert_false(ids_is_id(repeat('a', 65)));
    for (int c = 0; c < 256; c++) {
        const char text[] = {'x', (char)c, 'y'};
        const bool good = c > ' ' && c < 0x7f && strchr("\",;\\", c) == NULL;

        assert_int_equal(ids_is_id((struct slice){text, 3}), good);
        assert_int_equal(ids_is_id((struct slice){text + 1, 1}), good);
    }
}

static void an_item_id_has_few_characters_and_may_name_its_partition(void **state)
{
    static const char *const good[] = {
        "a", "phone", "A.b_c-9", "phone@0", "phone@4095", "phone@99999999999999999999999999", "-"};
    static const char *const bad[] = {"",     "@",     "@3",   "a@",       "a@00",  "a@03", "a@-1",
                                      "a@3x", "a@3@3", "a@x",  "a b",      "a/b",   "a:b",  "a,b",
                                      "a;b",  "a\"b",  "a@3 ", "\xc3\xa9", "a\x80", "a{b}"};
    char suffixed[IDS_MAX + 2];

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(ids_is_item(slice_str(good[i])));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(ids_is_item(slice_str(bad[i])));
    }
    assert_false(ids_is_item((struct slice){"a\0b", 3}));
    assert_true(ids_is_item(repeat('z', 64)));
    assert_false(ids_is_item(repeat('z', 65)));
    memset(suffixed, 'z', sizeof(suffixed));
    suffixed[IDS_MAX - 2] = '@';
    suffixed[IDS_MAX - 1] = '1';
    suffixed[IDS_MAX] = '2';
    assert_true(ids_is_item((struct slice){suffixed, IDS_MAX}));
    assert_false(ids_is_item((struct slice){suffixed, IDS_MAX + 1}));
}

static void an_item_is_routed_as_any_kafka_client_would(void **state)
{
    static const struct {
        const char *item_id;
        int32_t murmur2;
    } vectors[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        const int32_t positive = vectors[i].murmur2 & 0x7fffffff;

        /* Every number of partitions: more than enough remainders to tell any 31 bits apart. */
        for (int partitions = 1; partitions <= IDS_PARTITIONS_MAX; partitions++) {
            assert_int_equal(ids_route(slice_str(vectors[i].item_id), partitions),
                             positive % partitions);
        }
    }
}

static void a_suffix_decides_the_route(void **state)
{
    (void)state;
    assert_int_equal(ids_route(slice_str("phone@0"), 1), 0);
    assert_int_equal(ids_route(slice_str("phone@3"), 4), 3);
    assert_int_equal(ids_route(slice_str("phone@4"), 4), -1);
    assert_int_equal(ids_route(slice_str("phone@4095"), 4096), 4095);
    assert_int_equal(ids_route(slice_str("phone@4096"), 4096), -1);
    assert_int_equal(ids_route(slice_str("phone@4294967299"), 4096), -1); /* 3 modulo 2^32 */
    assert_int_equal(ids_route(slice_str("phone@"), 4), -1);
    assert_int_equal(ids_route(slice_str(""), 4), -1);
    assert_int_equal(ids_route(slice_str("phone"), 0), -1);
}

static void an_order_id_tells_partition_and_keyed(void **state)
{
    const char *const good = "0190163d-8694-7abc-b966-02a1b9e15d3c";
    char text[IDS_ORDER_LEN + 1];
    int partition = -1;
    bool keyed = true;

    (void)state;
    assert_true(ids_parse_order(slice_str(good), &partition, &keyed));
    assert_int_equal(partition, 0xabc);
    assert_false(keyed);
    assert_true(
        ids_parse_order(slice_str("e787366c-4cc6-8003-b966-02a1b9e15d3c"), &partition, &keyed));
    assert_int_equal(partition, 3);
    assert_true(keyed);
    assert_true(ids_parse_order(slice_str(good), NULL, NULL));

    for (size_t at = 0; at < IDS_ORDER_LEN; at++) {
        const bool is_dash = good[at] == '-';

        for (int c = 0; c < 256; c++) {
            const bool is_hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
            bool want = is_dash ? c == '-' : is_hex;

            if (at == 14) {
                want = c == '7' || c == '8';
            } else if (at == 19) {
                want = c == '8' || c == '9' || c == 'a' || c == 'b';
            }
            memcpy(text, good, sizeof(text));
            text[at] = (char)c;
            assert_int_equal(ids_parse_order((struct slice){text, IDS_ORDER_LEN}, NULL, NULL),
                             want);
        }
        assert_false(ids_parse_order((struct slice){good, at}, NULL, NULL));
    }
    memcpy(text, good, IDS_ORDER_LEN);
    text[IDS_ORDER_LEN] = '0';
    assert_false(ids_parse_order((struct slice){text, IDS_ORDER_LEN + 1}, NULL, NULL));
    assert_false(ids_parse_order(slice_str(NULL), NULL, NULL));
}

static void an_unkeyed_order_id_is_fresh_and_carries_the_time(void **state)
{
    static const int partitions[] = {0, 1, 0xabc, IDS_PARTITIONS_MAX - 1};
    const int64_t ms = 0x0190163d8694;

    (void)state;
    for (size_t i = 0; i < sizeof(partitions) / sizeof(partitions[0]); i++) {
        char id[IDS_ORDER_LEN + 1];
        char next[IDS_ORDER_LEN + 1];
        int partition = -1;
        bool keyed = true;

        assert_true(ids_order_unkeyed(id, partitions[i], ms));
        assert_true(ids_order_unkeyed(next, partitions[i], ms));
        assert_true(ids_parse_order(slice_str(id), &partition, &keyed));
        assert_int_equal(partition, partitions[i]);
        assert_false(keyed);
        assert_memory_equal(id, "0190163d-8694-7", 15);
        assert_string_not_equal(id, next);
        assert_memory_not_equal(id + 20, next + 20, 16); /* random in both of the last groups */
    }
}

static void a_key_always_makes_the_same_order_id(void **state)
{
    char id[IDS_ORDER_LEN + 1];
    char user[64];
    char item[64];
    char key[255];

    (void)state;
    ids_order_keyed(id, 3, slice_str("alice"), slice_str("phone@3"), slice_str("k-1"));
    assert_string_equal(id, "e787366c-4cc6-8003-b966-02a1b9e15d3c");
    ids_order_keyed(id, 0xabc, slice_str("alice"), slice_str("phone@3"), slice_str("k-1"));
    assert_string_equal(id, "e787366c-4cc6-8abc-b966-02a1b9e15d3c");
    ids_order_keyed(id, 0, slice_str("alice"), slice_str("phone"), slice_str(""));
    assert_string_equal(id, "e0d22522-2141-8000-9949-92f4fd1cc6b3");
    memset(user, 'u', sizeof(user));
    memset(item, 'i', sizeof(item));
    memset(key, 'x', sizeof(key));
    ids_order_keyed(id, 4095, (struct slice){user, sizeof(user)},
                    (struct slice){item, sizeof(item)}, (struct slice){key, sizeof(key)});
    assert_string_equal(id, "aa22f384-e841-8fff-b64b-bc51a63c73a2");
}

static void what_belongs_to_whom_is_part_of_the_key(void **state)
{
    char ab_c[IDS_ORDER_LEN + 1];
    char a_bc[IDS_ORDER_LEN + 1];

    (void)state;
    ids_order_keyed(ab_c, 0, slice_str("ab"), slice_str("c"), slice_str("k"));
    ids_order_keyed(a_bc, 0, slice_str("a"), slice_str("bc"), slice_str("k"));
    assert_string_not_equal(ab_c, a_bc);
}

static void a_record_hash_covers_every_part(void **state)
{
    const struct slice tick = SLICE_LIT("{\"type\":\"tick\"}");
    const struct slice null = {NULL, 0};
    const struct slice empty = SLICE_LIT("");

    (void)state;
    assert_int_equal(ids_record_hash(0, 1712345678901, null, tick), 0xb16574f2af274e57);
    assert_int_equal(ids_record_hash(17, -1, SLICE_LIT("phone@3"), null), 0x0ec4571e783a9832);
    assert_int_equal(ids_record_hash(9007199254740991, 9007199254740991, empty, empty),
                     0x64adfc224a26d4a6);
    assert_int_equal(ids_record_hash(5, 6, SLICE_LIT("k"), repeat('v', 3000)), 0x3f57f98161577140);
    assert_int_not_equal(ids_record_hash(1, 2, null, tick), ids_record_hash(1, 2, empty, tick));
    assert_int_not_equal(ids_record_hash(1, 2, tick, null), ids_record_hash(1, 2, tick, empty));
}

static void a_record_hash_does_not_depend_on_how_it_is_computed(void **state)
{
    static const size_t key_lens[] = {0, 1, 36, 2048, 2049};
    unsigned char bytes[24 + 2049 + 4096];

    (void)state;
    memset(bytes, 0, 24);
    bytes[0] = 7;
    bytes[8] = 9;
    for (size_t i = 0; i < sizeof(key_lens) / sizeof(key_lens[0]); i++) {
        const size_t key_len = key_lens[i];

        for (size_t value_len = 1900; value_len <= 4096; value_len += value_len < 2100 ? 1 : 499) {
            const struct slice key = {repeat('r', key_len).ptr, key_len};
            const struct slice value = repeat('r', value_len);

            memset(bytes + 16, 0, 8);
            bytes[16] = (unsigned char)key_len;
            bytes[17] = (unsigned char)(key_len >> 8);
            memset(bytes + 20, 'r', key_len);
            memset(bytes + 20 + key_len, 0, 4);
            bytes[20 + key_len] = (unsigned char)value_len;
            bytes[21 + key_len] = (unsigned char)(value_len >> 8);
            memset(bytes + 24 + key_len, 'r', value_len);
            assert_int_equal(ids_record_hash(7, 9, key, value),
                             XXH3_64bits(bytes, 24 + key_len + value_len));
        }
    }
}

static void the_chain_is_pinned(void **state)
{
    uint64_t chain = ids_chain_start(SLICE_LIT("0123456789abcdef0123456789abcdef"));

    (void)state;
    assert_int_equal(chain, 0x01121d5b6c0ac055);
    chain = ids_chain_next(chain, 0xb16574f2af274e57);
    assert_int_equal(chain, 0x8f7bd9fcfdb85775);
    chain = ids_chain_next(chain, 0x0ec4571e783a9832);
    assert_int_equal(chain, 0x82a0a7614d7f693f);
}

static void a_hash_is_16_lower_case_digits(void **state)
{
    static const char *const bad[] = {"",
                                      "0ec4571e783a983",
                                      "0ec4571e783a98320",
                                      "0EC4571E783A9832",
                                      "0ec4571e783a983g",
                                      " ec4571e783a9832",
                                      "0x0571e783a98321"};
    char text[IDS_HASH_LEN + 1];
    uint64_t hash = 0;

    (void)state;
    ids_hash_format(text, 0x0ec4571e783a9832);
    assert_string_equal(text, "0ec4571e783a9832");
    assert_true(ids_hash_parse(slice_str(text), &hash));
    assert_int_equal(hash, 0x0ec4571e783a9832);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(ids_hash_parse(slice_str(bad[i]), &hash));
    }
}

static void a_log_id_is_32_lower_case_digits(void **state)
{
    (void)state;
    assert_true(ids_is_log(SLICE_LIT("0123456789abcdef0123456789abcdef")));
    assert_false(ids_is_log(SLICE_LIT("0123456789abcdef0123456789abcde")));
    assert_false(ids_is_log(SLICE_LIT("0123456789abcdef0123456789abcdef0")));
    assert_false(ids_is_log(SLICE_LIT("0123456789abcdef0123456789abcdeF")));
    assert_false(ids_is_log(SLICE_LIT("0123456789abcdef0123456789abcdeg")));
    assert_false(ids_is_log(slice_str(NULL)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_is_1_to_64_printable_characters),
        cmocka_unit_test(an_item_id_has_few_characters_and_may_name_its_partition),
        cmocka_unit_test(an_item_is_routed_as_any_kafka_client_would),
        cmocka_unit_test(a_suffix_decides_the_route),
        cmocka_unit_test(an_order_id_tells_partition_and_keyed),
        cmocka_unit_test(an_unkeyed_order_id_is_fresh_and_carries_the_time),
        cmocka_unit_test(a_key_always_makes_the_same_order_id),
        cmocka_unit_test(what_belongs_to_whom_is_part_of_the_key),
        cmocka_unit_test(a_record_hash_covers_every_part),
        cmocka_unit_test(a_record_hash_does_not_depend_on_how_it_is_computed),
        cmocka_unit_test(the_chain_is_pinned),
        cmocka_unit_test(a_hash_is_16_lower_case_digits),
        cmocka_unit_test(a_log_id_is_32_lower_case_digits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
