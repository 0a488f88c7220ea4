/*
 * Both ends of a relay in one thread, each with a loop of its own that turns when the test says so.
 * With real threads and sockets: http_front_test.
 */
#include "producer/relay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "producer/counters.h"
#include "producer/http_request.h"

enum {
    WORDS = 2, /* for which a ring has room besides */
    SLOTS = 8 - WORDS,
    MANY_SLOTS = 8192 - WORDS, /* more than a lane has */
    LANE_RECORDS = 4096,       /* of a lane, at most */
};

/* A request as its server has it. */
struct asked {
    struct http_request request;
    int status;
    char body[3000];
    size_t body_len;
    char retry_after[8];
    char name[8], value[8]; /* of the first field */
};

static struct event_base *door, *http;
static struct stats *stats;
static struct relay *relay;
static struct relay_thread *thread;
static struct asked asked[MANY_SLOTS + 1];

/* What the door has. */
static struct http_request *taken[MANY_SLOTS];
static int64_t numbers[MANY_SLOTS]; /* what they were asked with */
static size_t n_taken;
static struct http_request *leaver;
static int n_left;
static char words[8];
static size_t n_words;

static void on_leave(struct http_request *req, void *arg)
{
    assert_ptr_equal(arg, &leaver);
    leaver = req;
    n_left++;
}

static void take(struct http_request *req, const struct desk_request *request, void *arg)
{
    (void)arg;
    assert_true(n_taken < MANY_SLOTS);
    http_on_leave(req, on_leave, &leaver);
    numbers[n_taken] = request->call.qty;
    taken[n_taken++] = req;
}

static void hear(char word)
{
    assert_true(n_words + 1 < sizeof(words));
    words[n_words++] = word;
    words[n_words] = '\0';
}

static void on_drain(void *arg)
{
    (void)arg;
    hear('d');
}

static void on_end(void *arg)
{
    (void)arg;
    hear('e');
}

static void begin(size_t slots)
{
    const struct relay_settings settings = {
        .threads = 1, .slots = slots + WORDS, .take = take, .stats = stats};
    const struct relay_words w = {.drain = on_drain, .end = on_end};

    relay = relay_create(door, &settings, NULL);
    assert_non_null(relay);
    thread = relay_thread_start(relay, 0, http, &w, NULL);
    assert_non_null(thread);
}

static int set_up(void **state)
{
    (void)state;
    door = event_base_new();
    http = event_base_new();
    stats = stats_create("test", counters_rows, STAT_COUNT);
    n_taken = 0;
    n_left = 0;
    n_words = 0;
    words[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    relay_destroy(relay);
    relay = NULL;
    stats_destroy(stats);
    event_base_free(door);
    event_base_free(http);
    return 0;
}

static void turn(struct event_base *base)
{
    assert_true(event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK) >= 0);
}

static void on_answer(struct http_request *req, int status, const struct http_field *fields,
                      struct slice body)
{
    struct asked *a = (struct asked *)req;

    assert_int_equal(a->status, 0); /* one answer for each */
    a->status = status;
    assert_true(body.len <= sizeof(a->body));
    memcpy(a->body, body.ptr, body.len);
    a->body_len = body.len;
    for (const struct http_field *f = fields; f != NULL && f->name != NULL; f++) {
        if (strcmp(f->name, "Retry-After") == 0) {
            (void)snprintf(a->retry_after, sizeof(a->retry_after), "%s", f->value);
        }
    }
    if (fields != NULL && fields->name != NULL) {
        (void)snprintf(a->name, sizeof(a->name), "%s", fields->name);
        (void)snprintf(a->value, sizeof(a->value), "%s", fields->value);
    }
}

/* The HTTP thread hands a request on. */
static struct asked *ask(size_t number)
{
    struct asked *a = &asked[number];
    const struct desk_request request = {
        .kind = DESK_CALL,
        .call = {.kind = CALLS_ORDER, .user_id = SLICE_LIT("u"), .qty = (int64_t)number},
    };

    *a = (struct asked){.request = {.answer = on_answer, .is_pending = true}};
    relay_pass(&a->request, &request, thread);
    return a;
}

static void reply(struct http_request *req, const char *body)
{
    http_reply(req, 200, NULL, slice_str(body));
}

