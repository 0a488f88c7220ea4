/*
 * The parser against a battery of framings.  Every input is given whole, byte by byte, in two
 * pieces cut at every place, and flush against an unmapped page; the verdict must be the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "producer/http_parse.h"

static const struct http_limits limits = {.line_bytes = 512, .head_bytes = 4096, .body_bytes = 100};

/* 0 status: a good request, all of which is consumed. */
struct vector {
    const char *input;
    size_t len;
    int status;
};

#define V(text, status)                                                                            \
    {                                                                                              \
        text, sizeof(text) - 1, status                                                             \
    }
#define HOST "Host: a\r\n"
#define GET  "GET / HTTP/1.1\r\n" HOST
#define POST "POST /v1/orders HTTP/1.1\r\n" HOST
#define END  "\r\n"

static const struct vector battery[] = {
    /* Good ones, to see that the rest is refused for the right reason. */
    V(GET END, 0),
    V("GET /v1/items/phone@3?a=b&c=%20 HTTP/1.1\r\nhost: EXAMPLE.org:8080\r\n\r\n", 0),
    V("GET /v1/items/phone%403 HTTP/1.1\r\nHOST: [::1]:80\r\n\r\n", 0),
    V("GET / HTTP/1.0\r\n\r\n", 0),
    V("GET / HTTP/1.0\r\nHost: a\r\n\r\n", 0),
    V("HEAD / HTTP/1.1\r\n" HOST END, 0),
    V("DELETE /v1/orders/x HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", 0),
    V(POST "Content-Length: 3\r\n\r\nabc", 0),
    V(POST "content-length:3\r\n\r\nabc", 0),
    V(POST "CONTENT-LENGTH:   3   \r\n\r\nabc", 0),
    V(POST "Content-Length: 0\r\n\r\n", 0),
    V(POST "Content-Length: 3\r\nExpect: 100-Continue\r\n\r\nabc", 0),
    V(GET "X-Empty:\r\nX-Tab: a\tb\r\nX-High: \xc3\xa9\r\n" END, 0),
    V(GET "Connection: keep-alive\r\nConnection: close\r\n" END, 0),
    V(GET "Prefer: wait=1\r\nPrefer: respond-async\r\n" END, 0),
    V(GET "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n" END, 0),
    V("GET //v1//x/.../a. HTTP/1.1\r\n" HOST END, 0),
    V("GET /? HTTP/1.1\r\n" HOST END, 0),

    /* Content-Length. */
    V(POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    V(POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    V(POST "Content-Length: 3\r\nCONTENT-LENGTH: 0\r\n\r\nabc", 400),
    V(POST "Content-Length: 3, 3\r\n\r\nabc", 400),
    V(POST "Content-Length: 3,\r\n\r\nabc", 400),
    V(POST "Content-Length: +3\r\n\r\nabc", 400),
    V(POST "Content-Length: -3\r\n\r\nabc", 400),
    V(POST "Content-Length: 0x3\r\n\r\nabc", 400),
    V(POST "Content-Length: 3.0\r\n\r\nabc", 400),
    V(POST "Content-Length: 3e0\r\n\r\nabc", 400),
    V(POST "Content-Length: 03\r\n\r\nabc", 400),
    V(POST "Content-Length: 00\r\n\r\n", 400),
    V(POST "Content-Length: \"3\"\r\n\r\nabc", 400),
    V(POST "Content-Length: 3 3\r\n\r\nabc", 400),
    V(POST "Content-Length: 3;a\r\n\r\nabc", 400),
    V(POST "Content-Length:\r\n\r\n", 400),
    V(POST "Content-Length: \r\n\r\n", 400),
    V(POST "Content-Length:\t3\r\n\r\nabc", 400),
    V(POST "Content-Length: 3\t\r\n\r\nabc", 400),
    V(POST "Content-Length: \xd9\xa3\r\n\r\nabc", 400),
    V(POST "Content-Length : 3\r\n\r\nabc", 400),
    V(POST "Content-Length\t: 3\r\n\r\nabc", 400),
    V(POST "Content-Length: 3\x0b\r\n\r\nabc", 400),
    V(POST "Content-Length: 18446744073709551616\r\n\r\n", 413),
    V(POST "Content-Length: 18446744073709551619\r\n\r\nabc", 413),
    V(POST "Content-Length: 4294967299\r\n\r\nabc", 413),
    V(POST "Content-Length: 99999999999999999999999999999999\r\n\r\n", 413),
    V(POST "Content-Length: 101\r\n\r\n", 413),
    V(POST "Content_Length: 3\r\n\r\nabc", 411),
    V(POST "Content-Length\r\n\r\nabc", 400),
    V(POST END, 411),
    V("POST / HTTP/1.0\r\n\r\n", 411),
    V(GET "Content-Length: 1\r\n\r\na", 400),
    V("DELETE / HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\na", 400),
    V("HEAD / HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\na", 400),

    /* Transfer-Encoding. */
    V(POST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
    V(POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    V(POST "Transfer-Encoding: xchunked\r\n\r\n", 501),
    V(POST "Transfer-Encoding: identity\r\n\r\n", 501),
    V(POST "Transfer-Encoding:\r\n\r\n", 501),
    V(POST "transfer-encoding: CHUNKED\r\n\r\n0\r\n\r\n", 501),
    V(GET "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
    V(POST "Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n", 400),
    V(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400),
    V(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    V(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    V(POST "Content-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    V(POST "Content-Length: 5\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    V("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    V(POST "Transfer-Encoding: chunked\nContent-Length: 5\r\n\r\n", 400),

    /* Line ends, folding, names, values. */
    V("GET / HTTP/1.1\nHost: a\n\n", 400),
    V("GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    V("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
    V("GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    V(GET "X: a\n\r\nGET /x HTTP/1.1\r\n\r\n", 400),
    V("GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
    V(GET "X: a\rY: b\r\n\r\n", 400),
    V(GET "X: a\r\r\n\r\n", 400),
    V(GET "\r\r\n\r\n", 400),
    V("\r\n" GET END, 400),
    V("\n" GET END, 400),
    V(" " GET END, 400),
    V("\r\n\r\n", 400),
    V(GET " folded: x\r\n" END, 400),
    V(GET "X: a\r\n b\r\n" END, 400),
    V(GET "X: a\r\n\tb\r\n" END, 400),
    V("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    V(GET " \r\n\r\n", 400),
    V(GET ": empty\r\n" END, 400),
    V(GET ":\r\n" END, 400),
    V(GET "nocolon\r\n" END, 400),
    V(GET "a b: c\r\n" END, 400),
    V(GET "a(b): c\r\n" END, 400),
    V(GET "a@b: c\r\n" END, 400),
    V(GET "\"a\": c\r\n" END, 400),
    V(GET "a/b: c\r\n" END, 400),
    V(GET "\xc3\xa9: c\r\n" END, 400),
    V(GET "a\0b: c\r\n" END, 400),
    V(GET "a\x7f: c\r\n" END, 400),
    V(GET "X: a\0b\r\n" END, 400),
    V(GET "X: \x01\r\n" END, 400),
    V(GET "X: a\x7f\r\n" END, 400),
    V(GET "X: a\x0b\r\n" END, 400),
    V(GET "X: a\x1b[31m\r\n" END, 400),
    V(GET "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n" END, 400),
    V(GET "Idempotency-Key: a\r\nidempotency-key: a\r\n" END, 400),
    V(POST "Content-Type: a\r\nContent-Type: b\r\nContent-Length: 0\r\n" END, 400),

    /* Host. */
    V("GET / HTTP/1.1\r\n\r\n", 400),
    V(GET HOST END, 400),
    V(GET "hOsT: b\r\n" END, 400),
    V("GET / HTTP/1.0\r\n" HOST HOST END, 400),
    V("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    V("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400),
    V("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    V("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    V("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    V("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", 400),
    V("GET / HTTP/1.1\r\nHost: a:\r\n\r\n", 400),
    V("GET / HTTP/1.1\r\nHost: a:80x\r\n\r\n", 400),
    V("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400),
    V("GET / HTTP/1.1\r\nHost: a:000080\r\n\r\n", 400),
    V("GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400),
    V("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", 400),
    V("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
    V("GET / HTTP/1.1\r\nHost: []\r\n\r\n", 400),
    V("GET / HTTP/1.1\r\nHost: [\r\n\r\n", 400),
    V("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400),
    V("GET / HTTP/1.1\r\nHost:\ta\r\n\r\n", 400),
    V("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),

    /* Request line. */
    V("GET / HTTP/2.0\r\n" HOST END, 505),
    V("GET / HTTP/1.9\r\n" HOST END, 505),
    V("GET / HTTP/1.2\r\n" HOST END, 505),
    V("GET / HTTP/0.9\r\n" HOST END, 505),
    V("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    V("GET / HTTP/1.10\r\n" HOST END, 400),
    V("GET / HTTP/01.1\r\n" HOST END, 400),
    V("GET / HTTP/1\r\n" HOST END, 400),
    V("GET / HTTP/1,1\r\n" HOST END, 400),
    V("GET / HTTP/4294967297.1\r\n" HOST END, 400),
    V("GET / http/1.1\r\n" HOST END, 400),
    V("GET / HTTPS/1.1\r\n" HOST END, 400),
    V("GET / HTTP/1.1 \r\n" HOST END, 400),
    V("GET /\r\n" HOST END, 400),
    V("GET / \r\n" HOST END, 400),
    V("GET\r\n" HOST END, 400),
    V("GET  / HTTP/1.1\r\n" HOST END, 400),
    V("GET /  HTTP/1.1\r\n" HOST END, 400),
    V("GET\t/ HTTP/1.1\r\n" HOST END, 400),
    V("GET /\tHTTP/1.1\r\n" HOST END, 400),
    V("GET /a b HTTP/1.1\r\n" HOST END, 400),
    V("GET http://a/ HTTP/1.1\r\n" HOST END, 400),
    V("GET * HTTP/1.1\r\n" HOST END, 400),
    V("GET v1 HTTP/1.1\r\n" HOST END, 400),
    V("CONNECT a:443 HTTP/1.1\r\n" HOST END, 400),
    V("get / HTTP/1.1\r\n" HOST END, 501),
    V("PUT / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", 501),
    V("GETX / HTTP/1.1\r\n" HOST END, 501),
    V("GE / HTTP/1.1\r\n" HOST END, 501),
    V("G(T / HTTP/1.1\r\n" HOST END, 400),
    V("GET /\0 HTTP/1.1\r\n" HOST END, 400),
    V("GET /\xc3\xa9 HTTP/1.1\r\n" HOST END, 400),
    V("GET /a#b HTTP/1.1\r\n" HOST END, 400),
    V("GET /a\\b HTTP/1.1\r\n" HOST END, 400),
    V("GET /<a> HTTP/1.1\r\n" HOST END, 400),
    V("GET /../x HTTP/1.1\r\n" HOST END, 400),
    V("GET /a/./x HTTP/1.1\r\n" HOST END, 400),
    V("GET /a/.. HTTP/1.1\r\n" HOST END, 400),
    V("GET /a/..?q HTTP/1.1\r\n" HOST END, 400),
    V("GET /a/%2e%2E/x HTTP/1.1\r\n" HOST END, 400),
    V("GET /a/.%2e HTTP/1.1\r\n" HOST END, 400),
    V("GET /a%2fb HTTP/1.1\r\n" HOST END, 400),
    V("GET /a%5cb HTTP/1.1\r\n" HOST END, 400),
    V("GET /a%00b HTTP/1.1\r\n" HOST END, 400),
    V("GET /a%0d%0ab HTTP/1.1\r\n" HOST END, 400),
    V("GET /a%20b HTTP/1.1\r\n" HOST END, 400),
    V("GET /a%7f HTTP/1.1\r\n" HOST END, 400),
    V("GET /a%c3%a9 HTTP/1.1\r\n" HOST END, 400),
    V("GET /a%4 HTTP/1.1\r\n" HOST END, 400),
    V("GET /a% HTTP/1.1\r\n" HOST END, 400),
    V("GET /a%\r\n" HOST END, 400),
    V("GET /a%4g HTTP/1.1\r\n" HOST END, 400),
    V("GET /a%+4 HTTP/1.1\r\n" HOST END, 400),
    V("GET /?a=%zz HTTP/1.1\r\n" HOST END, 400),
    V("GET /?a=b#c HTTP/1.1\r\n" HOST END, 400),
    V("GET /?a=\"b\" HTTP/1.1\r\n" HOST END, 400),
    V("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),

    /* Expectations. */
    V(POST "Content-Length: 3\r\nExpect: 200-ok\r\n\r\nabc", 417),
    V(POST "Content-Length: 3\r\nExpect:\r\n\r\nabc", 417),
    V(POST "Content-Length: 3\r\nExpect: 100-continue, x\r\n\r\nabc", 417),
    V(POST "Content-Length: 3\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n\r\nabc", 400),
    V("POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: other\r\n\r\nabc", 0),
};

static struct http_message msg;

static void check(const struct vector *v, const char *how, enum http_verdict verdict)
{
    bool is_right =
        v->status == 0 ? verdict == HTTP_PARSE_DONE && msg.consumed == v->len
                       : verdict == HTTP_PARSE_BAD && msg.status == v->status && msg.reason != NULL;
    if (!is_right) {
        fail_msg("%s: verdict %d, status %d (%s), consumed %zu of %zu; expected %d for\n%s", how,
                 (int)verdict, msg.status, msg.reason == NULL ? "" : msg.reason, msg.consumed,
                 v->len, v->status, v->input);
    }
}

static void whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(battery) / sizeof(battery[0]); i++) {
        struct http_progress progress = {0};
        const struct vector *v = &battery[i];
        check(v, "whole", http_parse(&progress, &limits, v->input, v->len, &msg));
        /* A refusal stays one; a good request is read alike again. */
        check(v, "again", http_parse(&progress, &limits, v->input, v->len, &msg));
    }
}

/* One page followed by one that may not be touched. */
static char *guarded(void)
{
    static char *end;
    if (end == NULL) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        char *p = mmap(NULL, 5 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(p != MAP_FAILED);
        assert_int_equal(mprotect(p + 4 * page, page, PROT_NONE), 0);
        end = p + 4 * page;
    }
    return end;
}

/* Parses a copy of the first len bytes that ends at the forbidden page. */
static enum http_verdict parse_flush(struct http_progress *progress, const char *input, size_t len)
{
    char *copy = guarded() - len;
    memcpy(copy, input, len);
    return http_parse(progress, &limits, copy, len, &msg);
}

static void byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(battery) / sizeof(battery[0]); i++) {
        struct http_progress progress = {0};
        const struct vector *v = &battery[i];
        enum http_verdict verdict = HTTP_PARSE_MORE;
        for (size_t n = 1; n <= v->len && verdict == HTTP_PARSE_MORE; n++) {
            verdict = parse_flush(&progress, v->input, n);
            /* What was searched once is not searched again. */
            assert_true(verdict != HTTP_PARSE_MORE || progress.head_bytes > 0 ||
                        progress.scanned == n);
        }
        check(v, "byte by byte", verdict);
    }
}

/* Every truncation alone, and every cut into two pieces. */
static void cut_anywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(battery) / sizeof(battery[0]); i++) {
        const struct vector *v = &battery[i];
        for (size_t n = 0; n < v->len; n++) {
            struct http_progress progress = {0};
            enum http_verdict verdict = parse_flush(&progress, v->input, n);
            if (v->status == 0) {
                assert_int_equal(verdict, HTTP_PARSE_MORE);
            }
            if (verdict == HTTP_PARSE_MORE) {
                verdict = parse_flush(&progress, v->input, v->len);
            }
            check(v, "cut", verdict);
        }
    }
}

static void assert_slice(struct slice s, const char *expected)
{
    assert_int_equal(s.len, strlen(expected));
    assert_memory_equal(s.ptr, expected, s.len);
}

static void fields(void **state)
{
    (void)state;
    static const char text[] = "POST /v1/items/a%40%62/x?wait=&n=1&n=2&flag HTTP/1.1\r\n"
                               "Host: shop.example:80\r\n"
                               "authorization: \t Bearer abc \t\r\n"
                               "X-Empty:\r\n"
                               "PREFER: respond-async ,wait=10;x=1\r\n"
                               "Prefer: handling=lenient,, Wait = 20\r\n"
                               "Content-Length: 2\r\n"
                               "\r\n"
                               "{}GET";
    struct http_progress progress = {0};
    assert_int_equal(http_parse(&progress, &limits, text, sizeof(text) - 1, &msg), HTTP_PARSE_DONE);
    assert_int_equal(msg.consumed, sizeof(text) - 4);
    assert_int_equal(msg.method, HTTP_POST);
    assert_true(msg.is_keep_alive);
    assert_false(msg.is_http10);
    assert_slice(msg.path, "/v1/items/a%40%62/x");
    assert_true(msg.is_path_escaped);
    char path[64];
    assert_int_equal(http_unescape(msg.path, path), 15);
    assert_memory_equal(path, "/v1/items/a@b/x", 15);
    assert_slice(msg.query, "wait=&n=1&n=2&flag");
    assert_slice(http_query_find(msg.query, SLICE_LIT("wait")), "");
    assert_slice(http_query_find(msg.query, SLICE_LIT("n")), "1");
    assert_slice(http_query_find(msg.query, SLICE_LIT("flag")), "");
    assert_null(http_query_find(msg.query, SLICE_LIT("fla")).ptr);
    assert_null(http_query_find((struct slice){NULL, 0}, SLICE_LIT("n")).ptr);
    assert_slice(msg.body, "{}");
    assert_int_equal(msg.header_count, 6);
    assert_slice(msg.known[HTTP_AUTHORIZATION], "Bearer abc");
    assert_slice(http_find(&msg, SLICE_LIT("x-empty")), "");
    assert_non_null(http_find(&msg, SLICE_LIT("x-empty")).ptr);
    assert_null(http_find(&msg, SLICE_LIT("x-none")).ptr);
    assert_slice(http_list_find(&msg, HTTP_PREFER, SLICE_LIT("wait")), "10");
    assert_slice(http_list_find(&msg, HTTP_PREFER, SLICE_LIT("respond-async")), "");
    assert_slice(http_list_find(&msg, HTTP_PREFER, SLICE_LIT("handling")), "lenient");
    assert_null(http_list_find(&msg, HTTP_PREFER, SLICE_LIT("x")).ptr);
    assert_null(http_list_find(&msg, HTTP_CONNECTION, SLICE_LIT("close")).ptr);
    assert_string_equal(http_method_name(msg.method), "POST");
}

static bool keeps_alive(const char *text)
{
    struct http_progress progress = {0};
    assert_int_equal(http_parse(&progress, &limits, text, strlen(text), &msg), HTTP_PARSE_DONE);
    return msg.is_keep_alive;
}

static void keep_alive(void **state)
{
    (void)state;
    assert_true(keeps_alive(GET END));
    assert_true(keeps_alive(GET "Connection: keep-alive\r\n" END));
    assert_true(keeps_alive(GET "Connection: closed\r\n" END));
    assert_false(keeps_alive(GET "Connection: close\r\n" END));
    assert_false(keeps_alive(GET "Connection: x ,\tCLOSE\r\n" END));
    assert_false(keeps_alive(GET "Connection: x\r\nConnection: close\r\n" END));
    assert_false(keeps_alive("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
}

static void expectation(void **state)
{
    (void)state;
    static const char head[] = POST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    struct http_progress progress = {0};
    assert_int_equal(http_parse(&progress, &limits, head, sizeof(head) - 1, &msg), HTTP_PARSE_MORE);
    assert_int_equal(progress.head_bytes, sizeof(head) - 1);
    assert_int_equal(progress.total_bytes, sizeof(head) + 2);
    assert_true(progress.is_continue_wanted);

    static const char empty[] = POST "Content-Length: 0\r\nExpect: 100-continue\r\n\r\n";
    progress = (struct http_progress){0};
    assert_int_equal(http_parse(&progress, &limits, empty, sizeof(empty) - 1, &msg),
                     HTTP_PARSE_DONE);
    assert_false(progress.is_continue_wanted);
}

/* The sizes: exactly the limit is good, one more is not, whether or not the end has come. */
static void sizes(void **state)
{
    (void)state;
    static char text[16384];
    for (size_t extra = 0; extra < 2; extra++) {
        struct http_progress progress = {0};
        size_t path = limits.line_bytes - strlen("GET / HTTP/1.1") + extra;
        int n = snprintf(text, sizeof(text), "GET /%0*d HTTP/1.1\r\n%s\r\n", (int)path, 0, HOST);
        const struct vector v = {text, (size_t)n, extra == 0 ? 0 : 414};
        check(&v, "line", http_parse(&progress, &limits, v.input, v.len, &msg));

        progress = (struct http_progress){0};
        size_t value = limits.head_bytes - strlen(GET "X: \r\n\r\n") + extra;
        n = snprintf(text, sizeof(text), GET "X: %0*d\r\n\r\n", (int)value, 0);
        const struct vector h = {text, (size_t)n, extra == 0 ? 0 : 431};
        check(&h, "head", http_parse(&progress, &limits, h.input, h.len, &msg));

        progress = (struct http_progress){0};
        size_t body = limits.body_bytes + extra;
        n = snprintf(text, sizeof(text), POST "Content-Length: %zu\r\n\r\n%0*d", body, (int)body,
                     0);
        const struct vector b = {text, (size_t)n, extra == 0 ? 0 : 413};
        check(&b, "body", http_parse(&progress, &limits, b.input, b.len, &msg));

        progress = (struct http_progress){0};
        n = snprintf(text, sizeof(text), GET);
        for (size_t i = 1; i < HTTP_HEADERS_MAX + extra; i++) {
            n += snprintf(text + n, sizeof(text) - (size_t)n, "X:\r\n");
        }
        n += snprintf(text + n, sizeof(text) - (size_t)n, "\r\n");
        const struct vector c = {text, (size_t)n, extra == 0 ? 0 : 431};
        check(&c, "count", http_parse(&progress, &limits, c.input, c.len, &msg));
    }
}

/* A line or a head that never ends is refused when the limit is reached, not later. */
static void endless(void **state)
{
    (void)state;
    static char text[16384];
    memset(text, 'A', sizeof(text));
    struct http_progress progress = {0};
    size_t n = 1;
    while (http_parse(&progress, &limits, text, n, &msg) == HTTP_PARSE_MORE) {
        n++;
    }
    assert_int_equal(msg.status, 414);
    assert_int_equal(n, limits.line_bytes + 2);

    memcpy(text, GET, sizeof(GET) - 1);
    progress = (struct http_progress){0};
    n = 1;
    while (http_parse(&progress, &limits, text, n, &msg) == HTTP_PARSE_MORE) {
        n++;
    }
    assert_int_equal(msg.status, 431);
    assert_int_equal(n, limits.head_bytes);
}

/* What follows a request is not looked at: it is the next one's. */
static void pipelined(void **state)
{
    (void)state;
    static const char text[] = GET END POST "Content-Length: 1\r\n\r\nxGET bad\n";
    struct http_progress progress = {0};
    assert_int_equal(http_parse(&progress, &limits, text, sizeof(text) - 1, &msg), HTTP_PARSE_DONE);
    size_t first = msg.consumed;
    assert_int_equal(first, strlen(GET END));
    progress = (struct http_progress){0};
    assert_int_equal(http_parse(&progress, &limits, text + first, sizeof(text) - 1 - first, &msg),
                     HTTP_PARSE_DONE);
    assert_slice(msg.body, "x");
    progress = (struct http_progress){0};
    size_t second = first + msg.consumed;
    assert_int_equal(http_parse(&progress, &limits, text + second, sizeof(text) - 1 - second, &msg),
                     HTTP_PARSE_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),  cmocka_unit_test(byte_by_byte), cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(fields), cmocka_unit_test(keep_alive),   cmocka_unit_test(expectation),
        cmocka_unit_test(sizes),  cmocka_unit_test(endless),      cmocka_unit_test(pipelined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
