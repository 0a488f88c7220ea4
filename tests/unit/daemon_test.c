#include "common/daemon.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"

static struct event_base *base;
static struct daemon *subject;
static int drains;
static char reason[32];
static bool drains_at_once;

static void swallow(struct slice line, void *arg)
{
    (void)line;
    (void)arg;
}

static void drain(const char *why, void *arg)
{
    (void)arg;
    drains++;
    assert_true(slice_copy(slice_str(why), reason, sizeof(reason)));
    if (drains_at_once) {
        daemon_leave(subject, DAEMON_EXIT_OK);
    }
}

static void start(int64_t drain_ms)
{
    struct err err;

    drains = 0;
    drains_at_once = false;
    log_init("test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    log_set_sink(swallow, NULL);
    base = event_base_new();
    subject = daemon_create(base, drain_ms, drain, NULL, &err);
    assert_non_null(subject);
}

/* Runs until nothing more is ready; a signal sent before is handled. */
static void turn(void)
{
    assert_true(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
}

static void stop(void)
{
    daemon_destroy(subject);
    event_base_free(base);
    log_set_sink(NULL, NULL);
}

static void the_first_signal_drains(void **state)
{
    (void)state;
    start(60000);
    drains_at_once = true;
    assert_int_equal(raise(SIGTERM), 0);
    assert_int_equal(event_base_dispatch(base), 0);
    assert_int_equal(drains, 1);
    assert_string_equal(reason, "SIGTERM");
    assert_true(daemon_is_draining(subject));
    assert_int_equal(daemon_status(subject), DAEMON_EXIT_OK);
    stop();
}

static void the_second_signal_leaves(void **state)
{
    (void)state;
    start(60000);
    assert_int_equal(raise(SIGINT), 0);
    turn();
    assert_int_equal(drains, 1);
    assert_string_equal(reason, "SIGINT");
    assert_int_equal(raise(SIGTERM), 0);
    assert_int_equal(event_base_dispatch(base), 0);
    assert_int_equal(drains, 1);
    assert_int_equal(daemon_status(subject), DAEMON_EXIT_FATAL);
    stop();
}

static void a_drain_has_an_end(void **state)
{
    (void)state;
    start(1);
    daemon_drain(subject, "halted");
    daemon_drain(subject, "again");
    assert_int_equal(event_base_dispatch(base), 0);
    assert_int_equal(drains, 1);
    assert_string_equal(reason, "halted");
    assert_int_equal(daemon_status(subject), DAEMON_EXIT_FATAL);
    stop();
}

static void leaving_before_the_loop_counts(void **state)
{
    (void)state;
    start(60000);
    daemon_leave(subject, DAEMON_EXIT_OK);
    daemon_leave(subject, DAEMON_EXIT_HALTED);
    daemon_leave(subject, DAEMON_EXIT_FATAL);
    assert_int_equal(event_base_dispatch(base), 0);
    assert_int_equal(daemon_status(subject), DAEMON_EXIT_HALTED);
    stop();
}

/* A thread may stand in a server's call: what waits for it is ended. */
static void the_end_is_bounded(void **state)
{
    const int signals[] = {SIGTERM, SIGINT, SIGALRM};

    (void)state;
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        const pid_t child = fork();
        int status = -1;

        assert_true(child >= 0);
        if (child == 0) {
            start(60000);
            drains_at_once = true;
            daemon_drain(subject, "test");
            (void)event_base_dispatch(base);
            if (alarm(60) > 60) {
                (void)raise(signals[i]);
            }
            _exit(99);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), DAEMON_EXIT_FATAL);
    }
}

static void usr1_switches_debug(void **state)
{
    (void)state;
    start(60000);
    assert_int_equal(raise(SIGUSR1), 0);
    turn();
    assert_true(log_enabled(LOG_LEVEL_DEBUG));
    assert_int_equal(raise(SIGUSR1), 0);
    turn();
    assert_false(log_enabled(LOG_LEVEL_DEBUG));
    assert_int_equal(raise(SIGPIPE), 0); /* and we are still here */
    stop();
}

static void systemd_is_told(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64];
    char text[32] = "";
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

    (void)state;
    assert_true(fd >= 0);
    (void)snprintf(name, sizeof(name), "@seckill-daemon-test-%d", (int)getpid());
    memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
    const socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));

    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    start(60000);
    daemon_ready(subject);
    daemon_ready(subject);
    daemon_drain(subject, "test");
    assert_int_equal(recv(fd, text, sizeof(text), 0), 7);
    assert_memory_equal(text, "READY=1", 7);
    assert_int_equal(recv(fd, text, sizeof(text), 0), 10);
    assert_memory_equal(text, "STOPPING=1", 10);
    stop();
    assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
    assert_int_equal(close(fd), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_signal_drains), cmocka_unit_test(the_second_signal_leaves),
        cmocka_unit_test(a_drain_has_an_end),      cmocka_unit_test(leaving_before_the_loop_counts),
        cmocka_unit_test(usr1_switches_debug),     cmocka_unit_test(systemd_is_told),
        cmocka_unit_test(the_end_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
