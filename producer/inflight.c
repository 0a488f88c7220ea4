/*
 * A fixed array of slots.  Every slot is in exactly one list: free, flying (in order of
 * deadline, as all have the same timeout) or placed (in order of delivery); only change_list() and
 * release() move it.  A ticket is the slot's number and its generation, which grows whenever the
 * slot's command leaves flight, so that an old ticket never names a new command.
 * Orders, flying or placed, are also in a hash table of chains by their id.
 *
 * Parties are nodes of a second fixed array, chained to their slot in reverse order of joining.
 */
#include "producer/inflight.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/hash.h"
#include "common/mutant.h"
#include "common/xmalloc.h"

#define NIL UINT32_MAX

enum list_name {
    LIST_FREE,
    LIST_FLYING,
    LIST_PLACED,
    LIST_COUNT,
};

struct slot {
    uint32_t generation;
    uint32_t prev, next; /* in its list */
    uint32_t chain;      /* next with the same hash */
    uint32_t parties;
    enum list_name list;
    bool is_indexed;
    bool is_decided; /* the decision overtook the delivery report */
    int partition;
    int64_t qty;
    int64_t offset;
    int64_t deadline_ms;
    char order_id[IDS_ORDER_LEN];
    uint8_t user_len;
    char user_id[IDS_MAX];
};

struct party {
    uint64_t party;
    uint32_t next;
};

struct list {
    uint32_t head, tail;
    size_t count;
};

struct inflight {
    size_t capacity;
    int64_t timeout_ms;
    inflight_done_fn *done; /* borrowed */
    void *arg;              /* borrowed */
    bool closing;
    struct list lists[LIST_COUNT];
    uint32_t flying[IDS_PARTITIONS_MAX];
    struct slot *slots;
    uint32_t *buckets;
    uint32_t bucket_mask;
    uint64_t seed;
    struct party *parties;
    uint32_t free_parties;
};

static void list_remove(struct inflight *t, uint32_t at)
{
    struct slot *s = &t->slots[at];
    struct list *l = &t->lists[s->list];

    if (s->prev == NIL) {
        l->head = s->next;
    } else {
        t->slots[s->prev].next = s->next;
    }
    if (s->next == NIL) {
        l->tail = s->prev;
    } else {
        t->slots[s->next].prev = s->prev;
    }
    l->count--;
}

static void list_append(struct inflight *t, uint32_t at, enum list_name name)
{
    struct slot *s = &t->slots[at];
    struct list *l = &t->lists[name];

    s->list = name;
    s->prev = l->tail;
    s->next = NIL;
    if (l->tail == NIL) {
        l->head = at;
    } else {
        t->slots[l->tail].next = at;
    }
    l->tail = at;
    l->count++;
}

/* To the front of the free ones: what was used last is still in the processor's cache. */
static void release(struct inflight *t, uint32_t at)
{
    struct slot *s = &t->slots[at];
    struct list *l = &t->lists[LIST_FREE];

    list_remove(t, at);
    s->list = LIST_FREE;
    s->prev = NIL;
    s->next = l->head;
    if (l->head == NIL) {
        l->tail = at;
    } else {
        t->slots[l->head].prev = at;
    }
    l->head = at;
    l->count++;
}

static void change_list(struct inflight *t, uint32_t at, enum list_name name)
{
    list_remove(t, at);
    list_append(t, at, name);
}

static uint32_t *bucket_of(const struct inflight *t, const char *order_id)
{
    return &t->buckets[XXH3_64bits_withSeed(order_id, IDS_ORDER_LEN, t->seed) & t->bucket_mask];
}

static void index_insert(struct inflight *t, uint32_t at)
{
    uint32_t *bucket = bucket_of(t, t->slots[at].order_id);

    t->slots[at].chain = *bucket;
    t->slots[at].is_indexed = true;
    *bucket = at;
}

static void index_remove(struct inflight *t, uint32_t at)
{
    struct slot *s = &t->slots[at];
    uint32_t *link = bucket_of(t, s->order_id);

    if (!s->is_indexed) {
        return;
    }
    while (*link != at) {
        link = &t->slots[*link].chain;
    }
    *link = s->chain;
    s->is_indexed = false;
}

