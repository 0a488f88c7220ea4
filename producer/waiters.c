/*
 * A fixed array of slots; a slot is free, or it waits: then it is in the hash chain of its order
 * id and in one spoke of a timing wheel.  A ticket is the slot's number and its generation, which
 * grows when the waiter leaves.
 *
 * The wheel turns one spoke per WHEEL_STEP_MS, once around in 102 s.  A deadline beyond that stays
 * in its spoke until the turn that it belongs to: a slot found too early is left where it is.
 */
#include "producer/waiters.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/hash.h"
#include "common/mutant.h"
#include "common/xmalloc.h"

#define NIL UINT32_MAX

enum {
    WHEEL_STEP_MS = 25,
    WHEEL_SPOKES = 4096,
};

struct slot {
    uint32_t generation;
    uint32_t chain;      /* next with the same hash, or next free */
    uint32_t prev, next; /* in its spoke */
    uint32_t spoke;
    bool is_waiting;
    enum waiters_topic topic;
    uint64_t party;
    int64_t deadline_ms;
    int64_t seen;    /* -1: nothing seen yet */
    int64_t placed;  /* where its own command stands; -1: not known yet */
    int64_t refused; /* the newest refusal until then, perhaps its own; -1: none */
    enum reason refusal;
    char order_id[IDS_ORDER_LEN];
    struct command_text user_id;
    struct command_text payment_id;
};

struct waiters {
    size_t capacity;
    size_t count;
    waiters_told_fn *told; /* borrowed */
    void *arg;             /* borrowed */
    struct slot *slots;
    uint32_t free;
    uint32_t *buckets;
    uint32_t bucket_mask;
    uint64_t seed;
    bool has_turned;
    int64_t turned_to; /* every spoke up to this step was looked at */
    uint32_t spokes[WHEEL_SPOKES];
};

struct waiters *waiters_create(size_t capacity, waiters_told_fn *told, void *arg)
{
    struct waiters *w = xcalloc(1, sizeof(*w));
    size_t buckets = 1;

    assert(capacity > 0 && capacity < NIL / 2);
    while (buckets < capacity) {
        buckets *= 2;
    }
    w->capacity = capacity;
    w->told = told;
    w->arg = arg;
    w->slots = xcalloc(capacity, sizeof(*w->slots));
    w->buckets = xcalloc(buckets, sizeof(*w->buckets));
    w->bucket_mask = (uint32_t)(buckets - 1);
    w->seed = hash_seed();
    for (size_t i = 0; i < buckets; i++) {
        w->buckets[i] = NIL;
    }
    for (size_t i = 0; i < WHEEL_SPOKES; i++) {
        w->spokes[i] = NIL;
    }
    for (size_t i = 0; i < capacity; i++) {
        w->slots[i].generation = 1;
        w->slots[i].chain = i + 1 < capacity ? (uint32_t)(i + 1) : NIL;
    }
    return w;
}

void waiters_destroy(struct waiters *w)
{
    if (w == NULL) {
        return;
    }
    free(w->slots);
    free(w->buckets);
    free(w);
}

static uint32_t *bucket_of(const struct waiters *w, const char *order_id)
{
    return &w->buckets[XXH3_64bits_withSeed(order_id, IDS_ORDER_LEN, w->seed) & w->bucket_mask];
}

/* Also of steps below 0, which a young clock has. */
static uint32_t spoke_of(int64_t step)
{
    return (uint32_t)((uint64_t)step % WHEEL_SPOKES);
}

static void wheel_insert(struct waiters *w, uint32_t at)
{
    struct slot *s = &w->slots[at];
    int64_t step = s->deadline_ms / WHEEL_STEP_MS + 1;

    if (w->has_turned && step <= w->turned_to) {
        step = w->turned_to + 1;
    }
    s->spoke = spoke_of(step);
    s->prev = NIL;
    s->next = w->spokes[s->spoke];
    if (s->next != NIL) {
        w->slots[s->next].prev = at;
    }
    w->spokes[s->spoke] = at;
}

static void wheel_remove(struct waiters *w, uint32_t at)
{
    const struct slot *s = &w->slots[at];

    if (s->prev == NIL) {
        w->spokes[s->spoke] = s->next;
    } else {
        w->slots[s->prev].next = s->next;
    }
    if (s->next != NIL) {
        w->slots[s->next].prev = s->prev;
    }
}

/* Takes the waiter out of every list; returns whom it spoke for. */
static uint64_t leave(struct waiters *w, uint32_t at)
{
    struct slot *s = &w->slots[at];
    uint32_t *link = bucket_of(w, s->order_id);

    while (*link != at) {
        link = &w->slots[*link].chain;
    }
    *link = s->chain;
    wheel_remove(w, at);
    s->is_waiting = false;
    s->generation = s->generation == UINT32_MAX ? 1 : s->generation + 1;
    s->chain = w->free;
    w->free = at;
    w->count--;
    return s->party;
}

static uint32_t slot_of(const struct waiters *w, waiters_ticket ticket)
{
    const uint32_t at = (uint32_t)ticket;

    if (at >= w->capacity || !w->slots[at].is_waiting ||
        w->slots[at].generation != (uint32_t)(ticket >> 32)) {
        return NIL;
    }
    return at;
}

