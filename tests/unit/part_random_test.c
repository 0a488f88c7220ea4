/*
 * Several matchers at once over one partition, at random: a log, a Redis whose script is played by
 * common/fold.c, a producer that loses, delays and repeats, a consumer that skips, repeats and loses
 * seeks.  After the trouble comes a time without, in which everything must converge.
 *
 * Watched all the time:
 *   - the script is only ever given the log's next commands, cut as the contract says;
 *   - an outcome leaves the outbox only when it is in the outcomes topic;
 *   - each message is the one that the fold makes of that record;
 *   - nobody halts, unless the log went over to other rules or was cut off and grew again.
 * In the end: every record applied, every outcome read in order, the outbox empty; of a log that
 * was cut below the watermark: everybody halted, and nothing applied behind the cut.
 *
 * PART_RANDOM_SCHEDULES=n and PART_RANDOM_SEED=n (the first) run more or others; a failure names
 * its seed.
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
#include "tests/differential/random.h"

enum {
    SCHEDULES = 4000,
    MATCHERS = 3,
    LOG_MAX = 320,
    BOX_MAX = 48,
    PAST_MAX = 12,
    CALLS_MAX = 64,
    FLIGHTS_MAX = 4096,
    WORDS_KEYS = 8,
    WORDS_HEAD = 11,
    HEAL_STEPS = 4000,
    HEAL_MS = 60,
};

static const char log_id[] = "00112233445566778899aabbccddeeff";

/* A record, and all that follows from it by the rules. */
struct record {
    int64_t timestamp_ms, log_time, rules, next_due;
    uint64_t hash, chain;
    char *value, *line, *outcome;
    enum command_type type;
    bool is_landed, is_dead_landed;
};

/* A log; there are two when it is cut off and grows again. */
struct history {
    struct record *records[LOG_MAX];
    int64_t n;
    struct fold *fold;
};

struct batch {
    int64_t prev, to;
};

struct redis {
    bool is_there;
    int history;
    int64_t watermark;
    struct batch box[BOX_MAX];
    size_t n;
};

struct call {
    bool is_used, is_read, is_played, is_forgotten;
    int matcher;
    uint32_t number;
    size_t n_commands;
    size_t n_words;
    char **words; /* owned */
    struct buf reply;
};

struct flight {
    int matcher; /* -1: of an instance that is gone; nobody hears of it */
    uint64_t seq;
    enum part_message_kind kind;
    bool is_tick, is_landed;
    int64_t offset;
    char *value; /* owned */
};

struct matcher {
    struct part *part;
    bool is_stopped, is_down, is_broken, is_halted, is_full;
    bool asks_range;
    int64_t at;   /* what the consumer delivers next; -1: nothing */
    int64_t seek; /* asked for and not yet done; -1: none */
    int stale;    /* records that still come before the seek is done */
    bool is_odd;  /* the last seek was not done at once */
};

struct world {
    struct random random;
    uint64_t seed;
    struct part_settings settings;
    struct part_time now;
    int64_t broker_skew_ms;

    struct history histories[2];
    int history; /* the present one */
    int64_t cut; /* -1: never cut */
    bool may_cut, has_rules;
    int orders;

    struct redis redis;
    struct redis past[PAST_MAX];
    size_t n_past;

    struct matcher matchers[MATCHERS];
    struct call calls[CALLS_MAX];
    struct flight flights[FLIGHTS_MAX];
    size_t n_flights;
    int64_t reader; /* the guardian's position in the log */
    bool is_healing;
};

#define WRONG(w, ...)                                                                              \
    do {                                                                                           \
        print_error("seed %" PRIu64 ": ", (w)->seed);                                              \
        fail_msg(__VA_ARGS__);                                                                     \
    } while (0)

static bool chance(struct world *w, int percent)
{
    return random_chance(&w->random, percent);
}

static int64_t below(struct world *w, int64_t n)
{
    return random_below(&w->random, n);
}

/* ---- the log ---- */

static struct history *log_now(struct world *w)
{
    return &w->histories[w->history];
}

static bool first_hold(struct slice hold_ms, struct slice entry, void *arg)
{
    (void)hold_ms;
    *(int64_t *)arg = strtoll(entry.ptr, NULL, 10);
    return false;
}

