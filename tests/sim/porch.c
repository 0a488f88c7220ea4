/*
 * What stands in for the parts of a door that speak to others: look-ups (lookup.h), publisher
 * (publish.h), outcome stream (stream.h), record (record.h), and the draw of ids.  Everything
 * above them is the producer's own code.
 *
 * A question to Redis is put, played at some time by the master that there is, and answered at some
 * later time.  A command lands in the log at some time, or never; its report comes later, or never.
 */
#include "tests/sim/porch.h"

#include <stdlib.h>
#include <string.h>

#include "common/entropy.h"
#include "common/xmalloc.h"
#include "tests/sim/doors.h"
#include "tests/sim/log.h"
#include "tests/sim/redis.h"

enum { REDIS_TIMEOUT_MS = 1500 };

/* ---- chance, time ---- */

void porch_tick(struct porch *p)
{
    porch_wake(p);
    loop_turn(&p->base);
}

/* What a world draws must be its own: the ids of orders without a key, too. */
static struct random ids_random;

void porch_seed(uint64_t seed)
{
    ids_random = (struct random){seed};
}

bool entropy_take(void *out, size_t len)
{
    unsigned char *bytes = out;

    for (size_t i = 0; i < len; i++) {
        bytes[i] = (unsigned char)random_u64(&ids_random);
    }
    return true;
}

static struct porch *porch_of(const struct event_base *base)
{
    return base->owner;
}

/* ---- look-ups ---- */

struct lookup *lookup_create(struct event_base *base, const struct lookup_settings *settings,
                             struct err *err)
{
    struct lookup *l = &porch_of(base)->lookup;

    (void)err;
    *l = (struct lookup){.porch = porch_of(base), .settings = *settings};
    return l;
}

static void answer(struct lookup *l, size_t i, enum door_look_result result)
{
    const struct question q = l->questions[i];
    char genesis[IDS_LOG_LEN + 1];
    struct door_look look = {
        .result = result,
        .partition = q.partition,
        .watermark = -1,
        .horizon = q.horizon,
    };

    porch_wake(l->porch);
    memmove(l->questions + i, l->questions + i + 1, (l->n - i - 1) * sizeof(l->questions[0]));
    l->n--;
    if (result == DOOR_LOOK_GOT) {
        struct reel *reel = &l->porch->stream.reels[q.partition];

        redis_genesis(q.node, genesis);
        look.watermark = q.node->offset;
        look.log_time = q.node->log_time;
        look.genesis = slice_str(genesis);
        if (q.user_id[0] == 'u') { /* a stranger has nothing */
            const char *orders = q.node->orders[q.user_id[1] - '0'];

            look.orders = orders == NULL ? (struct slice){NULL, 0} : slice_str(orders);
        }
        if (q.item_id[0] != '\0') {
            const char *item = q.node->items[q.item_id[0] - 'x'];

            look.item = item == NULL ? (struct slice){NULL, 0} : slice_str(item);
        }
        if (q.node->offset < reel->heard) {
            reel->gap_ms = l->porch->world->now.mono_ms; /* knowledge older than what was heard */
        }
    }
    l->porch->visit = q.visit;
    l->porch->did = COVER_LEFT_LOOKED;
    l->settings.done(q.party, &look, slice_str(q.item_id), l->settings.arg);
    l->porch->visit = 0;
}

void lookup_destroy(struct lookup *l)
{
    if (l == NULL) {
        return;
    }
    while (l->n > 0 && !l->porch->is_killed) {
        answer(l, 0, DOOR_LOOK_UNANSWERED);
    }
    *l = (struct lookup){.porch = NULL};
}

static void copy_name(char out[NAME_SIZE], struct slice name)
{
    tables_name(out, NAME_SIZE, name.ptr == NULL ? (struct slice){"", 0} : name);
}

enum door_look_result lookup_ask(struct lookup *l, const struct lookup_question *question)
{
    const struct world *w = l->porch->world;
    struct question *q = &l->questions[l->n];

    if (l->porch->is_down) {
        return DOOR_LOOK_UNANSWERED;
    }
    if (l->n == QUESTIONS_MAX) {
        seen(COVER_LOOK_FULL);
        return DOOR_LOOK_FULL;
    }
    *q = (struct question){
        .partition = question->partition,
        .former = l->porch->is_behind && w->shards[question->partition].is_split
                      ? w->shards[question->partition].splits
                      : 0,
        .horizon = question->horizon,
        .asked_ms = w->now.mono_ms,
        .party = question->party,
        .visit = l->porch->visit,
    };
    copy_name(q->user_id, question->user_id);
    copy_name(q->item_id, question->item_id);
    l->n++;
    l->porch->did = COVER_LEFT_ASKING;
    return DOOR_LOOK_GOT;
}

