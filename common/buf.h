/*
 * buf.h - a byte buffer that grows up to a bound.
 *
 * Writers append without looking at results; an append that would pass the bound writes nothing
 * and makes the buffer `failed`, and so does every later one, until buf_clear().  The reader asks
 * buf_ok() once, at the end.  Memory is taken on the first append (running out of it ends the
 * process: the bound is what protects us); buf_clear() keeps it for the next use.
 *
 *     struct buf b;
 *     buf_init(&b, 65536);
 *     buf_puts(&b, "{\"item_id\":");
 *     buf_json_string(&b, item_id);
 *     buf_printf(&b, ",\"qty\":%" PRId64 "}", qty);
 *     if (buf_ok(&b)) { send(buf_slice(&b)); }
 *     buf_fini(&b);
 *
 * The bytes are always followed by a NUL that len does not count, so ptr is a C string too
 * (of an untouched growing buffer ptr is NULL: use buf_slice()).  Not thread-safe.
 */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/attr.h"
#include "common/slice.h"

struct buf {
    char *ptr;
    size_t len;
    size_t capacity;
    size_t max_bytes;
    bool is_fixed; /* ptr is the caller's storage */
    bool failed;
};

/* Grows up to max_bytes of content. */
void buf_init(struct buf *b, size_t max_bytes);

/* Lives in the caller's storage of size >= 1 bytes and never allocates; room for size - 1 bytes. */
void buf_init_fixed(struct buf *b, char *storage, size_t size);

/* Frees what it owns and leaves an empty buffer with the same bound (fixed: same storage). */
void buf_fini(struct buf *b);

/* Empties it, forgives the failure, keeps the memory. */
void buf_clear(struct buf *b);

/* Takes back everything after the first len bytes and forgives the failure. */
void buf_truncate(struct buf *b, size_t len);

static inline bool buf_ok(const struct buf *b)
{
    return !b->failed;
}

static inline struct slice buf_slice(const struct buf *b)
{
    return (struct slice){b->ptr, b->len};
}

/* Appends what there is no room for yet, if the bound allows. */
void buf_append_grow(struct buf *b, const void *bytes, size_t len);

/* Inline, so that a text known to the compiler costs a few stores. */
static inline void buf_append(struct buf *b, const void *bytes, size_t len)
{
    if (b->failed || len >= b->capacity - b->len) {
        buf_append_grow(b, bytes, len);
    } else if (len > 0) {
        memcpy(b->ptr + b->len, bytes, len);
        b->len += len;
        b->ptr[b->len] = '\0';
    }
}

static inline void buf_puts(struct buf *b, const char *text)
{
    buf_append(b, text, strlen(text));
}

static inline void buf_putc(struct buf *b, char c)
{
    buf_append(b, &c, 1);
}

static inline void buf_put_slice(struct buf *b, struct slice s)
{
    buf_append(b, s.ptr, s.len);
}

void buf_put_i64(struct buf *b, int64_t n);
void buf_printf(struct buf *b, const char *fmt, ...) ATTR_PRINTF(2, 3);

/*
 * Appends s as a JSON string with its quotes.  The same bytes always give the same text: `"`, `\`
 * and control characters (also DEL) are escaped, each ill-formed UTF-8 byte becomes U+FFFD, the
 * rest is copied.
 */
void buf_json_string(struct buf *b, struct slice s);

/*
 * Room for n more bytes at the end, to be filled by the caller and confirmed with buf_commit();
 * NULL, with the buffer failed, when the bound forbids it.
 */
char *buf_reserve(struct buf *b, size_t n) ATTR_MUSTCHECK;
void buf_commit(struct buf *b, size_t n);

#endif /* COMMON_BUF_H */
