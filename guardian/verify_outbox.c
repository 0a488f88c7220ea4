/*
 * The outbox: the outcomes of the records before the watermark that were not all told yet.  Their lines
 * are kept while the log is folded, from where the outbox began at the start; it only moves on.
 */
#include "guardian/verify_impl.h"

#include <inttypes.h>

#include "common/clock.h"

static void note_line(struct slice line, void *arg)
{
    struct verify *v = arg;
    struct fold_log log;

    fold_log(verify_fold(v), &log);
    tail_note(&v->tail, &log, line);
}

bool verify_begin_tail(struct verify *v, struct err *err)
{
    struct follow_probe probe;

    if (!peek_probe(v->redis, v->partition, &probe, err)) {
        return false;
    }
    tail_clear(&v->tail);
    if (!probe.is_known) {
        v->tail_from = v->progress[v->partition].position;
    } else {
        v->tail_from = probe.has_outbox ? probe.first_prev : probe.watermark;
    }
    refold_tell(v->refold, v->tail_from, note_line, v);
    return true;
}

void verify_opened_tail(struct verify *v)
{
    const int64_t position = refold_position(v->refold);

    if (position >= 0 && position >= v->tail_from) {
        note_line(SLICE_LIT(""), v);
    }
}

/* Compares an entry; prev: where the one before it ended, -2: it is the first. */
static bool compare_entry(struct verify *v, const struct tail_entry *entry, int64_t prev)
{
    struct slice text;
    int64_t offset;

    if ((prev != -2 && entry->prev != prev) || entry->to <= entry->prev ||
        entry->to > refold_position(v->refold)) {
        verify_differ(v, prev == -2 ? -1 : prev + 1,
                      "redis: outbox: an entry is not the next one: \"%.*s\"", (int)entry->head.len,
                      entry->head.ptr);
        return false;
    }
    offset = tail_compare(&v->tail, entry, &text);
    if (offset >= 0) {
        verify_differ(v, offset, "redis: outbox: the log does not say \"%.*s\"", (int)text.len,
                      text.ptr);
    }
    return true;
}

static void compare_outbox(struct verify *v, const struct peek_answer *outbox)
{
    const int64_t watermark = outbox->watermark;
    int64_t prev = -2;

    for (size_t i = 0; i < outbox->n; i++) {
        struct tail_entry entry;

        if (!tail_parse(outbox->values[i], &entry)) {
            verify_differ(v, prev == -2 ? -1 : prev + 1, "redis: outbox: not an entry: \"%.*s\"",
                          (int)outbox->values[i].len, outbox->values[i].ptr);
            return;
        }
        if (!compare_entry(v, &entry, prev)) {
            return;
        }
        v->compared[0]++;
        prev = entry.to;
    }
    if (prev != -2 && prev != watermark) {
        verify_differ(v, prev + 1, "redis: outbox: it ends at %" PRId64 ", not at %" PRId64, prev,
                      watermark);
    }
}

/* Whether it begins before what was kept: Redis went back, and the oldest will be told again soon. */
static bool went_back(const struct verify *v, const struct peek_answer *outbox)
{
    struct tail_entry first;

    return outbox->n > 0 && tail_parse(outbox->values[0], &first) && first.prev < v->tail_from;
}

/* All of it at one moment: it is short, outbox-max batches. */
static bool read_outbox(struct verify *v, struct peek_answer *outbox, struct err *err)
{
    return verify_read_list(v, "outbox", 0, -1, outbox, err);
}

bool verify_outbox(struct verify *v, struct err *err)
{
    const int64_t deadline_ms = clock_mono_ms() + v->settings->timeout_ms;
    struct peek_answer outbox = {0};
    bool ok = read_outbox(v, &outbox, err);

    while (ok && went_back(v, &outbox)) {
        if (clock_mono_ms() >= deadline_ms) {
            ok = err_set(err, ERR_RETRY,
                         "partition %d: redis went back: its outbox begins before %" PRId64,
                         v->partition, v->tail_from);
            break;
        }
        verify_pause();
        ok = read_outbox(v, &outbox, err);
    }
    if (ok) {
        compare_outbox(v, &outbox);
    }
    peek_answer_fini(&outbox);
    return ok;
}
