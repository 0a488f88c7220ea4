/*
 * common/redis.c against a server that a thread of this test plays: it can say what a real one says
 * only on bad days, exactly when it is wanted.
 */
#include "common/redis.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/log.h"
#include "common/redis_impl.h"

/* What the server says to one kind of command; "" is silence, "!" hangs up. */
struct script_of {
    const char *auth, *role, *info, *load;
    const char *info_later; /* from the second time on; NULL: the same */
    const char *evalsha[4]; /* one after the other */
};

struct world {
    struct event_base *base;
    struct redis *redis;
    struct script_of says;
    int listener;
    int port;
    const char *password;
    int64_t timeout_ms; /* a test of silence waits for so long */
    pthread_t thread;
    atomic_int loads, evals, infos, connections;

    int ups, downs, unfits;
    enum redis_unfit unfit; /* why it was last */
    int results[8];
    char replies[8][64];
    int n_results;
};

static const char sha[] = "0123456789012345678901234567890123456789";
static const unsigned char text[] = {'r', 'e', 't', 'u', 'r', 'n'};
static const struct redis_script scripts[] = {{text, sizeof(text), sha}};

static void say(int fd, const char *what)
{
    if (write(fd, what, strlen(what)) < 0) {
        return; /* it hung up first: the test will see */
    }
}

/* Commands come one per read or several at once: counted by their names. */
static bool answer(struct world *w, int fd, const char *bytes)
{
    const char *reply = NULL;

    for (const char *at = bytes; *at != '\0'; at++) {
        if (strncmp(at, "\r\nAUTH\r\n", 8) == 0) {
            say(fd, w->says.auth);
        } else if (strncmp(at, "\r\nROLE\r\n", 8) == 0) {
            say(fd, w->says.role);
        } else if (strncmp(at, "\r\nINFO\r\n", 8) == 0) {
            say(fd, w->infos++ > 0 && w->says.info_later ? w->says.info_later : w->says.info);
        } else if (strncmp(at, "\r\nLOAD\r\n", 8) == 0) {
            w->loads++;
            say(fd, w->says.load);
        } else if (strncmp(at, "\r\nEVALSHA\r\n", 11) == 0) {
            reply = w->says.evalsha[w->evals++];
            if (strcmp(reply, "!") == 0) {
                return false;
            }
            say(fd, reply);
        }
    }
    return true;
}

static void *serve(void *arg)
{
    struct world *w = arg;
    char bytes[4096];

    for (;;) {
        const int fd = accept(w->listener, NULL, NULL);
        ssize_t n;

        if (fd < 0) {
            return NULL;
        }
        w->connections++;
        while ((n = read(fd, bytes, sizeof(bytes) - 1)) > 0) {
            bytes[n] = '\0';
            if (!answer(w, fd, bytes)) {
                break;
            }
        }
        (void)close(fd);
    }
}

static void on_up(void *arg)
{
    struct world *w = arg;

    w->ups++;
}

static void on_down(const char *why, void *arg)
{
    struct world *w = arg;

    assert_non_null(why);
    w->downs++;
}

static void on_unfit(enum redis_unfit what, const char *why, void *arg)
{
    struct world *w = arg;

    assert_non_null(why);
    w->unfit = what;
    w->unfits++;
}

static void on_done(enum redis_result result, const redisReply *reply, void *arg)
{
    struct world *w = arg;
    const int n = w->n_results++;

    w->results[n] = (int)result;
    (void)snprintf(w->replies[n], sizeof(w->replies[n]), "%s",
                   reply == NULL || reply->str == NULL ? "" : reply->str);
    /* A command sent from here while the connection goes down must be refused, not lost. */
    if (result == REDIS_UNKNOWN) {
        const struct slice words[] = {SLICE_LIT("PING")};
        struct err err;

        assert_false(redis_send(w->redis, words, 1, on_done, w, &err));
        assert_int_equal(err.kind, ERR_RETRY);
    }
}

