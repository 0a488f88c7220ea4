/*
 * Requests and their answers; clients that leave, and a server that ends.
 */
#include "producer/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/http_world.h"

static void simple(void **state)
{
    (void)state;
    serve();
    int fd = dial();
    say(fd, GET("/a%40b"));
    hear(fd, 1);
    assert_true(is_answer("200", "\r\n\r\n/a@b"));
    assert_non_null(strstr(heard, "\r\nContent-Length: 4\r\n"));
    assert_null(strstr(heard, "Connection:"));
    say(fd, POST(5) "hello");
    hear(fd, 1);
    assert_true(is_answer("200", "\r\n\r\nhello"));
    assert_non_null(strstr(heard, "\r\nContent-Type: application/json\r\n"));
    say(fd, HEAD("/abc"));
    hear(fd, 1);
    assert_true(is_answer("200", "\r\n\r\n"));
    assert_non_null(strstr(heard, "\r\nContent-Length: 4\r\n"));
    assert_int_equal(http_connections(w.http), 1);
    close(fd);
    WAIT_FOR(http_connections(w.http) == 0);
}

static void problem(void **state)
{
    (void)state;
    serve();
    int fd = dial();
    say(fd, GET("/problem"));
    hear(fd, 1);
    assert_true(is_answer("409",
                          "{\"type\":\"urn:seckill:problem:sold_out\",\"title\":\"Conflict\","
                          "\"status\":409,\"detail\":\"All \\\"gone\\\".\","
                          "\"reason\":\"sold_out\",\"order_id\":\"x\"}"));
    assert_non_null(strstr(heard, "\r\nContent-Type: application/problem+json\r\n"));
    assert_non_null(strstr(heard, "\r\nRetry-After: 7\r\n"));
    assert_non_null(strstr(heard, "\r\nX-Forged: a??X-Evil: b\r\n"));
    close(fd);
}

static void byte_by_byte(void **state)
{
    (void)state;
    static const char text[] = POST(5) "hello" GET("/x");
    serve();
    int fd = dial();
    heard_len = 0;
    heard[0] = '\0';
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        assert_int_equal(send(fd, text + i, 1, MSG_NOSIGNAL), 1);
        turn();
        (void)listen_once(fd);
    }
    WAIT_FOR((listen_once(fd), answers() == 2));
    assert_non_null(strstr(heard, "\r\n\r\nhello"));
    close(fd);
}

/* Many at once are answered in order, none lost, and no more of them in a turn than is fair. */
static void pipelined(void **state)
{
    (void)state;
    w.settings.limits.head_bytes = 16384;
    serve();
    int fd = dial();
    static char text[16384];
    size_t n = 0;
    for (int i = 0; i < 200; i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, GET("/%03d"), i);
    }
    say(fd, text);
    heard_len = 0;
    int64_t before = 0;
    while (before < 200) {
        turn();
        int64_t now = stats_get(w.stats, STAT_HTTP_ANSWERS);
        assert_true(now - before <= 64);
        before = now;
    }
    WAIT_FOR((listen_once(fd), answers() == 200));
    const char *p = heard;
    for (int i = 0; i < 200; i++) {
        char body[16];
        (void)snprintf(body, sizeof(body), "\r\n\r\n/%03d", i);
        p = strstr(p, body);
        assert_non_null(p);
    }
    close(fd);
}

