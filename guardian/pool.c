/*
 * One mutex guards all lists.  The loop's thread appends to the queues and empties `finished`; writer
 * threads do the opposite, and wake the loop through an eventfd when `finished` was empty.  Nobody
 * holds the mutex while doing anything slow.
 *
 * A long job is taken before short ones: few may run, and whoever takes one sees to it that another
 * thread is there for the rest, as far as threads_max allows.
 */
#include "guardian/pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/xmalloc.h"

enum {
    SHRINK_AFTER_MS = 30000,
    CHORES_MS = 1000,
};

struct job_list {
    struct pool_job *head;
    struct pool_job **tail;
};

struct pool {
    const struct pool_settings *settings; /* borrowed */
    struct event *woken, *chores;
    int wake_fd;
    pthread_t *threads; /* room for threads_max; ended ones leave their place free */
    bool *is_live;
    int64_t half_idle_since_ms;

    pthread_mutex_t mutex;
    pthread_cond_t has_work;
    struct job_list queued, queued_long, finished;
    size_t n_queued, n_queued_long;
    size_t n_threads, n_long, n_idle, n_leaving; /* n_long: threads that run a long job */
    bool is_ending;
};

/* What a new thread is told. */
struct start {
    struct pool *pool;
    size_t place;
};

size_t pool_size(const struct pool_load *load)
{
    const bool is_short =
        load->threads < POOL_THREADS_MIN || (load->queued > 2 * load->threads && load->idle == 0);

    if (is_short && load->threads < load->threads_max) {
        return load->threads + 1;
    }
    if (load->half_idle_ms >= SHRINK_AFTER_MS && load->threads > POOL_THREADS_MIN) {
        return load->threads - 1;
    }
    return load->threads;
}

static void append(struct job_list *list, struct pool_job *job)
{
    job->next = NULL;
    *list->tail = job;
    list->tail = &job->next;
}

static struct pool_job *take_first(struct job_list *list)
{
    struct pool_job *job = list->head;

    list->head = job->next;
    if (list->head == NULL) {
        list->tail = &list->head;
    }
    return job;
}

/* ---- with the mutex held ---- */

static bool may_take_long(const struct pool *p)
{
    return p->queued_long.head != NULL && p->n_long < p->settings->threads_max / 2;
}

static struct pool_load load_of(const struct pool *p)
{
    return (struct pool_load){
        .threads = p->n_threads - p->n_leaving - p->n_long,
        .threads_max = p->settings->threads_max - p->n_long,
        .idle = p->n_idle,
        .queued = p->n_queued + (may_take_long(p) ? p->n_queued_long : 0),
    };
}

static void *run_thread(void *arg);

/*
 * The thread that had the place before, if any, needs the mutex no more, so it can be joined here.
 */
static bool add_thread(struct pool *p)
{
    size_t place = 0;
    struct start *start = xmalloc(sizeof(*start));
    int rc;

    while (p->is_live[place]) {
        place++;
    }
    if (p->threads[place] != 0) {
        (void)pthread_join(p->threads[place], NULL);
    }
    *start = (struct start){p, place};
    rc = pthread_create(&p->threads[place], NULL, run_thread, start);
    if (rc != 0) {
        p->threads[place] = 0;
        free(start);
        log_limited(LOG_LEVEL_WARN, "pool.thread_failed", LOG_ERRNO(rc));
        return false;
    }
    p->is_live[place] = true;
    p->n_threads++;
    return true;
}

/* One thread more, if that many are wanted; one that is to end stays instead. */
static void grow(struct pool *p)
{
    const struct pool_load load = load_of(p);

    if (pool_size(&load) <= load.threads) {
        return;
    }
    if (p->n_leaving > 0) {
        p->n_leaving--;
    } else {
        (void)add_thread(p);
    }
}

/* NULL: there is none that may run. */
static struct pool_job *take_job(struct pool *p)
{
    struct pool_job *job = NULL;

    if (may_take_long(p)) {
        job = take_first(&p->queued_long);
        p->n_queued_long--;
        p->n_long++;
        grow(p);
    } else if (p->queued.head != NULL) {
        job = take_first(&p->queued);
        p->n_queued--;
    }
    return job;
}

/* Waits for a job; NULL: this thread is to end. */
static struct pool_job *await_job(struct pool *p)
{
    struct pool_job *job;

    p->n_idle++;
    while (p->queued.head == NULL && !may_take_long(p) && !p->is_ending && p->n_leaving == 0) {
        (void)pthread_cond_wait(&p->has_work, &p->mutex);
    }
    p->n_idle--;
    if (p->is_ending) {
        return NULL;
    }
    job = take_job(p);
    if (job == NULL) {
        p->n_leaving--;
    }
    return job;
}

