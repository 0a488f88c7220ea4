/*
 * Invariant: capacity counts the NUL, so len < capacity whenever ptr is set, and ptr[len] is NUL.
 * Growth doubles, up to max_bytes + 1.
 */
#include "common/buf.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/span.h"
#include "common/xmalloc.h"

enum { FIRST_CAPACITY = 256 };

void buf_init(struct buf *b, size_t max_bytes)
{
    *b = (struct buf){.max_bytes = max_bytes};
}

void buf_init_fixed(struct buf *b, char *storage, size_t size)
{
    assert(size >= 1);
    *b = (struct buf){.ptr = storage, .capacity = size, .max_bytes = size - 1, .is_fixed = true};
    storage[0] = '\0';
}

void buf_fini(struct buf *b)
{
    if (b->is_fixed) {
        buf_clear(b);
        return;
    }
    free(b->ptr);
    buf_init(b, b->max_bytes);
}

void buf_clear(struct buf *b)
{
    buf_truncate(b, 0);
}

void buf_truncate(struct buf *b, size_t len)
{
    assert(len <= b->len);
    b->len = len;
    b->failed = false;
    if (b->ptr != NULL) {
        b->ptr[len] = '\0';
    }
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (b->failed || n > b->max_bytes - b->len) {
        b->failed = true;
        return NULL;
    }
    if (b->len + n >= b->capacity) {
        size_t capacity = b->capacity < FIRST_CAPACITY ? FIRST_CAPACITY : b->capacity;

        while (capacity <= b->len + n) {
            capacity *= 2;
        }
        if (capacity > b->max_bytes) {
            capacity = b->max_bytes + 1;
        }
        b->ptr = xreallocarray(b->ptr, capacity, 1);
        b->capacity = capacity;
        b->ptr[b->len] = '\0';
    }
    return b->ptr + b->len;
}

void buf_commit(struct buf *b, size_t n)
{
    assert(b->len + n < b->capacity);
    b->len += n;
    b->ptr[b->len] = '\0';
}

void buf_append_grow(struct buf *b, const void *bytes, size_t len)
{
    char *at = buf_reserve(b, len);

    if (at != NULL && len > 0) {
        memcpy(at, bytes, len);
        buf_commit(b, len);
    }
}

void buf_put_i64(struct buf *b, int64_t n)
{
    char text[24];
    char *p = text + sizeof(text);
    uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

    do {
        *--p = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (n < 0) {
        *--p = '-';
    }
    buf_append(b, p, (size_t)(text + sizeof(text) - p));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    const size_t room = b->capacity - b->len; /* 0 of an untouched one */
    va_list ap;
    int n = 0;

    if (b->failed) {
        return;
    }
    va_start(ap, fmt);
    n = vsnprintf(room > 0 ? b->ptr + b->len : NULL, room, fmt, ap);
    va_end(ap);
    assert(n >= 0); /* only a bad format string of ours fails */
    if ((size_t)n >= room) {
        /* Too short: what was written is not committed; grow and write again. */
        char *at = buf_reserve(b, (size_t)n);

        if (at == NULL) {
            if (b->ptr != NULL) {
                b->ptr[b->len] = '\0';
            }
            return;
        }
        va_start(ap, fmt);
        n = vsnprintf(at, (size_t)n + 1, fmt, ap);
        va_end(ap);
        assert(n >= 0);
    }
    buf_commit(b, (size_t)n);
}

static void put_escape(struct buf *b, unsigned char c)
{
    static const char shorts[] = "\b\t\n\f\r\"\\";
    static const char letters[] = "btnfr\"\\";
    const char *at = c == 0 ? NULL : strchr(shorts, c);

    if (at != NULL) {
        buf_putc(b, '\\');
        buf_putc(b, letters[at - shorts]);
    } else {
        buf_printf(b, "\\u%04x", c);
    }
}

void buf_json_string(struct buf *b, struct slice s)
{
    size_t plain = span_plain(s.ptr, s.len); /* bytes seen that can be copied as they are */

    buf_putc(b, '"');
    while (plain < s.len) {
        const unsigned char c = (unsigned char)s.ptr[plain];
        const size_t n = slice_utf8_char((struct slice){s.ptr + plain, s.len - plain});

        if (n > 0 && c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) {
            plain += n;
            continue;
        }
        buf_append(b, s.ptr, plain);
        if (n == 0) {
            buf_puts(b, "\xef\xbf\xbd");
        } else {
            put_escape(b, c);
        }
        s.ptr += plain + 1;
        s.len -= plain + 1;
        plain = 0;
    }
    buf_append(b, s.ptr, plain);
    buf_putc(b, '"');
}
