/*
 * Events mark a part dirty and make `stepper` active; it runs once per turn of the loop, after all
 * that arrived in the turn has been told, and lets every dirty part act.  So records that come
 * together are applied together.  A slow timer marks everything dirty, for what is due by time.
 *
 * Assignment.  The group's answer makes the parts read their positions; each then wants a FETCH,
 * and the offsets are collected so that one rd_kafka_assign() starts all of them.  Who is not ready
 * in time starts at the end of its log, where nothing is delivered, and seeks later.
 */
#include "matcher/matcher.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apply_lua.h"
#include "common/clock.h"
#include "common/failpoint.h"
#include "common/histogram.h"
#include "common/log.h"
#include "common/redis.h"
#include "common/xmalloc.h"
#include "matcher/metrics.h"
#include "matcher/part.h"
#include "matcher/publish.h"
#include "position_lua.h"

enum {
    STEP_MS = 50,
    ASSIGN_WAIT_MS = 1500, /* well below every session timeout that makes sense */
    SILENCE_MS = 5000,     /* the log goes on, but nothing comes: ask again */
    FETCHES_MAX = 4,       /* without a record: the client has lost the partition */

    SCRIPT_NUMBER_APPLY = 0,
    SCRIPT_NUMBER_POSITION = 1,
};

/* What the matcher keeps beside a part. */
struct desk {
    bool is_dirty;
    enum part_wait told_wait;
    bool is_ours;
    bool has_start; /* during an assignment: start is known */
    int64_t start;
    int64_t silent_since; /* 0: records come, or there are none */
    int fetches;          /* since a record came */
};

struct matcher {
    struct event_base *base;         /* borrowed */
    const struct settings *settings; /* borrowed */
    struct matcher_calls calls;
    struct part_settings part_settings;
    struct part **parts; /* by partition */
    struct desk *desks;  /* by partition */
    int n;

    struct kafka_consumer *consumer;
    struct publish *publish;
    struct redis *redis;
    struct event *stepper;
    struct event *ticker;

    uint64_t lineage;
    bool is_joined;    /* the group has answered */
    bool is_assigning; /* and the partitions are not yet given to the consumer */
    int64_t assign_by_ms;

    bool is_ready, was_all_halted, is_draining, is_closing, was_drained;
    int64_t drain_by_ms;
    struct histogram *latency; /* NULL until registered */
    int64_t *ends;
};

/* One script under way; answered exactly once. */
struct call {
    struct matcher *matcher;
    int partition;
    uint32_t number;
    bool is_read;
    int64_t sent_us;
};

static struct part_time time_now(void)
{
    return (struct part_time){.mono_ms = clock_mono_ms(), .wall_ms = clock_wall_ms()};
}

static void touch(struct matcher *m, int partition)
{
    m->desks[partition].is_dirty = true;
    event_active(m->stepper, EV_TIMEOUT, 0);
}

static void touch_all(struct matcher *m)
{
    for (int i = 0; i < m->n; i++) {
        m->desks[i].is_dirty = true;
    }
    event_active(m->stepper, EV_TIMEOUT, 0);
}

/* ---- scripts ---- */

/*
 * Redis forgot commands that we know to be applied.  Its append-only file may have been cut in the
 * middle of a script's writes; Redis 7.0 then leaves the torn half in the file, where the next
 * start would execute it together with what was appended since.  A rewritten file has none of it.
 */
static void heal_append_only_file(struct matcher *m)
{
    static const struct slice words[] = {{"BGREWRITEAOF", 12}};
    struct err err;

    if (!redis_send(m->redis, words, 1, NULL, NULL, &err)) {
        log_debug("redis.not_rewritten", LOG_ERR(&err));
    }
}

static void look_back(struct matcher *m, int partition, int64_t before)
{
    struct part_view view;

    part_look(m->parts[partition], &view);
    if (view.wait == PART_WAIT_NONE && view.watermark < before) {
        log_warn("redis.went_back", LOG_INT("partition", partition), LOG_INT("from", before),
                 LOG_INT("to", view.watermark));
        heal_append_only_file(m);
    }
}

