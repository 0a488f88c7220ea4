/*
 * Batches of a partition are queued in order.  The first may be at a writer; a batch that failed goes
 * back to the front, so the order never changes.
 */
#include "guardian/service_impl.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/probe.h"
#include "common/xmalloc.h"
#include "guardian/commit.h"

enum {
    MARK_ATTEMPTS = 3,
    GATHER_MS = 10, /* what comes at the same time belongs together */
};

/* ---- batches ---- */

static struct batch *take_batch(struct part *part)
{
    struct batch *batch = part->spare;

    part->spare = NULL;
    if (batch == NULL) {
        batch = xcalloc(1, sizeof(*batch));
        batch->part = part;
        batch->ledger = ledger_create(part->partition);
    }
    return batch;
}

void service_free_batch(struct batch *batch)
{
    if (batch != NULL) {
        ledger_destroy(batch->ledger);
        free(batch);
    }
}

static void put_batch(struct part *part, struct batch *batch)
{
    if (part->spare == NULL) {
        part->spare = batch;
    } else {
        service_free_batch(batch);
    }
}

void service_drop_queue(struct part *part)
{
    struct batch *batch;

    part->life++;
    while ((batch = TAILQ_FIRST(&part->queue)) != NULL) {
        TAILQ_REMOVE(&part->queue, batch, link);
        put_batch(part, batch);
    }
    part->queued_rows = 0;
}

/* ---- committed, or not ---- */

static void note_commit(struct part *part, struct batch *batch)
{
    struct service *s = part->service;
    const struct ledger_mark *mark = ledger_mark(batch->ledger);

    histogram_add(s->commit_us, batch->took_us);
    stats_add(s->stats, STAT_COMMITS, 1);
    stats_add(s->stats, STAT_APPLIED, (int64_t)ledger_records(batch->ledger));
    stats_add(s->stats, STAT_ROWS, (int64_t)ledger_rows(batch->ledger));
    if (mark != NULL) {
        stats_add(s->stats, STAT_MARKS, 1);
    }
    part->committed = *ledger_end(batch->ledger);
    PROBE(batch_committed, part->partition, ledger_base(batch->ledger)->position,
          part->committed.position, batch->took_us);
    log_debug("batch.committed", LOG_INT("partition", part->partition),
              LOG_INT("position", part->committed.position),
              LOG_INT("records", (int64_t)ledger_records(batch->ledger)),
              LOG_INT("us", batch->took_us));
}

static void finish_commit(struct part *part, struct batch *batch)
{
    struct service *s = part->service;

    switch (batch->result) {
    case COMMIT_DONE:
        backoff_reset(&part->backoff);
        part->queued_rows -= ledger_rows(batch->ledger);
        note_commit(part, batch);
        put_batch(part, batch);
        service_regulate(part);
        service_kick(part);
        return;
    case COMMIT_RETRY:
        stats_add(s->stats, STAT_RETRIES, 1);
        log_limited(LOG_LEVEL_WARN, "mysql.unwell", LOG_INT("partition", part->partition),
                    LOG_ERR(&batch->err));
        /* A mark reads whole tables; if that takes longer than MySQL may, the sale comes first. */
        if (++batch->attempts == MARK_ATTEMPTS) {
            ledger_skip_mark(batch->ledger);
        }
        TAILQ_INSERT_HEAD(&part->queue, batch, link);
        service_arm(part, backoff_next(&part->backoff, arc4random()));
        return;
    case COMMIT_MOVED:
        stats_add(s->stats, STAT_MOVED, 1);
        log_info("partition.moved", LOG_INT("partition", part->partition),
                 LOG_INT("position", batch->now.position),
                 LOG_INT("expected", ledger_base(batch->ledger)->position));
        put_batch(part, batch);
        service_start_over(part);
        return;
    case COMMIT_HALTED:
        put_batch(part, batch);
        service_drop_queue(part);
        service_act(part, follow_halt(&part->follow, FOLLOW_HALT_RECORD, batch->err.text));
        return;
    }
}