static void work_out(struct history *h, struct record *r, int64_t offset, int64_t prev)
{
    const struct fold_record raw = {.offset = offset,
                                    .timestamp = r->timestamp_ms,
                                    .value = {r->value, r->value == NULL ? 0 : strlen(r->value)}};
    struct outcome_head head = {.offset = offset, .prev = prev};
    struct fold_log log;
    struct buf line;
    struct buf out;
    struct err err;

    buf_init(&line, 1 << 20);
    buf_init(&out, 1 << 20);
    if (!fold_apply(h->fold, &raw, &line, &err)) {
        fail_msg("%s", err.text);
    }
    fold_log(h->fold, &log);
    r->log_time = log.log_time;
    r->rules = log.rules;
    r->hash = log.last_hash;
    r->chain = log.chain;
    r->next_due = 0;
    fold_each_hold(h->fold, first_hold, &r->next_due);
    r->line = xmemdup0(line.ptr == NULL ? "" : line.ptr, line.len);
    r->type = fold_last_command(h->fold)->type;
    head.genesis = log.genesis;
    head.chain = log.chain;
    head.rules = log.rules;
    head.log_time = log.log_time;
    assert_true(outcome_format(&out, &head, fold_last_command(h->fold), buf_slice(&line), &err));
    r->outcome = xmemdup0(out.ptr, out.len);
    buf_fini(&line);
    buf_fini(&out);
}

static void append(struct world *w, const char *value)
{
    struct history *h = log_now(w);
    struct record *r;

    if (h->n >= LOG_MAX || w->has_rules) {
        return; /* nothing follows a change of the rules */
    }
    r = xcalloc(1, sizeof(*r));
    r->timestamp_ms = w->now.wall_ms + w->broker_skew_ms + (chance(w, 5) ? -below(w, 3000) : 0);
    r->value = value == NULL ? NULL : xmemdup0(value, strlen(value));
    work_out(h, r, h->n, h->n - 1);
    h->records[h->n++] = r;
}

static void append_genesis(struct world *w)
{
    char text[200];

    (void)snprintf(text, sizeof(text),
                   "{\"type\":\"genesis\",\"log_id\":\"%s\",\"partitions\":1,\"rules\":1}", log_id);
    append(w, text);
}

static void order_id(char *out, size_t size, int64_t n)
{
    (void)snprintf(out, size, "01900000-0000-%c000-8000-%012" PRIx64, n % 2 == 0 ? '7' : '8', n);
}

static void append_order(struct world *w)
{
    char id[40];
    char text[300];

    order_id(id, sizeof(id), chance(w, 10) ? below(w, w->orders + 1) : w->orders++);
    (void)snprintf(
        text, sizeof(text),
        "{\"type\":\"order\",\"order_id\":\"%s\",\"item_id\":\"x\",\"user_id\":\"u%" PRId64
        "\",\"qty\":1,\"not_after\":%" PRId64 "}",
        id, below(w, 6), w->now.wall_ms + (chance(w, 5) ? -10000 : 60000));
    append(w, text);
}

static void append_answer(struct world *w)
{
    char id[40];
    char text[300];

    order_id(id, sizeof(id), below(w, w->orders + 1));
    if (chance(w, 50)) {
        (void)snprintf(text, sizeof(text),
                       "{\"type\":\"pay\",\"order_id\":\"%s\",\"payment_id\":\"p%" PRId64
                       "\",\"user_id\":\"u%" PRId64 "\"}",
                       id, below(w, 30), below(w, 6));
    } else {
        (void)snprintf(text, sizeof(text),
                       "{\"type\":\"cancel\",\"order_id\":\"%s\",\"user_id\":\"u%" PRId64 "\"}", id,
                       below(w, 6));
    }
    append(w, text);
}

static void append_something(struct world *w)
{
    static const char *const others[] = {
        "{\"type\":\"mark\",\"run_id\":\"r\"}",
        "{\"type\":\"tick\"}",
        "nonsense",
        "",
        "{\"type\":\"order\"}",
        "{\"type\":\"restock\",\"op_id\":\"r1\",\"item_id\":\"x\",\"qty\":3}",
        "{\"type\":\"sale\",\"op_id\":\"p1\",\"item_id\":\"x\",\"action\":\"pause\"}",
        "{\"type\":\"sale\",\"op_id\":\"p2\",\"item_id\":\"x\",\"action\":\"resume\"}",
    };

    if (log_now(w)->n == 0) {
        append_genesis(w);
    } else if (log_now(w)->n == 1) {
        append(w, "{\"type\":\"sale\",\"op_id\":\"s\",\"item_id\":\"x\",\"action\":\"open\","
                  "\"total\":12,\"limit\":4,\"hold_ms\":3000}");
    } else if (chance(w, 60)) {
        append_order(w);
    } else if (chance(w, 50)) {
        append_answer(w);
    } else if (chance(w, 5)) {
        append(w, NULL);
    } else {
        append(w, others[below(w, (int64_t)(sizeof(others) / sizeof(others[0])))]);
    }
}

/* ---- Redis ---- */

static const struct record *record_at(const struct world *w, int history, int64_t offset)
{
    return w->histories[history].records[offset];
}

static uint64_t chain_at(const struct world *w, int history, int64_t offset)
{
    return offset < 0 ? ids_chain_start(slice_str(log_id)) : record_at(w, history, offset)->chain;
}

