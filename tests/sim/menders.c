#include "tests/sim/menders.h"

#include <stdio.h>

#include "tests/sim/guardians.h"
#include "tests/sim/log.h"
#include "tests/sim/redis.h"

/* As in guardian/service_mend.c, but for the standstill, which is a setting. */
enum {
    LOOK_MS = 1000,
    LOG_AGAIN_MS = 3000,
    AGAIN_MS = 5000,
    STALL_MS = 2000,
    PIECES = 2,
};

void menders_init(struct mender *m)
{
    *m = (struct mender){.mend = {.stall_ms = STALL_MS}};
}

static struct mender *mender_of(struct world *w, int guardian, const struct shard *s)
{
    return &w->guardians[guardian][s->number].mender;
}

/* ---- looking ---- */

/* The first record that a matcher has to read again. */
static int64_t first_of(const struct redis *r)
{
    if (r->n == 0) {
        return r->at->offset;
    }
    return r->box[0].prev == NULL ? 0 : r->box[0].prev->offset + 1;
}

/* What is wrong with Redis, in one look. */
static enum mend_cause ill_of(const struct shard *s, const struct mender *m)
{
    const struct redis *r = &s->redis;
    char genesis[IDS_LOG_LEN + 1];

    if (r->at != NULL) {
        redis_genesis(r->at, genesis);
        return strcmp(genesis, m->genesis) == 0 && first_of(r) < m->position &&
                       first_of(r) < s->begin
                   ? MEND_HEAD
                   : MEND_NONE;
    }
    if (r->token != 0) {
        return MEND_INTERRUPTED;
    }
    return r->is_torn ? MEND_KEYS : s->begin > 0 ? MEND_HEAD : MEND_NONE;
}

/* Since when this guardian has seen nothing else. */
static void watch(struct world *w, int guardian, const struct shard *s)
{
    struct mender *m = mender_of(w, guardian, s);
    const struct watched now = {ill_of(s, m), s->redis.token, s->redis.pieces};

    if (now.ill != m->watched.ill || now.token != m->watched.token ||
        now.pieces != m->watched.pieces) {
        m->watched = now;
        m->watched_ms = guardians_now_ms(w, guardian);
    }
}

static void look(const struct shard *s, struct peek_look *look)
{
    const struct redis *r = &s->redis;

    *look = (struct peek_look){.found = PEEK_NOTHING, .watermark = -1};
    if (r->at != NULL) {
        look->found = PEEK_STATE;
        look->watermark = r->at->offset;
        look->first = first_of(r);
        redis_genesis(r->at, look->genesis);
    } else if (r->token != 0) {
        look->found = PEEK_REBUILD;
        look->progress = r->pieces;
        (void)snprintf(look->token, sizeof(look->token), "%d", r->token);
    } else if (r->is_torn) {
        look->found = PEEK_KEYS;
    }
}

/* ---- rebuilding ---- */

static void begin(struct world *w, int guardian, const struct shard *s, enum mend_cause cause)
{
    struct mender *m = mender_of(w, guardian, s);

    m->rebuild = (struct rebuilding){.is_active = true, .cause = cause, .token = ++w->tokens};
    tell(w, "guardian %d/%d: rebuilds Redis (%s)", guardian, s->number, mend_cause_name(cause));
}

void menders_rebuild(struct world *w, int guardian, struct shard *s)
{
    struct mender *m = mender_of(w, guardian, s);

    if (!m->rebuild.is_active) {
        m->is_looking = false;
        begin(w, guardian, s, MEND_NONE);
    }
}

static void end(struct world *w, int guardian, struct shard *s, bool is_done)
{
    struct mender *m = mender_of(w, guardian, s);

    m->rebuild.is_active = false;
    m->again_ms = guardians_now_ms(w, guardian) + AGAIN_MS;
    if (is_done) {
        guardians_start_over(&w->guardians[guardian][s->number]);
    }
}

/* One picture of MySQL.  What it was made from has to fit: all that may refuse comes here. */
static void take_snapshot(struct world *w, int guardian, struct shard *s)
{
    struct rebuilding *b = &mender_of(w, guardian, s)->rebuild;
    const struct progress *at = &s->mysql.progress;

    b->has_snapshot = true;
    b->node = at->position < 0 ? NULL : log_find(s, at->position, at->chain);
    if (b->node != NULL && !command_has_rules(b->node->rules)) {
        end(w, guardian, s, false);
        if (b->cause != MEND_NONE && w->guardians[guardian][s->number].is_assigned) {
            guardians_halt(w, guardian, s, "the record follows rules that this build lacks");
        }
    }
}

