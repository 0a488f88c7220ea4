#include "tests/sim/steps.h"

#include <string.h>

#include "tests/sim/doors.h"
#include "tests/sim/flights.h"
#include "tests/sim/guardians.h"
#include "tests/sim/heal.h"
#include "tests/sim/log.h"
#include "tests/sim/matchers.h"
#include "tests/sim/menders.h"
#include "tests/sim/mysql.h"
#include "tests/sim/redis.h"
#include "tests/sim/shoppers.h"
#include "tests/sim/wire.h"

enum {
    SHRINK_RUNS = 6000,
};

/* ---- trouble: each schedule allows some kinds only, so that each has schedules of its own ---- */

enum fault {
    FAULT_CRASH,
    FAULT_FAILOVER,
    FAULT_FLUSH,
    FAULT_LINK,
    FAULT_PRODUCER,
    FAULT_STOP,
    FAULT_REGROUP,
    FAULT_RECHECK,
    FAULT_REREAD,
    FAULT_FULL,
    FAULT_SKEW,
    FAULT_LEAP,
    FAULT_CUT,
    FAULT_TRIM,
    FAULT_RESTORE,
    FAULT_RULES,
    FAULT_SPLIT,
    FAULT_MIGRATION,
    FAULT_GUARDIAN_CRASH,
    FAULT_GUARDIAN_REGROUP,
    FAULT_GUARDIAN_STOP,
    FAULT_MYSQL_FAILOVER,
    FAULT_TOPIC_CUT,
    FAULT_REBUILD,
    FAULT_DOOR_CRASH,
    FAULT_DOOR_STOP,
    FAULT_DOOR_LEAVE,
    FAULT_DOOR_LINK,
    FAULT_DOOR_KAFKA,
    FAULT_DOOR_REWIND,
    FAULT_DOOR_FULL,
    FAULT_COUNT,
};

static void stop_or_go(struct world *w, int matcher)
{
    struct matcher *m = &w->matchers[matcher];

    m->is_stopped = !m->is_stopped;
    if (m->is_stopped) {
        seen(COVER_STOP);
    }
    tell(w, "matcher %d: %s", matcher, m->is_stopped ? "is stopped" : "goes on");
}

static void skew(struct world *w)
{
    w->broker_skew_ms = below(w, 8000) - 4000;
    tell(w, "log: the broker's clock is off by %" PRId64 " ms", w->broker_skew_ms);
    seen(COVER_SKEW);
}

static void leap(struct world *w)
{
    if (!chance(w, 10)) {
        return;
    }
    for (int i = 0; i < w->n_shards; i++) {
        w->shards[i].has_leapt = true;
    }
    w->broker_skew_ms = w->settings.clock_skew_max_ms + below(w, 60000);
    tell(w, "log: the broker's clock leaps by %" PRId64 " ms", w->broker_skew_ms);
    seen(COVER_LEAP);
}

static void split(struct world *w, struct shard *s, int matcher)
{
    if (!s->is_split) {
        redis_split(w, s);
        matchers_switch_master(w, matcher);
    } else if (chance(w, 40)) {
        matchers_switch_master(w, matcher);
    } else {
        redis_unsplit(w, s);
    }
}

static void befall_matcher(struct world *w, enum fault fault, int matcher)
{
    struct matcher *m = &w->matchers[matcher];

    switch (fault) {
    case FAULT_CRASH:
        matchers_crash(w, matcher);
        break;
    case FAULT_LINK:
        matchers_cut_link(w, matcher);
        break;
    case FAULT_PRODUCER:
        matchers_break_producer(w, matcher);
        break;
    case FAULT_STOP:
        stop_or_go(w, matcher);
        break;
    case FAULT_REGROUP:
        matchers_regroup(w, matcher);
        break;
    case FAULT_RECHECK:
        seen(COVER_RECHECK);
        part_recheck(m->desks[any_shard(w)->number].part);
        break;
    case FAULT_REREAD:
        seen(COVER_REREAD);
        part_unfetched(m->desks[any_shard(w)->number].part, matchers_now(w, matcher));
        break;
    case FAULT_FULL:
        m->is_full = !m->is_full;
        seen(COVER_QUEUE_FULL);
        break;
    default:
        break;
    }
}

/* Outcomes that Kafka had acknowledged are gone: there was no other copy of them. */
static void cut_topic(struct world *w, struct shard *s)
{
    int64_t n = 1 + below(w, 3);

    while (n-- > 0 && s->n_topic > s->topic_begin) {
        s->topic[--s->n_topic]->landed--;
        w->has_lost = true;
        seen(COVER_TOPIC_CUT);
    }
    s->topic_cuts++;
    tell(w, "outcomes %d: end at %" PRId64 " now", s->number, s->n_topic);
}