static void remember(struct world *w)
{
    if (w->n_past == PAST_MAX) {
        memmove(w->past, w->past + 1, (PAST_MAX - 1) * sizeof(w->past[0]));
        w->n_past--;
    }
    w->past[w->n_past++] = w->redis;
}

static void put_hash(struct buf *out, uint64_t hash)
{
    char text[IDS_HASH_LEN + 1];

    ids_hash_format(text, hash);
    buf_puts(out, text);
}

static void play_position(struct world *w, struct buf *out)
{
    const struct redis *r = &w->redis;
    const struct record *last;

    if (!r->is_there) {
        return;
    }
    last = record_at(w, r->history, r->watermark);
    buf_printf(out, "%s%c%" PRId64 "%c", log_id, 0, r->watermark, 0);
    put_hash(out, last->chain);
    buf_putc(out, 0);
    put_hash(out, last->hash);
    buf_printf(out, "%c%" PRId64 "%c%" PRId64 "%c1%c", 0, last->log_time, 0, last->rules, 0, 0);
    for (size_t i = 0; i < r->n; i++) {
        const struct batch *b = &r->box[i];

        buf_printf(out, "%" PRId64 " %" PRId64 " ", b->prev, b->to);
        put_hash(out, chain_at(w, r->history, b->prev));
        buf_printf(out, " %" PRId64 "\n",
                   b->prev < 0 ? 0 : record_at(w, r->history, b->prev)->log_time);
        for (int64_t o = b->prev + 1; o <= b->to; o++) {
            buf_printf(out, "%s\n", record_at(w, r->history, o)->line);
        }
        buf_putc(out, 0);
    }
}

static void trim(struct world *w, int64_t acked)
{
    struct redis *r = &w->redis;
    size_t n = 0;

    while (n < r->n && r->box[n].to <= acked) {
        for (int64_t o = r->box[n].prev + 1; o <= r->box[n].to; o++) {
            const struct record *record = record_at(w, r->history, o);

            if (!record->is_landed ||
                (record->type == COMMAND_MALFORMED && !record->is_dead_landed)) {
                WRONG(w, "the outcome of %" PRId64 " leaves the outbox and is nowhere else", o);
            }
        }
        n++;
    }
    if (n > 0) {
        remember(w); /* a failover may bring back the same watermark with an older outbox */
        memmove(r->box, r->box + n, (r->n - n) * sizeof(r->box[0]));
        r->n -= n;
    }
}

static const char *word(const struct call *c, size_t i)
{
    return c->words[WORDS_KEYS + i];
}

static bool is_hash(const char *text, uint64_t hash)
{
    char want[IDS_HASH_LEN + 1];

    ids_hash_format(want, hash);
    return strcmp(text, want) == 0;
}

/* The log that the batch was cut from: the one in which its last record has that chain. */
static int history_of(const struct world *w, const struct call *c, int64_t to)
{
    for (int h = w->history; h >= 0; h--) {
        if (to < w->histories[h].n && is_hash(word(c, 5), record_at(w, h, to)->chain) &&
            is_hash(word(c, 6), record_at(w, h, to)->hash)) {
            return h;
        }
    }
    return -1;
}

/* The batch is a piece of one log, from where Redis stands, and rightly cut. */
static void check_batch(struct world *w, const struct call *c, int history, int64_t to)
{
    static const char letters[] = "GVSROPCTMAX"; /* by enum command_type */
    static const int sizes[] = {3, 1, 9, 3, 6, 3, 2, 0, 0, 2, 0};
    size_t at = WORDS_HEAD;

    for (int64_t o = w->redis.watermark + 1; o <= to; o++) {
        const struct record *r = record_at(w, history, o);

        if (WORDS_KEYS + at + 2 >= c->n_words || word(c, at)[0] != letters[r->type] ||
            strtoll(word(c, at + 1), NULL, 10) != o ||
            strtoll(word(c, at + 2), NULL, 10) != r->timestamp_ms) {
            WRONG(w, "a batch to %" PRId64 " has not the record at %" PRId64, to, o);
        }
        if ((r->type == COMMAND_SET_RULES && o < to) ||
            (r->type == COMMAND_MARK && to != w->redis.watermark + 1)) {
            WRONG(w, "a batch to %" PRId64 " is cut wrongly", to);
        }
        at += 3 + (size_t)sizes[r->type];
    }
    assert_int_equal(WORDS_KEYS + at, c->n_words);
}

static void apply_batch(struct world *w, const struct call *c, int64_t to)
{
    struct redis *r = &w->redis;
    const int history = history_of(w, c, to);

    if (history < 0) {
        WRONG(w, "a batch to %" PRId64 " is from no log", to);
    }
    if (r->is_there && history != r->history && r->watermark >= w->cut) {
        WRONG(w, "records behind the cut at %" PRId64 " are applied at %" PRId64, w->cut, to);
    }
    check_batch(w, c, history, to);
    remember(w);
    assert_true(r->n < BOX_MAX);
    r->box[r->n++] = (struct batch){r->is_there ? r->watermark : -1, to};
    r->is_there = true;
    r->history = history;
    r->watermark = to;
}

