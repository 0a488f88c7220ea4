#include "guardian/verify_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guardian/mark.h"
#include "guardian/pick.h"

enum {
    DETAIL_BYTES = 65536,
};

static void verify_progress(struct verify *v)
{
    const struct progress *p = &v->progress[v->partition];
    struct fold_log log;

    fold_log(verify_fold(v), &log);
    if (strcmp(p->genesis, log.genesis) != 0 || p->chain != log.chain || p->rules != log.rules ||
        p->log_time != log.log_time || p->partitions != log.partitions) {
        verify_differ(v, log.watermark,
                      "mysql: progress: log %s %016" PRIx64 " rules %" PRId64 " time %" PRId64
                      ", mysql %s %016" PRIx64 " rules %" PRId64 " time %" PRId64,
                      log.genesis, log.chain, log.rules, log.log_time, p->genesis, p->chain,
                      p->rules, p->log_time);
    }
}

static bool compare_mysql_field(const struct record_field *field, void *arg)
{
    struct verify *v = arg;

    v->n_seen++;
    v->n_known += verify_field(v, "mysql", field->name, field->value) ? 1 : 0;
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
        const struct slice name = command_text(&l->names.at[l->next]);

        verify_differ_field(l->verify, verify_changed(l->verify, name), "mysql", name,
                            "mysql lacks it");
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

/* Only where the log has more than was found is it worth knowing all names. */
static bool find_lacking(struct verify *v, const struct record_range *range, struct err *err)
{
    struct lacking l = {.verify = v};
    bool ok;

    fold_each(verify_fold(v), verify_fold_table(v->table), verify_collect, &l.names);
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

    fold_log(verify_fold(v), &log);
    switch (v->table) {
    case RECORD_ITEMS:
        return log.items + log.archived;
    case RECORD_ORDERS:
        return fold_users(verify_fold(v));
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

    v->table = RECORD_ITEMS;
    buf_init(&detail, DETAIL_BYTES);
    ok = mark_read(v->db, v->partition, &record, err);
    if (ok && mark_compare_within(&record, &detail) > 0) {
        rest = buf_slice(&detail);
        while (rest.len > 0) {
            const struct slice line = slice_cut(rest, '\n', &rest);
            struct slice said;
            const struct slice item_id = slice_cut(line, ':', &said);

            if (line.len > 0) {
                verify_differ(v, verify_changed(v, item_id), "%.*s", (int)line.len, line.ptr);
            }
        }
    }
    mark_record_fini(&record);
    buf_fini(&detail);
    return ok;
}

static bool compare_forgotten(const struct slice *columns, unsigned n, void *arg)
{
    struct verify *v = arg;

    if (n != 2) {
        return false;
    }
    v->n_seen++;
    switch (forgotten_compare(v->forgotten, columns[0], columns[1])) {
    case FORGOTTEN_SAME:
        break;
    case FORGOTTEN_DIFFERENT:
        verify_differ_field(v, forgotten_changed(v->forgotten, columns[0]), "mysql", columns[0],
                            "forgotten, but not as the log says: mysql \"%.*s\"",
                            (int)columns[1].len, columns[1].ptr);
        break;
    case FORGOTTEN_UNKNOWN:
        verify_differ_field(v, -1, "mysql", columns[0],
                            "the log forgets no such order, mysql has \"%.*s\" as forgotten",
                            (int)columns[1].len, columns[1].ptr);
        break;
    }
    return true;
}

/* Which order a record placed. */
struct placed {
    int n_parts;
    char name[200]; /* its id, user and item */
};

static void take_order(const struct kafka_record *record, void *arg)
{
    struct placed *placed = arg;
    struct command cmd;

    command_parse(&cmd, record->value, COMMAND_RULES, record->partition, placed->n_parts);
    (void)snprintf(placed->name, sizeof(placed->name), "%s %s %s", cmd.order_id, cmd.user_id.s,
                   cmd.item_id.s);
}

/* Reads it out of the log: of those that Redis forgets only hashes are kept. */
static bool read_placed(struct verify *v, int64_t offset, struct placed *placed, struct err *err)
{
    const struct pick_span span = {offset, offset, take_order, placed};
    const struct pick_wait wait = {.patience_ms = v->settings->timeout_ms};
    struct pick *pick =
        pick_create(&v->kafka, v->settings->kafka.topic_orders, v->partition, &wait, err);
    const bool ok = pick != NULL && pick_read(pick, &span, err);

    pick_destroy(pick);
    return ok;
}

/* What Redis does not hold, or no longer, stands here alone; only a whole log tells what that was. */
static bool verify_forgotten(struct verify *v, struct err *err)
{
    char storage[400];
    struct buf sql;
    int64_t offset = -1;
    size_t lacking;

    buf_init_fixed(&sql, storage, sizeof(storage));
    buf_printf(&sql,
               "SELECT CONCAT_WS(' ', order_id, user_id, item_id), CONCAT_WS(' ', qty, state, "
               "reason, remembered, due, decided_offset) FROM orders WHERE partition_id = %d AND "
               "remembered <> 1 ORDER BY order_id, user_id, item_id",
               v->partition);
    v->table = RECORD_ORDERS;
    v->n_seen = 0;
    if (!db_query(v->db, buf_slice(&sql), compare_forgotten, v, err)) {
        return false;
    }
    v->compared[1] += v->n_seen;
    lacking = forgotten_lacking(v->forgotten, &offset);
    if (lacking > 0) {
        struct placed first = {.n_parts = v->n_parts};

        if (!read_placed(v, offset, &first, err)) {
            return false;
        }
        verify_differ(v, offset, "mysql: lacks %zu forgotten orders, first %s", lacking,
                      first.name);
    }
    return true;
}

bool verify_mysql(struct verify *v, struct err *err)
{
    int64_t position = v->progress[v->partition].position;
    bool ok;

    if (!refold_advance(v->refold, position, err)) {
        return false;
    }
    v->proof.positions[PROOF_MYSQL][v->partition] = position;
    if (position >= 0) {
        verify_progress(v);
    }
    ok = verify_books(v, err);
    for (size_t i = 0; ok && i < VERIFY_TABLES; i++) {
        const struct record_range range = {
            .partition = v->partition,
            .table = verify_tables[i],
            .watermark = INT64_MAX, /* the snapshot is all there is */
        };

        v->table = verify_tables[i];
        v->n_seen = 0;
        v->n_known = 0;
        ok = record_scan(v->db, &range, compare_mysql_field, v, err);
        v->compared[1] += v->n_seen;
        if (ok && v->n_known != fold_count(v)) {
            ok = find_lacking(v, &range, err);
        }
    }
    return ok && (verify_is_loaded(v) || verify_forgotten(v, err));
}
