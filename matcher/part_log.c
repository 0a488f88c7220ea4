/*
 * A record is taken only at next_offset: older ones come from a stale fetch, later ones are fetched
 * again until it is certain that what is between them is missing.
 */
#include "matcher/part_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/mutant.h"

enum {
    STALL_MS = 2000, /* catching up without a record: something is wrong with the log */
    RANGE_AGAIN_MS = 1000,
    GAPS_MAX = 3,  /* times that the same records are missing, */
    GAP_MS = 2000, /* and how long: some that come after a seek were on their way before it */
    STUCK_MAX = 3, /* errors of reading the log at one place */
};

/* ---- fetching ---- */

void part_fetch_from(struct part *p, int64_t offset)
{
    if (MUTANT(NO_SEEK_BACK) && offset < p->next_offset) {
        return;
    }
    p->next_offset = offset;
    p->needs_fetch = true;
}

void part_fetch_from_begin(struct part *p)
{
    p->needs_begin = true;
    p->needs_range = true;
}

/* ---- records ---- */

/* True when the record may start a log; then the tail has the log's first chain value. */
static bool take_genesis(struct part *p, const struct command *cmd, struct part_time now)
{
    if (cmd->type != COMMAND_GENESIS && p->log_begin > 0) {
        part_wait_for_head(p, -1, now);
        return false;
    }
    if (cmd->type != COMMAND_GENESIS) {
        part_halt(p, PART_HALT_GENESIS, "the log's first record is not genesis");
        return false;
    }
    if (cmd->partitions != p->settings->partitions) {
        part_halt(p, PART_HALT_PARTITIONS, "the log was made for another number of partitions");
        return false;
    }
    if (!command_has_rules(cmd->rules)) {
        part_halt(p, PART_HALT_RULES, "the log starts with rules that this build does not have");
        return false;
    }
    if (p->genesis[0] != '\0' && !slice_eq(command_text(&cmd->other_id), slice_str(p->genesis))) {
        part_halt(p, PART_HALT_GENESIS, "the log's genesis is not the one in Redis");
        return false;
    }
    memcpy(p->genesis, cmd->other_id.s, IDS_LOG_LEN + 1);
    p->tail.chain = ids_chain_start(command_text(&cmd->other_id));
    p->tail.rules = cmd->rules;
    if (p->phase == PHASE_STEADY) {
        p->applied.chain = p->tail.chain;
        p->applied.rules = p->tail.rules;
    }
    return true;
}

/* Queues the record; NULL when the partition cannot go on with it. */
static struct item *queue_record(struct part *p, const struct part_record *record,
                                 struct part_time now)
{
    struct command cmd;
    struct item *item;

    command_parse(&cmd, record->value, p->tail.rules, p->partition, p->settings->partitions);
    if (p->tail.offset < 0 && !take_genesis(p, &cmd, now)) {
        return NULL;
    }
    item = queue_push(&p->queue);
    if (cmd.type == COMMAND_ARCHIVE) {
        item_keep(item, record->key, cmd.users);
        cmd.users = item->value;
    } else {
        item_keep(item, record->key,
                  cmd.type == COMMAND_MALFORMED ? record->value : (struct slice){NULL, 0});
    }
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
        if (p->tail.offset < 0 && p->log_begin > 0) {
            part_wait_for_head(p, -1, now);
        } else {
            part_halt(p, PART_HALT_CHAIN, err.text);
        }
        return;
    }
    item = queue_record(p, record, now);
    if (item == NULL || !part_tell_item(p, item, line, PART_HALT_CHAIN)) {
        return;
    }
    if (!replay_check(&p->replay, item->chain, item->log_time, &err) && !MUTANT(CHAIN_UNCOMPARED)) {
        part_halt(p, PART_HALT_CHAIN, err.text);
        return;
    }
    if (replay_is_open(&p->replay)) {
        return;
    }
    if (!is_same_place(&p->tail, &p->applied) && !MUTANT(CHAIN_UNCOMPARED)) {
        part_halt(p, PART_HALT_CHAIN,
                  "the log up to the watermark is not the one that Redis was made from");
        return;
    }
    p->queue.applied = p->queue.end;
    if (MUTANT(REPUBLISH_LEFT_OUT)) {
        queue_clear(&p->queue);
    }
    p->counts.republished += queue_untold(&p->queue);
    part_enter_steady(p, now);
}

static void compare_last(struct part *p, const struct part_record *record, struct part_time now)
{
    if (ids_record_hash(record->offset, record->timestamp_ms, record->key, record->value) !=
            p->applied.hash &&
        !MUTANT(LAST_UNCOMPARED)) {
        part_halt(p, PART_HALT_CHAIN,
                  "the record at the watermark is not the one that Redis was made from");
        return;
    }
    p->next_offset = record->offset + 1;
    part_enter_steady(p, now);
}

