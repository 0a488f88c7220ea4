/*
 * A share above a bound needs no percentiles: p99 is above it when more than a hundredth of what
 * came out is.  So a window is two counters.  A patient rule goes by the line's length instead, which
 * is the crowd's own doing, as lateness need not be; lateness counts there if somebody else saw it.
 *
 * How long those in line will take is known before they come out, and that keeps the limit from
 * swinging: what comes out late says how it was some time ago.  The pause is as long as it takes to
 * drain what is too much, so however wrong the limit is, nobody waits for much longer than the
 * bound; the limit only decides how often there have to be pauses.
 */
#include "producer/limiter.h"

#include <stddef.h>

enum {
    STEP_PARTS = 25,    /* a good window adds this part of the limit after it was narrowed ... */
    STEP_FASTER = 10,   /* ... and, beyond what was too much then, each one more by this part */
    BASE_UP_MS = 20,    /* the base grows to twice as long and this in a window, */
    BASE_MAX_MS = 2000, /* and at most to this */
    RATE_FEW = 4 * LIMITER_RATE_MIN, /* so few are no crowd, however long their line */
    ARM_SHARE = 1,
    PAUSE_MAX_MS = 2000, /* a line that drains for longer is judged again before it is empty */
    BURST_WINDOWS = 2,   /* it may begin in one and end in the next */
};

const char *const limiter_side_names[LIMITER_SIDES] = {
    [LIMITER_KAFKA] = "kafka",
    [LIMITER_DECISION] = "decision",
};

const char *const limiter_preset_names[] = {"off", "steady", "classic", NULL};

struct limiter_rule {
    int64_t arm_ms, bound_ms;
    int64_t share; /* in a hundred that may be above the bound */
    int64_t cut_percent;
    int64_t pause_min_ms, pause_max_ms;
    bool is_patient; /* what a line takes without a crowd is not held against it */
};

static const struct limiter_rule rules[LIMITER_PRESETS][LIMITER_SIDES] =
    {
        [LIMITER_STEADY] =
            {
                [LIMITER_KAFKA] = {500, 250, 5, 25, 0, PAUSE_MAX_MS, true},
                [LIMITER_DECISION] = {500, 250, 1, 25, 0, PAUSE_MAX_MS, true},
            },
        [LIMITER_CLASSIC] =
            {
                [LIMITER_KAFKA] = {20, 15, 5, 10, 0, 0, false},
                [LIMITER_DECISION] = {20, 25, 1, 10, 1000, 1000, false},
            },
};

static int64_t at_least(int64_t value, int64_t min)
{
    return value > min ? value : min;
}

static int64_t at_most(int64_t value, int64_t max)
{
    return value < max ? value : max;
}

void limiter_init(struct limiter *l, enum limiter_preset preset, enum limiter_side side)
{
    *l = (struct limiter){
        .rule = preset == LIMITER_OFF ? NULL : &rules[preset][side],
        .limit = LIMITER_RATE_MAX,
        .fastest_ms = INT64_MAX,
        .alone_ms = INT64_MAX,
    };
}

/* ---- letting in ---- */

/* Outside of a pause. */
static int64_t limit_of(const struct limiter *l)
{
    return l->is_still ? LIMITER_RATE_MIN : l->limit;
}

static bool take_token(struct limiter *l, int64_t now_ms)
{
    if (now_ms > l->tokens_ms) {
        const int64_t limit = limit_of(l);
        const int64_t full = at_least(limit * LIMITER_WINDOW_MS, 1000);

        l->tokens = at_most(l->tokens + (now_ms - l->tokens_ms) * limit, full);
        l->tokens_ms = now_ms;
    }
    if (now_ms < l->pause_until_ms || l->tokens < 1000) {
        return false;
    }
    l->tokens -= 1000;
    return true;
}

/* Of one who goes in. */
static void note_company(struct limiter *l, int64_t now_ms)
{
    const bool was_crowded = l->is_crowded;

    l->is_crowded = l->inside + l->admitted > LIMITER_CROWD && l->limit > RATE_FEW;
    if (!l->is_crowded) {
        l->alone_from_ms = was_crowded ? now_ms : l->alone_from_ms;
        l->alone_to_ms = now_ms;
    }
}

bool limiter_admit(struct limiter *l, int64_t now_ms)
{
    l->came++;
    if (l->is_armed && !take_token(l, now_ms)) {
        return false;
    }
    l->admitted++;
    note_company(l, now_ms);
    return true;
}

