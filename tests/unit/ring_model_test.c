/*
 * common/ring.c itself, in every interleaving of small cases, on processors that keep stores back.
 *
 * Each access of a thread to what is shared is a step.  A thread is run from its beginning each time:
 * its accesses get the answers they had before, the first new one is made, and the run ends at the
 * next.  So a state is plain data (memory, stores kept back, answers given to each thread) and the
 * search goes through all of them, each once.
 *
 * A store waits in its thread's buffer and reaches memory at any later time, also past others of that
 * thread, unless it is one with release: those wait for all before them.  Loads are not
 * reordered: whether acquire is where it must be is seen by TSan, in ring_test.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

#include <cmocka.h>

static size_t model_load(const volatile void *at, size_t size, memory_order order);
static void model_store(volatile void *at, size_t size, size_t value, memory_order order);
static size_t model_exchange(volatile void *at, size_t value);
static long model_syscall(long number, int command);
static ssize_t model_write(int fd, const void *from, size_t n);
static ssize_t model_read(int fd, void *to, size_t n);
static int model_poll(const struct pollfd *fds, nfds_t n, int timeout_ms);

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_exchange_explicit
#define atomic_load_explicit(at, order)            model_load(at, sizeof(*(at)), order)
#define atomic_store_explicit(at, value, order)    model_store(at, sizeof(*(at)), value, order)
#define atomic_exchange_explicit(at, value, order) model_exchange(at, value)
#define syscall(number, command, a, b)             model_syscall(number, command)
#define write                                      model_write
#define read                                       model_read
#define poll                                       model_poll

#include "common/ring.c" /* NOLINT(bugprone-suspicious-include): with the model under it */

enum {
    PRODUCERS_MAX = 2,
    CONSUMER = PRODUCERS_MAX, /* the last thread */
    THREADS,
    VARS_MAX = 16,
    BUFFER_MAX = 8,
    STEPS_MAX = 120,
    DEPTH_MAX = 400,
    SEEN_BITS = 21,
};

enum kind {
    LOAD,
    STORE,
    EXCHANGE,
    BARRIER,
    WRITE,
    READ,
    POLL,
    ARRIVE,
};
static const char *const kinds[] = {
    "loads", "stores", "exchanges", "membarrier", "write", "read", "poll ends", "'s store arrives",
};

struct kept {
    uint8_t var;
    uint8_t value;
    uint8_t is_release;
};

/* All of it is hashed, so it has no padding and unused parts stay 0. */
struct state {
    uint8_t values[VARS_MAX];
    uint8_t signals; /* the eventfd's counter */
    uint8_t kept_n[THREADS];
    struct kept kept[THREADS][BUFFER_MAX];
    uint8_t is_finished[THREADS];
    uint8_t steps[THREADS];
    uint8_t answers[THREADS][STEPS_MAX];
};

struct model_case {
    size_t producers, records, slots, batch;
    bool is_fenced;
    bool is_loop; /* the consumer is an event loop's */
};

/* What the processors, or the kernel, do wrong. */
enum weakness {
    NONE,
    NO_MEMBARRIER,
    NO_TOTAL_ORDER, /* sequentially consistent is acquire and release, no more */
    NO_RELEASE,
};

static struct model_case now;
static enum weakness weakness;
static struct ring *ring;
static unsigned char *fresh; /* the ring as created */
static size_t fresh_bytes;

static const volatile void *vars[VARS_MAX];
static size_t n_vars;

/* The run under way. */
static bool is_running;
static struct state *at_work;
static size_t thread;
static size_t answered;
static bool has_stepped;
static jmp_buf end_of_run;
static size_t mine[VARS_MAX]; /* what this thread stored last */
static const char *broken;

/* What the threads know at the end of their runs. */
static size_t accepted[PRODUCERS_MAX];
static size_t received[PRODUCERS_MAX];

static uint64_t *seen;
static size_t states, ends;
static struct {
    uint8_t thread, kind, var, value;
} trace[DEPTH_MAX];
static size_t depth;

static size_t var_of(const volatile void *at)
{
    size_t i = 0;

    while (i < n_vars && vars[i] != at) {
        i++;
    }
    if (i == n_vars) {
        assert_true(n_vars < VARS_MAX);
        vars[n_vars++] = at;
    }
    return i;
}

/* ---- memory ---- */

static void arrive(struct state *s, size_t t, size_t i)
{
    const struct kept kept = s->kept[t][i];

    s->values[kept.var] = kept.value;
    s->kept_n[t]--;
    memmove(&s->kept[t][i], &s->kept[t][i + 1], (s->kept_n[t] - i) * sizeof(kept));
    memset(&s->kept[t][s->kept_n[t]], 0, sizeof(kept));
}