static void answer_position(struct call *c, const redisReply *reply)
{
    struct part *part = c->matcher->parts[c->partition];
    struct part_view before;
    struct slice *fields;
    bool ok = reply->type == REDIS_REPLY_ARRAY;

    part_look(part, &before);

    fields = xcalloc(ok ? reply->elements + 1 : 1, sizeof(*fields));
    for (size_t i = 0; ok && i < reply->elements; i++) {
        const redisReply *element = reply->element[i];

        ok = element->type == REDIS_REPLY_STRING;
        fields[i] = (struct slice){element->str, ok ? element->len : 0};
    }
    if (ok) {
        part_position(part, c->number, fields, reply->elements, time_now());
        look_back(c->matcher, c->partition, before.watermark);
    } else {
        part_failed(part, c->number, SLICE_LIT("position.lua answered something else"));
    }
    free(fields);
}

static void answer_apply(struct call *c, const redisReply *reply)
{
    struct part *part = c->matcher->parts[c->partition];

    failpoint_kill("apply.after");
    if (c->matcher->latency != NULL) {
        histogram_add(c->matcher->latency, clock_mono_us() - c->sent_us);
    }
    if (reply->type == REDIS_REPLY_STRING) {
        part_applied(part, c->number, (struct slice){reply->str, reply->len}, time_now());
    } else {
        part_failed(part, c->number, SLICE_LIT("apply.lua answered something else"));
    }
}

static void on_answer(enum redis_result result, const redisReply *reply, void *arg)
{
    struct call *c = arg;
    struct part *part = c->matcher->parts[c->partition];

    switch (result) {
    case REDIS_GOT:
        if (c->is_read) {
            answer_position(c, reply);
        } else {
            answer_apply(c, reply);
        }
        break;
    case REDIS_UNKNOWN:
        part_unanswered(part, c->number, false, time_now());
        break;
    case REDIS_LATER:
        log_limited(LOG_LEVEL_WARN, "script.refused", LOG_INT("partition", c->partition),
                    LOG_STR("error", reply->str));
        part_unanswered(part, c->number, true, time_now());
        break;
    case REDIS_FAILED:
        part_failed(part, c->number, (struct slice){reply->str, reply->len});
        break;
    }
    touch(c->matcher, c->partition);
    free(c);
}

static void call_script(struct matcher *m, int partition, const struct part_action *action)
{
    const struct redis_call call = {
        .script = action->type == PART_READ ? SCRIPT_NUMBER_POSITION : SCRIPT_NUMBER_APPLY,
        .words = action->words->list,
        .n_words = action->words->n,
        .n_keys = action->n_keys,
    };
    struct call *c = xcalloc(1, sizeof(*c));
    struct err err;

    if (action->type == PART_APPLY) {
        failpoint_kill("apply.before");
    }
    c->matcher = m;
    c->partition = partition;
    c->number = action->call;
    c->is_read = action->type == PART_READ;
    c->sent_us = clock_mono_us();
    if (!redis_eval(m->redis, &call, on_answer, c, &err)) {
        part_unanswered(m->parts[partition], action->call, true, time_now());
        free(c);
    }
}

/* ---- reading ---- */

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
        const struct desk *desk = &m->desks[i];

        if (desk->is_ours) {
            starts[n++] = (struct kafka_start){i, desk->has_start ? desk->start : KAFKA_OFFSET_END};
        }
    }
    if (kafka_consumer_assign(m->consumer, starts, n, &err)) {
        m->is_assigning = false;
        log_info("group.reading", LOG_INT("partitions", (int64_t)n));
    } else {
        m->assign_by_ms = clock_mono_ms() + ASSIGN_WAIT_MS;
        log_limited(LOG_LEVEL_WARN, "group.assign_failed", LOG_ERR(&err));
    }
    free(starts);
    touch_all(m);
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

static void fetch(struct matcher *m, int partition, int64_t offset)
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
        part_unfetched(m->parts[partition], time_now());
    }
}

