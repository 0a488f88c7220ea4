/*
 * A dead letter from anybody: four headers, key and value, each up to a line end.  Whatever they hold,
 * what is printed is printable ASCII in lines, and JSON that can be read again.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "guardian/letter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact)
{
    if (!fact) {
        abort();
    }
}

static void require_harmless(struct buf *out)
{
    require(buf_ok(out) && out->len > 0 && out->ptr[out->len - 1] == '\n');
    for (size_t i = 0; i < out->len; i++) {
        require((out->ptr[i] >= 0x20 && out->ptr[i] < 0x7f) || out->ptr[i] == '\n');
    }
}

static void require_json(struct buf *out)
{
    json_t *tree = json_loadb(out->ptr, out->len, JSON_REJECT_DUPLICATES, NULL);

    require_harmless(out);
    require(json_is_object(tree));
    json_decref(tree);
}

static void print(const struct letter *l)
{
    struct buf out;

    buf_init(&out, 1 << 20);
    letter_put_line(&out, l);
    require_harmless(&out);
    require(memchr(out.ptr, '\n', out.len) == out.ptr + out.len - 1);
    buf_clear(&out);
    letter_put_text(&out, l);
    require_harmless(&out);
    buf_clear(&out);
    letter_put_json(&out, l);
    require_json(&out);
    buf_clear(&out);
    letter_put_whole_json(&out, l);
    require_json(&out);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = {(const char *)data, size};
    struct letter l = {.partition = 3, .copied_ms = 1712345678901};
    struct letter_headers headers;
    int partition;
    int64_t offset;

    if (size > 16384) {
        return 0;
    }
    headers.reason = slice_cut(rest, '\n', &rest);
    headers.topic = slice_cut(rest, '\n', &rest);
    headers.partition = slice_cut(rest, '\n', &rest);
    headers.offset = slice_cut(rest, '\n', &rest);
    l.key = slice_cut(rest, '\n', &rest);
    l.value = rest;
    if (letter_parse_name(headers.reason, 4, &partition, &offset)) {
        require(partition >= 0 && partition < 4 && offset >= 0);
    }
    if (letter_read(&l, &headers)) {
        print(&l);
    }
    return 0;
}