static void put_ok(struct world *w, int64_t from, struct buf *out)
{
    const struct redis *r = &w->redis;
    const struct record *last = record_at(w, r->history, r->watermark);

    buf_printf(out, "ok %" PRId64 " %" PRId64 " %" PRId64 " ", r->watermark, last->log_time,
               last->next_due);
    if (r->n == 0) {
        buf_puts(out, "- 0\n");
    } else {
        buf_printf(out, "%" PRId64 " %zu\n", r->box[0].prev, r->n);
    }
    for (int64_t o = from + 1; o <= r->watermark; o++) {
        buf_printf(out, "%s\n", record_at(w, r->history, o)->line);
    }
}

static void play_apply(struct world *w, struct call *c)
{
    struct redis *r = &w->redis;
    const int64_t prev = strtoll(word(c, 2), NULL, 10);
    const int64_t to = strtoll(word(c, 4), NULL, 10);
    const int64_t count = strtoll(word(c, 10), NULL, 10);

    if (!r->is_there && (prev != -1 || count == 0)) {
        buf_puts(&c->reply, "absent");
        return;
    }
    if (r->is_there && (strcmp(word(c, 1), log_id) != 0 || prev != r->watermark ||
                        !is_hash(word(c, 3), chain_at(w, r->history, r->watermark)))) {
        buf_printf(&c->reply, "position %s %" PRId64 " 0 1 0", log_id, r->watermark);
        return;
    }
    if (r->is_there && record_at(w, r->history, r->watermark)->rules != COMMAND_RULES) {
        buf_puts(&c->reply, "rules 2");
        return;
    }
    trim(w, strtoll(word(c, 7), NULL, 10));
    if (count > 0 && r->n >= (size_t)strtoll(word(c, 8), NULL, 10)) {
        buf_puts(&c->reply, "full outbox");
        return;
    }
    if (count > 0) {
        apply_batch(w, c, to);
    }
    put_ok(w, prev, &c->reply);
}

/* ---- calls ---- */

static void free_call(struct call *c)
{
    for (size_t i = 0; i < c->n_words; i++) {
        free(c->words[i]);
    }
    free(c->words);
    buf_fini(&c->reply);
    *c = (struct call){.is_used = false};
}

static void begin_call(struct world *w, int matcher, const struct part_action *action)
{
    size_t i = 0;

    while (i < CALLS_MAX && w->calls[i].is_used) {
        i++;
    }
    if (i == CALLS_MAX) { /* too many that came late: those never run */
        for (i = 0; i < CALLS_MAX; i++) {
            if (w->calls[i].is_forgotten) {
                free_call(&w->calls[i]);
            }
        }
        i = 0;
        while (w->calls[i].is_used) {
            i++;
            assert_true(i < CALLS_MAX);
        }
    }
    w->calls[i] = (struct call){.is_used = true,
                                .is_read = action->type == PART_READ,
                                .matcher = matcher,
                                .number = action->call,
                                .n_commands = action->n_commands,
                                .n_words = action->words->n,
                                .words = xcalloc(action->words->n, sizeof(char *))};
    buf_init(&w->calls[i].reply, 1 << 20);
    for (size_t k = 0; k < action->words->n; k++) {
        w->calls[i].words[k] = xmemdup0(action->words->list[k].ptr, action->words->list[k].len);
    }
}

static void play(struct world *w, struct call *c)
{
    if (!c->is_played) {
        c->is_played = true;
        if (c->is_read) {
            play_position(w, &c->reply);
        } else {
            play_apply(w, c);
        }
    }
}

static void answer(struct world *w, struct call *c)
{
    struct part *part = w->matchers[c->matcher].part;
    struct slice fields[BOX_MAX + 16];
    struct slice rest = buf_slice(&c->reply);
    size_t n = 0;

    if (!c->is_read) {
        part_applied(part, c->number, rest, w->now);
    } else {
        while (rest.len > 0) {
            fields[n++] = slice_cut(rest, '\0', &rest);
        }
        part_position(part, c->number, fields, n, w->now);
    }
    free_call(c);
}

/* Nobody waits for them any more; the server may still run them. */
static void forget_calls(struct world *w, int matcher, bool tells)
{
    for (size_t i = 0; i < CALLS_MAX; i++) {
        struct call *c = &w->calls[i];

        if (c->is_used && !c->is_forgotten && c->matcher == matcher) {
            c->is_forgotten = true;
            if (tells) {
                part_unanswered(w->matchers[matcher].part, c->number, false, w->now);
            }
        }
    }
}