/* One call of a script. */
static void rebuild(struct world *w, int guardian, struct shard *s)
{
    struct rebuilding *b = &mender_of(w, guardian, s)->rebuild;

    if (!b->has_snapshot) {
        take_snapshot(w, guardian, s);
        return;
    }
    if (b->piece == 0) {
        redis_rebuild_begin(w, s, b->token);
        w->guardian_did[guardian] = COVER_CRASHED_WIPED;
        b->piece = 1;
        return;
    }
    if (!redis_rebuild_put(w, s, b->token, b->piece, b->node)) {
        seen(COVER_REBUILD_TAKEN);
        tell(w, "guardian %d/%d: another rebuild began later", guardian, s->number);
        end(w, guardian, s, false);
        return;
    }
    w->guardian_did[guardian] = COVER_CRASHED_PIECE;
    if (b->piece++ > PIECES) {
        seen(COVER_REBUILD);
        w->guardian_did[guardian] = COVER_CRASHED_REBUILT;
        end(w, guardian, s, true);
    }
}

/* ---- by itself ---- */

static bool is_reading(const struct keeper *k)
{
    return k->is_assigned && k->is_loaded && !follow_is_halted(&k->follow);
}

/* It rebuilds for what it saw at least a second ago, and has seen ever since. */
static void check_cause(struct world *w, int guardian, const struct shard *s, enum mend_cause cause)
{
    const struct mender *m = mender_of(w, guardian, s);
    const int64_t since_ms = guardians_now_ms(w, guardian) - m->watched_ms;

    seen(cause == MEND_KEYS   ? COVER_MEND_KEYS
         : cause == MEND_HEAD ? COVER_MEND_HEAD
                              : COVER_MEND_INTERRUPTED);
    if (cause != m->watched.ill ||
        since_ms < (cause == MEND_INTERRUPTED ? STALL_MS : MEND_TWICE_MS)) {
        wrong(w, "guardian %d rebuilds Redis %d (%s) over what it has seen for %" PRId64 " ms only",
              guardian, s->number, mend_cause_name(cause), since_ms);
    }
}

static void end_look(struct world *w, int guardian, struct shard *s)
{
    struct keeper *k = &w->guardians[guardian][s->number];
    struct mender *m = &k->mender;
    struct peek_look found;
    enum mend_cause cause;
    bool wants_log;

    m->is_looking = false;
    if (redis_is_away(s) || (!w->is_healing && chance(w, 5))) {
        return;
    }
    look(s, &found);
    watch(w, guardian, s);
    wants_log = mend_wants_log(&m->mend, &found, m->position);
    if (wants_log) {
        m->again_ms = guardians_now_ms(w, guardian) + LOG_AGAIN_MS;
    }
    cause = mend_see(&m->mend, &(struct mend_view){
                                   .look = &found,
                                   .position = m->position,
                                   .genesis = m->genesis,
                                   .log_begin = wants_log ? s->begin : 0,
                                   .now_ms = guardians_now_ms(w, guardian),
                               });
    if (cause != MEND_NONE && is_reading(k)) {
        check_cause(w, guardian, s, cause);
        begin(w, guardian, s, cause);
    }
}

void menders_mend(struct world *w, int guardian, struct shard *s)
{
    struct keeper *k = &w->guardians[guardian][s->number];
    struct mender *m = &k->mender;

    if (m->is_looking || m->rebuild.is_active || guardians_now_ms(w, guardian) < m->again_ms ||
        !is_reading(k)) {
        return;
    }
    if (follow_is_lost(&k->follow)) {
        begin(w, guardian, s, MEND_LOST);
        return;
    }
    m->again_ms = guardians_now_ms(w, guardian) + LOOK_MS;
    m->is_looking = true;
    memcpy(m->genesis, s->mysql.progress.genesis, sizeof(m->genesis));
    m->position = s->mysql.progress.position; /* another guardian may have committed more */
}

void menders_go_on(struct world *w, int guardian, struct shard *s)
{
    struct mender *m = mender_of(w, guardian, s);

    if (m->rebuild.is_active) {
        if (!redis_is_away(s)) {
            rebuild(w, guardian, s);
        }
    } else if (m->is_looking) {
        end_look(w, guardian, s);
    } else {
        menders_mend(w, guardian, s);
    }
}
