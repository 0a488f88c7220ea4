#include "guardian/verify_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

enum {
    FIELDS_PER_CHUNK = 500,
};

bool verify_follow(struct verify *v, const struct peek_answer *answer, bool *is_old,
                   struct err *err)
{
    *is_old = false;
    if (!answer->has_state) {
        return err_set(err, ERR_RETRY, "partition %d: redis has no state", v->partition);
    }
    if (answer->watermark < refold_position(v->refold)) {
        if (clock_mono_ms() >= v->deadline_ms) {
            return err_set(err, ERR_RETRY,
                           "partition %d: redis went back to %" PRId64 ", behind %" PRId64,
                           v->partition, answer->watermark, refold_position(v->refold));
        }
        verify_pause();
        *is_old = true;
        return true;
    }
    if (!refold_advance(v->refold, answer->watermark, err)) {
        return false;
    }
    v->deadline_ms = clock_mono_ms() + v->settings->timeout_ms;
    return true;
}

bool verify_read_list(struct verify *v, const char *name, int64_t first, int64_t last,
                      struct peek_answer *answer, struct err *err)
{
    const struct peek_hash list = {v->partition, name};
    bool is_old = false;
    bool ok;

    do {
        ok = peek_list(v->redis, list, first, last, answer, err) &&
             verify_follow(v, answer, &is_old, err);
    } while (ok && is_old);
    return ok;
}

static bool forwards(struct verify *v, struct err *err)
{
    const struct peek_hash hash = {v->partition, record_redis_name(v->table)};
    struct peek_answer answer = {0};
    char cursor[sizeof(answer.cursor)] = "0";
    bool is_old;
    bool ok;

    do {
        ok = peek_chunk(v->redis, hash, cursor, FIELDS_PER_CHUNK, &answer, err) &&
             verify_follow(v, &answer, &is_old, err);
        if (!ok || is_old) {
            continue;
        }
        memcpy(cursor, answer.cursor, sizeof(cursor));
        for (size_t i = 0; i + 1 < answer.n; i += 2) {
            (void)verify_field(v, "redis", answer.values[i], answer.values[i + 1]);
            v->compared[0]++;
        }
    } while (ok && (is_old || strcmp(cursor, "0") != 0));
    peek_answer_fini(&answer);
    return ok;
}

/* What the log has and Redis lacks. */
static bool backwards(struct verify *v, struct err *err)
{
    const struct peek_hash hash = {v->partition, record_redis_name(v->table)};
    struct peek_answer answer = {0};
    struct slice fields[FIELDS_PER_CHUNK];
    struct names names = {0};
    size_t from = 0;
    bool ok = true;

    fold_each(verify_fold(v), verify_fold_table(v->table), verify_collect, &names);
    while (ok && from < names.n) {
        size_t n = names.n - from < FIELDS_PER_CHUNK ? names.n - from : FIELDS_PER_CHUNK;
        bool is_old = false;

        for (size_t i = 0; i < n; i++) {
            fields[i] = command_text(&names.at[from + i]);
        }
        ok = peek_lookup(v->redis, hash, fields, n, &answer, err) &&
             verify_follow(v, &answer, &is_old, err);
        for (size_t i = 0; ok && !is_old && i < n; i++) {
            const int64_t offset = verify_changed(v, fields[i]);

            /* An archive may have taken a user away meanwhile. */
            if (answer.values[i].ptr == NULL && offset >= 0) {
                verify_differ_field(v, offset, "redis", fields[i], "redis lacks it");
            }
        }
        from += is_old ? 0 : n;
    }
    peek_answer_fini(&answer);
    free(names.at);
    return ok;
}

/* A field of the hash `log`, as the fold has it.  False for those that are not compared. */
static bool log_value(struct verify *v, struct slice name, struct buf *out)
{
    char hash[IDS_HASH_LEN + 1];
    struct fold_log log;

    fold_log(verify_fold(v), &log);
    buf_clear(out);
    if (slice_eq(name, SLICE_LIT("genesis"))) {
        buf_puts(out, log.genesis);
    } else if (slice_eq(name, SLICE_LIT("chain"))) {
        ids_hash_format(hash, log.chain);
        buf_puts(out, hash);
    } else if (slice_eq(name, SLICE_LIT("last_hash"))) {
        ids_hash_format(hash, log.last_hash);
        buf_puts(out, hash);
    } else if (slice_eq(name, SLICE_LIT("partitions"))) {
        buf_put_i64(out, log.partitions);
    } else if (slice_eq(name, SLICE_LIT("rules"))) {
        buf_put_i64(out, log.rules);
    } else if (slice_eq(name, SLICE_LIT("watermark"))) {
        buf_put_i64(out, log.watermark);
    } else if (slice_eq(name, SLICE_LIT("log_time"))) {
        buf_put_i64(out, log.log_time);
    } else if (slice_eq(name, SLICE_LIT("items"))) {
        buf_put_i64(out, (int64_t)log.items);
    } else if (slice_eq(name, SLICE_LIT("orders"))) {
        buf_put_i64(out, (int64_t)log.orders);
    } else if (slice_eq(name, SLICE_LIT("payments"))) {
        buf_put_i64(out, (int64_t)log.payments);
    } else if (slice_eq(name, SLICE_LIT("holds"))) {
        fold_holds(verify_fold(v), out);
    } else {
        return false;
    }
    return true;
}

