/*
 * Whoever reads the log again starts at a record that it has already applied: MySQL's position, the
 * record at Redis's watermark, the first record of the oldest batch of the outbox.  The earliest of
 * these stays, and of the outcomes that of MySQL's position.
 */
#include "guardian/archive.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/daemon.h"
#include "common/xmalloc.h"
#include "guardian/anchor.h"
#include "guardian/commit.h"
#include "guardian/peek.h"

struct trim {
    const struct settings *settings;
    struct db *db;
    struct peek *redis;
    struct kafka_settings kafka;
    struct kafka_start *orders, *outcomes;
    size_t n;
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The first record that has to stay in the log. */
static bool find_first(struct trim *t, int partition, const struct progress *at, int64_t *first,
                       struct err *err)
{
    struct follow_probe probe;

    if (!peek_probe(t->redis, partition, &probe, err)) {
        return false;
    }
    if (!probe.is_known) {
        return err_set(err, ERR_FATAL, "Redis has no state: rebuild it first");
    }
    *first = least(at->position, probe.watermark);
    if (probe.has_outbox) {
        *first = least(*first, probe.first_prev + 1);
    }
    if (t->settings->upto >= 0) {
        *first = least(*first, t->settings->upto);
    }
    return true;
}

static bool plan(struct trim *t, int partition, struct err *err)
{
    const int64_t deadline_ms = clock_mono_ms() + t->settings->timeout_ms;
    struct progress at;
    struct anchor anchor;
    int64_t first = -1;
    bool ok = db_connect(t->db, err) && commit_read_progress(t->db, partition, false, &at, err);

    db_rollback(t->db);
    if (!ok) {
        return false;
    }
    if (at.position < 0) {
        (void)printf("partition %d: MySQL has nothing of it\n", partition);
        return true;
    }
    if (!anchor_find(t->settings, partition, &at, deadline_ms, &anchor, err) ||
        !find_first(t, partition, &at, &first, err)) {
        return false;
    }
    if (first <= anchor.begin) {
        (void)printf("partition %d: starts at %" PRId64 " as before\n", partition, anchor.begin);
        return true;
    }
    t->orders[t->n] = (struct kafka_start){partition, first};
    t->outcomes[t->n] =
        (struct kafka_start){partition, at.outcomes_offset < 0 ? 0 : at.outcomes_offset};
    t->n++;
    (void)printf("partition %d: started at %" PRId64 ", starts at %" PRId64 "\n", partition,
                 anchor.begin, first);
    return true;
}

static bool trim(struct trim *t, struct err *err)
{
    const struct options_kafka *kafka = &t->settings->kafka;
    const int64_t timeout_ms = t->settings->timeout_ms;

    return t->n == 0 ||
           (kafka_delete_before(&t->kafka, kafka->topic_orders, t->orders, t->n, timeout_ms, err) &&
            kafka_delete_before(&t->kafka, kafka->topic_outcomes, t->outcomes, t->n, timeout_ms,
                                err));
}

int archive_run(const struct settings *settings)
{
    const struct db_settings mysql = settings_db(settings);
    const size_t n = (size_t)settings->kafka.partitions;
    struct trim t = {.settings = settings, .kafka = settings_kafka(settings)};
    struct err err = {0};
    bool ok = true;

    if (!settings->trim) {
        (void)fprintf(stderr, "seckill-guardian: archive --trim; see --help\n");
        return DAEMON_EXIT_USAGE;
    }
    t.db = db_create(&mysql, DB_SESSION_READ);
    t.redis = peek_create(&settings->redis, settings->redis_timeout_ms);
    t.orders = xcalloc(n, sizeof(*t.orders));
    t.outcomes = xcalloc(n, sizeof(*t.outcomes));
    for (int i = 0; ok && i < (int)n; i++) {
        if (settings->partition < 0 || settings->partition == i) {
            ok = plan(&t, i, &err);
        }
        if (!ok) {
            (void)printf("partition %d: nothing was trimmed: %s\n", i, err.text);
        }
    }
    if (ok && !trim(&t, &err)) {
        ok = false;
        (void)printf("%s\n", err.text);
    }
    free(t.orders);
    free(t.outcomes);
    peek_destroy(t.redis);
    db_destroy(t.db);
    (void)kafka_wait_ended(1000);
    if (fflush(stdout) != 0) {
        return 2;
    }
    return ok ? 0 : err.kind == ERR_FATAL ? 1 : 2;
}
