/*
 * The small decisions of the guardian: how many writers, what an error of MySQL means, where a
 * migration's statements end, which status a report has.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guardian/db.h"
#include "guardian/migrate.h"
#include "guardian/pool.h"
#include "guardian/proof.h"
#include "guardian/report.h"

static size_t size_of(size_t threads, size_t idle, size_t queued, int64_t half_idle_ms)
{
    struct pool_load load = {
        .threads = threads,
        .threads_max = 8,
        .idle = idle,
        .queued = queued,
        .half_idle_ms = half_idle_ms,
    };

    return pool_size(&load);
}

static void the_pool_grows_with_the_backlog(void **state)
{
    (void)state;
    assert_int_equal(size_of(4, 0, 8, 0), 4);
    assert_int_equal(size_of(4, 0, 9, 0), 5);
    assert_int_equal(size_of(4, 1, 9, 0), 4);
    assert_int_equal(size_of(8, 0, 100, 0), 8);
}

static void the_pool_replaces_threads_that_are_kept_busy_for_long(void **state)
{
    (void)state;
    assert_int_equal(size_of(3, 0, 1, 0), 4);
    assert_int_equal(size_of(0, 0, 0, 0), 1);
    assert_int_equal(size_of(3, 3, 0, 3600000), 4);
}

static void the_pool_shrinks_when_half_of_it_is_idle_for_long(void **state)
{
    (void)state;
    assert_int_equal(size_of(6, 3, 0, 29999), 6);
    assert_int_equal(size_of(6, 3, 0, 30000), 5);
    assert_int_equal(size_of(4, 4, 0, 3600000), 4);
}

/* A job that notes how often it ran and was given back. */
struct counted {
    struct pool_job job;
    int runs, returns;
    struct event_base *base;
    int *left;
};

static void run_counted(struct pool_job *job, struct pool_tools *tools)
{
    struct counted *c = (struct counted *)job;

    assert_non_null(tools->db);
    c->runs++;
}

static void done_counted(struct pool_job *job, void *arg)
{
    struct counted *c = (struct counted *)job;

    (void)arg;
    c->returns++;
    if (--*c->left == 0) {
        (void)event_base_loopbreak(c->base);
    }
}

static void every_job_comes_back_once(void **state)
{
    enum { JOBS = 2000 };
    struct db_settings mysql = {.host = "127.0.0.1", .port = 1, .timeout_ms = 1000};
    struct options_redis redis = {.host = "127.0.0.1", .port = 1};
    struct pool_settings settings = {.mysql = &mysql, .redis = &redis, .threads_max = 8};
    struct counted *jobs = calloc(JOBS, sizeof(*jobs));
    struct event_base *base = event_base_new();
    struct err err = {0};
    struct pool *pool = pool_create(base, &settings, &err);
    int left = JOBS;

    (void)state;
    assert_non_null(pool);
    for (int i = 0; i < JOBS; i++) {
        jobs[i] = (struct counted){
            .job = {.run = run_counted, .done = done_counted}, .base = base, .left = &left};
        pool_submit(pool, &jobs[i].job);
    }
    (void)event_base_dispatch(base);
    assert_int_equal(left, 0);
    assert_in_range(pool_threads(pool), POOL_THREADS_MIN, 8);
    pool_destroy(pool);
    for (int i = 0; i < JOBS; i++) {
        assert_int_equal(jobs[i].runs, 1);
        assert_int_equal(jobs[i].returns, 1);
    }
    event_base_free(base);
    free(jobs);
}

enum { PATIENCE_S = 60 };

/* Where jobs wait until they may end. */
struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int n_waiting, waiting_max;
    bool is_open;
};

struct waiting {
    struct counted counted;
    struct gate *gate;
};

static void run_waiting(struct pool_job *job, struct pool_tools *tools)
{
    struct gate *gate = ((struct waiting *)job)->gate;

    (void)pthread_mutex_lock(&gate->mutex);
    gate->n_waiting++;
    if (gate->n_waiting > gate->waiting_max) {
        gate->waiting_max = gate->n_waiting;
    }
    (void)pthread_cond_broadcast(&gate->changed);
    while (!gate->is_open) {
        (void)pthread_cond_wait(&gate->changed, &gate->mutex);
    }
    gate->n_waiting--;
    (void)pthread_mutex_unlock(&gate->mutex);
    run_counted(job, tools);
}

