/*
 * Vectors of FIPS 180-4 and RFC 4231; the rest is compared with libcrypto's own HMAC().
 */
#include "common/sha256.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/hex.h"

static void assert_hex(const unsigned char bytes[SHA256_BYTES], const char *expected)
{
    char text[2 * SHA256_BYTES + 1];

    hex_encode(bytes, SHA256_BYTES, text);
    assert_string_equal(text, expected);
}

static void digests(void **state)
{
    const struct slice parts[] = {SLICE_LIT("a"), {NULL, 0}, SLICE_LIT("bc")};
    unsigned char out[SHA256_BYTES];

    (void)state;
    sha256_digest(NULL, 0, out);
    assert_hex(out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256_digest(parts, 3, out);
    assert_hex(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void macs(void **state)
{
    struct sha256_key key;
    unsigned char out[SHA256_BYTES];
    char long_key[131];

    (void)state;
    sha256_key_set(&key, SLICE_LIT("Jefe"));
    for (int i = 0; i < 2; i++) { /* a key serves many times */
        sha256_mac(&key, SLICE_LIT("what do ya want for nothing?"), out);
        assert_hex(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
    memset(long_key, 0xaa, sizeof(long_key));
    sha256_key_set(&key, (struct slice){long_key, sizeof(long_key)});
    sha256_mac(&key, SLICE_LIT("Test Using Larger Than Block-Size Key - Hash Key First"), out);
    assert_hex(out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void every_length(void **state)
{
    char text[200];
    unsigned char out[SHA256_BYTES];
    unsigned char expected[EVP_MAX_MD_SIZE];
    struct sha256_key key;

    (void)state;
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (char)(i * 37 + 1);
    }
    for (size_t len = 0; len <= sizeof(text); len++) {
        const size_t key_len = len / 2 + 1;

        sha256_key_set(&key, (struct slice){text, key_len});
        sha256_mac(&key, (struct slice){text, len}, out);
        assert_non_null(HMAC(EVP_sha256(), text, (int)key_len, (const unsigned char *)text, len,
                             expected, NULL));
        assert_memory_equal(out, expected, SHA256_BYTES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests),
        cmocka_unit_test(macs),
        cmocka_unit_test(every_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
