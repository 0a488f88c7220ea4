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
#include "matcher/part.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/xmalloc.h"
#include "matcher/queue.h"
#include "matcher/replay.h"

enum {
    ABSENT_AGAIN_MS = 1000, /* "nothing there" counts when it is true twice, this far apart */
    STALL_MS = 2000,        /* catching up without a record: something is wrong with the log */
    RANGE_AGAIN_MS = 1000,
    RETRY_MIN_MS = 50,
    RETRY_MAX_MS = 1000,
    FULL_AGAIN_MS = 1000,
    GAPS_MAX = 3,     /* times that the same records are missing, */
    GAP_MS = 2000,    /* and how long: some that come after a seek were on their way before it */
    BACKLOG_MS = 500, /* more than clocks differ */
    STUCK_MAX = 3,    /* errors of reading the log at one place */
    KEYS_MAX = 7,
    OUTCOME_MAX_BYTES = 4 << 20, /* a mark of 4,096 items has 700 kB */
};

enum phase {
    PHASE_IDLE,
    PHASE_READING,
    PHASE_CATCHING,
    PHASE_STEADY,
    PHASE_HALTED,
};

/* After which record, and what is true there. */
struct place {
    int64_t offset; /* -1: before the first record */
    int64_t log_time, rules;
    uint64_t chain, hash;
};

struct part {
    const struct part_settings *settings; /* borrowed */
    int partition;
    enum phase phase;
    bool is_assigned;
    bool is_draining;

    char genesis[IDS_LOG_LEN + 1]; /* "" before the first record */
    struct place applied, tail;
    int64_t base_prev; /* outbox entries from here on are ours, or were adopted */
    int64_t acked;

    struct queue queue;
    struct replay replay;
    size_t batch; /* records at the front of the unapplied that were sent to the script */

    uint32_t calls;     /* the number of the last call */
    bool is_calling;    /* it has not been answered */
    bool call_is_read;  /* it was position.lua */
    int64_t call_at;    /* no call before */
    int64_t call_acked; /* what the call under way says is acknowledged */
    unsigned attempts;  /* refused in a row */
    unsigned restarts;  /* without a batch applied in between */
    unsigned absent;    /* times that nothing was there, in a row */
    bool is_full;
    int64_t idle_at;

    bool needs_fetch;
    int64_t fetch_at;    /* not before */
    int64_t next_offset; /* of the record to come */
    int64_t gap_at;      /* where a gap was seen and fetched again */
    int64_t gap_until;   /* no verdict before */
    unsigned gaps;       /* times it was seen there */
    bool needs_recheck;
    int64_t progress_at; /* when catching up last went on */
    bool needs_begin;    /* next_offset is to be the log's first */
    bool needs_range, asks_range;
    int64_t range_at;
    unsigned shorts; /* times the log was too short, in a row */
    unsigned stuck;  /* times reading failed, in a row */

    int64_t next_due;
    int64_t outbox;
    int64_t time_at; /* monotonic time at which log time was applied.log_time, about */
    int64_t tick_at, tick_wait_ms;
    bool tick_flies;

    enum part_halt stop; /* halt when everything before has been told */
    enum part_halt halt;
    bool halt_is_told;
    char text[256]; /* of stop or halt */

    struct slice keys[KEYS_MAX];
    char *key_text; /* owned: behind keys */
    struct script_words words;
    struct buf outcome;
    struct part_counts counts;
};

static const char *const key_names[KEYS_MAX] = {"log", "items",  "orders", "payments",
                                                "ops", "outbox", "due"};

/* ---- life ---- */

