/*
 * proof.h - total = available + held + sold of every item, three times over: in Redis, in MySQL and
 * refolded from the log.
 */
#ifndef GUARDIAN_PROOF_H
#define GUARDIAN_PROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/command.h"
#include "common/slice.h"

enum proof_source {
    PROOF_REDIS,
    PROOF_MYSQL,
    PROOF_LOG,
    PROOF_SOURCES,
};

struct proof_counters {
    bool is_known;
    int64_t total, available, held, sold;
};

struct proof_item {
    struct command_text item_id;
    struct proof_counters of[PROOF_SOURCES];
};

struct proof {
    struct proof_item *items; /* owned; by item_id in byte order */
    size_t n_items, room;
    int64_t *positions[PROOF_SOURCES]; /* owned; by partition; -1: none */
    int n_parts;
};

void proof_init(struct proof *p, int n_parts);
void proof_fini(struct proof *p);

/* Notes an item's value (as in Redis).  False when it is not well-formed. */
bool proof_add(struct proof *p, enum proof_source source, struct slice item_id, struct slice value);

/* Appends `"redis":{...},"mysql":{...},"log":{...},"items":{...}`. */
void proof_json(const struct proof *p, struct buf *out);

/* Appends a small table. */
void proof_text(const struct proof *p, struct buf *out);

#endif /* GUARDIAN_PROOF_H */
