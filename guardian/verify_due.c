/*
 * The due lists.  Redis only puts entries at the end and takes them from the head, so each is in the
 * order of (due, offset).  An order that is paid or cancelled leaves its entry behind until its time;
 * an archive may even forget the order before that.
 *
 * There may be millions of them, so a list is read in pieces, the fold following to the watermark of each.
 * Every entry must be the log's there; and of the holds that were live at the start, those must be in the
 * list which are still live when the place is reached where they would stand.
 */
#include "guardian/verify_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/xmalloc.h"
#include "guardian/walk.h"

/* Of what is kept of one list; its bound is the memory that there is. */
#define TEXTS_BYTES ((size_t)1 << 40)

/* An entry that the fold knows no order for. */
struct stray {
    uint64_t hash;
    size_t i;         /* in the order in which they were read */
    size_t text, len; /* in stray_texts */
    bool is_archived;
};

/* One list. */
struct due {
    struct verify *verify;
    struct slice hold_ms;
    char name[40];
    struct walk walk;
    struct walk_moment last; /* of the entries so far that are in their place */
    size_t n_entries;        /* so far */
    struct buf holds;        /* live ones at the start, as lines, in due order */
    struct slice wanted;     /* those that come behind the entries so far */
    int64_t start;           /* position of the fold then */
    size_t n_lacking, n_foreign;
    int64_t first_lacking; /* offset of its decision */
    size_t first_foreign;  /* which entry it is */
    struct buf foreign;    /* its text */
    struct stray *strays;
    size_t n_strays, room;
    struct buf stray_texts;
};

static bool add_hold(struct slice hold_ms, struct slice entry, void *arg)
{
    struct due *d = arg;

    if (slice_eq(hold_ms, d->hold_ms)) {
        buf_put_slice(&d->holds, entry);
        buf_putc(&d->holds, '\n');
    }
    return true;
}

/* The list has come to an entry, or (NULL) to its end: the holds up to there had to be in it. */
static void pass_holds(struct due *d, const struct slice *entry, const struct walk_moment *at)
{
    while (d->wanted.len > 0) {
        struct slice rest;
        const struct slice hold = slice_cut(d->wanted, '\n', &rest);
        struct walk_moment m;

        if (walk_parse(hold, &m)) {
            if (entry != NULL && walk_is_before(at, &m)) {
                return;
            }
            if ((entry == NULL || !slice_eq(hold, *entry)) &&
                fold_due(verify_fold(d->verify), d->hold_ms, hold) == FOLD_DUE_HELD) {
                d->first_lacking = d->n_lacking++ == 0 ? m.offset : d->first_lacking;
            }
        }
        d->wanted = rest;
    }
}

static void add_foreign(struct due *d, size_t i, struct slice entry)
{
    if (d->n_foreign++ == 0 || i < d->first_foreign) {
        d->first_foreign = i;
        buf_clear(&d->foreign);
        buf_put_slice(&d->foreign, entry);
    }
}

static void add_stray(struct due *d, size_t i, struct slice entry)
{
    if (d->n_strays == d->room) {
        d->room = d->room == 0 ? 64 : 2 * d->room;
        d->strays = xreallocarray(d->strays, d->room, sizeof(*d->strays));
    }
    d->strays[d->n_strays++] = (struct stray){
        .hash = forgotten_hash(entry), .i = i, .text = d->stray_texts.len, .len = entry.len};
    buf_put_slice(&d->stray_texts, entry);
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
            const struct stray *s = &d->strays[i];

            add_foreign(d, s->i, (struct slice){d->stray_texts.ptr + s->text, s->len});
        }
    }
}

/* The next entry, the fold being where it was read. */
static void judge_entry(struct due *d, struct slice entry)
{
    const struct verify *v = d->verify;
    const int64_t loaded = verify_is_loaded(v) ? v->progress[v->partition].position : -1;
    const size_t i = d->n_entries++;
    struct walk_moment at;

    if (!walk_parse(entry, &at) || !walk_is_before(&d->last, &at)) {
        add_foreign(d, i, entry);
        return;
    }
    d->last = at;
    pass_holds(d, &entry, &at);
    /* Which orders were forgotten in the head of a log that is gone, nobody knows. */
    if (fold_due(verify_fold(v), d->hold_ms, entry) == FOLD_DUE_UNKNOWN && at.offset > loaded) {
        add_stray(d, i, entry);
    }
}

/* Under steady traffic the list has no end; what came after the start is not asked for. */
static bool is_through(const struct due *d)
{
    return d->walk.is_over || (d->wanted.len == 0 && d->last.offset > d->start);
}

static bool read_pieces(struct due *d, struct err *err)
{
    struct peek_answer piece = {0};
    bool ok = true;

    while (ok && !is_through(d)) {
        const int64_t from = d->walk.from;

        ok = verify_read_list(d->verify, d->name, from, from + WALK_PIECE - 1, &piece, err);
        if (ok) {
            for (size_t i = walk_take(&d->walk, piece.values, piece.n); i < piece.n; i++) {
                judge_entry(d, piece.values[i]);
            }
        }
    }
    peek_answer_fini(&piece);
    return ok;
}

static bool verify_list(struct due *d, struct err *err)
{
    struct verify *v = d->verify;

    (void)snprintf(d->name, sizeof(d->name), "due:%.*s", (int)d->hold_ms.len, d->hold_ms.ptr);
    fold_each_hold(verify_fold(v), add_hold, d);
    d->wanted = buf_slice(&d->holds);
    d->start = refold_position(v->refold);
    if (!read_pieces(d, err)) {
        return false;
    }
    pass_holds(d, NULL, NULL);
    judge_strays(d);
    if (d->n_lacking > 0) {
        verify_differ(v, d->first_lacking,
                      "redis: %s lacks %zu live holds, or has them out of order", d->name,
                      d->n_lacking);
    }
    if (d->n_foreign > 0) {
        verify_differ(v, -1,
                      "redis: %s has %zu entries that are not the log's, or not in their place: "
                      "\"%.*s\"",
                      d->name, d->n_foreign, (int)d->foreign.len,
                      d->foreign.len == 0 ? "" : d->foreign.ptr);
    }
    return true;
}

static bool verify_holds(struct verify *v, struct slice hold_ms, struct err *err)
{
    struct due due = {.verify = v, .hold_ms = hold_ms, .last = {-1, -1}};
    bool ok;

    walk_init(&due.walk);
    buf_init(&due.holds, TEXTS_BYTES);
    buf_init(&due.foreign, TEXTS_BYTES);
    buf_init(&due.stray_texts, TEXTS_BYTES);
    ok = verify_list(&due, err);
    walk_fini(&due.walk);
    buf_fini(&due.holds);
    buf_fini(&due.foreign);
    buf_fini(&due.stray_texts);
    free(due.strays);
    return ok;
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
        const struct slice hold_ms = slice_cut(rest, ',', &rest);

        ok = verify_holds(v, hold_ms, err);
    }
    buf_fini(&holds);
    return ok;
}
