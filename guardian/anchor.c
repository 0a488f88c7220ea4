/*
 * The outcome before MySQL's position mostly stands right before that of the position itself.  After
 * a time of repeated outcomes it stands further ahead; LOOK_BACK of them are read.
 */
#include "guardian/anchor.h"

#include <inttypes.h>
#include <string.h>

#include "common/ids.h"
#include "common/outcome.h"
#include "guardian/pick.h"

enum {
    LOOK_BACK = 4096,
};

struct search {
    const struct progress *at;
    struct outcome outcome;
    int64_t prev; /* of the position; INT64_MIN: its outcome was not seen */
    bool is_foreign;
    bool has_chain;
    uint64_t chain; /* before the position */

    /* Of the orders topic. */
    bool is_whole; /* chain goes on from the genesis */
    uint64_t hash;
    int64_t timestamp_ms;
};

/* ---- the outcomes ---- */

static bool is_ours(struct search *s, const struct kafka_record *record)
{
    return outcome_parse(&s->outcome, record->value, NULL) &&
           strcmp(s->outcome.genesis, s->at->genesis) == 0;
}

static void find_position(const struct kafka_record *record, void *arg)
{
    struct search *s = arg;

    if (is_ours(s, record) && s->outcome.offset == s->at->position) {
        s->prev = s->outcome.prev;
        s->is_foreign = s->outcome.chain != s->at->chain;
    }
}

static void find_before(const struct kafka_record *record, void *arg)
{
    struct search *s = arg;

    if (is_ours(s, record) && s->outcome.offset == s->prev) {
        s->has_chain = true;
        s->chain = s->outcome.chain;
    }
}

/* Looks for the chain before the position; finding none is no failure. */
static bool search_outcomes(const struct settings *settings, int partition, struct search *s,
                            int64_t deadline_ms, struct err *err)
{
    const struct kafka_settings kafka = settings_kafka(settings);
    struct pick *pick = pick_create(&kafka, settings->kafka.topic_outcomes, partition, err);
    const int64_t there = s->at->outcomes_offset;
    struct pick_span span = {there, there, find_position, s};
    int64_t begin, end;
    bool ok = pick != NULL && pick_range(pick, &begin, &end, deadline_ms, err);

    if (ok && there >= begin && there < end) {
        ok = pick_read(pick, &span, deadline_ms, err);
        span.from = there - LOOK_BACK > begin ? there - LOOK_BACK : begin;
        span.to = there - 1;
        span.each = find_before;
        if (ok && s->prev == -1) {
            s->has_chain = true;
            s->chain = ids_chain_start(slice_str(s->at->genesis));
        } else if (ok && s->prev >= 0 && span.from <= span.to) {
            ok = pick_read(pick, &span, deadline_ms, err);
        }
    }
    pick_destroy(pick);
    return ok;
}

/* ---- the log ---- */

static void take_record(const struct kafka_record *record, void *arg)
{
    struct search *s = arg;

    s->hash = ids_record_hash(record->offset, record->timestamp_ms, record->key, record->value);
    s->timestamp_ms = record->timestamp_ms;
    if (s->is_whole && record->offset < s->at->position) {
        s->chain = ids_chain_next(s->chain, s->hash);
    }
}

static bool compare(const struct search *s, struct anchor *anchor, struct err *err)
{
    anchor->hash = s->hash;
    anchor->is_proven = s->has_chain || s->is_whole;
    if (s->timestamp_ms > s->at->log_time ||
        (anchor->is_proven && ids_chain_next(s->chain, s->hash) != s->at->chain)) {
        return err_set(err, ERR_FATAL,
                       "the record at %" PRId64 " is not the one that MySQL was made from",
                       s->at->position);
    }
    return true;
}

static bool search_log(struct pick *pick, struct search *s, struct anchor *anchor,
                       int64_t deadline_ms, struct err *err)
{
    struct pick_span span = {s->at->position, s->at->position, take_record, s};

    if (!s->has_chain && anchor->begin == 0) {
        s->is_whole = true;
        s->chain = ids_chain_start(slice_str(s->at->genesis));
        span.from = 0;
    }
    return pick_read(pick, &span, deadline_ms, err) && compare(s, anchor, err);
}

static bool fits(const struct anchor *anchor, const struct progress *at, struct err *err)
{
    if (at->position < 0) {
        return anchor->begin == 0 ||
               err_set(err, ERR_FATAL,
                       "MySQL has nothing of this partition, and the log starts at %" PRId64,
                       anchor->begin);
    }
    if (at->position >= anchor->end) {
        return err_set(err, ERR_FATAL,
                       "MySQL is ahead: it stands at %" PRId64 ", the log ends at %" PRId64,
                       at->position, anchor->end);
    }
    if (at->position < anchor->begin) {
        return err_set(err, ERR_FATAL,
                       "MySQL stands at %" PRId64 ", the log starts at %" PRId64
                       ": what is between them is nowhere",
                       at->position, anchor->begin);
    }
    return true;
}

bool anchor_find(const struct settings *settings, int partition, const struct progress *at,
                 int64_t deadline_ms, struct anchor *anchor, struct err *err)
{
    const struct kafka_settings kafka = settings_kafka(settings);
    struct search s = {.at = at, .prev = INT64_MIN};
    struct pick *pick = pick_create(&kafka, settings->kafka.topic_orders, partition, err);
    bool ok;

    *anchor = (struct anchor){0};
    ok = pick != NULL && pick_range(pick, &anchor->begin, &anchor->end, deadline_ms, err) &&
         fits(anchor, at, err);
    if (ok && at->position >= 0) {
        ok = search_outcomes(settings, partition, &s, deadline_ms, err);
        if (ok && s.is_foreign) {
            ok = err_set(err, ERR_FATAL,
                         "the outcome of %" PRId64 " is not the one that MySQL was made from",
                         at->position);
        }
        ok = ok && search_log(pick, &s, anchor, deadline_ms, err);
    }
    outcome_fini(&s.outcome);
    pick_destroy(pick);
    return ok;
}