static bool may_arrive(const struct state *s, size_t t, size_t i)
{
    for (size_t j = 0; j < i; j++) {
        if (s->kept[t][i].is_release != 0 || s->kept[t][j].var == s->kept[t][i].var) {
            return false;
        }
    }
    return true;
}

static void drain(struct state *s, size_t t)
{
    while (s->kept_n[t] > 0) {
        arrive(s, t, 0);
    }
}

static uint8_t value_for(const struct state *s, size_t t, size_t var)
{
    for (size_t i = s->kept_n[t]; i-- > 0;) {
        if (s->kept[t][i].var == var) {
            return s->kept[t][i].value;
        }
    }
    return s->values[var];
}

static void keep(struct state *s, size_t t, size_t var, size_t value, memory_order order)
{
    const bool is_total = order == memory_order_seq_cst && weakness != NO_TOTAL_ORDER;
    struct kept *kept = &s->kept[t][s->kept_n[t]];

    assert_true(s->kept_n[t] < BUFFER_MAX && value <= UINT8_MAX);
    *kept = (struct kept){
        .var = (uint8_t)var,
        .value = (uint8_t)value,
        .is_release = order != memory_order_relaxed && (is_total || weakness != NO_RELEASE),
    };
    s->kept_n[t]++;
    if (is_total) {
        drain(s, t);
    }
}

/* ---- steps ---- */

/* True: the step is new, and the caller makes it.  False: *answer is what it gave. */
static bool is_new(uint8_t *answer)
{
    if (answered < at_work->steps[thread]) {
        *answer = at_work->answers[thread][answered++];
        return false;
    }
    if (has_stepped) {
        longjmp(end_of_run, 1);
    }
    return true;
}

static uint8_t stepped(enum kind kind, size_t var, size_t answer)
{
    assert_true(at_work->steps[thread] < STEPS_MAX && depth < DEPTH_MAX);
    at_work->answers[thread][at_work->steps[thread]++] = (uint8_t)answer;
    answered++;
    has_stepped = true;
    trace[depth].thread = (uint8_t)thread;
    trace[depth].kind = (uint8_t)kind;
    trace[depth].var = (uint8_t)var;
    trace[depth].value = (uint8_t)answer;
    return (uint8_t)answer;
}

static size_t model_load(const volatile void *at, size_t size, memory_order order)
{
    uint8_t answer;

    if (!is_running) {
        return size == 1 ? *(const volatile uint8_t *)at : *(const volatile size_t *)at;
    }
    if (order == memory_order_relaxed && size != 1) {
        return mine[var_of(at)]; /* a counter of its own: no step, as nobody else writes it */
    }
    if (is_new(&answer)) {
        answer = stepped(LOAD, var_of(at), value_for(at_work, thread, var_of(at)));
    }
    return answer;
}

static void model_store(volatile void *at, size_t size, size_t value, memory_order order)
{
    uint8_t answer;

    assert_true(is_running);
    (void)size;
    mine[var_of(at)] = value;
    if (is_new(&answer)) {
        keep(at_work, thread, var_of(at), value, order);
        (void)stepped(STORE, var_of(at), value);
    }
}

static size_t model_exchange(volatile void *at, size_t value)
{
    uint8_t answer;

    if (is_new(&answer)) {
        drain(at_work, thread);
        answer = stepped(EXCHANGE, var_of(at), at_work->values[var_of(at)]);
        at_work->values[var_of(at)] = (uint8_t)value;
    }
    return answer;
}

static long model_syscall(long number, int command)
{
    uint8_t answer;

    assert_int_equal(number, SYS_membarrier);
    if (command == MEMBARRIER_CMD_PRIVATE_EXPEDITED && is_new(&answer)) {
        for (size_t t = 0; t < THREADS && weakness != NO_MEMBARRIER; t++) {
            drain(at_work, t);
        }
        (void)stepped(BARRIER, 0, 0);
    }
    return 0;
}

static ssize_t model_write(int fd, const void *from, size_t n)
{
    uint8_t answer;

    assert_int_equal(fd, ring->fd);
    assert_int_equal(*(const uint64_t *)from, 1);
    if (is_new(&answer)) {
        at_work->signals++;
        (void)stepped(WRITE, 0, at_work->signals);
    }
    return (ssize_t)n;
}

static ssize_t model_read(int fd, void *to, size_t n)
{
    uint8_t answer;

    assert_int_equal(fd, ring->fd);
    if (is_new(&answer)) {
        answer = stepped(READ, 0, at_work->signals > 0);
        at_work->signals = 0;
    }
    memset(to, 0, n);
    return answer != 0 ? (ssize_t)n : -1;
}

