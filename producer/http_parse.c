/*
 * Two passes.  scan_head() looks only for line ends, as far as bytes have come, and applies the
 * limits; its position is what struct http_progress remembers.  Once the empty line is there,
 * parse_head() reads the whole head.  It is run again when a body came later than its head, since
 * the buffer may have moved meanwhile and slices of it would be stale.
 *
 * parse_head() needs no bounds checks while it walks: the head ends in CRLF CRLF and every loop
 * stops at a CR, which belongs to no character class.  Within the head each LF follows a CR
 * (scan_head() saw to it); a CR without LF is caught where a line must end.
 */
#include "producer/http_parse.h"

#include <assert.h>
#include <strings.h>

enum char_class {
    CHAR_TOKEN = 1, /* method, header name */
    CHAR_VALUE = 2, /* header value: visible, blank, tab, above ASCII */
    CHAR_PATH = 4,
    CHAR_QUERY = 8,
    CHAR_HOST = 16,
    CHAR_HEX = 32,
};

/* clang-format off */
static const uint8_t classes[256] = {
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* 0x00 */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* 0x10 */
    0x02, 0x0f, 0x02, 0x03, 0x0f, 0x03, 0x0f, 0x0f, 0x0e, 0x0e, 0x0f, 0x0f, 0x0e, 0x1f, 0x1f, 0x0e, /* 0x20 */
    0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x0e, 0x0e, 0x02, 0x0e, 0x02, 0x0a, /* 0x30 */
    0x0e, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, /* 0x40 */
    0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x02, 0x02, 0x02, 0x03, 0x1f, /* 0x50 */
    0x03, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, /* 0x60 */
    0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x02, 0x03, 0x02, 0x1f, 0x00, /* 0x70 */
    0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, /* 0x80 */
    0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, /* 0x90 */
    0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, /* 0xa0 */
    0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, /* 0xb0 */
    0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, /* 0xc0 */
    0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, /* 0xd0 */
    0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, /* 0xe0 */
    0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, /* 0xf0 */
};
/* clang-format on */

struct known_name {
    struct slice name;
    bool is_list; /* may come in several lines */
};

static const struct known_name known_names[HTTP_KNOWN_COUNT] = {
    [HTTP_HOST] = {{"host", 4}, false},
    [HTTP_CONTENT_LENGTH] = {{"content-length", 14}, false},
    [HTTP_TRANSFER_ENCODING] = {{"transfer-encoding", 17}, false},
    [HTTP_CONNECTION] = {{"connection", 10}, true},
    [HTTP_EXPECT] = {{"expect", 6}, false},
    [HTTP_AUTHORIZATION] = {{"authorization", 13}, false},
    [HTTP_CONTENT_TYPE] = {{"content-type", 12}, false},
    [HTTP_IDEMPOTENCY_KEY] = {{"idempotency-key", 15}, false},
    [HTTP_PREFER] = {{"prefer", 6}, true},
    [HTTP_TRACEPARENT] = {{"traceparent", 11}, false},
};

static const struct slice method_names[HTTP_METHOD_COUNT] = {
    [HTTP_GET] = {"GET", 3},
    [HTTP_HEAD] = {"HEAD", 4},
    [HTTP_POST] = {"POST", 4},
    [HTTP_DELETE] = {"DELETE", 6},
};

static bool is_class(char c, enum char_class class)
{
    return (classes[(unsigned char)c] & class) != 0;
}

/* Fills the refusal and returns false, so that `return refuse(...)` refuses. */
static bool refuse(struct http_message *msg, int status, const char *reason)
{
    msg->status = status;
    msg->reason = reason;
    return false;
}

static bool equals_nocase(struct slice s, struct slice lower)
{
    return s.len == lower.len && strncasecmp(s.ptr, lower.ptr, s.len) == 0;
}

