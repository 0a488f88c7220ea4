/*
 * Lane l holds the records of its producer from head to tail, two counters that only grow; record i
 * is in slot i & mask.  tail_seen and head_seen are each side's last look at the other's counter: a
 * look costs a cache line from the other processor, so there is one when the old value says empty
 * or full, and not one per record.  For the same reason what one side writes is on a line of its own.
 *
 * Not ck_ring: docs/decisions/0018-ring.md.
 */
#include "common/ring.h"

#include <assert.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    LINE_BYTES = 64,
    HUGE_PAGE_BYTES = 2 << 20,
};

struct ring_lane {
    /* The producer's. */
    alignas(LINE_BYTES) atomic_size_t tail;
    size_t head_seen;

    /* The consumer's. */
    alignas(LINE_BYTES) atomic_size_t head;
    size_t tail_seen;

    /* Never changes. */
    alignas(LINE_BYTES) struct ring *ring;
    char *slots;
    size_t mask;
    size_t record_bytes;
};

struct ring {
    /* Never changes. */
    size_t producers;
    size_t spins;
    size_t yields;
    int fd;
    bool is_fenced;

    /* The consumer's. */
    alignas(LINE_BYTES) size_t turn; /* the lane to look at first, or that was taken from */

    /* On a line of its own: every publish reads it, and few sleeps write it. */
    alignas(LINE_BYTES) atomic_bool is_asleep;

    struct ring_lane lanes[];
};

static long membarrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0);
}

static bool check(const struct ring_settings *s, struct err *err)
{
    if (s->producers < 1 || s->producers > RING_PRODUCERS_MAX || s->records < 1 ||
        s->records > RING_RECORDS_MAX || (s->records & (s->records - 1)) != 0 ||
        s->record_bytes < 8 || s->record_bytes > RING_RECORD_MAX_BYTES ||
        s->record_bytes % 8 != 0) {
        return err_set(err, ERR_FATAL, "ring of %zu x %zu records of %zu bytes", s->producers,
                       s->records, s->record_bytes);
    }
    return true;
}

struct ring *ring_create(const struct ring_settings *s, struct err *err)
{
    const size_t align = s->huge_pages ? HUGE_PAGE_BYTES : LINE_BYTES;
    const size_t head_bytes = sizeof(struct ring) + s->producers * sizeof(struct ring_lane);
    struct ring *r;
    size_t lane_bytes, bytes;

    if (!check(s, err)) {
        return NULL;
    }
    lane_bytes = (s->records * s->record_bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    bytes = (head_bytes + s->producers * lane_bytes + align - 1) / align * align;
    r = aligned_alloc(align, bytes);
    if (r == NULL) {
        (void)err_set(err, ERR_FATAL, "no memory for a ring of %zu bytes", bytes);
        return NULL;
    }
    if (s->huge_pages) {
        (void)madvise(r, bytes, MADV_HUGEPAGE); /* small ones do as well */
    }
    /* So that no page is missing later. */
    memset(r, 0, bytes);
    r->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (r->fd < 0) {
        (void)err_set(err, ERR_FATAL, "eventfd: %s", strerror(errno));
        free(r);
        return NULL;
    }
    r->producers = s->producers;
    r->spins = s->spins;
    r->yields = s->yields;
    r->is_fenced = s->is_fenced || membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) != 0;
    for (size_t i = 0; i < r->producers; i++) {
        r->lanes[i].ring = r;
        r->lanes[i].slots = (char *)r + head_bytes + i * lane_bytes;
        r->lanes[i].mask = s->records - 1;
        r->lanes[i].record_bytes = s->record_bytes;
    }
    return r;
}

void ring_destroy(struct ring *r)
{
    if (r != NULL) {
        (void)close(r->fd);
        free(r);
    }
}

/* ---- a producer ---- */

struct ring_lane *ring_lane(struct ring *r, size_t producer)
{
    assert(producer < r->producers);
    return &r->lanes[producer];
}

static void *slot_of(const struct ring_lane *l, size_t at)
{
    return l->slots + (at & l->mask) * l->record_bytes;
}

/* Of the counted slots from at on, those before the end of the circle, and at most max. */
static size_t next_to_each_other(const struct ring_lane *l, size_t at, size_t count, size_t max)
{
    const size_t to_end = l->mask + 1 - (at & l->mask);
    const size_t n = count < max ? count : max;

    return n < to_end ? n : to_end;
}

