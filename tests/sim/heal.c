#include "tests/sim/heal.h"

#include "tests/sim/doors.h"
#include "tests/sim/guardians.h"
#include "tests/sim/log.h"
#include "tests/sim/matchers.h"
#include "tests/sim/mysql.h"
#include "tests/sim/redis.h"
#include "tests/sim/shoppers.h"

enum {
    HEAL_STEPS = 4000,
    HEAL_TOLD = 150,
    HEAL_MS = 60,
    LEAP_OVER_MS = 200000,
};

/* It waits for a rebuild, and who would do it has halted. */
static bool is_closed(const struct world *w, const struct shard *s, const struct desk *d)
{
    struct part_view view;

    part_look(d->part, &view);
    return view.wait != PART_WAIT_NONE && follow_is_halted(&w->guardians[0][s->number].follow);
}

/* A partition that must stay halted until an operator has looked at it. */
static bool is_over(const struct world *w, const struct shard *s, const struct desk *d)
{
    const struct node *at = s->redis.at;

    if (is_closed(w, s, d)) {
        return true;
    }
    if (s->has_rules || (s->cut >= 0 && at != NULL && !log_has(s, at))) {
        return d->is_halted;
    }
    return d->is_halted && s->cut >= 0; /* and Redis went back since */
}

static bool is_caught_up(const struct world *w, const struct shard *s, const struct desk *d)
{
    const struct node *last = log_at(s, s->n - 1);
    struct part_view view;

    part_look(d->part, &view);
    return last != NULL && !s->has_rules && view.is_steady && s->redis.at == last &&
           s->redis.n == 0 && view.unacked == 0 && w->n_flights == 0 && last->next_due == 0 &&
           (s->cut >= 0 || s->mysql.progress.position == last->offset);
}

static bool is_done(const struct world *w, const int *owners)
{
    for (int i = 0; i < w->n_shards; i++) {
        const struct shard *s = &w->shards[i];
        const struct desk *d = &w->matchers[owners[i]].desks[i];

        if (!is_over(w, s, d) && !is_caught_up(w, s, d)) {
            return false;
        }
    }
    return doors_are_done(w);
}

/* An operator starts again what halted over a clock that has come back. */
static void restart_leapt(struct world *w)
{
    bool has_leapt = false;

    for (int i = 0; i < w->n_shards; i++) {
        has_leapt = has_leapt || w->shards[i].has_leapt;
        w->shards[i].has_leapt = false;
    }
    if (has_leapt) {
        pass_time(w, LEAP_OVER_MS);
        for (int i = 0; i < MATCHERS; i++) {
            matchers_crash(w, i);
        }
    }
}

static void begin(struct world *w, int *owners)
{
    w->is_healing = true;
    w->broker_skew_ms = 0;
    w->settings.remembered_max = INT32_MAX;
    restart_leapt(w);
    for (int i = 0; i < w->n_shards; i++) {
        struct shard *s = &w->shards[i];

        owners[i] = (int)below(w, MATCHERS);
        s->slot = SLOT_HERE; /* with its keys */
        redis_unsplit(w, s);
        while (s->n < 3) {
            log_append_something(w, s);
        }
    }
    matchers_heal(w, owners);
    guardians_heal(w);
    doors_heal(w);
}

static void complain(struct world *w, const int *owners)
{
    for (int i = 0; i < w->n_shards; i++) {
        const struct shard *s = &w->shards[i];
        const struct desk *d = &w->matchers[owners[i]].desks[i];
        struct part_view view;

        if (is_over(w, s, d) || is_caught_up(w, s, d)) {
            continue;
        }
        part_look(d->part, &view);
        wrong(w,
              "promise 3 is broken: partition %d does not converge: log ends at %" PRId64
              ", Redis stands at %" PRId64 " with %zu batches untold, MySQL at %" PRId64
              ", matcher %d is %s at %" PRId64 ", wants %" PRId64 ", unapplied %zu, unacked %zu",
              i, s->n - 1, s->redis.at == NULL ? -1 : s->redis.at->offset, s->redis.n,
              s->mysql.progress.position, owners[i], view.phase, view.watermark, view.next_offset,
              view.unapplied, view.unacked);
    }
    if (!doors_are_done(w)) {
        wrong(w, "promise 3 is broken: a shopper never knows what became of his order");
    }
}

/* One who reads outcomes in order, from the start of the topic, gets all from there on. */
static void check_topic(struct world *w, const struct shard *s)
{
    int64_t position =
        s->topic_begin < s->n_topic ? s->topic[s->topic_begin]->offset - 1 : s->n - 1;

    if (s->cut >= 0 || w->has_lost) {
        return;
    }
    for (int64_t i = s->topic_begin; i < s->n_topic; i++) {
        if (s->topic[i]->offset == position + 1) {
            position++;
        }
    }
    if (position != s->n - 1) {
        wrong(w,
              "promise 3 is broken: a reader of outcomes %d ends at %" PRId64
              ", the log at %" PRId64,
              s->number, position, s->n - 1);
    }
}

static void converge(struct world *w, const int *owners)
{
    const bool is_told = w->is_told;

    for (int n = 0; n < HEAL_STEPS && !is_done(w, owners); n++) {
        w->is_told = w->is_told && n < HEAL_TOLD; /* what does not end is not worth reading */
        pass_time(w, HEAL_MS);
        matchers_heal_step(w, n);
        guardians_heal_step(w);
        doors_heal_step(w);
    }
    w->is_told = is_told;
    complain(w, owners);
}

void heal(struct world *w)
{
    int owners[SHARDS_MAX] = {0};

    seen(COVER_HEAL);
    tell(w, "---- the trouble ends");
    begin(w, owners);
    converge(w, owners);
    if (chance(w, 50)) {
        shoppers_probe(w);
        converge(w, owners);
    }
    for (int i = 0; i < w->n_shards; i++) {
        check_topic(w, &w->shards[i]);
        log_check_fold(w, &w->shards[i]);
        mysql_check(w, &w->shards[i]);
    }
    doors_check(w);
    w->settings.remembered_max = w->remembered_max;
    w->is_healing = false;
}
