/*
 * walk.h - reading a list of Redis piece by piece, while it goes on at its end and loses its head.
 *
 * The list is a due list: entries begin with `due offset`, and each stands behind those that are less.
 * Every piece overlaps the one before it.  When the entry taken last is not found at its index, the
 * list has moved: then its place is looked for further in front, and from there on everything up to the
 * entry taken last is passed over.  A list that nothing moves is taken whole and once, whatever is in it.
 *
 * Pure.
 */
#ifndef GUARDIAN_WALK_H
#define GUARDIAN_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/buf.h"
#include "common/slice.h"

enum {
    WALK_PIECE = 1000,  /* entries of one piece, at most */
    WALK_OVERLAP = 500, /* so many may go at the head between two pieces */
};

/* What an entry begins with. */
struct walk_moment {
    int64_t due, offset;
};

struct walk {
    int64_t from; /* index of the piece to read next, of WALK_PIECE entries */
    bool is_over;

    int64_t at;              /* index behind the entry taken last, as the list was then */
    struct buf taken;        /* that entry */
    struct walk_moment last; /* the greatest taken */
    bool is_passing;         /* over what was taken: the last piece had nothing else */
};

void walk_init(struct walk *w);
void walk_fini(struct walk *w);

/*
 * The piece: all that the list has of [from, from + WALK_PIECE).  Returns which of its n entries is the
 * first to be taken; those behind it are, too.  n: none is.
 */
size_t walk_take(struct walk *w, const struct slice *entries, size_t n) ATTR_MUSTCHECK;

/* False: it does not begin like an entry. */
bool walk_parse(struct slice entry, struct walk_moment *m) ATTR_MUSTCHECK;
bool walk_is_before(const struct walk_moment *a, const struct walk_moment *b);

#endif /* GUARDIAN_WALK_H */
