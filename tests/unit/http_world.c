#include "tests/unit/http_world.h"

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
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct stats_row stat_rows[] = {HTTP_STATS(STATS_ROW)};

struct world w;

static void on_leave(struct http_request *req, void *arg)
{
    (void)arg;
    w.left++;
    if (w.is_answered_on_leave) {
        http_reply(req, 200, NULL, SLICE_LIT("you left"));
        w.waiting_count--;
    }
}

void handle(struct http_request *req, void *arg)
{
    static char big[1024 * 1024];
    (void)arg;
    const struct http_message *msg = http_message(req);
    char address[HTTP_ADDRESS_SIZE];
    w.had_left += http_has_left(req);
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

int start(void **state)
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

void serve(void)
{
    struct err err;
    w.http = http_create(w.base, &w.settings, handle, NULL, &err);
    assert_non_null(w.http);
    w.port = http_port(w.http);
}

void turn(void)
{
    assert_true(event_base_loop(w.base, EVLOOP_ONCE | EVLOOP_NONBLOCK) >= 0);
}

int stop(void **state)
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

int dial(void)
{
    return dial_from("127.0.0.1");
}

int dial_from(const char *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(w.port)};
    struct sockaddr_in from = {.sin_family = AF_INET};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(inet_pton(AF_INET, address, &from.sin_addr), 1);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

char heard[HEARD_MAX];
size_t heard_len;
bool is_closed;
static bool is_reset;

bool listen_once(int fd)
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

size_t answers(void)
{
    size_t n = 0;
    for (const char *p = heard; (p = strstr(p, "HTTP/1.1 ")) != NULL; p++) {
        n += strncmp(p + 9, "100 ", 4) != 0;
    }
    return n;
}

void hear(int fd, size_t n)
{
    heard_len = 0;
    heard[0] = '\0';
    is_closed = is_reset = false;
    WAIT_FOR((listen_once(fd), answers() >= n || is_closed || is_reset));
    while (listen_once(fd)) {
    }
}

void hear_end(int fd)
{
    heard_len = 0;
    heard[0] = '\0';
    is_closed = is_reset = false;
    WAIT_FOR((listen_once(fd), is_closed || is_reset));
}

bool is_answer(const char *status, const char *body)
{
    char line[64];
    (void)snprintf(line, sizeof(line), "HTTP/1.1 %s ", status);
    size_t len = strlen(body);
    return strncmp(heard, line, strlen(line)) == 0 && strstr(heard, "\r\nDate: ") != NULL &&
           heard_len >= len && memcmp(heard + heard_len - len, body, len) == 0;
}

void reset(int fd)
{
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    close(fd);
}
