/*
 * `applied` is where Redis stands as far as we know, `tail` where the queue ends.  Both are places
 * in the same chain: tail = applied + what is queued and not yet applied.
 *
 * A call of a script has a number; every answer brings it back, and an answer to any other than the
 * one under way is ignored.  So nothing that was asked before a restart, a revocation or a
 * time-out can disturb what came after.
 *
 * `acked` and the queue are forgotten at every restart: acked speaks only of outcomes that this
 * part has told since then, contiguously.  With an acked from before a mismatch the script
 * could drop outcomes that nobody has told.
 */
#include "matcher/part_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/mutant.h"
#include "common/xmalloc.h"

enum {
    ABSENT_AGAIN_MS = 1000, /* "nothing there" counts when it is true twice, this far apart */
    WAIT_AGAIN_MS = 1000,
    BACKLOG_MS = 500,            /* more than clocks differ */
    OUTCOME_MAX_BYTES = 4 << 20, /* a mark of 4,096 items has 700 kB */
};

static const char *const key_names[PART_KEYS] = {
    [PART_KEY_LOG] = "log",           [PART_KEY_ITEMS] = "items",     [PART_KEY_ORDERS] = "orders",
    [PART_KEY_PAYMENTS] = "payments", [PART_KEY_OPS] = "ops",         [PART_KEY_OUTBOX] = "outbox",
    [PART_KEY_DUE] = "due",           [PART_KEY_REBUILD] = "rebuild",
};

/* ---- life ---- */

static void make_keys(struct part *p)
{
    const size_t size = strlen(p->settings->key_prefix) + 32;
    char *at;

    p->key_text = xmalloc(size * PART_KEYS);
    at = p->key_text;
    for (size_t i = 0; i < PART_KEYS; i++) {
        const int len =
            snprintf(at, size, "%s:{%d}:%s", p->settings->key_prefix, p->partition, key_names[i]);

        p->keys[i] = (struct slice){at, (size_t)len};
        at += size;
    }
}

struct part *part_create(const struct part_settings *settings, int partition)
{
    struct part *p = xcalloc(1, sizeof(*p));

    p->settings = settings;
    p->partition = partition;
    p->applied.offset = -1;
    buf_init(&p->outcome, OUTCOME_MAX_BYTES);
    make_keys(p);
    return p;
}

void part_destroy(struct part *p)
{
    if (p == NULL) {
        return;
    }
    queue_fini(&p->queue);
    replay_fini(&p->replay);
    script_fini(&p->words);
    buf_fini(&p->outcome);
    free(p->key_text);
    free(p);
}

/* Forgets the queue and everything else that hangs on a position. */
static void forget(struct part *p)
{
    if (!MUTANT(KEEP_QUEUE) || p->phase != PHASE_STEADY) {
        queue_clear(&p->queue);
    }
    replay_fini(&p->replay);
    p->batch = 0;
    p->is_calling = false;
    p->attempts = 0;
    p->needs_trim = false;
    p->absent = 0;
    p->acked = MUTANT(KEEP_ACKED) && p->phase == PHASE_STEADY ? p->acked : -1;
    p->genesis[0] = '\0';
    p->needs_fetch = false;
    p->fetch_at = 0;
    p->gap_at = -1;
    p->needs_recheck = false;
    p->needs_begin = false;
    p->needs_range = false;
    p->asks_range = false;
    p->range_at = 0;
    p->shorts = 0;
    p->is_full = false;
    p->next_due = 0;
    p->outbox = 0;
    p->stop = PART_HALT_NONE;
    p->wait = PART_WAIT_NONE;
}

int64_t part_delay_ms(unsigned attempts)
{
    const int64_t ms = attempts > 5 ? PART_RETRY_MAX_MS : (int64_t)PART_RETRY_MIN_MS << attempts;

    return ms > PART_RETRY_MAX_MS ? PART_RETRY_MAX_MS : ms;
}

void part_restart(struct part *p, struct part_time now)
{
    forget(p);
    p->phase = PHASE_READING;
    p->call_at = p->restarts == 0 ? now.mono_ms : now.mono_ms + part_delay_ms(p->restarts - 1);
    p->restarts++;
}

