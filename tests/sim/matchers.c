#include "tests/sim/matchers.h"

#include <string.h>

#include "common/buf.h"
#include "common/slice.h"
#include "tests/sim/log.h"
#include "tests/sim/redis.h"

enum { REPLY_MAX = 1 << 20 };

/* ---- calls ---- */

static void free_call(struct call *c)
{
    buf_fini(&c->reply);
    *c = (struct call){.is_used = false};
}

static struct call *new_call(struct world *w)
{
    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (!w->calls[i].is_used) {
            return &w->calls[i];
        }
    }
    for (size_t i = 0; i < CALLS_MAX; i++) { /* too many that came late: those never run */
        if (w->calls[i].is_forgotten) {
            free_call(&w->calls[i]);
        }
    }
    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (!w->calls[i].is_used) {
            return &w->calls[i];
        }
    }
    wrong(w, "more calls than partitions are under way");
}

static void begin_call(struct world *w, int matcher, struct shard *s,
                       const struct part_action *action)
{
    struct call *c = new_call(w);

    *c = (struct call){.is_used = true,
                       .is_read = action->type == PART_READ,
                       .former = w->matchers[matcher].is_behind && s->is_split ? s->splits : 0,
                       .matcher = matcher,
                       .shard = s->number,
                       .number = action->call};
    buf_init(&c->reply, REPLY_MAX);
    if (!c->is_read) {
        redis_read_request(w, s, action, &c->request);
    }
    tell(w, "matcher %d/%d: %s %" PRId64 "..%" PRId64 " acked %" PRId64, matcher, s->number,
         c->is_read ? "asks for the position" : "sends", c->request.prev + 1, c->request.to,
         c->request.acked);
}

static void play(struct world *w, struct call *c)
{
    struct shard *s = &w->shards[c->shard];
    struct redis *r = c->former > 0 ? &s->former : &s->redis;

    if (c->is_played) {
        return;
    }
    c->is_played = true;
    c->is_lost = c->former > 0 && (!s->is_split || s->splits != c->former);
    if (c->is_forgotten) {
        seen(COVER_CALL_LATE);
        tell(w, "redis %d: a late call of matcher %d runs", c->shard, c->matcher);
    }
    if (c->is_lost) {
        return; /* that master is gone */
    }
    if (c->is_read) {
        redis_play_position(w, s, r, &c->reply);
    } else {
        redis_play_apply(w, s, r, &c->request, &c->reply);
    }
}

static void answer(struct world *w, struct call *c)
{
    struct part *part = w->matchers[c->matcher].desks[c->shard].part;
    struct slice fields[BOX_MAX + 16];
    struct slice rest = buf_slice(&c->reply);
    size_t n = 0;

    if (c->is_lost) {
        part_unanswered(part, c->number, false, w->now);
    } else if (!c->is_read) {
        tell(w, "matcher %d/%d: hears `%.*s`", c->matcher, c->shard,
             (int)slice_cut(rest, '\n', &(struct slice){NULL, 0}).len, rest.ptr);
        part_applied(part, c->number, rest, w->now);
    } else {
        while (rest.len > 0) {
            fields[n++] = slice_cut(rest, '\0', &rest);
        }
        tell(w, "matcher %d/%d: hears the position, %zu fields", c->matcher, c->shard, n);
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
            if (c->is_played) {
                seen(COVER_REPLY_LOST);
            }
            if (tells) {
                part_unanswered(w->matchers[matcher].desks[c->shard].part, c->number, false,
                                w->now);
            }
        }
    }
}

static void call_somehow(struct world *w, struct call *c)
{
    if (c->is_forgotten) {
        if (chance(w, 30)) {
            play(w, c);
        }
        if (chance(w, 50)) {
            free_call(c);
        }
    } else if (!c->is_played && chance(w, w->shards[c->shard].is_away ? 50 : 5)) {
        seen(COVER_CALL_REFUSED);
        part_unanswered(w->matchers[c->matcher].desks[c->shard].part, c->number, true, w->now);
        free_call(c);
    } else if (!c->is_played) {
        play(w, c);
    } else if (!w->matchers[c->matcher].is_stopped) {
        answer(w, c);
    }
}

/* Any of those under way. */
void matchers_call(struct world *w)
{
    size_t used[CALLS_MAX];
    int64_t n = 0;

    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (w->calls[i].is_used) {
            used[n++] = i;
        }
    }
    if (n > 0) {
        call_somehow(w, &w->calls[used[below(w, n)]]);
    }
}

