/*
 * Watermark queries.  librdkafka 2.0.2 has only a blocking call for them, so one thread makes the
 * calls, one after the other, and hands the answers back through an eventfd.
 *
 * lock guards everything that both threads touch: asked, answers, is_stopping.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/kafka_internal.h"
#include "common/log.h"
#include "common/xmalloc.h"

enum {
    QUERY_TIMEOUT_MS = 4000,
};

struct answer {
    struct answer *next;
    char *topic; /* owned */
    int partition;
    bool ok;
    int64_t begin, end;
};

struct kafka_query {
    rd_kafka_t *rk; /* borrowed; outlives the thread, see kafka_query_end() */
    struct event *event;
    int fd;
    kafka_range_fn *range;
    void *arg; /* borrowed */

    pthread_t thread;
    bool is_running; /* the thread was started */
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct answer *asked;   /* only topic and partition are set */
    struct answer *answers; /* newest first */
    bool is_stopping;
};

bool kafka_query_range(rd_kafka_t *rk, const char *topic, int partition, int64_t timeout_ms,
                       int64_t *begin, int64_t *end)
{
    const rd_kafka_resp_err_t rc =
        rd_kafka_query_watermark_offsets(rk, topic, partition, begin, end, (int)timeout_ms);

    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR) {
        log_limited(LOG_LEVEL_INFO, "kafka.no_range", LOG_STR("topic", topic),
                    LOG_INT("partition", partition), LOG_STR("error", rd_kafka_err2str(rc)));
    }
    return rc == RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void answer_one(struct kafka_query *q, struct answer *a)
{
    static const uint64_t one = 1;

    a->ok = kafka_query_range(q->rk, a->topic, a->partition, QUERY_TIMEOUT_MS, &a->begin, &a->end);
    (void)pthread_mutex_lock(&q->lock);
    a->next = q->answers;
    q->answers = a;
    (void)pthread_mutex_unlock(&q->lock);
    /* EAGAIN means that the counter is full, so the loop is awake already. */
    while (write(q->fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

static void *make_queries(void *arg)
{
    struct kafka_query *q = arg;

    for (;;) {
        struct answer *a;

        (void)pthread_mutex_lock(&q->lock);
        while (q->asked == NULL && !q->is_stopping) {
            (void)pthread_cond_wait(&q->more, &q->lock);
        }
        if (q->is_stopping) {
            (void)pthread_mutex_unlock(&q->lock);
            return NULL;
        }
        a = q->asked;
        q->asked = a->next;
        (void)pthread_mutex_unlock(&q->lock);
        answer_one(q, a);
    }
}

static void deliver(evutil_socket_t fd, short what ATTR_UNUSED, void *arg)
{
    struct kafka_query *q = arg;
    struct answer *answers;
    uint64_t count;

    while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
    (void)pthread_mutex_lock(&q->lock);
    answers = q->answers;
    q->answers = NULL;
    (void)pthread_mutex_unlock(&q->lock);
    while (answers != NULL) {
        struct answer *a = answers;

        answers = a->next;
        q->range(a->topic, a->partition, a->ok, a->begin, a->end, q->arg);
        free(a->topic);
        free(a);
    }
}

struct kafka_query *kafka_query_create(struct event_base *base, rd_kafka_t *rk,
                                       kafka_range_fn *range, void *arg, struct err *err)
{
    struct kafka_query *q = xcalloc(1, sizeof(*q));

    q->rk = rk;
    q->range = range;
    q->arg = arg;
    (void)pthread_mutex_init(&q->lock, NULL);
    (void)pthread_cond_init(&q->more, NULL);
    q->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (q->fd >= 0) {
        q->event = event_new(base, q->fd, EV_READ | EV_PERSIST, deliver, q);
    }
    /* All it needs is taken now: a question is answered, whatever runs out later. */
    q->is_running = q->event != NULL && event_add(q->event, NULL) == 0 &&
                    pthread_create(&q->thread, NULL, make_queries, q) == 0;
    if (!q->is_running) {
        (void)err_set(err, ERR_RETRY,
                      "kafka: no thread for questions: out of memory or descriptors");
        kafka_query_stop(q);
        kafka_query_end(q);
        return NULL;
    }
    return q;
}

static bool is_asked(const struct kafka_query *q, const char *topic, int partition)
{
    for (const struct answer *a = q->asked; a != NULL; a = a->next) {
        if (a->partition == partition && strcmp(a->topic, topic) == 0) {
            return true;
        }
    }
    return false;
}

void kafka_query_ask(struct kafka_query *q, const char *topic, int partition)
{
    (void)pthread_mutex_lock(&q->lock);
    if (!is_asked(q, topic, partition)) {
        struct answer *a = xcalloc(1, sizeof(*a));
        struct answer **end = &q->asked;

        while (*end != NULL) {
            end = &(*end)->next;
        }
        a->topic = xstrdup(topic); /* the asker may be gone before the thread */
        a->partition = partition;
        *end = a;
        (void)pthread_cond_signal(&q->more);
    }
    (void)pthread_mutex_unlock(&q->lock);
}

void kafka_query_stop(struct kafka_query *q)
{
    if (q->event != NULL) {
        event_free(q->event);
        q->event = NULL;
    }
    (void)pthread_mutex_lock(&q->lock);
    q->is_stopping = true;
    (void)pthread_cond_signal(&q->more);
    (void)pthread_mutex_unlock(&q->lock);
}

static void free_list(struct answer *list)
{
    while (list != NULL) {
        struct answer *a = list;

        list = a->next;
        free(a->topic);
        free(a);
    }
}

void kafka_query_end(void *arg)
{
    struct kafka_query *q = arg;

    if (q == NULL) {
        return;
    }
    if (q->is_running) {
        (void)pthread_join(q->thread, NULL); /* it is ours and joinable: cannot fail */
    }
    free_list(q->asked);
    free_list(q->answers);
    if (q->fd >= 0) {
        (void)close(q->fd); /* an eventfd has nothing to lose */
    }
    (void)pthread_cond_destroy(&q->more);
    (void)pthread_mutex_destroy(&q->lock);
    free(q);
}
