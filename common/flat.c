#include "common/flat.h"

#include "common/plain.h"

static void skip_blanks(struct plain *p)
{
    while (p->at < p->end &&
           (*p->at == ' ' || *p->at == '\n' || *p->at == '\r' || *p->at == '\t')) {
        p->at++;
    }
}

/* One that stands between blanks. */
static bool sign(struct plain *p, char c)
{
    skip_blanks(p);
    return plain_char(p, c);
}

static bool read_member(struct plain *p, struct flat *f)
{
    struct flat_member *m = &f->members[f->n];

    skip_blanks(p);
    if (f->n == FLAT_MEMBERS_MAX || !plain_text(p, &m->name) || !sign(p, ':') ||
        flat_find(f, m->name) != NULL) {
        return false;
    }
    f->n++;
    skip_blanks(p);
    m->text = (struct slice){NULL, 0};
    m->number = 0;
    return plain_peek(p) == '"' ? plain_text(p, &m->text) : plain_i64(p, &m->number);
}

bool flat_read(struct flat *f, struct slice json)
{
    struct plain p = plain_start(json);

    f->n = 0;
    if (json.len == 0 || !sign(&p, '{')) {
        return false;
    }
    if (!sign(&p, '}')) {
        do {
            if (!read_member(&p, f)) {
                return false;
            }
        } while (sign(&p, ','));
        if (!plain_char(&p, '}')) {
            return false;
        }
    }
    skip_blanks(&p);
    return plain_is_end(&p);
}

const struct flat_member *flat_find(const struct flat *f, struct slice name)
{
    for (size_t i = 0; i < f->n; i++) {
        if (slice_eq(f->members[i].name, name)) {
            return &f->members[i];
        }
    }
    return NULL;
}
