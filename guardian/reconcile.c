/*
 * One step after the other, on one thread: append the marks, wait for the rows that the guardian
 * leaves in reconcile_runs, read the marks' raw records and compare the chain over them, sweep the
 * rest.  The loop of the Kafka clients turns only while a step waits for them (turn()).
 *
 * What could not be done makes the run unchecked, whatever else was found: clean is never a
 * default.
 */
#include "guardian/reconcile.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/command.h"
#include "common/hex.h"
#include "common/kafka.h"
#include "common/xmalloc.h"
#include "guardian/ledger_impl.h"
#include "guardian/mark.h"
#include "guardian/rebuild.h"
#include "guardian/record.h"
#include "guardian/report.h"
#include "guardian/sweep.h"

enum {
    POLL_MS = 50,
    OUT_BYTES = 16 << 20,
    DETAIL_BYTES = 65536,
};

/* What became of one partition's mark. */
struct mark_run {
    bool is_sent, is_stored; /* Kafka has it */
    bool is_met;             /* the guardian has met it */
    bool is_clean;
    bool is_different; /* compared, and not clean */
    bool is_chained;   /* the raw record leads from chain_before to chain */
    bool is_drifted;   /* Redis and MySQL differ: a rebuild would close it */
    bool is_repaired;
    int64_t offset;
    int64_t orders, payments, items, differences;
    uint64_t chain_before, chain;
    char *detail; /* owned */
};

struct reconcile {
    const struct settings *settings;
    struct report report;
    struct event_base *base;
    struct db_settings mysql, lease_mysql;
    struct db *lease, *db;
    struct peek *redis;
    struct kafka_settings kafka;
    struct mark_run *marks;
    int n_parts;
    struct command_text run_id;
    int64_t started_ms, deadline_ms;
    struct sweep sweep;
};

/* Turns the loop for a moment. */
static void turn(struct reconcile *r)
{
    const struct timeval moment = {.tv_usec = POLL_MS * 1000L};

    (void)event_base_loopexit(r->base, &moment);
    (void)event_base_dispatch(r->base);
}

/* ---- sending the marks ---- */

static void on_report(const struct kafka_report *report, void *arg)
{
    struct reconcile *r = arg;
    struct mark_run *mark = &r->marks[report->ticket];

    mark->is_sent = true;
    mark->is_stored = report->delivery == KAFKA_DELIVERED;
    if (!mark->is_stored) {
        report_unchecked(&r->report, "partition %d: the mark was not stored: %s", report->partition,
                         report->why);
    }
}

static void on_producer_fatal(const char *why, void *arg)
{
    struct reconcile *r = arg;

    report_unchecked(&r->report, "kafka: %s", why);
}

static bool send_marks(struct reconcile *r, struct kafka_producer *producer, struct err *err)
{
    struct command command = {.type = COMMAND_MARK, .other_id = r->run_id};
    char value[256];
    size_t len = command_format(&command, value, sizeof(value));

    for (int i = 0; i < r->n_parts; i++) {
        const struct kafka_message message = {
            .topic = r->settings->kafka.topic_orders,
            .partition = i,
            .value = {value, len},
            .ticket = (uint64_t)i,
        };

        if (!kafka_producer_send(producer, &message, err)) {
            return false;
        }
    }
    return true;
}

static void append_marks(struct reconcile *r)
{
    const struct kafka_producer_settings settings = {
        .kafka = &r->kafka,
        .message_timeout_ms = r->settings->timeout_ms,
        .report = on_report,
        .fatal = on_producer_fatal,
        .arg = r,
    };
    struct err err = {0};
    struct kafka_producer *producer = kafka_producer_create(r->base, &settings, &err);

    if (producer == NULL || !send_marks(r, producer, &err)) {
        report_unchecked(&r->report, "kafka: %s", err.text);
    }
    while (producer != NULL && kafka_producer_unreported(producer) > 0 &&
           clock_mono_ms() < r->deadline_ms) {
        turn(r);
    }
    for (int i = 0; i < r->n_parts; i++) {
        if (!r->marks[i].is_sent && r->report.unchecked.n == 0) {
            report_unchecked(&r->report, "partition %d: Kafka did not take the mark in time", i);
        }
    }
    kafka_producer_destroy(producer);
}