/* The last record that changed such a field. */
static int64_t log_changed(const struct verify *v, const char *name)
{
    struct fold_log log;

    fold_log(verify_fold(v), &log);
    const struct {
        const char *name;
        int64_t offset;
    } fields[] = {
        {"genesis", log.changed.genesis},   {"partitions", log.changed.genesis},
        {"rules", log.changed.rules},       {"log_time", log.changed.log_time},
        {"items", log.changed.items},       {"orders", log.changed.orders},
        {"payments", log.changed.payments}, {"holds", log.changed.holds},
    };

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (strcmp(fields[i].name, name) == 0) {
            return fields[i].offset;
        }
    }
    return log.watermark; /* each record changes the others */
}

static bool verify_log_hash(struct verify *v, struct err *err)
{
    static const char *const names[] = {"genesis", "chain",     "last_hash", "partitions",
                                        "rules",   "watermark", "log_time",  "items",
                                        "orders",  "payments",  "holds"};
    enum { NAMES = sizeof(names) / sizeof(names[0]) };
    const struct peek_hash hash = {v->partition, "log"};
    struct peek_answer answer = {0};
    struct slice fields[NAMES];
    bool is_old = false;
    bool ok;

    for (size_t i = 0; i < NAMES; i++) {
        fields[i] = slice_str(names[i]);
    }
    do {
        ok = peek_lookup(v->redis, hash, fields, NAMES, &answer, err) &&
             verify_follow(v, &answer, &is_old, err);
    } while (ok && is_old);
    for (size_t i = 0; ok && i < NAMES; i++) {
        if (log_value(v, fields[i], &v->value) &&
            !slice_eq(buf_slice(&v->value), answer.values[i])) {
            verify_differ(v, log_changed(v, names[i]), "redis: log %s: log \"%s\", redis \"%.*s\"",
                          names[i], v->value.len == 0 ? "" : v->value.ptr,
                          (int)answer.values[i].len,
                          answer.values[i].len == 0 ? "" : answer.values[i].ptr);
        }
    }
    peek_answer_fini(&answer);
    return ok;
}

/* The items as they were read when all had come to rest. */
static void verify_rested_items(struct verify *v)
{
    const struct redis_items *items = &v->redis_items[v->partition];

    v->table = RECORD_ITEMS;
    for (size_t i = 0; i < items->n; i++) {
        struct slice name = command_text(&items->at[i].item_id);

        (void)verify_field(v, "redis", name, slice_str(items->at[i].value));
        if (!proof_add(&v->proof, PROOF_REDIS, name, slice_str(items->at[i].value))) {
            verify_differ_field(v, verify_changed(v, name), "redis", name,
                                "not an item: \"%.200s\"", items->at[i].value);
        }
    }
    v->proof.positions[PROOF_REDIS][v->partition] = items->watermark;
}

bool verify_redis(struct verify *v, struct err *err)
{
    const struct redis_items *items = &v->redis_items[v->partition];
    bool ok;

    if (!items->has_state || items->watermark < refold_position(v->refold)) {
        return err_set(err, ERR_RETRY, "partition %d: redis %s", v->partition,
                       items->has_state ? "is behind mysql" : "has no state");
    }
    ok = refold_advance(v->refold, items->watermark, err);
    v->deadline_ms = clock_mono_ms() + v->settings->timeout_ms;
    if (ok) {
        verify_rested_items(v);
    }
    for (size_t i = 0; ok && i < VERIFY_TABLES; i++) {
        v->table = verify_tables[i];
        ok = (v->table == RECORD_ITEMS || forwards(v, err)) && backwards(v, err);
    }
    return ok && verify_log_hash(v, err) && verify_due(v, err) && verify_outbox(v, err) &&
           verify_keys(v, err);
}
