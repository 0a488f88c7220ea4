#include "ctl/http.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <stdio.h>
#include <string.h>

#include "ctl/token.h"

static enum evhttp_cmd_type command_of(const char *method)
{
    if (strcmp(method, "POST") == 0) {
        return EVHTTP_REQ_POST;
    }
    return strcmp(method, "DELETE") == 0 ? EVHTTP_REQ_DELETE : EVHTTP_REQ_GET;
}

/* libevent calls it with NULL when there was no answer. */
static void on_answer(struct evhttp_request *req, void *arg)
{
    struct http_answer *answer = arg;

    if (req != NULL) {
        struct evbuffer *in = evhttp_request_get_input_buffer(req);
        ev_ssize_t n = evbuffer_copyout(in, answer->body, sizeof(answer->body) - 1);

        answer->status = evhttp_request_get_response_code(req);
        answer->body[n > 0 ? n : 0] = '\0';
    }
}

static bool add_headers(const struct ctl *c, struct evhttp_request *req, const char *key,
                        const char *host, struct err *err)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    char token[TOKEN_MAX] = "";
    char bearer[TOKEN_MAX + 16];
    char prefer[32];

    if (c->user[0] != '\0' && !token_mint(c, c->user, 60, token, err)) {
        return false;
    }
    (void)snprintf(bearer, sizeof(bearer), "Bearer %s", token);
    (void)snprintf(prefer, sizeof(prefer), "wait=%lld", (long long)c->wait_s);
    if (evhttp_add_header(headers, "Host", host) != 0 ||
        (c->user[0] != '\0' && evhttp_add_header(headers, "Authorization", bearer) != 0) ||
        evhttp_add_header(headers, "Content-Type", "application/json") != 0 ||
        evhttp_add_header(headers, "Connection", "close") != 0 ||
        (c->wait_s > 0 && evhttp_add_header(headers, "Prefer", prefer) != 0) ||
        (key != NULL && evhttp_add_header(headers, "Idempotency-Key", key) != 0)) {
        return err_set(err, ERR_REJECT, "a header cannot be sent as it is");
    }
    return true;
}

bool http_ask(const struct ctl *c, const struct http_question *question, struct http_answer *answer,
              struct err *err)
{
    struct evhttp_uri *uri = evhttp_uri_parse(c->url);
    const char *host = uri == NULL ? NULL : evhttp_uri_get_host(uri);
    int port = uri == NULL ? -1 : evhttp_uri_get_port(uri);
    struct event_base *base = event_base_new();
    struct evhttp_connection *conn = NULL;
    struct evhttp_request *req = NULL;
    bool done = false;

    *answer = (struct http_answer){.status = 0};
    if (host == NULL || base == NULL) {
        (void)err_set(err, ERR_FATAL, "url %s: not http://HOST[:PORT]", c->url);
        goto out;
    }
    conn = evhttp_connection_base_new(base, NULL, host, (uint16_t)(port < 0 ? 80 : port));
    req = evhttp_request_new(on_answer, answer);
    if (conn == NULL || req == NULL) {
        (void)err_set(err, ERR_FATAL, "out of memory");
        goto out;
    }
    evhttp_connection_set_timeout(conn, (int)(c->timeout_ms / 1000 + c->wait_s + 1));
    if (!add_headers(c, req, question->key, host, err)) {
        goto out;
    }
    if (question->body != NULL) {
        (void)evbuffer_add(evhttp_request_get_output_buffer(req), question->body,
                           strlen(question->body)); /* a body that is cut is refused */
    }
    if (evhttp_make_request(conn, req, command_of(question->method), question->path) != 0) {
        req = NULL; /* freed by the failed call */
        (void)err_set(err, ERR_RETRY, "cannot ask %s", c->url);
        goto out;
    }
    req = NULL; /* the connection's now */
    event_base_dispatch(base);
    done = answer->status != 0 || err_set(err, ERR_RETRY, "no answer from %s: unknown", c->url);
out:
    if (req != NULL) {
        evhttp_request_free(req);
    }
    if (conn != NULL) {
        evhttp_connection_free(conn);
    }
    if (base != NULL) {
        event_base_free(base);
    }
    if (uri != NULL) {
        evhttp_uri_free(uri);
    }
    return done;
}
