/*
 * What the door knows of a partition comes from look-ups (watermark, genesis) and from the outcome
 * stream (highest).  A look-up that tells less than what the stream had already told when it was
 * asked means that Redis went back: until it has caught up, "not found" proves nothing, and
 * orders are refused as recovering rather than told the wrong thing.
 *
 * What was told before this door read outcomes it cannot know: while Redis is filled again the newest
 * outcome is an old one.  So all that the log had when the door began counts as told (log_end).  As
 * long as traffic flows Redis is past that at once.
 *
 * The length of the line is the newest offset placed minus the newest known to be decided; offsets
 * are the partition's, so this counts the orders of other doors too.
 *
 * Each partition has a limiter for either of its lines: what is slow in one is no reason to refuse
 * the orders of another.  How long a decision takes is seen of one record at a time, a sample.
 */
#include "producer/door.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/ids.h"
#include "common/mutant.h"
#include "common/random.h"
#include "common/xmalloc.h"

struct partition {
    bool is_streaming;
    bool has_looked;
    bool has_state;
    bool is_other_log;
    bool has_gone_back; /* as of the last look-up */
    bool has_log_end;
    char genesis[IDS_LOG_LEN + 1]; /* as first told; empty: not told yet */
    int64_t looked_ms;
    int64_t watermark;
    int64_t highest;
    int64_t log_end;
    int64_t log_time; /* the newest that was told */
    int64_t placed;
    int64_t sample;    /* an offset whose outcome has not come; -1: none */
    int64_t sample_ms; /* when it was placed */
    int64_t acked;     /* commands of ours that Kafka has stored */
    struct limiter limiters[LIMITER_SIDES];
};

struct door {
    struct door_settings settings;
    const struct inflight *inflight; /* borrowed */
    struct gates *gates;
    struct bucket *buckets;
    int64_t window_ms; /* when that of the limiters began */
    bool is_draining;
    bool is_kafka_up;
    struct random random; /* jitter needs no better */
    struct partition *partitions;
};

struct door *door_create(const struct door_settings *settings, const struct inflight *inflight)
{
    struct door *d = xcalloc(1, sizeof(*d));

    d->settings = *settings;
    d->inflight = inflight;
    d->random = (struct random){settings->seed};
    d->buckets = bucket_create(&settings->rates);
    d->gates = gates_create(settings->items_max, settings->fresh_ms);
    d->partitions = xcalloc((size_t)settings->partitions, sizeof(*d->partitions));
    for (int i = 0; i < settings->partitions; i++) {
        struct partition *p = &d->partitions[i];

        p->watermark = p->highest = p->placed = p->sample = -1;
        for (int side = 0; side < LIMITER_SIDES; side++) {
            limiter_init(&p->limiters[side], settings->limiter, (enum limiter_side)side);
        }
    }
    return d;
}

void door_destroy(struct door *d)
{
    if (d == NULL) {
        return;
    }
    bucket_destroy(d->buckets);
    gates_destroy(d->gates);
    free(d->partitions);
    free(d);
}

static struct partition *partition_of(const struct door *d, int partition)
{
    assert(partition >= 0 && partition < d->settings.partitions);
    return &d->partitions[partition];
}

/* At least base seconds, and up to half as many more (at least one), so that they do not all return at once. */
static int64_t jittered(struct door *d, int64_t base_s)
{
    return base_s + (int64_t)(random_u64(&d->random) % (uint64_t)(base_s / 2 + 2));
}

void door_refuse(struct door *d, enum refusal refusal, struct door_verdict *verdict)
{
    const int status = refusal_text(refusal)->status;

    *verdict = (struct door_verdict){.move = DOOR_REFUSE, .refusal = refusal};
    switch (refusal) {
    case REFUSAL_LAGGING:
    case REFUSAL_NOT_READY:
    case REFUSAL_NOT_PLACED:
        verdict->retry_after_s = jittered(d, 2);
        break;
    default:
        verdict->retry_after_s =
            status == 429 || status == 503 || status == 504 ? jittered(d, 1) : 0;
    }
}

