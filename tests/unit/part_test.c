/*
 * Drives matcher/part.c with a Redis and a log that live in memory: the scripts are played by
 * common/fold.c, which was written from the same rules as lua/apply.lua.  The last test walks at
 * random through lost replies, late scripts, fail-overs and crashes, and wants every outcome told.
 */
#include "matcher/part.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/fold.h"
#include "common/xmalloc.h"

enum {
    LOG_MAX = 400,
    TOLD_MAX = 8000,
    WORDS_MAX = 20000,
    ENTRIES_MAX = 400,
    LATE_MAX = 16,
    KEYS = 8,
};

static const char log_id[] = "00112233445566778899aabbccddeeff";

struct raw {
    int64_t offset, timestamp_ms;
    char value[400];
    bool is_log_append_time;
};

/* A batch in the outbox of the fake Redis. */
struct batch {
    int64_t prev, to;
    char *text;
};

/* A call of apply.lua, with copies of its words. */
struct copied {
    uint32_t call;
    size_t n;
    char *words[WORDS_MAX];
};

struct told {
    uint64_t seq;
    enum part_message_kind kind;
    int64_t offset;
    char *value;
    bool is_acked;
};

struct world {
    struct part_settings settings;
    struct part *part;
    struct part_time now;

    struct raw log[LOG_MAX];
    size_t n_log;
    int64_t begin;   /* of the log */
    int64_t trimmed; /* records before this offset are gone */

    bool is_there;
    const char *absence; /* without a state: what position.lua says first; NULL: nothing */
    int64_t watermark;
    struct batch outbox[ENTRIES_MAX];
    size_t n_outbox;
    bool is_full, is_broken;

    int64_t fetch; /* the next record to deliver; -1: none asked for */
    int fetches, ranges, reads, applies, empty_applies, ticks;
    bool no_delivery;
    struct told told[TOLD_MAX];
    size_t n_told;
    bool holds_acks;
    enum part_halt halt;
    char why[256];

    struct copied *pending; /* asked and not yet played */
    bool holds_calls;
    unsigned can;
};

/* ---- the log ---- */

static void append(struct world *w, const char *value)
{
    struct raw *r = &w->log[w->n_log];

    assert_true(w->n_log < LOG_MAX);
    *r = (struct raw){.offset = w->begin + (int64_t)w->n_log,
                      .timestamp_ms = w->now.wall_ms,
                      .is_log_append_time = true};
    (void)snprintf(r->value, sizeof(r->value), "%s", value);
    w->n_log++;
}

/* Only what is told from now on counts, besides the first n. */
static void keep_told(struct world *w, size_t n)
{
    while (w->n_told > n) {
        free(w->told[--w->n_told].value);
    }
}

static void append_genesis(struct world *w)
{
    char text[200];

    (void)snprintf(text, sizeof(text),
                   "{\"type\":\"genesis\",\"log_id\":\"%s\",\"partitions\":1,\"rules\":1}", log_id);
    append(w, text);
}

static void append_sale(struct world *w, int64_t hold_ms)
{
    char text[300];

    (void)snprintf(text, sizeof(text),
                   "{\"type\":\"sale\",\"op_id\":\"s%zu\",\"item_id\":\"x\",\"action\":\"open\","
                   "\"total\":1000,\"limit\":1000,\"hold_ms\":%" PRId64 "}",
                   w->n_log, hold_ms);
    append(w, text);
}

static void append_order(struct world *w, int user)
{
    char text[300];

    (void)snprintf(text, sizeof(text),
                   "{\"type\":\"order\",\"order_id\":\"01900000-0000-7000-8000-%012zx\","
                   "\"item_id\":\"x\",\"user_id\":\"u%d\",\"qty\":1,\"not_after\":%" PRId64 "}",
                   w->n_log, user, w->now.wall_ms + 3600000);
    append(w, text);
}

static void append_orders(struct world *w, int n)
{
    for (int i = 0; i < n; i++) {
        append_order(w, i);
    }
}

static struct fold_record record_of(const struct raw *r)
{
    return (struct fold_record){.offset = r->offset,
                                .timestamp = r->timestamp_ms,
                                .key = SLICE_LIT("k"),
                                .value = slice_str(r->value)};
}

/* The state after offset; lines of what came after `from` go to lines, if it is not NULL. */
static struct fold *fold_to(const struct world *w, int64_t offset, int64_t from, struct buf *lines)
{
    struct fold *f = fold_create(0, 1);
    struct buf line;
    struct err err;

    buf_init(&line, 1 << 20);
    for (size_t i = 0; i < w->n_log && w->log[i].offset <= offset; i++) {
        const struct fold_record rec = record_of(&w->log[i]);

        buf_clear(&line);
        if (!fold_apply(f, &rec, &line, &err)) {
            fail_msg("%s", err.text);
        }
        if (lines != NULL && rec.offset > from) {
            buf_put_slice(lines, buf_slice(&line));
            buf_putc(lines, '\n');
        }
    }
    buf_fini(&line);
    return f;
}

/* What every outcome must be, from the fold alone. */
static char *outcome_at(const struct world *w, int64_t offset)
{
    struct fold *f = fold_to(w, offset - 1, offset, NULL);
    const struct raw *r = &w->log[offset - w->begin];
    const struct fold_record rec = record_of(r);
    struct outcome_head head = {.offset = offset};
    struct fold_log log;
    struct buf line;
    struct buf out;
    struct err err;
    char *text;

    buf_init(&line, 1 << 20);
    buf_init(&out, 1 << 20);
    fold_log(f, &log);
    head.prev = log.watermark;
    assert_true(fold_apply(f, &rec, &line, &err));
    fold_log(f, &log);
    head.genesis = log.genesis;
    head.hash = log.last_hash;
    head.chain = log.chain;
    head.rules = log.rules;
    head.log_time = log.log_time;
    assert_true(outcome_format(&out, &head, fold_last_command(f), buf_slice(&line), &err));
    text = xmemdup0(out.ptr, out.len);
    buf_fini(&line);
    buf_fini(&out);
    fold_destroy(f);
    return text;
}

/* ---- Redis ---- */

static void drop_outbox(struct world *w, int64_t upto)
{
    size_t n = 0;

    while (n < w->n_outbox && w->outbox[n].to <= upto) {
        free(w->outbox[n].text);
        n++;
    }
    memmove(w->outbox, w->outbox + n, (w->n_outbox - n) * sizeof(w->outbox[0]));
    w->n_outbox -= n;
}

static void flush_redis(struct world *w)
{
    drop_outbox(w, INT64_MAX);
    w->is_there = false;
    w->watermark = -1;
}

static void put_position(const struct world *w, struct buf *out)
{
    struct fold *f = fold_to(w, w->watermark, 0, NULL);
    struct fold_log log;
    char chain[IDS_HASH_LEN + 1];

    fold_log(f, &log);
    ids_hash_format(chain, log.chain);
    buf_printf(out, "position %s %" PRId64 " %s %" PRId64 " %" PRId64, log.genesis, log.watermark,
               chain, log.rules, log.log_time);
    fold_destroy(f);
}

static bool is_current(const struct world *w, const struct copied *c)
{
    struct fold *f = fold_to(w, w->watermark, 0, NULL);
    struct fold_log log;
    char chain[IDS_HASH_LEN + 1];
    bool same;

    fold_log(f, &log);
    ids_hash_format(chain, log.chain);
    same = strcmp(c->words[KEYS + 1], log.genesis) == 0 &&
           strtoll(c->words[KEYS + 2], NULL, 10) == log.watermark &&
           strcmp(c->words[KEYS + 3], chain) == 0;
    fold_destroy(f);
    return same;
}

static bool first_hold(struct slice hold_ms, struct slice entry, void *arg)
{
    (void)hold_ms;
    *(int64_t *)arg = strtoll(entry.ptr, NULL, 10);
    return false;
}