/* ---- acting ---- */

static void tell_halt(const struct matcher *m, int partition, const struct part_action *action)
{
    struct part_view view;

    part_look(m->parts[partition], &view);
    log_error("partition.halted", LOG_INT("partition", partition),
              LOG_STR("reason", part_halt_name(action->halt)), LOG_INT("watermark", view.watermark),
              LOG_STR("error", action->text), LOG_STR("todo", part_halt_todo(action->halt)));
}

static void tell_wait(int partition, enum part_wait before, const struct part_view *after)
{
    switch (after->wait) {
    case PART_WAIT_KEYS:
    case PART_WAIT_HEAD:
        log_error("partition.needs_rebuild", LOG_INT("partition", partition),
                  LOG_STR("reason", part_wait_name(after->wait)));
        break;
    case PART_WAIT_REBUILD:
        log_warn("partition.rebuilding", LOG_INT("partition", partition));
        break;
    case PART_WAIT_NONE:
    case PART_WAIT_COUNT:
        log_info("partition.waited", LOG_INT("partition", partition),
                 LOG_STR("for", part_wait_name(before)), LOG_INT("watermark", after->watermark));
        break;
    }
}

/* Returns false when the part must wait for the world to change. */
static bool act(struct matcher *m, int partition, const struct part_action *action)
{
    struct part *part = m->parts[partition];

    switch (action->type) {
    case PART_READ:
    case PART_APPLY:
        call_script(m, partition, action);
        return true;
    case PART_FETCH:
        fetch(m, partition, action->offset);
        return true;
    case PART_RANGE:
        kafka_consumer_query(m->consumer, partition);
        return true;
    case PART_PUBLISH:
        if (!publish_message(m->publish, partition, &action->message)) {
            return false;
        }
        log_debug(action->message.kind == PART_OUTCOME ? "outcome.told" : "dead.told",
                  LOG_INT("partition", partition), LOG_INT("offset", action->message.offset));
        part_published(part);
        return true;
    case PART_TICK:
        if (!publish_tick(m->publish, partition)) {
            part_ticked(part);
            return false;
        }
        log_debug("partition.tick", LOG_INT("partition", partition));
        return true;
    case PART_HALT:
        tell_halt(m, partition, action);
        return true;
    }
    return false;
}

static void step(struct matcher *m, int partition)
{
    struct part *part = m->parts[partition];
    struct part_view before;
    struct part_view after;

    part_look(part, &before);
    for (;;) {
        const unsigned can = (redis_is_up(m->redis) ? PART_CAN_CALL : 0U) |
                             (publish_is_open(m->publish) ? PART_CAN_PUBLISH : 0U);
        struct part_action action;

        if (!part_next(part, time_now(), can, &action) || !act(m, partition, &action)) {
            break;
        }
    }
    part_look(part, &after);
    if (m->desks[partition].told_wait != after.wait) {
        tell_wait(partition, m->desks[partition].told_wait, &after);
        m->desks[partition].told_wait = after.wait;
    }
    if (strcmp(before.phase, after.phase) != 0) {
        log_debug("partition.phase", LOG_INT("partition", partition), LOG_STR("from", before.phase),
                  LOG_STR("to", after.phase));
    }
    kafka_consumer_want(m->consumer, partition, part_wants(part));
}

/* Every record that comes after a look at lineage may be from another log than those before. */
static void look_at_lineage(struct matcher *m)
{
    const uint64_t lineage = kafka_consumer_lineage(m->consumer);

    if (lineage == m->lineage) {
        return;
    }
    m->lineage = lineage;
    for (int i = 0; i < m->n; i++) {
        part_recheck(m->parts[i]);
    }
    touch_all(m);
}

static void on_step(evutil_socket_t fd ATTR_UNUSED, short what ATTR_UNUSED, void *arg)
{
    struct matcher *m = arg;

    look_at_lineage(m);
    for (int i = 0; i < m->n; i++) {
        if (m->desks[i].is_dirty) {
            m->desks[i].is_dirty = false;
            step(m, i);
        }
    }
    if (m->is_assigning && (has_all_starts(m) || clock_mono_ms() >= m->assign_by_ms)) {
        finish_assignment(m);
    }
}

