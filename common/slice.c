#include "common/slice.h"

#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool slice_starts(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && slice_eq((struct slice){s.ptr, prefix.len}, prefix);
}

struct slice slice_trim(struct slice s)
{
    while (s.len > 0 && is_blank(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && is_blank(s.ptr[s.len - 1])) {
        s.len--;
    }
    return s;
}

struct slice slice_cut(struct slice s, char separator, struct slice *rest)
{
    const char *at = s.len == 0 ? NULL : memchr(s.ptr, separator, s.len);

    if (at == NULL) {
        *rest = (struct slice){NULL, 0};
        return s;
    }
    const size_t before = (size_t)(at - s.ptr);

    *rest = (struct slice){at + 1, s.len - before - 1};
    return (struct slice){s.ptr, before};
}

bool slice_copy(struct slice s, char *dst, size_t size)
{
    if (s.len >= size || (s.len > 0 && memchr(s.ptr, '\0', s.len) != NULL)) {
        dst[0] = '\0';
        return false;
    }
    if (s.len > 0) {
        memcpy(dst, s.ptr, s.len);
    }
    dst[s.len] = '\0';
    return true;
}

bool slice_to_i64(struct slice s, int64_t min, int64_t max, int64_t *out)
{
    const bool negative = s.len > 0 && s.ptr[0] == '-';
    int64_t n = 0;
    size_t i = negative ? 1 : 0;

    if (i == s.len || (s.ptr[i] == '0' && s.len > 1)) {
        return false;
    }
    /* Counted downwards: the most negative number has no positive twin. */
    for (; i < s.len; i++) {
        const char c = s.ptr[i];

        if (c < '0' || c > '9' || __builtin_mul_overflow(n, 10, &n) ||
            __builtin_sub_overflow(n, c - '0', &n)) {
            return false;
        }
    }
    if (!negative && __builtin_sub_overflow(0, n, &n)) {
        return false;
    }
    if (n < min || n > max) {
        return false;
    }
    *out = n;
    return true;
}

size_t slice_utf8_char(struct slice s)
{
    /* Second byte's range by first byte: this is where overlong forms and surrogates end. */
    const unsigned char *p = (const unsigned char *)s.ptr;
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    size_t len = 0;

    if (s.len == 0) {
        return 0;
    }
    if (p[0] < 0x80) {
        return 1;
    }
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        len = 2;
    } else if ((p[0] & 0xf0) == 0xe0) {
        len = 3;
        low = p[0] == 0xe0 ? 0xa0 : low;
        high = p[0] == 0xed ? 0x9f : high;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        len = 4;
        low = p[0] == 0xf0 ? 0x90 : low;
        high = p[0] == 0xf4 ? 0x8f : high;
    }
    if (len == 0 || s.len < len || p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return len;
}

bool slice_is_utf8(struct slice s)
{
    while (s.len > 0) {
        const size_t n = slice_utf8_char(s);

        if (n == 0) {
            return false;
        }
        s.ptr += n;
        s.len -= n;
    }
    return true;
}