void *ring_reserve(struct ring_lane *l, size_t *n)
{
    const size_t tail = atomic_load_explicit(&l->tail, memory_order_relaxed);

    /* Fewer than wanted are enough: looking for more would cost the line each time. */
    if (tail - l->head_seen > l->mask) {
        l->head_seen = atomic_load_explicit(&l->head, memory_order_acquire);
        if (tail - l->head_seen > l->mask) {
            return NULL;
        }
    }
    *n = next_to_each_other(l, tail, l->mask + 1 - (tail - l->head_seen), *n);
    return slot_of(l, tail);
}

static void wake(struct ring *r)
{
    const uint64_t one = 1;

    if (atomic_exchange_explicit(&r->is_asleep, false, memory_order_acq_rel)) {
        /* Fails only when 2^64 - 2 of them were not read: it is readable then. */
        (void)!write(r->fd, &one, sizeof(one));
    }
}

void ring_publish(struct ring_lane *l, size_t n)
{
    const size_t tail = atomic_load_explicit(&l->tail, memory_order_relaxed) + n;
    struct ring *r = l->ring;
    bool is_asleep;

    if (r->is_fenced) {
        atomic_store_explicit(&l->tail, tail, memory_order_seq_cst);
        is_asleep = atomic_load_explicit(&r->is_asleep, memory_order_seq_cst);
    } else {
        atomic_store_explicit(&l->tail, tail, memory_order_release);
        /* For the compiler; the processor's is ring_arm()'s membarrier(). */
        atomic_signal_fence(memory_order_seq_cst);
        is_asleep = atomic_load_explicit(&r->is_asleep, memory_order_relaxed);
    }
    if (is_asleep) {
        wake(r);
    }
}

/* ---- the consumer ---- */

static bool is_empty(struct ring_lane *l)
{
    const size_t head = atomic_load_explicit(&l->head, memory_order_relaxed);

    if (l->tail_seen == head) {
        /* Acquire would do, but for ring_arm(). */
        l->tail_seen = atomic_load_explicit(&l->tail, memory_order_seq_cst);
    }
    return l->tail_seen == head;
}

/* Finds the first lane with a record, from the one whose turn it is. */
static bool find_record(struct ring *r)
{
    for (size_t i = 0; i < r->producers; i++) {
        if (!is_empty(&r->lanes[r->turn])) {
            return true;
        }
        r->turn = r->turn + 1 < r->producers ? r->turn + 1 : 0;
    }
    return false;
}

const void *ring_take(struct ring *r, size_t *n)
{
    const struct ring_lane *l;
    size_t head;

    if (!find_record(r)) {
        return NULL;
    }
    l = &r->lanes[r->turn];
    head = atomic_load_explicit(&l->head, memory_order_relaxed);
    *n = next_to_each_other(l, head, l->tail_seen - head, *n);
    return slot_of(l, head);
}

void ring_release(struct ring *r, size_t n)
{
    struct ring_lane *l = &r->lanes[r->turn];
    const size_t head = atomic_load_explicit(&l->head, memory_order_relaxed);

    atomic_store_explicit(&l->head, head + n, memory_order_release);
    r->turn = r->turn + 1 < r->producers ? r->turn + 1 : 0;
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

bool ring_wait(struct ring *r, int timeout_ms)
{
    struct pollfd fd = {.fd = r->fd, .events = POLLIN};

    for (size_t i = 0; i < r->spins; i++) {
        if (find_record(r)) {
            return true;
        }
        relax();
    }
    for (size_t i = 0; i < r->yields; i++) {
        if (find_record(r)) {
            return true;
        }
        (void)sched_yield();
    }
    if (ring_arm(r)) {
        (void)poll(&fd, 1, timeout_ms); /* whatever ended it, the next look tells */
        ring_disarm(r);
    }
    return find_record(r);
}

int ring_fd(const struct ring *r)
{
    return r->fd;
}

bool ring_arm(struct ring *r)
{
    atomic_store_explicit(&r->is_asleep, true, memory_order_seq_cst);
    /* Without its barrier nothing is certain, so there is no sleep then. */
    if ((r->is_fenced || membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0) && !find_record(r)) {
        return true;
    }
    atomic_store_explicit(&r->is_asleep, false, memory_order_relaxed);
    return false;
}

void ring_disarm(struct ring *r)
{
    uint64_t count;

    atomic_store_explicit(&r->is_asleep, false, memory_order_relaxed);
    /* Nothing there: the time was over, or a producer is about to write. */
    (void)!read(r->fd, &count, sizeof(count));
}
