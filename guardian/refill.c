#include "guardian/refill.h"

#include <stdio.h>
#include <string.h>

#include "common/outcome.h"

enum {
    TEXT_BYTES = 4 << 20, /* a piece and one more value, the largest of which has 64 kB */
    HOLDS_BYTES = 8192,
};

void refill_init(struct refill *r, refill_put_fn *put, void *arg)
{
    memset(r, 0, sizeof(*r));
    r->put = put;
    r->arg = arg;
    buf_init(&r->text, TEXT_BYTES);
    buf_init(&r->holds, HOLDS_BYTES);
}

void refill_fini(struct refill *r)
{
    buf_fini(&r->text);
    buf_fini(&r->holds);
}

bool refill_flush(struct refill *r, struct err *err)
{
    struct slice words[REFILL_WORDS_MAX];
    const struct refill_piece piece = {
        .name = r->name,
        .command = r->is_list ? "RPUSH" : "HSET",
        .words = words,
        .n = r->n,
    };
    const char *at = r->text.ptr;
    bool ok;

    if (r->n == 0) {
        return true;
    }
    if (!buf_ok(&r->text)) {
        return err_set(err, ERR_FATAL, "a value of %s is longer than any can be", r->name);
    }
    for (size_t i = 0; i < r->n; i++) {
        words[i] = (struct slice){at, r->lens[i]};
        at += r->lens[i];
    }
    ok = r->put(&piece, r->arg, err);
    r->n = 0;
    buf_clear(&r->text);
    return ok;
}

/* Makes room for n words of a key. */
static bool turn_to(struct refill *r, const char *name, bool is_list, size_t n, struct err *err)
{
    const bool is_full = r->n + n > REFILL_WORDS_MAX || r->text.len >= REFILL_BYTES_MAX;

    if ((is_full || strcmp(name, r->name) != 0) && !refill_flush(r, err)) {
        return false;
    }
    (void)snprintf(r->name, sizeof(r->name), "%s", name);
    r->is_list = is_list;
    r->fields++;
    return true;
}

static void add_word(struct refill *r, struct slice word)
{
    buf_put_slice(&r->text, word);
    r->lens[r->n++] = word.len;
}

static bool is_archived(struct slice value)
{
    struct item_entry item;

    return item_entry_parse(value, &item) && item.state == 'a';
}

bool refill_field(struct refill *r, const char *name, struct slice field, struct slice value,
                  struct err *err)
{
    if (!turn_to(r, name, false, 2, err)) {
        return false;
    }
    add_word(r, field);
    add_word(r, value);
    if (strcmp(name, "items") == 0) {
        r->items += is_archived(value) ? 0 : 1;
    } else if (strcmp(name, "payments") == 0) {
        r->payments++;
    } else if (strcmp(name, "orders") == 0) {
        while (value.len > 0) {
            (void)slice_cut(value, ';', &value);
            r->orders++;
        }
    }
    return true;
}

bool refill_due(struct refill *r, const struct snapshot_hold *hold, struct err *err)
{
    char name[REFILL_NAME_BYTES];
    size_t before;

    (void)snprintf(name, sizeof(name), "due:%.*s", (int)hold->hold_ms.len, hold->hold_ms.ptr);
    if (!turn_to(r, name, true, 1, err)) {
        return false;
    }
    before = r->text.len;
    buf_put_slice(&r->text, hold->due);
    buf_putc(&r->text, ' ');
    buf_put_slice(&r->text, hold->offset);
    buf_putc(&r->text, ' ');
    buf_put_slice(&r->text, hold->order_id);
    buf_putc(&r->text, ' ');
    buf_put_slice(&r->text, hold->user_id);
    r->lens[r->n++] = r->text.len - before;
    return true;
}

void refill_use_hold(struct refill *r, struct slice hold_ms)
{
    if (r->holds.len > 0) {
        buf_putc(&r->holds, ',');
    }
    buf_put_slice(&r->holds, hold_ms);
}

static void put_text(struct buf *out, const char *field, struct slice value)
{
    buf_puts(out, field);
    buf_putc(out, '\0');
    buf_put_slice(out, value);
    buf_putc(out, '\0');
}

static void put_number(struct buf *out, const char *field, int64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%lld", (long long)value);
    put_text(out, field, slice_str(text));
}

static void put_hash(struct buf *out, const char *field, uint64_t value)
{
    char text[IDS_HASH_LEN + 1];

    ids_hash_format(text, value);
    put_text(out, field, slice_str(text));
}

void refill_log(const struct refill *r, const struct progress *at, uint64_t last_hash,
                struct buf *out)
{
    put_text(out, "genesis", slice_str(at->genesis));
    put_number(out, "partitions", at->partitions);
    put_number(out, "rules", at->rules);
    put_hash(out, "chain", at->chain);
    put_hash(out, "last_hash", last_hash);
    put_number(out, "log_time", at->log_time);
    put_number(out, "items", r->items);
    put_number(out, "orders", r->orders);
    put_number(out, "payments", r->payments);
    put_text(out, "holds", buf_slice(&r->holds));
    put_number(out, "watermark", at->position);
}