/* ---- the producer ---- */

static void take_flight(struct world *w, const struct flight *flight)
{
    if (w->n_flights == FLIGHTS_MAX) {
        wrong(w, "more messages fly than there can be");
    }
    w->flights[w->n_flights++] = *flight;
}

static void drop_flight(struct world *w, size_t i)
{
    memmove(w->flights + i, w->flights + i + 1, (w->n_flights - i - 1) * sizeof(w->flights[0]));
    w->n_flights--;
}

static void land_outcome(struct world *w, struct shard *s, struct node *node)
{
    if (s->n_topic == TOPIC_MAX) {
        wrong(w, "more outcomes than the topic takes");
    }
    if (node->landed > 0) {
        seen(COVER_TWICE);
    }
    for (int64_t i = s->n_topic; i > 0 && node->landed == 0; i--) {
        if (s->topic[i - 1]->offset > node->offset) {
            seen(COVER_OUT_OF_ORDER);
            break;
        }
    }
    node->landed++;
    node->has_landed = true;
    s->topic[s->n_topic++] = node;
    tell(w, "outcomes %d: %" PRId64 " has the outcome of %" PRId64, s->number, s->n_topic - 1,
         node->offset);
}

static void land(struct world *w, struct flight *f)
{
    struct shard *s = &w->shards[f->shard];

    f->is_landed = true;
    if (f->is_tick) {
        seen(COVER_TICK);
        log_append_tick(w, s);
    } else if (f->kind == PART_DEAD) {
        seen(COVER_DEAD);
        f->node->is_dead_landed = true;
    } else {
        land_outcome(w, s, f->node);
    }
}