static int model_poll(const struct pollfd *fds, nfds_t n, int timeout_ms)
{
    uint8_t answer;

    assert_int_equal(n, 1);
    assert_int_equal(fds->fd, ring->fd);
    assert_int_equal(timeout_ms, -1);
    if (is_new(&answer)) {
        if (at_work->signals == 0) {
            longjmp(end_of_run, 1); /* asleep */
        }
        (void)stepped(POLL, 0, 1);
    }
    return 1;
}

/* ---- the threads ---- */

/* Each record tells its producer and number; a refused one gives its number to the next. */
static size_t record_of(size_t producer, size_t number)
{
    return producer * 16 + number;
}

static void produce(size_t p)
{
    struct ring_lane *lane = ring_lane(ring, p);

    accepted[p] = 0;
    for (size_t tried = p; tried < now.records;) { /* the second one tries less */
        const size_t left = now.records - tried;
        size_t n = left < now.batch ? left : now.batch;
        size_t *slots = ring_reserve(lane, &n);
        if (slots == NULL) {
            tried++;
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            model_store(&slots[i], 0, record_of(p, accepted[p] + 1 + i), memory_order_relaxed);
        }
        ring_publish(lane, n);
        accepted[p] += n;
        tried += n;
    }
}

static bool consume_batch(void)
{
    size_t n = now.batch;
    const size_t *records = ring_take(ring, &n);

    if (records == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const size_t record = model_load(&records[i], 0, memory_order_acquire);
        const size_t p = record / 16;
        if (p >= now.producers || record != record_of(p, received[p] + 1)) {
            broken = "not the next record";
        } else {
            received[p]++;
        }
    }
    ring_release(ring, n);
    return true;
}

static void consume_all(void)
{
    while (broken == NULL && consume_batch()) {
    }
}

static void consume(void)
{
    const struct pollfd fd = {.fd = ring->fd, .events = POLLIN};

    memset(received, 0, sizeof(received));
    while (broken == NULL) {
        if (now.is_loop) {
            do {
                consume_all();
            } while (broken == NULL && !ring_arm(ring));
            (void)model_poll(&fd, 1, -1);
            ring_disarm(ring);
        } else if (ring_wait(ring, -1)) {
            consume_all();
        }
    }
}

/* Makes the next step of thread t.  False: it has none now. */
static bool run(struct state *s, size_t t)
{
    memcpy(ring, fresh, fresh_bytes);
    memset(mine, 0, sizeof(mine));
    at_work = s;
    thread = t;
    answered = 0;
    has_stepped = false;
    is_running = true;
    if (setjmp(end_of_run) == 0) {
        if (t == CONSUMER) {
            consume();
        } else {
            produce(t);
        }
        s->is_finished[t] = 1;
    }
    is_running = false;
    at_work = NULL;
    return has_stepped;
}

/* ---- the search ---- */

static bool is_known(const struct state *s)
{
    const uint64_t hash = XXH3_64bits(s, sizeof(*s)) | 1;
    const size_t mask = ((size_t)1 << SEEN_BITS) - 1;
    size_t i = hash & mask;

    while (seen[i] != 0 && seen[i] != hash) {
        i = (i + 1) & mask;
    }
    if (seen[i] == hash) {
        return true;
    }
    assert_true(states < mask / 2);
    seen[i] = hash;
    states++;
    return false;
}

/* Nothing can move any more: the producers are done and the consumer sleeps. */
static void check_end(struct state *s)
{
    ends++;
    for (size_t p = 0; p < now.producers; p++) {
        (void)run(s, p);
        if (s->is_finished[p] == 0) {
            broken = "a producer waits";
            return;
        }
    }
    (void)run(s, CONSUMER);
    for (size_t p = 0; p < now.producers; p++) {
        if (received[p] != accepted[p]) {
            broken = "the consumer sleeps beside a record";
        }
    }
}

static void explore(const struct state *from);

static void explore_thread(const struct state *from, size_t t, bool *has_moved)
{
    struct state next = *from;

    if (from->is_finished[t] == 0 && run(&next, t)) {
        *has_moved = true;
        depth++;
        explore(&next);
        depth--;
    }
    for (size_t i = 0; i < from->kept_n[t] && broken == NULL; i++) {
        if (may_arrive(from, t, i)) {
            next = *from;
            trace[depth].thread = (uint8_t)t;
            trace[depth].kind = ARRIVE;
            trace[depth].var = from->kept[t][i].var;
            trace[depth].value = from->kept[t][i].value;
            arrive(&next, t, i);
            *has_moved = true;
            depth++;
            explore(&next);
            depth--;
        }
    }
}

