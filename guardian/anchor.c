/*
 * What the record at the position has to be is told by its outcome.  When the topic of outcomes no longer
 * has that, the chain is remade from the log's genesis, as long as the log has it.
 */
#include "guardian/anchor.h"

#include <inttypes.h>
#include <string.h>

#include "common/ids.h"
#include "common/outcome.h"

struct search {
    const struct progress *at;
    struct outcome outcome;
    bool has_outcome; /* of the position */
    bool is_whole;    /* the log is read from its genesis */
    uint64_t chain;   /* likewise: after the record read last */

    /* Of the record at the position. */
    uint64_t hash;
    int64_t timestamp_ms;
};

static void take_outcome(const struct kafka_record *record, void *arg)
{
    struct search *s = arg;

    s->has_outcome = outcome_parse(&s->outcome, record->value, NULL) &&
                     strcmp(s->outcome.genesis, s->at->genesis) == 0 &&
                     s->outcome.offset == s->at->position;
}

/* Finding none is no failure. */
static bool read_outcome(const struct settings *settings, int partition, struct search *s,
                         const struct pick_wait *wait, struct err *err)
{
    const struct kafka_settings kafka = settings_kafka(settings);
    struct pick *pick = pick_create(&kafka, settings->kafka.topic_outcomes, partition, wait, err);
    const int64_t there = s->at->outcomes_offset;
    const struct pick_span span = {there, there, take_outcome, s};
    int64_t begin, end;
    bool ok = pick != NULL && pick_range(pick, &begin, &end, err);

    if (ok && there >= begin && there < end) {
        ok = pick_read(pick, &span, err);
    }
    pick_destroy(pick);
    if (ok && s->has_outcome &&
        (s->outcome.chain != s->at->chain || s->outcome.rules != s->at->rules ||
         s->outcome.log_time != s->at->log_time)) {
        return err_set(err, ERR_FATAL,
                       "the outcome of %" PRId64 " is not the one that MySQL was made from",
                       s->at->position);
    }
    return ok;
}

static void take_record(const struct kafka_record *record, void *arg)
{
    struct search *s = arg;

    s->hash = ids_record_hash(record->offset, record->timestamp_ms, record->key, record->value);
    s->timestamp_ms = record->timestamp_ms;
    s->chain = ids_chain_next(s->chain, s->hash);
}

static bool is_ours(const struct search *s)
{
    if (s->has_outcome) {
        return s->hash == s->outcome.hash;
    }
    return s->is_whole ? s->chain == s->at->chain : s->timestamp_ms <= s->at->log_time;
}

static bool read_log(struct pick *pick, struct search *s, struct anchor *anchor, struct err *err)
{
    struct pick_span span = {s->at->position, s->at->position, take_record, s};

    s->is_whole = !s->has_outcome && anchor->begin == 0;
    if (s->is_whole) {
        s->chain = ids_chain_start(slice_str(s->at->genesis));
        span.from = 0;
    }
    if (!pick_read(pick, &span, err)) {
        return false;
    }
    anchor->hash = s->hash;
    anchor->has_outcome = s->has_outcome;
    anchor->is_proven = s->has_outcome || s->is_whole;
    return is_ours(s) ||
           err_set(err, ERR_FATAL,
                   "the record at %" PRId64 " is not the one that MySQL was made from",
                   s->at->position);
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
                 const struct pick_wait *wait, struct anchor *anchor, struct err *err)
{
    const struct kafka_settings kafka = settings_kafka(settings);
    struct search s = {.at = at};
    struct pick *pick = pick_create(&kafka, settings->kafka.topic_orders, partition, wait, err);
    bool ok;

    *anchor = (struct anchor){0};
    ok = pick != NULL && pick_range(pick, &anchor->begin, &anchor->end, err) &&
         fits(anchor, at, err);
    if (ok && at->position >= 0) {
        ok = read_outcome(settings, partition, &s, wait, err) && read_log(pick, &s, anchor, err);
    }
    outcome_fini(&s.outcome);
    pick_destroy(pick);
    return ok;
}