static void push_batch(struct world *w, int64_t prev, int64_t to, struct slice lines)
{
    struct fold *f = fold_to(w, prev, 0, NULL);
    struct fold_log log;
    struct buf text;
    char chain[IDS_HASH_LEN + 1];

    fold_log(f, &log);
    ids_hash_format(chain, prev < 0 ? ids_chain_start(slice_str(log_id)) : log.chain);
    buf_init(&text, 1 << 20);
    buf_printf(&text, "%" PRId64 " %" PRId64 " %s %" PRId64 "\n", prev, to, chain, log.log_time);
    buf_put_slice(&text, lines);
    assert_true(w->n_outbox < ENTRIES_MAX);
    w->outbox[w->n_outbox++] = (struct batch){prev, to, xmemdup0(text.ptr, text.len)};
    buf_fini(&text);
    fold_destroy(f);
}

static void put_ok(struct world *w, struct slice lines, struct buf *out)
{
    struct fold *f = fold_to(w, w->watermark, 0, NULL);
    struct fold_log log;
    int64_t due = 0;

    fold_log(f, &log);
    fold_each_hold(f, first_hold, &due);
    buf_printf(out, "ok %" PRId64 " %" PRId64 " %" PRId64 " ", w->watermark, log.log_time, due);
    if (w->n_outbox == 0) {
        buf_puts(out, "-");
    } else {
        buf_printf(out, "%" PRId64, w->outbox[0].prev);
    }
    buf_printf(out, " %zu\n", w->n_outbox);
    buf_put_slice(out, lines);
    fold_destroy(f);
}

/* Plays apply.lua; the reply goes to out. */
static void play_apply(struct world *w, const struct copied *c, struct buf *out)
{
    const int64_t prev = strtoll(c->words[KEYS + 2], NULL, 10);
    const int64_t to = strtoll(c->words[KEYS + 4], NULL, 10);
    const int64_t acked = strtoll(c->words[KEYS + 7], NULL, 10);
    const int64_t bound = strtoll(c->words[KEYS + 8], NULL, 10);
    const int64_t count = strtoll(c->words[KEYS + 10], NULL, 10);
    struct buf lines;

    if (!w->is_there && (prev != -1 || count == 0 || w->absence != NULL)) {
        buf_puts(out, "absent");
        return;
    }
    if (w->is_there && !is_current(w, c)) {
        put_position(w, out);
        return;
    }
    drop_outbox(w, acked);
    if (count > 0 && (w->is_full || w->n_outbox >= (size_t)bound)) {
        buf_puts(out, "full outbox");
        return;
    }
    buf_init(&lines, 1 << 20);
    if (count > 0) {
        fold_destroy(fold_to(w, to, prev, &lines));
        push_batch(w, prev, to, buf_slice(&lines));
        w->watermark = to;
        w->is_there = true;
    }
    put_ok(w, buf_slice(&lines), out);
    buf_fini(&lines);
}

static void answer_position(struct world *w, uint32_t call)
{
    struct slice fields[SCRIPT_POSITION_FIELDS + ENTRIES_MAX];
    struct fold *f;
    struct fold_log log;
    char texts[5][40];

    w->reads++;
    if (!w->is_there) {
        fields[0] = slice_str(w->absence);
        part_position(w->part, call, fields, w->absence != NULL, w->now);
        return;
    }
    f = fold_to(w, w->watermark, 0, NULL);
    fold_log(f, &log);
    (void)snprintf(texts[0], 40, "%" PRId64, log.watermark);
    ids_hash_format(texts[1], log.chain);
    ids_hash_format(texts[2], log.last_hash);
    (void)snprintf(texts[3], 40, "%" PRId64, log.log_time);
    (void)snprintf(texts[4], 40, "%" PRId64, log.rules);
    fields[0] = slice_str(log.genesis);
    for (int i = 0; i < 5; i++) {
        fields[i + 1] = slice_str(texts[i]);
    }
    fields[6] = SLICE_LIT("1");
    for (size_t i = 0; i < w->n_outbox; i++) {
        fields[7 + i] = slice_str(w->outbox[i].text);
    }
    part_position(w->part, call, fields, 7 + w->n_outbox, w->now);
    fold_destroy(f);
}

static struct copied *copy_call(const struct part_action *a)
{
    struct copied *c = xcalloc(1, sizeof(*c));

    assert_true(a->words->n <= WORDS_MAX);
    c->call = a->call;
    c->n = a->words->n;
    for (size_t i = 0; i < c->n; i++) {
        c->words[i] = xmemdup0(a->words->list[i].ptr, a->words->list[i].len);
    }
    return c;
}

static void free_call(struct copied *c)
{
    for (size_t i = 0; c != NULL && i < c->n; i++) {
        free(c->words[i]);
    }
    free(c);
}

static void answer_apply(struct world *w, struct copied *c, bool is_lost)
{
    struct buf reply;

    buf_init(&reply, 4 << 20);
    play_apply(w, c, &reply);
    if (is_lost) {
        part_unanswered(w->part, c->call, false, w->now);
    } else {
        part_applied(w->part, c->call, buf_slice(&reply), w->now);
    }
    buf_fini(&reply);
    free_call(c);
}

/* ---- the loop ---- */

static void take_call(struct world *w, const struct part_action *a)
{
    struct copied *c;

    if (a->type == PART_READ) {
        assert_int_equal(a->n_keys, 7);
        answer_position(w, a->call);
        return;
    }
    assert_int_equal(a->n_keys, KEYS);
    w->applies++;
    w->empty_applies += a->n_commands == 0;
    c = copy_call(a);
    if (w->holds_calls) {
        assert_null(w->pending); /* one in flight */
        w->pending = c;
    } else {
        answer_apply(w, c, false);
    }
}

static void take_message(struct world *w, const struct part_message *m)
{
    struct told *t = &w->told[w->n_told++];

    assert_true(w->n_told <= TOLD_MAX);
    *t = (struct told){.seq = m->seq, .kind = m->kind, .offset = m->offset};
    t->value = xmemdup0(m->value.ptr, m->value.len);
    part_published(w->part);
}

static void act(struct world *w, const struct part_action *a)
{
    switch (a->type) {
    case PART_READ:
    case PART_APPLY:
        take_call(w, a);
        break;
    case PART_FETCH:
        w->fetches++;
        w->fetch = a->offset;
        break;
    case PART_RANGE:
        w->ranges++;
        part_range(w->part, true, w->begin > w->trimmed ? w->begin : w->trimmed,
                   w->begin + (int64_t)w->n_log, w->now);
        break;
    case PART_PUBLISH:
        take_message(w, &a->message);
        break;
    case PART_TICK:
        w->ticks++;
        append(w, "{\"type\":\"tick\"}");
        part_ticked(w->part);
        break;
    case PART_HALT:
        assert_int_equal(w->halt, PART_HALT_NONE); /* told once */
        w->halt = a->halt;
        (void)snprintf(w->why, sizeof(w->why), "%s", a->text);
        break;
    }
}

static void ack_all(struct world *w)
{
    for (size_t i = 0; i < w->n_told; i++) {
        if (!w->told[i].is_acked) {
            w->told[i].is_acked = true;
            part_acked(w->part, w->told[i].seq, w->told[i].kind);
        }
    }
}

static bool deliver(struct world *w)
{
    const struct raw *r;
    struct part_record record;

    if (w->no_delivery || w->fetch < w->begin || w->fetch < w->trimmed ||
        w->fetch >= w->begin + (int64_t)w->n_log || !part_wants(w->part)) {
        return false;
    }
    r = &w->log[w->fetch - w->begin];
    w->fetch++;
    record = (struct part_record){.offset = r->offset,
                                  .timestamp_ms = r->timestamp_ms,
                                  .is_log_append_time = r->is_log_append_time,
                                  .key = SLICE_LIT("k"),
                                  .value = slice_str(r->value)};
    part_record(w->part, &record, w->now);
    return true;
}

