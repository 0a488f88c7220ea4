/*
 * What a handler can do with any request, whoever made it.
 */
#include "producer/http_request.h"

#include <assert.h>

#include "common/buf.h"

enum {
    FIELDS_MAX = 16,
    PROBLEM_BYTES = 4096,
};

void http_on_leave(struct http_request *req, http_leave_fn *leave, void *arg)
{
    assert(req->is_pending);
    req->leave = leave;
    req->leave_arg = arg;
}

bool http_has_left(const struct http_request *req)
{
    assert(req->is_pending);
    return req->has_left;
}

void http_request_leave(struct http_request *req)
{
    http_leave_fn *leave = req->leave;

    req->has_left = true;
    req->leave = NULL;
    if (leave != NULL) {
        leave(req, req->leave_arg);
    }
}

void http_reply(struct http_request *req, int status, const struct http_field *fields,
                struct slice body)
{
    assert(req->is_pending);
    req->is_pending = false;
    req->answer(req, status, fields, body);
}

/* Answers with a Content-Type, and a Retry-After when retry_after_s > 0, before fields. */
static void reply_typed(struct http_request *req, int status, const char *type,
                        int64_t retry_after_s, const struct http_field *fields, struct slice body)
{
    char seconds[24];
    struct buf text;
    struct http_field all[FIELDS_MAX + 1];
    size_t n = 0;
    all[n++] = (struct http_field){"Content-Type", type};
    if (retry_after_s > 0) {
        buf_init_fixed(&text, seconds, sizeof(seconds));
        buf_put_i64(&text, retry_after_s);
        all[n++] = (struct http_field){"Retry-After", seconds};
    }
    while (fields != NULL && fields->name != NULL) {
        assert(n < FIELDS_MAX);
        all[n++] = *fields++;
    }
    all[n] = (struct http_field){NULL, NULL};
    http_reply(req, status, all, body);
}

void http_reply_json(struct http_request *req, int status, const struct http_field *fields,
                     struct slice body)
{
    reply_typed(req, status, "application/json", 0, fields, body);
}

void http_reply_problem(struct http_request *req, const struct http_problem *problem,
                        const struct http_field *fields)
{
    char storage[PROBLEM_BYTES];
    struct buf body;

    buf_init_fixed(&body, storage, sizeof(storage));
    http_problem_write(&body, problem);
    if (!buf_ok(&body)) { /* ours have less than a kilobyte */
        const struct http_problem bare = {.status = problem->status, .reason = problem->reason};

        buf_init_fixed(&body, storage, sizeof(storage));
        http_problem_write(&body, &bare);
    }
    reply_typed(req, problem->status, "application/problem+json", problem->retry_after_s, fields,
                buf_slice(&body));
}