/* ---- waiting for the guardian ---- */

static int64_t number_of(struct slice s)
{
    int64_t n = 0;

    return slice_to_i64(s, INT64_MIN, INT64_MAX, &n) ? n : 0;
}

static bool take_run(const struct slice *columns, unsigned n, void *arg)
{
    struct reconcile *r = arg;
    int64_t partition = number_of(columns[0]);
    struct mark_run *mark;

    if (n != 9 || partition < 0 || partition >= r->n_parts || r->marks[partition].is_met) {
        return true;
    }
    mark = &r->marks[partition];
    mark->is_met = true;
    mark->offset = number_of(columns[1]);
    mark->is_clean = number_of(columns[2]) == MARK_CLEAN;
    mark->is_different = number_of(columns[2]) == MARK_DIFFERENT;
    if (number_of(columns[2]) == MARK_SKIPPED) {
        report_unchecked(
            &r->report,
            "partition %d: the guardian could not compare at the mark: mysql-timeout is "
            "too short for it, or MySQL was away",
            (int)partition);
    }
    mark->differences = number_of(columns[3]);
    mark->detail = xmemdup0(columns[4].ptr, columns[4].len);
    mark->items = number_of(columns[5]);
    mark->orders = number_of(columns[6]);
    if (!ids_hash_parse(columns[7], &mark->chain_before) ||
        !ids_hash_parse(columns[8], &mark->chain)) {
        report_unchecked(&r->report, "partition %d: its row in reconcile_runs is not readable",
                         (int)partition);
    }
    return true;
}

static int count_missing(const struct reconcile *r)
{
    int n = 0;

    for (int i = 0; i < r->n_parts; i++) {
        n += r->marks[i].is_stored && !r->marks[i].is_met ? 1 : 0;
    }
    return n;
}

static bool read_runs(struct reconcile *r, struct err *err)
{
    struct buf sql;
    bool ok;

    buf_init(&sql, 1024);
    buf_puts(&sql,
             "SELECT partition_id, log_offset, clean, differences, detail, items, mysql_orders, "
             "chain_before, chain FROM reconcile_runs WHERE run_id = ");
    ledger_put_id(&sql, command_text(&r->run_id));
    ok = db_connect(r->db, err) && db_query(r->db, buf_slice(&sql), take_run, r, err);
    db_rollback(r->db);
    buf_fini(&sql);
    return ok;
}

static void tell_drift(struct reconcile *r, int partition)
{
    const struct mark_run *mark = &r->marks[partition];
    struct slice rest = slice_str(mark->detail);

    while (rest.len > 0) {
        struct slice line = slice_cut(rest, '\n', &rest);

        if (line.len > 0) {
            report_difference(&r->report, "partition %d: offset %" PRId64 ": %.*s", partition,
                              mark->offset, (int)line.len, line.ptr);
        }
    }
}

static void await_runs(struct reconcile *r)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
    struct err err = {0};
    bool ok = true;

    while (ok && count_missing(r) > 0 && clock_mono_ms() < r->deadline_ms) {
        ok = read_runs(r, &err);
        if (ok && count_missing(r) > 0) {
            (void)nanosleep(&pause, NULL);
        }
    }
    if (!ok) {
        report_unchecked(&r->report, "%s", err.text);
    }
    for (int i = 0; i < r->n_parts; i++) {
        if (r->marks[i].is_different) {
            r->marks[i].is_drifted = true;
            tell_drift(r, i);
        }
        if (ok && r->marks[i].is_stored && !r->marks[i].is_met) {
            report_unchecked(&r->report,
                             "partition %d: the mark was not met in time: do matcher and guardian "
                             "run, is the partition halted?",
                             i);
        }
    }
}

/* ---- the chain over each mark's raw record ---- */

