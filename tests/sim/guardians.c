#include "tests/sim/guardians.h"

#include <string.h>

#include "tests/sim/log.h"
#include "tests/sim/menders.h"
#include "tests/sim/mysql.h"
#include "tests/sim/redis.h"

enum {
    PROBE_MS = 2000,
};

static void act(struct world *w, int guardian, struct shard *s, enum follow_action action);

/* ---- batches ---- */

static void drop_batches(struct keeper *k)
{
    while (k->n_batches > 0) {
        ledger_destroy(k->batches[--k->n_batches]);
    }
}

void guardians_start_over(struct keeper *k)
{
    drop_batches(k);
    k->is_loaded = false;
    k->is_probing = false;
    k->is_sent = false;
    k->at = -1;
    k->seek = -1;
    follow_reset(&k->follow);
}

static void load(struct world *w, int guardian, struct shard *s)
{
    struct keeper *k = &w->guardians[guardian][s->number];

    k->is_loaded = true;
    w->guardian_did[guardian] = COVER_CRASHED_LOADED;
    tell(w, "guardian %d/%d: loads position %" PRId64, guardian, s->number,
         s->mysql.progress.position);
    act(w, guardian, s,
        follow_loaded(&k->follow, &s->mysql.progress, guardians_now_ms(w, guardian)));
    if (s->mysql.progress.position >= 0 && !command_has_rules(s->mysql.progress.rules) &&
        !follow_is_halted(&k->follow)) {
        wrong(w, "promise 10 is broken: guardian %d goes on where partition %d has other rules",
              guardian, s->number);
    }
}

static void apply(struct world *w, int guardian, struct shard *s, const struct progress *base)
{
    struct keeper *k = &w->guardians[guardian][s->number];
    struct ledger *l = k->n_batches == 0 ? NULL : k->batches[k->n_batches - 1];
    struct err err;

    if (l == NULL || (k->n_batches == 1 && k->is_sent) || ledger_is_full(l) ||
        ledger_is_alone(&w->outcome) || ledger_rows(l) >= (size_t)w->rows_max) {
        l = ledger_create(s->number);
        ledger_begin(l, base);
        k->batches[k->n_batches++] = l;
    }
    if (!ledger_add(l, &w->outcome, &k->follow.head, &err)) {
        wrong(w, "guardian %d halts partition %d: %s", guardian, s->number, err.text);
    }
}

static void commit(struct world *w, int guardian, struct shard *s, enum mysql_fate fate)
{
    struct keeper *k = &w->guardians[guardian][s->number];
    struct progress now;
    struct err err;

    if (k->n_batches == 0) {
        return;
    }
    k->is_sent = true;
    switch (mysql_commit(w, k->batches[0], fate, &now, &err)) {
    case COMMIT_DONE:
        w->guardian_did[guardian] = COVER_CRASHED_COMMITTED;
        tell(w, "guardian %d/%d: committed up to %" PRId64, guardian, s->number,
             ledger_end(k->batches[0])->position);
        ledger_destroy(k->batches[0]);
        k->n_batches--;
        for (size_t i = 0; i < k->n_batches; i++) {
            k->batches[i] = k->batches[i + 1];
        }
        k->is_sent = false;
        break;
    case COMMIT_MOVED:
        tell(w, "guardian %d/%d: MySQL is at %" PRId64, guardian, s->number, now.position);
        seen(COVER_MOVED);
        guardians_start_over(k);
        break;
    case COMMIT_RETRY:
        w->guardian_did[guardian] = COVER_CRASHED_UNSURE;
        tell(w, "guardian %d/%d: %s", guardian, s->number, err.text);
        seen(COVER_COMMIT_RETRY);
        break;
    case COMMIT_HALTED:
        wrong(w, "guardian %d halts partition %d: %s", guardian, s->number, err.text);
    }
}

/* ---- what follow wants ---- */

/*
 * What counts as lost has been told: it left the outbox.  And by the first of the topic's rules it stands
 * nowhere that was read.  If the topic lost its end meanwhile, it may have been told again where
 * something else was read.
 */
static void check_lost(struct world *w, const struct shard *s, const struct keeper *k)
{
    const struct follow *f = &k->follow;
    const struct node *lost = log_at(s, f->head.position + 1);

    seen(COVER_LOST);
    if (s->cut < 0 && (lost == NULL || !lost->has_landed)) {
        wrong(w, "an outcome counts as lost that was never told: %s", f->why);
    }
    if (k->scan_cuts != s->topic_cuts) {
        return;
    }
    for (int64_t i = s->topic_begin; i < s->n_topic && i < f->scan_end; i++) {
        if (s->topic[i]->offset == f->head.position + 1) {
            wrong(w, "an outcome counts as lost that stands in the topic: %s", f->why);
        }
    }
}

