/*
 * A bucket is one number (the generic cell rate algorithm): the time at which it will be full.
 * A token costs one interval = 1 / rate; taking one moves that time an interval on, from now if it
 * lies in the past.  A bucket is empty when it would be full later than burst intervals from now.
 * So nothing is refilled by anybody: time passes.
 *
 * A table is a row of sets of BUCKET_WAYS entries.  A key is known by its keyed 64-bit hash, whose
 * low bits choose the set; two keys of equal hash would share a bucket, which harms nobody.  The
 * entry with the earliest time is the fullest, and the one that is handed to a newcomer.
 */
#include "producer/bucket.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/xmalloc.h"
#include "producer/peers.h"

static const int64_t NS_PER_S = 1000000000;
static const int64_t NS_PER_MS = 1000000;

struct entry {
    uint64_t key;    /* hash; 0: never used */
    int64_t full_ns; /* when the bucket is full again */
};

struct kind {
    int64_t interval_ns;  /* 0: off */
    int64_t tolerance_ns; /* (burst - 1) intervals */
    struct entry *entries;
    size_t set_mask;
};

struct bucket {
    struct kind kinds[BUCKET_KINDS];
    uint64_t seed;
    int64_t now_ns; /* the latest time that was passed in */
    size_t bytes;
};

static int64_t clamp(int64_t n, int64_t min, int64_t max)
{
    if (n < min) {
        return min;
    }
    return n > max ? max : n;
}

struct bucket *bucket_create(const struct bucket_settings *settings)
{
    assert(settings->keys_max <= SIZE_MAX / 4 / sizeof(struct entry));
    struct bucket *b = xcalloc(1, sizeof(*b));
    size_t sets = 1;
    while (sets * BUCKET_WAYS < settings->keys_max) {
        sets *= 2;
    }
    b->seed = settings->seed;
    for (int i = 0; i < BUCKET_KINDS; i++) {
        struct kind *kind = &b->kinds[i];
        int64_t rate = clamp(settings->rates[i].rate, 0, BUCKET_RATE_MAX);
        if (rate == 0) {
            continue;
        }
        size_t entries = i == BUCKET_GLOBAL ? BUCKET_WAYS : sets * BUCKET_WAYS;
        kind->interval_ns = NS_PER_S / rate;
        kind->tolerance_ns =
            (clamp(settings->rates[i].burst, 1, BUCKET_RATE_MAX) - 1) * kind->interval_ns;
        kind->set_mask = entries / BUCKET_WAYS - 1;
        kind->entries = xcalloc(entries, sizeof(*kind->entries));
        b->bytes += entries * sizeof(*kind->entries);
        for (size_t n = 0; n < entries; n++) {
            kind->entries[n].full_ns = INT64_MIN; /* long full: taken before any used one */
        }
    }
    return b;
}

void bucket_destroy(struct bucket *b)
{
    if (b == NULL) {
        return;
    }
    for (int i = 0; i < BUCKET_KINDS; i++) {
        free(b->kinds[i].entries);
    }
    free(b);
}

static uint64_t hash_of(const struct bucket *b, enum bucket_kind kind, struct slice key)
{
    uint8_t client[PEERS_ADDRESS_BYTES];
    uint64_t hash;
    if (kind == BUCKET_IP && key.len == PEERS_ADDRESS_BYTES) {
        peers_client((const uint8_t *)key.ptr, client);
        hash = XXH3_64bits_withSeed(client, sizeof(client), b->seed);
    } else {
        hash = XXH3_64bits_withSeed(key.ptr, key.len, b->seed);
    }
    return hash == 0 ? 1 : hash;
}

/* The bucket of key; for a new key, the fullest of its set changes hands. */
static struct entry *find_entry(const struct bucket *b, enum bucket_kind kind, struct slice key)
{
    const struct kind *k = &b->kinds[kind];
    uint64_t hash = hash_of(b, kind, key);
    struct entry *set = k->entries + ((size_t)hash & k->set_mask) * BUCKET_WAYS;
    struct entry *fullest = set;
    for (size_t i = 0; i < BUCKET_WAYS; i++) {
        if (set[i].key == hash) {
            return &set[i];
        }
        if (set[i].full_ns < fullest->full_ns) {
            fullest = &set[i];
        }
    }
    fullest->key = hash;
    return fullest;
}

/* How long until the bucket has a token; 0: it has one. */
static int64_t wait_ns(const struct kind *kind, const struct entry *entry, int64_t now_ns)
{
    if (entry->full_ns <= now_ns) {
        return 0;
    }
    int64_t wait = entry->full_ns - now_ns - kind->tolerance_ns;
    return wait > 0 ? wait : 0;
}

bool bucket_take(struct bucket *b, const struct bucket_visit *visit, int64_t now_ms,
                 struct bucket_refusal *refusal)
{
    struct entry *taken[BUCKET_KINDS] = {NULL};
    int64_t longest = 0;
    int64_t now_ns = now_ms * NS_PER_MS;
    if (now_ns > b->now_ns) {
        b->now_ns = now_ns;
    }
    now_ns = b->now_ns;
    for (int i = 0; i < BUCKET_KINDS; i++) {
        const struct kind *kind = &b->kinds[i];
        bool is_named = i == BUCKET_GLOBAL ? visit->is_global : visit->keys[i].ptr != NULL;
        if (kind->interval_ns == 0 || !is_named) {
            continue;
        }
        taken[i] =
            i == BUCKET_GLOBAL ? kind->entries : find_entry(b, (enum bucket_kind)i, visit->keys[i]);
        int64_t wait = wait_ns(kind, taken[i], now_ns);
        if (wait > longest) {
            longest = wait;
            refusal->kind = (enum bucket_kind)i;
        }
    }
    if (longest > 0) {
        refusal->wait_ms = (longest + NS_PER_MS - 1) / NS_PER_MS;
        return false;
    }
    for (int i = 0; i < BUCKET_KINDS; i++) {
        if (taken[i] != NULL) {
            int64_t from = taken[i]->full_ns > now_ns ? taken[i]->full_ns : now_ns;
            taken[i]->full_ns = from + b->kinds[i].interval_ns;
        }
    }
    return true;
}

size_t bucket_bytes(const struct bucket *b)
{
    return b->bytes;
}