static void on_record(const struct kafka_record *record, void *arg)
{
    struct reconcile *r = arg;
    struct mark_run *mark = &r->marks[record->partition];
    uint64_t hash;

    if (!mark->is_met || mark->is_chained || record->offset != mark->offset) {
        return;
    }
    hash = ids_record_hash(record->offset, record->timestamp_ms, record->key, record->value);
    mark->is_chained = true;
    if (ids_chain_next(mark->chain_before, hash) != mark->chain) {
        report_difference(&r->report,
                          "partition %d: offset %" PRId64 ": the record in the log does not lead "
                          "from chain %016" PRIx64 " to %016" PRIx64,
                          record->partition, record->offset, mark->chain_before, mark->chain);
    }
}

static bool is_chaining(const struct reconcile *r)
{
    for (int i = 0; i < r->n_parts; i++) {
        if (r->marks[i].is_met && !r->marks[i].is_chained) {
            return true;
        }
    }
    return false;
}

static void on_fatal(const char *why, void *arg)
{
    on_producer_fatal(why, arg);
}

static void check_chains(struct reconcile *r)
{
    const struct kafka_consumer_settings settings = {
        .kafka = &r->kafka,
        .topic = r->settings->kafka.topic_orders,
        .calls = {.record = on_record, .fatal = on_fatal},
        .arg = r,
    };
    struct kafka_start *starts = xcalloc((size_t)r->n_parts, sizeof(*starts));
    struct err err = {0};
    int64_t deadline_ms;
    size_t n = 0;
    struct kafka_consumer *consumer = kafka_consumer_create(r->base, &settings, &err);

    for (int i = 0; i < r->n_parts; i++) {
        if (r->marks[i].is_met) {
            starts[n++] = (struct kafka_start){i, r->marks[i].offset};
        }
    }
    if (consumer == NULL || (n > 0 && !kafka_consumer_assign(consumer, starts, n, &err))) {
        report_unchecked(&r->report, "kafka: %s", err.text);
    }
    /* The guardian may have used up its time; reading a record takes none of it. */
    deadline_ms = clock_mono_ms() + r->settings->timeout_ms;
    while (consumer != NULL && is_chaining(r) && clock_mono_ms() < deadline_ms) {
        turn(r);
    }
    if (is_chaining(r)) {
        report_unchecked(&r->report, "the marks could not be read from the log in time");
    }
    kafka_consumer_destroy(consumer);
    free(starts);
}

/* ---- telling ---- */

static void put_json(const struct reconcile *r, struct buf *out)
{
    enum report_status status = report_status(&r->report);

    buf_printf(out,
               "{\"ok\":%s,\"status\":\"%s\",\"run_id\":\"%s\",\"seconds\":%.3f,\"partitions\":[",
               status == REPORT_CLEAN ? "true" : "false", report_status_name(status), r->run_id.s,
               (double)(clock_mono_ms() - r->started_ms) / 1000);
    for (int i = 0; i < r->n_parts; i++) {
        const struct mark_run *mark = &r->marks[i];

        buf_printf(out, "%s{\"partition\":%d,\"met\":%s", i == 0 ? "" : ",", i,
                   mark->is_met ? "true" : "false");
        if (mark->is_met) {
            buf_printf(out,
                       ",\"offset\":%" PRId64 ",\"clean\":%s,\"items\":%" PRId64
                       ",\"orders\":%" PRId64,
                       mark->offset, mark->is_clean ? "true" : "false", mark->items, mark->orders);
        }
        buf_putc(out, '}');
    }
    buf_printf(out,
               "],\"compared\":{\"users\":%zu,\"payments\":%zu,\"operations\":%zu,\"items\":%zu,"
               "\"again\":%zu},\"difference_count\":%zu,\"differences\":",
               r->sweep.users, r->sweep.payments, r->sweep.operations, r->sweep.items,
               r->sweep.repeated, r->report.differences.n);
    report_json(&r->report.differences, out);
    buf_puts(out, ",\"unchecked\":");
    report_json(&r->report.unchecked, out);
    buf_puts(out, ",\"repaired\":[");
    for (int i = 0, n = 0; i < r->n_parts; i++) {
        if (r->marks[i].is_repaired) {
            buf_printf(out, n++ == 0 ? "%d" : ",%d", i);
        }
    }
    buf_puts(out, "]}\n");
}