/* Until nothing happens any more at this moment. */
static void settle(struct world *w)
{
    struct part_action a;
    bool went_on = true;

    for (int turns = 0; went_on; turns++) {
        assert_true(turns < 10000);
        went_on = false;
        while (part_next(w->part, w->now, w->can, &a)) {
            act(w, &a);
            went_on = true;
        }
        while (deliver(w)) {
            went_on = true;
        }
        if (!w->holds_acks) {
            ack_all(w);
        }
    }
}

static void pass(struct world *w, int64_t ms)
{
    for (int64_t end = w->now.mono_ms + ms; w->now.mono_ms < end;) {
        w->now.mono_ms += 50;
        w->now.wall_ms += 50;
        settle(w);
    }
}

/* ---- life ---- */

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));

    w->settings = (struct part_settings){.key_prefix = "t",
                                         .partitions = 1,
                                         .batch_max = 8,
                                         .queue_max = 64,
                                         .unacked_max = 256,
                                         .outbox_max = 64,
                                         .remembered_max = 1000000,
                                         .clock_skew_max_ms = 60000,
                                         .tick_min_ms = 250,
                                         .tick_max_ms = 5000,
                                         .idle_ms = 1000};
    w->now = (struct part_time){.mono_ms = 5000000, .wall_ms = 1700000000000};
    w->watermark = -1;
    w->fetch = -1;
    w->can = PART_CAN_CALL | PART_CAN_PUBLISH;
    w->part = part_create(&w->settings, 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    part_destroy(w->part);
    drop_outbox(w, INT64_MAX);
    keep_told(w, 0);
    free_call(w->pending);
    free(w);
    return 0;
}

/* Genesis, a sale, n orders, all of it applied and told. */
static void begin(struct world *w, int n)
{
    append_genesis(w);
    append_sale(w, 3600000);
    append_orders(w, n);
    part_assign(w->part, w->now);
    pass(w, 1500);
}

static int64_t log_end(const struct world *w)
{
    return w->begin + (int64_t)w->n_log - 1;
}

/* As a reader sees it: whole, in order, and always the bytes that the fold says. */
static void check_told(const struct world *w)
{
    int64_t position = -1;
    char **truth = xcalloc(w->n_log, sizeof(*truth));

    for (size_t i = 0; i < w->n_told; i++) {
        const struct told *t = &w->told[i];

        if (t->kind != PART_OUTCOME) {
            continue;
        }
        if (truth[t->offset] == NULL) {
            truth[t->offset] = outcome_at(w, t->offset);
        }
        assert_string_equal(t->value, truth[t->offset]);
        if (t->offset == position + 1) {
            position = t->offset;
        }
    }
    assert_int_equal(position, log_end(w));
    for (size_t i = 0; i < w->n_log; i++) {
        free(truth[i]);
    }
    free(truth);
}

static void check_well(const struct world *w)
{
    if (w->halt != PART_HALT_NONE) {
        fail_msg("halted: %s: %s", part_halt_name(w->halt), w->why);
    }
    assert_int_equal(w->watermark, log_end(w));
    check_told(w);
}

static struct part_view look(const struct world *w)
{
    struct part_view view;

    part_look(w->part, &view);
    return view;
}

/* ---- tests: the ordinary way ---- */

static void test_starts_from_genesis(void **state)
{
    struct world *w = *state;

    append_genesis(w);
    append_sale(w, 3600000);
    append_orders(w, 20);
    part_assign(w->part, w->now);
    settle(w);
    assert_int_equal(w->reads, 1);
    assert_int_equal(w->applies, 0); /* nothing there once is not enough */
    pass(w, 900);
    assert_int_equal(w->reads, 1);
    pass(w, 200);
    assert_int_equal(w->reads, 2);
    check_well(w);
    assert_int_equal(w->n_told, 22); /* each once */
    assert_int_equal(w->fetch, 22);
}

static void test_waits_for_the_first_record(void **state)
{
    struct world *w = *state;

    part_assign(w->part, w->now);
    pass(w, 5000);
    assert_int_equal(w->applies, 0);
    append_genesis(w);
    append_sale(w, 1000);
    pass(w, 100);
    check_well(w);
}

static void test_idle_trims_the_outbox(void **state)
{
    struct world *w = *state;

    begin(w, 10);
    pass(w, 1100);
    assert_int_equal(w->n_outbox, 0);
    assert_true(w->empty_applies > 0);
    w->empty_applies = 0;
    pass(w, 10000);
    assert_in_range(w->empty_applies, 9, 11); /* once a second */
}

static void test_acked_is_contiguous(void **state)
{
    struct world *w = *state;

    w->holds_acks = true;
    begin(w, 10);
    pass(w, 1100);
    assert_int_equal(w->n_outbox, 2);
    /* All but the first: nothing may be dropped. */
    for (size_t i = 1; i < w->n_told; i++) {
        part_acked(w->part, w->told[i].seq, PART_OUTCOME);
    }
    pass(w, 2000);
    assert_int_equal(w->n_outbox, 2);
    part_acked(w->part, w->told[0].seq, PART_OUTCOME);
    pass(w, 2000);
    assert_int_equal(w->n_outbox, 0);
}

static void test_batches_are_cut_at_mark_and_rules(void **state)
{
    struct world *w = *state;

    append_genesis(w);
    append_sale(w, 3600000);
    append(w, "{\"type\":\"mark\",\"run_id\":\"r\"}");
    append_orders(w, 3);
    append(w, "{\"type\":\"rules\",\"rules\":1}");
    append_orders(w, 9);
    w->holds_acks = true;
    part_assign(w->part, w->now);
    pass(w, 1500);
    assert_int_equal(w->n_outbox, 5);
    assert_int_equal(w->outbox[0].to, 1);
    assert_int_equal(w->outbox[1].to, 2);
    assert_int_equal(w->outbox[2].to, 6);
    assert_int_equal(w->outbox[3].to, 14);
    assert_int_equal(w->outbox[4].to, 15);
}

static void test_malformed_goes_to_dead_first(void **state)
{
    struct world *w = *state;

    begin(w, 1);
    w->holds_acks = true;
    keep_told(w, 0);
    append(w, "{nonsense");
    pass(w, 100);
    assert_int_equal(w->n_told, 2);
    assert_int_equal(w->told[0].kind, PART_DEAD);
    assert_string_equal(w->told[0].value, "{nonsense");
    assert_int_equal(w->told[1].kind, PART_OUTCOME);
    part_acked(w->part, w->told[1].seq, PART_OUTCOME);
    pass(w, 2100);
    assert_int_equal(w->n_outbox, 1); /* not acknowledged before its dead letter is */
    part_acked(w->part, w->told[0].seq, PART_DEAD);
    pass(w, 2100);
    assert_int_equal(w->n_outbox, 0);
}

/* ---- tests: replies that do not come ---- */

static void test_reply_lost_before_execution(void **state)
{
    struct world *w = *state;
    struct copied *first;

    begin(w, 5);
    w->holds_calls = true;
    append_orders(w, 3);
    settle(w);
    first = w->pending;
    w->pending = NULL;
    assert_non_null(first);
    part_unanswered(w->part, first->call, false, w->now);
    append_orders(w, 3);
    pass(w, 100);
    /* The same batch, though more is there by now. */
    assert_int_equal(first->n, w->pending->n);
    for (size_t i = KEYS + 1; i < first->n; i++) {
        if (i != KEYS + 7) { /* acked may have grown */
            assert_string_equal(first->words[i], w->pending->words[i]);
        }
    }
    w->holds_calls = false;
    answer_apply(w, w->pending, false);
    w->pending = NULL;
    pass(w, 100);
    check_well(w);
    /* The first one runs after all: the compare-and-set refuses it, and its answer is nobody's. */
    answer_apply(w, first, false);
    pass(w, 100);
    check_well(w);
    assert_int_equal(part_counted(w->part)->mismatches, 0);
}

static void test_reply_lost_after_execution(void **state)
{
    struct world *w = *state;

    begin(w, 5);
    w->holds_calls = true;
    append_orders(w, 12);
    settle(w);
    w->holds_calls = false;
    answer_apply(w, w->pending, true);
    w->pending = NULL;
    pass(w, 500);
    check_well(w);
    assert_int_equal(part_counted(w->part)->mismatches, 1);
    assert_true(part_counted(w->part)->republished > 0);
}