static struct slice trim_blanks(const char *start, const char *end)
{
    while (start < end && (*start == ' ' || *start == '\t')) {
        start++;
    }
    while (end > start && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    return (struct slice){start, (size_t)(end - start)};
}

/* What is wrong with a head that reached index i without a line end there, if it is too long. */
static bool check_size(const struct http_limits *limits, bool is_first_line, size_t i,
                       struct http_message *msg)
{
    if (is_first_line && i > limits->line_bytes + 1) {
        return refuse(msg, 414, "The request line is too long.");
    }
    if (i >= limits->head_bytes) {
        return refuse(msg, 431, "The request's head is too long.");
    }
    return true;
}

/*
 * Searches the new bytes for the empty line.  Sets *head_bytes to the length of the head, or to 0
 * when more must come.  The checks are made in the order of the bytes, sizes first, which is what
 * makes the verdict independent of how the bytes were cut.
 */
static bool scan_head(struct http_progress *progress, const struct http_limits *limits,
                      struct slice buf, size_t *head_bytes, struct http_message *msg)
{
    *head_bytes = 0;
    if (buf.len > 0 && !is_class(buf.ptr[0], CHAR_TOKEN)) {
        return refuse(msg, 400, "This is not an HTTP request.");
    }
    size_t line_start = progress->line_start;
    size_t from = progress->scanned;
    while (from < buf.len) {
        const char *found = memchr(buf.ptr + from, '\n', buf.len - from);
        if (found == NULL) {
            break;
        }
        size_t i = (size_t)(found - buf.ptr);
        if (!check_size(limits, line_start == 0, i, msg)) {
            return false;
        }
        if (i == line_start || buf.ptr[i - 1] != '\r') {
            return refuse(msg, 400, "A line ends in LF without CR.");
        }
        if (i == line_start + 1) {
            *head_bytes = i + 1;
            return true;
        }
        line_start = i + 1;
        from = i + 1;
    }
    if (!check_size(limits, line_start == 0, buf.len, msg)) {
        return false;
    }
    progress->line_start = line_start;
    progress->scanned = buf.len;
    return true;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return (c | 0x20) - 'a' + 10;
}

/* The byte that "%XX" at s stands for, or -1. */
static int escaped_byte(const char *s)
{
    if (!is_class(s[1], CHAR_HEX) || !is_class(s[2], CHAR_HEX)) {
        return -1;
    }
    return hex_value(s[1]) * 16 + hex_value(s[2]);
}

/*
 * An escaped slash, backslash, blank or control character is one that a router, a log or another
 * server may take for what it is not; nothing here is named with one.
 */
static bool is_good_escape(int byte)
{
    return byte > 0x20 && byte < 0x7f && byte != '/' && byte != '\\';
}

/* Reads the path from p up to '?' or the end of its characters; NULL when refused. */
static const char *parse_path(const char *p, struct http_message *msg)
{
    const char *start = p;
    size_t segment_len = 0;
    size_t dots = 0;
    while (true) {
        char c = *p;
        size_t width = 1;
        if (c == '%') {
            int byte = escaped_byte(p);
            if (!is_good_escape(byte)) {
                (void)refuse(msg, 400, "The path holds a bad or forbidden escape.");
                return NULL;
            }
            msg->is_path_escaped = true;
            c = (char)byte;
            width = 3;
        }
        if (width == 1 && (c == '/' || !is_class(c, CHAR_PATH))) {
            if (segment_len > 0 && segment_len <= 2 && segment_len == dots) {
                (void)refuse(msg, 400, "The path holds a dot segment.");
                return NULL;
            }
            segment_len = 0;
            dots = 0;
            if (c != '/') {
                break;
            }
        } else {
            segment_len++;
            dots += c == '.';
        }
        p += width;
    }
    msg->path = (struct slice){start, (size_t)(p - start)};
    return p;
}

/* Reads a query from after its '?'; NULL when refused. */
static const char *parse_query(const char *p, struct http_message *msg)
{
    const char *start = p;
    while (*p == '%' || is_class(*p, CHAR_QUERY)) {
        if (*p == '%') {
            if (escaped_byte(p) < 0) {
                (void)refuse(msg, 400, "The query holds a bad escape.");
                return NULL;
            }
            p += 3;
        } else {
            p++;
        }
    }
    msg->query = (struct slice){start, (size_t)(p - start)};
    return p;
}

/* Reads "HTTP/1.1" CRLF. */
static const char *parse_version(const char *p, struct http_message *msg)
{
    /* Stops at a CR at the latest, so it cannot run past the head. */
    for (const char *want = "HTTP/"; *want != '\0'; want++, p++) {
        if (*p != *want) {
            (void)refuse(msg, 400, "The request line does not end in an HTTP version.");
            return NULL;
        }
    }
    if (p[0] < '0' || p[0] > '9' || p[1] != '.' || p[2] < '0' || p[2] > '9' || p[3] != '\r' ||
        p[4] != '\n') {
        (void)refuse(msg, 400, "The request line does not end in an HTTP version.");
        return NULL;
    }
    if (p[0] != '1' || p[2] > '1') {
        (void)refuse(msg, 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
        return NULL;
    }
    msg->is_http10 = p[2] == '0';
    return p + 5;
}

/* Reads the request line; an unknown method is left as HTTP_METHOD_COUNT, for check_body(). */
static const char *parse_line(const char *p, struct http_message *msg)
{
    struct slice name = {p, 0};
    while (is_class(*p, CHAR_TOKEN)) {
        p++;
    }
    name.len = (size_t)(p - name.ptr);
    if (name.len == 0 || *p != ' ') {
        (void)refuse(msg, 400, "The request line does not begin with a method.");
        return NULL;
    }
    msg->method = HTTP_GET;
    while (msg->method < HTTP_METHOD_COUNT && !slice_eq(name, method_names[msg->method])) {
        msg->method++;
    }
    p++;
    if (*p != '/') {
        (void)refuse(msg, 400, "The request target does not begin with a slash.");
        return NULL;
    }
    p = parse_path(p, msg);
    if (p != NULL && *p == '?') {
        p = parse_query(p + 1, msg);
    }
    if (p == NULL) {
        return NULL;
    }
    if (*p != ' ') {
        (void)refuse(msg, 400, "The request target holds a forbidden character.");
        return NULL;
    }
    return parse_version(p + 1, msg);
}

/* Files a header that the parser or the handlers look at; raw is its value with blanks. */
static bool note_known(const struct http_header *header, struct slice raw, struct http_message *msg)
{
    for (int i = 0; i < HTTP_KNOWN_COUNT; i++) {
        if (!equals_nocase(header->name, known_names[i].name)) {
            continue;
        }
        if (msg->known[i].ptr == NULL) {
            msg->known[i] = header->value;
        } else if (!known_names[i].is_list) {
            return refuse(msg, 400, "A header that may come once came twice.");
        }
        if (i <= HTTP_TRANSFER_ENCODING && memchr(raw.ptr, '\t', raw.len) != NULL) {
            return refuse(msg, 400, "A tab stands in a header that frames the request.");
        }
        return true;
    }
    return true;
}

static const char *refuse_name(const char *start, const char *p, struct http_message *msg)
{
    bool is_blank = *p == ' ' || *p == '\t';
    if (p == start && is_blank) {
        (void)refuse(msg, 400, "A header line is folded.");
    } else if (p == start) {
        (void)refuse(msg, 400, "A header has no name.");
    } else if (is_blank) {
        (void)refuse(msg, 400, "A blank stands before a header's colon.");
    } else {
        (void)refuse(msg, 400, "A header name holds a forbidden character.");
    }
    return NULL;
}

/* Reads one header line; returns where the next begins. */
static const char *parse_header(const char *p, struct http_message *msg)
{
    const char *start = p;
    while (is_class(*p, CHAR_TOKEN)) {
        p++;
    }
    if (p == start || *p != ':') {
        return refuse_name(start, p, msg);
    }
    if (msg->header_count == HTTP_HEADERS_MAX) {
        (void)refuse(msg, 431, "The request has too many headers.");
        return NULL;
    }
    struct http_header *header = &msg->headers[msg->header_count++];
    header->name = (struct slice){start, (size_t)(p - start)};
    p++;
    struct slice raw = {p, 0};
    while (is_class(*p, CHAR_VALUE)) {
        p++;
    }
    if (p[0] != '\r' || p[1] != '\n') {
        (void)refuse(msg, 400, "A header value holds a control character.");
        return NULL;
    }
    raw.len = (size_t)(p - raw.ptr);
    header->value = trim_blanks(raw.ptr, p);
    return note_known(header, raw, msg) ? p + 2 : NULL;
}

static bool is_digits(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') {
            return false;
        }
    }
    return s.len > 0;
}

