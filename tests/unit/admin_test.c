#include "common/admin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <event2/buffer.h>
#include <event2/http.h>

#include "common/log.h"

static const struct stats_row rows[] = {{"seckill_x_total", "", "X.", STATS_COUNTER}};

static struct event_base *base;
static struct stats *stats;
static struct admin *admin;
static bool kafka_good;
static int status;
static char body[16384];

static void swallow(struct slice line, void *arg)
{
    (void)line;
    (void)arg;
}

static void ready(struct admin_report *report, void *arg)
{
    (void)arg;
    admin_check(report, "redis", true, NULL);
    admin_check(report, "kafka", kafka_good, kafka_good ? NULL : "no broker");
}

static int start(void **state)
{
    struct err err;

    (void)state;
    log_set_sink(swallow, NULL);
    base = event_base_new();
    stats = stats_create("test", rows, 1);
    admin = admin_create(base, "127.0.0.1:0", stats, ready, NULL, &err);
    return admin == NULL ? -1 : 0;
}

static int stop(void **state)
{
    (void)state;
    admin_destroy(admin);
    stats_destroy(stats);
    event_base_free(base);
    log_set_sink(NULL, NULL);
    return 0;
}

static void on_answer(struct evhttp_request *req, void *arg)
{
    (void)arg;
    assert_non_null(req);
    status = evhttp_request_get_response_code(req);
    struct evbuffer *in = evhttp_request_get_input_buffer(req);
    const size_t len = evbuffer_get_length(in);

    assert_true(len < sizeof(body));
    assert_int_equal(evbuffer_remove(in, body, len), (int)len);
    body[len] = '\0';
    assert_int_equal(event_base_loopexit(base, NULL), 0);
}

static int get(enum evhttp_cmd_type method, const char *path)
{
    struct evhttp_connection *connection =
        evhttp_connection_base_new(base, NULL, "127.0.0.1", admin_port(admin));
    struct evhttp_request *req = evhttp_request_new(on_answer, NULL);

    assert_int_equal(evhttp_make_request(connection, req, method, path), 0);
    assert_int_equal(event_base_dispatch(base), 0);
    evhttp_connection_free(connection);
    return status;
}

static void shows_metrics(void **state)
{
    (void)state;
    stats_add(stats, 0, 12);
    assert_int_equal(get(EVHTTP_REQ_GET, "/metrics"), 200);
    assert_non_null(strstr(body, "\nseckill_x_total 12\n"));
    assert_int_equal(get(EVHTTP_REQ_GET, "/other"), 404);
    assert_int_not_equal(get(EVHTTP_REQ_DELETE, "/metrics"), 200);
}

static void live_is_not_ready(void **state)
{
    (void)state;
    kafka_good = false;
    assert_int_equal(get(EVHTTP_REQ_GET, "/livez"), 200);
    assert_int_equal(get(EVHTTP_REQ_GET, "/readyz"), 503);
    assert_string_equal(body, "[-] kafka: no broker\nnot ready\n");
    assert_int_equal(get(EVHTTP_REQ_GET, "/readyz?verbose"), 503);
    assert_string_equal(body, "[+] redis\n[-] kafka: no broker\nnot ready\n");
    kafka_good = true;
    assert_int_equal(get(EVHTTP_REQ_GET, "/readyz"), 200);
    assert_string_equal(body, "ready\n");
    assert_int_equal(get(EVHTTP_REQ_GET, "/readyz?verbose=1"), 200);
    assert_string_equal(body, "[+] redis\n[+] kafka\nready\n");
}

static void an_address_must_be_one(void **state)
{
    static const char *const bad[] = {
        "", ":1", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x", "256.0.0.1:0"};
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_null(admin_create(base, bad[i], stats, NULL, NULL, &err));
        assert_int_equal(err.kind, ERR_FATAL);
    }
}

static void a_port_in_use_is_said(void **state)
{
    char address[32];
    struct err err;

    (void)state;
    (void)snprintf(address, sizeof(address), "127.0.0.1:%d", admin_port(admin));
    assert_null(admin_create(base, address, stats, NULL, NULL, &err));
    assert_non_null(strstr(err.text, "in use"));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(shows_metrics),
        CASE(live_is_not_ready),
        CASE(an_address_must_be_one),
        CASE(a_port_in_use_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
