/*
 * The log is kept whole and the state in Redis is no more than a position in it (and the outbox):
 * what stands there is folded anew from the log whenever somebody asks.
 */
#include "tests/unit/part_world.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/xmalloc.h"

static const char log_id[] = "00112233445566778899aabbccddeeff";

/* ---- the log ---- */

void append(struct world *w, const char *value)
{
    struct raw *r = &w->log[w->n_log];

    assert_true(w->n_log < LOG_MAX);
    *r = (struct raw){.offset = w->begin + (int64_t)w->n_log,
                      .timestamp_ms = w->now.wall_ms,
                      .is_log_append_time = true};
    (void)snprintf(r->value, sizeof(r->value), "%s", value);
    w->n_log++;
}

void keep_told(struct world *w, size_t n)
{
    while (w->n_told > n) {
        free(w->told[--w->n_told].value);
    }
}

void append_genesis(struct world *w)
{
    char text[200];

    (void)snprintf(text, sizeof(text),
                   "{\"type\":\"genesis\",\"log_id\":\"%s\",\"partitions\":1,\"rules\":1}", log_id);
    append(w, text);
}

void append_sale(struct world *w, int64_t hold_ms)
{
    char text[300];

    (void)snprintf(text, sizeof(text),
                   "{\"type\":\"sale\",\"op_id\":\"s%zu\",\"item_id\":\"x\",\"action\":\"open\","
                   "\"total\":1000,\"limit\":1000,\"hold_ms\":%" PRId64 "}",
                   w->n_log, hold_ms);
    append(w, text);
}

void append_order(struct world *w, int user)
{
    char text[300];

    (void)snprintf(text, sizeof(text),
                   "{\"type\":\"order\",\"order_id\":\"01900000-0000-7000-8000-%012zx\","
                   "\"item_id\":\"x\",\"user_id\":\"u%d\",\"qty\":1,\"not_after\":%" PRId64 "}",
                   w->n_log, user, w->now.wall_ms + 3600000);
    append(w, text);
}

void append_orders(struct world *w, int n)
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

struct fold *fold_to(const struct world *w, int64_t offset, int64_t from, struct buf *lines)
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

void drop_outbox(struct world *w, int64_t upto)
{
    size_t n = 0;

    while (n < w->n_outbox && w->outbox[n].to <= upto) {
        free(w->outbox[n].text);
        n++;
    }
    memmove(w->outbox, w->outbox + n, (w->n_outbox - n) * sizeof(w->outbox[0]));
    w->n_outbox -= n;
}

void flush_redis(struct world *w)
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

void push_batch(struct world *w, int64_t prev, int64_t to, struct slice lines)
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

void play_apply(struct world *w, const struct copied *c, struct buf *out)
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

void free_call(struct copied *c)
{
    for (size_t i = 0; c != NULL && i < c->n; i++) {
        free(c->words[i]);
    }
    free(c);
}

void answer_apply(struct world *w, struct copied *c, bool is_lost)
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

void act(struct world *w, const struct part_action *a)
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

void ack_all(struct world *w)
{
    for (size_t i = 0; i < w->n_told; i++) {
        if (!w->told[i].is_acked) {
            w->told[i].is_acked = true;
            part_acked(w->part, w->told[i].seq, w->told[i].kind);
        }
    }
}

bool deliver(struct world *w)
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

void settle(struct world *w)
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

void pass(struct world *w, int64_t ms)
{
    for (int64_t end = w->now.mono_ms + ms; w->now.mono_ms < end;) {
        w->now.mono_ms += 50;
        w->now.wall_ms += 50;
        settle(w);
    }
}

/* ---- life ---- */

int setup(void **state)
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

int teardown(void **state)
{
    struct world *w = *state;

    part_destroy(w->part);
    drop_outbox(w, INT64_MAX);
    keep_told(w, 0);
    free_call(w->pending);
    free(w);
    return 0;
}

void begin(struct world *w, int n)
{
    append_genesis(w);
    append_sale(w, 3600000);
    append_orders(w, n);
    part_assign(w->part, w->now);
    pass(w, 1500);
}

void fall_back(struct world *w, int64_t upto, int64_t acked)
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

int64_t log_end(const struct world *w)
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

void check_well(const struct world *w)
{
    if (w->halt != PART_HALT_NONE) {
        fail_msg("halted: %s: %s", part_halt_name(w->halt), w->why);
    }
    assert_int_equal(w->watermark, log_end(w));
    assert_int_equal(look(w).wait, PART_WAIT_NONE);
    check_told(w);
}

struct part_view look(const struct world *w)
{
    struct part_view view;

    part_look(w->part, &view);
    return view;
}
