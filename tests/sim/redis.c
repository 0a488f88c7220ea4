#include "tests/sim/redis.h"

#include <stdlib.h>
#include <string.h>

#include "tests/sim/doors.h"
#include "tests/sim/log.h"

enum {
    WORDS_KEYS = 8,
    WORDS_HEAD = 11,
    REBUILD_PIECES = 2,
    EXPIRE_MAX = 2, /* TEST_BOUND in common/fold.c */
};

/* ---- what a call says ---- */

static int64_t number(const struct part_action *action, size_t i)
{
    int64_t n;

    return slice_to_i64(action->words->list[WORDS_KEYS + i], -1, INT64_MAX, &n) ? n : INT64_MIN;
}

static uint64_t hash(const struct part_action *action, size_t i)
{
    uint64_t n;

    return ids_hash_parse(action->words->list[WORDS_KEYS + i], &n) ? n : 0;
}

/* The commands are those of the nodes behind request->from, rightly cut. */
static void check_commands(struct world *w, const struct part_action *action,
                           const struct request *request)
{
    static const char letters[] = "GVSROPCTMAX"; /* by enum command_type */
    static const size_t sizes[] = {3, 1, 9, 3, 6, 3, 2, 0, 0, 3, 0};
    const struct node *nodes[LOG_MAX];
    const struct node *node = request->end;
    size_t at = WORDS_HEAD;

    for (int64_t i = request->count; i > 0; i--) {
        nodes[i - 1] = node;
        node = node->parent;
    }
    for (int64_t i = 0; i < request->count; i++) {
        const struct slice *words = action->words->list + WORDS_KEYS;

        node = nodes[i];
        if (WORDS_KEYS + at + 2 >= action->words->n || words[at].ptr[0] != letters[node->type] ||
            number(action, at + 1) != node->offset ||
            number(action, at + 2) != node->timestamp_ms) {
            wrong(w, "a batch to %" PRId64 " has not the record at %" PRId64, request->to,
                  node->offset);
        }
        if ((node->type == COMMAND_SET_RULES && i + 1 < request->count) ||
            (node->type == COMMAND_MARK && request->count > 1)) {
            wrong(w, "a batch to %" PRId64 " is cut wrongly", request->to);
        }
        at += 3 + sizes[node->type];
    }
    if (WORDS_KEYS + at != action->words->n) {
        wrong(w, "a batch to %" PRId64 " has words too many", request->to);
    }
}

void redis_read_request(struct world *w, struct shard *s, const struct part_action *action,
                        struct request *request)
{
    *request = (struct request){
        .rules = number(action, 0),
        .prev = number(action, 2),
        .chain_before = hash(action, 3),
        .to = number(action, 4),
        .acked = number(action, 7),
        .outbox_max = number(action, 8),
        .remembered_max = number(action, 9),
        .count = number(action, 10),
    };
    if (request->count == 0) {
        return;
    }
    request->end = log_find(s, request->to, hash(action, 5));
    if (request->end == NULL || request->end->hash != hash(action, 6)) {
        wrong(w, "a batch to %" PRId64 " is from no log", request->to);
    }
    if (!log_has(s, request->end)) {
        wrong(w,
              "promise 10 is broken: records behind the cut at %" PRId64 " are sent up to %" PRId64,
              s->cut, request->to);
    }
    request->from = request->end;
    for (int64_t i = 0; i < request->count; i++) {
        if (request->from == NULL) {
            wrong(w, "a batch to %" PRId64 " has more commands than the log records", request->to);
        }
        request->from = request->from->parent;
    }
    if ((request->from == NULL ? -1 : request->from->offset) != request->prev) {
        wrong(w, "a batch to %" PRId64 " does not begin behind %" PRId64, request->to,
              request->prev);
    }
    check_commands(w, action, request);
}

/* ---- the scripts ---- */

static void put_hash(struct buf *out, uint64_t value)
{
    char text[IDS_HASH_LEN + 1];

    ids_hash_format(text, value);
    buf_puts(out, text);
}

void redis_genesis(const struct node *node, char text[IDS_LOG_LEN + 1])
{
    const char *at;

    at = strstr(node->first->value, "\"log_id\":\"");
    memcpy(text, at + 10, IDS_LOG_LEN);
    text[IDS_LOG_LEN] = '\0';
}

