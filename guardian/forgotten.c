#include "guardian/forgotten.h"

#include <stdlib.h>
#include <xxhash.h>

#include "common/xmalloc.h"

#define uthash_malloc(size) xmalloc(size)
#include <uthash.h>

struct entry {
    UT_hash_handle hh;
    uint64_t key, value, due; /* hashes; due: 0 when it was not archived */
    int64_t offset, at;       /* of its decision; of the record that forgot it */
    bool is_compared;
};

struct forgotten {
    struct entry *entries;
};

enum { TEXT_BYTES = 512 };

uint64_t forgotten_hash(struct slice text)
{
    return XXH3_64bits(text.ptr, text.len);
}

static uint64_t key_of(const struct fold_decision *d)
{
    char storage[TEXT_BYTES];
    struct buf text;

    buf_init_fixed(&text, storage, sizeof(storage));
    buf_put_slice(&text, d->order_id);
    buf_putc(&text, ' ');
    buf_put_slice(&text, d->user_id);
    buf_putc(&text, ' ');
    buf_put_slice(&text, d->item_id);
    return forgotten_hash(buf_slice(&text));
}

static uint64_t value_of(const struct fold_decision *d)
{
    const int64_t numbers[] = {d->reason, d->memory == FOLD_ARCHIVED ? 2 : 0, d->due, d->offset};
    char storage[TEXT_BYTES];
    struct buf text;

    buf_init_fixed(&text, storage, sizeof(storage));
    buf_put_i64(&text, d->qty);
    buf_putc(&text, ' ');
    buf_putc(&text, (char)d->state);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        buf_putc(&text, ' ');
        buf_put_i64(&text, numbers[i]);
    }
    return forgotten_hash(buf_slice(&text));
}

static uint64_t due_of(const struct fold_decision *d)
{
    char storage[TEXT_BYTES];
    struct buf text;

    if (d->memory != FOLD_ARCHIVED) {
        return 0;
    }
    buf_init_fixed(&text, storage, sizeof(storage));
    buf_put_i64(&text, d->due);
    buf_putc(&text, ' ');
    buf_put_i64(&text, d->offset);
    buf_putc(&text, ' ');
    buf_put_slice(&text, d->order_id);
    buf_putc(&text, ' ');
    buf_put_slice(&text, d->user_id);
    return forgotten_hash(buf_slice(&text));
}

/* NOLINTNEXTLINE(readability-function-cognitive-complexity): the macro is uthash's. */
static struct entry *find(const struct forgotten *f, uint64_t key)
{
    struct entry *e = NULL;

    HASH_FIND(hh, f->entries, &key, sizeof(key), e);
    return e;
}

/* NOLINTNEXTLINE(readability-function-cognitive-complexity): the macro is uthash's. */
static struct entry *add(struct forgotten *f, uint64_t key)
{
    struct entry *e = xcalloc(1, sizeof(*e));

    e->key = key;
    HASH_ADD(hh, f->entries, key, sizeof(e->key), e);
    return e;
}

/* NOLINTNEXTLINE(readability-function-cognitive-complexity): the macro is uthash's. */
static void drop(struct forgotten *f, struct entry *e)
{
    HASH_DEL(f->entries, e);
    free(e);
}

struct forgotten *forgotten_create(void)
{
    return xcalloc(1, sizeof(struct forgotten));
}

void forgotten_clear(struct forgotten *f)
{
    struct entry *e = f->entries;

    HASH_CLEAR(hh, f->entries);
    while (e != NULL) {
        struct entry *next = e->hh.next;

        free(e);
        e = next;
    }
}

void forgotten_destroy(struct forgotten *f)
{
    if (f != NULL) {
        forgotten_clear(f);
        free(f);
    }
}

void forgotten_note(const struct fold_decision *decision, void *arg)
{
    struct forgotten *f = arg;
    const uint64_t key = key_of(decision);
    struct entry *e = find(f, key);

    if (decision->memory == FOLD_REMEMBERED) {
        if (e != NULL) { /* a forgotten rejection, decided once more */
            drop(f, e);
        }
        return;
    }
    if (decision->memory == FOLD_REFUSED && e != NULL) {
        return; /* what was decided before stands */
    }
    if (e == NULL) {
        e = add(f, key);
    }
    e->value = value_of(decision);
    e->due = due_of(decision);
    e->offset = decision->offset;
    e->at = decision->at;
}

enum forgotten_answer forgotten_compare(struct forgotten *f, struct slice key, struct slice value)
{
    struct entry *e = find(f, forgotten_hash(key));

    if (e == NULL) {
        return FORGOTTEN_UNKNOWN;
    }
    e->is_compared = true;
    return e->value == forgotten_hash(value) ? FORGOTTEN_SAME : FORGOTTEN_DIFFERENT;
}

int64_t forgotten_changed(const struct forgotten *f, struct slice key)
{
    const struct entry *e = find(f, forgotten_hash(key));

    return e == NULL ? -1 : e->at;
}

void forgotten_each_due(const struct forgotten *f, forgotten_due_fn *each, void *arg)
{
    for (const struct entry *e = f->entries; e != NULL; e = e->hh.next) {
        if (e->due != 0) {
            each(e->due, arg);
        }
    }
}

size_t forgotten_lacking(const struct forgotten *f, int64_t *offset)
{
    size_t n = 0;

    for (const struct entry *e = f->entries; e != NULL; e = e->hh.next) {
        if (!e->is_compared) {
            *offset = n == 0 || e->offset < *offset ? e->offset : *offset;
            n++;
        }
    }
    return n;
}
