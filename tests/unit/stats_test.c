#include "common/stats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <unistd.h>

#define TEST_STATS(X)                                                                              \
    X(APPLIED, COUNTER, "seckill_applied_total", "", "Commands applied.")                          \
    X(LOST_REDIS, COUNTER, "seckill_lost_total", "peer=\"redis\"", "Connections lost.")            \
    X(LOST_KAFKA, COUNTER, "seckill_lost_total", "peer=\"kafka\"", "Connections lost.")            \
    X(LAG, GAUGE, "seckill_lag", "", "Records behind.")

enum test_stat { TEST_STATS(STATS_ENUM) STAT_COUNT };
static const struct stats_row rows[] = {TEST_STATS(STATS_ROW)};

static struct stats *stats;
static struct buf out;

static int start(void **state)
{
    (void)state;
    stats = stats_create("matcher", rows, STAT_COUNT);
    buf_init(&out, 1 << 20);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    stats_destroy(stats);
    buf_fini(&out);
    return 0;
}

static const char *written(void)
{
    buf_clear(&out);
    stats_write(stats, &out);
    assert_true(buf_ok(&out));
    return out.ptr;
}

static void rows_become_samples(void **state)
{
    static const char want[] = "# HELP seckill_applied_total Commands applied.\n"
                               "# TYPE seckill_applied_total counter\n"
                               "seckill_applied_total 5\n"
                               "# HELP seckill_lost_total Connections lost.\n"
                               "# TYPE seckill_lost_total counter\n"
                               "seckill_lost_total{peer=\"redis\"} 1\n"
                               "seckill_lost_total{peer=\"kafka\"} 0\n"
                               "# HELP seckill_lag Records behind.\n"
                               "# TYPE seckill_lag gauge\n"
                               "seckill_lag -7\n";

    (void)state;
    stats_add(stats, STAT_APPLIED, 2);
    stats_add(stats, STAT_APPLIED, 3);
    stats_add(stats, STAT_LOST_REDIS, 1);
    stats_set(stats, STAT_LAG, 100);
    stats_set(stats, STAT_LAG, -7);
    assert_int_equal(stats_get(stats, STAT_APPLIED), 5);
    assert_memory_equal(written(), want, sizeof(want) - 1);
}

static void histograms_are_cumulative_seconds(void **state)
{
    struct histogram *fast =
        stats_histogram(stats, "seckill_apply_seconds", "kind=\"a\"", "How long.");
    struct histogram *slow =
        stats_histogram(stats, "seckill_apply_seconds", "kind=\"b\"", "How long.");

    (void)state;
    histogram_add(fast, 255);
    histogram_add(fast, 256);
    histogram_add(fast, 20000000);
    (void)slow;
    const char *text = written();

    assert_non_null(strstr(text, "# TYPE seckill_apply_seconds histogram\n"
                                 "seckill_apply_seconds_bucket{kind=\"a\",le=\"0.000256\"} 1\n"
                                 "seckill_apply_seconds_bucket{kind=\"a\",le=\"0.000512\"} 2\n"));
    assert_non_null(strstr(text, "seckill_apply_seconds_bucket{kind=\"a\",le=\"16.777216\"} 2\n"
                                 "seckill_apply_seconds_bucket{kind=\"a\",le=\"+Inf\"} 3\n"
                                 "seckill_apply_seconds_sum{kind=\"a\"} 20.000511\n"
                                 "seckill_apply_seconds_count{kind=\"a\"} 3\n"
                                 "seckill_apply_seconds_bucket{kind=\"b\",le=\"0.000256\"} 0\n"));
}

static void a_histogram_without_labels_has_no_empty_braces(void **state)
{
    (void)state;
    histogram_add(stats_histogram(stats, "seckill_x_seconds", "", "How long."), 1);
    const char *text = written();

    assert_non_null(strstr(text, "seckill_x_seconds_bucket{le=\"0.000256\"} 1\n"));
    assert_non_null(strstr(text, "seckill_x_seconds_count 1\n"));
}

static void collect(struct buf *b, void *arg)
{
    stats_put_head(b, "seckill_position", STATS_GAUGE, "Where.");
    stats_put_sample(b, "seckill_position", 42, "partition=\"%d\"", *(int *)arg);
}

static void collectors_are_asked_at_each_scrape(void **state)
{
    int partition = 3;

    (void)state;
    stats_collect(stats, collect, &partition);
    assert_non_null(strstr(written(), "# TYPE seckill_position gauge\n"
                                      "seckill_position{partition=\"3\"} 42\n"));
    partition = 4;
    assert_non_null(strstr(written(), "seckill_position{partition=\"4\"} 42\n"));
}

static int64_t count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int64_t n = -3; /* ".", "..", and the directory's own */

    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        n++;
    }
    assert_int_equal(closedir(dir), 0);
    return n;
}

static void the_process_shows_itself(void **state)
{
    const int more = dup(STDOUT_FILENO);

    (void)state;
    assert_true(more >= 0);
    const char *text = written();
    const char *memory = strstr(text, "\nprocess_resident_memory_bytes ");
    const char *fds = strstr(text, "\nprocess_open_fds ");

    assert_non_null(strstr(text, "\nprocess_cpu_seconds_total 0."));
    assert_non_null(memory);
    assert_true(strtoll(strchr(memory, ' '), NULL, 10) > 100000);
    assert_non_null(fds);
    assert_int_equal(strtoll(strchr(fds, ' '), NULL, 10), count_fds());
    assert_int_equal(close(more), 0);
    assert_non_null(strstr(text, "\nseckill_build_info{program=\"matcher\",version=\""));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(rows_become_samples),
        CASE(histograms_are_cumulative_seconds),
        CASE(a_histogram_without_labels_has_no_empty_braces),
        CASE(collectors_are_asked_at_each_scrape),
        CASE(the_process_shows_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
