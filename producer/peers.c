/*
 * Open addressing with linear probing in a table at most half full; an emptied slot is refilled
 * from behind, so there are no tombstones and a miss stays short.  The hash is keyed: who can
 * choose addresses cannot choose collisions.
 */
#include "producer/peers.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/hash.h"
#include "common/xmalloc.h"

struct slot {
    uint8_t client[PEERS_ADDRESS_BYTES];
    size_t count; /* 0: the slot is empty */
};

struct peers {
    struct slot *slots;
    size_t mask;
    size_t connections;
    size_t connections_max;
    size_t limit;
    uint64_t seed;
};

void peers_client(const uint8_t address[PEERS_ADDRESS_BYTES], uint8_t out[PEERS_ADDRESS_BYTES])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    bool is_ipv4 = memcmp(address, mapped, sizeof(mapped)) == 0;
    memset(out, 0, PEERS_ADDRESS_BYTES);
    memcpy(out, address, is_ipv4 ? PEERS_ADDRESS_BYTES : 8);
}

struct peers *peers_create(size_t connections, size_t limit)
{
    assert(connections > 0 && connections <= SIZE_MAX / 4 / sizeof(struct slot));
    struct peers *p = xcalloc(1, sizeof(*p));
    size_t size = 4;
    while (size < connections * 2) {
        size *= 2;
    }
    p->slots = xcalloc(size, sizeof(*p->slots));
    p->mask = size - 1;
    p->connections_max = connections;
    p->limit = limit;
    p->seed = hash_seed();
    return p;
}

void peers_destroy(struct peers *p)
{
    if (p == NULL) {
        return;
    }
    free(p->slots);
    free(p);
}

static size_t home_of(const struct peers *p, const uint8_t client[PEERS_ADDRESS_BYTES])
{
    return (size_t)XXH3_64bits_withSeed(client, PEERS_ADDRESS_BYTES, p->seed) & p->mask;
}

/* The slot of client, or the empty one where it would go. */
static size_t find_slot(const struct peers *p, const uint8_t client[PEERS_ADDRESS_BYTES])
{
    size_t i = home_of(p, client);
    while (p->slots[i].count > 0 && memcmp(p->slots[i].client, client, PEERS_ADDRESS_BYTES) != 0) {
        i = (i + 1) & p->mask;
    }
    return i;
}

bool peers_is_full(const struct peers *p, const uint8_t address[PEERS_ADDRESS_BYTES])
{
    uint8_t client[PEERS_ADDRESS_BYTES];
    peers_client(address, client);
    return p->slots[find_slot(p, client)].count >= p->limit;
}

bool peers_enter(struct peers *p, const uint8_t address[PEERS_ADDRESS_BYTES])
{
    uint8_t client[PEERS_ADDRESS_BYTES];
    peers_client(address, client);
    struct slot *slot = &p->slots[find_slot(p, client)];
    if (p->connections >= p->connections_max || slot->count >= p->limit) {
        return false;
    }
    memcpy(slot->client, client, sizeof(client));
    slot->count++;
    p->connections++;
    return true;
}

void peers_leave(struct peers *p, const uint8_t address[PEERS_ADDRESS_BYTES])
{
    uint8_t client[PEERS_ADDRESS_BYTES];
    peers_client(address, client);
    size_t hole = find_slot(p, client);
    assert(p->slots[hole].count > 0 && p->connections > 0);
    p->connections--;
    if (--p->slots[hole].count > 0) {
        return;
    }
    /* What stands behind the hole and may not be cut off from its home moves into it. */
    for (size_t i = (hole + 1) & p->mask; p->slots[i].count > 0; i = (i + 1) & p->mask) {
        size_t home = home_of(p, p->slots[i].client);
        if (((i - home) & p->mask) >= ((i - hole) & p->mask)) {
            p->slots[hole] = p->slots[i];
            p->slots[i].count = 0;
            hole = i;
        }
    }
}
