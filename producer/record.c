/*
 * Jobs are slots of one array, each in exactly one of three lists: free, waiting, done.  `lock` guards
 * the lists and is_closing; a job that a thread works on is in none and is the thread's alone.
 * Threads wake the loop through an eventfd.
 *
 * Ids go into the statements as hexadecimal literals, so nothing in them can mean anything.
 */
#include "producer/record.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <mysql.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/command.h"
#include "common/hex.h"
#include "common/ids.h"
#include "common/log.h"
#include "common/outcome.h"
#include "common/sql.h"
#include "common/xmalloc.h"
#include "producer/counters.h"

enum {
    ENTRY_SIZE = 1024, /* ids, five numbers, eight payments of 66 */
    AWAY_MS = 500,     /* after a failed connect, questions are answered "unanswered" for so long */
};

struct job {
    struct job *next;
    uint64_t party;
    int64_t asked_ms;
    enum record_result result;
    char order_id[IDS_ORDER_LEN];
    struct command_text user_id;
    char entry[ENTRY_SIZE];
    size_t entry_len;
};

struct list {
    struct job *head, *tail;
};

struct record {
    struct record_settings settings;
    struct job *jobs;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct list free, waiting, done;
    bool is_closing;
    int wake_fd;
    struct event *wake;
    int started;
    pthread_t *threads;
};

static void push(struct list *l, struct job *job)
{
    job->next = NULL;
    if (l->tail == NULL) {
        l->head = job;
    } else {
        l->tail->next = job;
    }
    l->tail = job;
}

static struct job *pop(struct list *l)
{
    struct job *job = l->head;

    if (job != NULL) {
        l->head = job->next;
        if (l->head == NULL) {
            l->tail = NULL;
        }
    }
    return job;
}

static MYSQL *connect_mysql(const struct record_settings *s)
{
    const struct sql_address where = {
        .host = s->host,
        .user = s->user,
        .password = s->password,
        .database = s->database,
        .port = s->port,
        .timeout_ms = s->timeout_ms,
    };
    MYSQL *my = mysql_init(NULL);

    if (my == NULL) {
        return NULL;
    }
    if (!sql_connect(my, &where)) {
        log_limited(LOG_LEVEL_WARN, "record.unreachable", LOG_STR("error", mysql_error(my)));
        mysql_close(my);
        return NULL;
    }
    return my;
}

static MYSQL_RES *query(MYSQL *my, const char *select, const struct job *job, const char *rest)
{
    char order_hex[2 * IDS_ORDER_LEN + 1];
    char user_hex[2 * IDS_MAX + 1];
    char text[512];
    struct buf sql;

    hex_encode(job->order_id, IDS_ORDER_LEN, order_hex);
    hex_encode(job->user_id.s, job->user_id.len, user_hex);
    buf_init_fixed(&sql, text, sizeof(text));
    buf_printf(&sql, "%s WHERE order_id = x'%s' AND user_id = x'%s' %s", select, order_hex,
               user_hex, rest);
    if (!buf_ok(&sql) || mysql_real_query(my, text, (unsigned long)sql.len) != 0) {
        return NULL;
    }
    return mysql_store_result(my);
}

/* Appends the payments of the order as a list, or "-".  False when MySQL did not answer. */
static bool put_payments(MYSQL *my, const struct job *job, struct buf *out)
{
    char rest[48];
    MYSQL_RES *result;
    MYSQL_ROW row;
    bool is_first = true;

    (void)snprintf(rest, sizeof(rest), "ORDER BY log_offset LIMIT %d", ORDER_PAYMENTS_MAX);
    result = query(my, "SELECT payment_id, answer FROM payments", job, rest);
    if (result == NULL) {
        return false;
    }
    while ((row = mysql_fetch_row(result)) != NULL) {
        const unsigned long *lengths = mysql_fetch_lengths(result);

        buf_puts(out, is_first ? "" : ",");
        buf_putc(out, strcmp(row[1], "paid") == 0 ? 'P' : 'R');
        buf_append(out, row[0], lengths[0]);
        is_first = false;
    }
    buf_puts(out, is_first ? "-" : "");
    mysql_free_result(result);
    return true;
}

