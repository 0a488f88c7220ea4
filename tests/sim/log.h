/*
 * log.h - the simulated topic of orders: what is appended, and what the rules make of it.
 */
#ifndef TESTS_SIM_LOG_H
#define TESTS_SIM_LOG_H

#include "tests/sim/world.h"

void log_start(struct world *w, struct shard *s);
void log_fini(struct shard *s);

/* A record at the end, with the broker's time.  Nothing when the log may not grow any more. */
bool log_has_room(const struct shard *s);
void log_append(struct world *w, struct shard *s, const char *value);

/* A record that fits what was before it: genesis, a sale, then anything. */
void log_append_something(struct world *w, struct shard *s);
void log_append_tick(struct world *w, struct shard *s);
void log_append_rules(struct world *w, struct shard *s);

/* Loses the end, and gets another one from now on; or all of it, and another genesis. */
void log_cut(struct world *w, struct shard *s);

/* Loses the head, which nobody should need any more. */
void log_trim(struct world *w, struct shard *s);

/* The record at offset in the log as it is now. */
static inline struct node *log_at(const struct shard *s, int64_t offset)
{
    return offset >= 0 && offset < s->n ? s->log[offset] : NULL;
}

/* True when node stands for a prefix of the log as it is now; NULL does. */
static inline bool log_has(const struct shard *s, const struct node *node)
{
    return node == NULL || log_at(s, node->offset) == node;
}

/* Any log's record with this chain after it. */
struct node *log_find(const struct shard *s, int64_t offset, uint64_t chain);

void log_check_fold(struct world *w, struct shard *s);

#endif /* TESTS_SIM_LOG_H */
