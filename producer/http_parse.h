/*
 * http_parse.h - bytes to one strict HTTP/1.1 request, or a refusal.
 *
 * A pure function without memory of its own: results are slices of the caller's buffer.  Whatever
 * two HTTP implementations might read differently is refused, because a request that a proxy and
 * we cut at different places lets a stranger speak for the client behind it.  The rules are RFC
 * 9112 without its leniencies: lines end in CRLF, no folding, no blank before a colon, one
 * Content-Length of plain digits, no Transfer-Encoding, one well-formed Host, origin-form targets.
 *
 * A request may arrive in any pieces.  The caller keeps appending to one buffer and calls again:
 *
 *     struct http_progress progress = {0};
 *     ... append bytes to buf ...
 *     switch (http_parse(&progress, &limits, buf, len, &msg)) {
 *     case HTTP_PARSE_MORE: wait; progress.head_bytes > 0 says that only the body is missing
 *     case HTTP_PARSE_BAD:  answer msg.status, msg.reason, and close: what follows cannot be cut
 *     case HTTP_PARSE_DONE: msg.consumed bytes are this request; then progress = {0} for the next
 *     }
 *
 * The buffer may move between calls.  The verdict does not depend on how the bytes were cut, and
 * no byte is looked at more than three times.  Safe from any thread.
 */
#ifndef PRODUCER_HTTP_PARSE_H
#define PRODUCER_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/slice.h"

enum {
    HTTP_HEADERS_MAX = 64, /* one more is 431 */
};

enum http_verdict {
    HTTP_PARSE_MORE,
    HTTP_PARSE_BAD,
    HTTP_PARSE_DONE,
};

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_DELETE,
    HTTP_METHOD_COUNT,
};

/* Header fields that decide something; each may come once, only Connection and Prefer are lists. */
enum http_known {
    HTTP_HOST,
    HTTP_CONTENT_LENGTH,
    HTTP_TRANSFER_ENCODING,
    HTTP_CONNECTION,
    HTTP_EXPECT,
    HTTP_AUTHORIZATION,
    HTTP_CONTENT_TYPE,
    HTTP_IDEMPOTENCY_KEY,
    HTTP_PREFER,
    HTTP_TRACEPARENT,
    HTTP_KNOWN_COUNT,
};

struct http_limits {
    size_t line_bytes; /* request line without its CRLF; more is 414 */
    size_t head_bytes; /* all up to and with the empty line; more is 431 */
    size_t body_bytes; /* more is 413 */
};

/* How far a request has been read; all zero before its first byte. */
struct http_progress {
    size_t scanned;          /* bytes searched for line ends */
    size_t line_start;       /* of the line not yet ended */
    size_t head_bytes;       /* 0 until the empty line has come and the head was found good */
    size_t total_bytes;      /* head and body, once the head is known */
    bool is_continue_wanted; /* the client waits for "100 Continue"; set together with head_bytes */
};

struct http_header {
    struct slice name;
    struct slice value; /* without the blanks around it; may be empty */
};

struct http_message {
    enum http_method method;
    bool is_http10;
    bool is_keep_alive;   /* HTTP/1.1 without "Connection: close" */
    bool is_path_escaped; /* the path holds %XX: see http_unescape() */
    struct slice path;    /* begins with '/'; what is escaped in it is known to be good */
    struct slice query;   /* after the '?', as it came; ptr NULL without one */
    struct slice body;
    struct slice known[HTTP_KNOWN_COUNT]; /* ptr NULL when absent; the first line of a list */
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t header_count;
    size_t consumed;

    /* When refused: the answer's status, and a sentence for a person (a literal). */
    int status;
    const char *reason;
};

/*
 * Looks at the len bytes received so far of one request; progress remembers between calls.
 * msg is filled when the request is done; when it is bad, only status, reason and method (GET when
 * it could not be read) are.  After BAD the same call gives BAD again.
 */
enum http_verdict http_parse(struct http_progress *progress, const struct http_limits *limits,
                             const char *buf, size_t len, struct http_message *msg) ATTR_MUSTCHECK;

/* The first header of that name (any case), or one with ptr NULL.  name is lower case. */
struct slice http_find(const struct http_message *msg, struct slice name);

/*
 * Looks for a member, by its lower-case name, in the comma-separated list that all Connection or
 * Prefer lines make up: "wait" in "respond-async, wait=10".  Returns its value, an empty slice for
 * a bare member, or one with ptr NULL.
 */
struct slice http_list_find(const struct http_message *msg, enum http_known known,
                            struct slice name);

/*
 * The value of the first `name=value` (or of a bare name: empty) between '&'s of a query, as it
 * came; ptr NULL when there is none.
 */
struct slice http_query_find(struct slice query, struct slice name);

/*
 * Undoes %XX in a path that http_parse() let through.  out has room for path.len bytes and may be
 * the path itself; returns the bytes written.
 */
size_t http_unescape(struct slice path, char *out);

/* "GET", "POST", ... */
const char *http_method_name(enum http_method method);

#endif /* PRODUCER_HTTP_PARSE_H */