/* ---- what the consumer tells ---- */

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
    look_at_lineage(m);
    m->desks[record->partition].silent_since = 0;
    m->desks[record->partition].fetches = 0;
    part_record(m->parts[record->partition], &r, time_now());
    /* Stop the flow at once; the stepper would see it only after the whole turn. */
    if (!part_wants(m->parts[record->partition])) {
        kafka_consumer_want(m->consumer, record->partition, false);
    }
    touch(m, record->partition);
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
        m->desks[partitions[i]] = (struct desk){.is_ours = true, .is_dirty = true};
        part_assign(m->parts[partitions[i]], time_now());
    }
    log_info("group.assigned", LOG_STR("partitions", list));
    m->is_joined = true;
    m->is_assigning = true;
    m->assign_by_ms = clock_mono_ms() + ASSIGN_WAIT_MS;
    m->was_all_halted = false;
    touch_all(m);
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
            m->desks[i] = (struct desk){.is_ours = false};
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
    part_stuck(m->parts[partition], is_out_of_range, why, time_now());
    touch(m, partition);
}

static void on_range(int partition, bool ok, int64_t begin, int64_t end, void *arg)
{
    struct matcher *m = arg;

    log_debug("partition.range", LOG_INT("partition", partition), LOG_BOOL("ok", ok),
              LOG_INT("begin", begin), LOG_INT("end", end));
    part_range(m->parts[partition], ok, begin, end, time_now());
    touch(m, partition);
}

static void on_consumer_fatal(const char *why, void *arg)
{
    struct matcher *m = arg;

    m->calls.failed(why, m->calls.arg);
}

struct tally {
    int ours, halted, waiting, steady, quiet;
};

static struct tally count_parts(const struct matcher *m)
{
    struct tally tally = {0};

    for (int i = 0; i < m->n; i++) {
        struct part_view view;

        part_look(m->parts[i], &view);
        tally.ours += m->desks[i].is_ours;
        tally.halted += m->desks[i].is_ours && view.halt != PART_HALT_NONE;
        tally.waiting += m->desks[i].is_ours && view.wait != PART_WAIT_NONE;
        tally.steady += m->desks[i].is_ours && view.is_steady;
        tally.quiet += part_is_quiet(m->parts[i]);
    }
    return tally;
}

/* ---- what the producer and Redis tell ---- */

static void on_acked(int partition, uint64_t seq, enum part_message_kind kind, void *arg)
{
    struct matcher *m = arg;
    struct part_view view;

    failpoint_kill("publish.some");
    part_acked(m->parts[partition], seq, kind);
    part_look(m->parts[partition], &view);
    if (view.unacked == 0) {
        failpoint_kill("publish.all");
    }
    touch(m, partition);
}

static void on_ticked(int partition, void *arg)
{
    struct matcher *m = arg;

    part_ticked(m->parts[partition]);
}

static void on_renewed(void *arg)
{
    struct matcher *m = arg;

    for (int i = 0; i < m->n; i++) {
        part_resend(m->parts[i]);
    }
    touch_all(m);
}

static void on_open(void *arg)
{
    touch_all(arg);
}

static void on_redis_up(void *arg)
{
    struct matcher *m = arg;

    for (int i = 0; i < m->n; i++) {
        part_wake(m->parts[i]);
    }
    touch_all(m);
}

/* A server that evicts from the start is a wrong setting; one that begins to may have forgotten. */
static void on_redis_unfit(enum redis_unfit what, const char *why, void *arg)
{
    struct matcher *m = arg;

    if (m->is_draining) {
        return;
    }
    if (what != REDIS_EVICTS || !m->is_ready || count_parts(m).ours == 0) {
        m->calls.failed(why, m->calls.arg);
        return;
    }
    for (int i = 0; i < m->n; i++) {
        part_evicting(m->parts[i], why);
    }
    touch_all(m);
}

/* ---- time ---- */