static void fly(struct world *w, size_t i)
{
    struct flight *f = &w->flights[i];
    const int m = f->matcher;
    struct part *part;

    for (size_t k = 0; k < i; k++) {
        if (w->flights[k].matcher == m && w->flights[k].shard == f->shard &&
            w->flights[k].kind == f->kind && !w->flights[k].is_landed) {
            return; /* one instance keeps its order within a partition of a topic */
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
        part = w->matchers[m].desks[f->shard].part;
        if (f->is_tick) {
            part_ticked(part);
        } else {
            part_acked(part, f->seq, f->kind);
        }
    }
    drop_flight(w, i);
}

void matchers_fly(struct world *w)
{
    if (w->n_flights > 0) {
        fly(w, (size_t)below(w, (int64_t)w->n_flights));
    }
}

/*
 * Those of an instance that is thrown away: some land, some do not, and nobody is told.  An idempotent
 * producer leaves no hole, so behind one that is lost all of the same topic and partition are.
 */
static void orphan(struct world *w, int matcher)
{
    bool is_lost[SHARDS_MAX][2][2] = {{{false}}};

    for (size_t i = 0; i < w->n_flights;) {
        struct flight *f = &w->flights[i];
        bool *lost = &is_lost[f->shard][f->kind == PART_DEAD][f->is_tick];

        if (f->matcher != matcher) {
            i++;
            continue;
        }
        f->matcher = -1;
        *lost = *lost || (!f->is_landed && chance(w, 25));
        if (f->is_landed) {
            seen(COVER_ACK_LOST);
            drop_flight(w, i);
        } else if (*lost) {
            seen(COVER_PRODUCE_FAILED);
            tell(w, "producer of %d: a message is lost", matcher);
            drop_flight(w, i);
        } else {
            i++;
        }
    }
}

static void renew(struct world *w, int matcher)
{
    struct matcher *m = &w->matchers[matcher];

    tell(w, "matcher %d: a new producer", matcher);
    orphan(w, matcher);
    m->is_broken = false;
    for (int i = 0; i < w->n_shards; i++) {
        part_resend(m->desks[i].part);
    }
}

/* ---- acting ---- */

/* The record whose outcome this is, byte by byte. */
static struct node *told_node(struct world *w, struct shard *s, const struct part_message *message)
{
    struct node *node = log_at(s, message->offset);
    const bool is_dead = message->kind == PART_DEAD;

    for (struct node *next = s->nodes;; next = next->older) {
        if (node != NULL && node->offset == message->offset) {
            const char *text = is_dead ? node->value : node->outcome;

            if (slice_eq(message->value, slice_str(text)) ||
                (message->value.len == 0 && text == NULL)) {
                return node;
            }
        }
        if (next == NULL) {
            break;
        }
        node = next;
    }
    wrong(w, "promise 3 is broken: at %d/%" PRId64 " was told %.*s", s->number, message->offset,
          (int)message->value.len, message->value.ptr == NULL ? "" : message->value.ptr);
}

static void publish(struct world *w, int matcher, struct shard *s, const struct part_action *action)
{
    const struct part_message *message = &action->message;

    if (w->matchers[matcher].is_broken) {
        wrong(w, "a message is published that cannot be");
    }
    take_flight(w, &(struct flight){.matcher = matcher,
                                    .shard = s->number,
                                    .seq = message->seq,
                                    .kind = message->kind,
                                    .node = told_node(w, s, message)});
    part_published(w->matchers[matcher].desks[s->number].part);
}

static void take_halt(struct world *w, int matcher, struct shard *s,
                      const struct part_action *action)
{
    struct part_view view;
    bool is_right = false;

    part_look(w->matchers[matcher].desks[s->number].part, &view);
    switch (action->halt) {
    case PART_HALT_RULES:
        is_right = s->has_rules;
        seen(COVER_HALT_RULES);
        break;
    case PART_HALT_CHAIN:
        is_right = s->cut >= 0 && view.watermark >= s->cut;
        seen(COVER_HALT_CHAIN);
        break;
    case PART_HALT_SHORT:
        is_right = s->cut >= 0 && view.watermark >= s->cut;
        seen(COVER_HALT_SHORT);
        break;
    case PART_HALT_GENESIS:
        is_right = s->is_recreated;
        break;
    case PART_HALT_CLOCK:
        is_right = s->has_leapt;
        seen(COVER_HALT_CLOCK);
        break;
    default:
        break;
    }
    tell(w, "matcher %d/%d: halts (%s): %s", matcher, s->number, part_halt_name(action->halt),
         action->text);
    if (!is_right) {
        wrong(w, "matcher %d halts partition %d (%s): %s", matcher, s->number,
              part_halt_name(action->halt), action->text);
    }
    w->matchers[matcher].desks[s->number].is_halted = true;
}

/*
 * It gets lost, or lets some through that were on their way; but then one is done as it was asked before
 * the next trouble of that kind.
 */
static void seek(struct world *w, struct desk *d, int64_t offset)
{
    const bool is_odd = !w->is_healing && !w->may_cut && !d->is_odd && chance(w, 20);

    d->is_odd = d->is_odd || is_odd;
    d->seek = offset;
    d->stale = 0;
    if (is_odd && chance(w, 50)) {
        seen(COVER_SEEK_LOST);
        d->seek = -1;
    } else if (is_odd) {
        d->stale = (int)below(w, 4);
    }
}

static bool is_zombie(struct world *w, int matcher, int shard)
{
    for (int i = 0; i < MATCHERS; i++) {
        struct part_view view;

        part_look(w->matchers[i].desks[shard].part, &view);
        if (i != matcher && view.is_steady) {
            return true;
        }
    }
    return false;
}

static void act(struct world *w, int matcher, struct shard *s, const struct part_action *action)
{
    struct desk *d = &w->matchers[matcher].desks[s->number];

    switch (action->type) {
    case PART_APPLY:
        if (action->n_commands > 0 && is_zombie(w, matcher, s->number)) {
            seen(COVER_ZOMBIE);
        }
        begin_call(w, matcher, s, action);
        break;
    case PART_READ:
        begin_call(w, matcher, s, action);
        break;
    case PART_FETCH:
        tell(w, "matcher %d/%d: fetches from %" PRId64, matcher, s->number, action->offset);
        seek(w, d, action->offset);
        break;
    case PART_RANGE:
        d->asks_range = true;
        break;
    case PART_PUBLISH:
        publish(w, matcher, s, action);
        break;
    case PART_TICK:
        take_flight(w, &(struct flight){.matcher = matcher, .shard = s->number, .is_tick = true});
        break;
    case PART_HALT:
        take_halt(w, matcher, s, action);
        break;
    }
}

static void step(struct world *w, int matcher, int shard, int max)
{
    struct matcher *m = &w->matchers[matcher];

    for (int i = 0; i < max; i++) {
        const unsigned can = (m->is_down ? 0U : PART_CAN_CALL) |
                             (m->is_broken || m->is_full ? 0U : PART_CAN_PUBLISH);
        struct part_action action;

        if (!part_next(m->desks[shard].part, w->now, can, &action)) {
            break;
        }
        act(w, matcher, &w->shards[shard], &action);
    }
}

void matchers_note_phases(struct world *w, int matcher)
{
    for (int i = 0; i < w->n_shards; i++) {
        struct desk *d = &w->matchers[matcher].desks[i];
        struct part_view view;
        const char *was = d->phase == NULL ? "idle" : d->phase;
        char is;

        part_look(d->part, &view);
        is = view.phase[0];
        d->phase = view.phase;
        if (is == was[0]) {
            continue;
        }
        tell(w, "matcher %d/%d: is %s at %" PRId64, matcher, i, view.phase, view.watermark);
        if (is == 'r') {
            seen(was[0] == 's'   ? COVER_STEADY_READING
                 : was[0] == 'c' ? COVER_CATCHING_READING
                                 : COVER_PHASE_READING);
        } else if (is == 'c') {
            seen(was[0] == 's' ? COVER_STEADY_CATCHING : COVER_PHASE_CATCHING);
        } else if (is == 's') {
            seen(was[0] == 'r' ? COVER_FRESH : COVER_PHASE_STEADY);
        }
    }
}

/* ---- the consumer ---- */

static void deliver(struct world *w, int matcher, int shard)
{
    struct desk *d = &w->matchers[matcher].desks[shard];
    const struct shard *s = &w->shards[shard];
    const struct node *node;
    struct part_view view;

    if (d->seek >= 0 && d->stale-- <= 0) {
        d->at = d->seek;
        d->seek = -1;
    }
    if (d->at > s->n) {
        d->at = -1;
        part_stuck(d->part, true, "out of range", w->now);
        return;
    }
    if (d->at < 0 || d->at == s->n || !part_wants(d->part)) {
        return;
    }
    node = s->log[d->at];
    part_record(d->part,
                &(struct part_record){
                    .offset = d->at,
                    .timestamp_ms = node->timestamp_ms,
                    .is_log_append_time = true,
                    .value = {node->value, node->value == NULL ? 0 : strlen(node->value)},
                },
                w->now);
    d->at++;
    part_look(d->part, &view);
    d->is_odd = d->is_odd && view.next_offset != d->at;
    if (!w->is_healing && !w->may_cut && !d->is_odd && chance(w, 2)) {
        seen(COVER_SKIPPED);
        d->is_odd = true;
        d->at += below(w, 3) - 1;
    }
}

static void answer_range(struct world *w, int matcher, int shard)
{
    struct desk *d = &w->matchers[matcher].desks[shard];

    if (d->asks_range) {
        d->asks_range = false;
        part_range(d->part, w->is_healing || !chance(w, 10), 0, w->shards[shard].n, w->now);
    }
}

/* As matcher.c does for a consumer that has fallen silent. */
static void wake_silent(struct world *w, int matcher, int shard)
{
    struct desk *d = &w->matchers[matcher].desks[shard];
    struct part_view view;

    part_look(d->part, &view);
    if (view.is_steady && view.unapplied == 0 && part_wants(d->part) &&
        view.next_offset < w->shards[shard].n && d->seek < 0 && d->at != view.next_offset) {
        part_unfetched(d->part, w->now);
    }
}

/* ---- trouble ---- */

void matchers_crash(struct world *w, int matcher)
{
    struct matcher *m = &w->matchers[matcher];

    seen(COVER_CRASH);
    tell(w, "matcher %d: is killed", matcher);
    forget_calls(w, matcher, false);
    orphan(w, matcher);
    for (int i = 0; i < w->n_shards; i++) {
        part_destroy(m->desks[i].part);
    }
    *m = (struct matcher){.is_behind = m->is_behind};
    for (int i = 0; i < w->n_shards; i++) {
        m->desks[i] = (struct desk){.part = part_create(&w->settings, i), .at = -1, .seek = -1};
    }
}

void matchers_cut_link(struct world *w, int matcher)
{
    struct matcher *m = &w->matchers[matcher];

    if (m->is_down) {
        m->is_down = false;
        for (int i = 0; i < w->n_shards; i++) {
            part_wake(m->desks[i].part);
        }
    } else {
        seen(COVER_LINK_DOWN);
        tell(w, "matcher %d: loses its link to Redis", matcher);
        m->is_down = chance(w, 50);
        forget_calls(w, matcher, true);
    }
}

void matchers_switch_master(struct world *w, int matcher)
{
    w->matchers[matcher].is_behind = !w->matchers[matcher].is_behind;
    forget_calls(w, matcher, true);
}

void matchers_break_producer(struct world *w, int matcher)
{
    tell(w, "matcher %d: its producer fails", matcher);
    w->matchers[matcher].is_broken = true;
}

void matchers_lose_messages(struct world *w, const struct shard *s)
{
    for (size_t i = 0; i < w->n_flights;) {
        if (w->flights[i].shard == s->number) {
            drop_flight(w, i);
        } else {
            i++;
        }
    }
    for (int i = 0; i < MATCHERS; i++) {
        matchers_break_producer(w, i);
    }
}

void matchers_regroup(struct world *w, int matcher)
{
    struct matcher *m = &w->matchers[matcher];

    seen(COVER_REGROUP);
    for (int i = 0; i < w->n_shards; i++) {
        struct desk *d = &m->desks[i];

        part_revoke(d->part);
        d->asks_range = d->asks_range && chance(w, 50); /* an old answer may still come */
        if (chance(w, 80)) {
            d->at = chance(w, 50) ? d->at : w->shards[i].n;
            part_assign(d->part, w->now);
            tell(w, "matcher %d/%d: is assigned", matcher, i);
        }
    }
}

/* One that has no partition may be given it, whoever else has it. */
static void assign_some(struct world *w, int matcher, int shard)
{
    struct desk *d = &w->matchers[matcher].desks[shard];
    struct part_view view;

    part_look(d->part, &view);
    if (!view.is_assigned && chance(w, w->zombies)) {
        part_assign(d->part, w->now);
        tell(w, "matcher %d/%d: is assigned", matcher, shard);
    }
}

void matchers_go_on(struct world *w, int matcher)
{
    struct matcher *m = &w->matchers[matcher];
    const int shard = any_shard(w)->number;

    if (m->is_stopped) {
        return;
    }
    assign_some(w, matcher, shard);
    switch (below(w, 6)) {
    case 0:
    case 1:
        for (int64_t n = below(w, 8); n >= 0; n--) {
            deliver(w, matcher, shard);
        }
        break;
    case 2:
        answer_range(w, matcher, shard);
        break;
    default:
        if (m->is_broken && chance(w, 30)) {
            renew(w, matcher);
        }
        step(w, matcher, shard, chance(w, 50) ? 1 : 20);
        break;
    }
}

/* ---- life, healing ---- */

void matchers_init(struct world *w)
{
    for (int i = 0; i < MATCHERS; i++) {
        for (int k = 0; k < w->n_shards; k++) {
            w->matchers[i].desks[k] =
                (struct desk){.part = part_create(&w->settings, k), .at = -1, .seek = -1};
        }
    }
}

void matchers_fini(struct world *w)
{
    for (int i = 0; i < MATCHERS; i++) {
        for (int k = 0; k < w->n_shards; k++) {
            part_destroy(w->matchers[i].desks[k].part);
        }
    }
    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (w->calls[i].is_used) {
            free_call(&w->calls[i]);
        }
    }
}

static void settle(struct world *w, int matcher, int shard, bool is_owner)
{
    struct desk *d = &w->matchers[matcher].desks[shard];
    struct part_view view;

    part_wake(d->part);
    part_look(d->part, &view);
    if (!is_owner) {
        part_revoke(d->part);
    } else if (!view.is_assigned) {
        part_assign(d->part, w->now);
    }
}

void matchers_heal(struct world *w, const int *owners)
{
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
        m->is_behind = false;
        if (m->is_broken) {
            renew(w, i);
        }
        for (int k = 0; k < w->n_shards; k++) {
            settle(w, i, k, owners[k] == i);
        }
    }
}

void matchers_heal_step(struct world *w, int n)
{
    for (int i = 0; i < MATCHERS; i++) {
        for (int shard = 0; shard < w->n_shards; shard++) {
            for (int k = 0; k < 30; k++) {
                deliver(w, i, shard);
            }
            answer_range(w, i, shard);
            if (n % 50 == 49) {
                wake_silent(w, i, shard);
            }
            step(w, i, shard, 1000);
        }
        matchers_note_phases(w, i);
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