static int await_waiting(struct gate *gate, int n)
{
    struct timespec until;
    int rc = 0;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    (void)pthread_mutex_lock(&gate->mutex);
    while (gate->n_waiting < n && rc == 0) {
        rc = pthread_cond_timedwait(&gate->changed, &gate->mutex, &until);
    }
    n = gate->n_waiting;
    (void)pthread_mutex_unlock(&gate->mutex);
    return n;
}

static void dispatch_patiently(struct event_base *base)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};

    (void)event_base_loopexit(base, &patience);
    (void)event_base_dispatch(base);
}

/* So many long jobs that do not end, of which so many may run; short ones come back all the same. */
static void short_jobs_pass(int n_long, int n_running)
{
    enum { SHORT = 3, LONG_MAX = 32 };
    struct db_settings mysql = {.host = "127.0.0.1", .port = 1, .timeout_ms = 1000};
    struct options_redis redis = {.host = "127.0.0.1", .port = 1};
    struct pool_settings settings = {.mysql = &mysql, .redis = &redis, .threads_max = 16};
    struct gate gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, false};
    struct waiting jobs[LONG_MAX];
    struct counted others[SHORT];
    struct event_base *base = event_base_new();
    struct err err = {0};
    struct pool *pool = pool_create(base, &settings, &err);
    int left = SHORT;
    int long_left = n_long;

    assert_non_null(pool);
    for (int i = 0; i < n_long; i++) {
        jobs[i] = (struct waiting){
            .counted = {.job = {.run = run_waiting, .done = done_counted, .is_long = true},
                        .base = base,
                        .left = &long_left},
            .gate = &gate};
        pool_submit(pool, &jobs[i].counted.job);
    }
    assert_int_equal(await_waiting(&gate, n_running), n_running);
    for (int i = 0; i < SHORT; i++) {
        others[i] = (struct counted){
            .job = {.run = run_counted, .done = done_counted}, .base = base, .left = &left};
        pool_submit(pool, &others[i].job);
    }
    dispatch_patiently(base);
    assert_int_equal(left, 0);
    assert_int_equal(long_left, n_long);
    assert_in_range(pool_threads(pool), n_running + POOL_THREADS_MIN, 16);

    (void)pthread_mutex_lock(&gate.mutex);
    gate.is_open = true;
    (void)pthread_cond_broadcast(&gate.changed);
    (void)pthread_mutex_unlock(&gate.mutex);
    dispatch_patiently(base);
    assert_int_equal(long_left, 0);
    assert_int_equal(gate.waiting_max, n_running);
    pool_destroy(pool);
    event_base_free(base);
}

static void long_jobs_keep_no_other_waiting(void **state)
{
    (void)state;
    short_jobs_pass(4, 4);
    short_jobs_pass(8, 8);
}

static void long_jobs_have_no_more_than_half_of_the_threads(void **state)
{
    (void)state;
    short_jobs_pass(20, 8);
}

static void errors_of_mysql_are_waited_for_or_halt(void **state)
{
    static const unsigned passing[] = {1205, 1213, 2002, 2003, 2006, 2013, 1040, 1203,
                                       1129, 1290, 1836, 1021, 1114, 1053, 1927, 1317};
    static const unsigned fatal[] = {1062, 1264, 1406, 1366, 1048, 1146, 1054, 1064, 3819, 4025};

    (void)state;
    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++) {
        assert_int_equal(db_classify(passing[i]), ERR_RETRY);
    }
    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++) {
        assert_int_equal(db_classify(fatal[i]), ERR_FATAL);
    }
}

static void next_is(struct slice *sql, const char *wanted)
{
    struct slice got = migrate_next_statement(sql);

    if (wanted == NULL) {
        assert_null(got.ptr);
        return;
    }
    assert_int_equal(got.len, strlen(wanted));
    assert_memory_equal(got.ptr, wanted, got.len);
}

