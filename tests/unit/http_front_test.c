/*
 * The HTTP servers as a whole (producer/front.h), over real sockets: without threads, and with some.
 * The desk is the test's, on the loop that turns while a client waits.
 */
#include "producer/front.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "producer/counters.h"
#include "tests/unit/http_world.h"

#define SECRET "a secret of the tests, thirty-two bytes or more"

enum {
    KEPT_MAX = 64,
    CROWD = 40,
};

static struct event_base *door; /* w.base, or a loop that stands still */
static struct front *front;
static struct stats *stats;
static char bearer[JWT_TOKEN_MAX];

/* What a client waits for, and the clients that left. */
static struct http_request *kept[KEPT_MAX];
static size_t n_kept;
static int n_left;
static int n_had_left; /* before they were taken */

static void on_leave(struct http_request *req, void *arg)
{
    (void)req;
    (void)arg;
    n_left++;
}

/* Calls are kept, and operators' pages answered: /metrics with a page larger than any record. */
static void take(struct http_request *req, const struct desk_request *request, void *arg)
{
    static char page[256 * 1024];

    assert_ptr_equal(arg, &n_kept);
    switch (request->kind) {
    case DESK_CALL:
        assert_true(n_kept < KEPT_MAX);
        assert_int_equal(request->call.user_id.len, 3);
        assert_memory_equal(request->call.user_id.ptr, "u-1", 3);
        assert_int_equal(request->address[15], 1); /* 127.0.0.1 */
        kept[n_kept++] = req;
        n_had_left += request->call.is_left;
        http_on_leave(req, on_leave, NULL);
        break;
    case DESK_METRICS:
        memset(page, 'm', sizeof(page));
        http_reply(req, 200, NULL, (struct slice){page, sizeof(page)});
        break;
    default:
        http_reply(req, 200, NULL, request->is_verbose ? SLICE_LIT("all") : SLICE_LIT("ok"));
        break;
    }
}

static void open_front(size_t threads, size_t requests_max)
{
    struct front_settings settings = {
        .threads = threads,
        .requests_max = requests_max,
        .http = w.settings,
        .jwt = {.secret = SLICE_LIT(SECRET), .cached_max = 16},
        .routes =
            {
                .stats = stats,
                .secret = SLICE_LIT(SECRET),
                .partitions = 4,
                .wait_max_ms = 1000,
                .take = take,
                .take_arg = &n_kept,
            },
    };
    struct err err = {0};

    settings.http.limits = (struct http_limits){4096, 8192, 4096};
    settings.http.is_port_shared = true;
    settings.http.stats = stats;
    front = front_create(door, &settings, &err);
    assert_string_equal(err.text, "");
    assert_non_null(front);
    w.port = front_port(front);
}

static int begin(void **state)
{
    struct err err;

    assert_int_equal(start(state), 0);
    door = w.base;
    stats = stats_create("test", counters_rows, STAT_COUNT);
    n_kept = 0;
    n_left = 0;
    n_had_left = 0;
    return jwt_mint(SLICE_LIT(SECRET), SLICE_LIT("u-1"), 60, bearer, sizeof(bearer), &err) ? 0 : 1;
}

static void close_front(void)
{
    front_destroy(front);
    front = NULL;
    assert_int_equal(stats_get(stats, STAT_HTTP_PENDING), 0);
    assert_int_equal(stats_get(stats, STAT_HTTP_OPEN), 0);
    assert_int_equal(stats_get(stats, STAT_HTTP_REQUESTS),
                     stats_get(stats, STAT_HTTP_ANSWERS) + stats_get(stats, STAT_HTTP_ORPHANS));
    assert_int_equal(stats_get(stats, STAT_RELAYED), stats_get(stats, STAT_RELAY_ANSWERS));
}

static int end(void **state)
{
    for (size_t i = 0; i < n_kept; i++) {
        http_reply(kept[i], 200, NULL, SLICE_LIT("at last"));
    }
    close_front();
    stats_destroy(stats);
    return stop(state);
}