int64_t limiter_limit(const struct limiter *l, int64_t now_ms)
{
    return now_ms < l->pause_until_ms ? 0 : limit_of(l);
}

/* ---- judging ---- */

static int64_t bound_of(const struct limiter *l)
{
    return l->is_armed ? l->rule->bound_ms : l->rule->arm_ms;
}

void limiter_observe(struct limiter *l, int64_t since_ms, int64_t now_ms)
{
    if (l->rule == NULL || l->rule->is_patient) {
        l->fastest_ms = at_most(l->fastest_ms, now_ms - since_ms);
        if (since_ms >= l->alone_from_ms && since_ms <= l->alone_to_ms) {
            l->alone_ms = at_most(l->alone_ms, now_ms - since_ms);
        }
    } else {
        limiter_told(l, since_ms, 1, now_ms);
    }
}

void limiter_told(struct limiter *l, int64_t since_ms, int64_t count, int64_t now_ms)
{
    if (l->rule != NULL && since_ms >= l->since_ms) {
        l->seen += count;
        if (now_ms - since_ms > bound_of(l)) {
            l->late += count;
        }
    }
}

/*
 * Whoever is faster than the base proves it wrong.  It grows by those only who met no crowd, and by and by:
 * what was slow may have been one halt.
 */
static void learn_base(struct limiter *l)
{
    if (l->alone_ms < INT64_MAX) {
        l->base_ms =
            l->knows_base ? at_most(2 * l->base_ms + BASE_UP_MS, l->alone_ms) : l->alone_ms;
        l->knows_base = true;
    }
    l->base_ms = at_most(at_most(l->base_ms, l->fastest_ms), BASE_MAX_MS);
}

/* A burst comes after a window in which nobody came out; what goes on for longer flows. */
static void note_burst(struct limiter *l, int64_t moved, int64_t old, int64_t now_ms)
{
    l->flowing = moved > 0 ? l->flowing + 1 : 0;
    if (l->flowing > BURST_WINDOWS) {
        l->bursts_known = 0;
    } else if (l->flowing == 1) {
        for (int i = LIMITER_BURSTS - 1; i > 0; i--) {
            l->bursts[i] = l->bursts[i - 1];
        }
        l->bursts[0] = (struct limiter_burst){now_ms, l->passed + moved, old};
        l->bursts_known = (int)at_most(l->bursts_known + 1, LIMITER_BURSTS);
    }
    l->bursts[0].left = at_most(l->bursts[0].left, old);
}

/* Per second, from one burst to the next; 0: it flows, or the next burst is long overdue. */
static int64_t rate_in_bursts(const struct limiter *l, int64_t now_ms)
{
    const struct limiter_burst *last = &l->bursts[0];
    const struct limiter_burst *first = &l->bursts[LIMITER_BURSTS - 1];
    const int64_t cycles_ms = last->began_ms - first->began_ms;
    int64_t rate = 0;

    if (l->bursts_known < LIMITER_BURSTS || now_ms - last->began_ms > cycles_ms) {
        return 0;
    }
    for (const struct limiter_burst *b = last; b < first; b++) {
        rate = at_least(rate, (b[0].passed - b[1].passed) * 1000 / (b[0].began_ms - b[1].began_ms));
    }
    return at_least(rate, 1);
}

/* Of those whom a burst leaves.  Who comes alone waits for half the time between two anyway. */
static int64_t crowd_in_bursts(const struct limiter *l)
{
    return at_least(l->bursts[0].left - (l->bursts[0].passed - l->bursts[1].passed) / 2, 0);
}

static int64_t rate_of_fastest_window(const struct limiter *l)
{
    int64_t rate = 0;

    for (int i = 0; i < LIMITER_MEMORY; i++) {
        rate = at_least(rate, l->rates[i]);
    }
    return rate;
}

