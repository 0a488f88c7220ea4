/*
 * gates.h - what this door knows about items, so that it can refuse without asking Kafka.
 *
 * Knowledge comes from two sides: look-ups in Redis (everything about an item, as of a position)
 * and the outcome stream (what changed since).  Older news never replaces newer.  A refusal needs
 * knowledge that was confirmed within fresh_ms; without it the answer is "ask": look the item up
 * and come again.  Letting an order pass needs no freshness: the log decides.
 *
 * An item that is not there is remembered as well, so that a made-up id costs one look-up per
 * fresh_ms and not one per request.  Room for a fixed number of items; the one not used longest
 * gives way.  Pure: time and positions are arguments.  One thread.
 */
#ifndef PRODUCER_GATES_H
#define PRODUCER_GATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/outcome.h"
#include "common/slice.h"

struct gates;

enum gates_answer {
    GATES_PASS,
    GATES_ASK,
    GATES_REFUSE,
};

struct gates_question {
    struct slice item_id;
    int64_t qty;
    int64_t now_ms;       /* monotonic */
    int64_t log_clock_ms; /* what the log's clock shows, about */
    int64_t log_time_ms;  /* what it has shown for certain: a time of the log */
};

struct gates *gates_create(size_t capacity, int64_t fresh_ms) ATTR_MUSTCHECK;
void gates_destroy(struct gates *g);

/* Whether an order may pass; *reason is set to why not. */
enum gates_answer gates_check(struct gates *g, const struct gates_question *question,
                              enum reason *reason) ATTR_MUSTCHECK;

/* A look-up at position found the item, or did not (entry NULL). */
void gates_learn(struct gates *g, struct slice item_id, const struct item_entry *entry,
                 int64_t position, int64_t now_ms);

/*
 * Starts an outcome record at offset (its events follow).  The items that it names are
 * of one partition, so offsets of one item always compare.
 */
void gates_record(struct gates *g, int64_t offset);

/* An event of the record last started; events without an item or a count are passed over. */
void gates_event(struct gates *g, const struct event *event, int64_t now_ms);

/*
 * The item as it last was as a whole, within fresh_ms, or 10 ms if an event has moved its counts
 * since: 1 with *entry set, 0 when there is no such item, -1 when it must be asked.
 */
int gates_item(struct gates *g, struct slice item_id, int64_t now_ms, struct item_entry *entry);

/* Items known, and how many gave way so far. */
size_t gates_count(const struct gates *g);
uint64_t gates_evicted(const struct gates *g);

#endif /* PRODUCER_GATES_H */