static void test_refused_batches_are_tried_again(void **state)
{
    struct world *w = *state;

    begin(w, 2);
    w->holds_calls = true;
    append_orders(w, 2);
    settle(w);
    for (int i = 0; i < 20; i++) {
        const int before = w->applies;

        part_unanswered(w->part, w->pending->call, true, w->now);
        free_call(w->pending);
        w->pending = NULL;
        pass(w, 1000);
        assert_int_equal(w->applies, before + 1);
    }
    w->holds_calls = false;
    answer_apply(w, w->pending, false);
    w->pending = NULL;
    pass(w, 100);
    check_well(w);
}

/* Out of memory Redis still takes what adds nothing, so what is acknowledged makes room. */
static void test_refused_batches_let_the_outbox_be_trimmed(void **state)
{
    struct world *w = *state;

    begin(w, 2);
    assert_int_equal(w->n_outbox, 1);
    w->holds_calls = true;
    append_orders(w, 2);
    settle(w);
    part_unanswered(w->part, w->pending->call, true, w->now);
    free_call(w->pending);
    w->pending = NULL;
    w->empty_applies = 0;
    pass(w, 1000);
    assert_int_equal(w->empty_applies, 1);
    w->holds_calls = false;
    answer_apply(w, w->pending, false);
    w->pending = NULL;
    assert_int_equal(w->n_outbox, 0);
    pass(w, 100);
    check_well(w);
}

static void test_full_waits_for_acknowledgements(void **state)
{
    struct world *w = *state;

    w->settings.outbox_max = 2;
    w->holds_acks = true;
    begin(w, 30);
    assert_int_equal(w->n_outbox, 2);
    assert_int_equal(w->watermark, 15);
    pass(w, 5000);
    assert_in_range(part_counted(w->part)->full, 4, 8); /* asked about once a second */
    ack_all(w);
    w->holds_acks = false;
    settle(w); /* at once, not after the second */
    check_well(w);
}

static void test_unacked_outcomes_are_bounded(void **state)
{
    struct world *w = *state;

    w->settings.unacked_max = 10;
    w->holds_acks = true;
    begin(w, 30);
    assert_int_equal(look(w).unacked, 10);
    w->holds_acks = false;
    pass(w, 500);
    check_well(w);
}

static void test_reading_ahead_is_bounded(void **state)
{
    struct world *w = *state;

    begin(w, 1);
    w->can = 0;
    append_orders(w, 100);
    pass(w, 1000);
    assert_int_equal(look(w).unapplied, 64);
    w->can = PART_CAN_CALL | PART_CAN_PUBLISH;
    pass(w, 1000);
    check_well(w);
}

/* ---- tests: Redis elsewhere ---- */

static void test_starts_at_the_watermark(void **state)
{
    struct world *w = *state;

    begin(w, 20);
    pass(w, 2000);
    assert_int_equal(w->n_outbox, 0);
    part_destroy(w->part);
    w->part = part_create(&w->settings, 0);
    keep_told(w, 0);
    append_orders(w, 2);
    part_assign(w->part, w->now);
    settle(w);
    assert_int_equal(w->fetch, 24);
    assert_int_equal(w->watermark, 23);
    assert_int_equal(w->n_told, 2); /* only what is new */
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(w->told[i].offset, 22 + (int64_t)i);
    }
}

static void test_tells_what_the_outbox_holds(void **state)
{
    struct world *w = *state;

    w->can = PART_CAN_CALL;
    begin(w, 20);
    assert_int_equal(w->n_told, 0);
    assert_int_equal(w->watermark, 21);
    part_destroy(w->part);
    w->part = part_create(&w->settings, 0);
    w->can |= PART_CAN_PUBLISH;
    part_assign(w->part, w->now);
    settle(w);
    check_well(w);
    assert_int_equal(w->n_told, 22);
    assert_int_equal(part_counted(w->part)->republished, 22);
}

static void test_outbox_in_the_middle(void **state)
{
    struct world *w = *state;

    begin(w, 20);
    pass(w, 1100);
    w->can = PART_CAN_CALL;
    append_orders(w, 20);
    pass(w, 100);
    assert_int_equal(w->outbox[0].prev, 21);
    part_destroy(w->part);
    w->part = part_create(&w->settings, 0);
    w->can |= PART_CAN_PUBLISH;
    keep_told(w, 22);
    append_orders(w, 3);
    part_assign(w->part, w->now);
    pass(w, 100);
    check_well(w);
}

static void test_another_owner_went_on(void **state)
{
    struct world *w = *state;
    struct part *other = part_create(&w->settings, 0);
    struct part *zombie = w->part;
    int64_t fetch;

    begin(w, 5);
    fetch = w->fetch;
    append_orders(w, 10);
    w->part = other;
    w->fetch = -1;
    part_assign(other, w->now);
    pass(w, 200);
    check_well(w);
    w->part = zombie;
    w->fetch = fetch;
    keep_told(w, 0);
    pass(w, 2000);
    assert_true(part_counted(zombie)->mismatches > 0);
    append_orders(w, 3);
    pass(w, 2000);
    assert_int_equal(w->watermark, log_end(w));
    assert_int_equal(w->halt, PART_HALT_NONE);
    part_destroy(other);
}

/* Redis as it was after `upto`, with the outbox from the batch after `acked` on. */
static void fall_back(struct world *w, int64_t upto, int64_t acked)
{
    struct buf lines;

    flush_redis(w);
    w->is_there = true;
    buf_init(&lines, 1 << 20);
    fold_destroy(fold_to(w, upto, acked, &lines));
    if (upto > acked) {
        push_batch(w, acked, upto, buf_slice(&lines));
    }
    w->watermark = upto;
    buf_fini(&lines);
}

static void test_redis_goes_back(void **state)
{
    struct world *w = *state;

    begin(w, 20);
    fall_back(w, 10, 8);
    pass(w, 2500); /* noticed by the idle check, without traffic */
    check_well(w);
    assert_int_equal(part_counted(w->part)->mismatches, 1);
}

static void test_acked_is_forgotten_with_the_position(void **state)
{
    struct world *w = *state;

    begin(w, 20);
    pass(w, 2000);
    w->holds_acks = true;
    fall_back(w, 10, 8);
    pass(w, 4000);
    /* Told again, not acknowledged again: what was acknowledged before says nothing about now. */
    assert_int_equal(w->outbox[0].prev, 8);
    w->holds_acks = false;
    pass(w, 2000);
    check_well(w);
    assert_int_equal(w->n_outbox, 0);
}

static void test_older_outbox_at_the_same_watermark(void **state)
{
    struct world *w = *state;

    begin(w, 20);
    pass(w, 2000);
    part_destroy(w->part);
    w->part = part_create(&w->settings, 0);
    part_assign(w->part, w->now);
    settle(w);
    keep_told(w, 0);
    fall_back(w, 21, -1); /* the one before us trimmed these; perhaps nobody else told them */
    pass(w, 2500);
    check_well(w);
}

static void test_flushed(void **state)
{
    struct world *w = *state;

    begin(w, 20);
    flush_redis(w);
    pass(w, 4000);
    check_well(w);
}

static void test_bad_states_halt(void **state)
{
    struct world *w = *state;

    begin(w, 5);
    w->can = PART_CAN_CALL;
    append_orders(w, 3);
    pass(w, 100);
    memcpy(w->outbox[w->n_outbox - 1].text, "9999", 4);
    part_destroy(w->part);
    w->part = part_create(&w->settings, 0);
    part_assign(w->part, w->now);
    settle(w);
    assert_int_equal(w->halt, PART_HALT_STATE);
}

/* ---- tests: the log is not what it was ---- */

static void restart_part(struct world *w)
{
    part_destroy(w->part);
    w->part = part_create(&w->settings, 0);
    w->fetch = -1;
    part_assign(w->part, w->now);
}