static void call_somehow(struct world *w, struct call *c)
{
    if (!c->is_used) {
        return;
    }
    if (c->is_forgotten) {
        if (chance(w, 30)) {
            play(w, c);
        }
        if (chance(w, 50)) {
            free_call(c);
        }
    } else if (chance(w, 5) && !c->is_played) {
        part_unanswered(w->matchers[c->matcher].part, c->number, true, w->now);
        free_call(c);
    } else if (!c->is_played) {
        play(w, c);
    } else if (!w->matchers[c->matcher].is_stopped) {
        answer(w, c);
    }
}

/* ---- the producer ---- */

static void take_flight(struct world *w, const struct flight *flight)
{
    assert_true(w->n_flights < FLIGHTS_MAX);
    w->flights[w->n_flights++] = *flight;
}

static void drop_flight(struct world *w, size_t i)
{
    free(w->flights[i].value);
    memmove(w->flights + i, w->flights + i + 1, (w->n_flights - i - 1) * sizeof(w->flights[0]));
    w->n_flights--;
}

static bool is_of(const struct flight *f, const struct record *r)
{
    const char *value = f->kind == PART_OUTCOME ? r->outcome : r->value == NULL ? "" : r->value;

    return strcmp(f->value, value) == 0;
}

static void land(struct world *w, struct flight *f)
{
    bool is_known = false;

    f->is_landed = true;
    if (f->is_tick) {
        append(w, "{\"type\":\"tick\"}");
        return;
    }
    for (int h = 0; h <= w->history; h++) {
        struct record *r =
            f->offset < w->histories[h].n ? w->histories[h].records[f->offset] : NULL;

        if (r != NULL && is_of(f, r)) {
            is_known = true;
            r->is_landed = r->is_landed || f->kind == PART_OUTCOME;
            r->is_dead_landed = r->is_dead_landed || f->kind == PART_DEAD;
        }
    }
    if (!is_known) {
        WRONG(w, "at %" PRId64 " was told %s", f->offset, f->value);
    }
    if (f->kind == PART_OUTCOME && f->offset == w->reader + 1) {
        w->reader++;
    }
}

static void fly(struct world *w, size_t i)
{
    struct flight *f = &w->flights[i];
    const int m = f->matcher;

    for (size_t k = 0; k < i; k++) {
        if (w->flights[k].matcher == m && !w->flights[k].is_landed) {
            return; /* one instance keeps its order */
        }
    }
    if (!f->is_landed) {
        land(w, f);
        return;
    }
    if (m >= 0 && w->matchers[m].is_stopped) {
        return;
    }
    if (m >= 0 && !w->matchers[m].is_broken) {
        if (f->is_tick) {
            part_ticked(w->matchers[m].part);
        } else {
            part_acked(w->matchers[m].part, f->seq, f->kind);
        }
    }
    drop_flight(w, i);
}

/* Those of an instance that is thrown away: each lands, or not, and nobody is told. */
static void orphan(struct world *w, int matcher)
{
    for (size_t i = w->n_flights; i > 0; i--) {
        struct flight *f = &w->flights[i - 1];

        if (f->matcher == matcher) {
            f->matcher = -1;
            if (f->is_landed || chance(w, 40)) {
                drop_flight(w, i - 1);
            }
        }
    }
}

static void renew(struct world *w, int matcher)
{
    struct matcher *m = &w->matchers[matcher];

    orphan(w, matcher);
    m->is_broken = false;
    part_resend(m->part);
}

/* ---- acting ---- */

static void publish(struct world *w, int matcher, const struct part_action *action)
{
    const struct part_message *message = &action->message;

    if (w->matchers[matcher].is_broken) {
        WRONG(w, "a message is published that cannot be");
    }
    take_flight(w, &(struct flight){
                       .matcher = matcher,
                       .seq = message->seq,
                       .kind = message->kind,
                       .offset = message->offset,
                       .value = xmemdup0(message->value.ptr == NULL ? "" : message->value.ptr,
                                         message->value.len),
                   });
    part_published(w->matchers[matcher].part);
}

static void take_halt(struct world *w, int matcher, const struct part_action *action)
{
    struct part_view view;
    bool is_cut;

    part_look(w->matchers[matcher].part, &view);
    is_cut = w->cut >= 0 && view.watermark >= w->cut &&
             (action->halt == PART_HALT_CHAIN || action->halt == PART_HALT_SHORT);
    if (!is_cut && !(w->has_rules && action->halt == PART_HALT_RULES)) {
        WRONG(w, "matcher %d halts (%s): %s", matcher, part_halt_name(action->halt), action->text);
    }
    w->matchers[matcher].is_halted = true;
}

/* Never twice in a row it gets lost, or lets some through that were on their way. */
static void seek(struct world *w, struct matcher *m, int64_t offset)
{
    m->seek = offset;
    m->stale = 0;
    m->is_odd = !w->is_healing && !w->may_cut && !m->is_odd && chance(w, 20);
    if (m->is_odd && chance(w, 50)) {
        m->seek = -1;
    } else if (m->is_odd) {
        m->stale = (int)below(w, 4);
    }
}

