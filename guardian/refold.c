/*
 * Records come in their own time, the fold stops where it is told: what comes early is kept, and the
 * partition held back while there is much of it.
 */
#include "guardian/refold.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/clock.h"
#include "common/xmalloc.h"

enum {
    KEPT_MAX = 10000,
    TURN_MS = 50,
    LINE_MAX_BYTES = 1 << 20, /* a mark of 4,096 items has 500 kB */
};

/* A record that came before it was wanted. */
struct kept {
    STAILQ_ENTRY(kept) link;
    struct fold_record record;
    char *bytes; /* of key and value; owned */
};
STAILQ_HEAD(kept_queue, kept);

struct refold {
    struct event_base *base;
    struct kafka_consumer *consumer;
    int64_t patience_ms, deadline_ms;
    int partitions;
    int partition; /* the open one; -1: none */
    fold_watch_fn *watch;
    void *watch_arg;
    refold_line_fn *tell;
    void *tell_arg;
    int64_t tell_from;
    struct buf line;
    struct fold *fold;
    struct kept_queue queue;
    size_t n_kept;
    int64_t position, target, received; /* offsets */
    int64_t end;                        /* of the log, as far as it was looked at */
    bool has_failed;
    struct err err;

    struct refold_range *ranges; /* being asked for; borrowed */
    int n_asked;
};

static void drop_kept(struct refold *r)
{
    struct kept *k;

    while ((k = STAILQ_FIRST(&r->queue)) != NULL) {
        STAILQ_REMOVE_HEAD(&r->queue, link);
        free(k->bytes);
        free(k);
    }
    r->n_kept = 0;
}

static void keep(struct refold *r, const struct fold_record *record)
{
    struct kept *k = xcalloc(1, sizeof(*k));

    k->bytes = xmalloc(record->key.len + record->value.len + 1);
    k->record = *record;
    if (record->key.ptr != NULL) {
        memcpy(k->bytes, record->key.ptr, record->key.len);
        k->record.key.ptr = k->bytes;
    }
    if (record->value.ptr != NULL) {
        memcpy(k->bytes + record->key.len, record->value.ptr, record->value.len);
        k->record.value.ptr = k->bytes + record->key.len;
    }
    STAILQ_INSERT_TAIL(&r->queue, k, link);
    r->n_kept++;
    if (r->n_kept >= KEPT_MAX) {
        kafka_consumer_want(r->consumer, r->partition, false);
    }
}

static void apply(struct refold *r, const struct fold_record *record)
{
    const bool is_told = r->tell != NULL && record->offset >= r->tell_from;

    if (r->has_failed) {
        return;
    }
    buf_clear(&r->line);
    if (!fold_apply(r->fold, record, is_told ? &r->line : NULL, &r->err)) {
        r->has_failed = true;
        return;
    }
    r->position = record->offset;
    if (is_told) {
        r->tell(buf_slice(&r->line), r->tell_arg);
    }
}

static bool is_there(const struct refold *r)
{
    return r->has_failed || r->position >= r->target;
}

/* The next record may take its time, too.  A target that the log lacks is not waited for under traffic. */
static void wait_on(struct refold *r)
{
    if (r->target >= r->end) {
        r->end = kafka_consumer_end(r->consumer, r->partition);
    }
    if (r->target < r->end) {
        r->deadline_ms = clock_mono_ms() + r->patience_ms;
    }
}

static void on_record(const struct kafka_record *record, void *arg)
{
    struct refold *r = arg;
    const struct fold_record raw = {
        .offset = record->offset,
        .timestamp = record->timestamp_ms,
        .key = record->key,
        .value = record->value,
    };

    if (record->partition != r->partition || record->offset <= r->received) {
        return;
    }
    if (record->offset != r->received + 1 && !r->has_failed) {
        r->has_failed = true;
        (void)err_set(&r->err, ERR_FATAL,
                      "partition %d: the log lacks the records between %" PRId64 " and %" PRId64,
                      r->partition, r->received, record->offset);
    }
    r->received = record->offset;
    wait_on(r);
    if (!is_there(r) && STAILQ_EMPTY(&r->queue)) {
        apply(r, &raw);
    } else {
        keep(r, &raw);
    }
    if (is_there(r)) {
        (void)event_base_loopbreak(r->base);
    }
}

static void on_stuck(int partition, bool is_out_of_range ATTR_UNUSED, const char *why, void *arg)
{
    struct refold *r = arg;

    if (partition == r->partition) {
        r->has_failed = true;
        (void)err_set(&r->err, ERR_RETRY, "kafka: partition %d: %s", partition, why);
    }
}

static void on_fatal(const char *why, void *arg)
{
    struct refold *r = arg;

    r->has_failed = true;
    (void)err_set(&r->err, ERR_RETRY, "kafka: %s", why);
}

