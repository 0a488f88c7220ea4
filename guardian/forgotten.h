/*
 * forgotten.h - the orders that Redis has forgotten and MySQL keeps: what the log says of each.
 *
 * Only a hash of each is kept, since there may be millions: enough to compare MySQL's rows one by
 * one.  Pure; one thread.
 */
#ifndef GUARDIAN_FORGOTTEN_H
#define GUARDIAN_FORGOTTEN_H

#include <stddef.h>
#include <stdint.h>

#include "common/fold.h"
#include "common/slice.h"

struct forgotten;

struct forgotten *forgotten_create(void);
void forgotten_destroy(struct forgotten *f);
void forgotten_clear(struct forgotten *f);

/* A fold_watch_fn; arg is the struct forgotten. */
void forgotten_note(const struct fold_decision *decision, void *arg);

enum forgotten_answer {
    FORGOTTEN_SAME,
    FORGOTTEN_DIFFERENT,
    FORGOTTEN_UNKNOWN, /* the log forgets no such order */
};

/*
 * Compares a row: key is `order_id user_id item_id`, value `qty state reason memory due offset`,
 * memory being 0, or 2 when archived.
 */
enum forgotten_answer forgotten_compare(struct forgotten *f, struct slice key, struct slice value);

/* The offset of the last record that decided such an order or archived it; -1: it is not forgotten. */
int64_t forgotten_changed(const struct forgotten *f, struct slice key);

/* Calls each() with the hash of every archived order's entry in a due list, as it was. */
typedef void forgotten_due_fn(uint64_t hash, void *arg);
void forgotten_each_due(const struct forgotten *f, forgotten_due_fn *each, void *arg);
uint64_t forgotten_hash(struct slice text);

/* How many no row was compared with, and the offset of the first one's decision. */
size_t forgotten_lacking(const struct forgotten *f, int64_t *offset);

#endif /* GUARDIAN_FORGOTTEN_H */
