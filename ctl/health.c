/*
 * health.c - is a daemon ready?  For health checks in containers that hold nothing but our programs.
 */
#include <event2/http.h>
#include <stdio.h>
#include <string.h>

#include "ctl/http.h"

int health_ask(const struct ctl *c, const char *url)
{
    struct ctl asked = *c;
    struct http_question question = {.method = "GET", .path = "/readyz"};
    struct http_answer answer;
    struct evhttp_uri *uri = evhttp_uri_parse(url);
    const char *path = uri == NULL ? NULL : evhttp_uri_get_path(uri);
    struct err err = {0};
    bool answered;

    if (path != NULL && path[0] != '\0' && strcmp(path, "/") != 0) {
        question.path = path;
    }
    /* A check may take what its caller grants, and there is no decision to wait for. */
    asked.url = url;
    asked.user = "";
    asked.wait_s = 0;
    answered = http_ask(&asked, &question, &answer, &err);
    if (uri != NULL) {
        evhttp_uri_free(uri);
    }
    if (!answered) {
        return ctl_fail(&err);
    }
    if (answer.status != 200) {
        return ctl_say(CTL_REFUSED, "%s: %d: %s", url, answer.status, answer.body);
    }
    if (c->json) {
        printf("{\"ready\":true}\n");
    } else {
        printf("ready\n");
    }
    return CTL_DONE;
}