bool door_admit(struct door *d, const struct bucket_visit *visit, int64_t now_ms,
                struct door_verdict *verdict)
{
    static const enum refusal refusals[BUCKET_KINDS] = {
        [BUCKET_IP] = REFUSAL_RATE_IP,
        [BUCKET_USER] = REFUSAL_RATE_USER,
        [BUCKET_ITEM] = REFUSAL_RATE_ITEM,
        [BUCKET_GLOBAL] = REFUSAL_RATE_GLOBAL,
    };
    struct bucket_refusal refusal;

    if (bucket_take(d->buckets, visit, now_ms, &refusal)) {
        return true;
    }
    door_refuse(d, refusals[refusal.kind], verdict);
    verdict->retry_after_s = jittered(d, (refusal.wait_ms + 999) / 1000);
    return false;
}

/* Redis, as of the last look-up, lacks what may have been told. */
static bool is_recovering(const struct partition *p)
{
    return p->has_gone_back || p->watermark < p->log_end - 1;
}

enum door_state door_state(const struct door *d, int partition, int64_t now_ms)
{
    const struct partition *p = partition_of(d, partition);

    if (!d->is_kafka_up) {
        return DOOR_NO_KAFKA;
    }
    if (!p->has_looked || now_ms - p->looked_ms > d->settings.silence_ms) {
        return DOOR_NO_REDIS;
    }
    if (!p->has_state) {
        return DOOR_NO_GENESIS;
    }
    if (p->is_other_log) {
        return DOOR_OTHER_LOG;
    }
    if (!p->is_streaming) {
        return DOOR_NO_STREAM;
    }
    return is_recovering(p) ? DOOR_RECOVERING : DOOR_READY;
}

const char *door_state_name(enum door_state state)
{
    static const char *const names[] = {
        [DOOR_READY] = "ready",
        [DOOR_NO_KAFKA] = "kafka is away",
        [DOOR_NO_STREAM] = "the outcome stream is not at its end",
        [DOOR_NO_REDIS] = "redis does not answer",
        [DOOR_NO_GENESIS] = "redis has no state",
        [DOOR_OTHER_LOG] = "redis and outcomes are of different logs",
        [DOOR_RECOVERING] = "redis is catching up",
    };

    return names[state];
}

/* Refuses while the partition cannot take anything; recovering is the caller's to judge. */
static bool refuse_unready(struct door *d, int partition, int64_t now_ms,
                           struct door_verdict *verdict)
{
    const enum door_state state = door_state(d, partition, now_ms);

    if (d->is_draining) {
        door_refuse(d, REFUSAL_DRAINING, verdict);
        return true;
    }
    if (state != DOOR_READY && state != DOOR_RECOVERING) {
        door_refuse(d, REFUSAL_NOT_READY, verdict);
        return true;
    }
    return false;
}

/* Up to which offset everything is known to be decided. */
static int64_t decided_to(const struct partition *p)
{
    return p->highest > p->watermark ? p->highest : p->watermark;
}

/*
 * The same order in flight or placed: the second request goes with the first.  One that should be
 * decided, but whose decision we missed, is looked up like any other; and so is, unless that was done
 * (is_looked), one whose decision came before Kafka's report.
 */
static bool goes_with_first(struct door *d, const struct door_order *order, bool is_looked,
                            struct door_verdict *verdict)
{
    struct inflight_order found;

    if (order->order_id.ptr == NULL || !inflight_find(d->inflight, order->order_id, &found)) {
        return false;
    }
    if (found.qty != order->qty && !MUTANT(CONTENT_UNCOMPARED)) {
        door_refuse(d, REFUSAL_KEY_REUSED, verdict);
        return true;
    }
    if ((found.is_decided && !is_looked) ||
        (found.offset >= 0 && found.offset <= decided_to(partition_of(d, order->partition)))) {
        return false;
    }
    *verdict = (struct door_verdict){
        .move = found.ticket == INFLIGHT_NONE ? DOOR_PLACED : DOOR_JOIN,
        .found = found,
    };
    return true;
}