static void act(struct world *w, int matcher, const struct part_action *action)
{
    struct matcher *m = &w->matchers[matcher];

    switch (action->type) {
    case PART_READ:
    case PART_APPLY:
        begin_call(w, matcher, action);
        break;
    case PART_FETCH:
        seek(w, m, action->offset);
        break;
    case PART_RANGE:
        m->asks_range = true;
        break;
    case PART_PUBLISH:
        publish(w, matcher, action);
        break;
    case PART_TICK:
        take_flight(w, &(struct flight){.matcher = matcher, .is_tick = true});
        break;
    case PART_HALT:
        take_halt(w, matcher, action);
        break;
    }
}

static void step(struct world *w, int matcher, int max)
{
    struct matcher *m = &w->matchers[matcher];

    for (int i = 0; i < max; i++) {
        const unsigned can = (m->is_down ? 0U : PART_CAN_CALL) |
                             (m->is_broken || m->is_full ? 0U : PART_CAN_PUBLISH);
        struct part_action action;

        if (!part_next(m->part, w->now, can, &action)) {
            break;
        }
        act(w, matcher, &action);
    }
}

/* ---- the consumer ---- */

static void deliver(struct world *w, int matcher)
{
    struct matcher *m = &w->matchers[matcher];
    const struct history *h = log_now(w);
    const struct record *r;

    if (m->seek >= 0 && m->stale-- <= 0) {
        m->at = m->seek;
        m->seek = -1;
    }
    if (m->at > h->n) {
        m->at = -1;
        part_stuck(m->part, true, "out of range", w->now);
        return;
    }
    if (m->at < 0 || m->at == h->n || !part_wants(m->part)) {
        return;
    }
    r = h->records[m->at];
    part_record(m->part,
                &(struct part_record){
                    .offset = m->at,
                    .timestamp_ms = r->timestamp_ms,
                    .is_log_append_time = true,
                    .value = {r->value, r->value == NULL ? 0 : strlen(r->value)},
                },
                w->now);
    m->at++;
    if (!w->is_healing && !w->may_cut && chance(w, 2)) {
        m->at += below(w, 3) - 1; /* the client repeats, or skips */
    }
}

static void answer_range(struct world *w, int matcher)
{
    struct matcher *m = &w->matchers[matcher];

    if (m->asks_range) {
        m->asks_range = false;
        part_range(m->part, w->is_healing || !chance(w, 10), 0, log_now(w)->n, w->now);
    }
}

/* As matcher.c does for a consumer that has fallen silent. */
static void wake_silent(struct world *w, int matcher)
{
    struct matcher *m = &w->matchers[matcher];
    struct part_view view;

    part_look(m->part, &view);
    if (view.is_steady && view.unapplied == 0 && part_wants(m->part) &&
        view.next_offset < log_now(w)->n && m->seek < 0 && m->at != view.next_offset) {
        part_unfetched(m->part, w->now);
    }
}

/* ---- trouble ---- */

static void crash(struct world *w, int matcher)
{
    struct matcher *m = &w->matchers[matcher];

    forget_calls(w, matcher, false);
    orphan(w, matcher);
    part_destroy(m->part);
    *m = (struct matcher){.part = part_create(&w->settings, 0), .at = -1, .seek = -1};
}

static void lose_redis(struct world *w)
{
    if (chance(w, 15)) {
        w->redis = (struct redis){.is_there = false, .watermark = -1};
    } else if (w->n_past > 0) {
        const size_t i = chance(w, 40) ? w->n_past - 1 : (size_t)below(w, (int64_t)w->n_past);

        w->redis = w->past[i];
        w->n_past = i;
    }
}

/* The log loses its end and grows another one: with a new leader, so with a new connection. */
static void cut_log(struct world *w)
{
    struct history *old = &w->histories[0];
    struct history *h = &w->histories[1];

    if (!w->may_cut || w->cut >= 0 || old->n < 4) {
        return;
    }
    w->cut = 2 + below(w, old->n - 2);
    w->history = 1;
    h->fold = fold_create(0, 1);
    for (int64_t o = 0; o < w->cut; o++) {
        struct record *r = xcalloc(1, sizeof(*r));

        r->timestamp_ms = old->records[o]->timestamp_ms;
        r->value = old->records[o]->value == NULL
                       ? NULL
                       : xmemdup0(old->records[o]->value, strlen(old->records[o]->value));
        work_out(h, r, o, o - 1);
        r->is_landed = old->records[o]->is_landed;
        r->is_dead_landed = old->records[o]->is_dead_landed;
        h->records[h->n++] = r;
    }
    w->now.wall_ms++; /* no two records are the same */
    w->now.mono_ms++;
    for (int i = 0; i < MATCHERS; i++) {
        part_recheck(w->matchers[i].part);
    }
}