static void quiet(struct slice line, void *arg)
{
    (void)line;
    (void)arg;
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);

    assert_non_null(w);
    w->timeout_ms = 60000;
    w->says = (struct script_of){
        .auth = "+OK\r\n",
        .role = "*1\r\n$6\r\nmaster\r\n",
        .info = "$45\r\nx:1\r\nloading:0\r\nmaxmemory_policy:noeviction\r\n\r\n",
        .load = "$40\r\n0123456789012345678901234567890123456789\r\n",
    };
    w->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(w->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(w->listener, 8), 0);
    assert_int_equal(getsockname(w->listener, (struct sockaddr *)&address, &size), 0);
    w->port = ntohs(address.sin_port);
    w->base = event_base_new();
    log_set_sink(quiet, NULL);
    *state = w;
    return 0;
}

static void start(struct world *w, const char *host)
{
    const struct redis_settings settings = {.host = host,
                                            .port = w->port,
                                            .password = w->password,
                                            .timeout_ms = w->timeout_ms,
                                            .scripts = scripts,
                                            .n_scripts = 1,
                                            .up = on_up,
                                            .down = on_down,
                                            .unfit = on_unfit,
                                            .arg = w};
    struct err err;

    assert_int_equal(pthread_create(&w->thread, NULL, serve, w), 0);
    w->redis = redis_create(w->base, &settings, &err);
    assert_non_null(w->redis);
    assert_false(redis_is_up(w->redis));
}

static int teardown(void **state)
{
    struct world *w = *state;

    redis_destroy(w->redis);
    (void)shutdown(w->listener, SHUT_RDWR);
    (void)pthread_join(w->thread, NULL);
    (void)close(w->listener);
    event_base_free(w->base);
    log_set_sink(NULL, NULL);
    free(w);
    return 0;
}

/* Turns the loop until *n reaches at_least, for a minute at most. */
static void turn_until(struct world *w, const int *n, int at_least)
{
    for (int i = 0; i < 6000 && *n < at_least; i++) {
        const struct timeval turn = {.tv_usec = 10000};

        assert_int_equal(event_base_loopexit(w->base, &turn), 0);
        assert_true(event_base_dispatch(w->base) >= 0);
    }
    assert_true(*n >= at_least);
}

/* The same for connections. */
static void turn_until_connected(struct world *w, int at_least)
{
    for (int i = 0; i < 6000 && w->connections < at_least; i++) {
        const struct timeval turn = {.tv_usec = 10000};

        assert_int_equal(event_base_loopexit(w->base, &turn), 0);
        assert_true(event_base_dispatch(w->base) >= 0);
    }
    assert_true(w->connections >= at_least);
}

static void eval(struct world *w)
{
    const struct slice words[] = {SLICE_LIT("key"), SLICE_LIT("argument")};
    const struct redis_call call = {.words = words, .n_words = 2, .n_keys = 1};
    struct err err;

    assert_true(redis_eval(w->redis, &call, on_done, w, &err));
}

static void come_up(struct world *w)
{
    start(w, "127.0.0.1");
    turn_until(w, &w->ups, 1);
}

/* One evaluation to its result. */
static int ask(struct world *w)
{
    const int n = w->n_results;

    eval(w);
    turn_until(w, &w->n_results, n + 1);
    return w->results[n];
}

static void test_gets_an_answer(void **state)
{
    struct world *w = *state;

    w->says.evalsha[0] = "$2\r\nok\r\n";
    come_up(w);
    eval(w);
    assert_int_equal(w->n_results, 0); /* not before the call returns */
    turn_until(w, &w->n_results, 1);
    assert_int_equal(w->results[0], REDIS_GOT);
    assert_string_equal(w->replies[0], "ok");
    assert_int_equal(redis_pending(w->redis), 0);
}

static void test_resolves_names(void **state)
{
    struct world *w = *state;

    start(w, "localhost");
    turn_until(w, &w->ups, 1);
}

static void test_no_answer_is_unknown(void **state)
{
    struct world *w = *state;

    w->says.evalsha[0] = "";
    w->says.evalsha[1] = "";
    w->timeout_ms = 300;
    come_up(w);
    eval(w);
    eval(w);
    turn_until(w, &w->n_results, 2);
    assert_int_equal(w->results[0], REDIS_UNKNOWN);
    assert_int_equal(w->results[1], REDIS_UNKNOWN);
    assert_int_equal(w->downs, 1);
    turn_until(w, &w->ups, 2); /* and it is back by itself */
    assert_int_equal(w->connections, 2);
}