bool lookup_is_up(const struct lookup *l)
{
    return !l->porch->is_down;
}

static void play(struct world *w, struct question *q)
{
    const struct shard *s = &w->shards[q->partition];
    const struct redis *r = q->former > 0 ? &s->former : &s->redis;

    q->is_played = true;
    q->node = r->at;
    q->is_absent = r->at == NULL;
}

void porch_ask_redis(struct porch *p)
{
    struct world *w = p->world;
    struct lookup *l = &p->lookup;
    struct question *q;
    size_t i;

    for (i = 0; i < l->n; i++) {
        if (w->now.mono_ms - l->questions[i].asked_ms > REDIS_TIMEOUT_MS) {
            seen(COVER_LOOK_LOST);
            answer(l, i, DOOR_LOOK_UNANSWERED);
            return;
        }
    }
    if (l->n == 0) {
        return;
    }
    i = (size_t)below(w, (int64_t)l->n);
    q = &l->questions[i];
    if (p->is_down || chance(w, 3) || (!q->is_played && redis_is_away(&w->shards[q->partition])) ||
        (q->former > 0 &&
         (!w->shards[q->partition].is_split || w->shards[q->partition].splits != q->former))) {
        seen(COVER_LOOK_LOST);
        answer(l, i, DOOR_LOOK_UNANSWERED);
    } else if (!q->is_played) {
        play(w, q);
    } else {
        answer(l, i, q->is_absent ? DOOR_LOOK_ABSENT : DOOR_LOOK_GOT);
    }
}

/* ---- commands ---- */

struct publish *publish_create(struct event_base *base, const struct publish_settings *settings,
                               struct err *err)
{
    (void)err;
    porch_of(base)->publish = (struct publish){.porch = porch_of(base), .settings = *settings};
    return &porch_of(base)->publish;
}

void publish_destroy(struct publish *p)
{
    if (p != NULL) {
        p->porch = NULL;
    }
}

bool publish_has_room(const struct publish *p)
{
    const struct crowd *crowd = p->porch->world->crowd;

    return !p->porch->is_full && crowd->n_parcels < PARCELS_MAX;
}

bool publish_send(struct publish *p, const struct command *cmd, int partition,
                  struct slice traceparent, inflight_ticket ticket)
{
    struct world *w = p->porch->world;
    struct crowd *crowd = w->crowd;
    struct parcel *parcel = &crowd->parcels[crowd->n_parcels++];

    (void)traceparent;
    *parcel = (struct parcel){
        .porch = p->porch->number,
        .shard = partition,
        .ticket = ticket,
        .visit = p->porch->visit,
        .is_slow = !w->is_healing && chance(w, 8),
        .offset = -1,
    };
    if (command_format(cmd, parcel->value, sizeof(parcel->value)) == 0) {
        wrong(w, "a command cannot be written");
    }
    p->porch->did = COVER_LEFT_SENDING;
    tell(w, "door %d: sends %s", p->porch->number, parcel->value);
    return true;
}

void publish_hurry(struct publish *p)
{
    (void)p;
}

size_t publish_queued(const struct publish *p)
{
    (void)p;
    return 0;
}

static void drop_parcel(struct crowd *crowd, size_t i)
{
    memmove(crowd->parcels + i, crowd->parcels + i + 1,
            (crowd->n_parcels - i - 1) * sizeof(crowd->parcels[0]));
    crowd->n_parcels--;
}

/* The report of a command comes; or there is nobody whom it could reach. */
static void report(struct world *w, size_t i, enum inflight_fate fate)
{
    const struct parcel parcel = w->crowd->parcels[i];

    drop_parcel(w->crowd, i);
    if (parcel.porch >= 0) {
        struct publish *p = &w->crowd->porches[parcel.porch].publish;

        porch_wake(p->porch);
        p->settings.report(
            &(struct publish_report){
                .ticket = parcel.ticket,
                .fate = fate,
                .partition = parcel.shard,
                .offset = fate == INFLIGHT_DELIVERED ? parcel.offset : -1,
                .timestamp_ms = fate == INFLIGHT_DELIVERED ? parcel.timestamp_ms : -1,
            },
            p->settings.arg);
        p->porch->did = fate == INFLIGHT_DELIVERED ? COVER_LEFT_REPORTED : COVER_LEFT_FAILED;
    }
}

