#include "common/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"

static struct clock_hands hands;
static char last[8192];
static int lines;

static void keep(struct slice line, void *arg)
{
    (void)arg;
    assert_true(slice_copy(line, last, sizeof(last)));
    lines++;
    errno = 0;
}

static int start(void **state)
{
    (void)state;
    lines = 0;
    last[0] = '\0';
    hands = (struct clock_hands){.mono_us = 1000000, .wall_ms = 1787306400123};
    clock_pretend(&hands);
    log_set_sink(keep, NULL);
    log_init("producer", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    log_set_sink(NULL, NULL);
    clock_pretend(NULL);
    return 0;
}

static void a_line_is_time_level_program_event_fields(void **state)
{
    (void)state;
    log_info("order.accepted", LOG_STR("order_id", "0198-a"), LOG_INT("ms", -3),
             LOG_BOOL("keyed", true));
    assert_string_equal(last, "2026-08-21T10:00:00.123Z info producer order.accepted "
                              "order_id=0198-a ms=-3 keyed=true\n");
    log_error("loop.ended");
    assert_string_equal(last, "2026-08-21T10:00:00.123Z error producer loop.ended\n");
}

static void outside_text_cannot_pretend_to_be_ours(void **state)
{
    (void)state;
    log_info("a.b", LOG_STR("v", "x\n2026 error forged"), LOG_SLICE("w", SLICE_LIT("\0\x1b[31m")),
             LOG_STR("x", "k=v"), LOG_STR("y", ""), LOG_STR("z", "q\"\\\xc3\xbc"),
             LOG_STR("n", NULL));
    assert_string_equal(strstr(last, "a.b"),
                        "a.b v=\"x\\n2026 error forged\" w=\"\\x00\\x1b[31m\" x=\"k=v\" y=\"\" "
                        "z=\"q\\\"\\\\\\xc3\\xbc\" n=\"\"\n");
}

static void values_are_cut(void **state)
{
    char text[1000];

    (void)state;
    memset(text, 'a', sizeof(text));
    log_info("a.b", LOG_SLICE("v", ((struct slice){text, sizeof(text)})), LOG_INT("n", 1));
    assert_int_equal(strlen(strstr(last, "v=")), 2 + 256 + strlen(" n=1\n"));
    /* The cut falls inside the two-byte character, so the JSON text stays well-formed without it. */
    log_init("producer", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    text[255] = '\xc3';
    text[256] = '\xbc';
    log_info("a.b", LOG_SLICE("v", ((struct slice){text, sizeof(text)})));
    assert_int_equal(strlen(strstr(last, "\"v\":")), 5 + 255 + strlen("\"}\n"));
}

static void a_line_has_an_end(void **state)
{
    char text[257];
    struct log_field fields[33];

    (void)state;
    memset(text, 1, 256);
    text[256] = '\0';
    for (size_t i = 0; i < 32; i++) {
        fields[i] = LOG_STR("v", text);
    }
    fields[32] = LOG_END;
    for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
        log_init("producer", LOG_LEVEL_INFO, (enum log_format)format);
        log_event(LOG_LEVEL_INFO, "a.b", fields);
        assert_true(strlen(last) <= 4096);
        assert_true(strlen(last) > 2000);
        assert_non_null(
            strstr(last, format == LOG_FORMAT_JSON ? ",\"cut\":true}\n" : " cut=true\n"));
    }
}

static void json_is_an_object(void **state)
{
    (void)state;
    log_init("matcher", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    log_warn("redis.lost", LOG_STR("error", "no \"way\"\n"), LOG_INT("attempt", 2));
    assert_string_equal(last, "{\"time\":\"2026-08-21T10:00:00.123Z\",\"level\":\"warn\","
                              "\"program\":\"matcher\",\"event\":\"redis.lost\","
                              "\"error\":\"no \\\"way\\\"\\n\",\"attempt\":2}\n");
}

static int calls;

static int count_calls(void)
{
    return ++calls;
}

static void debug_costs_nothing_until_switched_on(void **state)
{
    (void)state;
    calls = 0;
    log_debug("a.b", LOG_INT("n", count_calls()));
    assert_int_equal(calls, 0);
    assert_int_equal(lines, 0);
    log_toggle_debug();
    log_debug("a.b", LOG_INT("n", count_calls()));
    assert_int_equal(calls, 1);
    assert_int_equal(lines, 1);
    log_toggle_debug();
    log_debug("a.b");
    assert_int_equal(lines, 1);
    log_set_level(LOG_LEVEL_ERROR);
    log_info("a.b");
    assert_int_equal(lines, 1);
}

static void errno_survives(void **state)
{
    (void)state;
    errno = ENOENT;
    log_info("file.missing", LOG_ERRNO(errno));
    assert_int_equal(errno, ENOENT);
    log_limited(LOG_LEVEL_INFO, "file.missing_again");
    assert_int_equal(errno, ENOENT);
    assert_int_equal(lines, 2);
}

static void what_repeats_is_counted(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        log_limited(LOG_LEVEL_WARN, "redis.lost", LOG_INT("i", i));
        log_limited(LOG_LEVEL_WARN, "kafka.lost");
    }
    assert_int_equal(lines, 2);
    hands.mono_us += 5000000;
    log_limited(LOG_LEVEL_WARN, "redis.lost", LOG_INT("i", 10));
    assert_int_equal(lines, 3);
    assert_non_null(strstr(last, "redis.lost suppressed=9 i=10\n"));
    log_flush();
    assert_int_equal(lines, 4);
    assert_non_null(strstr(last, "log.suppressed event=kafka.lost count=9\n"));
    log_flush();
    assert_int_equal(lines, 4);
}

/* What is in a pipe, as text. */
static void drink(int fd, char *text, size_t size)
{
    const ssize_t n = read(fd, text, size - 1);

    assert_true(n > 0);
    text[n] = '\0';
}

/* Whatever is logged in there goes to fd. */
static int swap_stderr(int fd)
{
    const int before = dup(STDERR_FILENO);

    assert_true(before >= 0 && dup2(fd, STDERR_FILENO) >= 0);
    return before;
}

static void restore_stderr(int before)
{
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    (void)close(before);
}

static void nobody_waits_for_a_reader(void **state)
{
    char first[8192];
    char later[8192];
    int before, fds[2];

    (void)state;
    log_set_sink(NULL, NULL);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(fcntl(fds[1], F_SETPIPE_SZ, 4096), 4096);
    before = swap_stderr(fds[1]);
    for (int i = 0; i < 1000; i++) {
        log_info("a.b", LOG_INT("i", i));
    }
    drink(fds[0], first, sizeof(first));
    log_info("a.c");
    drink(fds[0], later, sizeof(later));
    restore_stderr(before);
    (void)close(fds[0]);
    (void)close(fds[1]);
    assert_non_null(strstr(first, "a.b i=0\n"));
    assert_null(strstr(first, "i=999\n"));
    assert_non_null(strstr(later, "a.c dropped=9"));
}

static void what_a_full_disk_does_not_take_is_counted(void **state)
{
    const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    char text[8192];
    int before, fds[2];

    (void)state;
    log_set_sink(NULL, NULL);
    assert_true(full >= 0 && pipe(fds) == 0);
    before = swap_stderr(full);
    for (int i = 0; i < 5; i++) {
        errno = ENOENT;
        log_info("a.b", LOG_INT("i", i));
        assert_int_equal(errno, ENOENT);
    }
    assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
    log_info("a.c");
    log_info("a.d");
    restore_stderr(before);
    drink(fds[0], text, sizeof(text));
    (void)close(full);
    (void)close(fds[0]);
    (void)close(fds[1]);
    assert_string_equal(text, "2026-08-21T10:00:00.123Z info producer a.c dropped=5\n"
                              "2026-08-21T10:00:00.123Z info producer a.d\n");
}

/* A disk with room for a part of a line, as a file that may not grow is. */
static void a_line_cut_by_a_full_disk_has_an_end(void **state)
{
    static const char half[] = "2026-08-21T10:00:00.123Z info pr";
    FILE *file = tmpfile();
    struct rlimit limit, before;
    char text[8192];
    int was;
    ssize_t n;

    (void)state;
    log_set_sink(NULL, NULL);
    assert_true(file != NULL && getrlimit(RLIMIT_FSIZE, &before) == 0);
    assert_true(fcntl(fileno(file), F_SETFL, O_APPEND) == 0);
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    limit = (struct rlimit){.rlim_cur = sizeof(half) - 1, .rlim_max = before.rlim_max};
    was = swap_stderr(fileno(file));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    log_info("a.b");
    log_info("a.c");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    log_info("a.d");
    log_info("a.e");
    restore_stderr(was);
    assert_true(signal(SIGXFSZ, SIG_DFL) != SIG_ERR);
    n = pread(fileno(file), text, sizeof(text) - 1, 0);
    assert_true(n > 0);
    text[n] = '\0';
    (void)fclose(file);
    assert_string_equal(text, "2026-08-21T10:00:00.123Z info pr\n"
                              "2026-08-21T10:00:00.123Z info producer a.d dropped=2\n"
                              "2026-08-21T10:00:00.123Z info producer a.e\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_is_time_level_program_event_fields, start, stop),
        cmocka_unit_test_setup_teardown(outside_text_cannot_pretend_to_be_ours, start, stop),
        cmocka_unit_test_setup_teardown(values_are_cut, start, stop),
        cmocka_unit_test_setup_teardown(a_line_has_an_end, start, stop),
        cmocka_unit_test_setup_teardown(json_is_an_object, start, stop),
        cmocka_unit_test_setup_teardown(debug_costs_nothing_until_switched_on, start, stop),
        cmocka_unit_test_setup_teardown(errno_survives, start, stop),
        cmocka_unit_test_setup_teardown(what_repeats_is_counted, start, stop),
        cmocka_unit_test_setup_teardown(nobody_waits_for_a_reader, start, stop),
        cmocka_unit_test_setup_teardown(what_a_full_disk_does_not_take_is_counted, start, stop),
        cmocka_unit_test_setup_teardown(a_line_cut_by_a_full_disk_has_an_end, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