static bool has_body(const struct asked *a, const char *body)
{
    return slice_eq((struct slice){a->body, a->body_len}, slice_str(body));
}

static void assert_counts(int64_t requests, int64_t answers)
{
    assert_int_equal(stats_get(stats, STAT_RELAYED), requests);
    assert_int_equal(stats_get(stats, STAT_RELAY_ANSWERS), answers);
}

static void there_and_back(void **state)
{
    static const struct http_field fields[] = {{"Name", "value"}, {NULL, NULL}};
    struct asked *a, *b;

    (void)state;
    begin(SLOTS);
    a = ask(0);
    b = ask(1);
    assert_int_equal(n_taken, 0);
    turn(door);
    assert_int_equal(n_taken, 2);
    assert_int_equal(numbers[0], 0);
    assert_int_equal(numbers[1], 1);
    /* The second is answered first, and each gets its own. */
    http_reply(taken[1], 201, fields, SLICE_LIT("second"));
    assert_int_equal(b->status, 0);
    turn(http);
    assert_int_equal(a->status, 0);
    assert_int_equal(b->status, 201);
    assert_true(has_body(b, "second"));
    assert_string_equal(b->name, "Name");
    assert_string_equal(b->value, "value");
    reply(taken[0], "first");
    turn(http);
    assert_true(has_body(a, "first"));
    assert_counts(2, 2);
}

static void long_answer(void **state)
{
    static char page[3000];
    struct asked *a;

    (void)state;
    begin(SLOTS);
    memset(page, 'p', sizeof(page));
    a = ask(0);
    turn(door);
    http_reply(taken[0], 200, NULL, (struct slice){page, sizeof(page)});
    memset(page, 'q', sizeof(page)); /* it was copied */
    turn(http);
    assert_int_equal(a->body_len, sizeof(page));
    assert_int_equal(a->body[0], 'p');
    assert_int_equal(a->body[sizeof(page) - 1], 'p');
    /* One that nobody reads any more is freed: ask the sanitizer. */
    (void)ask(1);
    turn(door);
    http_reply(taken[1], 200, NULL, (struct slice){page, sizeof(page)});
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    *(bool *)arg = true;
}

/* When all was taken, a turn waits for something to happen, and does not spin. */
static void sleeps(void **state)
{
    const struct timeval soon = {0, 1000};
    bool is_time = false;

    (void)state;
    begin(SLOTS);
    (void)ask(0);
    turn(door);
    assert_int_equal(n_taken, 1);
    assert_int_equal(event_base_once(door, -1, EV_TIMEOUT, on_time, &is_time, &soon), 0);
    assert_int_equal(event_base_loop(door, EVLOOP_ONCE), 0);
    assert_true(is_time);
    (void)ask(1);
    assert_int_equal(event_base_loop(door, EVLOOP_ONCE), 0); /* nothing but that wakes it */
    assert_int_equal(n_taken, 2);
}

static void assert_refused(const struct asked *a)
{
    assert_int_equal(a->status, 503);
    assert_non_null(strstr(a->body, "\"reason\":\"queue_full\""));
    assert_true(a->retry_after[0] == '1' || a->retry_after[0] == '2');
    assert_int_equal(a->retry_after[1], '\0');
}

static void no_slot(void **state)
{
    (void)state;
    begin(SLOTS);
    /* Also when the door has taken them: they are out until they are answered. */
    for (size_t i = 0; i < SLOTS; i++) {
        assert_int_equal(ask(i)->status, 0);
        turn(door);
    }
    for (size_t i = SLOTS; i < SLOTS + 3; i++) {
        assert_refused(ask(i));
    }
    assert_int_equal(stats_get(stats, STAT_RELAY_FULL), 3);
    reply(taken[3], "three");
    turn(http);
    assert_true(has_body(&asked[3], "three"));
    assert_int_equal(ask(SLOTS)->status, 0);
    assert_refused(ask(SLOTS + 1));
    turn(door);
    assert_int_equal(n_taken, SLOTS + 1);
    assert_counts(SLOTS + 1, 1);
}

