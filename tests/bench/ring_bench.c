/*
 * ring_bench throughput|latency PRODUCERS RECORDS [QUEUE]: the ring beside what else could stand between two threads.
 *
 * Prints "QUEUE MEASURE VALUE" lines.  Every record has 256 bytes, about what an order is,
 * written and read whole.  throughput: records a second from the first to the last received, and the producers' CPU for each; each
 * queue with its own way to wait; of librdkafka only rd_kafka_produce() is measured, by a client
 * without a broker, which is its best case.  latency: nanoseconds from before a record is written
 * until it was read, the consumer spinning on one processor, the producers on another; a producer
 * sends when its last one has arrived, so none waits behind others of it.
 */
#include <ck_ring.h>
#include <fcntl.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/ring.h"

enum {
    PRODUCERS_MAX = 2,
    SLOTS = 1024, /* of each producer */
    BATCH = 32,
    TAKE = 256, /* at most, by the consumer */
    SPINS = 2000,
    YIELDS = 20,
};

struct record {
    uint64_t value; /* when it was sent */
    uint64_t producer;
    uint64_t rest[30];
};

CK_RING_PROTOTYPE(record, record)

/* One kind of queue; the functions work on its static parts. */
struct queue {
    const char *name;
    void (*open)(size_t producers, bool is_spinning);
    void (*close)(void);
    /* How many of n records, at least one, were taken; 0: full. */
    size_t (*send)(size_t producer, uint64_t value, size_t n);
    /* Reads what is there. */
    void (*receive)(void);
    size_t batch;
};

static const struct queue *queue;
static struct record template;
static size_t received, expected;
static bool is_latency;
static uint32_t *latencies;
static cpu_set_t processors;
static size_t records; /* of each producer */
static atomic_bool has_begun;
static atomic_uint_fast64_t spent_ns;        /* CPU of the producers */
static atomic_size_t standing;               /* producers still at work */
static atomic_size_t arrived[PRODUCERS_MAX]; /* of each producer, for latency */

static void require(bool fact)
{
    if (!fact) {
        abort();
    }
}

