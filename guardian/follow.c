/*
 * Overlap by one: reading starts *at* the outcome of the last command applied, not after it, and
 * that record must be the one we applied.  If it is not there (the topic was trimmed, or made anew)
 * the topic is read from its start; whatever is found then still has to carry our genesis, and, at
 * our position, our chain.
 *
 * Before a record is called lost, the topic is read once more from its start.  By go-back-N the
 * missing record should stand behind the later ones; but reading it all again is cheap, and a
 * halt that was not needed is not.
 */
#include "guardian/follow.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/command.h"
#include "common/ids.h"
#include "common/mutant.h"

enum {
    SEEK_AGAIN_MS = 5000,
    STUCK_PAUSE_MS = 1000,
    STUCK_MAX = 10,
    STILL_MS = 10000,
    STILL_MAX_MS = 600000,
    SHORTS_MAX = 2,
};

void follow_init(struct follow *f, int partition, int partitions, int64_t probe_ms)
{
    *f = (struct follow){.partition = partition, .partitions = partitions, .probe_ms = probe_ms};
    follow_reset(f);
}

/* Nothing that is read counts. */
static bool is_deaf(const struct follow *f)
{
    return f->state == FOLLOW_LOADING || f->state == FOLLOW_LOST || f->state == FOLLOW_HALTED;
}

void follow_reset(struct follow *f)
{
    if (f->state == FOLLOW_HALTED) {
        return;
    }
    f->state = FOLLOW_LOADING;
    f->head = PROGRESS_NONE;
    f->scan_end = -1;
    f->next_offset = -1;
    f->still_at = -1;
    f->has_gap = false;
    f->shorts = 0;
}

static ATTR_PRINTF(3, 4) enum follow_action
    halt(struct follow *f, enum follow_halt why, const char *fmt, ...)
{
    va_list args;

    if (f->state == FOLLOW_HALTED) {
        return FOLLOW_NOTHING;
    }
    f->state = FOLLOW_HALTED;
    f->halt = why;
    va_start(args, fmt);
    (void)vsnprintf(f->why, sizeof(f->why), fmt, args);
    va_end(args);
    return FOLLOW_HALT;
}

enum follow_action follow_halt(struct follow *f, enum follow_halt why, const char *text)
{
    return halt(f, why, "%s", text);
}

static enum follow_action seek(struct follow *f, int64_t offset, int64_t now_ms)
{
    f->seek_offset = offset;
    f->next_offset = -1;
    f->sought_ms = now_ms;
    f->read_ms = now_ms;
    return FOLLOW_SEEK;
}

static bool knows_rules(const struct follow *f)
{
    return f->head.position < 0 || command_has_rules(f->head.rules) || MUTANT(RULES_UNREAD);
}

enum follow_action follow_loaded(struct follow *f, const struct progress *committed, int64_t now_ms)
{
    if (f->state == FOLLOW_HALTED) {
        return FOLLOW_NOTHING;
    }
    f->head = *committed;
    f->moved_ms = now_ms;
    f->scan_end = -1;
    f->has_gap = false;
    if (!knows_rules(f)) {
        return halt(f, FOLLOW_HALT_RULES,
                    "the record follows rules %" PRId64 ", this build carries 1 to %d",
                    f->head.rules, COMMAND_RULES);
    }
    if (f->head.position >= 0 && f->head.partitions != f->partitions) {
        return halt(f, FOLLOW_HALT_PARTITIONS,
                    "the record was made for %" PRId64 " partitions, not %d", f->head.partitions,
                    f->partitions);
    }
    if (f->head.position < 0 || f->head.outcomes_offset < 0) {
        f->state = FOLLOW_READING;
        return seek(f, FOLLOW_BEGIN, now_ms);
    }
    if (MUTANT(OVERLAP_UNCHECKED)) {
        f->state = FOLLOW_READING;
        return seek(f, f->head.outcomes_offset + 1, now_ms);
    }
    f->state = FOLLOW_CHECKING;
    return seek(f, f->head.outcomes_offset, now_ms);
}

/* The outcome of our own position: it must be the very one that we applied. */
static enum follow_action check_overlap(struct follow *f, const struct outcome *o)
{
    if (o->chain != f->head.chain || o->rules != f->head.rules || o->log_time != f->head.log_time) {
        return halt(f, FOLLOW_HALT_CHAIN,
                    "the outcome of offset %" PRId64 " is not the one that was applied: chain "
                    "%016" PRIx64 ", the record has %016" PRIx64,
                    o->offset, o->chain, f->head.chain);
    }
    if (f->state == FOLLOW_CHECKING) {
        f->state = FOLLOW_READING;
    }
    return FOLLOW_NOTHING;
}

