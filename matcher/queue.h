/*
 * queue.h - the records of one partition between being read and being told.
 *
 *        first          sent          applied            end
 *   ------|--------------|---------------|----------------|------>  seq, never reused
 *     told and     told, not yet      applied, not     read, not yet
 *   acknowledged    acknowledged      yet told          applied
 *
 * An item enters at the end with the record's bytes, is given its outcome when it is applied, and
 * leaves at the front when its outcome is acknowledged.  A seq names it for ever: reports on items
 * that have left are recognised by it.
 *
 * A plain container; the rules of moving its marks are part.c's, and so is the thread.
 */
#ifndef MATCHER_QUEUE_H
#define MATCHER_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/command.h"
#include "common/slice.h"

enum {
    ITEM_KEY_MAX = 1024,   /* bytes kept of a key */
    ITEM_VALUE_MAX = 8192, /* bytes kept of a malformed record's value */
};

/* Positions are all of after this record, except prev. */
struct item {
    int64_t offset, prev, timestamp_ms, log_time, rules;
    uint64_t hash, chain;
    struct command cmd;
    struct slice key;
    struct slice value; /* kept of a malformed record, for the dead letter; an archive's users */
    struct slice outcome;
    bool outcome_acked;
    bool dead_sent, dead_acked; /* of a malformed record */
    char *bytes;                /* owned: behind key and value */
    char *told;                 /* owned: behind outcome */
};

/* Zero it before first use. */
struct queue {
    struct item *ring; /* owned */
    size_t capacity;   /* power of two */
    uint64_t first, sent, applied, end;
};

struct item *queue_at(const struct queue *q, uint64_t seq);

/* A zeroed item at the end; valid until the next queue_push(). */
struct item *queue_push(struct queue *q);

/*
 * Copies key and value (ptr NULL: none): their beginnings, of very large ones.  A record may be as
 * large as Kafka lets it; its outcome and its dead letter, which say more, must not be larger.
 */
void item_keep(struct item *item, struct slice key, struct slice value);
void item_tell(struct item *item, struct slice outcome);

/* Frees the item at the front. */
void queue_pop(struct queue *q);

/* Frees what is not yet applied. */
void queue_drop_unapplied(struct queue *q);

/* Frees all; seqs go on. */
void queue_clear(struct queue *q);
void queue_fini(struct queue *q);

static inline size_t queue_unapplied(const struct queue *q)
{
    return (size_t)(q->end - q->applied);
}

static inline size_t queue_untold(const struct queue *q)
{
    return (size_t)(q->applied - q->first);
}

#endif /* MATCHER_QUEUE_H */