/* What follows a request whose answer is pending waits, is bounded, and is served afterwards. */
static void pipelined_behind_pending(void **state)
{
    (void)state;
    serve();
    int fd = dial();
    say(fd, GET("/1") GET("/wait") GET("/2") GET("/wait") GET("/3"));
    hear(fd, 1);
    assert_true(is_answer("200", "/1"));
    assert_int_equal(w.waiting_count, 1);
    for (int i = 0; i < 20; i++) {
        turn();
    }
    assert_int_equal(w.waiting_count, 1);
    w.waiting_count = 0;
    http_reply(w.waiting[0], 200, NULL, SLICE_LIT("/w1"));
    assert_int_equal(w.waiting_count, 0); /* answering does not run the handler */
    hear(fd, 2);
    assert_non_null(strstr(heard, "/w1"));
    assert_true(is_answer("200", "/2"));
    WAIT_FOR(w.waiting_count == 1);
    w.waiting_count = 0;
    http_reply(w.waiting[0], 200, NULL, SLICE_LIT("/w2"));
    hear(fd, 2);
    assert_true(is_answer("200", "/3"));
    close(fd);
}

static void bad_framing(void **state)
{
    (void)state;
    serve();
    int fd = dial();
    say(fd,
        GET("/x") "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nGET /smuggled HTTP/1.1\r\n");
    hear_end(fd);
    assert_true(is_closed); /* FIN, not RST */
    assert_int_equal(answers(), 2);
    assert_non_null(strstr(heard, "HTTP/1.1 400 Bad Request\r\n"));
    assert_non_null(strstr(heard, "\r\nConnection: close\r\n"));
    assert_non_null(strstr(heard, "\"reason\":\"bad_request\""));
    assert_null(strstr(heard, "smuggled"));
    assert_int_equal(stats_get(w.stats, STAT_HTTP_REQUESTS), 1);
    assert_int_equal(stats_get(w.stats, STAT_HTTP_BAD), 1);
    close(fd);
    WAIT_FOR(http_connections(w.http) == 0);
}

/* The refusal of a large body is readable, whether it comes with the head or later. */
static void too_large(void **state)
{
    (void)state;
    static char body[30000];
    memset(body, 'x', sizeof(body));
    serve();
    for (int turns = 0; turns < 3; turns++) {
        int fd = dial();
        say(fd, POST(30000));
        for (int i = 0; i < turns; i++) {
            turn();
        }
        assert_true(send(fd, body, sizeof(body), MSG_NOSIGNAL) > 0);
        hear_end(fd);
        assert_true(is_closed); /* not reset */
        assert_non_null(strstr(heard, "HTTP/1.1 413 "));
        close(fd);
    }
}

