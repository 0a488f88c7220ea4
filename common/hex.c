#include "common/hex.h"

static const char digits[] = "0123456789abcdef";

void hex_encode(const void *bytes, size_t len, char *out)
{
    const unsigned char *in = bytes;

    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[in[i] >> 4];
        out[2 * i + 1] = digits[in[i] & 15];
    }
    out[2 * len] = '\0';
}

/* -1 for anything but a lower-case digit. */
static int value_of(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_decode(struct slice text, void *out, size_t len)
{
    unsigned char *bytes = out;

    if (text.len % 2 != 0 || text.len / 2 != len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        const int high = value_of(text.ptr[2 * i]);
        const int low = value_of(text.ptr[2 * i + 1]);

        if (high < 0 || low < 0) {
            return false;
        }
        bytes[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

void hex_encode_u64(uint64_t n, char out[17])
{
    const uint64_t big_endian = __builtin_bswap64(n);

    hex_encode(&big_endian, sizeof(big_endian), out);
}

bool hex_decode_u64(struct slice text, uint64_t *out)
{
    uint64_t big_endian = 0;

    if (!hex_decode(text, &big_endian, sizeof(big_endian))) {
        return false;
    }
    *out = __builtin_bswap64(big_endian);
    return true;
}