static void test_broken_connection_is_unknown(void **state)
{
    struct world *w = *state;

    w->says.evalsha[0] = "!";
    w->says.evalsha[1] = "$2\r\nok\r\n";
    come_up(w);
    assert_int_equal(ask(w), REDIS_UNKNOWN);
    turn_until(w, &w->ups, 2);
    assert_int_equal(ask(w), REDIS_GOT);
}

static void test_half_a_reply_is_unknown(void **state)
{
    struct world *w = *state;

    w->says.evalsha[0] = "$200\r\nok";
    w->timeout_ms = 300;
    come_up(w);
    assert_int_equal(ask(w), REDIS_UNKNOWN);
}

static void test_garbage_is_unknown(void **state)
{
    struct world *w = *state;

    w->says.evalsha[0] = "?what\r\n";
    come_up(w);
    assert_int_equal(ask(w), REDIS_UNKNOWN);
    turn_until(w, &w->ups, 2);
}

static void test_forgotten_script_is_loaded_and_sent_again(void **state)
{
    struct world *w = *state;

    w->says.evalsha[0] = "-NOSCRIPT No matching script.\r\n";
    w->says.evalsha[1] = "$2\r\nok\r\n";
    come_up(w);
    assert_int_equal(ask(w), REDIS_GOT);
    assert_string_equal(w->replies[0], "ok");
    assert_int_equal(w->evals, 2);
    assert_int_equal(w->loads, 2);
    assert_int_equal(w->ups, 1);
}

static void test_script_that_stays_forgotten(void **state)
{
    struct world *w = *state;

    w->says.evalsha[0] = "-NOSCRIPT No matching script.\r\n";
    w->says.evalsha[1] = "-NOSCRIPT No matching script.\r\n";
    come_up(w);
    assert_int_equal(ask(w), REDIS_LATER);
    assert_int_equal(w->evals, 2);
}

static void test_demoted_master_is_left(void **state)
{
    struct world *w = *state;

    w->says.evalsha[0] = "-READONLY You can't write against a read only replica.\r\n";
    come_up(w);
    assert_int_equal(ask(w), REDIS_LATER);
    turn_until(w, &w->downs, 1);
}

static void test_errors_that_stay_are_told(void **state)
{
    struct world *w = *state;

    w->says.evalsha[0] = "-WRONGTYPE Operation against a key\r\n";
    come_up(w);
    assert_int_equal(ask(w), REDIS_FAILED);
}

static void test_evicting_server_is_unfit(void **state)
{
    struct world *w = *state;

    w->says.info = "$46\r\nx:1\r\nloading:0\r\nmaxmemory_policy:allkeys-lru\r\n\r\n";
    start(w, "127.0.0.1");
    turn_until(w, &w->unfits, 2); /* it keeps looking */
    assert_int_equal(w->unfit, REDIS_EVICTS);
    assert_int_equal(w->ups, 0);
}

static void test_server_that_begins_to_evict(void **state)
{
    struct world *w = *state;

    w->says.info_later = "$46\r\nx:1\r\nloading:0\r\nmaxmemory_policy:allkeys-lru\r\n\r\n";
    start(w, "127.0.0.1");
    turn_until(w, &w->ups, 1);
    turn_until(w, &w->downs, 1);
    assert_true(w->unfits >= 1);
    assert_int_equal(w->unfit, REDIS_EVICTS);
    assert_int_equal(w->ups, 1);
}

static void test_replica_is_not_used(void **state)
{
    struct world *w = *state;

    w->says.role = "*1\r\n$5\r\nslave\r\n";
    start(w, "127.0.0.1");
    turn_until_connected(w, 3);
    assert_int_equal(w->ups, 0);
    assert_int_equal(w->unfits, 0); /* it may become master */
}

static void test_loading_server_is_awaited(void **state)
{
    struct world *w = *state;

    w->says.info = "$45\r\nx:1\r\nloading:1\r\nmaxmemory_policy:noeviction\r\n\r\n";
    start(w, "127.0.0.1");
    turn_until_connected(w, 2);
    assert_int_equal(w->ups, 0);
    assert_int_equal(w->unfits, 0);
}