static enum refusal refusal_of(enum reason reason)
{
    switch (reason) {
    case REASON_SOLD_OUT:
        return REFUSAL_SOLD_OUT;
    case REASON_LIMIT_REACHED:
        return REFUSAL_LIMIT_REACHED;
    case REASON_NOT_OPEN:
        return REFUSAL_NOT_OPEN;
    case REASON_CLOSED:
        return REFUSAL_CLOSED;
    case REASON_PAUSED:
        return REFUSAL_PAUSED;
    default:
        return REFUSAL_UNKNOWN_ITEM;
    }
}

/* What stands between any order and the log. */
static void pass_line(struct door *d, const struct door_order *order, const struct door_now *now,
                      struct door_verdict *verdict)
{
    struct partition *p = partition_of(d, order->partition);

    if (is_recovering(p)) {
        door_refuse(d, REFUSAL_RECOVERING, verdict);
    } else if (door_lag(d, order->partition) > d->settings.lag_max) {
        door_refuse(d, REFUSAL_LAGGING, verdict);
    } else if (!limiter_admit(&p->limiters[LIMITER_DECISION], now->mono_ms) ||
               !limiter_admit(&p->limiters[LIMITER_KAFKA], now->mono_ms)) {
        door_refuse(d, REFUSAL_SLOW, verdict);
    } else {
        *verdict = (struct door_verdict){.move = DOOR_SEND};
    }
}

/* What stands between an order and the log once it is known to be new. */
static void pass_gates(struct door *d, const struct door_order *order, const struct door_now *now,
                       struct door_verdict *verdict)
{
    const struct gates_question question = {
        .item_id = order->item_id,
        .qty = order->qty,
        .now_ms = now->mono_ms,
        .log_clock_ms = now->log_clock_ms,
        .log_time_ms = partition_of(d, order->partition)->log_time,
    };
    enum reason reason;

    switch (gates_check(d->gates, &question, &reason)) {
    case GATES_ASK:
        *verdict = (struct door_verdict){.move = DOOR_LOOK};
        return;
    case GATES_REFUSE:
        door_refuse(d, refusal_of(reason), verdict);
        return;
    case GATES_PASS:
        pass_line(d, order, now, verdict);
        return;
    }
}

void door_order(struct door *d, const struct door_order *order, const struct door_now *now,
                struct door_verdict *verdict)
{
    if (goes_with_first(d, order, MUTANT(GATE_BEFORE_LOOKUP), verdict) ||
        refuse_unready(d, order->partition, now->mono_ms, verdict)) {
        return;
    }
    if (order->order_id.ptr != NULL && !MUTANT(GATE_BEFORE_LOOKUP)) {
        *verdict = (struct door_verdict){.move = DOOR_LOOK};
        return;
    }
    pass_gates(d, order, now, verdict);
    if (verdict->move == DOOR_LOOK && is_recovering(partition_of(d, order->partition))) {
        door_refuse(d, REFUSAL_RECOVERING, verdict); /* what it would tell is not to be believed */
    }
}

bool door_find_entry(struct slice orders, struct slice order_id, struct order_entry *entry)
{
    while (order_entry_next(&orders, entry) == 1) {
        if (slice_eq(entry->order_id, order_id)) {
            return true;
        }
    }
    return false;
}

bool door_has_gone_back(const struct door_look *look)
{
    return look->watermark < look->horizon;
}

bool door_is_outdated(const struct door_look *look, const struct order_entry *entry)
{
    return door_has_gone_back(look) && !order_state_is_final(entry->state) &&
           !MUTANT(OUTDATED_TOLD);
}

/* The stream has told more than the look-up knew: Redis went back, or the answer was overtaken. */
static bool is_behind(const struct door *d, const struct door_look *look)
{
    return look->watermark < partition_of(d, look->partition)->highest;
}