/*
 * The brokers go back in time with both topics, from a backup; Redis, too.  What flew then does not
 * land: the producers' sequence numbers are from a time that the brokers do not know.
 */
static void restore(struct world *w, struct shard *s)
{
    if (s->cut >= 0) {
        return;
    }
    redis_unsplit(w, s);
    log_cut(w, s);
    if (s->cut < 0) {
        return;
    }
    for (int64_t i = 0; i < s->n_topic; i++) {
        if (s->topic[i]->offset >= s->cut) {
            s->n_topic = i;
            break;
        }
    }
    s->topic_cuts++;
    tell(w, "outcomes %d: end at %" PRId64 " now", s->number, s->n_topic);
    flights_lose(w, s);
    for (int i = 0; i < MATCHERS; i++) {
        matchers_break_producer(w, i);
    }
    redis_restore(w, s);
    if (chance(w, 50)) {
        guardians_stop(w, 0);
        guardians_stop(w, 1);
    }
    seen(COVER_RESTORE);
}

static void befall_guardian(struct world *w, enum fault fault, struct shard *s)
{
    const int guardian = (int)below(w, GUARDIANS);

    switch (fault) {
    case FAULT_GUARDIAN_CRASH:
        guardians_crash(w, guardian);
        break;
    case FAULT_GUARDIAN_REGROUP:
        guardians_regroup(w, guardian);
        break;
    case FAULT_GUARDIAN_STOP:
        guardians_stop(w, guardian);
        break;
    case FAULT_MYSQL_FAILOVER:
        mysql_fail_over(w, s);
        break;
    case FAULT_TOPIC_CUT:
        if (chance(w, 30)) {
            cut_topic(w, s);
        }
        break;
    case FAULT_REBUILD:
        if (chance(w, 40)) {
            menders_rebuild(w, guardian, s);
        }
        break;
    default:
        break;
    }
}

static void befall_door(struct world *w, enum fault fault)
{
    const int door = (int)below(w, DOORS);

    switch (fault) {
    case FAULT_DOOR_CRASH:
        doors_crash(w, door);
        break;
    case FAULT_DOOR_STOP:
        doors_stop(w, door);
        break;
    case FAULT_DOOR_LEAVE:
        doors_leave(w, door);
        break;
    case FAULT_DOOR_LINK:
        doors_cut_link(w, door);
        break;
    case FAULT_DOOR_KAFKA:
        doors_lose_kafka(w, door);
        break;
    case FAULT_DOOR_REWIND:
        doors_rewind(w, door);
        break;
    case FAULT_DOOR_FULL:
        doors_fill(w, door);
        break;
    case FAULT_SPLIT:
        if (chance(w, 50)) {
            doors_switch_master(w, door);
        }
        break;
    default:
        break;
    }
}

static void befall(struct world *w, enum fault fault, int matcher)
{
    struct shard *s = any_shard(w);

    befall_guardian(w, fault, s);
    befall_door(w, fault);
    switch (fault) {
    case FAULT_FAILOVER:
        redis_fail_over(w, s);
        break;
    case FAULT_FLUSH:
        if (chance(w, 30)) {
            redis_flush(w, s);
        }
        break;
    case FAULT_SKEW:
        skew(w);
        break;
    case FAULT_LEAP:
        leap(w);
        break;
    case FAULT_CUT:
        log_cut(w, s);
        break;
    case FAULT_TRIM:
        log_trim(w, s);
        break;
    case FAULT_RESTORE:
        restore(w, s);
        break;
    case FAULT_RULES:
        if (!w->may_cut && chance(w, 60)) {
            log_append_rules(w, s);
        }
        break;
    case FAULT_SPLIT:
        split(w, s, matcher);
        break;
    case FAULT_MIGRATION:
        redis_move_slot(w, s);
        break;
    default:
        befall_matcher(w, fault, matcher);
        break;
    }
}

static void trouble(struct world *w)
{
    const int matcher = (int)below(w, MATCHERS);
    enum fault fault = (enum fault)below(w, FAULT_COUNT);

    for (int i = 0; i < FAULT_COUNT && (w->faults & (1U << fault)) == 0; i++) {
        fault = (fault + 1) % FAULT_COUNT;
    }
    befall(w, fault, matcher);
}