static void break_link(struct world *w, int matcher)
{
    struct matcher *m = &w->matchers[matcher];

    if (m->is_down) {
        m->is_down = false;
        part_wake(m->part);
    } else {
        m->is_down = chance(w, 50);
        forget_calls(w, matcher, true);
    }
}

static void regroup(struct world *w, int matcher)
{
    struct matcher *m = &w->matchers[matcher];

    part_revoke(m->part);
    m->asks_range = m->asks_range && chance(w, 50); /* an old answer may still come */
    if (chance(w, 80)) {
        m->at = chance(w, 50) ? m->at : log_now(w)->n;
        part_assign(m->part, w->now);
    }
}

static void trouble(struct world *w, int matcher)
{
    struct matcher *m = &w->matchers[matcher];

    switch (below(w, 16)) {
    case 0:
        crash(w, matcher);
        break;
    case 1:
    case 2:
        lose_redis(w);
        break;
    case 3:
    case 4:
        break_link(w, matcher);
        break;
    case 5:
    case 6:
        m->is_broken = true;
        break;
    case 7:
        m->is_stopped = !m->is_stopped;
        break;
    case 8:
    case 9:
        regroup(w, matcher);
        break;
    case 10:
        part_recheck(m->part);
        break;
    case 11:
        part_unfetched(m->part, w->now);
        break;
    case 12:
        m->is_full = !m->is_full;
        break;
    case 13:
        w->broker_skew_ms = below(w, 8000) - 4000;
        break;
    case 14:
        cut_log(w);
        break;
    default:
        if (!w->may_cut && log_now(w)->n > 1 && log_now(w)->n < LOG_MAX && chance(w, 20)) {
            append(w, "{\"type\":\"rules\",\"rules\":2}");
            w->has_rules = true;
        }
        break;
    }
}

static void pass_time(struct world *w, int64_t ms)
{
    w->now.mono_ms += ms;
    w->now.wall_ms += ms;
}

static void go_on(struct world *w, int matcher)
{
    struct matcher *m = &w->matchers[matcher];

    if (m->is_stopped) {
        return;
    }
    switch (below(w, 6)) {
    case 0:
    case 1:
        for (int64_t n = below(w, 8); n >= 0; n--) {
            deliver(w, matcher);
        }
        break;
    case 2:
        answer_range(w, matcher);
        break;
    case 3:
        if (m->is_broken && chance(w, 30)) {
            renew(w, matcher);
        }
        break;
    default:
        step(w, matcher, chance(w, 50) ? 1 : 20);
        break;
    }
}

static void do_something(struct world *w, int percent)
{
    const int matcher = (int)below(w, MATCHERS);

    if (chance(w, percent)) {
        trouble(w, matcher);
        return;
    }
    switch (below(w, 8)) {
    case 0:
        append_something(w);
        break;
    case 1:
        pass_time(w, below(w, chance(w, 10) ? 3000 : 120));
        break;
    case 2:
    case 3:
        call_somehow(w, &w->calls[below(w, chance(w, 70) ? 4 : CALLS_MAX)]);
        break;
    case 4:
        if (w->n_flights > 0) {
            fly(w, (size_t)below(w, (int64_t)w->n_flights));
        }
        break;
    default:
        go_on(w, matcher);
        break;
    }
}

/* ---- healing ---- */

static bool is_done(struct world *w, int owner)
{
    const struct history *h = log_now(w);
    const struct redis *r = &w->redis;
    struct part_view view;

    part_look(w->matchers[owner].part, &view);
    if (w->has_rules || (w->cut >= 0 && r->is_there && r->history == 0 && r->watermark >= w->cut)) {
        return w->matchers[owner].is_halted;
    }
    if (w->matchers[owner].is_halted) {
        return w->cut >= 0; /* and Redis went back since */
    }
    return view.is_steady && r->is_there && r->watermark == h->n - 1 && r->n == 0 &&
           view.unacked == 0 && w->n_flights == 0 && h->records[h->n - 1]->next_due == 0;
}

static void begin_healing(struct world *w, int owner)
{
    w->is_healing = true;
    while (log_now(w)->n < 3) {
        append_something(w);
    }
    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (w->calls[i].is_used && w->calls[i].is_forgotten) {
            free_call(&w->calls[i]);
        }
    }
    for (int i = 0; i < MATCHERS; i++) {
        struct matcher *m = &w->matchers[i];

        m->is_stopped = false;
        m->is_full = false;
        m->is_down = false;
        part_wake(m->part);
        if (m->is_broken) {
            renew(w, i);
        }
        if (i != owner) {
            part_revoke(m->part);
        } else {
            struct part_view view;

            part_look(m->part, &view);
            if (!view.is_assigned) {
                part_assign(m->part, w->now);
            }
        }
    }
}