void door_order_looked(struct door *d, const struct door_order *order, const struct door_look *look,
                       const struct door_now *now, struct door_verdict *verdict)
{
    struct order_entry entry;

    if (look->result == DOOR_LOOK_FULL) {
        door_refuse(d, REFUSAL_QUEUE_FULL, verdict);
        return;
    }
    if (look->result != DOOR_LOOK_GOT) {
        if (MUTANT(UNANSWERED_TO_GATE)) {
            pass_gates(d, order, now, verdict);
            if (verdict->move == DOOR_REFUSE) {
                return;
            }
        }
        door_refuse(d, REFUSAL_NOT_READY, verdict);
        return;
    }
    if (order->order_id.ptr != NULL && look->orders.ptr != NULL &&
        door_find_entry(look->orders, order->order_id, &entry)) {
        if (entry.qty != order->qty && !MUTANT(CONTENT_UNCOMPARED)) {
            door_refuse(d, REFUSAL_KEY_REUSED, verdict);
        } else if (door_is_outdated(look, &entry)) {
            door_refuse(d, REFUSAL_RECOVERING, verdict);
        } else {
            *verdict = (struct door_verdict){.move = DOOR_KNOWN, .known = entry};
        }
        return;
    }
    if (goes_with_first(d, order, true, verdict)) {
        return;
    }
    if (order->order_id.ptr != NULL && is_recovering(partition_of(d, order->partition)) &&
        !MUTANT(BEHIND_TO_GATE)) {
        door_refuse(d, REFUSAL_RECOVERING, verdict); /* not found, but perhaps it was lost */
        return;
    }
    if (refuse_unready(d, order->partition, now->mono_ms, verdict)) {
        return;
    }
    if (order->order_id.ptr != NULL && is_behind(d, look) && !MUTANT(BEHIND_TO_GATE)) {
        /* A gate shut since the look-up may have been shut by this very order: the log knows. */
        pass_line(d, order, now, verdict);
        return;
    }
    pass_gates(d, order, now, verdict);
    if (verdict->move == DOOR_LOOK) {
        /* Redis is behind what the stream told of this item. */
        door_refuse(d, REFUSAL_RECOVERING, verdict);
    }
}

void door_command(struct door *d, int partition, int64_t now_ms, struct door_verdict *verdict)
{
    if (!refuse_unready(d, partition, now_ms, verdict)) {
        *verdict = (struct door_verdict){.move = DOOR_SEND};
    }
}

/* Another log under the same name is for an operator: the partition stays shut until a restart. */
static bool is_same_log(struct partition *p, struct slice genesis)
{
    if (p->genesis[0] == '\0' && !slice_copy(genesis, p->genesis, sizeof(p->genesis))) {
        p->is_other_log = true;
    }
    p->is_other_log = p->is_other_log || !slice_eq(genesis, slice_str(p->genesis));
    return !p->is_other_log;
}

void door_on_look(struct door *d, const struct door_look *look, struct slice item_id,
                  int64_t now_ms)
{
    struct partition *p = partition_of(d, look->partition);
    struct item_entry item;

    if (look->result != DOOR_LOOK_GOT && look->result != DOOR_LOOK_ABSENT) {
        return;
    }
    p->has_looked = true;
    p->looked_ms = now_ms;
    p->has_state = look->result == DOOR_LOOK_GOT;
    if (!p->has_state) {
        return;
    }
    p->watermark = look->watermark;
    p->log_time = look->log_time > p->log_time ? look->log_time : p->log_time;
    p->has_gone_back = door_has_gone_back(look);
    if (!is_same_log(p, look->genesis) || item_id.ptr == NULL || is_recovering(p)) {
        return; /* a gate must not shut for what an item was once */
    }
    if (look->item.ptr == NULL) {
        gates_learn(d->gates, item_id, NULL, look->watermark, now_ms);
    } else if (item_entry_parse(look->item, &item)) {
        gates_learn(d->gates, item_id, &item, look->watermark, now_ms);
    }
}

