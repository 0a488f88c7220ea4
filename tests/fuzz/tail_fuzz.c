/*
 * An entry of an outbox from anybody, beside two tails of the log: one from its genesis on, one that
 * begins later.  What differs is named by a record of the entry's own, with a text out of it; an entry
 * whose records the tail has is the log's if and only if nothing differs.
 */
#include "guardian/tail.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LOG_ID "00112233445566778899aabbccddeeff"

enum {
    RULES_FROM = 20, /* rules 2 from there on */
    LATER = 10,
    LAST = 22,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact)
{
    if (!fact) {
        abort();
    }
}

/* The state after a record, and the record's line, told by its offset alone. */
static struct fold_log log_at(int64_t offset)
{
    struct fold_log log = {.genesis = LOG_ID,
                           .rules = offset < RULES_FROM ? 1 : 2,
                           .watermark = offset,
                           .chain = 0x1000 + (uint64_t)offset,
                           .log_time = 100 * offset};

    if (offset < 0) {
        log.chain = ids_chain_start(SLICE_LIT(LOG_ID));
        log.log_time = 0;
    }
    return log;
}

static struct slice line_at(int64_t offset)
{
    static const char lines[] = "ABCDEFGHIJKLMNOPQRSTUVW";

    return (struct slice){lines + offset, 1};
}

static struct tail tail_from(int64_t first)
{
    struct tail t = {0};

    tail_clear(&t);
    for (int64_t offset = first; offset <= LAST; offset++) {
        const struct fold_log log = log_at(offset);

        tail_note(&t, &log, line_at(offset));
    }
    return t;
}

/* What the matcher writes into the outbox for these records. */
static void put_entry(struct buf *out, int64_t prev, int64_t to)
{
    const struct fold_log before = log_at(prev);
    char hash[IDS_HASH_LEN + 1];

    ids_hash_format(hash, before.chain);
    buf_printf(out, "%" PRId64 " %" PRId64 " %s %" PRId64, prev, to, hash, before.log_time);
    if (before.rules != 1) {
        buf_printf(out, " %" PRId64, before.rules);
    }
    buf_putc(out, '\n');
    for (int64_t offset = prev + 1; offset <= to; offset++) {
        buf_put_slice(out, line_at(offset));
        buf_putc(out, '\n');
    }
}

static void check(struct slice text, const struct tail_entry *entry, int64_t from)
{
    struct tail t = tail_from(from);
    struct slice said;
    struct buf real;
    const int64_t at = tail_compare(&t, entry, &said);

    require(at == -1 || (at > entry->prev && at <= entry->to));
    require(said.len == 0 || (said.ptr >= text.ptr && said.ptr + said.len <= text.ptr + text.len));
    if (entry->prev >= t.first && entry->to <= LAST) {
        buf_init(&real, 4096);
        put_entry(&real, entry->prev, entry->to);
        require((at == -1) == slice_eq(text, buf_slice(&real)));
        buf_fini(&real);
    }
    require(entry->to <= LAST || at != -1);
    tail_fini(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct slice text = {(const char *)data, size};
    struct tail_entry entry;

    if (!tail_parse(text, &entry)) {
        return 0;
    }
    require(entry.prev >= -1 && entry.to >= 0);
    require(entry.head.ptr == text.ptr && entry.head.len + entry.lines.len <= text.len);
    if (entry.prev < entry.to) { /* else it is no entry that follows another */
        check(text, &entry, 0);
        check(text, &entry, LATER);
    }
    return 0;
}