static bool has_event(const struct outcome *o, enum event_type type)
{
    for (size_t i = 0; i < o->n_events; i++) {
        if (o->events[i].type == type) {
            return true;
        }
    }
    return false;
}

static const struct event *genesis_of(const struct outcome *o)
{
    return o->n_events == 1 && o->events[0].type == EVENT_GENESIS ? &o->events[0] : NULL;
}

/* True when its command stands in the log right behind the one at the head. */
static bool is_linked(const struct follow *f, const struct outcome *o)
{
    const uint64_t before =
        f->head.position < 0 ? ids_chain_start(slice_str(o->genesis)) : f->head.chain;

    return ids_chain_next(before, o->hash) == o->chain || MUTANT(LINK_UNCHECKED);
}

/* The next record in order.  Returns false when it contradicts what was before it. */
static bool fits(struct follow *f, const struct outcome *o, enum follow_action *action)
{
    if (!knows_rules(f)) {
        *action = halt(f, FOLLOW_HALT_RULES,
                       "the log follows rules %" PRId64 " after offset %" PRId64
                       ", this build carries 1 to %d",
                       f->head.rules, f->head.position, COMMAND_RULES);
        return false;
    }
    if (f->head.position < 0) {
        const struct event *genesis = genesis_of(o);

        if (genesis == NULL || genesis->partitions != f->partitions) {
            *action = halt(f, FOLLOW_HALT_GENESIS,
                           "the first outcome, of offset %" PRId64 ", is not that of a genesis for "
                           "%d partitions",
                           o->offset, f->partitions);
            return false;
        }
    }
    if (!is_linked(f, o)) {
        *action = halt(f, FOLLOW_HALT_CHAIN,
                       "the outcome of offset %" PRId64 " follows another record than that of "
                       "offset %" PRId64 " in the record",
                       o->offset, f->head.position);
        return false;
    }
    if (o->log_time < f->head.log_time) {
        *action = halt(f, FOLLOW_HALT_CHAIN, "log time goes back at offset %" PRId64, o->offset);
        return false;
    }
    if (f->head.position >= 0 && o->rules != f->head.rules && !has_event(o, EVENT_RULES)) {
        *action = halt(f, FOLLOW_HALT_CHAIN,
                       "the rules change at offset %" PRId64 " without a command", o->offset);
        return false;
    }
    return true;
}

static void advance(struct follow *f, const struct outcome *o, int64_t offset, int64_t now_ms)
{
    const struct event *genesis = genesis_of(o);

    if (f->head.position < 0 && genesis != NULL) {
        f->head.partitions = genesis->partitions;
        memcpy(f->head.genesis, o->genesis, sizeof(f->head.genesis));
    }
    f->head.position = o->offset;
    f->head.chain = o->chain;
    f->head.rules = o->rules;
    f->head.log_time = o->log_time;
    f->head.outcomes_offset = offset;
    f->moved_ms = now_ms;
    f->scan_end = -1;
    f->has_gap = false;
}

/*
 * A record was read.  A scan that has read everything and not found the missing one has its answer.
 * Only an unbroken read counts: librdkafka may still hand over a record from before the seek.
 */
static enum follow_action note_read(struct follow *f, int64_t offset, int64_t now_ms)
{
    f->next_offset = offset + 1;
    f->read_ms = now_ms;
    if (offset >= f->stuck_at) {
        f->stuck = 0;
    }
    if (f->scan_end < 0) {
        return FOLLOW_NOTHING;
    }
    if (offset == f->scan_next) {
        f->scan_next++;
        f->scan_ms = now_ms;
    }
    if (f->scan_next < f->scan_end) {
        return FOLLOW_NOTHING;
    }
    f->state = FOLLOW_LOST;
    (void)snprintf(f->why, sizeof(f->why),
                   "the outcome after offset %" PRId64 " is lost: Redis is past it, the outbox no "
                   "longer holds it, and the topic up to %" PRId64 " lacks it",
                   f->head.position, f->scan_end);
    return FOLLOW_REBUILD;
}