bool door_on_outcome(struct door *d, const struct outcome *outcome, int64_t now_ms)
{
    struct partition *p = partition_of(d, outcome->partition);

    if (!is_same_log(p, slice_str(outcome->genesis))) {
        return false;
    }
    if (outcome->offset > p->highest) {
        p->highest = outcome->offset;
    }
    if (outcome->log_time > p->log_time) {
        p->log_time = outcome->log_time;
    }
    if (p->sample >= 0 && outcome->offset >= p->sample) {
        limiter_observe(&p->limiters[LIMITER_DECISION], p->sample_ms, now_ms);
        p->sample = -1;
    }
    gates_record(d->gates, outcome->offset);
    for (size_t i = 0; i < outcome->n_events; i++) {
        gates_event(d->gates, &outcome->events[i], now_ms);
    }
    return true;
}

void door_on_placed(struct door *d, const struct door_placed *placed, int64_t now_ms)
{
    struct partition *p = partition_of(d, placed->partition);

    if (placed->offset > p->placed) {
        p->placed = placed->offset;
    }
    if (p->sample < 0 && placed->offset > p->highest) {
        p->sample = placed->offset;
        p->sample_ms = now_ms;
    }
    p->acked++;
    if (placed->since_ms >= 0) {
        limiter_observe(&p->limiters[LIMITER_KAFKA], placed->since_ms, now_ms);
    }
}

void door_observe(struct door *d, int partition, enum limiter_side side, int64_t took_ms,
                  int64_t count, int64_t now_ms)
{
    limiter_told(&partition_of(d, partition)->limiters[side], now_ms - took_ms, count, now_ms);
}

void door_on_tick(struct door *d, int64_t now_ms)
{
    if (now_ms - d->window_ms < LIMITER_WINDOW_MS) {
        return;
    }
    d->window_ms = now_ms;
    for (int i = 0; i < d->settings.partitions; i++) {
        struct partition *p = &d->partitions[i];
        int64_t lag = door_lag(d, i);

        if (door_state(d, i, now_ms) != DOOR_READY) {
            lag = 0; /* nobody is let in for other reasons; what was lost on the way is no line */
            p->sample = -1;
        }
        limiter_judge(&p->limiters[LIMITER_KAFKA], (int64_t)inflight_flying(d->inflight, i),
                      p->acked, now_ms);
        limiter_judge(&p->limiters[LIMITER_DECISION], lag, decided_to(p), now_ms);
    }
}

void door_on_log_end(struct door *d, int partition, int64_t end)
{
    struct partition *p = partition_of(d, partition);

    p->has_log_end = true;
    if (end > p->log_end && !MUTANT(START_UNTOLD)) {
        p->log_end = end;
    }
}

void door_on_stream(struct door *d, int partition, bool is_ready)
{
    partition_of(d, partition)->is_streaming = is_ready;
}

void door_on_kafka(struct door *d, bool is_up)
{
    d->is_kafka_up = is_up;
}

void door_on_drain(struct door *d)
{
    d->is_draining = true;
}

bool door_is_draining(const struct door *d)
{
    return d->is_draining;
}

int door_partitions(const struct door *d)
{
    return d->settings.partitions;
}

int64_t door_highest(const struct door *d, int partition)
{
    return partition_of(d, partition)->highest;
}

int64_t door_horizon(const struct door *d, int partition)
{
    const struct partition *p = partition_of(d, partition);

    return p->highest > p->log_end - 1 ? p->highest : p->log_end - 1;
}

bool door_has_horizon(const struct door *d, int partition)
{
    return partition_of(d, partition)->has_log_end;
}

int64_t door_lag(const struct door *d, int partition)
{
    const struct partition *p = partition_of(d, partition);
    const int64_t decided = decided_to(p);

    return p->placed > decided ? p->placed - decided : 0;
}

const struct limiter *door_limiter(const struct door *d, int partition, enum limiter_side side)
{
    return &partition_of(d, partition)->limiters[side];
}

struct gates *door_gates(struct door *d)
{
    return d->gates;
}