static uint64_t chain_before(const struct batch *b)
{
    char text[IDS_LOG_LEN + 1];

    if (b->prev != NULL) {
        return b->prev->chain;
    }
    redis_genesis(b->to, text);
    return ids_chain_start(slice_str(text));
}

static int64_t rules_before(const struct batch *b)
{
    const struct node *node = b->prev;

    for (const struct node *at = b->to; b->prev == NULL && at != NULL; at = at->parent) {
        node = at; /* the genesis */
    }
    return node == NULL ? 0 : node->rules;
}

/*
 * What the mutant tells that counts expiries per batch: those of a command come first, and what is more
 * than the batch may have is left standing.  But the hold that is to be paid or cancelled lapses anyway.
 */
static void put_line_by_batch(const struct node *node, int64_t *expired, struct buf *out)
{
    const bool may_lapse = node->type == COMMAND_PAY || node->type == COMMAND_CANCEL;
    struct slice rest = slice_str(node->line);
    bool is_first = true;

    while (rest.len > 0) {
        const struct slice event = slice_cut(rest, ';', &rest);

        if (event.len > 0 && event.ptr[0] == 'e' && ++*expired > EXPIRE_MAX && !may_lapse) {
            continue;
        }
        if (!is_first) {
            buf_putc(out, ';');
        }
        buf_put_slice(out, event);
        is_first = false;
    }
}

static void put_lines(const struct node *from, const struct node *to, struct buf *out)
{
    const struct node *nodes[LOG_MAX];
    int64_t expired = 0;
    size_t n = 0;

    for (const struct node *node = to; node != from; node = node->parent) {
        nodes[n++] = node;
    }
    while (n > 0) {
        n--;
        if (MUTANT(BOUND_PER_BATCH)) {
            put_line_by_batch(nodes[n], &expired, out);
        } else {
            buf_puts(out, nodes[n]->line);
        }
        buf_putc(out, '\n');
    }
}

void redis_play_position(const struct world *w, const struct redis *r, struct buf *out)
{
    const struct node *at = r->at;
    char text[IDS_LOG_LEN + 1];

    if (at == NULL && r->token != 0) {
        seen(COVER_WAITING);
        buf_printf(out, "rebuild%c%d%c%d%c", 0, r->token, 0, r->pieces, 0);
        return;
    }
    if (at == NULL) {
        seen(COVER_ABSENT);
        if (r->is_torn) {
            buf_printf(out, "keys%c", 0);
        }
        return;
    }
    redis_genesis(at, text);
    buf_printf(out, "%s%c%" PRId64 "%c", text, 0, at->offset, 0);
    put_hash(out, at->chain);
    buf_putc(out, 0);
    put_hash(out, at->hash);
    buf_printf(out, "%c%" PRId64 "%c%" PRId64 "%c%d%c", 0, at->log_time, 0, at->rules, 0,
               w->n_shards, 0);
    for (size_t i = 0; i < r->n; i++) {
        const struct batch *b = &r->box[i];

        buf_printf(out, "%" PRId64 " %" PRId64 " ", b->prev == NULL ? -1 : b->prev->offset,
                   b->to->offset);
        put_hash(out, chain_before(b));
        buf_printf(out, " %" PRId64, b->prev == NULL ? 0 : b->prev->log_time);
        if (rules_before(b) != 1) {
            buf_printf(out, " %" PRId64, rules_before(b));
        }
        buf_putc(out, '\n');
        put_lines(b->prev, b->to, out);
        buf_putc(out, 0);
    }
}

static void remember(struct shard *s)
{
    if (s->n_past == PAST_MAX) {
        memmove(s->past, s->past + 1, (PAST_MAX - 1) * sizeof(s->past[0]));
        s->n_past--;
    }
    s->past[s->n_past++] = s->redis;
}

/* An outcome may leave the outbox only when it stands in the topic. */
static void trim(struct world *w, struct shard *s, struct redis *r, int64_t acked)
{
    size_t n = 0;

    while (n < r->n && r->box[n].to->offset <= acked) {
        for (const struct node *node = r->box[n].to; node != r->box[n].prev; node = node->parent) {
            if (!node->has_landed || (node->type == COMMAND_MALFORMED && !node->is_dead_landed)) {
                wrong(w,
                      "promise 3 is broken: the outcome of %d/%" PRId64
                      " leaves the outbox and is nowhere else",
                      s->number, node->offset);
            }
        }
        n++;
    }
    if (n > 0) {
        if (r == &s->redis) {
            remember(s); /* a failover may bring back the same watermark with an older outbox */
        }
        memmove(r->box, r->box + n, (r->n - n) * sizeof(r->box[0]));
        r->n -= n;
        tell(w, "redis %d: outbox trimmed up to %" PRId64, s->number, acked);
        seen(COVER_TRIM);
    }
}