static void run_commit(struct pool_job *job, struct pool_tools *tools)
{
    struct batch *batch = (struct batch *)job;
    int64_t start_us = clock_mono_us();

    batch->result = commit_batch(tools->db, batch->ledger, &tools->sql, &batch->now, &batch->err);
    batch->took_us = clock_mono_us() - start_us;
}

static void done_commit(struct pool_job *job, void *arg ATTR_UNUSED)
{
    struct batch *batch = (struct batch *)job;
    struct part *part = batch->part;

    part->is_busy = false;
    if (batch->life != part->life) {
        put_batch(part, batch);
        if (part->wants_load) {
            service_submit_load(part);
        }
        return;
    }
    finish_commit(part, batch);
}

/* ---- writing ---- */

static bool is_backing_off(const struct part *part)
{
    return part->backoff.attempts > 0 && event_pending(part->timer, EV_TIMEOUT, NULL);
}

/*
 * A transaction costs as much as dozens of orders, so while a partition is busy one of them follows
 * the other at a distance, and takes what has come meanwhile; who is alone waits for nobody.  A mark
 * or an archive goes at once, as do a batch that is full and one that has waited before.
 */
static int64_t linger_left_ms(const struct part *part, const struct batch *batch)
{
    const struct settings *settings = part->service->settings;
    int64_t gather_ms = settings->linger_ms < GATHER_MS ? settings->linger_ms : GATHER_MS;
    int64_t alone_ms = batch->since_ms + gather_ms;
    int64_t busy_ms = part->begun_ms + settings->linger_ms;

    if (TAILQ_NEXT(batch, link) != NULL || batch->attempts > 0 || ledger_is_full(batch->ledger) ||
        part->service->is_draining || part->queued_rows >= (size_t)settings->batch_rows) {
        return 0;
    }
    return (alone_ms > busy_ms ? alone_ms : busy_ms) - clock_mono_ms();
}

void service_kick(struct part *part)
{
    struct service *s = part->service;
    struct batch *batch = TAILQ_FIRST(&part->queue);
    int64_t wait_ms;

    if (batch == NULL || part->is_busy || is_backing_off(part)) {
        return;
    }
    wait_ms = linger_left_ms(part, batch);
    if (wait_ms > 0) {
        if (!event_pending(part->timer, EV_TIMEOUT, NULL)) {
            service_arm(part, wait_ms);
        }
        return;
    }
    TAILQ_REMOVE(&part->queue, batch, link);
    part->is_busy = true;
    part->begun_ms = clock_mono_ms();
    pool_submit(s->pool, &batch->job);
}

/* The batch that the outcome goes into: some stand alone. */
static struct batch *batch_for(struct part *part, const struct outcome *o,
                               const struct progress *base)
{
    struct service *s = part->service;
    struct batch *batch = TAILQ_LAST(&part->queue, batch_queue);

    if (batch != NULL && !ledger_is_full(batch->ledger) && !ledger_is_alone(o) &&
        ledger_rows(batch->ledger) < (size_t)s->settings->batch_rows) {
        return batch;
    }
    batch = take_batch(part);
    batch->life = part->life;
    batch->attempts = 0;
    batch->since_ms = clock_mono_ms();
    batch->job = (struct pool_job){.run = run_commit, .done = done_commit};
    ledger_begin(batch->ledger, base);
    TAILQ_INSERT_TAIL(&part->queue, batch, link);
    return batch;
}

void service_apply(struct part *part, const struct progress *base)
{
    struct service *s = part->service;
    struct batch *batch = batch_for(part, &s->outcome, base);
    size_t rows = ledger_rows(batch->ledger);
    struct err err = {0};

    if (!ledger_add(batch->ledger, &s->outcome, &part->follow.head, &err)) {
        /* The batch is spoilt; those before it are complete and will be written. */
        TAILQ_REMOVE(&part->queue, batch, link);
        part->queued_rows -= rows;
        put_batch(part, batch);
        service_act(part, follow_halt(&part->follow, FOLLOW_HALT_RECORD, err.text));
        return;
    }
    part->queued_rows += ledger_rows(batch->ledger) - rows;
    service_regulate(part);
    service_kick(part);
}
