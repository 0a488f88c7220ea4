/*
 * The due lists.  Redis only puts entries at the end and takes them from the head, so each is in the
 * order of (due, offset).  An order that is paid or cancelled leaves its entry behind until its time;
 * an archive may even forget the order before that.
 */
#include "guardian/verify_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/xmalloc.h"

/* An entry that the fold knows no order for. */
struct stray {
    uint64_t hash;
    size_t i; /* in the list */
    bool is_archived;
};

/* One list. */
struct due {
    struct verify *verify;
    struct slice hold_ms;
    struct peek_answer list;
    size_t next; /* to be compared with the next hold */
    size_t n_lacking, n_foreign;
    int64_t first_lacking; /* offset of its decision */
    size_t first_foreign;  /* in the list */
    struct stray *strays;
    size_t n_strays, room;
};

struct moment {
    int64_t due, offset;
};

static bool parse(struct slice entry, struct moment *m)
{
    struct slice rest;
    const struct slice due = slice_cut(entry, ' ', &rest);
    const struct slice offset = slice_cut(rest, ' ', &rest);

    return slice_to_i64(due, 0, INT64_MAX, &m->due) &&
           slice_to_i64(offset, 0, INT64_MAX, &m->offset);
}

static bool is_before(const struct moment *a, const struct moment *b)
{
    return a->due < b->due || (a->due == b->due && a->offset < b->offset);
}

/* A live hold, in due order: is it in the list? */
static bool find_hold(struct slice hold_ms, struct slice entry, void *arg)
{
    struct due *d = arg;
    struct moment wanted, found;

    if (!slice_eq(hold_ms, d->hold_ms) || !parse(entry, &wanted)) {
        return true;
    }
    while (d->next < d->list.n &&
           (!parse(d->list.values[d->next], &found) || is_before(&found, &wanted))) {
        d->next++;
    }
    if (d->next < d->list.n && slice_eq(d->list.values[d->next], entry)) {
        d->next++;
    } else {
        d->first_lacking = d->n_lacking++ == 0 ? wanted.offset : d->first_lacking;
    }
    return true;
}

static void add_foreign(struct due *d, size_t i)
{
    if (d->n_foreign++ == 0 || i < d->first_foreign) {
        d->first_foreign = i;
    }
}

static void add_stray(struct due *d, size_t i)
{
    if (d->n_strays == d->room) {
        d->room = d->room == 0 ? 64 : 2 * d->room;
        d->strays = xreallocarray(d->strays, d->room, sizeof(*d->strays));
    }
    d->strays[d->n_strays++] = (struct stray){forgotten_hash(d->list.values[i]), i, false};
}

static int compare_strays(const void *a, const void *b)
{
    const uint64_t x = ((const struct stray *)a)->hash;
    const uint64_t y = ((const struct stray *)b)->hash;

    return (x > y) - (x < y);
}

static void pass_archived(uint64_t hash, void *arg)
{
    struct due *d = arg;
    const struct stray key = {.hash = hash};
    struct stray *found = bsearch(&key, d->strays, d->n_strays, sizeof(key), compare_strays);

    if (found != NULL) {
        found->is_archived = true;
    }
}

/* Of entries without an order only those of archived ones may stand there. */
static void judge_strays(struct due *d)
{
    if (d->n_strays == 0) {
        return;
    }
    qsort(d->strays, d->n_strays, sizeof(*d->strays), compare_strays);
    forgotten_each_due(d->verify->forgotten, pass_archived, d);
    for (size_t i = 0; i < d->n_strays; i++) {
        if (!d->strays[i].is_archived) {
            add_foreign(d, d->strays[i].i);
        }
    }
}

/* What stands there beside the live holds. */
static void find_foreign(struct due *d)
{
    const struct verify *v = d->verify;
    const int64_t loaded = verify_is_loaded(v) ? v->progress[v->partition].position : -1;
    struct moment last = {-1, -1};

    for (size_t i = 0; i < d->list.n; i++) {
        const struct slice entry = d->list.values[i];
        struct moment at;

        if (!parse(entry, &at) || !is_before(&last, &at)) {
            add_foreign(d, i);
            continue;
        }
        last = at;
        /* Which orders were forgotten in the head of a log that is gone, nobody knows. */
        if (fold_due(verify_fold(v), d->hold_ms, entry) == FOLD_DUE_UNKNOWN && at.offset > loaded) {
            add_stray(d, i);
        }
    }
    judge_strays(d);
}

static bool verify_list(struct due *d, struct err *err)
{
    struct verify *v = d->verify;
    char name[40];

    (void)snprintf(name, sizeof(name), "due:%.*s", (int)d->hold_ms.len, d->hold_ms.ptr);
    if (!verify_read_list(v, name, &d->list, err)) {
        return false;
    }
    fold_each_hold(verify_fold(v), find_hold, d);
    find_foreign(d);
    if (d->n_lacking > 0) {
        verify_differ(v, d->first_lacking,
                      "redis: %s lacks %zu live holds, or has them out of order", name,
                      d->n_lacking);
    }
    if (d->n_foreign > 0) {
        const struct slice first = d->list.values[d->first_foreign];

        verify_differ(v, -1,
                      "redis: %s has %zu entries that are not the log's, or not in their place: "
                      "\"%.*s\"",
                      name, d->n_foreign, (int)first.len, first.ptr);
    }
    return true;
}

bool verify_due(struct verify *v, struct err *err)
{
    struct buf holds;
    struct slice rest;
    bool ok = true;

    buf_init(&holds, 4096);
    fold_holds(verify_fold(v), &holds);
    rest = buf_slice(&holds);
    while (ok && rest.len > 0) {
        struct due due = {.verify = v, .hold_ms = slice_cut(rest, ',', &rest)};

        ok = verify_list(&due, err);
        peek_answer_fini(&due.list);
        free(due.strays);
    }
    buf_fini(&holds);
    return ok;
}
