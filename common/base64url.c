#include "common/base64url.h"

#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

size_t base64url_encode(const void *bytes, size_t len, char *out)
{
    const unsigned char *in = bytes;
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | in[i];
        for (have += 8; have >= 6; have -= 6) {
            out[n++] = alphabet[bits >> (have - 6) & 63];
        }
    }
    if (have > 0) {
        out[n++] = alphabet[bits << (6 - have) & 63];
    }
    out[n] = '\0';
    return n;
}

/* -1 for a character outside the alphabet. */
static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == '-') {
        return 62;
    }
    return c == '_' ? 63 : -1;
}

bool base64url_decode(struct slice text, void *out, size_t capacity, size_t *len)
{
    unsigned char *bytes = out;
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;

    if (text.len % 4 == 1 || BASE64URL_BYTES(text.len) > capacity) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        const int value = value_of(text.ptr[i]);

        if (value < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)value;
        have += 6;
        if (have >= 8) {
            have -= 8;
            bytes[n++] = (unsigned char)(bits >> have);
        }
    }
    if ((bits & ((1U << have) - 1)) != 0) {
        return false;
    }
    *len = n;
    return true;
}