/* Some schedules kill whoever has just done one certain thing. */
static void kill_some(struct world *w)
{
    for (int i = 0; i < MATCHERS; i++) {
        if (w->matchers[i].did == w->fatal && chance(w, FATAL_PERCENT)) {
            matchers_crash(w, i);
        }
    }
    for (int i = 0; i < GUARDIANS; i++) {
        if (w->guardian_did[i] == w->fatal && chance(w, FATAL_PERCENT)) {
            guardians_crash(w, i);
        }
    }
    doors_crash_fatal(w);
}

static void go(struct world *w)
{
    const int matcher = (int)below(w, MATCHERS);

    if (w->fatal != COVER_NONE) {
        kill_some(w);
    }
    if (chance(w, w->percent)) {
        trouble(w);
        return;
    }
    switch (below(w, 16)) {
    case 0:
        log_append_something(w, any_shard(w));
        break;
    case 1:
        pass_time(w, below(w, chance(w, 20) ? 3000 : 120));
        doors_pass_time(w);
        break;
    case 2:
    case 3:
    case 4:
        wire_go_on(w);
        break;
    case 5:
        flights_go_on(w);
        break;
    case 6:
    case 7:
        guardians_go_on(w, (int)below(w, GUARDIANS));
        break;
    case 8:
        doors_go_on(w);
        break;
    case 9:
    case 10:
        shoppers_go_on(w);
        break;
    default:
        matchers_go_on(w, matcher);
        break;
    }
    matchers_note_phases(w, matcher);
}

/* ---- schedules ---- */

static void add_step(struct schedule *s, struct random *r, enum step_kind kind)
{
    s->steps[s->n++] = (struct step){random_u64(r), kind};
}

void schedule_make(struct schedule *s, uint64_t seed)
{
    struct random r = {seed * 0x9e3779b97f4a7c15U + 1};
    const int rounds = (int)random_between(&r, 1, 2);

    s->seed = seed;
    s->n = 0;
    if (random_chance(&r, 75)) {
        add_step(s, &r, STEP_HEAL); /* trouble strikes what is at work */
    }
    for (int round = 0; round < rounds; round++) {
        for (int64_t i = random_between(&r, 50, 700); i > 0; i--) {
            add_step(s, &r, STEP_GO);
        }
        add_step(s, &r, STEP_HEAL);
        if (random_chance(&r, 50)) {
            if (random_chance(&r, 50)) {
                add_step(s, &r, STEP_HEAL); /* perhaps with another owner: the outbox is empty */
            }
            add_step(s, &r, STEP_LOSS);
            add_step(s, &r, STEP_HEAL);
        }
    }
}

/* Nothing more can come of a log that was cut, or went over to other rules. */
static bool is_over(const struct world *w)
{
    for (int i = 0; i < w->n_shards; i++) {
        if (w->shards[i].has_rules || w->shards[i].cut >= 0) {
            return true;
        }
    }
    return false;
}

static void do_step(struct world *w, const struct step *step)
{
    w->random = (struct random){step->luck};
    doors_note_redis(w);
    switch (step->kind) {
    case STEP_GO:
        go(w);
        break;
    case STEP_LOSS:
        redis_fail_over_last(w, any_shard(w));
        break;
    case STEP_HEAL:
        heal(w);
        break;
    }
}

bool schedule_run(struct world *w, const struct schedule *s, bool is_told)
{
    jmp_buf escape;
    volatile bool ok = false;

    world_init(w, s->seed);
    w->is_told = is_told;
    w->escape = &escape;
    if (setjmp(escape) == 0) {
        for (size_t i = 0; i < s->n; i++) {
            do_step(w, &s->steps[i]);
            if (s->steps[i].kind == STEP_HEAL && is_over(w)) {
                break;
            }
        }
        ok = true;
    }
    world_fini(w);
    return ok;
}

/* Tries it without n steps from first on; keeps that when it still breaks a promise. */
static bool leave_out(struct world *w, struct schedule *s, size_t first, size_t n)
{
    static struct schedule shorter;

    shorter = *s;
    memmove(shorter.steps + first, shorter.steps + first + n,
            (s->n - first - n) * sizeof(s->steps[0]));
    shorter.n -= n;
    if (schedule_run(w, &shorter, false)) {
        return false;
    }
    *s = shorter;
    return true;
}

void schedule_shrink(struct world *w, struct schedule *s)
{
    int runs = 0;

    for (size_t size = s->n / 2; size > 0 && runs < SHRINK_RUNS;) {
        bool is_shorter = false;

        for (size_t end = s->n; end >= size && runs < SHRINK_RUNS;) {
            runs++;
            if (leave_out(w, s, end - size, size)) {
                is_shorter = true;
            }
            end -= size;
            end = end > s->n ? s->n : end;
        }
        if (!is_shorter || size > 1) {
            size /= 2;
        }
    }
}