static void heal_step(struct world *w, int n)
{
    pass_time(w, HEAL_MS);
    for (int i = 0; i < MATCHERS; i++) {
        for (int k = 0; k < 30; k++) {
            deliver(w, i);
        }
        answer_range(w, i);
        if (n % 50 == 49) {
            wake_silent(w, i);
        }
        step(w, i, 1000);
    }
    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (w->calls[i].is_used) {
            play(w, &w->calls[i]);
            answer(w, &w->calls[i]);
        }
    }
    for (int k = 0; k < 400 && w->n_flights > 0; k++) {
        fly(w, 0);
    }
}

static void heal(struct world *w)
{
    const int owner = (int)below(w, MATCHERS);
    struct part_view view;

    begin_healing(w, owner);
    for (int n = 0; n < HEAL_STEPS; n++) {
        if (is_done(w, owner)) {
            break;
        }
        heal_step(w, n);
    }
    part_look(w->matchers[owner].part, &view);
    if (!is_done(w, owner)) {
        WRONG(w,
              "does not converge: log ends at %" PRId64 ", Redis stands at %" PRId64
              " with %zu batches untold, matcher %d is %s at %" PRId64 ", wants %" PRId64
              ", unapplied %zu, unacked %zu",
              log_now(w)->n, w->redis.watermark, w->redis.n, owner, view.phase, view.watermark,
              view.next_offset, view.unapplied, view.unacked);
    }
    if (w->cut < 0 && w->reader != log_now(w)->n - 1) {
        WRONG(w, "a reader of outcomes ends at %" PRId64 ", the log at %" PRId64, w->reader,
              log_now(w)->n - 1);
    }
    w->is_healing = false;
}

/* ---- a schedule ---- */

static void begin_world(struct world *w, uint64_t seed)
{
    *w = (struct world){.random = {seed},
                        .seed = seed,
                        .now = {1000, 1700000000000},
                        .cut = -1,
                        .redis = {.watermark = -1},
                        .reader = -1};
    w->histories[0].fold = fold_create(0, 1);
    w->may_cut = chance(w, 25);
    w->settings = (struct part_settings){.key_prefix = "t",
                                         .partitions = 1,
                                         .batch_max = 1 + below(w, 6),
                                         .queue_max = 1 + below(w, 20),
                                         .unacked_max = 1 + below(w, 20),
                                         .outbox_max = 1 + below(w, chance(w, 50) ? 3 : 30),
                                         .remembered_max = 1000000,
                                         .clock_skew_max_ms = 60000,
                                         .tick_min_ms = 250,
                                         .tick_max_ms = 5000,
                                         .idle_ms = 1000};
    for (int i = 0; i < MATCHERS; i++) {
        w->matchers[i] =
            (struct matcher){.part = part_create(&w->settings, 0), .at = -1, .seek = -1};
    }
}

static void end_world(struct world *w)
{
    for (int i = 0; i < MATCHERS; i++) {
        part_destroy(w->matchers[i].part);
    }
    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (w->calls[i].is_used) {
            free_call(&w->calls[i]);
        }
    }
    while (w->n_flights > 0) {
        drop_flight(w, w->n_flights - 1);
    }
    for (int h = 0; h < 2; h++) {
        for (int64_t o = 0; o < w->histories[h].n; o++) {
            struct record *r = w->histories[h].records[o];

            free(r->value);
            free(r->line);
            free(r->outcome);
            free(r);
        }
        fold_destroy(w->histories[h].fold);
    }
}

static void run_schedule(struct world *w, uint64_t seed)
{
    begin_world(w, seed);
    const int percent = (int)(1 + below(w, 12));
    const int rounds = (int)(1 + below(w, 2));

    for (int round = 0; round < rounds; round++) {
        const int64_t steps = 50 + below(w, 500);

        for (int64_t i = 0; i < steps; i++) {
            do_something(w, percent);
        }
        heal(w);
        if (w->has_rules || w->cut >= 0) {
            break;
        }
        if (chance(w, 50) && w->n_past > 0) { /* a loss strikes when all is quiet, too */
            if (chance(w, 50)) {
                heal(w); /* perhaps with another owner, who finds the outbox empty */
            }
            w->redis = w->past[--w->n_past];
            heal(w);
        }
    }
    end_world(w);
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static void test_random_schedules(void **state)
{
    const uint64_t first = number_of("PART_RANDOM_SEED", 1);
    const uint64_t n = number_of("PART_RANDOM_SCHEDULES", SCHEDULES);
    struct world *w = xcalloc(1, sizeof(*w));

    (void)state;
    print_message("schedules of seeds %" PRIu64 " to %" PRIu64 "\n", first, first + n - 1);
    for (uint64_t seed = first; seed < first + n; seed++) {
        run_schedule(w, seed);
    }
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_schedules),
    };

    return cmocka_run_group_tests_name("part_random", tests, NULL, NULL);
}