static void put_text(const struct reconcile *r, struct buf *out)
{
    enum report_status status = report_status(&r->report);

    report_text(&r->report.differences, "differs", out);
    report_text(&r->report.unchecked, "unchecked", out);
    for (int i = 0; i < r->n_parts; i++) {
        if (r->marks[i].is_repaired) {
            buf_printf(out, "repaired: partition %d: Redis was put at MySQL's position\n", i);
        }
    }
    if (r->settings->quiet && status == REPORT_CLEAN) {
        return;
    }
    buf_printf(out,
               "%s: %d partitions, %zu items, %zu users' orders, %zu payments, %zu operations "
               "compared in %.1f s (run %s)\n",
               report_status_name(status), r->n_parts, r->sweep.items, r->sweep.users,
               r->sweep.payments, r->sweep.operations,
               (double)(clock_mono_ms() - r->started_ms) / 1000, r->run_id.s);
}

/* Written beside the place and moved there, so that no scrape sees half of it. */
static bool write_prometheus(const struct reconcile *r)
{
    const char *path = r->settings->prometheus;
    char *beside = xreallocarray(NULL, strlen(path) + 5, 1);
    FILE *file;
    bool ok;

    (void)snprintf(beside, strlen(path) + 5, "%s.tmp", path);
    file = fopen(beside, "we");
    ok = file != NULL &&
         fprintf(file,
                 "# HELP seckill_reconcile_status Of the last run: 0 clean, 1 different, 2 "
                 "could not check.\n"
                 "# TYPE seckill_reconcile_status gauge\n"
                 "seckill_reconcile_status %d\n"
                 "# HELP seckill_reconcile_differences Found by the last run.\n"
                 "# TYPE seckill_reconcile_differences gauge\n"
                 "seckill_reconcile_differences %zu\n"
                 "# HELP seckill_reconcile_users Users whose orders were compared.\n"
                 "# TYPE seckill_reconcile_users gauge\n"
                 "seckill_reconcile_users %zu\n"
                 "# HELP seckill_reconcile_end_seconds When the last run ended, since 1970.\n"
                 "# TYPE seckill_reconcile_end_seconds gauge\n"
                 "seckill_reconcile_end_seconds %" PRId64 "\n",
                 (int)report_status(&r->report), r->report.differences.n, r->sweep.users,
                 clock_wall_ms() / 1000) > 0;
    if (file != NULL) {
        ok = fclose(file) == 0 && ok;
    }
    ok = ok && rename(beside, path) == 0;
    if (!ok) {
        (void)fprintf(stderr, "seckill-guardian: %s: %s\n", path, strerror(errno));
    }
    free(beside);
    return ok;
}

static bool tell(const struct reconcile *r)
{
    struct buf out;
    bool ok;

    buf_init(&out, OUT_BYTES);
    if (r->settings->json) {
        put_json(r, &out);
    } else {
        put_text(r, &out);
    }
    ok = report_print(&out);
    buf_fini(&out);
    return ok;
}

/* ---- repairing ---- */

static bool sweep(struct reconcile *r, int partition)
{
    const size_t before = r->report.differences.n;
    const bool ok = sweep_partition(&r->sweep, partition);

    if (r->report.differences.n > before) {
        r->marks[partition].is_drifted = true;
    }
    return ok;
}

/* A rebuild takes MySQL's word for all of it, so that must at least not contradict itself. */
static bool is_mysql_sound(struct reconcile *r, int partition, struct err *err)
{
    struct mark_record record = {0};
    struct slice rest;
    struct buf detail;
    int64_t position;
    bool ok;

    buf_init(&detail, DETAIL_BYTES);
    ok = record_begin(r->db, partition, -1, 0, &position, err) &&
         mark_read(r->db, partition, &record, err);
    db_rollback(r->db);
    if (ok && mark_compare_within(&record, &detail) > 0) {
        const struct slice line = slice_cut(buf_slice(&detail), '\n', &rest);

        ok = err_set(err, ERR_FATAL,
                     "MySQL contradicts itself, so it is the wrong copy: restore it from a backup "
                     "(%.*s)",
                     (int)line.len, line.ptr);
    }
    mark_record_fini(&record);
    buf_fini(&detail);
    return ok;
}