static enum record_result read_order(MYSQL *my, struct job *job)
{
    MYSQL_RES *result =
        query(my, "SELECT item_id, qty, state, reason, due, decided_offset, remembered FROM orders",
              job, "ORDER BY decided_offset DESC LIMIT 1");
    MYSQL_ROW row;
    struct buf out;
    enum record_result answer = RECORD_UNANSWERED;

    if (result == NULL) {
        return RECORD_UNANSWERED;
    }
    buf_init_fixed(&out, job->entry, sizeof(job->entry));
    row = mysql_fetch_row(result);
    if (row == NULL) {
        answer = mysql_errno(my) == 0 ? RECORD_ABSENT : RECORD_UNANSWERED;
    } else {
        buf_append(&out, job->order_id, IDS_ORDER_LEN);
        for (int i = 0; i < 6; i++) {
            buf_printf(&out, " %s", row[i] == NULL ? "-" : row[i]);
        }
        buf_putc(&out, ' ');
        if (put_payments(my, job, &out) && buf_ok(&out)) {
            job->entry_len = out.len;
            answer = strcmp(row[6], "1") == 0 ? RECORD_FOUND : RECORD_FORGOTTEN;
        }
    }
    mysql_free_result(result);
    return answer;
}

/* Works on one job with the thread's connection, which it may make anew or give up. */
static void work_on(struct record *r, struct job *job, MYSQL **my, int64_t *away_until_ms)
{
    job->result = RECORD_UNANSWERED;
    for (int attempt = 0; attempt < 2 && job->result == RECORD_UNANSWERED; attempt++) {
        const bool is_fresh = *my == NULL;

        if (is_fresh && clock_mono_ms() < *away_until_ms) {
            return;
        }
        if (is_fresh) {
            *my = connect_mysql(&r->settings);
        }
        if (*my == NULL) {
            *away_until_ms = clock_mono_ms() + AWAY_MS;
            return;
        }
        job->result = read_order(*my, job);
        if (job->result == RECORD_UNANSWERED) {
            log_limited(LOG_LEVEL_WARN, "record.failed", LOG_STR("error", mysql_error(*my)));
            mysql_close(*my);
            *my = NULL;
            attempt += is_fresh; /* only an old connection deserves a second try */
        }
    }
}