static void give_back(struct pool *p, struct pool_job *job)
{
    const uint64_t one = 1;
    bool was_empty = p->finished.head == NULL;

    append(&p->finished, job);
    if (was_empty && write(p->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN) {
        log_error("pool.wake_failed", LOG_ERRNO(errno));
    }
}

/* ---- threads, and the loop ---- */

static void *run_thread(void *arg)
{
    struct start start = *(struct start *)arg;
    struct pool *p = start.pool;
    struct pool_tools tools = {
        .db = db_create(p->settings->mysql, DB_SESSION_WRITE),
        .redis = peek_create(p->settings->redis, p->settings->redis_timeout_ms),
    };
    struct pool_job *job;

    free(arg);
    db_thread_start();
    buf_init(&tools.sql, POOL_SQL_BYTES);
    (void)pthread_mutex_lock(&p->mutex);
    while ((job = await_job(p)) != NULL) {
        (void)pthread_mutex_unlock(&p->mutex);
        job->run(job, &tools);
        (void)pthread_mutex_lock(&p->mutex);
        p->n_long -= job->is_long ? 1 : 0;
        give_back(p, job);
    }
    p->n_threads--;
    p->is_live[start.place] = false;
    (void)pthread_mutex_unlock(&p->mutex);
    db_destroy(tools.db);
    peek_destroy(tools.redis);
    buf_fini(&tools.sql);
    db_thread_stop();
    return NULL;
}

static void on_woken(evutil_socket_t fd, short what ATTR_UNUSED, void *arg)
{
    struct pool *p = arg;
    struct pool_job *job;
    uint64_t count;

    if (read((int)fd, &count, sizeof(count)) < 0 && errno != EAGAIN) {
        log_error("pool.wake_failed", LOG_ERRNO(errno));
    }
    (void)pthread_mutex_lock(&p->mutex);
    job = p->finished.head;
    p->finished = (struct job_list){NULL, &p->finished.head};
    (void)pthread_mutex_unlock(&p->mutex);
    while (job != NULL) {
        struct pool_job *next = job->next;

        job->done(job, p->settings->arg);
        job = next;
    }
}

static void on_chores(evutil_socket_t fd ATTR_UNUSED, short what ATTR_UNUSED, void *arg)
{
    struct pool *p = arg;
    int64_t now_ms = clock_mono_ms();
    struct pool_load load;

    (void)pthread_mutex_lock(&p->mutex);
    load = load_of(p);
    if (2 * load.idle < load.threads) {
        p->half_idle_since_ms = now_ms;
    }
    load.half_idle_ms = now_ms - p->half_idle_since_ms;
    if (pool_size(&load) < load.threads) {
        p->n_leaving++;
        p->half_idle_since_ms = now_ms;
        (void)pthread_cond_signal(&p->has_work);
    }
    grow(p); /* again, where no thread was to be had */
    (void)pthread_mutex_unlock(&p->mutex);
}

static bool start_threads(struct pool *p, struct err *err)
{
    bool ok = true;

    (void)pthread_mutex_lock(&p->mutex);
    while (ok && p->n_threads < POOL_THREADS_MIN) {
        ok = add_thread(p);
    }
    (void)pthread_mutex_unlock(&p->mutex);
    return ok || err_set(err, ERR_FATAL, "no threads can be started");
}

struct pool *pool_create(struct event_base *base, const struct pool_settings *settings,
                         struct err *err)
{
    struct pool *p = xcalloc(1, sizeof(*p));
    const struct timeval chores = {.tv_sec = CHORES_MS / 1000};

    assert(settings->threads_max >= POOL_THREADS_MIN);
    p->settings = settings;
    p->threads = xcalloc(settings->threads_max, sizeof(*p->threads));
    p->is_live = xcalloc(settings->threads_max, sizeof(*p->is_live));
    p->queued.tail = &p->queued.head;
    p->queued_long.tail = &p->queued_long.head;
    p->finished.tail = &p->finished.head;
    p->half_idle_since_ms = clock_mono_ms();
    (void)pthread_mutex_init(&p->mutex, NULL);
    (void)pthread_cond_init(&p->has_work, NULL);
    p->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (p->wake_fd >= 0) {
        p->woken = event_new(base, p->wake_fd, EV_READ | EV_PERSIST, on_woken, p);
        p->chores = event_new(base, -1, EV_PERSIST, on_chores, p);
    }
    if (p->woken == NULL || p->chores == NULL || event_add(p->woken, NULL) != 0 ||
        event_add(p->chores, &chores) != 0) {
        (void)err_set(err, ERR_FATAL, "the writer threads cannot be waited for");
        pool_destroy(p);
        return NULL;
    }
    if (!start_threads(p, err)) {
        pool_destroy(p);
        return NULL;
    }
    return p;
}

void pool_destroy(struct pool *p)
{
    if (p == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&p->mutex);
    p->is_ending = true;
    (void)pthread_cond_broadcast(&p->has_work);
    (void)pthread_mutex_unlock(&p->mutex);
    for (size_t i = 0; i < p->settings->threads_max; i++) {
        if (p->threads[i] != 0) {
            (void)pthread_join(p->threads[i], NULL);
        }
    }
    if (p->woken != NULL) {
        event_free(p->woken);
    }
    if (p->chores != NULL) {
        event_free(p->chores);
    }
    if (p->wake_fd >= 0) {
        (void)close(p->wake_fd);
    }
    (void)pthread_mutex_destroy(&p->mutex);
    (void)pthread_cond_destroy(&p->has_work);
    free(p->threads);
    free(p->is_live);
    free(p);
}

void pool_submit(struct pool *p, struct pool_job *job)
{
    (void)pthread_mutex_lock(&p->mutex);
    append(job->is_long ? &p->queued_long : &p->queued, job);
    *(job->is_long ? &p->n_queued_long : &p->n_queued) += 1;
    grow(p);
    (void)pthread_cond_signal(&p->has_work);
    (void)pthread_mutex_unlock(&p->mutex);
}

size_t pool_threads(struct pool *p)
{
    size_t n;

    (void)pthread_mutex_lock(&p->mutex);
    n = p->n_threads;
    (void)pthread_mutex_unlock(&p->mutex);
    return n;
}
