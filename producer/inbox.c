/*
 * Between turns the ring is armed, or a timer of no time is set because there is more: never
 * neither.  A timer, and not event_active(): that would run in the same turn, before other events.
 */
#include "producer/inbox.h"

#include <stdlib.h>

#include "common/xmalloc.h"

enum {
    TURN_RECORDS = 512,
    BATCH_RECORDS = 32, /* after which the producer gets its slots back */
};

struct inbox {
    struct ring *ring;
    size_t record_bytes;
    inbox_fn *take;
    void *arg;
    struct event *wake;
    struct event *again;
};

/* Takes some records; false: there were none. */
static bool take_batch(struct inbox *b)
{
    size_t n = BATCH_RECORDS;
    const char *records = ring_take(b->ring, &n);

    if (records == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        b->take(records + i * b->record_bytes, b->arg);
    }
    ring_release(b->ring, n);
    return true;
}

static void sleep_or_go_on(struct inbox *b)
{
    static const struct timeval at_once = {0, 0};

    if (!ring_arm(b->ring) && event_add(b->again, &at_once) != 0) {
        event_active(b->again, EV_TIMEOUT, 0); /* takes no memory */
    }
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct inbox *b = arg;

    (void)fd;
    (void)what;
    ring_disarm(b->ring);
    for (int i = 0; i < TURN_RECORDS / BATCH_RECORDS && take_batch(b); i++) {
    }
    sleep_or_go_on(b);
}

void inbox_empty(struct inbox *b)
{
    while (take_batch(b)) {
    }
}

struct inbox *inbox_create(struct event_base *base, struct ring *ring, size_t record_bytes,
                           inbox_fn *take, void *arg, struct err *err)
{
    struct inbox *b = xcalloc(1, sizeof(*b));

    b->ring = ring;
    b->record_bytes = record_bytes;
    b->take = take;
    b->arg = arg;
    b->wake = event_new(base, ring_fd(ring), EV_READ | EV_PERSIST, on_turn, b);
    b->again = evtimer_new(base, on_turn, b);
    if (b->wake == NULL || b->again == NULL || event_add(b->wake, NULL) != 0) {
        (void)err_set(err, ERR_FATAL, "no event for a ring");
        inbox_destroy(b);
        return NULL;
    }
    sleep_or_go_on(b);
    return b;
}

void inbox_destroy(struct inbox *b)
{
    if (b == NULL) {
        return;
    }
    if (b->wake != NULL) {
        event_free(b->wake);
    }
    if (b->again != NULL) {
        event_free(b->again);
    }
    free(b);
}
