/*
 * Whoever reads the log again starts at a record that it has already applied: MySQL's position, the
 * record at Redis's watermark, the first record of the oldest batch of the outbox.  The earliest of
 * these stays, and of the outcomes that of MySQL's position, or of an older one that is to be gone
 * back to.
 */
#include "guardian/archive.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/daemon.h"
#include "common/outcome.h"
#include "common/xmalloc.h"
#include "guardian/anchor.h"
#include "guardian/commit.h"
#include "guardian/peek.h"
#include "guardian/scan.h"

struct trim {
    const struct settings *settings;
    struct db *db;
    struct peek *redis;
    struct kafka_settings kafka;
    struct kafka_start *orders, *outcomes;
    int64_t *begin; /* where the log of each of orders starts before */
    size_t n_orders, n_outcomes;
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

struct search {
    const char *genesis;
    int64_t upto, found; /* found: where in the topic; -1: not yet */
    struct outcome outcome;
};

static bool take_outcome(const struct kafka_record *record, void *arg)
{
    struct search *s = arg;

    if (outcome_parse(&s->outcome, record->value, NULL) &&
        strcmp(s->outcome.genesis, s->genesis) == 0 && s->outcome.offset >= s->upto) {
        s->found = record->offset;
    }
    return s->found < 0;
}

/* The first outcome that has to stay.  Copies of older ones may follow it. */
static bool find_first_outcome(struct trim *t, int partition, const struct progress *at,
                               int64_t *first, struct err *err)
{
    struct search s = {.genesis = at->genesis, .upto = t->settings->upto, .found = -1};
    struct scan *scan;
    int64_t begin, end;
    bool ok;

    *first = at->outcomes_offset;
    if (s.upto < 0 || s.upto >= at->position) {
        return true;
    }
    scan = scan_create(&t->kafka, t->settings->kafka.topic_outcomes, t->settings->timeout_ms, err);
    ok = scan != NULL && scan_range(scan, partition, &begin, &end, err) &&
         scan_read(scan, &(struct kafka_start){partition, begin}, end, take_outcome, &s, err);
    if (ok) {
        *first = least(*first, s.found < 0 ? begin : s.found);
    }
    outcome_fini(&s.outcome);
    scan_destroy(scan);
    return ok;
}

static bool plan(struct trim *t, int partition, struct err *err)
{
    const struct pick_wait wait = {.patience_ms = t->settings->timeout_ms};
    struct progress at;
    struct anchor anchor;
    int64_t first = -1;
    int64_t first_outcome;
    bool ok = db_connect(t->db, err) && commit_read_progress(t->db, partition, false, &at, err);

    db_rollback(t->db);
    if (!ok) {
        return false;
    }
    if (at.position < 0) {
        (void)printf("partition %d: MySQL has nothing of it\n", partition);
        return true;
    }
    if (!anchor_find(t->settings, partition, &at, &wait, &anchor, err) ||
        !find_first(t, partition, &at, &first, err)) {
        return false;
    }
    /* It is what proves a log without its head; and where it is not, one cannot delete before it. */
    if (!anchor.has_outcome) {
        return err_set(err, ERR_FATAL,
                       "the outcome of MySQL's position %" PRId64 " is not in %s: wait until the "
                       "guardian has recorded one more",
                       at.position, t->settings->kafka.topic_outcomes);
    }
    if (!find_first_outcome(t, partition, &at, &first_outcome, err)) {
        return false;
    }
    /* Also where the log stays as it is: the outcomes are what may have failed the last time. */
    t->outcomes[t->n_outcomes++] = (struct kafka_start){partition, first_outcome};
    if (first <= anchor.begin) {
        (void)printf("partition %d: starts at %" PRId64 " as before\n", partition, anchor.begin);
        return true;
    }
    t->begin[t->n_orders] = anchor.begin;
    t->orders[t->n_orders++] = (struct kafka_start){partition, first};
    return true;
}

static bool trim(struct trim *t, struct err *err)
{
    const struct options_kafka *kafka = &t->settings->kafka;
    const int64_t timeout_ms = t->settings->timeout_ms;

    if (t->n_orders > 0 && !kafka_delete_before(&t->kafka, kafka->topic_orders, t->orders,
                                                t->n_orders, timeout_ms, err)) {
        return false;
    }
    for (size_t i = 0; i < t->n_orders; i++) {
        (void)printf("partition %d: started at %" PRId64 ", starts at %" PRId64 "\n",
                     t->orders[i].partition, t->begin[i], t->orders[i].offset);
    }
    return t->n_outcomes == 0 || kafka_delete_before(&t->kafka, kafka->topic_outcomes, t->outcomes,
                                                     t->n_outcomes, timeout_ms, err);
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
    if (settings->upto >= 0 && settings->partition < 0 && n > 1) {
        (void)fprintf(stderr, "seckill-guardian: --upto is an offset of one partition: give "
                              "--partition=N, too\n");
        return DAEMON_EXIT_USAGE;
    }
    t.db = db_create(&mysql, DB_SESSION_READ);
    t.redis = peek_create(&settings->redis, settings->redis_timeout_ms);
    t.orders = xcalloc(n, sizeof(*t.orders));
    t.outcomes = xcalloc(n, sizeof(*t.outcomes));
    t.begin = xcalloc(n, sizeof(*t.begin));
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
    free(t.begin);
    peek_destroy(t.redis);
    db_destroy(t.db);
    (void)kafka_wait_ended(1000);
    if (fflush(stdout) != 0) {
        return 2;
    }
    return ok ? 0 : err.kind == ERR_FATAL ? 1 : 2;
}