static bool is_good_port(struct slice port)
{
    if (!is_digits(port) || port.len > 5) {
        return false;
    }
    unsigned int n = 0;
    for (size_t i = 0; i < port.len; i++) {
        n = n * 10 + (unsigned int)(port.ptr[i] - '0');
    }
    return n <= 65535;
}

/* name[:port], IPv4[:port] or [IPv6][:port]; no list, no user, nothing escaped. */
static bool is_good_host(struct slice host)
{
    size_t i = 0;
    if (host.len > 0 && host.ptr[0] == '[') {
        i = 1;
        while (i < host.len &&
               (is_class(host.ptr[i], CHAR_HEX) || host.ptr[i] == ':' || host.ptr[i] == '.')) {
            i++;
        }
        if (i < 3 || i == host.len || host.ptr[i] != ']') { /* the shortest is "[::]" */
            return false;
        }
        i++;
    } else {
        while (i < host.len && is_class(host.ptr[i], CHAR_HOST)) {
            i++;
        }
    }
    if (i == 0 || i == host.len) {
        return i > 0;
    }
    return host.ptr[i] == ':' && is_good_port((struct slice){host.ptr + i + 1, host.len - i - 1});
}

/* The headers by which a request is cut from the stream, and by which others may have cut it. */
static bool check_framing(struct http_message *msg)
{
    struct slice length = msg->known[HTTP_CONTENT_LENGTH];
    struct slice host = msg->known[HTTP_HOST];
    bool is_chunked = msg->known[HTTP_TRANSFER_ENCODING].ptr != NULL;

    if (is_chunked && (length.ptr != NULL || msg->is_http10)) {
        return refuse(msg, 400, "Transfer-Encoding with Content-Length or in HTTP/1.0.");
    }
    if (length.ptr != NULL && (!is_digits(length) || (length.len > 1 && length.ptr[0] == '0'))) {
        return refuse(msg, 400, "Content-Length is not a plain number.");
    }
    if (host.ptr == NULL && !msg->is_http10) {
        return refuse(msg, 400, "The Host header is missing.");
    }
    if (host.ptr != NULL && !is_good_host(host)) {
        return refuse(msg, 400, "The Host header is malformed.");
    }
    if (is_chunked) {
        return refuse(msg, 501, "Transfer-Encoding is not supported; send Content-Length.");
    }
    return true;
}