static void apply_batch(struct world *w, struct shard *s, struct redis *r,
                        const struct request *request)
{
    if (request->from != r->at) {
        wrong(w,
              "promise 1 is broken: at %d/%" PRId64 " Redis applies the records from %" PRId64
              " to %" PRId64,
              s->number, r->at == NULL ? -1 : r->at->offset, request->prev, request->to);
    }
    if (r->at != NULL && r->at->rules != request->rules) {
        wrong(w, "promise 10 is broken: rules %" PRId64 " are applied to a state of rules %" PRId64,
              request->rules, r->at->rules);
    }
    if (r == &s->redis) {
        remember(s);
    }
    r->box[r->n++] = (struct batch){r->at, request->end};
    r->at = request->end;
    s->farthest = r->at->offset > s->farthest ? r->at->offset : s->farthest;
    tell(w, "redis %d%s: applied %" PRId64 "..%" PRId64, s->number,
         r == &s->redis ? "" : " (former)", request->prev + 1, request->to);
    seen(COVER_APPLY);
    if (r != &s->redis) {
        seen(COVER_SPLIT_APPLY);
    }
}

static bool is_where(const struct redis *r, const struct request *request)
{
    if (r->at == NULL) {
        return request->prev < 0;
    }
    return request->prev == r->at->offset && request->chain_before == r->at->chain;
}

static void put_ok(const struct redis *r, const struct request *request, struct buf *out)
{
    const struct node *at = r->at;

    buf_printf(out, "ok %" PRId64 " %" PRId64 " %" PRId64 " ", at->offset, at->log_time,
               at->next_due);
    if (r->n == 0) {
        buf_puts(out, "- 0\n");
    } else {
        buf_printf(out, "%" PRId64 " %zu\n", r->box[0].prev == NULL ? -1 : r->box[0].prev->offset,
                   r->n);
    }
    if (request->count > 0) {
        put_lines(request->from, at, out);
    }
}

void redis_play_apply(struct world *w, struct shard *s, struct redis *r,
                      const struct request *request, struct buf *out)
{
    if (r->at == NULL &&
        (request->prev != -1 || request->count == 0 || r->token != 0 || r->is_torn)) {
        seen(COVER_ABSENT);
        buf_puts(out, "absent");
        return;
    }
    if (!is_where(r, request) && !MUTANT(APPLY_ANYWHERE)) {
        seen(COVER_MISMATCH);
        buf_printf(out, "position x %" PRId64 " 0 1 0", r->at == NULL ? -1 : r->at->offset);
        return;
    }
    if (r->at != NULL && r->at->rules != request->rules) {
        buf_printf(out, "rules %" PRId64, r->at->rules);
        return;
    }
    if (!(MUTANT(IDLE_NO_TRIM) && request->count == 0)) {
        trim(w, s, r, request->acked);
    }
    if (request->count > 0 && (int64_t)r->n >= request->outbox_max) {
        seen(COVER_FULL_OUTBOX);
        buf_puts(out, "full outbox");
        return;
    }
    if (request->count > 0 && r->at != NULL && r->at->remembered >= request->remembered_max) {
        seen(COVER_FULL_REMEMBERED);
        buf_puts(out, "full remembered");
        return;
    }
    if (request->count > 0) {
        apply_batch(w, s, r, request);
    } else {
        seen(COVER_APPLY_EMPTY);
    }
    if (r->at != NULL) {
        put_ok(r, request, out);
    }
}

/* ---- the scripts of a rebuild ---- */

void redis_rebuild_begin(struct world *w, struct shard *s, int token)
{
    remember(s);
    s->redis = (struct redis){.token = token};
    doors_note_redis(w);
    tell(w, "redis %d: a rebuild begins (%d)", s->number, token);
    seen(COVER_REBUILD_BEGIN);
}