/* The log is known to go on, and nothing comes: a seek may have got lost. */
static void watch_silence(struct matcher *m, int partition, int64_t now_ms)
{
    struct desk *desk = &m->desks[partition];
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
        part_unfetched(m->parts[partition], time_now());
    }
}

static void go_on_draining(struct matcher *m, const struct tally *tally)
{
    if (!m->is_closing && (tally->quiet == m->n || clock_mono_ms() >= m->drain_by_ms)) {
        if (tally->quiet != m->n) {
            /* Nothing is lost: who takes over finds it in Redis and in the log. */
            log_warn("drain.unfinished", LOG_INT("partitions", m->n - tally->quiet));
        }
        m->is_closing = true;
        kafka_consumer_close(m->consumer);
    }
    if (m->is_closing && !m->was_drained && kafka_consumer_is_closed(m->consumer)) {
        m->was_drained = true;
        m->calls.drained(m->calls.arg);
    }
}

static void on_ticker(evutil_socket_t fd ATTR_UNUSED, short what ATTR_UNUSED, void *arg)
{
    struct matcher *m = arg;
    const struct tally tally = count_parts(m);

    touch_all(m);
    for (int i = 0; i < m->n; i++) {
        watch_silence(m, i, clock_mono_ms());
    }
    if (m->is_draining) {
        go_on_draining(m, &tally);
        return;
    }
    if (tally.ours > 0 && tally.halted == tally.ours && !m->was_all_halted) {
        m->was_all_halted = true;
        m->calls.all_halted(m->calls.arg);
    }
    if (!m->is_ready && m->is_joined && !m->is_assigning && redis_is_up(m->redis) &&
        tally.steady + tally.halted + tally.waiting == tally.ours) {
        m->is_ready = true;
        m->calls.ready(m->calls.arg);
    }
}

/* ---- life ---- */

static void make_parts(struct matcher *m)
{
    const struct settings *s = m->settings;

    m->part_settings = (struct part_settings){
        .key_prefix = s->redis.key_prefix,
        .partitions = (int)s->kafka.partitions,
        .batch_max = s->batch_max,
        .queue_max = s->queue_max,
        .unacked_max = s->unacked_max,
        .outbox_max = s->outbox_max,
        .remembered_max = s->remembered_max,
        .clock_skew_max_ms = s->clock_skew_max_ms,
        .tick_min_ms = s->tick_min_ms,
        .tick_max_ms = s->tick_max_ms,
        .idle_ms = s->idle_ms,
    };
    m->n = (int)s->kafka.partitions;
    m->parts = xcalloc((size_t)m->n,
                       sizeof(struct part *)); /* NOLINT(bugprone-sizeof-expression): of pointers */
    m->desks = xcalloc((size_t)m->n, sizeof(*m->desks));
    m->ends = xcalloc((size_t)m->n, sizeof(*m->ends));
    for (int i = 0; i < m->n; i++) {
        m->parts[i] = part_create(&m->part_settings, i);
    }
}

static bool make_events(struct matcher *m, struct err *err)
{
    static const struct timeval period = {.tv_usec = STEP_MS * 1000L};

    m->stepper = event_new(m->base, -1, 0, on_step, m);
    m->ticker = event_new(m->base, -1, EV_PERSIST, on_ticker, m);
    if (m->stepper == NULL || m->ticker == NULL || event_add(m->ticker, &period) != 0) {
        return err_set(err, ERR_FATAL, "no timers");
    }
    return true;
}