static void expect_continue(void **state)
{
    (void)state;
    serve();
    int fd = dial();
    for (int i = 0; i < 2; i++) {
        say(fd,
            "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
        heard_len = 0;
        WAIT_FOR((listen_once(fd), strstr(heard, "HTTP/1.1 100 Continue\r\n\r\n") != NULL));
        say(fd, "o");
        turn();
        say(fd, "k");
        hear(fd, 1);
        assert_true(is_answer("200", "ok")); /* no second 100 */
    }
    close(fd);
}

static void closing(void **state)
{
    (void)state;
    serve();
    int fd = dial();
    say(fd, "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET("/y"));
    hear_end(fd);
    assert_true(is_closed);
    assert_int_equal(answers(), 1);
    assert_non_null(strstr(heard, "\r\nConnection: close\r\n"));
    close(fd);
    fd = dial();
    say(fd, "GET /x HTTP/1.0\r\n\r\n");
    hear_end(fd);
    assert_non_null(strstr(heard, "\r\nConnection: close\r\n"));
    close(fd);
}

static void request_cap(void **state)
{
    (void)state;
    w.settings.requests_per_connection_max = 3;
    serve();
    int fd = dial();
    say(fd, GET("/1") GET("/2") GET("/3") GET("/4"));
    hear_end(fd);
    assert_int_equal(answers(), 3);
    assert_non_null(strstr(heard, "\r\nConnection: close\r\n"));
    close(fd);
}

/* The client's half-close is not its end: what it asked is answered. */
static void half_close(void **state)
{
    (void)state;
    serve();
    int fd = dial();
    say(fd, GET("/wait") GET("/x"));
    WAIT_FOR(w.waiting_count == 1);
    assert_false(http_has_left(w.waiting[0]));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    WAIT_FOR(w.left == 1);
    assert_true(http_has_left(w.waiting[0]));
    assert_int_equal(http_connections(w.http), 1);
    assert_int_equal(w.had_left, 0);
    w.waiting_count = 0;
    http_reply(w.waiting[0], 200, NULL, SLICE_LIT("/w"));
    hear_end(fd);
    assert_true(is_closed);
    assert_int_equal(answers(), 2);
    assert_int_equal(w.left, 1);
    assert_int_equal(w.had_left, 1); /* when the one sent ahead came to the handler */
    close(fd);
    WAIT_FOR(http_connections(w.http) == 0);
}

static void vanished(void **state)
{
    (void)state;
    serve();
    int fd = dial();
    say(fd, GET("/wait"));
    WAIT_FOR(w.waiting_count == 1);
    reset(fd);
    WAIT_FOR(w.left == 1);
    assert_int_equal(http_connections(w.http), 0);
    assert_int_equal(http_pending(w.http), 1);
    const struct http_problem gone = {.status = 409, .reason = "x", .detail = "y"};
    w.waiting_count = 0;
    http_reply_problem(w.waiting[0], &gone, NULL);
    assert_int_equal(http_pending(w.http), 0);
    assert_int_equal(stats_get(w.stats, STAT_HTTP_ORPHANS), 1);
}

static void answered_on_leave(void **state)
{
    (void)state;
    w.is_answered_on_leave = true;
    serve();
    int fd = dial();
    say(fd, GET("/wait"));
    WAIT_FOR(w.waiting_count == 1);
    reset(fd);
    WAIT_FOR(w.left == 1);
    fd = dial();
    say(fd, GET("/wait"));
    WAIT_FOR(w.waiting_count == 1);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    hear_end(fd);
    assert_true(is_answer("200", "you left"));
    close(fd);
    WAIT_FOR(http_connections(w.http) == 0);
}

static void vanished_in_request(void **state)
{
    (void)state;
    serve();
    int fd = dial();
    say(fd, "GET / HT");
    turn();
    close(fd);
    fd = dial();
    say(fd, POST(5) "he");
    turn();
    reset(fd);
    WAIT_FOR(stats_get(w.stats, STAT_HTTP_CONNECTIONS) == 2 && http_connections(w.http) == 0);
    assert_int_equal(stats_get(w.stats, STAT_HTTP_REQUESTS), 0);
}

/* Larger than the socket's buffers: the rest follows as the client reads; what follows waits. */
static void big_answer(void **state)
{
    (void)state;
    serve();
    int fd = dial();
    say(fd, GET("/big") GET("/big") GET("/big") GET("/end"));
    heard_len = 0;
    WAIT_FOR(
        (listen_once(fd), heard_len > 3000000 && memcmp(heard + heard_len - 4, "/end", 4) == 0));
    assert_int_equal(answers(), 4);
    close(fd);
}

static void on_drained(void *arg)
{
    (void)arg;
    w.drained++;
}

static void drain(void **state)
{
    (void)state;
    serve();
    int at_rest = dial();
    say(at_rest, GET("/x"));
    hear(at_rest, 1);
    int waiting = dial();
    say(waiting, GET("/wait"));
    int half = dial();
    say(half, POST(5) "he");
    WAIT_FOR(w.waiting_count == 1);
    turn();
    int queued = dial(); /* in the kernel's queue */
    say(queued, GET("/q"));
    uint16_t port = http_port(w.http);
    http_drain(w.http, 5000, on_drained, NULL);
    hear_end(at_rest);
    assert_true(is_closed);
    assert_int_equal(heard_len, 0);
    hear_end(queued);
    assert_true(is_answer("200", "/q"));
    assert_non_null(strstr(heard, "\r\nConnection: close\r\n"));
    say(half, "llo");
    hear_end(half);
    assert_true(is_answer("200", "hello"));
    assert_int_equal(w.drained, 0);
    w.waiting_count = 0;
    http_reply(w.waiting[0], 200, NULL, SLICE_LIT("last"));
    hear_end(waiting);
    assert_true(is_answer("200", "last"));
    assert_non_null(strstr(heard, "\r\nConnection: close\r\n"));
    close(at_rest);
    close(queued);
    close(half);
    close(waiting);
    WAIT_FOR(w.drained == 1);
    assert_int_equal(http_connections(w.http), 0);

    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), -1);
    close(fd);
}

