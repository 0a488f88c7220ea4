#include "tests/sim/matchers.h"

#include "common/slice.h"
#include "tests/sim/flights.h"
#include "tests/sim/log.h"
#include "tests/sim/wire.h"

static void renew(struct world *w, int matcher)
{
    struct matcher *m = &w->matchers[matcher];

    tell(w, "matcher %d: a new producer", matcher);
    flights_orphan(w, matcher);
    m->is_broken = false;
    for (int i = 0; i < w->n_shards; i++) {
        part_resend(m->desks[i].part);
    }
}

/* ---- acting ---- */

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
    struct matcher *m = &w->matchers[matcher];
    struct desk *d = &m->desks[s->number];

    switch (action->type) {
    case PART_APPLY:
        if (action->n_commands > 0 && is_zombie(w, matcher, s->number)) {
            seen(COVER_ZOMBIE);
        }
        wire_send(w, matcher, s, action);
        m->did = COVER_KILLED_SENDING;
        break;
    case PART_READ:
        wire_send(w, matcher, s, action);
        m->did = COVER_KILLED_ASKING;
        break;
    case PART_FETCH:
        tell(w, "matcher %d/%d: fetches from %" PRId64, matcher, s->number, action->offset);
        seek(w, d, action->offset);
        m->did = COVER_KILLED_FETCHING;
        break;
    case PART_RANGE:
        d->asks_range = true;
        m->did = COVER_KILLED_MEASURING;
        break;
    case PART_PUBLISH:
        flights_publish(w, matcher, s, action);
        m->did = COVER_KILLED_PUBLISHING;
        break;
    case PART_TICK:
        flights_tick(w, matcher, s);
        m->did = COVER_KILLED_PUBLISHING;
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

        if (!part_next(m->desks[shard].part, matchers_now(w, matcher), can, &action)) {
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
        } else if (view.wait == PART_WAIT_HEAD) {
            seen(COVER_WAIT_HEAD);
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
    if (d->at > s->n || (d->at >= 0 && d->at < s->begin)) {
        d->at = -1;
        part_stuck(d->part, true, "out of range", matchers_now(w, matcher));
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
                matchers_now(w, matcher));
    d->at++;
    w->matchers[matcher].did = COVER_KILLED_READING;
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
        part_range(d->part, w->is_healing || !chance(w, 10), w->shards[shard].begin,
                   w->shards[shard].n, matchers_now(w, matcher));
        w->matchers[matcher].did = COVER_KILLED_MEASURED;
    }
}

/* As matcher_read.c does for a consumer that has fallen silent. */
static void wake_silent(struct world *w, int matcher, int shard)
{
    struct desk *d = &w->matchers[matcher].desks[shard];
    struct part_view view;

    part_look(d->part, &view);
    if (view.is_steady && view.unapplied == 0 && part_wants(d->part) &&
        view.next_offset < w->shards[shard].n && d->seek < 0 && d->at != view.next_offset) {
        part_unfetched(d->part, matchers_now(w, matcher));
    }
}

/* ---- trouble ---- */

void matchers_crash(struct world *w, int matcher)
{
    struct matcher *m = &w->matchers[matcher];

    seen(COVER_CRASH);
    seen(m->did);
    tell(w, "matcher %d: is killed", matcher);
    wire_forget(w, matcher, false);
    flights_orphan(w, matcher);
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
        wire_forget(w, matcher, true);
    }
}

void matchers_switch_master(struct world *w, int matcher)
{
    w->matchers[matcher].is_behind = !w->matchers[matcher].is_behind;
    wire_forget(w, matcher, true);
}

void matchers_break_producer(struct world *w, int matcher)
{
    tell(w, "matcher %d: its producer fails", matcher);
    w->matchers[matcher].is_broken = true;
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
            part_assign(d->part, matchers_now(w, matcher));
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
        part_assign(d->part, matchers_now(w, matcher));
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
    wire_fini(w);
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
        part_assign(d->part, matchers_now(w, matcher));
    }
}

void matchers_heal(struct world *w, const int *owners)
{
    wire_end_forgotten(w);
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
    wire_answer_all(w);
    flights_land_all(w, 400);
}
