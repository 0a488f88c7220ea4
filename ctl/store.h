/*
 * store.h - reading Redis, and finding an order's user in MySQL; blocking, for a tool.
 */
#ifndef CTL_STORE_H
#define CTL_STORE_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/command.h"
#include "common/err.h"
#include "ctl/ctl.h"

struct store {
    const struct ctl *c; /* borrowed */
    redisContext *redis; /* NULL: not connected */
};

/* Connects, with the settings' timeout.  store_close() is right after success and failure. */
bool store_open(struct store *store, const struct ctl *c, struct err *err) ATTR_MUSTCHECK;
void store_close(struct store *store);

/*
 * One field of a partition's hash (`orders`, `items`, `log`).  Returns 1 with *reply (the caller
 * frees it), 0 when there is no such field, -1 with err.
 */
int store_field(const struct store *store, int partition, const char *hash, struct slice field,
                redisReply **reply, struct err *err);

/* A whole hash, for lists of items; NULL with err on failure. */
redisReply *store_hash(const struct store *store, int partition, const char *hash,
                       struct err *err) ATTR_MUSTCHECK;

/*
 * Reads a partition's orders in Redis a piece at a time: each user, perhaps twice, with his orders
 * (order_entry_next()), until each returns false.  False then, and with err when Redis does not answer.
 */
typedef bool store_user_fn(struct slice user, struct slice orders, void *arg);
bool store_each_user(const struct store *store, int partition, store_user_fn *each, void *arg,
                     struct err *err) ATTR_MUSTCHECK;

/*
 * The user of an order: from MySQL, which knows orders by their id, or else by reading all of
 * the partition's orders in Redis.  Returns 1, 0 (nobody knows it) or -1 with err.
 */
int store_find_user(const struct store *store, int partition, const char *order_id,
                    struct command_text *user, struct err *err);

#endif /* CTL_STORE_H */
