#include "guardian/verify_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/xmalloc.h"
#include "guardian/commit.h"
#include "guardian/mark.h"

enum {
    SETTLE_MS = 5000, /* how long all three may take to stand at the same position */
    OUT_BYTES = 64 << 20,
    VALUE_BYTES = 1 << 20,
};

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
            if (clock_mono_ms() >= v->deadline_ms) {
                ok = err_set(err, ERR_RETRY,
                             "partition %d: redis does not stand still for as long as reading its "
                             "items takes",
                             partition);
                break;
            }
            verify_pause();
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

        is_reached =
            is_reached && v->progress[i].position >= v->ranges[i].end && redis >= v->ranges[i].end;
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
        verify_pause();
    }
}

static void tell_behind(struct verify *v)
{
    for (int i = 0; i < v->n_parts; i++) {
        if (v->progress[i].position < v->ranges[i].end) {
            report_unchecked(&v->report,
                             "partition %d: mysql stands at %" PRId64 ", the log ended at %" PRId64
                             " at the start: is the guardian running?",
                             i, v->progress[i].position, v->ranges[i].end);
        }
        if (watermark_of(v, i) < v->ranges[i].end) {
            report_unchecked(&v->report,
                             "partition %d: redis stands at %" PRId64 ", the log ended at %" PRId64
                             " at the start: is the matcher running?",
                             i, watermark_of(v, i), v->ranges[i].end);
        }
    }
}

/* ---- a partition ---- */

static bool take_log_item(struct slice field, struct slice value, void *arg)
{
    struct verify *v = arg;

    (void)proof_add(&v->proof, PROOF_LOG, field, value);
    return true;
}

static bool open_fold(struct verify *v, struct err *err)
{
    return verify_is_loaded(v) ? verify_load(v, err)
                               : refold_open(v->refold, v->partition, NULL, -1, err);
}

static void verify_partition(struct verify *v, int partition)
{
    struct err err = {0};

    v->partition = partition;
    forgotten_clear(v->forgotten);
    if (!verify_begin_tail(v, &err) || !open_fold(v, &err)) {
        report_unchecked(&v->report, "%s", err.text);
        return;
    }
    verify_opened_tail(v);
    if (!verify_mysql(v, &err)) {
        report_unchecked(&v->report, "%s", err.text);
    } else {
        fold_each(verify_fold(v), FOLD_ITEMS, take_log_item, v);
        v->proof.positions[PROOF_LOG][partition] = refold_position(v->refold);
        if (!verify_redis(v, &err)) {
            report_unchecked(&v->report, "%s", err.text);
        }
    }
    findings_tell(&v->findings, &v->report);
}

/* ---- telling ---- */

static void put_json(const struct verify *v, struct buf *out)
{
    enum report_status status = report_status(&v->report);

    buf_printf(out, "{\"ok\":%s,\"status\":\"%s\",\"settled\":%s,\"seconds\":%.3f,",
               status == REPORT_CLEAN ? "true" : "false", report_status_name(status),
               v->is_settled ? "true" : "false", (double)(clock_mono_ms() - v->started_ms) / 1000);
    proof_json(&v->proof, out);
    buf_printf(
        out,
        ",\"from_mysql\":%zu,\"compared\":{\"redis\":%zu,\"mysql\":%zu},\"difference_count\":%zu,"
        "\"differences\":",
        v->n_loaded, v->compared[0], v->compared[1], v->report.differences.n);
    report_json(&v->report.differences, out);
    buf_puts(out, ",\"unchecked\":");
    report_json(&v->report.unchecked, out);
    buf_puts(out, ",\"unproven\":");
    report_json(&v->report.unproven, out);
    buf_puts(out, "}\n");
}

static void put_text(const struct verify *v, struct buf *out)
{
    enum report_status status = report_status(&v->report);

    report_text(&v->report.differences, "differs", out);
    report_text(&v->report.unchecked, "unchecked", out);
    report_text(&v->report.unproven, "unproven", out);
    if (v->settings->quiet && status == REPORT_CLEAN) {
        return;
    }
    proof_text(&v->proof, out);
    if (v->n_loaded > 0) {
        buf_printf(out,
                   "%zu partitions checked from MySQL's position on: their log's head is gone\n",
                   v->n_loaded);
    }
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
    v->ranges = xcalloc((size_t)v->n_parts, sizeof(*v->ranges));
    v->progress = xcalloc((size_t)v->n_parts, sizeof(*v->progress));
    v->redis_items = xcalloc((size_t)v->n_parts, sizeof(*v->redis_items));
    proof_init(&v->proof, v->n_parts);
    buf_init(&v->value, VALUE_BYTES);
    v->mysql = settings_db(v->settings);
    v->kafka = settings_kafka(v->settings);
    v->db = db_create(&v->mysql, DB_SESSION_READ);
    v->redis = peek_create(&v->settings->redis, v->settings->redis_timeout_ms);
    v->refold = refold_create(&v->kafka, v->settings->kafka.topic_orders, v->n_parts,
                              v->settings->timeout_ms, err);
    v->forgotten = forgotten_create();
    if (v->refold != NULL) {
        refold_watch(v->refold, forgotten_note, v->forgotten);
    }
    return v->refold != NULL && refold_ranges(v->refold, v->ranges, err) && settle(v, err);
}

static void fini(struct verify *v)
{
    refold_destroy(v->refold);
    forgotten_destroy(v->forgotten);
    db_destroy(v->db);
    peek_destroy(v->redis);
    for (int i = 0; i < v->n_parts; i++) {
        free(v->redis_items[i].at);
    }
    free(v->redis_items);
    free(v->progress);
    free(v->ranges);
    proof_fini(&v->proof);
    tail_fini(&v->tail);
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
        for (int i = 0; i < v->n_parts; i++) {
            verify_partition(v, i);
        }
    }
    status = tell(v) ? (int)report_status(&v->report) : REPORT_UNCHECKED;
    fini(v);
    free(v);
    return status;
}