static void order(int fd)
{
    static const char body[] = "{\"item_id\":\"a@1\"}";
    char text[JWT_TOKEN_MAX + 512];

    (void)snprintf(text, sizeof(text),
                   "POST /v1/orders HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n"
                   "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                   bearer, sizeof(body) - 1, body);
    say(fd, text);
}

/* The same to whoever asks, whatever number of threads. */
static void serves(size_t threads)
{
    int fds[8];

    open_front(threads, 64);
    for (size_t i = 0; i < 8; i++) {
        fds[i] = dial();
        order(fds[i]);
    }
    WAIT_FOR(n_kept == 8);
    for (size_t i = 0; i < 8; i++) {
        http_reply(kept[i], 202, NULL, SLICE_LIT("{\"state\":\"queued\"}"));
    }
    n_kept = 0;
    for (size_t i = 0; i < 8; i++) {
        hear(fds[i], 1);
        assert_true(is_answer("202", "{\"state\":\"queued\"}"));
        say(fds[i], GET("/livez") GET("/readyz") GET("/readyz?verbose") GET("/nowhere"));
        hear(fds[i], 4);
        assert_non_null(strstr(heard, "\r\n\r\nok"));
        assert_non_null(strstr(heard, "\r\n\r\nall"));
        assert_non_null(strstr(heard, "\"reason\":\"not_found\""));
        close(fds[i]);
    }
    fds[0] = dial();
    say(fds[0], GET("/metrics"));
    WAIT_FOR((listen_once(fds[0]), heard_len > (size_t)256 * 1024));
    assert_int_equal(heard[heard_len - 1], 'm');
    close(fds[0]);
}

static void without_threads(void **state)
{
    (void)state;
    serves(0);
    assert_int_equal(stats_get(stats, STAT_RELAYED), 0);
}

static void one_thread(void **state)
{
    (void)state;
    serves(1);
    assert_int_equal(stats_get(stats, STAT_RELAYED), 8 + 3 * 8 + 1);
}

static void three_threads(void **state)
{
    (void)state;
    serves(3);
    assert_int_equal(stats_get(stats, STAT_RELAYED), 8 + 3 * 8 + 1);
}

/* The door stands: as many as have room wait, and all others hear so at once. */
static void door_stands(void **state)
{
    struct event_base *standing = event_base_new();
    int fds[4];

    (void)state;
    door = standing;
    open_front(1, 2);
    for (size_t i = 0; i < 4; i++) {
        fds[i] = dial();
        order(fds[i]);
        WAIT_FOR(stats_get(stats, STAT_HTTP_REQUESTS) == (int64_t)i + 1);
    }
    for (size_t i = 2; i < 4; i++) {
        hear(fds[i], 1);
        assert_int_equal(strncmp(heard, "HTTP/1.1 503 ", 13), 0);
        assert_non_null(strstr(heard, "\r\nRetry-After: "));
        assert_non_null(strstr(heard, "\"reason\":\"queue_full\""));
    }
    assert_int_equal(n_kept, 0);
    assert_int_equal(stats_get(stats, STAT_RELAY_FULL), 2);
    while (n_kept < 2) {
        assert_true(event_base_loop(standing, EVLOOP_ONCE) >= 0); /* woken by the ring */
    }
    http_reply(kept[0], 202, NULL, SLICE_LIT("a"));
    http_reply(kept[1], 202, NULL, SLICE_LIT("b"));
    n_kept = 0;
    for (size_t i = 0; i < 4; i++) {
        if (i < 2) {
            hear(fds[i], 1);
            assert_int_equal(strncmp(heard, "HTTP/1.1 202 ", 13), 0);
        }
        close(fds[i]);
    }
    close_front();
    event_base_free(standing);
    door = w.base;
    open_front(0, 1); /* for end() */
}

static void clients_leave(void **state)
{
    int fds[4];

    (void)state;
    open_front(2, 64);
    for (size_t i = 0; i < 4; i++) {
        fds[i] = dial();
        order(fds[i]);
    }
    WAIT_FOR(n_kept == 4);
    reset(fds[0]);
    assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
    WAIT_FOR(n_left == 2);
    for (size_t i = 0; i < 4; i++) {
        http_reply(kept[i], 202, NULL, SLICE_LIT("x"));
    }
    n_kept = 0;
    for (size_t i = 1; i < 4; i++) { /* a half-closed client still reads */
        hear(fds[i], 1);
        assert_true(is_answer("202", "x"));
        close(fds[i]);
    }
    WAIT_FOR(stats_get(stats, STAT_HTTP_ORPHANS) == 1);
}

/* What was sent ahead comes when its client has left, and its taker knows. */
static void leaves_behind_two(size_t threads)
{
    int fd;

    open_front(threads, 64);
    fd = dial();
    order(fd);
    order(fd);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    WAIT_FOR(n_left == 1);
    assert_int_equal(n_had_left, 0);
    n_kept = 0;
    http_reply(kept[0], 202, NULL, SLICE_LIT("first"));
    WAIT_FOR(n_kept == 1);
    assert_int_equal(n_had_left, 1);
    n_kept = 0;
    http_reply(kept[0], 202, NULL, SLICE_LIT("second"));
    hear_end(fd);
    assert_int_equal(answers(), 2);
    close(fd);
}

static void sent_ahead_and_left(void **state)
{
    (void)state;
    leaves_behind_two(0);
}

static void sent_ahead_to_a_thread(void **state)
{
    (void)state;
    leaves_behind_two(1);
}

/* Draining, each thread takes no more clients, and ends those it has. */
static void drains(size_t threads)
{
    int waiting, idle;

    open_front(threads, 64);
    waiting = dial();
    idle = dial();
    order(waiting);
    say(idle, GET("/livez"));
    hear(idle, 1);
    WAIT_FOR(n_kept == 1);
    front_drain(front, 60000);
    hear_end(idle);
    assert_true(is_closed);
    assert_false(front_is_drained(front));
    http_reply(kept[0], 202, NULL, SLICE_LIT("x"));
    n_kept = 0;
    hear_end(waiting);
    assert_true(is_answer("202", "x"));
    assert_non_null(strstr(heard, "\r\nConnection: close\r\n"));
    close(waiting);
    close(idle);
    WAIT_FOR(front_is_drained(front));
}

static void drain_without_threads(void **state)
{
    (void)state;
    drains(0);
}

static void drain_threads(void **state)
{
    (void)state;
    drains(3);
}

/* Ended under way: who was taken is answered, who was not hears 503, before the connections close. */
static void ends_under_way(void **state)
{
    struct event_base *standing = event_base_new();
    int taken, left;

    (void)state;
    door = standing;
    open_front(1, 64);
    taken = dial();
    order(taken);
    while (n_kept < 1) {
        assert_true(event_base_loop(standing, EVLOOP_ONCE) >= 0);
    }
    left = dial();
    order(left);
    WAIT_FOR(stats_get(stats, STAT_HTTP_REQUESTS) == 2);
    http_reply(kept[0], 202, NULL, SLICE_LIT("in time"));
    n_kept = 0;
    close_front();
    hear_end(taken);
    assert_true(is_answer("202", "in time"));
    hear_end(left);
    assert_int_equal(strncmp(heard, "HTTP/1.1 503 ", 13), 0);
    assert_non_null(strstr(heard, "\"reason\":\"draining\""));
    close(taken);
    close(left);
    event_base_free(standing);
    door = w.base;
    open_front(0, 1); /* for end() */
}

/* Limits of all servers together: each thread has its share, rounded up. */
static void limits_are_shared(void **state)
{
    int fds[CROWD];

    (void)state;
    w.settings.connections_per_ip_max = 5;
    open_front(2, 64);
    for (size_t i = 0; i < CROWD; i++) {
        fds[i] = dial();
    }
    WAIT_FOR(stats_get(stats, STAT_HTTP_CONNECTIONS) + stats_get(stats, STAT_HTTP_REFUSED_IP) ==
             CROWD);
    /* All at one port, where the kernel gives some to each thread. */
    assert_in_range(stats_get(stats, STAT_HTTP_CONNECTIONS), 4, 6);
    for (size_t i = 0; i < CROWD; i++) {
        close(fds[i]);
    }
}

/* A signal waits for the main thread: in another one it would end the process. */
static void signals(void **state)
{
    const struct timespec patience = {.tv_sec = 60};
    sigset_t usr1, before;
    int fd;

    (void)state;
    assert_int_equal(sigemptyset(&usr1), 0);
    assert_int_equal(sigaddset(&usr1, SIGUSR1), 0);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
    open_front(1, 64);
    fd = dial();
    say(fd, GET("/livez"));
    hear(fd, 1); /* so the thread runs: before, it has all signals blocked in any case */
    close(fd);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &usr1, NULL), 0);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    assert_int_equal(sigtimedwait(&usr1, NULL, &patience), SIGUSR1);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
}

#define TEST_FRONT(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_FRONT(without_threads),        TEST_FRONT(one_thread),
        TEST_FRONT(three_threads),          TEST_FRONT(door_stands),
        TEST_FRONT(clients_leave),          TEST_FRONT(sent_ahead_and_left),
        TEST_FRONT(sent_ahead_to_a_thread), TEST_FRONT(drain_threads),
        TEST_FRONT(drain_without_threads),  TEST_FRONT(ends_under_way),
        TEST_FRONT(limits_are_shared),      TEST_FRONT(signals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