static void make_keys(struct part *p)
{
    const size_t size = strlen(p->settings->key_prefix) + 32;
    char *at;

    p->key_text = xmalloc(size * KEYS_MAX);
    at = p->key_text;
    for (size_t i = 0; i < KEYS_MAX; i++) {
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
    queue_clear(&p->queue);
    replay_fini(&p->replay);
    p->batch = 0;
    p->is_calling = false;
    p->attempts = 0;
    p->absent = 0;
    p->acked = -1;
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
}

static int64_t delay_ms(unsigned attempts)
{
    const int64_t ms = attempts > 5 ? RETRY_MAX_MS : (int64_t)RETRY_MIN_MS << attempts;

    return ms > RETRY_MAX_MS ? RETRY_MAX_MS : ms;
}

/* As on assignment. */
static void restart(struct part *p, struct part_time now)
{
    forget(p);
    p->phase = PHASE_READING;
    p->call_at = p->restarts == 0 ? now.mono_ms : now.mono_ms + delay_ms(p->restarts - 1);
    p->restarts++;
}

void part_assign(struct part *p, struct part_time now)
{
    p->is_assigned = true;
    if (p->phase != PHASE_HALTED) {
        p->restarts = 0;
        p->stuck = 0;
        restart(p, now);
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

static void halt(struct part *p, enum part_halt why)
{
    forget(p);
    p->phase = PHASE_HALTED;
    p->halt = why;
    p->halt_is_told = false;
}

static void halt_text(struct part *p, enum part_halt why, const char *text)
{
    (void)snprintf(p->text, sizeof(p->text), "%s", text); /* cutting a message is fine */
    halt(p, why);
}

/* Lets what was read before be applied and told, then halts. */
static void stop(struct part *p, enum part_halt why, const char *text)
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

static void fetch_from(struct part *p, int64_t offset)
{
    p->next_offset = offset;
    p->needs_fetch = true;
}

/* Asks where the log begins, then fetches from there: a real offset can be checked. */
static void fetch_from_begin(struct part *p)
{
    p->needs_begin = true;
    p->needs_range = true;
}

/*
 * The time now is when log time was applied.log_time, unless that is clearly long ago; then our wall
 * clock must do.  It paces ticks, so being wrong costs a few that change nothing.
 */
static void note_time(struct part *p, int64_t log_time, struct part_time now)
{
    const int64_t behind_ms = now.wall_ms - log_time;

    p->time_at = now.mono_ms - (behind_ms > BACKLOG_MS ? behind_ms : 0);
}

static void enter_steady(struct part *p, struct part_time now)
{
    p->phase = PHASE_STEADY;
    replay_fini(&p->replay);
    p->idle_at = now.mono_ms;
    note_time(p, p->applied.log_time, now);
    p->tick_at = now.mono_ms;
    p->tick_wait_ms = p->settings->tick_min_ms;
    if (p->applied.rules != COMMAND_RULES) {
        stop(p, PART_HALT_RULES, "the state follows rules that this build does not have");
    }
}

static void begin_fresh(struct part *p, struct part_time now)
{
    p->applied = (struct place){.offset = -1, .rules = COMMAND_RULES};
    p->tail = p->applied;
    p->base_prev = -1;
    enter_steady(p, now);
    fetch_from_begin(p);
}

/* What must be read again starts at the oldest batch of the outbox, or is the last record. */
static void begin_catching(struct part *p, struct part_time now)
{
    const struct script_entry *oldest = replay_oldest(&p->replay);

    p->phase = PHASE_CATCHING;
    p->progress_at = now.mono_ms;
    if (oldest == NULL) {
        p->tail = p->applied;
        fetch_from(p, p->applied.offset);
        return;
    }
    p->base_prev = oldest->prev;
    p->tail = (struct place){.offset = oldest->prev,
                             .log_time = oldest->log_time,
                             .rules = COMMAND_RULES,
                             .chain = oldest->chain};
    if (oldest->prev < 0) {
        fetch_from_begin(p);
    } else {
        fetch_from(p, oldest->prev + 1);
    }
}

static void adopt_position(struct part *p, const struct slice *fields, size_t n,
                           struct part_time now)
{
    struct script_position position;
    struct err err;

    if (n < SCRIPT_POSITION_FIELDS || !script_parse_position(fields, &position, &err) ||
        !replay_load(&p->replay, fields + SCRIPT_POSITION_FIELDS, n - SCRIPT_POSITION_FIELDS,
                     position.watermark, &err)) {
        halt_text(p, PART_HALT_STATE, n < SCRIPT_POSITION_FIELDS ? "no position" : err.text);
        return;
    }
    if (position.partitions != p->settings->partitions) {
        halt_text(p, PART_HALT_PARTITIONS,
                  "the state in Redis was made for another number of partitions");
        return;
    }
    memcpy(p->genesis, position.genesis, sizeof(p->genesis));
    p->applied = (struct place){.offset = position.watermark,
                                .log_time = position.log_time,
                                .rules = position.rules,
                                .chain = position.chain,
                                .hash = position.last_hash};
    p->base_prev = position.watermark;
    begin_catching(p, now);
}

void part_position(struct part *p, uint32_t call, const struct slice *fields, size_t n,
                   struct part_time now)
{
    if (!p->is_calling || call != p->calls || !p->call_is_read) {
        return;
    }
    p->is_calling = false;
    p->attempts = 0;
    if (n > 0) {
        p->absent = 0;
        adopt_position(p, fields, n, now);
    } else if (++p->absent < 2) {
        p->call_at = now.mono_ms + ABSENT_AGAIN_MS;
    } else {
        begin_fresh(p, now);
    }
}

/* ---- records ---- */

/* True when the record may start a log; then the tail has the log's first chain value. */
static bool take_genesis(struct part *p, const struct command *cmd)
{
    if (cmd->type != COMMAND_GENESIS) {
        halt_text(p, PART_HALT_GENESIS,
                  "the log's first record is not genesis: Redis must be rebuilt from elsewhere");
        return false;
    }
    if (cmd->partitions != p->settings->partitions) {
        halt_text(p, PART_HALT_PARTITIONS, "the log was made for another number of partitions");
        return false;
    }
    if (cmd->rules != COMMAND_RULES) {
        halt_text(p, PART_HALT_RULES, "the log starts with rules that this build does not have");
        return false;
    }
    if (p->genesis[0] != '\0' && !slice_eq(command_text(&cmd->other_id), slice_str(p->genesis))) {
        halt_text(p, PART_HALT_GENESIS, "the log's genesis is not the one in Redis");
        return false;
    }
    memcpy(p->genesis, cmd->other_id.s, IDS_LOG_LEN + 1);
    p->tail.chain = ids_chain_start(command_text(&cmd->other_id));
    if (p->phase == PHASE_STEADY) {
        p->applied.chain = p->tail.chain;
    }
    return true;
}

/* Queues the record; NULL when it halted the partition. */
static struct item *queue_record(struct part *p, const struct part_record *record)
{
    struct command cmd;
    struct item *item;

    command_parse(&cmd, record->value, p->partition, p->settings->partitions);
    if (p->tail.offset < 0 && !take_genesis(p, &cmd)) {
        return NULL;
    }
    item = queue_push(&p->queue);
    item_keep(item, record->key, record->value, cmd.type == COMMAND_MALFORMED);
    item->cmd = cmd;
    item->offset = record->offset;
    item->prev = p->tail.offset;
    item->timestamp_ms = record->timestamp_ms;
    item->hash = ids_record_hash(record->offset, record->timestamp_ms, record->key, record->value);
    item->chain = ids_chain_next(p->tail.chain, item->hash);
    item->log_time =
        p->tail.log_time > record->timestamp_ms ? p->tail.log_time : record->timestamp_ms;
    item->rules = cmd.type == COMMAND_SET_RULES ? cmd.rules : p->tail.rules;
    p->tail = (struct place){.offset = item->offset,
                             .log_time = item->log_time,
                             .rules = item->rules,
                             .chain = item->chain,
                             .hash = item->hash};
    p->next_offset = record->offset + 1;
    return item;
}

/* Makes the outcome of item from its line; halts for `why` when the two do not fit. */
static bool tell_item(struct part *p, struct item *item, struct slice line, enum part_halt why)
{
    const struct outcome_head head = {.partition = p->partition,
                                      .offset = item->offset,
                                      .prev = item->prev,
                                      .genesis = p->genesis,
                                      .chain = item->chain,
                                      .rules = item->rules,
                                      .log_time = item->log_time};
    struct err err;

    buf_clear(&p->outcome);
    if (!outcome_format(&p->outcome, &head, &item->cmd, line, &err) || !buf_ok(&p->outcome)) {
        halt_text(p, why, buf_ok(&p->outcome) ? err.text : "an outcome is too large");
        return false;
    }
    item_tell(item, buf_slice(&p->outcome));
    return true;
}

static bool is_same_place(const struct place *a, const struct place *b)
{
    return a->offset == b->offset && a->log_time == b->log_time && a->rules == b->rules &&
           a->chain == b->chain && a->hash == b->hash;
}

static void replay_record(struct part *p, const struct part_record *record, struct part_time now)
{
    struct item *item;
    struct slice line;
    struct err err;

    if (!replay_take(&p->replay, record->offset, &line, &err)) {
        halt_text(p, PART_HALT_CHAIN, err.text);
        return;
    }
    item = queue_record(p, record);
    if (item == NULL || !tell_item(p, item, line, PART_HALT_CHAIN)) {
        return;
    }
    if (!replay_check(&p->replay, item->chain, item->log_time, &err)) {
        halt_text(p, PART_HALT_CHAIN, err.text);
        return;
    }
    if (replay_is_open(&p->replay)) {
        return;
    }
    if (!is_same_place(&p->tail, &p->applied)) {
        halt_text(p, PART_HALT_CHAIN,
                  "the log up to the watermark is not the one that Redis was made from");
        return;
    }
    p->queue.applied = p->queue.end;
    p->counts.republished += queue_untold(&p->queue);
    enter_steady(p, now);
}

static void compare_last(struct part *p, const struct part_record *record, struct part_time now)
{
    if (ids_record_hash(record->offset, record->timestamp_ms, record->key, record->value) !=
        p->applied.hash) {
        halt_text(p, PART_HALT_CHAIN,
                  "the record at the watermark is not the one that Redis was made from");
        return;
    }
    p->next_offset = record->offset + 1;
    enter_steady(p, now);
}

static bool is_gap(struct part *p, const struct part_record *record, struct part_time now)
{
    char text[120];

    if (record->offset == p->next_offset) {
        return false;
    }
    (void)snprintf(text, sizeof(text), "records %" PRId64 " to %" PRId64 " are missing in the log",
                   p->next_offset, record->offset - 1);
    if (p->gap_at != p->next_offset) {
        p->gap_at = p->next_offset;
        p->gaps = 0;
        p->gap_until = now.mono_ms + GAP_MS;
    }
    p->gaps++;
    if (p->gaps < GAPS_MAX || now.mono_ms < p->gap_until) {
        /* The client is known to skip, and a seek may get lost: ask again for exactly this one. */
        fetch_from(p, p->next_offset);
        p->fetch_at = p->gaps < GAPS_MAX ? now.mono_ms : now.mono_ms + RETRY_MIN_MS;
    } else if (p->phase == PHASE_STEADY) {
        stop(p, PART_HALT_GAP, text);
    } else {
        halt_text(p, PART_HALT_GAP, text);
    }
    return true;
}

static void take_record(struct part *p, const struct part_record *record, struct part_time now)
{
    char text[120];

    if (record->timestamp_ms > now.wall_ms + p->settings->clock_skew_max_ms) {
        (void)snprintf(text, sizeof(text),
                       "the record at %" PRId64 " is %" PRId64 " ms ahead of our clock",
                       record->offset, record->timestamp_ms - now.wall_ms);
        stop(p, PART_HALT_CLOCK, text);
        return;
    }
    if (queue_record(p, record) != NULL) {
        note_time(p, p->tail.log_time, now);
    }
}

void part_record(struct part *p, const struct part_record *record, struct part_time now)
{
    const bool is_catching = p->phase == PHASE_CATCHING;

    /* Older ones: a stale fetch, or the way back to where a seek goes. */
    if ((!is_catching && p->phase != PHASE_STEADY) || p->needs_fetch || p->needs_begin ||
        (p->needs_recheck && !is_catching) || p->stop != PART_HALT_NONE ||
        (p->is_draining && !is_catching) || record->offset < p->next_offset ||
        is_gap(p, record, now)) {
        return;
    }
    p->progress_at = now.mono_ms;
    p->shorts = 0;
    p->stuck = 0;
    if (!record->is_log_append_time) {
        stop(p, PART_HALT_TIMESTAMP, "a record has no LogAppendTime: the topic was altered");
        if (is_catching) {
            halt(p, PART_HALT_TIMESTAMP);
        }
        return;
    }
    if (!is_catching) {
        take_record(p, record, now);
    } else if (replay_is_open(&p->replay)) {
        replay_record(p, record, now);
    } else {
        compare_last(p, record, now);
    }
}

bool part_wants(const struct part *p)
{
    switch (p->phase) {
    case PHASE_CATCHING:
        return true;
    case PHASE_STEADY:
        return p->stop == PART_HALT_NONE && !p->is_draining &&
               queue_unapplied(&p->queue) < (size_t)p->settings->queue_max;
    case PHASE_IDLE:
    case PHASE_READING:
    case PHASE_HALTED:
        break;
    }
    return false;
}

/* ---- applying ---- */

/* `rules` is the last of its batch, `mark` a batch of its own. */
static size_t cut_batch(const struct part *p)
{
    const size_t room = (size_t)p->settings->unacked_max - queue_untold(&p->queue);
    size_t max = queue_unapplied(&p->queue);
    size_t n = 0;

    if (queue_untold(&p->queue) >= (size_t)p->settings->unacked_max) {
        return 0;
    }
    max = max < room ? max : room;
    max = max < (size_t)p->settings->batch_max ? max : (size_t)p->settings->batch_max;
    while (n < max) {
        const enum command_type type = queue_at(&p->queue, p->queue.applied + n)->cmd.type;

        if (type == COMMAND_MARK) {
            return n == 0 ? 1 : n;
        }
        n++;
        if (type == COMMAND_SET_RULES) {
            break;
        }
    }
    return n;
}

static void start_call(struct part *p, bool is_read, struct part_action *action)
{
    p->is_calling = true;
    p->call_is_read = is_read;
    p->call_acked = p->acked;
    p->calls++;
    action->type = is_read ? PART_READ : PART_APPLY;
    action->call = p->calls;
    action->words = &p->words;
    action->n_keys = is_read ? 2 : KEYS_MAX;
    action->n_commands = is_read ? 0 : p->batch;
}

static bool call_apply(struct part *p, struct part_action *action)
{
    const struct item *last =
        p->batch == 0 ? NULL : queue_at(&p->queue, p->queue.applied + p->batch - 1);
    const struct script_head head = {
        .genesis = p->genesis,
        .prev = p->applied.offset,
        .to = last == NULL ? p->applied.offset : last->offset,
        .chain_before = p->applied.chain,
        .chain_after = last == NULL ? p->applied.chain : last->chain,
        .hash_after = last == NULL ? p->applied.hash : last->hash,
        .acked = p->acked,
        .outbox_max = p->settings->outbox_max,
        .remembered_max = p->settings->remembered_max,
        .n_commands = p->batch,
    };

    script_begin(&p->words, p->keys, KEYS_MAX);
    script_put_head(&p->words, &head);
    for (size_t i = 0; i < p->batch; i++) {
        const struct item *item = queue_at(&p->queue, p->queue.applied + i);

        script_put_command(&p->words, item->offset, item->timestamp_ms, &item->cmd);
    }
    if (!script_end(&p->words)) {
        halt_text(p, PART_HALT_SCRIPT, "a batch is too large for one call");
        return false;
    }
    start_call(p, false, action);
    return true;
}

static bool next_call(struct part *p, struct part_time now, struct part_action *action)
{
    if (p->is_calling || now.mono_ms < p->call_at) {
        return false;
    }
    if (p->phase == PHASE_READING) {
        const struct slice keys[] = {p->keys[0], p->keys[5]};

        if (p->is_draining) {
            return false;
        }
        script_begin(&p->words, keys, 2);
        if (!script_end(&p->words)) {
            return false;
        }
        start_call(p, true, action);
        return true;
    }
    if (p->phase != PHASE_STEADY) {
        return false;
    }
    if (p->batch == 0 && !p->is_draining) {
        p->batch = cut_batch(p);
    }
    if (p->batch == 0 && (p->is_draining || p->stop != PART_HALT_NONE || now.mono_ms < p->idle_at ||
                          p->applied.offset < 0)) {
        return false;
    }
    return call_apply(p, action);
}

static void count_event(struct part_counts *counts, struct slice event)
{
    int64_t reason;
    struct slice rest;

    switch (event.ptr[0]) {
    case 'e':
        counts->events[EVENT_EXPIRED]++;
        break;
    case 'p':
        counts->events[EVENT_PAID]++;
        break;
    case 'c':
        counts->events[EVENT_CANCELLED]++;
        break;
    case 'r':
        counts->events[EVENT_REFUND_DUE]++;
        break;
    case 'd':
    case 'D':
    case 'o':
        counts->events[EVENT_DUPLICATE]++;
        break;
    case 'x':
        counts->events[EVENT_REFUSED]++;
        break;
    case 's':
        counts->events[EVENT_STOCK]++;
        break;
    case 'g':
        counts->events[EVENT_GENESIS]++;
        break;
    case 'v':
        counts->events[EVENT_RULES]++;
        break;
    case 'm':
        counts->events[EVENT_MARK]++;
        break;
    case '-':
        counts->events[EVENT_REJECTED]++;
        event = slice_cut((struct slice){event.ptr + 1, event.len - 1}, ' ', &rest);
        if (slice_to_i64(event, 1, REASON_COUNT - 1, &reason)) {
            counts->rejected[reason]++;
        }
        break;
    default:
        counts->events[EVENT_RESERVED]++;
        break;
    }
}

static void count_line(struct part_counts *counts, const struct item *item, struct slice line)
{
    counts->records++;
    if (item->cmd.type == COMMAND_MALFORMED) {
        counts->malformed++;
    }
    while (line.len > 0) {
        const struct slice event = slice_cut(line, ';', &line);

        if (event.len > 0) {
            count_event(counts, event);
        }
    }
}

/* Gives each record of the batch its outcome; false when that halted the partition. */
static bool tell_batch(struct part *p, struct slice lines)
{
    for (size_t i = 0; i < p->batch; i++) {
        struct item *item = queue_at(&p->queue, p->queue.applied + i);
        struct slice line;

        if (!script_next_line(&lines, &line)) {
            halt_text(p, PART_HALT_SCRIPT, "the script answered with fewer lines than commands");
            return false;
        }
        if (!tell_item(p, item, line, PART_HALT_SCRIPT)) {
            return false;
        }
        count_line(&p->counts, item, line);
        if (item->cmd.type == COMMAND_TICK && line.len == 0) {
            p->tick_wait_ms = p->tick_wait_ms * 2 < p->settings->tick_max_ms
                                  ? p->tick_wait_ms * 2
                                  : p->settings->tick_max_ms;
        } else if (line.len > 0 && line.ptr[0] == 'e') {
            p->tick_wait_ms = p->settings->tick_min_ms;
        }
    }
    if (lines.len > 0) {
        halt_text(p, PART_HALT_SCRIPT, "the script answered with more lines than commands");
        return false;
    }
    return true;
}

static bool advance(struct part *p, const struct script_reply *reply)
{
    const struct item *last;

    if (p->batch == 0) {
        return true;
    }
    last = queue_at(&p->queue, p->queue.applied + p->batch - 1);
    if (reply->watermark != last->offset || reply->log_time != last->log_time) {
        halt_text(p, PART_HALT_SCRIPT, "the script stands elsewhere than the batch it applied");
        return false;
    }
    if (!tell_batch(p, reply->lines)) {
        return false;
    }
    p->applied = (struct place){.offset = last->offset,
                                .log_time = last->log_time,
                                .rules = last->rules,
                                .chain = last->chain,
                                .hash = last->hash};
    p->queue.applied += p->batch;
    p->counts.batches++;
    p->batch = 0;
    if (p->applied.rules != COMMAND_RULES) {
        queue_drop_unapplied(&p->queue);
        stop(p, PART_HALT_RULES, "the log went over to rules that this build does not have");
    }
    return true;
}

static void take_ok(struct part *p, const struct script_reply *reply, struct part_time now)
{
    if (!advance(p, reply)) {
        return;
    }
    if (reply->next_due != p->next_due) {
        p->tick_wait_ms = p->settings->tick_min_ms;
    }
    p->next_due = reply->next_due;
    p->outbox = reply->entries;
    p->is_full = false;
    p->restarts = 0;
    p->idle_at = now.mono_ms + p->settings->idle_ms;
    if (reply->first_prev != SCRIPT_NO_ENTRY && reply->first_prev < p->base_prev) {
        /* Redis fell back to an older outbox; those outcomes may be nowhere else. */
        p->counts.mismatches++;
        restart(p, now);
    }
}

static void take_full(struct part *p, const struct script_reply *reply, struct part_time now)
{
    p->counts.full++;
    if (slice_eq(reply->text, SLICE_LIT("outbox")) && queue_untold(&p->queue) == 0 &&
        p->acked == p->call_acked) {
        /* Full of what is not ours: Redis fell back to an older outbox, and this is all it answers. */
        p->counts.mismatches++;
        restart(p, now);
        return;
    }
    if (p->acked != p->call_acked) {
        return; /* the next call says more */
    }
    p->is_full = true;
    p->call_at = now.mono_ms + FULL_AGAIN_MS;
}

static void take_reply(struct part *p, const struct script_reply *reply, struct part_time now)
{
    switch (reply->answer) {
    case SCRIPT_OK:
        take_ok(p, reply, now);
        break;
    case SCRIPT_POSITION:
    case SCRIPT_ABSENT:
        p->counts.mismatches++;
        restart(p, now);
        break;
    case SCRIPT_FULL:
        take_full(p, reply, now);
        break;
    case SCRIPT_RULES:
        halt_text(p, PART_HALT_RULES, "the state follows rules that this build does not have");
        break;
    case SCRIPT_BAD:
        (void)snprintf(p->text, sizeof(p->text), "the script refused the batch: %.*s",
                       (int)(reply->text.len < 200 ? reply->text.len : 200), reply->text.ptr);
        halt(p, PART_HALT_SCRIPT);
        break;
    }
}

void part_applied(struct part *p, uint32_t call, struct slice text, struct part_time now)
{
    struct script_reply reply;
    struct err err;

    if (!p->is_calling || call != p->calls || p->call_is_read) {
        return;
    }
    p->is_calling = false;
    p->attempts = 0;
    p->call_at = now.mono_ms;
    if (!script_parse(text, &reply, &err)) {
        halt_text(p, PART_HALT_SCRIPT, err.text);
        return;
    }
    take_reply(p, &reply, now);
}

void part_unanswered(struct part *p, uint32_t call, bool is_refused, struct part_time now)
{
    if (!p->is_calling || call != p->calls) {
        return;
    }
    p->is_calling = false;
    /* Unknown, or refused: either way the same call again is right. */
    p->call_at = now.mono_ms + delay_ms(p->attempts);
    if (is_refused) {
        p->attempts++;
    }
}

void part_failed(struct part *p, uint32_t call, struct slice why)
{
    if (!p->is_calling || call != p->calls) {
        return;
    }
    (void)snprintf(p->text, sizeof(p->text), "the script failed: %.*s",
                   (int)(why.len < 200 ? why.len : 200), why.ptr);
    halt(p, PART_HALT_SCRIPT);
}

void part_wake(struct part *p)
{
    p->attempts = 0;
    /* The second look for an absent state keeps its distance from the first. */
    if (p->absent == 0 && !p->is_full) {
        p->call_at = 0;
    }
}

/* ---- telling ---- */

static void next_message(struct part *p, struct part_action *action)
{
    struct item *item = queue_at(&p->queue, p->queue.sent);
    const bool is_dead = item->cmd.type == COMMAND_MALFORMED && !item->dead_sent;

    action->type = PART_PUBLISH;
    action->message = (struct part_message){
        .kind = is_dead ? PART_DEAD : PART_OUTCOME,
        .seq = p->queue.sent,
        .key = item->key,
        .value = is_dead ? item->value : item->outcome,
        .offset = item->offset,
        .detail = command_detail_name(item->cmd.detail),
    };
}

void part_published(struct part *p)
{
    struct item *item = queue_at(&p->queue, p->queue.sent);

    if (item->cmd.type == COMMAND_MALFORMED && !item->dead_sent) {
        item->dead_sent = true;
    } else {
        p->queue.sent++;
    }
}

void part_acked(struct part *p, uint64_t seq, enum part_message_kind kind)
{
    struct queue *q = &p->queue;
    struct item *item;

    if (seq < q->first || seq >= q->applied) {
        return; /* told before a restart */
    }
    item = queue_at(q, seq);
    if (kind == PART_DEAD) {
        item->dead_acked = true;
    } else {
        item->outcome_acked = true;
    }
    while (q->first < q->sent) {
        item = queue_at(q, q->first);
        if (!item->outcome_acked || (item->cmd.type == COMMAND_MALFORMED && !item->dead_acked)) {
            return;
        }
        p->acked = item->offset;
        queue_pop(q);
        if (p->is_full) {
            p->is_full = false;
            p->call_at = 0;
        }
    }
}

void part_resend(struct part *p)
{
    for (uint64_t seq = p->queue.first; seq != p->queue.applied; seq++) {
        struct item *item = queue_at(&p->queue, seq);

        item->outcome_acked = false;
        item->dead_acked = false;
        item->dead_sent = false;
    }
    p->queue.sent = p->queue.first;
    p->tick_flies = false;
}

/* ---- ticks ---- */

static bool is_tick_due(const struct part *p, struct part_time now)
{
    return p->phase == PHASE_STEADY && !p->is_draining && p->stop == PART_HALT_NONE &&
           p->next_due > 0 && !p->tick_flies && now.mono_ms >= p->tick_at && !p->is_calling &&
           queue_unapplied(&p->queue) == 0 &&
           p->applied.log_time + (now.mono_ms - p->time_at) >= p->next_due;
}

void part_ticked(struct part *p)
{
    p->tick_flies = false;
}

/* ---- the log ---- */

void part_recheck(struct part *p)
{
    if (p->phase == PHASE_CATCHING || p->phase == PHASE_STEADY) {
        p->needs_recheck = true;
    }
}

/*
 * Only when no script is under way: its batch must be resolved first, and cannot be sent again.  And
 * only after catching up, which compares by itself and applies nothing: otherwise a broker that
 * keeps coming and going would keep a long way back from ever ending.
 */
static void recheck(struct part *p, struct part_time now)
{
    p->counts.rechecks++;
    if (p->batch > 0) {
        p->restarts = 0;
        restart(p, now);
        return;
    }
    p->needs_recheck = false;
    queue_drop_unapplied(&p->queue);
    p->tail = p->applied;
    p->gap_at = -1;
    p->stop = PART_HALT_NONE; /* what it was for is found again */
    if (p->applied.offset < 0) {
        p->genesis[0] = '\0';
        fetch_from_begin(p);
        return;
    }
    begin_catching(p, now);
}

void part_stuck(struct part *p, bool is_out_of_range, const char *why, struct part_time now)
{
    if (p->phase != PHASE_CATCHING && p->phase != PHASE_STEADY) {
        return;
    }
    if (is_out_of_range && p->phase == PHASE_STEADY) {
        p->needs_recheck = true; /* what was read and not yet applied may be gone too */
        return;
    }
    if (is_out_of_range) {
        p->needs_range = true;
        return;
    }
    if (++p->stuck >= STUCK_MAX) {
        halt_text(p, PART_HALT_LOG, why);
        return;
    }
    p->needs_fetch = true;
    p->fetch_at = now.mono_ms + RETRY_MAX_MS;
}

void part_unfetched(struct part *p, struct part_time now)
{
    if ((p->phase != PHASE_CATCHING && p->phase != PHASE_STEADY) || p->needs_begin) {
        return;
    }
    p->needs_fetch = true;
    p->fetch_at = now.mono_ms + RETRY_MIN_MS;
}

static bool is_too_short(struct part *p, int64_t end, struct part_time now)
{
    char text[120];

    if (p->applied.offset < 0 || end > p->applied.offset) {
        p->shorts = 0;
        return false;
    }
    if (++p->shorts >= 2) {
        (void)snprintf(text, sizeof(text),
                       "the log ends at %" PRId64 ", but Redis has applied %" PRId64, end,
                       p->applied.offset);
        halt_text(p, PART_HALT_SHORT, text);
    } else {
        p->needs_range = true;
        p->range_at = now.mono_ms + RANGE_AGAIN_MS;
    }
    return true;
}

void part_range(struct part *p, bool ok, int64_t begin, int64_t end, struct part_time now)
{
    char text[120];

    if (!p->asks_range || (p->phase != PHASE_CATCHING && p->phase != PHASE_STEADY)) {
        return;
    }
    p->asks_range = false;
    p->range_at = now.mono_ms + RANGE_AGAIN_MS;
    if (!ok) {
        p->needs_range = true;
        return;
    }
    if (is_too_short(p, end, now)) {
        return;
    }
    if (p->needs_begin) {
        p->needs_begin = false;
        p->progress_at = now.mono_ms;
        fetch_from(p, begin);
        return;
    }
    if (begin > p->next_offset) {
        (void)snprintf(text, sizeof(text),
                       "the log starts at %" PRId64 ", but %" PRId64 " must be read", begin,
                       p->next_offset);
        halt_text(p, PART_HALT_HEAD, text);
        return;
    }
    if (p->next_offset > end) {
        p->needs_recheck = true; /* what was read and not yet applied is no longer there */
        return;
    }
    p->progress_at = now.mono_ms;
    p->needs_fetch = true;
}

static bool is_stalled(const struct part *p, struct part_time now)
{
    return p->phase == PHASE_CATCHING && now.mono_ms - p->progress_at >= STALL_MS;
}

static bool next_reading(struct part *p, struct part_time now, struct part_action *action)
{
    if (p->needs_fetch && now.mono_ms >= p->fetch_at) {
        p->needs_fetch = false;
        action->type = PART_FETCH;
        action->offset = p->next_offset;
        return true;
    }
    if ((p->needs_range || is_stalled(p, now)) && !p->asks_range && now.mono_ms >= p->range_at) {
        p->needs_range = false;
        p->asks_range = true;
        action->type = PART_RANGE;
        return true;
    }
    return false;
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
        recheck(p, now);
    }
    if (can_stop(p)) {
        halt(p, p->stop);
    }
    if (p->phase == PHASE_HALTED) {
        return next_halt(p, action);
    }
    if (p->phase == PHASE_IDLE) {
        return false;
    }
    if (next_reading(p, now, action)) {
        return true;
    }
    if ((can & PART_CAN_PUBLISH) != 0 && p->phase == PHASE_STEADY &&
        p->queue.sent != p->queue.applied) {
        next_message(p, action);
        return true;
    }
    if ((can & PART_CAN_CALL) != 0 && next_call(p, now, action)) {
        return true;
    }
    if (p->phase == PHASE_HALTED) {
        return next_halt(p, action);
    }
    if ((can & PART_CAN_PUBLISH) != 0 && is_tick_due(p, now)) {
        p->tick_flies = true;
        p->tick_at = now.mono_ms + p->tick_wait_ms;
        p->counts.ticks++;
        action->type = PART_TICK;
        return true;
    }
    return false;
}

/* ---- looking at it ---- */

void part_look(const struct part *p, struct part_view *view)
{
    static const char *const phases[] = {"idle", "reading", "catching", "steady", "halted"};

    *view = (struct part_view){
        .is_assigned = p->is_assigned,
        .is_steady = p->phase == PHASE_STEADY,
        .phase = phases[p->phase],
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

const char *part_halt_name(enum part_halt why)
{
    static const char *const names[] = {
        [PART_HALT_NONE] = "none",
        [PART_HALT_RULES] = "rules",
        [PART_HALT_GENESIS] = "genesis",
        [PART_HALT_CHAIN] = "chain",
        [PART_HALT_SHORT] = "log_too_short",
        [PART_HALT_HEAD] = "log_head_deleted",
        [PART_HALT_GAP] = "log_gap",
        [PART_HALT_CLOCK] = "clock",
        [PART_HALT_TIMESTAMP] = "timestamp_type",
        [PART_HALT_PARTITIONS] = "partitions",
        [PART_HALT_SCRIPT] = "script",
        [PART_HALT_STATE] = "state",
        [PART_HALT_LOG] = "log_unreadable",
    };

    return names[why];
}