/* A door that stands still: what its lane holds waits, and the rest is refused at once. */
static void full_lane(void **state)
{
    (void)state;
    begin(MANY_SLOTS);
    for (size_t i = 0; i < LANE_RECORDS; i++) {
        assert_int_equal(ask(i)->status, 0);
    }
    assert_refused(ask(LANE_RECORDS));
    assert_refused(ask(LANE_RECORDS));
    while (n_taken < LANE_RECORDS) {
        turn(door);
    }
    assert_int_equal(ask(LANE_RECORDS)->status, 0);
    turn(door);
    /* It answers all of them before anybody listens: there is room for every one. */
    for (size_t i = LANE_RECORDS + 1; i < MANY_SLOTS; i++) {
        assert_int_equal(ask(i)->status, 0);
    }
    while (n_taken < MANY_SLOTS) {
        turn(door);
    }
    assert_refused(ask(MANY_SLOTS));
    relay_drain(relay, 0);
    for (size_t i = 0; i < MANY_SLOTS; i++) {
        assert_int_equal(numbers[i], i);
        reply(taken[i], "");
    }
    relay_end(relay, 0);
    while (strcmp(words, "de") != 0) {
        turn(http);
    }
    for (size_t i = 0; i < MANY_SLOTS; i++) {
        assert_int_equal(asked[i].status, 200);
    }
    assert_counts(MANY_SLOTS, MANY_SLOTS);
}

static void leaving(void **state)
{
    (void)state;
    begin(SLOTS);
    (void)ask(0);
    (void)ask(1);
    turn(door);
    http_request_leave(&asked[1].request);
    assert_int_equal(n_left, 0);
    turn(door);
    assert_int_equal(n_left, 1);
    assert_ptr_equal(leaver, taken[1]);
    /* It is still to be answered. */
    reply(taken[1], "you left");
    turn(http);
    assert_true(has_body(&asked[1], "you left"));
    /* Too late: the answer is on its way, and then another one has the slot. */
    reply(taken[0], "here");
    http_request_leave(&asked[0].request);
    turn(http);
    assert_true(has_body(&asked[0], "here"));
    (void)ask(2);
    turn(door);
    assert_int_equal(n_taken, 3);
    assert_ptr_equal(taken[2], taken[0]);
    assert_int_equal(n_left, 1);
    reply(taken[2], "third");
    turn(http);
    assert_true(has_body(&asked[2], "third"));
    assert_counts(3, 3);
}

/* Those who leave while their lane is full are told of when it is not, unless they were answered. */
static void leaving_a_full_lane(void **state)
{
    const int64_t until_ms = clock_mono_ms() + 60000;

    (void)state;
    begin(MANY_SLOTS);
    for (size_t i = 0; i < 3; i++) {
        (void)ask(i);
    }
    turn(door);
    for (size_t i = 3; i < 3 + LANE_RECORDS; i++) {
        assert_int_equal(ask(i)->status, 0);
    }
    for (size_t i = 0; i < 3; i++) {
        http_request_leave(&asked[i].request);
    }
    reply(taken[2], "answered");
    turn(http);
    assert_true(has_body(&asked[2], "answered"));
    turn(door);
    assert_int_equal(ask(3 + LANE_RECORDS)->status, 0); /* has its slot, and stays */
    while (n_left < 2 && clock_mono_ms() < until_ms) {
        turn(door);
        turn(http);
    }
    while (n_taken < 3 + LANE_RECORDS + 1) {
        turn(door);
    }
    turn(http);
    turn(door);
    assert_int_equal(n_left, 2);
}

static void ending(void **state)
{
    (void)state;
    begin(SLOTS);
    (void)ask(0);
    (void)ask(1);
    turn(door);
    (void)ask(2); /* which the door never takes */
    relay_drain(relay, 0);
    reply(taken[0], "before the end");
    relay_end(relay, 0);
    turn(http);
    assert_true(has_body(&asked[0], "before the end"));
    assert_string_equal(words, "de");
    reply(taken[1], "behind it");
    assert_int_equal(asked[1].status, 0);
    assert_int_equal(asked[2].status, 0);
    relay_destroy(relay);
    relay = NULL;
    assert_true(has_body(&asked[1], "behind it"));
    assert_int_equal(asked[2].status, 503);
    assert_non_null(strstr(asked[2].body, "\"reason\":\"draining\""));
    assert_counts(2, 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(there_and_back),
        TEST(long_answer),
        TEST(sleeps),
        TEST(no_slot),
        TEST(full_lane),
        TEST(leaving),
        TEST(leaving_a_full_lane),
        TEST(ending),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
