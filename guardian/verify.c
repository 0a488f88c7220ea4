#include "guardian/verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/xmalloc.h"
#include "guardian/commit.h"
#include "guardian/mark.h"
#include "guardian/peek.h"
#include "guardian/proof.h"
#include "guardian/record.h"
#include "guardian/refold.h"
#include "guardian/report.h"

enum {
    FIELDS_PER_CHUNK = 500,
    PAUSE_MS = 50,
    SETTLE_MS = 5000, /* how long all three may take to stand at the same position */
    OUT_BYTES = 64 << 20,
    VALUE_BYTES = 1 << 20,
    DETAIL_BYTES = 65536,
};

/* An item as Redis has it. */
struct redis_item {
    struct command_text item_id;
    char value[256];
};

/* The items of a partition, all read at one watermark. */
struct redis_items {
    bool has_state;
    int64_t watermark;
    struct redis_item *at; /* owned */
    size_t n, room;
};

/* Names of fields, copied. */
struct names {
    struct command_text *at;
    size_t n, room;
};

struct verify {
    const struct settings *settings;
    struct report report;
    struct proof proof;
    struct db_settings mysql;
    struct db *db; /* its one transaction is the snapshot */
    struct peek *redis;
    struct kafka_settings kafka;
    struct refold *refold;
    int n_parts;
    int64_t *ends;                   /* by partition: the last record at the start */
    struct progress *progress;       /* by partition: MySQL's */
    struct redis_items *redis_items; /* by partition */
    bool is_settled;
    int64_t started_ms, deadline_ms;
    size_t compared[2]; /* fields, of Redis and of MySQL */

    /* Of the partition in work. */
    int partition;
    enum record_table table;
    size_t n_seen;
    struct buf value;
};

static void pause_a_moment(void)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};

    (void)nanosleep(&pause, NULL);
}

static const struct fold *fold_of(const struct verify *v)
{
    return refold_fold(v->refold);
}

/* ---- coming to rest ---- */

static bool take_items(struct redis_items *items, const struct peek_answer *answer, struct err *err)
{
    for (size_t i = 0; i + 1 < answer->n; i += 2) {
        struct redis_item *item;

        if (items->n == items->room) {
            items->room = items->room == 0 ? 64 : 2 * items->room;
            items->at = xreallocarray(items->at, items->room, sizeof(*items->at));
        }
        item = &items->at[items->n];
        if (!command_set_text(&item->item_id, answer->values[i]) ||
            !slice_copy(answer->values[i + 1], item->value, sizeof(item->value))) {
            return err_set(err, ERR_FATAL, "redis: an item is longer than any can be");
        }
        items->n++;
    }
    return true;
}

/* Reads all items of a partition; again from the start whenever the watermark moves in between. */
static bool read_items(struct verify *v, int partition, struct err *err)
{
    const struct peek_hash hash = {partition, "items"};
    struct redis_items *items = &v->redis_items[partition];
    struct peek_answer answer = {0};
    char cursor[sizeof(answer.cursor)] = "0";
    bool ok = true;

    items->n = 0;
    do {
        ok = peek_chunk(v->redis, hash, cursor, 8192, &answer, err);
        items->has_state = ok && answer.has_state;
        if (!items->has_state) {
            break;
        }
        if (strcmp(cursor, "0") != 0 && answer.watermark != items->watermark) {
            items->n = 0;
            memcpy(cursor, "0", 2);
            continue;
        }
        items->watermark = answer.watermark;
        memcpy(cursor, answer.cursor, sizeof(cursor));
        ok = take_items(items, &answer, err);
    } while (ok && (strcmp(cursor, "0") != 0 || items->n == 0) && answer.n > 0);
    peek_answer_fini(&answer);
    return ok;
}

static bool take_snapshot(struct verify *v, struct err *err)
{
    db_rollback(v->db);
    if (!db_connect(v->db, err) ||
        !db_exec(v->db, SLICE_LIT("START TRANSACTION WITH CONSISTENT SNAPSHOT"), NULL, err)) {
        return false;
    }
    for (int i = 0; i < v->n_parts; i++) {
        if (!commit_read_progress(v->db, i, false, &v->progress[i], err)) {
            return false;
        }
    }
    return true;
}