/* The difference stays told: it is the next run that must be clean. */
static void repair(struct reconcile *r, int partition)
{
    struct rebuild rebuild = {.settings = r->settings, .partition = partition};
    struct err err = {0};

    if (is_mysql_sound(r, partition, &err) && rebuild_partition(&rebuild, &err) == REBUILD_DONE) {
        r->marks[partition].is_repaired = true;
    } else {
        report_unchecked(&r->report, "partition %d: not repaired: %s", partition, err.text);
    }
}

/* ---- all of it ---- */

/*
 * Two at once would find each other's marks in their way.  The lock ends with the connection, and the
 * server may notice a moment late that the one before has ended.
 */
static bool take_lease(struct reconcile *r)
{
    struct err err = {0};
    int64_t locked = 0;

    if (!db_connect(r->lease, &err) ||
        !db_query_i64(r->lease,
                      "SELECT GET_LOCK(CONCAT('seckill reconcile ', LEFT(DATABASE(), 40)), 2)", 0,
                      &locked, &err)) {
        report_unchecked(&r->report, "%s", err.text);
        return false;
    }
    if (locked != 1) {
        report_unchecked(&r->report, "another reconcile of this database is running");
    }
    return locked == 1;
}

static bool start(struct reconcile *r)
{
    unsigned char random[8];
    char text[sizeof("reconcile-") + 2 * sizeof(random)] = "reconcile-";
    bool ok;

    r->started_ms = clock_mono_ms();
    r->deadline_ms = r->started_ms + r->settings->timeout_ms;
    r->n_parts = (int)r->settings->kafka.partitions;
    r->marks = xcalloc((size_t)r->n_parts, sizeof(*r->marks));
    arc4random_buf(random, sizeof(random));
    hex_encode(random, sizeof(random), text + strlen(text));
    ok = command_set_text(&r->run_id, slice_str(text));
    r->base = event_base_new();
    r->mysql = settings_db(r->settings);
    r->lease_mysql = r->mysql;
    r->lease_mysql.answer_ms = 0;
    r->kafka = settings_kafka(r->settings);
    r->lease = db_create(&r->lease_mysql, DB_SESSION_READ);
    r->db = db_create(&r->mysql, DB_SESSION_READ);
    r->redis = peek_create(&r->settings->redis, r->settings->redis_timeout_ms);
    r->sweep = (struct sweep){
        .db = r->db,
        .redis = r->redis,
        .report = &r->report,
        .patience_ms = r->settings->timeout_ms,
    };
    if (!ok || r->base == NULL) {
        report_unchecked(&r->report, "no event loop");
        return false;
    }
    return true;
}

static void fini(struct reconcile *r)
{
    for (int i = 0; i < r->n_parts; i++) {
        free(r->marks[i].detail);
    }
    free(r->marks);
    db_destroy(r->lease);
    db_destroy(r->db);
    peek_destroy(r->redis);
    if (r->base != NULL) {
        event_base_free(r->base);
    }
    (void)kafka_wait_ended(1000);
    report_fini(&r->report);
}

int reconcile_run(const struct settings *settings)
{
    struct reconcile *r = xcalloc(1, sizeof(*r));
    int status;

    r->settings = settings;
    if (start(r) && take_lease(r)) {
        append_marks(r);
        await_runs(r);
        check_chains(r);
        for (int i = 0; i < r->n_parts; i++) {
            if (r->marks[i].is_met && !sweep(r, i)) {
                break;
            }
        }
        for (int i = 0; settings->repair && i < r->n_parts; i++) {
            if (r->marks[i].is_drifted) {
                repair(r, i);
            }
        }
    }
    status = tell(r) ? (int)report_status(&r->report) : REPORT_UNCHECKED;
    if (settings->prometheus[0] != '\0' && !write_prometheus(r)) {
        status = REPORT_UNCHECKED;
    }
    fini(r);
    free(r);
    return status;
}