static uint32_t index_find(const struct inflight *t, struct slice order_id)
{
    uint32_t at;

    if (order_id.len != IDS_ORDER_LEN) {
        return NIL;
    }
    at = *bucket_of(t, order_id.ptr);
    while (at != NIL && memcmp(t->slots[at].order_id, order_id.ptr, IDS_ORDER_LEN) != 0) {
        at = t->slots[at].chain;
    }
    return at;
}

static inflight_ticket ticket_of(const struct inflight *t, uint32_t at)
{
    return ((uint64_t)t->slots[at].generation << 32) | at;
}

/* The slot that ticket names while its command flies, or NIL. */
static uint32_t slot_of(const struct inflight *t, inflight_ticket ticket)
{
    const uint32_t at = (uint32_t)ticket;

    if (at >= t->capacity || t->slots[at].list != LIST_FLYING ||
        t->slots[at].generation != (uint32_t)(ticket >> 32)) {
        return NIL;
    }
    return at;
}

static bool add_party(struct inflight *t, uint32_t at, uint64_t party)
{
    const uint32_t node = t->free_parties;

    if (node == NIL) {
        return false;
    }
    t->free_parties = t->parties[node].next;
    t->parties[node] = (struct party){.party = party, .next = t->slots[at].parties};
    t->slots[at].parties = node;
    return true;
}

struct inflight *inflight_create(size_t capacity, int64_t timeout_ms, inflight_done_fn *done,
                                 void *arg)
{
    struct inflight *t = xcalloc(1, sizeof(*t));
    size_t buckets = 1;

    assert(capacity > 0 && capacity < NIL / 4);
    while (buckets < capacity) {
        buckets *= 2;
    }
    t->capacity = capacity;
    t->timeout_ms = timeout_ms;
    t->done = done;
    t->arg = arg;
    t->slots = xcalloc(capacity, sizeof(*t->slots));
    t->buckets = xcalloc(buckets, sizeof(*t->buckets));
    t->bucket_mask = (uint32_t)(buckets - 1);
    t->seed = hash_seed();
    t->parties = xcalloc(2 * capacity, sizeof(*t->parties));
    for (size_t i = 0; i < LIST_COUNT; i++) {
        t->lists[i] = (struct list){.head = NIL, .tail = NIL};
    }
    for (size_t i = 0; i < buckets; i++) {
        t->buckets[i] = NIL;
    }
    for (size_t i = 0; i < capacity; i++) {
        t->slots[i].generation = 1;
        t->slots[i].parties = NIL;
        list_append(t, (uint32_t)i, LIST_FREE);
    }
    for (size_t i = 0; i < 2 * capacity; i++) {
        t->parties[i].next = i + 1 < 2 * capacity ? (uint32_t)(i + 1) : NIL;
    }
    t->free_parties = 0;
    return t;
}

/* Takes the command at out of flight: its slot is reusable and its ticket dead before done runs. */
static void leave(struct inflight *t, uint32_t at, enum inflight_fate fate, int64_t offset)
{
    struct slot *s = &t->slots[at];
    uint32_t node = s->parties;

    s->parties = NIL;
    s->generation = s->generation == UINT32_MAX ? 1 : s->generation + 1;
    s->offset = offset;
    t->flying[s->partition]--;
    if (s->is_indexed && fate == INFLIGHT_DELIVERED && !s->is_decided) {
        change_list(t, at, LIST_PLACED);
    } else {
        index_remove(t, at);
        release(t, at);
    }
    while (node != NIL) {
        const uint32_t next = t->parties[node].next;
        const uint64_t party = t->parties[node].party;

        t->parties[node].next = t->free_parties;
        t->free_parties = node;
        t->done(party, fate, offset, t->arg);
        node = next;
    }
}

void inflight_destroy(struct inflight *t)
{
    if (t == NULL) {
        return;
    }
    t->closing = true;
    while (t->lists[LIST_FLYING].head != NIL) {
        leave(t, t->lists[LIST_FLYING].head, INFLIGHT_UNKNOWN, -1);
    }
    free(t->slots);
    free(t->buckets);
    free(t->parties);
    free(t);
}