static int64_t watermark_of(const struct verify *v, int partition)
{
    return v->redis_items[partition].has_state ? v->redis_items[partition].watermark : -1;
}

/* Whether MySQL and Redis have come to the log's end as it was at the start. */
static bool has_reached(const struct verify *v, bool *is_equal)
{
    bool is_reached = true;

    *is_equal = true;
    for (int i = 0; i < v->n_parts; i++) {
        int64_t redis = watermark_of(v, i);

        is_reached = is_reached && v->progress[i].position >= v->ends[i] && redis >= v->ends[i];
        *is_equal = *is_equal && v->progress[i].position == redis;
    }
    return is_reached;
}

static bool settle(struct verify *v, struct err *err)
{
    int64_t deadline_ms = v->deadline_ms;
    bool was_reached = false;

    for (;;) {
        bool is_equal;

        if (!take_snapshot(v, err)) {
            return false;
        }
        for (int i = 0; i < v->n_parts; i++) {
            if (!read_items(v, i, err)) {
                return false;
            }
        }
        if (has_reached(v, &is_equal)) {
            if (is_equal) {
                v->is_settled = true;
                return true;
            }
            /* Under traffic the three never meet; each is still compared at its own position. */
            if (!was_reached && clock_mono_ms() + SETTLE_MS < deadline_ms) {
                deadline_ms = clock_mono_ms() + SETTLE_MS;
            }
            was_reached = true;
        }
        if (clock_mono_ms() >= deadline_ms) {
            return true;
        }
        pause_a_moment();
    }
}

static void tell_behind(struct verify *v)
{
    for (int i = 0; i < v->n_parts; i++) {
        if (v->progress[i].position < v->ends[i]) {
            report_unchecked(&v->report,
                             "partition %d: mysql stands at %" PRId64 ", the log ended at %" PRId64
                             " at the start: is the guardian running?",
                             i, v->progress[i].position, v->ends[i]);
        }
        if (watermark_of(v, i) < v->ends[i]) {
            report_unchecked(&v->report,
                             "partition %d: redis stands at %" PRId64 ", the log ended at %" PRId64
                             " at the start: is the matcher running?",
                             i, watermark_of(v, i), v->ends[i]);
        }
    }
}

/* ---- one field against the fold ---- */

static bool fold_value(const struct verify *v, struct slice name, struct buf *out)
{
    switch (v->table) {
    case RECORD_ITEMS:
        return fold_item(fold_of(v), name, out);
    case RECORD_ORDERS:
        return fold_orders(fold_of(v), name, out);
    case RECORD_PAYMENTS:
        return fold_payment(fold_of(v), name, out);
    default:
        return fold_operation(fold_of(v), name, out);
    }
}

static void differ(struct verify *v, const char *source, struct slice name, const char *fmt, ...)
    ATTR_PRINTF(4, 5);

static void differ(struct verify *v, const char *source, struct slice name, const char *fmt, ...)
{
    char text[480];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    report_difference(&v->report, "partition %d: offset %" PRId64 ": %s: %s %.*s: %s", v->partition,
                      refold_position(v->refold), source, record_redis_name(v->table),
                      (int)name.len, name.ptr, text);
}

/* Shows the first of the parts, between semicolons, in which two values differ. */
static void tell_first(struct verify *v, const char *source, struct slice name, struct slice other)
{
    struct slice log = buf_slice(&v->value);

    while (log.len > 0 || other.len > 0) {
        struct slice log_rest, other_rest;
        struct slice a = slice_cut(log, ';', &log_rest);
        struct slice b = slice_cut(other, ';', &other_rest);

        if (!slice_eq(a, b)) {
            differ(v, source, name, "log \"%.*s\", %s \"%.*s\"", (int)a.len, a.ptr, source,
                   (int)b.len, b.ptr);
            return;
        }
        log = log_rest;
        other = other_rest;
    }
}

static void compare_field(struct verify *v, const char *source, struct slice name,
                          struct slice value)
{
    buf_clear(&v->value);
    if (!fold_value(v, name, &v->value)) {
        differ(v, source, name, "not in the log, %s has \"%.*s\"", source, (int)value.len,
               value.ptr);
    } else if (!slice_eq(buf_slice(&v->value), value)) {
        tell_first(v, source, name, value);
    }
}