static void wait_for(struct part *p, enum part_wait why, struct part_time now)
{
    forget(p);
    p->phase = PHASE_WAITING;
    p->wait = why;
    p->call_at = now.mono_ms + WAIT_AGAIN_MS;
}

void part_wait_for_head(struct part *p, int64_t offset, struct part_time now)
{
    wait_for(p, PART_WAIT_HEAD, now);
    p->waits_for = offset;
}

void part_assign(struct part *p, struct part_time now)
{
    p->is_assigned = true;
    if (p->phase != PHASE_HALTED) {
        p->restarts = 0;
        p->stuck = 0;
        part_restart(p, now);
    }
}

void part_revoke(struct part *p)
{
    p->is_assigned = false;
    if (p->phase != PHASE_HALTED) {
        forget(p);
        p->phase = PHASE_IDLE;
    }
}

void part_enter_halted(struct part *p, enum part_halt why)
{
    forget(p);
    p->phase = PHASE_HALTED;
    p->halt = why;
    p->halt_is_told = false;
}

void part_halt(struct part *p, enum part_halt why, const char *text)
{
    (void)snprintf(p->text, sizeof(p->text), "%s", text); /* cutting a message is fine */
    part_enter_halted(p, why);
}

void part_stop(struct part *p, enum part_halt why, const char *text)
{
    (void)snprintf(p->text, sizeof(p->text), "%s", text); /* cutting a message is fine */
    p->stop = why;
}

void part_drain(struct part *p)
{
    p->is_draining = true;
}

bool part_is_quiet(const struct part *p)
{
    switch (p->phase) {
    case PHASE_IDLE:
    case PHASE_READING:
    case PHASE_WAITING:
    case PHASE_HALTED:
        return true;
    case PHASE_CATCHING:
    case PHASE_STEADY:
        break;
    }
    /* Catching up needs records, which a draining part does not wait for: the outbox has them. */
    return !p->is_calling && p->batch == 0 &&
           (queue_untold(&p->queue) == 0 || p->phase == PHASE_CATCHING);
}

/* ---- positions ---- */

void part_note_time(struct part *p, int64_t log_time, struct part_time now)
{
    const int64_t behind_ms = now.wall_ms - log_time;

    p->time_at = now.mono_ms - (behind_ms > BACKLOG_MS ? behind_ms : 0);
}

void part_enter_steady(struct part *p, struct part_time now)
{
    p->phase = PHASE_STEADY;
    p->wait = PART_WAIT_NONE; /* not before: what it waits for may still be gone */
    replay_fini(&p->replay);
    p->idle_at = now.mono_ms;
    part_note_time(p, p->applied.log_time, now);
    p->tick_at = now.mono_ms;
    p->tick_wait_ms = p->settings->tick_min_ms;
    if (!command_has_rules(p->applied.rules) && !MUTANT(RULES_OUTRUN)) {
        part_stop(p, PART_HALT_RULES, "the state follows rules that this build does not have");
    }
}

static void begin_fresh(struct part *p, struct part_time now)
{
    p->applied = (struct place){.offset = -1, .rules = COMMAND_RULES};
    p->tail = p->applied;
    p->base_prev = -1;
    part_enter_steady(p, now);
    part_fetch_from_begin(p);
}

void part_begin_catching(struct part *p, struct part_time now)
{
    const struct script_entry *oldest = replay_oldest(&p->replay);

    p->phase = PHASE_CATCHING;
    p->progress_at = now.mono_ms;
    if (oldest == NULL) {
        p->tail = p->applied;
        part_fetch_from(p, p->applied.offset);
        return;
    }
    p->base_prev = oldest->prev;
    p->tail = (struct place){.offset = oldest->prev,
                             .log_time = oldest->log_time,
                             .rules = oldest->rules,
                             .chain = oldest->chain};
    if (oldest->prev < 0) {
        part_fetch_from_begin(p);
    } else {
        part_fetch_from(p, oldest->prev + 1);
    }
}

