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

enum { IS = 0x80 };

/* IS and the value of each character of the alphabet, 0 for all others. */
static const unsigned char values[256] = {
    ['A'] = IS | 0,  ['B'] = IS | 1,  ['C'] = IS | 2,  ['D'] = IS | 3,  ['E'] = IS | 4,
    ['F'] = IS | 5,  ['G'] = IS | 6,  ['H'] = IS | 7,  ['I'] = IS | 8,  ['J'] = IS | 9,
    ['K'] = IS | 10, ['L'] = IS | 11, ['M'] = IS | 12, ['N'] = IS | 13, ['O'] = IS | 14,
    ['P'] = IS | 15, ['Q'] = IS | 16, ['R'] = IS | 17, ['S'] = IS | 18, ['T'] = IS | 19,
    ['U'] = IS | 20, ['V'] = IS | 21, ['W'] = IS | 22, ['X'] = IS | 23, ['Y'] = IS | 24,
    ['Z'] = IS | 25, ['a'] = IS | 26, ['b'] = IS | 27, ['c'] = IS | 28, ['d'] = IS | 29,
    ['e'] = IS | 30, ['f'] = IS | 31, ['g'] = IS | 32, ['h'] = IS | 33, ['i'] = IS | 34,
    ['j'] = IS | 35, ['k'] = IS | 36, ['l'] = IS | 37, ['m'] = IS | 38, ['n'] = IS | 39,
    ['o'] = IS | 40, ['p'] = IS | 41, ['q'] = IS | 42, ['r'] = IS | 43, ['s'] = IS | 44,
    ['t'] = IS | 45, ['u'] = IS | 46, ['v'] = IS | 47, ['w'] = IS | 48, ['x'] = IS | 49,
    ['y'] = IS | 50, ['z'] = IS | 51, ['0'] = IS | 52, ['1'] = IS | 53, ['2'] = IS | 54,
    ['3'] = IS | 55, ['4'] = IS | 56, ['5'] = IS | 57, ['6'] = IS | 58, ['7'] = IS | 59,
    ['8'] = IS | 60, ['9'] = IS | 61, ['-'] = IS | 62, ['_'] = IS | 63,
};

bool base64url_decode(struct slice text, void *out, size_t capacity, size_t *len)
{
    const unsigned char *in = (const unsigned char *)text.ptr;
    const size_t whole = text.len / 4 * 4;
    unsigned char *bytes = out;
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;

    if (text.len % 4 == 1 || BASE64URL_BYTES(text.len) > capacity) {
        return false;
    }
    for (size_t i = 0; i < whole; i += 4) {
        const unsigned char a = values[in[i]];
        const unsigned char b = values[in[i + 1]];
        const unsigned char c = values[in[i + 2]];
        const unsigned char d = values[in[i + 3]];

        if ((a & b & c & d & IS) == 0) {
            return false;
        }
        bits = (a & 63U) << 18 | (b & 63U) << 12 | (c & 63U) << 6 | (d & 63U);
        bytes[n++] = (unsigned char)(bits >> 16);
        bytes[n++] = (unsigned char)(bits >> 8);
        bytes[n++] = (unsigned char)bits;
    }
    bits = 0;
    for (size_t i = whole; i < text.len; i++) {
        const unsigned char value = values[in[i]];

        if ((value & IS) == 0) {
            return false;
        }
        bits = bits << 6 | (value & 63U);
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