static void add_name(struct names *names, struct slice name)
{
    if (names->n == names->room) {
        names->room = names->room == 0 ? 256 : 2 * names->room;
        names->at = xreallocarray(names->at, names->room, sizeof(*names->at));
    }
    names->n += command_set_text(&names->at[names->n], name) ? 1 : 0;
}

static bool collect_name(struct slice field, struct slice value ATTR_UNUSED, void *arg)
{
    add_name(arg, field);
    return true;
}

static enum fold_table fold_table_of(enum record_table table)
{
    switch (table) {
    case RECORD_ITEMS:
        return FOLD_ITEMS;
    case RECORD_ORDERS:
        return FOLD_ORDERS;
    case RECORD_PAYMENTS:
        return FOLD_PAYMENTS;
    default:
        return FOLD_OPERATIONS;
    }
}

/* ---- MySQL ---- */

static void verify_progress(struct verify *v)
{
    const struct progress *p = &v->progress[v->partition];
    struct fold_log log;

    fold_log(fold_of(v), &log);
    if (strcmp(p->genesis, log.genesis) != 0 || p->chain != log.chain || p->rules != log.rules ||
        p->log_time != log.log_time || p->partitions != log.partitions) {
        report_difference(&v->report,
                          "partition %d: offset %" PRId64 ": mysql: progress: log %s %016" PRIx64
                          " rules %" PRId64 " time %" PRId64 ", mysql %s %016" PRIx64
                          " rules %" PRId64 " time %" PRId64,
                          v->partition, log.watermark, log.genesis, log.chain, log.rules,
                          log.log_time, p->genesis, p->chain, p->rules, p->log_time);
    }
}

static bool compare_mysql_field(const struct record_field *field, void *arg)
{
    struct verify *v = arg;

    v->n_seen++;
    compare_field(v, "mysql", field->name, field->value);
    if (v->table == RECORD_ITEMS) {
        (void)proof_add(&v->proof, PROOF_MYSQL, field->name, field->value);
    }
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct command_text *)a)->s, ((const struct command_text *)b)->s);
}

/* Both sides in byte order, side by side. */
struct lacking {
    struct verify *verify;
    struct names names; /* of the log */
    size_t next;
};

static void tell_lacking(struct lacking *l, const struct command_text *until)
{
    while (l->next < l->names.n &&
           (until == NULL || compare_names(&l->names.at[l->next], until) < 0)) {
        differ(l->verify, "mysql", command_text(&l->names.at[l->next]), "mysql lacks it");
        l->next++;
    }
}

static bool pass_field(const struct record_field *field, void *arg)
{
    struct lacking *l = arg;
    struct command_text name;

    if (command_set_text(&name, field->name)) {
        tell_lacking(l, &name);
        if (l->next < l->names.n && compare_names(&l->names.at[l->next], &name) == 0) {
            l->next++;
        }
    }
    return true;
}

/* Only when the numbers differ is it worth knowing all names. */
static bool find_lacking(struct verify *v, const struct record_range *range, struct err *err)
{
    struct lacking l = {.verify = v};
    bool ok;

    fold_each(fold_of(v), fold_table_of(v->table), collect_name, &l.names);
    if (l.names.n == 0) {
        return true;
    }
    qsort(l.names.at, l.names.n, sizeof(*l.names.at), compare_names);
    ok = record_scan(v->db, range, pass_field, &l, err);
    if (ok) {
        tell_lacking(&l, NULL);
    }
    free(l.names.at);
    return ok;
}

static size_t fold_count(const struct verify *v)
{
    struct fold_log log;

    fold_log(fold_of(v), &log);
    switch (v->table) {
    case RECORD_ITEMS:
        return log.items;
    case RECORD_ORDERS:
        return fold_users(fold_of(v));
    case RECORD_PAYMENTS:
        return log.payments;
    default:
        return log.operations;
    }
}