static void drain_deadline(void **state)
{
    (void)state;
    serve();
    int fd = dial();
    say(fd, GET("/wait"));
    WAIT_FOR(w.waiting_count == 1);
    http_drain(w.http, 100, on_drained, NULL);
    WAIT_FOR(w.drained == 1);
    assert_int_equal(http_connections(w.http), 0);
    assert_int_equal(http_pending(w.http), 1);
    close(fd);
}

/* A request outlives its server. */
static void destroyed(void **state)
{
    (void)state;
    serve();
    int fd = dial();
    say(fd, GET("/wait"));
    WAIT_FOR(w.waiting_count == 1);
    http_destroy(w.http);
    w.http = NULL;
    w.waiting_count = 0;
    http_reply(w.waiting[0], 200, NULL, SLICE_LIT("late"));
    close(fd);
}

static void bad_address(void **state)
{
    (void)state;
    struct err err = {.kind = 0};
    w.settings.listen = "127.0.0.1:http";
    assert_null(http_create(w.base, &w.settings, handle, NULL, &err));
    assert_int_equal(err.kind, ERR_REJECT);
    w.settings.listen = "127.0.0.1:0";
    serve();
    static char taken[32];
    (void)snprintf(taken, sizeof(taken), "127.0.0.1:%u", (unsigned int)http_port(w.http));
    w.settings.listen = taken;
    assert_null(http_create(w.base, &w.settings, handle, NULL, &err));
    assert_int_equal(err.kind, ERR_FATAL);
}

static void shared_port(void **state)
{
    (void)state;
    struct err err;
    w.settings.is_port_shared = true;
    serve();
    static char same[32];
    (void)snprintf(same, sizeof(same), "127.0.0.1:%u", (unsigned int)http_port(w.http));
    w.settings.listen = same;
    struct http *other = http_create(w.base, &w.settings, handle, NULL, &err);
    assert_non_null(other);
    int fds[32];
    for (int i = 0; i < 32; i++) {
        fds[i] = dial();
        say(fds[i], GET("/x"));
        hear(fds[i], 1);
    }
    assert_int_equal(http_connections(other) + http_connections(w.http), 32);
    assert_true(http_connections(other) > 0);
    assert_true(http_connections(w.http) > 0);
    for (int i = 0; i < 32; i++) {
        close(fds[i]);
    }
    http_destroy(other);
}

static void dates(void **state)
{
    (void)state;
    char text[HTTP_DATE_SIZE];
    http_date(text, 784111777);
    assert_string_equal(text, "Sun, 06 Nov 1994 08:49:37 GMT");
    http_date(text, 0);
    assert_string_equal(text, "Thu, 01 Jan 1970 00:00:00 GMT");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(simple),
        TEST(problem),
        TEST(byte_by_byte),
        TEST(pipelined),
        TEST(pipelined_behind_pending),
        TEST(bad_framing),
        TEST(too_large),
        TEST(expect_continue),
        TEST(closing),
        TEST(request_cap),
        TEST(half_close),
        TEST(vanished),
        TEST(answered_on_leave),
        TEST(vanished_in_request),
        TEST(big_answer),
        TEST(drain),
        TEST(drain_deadline),
        TEST(destroyed),
        TEST(bad_address),
        TEST(shared_port),
        cmocka_unit_test(dates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
