/*
 * Clients that send too much, stay too long or are too many: what the server bears with.
 */
#include "producer/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "tests/unit/http_world.h"

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

/* Nobody's connection is closed for one who has as many as he may. */
static void full_and_of_one_address(void **state)
{
    (void)state;
    w.settings.connections_max = 2;
    w.settings.connections_per_ip_max = 1;
    serve();
    int stranger = dial();
    say(stranger, GET("/x"));
    hear(stranger, 1);
    int greedy = dial_from("127.0.0.2");
    WAIT_FOR(http_connections(w.http) == 2);
    int more = dial_from("127.0.0.2");
    hear_end(more);
    assert_non_null(strstr(heard, "HTTP/1.1 503 "));
    assert_int_equal(stats_get(w.stats, STAT_HTTP_REFUSED_IP), 1);
    assert_int_equal(stats_get(w.stats, STAT_HTTP_EVICTED), 0);
    say(stranger, GET("/y"));
    hear(stranger, 1);
    assert_true(is_answer("200", "/y"));
    close(stranger);
    close(greedy);
    close(more);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(flood_behind_pending),
        TEST(flood_after_refusal),
        TEST(answers_unread),
        TEST(many_orphans),
        TEST(reader_too_slow),
        TEST(trickle),
        TEST(idle),
        TEST(full),
        TEST(full_of_one_address),
        TEST(full_and_of_one_address),
        TEST(no_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
