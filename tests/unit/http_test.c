/*
 * The server over real sockets on the loopback, with clients in the same thread: a client writes,
 * the loop turns until the answer is there (or a deadline says what was missing).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "producer/http.h"

#define GET(path)  "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define HEAD(path) "HEAD " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST(n)    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: " #n "\r\n\r\n"

enum { WAITING_MAX = 64 };

static const struct stats_row stat_rows[] = {HTTP_STATS(STATS_ROW)};

struct world {
    struct event_base *base;
    struct http *http;
    struct stats *stats;
    struct http_settings settings;
    struct http_request *waiting[WAITING_MAX];
    size_t waiting_count;
    int left;
    bool is_answered_on_leave;
    int drained;
};

static struct world w;

static void on_leave(struct http_request *req, void *arg)
{
    (void)arg;
    w.left++;
    if (w.is_answered_on_leave) {
        http_reply(req, 200, NULL, SLICE_LIT("you left"));
        w.waiting_count--;
    }
}

/* /wait is answered later, /echo with its body, /big with a megabyte, others with their path. */
static void handle(struct http_request *req, void *arg)
{
    static char big[1024 * 1024];
    (void)arg;
    const struct http_message *msg = http_message(req);
    char address[HTTP_ADDRESS_SIZE];
    http_peer_format(http_peer(req), address);
    assert_string_equal(address, "127.0.0.1");
    if (slice_eq(msg->path, SLICE_LIT("/wait"))) {
        assert_true(w.waiting_count < WAITING_MAX);
        w.waiting[w.waiting_count++] = req;
        http_on_leave(req, on_leave, NULL);
    } else if (slice_eq(msg->path, SLICE_LIT("/echo"))) {
        http_reply_json(req, 200, NULL, msg->body);
    } else if (slice_eq(msg->path, SLICE_LIT("/big"))) {
        memset(big, 'b', sizeof(big));
        http_reply(req, 200, NULL, (struct slice){big, sizeof(big)});
    } else if (slice_eq(msg->path, SLICE_LIT("/problem"))) {
        const struct http_problem problem = {.status = 409,
                                             .reason = "sold_out",
                                             .detail = "All \"gone\".",
                                             .members = SLICE_LIT("\"order_id\":\"x\""),
                                             .retry_after_s = 7};
        const struct http_field fields[] = {{"X-Forged", "a\r\nX-Evil: b"}, {NULL, NULL}};
        http_reply_problem(req, &problem, fields);
    } else {
        http_reply(req, 200, NULL, msg->path);
    }
}

static int start(void **state)
{
    (void)state;
    w = (struct world){0};
    w.base = event_base_new();
    w.stats = stats_create("test", stat_rows, HTTP_STAT_COUNT);
    http_settings_init(&w.settings);
    w.settings.listen = "127.0.0.1:0";
    w.settings.stats = w.stats;
    w.settings.limits =
        (struct http_limits){.line_bytes = 128, .head_bytes = 512, .body_bytes = 64};
    return w.base == NULL;
}

static void serve(void)
{
    struct err err;
    w.http = http_create(w.base, &w.settings, handle, NULL, &err);
    assert_non_null(w.http);
}

static void turn(void)
{
    assert_true(event_base_loop(w.base, EVLOOP_ONCE | EVLOOP_NONBLOCK) >= 0);
}

static int stop(void **state)
{
    (void)state;
    for (size_t i = 0; i < w.waiting_count; i++) {
        http_reply(w.waiting[i], 200, NULL, SLICE_LIT("late"));
    }
    http_destroy(w.http);
    assert_int_equal(stats_get(w.stats, STAT_HTTP_REQUESTS),
                     stats_get(w.stats, STAT_HTTP_ANSWERS) + stats_get(w.stats, STAT_HTTP_ORPHANS));
    assert_int_equal(stats_get(w.stats, STAT_HTTP_PENDING), 0);
    assert_int_equal(stats_get(w.stats, STAT_HTTP_OPEN), 0);
    stats_destroy(w.stats);
    event_base_free(w.base);
    return 0;
}

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(http_port(w.http))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

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

static char heard[4 * 1024 * 1024];
static size_t heard_len;
static bool is_closed; /* by the server, with FIN */
static bool is_reset;

static bool listen_once(int fd)
{
    ssize_t n = recv(fd, heard + heard_len, sizeof(heard) - 1 - heard_len, 0);
    if (n > 0) {
        heard_len += (size_t)n;
    }
    is_closed = n == 0;
    is_reset = n < 0 && errno == ECONNRESET;
    heard[heard_len] = '\0';
    return n > 0;
}

static size_t answers(void)
{
    size_t n = 0;
    for (const char *p = heard; (p = strstr(p, "HTTP/1.1 ")) != NULL; p++) {
        n += strncmp(p + 9, "100 ", 4) != 0;
    }
    return n;
}