static bool verify_books(struct verify *v, struct err *err)
{
    struct mark_record record = {0};
    struct slice rest;
    struct buf detail;
    bool ok;

    buf_init(&detail, DETAIL_BYTES);
    ok = mark_read(v->db, v->partition, &record, err);
    if (ok && mark_compare_within(&record, &detail) > 0) {
        rest = buf_slice(&detail);
        while (rest.len > 0) {
            struct slice line = slice_cut(rest, '\n', &rest);

            if (line.len > 0) {
                report_difference(&v->report, "partition %d: offset %" PRId64 ": %.*s",
                                  v->partition, refold_position(v->refold), (int)line.len,
                                  line.ptr);
            }
        }
    }
    mark_record_fini(&record);
    buf_fini(&detail);
    return ok;
}

static const enum record_table compared_tables[] = {RECORD_ITEMS, RECORD_ORDERS, RECORD_PAYMENTS,
                                                    RECORD_OPERATIONS};
enum { COMPARED_TABLES = sizeof(compared_tables) / sizeof(compared_tables[0]) };

static bool verify_mysql(struct verify *v, struct err *err)
{
    int64_t position = v->progress[v->partition].position;
    bool ok;

    if (!refold_advance(v->refold, position, v->deadline_ms, err)) {
        return false;
    }
    v->proof.positions[PROOF_MYSQL][v->partition] = position;
    if (position >= 0) {
        verify_progress(v);
    }
    ok = verify_books(v, err);
    for (size_t i = 0; ok && i < COMPARED_TABLES; i++) {
        const struct record_range range = {
            .partition = v->partition,
            .table = compared_tables[i],
            .watermark = INT64_MAX, /* the snapshot is all there is */
        };

        v->table = compared_tables[i];
        v->n_seen = 0;
        ok = record_scan(v->db, &range, compare_mysql_field, v, err);
        v->compared[1] += v->n_seen;
        if (ok && v->n_seen != fold_count(v)) {
            ok = find_lacking(v, &range, err);
        }
    }
    return ok;
}

/* ---- Redis ---- */

