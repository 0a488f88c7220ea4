/*
 * http_world.h - the server (producer/http.h) over real sockets on the loopback, with clients in the
 * same thread: a client writes, the loop turns until the answer is there (or a deadline says what
 * was missing).  Names have no prefix: these are the words that the tests are written in.
 */
#ifndef TESTS_UNIT_HTTP_WORLD_H
#define TESTS_UNIT_HTTP_WORLD_H

#include "common/clock.h"
#include "producer/http.h"

#define GET(path)  "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define HEAD(path) "HEAD " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST(n)    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: " #n "\r\n\r\n"

enum { WAITING_MAX = 64, HEARD_MAX = 4 * 1024 * 1024 };

struct world {
    struct event_base *base;
    struct http *http;
    uint16_t port; /* that dial() dials */
    struct stats *stats;
    struct http_settings settings;
    struct http_request *waiting[WAITING_MAX];
    size_t waiting_count;
    int left;
    int had_left; /* before their requests were handled */
    bool is_answered_on_leave;
    int drained;
};

extern struct world w;

/* Before each test and after it; settings may be changed between start and serve(). */
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
int start(void **state);
void serve(void);
void turn(void);
int stop(void **state);

/* /wait is answered later, /echo with its body, /big with a megabyte, others with their path. */
void handle(struct http_request *req, void *arg);

/* Turns the loop until fact() or for a minute. */
#define WAIT_FOR(fact)                                                                             \
    do {                                                                                           \
        int64_t until_ms = clock_mono_ms() + 60000;                                                \
        while (!(fact)) {                                                                          \
            turn();                                                                                \
            if (clock_mono_ms() > until_ms) {                                                      \
                fail_msg("waited a minute for %s", #fact);                                         \
            }                                                                                      \
        }                                                                                          \
    } while (0)

/* ---- a client ---- */

int dial(void);
int dial_from(const char *address); /* of ours */
void say(int fd, const char *text);

/* What has come since the last hear(), or since heard_len was set to 0. */
extern char heard[HEARD_MAX];
extern size_t heard_len;
extern bool is_closed; /* by the server, with FIN */

/* Takes what is there; false: nothing. */
bool listen_once(int fd);

/* Reads until n answers (bodies included, unless they are large) or the end of the connection. */
void hear(int fd, size_t n);
void hear_end(int fd);

/* How many of them were heard, a 100 Continue not among them. */
size_t answers(void);

/* What was heard begins as an answer of this status and ends with this body. */
bool is_answer(const char *status, const char *body);

/* Closes with RST. */
void reset(int fd);

#endif /* TESTS_UNIT_HTTP_WORLD_H */
