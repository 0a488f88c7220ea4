/*
 * Any bytes, cut anywhere (the first byte says how): the verdict must not depend on the cut, every
 * slice must lie in the input, and a good request must obey the rules that make it unambiguous.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "producer/http_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct http_limits limits = {.line_bytes = 256, .head_bytes = 2048, .body_bytes = 512};

static void require(bool fact)
{
    if (!fact) {
        abort();
    }
}

static void require_inside(struct slice s, const char *buf, size_t len)
{
    require(s.ptr == NULL ? s.len == 0 : s.ptr >= buf && s.ptr + s.len <= buf + len);
}

static void check_done(const struct http_message *msg, const char *buf, size_t len)
{
    require(msg->consumed > 0 && msg->consumed <= len);
    require(msg->method < HTTP_METHOD_COUNT);
    require(msg->known[HTTP_TRANSFER_ENCODING].ptr == NULL);
    require(msg->is_http10 || msg->known[HTTP_HOST].len > 0);
    require(msg->path.len > 0 && msg->path.ptr[0] == '/');
    require_inside(msg->path, buf, len);
    require_inside(msg->query, buf, len);
    require_inside(msg->body, buf, len);
    require(msg->body.ptr + msg->body.len == buf + msg->consumed);
    require(memcmp(msg->body.ptr - 4, "\r\n\r\n", 4) == 0);
    for (size_t i = 0; i < msg->header_count; i++) {
        struct slice value = msg->headers[i].value;
        require_inside(msg->headers[i].name, buf, len);
        require_inside(value, buf, len);
        require(msg->headers[i].name.len > 0);
        require(value.len == 0 || (memchr(value.ptr, '\r', value.len) == NULL &&
                                   memchr(value.ptr, '\n', value.len) == NULL &&
                                   memchr(value.ptr, '\0', value.len) == NULL));
    }
    char path[256];
    size_t n = http_unescape(msg->path, path);
    require(n <= msg->path.len);
    require(memchr(path, '\0', n) == NULL);
    require(memmem(path, n, "/../", 4) == NULL);
    (void)http_list_find(msg, HTTP_PREFER, SLICE_LIT("wait"));
    require_inside(http_query_find(msg->query, SLICE_LIT("receipt")), buf, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_message whole;
    static struct http_message pieces;
    if (size == 0) {
        return 0;
    }
    size_t step = data[0] % 37 + 1;
    size_t len = size - 1;
    char *buf = malloc(len + 1);
    require(buf != NULL);
    memcpy(buf, data + 1, len);

    struct http_progress progress = {0};
    enum http_verdict verdict = http_parse(&progress, &limits, buf, len, &whole);
    struct http_progress slow = {0};
    enum http_verdict last = HTTP_PARSE_MORE;
    for (size_t n = 0; n < len && last == HTTP_PARSE_MORE;) {
        n = n + step < len ? n + step : len;
        /* Exactly n bytes, so that the sanitizer sees an over-read, and elsewhere each time. */
        char *copy = malloc(n);
        require(copy != NULL);
        memcpy(copy, buf, n);
        last = http_parse(&slow, &limits, copy, n, &pieces);
        if (last == HTTP_PARSE_DONE) {
            check_done(&pieces, copy, n);
        }
        free(copy);
    }
    require(last == verdict);
    if (verdict == HTTP_PARSE_BAD) {
        require(whole.status == pieces.status && whole.reason == pieces.reason);
        require(whole.status >= 400 && whole.status <= 505);
    } else if (verdict == HTTP_PARSE_DONE) {
        check_done(&whole, buf, len);
        require(whole.consumed == pieces.consumed);
        require(whole.header_count == pieces.header_count);
    }
    free(buf);
    return 0;
}
