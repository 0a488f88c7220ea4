#include "guardian/tail.h"

#include <inttypes.h>
#include <stdlib.h>
#include <xxhash.h>

#include "common/xmalloc.h"

enum { HEAD_BYTES = 160 };

void tail_fini(struct tail *t)
{
    free(t->at);
    *t = (struct tail){0};
}

void tail_clear(struct tail *t)
{
    t->n = 0;
    t->first = INT64_MAX;
}

static void add(struct tail *t, int64_t offset, const struct tail_record *record)
{
    if (t->n == t->room) {
        t->room = t->room == 0 ? 256 : 2 * t->room;
        t->at = xreallocarray(t->at, t->room, sizeof(*t->at));
    }
    if (t->n == 0) {
        t->first = offset;
    }
    t->at[t->n++] = *record;
}

void tail_note(struct tail *t, const struct fold_log *log, struct slice line)
{
    const struct tail_record record = {
        .line = XXH3_64bits(line.ptr, line.len),
        .chain = log->chain,
        .log_time = log->log_time,
        .rules = log->rules,
    };

    if (t->n == 0 && log->watermark == 0) {
        const struct tail_record before = {
            .chain = ids_chain_start(slice_str(log->genesis)),
            .rules = log->rules,
        };

        add(t, -1, &before);
    }
    add(t, log->watermark, &record);
}

bool tail_parse(struct slice text, struct tail_entry *entry)
{
    struct slice rest, prev, to;

    entry->head = slice_cut(text, '\n', &entry->lines);
    prev = slice_cut(entry->head, ' ', &rest);
    to = slice_cut(rest, ' ', &rest);
    return slice_to_i64(prev, -1, COMMAND_TIME_MAX, &entry->prev) &&
           slice_to_i64(to, 0, COMMAND_TIME_MAX, &entry->to);
}

static const struct tail_record *find(const struct tail *t, int64_t offset)
{
    return offset < t->first || offset - t->first >= (int64_t)t->n ? NULL
                                                                   : &t->at[offset - t->first];
}

static bool has_head(const struct tail *t, const struct tail_entry *entry)
{
    const struct tail_record *before = find(t, entry->prev);
    char hash[IDS_HASH_LEN + 1], storage[HEAD_BYTES];
    struct buf head;

    if (before == NULL) {
        return entry->prev < t->first;
    }
    ids_hash_format(hash, before->chain);
    buf_init_fixed(&head, storage, sizeof(storage));
    buf_printf(&head, "%" PRId64 " %" PRId64 " %s %" PRId64, entry->prev, entry->to, hash,
               before->log_time);
    if (before->rules != 1) {
        buf_printf(&head, " %" PRId64, before->rules);
    }
    return slice_eq(entry->head, buf_slice(&head));
}

int64_t tail_compare(const struct tail *t, const struct tail_entry *entry, struct slice *text)
{
    struct slice rest = entry->lines;

    *text = entry->head;
    if (!has_head(t, entry)) {
        return entry->prev + 1;
    }
    for (int64_t offset = entry->prev + 1; offset <= entry->to; offset++) {
        const struct tail_record *record = find(t, offset);
        const bool is_there = rest.len > 0;

        *text = slice_cut(rest, '\n', &rest);
        if (!is_there || rest.ptr == NULL) {
            return offset;
        }
        if (offset > t->first &&
            (record == NULL || record->line != XXH3_64bits(text->ptr, text->len))) {
            return offset;
        }
    }
    *text = rest;
    return rest.len == 0 ? -1 : entry->to;
}