static void act(struct world *w, int guardian, struct shard *s, enum follow_action action)
{
    struct keeper *k = &w->guardians[guardian][s->number];

    switch (action) {
    case FOLLOW_NOTHING:
        break;
    case FOLLOW_SEEK:
        k->seek = follow_seek_offset(&k->follow);
        k->stale = !w->is_healing && chance(w, 20) ? (int)below(w, 3) : 0;
        break;
    case FOLLOW_PROBE:
        seen(COVER_PROBE);
        k->is_probing = true;
        k->probe = (struct follow_probe){.is_known = false};
        break;
    case FOLLOW_REBUILD:
        tell(w, "guardian %d/%d: %s", guardian, s->number, follow_why(&k->follow));
        check_lost(w, s, k);
        menders_mend(w, guardian, s);
        break;
    case FOLLOW_HALT:
        tell(w, "guardian %d/%d: halts: %s", guardian, s->number, follow_why(&k->follow));
        if (s->cut < 0 && !s->has_rules) {
            wrong(w, "guardian %d halts partition %d: %s", guardian, s->number,
                  follow_why(&k->follow));
        }
        seen(COVER_GUARDIAN_HALT);
        break;
    }
}

void guardians_halt(struct world *w, int guardian, struct shard *s, const char *why)
{
    struct keeper *k = &w->guardians[guardian][s->number];

    drop_batches(k);
    act(w, guardian, s, follow_halt(&k->follow, FOLLOW_HALT_RECORD, why));
}

/* Redis is asked first, and then the topic for its end. */
static void probe(struct world *w, int guardian, struct shard *s)
{
    struct keeper *k = &w->guardians[guardian][s->number];
    struct follow_probe *p = &k->probe;
    const struct redis *r = &s->redis;

    if (!p->is_known) {
        if (r->at == NULL || redis_is_away(s)) {
            k->is_probing = false;
            return;
        }
        p->is_known = true;
        w->guardian_did[guardian] = COVER_CRASHED_PROBING;
        redis_genesis(r->at, p->genesis);
        p->watermark = r->at->offset;
        p->has_outbox = r->n > 0;
        p->first_prev = r->n == 0 ? 0 : r->box[0].prev == NULL ? -1 : r->box[0].prev->offset;
        return;
    }
    k->is_probing = false;
    w->guardian_did[guardian] = COVER_CRASHED_PROBED;
    p->topic_begin = s->topic_begin;
    p->topic_end = s->n_topic;
    k->scan_cuts = s->topic_cuts;
    act(w, guardian, s, follow_probed(&k->follow, p, guardians_now_ms(w, guardian)));
}

/* ---- reading ---- */

static void deliver(struct world *w, int guardian, struct shard *s)
{
    struct keeper *k = &w->guardians[guardian][s->number];
    struct progress base = k->follow.head;
    enum follow_action action;
    const struct node *node;
    struct err err;

    if (k->seek != -1 && k->stale-- <= 0) {
        k->at = k->seek == FOLLOW_BEGIN ? s->topic_begin : k->seek;
        k->seek = -1;
    }
    if (k->at > s->n_topic || (k->at >= 0 && k->at < s->topic_begin)) {
        k->at = -1;
        act(w, guardian, s,
            follow_stuck(&k->follow, true, "out of range", guardians_now_ms(w, guardian)));
        return;
    }
    if (k->at < 0 || k->at == s->n_topic || k->n_batches == BATCHES_MAX) {
        return;
    }
    node = s->topic[k->at++];
    w->guardian_did[guardian] = COVER_CRASHED_READING;
    if (!outcome_parse(&w->outcome, slice_str(node->outcome), &err)) {
        wrong(w, "an outcome cannot be read: %s", err.text);
    }
    switch (
        follow_record(&k->follow, &w->outcome, k->at - 1, guardians_now_ms(w, guardian), &action)) {
    case FOLLOW_APPLY:
        apply(w, guardian, s, &base);
        break;
    case FOLLOW_LATER:
        seen(COVER_LATER);
        break;
    case FOLLOW_DROP:
    case FOLLOW_FOREIGN:
        break;
    }
    act(w, guardian, s, action);
}

/* ---- life ---- */

