/*
 * Assignment.  The group's answer makes the parts read their positions; each then wants a FETCH,
 * and the offsets are collected so that one rd_kafka_assign() starts all of them.  Who is not ready
 * in time starts at the end of its log, where nothing is delivered, and seeks later.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "matcher/matcher_impl.h"

enum {
    ASSIGN_WAIT_MS = 1500, /* well below every session timeout that makes sense */
    SILENCE_MS = 5000,     /* the log goes on, but nothing comes: ask again */
    FETCHES_MAX = 4,       /* without a record: the client has lost the partition */
};

static bool has_all_starts(const struct matcher *m)
{
    for (int i = 0; i < m->n; i++) {
        struct part_view view;

        part_look(m->parts[i], &view);
        if (m->desks[i].is_ours && !m->desks[i].has_start && view.halt == PART_HALT_NONE) {
            return false;
        }
    }
    return true;
}

static void finish_assignment(struct matcher *m)
{
    struct kafka_start *starts = xcalloc((size_t)m->n, sizeof(*starts));
    struct err err;
    size_t n = 0;

    for (int i = 0; i < m->n; i++) {
        const struct matcher_desk *desk = &m->desks[i];

        if (desk->is_ours) {
            starts[n++] = (struct kafka_start){i, desk->has_start ? desk->start : KAFKA_OFFSET_END};
        }
    }
    if (kafka_consumer_assign(m->consumer, starts, n, &err)) {
        m->is_assigning = false;
        log_info("group.reading", LOG_INT("partitions", (int64_t)n));
    } else {
        m->assign_by_ms = m->assign_from_ms = clock_mono_ms() + ASSIGN_WAIT_MS;
        log_limited(LOG_LEVEL_WARN, "group.assign_failed", LOG_ERR(&err));
    }
    free(starts);
    matcher_touch_all(m);
}

/*
 * librdkafka 2.0.2 may never fetch again from a topic that was deleted and made anew, seek or not.  An
 * assignment of the same partitions, each from where it stands, starts it over.
 */
static void assign_again(struct matcher *m)
{
    for (int i = 0; i < m->n; i++) {
        struct part_view view;

        part_look(m->parts[i], &view);
        m->desks[i].has_start = view.is_reading;
        m->desks[i].start = view.next_offset;
        m->desks[i].fetches = 0;
    }
    finish_assignment(m);
}

void matcher_go_on_assigning(struct matcher *m)
{
    const int64_t now_ms = clock_mono_ms();

    if (m->is_assigning && now_ms >= m->assign_from_ms &&
        (has_all_starts(m) || now_ms >= m->assign_by_ms)) {
        finish_assignment(m);
    }
}

void matcher_fetch(struct matcher *m, int partition, int64_t offset)
{
    struct err err;

    if (m->is_assigning) {
        m->desks[partition].has_start = true;
        m->desks[partition].start = offset;
        return;
    }
    log_debug("partition.seek", LOG_INT("partition", partition), LOG_INT("offset", offset));
    if (++m->desks[partition].fetches >= FETCHES_MAX) {
        assign_again(m);
        return;
    }
    if (!kafka_consumer_seek(m->consumer, partition, offset, &err)) {
        log_limited(LOG_LEVEL_WARN, "partition.seek_failed", LOG_INT("partition", partition),
                    LOG_ERR(&err));
        part_unfetched(m->parts[partition], matcher_now());
    }
}

void matcher_look_at_lineage(struct matcher *m)
{
    const uint64_t lineage = kafka_consumer_lineage(m->consumer);

    if (lineage == m->lineage) {
        return;
    }
    m->lineage = lineage;
    for (int i = 0; i < m->n; i++) {
        part_recheck(m->parts[i]);
    }
    matcher_touch_all(m);
}

static void on_record(const struct kafka_record *record, void *arg)
{
    struct matcher *m = arg;
    const struct part_record r = {
        .offset = record->offset,
        .timestamp_ms = record->timestamp_ms,
        .is_log_append_time = record->is_log_append_time,
        .key = record->key,
        .value = record->value,
    };

    if (record->partition >= m->n) {
        return;
    }
    matcher_look_at_lineage(m);
    m->desks[record->partition].silent_since = 0;
    m->desks[record->partition].fetches = 0;
    part_record(m->parts[record->partition], &r, matcher_now());
    /* Stop the flow at once; the stepper would see it only after the whole turn. */
    if (!part_wants(m->parts[record->partition])) {
        kafka_consumer_want(m->consumer, record->partition, false);
    }
    matcher_touch(m, record->partition);
}

