/*
 * Redis is looked at every LOOK_MS.  One job per partition at a time: a look, or a rebuild.  What a
 * rebuild was for shows again at the next look if it failed; a lost outcome is remembered by follow.
 */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "guardian/pick.h"
#include "guardian/service_impl.h"

enum {
    LOOK_MS = 1000,
    LOG_AGAIN_MS = 3000, /* after a look that took the log's begin */
    AGAIN_MS = 5000,     /* after a rebuild that failed */
    RANGE_WAIT_MS = 10000,
};

/* ---- on the pool's threads ---- */

static bool read_log_begin(const struct service *s, int partition, int64_t *begin, struct err *err)
{
    const struct settings *settings = s->settings;
    const struct kafka_settings kafka = settings_kafka(settings);
    const struct pick_wait wait = {RANGE_WAIT_MS, &s->is_leaving};
    struct pick *pick = pick_create(&kafka, settings->kafka.topic_orders, partition, &wait, err);
    int64_t end;
    bool ok = pick != NULL && pick_range(pick, begin, &end, err);

    pick_destroy(pick);
    return ok;
}

/* Another guardian may have committed what is not known here. */
static bool read_position(struct db *db, int partition, struct progress *now, struct err *err)
{
    const bool ok = db_connect(db, err) && commit_read_progress(db, partition, false, now, err);

    db_rollback(db);
    return ok;
}

static void run_look(struct pool_job *job, struct pool_tools *tools)
{
    struct mender *m = (struct mender *)job;
    const int partition = m->part->partition;

    struct progress now;

    m->log_begin = 0;
    m->ok = false;
    /* In this order: what Redis had later than MySQL it does not lack. */
    if (!read_position(tools->db, partition, &now, &m->err)) {
        log_limited(LOG_LEVEL_WARN, "mysql.unwell", LOG_INT("partition", partition),
                    LOG_ERR(&m->err));
        return;
    }
    m->position = now.position;
    memcpy(m->genesis, now.genesis, sizeof(m->genesis));
    m->ok = peek_look(tools->redis, partition, &m->look, &m->err) &&
            (!mend_wants_log(&m->mend, &m->look, m->position) ||
             read_log_begin(m->part->service, partition, &m->log_begin, &m->err));
    if (!m->ok) {
        log_limited(LOG_LEVEL_WARN, "redis.unwell", LOG_INT("partition", partition),
                    LOG_ERR(&m->err));
    } else if (m->look.found == PEEK_STATE && m->position >= 0 &&
               strcmp(m->look.genesis, m->genesis) != 0) {
        log_limited(LOG_LEVEL_WARN, "redis.another_log", LOG_INT("partition", partition),
                    LOG_STR("redis", m->look.genesis), LOG_STR("mysql", m->genesis));
    }
}

/* The job may have waited for its turn, and another guardian have gone on. */
static enum rebuild_end look_at_record(struct mender *m, struct pool_tools *tools)
{
    struct progress record;

    if (m->cause != MEND_LOST) {
        return REBUILD_DONE; /* rebuild_partition() looks whether Redis is */
    }
    if (!read_position(tools->db, m->part->partition, &record, &m->err)) {
        return REBUILD_FAILED;
    }
    if (record.position != m->position) {
        (void)err_set(&m->err, ERR_RETRY, "MySQL is not where it was any more");
        return REBUILD_TAKEN;
    }
    return REBUILD_DONE;
}

static void run_rebuild(struct pool_job *job, struct pool_tools *tools)
{
    struct mender *m = (struct mender *)job;

    failpoint_kill("rebuild.queued");
    m->end = look_at_record(m, tools);
    if (m->end != REBUILD_DONE) {
        return;
    }
    log_warn("rebuild.begins", LOG_INT("partition", m->part->partition),
             LOG_STR("cause", mend_cause_name(m->cause)));
    m->end = rebuild_partition(&m->rebuild, &m->err);
}

/* ---- on the loop's ---- */

static void done_rebuild(struct pool_job *job, void *arg ATTR_UNUSED)
{
    struct mender *m = (struct mender *)job;
    struct part *part = m->part;
    struct service *s = part->service;

    m->is_running = false;
    m->again_ms = clock_mono_ms() + AGAIN_MS;
    switch (m->end) {
    case REBUILD_DONE:
        log_info("rebuild.done", LOG_INT("partition", part->partition),
                 LOG_STR("cause", mend_cause_name(m->cause)),
                 LOG_INT("position", m->rebuild.position), LOG_INT("orders", m->rebuild.orders),
                 LOG_INT("ms", m->rebuild.took_ms), LOG_BOOL("proven", m->rebuild.is_proven));
        stats_add(s->stats, STAT_REBUILDS_LOST + (enum guardian_stat)(m->cause - MEND_LOST), 1);
        if (part->is_assigned) {
            service_start_over(part);
        }
        return;
    case REBUILD_REFUSED:
        if (part->is_assigned) {
            service_drop_queue(part);
            service_act(part, follow_halt(&part->follow, FOLLOW_HALT_RECORD, m->err.text));
        }
        return;
    case REBUILD_TAKEN:
        if (m->cause == MEND_LOST && part->is_assigned) {
            service_start_over(part); /* MySQL may be elsewhere */
        }
        /* fall through */
    case REBUILD_FAILED:
        stats_add(s->stats, STAT_REBUILDS_FAILED, 1);
        log_warn("rebuild.failed", LOG_INT("partition", part->partition),
                 LOG_STR("cause", mend_cause_name(m->cause)), LOG_ERR(&m->err));
        return;
    }
}

static void begin_rebuild(struct mender *m, enum mend_cause cause)
{
    struct part *part = m->part;

    m->cause = cause;
    m->is_running = true;
    m->rebuild = (struct rebuild){
        .settings = part->service->settings,
        .partition = part->partition,
        .cancelled = &part->service->is_leaving,
        .seen = cause == MEND_LOST ? NULL : &m->look,
    };
    m->job = (struct pool_job){.run = run_rebuild, .done = done_rebuild, .is_long = true};
    pool_submit(part->service->pool, &m->job);
}

static void done_look(struct pool_job *job, void *arg ATTR_UNUSED)
{
    struct mender *m = (struct mender *)job;
    const struct mend_view view = {
        .look = &m->look,
        .position = m->position,
        .genesis = m->genesis,
        .log_begin = m->log_begin,
        .now_ms = clock_mono_ms(),
    };
    enum mend_cause cause;

    m->is_running = false;
    if (!m->ok) {
        return;
    }
    if (mend_wants_log(&m->mend, &m->look, m->position)) {
        m->again_ms = view.now_ms + LOG_AGAIN_MS;
    }
    cause = mend_see(&m->mend, &view);
    if (cause != MEND_NONE && service_is_reading(m->part)) {
        begin_rebuild(m, cause);
    }
}

void service_mend_init(struct part *part)
{
    part->mender.part = part;
    part->mender.mend.stall_ms = part->service->settings->rebuild_stall_ms;
}

void service_mend(struct part *part)
{
    struct mender *m = &part->mender;
    const int64_t now_ms = clock_mono_ms();

    if (!part->service->settings->auto_rebuild || m->is_running || now_ms < m->again_ms ||
        !service_is_reading(part)) {
        return;
    }
    if (follow_is_lost(&part->follow)) {
        m->position = part->committed.position;
        begin_rebuild(m, MEND_LOST);
        return;
    }
    m->again_ms = now_ms + LOOK_MS;
    m->is_running = true;
    m->job = (struct pool_job){.run = run_look, .done = done_look};
    pool_submit(part->service->pool, &m->job);
}
