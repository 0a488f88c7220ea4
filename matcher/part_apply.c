/*
 * One script is under way at a time.  Its batch stays at the front of the unapplied until the script has
 * answered; what is applied is told in order and kept until Kafka has acknowledged it.
 */
#include "matcher/part_impl.h"

#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/mutant.h"

enum {
    FULL_AGAIN_MS = 1000,
    POSITION_KEYS = 7, /* of position.lua */
};

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
    action->n_keys = is_read ? POSITION_KEYS : PART_KEYS;
    action->n_commands = is_read ? 0 : p->call_batch;
}

static bool call_apply(struct part *p, struct part_action *action)
{
    const size_t n = p->needs_trim ? 0 : p->batch;
    const struct item *last = n == 0 ? NULL : queue_at(&p->queue, p->queue.applied + n - 1);
    const struct script_head head = {
        .rules = p->applied.rules,
        .genesis = p->genesis,
        .prev = p->applied.offset,
        .to = last == NULL ? p->applied.offset : last->offset,
        .chain_before = p->applied.chain,
        .chain_after = last == NULL ? p->applied.chain : last->chain,
        .hash_after = last == NULL ? p->applied.hash : last->hash,
        .acked = p->acked,
        .outbox_max = p->settings->outbox_max,
        .remembered_max = p->settings->remembered_max,
        .n_commands = n,
    };

    script_begin(&p->words, p->keys, PART_KEYS);
    script_put_head(&p->words, &head);
    for (size_t i = 0; i < n; i++) {
        const struct item *item = queue_at(&p->queue, p->queue.applied + i);

        script_put_command(&p->words, item->offset, item->timestamp_ms, &item->cmd);
    }
    if (!script_end(&p->words)) {
        part_halt(p, PART_HALT_SCRIPT, "a batch is too large for one call");
        return false;
    }
    p->needs_trim = false;
    p->call_batch = n;
    start_call(p, false, action);
    return true;
}

