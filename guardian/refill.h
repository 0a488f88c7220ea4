/*
 * refill.h - the rows of one partition as pieces to be written into Redis.
 *
 * Fields come key by key; the owner's put() gets them in pieces that one call of rebuild_put.lua
 * takes.  What goes into `log` is counted on the way and told at the end.
 *
 * Pure: no I/O of its own.
 */
#ifndef GUARDIAN_REFILL_H
#define GUARDIAN_REFILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/slice.h"
#include "guardian/progress.h"
#include "guardian/snapshot.h"

enum {
    REFILL_WORDS_MAX = 2000, /* per piece; Redis serves nobody else while it writes one */
    REFILL_BYTES_MAX = 256 << 10,
    REFILL_NAME_BYTES = 40,
};

/* One piece; borrowed for the call. */
struct refill_piece {
    const char *name;    /* of the key, without its prefix: "orders", "due:700" */
    const char *command; /* HSET or RPUSH */
    const struct slice *words;
    size_t n;
};

/* Returns false with err set when it could not be written: then nothing more is given. */
typedef bool refill_put_fn(const struct refill_piece *piece, void *arg, struct err *err);

struct refill {
    refill_put_fn *put;
    void *arg;
    char name[REFILL_NAME_BYTES];
    bool is_list;
    struct buf text; /* the words, one after the other */
    size_t lens[REFILL_WORDS_MAX];
    size_t n;
    int64_t items, orders, payments, fields;
    struct buf holds; /* `holds` of `log` */
};

/* Nothing may be read from it until refill_init(). */
void refill_init(struct refill *r, refill_put_fn *put, void *arg);
void refill_fini(struct refill *r);

/* A field of `items`, `orders`, `payments` or `ops`, in Redis's own text. */
bool refill_field(struct refill *r, const char *name, struct slice field, struct slice value,
                  struct err *err) ATTR_MUSTCHECK;

/* A live hold; those of one hold_ms come one after the other, in order of due and offset. */
bool refill_due(struct refill *r, const struct snapshot_hold *hold, struct err *err) ATTR_MUSTCHECK;

/* The next hold_ms in order of first use. */
void refill_use_hold(struct refill *r, struct slice hold_ms);

/* What is left goes out. */
bool refill_flush(struct refill *r, struct err *err) ATTR_MUSTCHECK;

/*
 * After the last flush: appends the fields and values of `log` to out, each followed by a NUL byte.
 */
void refill_log(const struct refill *r, const struct progress *at, uint64_t last_hash,
                struct buf *out);

#endif /* GUARDIAN_REFILL_H */