/* False when the log does not take it. */
static bool land(struct world *w, struct parcel *parcel)
{
    struct shard *s = &w->shards[parcel->shard];
    const int64_t n = s->n;

    if (n == 0 || !log_has_room(s)) {
        return false; /* the topic was made anew, and its genesis comes first */
    }
    log_append(w, s, parcel->value);
    if (parcel->is_denied) {
        wrong(w,
              "promise 2 is broken: %s stands in the log, and its sender was told that it does not",
              parcel->value);
    }
    for (size_t i = 0; i < VISITS_MAX; i++) {
        struct http_request *v = &w->crowd->visits[i];

        v->has_landed = v->has_landed || v->number == parcel->visit;
    }
    parcel->is_landed = true;
    parcel->offset = n;
    parcel->timestamp_ms = s->log[n]->timestamp_ms;
    return true;
}

static void move_parcel(struct world *w, size_t i)
{
    struct parcel *parcel = &w->crowd->parcels[i];

    if (parcel->is_slow && !chance(w, 3)) {
        return; /* its deadline comes first, perhaps */
    }
    if (parcel->is_landed) {
        if (chance(w, 6)) {
            seen(COVER_REPORT_LOST);
            drop_parcel(w->crowd, i);
        } else {
            parcel->offset = chance(w, 3) ? -1 : parcel->offset;
            report(w, i, INFLIGHT_DELIVERED);
        }
    } else if (chance(w, 80)) {
        if (!land(w, parcel)) {
            report(w, i, INFLIGHT_FAILED);
        } else if (chance(w, 3)) {
            seen(COVER_SENT_TWICE);
            log_append(w, &w->shards[parcel->shard], parcel->value);
        }
    } else if (chance(w, 50)) {
        seen(COVER_SEND_FAILED);
        report(w, i, INFLIGHT_FAILED);
    } else if (chance(w, 50)) {
        seen(COVER_SEND_UNKNOWN);
        report(w, i, INFLIGHT_UNKNOWN);
    } else {
        seen(COVER_SEND_LOST);
        drop_parcel(w->crowd, i);
    }
}

void porch_move_parcel(struct world *w)
{
    if (w->crowd->n_parcels > 0) {
        const size_t i = (size_t)below(w, (int64_t)w->crowd->n_parcels);
        const int porch = w->crowd->parcels[i].porch;

        if (porch < 0 || !w->crowd->porches[porch].is_stopped) {
            move_parcel(w, i);
        }
    }
}

void porch_move_all_parcels(struct world *w)
{
    while (w->crowd->n_parcels > 0) {
        struct parcel *parcel = &w->crowd->parcels[0];

        report(w, 0, parcel->is_landed || land(w, parcel) ? INFLIGHT_DELIVERED : INFLIGHT_FAILED);
    }
}

/* ---- outcomes ---- */

struct stream *stream_create(struct event_base *base, const struct stream_settings *settings,
                             struct err *err)
{
    struct stream *s = &porch_of(base)->stream;

    (void)err;
    *s = (struct stream){.porch = porch_of(base), .settings = *settings};
    return s;
}

void stream_destroy(struct stream *s)
{
    if (s != NULL) {
        s->porch = NULL;
    }
}

/* From the last record there is; see producer/stream.c. */
static void assign(struct world *w, struct stream *s)
{
    s->is_assigned = true;
    s->is_up = true;
    s->settings.calls.kafka(true, s->settings.calls.arg);
    for (int i = 0; i < w->n_shards; i++) {
        const int64_t end = w->shards[i].n_topic;

        s->reels[i] = (struct reel){
            .at = end > 0 ? end - 1 : 0, .end = end, .heard = -1, .gap_ms = w->now.mono_ms};
    }
}

/* What it does not read counts as told, up to here. */
static void learn_log_end(struct world *w, struct stream *s, int shard)
{
    const struct shard *sh = &w->shards[shard];

    s->reels[shard].has_log_end = true;
    if (sh->redis.at != NULL && sh->mysql.progress.position > sh->redis.at->offset) {
        seen(COVER_DOOR_BEGAN_BEHIND);
    }
    s->settings.calls.log_end(shard, sh->n, s->settings.calls.arg);
}

static void be_ready(struct stream *s, int shard)
{
    if (!s->reels[shard].is_ready) {
        s->reels[shard].is_ready = true;
        s->settings.calls.ready(shard, true, s->settings.calls.arg);
    }
}

static void hear(struct world *w, struct stream *s, int shard)
{
    const struct node *node = w->shards[shard].topic[s->reels[shard].at++];
    struct reel *reel = &s->reels[shard];
    struct err err;

    if (!outcome_parse(&w->outcome, slice_str(node->outcome), &err)) {
        wrong(w, "an outcome cannot be read: %s", err.text);
    }
    if (node->offset > reel->heard) {
        if (node->offset > reel->heard + 1) {
            reel->gap_ms = w->now.mono_ms;
        }
        reel->heard = node->offset;
    }
    s->porch->did = COVER_LEFT_READING;
    s->settings.calls.outcome(&w->outcome, s->settings.calls.arg);
}

