#include "matcher/replay.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

static bool load_entry(struct replay *r, size_t i, struct slice text, struct err *err)
{
    struct script_entry *e = &r->entries[i];

    if (!script_parse_entry(text, e, err)) {
        return false;
    }
    if (i > 0 && e->prev != r->entries[i - 1].to) {
        return err_set(err, ERR_FATAL, "outbox: a batch from %" PRId64 " follows one to %" PRId64,
                       e->prev, r->entries[i - 1].to);
    }
    if (e->lines.len == 0 || e->lines.ptr[e->lines.len - 1] != '\n') {
        return err_set(err, ERR_FATAL, "outbox: the batch from %" PRId64 " has no whole lines",
                       e->prev);
    }
    return true;
}

bool replay_load(struct replay *r, const struct slice *entries, size_t n, int64_t watermark,
                 struct err *err)
{
    size_t bytes = 0;
    size_t at = 0;

    replay_fini(r);
    for (size_t i = 0; i < n; i++) {
        bytes += entries[i].len;
    }
    r->text = xmalloc(bytes + 1);
    r->entries = xcalloc(n, sizeof(*r->entries));
    for (size_t i = 0; i < n; i++) {
        if (entries[i].len > 0) {
            memcpy(r->text + at, entries[i].ptr, entries[i].len);
        }
        if (!load_entry(r, i, (struct slice){r->text + at, entries[i].len}, err)) {
            replay_fini(r);
            return false;
        }
        at += entries[i].len;
    }
    if (n > 0 && r->entries[n - 1].to != watermark) {
        (void)err_set(err, ERR_FATAL, "outbox ends at %" PRId64 ", watermark is %" PRId64,
                      r->entries[n - 1].to, watermark);
        replay_fini(r);
        return false;
    }
    r->n = n;
    if (n > 0) {
        r->lines = r->entries[0].lines;
    }
    return true;
}

void replay_fini(struct replay *r)
{
    free(r->entries);
    free(r->text);
    *r = (struct replay){.entries = NULL};
}

bool replay_is_open(const struct replay *r)
{
    return r->at < r->n;
}

const struct script_entry *replay_oldest(const struct replay *r)
{
    return r->n == 0 ? NULL : &r->entries[0];
}

bool replay_take(struct replay *r, int64_t offset, struct slice *line, struct err *err)
{
    const struct script_entry *e = &r->entries[r->at];

    if (offset > e->to || !script_next_line(&r->lines, line) ||
        (r->lines.len == 0) != (offset == e->to)) {
        return err_set(err, ERR_FATAL,
                       "the record at %" PRId64 " does not fit the outbox's batch to %" PRId64,
                       offset, e->to);
    }
    return true;
}

bool replay_check(struct replay *r, uint64_t chain, int64_t log_time, struct err *err)
{
    const struct script_entry *next;

    if (r->lines.len > 0) {
        return true;
    }
    r->at++;
    if (r->at == r->n) {
        return true;
    }
    next = &r->entries[r->at];
    r->lines = next->lines;
    if (next->chain != chain || next->log_time != log_time) {
        return err_set(err, ERR_FATAL,
                       "the log up to %" PRId64 " is not the one that Redis was made from",
                       next->prev);
    }
    return true;
}