waiters_ticket waiters_add(struct waiters *w, const struct waiters_wish *wish, uint64_t party)
{
    const uint32_t at = w->free;
    struct slot *s;
    uint32_t *bucket;

    assert(wish->order_id.len == IDS_ORDER_LEN);
    if (at == NIL) {
        return WAITERS_NONE;
    }
    s = &w->slots[at];
    if (!command_set_text(&s->user_id, wish->user_id) ||
        !command_set_text(&s->payment_id, wish->payment_id)) {
        return WAITERS_NONE; /* cannot match anything that the log holds */
    }
    w->free = s->chain;
    w->count++;
    s->is_waiting = true;
    s->topic = wish->topic;
    s->party = party;
    s->deadline_ms = wish->deadline_ms;
    s->seen = s->placed = s->refused = -1;
    s->refusal = REASON_NONE;
    memcpy(s->order_id, wish->order_id.ptr, IDS_ORDER_LEN);
    bucket = bucket_of(w, s->order_id);
    s->chain = *bucket;
    *bucket = at;
    wheel_insert(w, at);
    return ((uint64_t)s->generation << 32) | at;
}

bool waiters_remove(struct waiters *w, waiters_ticket ticket)
{
    const uint32_t at = slot_of(w, ticket);

    if (at == NIL) {
        return false;
    }
    (void)leave(w, at); /* whoever removes it knows for whom */
    return true;
}

void waiters_seen(struct waiters *w, waiters_ticket ticket, int64_t position)
{
    const uint32_t at = slot_of(w, ticket);

    if (at != NIL && w->slots[at].seen < 0) {
        w->slots[at].seen = position;
    }
}

bool waiters_placed(struct waiters *w, waiters_ticket ticket, int64_t offset, enum reason *reason)
{
    const uint32_t at = slot_of(w, ticket);

    if (at == NIL) {
        return false;
    }
    w->slots[at].placed = offset;
    *reason = w->slots[at].refusal;
    return offset >= 0 && w->slots[at].refused == offset; /* -1: Kafka did not say where */
}

/* Whether it ends the wait of s, whose order and user it names. */
static bool answers(const struct event *event, int64_t offset, struct slot *s)
{
    switch (s->topic) {
    case WAITERS_ORDER:
        return event->type == EVENT_RESERVED || event->type == EVENT_REJECTED ||
               event->type == EVENT_PAID || event->type == EVENT_CANCELLED ||
               event->type == EVENT_EXPIRED ||
               (event->type == EVENT_DUPLICATE && event->state != ORDER_NONE) ||
               (event->type == EVENT_REFUSED && event->qty > 0);
    case WAITERS_PAYMENT:
        return (event->type == EVENT_PAID || event->type == EVENT_REFUND_DUE ||
                (event->type == EVENT_DUPLICATE && event->payment != 0)) &&
               slice_eq(command_text(&event->payment_id), command_text(&s->payment_id));
    case WAITERS_CANCEL:
        /* Of two cancels the first may be refused and the second not. */
        if (event->type == EVENT_REFUSED && s->placed < 0) {
            s->refused = offset;
            s->refusal = event->reason;
        }
        return event->type == EVENT_CANCELLED ||
               (event->type == EVENT_REFUSED && offset == s->placed);
    }
    return false;
}

size_t waiters_tell(struct waiters *w, const struct event *event, int64_t offset)
{
    uint32_t at;
    size_t n = 0;

    if (event->order_id[0] == '\0') {
        return 0;
    }
    /* told may add or remove waiters of the same chain: look from its start after each. */
    do {
        at = *bucket_of(w, event->order_id);
        while (at != NIL) {
            struct slot *s = &w->slots[at];

            if ((offset > s->seen || MUTANT(OLDER_TOLD)) &&
                memcmp(s->order_id, event->order_id, IDS_ORDER_LEN) == 0 &&
                (slice_eq(command_text(&s->user_id), command_text(&event->user_id)) ||
                 MUTANT(STRANGER_TOLD)) &&
                answers(event, offset, s)) {
                break;
            }
            at = s->chain;
        }
        if (at != NIL) {
            w->told(leave(w, at), event, offset, w->arg);
            n++;
        }
    } while (at != NIL && n <= w->capacity);
    return n;
}

size_t waiters_expire(struct waiters *w, int64_t now_ms)
{
    const int64_t target = now_ms / WHEEL_STEP_MS;
    size_t n = 0;

    if (!w->has_turned || target - w->turned_to > WHEEL_SPOKES) {
        w->has_turned = true;
        w->turned_to = target - WHEEL_SPOKES;
    }
    while (w->turned_to < target) {
        const uint32_t spoke = spoke_of(++w->turned_to);
        uint32_t at = w->spokes[spoke];

        while (at != NIL) {
            if (w->slots[at].deadline_ms > now_ms) {
                at = w->slots[at].next;
                continue;
            }
            w->told(leave(w, at), NULL, -1, w->arg);
            n++;
            at = w->spokes[spoke];
        }
    }
    return n;
}

size_t waiters_count(const struct waiters *w)
{
    return w->count;
}