static void tell_trace(void)
{
    for (size_t i = 0; i < depth && weakness == NONE; i++) {
        print_message("%zu: thread %d %s, variable %d, %d\n", i, trace[i].thread,
                      kinds[trace[i].kind], trace[i].var, trace[i].value);
    }
}

/* Stops at the first broken promise, with the way there in the trace. */
static void explore(const struct state *from)
{
    bool has_moved = false;

    if (broken != NULL || is_known(from)) {
        return;
    }
    for (size_t t = 0; t < THREADS && broken == NULL; t++) {
        if (t < now.producers || t == CONSUMER) {
            explore_thread(from, t, &has_moved);
        }
    }
    if (!has_moved) {
        struct state end = *from;
        check_end(&end);
        if (broken != NULL) {
            tell_trace();
        }
    }
}

/* What broke, or NULL. */
static const char *result_of(const struct model_case *c, enum weakness w)
{
    const struct ring_settings settings = {
        .producers = c->producers,
        .records = c->slots,
        .record_bytes = sizeof(size_t),
        .is_fenced = c->is_fenced,
    };
    static const struct state start;

    now = *c;
    weakness = w;
    broken = NULL;
    n_vars = states = ends = depth = 0;
    memset(seen, 0, sizeof(*seen) << SEEN_BITS);
    ring = ring_create(&settings, NULL);
    assert_non_null(ring);
    fresh_bytes = sizeof(struct ring) + c->producers * sizeof(struct ring_lane);
    fresh = malloc(fresh_bytes);
    assert_non_null(fresh);
    memcpy(fresh, ring, fresh_bytes);
    explore(&start);
    free(fresh);
    ring_destroy(ring);
    print_message("%zu producers, %zu records, %zu slots, batches of %zu, %s, %s: %zu states, "
                  "%zu ends%s%s\n",
                  c->producers, c->records, c->slots, c->batch,
                  c->is_fenced ? "fenced" : "membarrier", c->is_loop ? "loop" : "wait", states,
                  ends, broken != NULL ? ": " : "", broken != NULL ? broken : "");
    return broken;
}

static const struct model_case cases[] = {
    {.producers = 1, .records = 3, .slots = 1, .batch = 1},
    {.producers = 1, .records = 4, .slots = 2, .batch = 2},
    {.producers = 2, .records = 2, .slots = 1, .batch = 1},
    {.producers = 2, .records = 2, .slots = 2, .batch = 2},
};

static void keeps_its_promises(const struct model_case *variant)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct model_case c = cases[i];
        c.is_fenced = variant->is_fenced;
        c.is_loop = variant->is_loop;
        assert_null(result_of(&c, NONE));
        assert_true(ends > 0);
    }
}

static void every_interleaving_is_right(void **state)
{
    (void)state;
    keeps_its_promises(&(struct model_case){.is_loop = false});
}

static void so_it_is_without_membarrier(void **state)
{
    (void)state;
    keeps_its_promises(&(struct model_case){.is_fenced = true});
}

static void so_it_is_in_an_event_loop(void **state)
{
    (void)state;
    keeps_its_promises(&(struct model_case){.is_loop = true});
    keeps_its_promises(&(struct model_case){.is_loop = true, .is_fenced = true});
}

/* The search finds what each of the orderings is there for. */

static void without_the_barrier_a_wakeup_is_lost(void **state)
{
    (void)state;
    assert_string_equal(result_of(&cases[0], NO_MEMBARRIER), "the consumer sleeps beside a record");
    assert_string_equal(result_of(&cases[2], NO_MEMBARRIER), "the consumer sleeps beside a record");
}

static void without_the_total_order_a_wakeup_is_lost(void **state)
{
    struct model_case c = cases[0];

    (void)state;
    c.is_fenced = true;
    assert_string_equal(result_of(&c, NO_TOTAL_ORDER), "the consumer sleeps beside a record");
}

static void without_release_a_record_is_seen_before_it_is_whole(void **state)
{
    (void)state;
    assert_string_equal(result_of(&cases[0], NO_RELEASE), "not the next record");
    assert_string_equal(result_of(&cases[2], NO_RELEASE), "not the next record");
}

static int setup(void **state)
{
    (void)state;
    seen = malloc(sizeof(*seen) << SEEN_BITS);
    return seen == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    free(seen);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_interleaving_is_right),
        cmocka_unit_test(so_it_is_without_membarrier),
        cmocka_unit_test(so_it_is_in_an_event_loop),
        cmocka_unit_test(without_the_barrier_a_wakeup_is_lost),
        cmocka_unit_test(without_the_total_order_a_wakeup_is_lost),
        cmocka_unit_test(without_release_a_record_is_seen_before_it_is_whole),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