static uint64_t ns_of(clockid_t clock)
{
    struct timespec t;

    require(clock_gettime(clock, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void fill(struct record *r, size_t producer, uint64_t value)
{
    *r = template;
    r->value = value;
    r->producer = producer;
}

static void use(const struct record *r)
{
    uint64_t words = 0;

    for (size_t i = 0; i < sizeof(r->rest) / sizeof(r->rest[0]); i++) {
        words += r->rest[i];
    }
    require(words == sizeof(r->rest) / sizeof(r->rest[0]));
    if (is_latency) {
        const uint64_t ns = ns_of(CLOCK_MONOTONIC) - r->value;
        latencies[received] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
        (void)atomic_fetch_add_explicit(&arrived[r->producer], 1, memory_order_relaxed);
    }
    received++;
}

/* Spins first; then others may run, as nobody wakes this one. */
static void idle(size_t *times)
{
    if (++*times < SPINS) {
        ck_pr_stall();
    } else {
        (void)sched_yield();
    }
}

/* ---- ring ---- */

static struct ring *ring;

static void ring_open(size_t producers, bool is_spinning)
{
    const struct ring_settings settings = {
        .producers = producers,
        .records = SLOTS,
        .record_bytes = sizeof(struct record),
        .spins = is_spinning ? SIZE_MAX : SPINS,
        .yields = YIELDS,
        .huge_pages = getenv("HUGE_PAGES") != NULL,
        .is_fenced = getenv("FENCED") != NULL,
    };

    ring = ring_create(&settings, NULL);
    require(ring != NULL);
}

static void ring_close(void)
{
    ring_destroy(ring);
}

static size_t ring_send(size_t producer, uint64_t value, size_t n)
{
    struct ring_lane *lane = ring_lane(ring, producer);
    struct record *slots = ring_reserve(lane, &n);

    if (slots == NULL) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        fill(&slots[i], producer, value);
    }
    ring_publish(lane, n);
    return n;
}

static void ring_receive(void)
{
    size_t n = TAKE;
    const struct record *taken = ring_take(ring, &n);

    if (taken == NULL) {
        (void)!ring_wait(ring, 1000);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        use(&taken[i]);
    }
    ring_release(ring, n);
}

/* ---- ck_ring ---- */

static struct {
    struct ck_ring ring;
    struct record slots[2 * SLOTS];
    size_t producers;
    size_t idle_times;
} ck;

static void ck_open(size_t producers, bool is_spinning)
{
    (void)is_spinning;
    ck.producers = producers;
    ck_ring_init(&ck.ring, (unsigned)(producers * SLOTS));
}

static void ck_close(void)
{
}

static size_t ck_send(size_t producer, uint64_t value, size_t n)
{
    struct record r;

    (void)n;
    fill(&r, producer, value);
    return (ck.producers == 1 ? CK_RING_ENQUEUE_SPSC(record, &ck.ring, ck.slots, &r)
                              : CK_RING_ENQUEUE_MPSC(record, &ck.ring, ck.slots, &r))
               ? 1
               : 0;
}

static void ck_receive(void)
{
    struct record r;

    /* The same of both kinds. */
    if (CK_RING_DEQUEUE_SPSC(record, &ck.ring, ck.slots, &r)) {
        ck.idle_times = 0;
        use(&r);
    } else {
        idle(&ck.idle_times);
    }
}

/* ---- a mutex and a condition ---- */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    struct record slots[2 * SLOTS];
    size_t head, tail, size;
    bool is_spinning;
} locked = {.mutex = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER};

static void locked_open(size_t producers, bool is_spinning)
{
    locked.head = locked.tail = 0;
    locked.size = producers * SLOTS;
    locked.is_spinning = is_spinning;
}

static size_t locked_send(size_t producer, uint64_t value, size_t n)
{
    bool is_first;

    (void)n;
    require(pthread_mutex_lock(&locked.mutex) == 0);
    is_first = locked.tail == locked.head;
    if (locked.tail - locked.head == locked.size) {
        require(pthread_mutex_unlock(&locked.mutex) == 0);
        return 0;
    }
    fill(&locked.slots[locked.tail++ % locked.size], producer, value);
    require(pthread_mutex_unlock(&locked.mutex) == 0);
    if (is_first && !locked.is_spinning) {
        require(pthread_cond_signal(&locked.filled) == 0);
    }
    return 1;
}

static void locked_receive(void)
{
    struct record r;

    require(pthread_mutex_lock(&locked.mutex) == 0);
    while (locked.tail == locked.head) {
        if (locked.is_spinning) {
            require(pthread_mutex_unlock(&locked.mutex) == 0);
            ck_pr_stall();
            return;
        }
        require(pthread_cond_wait(&locked.filled, &locked.mutex) == 0);
    }
    r = locked.slots[locked.head++ % locked.size];
    require(pthread_mutex_unlock(&locked.mutex) == 0);
    use(&r);
}

/* ---- a pipe ---- */

static int ends[2];

static void pipe_open(size_t producers, bool is_spinning)
{
    (void)producers;
    require(pipe2(ends, is_spinning ? O_NONBLOCK : 0) == 0);
    (void)fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
}

static void pipe_close(void)
{
    require(close(ends[0]) == 0 && close(ends[1]) == 0);
}

static size_t pipe_send(size_t producer, uint64_t value, size_t n)
{
    struct record r;

    (void)n;
    fill(&r, producer, value);
    return write(ends[1], &r, sizeof(r)) == (ssize_t)sizeof(r) ? 1 : 0;
}

static void pipe_receive(void)
{
    struct record some[16];
    const ssize_t n = read(ends[0], some, sizeof(some));

    for (size_t i = 0; n > 0 && i < (size_t)n / sizeof(some[0]); i++) {
        use(&some[i]);
    }
}

/* ---- librdkafka ---- */

static rd_kafka_t *client;
static rd_kafka_topic_t *topic;

static void kafka_open(size_t producers, bool is_spinning)
{
    static const char *const settings[][2] = {
        {"bootstrap.servers", "127.0.0.1:1"},
        {"queue.buffering.max.messages", "10000000"},
        {"queue.buffering.max.kbytes", "2147483647"},
        {"message.timeout.ms", "0"},
        {"log_level", "0"},
    };
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    (void)producers;
    (void)is_spinning;
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        require(rd_kafka_conf_set(conf, settings[i][0], settings[i][1], NULL, 0) ==
                RD_KAFKA_CONF_OK);
    }
    client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
    require(client != NULL);
    topic = rd_kafka_topic_new(client, "bench", NULL);
    require(topic != NULL);
}

static void kafka_close(void)
{
    (void)rd_kafka_purge(client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_NON_BLOCKING);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(client);
}

static size_t kafka_send(size_t producer, uint64_t value, size_t n)
{
    struct record r;

    (void)n;
    fill(&r, producer, value);
    return rd_kafka_produce(topic, 0, RD_KAFKA_MSG_F_COPY, &r, sizeof(r), NULL, 0, NULL) == 0 ? 1
                                                                                              : 0;
}

/* Nobody to receive: the last producer's end is the end. */
static void kafka_receive(void)
{
    if (atomic_load(&standing) == 0) {
        received = expected;
    } else {
        (void)usleep(100);
    }
}