inflight_ticket inflight_add(struct inflight *t, int64_t now_ms, const struct inflight_command *cmd,
                             uint64_t party)
{
    const uint32_t known = cmd->qty > 0 ? index_find(t, cmd->order_id) : NIL;
    uint32_t at = t->lists[LIST_FREE].head;
    struct slot *s;

    assert(cmd->order_id.len == IDS_ORDER_LEN && cmd->user_id.len <= IDS_MAX);
    assert(cmd->partition >= 0 && cmd->partition < IDS_PARTITIONS_MAX);
    assert(known == NIL || t->slots[known].list == LIST_PLACED);
    if (known != NIL) {
        at = known;
    } else if (at == NIL) {
        at = t->lists[LIST_PLACED].head;
    }
    if (t->closing || at == NIL || t->free_parties == NIL) {
        return INFLIGHT_NONE;
    }
    index_remove(t, at);
    change_list(t, at, LIST_FLYING);
    s = &t->slots[at];
    s->is_decided = false;
    s->partition = cmd->partition;
    t->flying[s->partition]++;
    s->qty = cmd->qty;
    s->offset = -1;
    s->deadline_ms = now_ms + t->timeout_ms;
    memcpy(s->order_id, cmd->order_id.ptr, IDS_ORDER_LEN);
    s->user_len = (uint8_t)cmd->user_id.len;
    memcpy(s->user_id, cmd->user_id.ptr, cmd->user_id.len);
    if (cmd->qty > 0) {
        index_insert(t, at);
    }
    (void)add_party(t, at, party); /* there is room: seen above */
    return ticket_of(t, at);
}

bool inflight_join(struct inflight *t, inflight_ticket ticket, uint64_t party)
{
    const uint32_t at = slot_of(t, ticket);

    return at != NIL && add_party(t, at, party);
}

bool inflight_settle(struct inflight *t, inflight_ticket ticket, enum inflight_fate fate,
                     int64_t offset)
{
    const uint32_t at = slot_of(t, ticket);

    if (at == NIL) {
        return false;
    }
    leave(t, at, fate, fate == INFLIGHT_DELIVERED ? offset : -1);
    return true;
}

size_t inflight_expire(struct inflight *t, int64_t now_ms)
{
    size_t n = 0;

    while (t->lists[LIST_FLYING].head != NIL &&
           t->slots[t->lists[LIST_FLYING].head].deadline_ms <= now_ms) {
        leave(t, t->lists[LIST_FLYING].head,
              MUTANT(UNKNOWN_AS_FAILED) ? INFLIGHT_FAILED : INFLIGHT_UNKNOWN, -1);
        n++;
    }
    return n;
}

int64_t inflight_since(const struct inflight *t, inflight_ticket ticket)
{
    const uint32_t at = slot_of(t, ticket);

    return at == NIL ? -1 : t->slots[at].deadline_ms - t->timeout_ms;
}

bool inflight_find(const struct inflight *t, struct slice order_id, struct inflight_order *order)
{
    const uint32_t at = index_find(t, order_id);
    const struct slot *s;

    if (at == NIL) {
        return false;
    }
    s = &t->slots[at];
    *order = (struct inflight_order){
        .ticket = s->list == LIST_FLYING ? ticket_of(t, at) : INFLIGHT_NONE,
        .user_id = {s->user_id, s->user_len},
        .partition = s->partition,
        .qty = s->qty,
        .offset = s->offset,
        .is_decided = s->is_decided,
    };
    return true;
}

void inflight_decided(struct inflight *t, struct slice order_id)
{
    const uint32_t at = index_find(t, order_id);

    if (at == NIL) {
        return;
    }
    if (t->slots[at].list == LIST_PLACED) {
        index_remove(t, at);
        release(t, at);
    } else {
        t->slots[at].is_decided = true;
    }
}

size_t inflight_count(const struct inflight *t)
{
    return t->lists[LIST_FLYING].count;
}

size_t inflight_flying(const struct inflight *t, int partition)
{
    assert(partition >= 0 && partition < IDS_PARTITIONS_MAX);
    return t->flying[partition];
}

size_t inflight_placed(const struct inflight *t)
{
    return t->lists[LIST_PLACED].count;
}
