#include "matcher/queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/mutant.h"
#include "common/xmalloc.h"

enum {
    CAPACITY_MIN = 64,
};

struct item *queue_at(const struct queue *q, uint64_t seq)
{
    assert(seq >= q->first && seq < q->end);
    return &q->ring[seq & (q->capacity - 1)];
}

static void grow(struct queue *q)
{
    const size_t capacity = q->capacity == 0 ? CAPACITY_MIN : q->capacity * 2;
    struct item *ring = xcalloc(capacity, sizeof(*ring));

    for (uint64_t seq = q->first; seq != q->end; seq++) {
        ring[seq & (capacity - 1)] = *queue_at(q, seq);
    }
    free(q->ring);
    q->ring = ring;
    q->capacity = capacity;
}

struct item *queue_push(struct queue *q)
{
    struct item *item;

    if (q->end - q->first == q->capacity) {
        grow(q);
    }
    q->end++;
    item = queue_at(q, q->end - 1);
    *item = (struct item){.offset = -1};
    return item;
}

void item_keep(struct item *item, struct slice key, struct slice value)
{
    const size_t value_len = value.len < ITEM_VALUE_MAX ? value.len : ITEM_VALUE_MAX;

    if (key.len > ITEM_KEY_MAX) {
        key.len = ITEM_KEY_MAX;
    }
    item->bytes = xmalloc(key.len + value_len + 1);
    if (key.ptr != NULL) {
        memcpy(item->bytes, key.ptr, key.len);
        item->key = (struct slice){item->bytes, key.len};
    }
    if (value.ptr != NULL) {
        memcpy(item->bytes + key.len, value.ptr, value_len);
        item->value = (struct slice){item->bytes + key.len, value_len};
    }
}

void item_tell(struct item *item, struct slice outcome)
{
    free(item->told);
    item->told = xmemdup0(outcome.ptr, outcome.len);
    item->outcome = (struct slice){item->told, outcome.len};
}

static void free_item(struct item *item)
{
    free(item->bytes);
    free(item->told);
    item->bytes = NULL;
    item->told = NULL;
}

void queue_pop(struct queue *q)
{
    assert(q->first < q->sent && q->first < q->applied);
    free_item(queue_at(q, q->first));
    q->first++;
}

void queue_drop_unapplied(struct queue *q)
{
    for (uint64_t seq = q->applied; seq != q->end; seq++) {
        free_item(queue_at(q, seq));
    }
    q->end = q->applied;
}

void queue_clear(struct queue *q)
{
    for (uint64_t seq = q->first; seq != q->end; seq++) {
        free_item(queue_at(q, seq));
    }
    if (MUTANT(LATE_ACK_TAKEN)) {
        q->end = 0;
    }
    q->first = q->end;
    q->sent = q->end;
    q->applied = q->end;
}

void queue_fini(struct queue *q)
{
    queue_clear(q);
    free(q->ring);
    *q = (struct queue){.ring = NULL};
}