static void go_on(struct world *w, int guardian, struct shard *s, enum mysql_fate fate)
{
    struct keeper *k = &w->guardians[guardian][s->number];

    if (chance(w, k->mender.rebuild.is_active ? 40 : 20)) {
        menders_go_on(w, guardian, s);
        return;
    }
    if (!k->is_assigned || follow_is_halted(&k->follow)) {
        return;
    }
    if (!k->is_loaded) {
        load(w, guardian, s);
        return;
    }
    switch (below(w, 4)) {
    case 0:
        commit(w, guardian, s, fate);
        break;
    case 1:
        if (k->is_probing) {
            probe(w, guardian, s);
        } else {
            act(w, guardian, s, follow_tick(&k->follow, guardians_now_ms(w, guardian)));
        }
        break;
    default:
        for (int64_t n = below(w, 8); n >= 0; n--) {
            deliver(w, guardian, s);
        }
        break;
    }
}

void guardians_go_on(struct world *w, int guardian)
{
    struct shard *s = any_shard(w);
    struct keeper *k = &w->guardians[guardian][s->number];
    enum mysql_fate fate = MYSQL_WELL;

    if (w->is_guardian_stopped[guardian]) {
        return;
    }
    if (!k->is_assigned && chance(w, w->zombies)) {
        k->is_assigned = true;
    }
    if (w->fatal == COVER_CRASHED_UNSURE
            ? chance(w, 30)
            : (w->faults & FAULT_BIT_MYSQL) != 0 && chance(w, 3 * w->percent)) {
        fate = (enum mysql_fate)(1 + below(w, 3));
    }
    go_on(w, guardian, s, fate);
}

static void init_keeper(struct world *w, int guardian, int shard)
{
    struct keeper *k = &w->guardians[guardian][shard];

    *k = (struct keeper){.at = -1, .seek = -1};
    follow_init(&k->follow, shard, w->n_shards, PROBE_MS);
    menders_init(&k->mender);
}

void guardians_init(struct world *w)
{
    for (int i = 0; i < GUARDIANS; i++) {
        for (int k = 0; k < w->n_shards; k++) {
            init_keeper(w, i, k);
        }
    }
}

void guardians_fini(struct world *w)
{
    for (int i = 0; i < GUARDIANS; i++) {
        for (int k = 0; k < w->n_shards; k++) {
            drop_batches(&w->guardians[i][k]);
        }
    }
    buf_fini(&w->sql);
}

/* Its last transaction may still take effect. */
void guardians_crash(struct world *w, int guardian)
{
    seen(COVER_GUARDIAN_CRASH);
    seen(w->guardian_did[guardian]);
    tell(w, "guardian %d: is killed", guardian);
    for (int i = 0; i < w->n_shards; i++) {
        struct keeper *k = &w->guardians[guardian][i];

        if (k->n_batches > 0 && chance(w, 50)) {
            commit(w, guardian, &w->shards[i], chance(w, 50) ? MYSQL_LOST_REPLY : MYSQL_BREAKS);
        }
        drop_batches(k);
        init_keeper(w, guardian, i);
    }
    w->guardian_did[guardian] = COVER_NONE;
}

void guardians_stop(struct world *w, int guardian)
{
    w->is_guardian_stopped[guardian] = !w->is_guardian_stopped[guardian];
    if (w->is_guardian_stopped[guardian]) {
        seen(COVER_GUARDIAN_STOP);
    }
    tell(w, "guardian %d: %s", guardian,
         w->is_guardian_stopped[guardian] ? "is stopped" : "goes on");
}

void guardians_regroup(struct world *w, int guardian)
{
    for (int i = 0; i < w->n_shards; i++) {
        struct keeper *k = &w->guardians[guardian][i];

        k->is_assigned = chance(w, 70);
        guardians_start_over(k);
    }
}

static void heal_keeper(struct world *w, int guardian, struct shard *s)
{
    struct keeper *k = &w->guardians[guardian][s->number];

    /* A guardian at rest does not see that MySQL went back: who switches MySQL starts it again. */
    if (k->is_assigned != (guardian == 0) || s->has_mysql_moved) {
        k->is_assigned = guardian == 0;
        guardians_start_over(k);
    }
}

void guardians_heal(struct world *w)
{
    for (int i = 0; i < GUARDIANS; i++) {
        w->is_guardian_stopped[i] = false;
        for (int k = 0; k < w->n_shards; k++) {
            heal_keeper(w, i, &w->shards[k]);
        }
    }
    for (int k = 0; k < w->n_shards; k++) {
        w->shards[k].has_mysql_moved = false;
    }
}

void guardians_heal_step(struct world *w)
{
    for (int shard = 0; shard < w->n_shards; shard++) {
        for (int i = 0; i < GUARDIANS; i++) {
            for (int n = 0; n < 6; n++) {
                go_on(w, i, &w->shards[shard], MYSQL_WELL);
            }
        }
    }
}
