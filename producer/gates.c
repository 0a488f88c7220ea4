/*
 * A fixed array of items, all in one list by last use and in a hash table of chains.  An item's
 * position is the offset of the newest record that it reflects.  Events of one record come one by
 * one, so an event at the item's own position is news only within the record that put it there:
 * `record` numbers the records as they come.
 */
#include "producer/gates.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/hash.h"
#include "common/ids.h"
#include "common/mutant.h"
#include "common/xmalloc.h"

#define NIL UINT32_MAX

enum { MOVED_FRESH_MS = 10 }; /* a crowd that looks at a moving item costs so few look-ups */

struct item {
    uint32_t prev, next, chain;
    uint32_t bucket;
    uint8_t id_len; /* 0: never used */
    bool exists;
    bool moved; /* an event came after `shown` */
    char id[IDS_MAX];
    uint64_t record; /* the record that last changed it; 0: a look-up did */
    int64_t position;
    int64_t learned_ms; /* everything confirmed: look-up or stock event */
    int64_t counted_ms; /* `available` confirmed: any event, too */
    struct item_entry entry;
    struct item_entry shown; /* as of learned_ms: its counts belong together */
};

struct gates {
    size_t capacity;
    size_t count;
    uint64_t evicted;
    int64_t fresh_ms;
    uint64_t record;
    int64_t record_offset;
    struct item *items;
    uint32_t *buckets;
    uint32_t bucket_mask;
    uint64_t seed;
    uint32_t head, tail; /* head: used last */
};

struct gates *gates_create(size_t capacity, int64_t fresh_ms)
{
    struct gates *g = xcalloc(1, sizeof(*g));
    size_t buckets = 1;

    assert(capacity > 0 && capacity < NIL / 2);
    while (buckets < capacity) {
        buckets *= 2;
    }
    g->capacity = capacity;
    g->fresh_ms = fresh_ms;
    g->items = xcalloc(capacity, sizeof(*g->items));
    g->buckets = xcalloc(buckets, sizeof(*g->buckets));
    g->bucket_mask = (uint32_t)(buckets - 1);
    g->seed = hash_seed();
    for (size_t i = 0; i < buckets; i++) {
        g->buckets[i] = NIL;
    }
    for (size_t i = 0; i < capacity; i++) {
        g->items[i].prev = i == 0 ? NIL : (uint32_t)(i - 1);
        g->items[i].next = i + 1 < capacity ? (uint32_t)(i + 1) : NIL;
    }
    g->head = 0;
    g->tail = (uint32_t)(capacity - 1);
    return g;
}

void gates_destroy(struct gates *g)
{
    if (g == NULL) {
        return;
    }
    free(g->items);
    free(g->buckets);
    free(g);
}

static void touch(struct gates *g, uint32_t at)
{
    struct item *it = &g->items[at];

    if (g->head == at) {
        return;
    }
    g->items[it->prev].next = it->next;
    if (it->next == NIL) {
        g->tail = it->prev;
    } else {
        g->items[it->next].prev = it->prev;
    }
    it->prev = NIL;
    it->next = g->head;
    g->items[g->head].prev = at;
    g->head = at;
}

static uint32_t bucket_of(const struct gates *g, struct slice item_id)
{
    return (uint32_t)(XXH3_64bits_withSeed(item_id.ptr, item_id.len, g->seed) & g->bucket_mask);
}

static struct item *find(struct gates *g, struct slice item_id)
{
    uint32_t at = g->buckets[bucket_of(g, item_id)];

    while (at != NIL) {
        struct item *it = &g->items[at];

        if (slice_eq((struct slice){it->id, it->id_len}, item_id)) {
            touch(g, at);
            return it;
        }
        at = it->chain;
    }
    return NULL;
}

/* The item not used longest becomes item_id. */
static struct item *take(struct gates *g, struct slice item_id)
{
    const uint32_t at = g->tail;
    struct item *it = &g->items[at];

    assert(item_id.len > 0 && item_id.len <= IDS_MAX);
    if (it->id_len > 0) {
        uint32_t *link = &g->buckets[it->bucket];

        while (*link != at) {
            link = &g->items[*link].chain;
        }
        *link = it->chain;
        g->evicted++;
    } else {
        g->count++;
    }
    it->id_len = (uint8_t)item_id.len;
    memcpy(it->id, item_id.ptr, item_id.len);
    it->bucket = bucket_of(g, item_id);
    it->chain = g->buckets[it->bucket];
    g->buckets[it->bucket] = at;
    it->position = -1;
    it->moved = false;
    touch(g, at);
    return it;
}