static bool make_peers(struct matcher *m, const struct kafka_settings *kafka, struct err *err)
{
    static const struct redis_script scripts[] = {
        [SCRIPT_NUMBER_APPLY] = {apply_lua, sizeof(apply_lua), apply_lua_sha1},
        [SCRIPT_NUMBER_POSITION] = {position_lua, sizeof(position_lua), position_lua_sha1},
    };
    const struct settings *s = m->settings;
    const struct publish_settings publish = {
        .kafka = kafka,
        .topic_orders = s->kafka.topic_orders,
        .topic_outcomes = s->kafka.topic_outcomes,
        .topic_dead = s->kafka.topic_dead,
        .linger_ms = s->linger_ms,
        .acked = on_acked,
        .ticked = on_ticked,
        .renewed = on_renewed,
        .open = on_open,
        .arg = m,
    };
    const struct redis_settings redis = {
        .host = s->redis.host,
        .port = (int)s->redis.port,
        .password = s->redis.password,
        .timeout_ms = s->redis_timeout_ms,
        .scripts = scripts,
        .n_scripts = sizeof(scripts) / sizeof(scripts[0]),
        .up = on_redis_up,
        .unfit = on_redis_unfit,
        .arg = m,
    };
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

    m->redis = redis_create(m->base, &redis, err);
    m->publish = m->redis == NULL ? NULL : publish_create(m->base, &publish, err);
    m->consumer = m->publish == NULL ? NULL : kafka_consumer_create(m->base, &consumer, err);
    return m->consumer != NULL;
}

struct matcher *matcher_create(struct event_base *base, const struct settings *settings,
                               const struct kafka_settings *kafka,
                               const struct matcher_calls *calls, struct err *err)
{
    struct matcher *m = xcalloc(1, sizeof(*m));

    m->base = base;
    m->settings = settings;
    m->calls = *calls;
    make_parts(m);
    if (!make_events(m, err) || !make_peers(m, kafka, err)) {
        matcher_destroy(m);
        return NULL;
    }
    return m;
}

void matcher_destroy(struct matcher *m)
{
    if (m == NULL) {
        return;
    }
    if (m->redis != NULL) {
        redis_destroy(m->redis); /* answers the calls under way, which touch the parts */
    }
    kafka_consumer_destroy(m->consumer);
    publish_destroy(m->publish);
    if (m->ticker != NULL) {
        event_free(m->ticker);
    }
    if (m->stepper != NULL) {
        event_free(m->stepper);
    }
    for (int i = 0; i < m->n; i++) {
        part_destroy(m->parts[i]);
    }
    free(m->parts);
    free(m->desks);
    free(m->ends);
    free(m);
}

void matcher_drain(struct matcher *m)
{
    m->is_draining = true;
    m->drain_by_ms = clock_mono_ms() + m->settings->drain_ms / 2;
    for (int i = 0; i < m->n; i++) {
        part_drain(m->parts[i]);
    }
}

bool matcher_has_halted(const struct matcher *m)
{
    for (int i = 0; i < m->n; i++) {
        struct part_view view;

        part_look(m->parts[i], &view);
        if (view.halt != PART_HALT_NONE) {
            return true;
        }
    }
    return false;
}

static void collect(struct buf *out, void *arg)
{
    struct matcher *m = arg;
    const struct metrics_source source = {
        .parts = m->parts,
        .ends = m->ends,
        .n = (size_t)m->n,
        .renewals = publish_renewals(m->publish),
        .wall_ms = clock_wall_ms(),
    };

    for (int i = 0; i < m->n; i++) {
        m->ends[i] = kafka_consumer_end(m->consumer, i);
    }
    metrics_write(out, &source);
}

void matcher_register(struct matcher *m, struct stats *stats)
{
    m->latency = stats_histogram(stats, "seckill_matcher_apply_seconds", "",
                                 "From sending a batch to Redis until its answer.");
    stats_collect(stats, collect, m);
}

void matcher_check(struct matcher *m, struct admin_report *report)
{
    const struct tally tally = count_parts(m);
    char text[120];

    admin_check(report, "redis", redis_is_up(m->redis),
                redis_is_up(m->redis) ? NULL : "not connected, or not fit; see the log");
    admin_check(report, "group", m->is_joined && !m->is_assigning,
                m->is_joined ? "has partitions" : "waits for partitions");
    (void)snprintf(text, sizeof(text), "%d ours, %d applied, %d waiting for a rebuild, %d halted",
                   tally.ours, tally.steady, tally.waiting, tally.halted);
    admin_check(report, "partitions", tally.steady == tally.ours, text);
}
