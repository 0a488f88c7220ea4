/*
 * peek.h - asking Redis, one call at a time, for those who may wait: writer threads and commands.
 *
 * Every answer comes with the watermark it is valid at.  Only scripts write.  A failed call closes
 * the connection; the next one makes a new one.  One thread at a time.
 */
#ifndef GUARDIAN_PEEK_H
#define GUARDIAN_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/options.h"
#include "common/slice.h"
#include "guardian/follow.h"

struct peek;

enum {
    PEEK_CURSOR_BYTES = 24,
};

/* redis is borrowed. */
struct peek *peek_create(const struct options_redis *redis, int64_t timeout_ms);
void peek_destroy(struct peek *p);

/* An answer; its slices live until peek_answer_fini().  Zero it before first use. */
struct peek_answer {
    bool has_state; /* false: Redis has no watermark for this partition, and nothing else is set */
    int64_t watermark;
    char cursor[PEEK_CURSOR_BYTES]; /* chunk: where to go on; "0": that was all */
    size_t n;
    struct slice *values; /* chunk: field, value, ...; lookup: per id, absent when there is none */
    void *reply;
};

void peek_answer_fini(struct peek_answer *a);

/* One of a partition's hashes: "items", "orders", "payments", "ops", "log". */
struct peek_hash {
    int partition;
    const char *name;
};

/* A piece of a hash, of about count fields; cursor "0" starts. */
bool peek_chunk(struct peek *p, struct peek_hash hash, const char *cursor, int count,
                struct peek_answer *a, struct err *err) ATTR_MUSTCHECK;

/* The values of n fields of a hash. */
bool peek_lookup(struct peek *p, struct peek_hash hash, const struct slice *fields, size_t n,
                 struct peek_answer *a, struct err *err) ATTR_MUSTCHECK;

/* Entries of one of a partition's lists, by index: from the first to the last, -1 being the list's. */
bool peek_list(struct peek *p, struct peek_hash list, int64_t first, int64_t last,
               struct peek_answer *a, struct err *err) ATTR_MUSTCHECK;

/* Genesis, watermark and the outbox's oldest entry, as of one moment. */
bool peek_probe(struct peek *p, int partition, struct follow_probe *probe,
                struct err *err) ATTR_MUSTCHECK;

/* A script's text, and the words of a call: n_keys keys, then arguments. */
struct peek_call {
    const unsigned char *script;
    size_t script_len;
    const struct slice *words;
    size_t n_words, n_keys;
};

/* Runs a script that answers with a text, of which as much as fits goes to text. */
bool peek_script(struct peek *p, const struct peek_call *call, char *text, size_t size,
                 struct err *err) ATTR_MUSTCHECK;

/* Redis' clock, in ms since 1970. */
bool peek_time(struct peek *p, int64_t *time_ms, struct err *err) ATTR_MUSTCHECK;

/* What position.lua says of a partition. */
enum peek_found {
    PEEK_STATE,   /* a state, at watermark */
    PEEK_REBUILD, /* a rebuild is under way, of which token and progress are told */
    PEEK_KEYS,    /* keys without a watermark */
    PEEK_NOTHING,
};

struct peek_look {
    enum peek_found found;
    char genesis[IDS_LOG_LEN + 1];
    int64_t watermark; /* -1: no state */
    int64_t first; /* record that its matcher has to read again: the outbox's, or the last one */
    char token[64];
    int64_t progress;
};

/* Fails where nothing may be said to be missing: a replica, a server that loads. */
bool peek_look(struct peek *p, int partition, struct peek_look *look,
               struct err *err) ATTR_MUSTCHECK;

/* The names of all keys of a partition; each, a struct slice, lives for the call. */
bool peek_each_key(struct peek *p, int partition, void (*each)(struct slice key, void *arg),
                   void *arg, struct err *err) ATTR_MUSTCHECK;

/* The whole name of a partition's key; returns its length. */
int peek_key(const struct peek *p, int partition, const char *name, char *out, size_t size);

#endif /* GUARDIAN_PEEK_H */