void porch_read_outcomes(struct porch *p, int shard)
{
    struct stream *s = &p->stream;
    struct reel *reel = &s->reels[shard];
    const int64_t n = p->world->shards[shard].n_topic;

    porch_wake(p);
    if (!s->is_assigned) {
        assign(p->world, s);
    }
    if (!reel->has_log_end) {
        learn_log_end(p->world, s, shard);
    }
    if (reel->at > n || reel->at < p->world->shards[shard].topic_begin) {
        reel->at = n; /* out of range: what is appended from now on is what counts */
        reel->gap_ms = p->world->now.mono_ms;
        learn_log_end(p->world, s, shard);
        be_ready(s, shard);
    } else if (reel->at < n && s->is_up) {
        hear(p->world, s, shard);
    }
    if (reel->at >= reel->end) {
        be_ready(s, shard);
    }
}

bool porch_is_sound(const struct porch *p, int shard)
{
    const struct reel *reel = &p->stream.reels[shard];

    return p->stream.is_assigned && reel->is_ready && reel->heard >= 0 &&
           p->world->now.mono_ms - reel->gap_ms > FRESH_MS;
}

/* ---- the record ---- */

struct record *record_create(struct event_base *base, const struct record_settings *settings,
                             struct err *err)
{
    struct record *r = &porch_of(base)->record;

    (void)err;
    *r = (struct record){.porch = porch_of(base), .settings = *settings};
    return r;
}

void record_destroy(struct record *r)
{
    if (r != NULL) {
        r->porch = NULL;
    }
}

bool record_ask(struct record *r, struct slice order_id, struct slice user_id, uint64_t party)
{
    struct reading *reading = &r->readings[r->n];

    if (r->n == READINGS_MAX) {
        return false;
    }
    *reading = (struct reading){.party = party};
    (void)ids_parse_order(order_id, &reading->partition, NULL);
    tables_name(reading->order_id, sizeof(reading->order_id), order_id);
    copy_name(reading->user_id, user_id);
    r->n++;
    r->porch->did = COVER_LEFT_ASKING_MYSQL;
    return true;
}

static void put_payments(struct buf *out, const struct tables *t, const char *order_id)
{
    bool is_first = true;

    for (size_t i = 0; i < t->n_payments; i++) {
        if (strcmp(t->payments[i].order_id, order_id) == 0) {
            buf_printf(out, "%s%c%s", is_first ? "" : ",", (char)t->payments[i].answer,
                       t->payments[i].payment_id);
            is_first = false;
        }
    }
    buf_puts(out, is_first ? "-" : "");
}

static void answer_reading(struct record *r, bool is_answered)
{
    struct tables *t = &r->porch->world->shards[r->readings[0].partition].mysql.tables;
    const struct reading reading = r->readings[0];
    const struct row_order *row = tables_order(t, reading.order_id, reading.user_id);
    enum record_result result = RECORD_ABSENT;
    char text[1024];
    struct buf out;

    porch_wake(r->porch);
    r->n--;
    memmove(r->readings, r->readings + 1, r->n * sizeof(r->readings[0]));
    buf_init_fixed(&out, text, sizeof(text));
    if (row != NULL) {
        result = t->is_forgotten[row - t->orders] ? RECORD_FORGOTTEN : RECORD_FOUND;
        buf_printf(&out, "%s %s %" PRId64 " %c %" PRId64 " %" PRId64 " %" PRId64 " ", row->order_id,
                   row->item_id, row->qty, (char)row->state, row->reason, row->due,
                   row->decided_offset);
        put_payments(&out, t, row->order_id);
        seen(COVER_RECORD_FOUND);
    }
    r->settings.done(reading.party, is_answered ? result : RECORD_UNANSWERED, buf_slice(&out),
                     r->settings.arg);
}

void porch_read_mysql(struct porch *p)
{
    if (p->record.n > 0) {
        answer_reading(&p->record, !chance(p->world, 10));
    }
}

/* ---- without trouble ---- */

void porch_settle(struct porch *p)
{
    struct world *w = p->world;

    for (int i = 0; i < w->n_shards; i++) {
        do {
            porch_read_outcomes(p, i);
        } while (p->stream.reels[i].at != w->shards[i].n_topic);
    }
    while (p->lookup.n > 0) {
        struct question *q = &p->lookup.questions[0];

        if (!q->is_played) {
            play(w, q);
        }
        answer(&p->lookup, 0, q->is_absent ? DOOR_LOOK_ABSENT : DOOR_LOOK_GOT);
    }
    while (p->record.n > 0) {
        answer_reading(&p->record, true);
    }
    porch_tick(p);
}