/* Folds on to a piece's watermark.  False without err when the piece is from before: ask again. */
static bool follow_redis(struct verify *v, const struct peek_answer *answer, bool *is_old,
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
        pause_a_moment();
        *is_old = true;
        return true;
    }
    return refold_advance(v->refold, answer->watermark, v->deadline_ms, err);
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
             follow_redis(v, &answer, &is_old, err);
        if (!ok || is_old) {
            continue;
        }
        memcpy(cursor, answer.cursor, sizeof(cursor));
        for (size_t i = 0; i + 1 < answer.n; i += 2) {
            compare_field(v, "redis", answer.values[i], answer.values[i + 1]);
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

    fold_each(fold_of(v), fold_table_of(v->table), collect_name, &names);
    while (ok && from < names.n) {
        size_t n = names.n - from < FIELDS_PER_CHUNK ? names.n - from : FIELDS_PER_CHUNK;
        bool is_old = false;

        for (size_t i = 0; i < n; i++) {
            fields[i] = command_text(&names.at[from + i]);
        }
        ok = peek_lookup(v->redis, hash, fields, n, &answer, err) &&
             follow_redis(v, &answer, &is_old, err);
        for (size_t i = 0; ok && !is_old && i < n; i++) {
            if (answer.values[i].ptr == NULL) {
                differ(v, "redis", fields[i], "redis lacks it");
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

    fold_log(fold_of(v), &log);
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
        fold_holds(fold_of(v), out);
    } else {
        return false;
    }
    return true;
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
             follow_redis(v, &answer, &is_old, err);
    } while (ok && is_old);
    for (size_t i = 0; ok && i < NAMES; i++) {
        if (log_value(v, fields[i], &v->value) &&
            !slice_eq(buf_slice(&v->value), answer.values[i])) {
            report_difference(&v->report,
                              "partition %d: offset %" PRId64
                              ": redis: log %s: log \"%s\", redis \"%.*s\"",
                              v->partition, refold_position(v->refold), names[i],
                              v->value.len == 0 ? "" : v->value.ptr, (int)answer.values[i].len,
                              answer.values[i].len == 0 ? "" : answer.values[i].ptr);
        }
    }
    peek_answer_fini(&answer);
    return ok;
}

/* The live holds of one hold_ms must stand in its due list, in their order. */
struct due {
    struct slice hold_ms;
    const struct peek_answer *list;
    size_t next;
    size_t lacking;
};

static bool find_due(struct slice hold_ms, struct slice entry, void *arg)
{
    struct due *due = arg;
    size_t i = due->next;

    if (!slice_eq(hold_ms, due->hold_ms)) {
        return true;
    }
    while (i < due->list->n && !slice_eq(due->list->values[i], entry)) {
        i++;
    }
    if (i == due->list->n) {
        due->lacking++;
    } else {
        due->next = i + 1;
    }
    return true;
}

static bool verify_due_list(struct verify *v, struct slice hold_ms, struct err *err)
{
    struct peek_answer answer = {0};
    struct due due = {.hold_ms = hold_ms, .list = &answer};
    char name[40];
    bool is_old = false;
    bool ok;

    (void)snprintf(name, sizeof(name), "due:%.*s", (int)hold_ms.len, hold_ms.ptr);
    do {
        ok = peek_list(v->redis, (struct peek_hash){v->partition, name}, &answer, err) &&
             follow_redis(v, &answer, &is_old, err);
    } while (ok && is_old);
    if (ok) {
        fold_each_hold(fold_of(v), find_due, &due);
        if (due.lacking > 0) {
            report_difference(&v->report,
                              "partition %d: offset %" PRId64
                              ": redis: %s lacks %zu live holds, or has them out of order",
                              v->partition, refold_position(v->refold), name, due.lacking);
        }
    }
    peek_answer_fini(&answer);
    return ok;
}

static bool verify_due(struct verify *v, struct err *err)
{
    struct buf holds;
    struct slice rest;
    bool ok = true;

    buf_init(&holds, 4096);
    fold_holds(fold_of(v), &holds);
    rest = buf_slice(&holds);
    while (ok && rest.len > 0) {
        ok = verify_due_list(v, slice_cut(rest, ',', &rest), err);
    }
    buf_fini(&holds);
    return ok;
}

/* The items as they were read when all had come to rest. */
static void verify_rested_items(struct verify *v)
{
    const struct redis_items *items = &v->redis_items[v->partition];

    v->table = RECORD_ITEMS;
    for (size_t i = 0; i < items->n; i++) {
        struct slice name = command_text(&items->at[i].item_id);

        compare_field(v, "redis", name, slice_str(items->at[i].value));
        if (!proof_add(&v->proof, PROOF_REDIS, name, slice_str(items->at[i].value))) {
            differ(v, "redis", name, "not an item: \"%.200s\"", items->at[i].value);
        }
    }
    v->proof.positions[PROOF_REDIS][v->partition] = items->watermark;
}

static bool verify_redis(struct verify *v, struct err *err)
{
    const struct redis_items *items = &v->redis_items[v->partition];
    bool ok;

    if (!items->has_state || items->watermark < refold_position(v->refold)) {
        return err_set(err, ERR_RETRY, "partition %d: redis %s", v->partition,
                       items->has_state ? "is behind mysql" : "has no state");
    }
    ok = refold_advance(v->refold, items->watermark, v->deadline_ms, err);
    if (ok) {
        verify_rested_items(v);
    }
    for (size_t i = 0; ok && i < COMPARED_TABLES; i++) {
        v->table = compared_tables[i];
        ok = (v->table == RECORD_ITEMS || forwards(v, err)) && backwards(v, err);
    }
    return ok && verify_log_hash(v, err) && verify_due(v, err);
}

/* ---- a partition ---- */

static bool take_log_item(struct slice field, struct slice value, void *arg)
{
    struct verify *v = arg;

    (void)proof_add(&v->proof, PROOF_LOG, field, value);
    return true;
}

static void verify_partition(struct verify *v, int partition)
{
    struct err err = {0};

    v->partition = partition;
    if (!refold_open(v->refold, partition, &err) || !verify_mysql(v, &err)) {
        report_unchecked(&v->report, "%s", err.text);
        return;
    }
    fold_each(fold_of(v), FOLD_ITEMS, take_log_item, v);
    v->proof.positions[PROOF_LOG][partition] = refold_position(v->refold);
    if (!verify_redis(v, &err)) {
        report_unchecked(&v->report, "%s", err.text);
    }
}

/* ---- telling ---- */

static void put_json(const struct verify *v, struct buf *out)
{
    enum report_status status = report_status(&v->report);

    buf_printf(out, "{\"ok\":%s,\"status\":\"%s\",\"settled\":%s,\"seconds\":%.3f,",
               status == REPORT_CLEAN ? "true" : "false", report_status_name(status),
               v->is_settled ? "true" : "false", (double)(clock_mono_ms() - v->started_ms) / 1000);
    proof_json(&v->proof, out);
    buf_printf(out,
               ",\"compared\":{\"redis\":%zu,\"mysql\":%zu},\"difference_count\":%zu,"
               "\"differences\":",
               v->compared[0], v->compared[1], v->report.differences.n);
    report_json(&v->report.differences, out);
    buf_puts(out, ",\"unchecked\":");
    report_json(&v->report.unchecked, out);
    buf_puts(out, "}\n");
}

static void put_text(const struct verify *v, struct buf *out)
{
    enum report_status status = report_status(&v->report);

    report_text(&v->report.differences, "differs", out);
    report_text(&v->report.unchecked, "unchecked", out);
    if (v->settings->quiet && status == REPORT_CLEAN) {
        return;
    }
    proof_text(&v->proof, out);
    buf_printf(out, "%s: %d partitions, %zu keys of redis and %zu of mysql compared in %.1f s%s\n",
               report_status_name(status), v->n_parts, v->compared[0], v->compared[1],
               (double)(clock_mono_ms() - v->started_ms) / 1000,
               v->is_settled ? "" : "; traffic goes on, so the totals are of different positions");
}

static bool tell(const struct verify *v)
{
    struct buf out;
    bool ok;

    buf_init(&out, OUT_BYTES);
    if (v->settings->json) {
        put_json(v, &out);
    } else {
        put_text(v, &out);
    }
    ok = report_print(&out);
    buf_fini(&out);
    return ok;
}

/* ---- all of it ---- */

static bool start(struct verify *v, struct err *err)
{
    v->started_ms = clock_mono_ms();
    v->deadline_ms = v->started_ms + v->settings->timeout_ms;
    v->n_parts = (int)v->settings->kafka.partitions;
    v->ends = xcalloc((size_t)v->n_parts, sizeof(*v->ends));
    v->progress = xcalloc((size_t)v->n_parts, sizeof(*v->progress));
    v->redis_items = xcalloc((size_t)v->n_parts, sizeof(*v->redis_items));
    proof_init(&v->proof, v->n_parts);
    buf_init(&v->value, VALUE_BYTES);
    v->mysql = settings_db(v->settings);
    v->kafka = settings_kafka(v->settings);
    v->db = db_create(&v->mysql, DB_SESSION_READ);
    v->redis = peek_create(&v->settings->redis, v->settings->redis_timeout_ms);
    v->refold = refold_create(&v->kafka, v->settings->kafka.topic_orders, v->n_parts, err);
    return v->refold != NULL && refold_ends(v->refold, v->ends, v->deadline_ms, err) &&
           settle(v, err);
}

static void fini(struct verify *v)
{
    refold_destroy(v->refold);
    db_destroy(v->db);
    peek_destroy(v->redis);
    for (int i = 0; i < v->n_parts; i++) {
        free(v->redis_items[i].at);
    }
    free(v->redis_items);
    free(v->progress);
    free(v->ends);
    proof_fini(&v->proof);
    buf_fini(&v->value);
    report_fini(&v->report);
    (void)kafka_wait_ended(1000);
}

int verify_run(const struct settings *settings)
{
    struct verify *v = xcalloc(1, sizeof(*v));
    struct err err = {0};
    int status;

    v->settings = settings;
    if (!start(v, &err)) {
        report_unchecked(&v->report, "%s", err.text);
    } else {
        tell_behind(v);
        /* The waiting is over; reading a long log has a time of its own. */
        for (int i = 0; i < v->n_parts; i++) {
            v->deadline_ms = clock_mono_ms() + settings->timeout_ms;
            verify_partition(v, i);
        }
    }
    status = tell(v) ? (int)report_status(&v->report) : REPORT_UNCHECKED;
    fini(v);
    free(v);
    return status;
}
