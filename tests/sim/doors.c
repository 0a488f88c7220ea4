#include "tests/sim/doors.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "tests/sim/porch.h"
#include "tests/sim/shoppers.h"

enum {
    SILENCE_MS = 3000,
    GRACE_MS = 300,
    CHECK_TURNS = 400,
    CHECK_MS = 30,
};

static void ignore(struct slice line, void *arg)
{
    (void)line;
    (void)arg;
}

static void start(struct porch *p)
{
    struct err err;

    p->is_down = p->is_full = p->is_behind = p->is_killed = p->is_leaving = false;
    p->lookup.n = p->record.n = 0;
    p->did = COVER_NONE;
    porch_wake(p);
    for (int i = 0; i < p->world->n_shards; i++) {
        p->began[i] = p->world->shards[i].n - 1;
    }
    p->calls = calls_create(&p->base, &p->world->crowd->settings, &err);
    if (p->calls == NULL) {
        wrong(p->world, "a door does not start: %s", err.text);
    }
}

/* Its process is gone.  What it has sent may land, and nobody is told. */
static void end(struct porch *p, bool is_killed)
{
    struct calls *calls = p->calls;
    struct crowd *crowd = p->world->crowd;

    p->is_killed = is_killed;
    p->calls = NULL; /* what it says now may end the schedule */
    if (calls == NULL) {
        return;
    }
    for (size_t i = 0; i < crowd->n_parcels; i++) {
        if (crowd->parcels[i].porch == p->number) {
            crowd->parcels[i].porch = -1;
        }
    }
    porch_wake(p);
    calls_destroy(calls);
    shoppers_left(p);
}

void doors_init(struct world *w)
{
    struct crowd *crowd = xcalloc(1, sizeof(*crowd));

    w->crowd = crowd;
    crowd->settings = (struct calls_settings){
        .topics = {.partitions = w->n_shards},
        .door =
            {
                .partitions = w->n_shards,
                .items_max = (size_t)(1 + below(w, 4)),
                .fresh_ms = FRESH_MS,
                .silence_ms = SILENCE_MS,
                .lag_max = 5 + below(w, 30),
                .rates = {.keys_max = 1},
                .seed = w->seed,
            },
        .calls_max = VISITS_MAX,
        .inflight_max = 2 + below(w, 12),
        .waiters_max = 2 + below(w, 12),
        .send_timeout_ms = 400 + below(w, 2000),
        .patience_ms = chance(w, 20) ? 3000 : 60000,
        .redis_timeout_ms = 500,
        .secret = SLICE_LIT("0123456789abcdef0123456789abcdef"),
    };
    porch_seed(w->seed);
    log_set_sink(ignore, NULL);
    log_set_level(LOG_LEVEL_ERROR);
    for (int i = 0; i < DOORS; i++) {
        struct porch *p = &crowd->porches[i];

        p->world = w;
        p->number = i;
        p->base.owner = p;
        start(p);
    }
}

void doors_fini(struct world *w)
{
    for (int i = 0; i < DOORS; i++) {
        end(&w->crowd->porches[i], true);
    }
    free(w->crowd);
    w->crowd = NULL;
}

static struct porch *porch_of(const struct world *w, int door)
{
    return &w->crowd->porches[door];
}

void doors_crash(struct world *w, int door)
{
    struct porch *p = porch_of(w, door);

    if (p->calls != NULL) {
        seen(COVER_DOOR_CRASH);
        seen(p->did);
        tell(w, "door %d: is killed", door);
        end(p, true);
        p->is_stopped = false;
    }
}

void doors_crash_fatal(struct world *w)
{
    for (int i = 0; i < DOORS; i++) {
        if (porch_of(w, i)->did == w->fatal && chance(w, FATAL_PERCENT)) {
            doors_crash(w, i);
        }
    }
}

void doors_leave(struct world *w, int door)
{
    struct porch *p = porch_of(w, door);

    if (p->calls == NULL || p->is_stopped) {
        return;
    }
    if (!p->is_leaving) {
        p->is_leaving = true;
        tell(w, "door %d: drains", door);
        porch_wake(p);
        calls_drain(p->calls, GRACE_MS);
        return;
    }
    seen(COVER_DOOR_LEFT);
    tell(w, "door %d: ends", door);
    end(p, false);
}

void doors_stop(struct world *w, int door)
{
    struct porch *p = porch_of(w, door);

    p->is_stopped = !p->is_stopped;
    if (p->is_stopped) {
        seen(COVER_DOOR_STOP);
    }
    tell(w, "door %d: %s", door, p->is_stopped ? "is stopped" : "goes on");
}

void doors_cut_link(struct world *w, int door)
{
    struct porch *p = porch_of(w, door);

    p->is_down = !p->is_down;
    tell(w, "door %d: %s Redis", door, p->is_down ? "loses" : "finds");
}

