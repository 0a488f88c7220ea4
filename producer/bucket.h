/*
 * bucket.h - token buckets: how often a visitor may come, with memory that never grows.
 *
 * Four kinds: one global bucket, and one per item, per user and per address.  A visit takes a
 * token of each kind that it names, or, when one is empty, of none; the answer then says which
 * kind refused and when a token will be there.  A bucket refills at `rate` tokens a second up to
 * `burst`, and starts full.
 *
 * Each keyed kind has a table of fixed size.  When more keys come than it holds, keys begin to
 * share buckets: a newcomer gets the fullest bucket of the BUCKET_WAYS where it may live, as full
 * as it is, not a fresh one.  So forgetting a key never forgets what was taken, and whoever
 * invents keys gains nothing beyond these bounds, over any time t in seconds:
 *   - all keys together:  buckets * (burst + rate * t)
 *   - any one key:        BUCKET_WAYS * (burst + rate * t), and only by evicting itself
 * and newcomers are refused wrongly only while all the buckets of their set are empty.
 *
 * IPv6 addresses count by /64, the smallest network that a visitor is given.
 *
 * Pure: time is passed in (milliseconds, monotonic); time that stands still or goes back refills
 * nothing.  Not thread-safe.
 */
#ifndef PRODUCER_BUCKET_H
#define PRODUCER_BUCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/slice.h"

enum bucket_kind {
    BUCKET_IP,
    BUCKET_USER,
    BUCKET_ITEM,
    BUCKET_GLOBAL,
    BUCKET_KINDS,
};

enum {
    BUCKET_WAYS = 8,
    BUCKET_RATE_MAX = 1000000000, /* also of burst */
};

struct bucket_rate {
    int64_t rate;  /* tokens per second; 0: this kind is off */
    int64_t burst; /* at least 1 */
};

struct bucket_settings {
    struct bucket_rate rates[BUCKET_KINDS];
    size_t keys_max; /* buckets of each keyed kind, rounded up to a power of two; 16 bytes each */
    uint64_t seed;   /* of the hash: a secret, or whoever chooses keys can make them meet */
};

/* Who comes; a key with ptr NULL is not limited. */
struct bucket_visit {
    struct slice keys[BUCKET_GLOBAL]; /* by kind; BUCKET_IP: 16 bytes as in struct http_peer */
    bool is_global;                   /* takes a token of the global bucket too */
};

struct bucket_refusal {
    enum bucket_kind kind; /* the one that makes the visitor wait longest */
    int64_t wait_ms;       /* at least 1 */
};

struct bucket;

/* Rates beyond BUCKET_RATE_MAX are cut; tables of kinds that are off take no memory. */
struct bucket *bucket_create(const struct bucket_settings *settings) ATTR_MUSTCHECK;

/* NULL is allowed. */
void bucket_destroy(struct bucket *b);

/* Takes the tokens, or none and fills refusal. */
bool bucket_take(struct bucket *b, const struct bucket_visit *visit, int64_t now_ms,
                 struct bucket_refusal *refusal) ATTR_MUSTCHECK;

/* Bytes held by the tables: the same from bucket_create() to the end. */
size_t bucket_bytes(const struct bucket *b);

#endif /* PRODUCER_BUCKET_H */
