/*
 * Everything here decides where a record goes or what it is called, so a change of one bit moves
 * orders between partitions or breaks the chain of every log in use.  The unit tests pin values
 * that were computed elsewhere (Kafka's own murmur2 vectors, Python's hashlib, xxhsum).
 *
 * XXH_INLINE_ALL makes the hash part of this file: the streaming state's layout is not part of
 * libxxhash's ABI, and records are short, where the call costs as much as the hash.
 */
#include "common/ids.h"

#define XXH_INLINE_ALL
#include <string.h>
#include <xxhash.h>

#include "common/entropy.h"
#include "common/hex.h"
#include "common/mutant.h"
#include "common/sha256.h"

enum {
    UUID_BYTES = 16,
    VERSION_AT = 14,      /* of the version digit in the text; the partition's three follow */
    VARIANT_AT = 19,      /* of the variant digit */
    RECORD_HEADER = 24,   /* offset, timestamp, two lengths */
    RECORD_INLINE = 2048, /* records up to this size are hashed from one copy on the stack */
};

enum char_class {
    CHAR_ITEM = 1, /* A-Z a-z 0-9 . _ - */
    CHAR_ID = 2,   /* printable, without `"` `,` `;` `\` */
    CHAR_HEX = 4,  /* 0-9 a-f */
};

/* clang-format off */
static const uint8_t classes[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 0x00 */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 0x10 */
    0, 2, 0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0, 3, 3, 2, /* 0x20 */
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 2, 0, 2, 2, 2, 2, /* 0x30 */
    2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, /* 0x40 */
    3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 0, 2, 2, 3, /* 0x50 */
    2, 7, 7, 7, 7, 7, 7, 3, 3, 3, 3, 3, 3, 3, 3, 3, /* 0x60 */
    3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2, 2, 0, /* 0x70 */
};
/* clang-format on */

/* The characters of a class at the front. */
static size_t count(const char *text, size_t len, enum char_class class)
{
    size_t n = 0;

    while (n < len && (classes[(unsigned char)text[n]] & class) != 0) {
        n++;
    }
    return n;
}

bool ids_is_id(struct slice s)
{
    return s.len > 0 && s.len <= IDS_MAX && count(s.ptr, s.len, CHAR_ID) == s.len;
}

/*
 * Reads an item's suffix, what follows the '@'.  A number too large for any partition is
 * well-formed and becomes IDS_PARTITIONS_MAX.
 */
static bool read_suffix(struct slice digits, int *partition)
{
    int n = 0;

    if (digits.len == 0 || (digits.ptr[0] == '0' && digits.len > 1)) {
        return false;
    }
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9') {
            return false;
        }
        n = n * 10 + (digits.ptr[i] - '0');
        if (n > IDS_PARTITIONS_MAX) {
            n = IDS_PARTITIONS_MAX;
        }
    }
    *partition = n;
    return true;
}

/* Checks the form of an item_id; *partition is what its suffix names, or -1 without one. */
static bool read_item(struct slice s, int *partition)
{
    size_t i = 0;

    if (s.len > IDS_MAX) {
        return false;
    }
    i = count(s.ptr, s.len, CHAR_ITEM);
    if (i == 0) {
        return false;
    }
    if (i == s.len) {
        *partition = -1;
        return true;
    }
    return s.ptr[i] == '@' && read_suffix((struct slice){s.ptr + i + 1, s.len - i - 1}, partition);
}

bool ids_is_item(struct slice s)
{
    int partition;

    return read_item(s, &partition);
}

static bool is_lower_hex(const char *s, size_t len)
{
    return count(s, len, CHAR_HEX) == len;
}

bool ids_is_log(struct slice s)
{
    return s.len == IDS_LOG_LEN && is_lower_hex(s.ptr, IDS_LOG_LEN);
}