static const struct queue queues[] = {
    {"ring", ring_open, ring_close, ring_send, ring_receive, 1},
    {"ring-batches", ring_open, ring_close, ring_send, ring_receive, BATCH},
    {"ck_ring", ck_open, ck_close, ck_send, ck_receive, 1},
    {"mutex", locked_open, ck_close, locked_send, locked_receive, 1},
    {"pipe", pipe_open, pipe_close, pipe_send, pipe_receive, 1},
    {"librdkafka", kafka_open, kafka_close, kafka_send, kafka_receive, 1},
};

/* ---- running them ---- */

/* Threads of one kind stay on one processor of those that the program may use, if there are two. */
static void stay(size_t processor)
{
    cpu_set_t one;
    size_t i = 0;

    if (CPU_COUNT(&processors) < 2) {
        return;
    }
    for (size_t seen = 0; seen <= processor; i++) {
        seen += CPU_ISSET(i, &processors) ? 1 : 0;
    }
    CPU_ZERO(&one);
    CPU_SET(i - 1, &one);
    require(pthread_setaffinity_np(pthread_self(), sizeof(one), &one) == 0);
}

static void *produce(void *arg)
{
    const size_t producer = (size_t)(uintptr_t)arg;
    uint64_t from_ns;

    if (is_latency) {
        stay(1);
    }
    while (!atomic_load(&has_begun)) {
        (void)sched_yield();
    }
    from_ns = ns_of(CLOCK_THREAD_CPUTIME_ID);
    for (size_t i = 0; i < records;) {
        size_t n = records - i < queue->batch ? records - i : queue->batch;
        n = queue->send(producer, is_latency ? ns_of(CLOCK_MONOTONIC) : 0, n);
        if (n == 0) {
            (void)sched_yield();
        }
        i += n;
        while (is_latency && atomic_load_explicit(&arrived[producer], memory_order_relaxed) < i) {
            ck_pr_stall();
        }
    }
    (void)atomic_fetch_add(&spent_ns, ns_of(CLOCK_THREAD_CPUTIME_ID) - from_ns);
    (void)atomic_fetch_sub(&standing, 1);
    return NULL;
}

/* Nanoseconds from the start until all is received. */
static uint64_t run(const struct queue *q, size_t producers)
{
    pthread_t threads[PRODUCERS_MAX];
    uint64_t from_ns, took_ns;

    queue = q;
    received = 0;
    expected = producers * records;
    atomic_store(&has_begun, false);
    atomic_store(&standing, producers);
    atomic_store(&spent_ns, 0);
    for (size_t i = 0; i < producers; i++) {
        atomic_store(&arrived[i], 0);
    }
    q->open(producers, is_latency);
    for (size_t i = 0; i < producers; i++) {
        require(pthread_create(&threads[i], NULL, produce, (void *)(uintptr_t)i) == 0);
    }
    from_ns = ns_of(CLOCK_MONOTONIC);
    atomic_store(&has_begun, true);
    while (received < expected) {
        q->receive();
    }
    took_ns = ns_of(CLOCK_MONOTONIC) - from_ns;
    for (size_t i = 0; i < producers; i++) {
        require(pthread_join(threads[i], NULL) == 0);
    }
    q->close();
    return took_ns;
}

static int compare(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static void measure(const struct queue *q, size_t producers)
{
    const uint64_t took_ns = run(q, producers);

    if (!is_latency) {
        printf("%s per_s %.0f\n", q->name, (double)expected * 1e9 / (double)took_ns);
        printf("%s cpu_ns %.0f\n", q->name, (double)atomic_load(&spent_ns) / (double)expected);
        return;
    }
    qsort(latencies, expected, sizeof(latencies[0]), compare);
    printf("%s p50_ns %" PRIu32 "\n", q->name, latencies[expected / 2]);
    printf("%s p99_ns %" PRIu32 "\n", q->name, latencies[expected / 100 * 99]);
}

int main(int argc, char **argv)
{
    size_t producers;

    require(argc > 3);
    is_latency = strcmp(argv[1], "latency") == 0;
    producers = strtoul(argv[2], NULL, 10);
    records = strtoul(argv[3], NULL, 10);
    require(producers >= 1 && producers <= PRODUCERS_MAX && records >= 1);
    for (size_t i = 0; i < sizeof(template.rest) / sizeof(template.rest[0]); i++) {
        template.rest[i] = 1;
    }
    latencies = calloc(producers * records, sizeof(latencies[0]));
    require(latencies != NULL);
    require(sched_getaffinity(0, sizeof(processors), &processors) == 0);
    if (is_latency) {
        stay(0);
    }
    for (size_t i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) {
        const struct queue *q = &queues[i];
        /* Batches are the same for single records, and nothing comes out of librdkafka. */
        if ((argc < 5 || strcmp(argv[4], q->name) == 0) &&
            (!is_latency || (q->batch == 1 && q->receive != kafka_receive))) {
            measure(q, producers);
        }
    }
    free(latencies);
    return 0;
}