static void test_last_record_differs(void **state)
{
    struct world *w = *state;

    begin(w, 5);
    pass(w, 2000);
    /* Redis was made from the log as it was; now another record stands at the watermark. */
    part_revoke(w->part);
    part_assign(w->part, w->now);
    w->no_delivery = true;
    settle(w);
    w->log[6].timestamp_ms++;
    w->no_delivery = false;
    settle(w);
    assert_int_equal(w->halt, PART_HALT_CHAIN);
}

static void replay_with_a_difference(struct world *w, size_t at)
{
    w->can = PART_CAN_CALL;
    begin(w, 20);
    part_revoke(w->part);
    part_assign(w->part, w->now);
    w->no_delivery = true;
    settle(w);
    w->log[at].timestamp_ms++;
    w->no_delivery = false;
    w->can |= PART_CAN_PUBLISH;
    settle(w);
    assert_int_equal(w->halt, PART_HALT_CHAIN);
    assert_int_equal(w->n_told, 0); /* nothing is told before all is compared */
}

static void test_replayed_record_differs(void **state)
{
    replay_with_a_difference(*state, 9);
}

static void test_last_replayed_record_differs(void **state)
{
    replay_with_a_difference(*state, 21);
}

static void test_log_ends_before_the_watermark(void **state)
{
    struct world *w = *state;

    begin(w, 5);
    pass(w, 2000);
    part_revoke(w->part);
    part_assign(w->part, w->now);
    w->no_delivery = true;
    settle(w);
    w->n_log = 6;
    w->no_delivery = false;
    pass(w, 1500);
    assert_int_equal(w->halt, PART_HALT_NONE);
    pass(w, 5000);
    assert_int_equal(w->halt, PART_HALT_SHORT);
    assert_int_equal(w->ranges, 3); /* the one at the start, and twice short */
}

/* ---- tests: waiting for a rebuild ---- */

static void wipe(struct world *w, const char *absence)
{
    flush_redis(w);
    w->absence = absence;
}

/* What a rebuild leaves: the state at a position, and no outbox. */
static void rebuilt(struct world *w, int64_t watermark)
{
    drop_outbox(w, INT64_MAX);
    w->is_there = true;
    w->watermark = watermark;
    w->absence = NULL;
}

static void assert_waits(struct world *w, enum part_wait why)
{
    assert_int_equal(w->halt, PART_HALT_NONE);
    assert_string_equal(part_wait_name(look(w).wait), part_wait_name(why));
    assert_int_equal(look(w).is_steady, why == PART_WAIT_NONE);
}

static void test_waits_while_somebody_rebuilds(void **state)
{
    struct world *w = *state;

    append_genesis(w);
    append_sale(w, 3600000);
    append_orders(w, 8);
    w->absence = "rebuild";
    part_assign(w->part, w->now);
    settle(w);
    assert_waits(w, PART_WAIT_REBUILD);
    pass(w, 5000);
    assert_waits(w, PART_WAIT_REBUILD);
    assert_int_equal(w->reads, 6); /* once a second */
    assert_int_equal(w->applies, 0);
    assert_int_equal(w->fetches, 0);
    rebuilt(w, 4);
    pass(w, 1100);
    assert_waits(w, PART_WAIT_NONE);
    assert_int_equal(w->watermark, log_end(w));
    assert_int_equal(w->told[0].offset, 5);
}

static void test_a_rebuild_under_a_live_part(void **state)
{
    struct world *w = *state;

    begin(w, 6);
    pass(w, 2000);
    wipe(w, "rebuild");
    append_orders(w, 2);
    settle(w);
    pass(w, 1100);
    assert_waits(w, PART_WAIT_REBUILD);
    append_orders(w, 2);
    pass(w, 3000);
    assert_waits(w, PART_WAIT_REBUILD);
    rebuilt(w, 3);
    pass(w, 1100);
    assert_waits(w, PART_WAIT_NONE);
    check_well(w); /* what was told again has the same bytes */
}

static void test_a_rebuild_that_was_dropped(void **state)
{
    struct world *w = *state;

    append_genesis(w);
    append_orders(w, 3);
    w->absence = "rebuild";
    part_assign(w->part, w->now);
    settle(w);
    w->absence = NULL; /* MySQL had nothing either */
    pass(w, 900);
    assert_waits(w, PART_WAIT_REBUILD);
    pass(w, 2200);
    check_well(w);
}

static void test_keys_without_a_watermark(void **state)
{
    struct world *w = *state;

    append_genesis(w);
    append_orders(w, 3);
    w->absence = "keys";
    part_assign(w->part, w->now);
    settle(w);
    pass(w, 900);
    assert_int_equal(look(w).wait, PART_WAIT_NONE); /* once is not enough */
    pass(w, 200);
    assert_waits(w, PART_WAIT_KEYS);
    pass(w, 3000);
    assert_int_equal(w->applies, 0);
    w->absence = "rebuild";
    pass(w, 1100);
    assert_waits(w, PART_WAIT_REBUILD);
    rebuilt(w, 2);
    pass(w, 1100);
    assert_waits(w, PART_WAIT_NONE);
    assert_int_equal(w->watermark, log_end(w));
}

static void test_nothing_there_and_the_head_is_gone(void **state)
{
    struct world *w = *state;

    append_genesis(w);
    append_sale(w, 3600000);
    append_orders(w, 8);
    w->trimmed = 4;
    part_assign(w->part, w->now);
    pass(w, 1100);
    assert_waits(w, PART_WAIT_HEAD);
    pass(w, 5000);
    assert_waits(w, PART_WAIT_HEAD);
    assert_int_equal(w->applies, 0);
    assert_int_equal(w->ranges, 1); /* the log is not asked again */
    rebuilt(w, 4);
    pass(w, 1100);
    assert_waits(w, PART_WAIT_NONE);
    assert_int_equal(w->watermark, log_end(w));
}

static void test_nothing_there_and_all_is_trimmed(void **state)
{
    struct world *w = *state;

    append_genesis(w);
    append_orders(w, 2);
    w->trimmed = 3;
    part_assign(w->part, w->now);
    pass(w, 1100);
    assert_waits(w, PART_WAIT_HEAD);
    w->trimmed = 0; /* another log: the broker connection is new */
    part_recheck(w->part);
    pass(w, 2100);
    check_well(w);
}

static void test_redis_is_from_before_the_head(void **state)
{
    struct world *w = *state;

    begin(w, 8);
    pass(w, 2000);
    part_revoke(w->part);
    drop_outbox(w, INT64_MAX);
    w->watermark = 2;
    w->trimmed = 5;
    part_assign(w->part, w->now);
    w->no_delivery = true;
    settle(w);
    w->no_delivery = false;
    part_stuck(w->part, true, "out of range", w->now);
    settle(w);
    assert_waits(w, PART_WAIT_HEAD);
    pass(w, 4000);
    assert_waits(w, PART_WAIT_HEAD);
    assert_int_equal(w->ranges, 2); /* the one at the start, and the one that told */
    rebuilt(w, 5);
    pass(w, 1100);
    check_well(w);
}

/* The outcomes that the outbox is for have been lost with their commands; the state has not. */
static void test_the_outbox_is_from_before_the_head(void **state)
{
    struct world *w = *state;
    int64_t at;

    w->holds_acks = true;
    begin(w, 8);
    pass(w, 2000);
    at = w->watermark;
    part_revoke(w->part);
    w->trimmed = at;
    part_assign(w->part, w->now);
    pass(w, 1100);
    assert_waits(w, PART_WAIT_HEAD);
    rebuilt(w, at);
    w->holds_acks = false;
    append_orders(w, 2);
    pass(w, 1100);
    assert_waits(w, PART_WAIT_NONE);
    assert_int_equal(w->watermark, log_end(w));
}

static void test_first_record_is_not_genesis(void **state)
{
    struct world *w = *state;

    append_sale(w, 1000);
    part_assign(w->part, w->now);
    pass(w, 2000);
    assert_int_equal(w->halt, PART_HALT_GENESIS);
    assert_int_equal(w->applies, 0);
}

