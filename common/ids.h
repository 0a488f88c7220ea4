/*
 * ids.h - what names things: identifiers, routes, order ids, record hashes and the chain.
 *
 * Pure functions over the caller's memory; docs/protocol.md sections 1 and 2 are the source of
 * every rule.  Safe from any thread, except ids_order_unkeyed(), which draws random bytes.
 */
#ifndef COMMON_IDS_H
#define COMMON_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/slice.h"

enum {
    IDS_MAX = 64,       /* bytes of an item_id, user_id, payment_id, op_id, run_id */
    IDS_ORDER_LEN = 36, /* a UUID in text */
    IDS_LOG_LEN = 32,   /* a log id: hex */
    IDS_HASH_LEN = 16,  /* a hash or chain value in hex */
    IDS_PARTITIONS_MAX = 4096,
};

/* True for 1..64 printable ASCII characters without `"` `,` `;` `\`. */
bool ids_is_id(struct slice s);

/* True for a well-formed item_id, whatever partition a suffix names. */
bool ids_is_item(struct slice s);

/* True for 32 lower-case hex digits. */
bool ids_is_log(struct slice s);

/*
 * The partition of item_id among partitions (1..4096), or -1 when the id is malformed or its
 * suffix names a partition that there is not.
 */
int ids_route(struct slice item_id, int partitions);

/* True for a lower-case UUID of version 7 or 8 with RFC 9562's variant; sets what is not NULL. */
bool ids_parse_order(struct slice s, int *partition, bool *keyed);

/* Writes a fresh unkeyed order id (UUIDv7) and a NUL.  Fails when no random bytes can be had. */
bool ids_order_unkeyed(char out[IDS_ORDER_LEN + 1], int partition, int64_t wall_ms) ATTR_MUSTCHECK;

/* Writes the order id (UUIDv8) that (user, item, key) always has, and a NUL. */
void ids_order_keyed(char out[IDS_ORDER_LEN + 1], int partition, struct slice user_id,
                     struct slice item_id, struct slice key);

/* The hash of one raw record; ptr NULL in key or value means null. */
uint64_t ids_record_hash(int64_t offset, int64_t timestamp, struct slice key, struct slice value);

uint64_t ids_chain_start(struct slice log_id);
uint64_t ids_chain_next(uint64_t chain, uint64_t record_hash);

/* Hash and chain values in text: 16 lower-case hex digits. */
void ids_hash_format(char out[IDS_HASH_LEN + 1], uint64_t hash);
bool ids_hash_parse(struct slice s, uint64_t *hash) ATTR_MUSTCHECK;

#endif /* COMMON_IDS_H */
