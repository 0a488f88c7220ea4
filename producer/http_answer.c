/*
 * Composes answers straight into the buffer they are sent from; nothing is formatted with printf
 * on the way of an ordinary answer.
 */
#include "producer/http_answer.h"

#include <stdio.h>
#include <time.h>

#include "common/span.h"

struct status_phrase {
    int status;
    const char *phrase;
};

static const struct status_phrase phrases[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {425, "Too Early"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

const char *http_status_phrase(int status)
{
    for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++) {
        if (phrases[i].status == status) {
            return phrases[i].phrase;
        }
    }
    return "Unknown";
}

/* Not strftime(): names of days and months must not follow the locale. */
void http_date(char out[HTTP_DATE_SIZE], int64_t unix_s)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t t = (time_t)unix_s;
    struct tm tm;
    if (gmtime_r(&t, &tm) == NULL || tm.tm_year < 0 || tm.tm_year > 8099) {
        t = 0;
        (void)gmtime_r(&t, &tm); /* the epoch is always representable */
    }
    (void)snprintf(out, HTTP_DATE_SIZE, "%s, %02u %s %04u %02u:%02u:%02u GMT", days[tm.tm_wday % 7],
                   (unsigned int)tm.tm_mday % 100, months[tm.tm_mon % 12],
                   (unsigned int)(tm.tm_year + 1900) % 10000, (unsigned int)tm.tm_hour % 100,
                   (unsigned int)tm.tm_min % 100, (unsigned int)tm.tm_sec % 100);
}

static bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

/* A value with a line end in it would be a header of its own: control characters become '?'. */
static void put_value(struct buf *out, const char *value)
{
    struct slice rest = slice_str(value);

    while (rest.len > 0) {
        size_t n = span_plain(rest.ptr, rest.len);

        while (n < rest.len && !is_control(rest.ptr[n])) {
            n++;
        }
        buf_append(out, rest.ptr, n);
        if (n < rest.len) {
            buf_putc(out, '?');
            n++;
        }
        rest = (struct slice){rest.ptr + n, rest.len - n};
    }
}

void http_answer_write(struct buf *out, const struct http_answer *answer)
{
    buf_append(out, "HTTP/1.1 ", 9);
    buf_put_i64(out, answer->status);
    buf_putc(out, ' ');
    buf_puts(out, http_status_phrase(answer->status));
    buf_append(out, "\r\nDate: ", 8);
    buf_puts(out, answer->date);
    /* RFC 9110 section 8.6: not with 204. */
    if (answer->status != 204) {
        buf_append(out, "\r\nContent-Length: ", 18);
        buf_put_i64(out, (int64_t)answer->body.len);
    }
    if (answer->is_close) {
        buf_append(out, "\r\nConnection: close", 19);
    }
    for (const struct http_field *f = answer->fields; f != NULL && f->name != NULL; f++) {
        buf_append(out, "\r\n", 2);
        buf_puts(out, f->name);
        buf_append(out, ": ", 2);
        put_value(out, f->value);
    }
    buf_append(out, "\r\n\r\n", 4);
    if (!answer->is_head_only && answer->status != 204) {
        buf_put_slice(out, answer->body);
    }
}

void http_problem_write(struct buf *out, const struct http_problem *problem)
{
    const char *title = problem->title;
    buf_puts(out, "{\"type\":\"urn:seckill:problem:");
    buf_puts(out, problem->reason);
    buf_puts(out, "\",\"title\":");
    buf_json_string(out, slice_str(title == NULL ? http_status_phrase(problem->status) : title));
    buf_puts(out, ",\"status\":");
    buf_put_i64(out, problem->status);
    buf_puts(out, ",\"detail\":");
    buf_json_string(out, slice_str(problem->detail == NULL ? "" : problem->detail));
    buf_puts(out, ",\"reason\":");
    buf_json_string(out, slice_str(problem->reason));
    if (problem->members.len > 0) {
        buf_putc(out, ',');
        buf_put_slice(out, problem->members);
    }
    buf_putc(out, '}');
}