static void test_genesis_of_other_partitions(void **state)
{
    struct world *w = *state;

    append(w, "{\"type\":\"genesis\",\"log_id\":\"00112233445566778899aabbccddeeff\","
              "\"partitions\":2,\"rules\":1}");
    part_assign(w->part, w->now);
    pass(w, 2000);
    assert_int_equal(w->halt, PART_HALT_PARTITIONS);
}

static void test_record_from_the_future(void **state)
{
    struct world *w = *state;

    begin(w, 2);
    append_orders(w, 3);
    append_order(w, 9);
    w->log[w->n_log - 1].timestamp_ms += 60001;
    settle(w);
    pass(w, 200);
    assert_int_equal(w->halt, PART_HALT_CLOCK);
    assert_int_equal(w->watermark, log_end(w) - 1); /* all before it, and not it */
    assert_int_equal(w->told[w->n_told - 1].offset, log_end(w) - 1);
    part_revoke(w->part);
    part_assign(w->part, w->now);
    pass(w, 2000);
    assert_int_equal(look(w).halt, PART_HALT_CLOCK); /* for ever */
}

static void test_record_just_ahead(void **state)
{
    struct world *w = *state;

    begin(w, 2);
    append_order(w, 9);
    w->log[w->n_log - 1].timestamp_ms += 60000;
    settle(w);
    check_well(w);
}

static void test_wrong_timestamp_type(void **state)
{
    struct world *w = *state;

    begin(w, 2);
    append_order(w, 9);
    w->log[w->n_log - 1].is_log_append_time = false;
    pass(w, 200);
    assert_int_equal(w->halt, PART_HALT_TIMESTAMP);
}

static void test_gap_once(void **state)
{
    struct world *w = *state;
    int before;

    begin(w, 2);
    before = w->fetches;
    append_orders(w, 4);
    w->fetch += 2;
    pass(w, 200);
    assert_int_equal(w->fetches, before + 1);
    check_well(w);
}

static void test_gap_for_ever(void **state)
{
    struct world *w = *state;
    int64_t until_ms;

    begin(w, 2);
    append_orders(w, 4);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(w->halt, PART_HALT_NONE);
        w->fetch = log_end(w) - 1;
        settle(w);
    }
    /* The world fetches what was asked for, so only the last turn can have halted it. */
    assert_int_equal(w->halt, PART_HALT_NONE);
    check_well(w);

    append_orders(w, 4);
    until_ms = w->now.mono_ms + 2000;
    for (int i = 0; i < 60; i++) {
        const struct raw *r = &w->log[w->n_log - 1];
        const struct part_record record = {.offset = r->offset,
                                           .timestamp_ms = r->timestamp_ms,
                                           .is_log_append_time = true,
                                           .value = slice_str(r->value)};
        struct part_action a;

        part_record(w->part, &record, w->now);
        if (part_next(w->part, w->now, 0, &a)) {
            act(w, &a);
        }
        /* What comes right after a seek may have been on its way before: so it takes time, too. */
        assert_true(w->halt == PART_HALT_NONE || w->now.mono_ms >= until_ms);
        w->now.mono_ms += 51;
    }
    assert_int_equal(w->halt, PART_HALT_GAP);
}

/* A verdict needs a broker that says that the log holds what is missing. */
static void test_gap_without_a_broker(void **state)
{
    struct world *w = *state;
    struct part_action a;

    begin(w, 2);
    append_orders(w, 4);
    for (int i = 0; i < 100; i++) {
        const struct raw *r = &w->log[w->n_log - 1];
        const struct part_record record = {.offset = r->offset,
                                           .timestamp_ms = r->timestamp_ms,
                                           .is_log_append_time = true,
                                           .value = slice_str(r->value)};

        part_record(w->part, &record, w->now);
        while (part_next(w->part, w->now, 0, &a)) {
            if (a.type == PART_RANGE) {
                part_range(w->part, false, 0, 0, w->now);
            }
            assert_int_not_equal(a.type, PART_HALT);
        }
        w->now.mono_ms += 51;
    }
    w->fetch = look(w).next_offset;
    pass(w, 1000);
    check_well(w);
}

static void test_old_records_are_dropped(void **state)
{
    struct world *w = *state;

    begin(w, 10);
    w->fetch = 3;
    w->fetches = 0;
    append_orders(w, 1);
    pass(w, 200);
    check_well(w);
    assert_int_equal(w->fetches, 0); /* older is no gap */
    assert_int_equal(part_counted(w->part)->records, 13);
}

static void test_unknown_rules(void **state)
{
    struct world *w = *state;
    int64_t end;

    begin(w, 2);
    append(w, "{\"type\":\"rules\",\"rules\":3}");
    end = log_end(w);
    append_order(w, 1);
    pass(w, 3000);
    assert_int_equal(w->halt, PART_HALT_RULES);
    assert_int_equal(w->watermark, end); /* after it, not before */
    assert_int_equal(w->told[w->n_told - 1].offset, end);
    w->halt = PART_HALT_NONE;
    restart_part(w);
    pass(w, 2000);
    assert_int_equal(w->halt, PART_HALT_RULES);
}

static void test_stuck_log(void **state)
{
    struct world *w = *state;
    int before;

    begin(w, 2);
    before = w->fetches;
    part_stuck(w->part, false, "bad checksum", w->now);
    pass(w, 1100);
    assert_int_equal(w->fetches, before + 1);
    part_stuck(w->part, false, "bad checksum", w->now);
    pass(w, 1100);
    part_stuck(w->part, false, "bad checksum", w->now);
    settle(w);
    assert_int_equal(w->halt, PART_HALT_LOG);
    assert_string_equal(w->why, "bad checksum");
}

/* A new connection has the records before it read again and compared: that is no way past it. */
static void test_stuck_log_with_rechecks(void **state)
{
    struct world *w = *state;

    begin(w, 2);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(w->halt, PART_HALT_NONE);
        part_recheck(w->part);
        settle(w);
        part_stuck(w->part, false, "bad checksum", w->now);
        pass(w, 1100);
    }
    settle(w);
    assert_int_equal(w->halt, PART_HALT_LOG);
}

static void test_script_failures_halt(void **state)
{
    struct world *w = *state;

    begin(w, 2);
    w->holds_calls = true;
    append_order(w, 3);
    settle(w);
    part_applied(w->part, w->pending->call, SLICE_LIT("ok 99 5 0 - 0\n"), w->now);
    settle(w);
    assert_int_equal(w->halt, PART_HALT_SCRIPT);
}

static void test_damaged_state_halts(void **state)
{
    struct world *w = *state;

    begin(w, 2);
    w->holds_calls = true;
    append_order(w, 3);
    settle(w);
    part_applied(w->part, w->pending->call, SLICE_LIT("corrupt items: 0 of 1 are there"), w->now);
    settle(w);
    assert_int_equal(w->halt, PART_HALT_STATE);
    assert_string_equal(w->why, "the state in Redis is damaged: items: 0 of 1 are there");
}

static void test_evicting_redis_halts_what_is_ours(void **state)
{
    struct world *w = *state;

    part_evicting(w->part, "it evicts");
    settle(w);
    assert_int_equal(w->halt, PART_HALT_NONE); /* not ours yet */
    begin(w, 2);
    part_evicting(w->part, "it evicts");
    part_evicting(w->part, "again");
    settle(w);
    assert_int_equal(w->halt, PART_HALT_EVICTING);
    assert_string_equal(w->why, "it evicts");
}

static void test_script_that_stands_elsewhere_halts(void **state)
{
    struct world *w = *state;
    char reply[80];

    begin(w, 2);
    w->holds_calls = true;
    append_order(w, 3);
    settle(w);
    (void)snprintf(reply, sizeof(reply), "ok %" PRId64 " %" PRId64 " 0 - 0\n1 2\n", log_end(w),
                   w->now.wall_ms + 1);
    part_applied(w->part, w->pending->call, slice_str(reply), w->now);
    settle(w);
    assert_int_equal(w->halt, PART_HALT_SCRIPT);
}