/* Reads digits that check_framing() saw; anything past the limit counts as just past it. */
static size_t read_length(struct slice digits, size_t limit)
{
    size_t n = 0;
    for (size_t i = 0; i < digits.len && n <= limit; i++) {
        n = n * 10 + (size_t)(digits.ptr[i] - '0');
    }
    return n;
}

/* Whether this method may have this body; sets *body_bytes. */
static bool check_body(const struct http_limits *limits, size_t *body_bytes,
                       struct http_message *msg)
{
    struct slice length = msg->known[HTTP_CONTENT_LENGTH];
    struct slice expect = msg->known[HTTP_EXPECT];

    if (msg->method == HTTP_METHOD_COUNT) {
        return refuse(msg, 501, "The method is not supported.");
    }
    if (length.ptr == NULL && msg->method == HTTP_POST) {
        return refuse(msg, 411, "The request needs a Content-Length.");
    }
    *body_bytes = length.ptr == NULL ? 0 : read_length(length, limits->body_bytes);
    if (*body_bytes > 0 && msg->method != HTTP_POST) {
        return refuse(msg, 400, "This method takes no body.");
    }
    if (*body_bytes > limits->body_bytes) {
        return refuse(msg, 413, "The body is too large.");
    }
    /* RFC 9110 section 10.1.1: HTTP/1.0 has no 100 (Continue), so the wish is not heard. */
    if (expect.ptr != NULL && !msg->is_http10 &&
        !equals_nocase(expect, SLICE_LIT("100-continue"))) {
        return refuse(msg, 417, "The only expectation supported is 100-continue.");
    }
    return true;
}

/* Reads a head of head_bytes that ends in CRLF CRLF. */
static bool parse_head(const char *buf, size_t head_bytes, const struct http_limits *limits,
                       size_t *body_bytes, struct http_message *msg)
{
    const char *end = buf + head_bytes - 2;
    const char *p = parse_line(buf, msg);
    while (p != NULL && p < end) {
        p = parse_header(p, msg);
    }
    if (p == NULL || !check_framing(msg) || !check_body(limits, body_bytes, msg)) {
        return false;
    }
    msg->is_keep_alive =
        !msg->is_http10 && http_list_find(msg, HTTP_CONNECTION, SLICE_LIT("close")).ptr == NULL;
    return true;
}

static enum http_verdict bad(struct http_message *msg)
{
    if (msg->method == HTTP_METHOD_COUNT) {
        msg->method = HTTP_GET;
    }
    return HTTP_PARSE_BAD;
}

