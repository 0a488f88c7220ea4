#include "guardian/letter.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/command.h"
#include "common/hex.h"

enum {
    PREVIEW_BYTES = 100,
    KEY_SHOWN_BYTES = 64,
};

const char *letter_reason(struct slice reason)
{
    for (int i = COMMAND_OK + 1; i <= COMMAND_WRONG_PARTITION; i++) {
        const char *name = command_detail_name((enum command_detail)i);

        if (slice_eq(reason, slice_str(name))) {
            return name;
        }
    }
    return NULL;
}

bool letter_read(struct letter *l, const struct letter_headers *headers)
{
    int64_t partition;

    l->reason = letter_reason(headers->reason);
    l->topic = headers->topic;
    return l->reason != NULL && l->topic.len > 0 &&
           slice_to_i64(headers->partition, 0, IDS_PARTITIONS_MAX - 1, &partition) &&
           partition == l->partition &&
           slice_to_i64(headers->offset, 0, COMMAND_TIME_MAX, &l->offset);
}

bool letter_is_cut(const struct letter *l)
{
    return l->value.len >= LETTER_VALUE_MAX;
}

bool letter_parse_name(struct slice name, int partitions, int *partition, int64_t *offset)
{
    struct slice rest;
    int64_t p;

    if (!slice_to_i64(slice_cut(name, ':', &rest), 0, partitions - 1, &p) ||
        !slice_to_i64(rest, 0, COMMAND_TIME_MAX, offset)) {
        return false;
    }
    *partition = (int)p;
    return true;
}

void letter_name(const struct letter *l, char out[LETTER_NAME_SIZE])
{
    (void)snprintf(out, LETTER_NAME_SIZE, "%d:%" PRId64, l->partition, l->offset);
}

static void put_byte(struct buf *out, unsigned char c)
{
    switch (c) {
    case '\\':
        buf_puts(out, "\\\\");
        break;
    case '\n':
        buf_puts(out, "\\n");
        break;
    case '\r':
        buf_puts(out, "\\r");
        break;
    case '\t':
        buf_puts(out, "\\t");
        break;
    default:
        if (c >= 0x20 && c < 0x7f) {
            buf_putc(out, (char)c);
        } else {
            buf_printf(out, "\\x%02x", c);
        }
        break;
    }
}

void letter_put_escaped(struct buf *out, struct slice s, size_t max)
{
    for (size_t i = 0; i < s.len && i < max; i++) {
        put_byte(out, (unsigned char)s.ptr[i]);
    }
    if (s.len > max) {
        buf_puts(out, "...");
    }
}

/* In a line, neither null nor nothing may vanish. */
static void put_mark(struct buf *out, struct slice s)
{
    if (s.len == 0) {
        buf_puts(out, s.ptr == NULL ? "-" : "\"\"");
    }
}

/* As a field of a line, which no blank may split. */
static void put_field(struct buf *out, struct slice s, size_t max)
{
    put_mark(out, s);
    for (size_t i = 0; i < s.len && i < max; i++) {
        if (s.ptr[i] == ' ') {
            buf_puts(out, "\\x20");
        } else {
            put_byte(out, (unsigned char)s.ptr[i]);
        }
    }
    if (s.len > max) {
        buf_puts(out, "...");
    }
}

/* RFC 3339, UTC. */
static void put_time(struct buf *out, int64_t wall_ms)
{
    char text[CLOCK_TEXT_SIZE];

    clock_text(wall_ms, text);
    buf_puts(out, text);
}

void letter_put_line(struct buf *out, const struct letter *l)
{
    char name[LETTER_NAME_SIZE];

    letter_name(l, name);
    buf_printf(out, "%s ", name);
    put_time(out, l->copied_ms);
    buf_printf(out, " %s %zu%s ", l->reason, l->value.len, letter_is_cut(l) ? "+" : "");
    put_field(out, l->key, KEY_SHOWN_BYTES);
    buf_putc(out, ' ');
    put_mark(out, l->value);
    letter_put_escaped(out, l->value, PREVIEW_BYTES);
    buf_putc(out, '\n');
}

static void put_part(struct buf *out, const char *title, struct slice s, bool is_cut)
{
    if (s.ptr == NULL) {
        buf_printf(out, "%s: null\n", title);
        return;
    }
    buf_printf(out, "%s: %zu bytes%s\n", title, s.len, is_cut ? ", the beginning of it" : "");
    buf_puts(out, "  ");
    letter_put_escaped(out, s, s.len);
    buf_putc(out, '\n');
}

void letter_put_text(struct buf *out, const struct letter *l)
{
    char name[LETTER_NAME_SIZE];

    letter_name(l, name);
    buf_printf(out, "letter: %s\nreason: %s\ntopic: ", name, l->reason);
    letter_put_escaped(out, l->topic, l->topic.len);
    buf_puts(out, "\ncopied: ");
    put_time(out, l->copied_ms);
    buf_printf(out, " to offset %" PRId64 "\n", l->copy_offset);
    put_part(out, "key", l->key, l->key.len >= LETTER_KEY_MAX);
    put_part(out, "value", l->value, letter_is_cut(l));
}

/* The escaped text as a JSON string: it, too, has to pass a terminal. */
static void put_json_text(struct buf *out, const char *name, struct slice s, size_t max)
{
    struct buf text;

    buf_printf(out, ",\"%s\":", name);
    if (s.ptr == NULL) {
        buf_puts(out, "null");
        return;
    }
    buf_init(&text, 4 * s.len + 8);
    letter_put_escaped(&text, s, max);
    buf_json_string(out, buf_slice(&text));
    buf_fini(&text);
}

static void put_json_hex(struct buf *out, const char *name, struct slice s)
{
    char *digits;

    if (s.ptr == NULL) {
        buf_printf(out, ",\"%s\":null", name);
        return;
    }
    buf_printf(out, ",\"%s\":\"", name);
    digits = buf_reserve(out, 2 * s.len + 1);
    if (digits != NULL) {
        hex_encode(s.ptr, s.len, digits);
        buf_commit(out, 2 * s.len);
    }
    buf_putc(out, '"');
}

static void put_json(struct buf *out, const struct letter *l, bool is_whole)
{
    char name[LETTER_NAME_SIZE];

    letter_name(l, name);
    buf_printf(out,
               "{\"letter\":\"%s\",\"partition\":%d,\"offset\":%" PRId64
               ",\"reason\":\"%s\",\"copied_ms\":%" PRId64 ",\"copy_offset\":%" PRId64,
               name, l->partition, l->offset, l->reason, l->copied_ms, l->copy_offset);
    put_json_text(out, "topic", l->topic, l->topic.len);
    put_json_text(out, "key", l->key, is_whole ? l->key.len : KEY_SHOWN_BYTES);
    buf_printf(out, ",\"bytes\":%zu,\"is_cut\":%s", l->value.len,
               letter_is_cut(l) ? "true" : "false");
    put_json_text(out, "value", l->value, is_whole ? l->value.len : PREVIEW_BYTES);
    if (is_whole) {
        put_json_hex(out, "key_hex", l->key);
        put_json_hex(out, "value_hex", l->value);
    }
    buf_puts(out, "}\n");
}

void letter_put_json(struct buf *out, const struct letter *l)
{
    put_json(out, l, false);
}

void letter_put_whole_json(struct buf *out, const struct letter *l)
{
    put_json(out, l, true);
}