static void on_assigned(const int *partitions, size_t n, void *arg)
{
    struct matcher *m = arg;
    char list[200] = "";
    struct buf text;

    buf_init_fixed(&text, list, sizeof(list));
    for (size_t i = 0; i < n; i++) {
        if (partitions[i] >= m->n) {
            m->calls.failed("the topic has grown more partitions than are configured",
                            m->calls.arg);
            return;
        }
        buf_printf(&text, i == 0 ? "%d" : ",%d", partitions[i]);
        m->desks[partitions[i]] = (struct matcher_desk){.is_ours = true, .is_dirty = true};
        part_assign(m->parts[partitions[i]], matcher_now());
    }
    log_info("group.assigned", LOG_STR("partitions", list));
    m->is_joined = true;
    m->is_assigning = true;
    m->assign_by_ms = clock_mono_ms() + ASSIGN_WAIT_MS;
    m->assign_from_ms = 0;
    m->was_all_halted = false;
    matcher_touch_all(m);
}

static void on_revoked(void *arg)
{
    struct matcher *m = arg;

    log_info("group.revoked");
    m->is_joined = false;
    m->is_assigning = false;
    for (int i = 0; i < m->n; i++) {
        if (m->desks[i].is_ours) {
            part_revoke(m->parts[i]);
            m->desks[i] = (struct matcher_desk){.is_ours = false};
        }
    }
}

static void on_stuck(int partition, bool is_out_of_range, const char *why, void *arg)
{
    struct matcher *m = arg;

    if (partition >= m->n) {
        return;
    }
    log_limited(LOG_LEVEL_WARN, "partition.stuck", LOG_INT("partition", partition),
                LOG_STR("error", why));
    part_stuck(m->parts[partition], is_out_of_range, why, matcher_now());
    matcher_touch(m, partition);
}

static void on_range(int partition, bool ok, int64_t begin, int64_t end, void *arg)
{
    struct matcher *m = arg;

    log_debug("partition.range", LOG_INT("partition", partition), LOG_BOOL("ok", ok),
              LOG_INT("begin", begin), LOG_INT("end", end));
    part_range(m->parts[partition], ok, begin, end, matcher_now());
    matcher_touch(m, partition);
}

static void on_consumer_fatal(const char *why, void *arg)
{
    struct matcher *m = arg;

    m->calls.failed(why, m->calls.arg);
}

void matcher_watch_silence(struct matcher *m, int partition, int64_t now_ms)
{
    struct matcher_desk *desk = &m->desks[partition];
    const int64_t end = kafka_consumer_end(m->consumer, partition);
    struct part_view view;

    part_look(m->parts[partition], &view);
    if (!desk->is_ours || m->is_assigning || !view.is_steady || view.unapplied > 0 ||
        !part_wants(m->parts[partition]) || end <= view.next_offset) {
        desk->silent_since = 0;
    } else if (desk->silent_since == 0) {
        desk->silent_since = now_ms;
    } else if (now_ms - desk->silent_since >= SILENCE_MS) {
        desk->silent_since = now_ms;
        log_limited(LOG_LEVEL_WARN, "partition.silent", LOG_INT("partition", partition),
                    LOG_INT("next", view.next_offset), LOG_INT("end", end));
        part_unfetched(m->parts[partition], matcher_now());
    }
}

bool matcher_open_log(struct matcher *m, const struct kafka_settings *kafka, struct err *err)
{
    const struct settings *s = m->settings;
    const struct kafka_consumer_settings consumer = {
        .kafka = kafka,
        .topic = s->kafka.topic_orders,
        .group_id = s->group_id,
        .instance_id = s->instance_id,
        .session_timeout_ms = s->session_timeout_ms,
        .is_split = true,
        .calls = {.record = on_record,
                  .assigned = on_assigned,
                  .revoked = on_revoked,
                  .stuck = on_stuck,
                  .fatal = on_consumer_fatal,
                  .range = on_range},
        .arg = m,
    };

    m->consumer = kafka_consumer_create(m->base, &consumer, err);
    return m->consumer != NULL;
}