enum http_verdict http_parse(struct http_progress *progress, const struct http_limits *limits,
                             const char *buf, size_t len, struct http_message *msg)
{
    assert(limits->line_bytes + 2 <= limits->head_bytes);
    assert(limits->body_bytes < SIZE_MAX / 16 - limits->head_bytes);

    /* Nothing stale is left; the header table is large and guarded by header_count. */
    msg->method = HTTP_GET;
    msg->is_http10 = false;
    msg->is_keep_alive = false;
    msg->is_path_escaped = false;
    msg->path = msg->query = msg->body = (struct slice){NULL, 0};
    memset(msg->known, 0, sizeof(msg->known));
    msg->header_count = 0;
    msg->consumed = 0;
    msg->status = 0;
    msg->reason = NULL;

    size_t head_bytes = progress->head_bytes;
    if (head_bytes == 0) {
        if (!scan_head(progress, limits, (struct slice){buf, len}, &head_bytes, msg)) {
            return bad(msg);
        }
    } else if (len < progress->total_bytes) {
        return HTTP_PARSE_MORE;
    }
    if (head_bytes == 0) {
        return HTTP_PARSE_MORE;
    }
    size_t body_bytes = 0;
    if (!parse_head(buf, head_bytes, limits, &body_bytes, msg)) {
        return bad(msg);
    }
    progress->head_bytes = head_bytes;
    progress->total_bytes = head_bytes + body_bytes;
    progress->is_continue_wanted =
        msg->known[HTTP_EXPECT].ptr != NULL && !msg->is_http10 && body_bytes > 0;
    if (len < progress->total_bytes) {
        return HTTP_PARSE_MORE;
    }
    msg->body = (struct slice){buf + head_bytes, body_bytes};
    msg->consumed = progress->total_bytes;
    return HTTP_PARSE_DONE;
}

struct slice http_find(const struct http_message *msg, struct slice name)
{
    for (size_t i = 0; i < msg->header_count; i++) {
        if (equals_nocase(msg->headers[i].name, name)) {
            return msg->headers[i].value;
        }
    }
    return (struct slice){NULL, 0};
}

/* Looks for name in one list line; members are cut at commas, their parameters at ';'. */
static struct slice find_member(struct slice list, struct slice name)
{
    const char *p = list.ptr;
    const char *end = list.ptr + list.len;
    while (p < end) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *stop = comma == NULL ? end : comma;
        const char *semicolon = memchr(p, ';', (size_t)(stop - p));
        struct slice member = trim_blanks(p, semicolon == NULL ? stop : semicolon);
        const char *equals = member.len == 0 ? NULL : memchr(member.ptr, '=', member.len);
        const char *member_end = member.ptr + member.len;
        if (equals_nocase(trim_blanks(member.ptr, equals == NULL ? member_end : equals), name)) {
            return trim_blanks(equals == NULL ? member_end : equals + 1, member_end);
        }
        p = stop + 1;
    }
    return (struct slice){NULL, 0};
}

struct slice http_list_find(const struct http_message *msg, enum http_known known,
                            struct slice name)
{
    struct slice value = {NULL, 0};
    if (msg->known[known].ptr == NULL) {
        return value;
    }
    for (size_t i = 0; i < msg->header_count && value.ptr == NULL; i++) {
        if (equals_nocase(msg->headers[i].name, known_names[known].name)) {
            value = find_member(msg->headers[i].value, name);
        }
    }
    return value;
}

struct slice http_query_find(struct slice query, struct slice name)
{
    const char *p = query.ptr;
    const char *end = query.ptr + query.len;
    while (query.ptr != NULL && p <= end) {
        const char *amp = p < end ? memchr(p, '&', (size_t)(end - p)) : NULL;
        const char *stop = amp == NULL ? end : amp;
        const char *equals = p < stop ? memchr(p, '=', (size_t)(stop - p)) : NULL;
        const char *name_end = equals == NULL ? stop : equals;
        if (slice_eq((struct slice){p, (size_t)(name_end - p)}, name)) {
            const char *value = equals == NULL ? stop : equals + 1;
            return (struct slice){value, (size_t)(stop - value)};
        }
        p = stop + 1;
    }
    return (struct slice){NULL, 0};
}

size_t http_unescape(struct slice path, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < path.len; n++) {
        if (path.ptr[i] == '%' && path.len - i >= 3) {
            out[n] = (char)escaped_byte(path.ptr + i);
            i += 3;
        } else {
            out[n] = path.ptr[i++];
        }
    }
    return n;
}

const char *http_method_name(enum http_method method)
{
    return method_names[method].ptr;
}