static void a_migration_is_cut_into_statements(void **state)
{
    struct slice sql = SLICE_LIT("-- A comment; it ends nothing;\n"
                                 "\n"
                                 "CREATE TABLE a (x INT, -- one; two\n"
                                 "  y INT);\n"
                                 "-- Another.\n"
                                 "DROP TABLE b;\n\n");
    struct slice empty = SLICE_LIT(" \n-- nothing\n");
    struct slice last = SLICE_LIT("DROP TABLE c;");

    (void)state;
    next_is(&sql, "CREATE TABLE a (x INT, -- one; two\n  y INT)");
    next_is(&sql, "DROP TABLE b");
    next_is(&sql, NULL);
    next_is(&empty, NULL);
    next_is(&last, "DROP TABLE c");
    next_is(&last, NULL);
}

static void the_worst_is_the_status_of_a_report(void **state)
{
    struct report *r = calloc(1, sizeof(*r));
    struct buf out;

    (void)state;
    buf_init(&out, 100000);
    assert_int_equal(report_status(r), REPORT_CLEAN);
    report_difference(r, "a %s", "\"b\"");
    assert_int_equal(report_status(r), REPORT_DIFFERENT);
    report_unchecked(r, "c");
    assert_int_equal(report_status(r), REPORT_UNCHECKED);
    report_json(&r->differences, &out);
    assert_string_equal(out.ptr, "[\"a \\\"b\\\"\"]");
    for (int i = 0; i < REPORT_KEPT + 5; i++) {
        report_difference(r, "%d", i);
    }
    buf_clear(&out);
    report_text(&r->differences, "differs", &out);
    assert_non_null(strstr(out.ptr, "differs: 998\n"));
    assert_null(strstr(out.ptr, "differs: 999\n"));
    assert_non_null(strstr(out.ptr, "differs: and 6 more\n"));
    buf_fini(&out);
    report_fini(r);
    free(r);
}

static void a_proof_adds_up_each_source(void **state)
{
    struct proof p;
    struct buf out;

    (void)state;
    proof_init(&p, 2);
    buf_init(&out, 10000);
    assert_true(proof_add(&p, PROOF_REDIS, SLICE_LIT("b"), SLICE_LIT("7 1 2 4 1 9 0 0 o 0")));
    assert_true(proof_add(&p, PROOF_LOG, SLICE_LIT("a"), SLICE_LIT("5 5 0 0 1 9 0 0 c 0")));
    assert_true(proof_add(&p, PROOF_LOG, SLICE_LIT("b"), SLICE_LIT("7 1 2 4 1 9 0 0 o 0")));
    assert_false(proof_add(&p, PROOF_LOG, SLICE_LIT("b"), SLICE_LIT("7 1 2")));
    p.positions[PROOF_LOG][1] = 41;
    proof_json(&p, &out);
    assert_non_null(strstr(out.ptr, "\"log\":{\"total\":12,\"available\":6,\"held\":2,\"sold\":4,"
                                    "\"positions\":{\"0\":-1,\"1\":41}}"));
    assert_non_null(strstr(out.ptr, "\"items\":{\"a\":{\"redis\":null,\"mysql\":null,"
                                    "\"log\":{\"total\":5,"));
    proof_fini(&p);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pool_grows_with_the_backlog),
        cmocka_unit_test(the_pool_replaces_threads_that_are_kept_busy_for_long),
        cmocka_unit_test(the_pool_shrinks_when_half_of_it_is_idle_for_long),
        cmocka_unit_test(every_job_comes_back_once),
        cmocka_unit_test(long_jobs_keep_no_other_waiting),
        cmocka_unit_test(long_jobs_have_no_more_than_half_of_the_threads),
        cmocka_unit_test(errors_of_mysql_are_waited_for_or_halt),
        cmocka_unit_test(a_migration_is_cut_into_statements),
        cmocka_unit_test(the_worst_is_the_status_of_a_report),
        cmocka_unit_test(a_proof_adds_up_each_source),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