enum follow_verdict follow_record(struct follow *f, const struct outcome *o, int64_t offset,
                                  int64_t now_ms, enum follow_action *action)
{
    *action = FOLLOW_NOTHING;
    if (is_deaf(f)) {
        return FOLLOW_DROP;
    }
    if (o->partition != f->partition) {
        *action = follow_garbage(f, offset, now_ms);
        return FOLLOW_FOREIGN;
    }
    if (f->head.position >= 0 && strcmp(o->genesis, f->head.genesis) != 0) {
        *action = halt(f, FOLLOW_HALT_GENESIS,
                       "an outcome of another log stands in the topic: genesis %s, ours is %s",
                       o->genesis, f->head.genesis);
        return FOLLOW_DROP;
    }
    /* What librdkafka had fetched before a seek may still come. */
    if (f->state == FOLLOW_CHECKING && offset < f->seek_offset) {
        return FOLLOW_DROP;
    }
    if (f->state == FOLLOW_CHECKING && o->offset != f->head.position) {
        *action = seek(f, FOLLOW_BEGIN, now_ms);
        f->state = FOLLOW_READING;
        return FOLLOW_DROP;
    }
    if (o->offset == f->head.position) {
        *action = check_overlap(f, o);
    } else if (o->prev == f->head.position ||
               (MUTANT(APPLY_LATER) && o->offset > f->head.position)) {
        if (!fits(f, o, action)) {
            return FOLLOW_DROP;
        }
        advance(f, o, offset, now_ms);
        *action = note_read(f, offset, now_ms);
        return FOLLOW_APPLY;
    } else if (o->offset > f->head.position) {
        f->has_gap = true;
    }
    if (*action == FOLLOW_NOTHING) {
        *action = note_read(f, offset, now_ms);
    }
    return o->offset > f->head.position ? FOLLOW_LATER : FOLLOW_DROP;
}

enum follow_action follow_garbage(struct follow *f, int64_t offset, int64_t now_ms)
{
    if (is_deaf(f)) {
        return FOLLOW_NOTHING;
    }
    if (f->state == FOLLOW_CHECKING) {
        f->state = FOLLOW_READING;
        return seek(f, FOLLOW_BEGIN, now_ms);
    }
    return note_read(f, offset, now_ms);
}

enum follow_action follow_stuck(struct follow *f, bool is_out_of_range, const char *why,
                                int64_t now_ms)
{
    if (is_deaf(f)) {
        return FOLLOW_NOTHING;
    }
    if (follow_read_offset(f) != f->stuck_at) {
        f->stuck_at = follow_read_offset(f);
        f->stuck = 0;
    }
    if (++f->stuck >= STUCK_MAX) {
        return halt(f, FOLLOW_HALT_TOPIC, "the topic cannot be read: %s", why);
    }
    if (is_out_of_range) {
        f->scan_end = -1; /* broken off: where the topic starts now, the next probe tells */
    }
    if (is_out_of_range && f->stuck == 1) {
        f->state = FOLLOW_READING;
        return seek(f, FOLLOW_BEGIN, now_ms);
    }
    /* The next tick but a few asks for the same place again. */
    if (is_out_of_range) {
        f->state = FOLLOW_READING;
        f->seek_offset = FOLLOW_BEGIN;
        f->next_offset = -1;
    } else if (f->next_offset >= 0) {
        f->seek_offset = f->next_offset;
        f->next_offset = -1;
    }
    f->sought_ms = now_ms - SEEK_AGAIN_MS + STUCK_PAUSE_MS;
    return FOLLOW_NOTHING;
}

enum follow_action follow_tick(struct follow *f, int64_t now_ms)
{
    if (is_deaf(f)) {
        return FOLLOW_NOTHING;
    }
    if (f->scan_end < 0 && now_ms - f->moved_ms >= f->probe_ms &&
        ((f->has_gap && f->state == FOLLOW_READING) || now_ms - f->read_ms >= f->probe_ms)) {
        f->moved_ms = now_ms;
        return FOLLOW_PROBE;
    }
    /* Not when anything was read last: later outcomes may come for as long as there is a sale. */
    if (f->scan_end >= 0 && now_ms - f->scan_ms >= SEEK_AGAIN_MS) {
        f->scan_end = -1; /* it has come to nothing; the next probe may begin another */
    }
    if (f->next_offset < 0 && now_ms - f->sought_ms >= SEEK_AGAIN_MS) {
        return seek(f, f->seek_offset, now_ms);
    }
    return FOLLOW_NOTHING;
}