bool redis_rebuild_put(struct world *w, struct shard *s, int token, int piece, struct node *node)
{
    struct redis *r = &s->redis;
    const bool is_end = piece > REBUILD_PIECES;

    if ((r->token != token || r->pieces + 1 != piece) && !MUTANT(REBUILD_UNFENCED)) {
        return false;
    }
    if (r->at != NULL) {
        wrong(w, "promise 1 is broken: a rebuild's piece is written over the state at %d/%" PRId64,
              s->number, r->at->offset);
    }
    tell(w, "redis %d: piece %d of rebuild %d", s->number, piece, token);
    if (!is_end) {
        r->pieces = piece;
        r->piece_of[piece] = node;
        return true;
    }
    for (int i = 1; i <= REBUILD_PIECES; i++) {
        if (r->piece_of[i] != node) {
            wrong(w, "promise 1 is broken: Redis %d is rebuilt from two positions", s->number);
        }
    }
    remember(s);
    *r = (struct redis){.at = node};
    return true;
}

/* ---- what may befall it ---- */

static void take_past(struct world *w, struct shard *s, size_t i)
{
    const struct node *before = s->redis.at;
    const size_t n = s->redis.n;

    s->redis = s->past[i];
    s->n_past = i;
    tell(w, "redis %d: falls back to %" PRId64 " with %zu batches in the outbox", s->number,
         s->redis.at == NULL ? -1 : s->redis.at->offset, s->redis.n);
    seen(COVER_FAILOVER);
    if (before == s->redis.at && n < s->redis.n) {
        seen(COVER_SAME_WATERMARK);
    }
}

void redis_fail_over_last(struct world *w, struct shard *s)
{
    if (s->n_past > 0) {
        take_past(w, s, s->n_past - 1);
    }
}

void redis_fail_over(struct world *w, struct shard *s)
{
    if (s->n_past > 0) {
        take_past(w, s, chance(w, 40) ? s->n_past - 1 : (size_t)below(w, (int64_t)s->n_past));
    }
}

void redis_flush(struct world *w, struct shard *s)
{
    s->redis = (struct redis){.at = NULL};
    tell(w, "redis %d: forgets everything", s->number);
    seen(COVER_FLUSH);
}

void redis_restore(struct world *w, struct shard *s)
{
    for (size_t i = s->n_past; i > 0; i--) {
        const struct node *at = s->past[i - 1].at;

        if (at != NULL && at->offset < s->cut) {
            take_past(w, s, i - 1);
            return;
        }
    }
    redis_flush(w, s);
}

/* Its new server has not got its keys. */
static void leave_behind(struct world *w, struct shard *s, bool is_torn)
{
    s->left = s->redis;
    s->has_left = true;
    s->redis = (struct redis){.is_torn = is_torn};
    tell(w, "redis %d: the slot arrives without %s", s->number, is_torn ? "its log" : "its keys");
    seen(is_torn ? COVER_SLOT_TORN : COVER_SLOT_LOST);
}

void redis_move_slot(struct world *w, struct shard *s)
{
    if (s->slot == SLOT_HERE && s->has_left && chance(w, 70)) {
        s->redis = s->left;
        s->has_left = false;
        tell(w, "redis %d: what was left behind is the state again", s->number);
        seen(COVER_SLOT_BACK);
        return;
    }
    if (s->slot != SLOT_GONE) {
        s->slot++;
        tell(w, "redis %d: the slot is %s", s->number,
             s->slot == SLOT_OFFERED  ? "to be moved"
             : s->slot == SLOT_SPREAD ? "being moved"
                                      : "elsewhere");
        return;
    }
    s->slot = SLOT_HERE;
    if (chance(w, 50) || s->redis.at == NULL) {
        tell(w, "redis %d: the slot arrives with its keys", s->number);
        seen(COVER_SLOT_MOVED);
    } else {
        leave_behind(w, s, chance(w, 50));
    }
}

void redis_split(struct world *w, struct shard *s)
{
    if (s->is_split || s->n_past == 0) {
        return;
    }
    s->former = s->redis;
    s->is_split = true;
    s->splits++;
    seen(COVER_SPLIT);
    tell(w, "redis %d: a second master", s->number);
    if (chance(w, 70)) {
        redis_fail_over(w, s);
    }
}

void redis_unsplit(struct world *w, struct shard *s)
{
    if (s->is_split) {
        s->is_split = false;
        seen(COVER_SPLIT_END);
        tell(w, "redis %d: the former master gives up", s->number);
    }
}
