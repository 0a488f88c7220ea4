/*
 * A log whose head is gone cannot be refolded.  The fold starts from MySQL's position then, out of
 * MySQL's own tables: they are taken as they are, and the rest is checked against them.
 */
#include "guardian/anchor.h"
#include "guardian/snapshot.h"
#include "guardian/verify_impl.h"

#include <inttypes.h>
#include <string.h>

enum {
    HOLDS_BYTES = 8192,
};

struct loading {
    struct fold *fold;
    struct fold_log log;
    struct buf holds;
    bool has_log;
};

/* The holds come before all else, and are part of the log. */
static bool load_log(struct loading *l, struct err *err)
{
    if (l->has_log) {
        return true;
    }
    l->has_log = true;
    return fold_load_log(l->fold, &l->log, buf_slice(&l->holds), err);
}

static bool use_hold_ms(struct slice hold_ms, void *arg, struct err *err ATTR_UNUSED)
{
    struct loading *l = arg;

    if (l->holds.len > 0) {
        buf_putc(&l->holds, ',');
    }
    buf_put_slice(&l->holds, hold_ms);
    return true;
}

static bool take_field(enum record_table table, const struct record_field *field, void *arg,
                       struct err *err)
{
    struct loading *l = arg;
    const struct fold_field loaded = {field->name, field->value};

    return load_log(l, err) && fold_load(l->fold, verify_fold_table(table), &loaded, err);
}

static bool take_hold(const struct snapshot_hold *hold, void *arg, struct err *err)
{
    struct loading *l = arg;
    const struct fold_hold loaded = {hold->hold_ms, hold->order_id, hold->user_id};

    return fold_load_hold(l->fold, &loaded, err);
}

bool verify_load(struct verify *v, struct err *err)
{
    const struct progress *at = &v->progress[v->partition];
    struct loading l = {.log = {.watermark = at->position,
                                .partitions = at->partitions,
                                .rules = at->rules,
                                .chain = at->chain,
                                .log_time = at->log_time}};
    const struct snapshot_sink sink = {use_hold_ms, take_field, take_hold, &l};
    const struct pick_wait wait = {.patience_ms = v->settings->timeout_ms};
    struct anchor anchor;
    bool ok;

    memcpy(l.log.genesis, at->genesis, sizeof(l.log.genesis));
    buf_init(&l.holds, HOLDS_BYTES);
    l.fold = fold_create(v->partition, v->n_parts);
    ok = anchor_find(v->settings, v->partition, at, &wait, &anchor, err);
    l.log.last_hash = ok ? anchor.hash : 0;
    ok = ok && snapshot_read(v->db, v->partition, &sink, err) && load_log(&l, err);
    buf_fini(&l.holds);
    if (!ok) {
        fold_destroy(l.fold);
        return false;
    }
    v->n_loaded++;
    if (!anchor.is_proven) {
        report_unproven(&v->report,
                        "partition %d: that MySQL was made from this log up to %" PRId64
                        ": the log's head is gone, and so is the outcome of that record",
                        v->partition, at->position);
    }
    return refold_open(v->refold, v->partition, l.fold, at->position, err);
}