static bool is_waiting_for_head(const struct part *p)
{
    return p->phase == PHASE_WAITING && p->wait == PART_WAIT_HEAD;
}

/* The first record that must be read again; -1: the log's first. */
static int64_t first_needed(const struct part *p, int64_t watermark)
{
    const struct script_entry *oldest = replay_oldest(&p->replay);

    if (oldest == NULL) {
        return watermark;
    }
    return oldest->prev < 0 ? -1 : oldest->prev + 1;
}

static void adopt_position(struct part *p, const struct slice *fields, size_t n,
                           struct part_time now)
{
    struct script_position position;
    struct err err;

    if (n < SCRIPT_POSITION_FIELDS || !script_parse_position(fields, &position, &err) ||
        !replay_load(&p->replay, fields + SCRIPT_POSITION_FIELDS, n - SCRIPT_POSITION_FIELDS,
                     position.watermark, &err)) {
        part_halt(p, PART_HALT_STATE, n < SCRIPT_POSITION_FIELDS ? "no position" : err.text);
        return;
    }
    if (position.partitions != p->settings->partitions) {
        part_halt(p, PART_HALT_PARTITIONS,
                  "the state in Redis was made for another number of partitions");
        return;
    }
    if (is_waiting_for_head(p) && first_needed(p, position.watermark) <= p->waits_for) {
        part_wait_for_head(p, p->waits_for, now);
        return;
    }
    memcpy(p->genesis, position.genesis, sizeof(p->genesis));
    p->applied = (struct place){.offset = position.watermark,
                                .log_time = position.log_time,
                                .rules = position.rules,
                                .chain = position.chain,
                                .hash = position.last_hash};
    p->base_prev = position.watermark;
    part_begin_catching(p, now);
}

/* Redis has no state, but perhaps keys of one. */
static void take_absence(struct part *p, bool has_keys, struct part_time now)
{
    if (!has_keys && is_waiting_for_head(p)) {
        part_wait_for_head(p, p->waits_for, now);
    } else if (++p->absent < 2) {
        p->call_at = now.mono_ms + ABSENT_AGAIN_MS;
    } else if (has_keys) {
        wait_for(p, PART_WAIT_KEYS, now);
    } else {
        begin_fresh(p, now);
    }
}

void part_position(struct part *p, uint32_t call, const struct slice *fields, size_t n,
                   struct part_time now)
{
    if (!p->is_calling || call != p->calls || !p->call_is_read) {
        return;
    }
    p->is_calling = false;
    p->attempts = 0;
    if (n > 0 && slice_eq(fields[0], SLICE_LIT("rebuild"))) {
        wait_for(p, PART_WAIT_REBUILD, now);
    } else if (n == 0 || slice_eq(fields[0], SLICE_LIT("keys"))) {
        take_absence(p, n > 0, now);
    } else {
        p->absent = 0;
        adopt_position(p, fields, n, now);
    }
}

/* ---- what to do next ---- */

static bool next_halt(struct part *p, struct part_action *action)
{
    if (p->phase != PHASE_HALTED || p->halt_is_told) {
        return false;
    }
    p->halt_is_told = true;
    action->type = PART_HALT;
    action->halt = p->halt;
    action->text = p->text;
    return true;
}

/* All that came before the reason to stop has been applied and told. */
static bool can_stop(const struct part *p)
{
    return p->stop != PART_HALT_NONE && !p->is_calling && p->batch == 0 &&
           queue_unapplied(&p->queue) == 0 && queue_untold(&p->queue) == 0;
}

bool part_next(struct part *p, struct part_time now, unsigned can, struct part_action *action)
{
    *action = (struct part_action){.offset = -1};
    if (p->needs_recheck && !p->is_calling && p->phase != PHASE_CATCHING) {
        part_compare_again(p, now);
    }
    if (can_stop(p)) {
        part_enter_halted(p, p->stop);
    }
    if (p->phase == PHASE_HALTED) {
        return next_halt(p, action);
    }
    if (p->phase == PHASE_IDLE) {
        return false;
    }
    if (part_next_reading(p, now, action)) {
        return true;
    }
    if ((can & PART_CAN_PUBLISH) != 0 && part_next_message(p, action)) {
        return true;
    }
    if ((can & PART_CAN_CALL) != 0 && part_next_call(p, now, action)) {
        return true;
    }
    if (p->phase == PHASE_HALTED) {
        return next_halt(p, action);
    }
    return (can & PART_CAN_PUBLISH) != 0 && part_next_tick(p, now, action);
}

