/*
 * http.h - one request to a producer and its answer; blocking, for a tool.
 */
#ifndef CTL_HTTP_H
#define CTL_HTTP_H

#include <stdbool.h>

#include "common/attr.h"
#include "common/err.h"
#include "ctl/ctl.h"

struct http_answer {
    int status;
    char body[8192]; /* cut, NUL-terminated */
};

struct http_question {
    const char *method; /* "GET", "POST" or "DELETE" */
    const char *path;
    const char *body; /* or NULL */
    const char *key;  /* Idempotency-Key, or NULL */
};

/*
 * The request is made in the name of c->user, with a token minted for a minute ("": without one),
 * and waits c->wait_s for a decision.  False, with err, when there is no answer: whether the
 * request was obeyed is then unknown.
 */
bool http_ask(const struct ctl *c, const struct http_question *question, struct http_answer *answer,
              struct err *err) ATTR_MUSTCHECK;

#endif /* CTL_HTTP_H */
