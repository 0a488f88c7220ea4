/*
 * http_answer.h - the bytes of an HTTP answer.
 *
 * Pure: writes into the caller's buffer.  Header values and problem texts may come from anybody;
 * what could forge a header line or break the JSON is replaced or escaped on the way.
 */
#ifndef PRODUCER_HTTP_ANSWER_H
#define PRODUCER_HTTP_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/slice.h"

/* A header of an answer; arrays of them end with {NULL, NULL}. */
struct http_field {
    const char *name; /* ours */
    const char *value;
};

/* Longest text that http_date() writes, with its NUL. */
#define HTTP_DATE_SIZE sizeof("Sun, 06 Nov 1994 08:49:37 GMT")

struct http_answer {
    int status;
    const char *date;                /* from http_date() */
    const struct http_field *fields; /* or NULL; not Date, Content-Length, Connection */
    struct slice body;
    bool is_close;     /* say "Connection: close" */
    bool is_head_only; /* to HEAD: announce the body, leave it out */
};

/* RFC 9457; type and reason come from one name, as docs/protocol.md lists them. */
struct http_problem {
    int status;
    const char *reason;    /* "sold_out" */
    const char *title;     /* NULL: the status in words */
    const char *detail;    /* says what to do */
    struct slice members;  /* more members in JSON, `"order_id":"..."`, or ptr NULL */
    int64_t retry_after_s; /* Retry-After, when > 0 */
};

/* "Not Found"; "Unknown" for a status that we never send. */
const char *http_status_phrase(int status);

/* Writes an IMF-fixdate of unix_s. */
void http_date(char out[HTTP_DATE_SIZE], int64_t unix_s);

/* Appends the whole answer. */
void http_answer_write(struct buf *out, const struct http_answer *answer);

/* Appends the JSON body of a problem. */
void http_problem_write(struct buf *out, const struct http_problem *problem);

#endif /* PRODUCER_HTTP_ANSWER_H */