void doors_fill(struct world *w, int door)
{
    struct porch *p = porch_of(w, door);

    p->is_full = !p->is_full;
}

void doors_switch_master(struct world *w, int door)
{
    struct porch *p = porch_of(w, door);

    p->is_behind = !p->is_behind;
}

void doors_lose_kafka(struct world *w, int door)
{
    struct porch *p = porch_of(w, door);

    if (p->calls != NULL && p->stream.is_assigned) {
        p->stream.is_up = !p->stream.is_up;
        porch_wake(p);
        p->stream.settings.calls.kafka(p->stream.is_up, p->stream.settings.calls.arg);
        tell(w, "door %d: %s Kafka", door, p->stream.is_up ? "finds" : "loses");
    }
}

void doors_rewind(struct world *w, int door)
{
    struct porch *p = porch_of(w, door);
    const struct shard *s = any_shard(w);
    struct reel *reel = &p->stream.reels[s->number];

    if (p->calls != NULL && p->stream.is_assigned && reel->at > s->topic_begin) {
        seen(COVER_DOOR_REWIND);
        reel->at = s->topic_begin + (chance(w, 50) ? 0 : below(w, reel->at - s->topic_begin));
        tell(w, "door %d: reads outcomes again from %" PRId64, door, reel->at);
    }
}

void doors_note_redis(struct world *w)
{
    struct crowd *crowd = w->crowd;

    for (size_t i = 0; i < VISITS_MAX && crowd->pending > 0; i++) {
        struct http_request *v = &crowd->visits[i];
        const struct shard *s = v->is_used ? &w->shards[v->wish->shard] : NULL;

        if (s != NULL) {
            const int64_t at = s->redis.at == NULL ? -1 : s->redis.at->offset;
            const int64_t former = s->former.at == NULL ? -1 : s->former.at->offset;

            v->recorded =
                s->mysql.progress.position < v->recorded ? s->mysql.progress.position : v->recorded;
            v->floor = at < v->floor ? at : v->floor;
            v->floor = s->is_split && former < v->floor ? former : v->floor;
        }
    }
}

void doors_go_on(struct world *w)
{
    struct porch *p = porch_of(w, (int)below(w, DOORS));
    const int shard = any_shard(w)->number;

    if (p->calls == NULL) {
        if (chance(w, 30)) {
            tell(w, "door %d: starts", p->number);
            start(p);
        }
        return;
    }
    if (p->is_stopped) {
        return;
    }
    switch (below(w, 5)) {
    case 0:
    case 1:
        for (int64_t n = below(w, 10); n >= 0; n--) {
            porch_ask_redis(p);
        }
        break;
    case 2:
        for (int64_t n = below(w, 6); n >= 0; n--) {
            porch_move_parcel(w);
        }
        break;
    case 3:
        for (int64_t n = below(w, 12); n >= 0; n--) {
            porch_read_outcomes(p, shard);
        }
        break;
    default:
        porch_read_mysql(p);
        porch_tick(p);
        break;
    }
}

void doors_pass_time(struct world *w)
{
    for (int i = 0; i < DOORS; i++) {
        struct porch *p = porch_of(w, i);

        if (p->calls != NULL && !p->is_stopped && chance(w, 80)) {
            porch_tick(p);
            for (size_t n = 2 * p->lookup.n; n > 0; n--) {
                porch_ask_redis(p);
            }
            for (int64_t n = below(w, 30); n > 0; n--) {
                porch_read_outcomes(p, any_shard(w)->number);
            }
        }
    }
}

/* ---- healing ---- */

void doors_heal(struct world *w)
{
    for (int i = 0; i < DOORS; i++) {
        struct porch *p = porch_of(w, i);

        if (p->is_leaving) {
            end(p, false);
        }
        if (p->calls == NULL) {
            start(p);
        }
        p->is_stopped = p->is_down = p->is_full = p->is_behind = false;
        if (p->stream.is_assigned && !p->stream.is_up) {
            doors_lose_kafka(w, i);
        }
    }
}

void doors_heal_step(struct world *w)
{
    porch_move_all_parcels(w);
    for (int i = 0; i < DOORS; i++) {
        porch_settle(&w->crowd->porches[i]);
    }
    shoppers_insist(w);
}

bool doors_are_done(const struct world *w)
{
    return w->crowd->n_parcels == 0 && shoppers_are_done(w);
}

void doors_check(struct world *w)
{
    shoppers_ask_all(w);
    for (int n = 0; n < CHECK_TURNS && !doors_are_done(w); n++) {
        pass_time(w, CHECK_MS);
        doors_heal_step(w);
    }
    if (!doors_are_done(w)) {
        wrong(w, "promise 3 is broken: somebody asks a door for his order, and is not answered");
    }
}
