/*
 * peers.h - how many connections each address has.
 *
 * A fixed table with room for as many addresses as there can be connections.  An IPv6 client owns
 * a /64, so its connections are counted together; IPv4 is given as a mapped IPv6 address.
 * Not thread-safe.
 */
#ifndef PRODUCER_PEERS_H
#define PRODUCER_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"

#define PEERS_ADDRESS_BYTES 16

struct peers;

/* At most connections (>= 1) in all, and limit for each address. */
struct peers *peers_create(size_t connections, size_t limit) ATTR_MUSTCHECK;

/* NULL is allowed. */
void peers_destroy(struct peers *p);

/* Whether the address has as many as it may. */
bool peers_is_full(const struct peers *p,
                   const uint8_t address[PEERS_ADDRESS_BYTES]) ATTR_MUSTCHECK;

/* Counts one more; false, with nothing changed, when the address or the table is at its limit. */
bool peers_enter(struct peers *p, const uint8_t address[PEERS_ADDRESS_BYTES]) ATTR_MUSTCHECK;

/* Undoes one peers_enter() that succeeded. */
void peers_leave(struct peers *p, const uint8_t address[PEERS_ADDRESS_BYTES]);

/* The part of an address that names a client: all of IPv4, 64 bits of IPv6. */
void peers_client(const uint8_t address[PEERS_ADDRESS_BYTES], uint8_t out[PEERS_ADDRESS_BYTES]);

#endif /* PRODUCER_PEERS_H */