static bool is_gap(struct part *p, const struct part_record *record, struct part_time now)
{
    char text[120];

    if (record->offset <= p->next_offset) {
        return false;
    }
    (void)snprintf(text, sizeof(text), "records %" PRId64 " to %" PRId64 " are missing in the log",
                   p->next_offset, record->offset - 1);
    if (p->gap_at != p->next_offset) {
        p->gap_at = p->next_offset;
        p->gaps = 0;
        p->gap_until = now.mono_ms + GAP_MS;
        p->gap_is_inside = false;
    }
    p->gaps++;
    if (p->gaps < GAPS_MAX || now.mono_ms < p->gap_until || !p->gap_is_inside) {
        p->needs_range = p->needs_range || (p->gaps >= GAPS_MAX && !p->gap_is_inside);
        /* The client is known to skip, and a seek may get lost: ask again for exactly this one. */
        part_fetch_from(p, p->next_offset);
        p->fetch_at = p->gaps < GAPS_MAX ? now.mono_ms : now.mono_ms + PART_RETRY_MIN_MS;
    } else if (p->phase == PHASE_STEADY) {
        part_stop(p, PART_HALT_GAP, text);
    } else {
        part_halt(p, PART_HALT_GAP, text);
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
        part_stop(p, PART_HALT_CLOCK, text);
        return;
    }
    if (queue_record(p, record, now) != NULL) {
        part_note_time(p, p->tail.log_time, now);
    }
}

void part_record(struct part *p, const struct part_record *record, struct part_time now)
{
    const bool is_catching = p->phase == PHASE_CATCHING;

    /* Older ones: a stale fetch, or the way back to where a seek goes. */
    if ((!is_catching && p->phase != PHASE_STEADY) || p->needs_fetch || p->needs_begin ||
        (p->needs_recheck && !is_catching) || p->stop != PART_HALT_NONE ||
        (p->is_draining && !is_catching) ||
        (record->offset < p->next_offset && !MUTANT(STALE_TAKEN)) || is_gap(p, record, now)) {
        return;
    }
    p->progress_at = now.mono_ms;
    p->shorts = 0;
    if (!record->is_log_append_time) {
        part_stop(p, PART_HALT_TIMESTAMP, "a record has no LogAppendTime: the topic was altered");
        if (is_catching) {
            part_enter_halted(p, PART_HALT_TIMESTAMP);
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
    case PHASE_WAITING:
    case PHASE_HALTED:
        break;
    }
    return false;
}

/* ---- the log as a whole ---- */

void part_recheck(struct part *p)
{
    if ((p->phase == PHASE_CATCHING || p->phase == PHASE_STEADY) && !MUTANT(RECHECK_IGNORED)) {
        p->needs_recheck = true;
    } else if (p->phase == PHASE_WAITING) {
        p->phase = PHASE_READING;
        p->absent = 0;
    }
}

void part_compare_again(struct part *p, struct part_time now)
{
    p->counts.rechecks++;
    if (p->batch > 0) {
        p->restarts = 0;
        part_restart(p, now);
        return;
    }
    p->needs_recheck = false;
    queue_drop_unapplied(&p->queue);
    p->tail = p->applied;
    p->gap_at = -1;
    p->stop = PART_HALT_NONE; /* what it was for is found again */
    if (p->applied.offset < 0) {
        p->genesis[0] = '\0';
        part_fetch_from_begin(p);
        return;
    }
    part_begin_catching(p, now);
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
    if (p->needs_fetch) {
        return; /* it is known already */
    }
    /* What was read before it may be read again in between. */
    if (p->stuck_at != p->next_offset) {
        p->stuck_at = p->next_offset;
        p->stuck = 0;
    }
    if (++p->stuck >= STUCK_MAX) {
        part_halt(p, PART_HALT_LOG, why);
        return;
    }
    p->needs_fetch = true;
    p->fetch_at = now.mono_ms + PART_RETRY_MAX_MS;
}

void part_unfetched(struct part *p, struct part_time now)
{
    if ((p->phase != PHASE_CATCHING && p->phase != PHASE_STEADY) || p->needs_begin) {
        return;
    }
    p->needs_fetch = true;
    p->fetch_at = now.mono_ms + PART_RETRY_MIN_MS;
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
        part_halt(p, PART_HALT_SHORT, text);
    } else {
        p->needs_range = true;
        p->range_at = now.mono_ms + RANGE_AGAIN_MS;
    }
    return true;
}

void part_range(struct part *p, bool ok, int64_t begin, int64_t end, struct part_time now)
{
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
        if (begin > 0 && begin == end) {
            part_wait_for_head(p, -1, now);
            return;
        }
        p->needs_begin = false;
        p->log_begin = begin;
        p->progress_at = now.mono_ms;
        part_fetch_from(p, begin);
        return;
    }
    if (begin > p->next_offset) {
        part_wait_for_head(p, p->next_offset, now);
        return;
    }
    if (p->next_offset > end) {
        p->needs_recheck = true; /* what was read and not yet applied is no longer there */
        return;
    }
    p->gap_is_inside = p->gap_at == p->next_offset && p->next_offset < end;
    p->progress_at = now.mono_ms;
    p->needs_fetch = true;
}

static bool is_stalled(const struct part *p, struct part_time now)
{
    return p->phase == PHASE_CATCHING && now.mono_ms - p->progress_at >= STALL_MS;
}

bool part_next_reading(struct part *p, struct part_time now, struct part_action *action)
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