static void test_answers_to_older_calls_are_nobodys(void **state)
{
    struct world *w = *state;

    begin(w, 2);
    w->holds_calls = true;
    append_order(w, 3);
    settle(w);
    part_applied(w->part, w->pending->call - 1, SLICE_LIT("bad"), w->now);
    part_unanswered(w->part, w->pending->call - 1, false, w->now);
    part_position(w->part, w->pending->call, NULL, 0, w->now);
    settle(w);
    assert_int_equal(w->halt, PART_HALT_NONE);
    w->holds_calls = false;
    answer_apply(w, w->pending, false);
    w->pending = NULL;
    pass(w, 100);
    check_well(w);
}

/* ---- tests: comparing again ---- */

static void test_recheck_finds_the_same_log(void **state)
{
    struct world *w = *state;

    begin(w, 5);
    w->can = 0;
    append_orders(w, 5);
    settle(w);
    assert_int_equal(look(w).unapplied, 5);
    part_recheck(w->part);
    w->no_delivery = true;
    w->can = PART_CAN_CALL | PART_CAN_PUBLISH;
    pass(w, 1000);
    assert_int_equal(w->fetch, 6);     /* the last record applied */
    assert_int_equal(w->watermark, 6); /* and nothing more before that has come */
    w->no_delivery = false;
    pass(w, 100);
    check_well(w);
}

static void test_recheck_finds_another_log(void **state)
{
    struct world *w = *state;

    begin(w, 5);
    pass(w, 2000);
    w->can = 0;
    append_orders(w, 5);
    settle(w);
    part_recheck(w->part);
    w->log[6].timestamp_ms++;
    w->can = PART_CAN_CALL | PART_CAN_PUBLISH;
    settle(w);
    assert_int_equal(w->halt, PART_HALT_CHAIN);
    assert_int_equal(w->watermark, 6);
}

static void test_recheck_with_an_unknown_batch(void **state)
{
    struct world *w = *state;
    struct copied *first;

    begin(w, 5);
    w->holds_calls = true;
    append_orders(w, 5);
    settle(w);
    first = w->pending;
    w->pending = NULL;
    part_recheck(w->part);
    part_unanswered(w->part, first->call, false, w->now);
    w->holds_calls = false;
    pass(w, 500);
    check_well(w);
    assert_true(w->reads >= 3); /* as on assignment: that batch is not sent again */
    answer_apply(w, first, false);
    pass(w, 500);
    check_well(w);
}

/* A broker that comes and goes may not keep a long way back from ending. */
static void test_recheck_waits_for_the_way_back(void **state)
{
    struct world *w = *state;
    int reads;

    w->can = PART_CAN_CALL;
    begin(w, 20);
    part_revoke(w->part);
    part_assign(w->part, w->now);
    w->no_delivery = true;
    settle(w);
    reads = w->reads;
    for (int i = 0; i < 22; i++) {
        w->no_delivery = false;
        assert_true(deliver(w));
        w->no_delivery = true;
        part_recheck(w->part);
        settle(w);
        assert_string_equal(look(w).phase, "catching");
    }
    assert_int_equal(w->reads, reads);
    w->no_delivery = false;
    w->can |= PART_CAN_PUBLISH;
    pass(w, 1500);
    assert_int_equal(w->reads, reads);
    check_well(w);
}

static void test_queued_records_that_vanished(void **state)
{
    struct world *w = *state;

    begin(w, 5);
    w->can = 0;
    append_orders(w, 5);
    settle(w);
    w->n_log -= 3;
    part_stuck(w->part, true, "out of range", w->now);
    settle(w);
    w->can = PART_CAN_CALL | PART_CAN_PUBLISH;
    append_order(w, 77);
    pass(w, 1000);
    check_well(w);
}

/* ---- tests: telling ---- */

static void test_go_back_n(void **state)
{
    struct world *w = *state;
    size_t n;

    begin(w, 4);
    w->holds_acks = true;
    append_orders(w, 6);
    pass(w, 100);
    n = w->n_told;
    assert_int_equal(n, 12);
    part_acked(w->part, w->told[6].seq, PART_OUTCOME);
    part_acked(w->part, w->told[9].seq, PART_OUTCOME); /* its forerunners failed */
    part_resend(w->part);
    settle(w);
    assert_int_equal(w->n_told, n + 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(w->told[n + i].offset, 7 + (int64_t)i);
    }
    part_acked(w->part, w->told[n].seq, PART_OUTCOME);
    part_acked(w->part, w->told[n + 1].seq, PART_OUTCOME);
    assert_int_equal(look(w).unacked, 3); /* the early acknowledgement does not count any more */
    w->holds_acks = false;
    pass(w, 2000);
    assert_int_equal(w->n_outbox, 0);
    check_well(w);
}

static void test_late_reports_are_ignored(void **state)
{
    struct world *w = *state;

    w->holds_acks = true;
    begin(w, 10);
    part_revoke(w->part);
    part_assign(w->part, w->now);
    settle(w);
    /* Reports on what was told before the revocation say nothing about what is told now. */
    for (size_t i = 0; i < 12; i++) {
        part_acked(w->part, w->told[i].seq, PART_OUTCOME);
    }
    pass(w, 2000);
    assert_int_equal(w->n_outbox, 2);
    w->holds_acks = false;
    pass(w, 2000);
    check_well(w);
}

static void test_drain(void **state)
{
    struct world *w = *state;

    begin(w, 4);
    w->holds_calls = true;
    w->holds_acks = true;
    append_orders(w, 20);
    settle(w);
    part_drain(w->part);
    assert_false(part_is_quiet(w->part));
    w->holds_calls = false;
    answer_apply(w, w->pending, false);
    w->pending = NULL;
    pass(w, 3000);
    assert_false(part_is_quiet(w->part)); /* told, not acknowledged */
    ack_all(w);
    settle(w);
    assert_true(part_is_quiet(w->part));
    assert_int_equal(w->watermark, 13); /* the batch under way and no other */
}

/* ---- tests: ticks ---- */

static void test_ticks_expire_holds(void **state)
{
    struct world *w = *state;

    append_genesis(w);
    append_sale(w, 2000);
    append_orders(w, 3);
    part_assign(w->part, w->now);
    pass(w, 1500);
    assert_int_equal(w->ticks, 0);
    pass(w, 1000);
    assert_int_equal(w->ticks, 1);
    assert_int_equal(part_counted(w->part)->events[EVENT_EXPIRED], 3);
    pass(w, 60000);
    assert_int_equal(w->ticks, 1); /* nothing is due any more */
    check_well(w);
}

static void test_ticks_back_off(void **state)
{
    struct world *w = *state;
    int early;

    append_genesis(w);
    append_sale(w, 2000);
    append_orders(w, 3);
    part_assign(w->part, w->now);
    pass(w, 1500);
    /* A broker whose clock stands still: ticks change nothing. */
    for (int i = 0; i < 1200; i++) {
        w->now.mono_ms += 50;
        settle(w);
        if (i == 39) {
            early = w->ticks;
            assert_in_range(early, 3, 4);
        }
    }
    assert_in_range(w->ticks, 10, 20); /* 60 s: 250 ms doubling to 5 s */
}

static void test_old_holds_tick_at_once(void **state)
{
    struct world *w = *state;

    append_genesis(w);
    append_sale(w, 2000);
    append_orders(w, 3);
    part_assign(w->part, w->now);
    pass(w, 1500);
    part_revoke(w->part);
    w->now.wall_ms += 3600000;
    w->now.mono_ms += 3600000;
    part_assign(w->part, w->now);
    pass(w, 200);
    assert_int_equal(w->ticks, 1);
    check_well(w);
}

/* ---- a walk at random ---- */

struct walk {
    struct world *w;
    uint64_t seed;
    struct copied *late[LATE_MAX];
    size_t n_late;
};