/*
 * Nobody is turned away as too late for what is guessed of the log's clock: who comes when the sale has
 * ended is rejected by the log, whose time has passed the end by that for all who come after.
 */
static enum reason refusal_of(const struct item *it, const struct gates_question *q,
                              bool is_learned, bool is_counted)
{
    const struct item_entry *e = &it->entry;

    if (!it->exists) {
        return is_learned ? REASON_UNKNOWN_ITEM : REASON_COUNT;
    }
    if (e->state == 'c' || e->state == 'a' ||
        (e->closes_at != 0 && q->log_time_ms >= e->closes_at)) {
        return is_learned ? REASON_CLOSED : REASON_COUNT;
    }
    if (q->log_time_ms < e->opens_at && q->log_clock_ms < e->opens_at) {
        return is_learned ? REASON_NOT_OPEN : REASON_COUNT;
    }
    if (e->state == 'p') {
        return is_learned ? REASON_PAUSED : REASON_COUNT;
    }
    if (q->qty > e->limit) {
        return is_learned ? REASON_LIMIT_REACHED : REASON_COUNT;
    }
    if (e->available < q->qty) {
        return is_counted ? REASON_SOLD_OUT : REASON_COUNT;
    }
    return REASON_NONE;
}

enum gates_answer gates_check(struct gates *g, const struct gates_question *question,
                              enum reason *reason)
{
    const struct item *it = find(g, question->item_id);
    enum reason why;

    *reason = REASON_NONE;
    if (it == NULL) {
        return GATES_ASK;
    }
    why = refusal_of(it, question, question->now_ms - it->learned_ms <= g->fresh_ms,
                     question->now_ms - it->counted_ms <= g->fresh_ms);
    if (why == REASON_COUNT) {
        return GATES_ASK;
    }
    *reason = why;
    return why == REASON_NONE ? GATES_PASS : GATES_REFUSE;
}

void gates_learn(struct gates *g, struct slice item_id, const struct item_entry *entry,
                 int64_t position, int64_t now_ms)
{
    struct item *it = find(g, item_id);

    if (it == NULL) {
        it = take(g, item_id);
    } else if (position < it->position) {
        return;
    }
    it->exists = entry != NULL;
    it->entry = entry != NULL ? *entry : (struct item_entry){0};
    it->position = position;
    it->record = 0;
    it->shown = it->entry;
    it->moved = false;
    it->learned_ms = it->counted_ms = now_ms;
}

void gates_record(struct gates *g, int64_t offset)
{
    g->record++;
    g->record_offset = offset;
}

static bool has_count(const struct event *event)
{
    return event->type == EVENT_RESERVED || event->type == EVENT_REJECTED ||
           event->type == EVENT_PAID || event->type == EVENT_CANCELLED ||
           event->type == EVENT_EXPIRED || event->type == EVENT_STOCK;
}

void gates_event(struct gates *g, const struct event *event, int64_t now_ms)
{
    struct item *it;

    if (!has_count(event) || event->item_id.len == 0 ||
        (event->type == EVENT_REJECTED && event->reason == REASON_UNKNOWN_ITEM)) {
        return;
    }
    it = find(g, command_text(&event->item_id));
    if (MUTANT(GATE_STAYS_SHUT) && it != NULL && event->available > it->entry.available) {
        return;
    }
    if (it == NULL || (g->record_offset < it->position && !MUTANT(GATE_OLDER_NEWS)) ||
        (g->record_offset == it->position && it->record != g->record)) {
        return;
    }
    it->position = g->record_offset;
    it->record = g->record;
    it->counted_ms = now_ms;
    it->entry.available = event->available;
    it->moved = it->moved || event->type != EVENT_REJECTED;
    if (event->type == EVENT_STOCK) {
        it->exists = true;
        it->learned_ms = now_ms;
        it->entry = (struct item_entry){
            .total = event->total,
            .available = event->available,
            .held = event->held,
            .sold = event->sold,
            .limit = event->limit,
            .hold_ms = event->hold_ms,
            .opens_at = event->opens_at,
            .closes_at = event->closes_at,
            .state = event->item_state,
            .price = event->price,
        };
        it->shown = it->entry;
        it->moved = false;
    }
}

int gates_item(struct gates *g, struct slice item_id, int64_t now_ms, struct item_entry *entry)
{
    const struct item *it = find(g, item_id);

    if (it == NULL || now_ms - it->learned_ms > (it->moved ? MOVED_FRESH_MS : g->fresh_ms)) {
        return -1;
    }
    *entry = it->shown;
    return it->exists ? 1 : 0;
}

size_t gates_count(const struct gates *g)
{
    return g->count;
}

uint64_t gates_evicted(const struct gates *g)
{
    return g->evicted;
}