/* ---- looking at it ---- */

void part_look(const struct part *p, struct part_view *view)
{
    static const char *const phases[] = {
        [PHASE_IDLE] = "idle",     [PHASE_READING] = "reading", [PHASE_CATCHING] = "catching",
        [PHASE_STEADY] = "steady", [PHASE_WAITING] = "waiting", [PHASE_HALTED] = "halted",
    };

    *view = (struct part_view){
        .is_assigned = p->is_assigned,
        .is_steady = p->phase == PHASE_STEADY,
        .is_reading = (p->phase == PHASE_STEADY || p->phase == PHASE_CATCHING) && !p->needs_begin,
        .phase = phases[p->phase],
        .wait = p->wait,
        .halt = p->phase == PHASE_HALTED ? p->halt : PART_HALT_NONE,
        .watermark = p->applied.offset,
        .next_offset = p->next_offset,
        .log_time = p->applied.log_time,
        .outbox = p->outbox,
        .unapplied = queue_unapplied(&p->queue),
        .unacked = queue_untold(&p->queue),
    };
    if (view->unapplied > 0) {
        view->waiting_since = queue_at(&p->queue, p->queue.applied)->timestamp_ms;
    }
}

const struct part_counts *part_counted(const struct part *p)
{
    return &p->counts;
}

const char *part_wait_name(enum part_wait why)
{
    static const char *const names[] = {
        [PART_WAIT_NONE] = "none",
        [PART_WAIT_REBUILD] = "rebuild_under_way",
        [PART_WAIT_KEYS] = "keys_without_watermark",
        [PART_WAIT_HEAD] = "log_head_deleted",
    };

    return names[why];
}

/* docs/operations.md has the same at more length. */
static const struct {
    const char *name, *todo;
} halts[PART_HALT_COUNT] = {
    [PART_HALT_NONE] = {"none", "nothing"},
    [PART_HALT_RULES] = {"rules", "deploy the build that carries these rules"},
    [PART_HALT_GENESIS] = {"genesis", "check kafka-brokers, topic-orders, key-prefix; a log that "
                                      "was really replaced needs a new deployment"},
    [PART_HALT_CHAIN] = {"chain", "check kafka-brokers, topic-orders, key-prefix; was the log made "
                                  "anew, cut back or restored?"},
    [PART_HALT_SHORT] = {"log_too_short", "check kafka-brokers, topic-orders; was the log made "
                                          "anew, cut back or restored?"},
    [PART_HALT_GAP] = {"log_gap", "repair the topic from a replica; check its cleanup.policy"},
    [PART_HALT_CLOCK] = {"clock", "correct this host's clock or the broker's, then restart"},
    [PART_HALT_TIMESTAMP] = {"timestamp_type", "set message.timestamp.type=LogAppendTime on the "
                                               "topic"},
    [PART_HALT_PARTITIONS] = {"partitions", "correct the setting partitions"},
    [PART_HALT_SCRIPT] = {"script", "are builds mixed? Keep everything and report it"},
    [PART_HALT_STATE] = {"state", "was Redis edited, or did it evict? Have this partition's state "
                                  "made anew by a rebuild"},
    [PART_HALT_LOG] = {"log_unreadable", "repair the topic from a replica"},
    [PART_HALT_EVICTING] = {"evicting", "set maxmemory-policy noeviction; if keys are gone, have "
                                        "the state made anew; then restart"},
};

const char *part_halt_name(enum part_halt why)
{
    return halts[why].name;
}

const char *part_halt_todo(enum part_halt why)
{
    return halts[why].todo;
}