static unsigned draw(struct walk *k, unsigned n)
{
    k->seed = k->seed * 6364136223846793005U + 1442695040888963407U;
    return (unsigned)(k->seed >> 33) % n;
}

static void run_late(struct walk *k)
{
    struct buf reply;
    size_t i;

    if (k->n_late == 0) {
        return;
    }
    i = draw(k, (unsigned)k->n_late);
    buf_init(&reply, 4 << 20);
    play_apply(k->w, k->late[i], &reply);
    buf_fini(&reply);
    free_call(k->late[i]);
    k->late[i] = k->late[--k->n_late];
}

static void answer_somehow(struct walk *k)
{
    struct world *w = k->w;
    struct copied *c = w->pending;

    if (c == NULL) {
        return;
    }
    w->pending = NULL;
    switch (draw(k, 6)) {
    case 0:
        answer_apply(w, c, true);
        break;
    case 1:
        part_unanswered(w->part, c->call, false, w->now);
        if (k->n_late < LATE_MAX) {
            k->late[k->n_late++] = c;
        } else {
            free_call(c);
        }
        break;
    case 2:
        part_unanswered(w->part, c->call, true, w->now);
        free_call(c);
        break;
    default:
        answer_apply(w, c, false);
        break;
    }
}

static void crash(struct world *w)
{
    part_destroy(w->part);
    w->part = part_create(&w->settings, 0);
    free_call(w->pending);
    w->pending = NULL;
    w->fetch = -1;
    for (size_t i = 0; i < w->n_told; i++) {
        w->told[i].is_acked = true;
    }
    part_assign(w->part, w->now);
}

/* What Kafka reports; what is not stored is as if it had never been told. */
static void report_somehow(struct walk *k)
{
    struct world *w = k->w;

    for (size_t i = 0; i < w->n_told; i++) {
        if (w->told[i].is_acked) {
            continue;
        }
        if (draw(k, 40) == 0) {
            keep_told(w, i);
            part_resend(w->part);
            return;
        }
        if (draw(k, 3) == 0) {
            return;
        }
        w->told[i].is_acked = true;
        part_acked(w->part, w->told[i].seq, w->told[i].kind);
    }
}

/* To an older state, of a time when nothing was acknowledged yet. */
static void fail_over(struct walk *k)
{
    struct world *w = k->w;
    int64_t upto;

    if (!w->is_there || w->watermark < 2) {
        return;
    }
    upto = w->watermark - (int64_t)draw(k, 4);
    upto = upto < 1 ? 1 : upto;
    fall_back(w, upto, -1);
}

static void step_somehow(struct walk *k)
{
    struct world *w = k->w;

    switch (draw(k, 24)) {
    case 0:
        crash(w);
        break;
    case 1:
        fail_over(k);
        break;
    case 2:
        if (draw(k, 4) == 0) {
            flush_redis(w);
        }
        break;
    case 3:
        part_recheck(w->part);
        break;
    case 4:
        if (w->pending != NULL && k->n_late < LATE_MAX) {
            k->late[k->n_late++] = w->pending;
            w->pending = NULL;
        }
        free_call(w->pending);
        w->pending = NULL;
        part_revoke(w->part);
        w->fetch = -1;
        part_assign(w->part, w->now);
        break;
    case 5:
    case 6:
        run_late(k);
        break;
    case 7:
        append(w, "{nonsense");
        break;
    case 8:
    case 9:
    case 10:
        append_order(w, (int)draw(k, 50));
        break;
    case 11:
    case 12:
    case 13:
    case 14:
        report_somehow(k);
        break;
    default:
        answer_somehow(k);
        break;
    }
}

static void walk_one(struct world *w, uint64_t seed)
{
    struct walk k = {.w = w, .seed = seed};

    append_genesis(w);
    append_sale(w, 500);
    w->holds_acks = true;
    w->holds_calls = true;
    part_assign(w->part, w->now);
    for (int i = 0; i < 300 && w->n_log < LOG_MAX - 60 && w->n_told < TOLD_MAX / 2; i++) {
        step_somehow(&k);
        w->now.mono_ms += (int64_t)draw(&k, 200);
        w->now.wall_ms += (int64_t)draw(&k, 200);
        settle(w);
    }
    /* Heal: everything answers, nothing is late any more. */
    while (k.n_late > 0) {
        run_late(&k);
    }
    if (w->pending != NULL) {
        struct copied *c = w->pending;

        w->pending = NULL;
        answer_apply(w, c, false);
    }
    w->holds_calls = false;
    w->holds_acks = false;
    pass(w, 12000);
    if (w->halt != PART_HALT_NONE || w->watermark != log_end(w)) {
        fail_msg("seed %" PRIu64 ": %s %s, at %" PRId64 " of %" PRId64, seed,
                 part_halt_name(w->halt), w->why, w->watermark, log_end(w));
    }
    check_well(w);
    assert_int_equal(w->n_outbox, 0);
}

static void test_random_walks(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        void *world = NULL;

        (void)setup(&world);
        walk_one(world, seed);
        (void)teardown(&world);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_starts_from_genesis),
        TEST(test_waits_for_the_first_record),
        TEST(test_idle_trims_the_outbox),
        TEST(test_acked_is_contiguous),
        TEST(test_batches_are_cut_at_mark_and_rules),
        TEST(test_malformed_goes_to_dead_first),
        TEST(test_reply_lost_before_execution),
        TEST(test_reply_lost_after_execution),
        TEST(test_refused_batches_are_tried_again),
        TEST(test_refused_batches_let_the_outbox_be_trimmed),
        TEST(test_full_waits_for_acknowledgements),
        TEST(test_unacked_outcomes_are_bounded),
        TEST(test_reading_ahead_is_bounded),
        TEST(test_starts_at_the_watermark),
        TEST(test_tells_what_the_outbox_holds),
        TEST(test_outbox_in_the_middle),
        TEST(test_another_owner_went_on),
        TEST(test_redis_goes_back),
        TEST(test_acked_is_forgotten_with_the_position),
        TEST(test_older_outbox_at_the_same_watermark),
        TEST(test_flushed),
        TEST(test_bad_states_halt),
        TEST(test_last_record_differs),
        TEST(test_replayed_record_differs),
        TEST(test_last_replayed_record_differs),
        TEST(test_log_ends_before_the_watermark),
        TEST(test_waits_while_somebody_rebuilds),
        TEST(test_a_rebuild_under_a_live_part),
        TEST(test_a_rebuild_that_was_dropped),
        TEST(test_keys_without_a_watermark),
        TEST(test_nothing_there_and_the_head_is_gone),
        TEST(test_nothing_there_and_all_is_trimmed),
        TEST(test_redis_is_from_before_the_head),
        TEST(test_the_outbox_is_from_before_the_head),
        TEST(test_first_record_is_not_genesis),
        TEST(test_genesis_of_other_partitions),
        TEST(test_record_from_the_future),
        TEST(test_record_just_ahead),
        TEST(test_wrong_timestamp_type),
        TEST(test_gap_once),
        TEST(test_gap_for_ever),
        TEST(test_gap_without_a_broker),
        TEST(test_old_records_are_dropped),
        TEST(test_unknown_rules),
        TEST(test_stuck_log),
        TEST(test_stuck_log_with_rechecks),
        TEST(test_script_failures_halt),
        TEST(test_damaged_state_halts),
        TEST(test_evicting_redis_halts_what_is_ours),
        TEST(test_script_that_stands_elsewhere_halts),
        TEST(test_answers_to_older_calls_are_nobodys),
        TEST(test_recheck_finds_the_same_log),
        TEST(test_recheck_finds_another_log),
        TEST(test_recheck_with_an_unknown_batch),
        TEST(test_recheck_waits_for_the_way_back),
        TEST(test_queued_records_that_vanished),
        TEST(test_go_back_n),
        TEST(test_late_reports_are_ignored),
        TEST(test_drain),
        TEST(test_ticks_expire_holds),
        TEST(test_ticks_back_off),
        TEST(test_old_holds_tick_at_once),
        cmocka_unit_test(test_random_walks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