enum follow_action follow_probed(struct follow *f, const struct follow_probe *probe, int64_t now_ms)
{
    if (f->state == FOLLOW_CHECKING && probe->is_known) {
        f->moved_ms = now_ms;
        if (probe->watermark <= f->head.position || probe->topic_end > f->seek_offset) {
            return FOLLOW_NOTHING;
        }
        /* The topic ends before the record at our position: nothing would ever come. */
        f->state = FOLLOW_READING;
        return seek(f, FOLLOW_BEGIN, now_ms);
    }
    if (f->state != FOLLOW_READING || f->scan_end >= 0 || !probe->is_known ||
        MUTANT(LOSS_UNNOTICED)) {
        return FOLLOW_NOTHING;
    }
    f->moved_ms = now_ms;
    /* Another log's state in Redis says nothing about ours; its matchers have halted on it. */
    if ((probe->watermark <= f->head.position && !MUTANT(LOSS_WATERMARK)) ||
        (f->head.position >= 0 && strcmp(probe->genesis, f->head.genesis) != 0)) {
        return FOLLOW_NOTHING;
    }
    if (probe->has_outbox && probe->first_prev <= f->head.position && !MUTANT(LOSS_OUTBOX)) {
        return FOLLOW_NOTHING;
    }
    if (!f->has_gap && probe->topic_begin < probe->topic_end && f->next_offset < probe->topic_end) {
        return FOLLOW_NOTHING;
    }
    f->scan_end = probe->topic_end;
    f->scan_next = MUTANT(LOSS_GUESSED) ? probe->topic_end : probe->topic_begin;
    f->scan_ms = now_ms;
    if (probe->topic_begin >= probe->topic_end) {
        return note_read(f, probe->topic_end - 1, now_ms);
    }
    return seek(f, FOLLOW_BEGIN, now_ms);
}

bool follow_stands_still(struct follow *f, int64_t topic_end, int64_t now_ms)
{
    const int64_t at = follow_read_offset(f);

    if (at >= topic_end || at != f->still_at) {
        f->still_at = at < topic_end ? at : -1;
        f->still_ms = now_ms;
        f->still_wait_ms = STILL_MS;
        return false;
    }
    if (now_ms - f->still_ms < f->still_wait_ms) {
        return false;
    }
    f->still_ms = now_ms;
    f->still_wait_ms *= f->still_wait_ms < STILL_MAX_MS ? 2 : 1;
    return true;
}

enum follow_action follow_log_end(struct follow *f, int64_t end)
{
    if (is_deaf(f) || f->head.position < end) {
        f->shorts = 0;
        return FOLLOW_NOTHING;
    }
    if (++f->shorts < SHORTS_MAX) {
        return FOLLOW_NOTHING;
    }
    return halt(f, FOLLOW_HALT_SHORT, "the log ends at %" PRId64 ", but MySQL has applied %" PRId64,
                end, f->head.position);
}

/* docs/operations.md has the same at more length. */
static const struct {
    const char *name, *todo;
} halts[FOLLOW_HALT_COUNT] = {
    [FOLLOW_HALT_NONE] = {"none", "nothing"},
    [FOLLOW_HALT_RULES] = {"rules", "deploy the build that carries these rules"},
    [FOLLOW_HALT_PARTITIONS] = {"partitions", "correct the setting partitions, or mysql-database"},
    [FOLLOW_HALT_GENESIS] = {"genesis",
                             "check kafka-brokers, topic-outcomes, mysql-database; a log "
                             "that was really replaced needs a new database"},
    [FOLLOW_HALT_CHAIN] = {"chain", "check kafka-brokers, mysql-database; was the log or MySQL "
                                    "restored? Run seckill-guardian verify"},
    [FOLLOW_HALT_SHORT] = {"log_too_short",
                           "check kafka-brokers, topic-orders, mysql-database; was "
                           "the log made anew, cut back or restored?"},
    [FOLLOW_HALT_LOST] = {"outcome_lost",
                          "have Redis made anew from MySQL's position: the outcomes "
                          "come out again"},
    [FOLLOW_HALT_TOPIC] = {"topic_unreadable", "repair the outcomes topic from a replica"},
    [FOLLOW_HALT_RECORD] = {"record", "was MySQL edited, or restored? Run seckill-guardian verify"},
};

const char *follow_halt_name(enum follow_halt why)
{
    return halts[why].name;
}

const char *follow_halt_todo(enum follow_halt why)
{
    return halts[why].todo;
}