/* As org.apache.kafka.common.utils.Utils.murmur2(), so that any Kafka client can route. */
static uint32_t murmur2(struct slice s)
{
    const uint32_t m = 0x5bd1e995;
    const unsigned char *p = (const unsigned char *)s.ptr;
    uint32_t h = 0x9747b28cU ^ (uint32_t)s.len;
    size_t left = s.len;

    while (left >= 4) {
        uint32_t k =
            (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;

        k *= m;
        k ^= k >> 24;
        k *= m;
        h *= m;
        h ^= k;
        p += 4;
        left -= 4;
    }
    if (left > 0) {
        for (size_t i = 0; i < left; i++) {
            h ^= (uint32_t)p[i] << (8 * i);
        }
        h *= m;
    }
    h ^= h >> 13;
    h *= m;
    h ^= h >> 15;
    return h;
}

int ids_route(struct slice item_id, int partitions)
{
    int partition;

    if (partitions < 1 || !read_item(item_id, &partition)) {
        return -1;
    }
    if (partition >= 0) {
        return partition < partitions ? partition : -1;
    }
    return (int)((murmur2(item_id) & 0x7fffffffU) % (uint32_t)partitions);
}

static int hex_value(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

bool ids_parse_order(struct slice s, int *partition, bool *keyed)
{
    char version;

    if (s.len != IDS_ORDER_LEN || s.ptr[8] != '-' || s.ptr[13] != '-' || s.ptr[18] != '-' ||
        s.ptr[23] != '-' || !is_lower_hex(s.ptr, 8) || !is_lower_hex(s.ptr + 9, 4) ||
        !is_lower_hex(s.ptr + 14, 4) || !is_lower_hex(s.ptr + 19, 4) ||
        !is_lower_hex(s.ptr + 24, 12)) {
        return false;
    }
    version = s.ptr[VERSION_AT];
    if ((version != '7' && version != '8') || (hex_value(s.ptr[VARIANT_AT]) & 0xc) != 0x8) {
        return false;
    }
    if (partition != NULL) {
        *partition = hex_value(s.ptr[VERSION_AT + 1]) << 8 | hex_value(s.ptr[VERSION_AT + 2]) << 4 |
                     hex_value(s.ptr[VERSION_AT + 3]);
    }
    if (keyed != NULL) {
        *keyed = version == '8';
    }
    return true;
}

/* Writes version, partition and variant over 16 bytes and formats them. */
static void finish_order(char out[IDS_ORDER_LEN + 1], unsigned char uuid[UUID_BYTES],
                         unsigned version, int partition)
{
    static const size_t GROUP_BYTES[] = {4, 2, 2, 2, 6};
    const unsigned char *from = uuid;
    char *to = out;

    uuid[6] = (unsigned char)(version << 4 | ((unsigned)partition >> 8 & 0xf));
    uuid[7] = (unsigned char)(partition & 0xff);
    uuid[8] = (unsigned char)(0x80 | (uuid[8] & 0x3f));
    for (size_t i = 0; i < sizeof(GROUP_BYTES) / sizeof(GROUP_BYTES[0]); i++) {
        hex_encode(from, GROUP_BYTES[i], to); /* its NUL becomes the dash */
        from += GROUP_BYTES[i];
        to += 2 * GROUP_BYTES[i];
        *to++ = '-';
    }
    out[IDS_ORDER_LEN] = '\0';
}

bool ids_order_unkeyed(char out[IDS_ORDER_LEN + 1], int partition, int64_t wall_ms)
{
    unsigned char uuid[UUID_BYTES];

    if (!entropy_take(uuid, sizeof(uuid))) {
        out[0] = '\0';
        return false;
    }
    for (size_t i = 0; i < 6; i++) {
        uuid[i] = (unsigned char)((uint64_t)wall_ms >> (40 - 8 * i));
    }
    finish_order(out, uuid, 7, partition);
    return true;
}

void ids_order_keyed(char out[IDS_ORDER_LEN + 1], int partition, struct slice user_id,
                     struct slice item_id, struct slice key)
{
    static const struct slice nothing = {NULL, 0};
    const struct slice nul = {"", 1};
    const struct slice parts[] = {
        MUTANT(USER_NOT_IN_ID) ? nothing : user_id, nul, item_id, nul,
        MUTANT(KEY_NOT_IN_ID) ? nothing : key,
    };
    unsigned char digest[SHA256_BYTES];

    sha256_digest(parts, sizeof(parts) / sizeof(parts[0]), digest);
    finish_order(out, digest, 8, partition);
}

static unsigned char *put_u64(unsigned char *p, uint64_t n)
{
    for (size_t i = 0; i < 8; i++) {
        p[i] = (unsigned char)(n >> (8 * i));
    }
    return p + 8;
}

/* -1 for null; Kafka itself counts lengths in an int32. */
static unsigned char *put_length(unsigned char *p, struct slice s)
{
    const uint32_t n = s.ptr == NULL ? UINT32_MAX : (uint32_t)s.len;

    for (size_t i = 0; i < 4; i++) {
        p[i] = (unsigned char)(n >> (8 * i));
    }
    return p + 4;
}

static unsigned char *put_bytes(unsigned char *p, struct slice s)
{
    if (s.len > 0) {
        memcpy(p, s.ptr, s.len);
    }
    return p + s.len;
}

static uint64_t hash_long_record(const unsigned char *before_key, struct slice key,
                                 const unsigned char *before_value, struct slice value)
{
    XXH3_state_t state;

    /* None of these can fail: they do so for a NULL state or input only. */
    (void)XXH3_64bits_reset(&state);
    (void)XXH3_64bits_update(&state, before_key, RECORD_HEADER - 4);
    if (key.len > 0) {
        (void)XXH3_64bits_update(&state, key.ptr, key.len);
    }
    (void)XXH3_64bits_update(&state, before_value, 4);
    if (value.len > 0) {
        (void)XXH3_64bits_update(&state, value.ptr, value.len);
    }
    return XXH3_64bits_digest(&state);
}

uint64_t ids_record_hash(int64_t offset, int64_t timestamp, struct slice key, struct slice value)
{
    unsigned char bytes[RECORD_INLINE];
    unsigned char *p = put_u64(bytes, (uint64_t)offset);

    p = put_u64(p, (uint64_t)timestamp);
    p = put_length(p, key);
    if (key.len > RECORD_INLINE || value.len > RECORD_INLINE ||
        RECORD_HEADER + key.len + value.len > RECORD_INLINE) {
        (void)put_length(p, value);
        return hash_long_record(bytes, key, p, value);
    }
    p = put_bytes(p, key);
    p = put_length(p, value);
    p = put_bytes(p, value);
    return XXH3_64bits(bytes, (size_t)(p - bytes));
}

uint64_t ids_chain_start(struct slice log_id)
{
    return XXH3_64bits(log_id.ptr, log_id.len);
}

uint64_t ids_chain_next(uint64_t chain, uint64_t record_hash)
{
    unsigned char bytes[16];

    (void)put_u64(put_u64(bytes, chain), record_hash);
    return XXH3_64bits(bytes, sizeof(bytes));
}

void ids_hash_format(char out[IDS_HASH_LEN + 1], uint64_t hash)
{
    hex_encode_u64(hash, out);
}

bool ids_hash_parse(struct slice s, uint64_t *hash)
{
    return hex_decode_u64(s, hash);
}
