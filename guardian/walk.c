#include "guardian/walk.h"

enum {
    ENTRY_BYTES = 1 << 20, /* far more than any that we write; a longer one only costs the search */
};

void walk_init(struct walk *w)
{
    *w = (struct walk){.last = {-1, -1}};
    buf_init(&w->taken, ENTRY_BYTES);
}

void walk_fini(struct walk *w)
{
    buf_fini(&w->taken);
}

bool walk_parse(struct slice entry, struct walk_moment *m)
{
    struct slice rest;
    const struct slice due = slice_cut(entry, ' ', &rest);
    const struct slice offset = slice_cut(rest, ' ', &rest);

    return slice_to_i64(due, 0, INT64_MAX, &m->due) &&
           slice_to_i64(offset, 0, INT64_MAX, &m->offset);
}

bool walk_is_before(const struct walk_moment *a, const struct walk_moment *b)
{
    return a->due < b->due || (a->due == b->due && a->offset < b->offset);
}

/* Whether it stands behind all that was taken. */
static bool is_new(const struct walk *w, struct slice entry)
{
    struct walk_moment m;

    return walk_parse(entry, &m) && walk_is_before(&w->last, &m);
}

/* Whether the entry taken last is where it was. */
static bool is_still(const struct walk *w, const struct slice *entries, size_t n)
{
    const size_t known = (size_t)(w->at - w->from);

    return known == 0 || (known <= n && slice_eq(entries[known - 1], buf_slice(&w->taken)));
}

/* Whether the piece begins behind that entry, as far as one can tell: what is between was not read. */
static bool is_behind(const struct walk *w, const struct slice *entries, size_t n)
{
    struct walk_moment m;

    return w->from > 0 && (n == 0 || !walk_parse(entries[0], &m) || is_new(w, entries[0]));
}

static void take(struct walk *w, struct slice entry)
{
    struct walk_moment m;

    if (walk_parse(entry, &m) && walk_is_before(&w->last, &m)) {
        w->last = m;
    }
}

size_t walk_take(struct walk *w, const struct slice *entries, size_t n)
{
    size_t first = 0;

    if (!w->is_passing && is_still(w, entries, n)) {
        first = (size_t)(w->at - w->from);
    } else if (is_behind(w, entries, n)) {
        w->from = w->from < WALK_PIECE / 2 ? 0 : w->from - WALK_PIECE / 2;
        return n;
    } else {
        while (first < n && !is_new(w, entries[first])) {
            first++;
        }
        w->is_passing = first == n;
    }
    for (size_t i = first; i < n; i++) {
        take(w, entries[i]);
    }
    if (n > 0) {
        buf_clear(&w->taken);
        buf_put_slice(&w->taken, entries[n - 1]);
    }
    w->at = w->from + (int64_t)n;
    w->from = w->at < WALK_OVERLAP ? 0 : w->at - WALK_OVERLAP;
    w->is_over = n < WALK_PIECE;
    return first;
}