/* Reads until n answers (bodies included, unless they are large) or the end of the connection. */
static void hear(int fd, size_t n)
{
    heard_len = 0;
    heard[0] = '\0';
    is_closed = is_reset = false;
    WAIT_FOR((listen_once(fd), answers() >= n || is_closed || is_reset));
    while (listen_once(fd)) {
    }
}

static void hear_end(int fd)
{
    heard_len = 0;
    heard[0] = '\0';
    is_closed = is_reset = false;
    WAIT_FOR((listen_once(fd), is_closed || is_reset));
}

static bool is_answer(const char *status, const char *body)
{
    char line[64];
    (void)snprintf(line, sizeof(line), "HTTP/1.1 %s ", status);
    size_t len = strlen(body);
    return strncmp(heard, line, strlen(line)) == 0 && strstr(heard, "\r\nDate: ") != NULL &&
           heard_len >= len && memcmp(heard + heard_len - len, body, len) == 0;
}

static void reset(int fd)
{
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    close(fd);
}

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

/* A client that keeps sending behind a pending request is not read without end. */
static void flood_behind_pending(void **state)
{
    (void)state;
    w.settings.requests_per_connection_max = SIZE_MAX;
    serve();
    int fd = dial();
    say(fd, GET("/wait"));
    WAIT_FOR(w.waiting_count == 1);
    size_t sent = 0;
    int idle = 0;
    while (idle < 50) {
        static const char text[] = GET("/x");
        size_t at = sent % (sizeof(text) - 1);
        ssize_t n = send(fd, text + at, sizeof(text) - 1 - at, MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        idle = n > 0 ? 0 : idle + 1;
        assert_true(sent < 64000000); /* the kernel's buffers take it, not ours */
        turn();
    }
    w.waiting_count = 0;
    http_reply(w.waiting[0], 200, NULL, SLICE_LIT("/w"));
    int64_t expected = 1 + (int64_t)(sent / strlen(GET("/x")));
    WAIT_FOR((heard_len = 0, listen_once(fd), stats_get(w.stats, STAT_HTTP_ANSWERS) == expected));
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

/* How long one is listened to who is refused and goes on sending. */
static int64_t flood(int64_t number)
{
    static char text[65536];
    int fd = dial();
    say(fd, "nonsense\n");
    int64_t from_ms = clock_mono_ms();
    while (http_connections(w.http) > 0 || stats_get(w.stats, STAT_HTTP_CONNECTIONS) < number) {
        (void)send(fd, text, sizeof(text), MSG_NOSIGNAL);
        turn();
    }
    close(fd);
    return clock_mono_ms() - from_ms;
}

/* Less than the second of lingering: each time, if nothing stands in its way. */
static void flood_after_refusal(void **state)
{
    (void)state;
    serve();
    int64_t number = 1;
    while (flood(number) >= 900) {
        assert_true(++number <= 5);
    }
}

/* Answers that nobody reads are not made without end. */
static void answers_unread(void **state)
{
    (void)state;
    w.settings.limits.head_bytes = 16384;
    serve();
    int fd = dial();
    for (int i = 0; i < 30; i++) {
        say(fd, GET("/big"));
    }
    for (int i = 0; i < 200; i++) {
        turn();
    }
    assert_in_range(stats_get(w.stats, STAT_HTTP_ANSWERS), 1, 12);
    close(fd);
}

/* Requests whose clients left still count, until they are answered. */
static void many_orphans(void **state)
{
    (void)state;
    w.settings.connections_max = 2;
    serve();
    for (size_t i = 1; i <= 8; i++) {
        int fd = dial();
        say(fd, GET("/wait"));
        WAIT_FOR(w.waiting_count == i);
        reset(fd);
        WAIT_FOR(http_connections(w.http) == 0);
    }
    int fd = dial();
    say(fd, GET("/wait"));
    hear_end(fd);
    assert_non_null(strstr(heard, "HTTP/1.1 503 "));
    assert_int_equal(w.waiting_count, 8);
    close(fd);
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
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    WAIT_FOR(w.left == 1);
    assert_int_equal(http_connections(w.http), 1);
    w.waiting_count = 0;
    http_reply(w.waiting[0], 200, NULL, SLICE_LIT("/w"));
    hear_end(fd);
    assert_true(is_closed);
    assert_int_equal(answers(), 2);
    assert_int_equal(w.left, 1);
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

static void reader_too_slow(void **state)
{
    (void)state;
    w.settings.write_ms = 100;
    serve();
    int fd = dial();
    for (int i = 0; i < 8; i++) {
        say(fd, GET("/big"));
    }
    WAIT_FOR(stats_get(w.stats, STAT_HTTP_LATE_WRITE) == 1);
    assert_int_equal(http_connections(w.http), 0);
    close(fd);
}

/* Deadlines are absolute: bytes that trickle in do not move them. */
static void trickle(void **state)
{
    (void)state;
    w.settings.header_ms = 200;
    w.settings.body_ms = 200;
    serve();
    int fd = dial();
    int64_t from_ms = clock_mono_ms();
    say(fd, "GET / HTTP/1.1\r\nX: ");
    while (stats_get(w.stats, STAT_HTTP_LATE_HEADER) == 0) {
        (void)send(fd, "x", 1, MSG_NOSIGNAL);
        assert_int_equal(usleep(1000), 0);
        turn();
        assert_true(clock_mono_ms() - from_ms < 60000);
    }
    assert_true(clock_mono_ms() - from_ms >= 200);
    hear_end(fd);
    assert_non_null(strstr(heard, "HTTP/1.1 408 "));
    close(fd);

    fd = dial();
    from_ms = clock_mono_ms();
    say(fd, POST(60));
    for (int i = 0; i < 30; i++) {
        (void)send(fd, "x", 1, MSG_NOSIGNAL);
        turn();
    }
    WAIT_FOR(stats_get(w.stats, STAT_HTTP_LATE_BODY) == 1);
    assert_true(clock_mono_ms() - from_ms >= 200);
    close(fd);

    fd = dial(); /* says nothing at all */
    WAIT_FOR(stats_get(w.stats, STAT_HTTP_LATE_HEADER) == 2);
    hear_end(fd);
    assert_int_equal(heard_len, 0);
    close(fd);
}

static void idle(void **state)
{
    (void)state;
    w.settings.idle_ms = 100;
    w.settings.header_ms = 60000;
    serve();
    int fd = dial();
    int64_t from_ms = clock_mono_ms();
    say(fd, GET("/x"));
    hear(fd, 1);
    hear_end(fd);
    assert_true(is_closed);
    assert_true(clock_mono_ms() - from_ms >= 100);
    assert_int_equal(stats_get(w.stats, STAT_HTTP_LATE_IDLE), 1);
    close(fd);
}

/* Full: the longest idle one makes room; when all are at work, the newcomer is refused. */
static void full(void **state)
{
    (void)state;
    w.settings.connections_max = 2;
    serve();
    int first = dial();
    say(first, GET("/x"));
    hear(first, 1);
    int second = dial();
    say(second, GET("/x"));
    hear(second, 1);
    int third = dial();
    say(third, GET("/wait"));
    WAIT_FOR(w.waiting_count == 1);
    hear_end(first);
    assert_int_equal(stats_get(w.stats, STAT_HTTP_EVICTED), 1);
    say(second, GET("/wait"));
    WAIT_FOR(w.waiting_count == 2);
    int fourth = dial();
    say(fourth, GET("/x"));
    hear_end(fourth);
    assert_non_null(strstr(heard, "HTTP/1.1 503 "));
    assert_non_null(strstr(heard, "\r\nRetry-After: "));
    assert_non_null(strstr(heard, "\"reason\":\"connections\""));
    assert_int_equal(stats_get(w.stats, STAT_HTTP_REFUSED_FULL), 1);
    close(first);
    close(second);
    close(third);
    close(fourth);
}

static void full_of_one_address(void **state)
{
    (void)state;
    w.settings.connections_per_ip_max = 2;
    serve();
    int a = dial();
    int b = dial();
    int c = dial();
    hear_end(c);
    assert_non_null(strstr(heard, "HTTP/1.1 503 "));
    assert_int_equal(stats_get(w.stats, STAT_HTTP_REFUSED_IP), 1);
    close(a);
    WAIT_FOR(http_connections(w.http) == 1);
    int d = dial();
    say(d, GET("/x"));
    hear(d, 1);
    assert_true(is_answer("200", "/x"));
    close(b);
    close(c);
    close(d);
}

/* Without descriptors the listener rests instead of spinning, and recovers. */
static void no_descriptors(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    serve();
    int fd = dial();
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    const struct rlimit tight = {.rlim_cur = (rlim_t)fd + 1, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    WAIT_FOR(stats_get(w.stats, STAT_HTTP_ACCEPT_ERRORS) > 0);
    int64_t until_ms = clock_mono_ms() + 350;
    while (clock_mono_ms() < until_ms) {
        turn();
    }
    int64_t errors = stats_get(w.stats, STAT_HTTP_ACCEPT_ERRORS);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_true(errors <= 5);
    say(fd, GET("/x"));
    hear(fd, 1);
    assert_true(is_answer("200", "/x"));
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
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(simple),
        TEST(problem),
        TEST(byte_by_byte),
        TEST(pipelined),
        TEST(pipelined_behind_pending),
        TEST(flood_behind_pending),
        TEST(bad_framing),
        TEST(too_large),
        TEST(flood_after_refusal),
        TEST(answers_unread),
        TEST(many_orphans),
        TEST(expect_continue),
        TEST(closing),
        TEST(request_cap),
        TEST(half_close),
        TEST(vanished),
        TEST(answered_on_leave),
        TEST(vanished_in_request),
        TEST(big_answer),
        TEST(reader_too_slow),
        TEST(trickle),
        TEST(idle),
        TEST(full),
        TEST(full_of_one_address),
        TEST(no_descriptors),
        TEST(drain),
        TEST(drain_deadline),
        TEST(destroyed),
        TEST(bad_address),
        TEST(shared_port),
        cmocka_unit_test(dates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