/* How long those will take who were in line when the window began; notes how the line moved. */
static int64_t measure(struct limiter *l, int64_t passed, int64_t now_ms)
{
    const int64_t moved = at_least(passed - l->passed, 0);
    int64_t old = at_least(l->inside - moved, 0);
    int64_t in_bursts; /* per second */
    int64_t extra;     /* than are there without a crowd */

    note_burst(l, moved, old, now_ms);
    if (moved > 0 || l->inside == 0) {
        l->moved_ms = now_ms;
    }
    l->newest = (l->newest + 1) % LIMITER_MEMORY;
    l->rates[l->newest] = (moved + l->moved) * 500 / (now_ms - l->window_ms);
    l->moved = moved;
    l->rate = rate_of_fastest_window(l);
    in_bursts = rate_in_bursts(l, now_ms);
    if (in_bursts > 0 && (l->rate == 0 || l->rate > in_bursts)) {
        l->rate = in_bursts;
        old = crowd_in_bursts(l);
    }
    l->is_still = l->rate == 0 && old > 0;
    learn_base(l);
    extra = old - l->rate * l->base_ms / 1000;
    l->queue_ms = l->rate > 0 && extra >= LIMITER_CROWD ? old * 1000 / l->rate : 0;
    return at_least(now_ms - l->moved_ms, l->queue_ms);
}

/* The line, or what somebody saw of it. */
static bool is_long(const struct limiter *l)
{
    const int64_t share = l->is_armed ? l->rule->share : ARM_SHARE;

    return l->queue_ms - l->base_ms > bound_of(l) || l->late * 100 > l->seen * share;
}

static void narrow(struct limiter *l, int64_t wait_ms, int64_t now_ms)
{
    const struct limiter_rule *rule = l->rule;

    if (now_ms >= l->since_ms) { /* else it is still draining what the former limit let in */
        l->ceiling = l->limit;
        if (is_long(l)) {
            const int64_t part = at_most(l->limit, l->rate) * (100 - rule->cut_percent) / 100;

            l->limit = at_least(at_least(part, l->limit / 2), LIMITER_RATE_MIN);
        }
        l->step = l->limit / STEP_PARTS + 1;
        l->since_ms = now_ms + at_most(wait_ms, rule->pause_max_ms);
    }
    l->pause_until_ms = now_ms + at_most(at_least(wait_ms, rule->pause_min_ms), rule->pause_max_ms);
    l->tokens = 0;
    l->tokens_ms = at_least(l->pause_until_ms, now_ms);
}

static void widen(struct limiter *l, int64_t now_ms)
{
    if (now_ms - l->widened_ms < l->base_ms) {
        return; /* what the last step did is not seen yet */
    }
    l->widened_ms = now_ms;
    l->limit += l->step;
    if (l->limit > l->ceiling) {
        l->step += l->step / STEP_FASTER + 1;
    }
    if (l->limit >= LIMITER_RATE_MAX) {
        l->limit = LIMITER_RATE_MAX;
        l->is_armed = false;
        l->strikes = 0;
    }
}

static bool is_slow(const struct limiter *l, int64_t wait_ms)
{
    return l->came >= LIMITER_CROWD && (wait_ms - l->base_ms > bound_of(l) || is_long(l));
}

static void judge(struct limiter *l, int64_t wait_ms, int64_t now_ms)
{
    const bool slow = is_slow(l, wait_ms);

    if (!l->is_armed) {
        l->strikes = slow ? l->strikes + 1 : 0;
        if (l->strikes == LIMITER_STRIKES) {
            l->is_armed = true;
            l->limit = at_least(l->admitted * 1000 / (now_ms - l->window_ms), LIMITER_RATE_MIN);
            narrow(l, wait_ms, now_ms);
        }
    } else if (slow) {
        narrow(l, wait_ms, now_ms);
    } else {
        widen(l, now_ms);
    }
}

void limiter_judge(struct limiter *l, int64_t inside, int64_t passed, int64_t now_ms)
{
    if (l->rule == NULL) {
        return;
    }
    if (now_ms - l->window_ms > INT64_C(2) * LIMITER_WINDOW_MS) {
        l->strikes = 0;
        l->moved_ms = now_ms;
        l->since_ms = at_least(l->since_ms, now_ms);
    } else if (now_ms > l->window_ms) {
        const int64_t wait_ms = measure(l, passed, now_ms);

        if (l->window_ms >= l->pause_until_ms) {
            judge(l, wait_ms, now_ms);
        } else if (l->rule->pause_min_ms == 0) { /* the line may drain faster than it seemed */
            l->pause_until_ms = at_most(l->pause_until_ms, now_ms + wait_ms);
            l->tokens_ms = l->pause_until_ms;
        }
    }
    l->window_ms = now_ms;
    l->came = l->admitted = l->seen = l->late = 0;
    l->fastest_ms = l->alone_ms = INT64_MAX;
    l->inside = inside;
    l->passed = passed;
}