static void test_password(void **state)
{
    struct world *w = *state;

    w->password = "secret";
    come_up(w);
    assert_int_equal(w->unfits, 0);
}

static void test_wrong_password_is_unfit(void **state)
{
    struct world *w = *state;

    w->password = "secret";
    w->says.auth = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    start(w, "127.0.0.1");
    turn_until(w, &w->unfits, 2);
    assert_int_equal(w->unfit, REDIS_REFUSES);
    assert_int_equal(w->ups, 0);
}

/* It says so to the first command, which with a password is AUTH. */
static void test_full_server_is_awaited(void **state)
{
    struct world *w = *state;

    w->password = "secret";
    w->says.auth = "-ERR max number of clients reached\r\n";
    start(w, "127.0.0.1");
    turn_until_connected(w, 3);
    assert_int_equal(w->ups, 0);
    assert_int_equal(w->unfits, 0);
}

static void test_answers_to_auth(void **state)
{
    static const struct {
        const char *error;
        enum redis_fitness fitness;
    } said[] = {
        {"WRONGPASS invalid username-password pair or user is disabled.", REDIS_NEVER},
        {"NOAUTH Authentication required.", REDIS_NEVER},
        {"ERR invalid password", REDIS_NEVER},
        {"ERR Client sent AUTH, but no password is set", REDIS_NEVER},
        {"ERR AUTH <password> called without any password configured for the default user. Are you "
         "sure your configuration is correct?",
         REDIS_NEVER},
        {"ERR max number of clients reached", REDIS_NOT_NOW},
        {"LOADING Redis is loading the dataset in memory", REDIS_NOT_NOW},
        {"BUSY Redis is busy running a script.", REDIS_NOT_NOW},
        {"", REDIS_NOT_NOW},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        char text_said[160];
        redisReply reply = {.type = REDIS_REPLY_ERROR, .str = text_said};

        reply.len = (size_t)snprintf(text_said, sizeof(text_said), "%s", said[i].error);
        assert_int_equal(redis_judge_auth(&reply).fitness, said[i].fitness);
    }
}

static void test_classes_of_errors(void **state)
{
    static const char *const later[] = {"READONLY You can't write",
                                        "LOADING Redis is loading",
                                        "BUSY Redis is busy",
                                        "OOM command not allowed",
                                        "MOVED 1 127.0.0.1:7000",
                                        "ASK 1 127.0.0.1:7000",
                                        "TRYAGAIN Multiple keys",
                                        "MISCONF Errors writing",
                                        "NOREPLICAS Not enough",
                                        "CLUSTERDOWN The cluster",
                                        "MASTERDOWN Link",
                                        "NOSCRIPT No matching",
                                        "NOAUTH Authentication required.",
                                        "ERR Script killed by user with SCRIPT KILL. script: f"};
    static const char *const failed[] = {"ERR unknown command", "WRONGTYPE Operation",
                                         "CROSSSLOT Keys in request", "BUSYKEY Target", ""};

    (void)state;
    for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
        assert_int_equal(redis_classify(slice_str(later[i])), REDIS_LATER);
    }
    for (size_t i = 0; i < sizeof(failed) / sizeof(failed[0]); i++) {
        assert_int_equal(redis_classify(slice_str(failed[i])), REDIS_FAILED);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_gets_an_answer),
        TEST(test_resolves_names),
        TEST(test_no_answer_is_unknown),
        TEST(test_broken_connection_is_unknown),
        TEST(test_half_a_reply_is_unknown),
        TEST(test_garbage_is_unknown),
        TEST(test_forgotten_script_is_loaded_and_sent_again),
        TEST(test_script_that_stays_forgotten),
        TEST(test_demoted_master_is_left),
        TEST(test_errors_that_stay_are_told),
        TEST(test_evicting_server_is_unfit),
        TEST(test_server_that_begins_to_evict),
        TEST(test_replica_is_not_used),
        TEST(test_loading_server_is_awaited),
        TEST(test_password),
        TEST(test_wrong_password_is_unfit),
        TEST(test_full_server_is_awaited),
        cmocka_unit_test(test_answers_to_auth),
        cmocka_unit_test(test_classes_of_errors),
    };

    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