bool part_next_call(struct part *p, struct part_time now, struct part_action *action)
{
    if (p->is_calling || now.mono_ms < p->call_at) {
        return false;
    }
    if (p->phase == PHASE_READING || p->phase == PHASE_WAITING) {
        const struct slice keys[POSITION_KEYS] = {
            p->keys[PART_KEY_LOG],     p->keys[PART_KEY_OUTBOX],   p->keys[PART_KEY_ITEMS],
            p->keys[PART_KEY_ORDERS],  p->keys[PART_KEY_PAYMENTS], p->keys[PART_KEY_OPS],
            p->keys[PART_KEY_REBUILD],
        };

        if (p->is_draining) {
            return false;
        }
        script_begin(&p->words, keys, POSITION_KEYS);
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
                          p->applied.offset < 0 || MUTANT(IDLE_SILENT))) {
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
    case 'a':
        counts->events[EVENT_ARCHIVED]++;
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

bool part_tell_item(struct part *p, struct item *item, struct slice line, enum part_halt why)
{
    const struct outcome_head head = {.partition = p->partition,
                                      .offset = item->offset,
                                      .prev = item->prev,
                                      .genesis = p->genesis,
                                      .hash = item->hash,
                                      .chain = item->chain,
                                      .rules = item->rules,
                                      .log_time = item->log_time};
    struct err err;

    buf_clear(&p->outcome);
    if (!outcome_format(&p->outcome, &head, &item->cmd, line, &err) || !buf_ok(&p->outcome)) {
        part_halt(p, why, buf_ok(&p->outcome) ? err.text : "an outcome is too large");
        return false;
    }
    item_tell(item, buf_slice(&p->outcome));
    return true;
}

/* Gives each record of the batch its outcome; false when that halted the partition. */
static bool tell_batch(struct part *p, struct slice lines)
{
    for (size_t i = 0; i < p->batch; i++) {
        struct item *item = queue_at(&p->queue, p->queue.applied + i);
        struct slice line;

        if (!script_next_line(&lines, &line)) {
            part_halt(p, PART_HALT_SCRIPT, "the script answered with fewer lines than commands");
            return false;
        }
        if (!part_tell_item(p, item, line, PART_HALT_SCRIPT)) {
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
        part_halt(p, PART_HALT_SCRIPT, "the script answered with more lines than commands");
        return false;
    }
    return true;
}

static bool advance(struct part *p, const struct script_reply *reply)
{
    const struct item *last;

    if (p->call_batch == 0) {
        return true;
    }
    last = queue_at(&p->queue, p->queue.applied + p->batch - 1);
    if (reply->watermark != last->offset || reply->log_time != last->log_time) {
        part_halt(p, PART_HALT_SCRIPT, "the script stands elsewhere than the batch it applied");
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
    if (!command_has_rules(p->applied.rules) && !MUTANT(RULES_OUTRUN)) {
        queue_drop_unapplied(&p->queue);
        part_stop(p, PART_HALT_RULES, "the log went over to rules that this build does not have");
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
    if (reply->first_prev != SCRIPT_NO_ENTRY && reply->first_prev < p->base_prev &&
        !MUTANT(OUTBOX_UNCOMPARED)) {
        /* Redis fell back to an older outbox; those outcomes may be nowhere else. */
        p->counts.mismatches++;
        part_restart(p, now);
    }
}

static void take_full(struct part *p, const struct script_reply *reply, struct part_time now)
{
    p->counts.full++;
    p->batch = 0; /* resolved: the script has changed nothing */
    if (slice_eq(reply->text, SLICE_LIT("outbox")) && queue_untold(&p->queue) == 0 &&
        p->acked == p->call_acked && !MUTANT(OUTBOX_UNCOMPARED)) {
        /* Full of what is not ours: Redis fell back to an older outbox, and this is all it answers. */
        p->counts.mismatches++;
        part_restart(p, now);
        return;
    }
    if (p->acked != p->call_acked) {
        return; /* the next call says more */
    }
    p->is_full = true;
    p->call_at = now.mono_ms + FULL_AGAIN_MS;
}

static void halt_quoting(struct part *p, enum part_halt why, const char *what, struct slice said)
{
    (void)snprintf(p->text, sizeof(p->text), "%s: %.*s", what,
                   (int)(said.len < 200 ? said.len : 200), said.ptr);
    part_enter_halted(p, why);
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
        part_restart(p, now);
        break;
    case SCRIPT_FULL:
        take_full(p, reply, now);
        break;
    case SCRIPT_RULES:
        part_halt(p, PART_HALT_RULES, "the state follows rules that this build does not have");
        break;
    case SCRIPT_CORRUPT:
        halt_quoting(p, PART_HALT_STATE, "the state in Redis is damaged", reply->text);
        break;
    case SCRIPT_BAD:
        halt_quoting(p, PART_HALT_SCRIPT, "the script refused the batch", reply->text);
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
    p->attempts = p->call_batch == p->batch ? 0 : p->attempts;
    p->call_at = now.mono_ms;
    if (!script_parse(text, &reply, &err)) {
        part_halt(p, PART_HALT_SCRIPT, err.text);
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
    p->call_at = now.mono_ms + part_delay_ms(p->attempts);
    if (is_refused) {
        p->attempts++;
        /* Out of memory, Redis refuses what adds to it, but not the trimming of the outbox. */
        p->needs_trim = !p->call_is_read && p->call_batch > 0 && p->acked >= 0;
    }
}

void part_failed(struct part *p, uint32_t call, struct slice why)
{
    if (!p->is_calling || call != p->calls) {
        return;
    }
    halt_quoting(p, PART_HALT_SCRIPT, "the script failed", why);
}

void part_evicting(struct part *p, const char *why)
{
    if (p->is_assigned && p->phase != PHASE_HALTED) {
        part_halt(p, PART_HALT_EVICTING, why);
    }
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

/* A mutant's guess at what the script will answer. */
static bool guess_outcome(struct part *p)
{
    struct item *item;

    if (p->queue.sent != p->queue.applied || p->batch == 0) {
        return false;
    }
    item = queue_at(&p->queue, p->queue.sent);
    return item->cmd.type == COMMAND_TICK &&
           part_tell_item(p, item, SLICE_LIT(""), PART_HALT_SCRIPT);
}

bool part_next_message(struct part *p, struct part_action *action)
{
    const struct item *item;
    bool is_dead;

    if (p->phase != PHASE_STEADY || p->needs_recheck) {
        return false; /* what we hold may be of another log */
    }
    if (p->queue.sent >= p->queue.applied && !(MUTANT(PUBLISH_BEFORE_APPLY) && guess_outcome(p))) {
        return false;
    }
    item = queue_at(&p->queue, p->queue.sent);
    if (MUTANT(EFFECTLESS_UNTOLD) && item->cmd.type == COMMAND_TICK) {
        part_published(p);
        part_acked(p, p->queue.sent - 1, PART_OUTCOME);
        return false;
    }
    is_dead = item->cmd.type == COMMAND_MALFORMED && !item->dead_sent;
    action->type = PART_PUBLISH;
    action->message = (struct part_message){
        .kind = is_dead ? PART_DEAD : PART_OUTCOME,
        .seq = p->queue.sent,
        .key = item->key,
        .value = is_dead ? item->value : item->outcome,
        .offset = item->offset,
        .detail = command_detail_name(item->cmd.detail),
    };
    return true;
}

void part_published(struct part *p)
{
    struct item *item = queue_at(&p->queue, p->queue.sent);

    if (item->cmd.type == COMMAND_MALFORMED && !item->dead_sent) {
        item->dead_sent = true;
    } else {
        p->queue.sent++;
    }
    if (MUTANT(ACK_WHEN_SENT)) {
        item->dead_acked = true;
        part_acked(p, p->queue.sent - 1, PART_OUTCOME);
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
    if (MUTANT(ACK_ANY) && item->offset > p->acked) {
        p->acked = item->offset;
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

        item->outcome_acked = MUTANT(RESEND_ONE) && seq + 1 < p->queue.sent;
        item->dead_acked = item->outcome_acked;
        item->dead_sent = false;
    }
    p->queue.sent =
        MUTANT(RESEND_ONE) && p->queue.sent > p->queue.first ? p->queue.sent - 1 : p->queue.first;
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

bool part_next_tick(struct part *p, struct part_time now, struct part_action *action)
{
    if (!is_tick_due(p, now)) {
        return false;
    }
    p->tick_flies = true;
    p->tick_at = now.mono_ms + p->tick_wait_ms;
    p->counts.ticks++;
    action->type = PART_TICK;
    return true;
}

void part_ticked(struct part *p)
{
    p->tick_flies = false;
}