static void on_range(int partition, bool ok, int64_t begin, int64_t end, void *arg)
{
    struct refold *r = arg;

    if (r->ranges == NULL || r->ranges[partition].end != INT64_MIN) {
        return;
    }
    if (!ok) {
        kafka_consumer_query(r->consumer, partition);
        return;
    }
    r->ranges[partition] = (struct refold_range){begin, end - 1};
    r->n_asked--;
}

struct refold *refold_create(const struct kafka_settings *kafka, const char *topic, int partitions,
                             int64_t patience_ms, struct err *err)
{
    struct refold *r = xcalloc(1, sizeof(*r));
    const struct kafka_consumer_settings settings = {
        .kafka = kafka,
        .topic = topic,
        .is_split = true,
        .calls =
            {
                .record = on_record,
                .stuck = on_stuck,
                .fatal = on_fatal,
                .range = on_range,
            },
        .arg = r,
    };

    r->patience_ms = patience_ms;
    r->partitions = partitions;
    r->partition = -1;
    STAILQ_INIT(&r->queue);
    buf_init(&r->line, LINE_MAX_BYTES);
    r->base = event_base_new();
    if (r->base == NULL) {
        (void)err_set(err, ERR_FATAL, "no event loop");
        refold_destroy(r);
        return NULL;
    }
    r->consumer = kafka_consumer_create(r->base, &settings, err);
    if (r->consumer == NULL) {
        refold_destroy(r);
        return NULL;
    }
    return r;
}

void refold_destroy(struct refold *r)
{
    if (r == NULL) {
        return;
    }
    kafka_consumer_destroy(r->consumer);
    drop_kept(r);
    buf_fini(&r->line);
    if (r->fold != NULL) {
        fold_destroy(r->fold);
    }
    if (r->base != NULL) {
        event_base_free(r->base);
    }
    free(r);
}

static void turn(struct refold *r)
{
    const struct timeval moment = {.tv_usec = TURN_MS * 1000L};

    (void)event_base_loopexit(r->base, &moment);
    (void)event_base_dispatch(r->base);
}

bool refold_ranges(struct refold *r, struct refold_range *ranges, struct err *err)
{
    const int64_t deadline_ms = clock_mono_ms() + r->patience_ms;

    r->ranges = ranges;
    r->n_asked = r->partitions;
    r->has_failed = false;
    for (int i = 0; i < r->partitions; i++) {
        ranges[i].end = INT64_MIN;
        kafka_consumer_query(r->consumer, i);
    }
    while (r->n_asked > 0 && !r->has_failed && clock_mono_ms() < deadline_ms) {
        turn(r);
    }
    r->ranges = NULL;
    if (r->has_failed) {
        *err = r->err;
        return false;
    }
    if (r->n_asked > 0) {
        return err_set(err, ERR_RETRY, "kafka: the ends of the log are not told in time");
    }
    return true;
}

void refold_watch(struct refold *r, fold_watch_fn *watch, void *arg)
{
    r->watch = watch;
    r->watch_arg = arg;
}

void refold_tell(struct refold *r, int64_t from, refold_line_fn *tell, void *arg)
{
    r->tell = tell;
    r->tell_arg = arg;
    r->tell_from = from;
}

bool refold_open(struct refold *r, int partition, struct fold *fold, int64_t position,
                 struct err *err)
{
    const struct kafka_start start = {partition, position + 1};

    if (r->fold != NULL) {
        fold_destroy(r->fold);
    }
    drop_kept(r);
    r->partition = partition;
    r->fold = fold != NULL ? fold : fold_create(partition, r->partitions);
    fold_watch(r->fold, r->watch, r->watch_arg);
    r->position = position;
    r->received = position;
    r->target = position;
    r->end = 0;
    r->has_failed = false;
    if (!kafka_consumer_assign(r->consumer, &start, 1, err)) {
        return false;
    }
    kafka_consumer_want(r->consumer, partition, true);
    return true;
}

bool refold_advance(struct refold *r, int64_t offset, struct err *err)
{
    r->target = offset;
    r->deadline_ms = clock_mono_ms() + r->patience_ms;
    while (!is_there(r)) {
        struct kept *k = STAILQ_FIRST(&r->queue);

        if (k != NULL) {
            STAILQ_REMOVE_HEAD(&r->queue, link);
            r->n_kept--;
            apply(r, &k->record);
            free(k->bytes);
            free(k);
            continue;
        }
        kafka_consumer_want(r->consumer, r->partition, true);
        if (clock_mono_ms() >= r->deadline_ms) {
            return err_set(err, ERR_RETRY,
                           "partition %d: the log was read up to %" PRId64 " only, not to %" PRId64,
                           r->partition, r->position, offset);
        }
        turn(r);
    }
    if (r->has_failed) {
        *err = r->err;
        return false;
    }
    return true;
}

int64_t refold_position(const struct refold *r)
{
    return r->position;
}

const struct fold *refold_fold(const struct refold *r)
{
    return r->fold;
}