static void *run(void *arg)
{
    struct record *r = arg;
    MYSQL *my = NULL;
    int64_t away_until_ms = 0;
    const uint64_t one = 1;

    (void)mysql_thread_init(); /* fails only for want of memory, as does the next call */
    for (;;) {
        struct job *job;

        (void)pthread_mutex_lock(&r->lock); /* a plain mutex used rightly does not fail */
        while (!r->is_closing && r->waiting.head == NULL) {
            (void)pthread_cond_wait(&r->work, &r->lock);
        }
        job = r->is_closing ? NULL : pop(&r->waiting);
        (void)pthread_mutex_unlock(&r->lock);
        if (job == NULL) {
            break;
        }
        if (clock_mono_ms() - job->asked_ms < r->settings.timeout_ms) {
            work_on(r, job, &my, &away_until_ms);
        } else {
            job->result = RECORD_UNANSWERED; /* too late for it, perhaps not for those behind */
        }
        (void)pthread_mutex_lock(&r->lock);
        push(&r->done, job);
        (void)pthread_mutex_unlock(&r->lock);
        if (write(r->wake_fd, &one, sizeof(one)) != (ssize_t)sizeof(one)) {
            log_limited(LOG_LEVEL_ERROR, "record.wake_failed", LOG_ERRNO(errno));
        }
    }
    if (my != NULL) {
        mysql_close(my);
    }
    mysql_thread_end();
    return NULL;
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct record *r = arg;
    uint64_t ignored;

    (void)what;
    if (read(fd, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN) {
        log_limited(LOG_LEVEL_ERROR, "record.wake_failed", LOG_ERRNO(errno));
    }
    for (;;) {
        struct job *job;

        (void)pthread_mutex_lock(&r->lock);
        job = pop(&r->done);
        (void)pthread_mutex_unlock(&r->lock);
        if (job == NULL) {
            return;
        }
        stats_add(r->settings.stats, STAT_RECORDS_FAILED, job->result == RECORD_UNANSWERED);
        r->settings.done(job->party, job->result, (struct slice){job->entry, job->entry_len},
                         r->settings.arg);
        (void)pthread_mutex_lock(&r->lock);
        push(&r->free, job);
        (void)pthread_mutex_unlock(&r->lock);
    }
}

bool record_ask(struct record *r, struct slice order_id, struct slice user_id, uint64_t party)
{
    struct job *job;

    assert(order_id.len == IDS_ORDER_LEN);
    (void)pthread_mutex_lock(&r->lock);
    job = pop(&r->free);
    (void)pthread_mutex_unlock(&r->lock);
    if (job == NULL) {
        stats_add(r->settings.stats, STAT_RECORDS_FULL, 1);
        return false;
    }
    stats_add(r->settings.stats, STAT_RECORDS, 1);
    job->party = party;
    job->asked_ms = clock_mono_ms();
    job->entry_len = 0;
    memcpy(job->order_id, order_id.ptr, IDS_ORDER_LEN);
    if (!command_set_text(&job->user_id, user_id)) {
        assert(false); /* the user id was checked with the token */
    }
    (void)pthread_mutex_lock(&r->lock);
    push(&r->waiting, job);
    (void)pthread_cond_signal(&r->work);
    (void)pthread_mutex_unlock(&r->lock);
    return true;
}

struct record *record_create(struct event_base *base, const struct record_settings *settings,
                             struct err *err)
{
    struct record *r = xcalloc(1, sizeof(*r));

    r->settings = *settings;
    (void)pthread_mutex_init(&r->lock, NULL); /* these two do not fail on Linux */
    (void)pthread_cond_init(&r->work, NULL);
    r->jobs = xcalloc((size_t)settings->queue_max, sizeof(*r->jobs));
    for (int64_t i = 0; i < settings->queue_max; i++) {
        push(&r->free, &r->jobs[i]);
    }
    r->threads = xcalloc((size_t)settings->threads, sizeof(*r->threads));
    r->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (r->wake_fd < 0) {
        (void)err_set(err, ERR_FATAL, "eventfd: %s", strerror(errno));
        goto failed;
    }
    r->wake = event_new(base, r->wake_fd, EV_READ | EV_PERSIST, on_wake, r);
    if (r->wake == NULL || event_add(r->wake, NULL) != 0) {
        (void)err_set(err, ERR_FATAL, "no event for the record's answers");
        goto failed;
    }
    if (mysql_library_init(0, NULL, NULL) != 0) {
        (void)err_set(err, ERR_FATAL, "the MySQL client library does not start");
        goto failed;
    }
    for (int i = 0; i < settings->threads; i++) {
        const int rc = pthread_create(&r->threads[i], NULL, run, r);

        if (rc != 0) {
            (void)err_set(err, ERR_FATAL, "pthread_create: %s", strerror(rc));
            goto failed;
        }
        r->started++;
    }
    return r;
failed:
    record_destroy(r);
    return NULL;
}

void record_destroy(struct record *r)
{
    if (r == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&r->lock);
    r->is_closing = true;
    (void)pthread_cond_broadcast(&r->work);
    (void)pthread_mutex_unlock(&r->lock);
    for (int i = 0; i < r->started; i++) {
        (void)pthread_join(r->threads[i], NULL); /* ours, joinable, joined once */
    }
    if (r->wake != NULL) {
        event_free(r->wake);
    }
    if (r->wake_fd >= 0) {
        (void)close(r->wake_fd); /* nothing to flush */
    }
    (void)pthread_cond_destroy(&r->work);
    (void)pthread_mutex_destroy(&r->lock);
    free(r->threads);
    free(r->jobs);
    free(r);
}
