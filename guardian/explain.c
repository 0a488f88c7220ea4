/*
 * Everything that is found goes into one JSON document, which --json prints as it is and the text is
 * made from.  The log is searched for the order's id as bytes, so that records nobody could read are
 * found too; Redis and MySQL keep orders by user, and who that is stands in what was found before.
 */
#include "guardian/explain.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/ids.h"
#include "common/outcome.h"
#include "common/xmalloc.h"
#include "guardian/ledger_impl.h"
#include "guardian/letter.h"
#include "guardian/peek.h"
#include "guardian/record.h"
#include "guardian/report.h"
#include "guardian/scan.h"

enum {
    VALUE_SHOWN_BYTES = 8192,
    OUT_BYTES = 16 << 20,
};

struct explain {
    const struct settings *settings;
    struct slice order_id;
    int partition;
    int status;

    json_t *doc;      /* owned; the others are parts of it, but users */
    json_t *commands; /* offset, time, command */
    json_t *events;   /* offset, event */
    json_t *redis;    /* orders: by user, the entry as it stands there */
    json_t *mysql;    /* orders: by user */
    json_t *remarks;
    json_t *users; /* owned; a set: the keys */
    int64_t told;  /* the last outcome that was read */
};

static ATTR_PRINTF(3, 4) void remark(struct explain *e, int status, const char *fmt, ...)
{
    char text[400];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    (void)json_array_append_new(e->remarks, json_string(text));
    e->status = status > e->status ? status : e->status;
}

static json_t *string_of(struct slice s)
{
    return json_stringn(s.ptr, s.len); /* NULL when it is not UTF-8, which members bear */
}

static void note_user(struct explain *e, const json_t *said)
{
    const char *user_id = json_string_value(json_object_get(said, "user_id"));

    if (user_id != NULL && ids_is_id(slice_str(user_id))) {
        (void)json_object_set_new(e->users, user_id, json_true());
    }
}

/* ---- the log ---- */

static bool names_order(const struct explain *e, struct slice value)
{
    return value.ptr != NULL &&
           memmem(value.ptr, value.len, e->order_id.ptr, e->order_id.len) != NULL;
}

/* As JSON if it is that, else as a text in printable ASCII. */
static json_t *show_value(struct slice value)
{
    json_t *json = json_loadb(value.ptr, value.len, 0, NULL);
    struct buf text;

    if (json != NULL) {
        return json;
    }
    buf_init(&text, 4 * VALUE_SHOWN_BYTES + 16);
    letter_put_escaped(&text, value, VALUE_SHOWN_BYTES);
    json = string_of(buf_slice(&text));
    buf_fini(&text);
    return json;
}

static bool take_command(const struct kafka_record *record, void *arg)
{
    struct explain *e = arg;
    char time[CLOCK_TEXT_SIZE];
    json_t *command;

    if (!names_order(e, record->value)) {
        return true;
    }
    command = show_value(record->value);
    note_user(e, command);
    clock_text(record->timestamp_ms, time);
    (void)json_array_append_new(e->commands,
                                json_pack("{s:I, s:s, s:o*}", "offset", (json_int_t)record->offset,
                                          "time", time, "command", command));
    return true;
}

/* Copies of an outcome follow it; the first tells all. */
static bool take_outcome(const struct kafka_record *record, void *arg)
{
    struct explain *e = arg;
    json_t *outcome;
    const json_t *event;
    json_int_t offset = -1;
    size_t i;

    if (!names_order(e, record->value)) {
        return true;
    }
    outcome = json_loadb(record->value.ptr, record->value.len, 0, NULL);
    if (json_unpack(outcome, "{s:I}", "offset", &offset) == 0 && offset > e->told) {
        e->told = offset;
        json_array_foreach(json_object_get(outcome, "events"), i, event)
        {
            const char *order_id = json_string_value(json_object_get(event, "order_id"));

            if (order_id != NULL && slice_eq(slice_str(order_id), e->order_id)) {
                note_user(e, event);
                (void)json_array_append_new(
                    e->events, json_pack("{s:I, s:O}", "offset", offset, "event", event));
            }
        }
    }
    json_decref(outcome);
    return true;
}

static void read_topic(struct explain *e, const char *topic, scan_fn *take)
{
    const struct kafka_settings kafka = settings_kafka(e->settings);
    struct kafka_start from = {.partition = e->partition};
    struct err err = {0};
    int64_t end;
    struct scan *scan = scan_create(&kafka, topic, e->settings->timeout_ms, &err);

    if (scan == NULL || !scan_range(scan, e->partition, &from.offset, &end, &err) ||
        !scan_read(scan, &from, end, take, e, &err)) {
        remark(e, EXPLAIN_UNKNOWN, "%s", err.text);
    } else if (from.offset > 0) {
        remark(e, EXPLAIN_AGREED, "%s begins at offset %" PRId64 ": what was before is not shown",
               topic, from.offset);
    }
    scan_destroy(scan);
}

/* ---- Redis and MySQL ---- */

/* Finds the order among a user's; *text is the entry as it stands there. */
static bool find_entry(const struct explain *e, struct slice value, struct slice *text,
                       struct order_entry *entry)
{
    while (value.len > 0) {
        struct slice one = *text = slice_cut(value, ';', &value);

        if (order_entry_next(&one, entry) == 1 && slice_eq(entry->order_id, e->order_id)) {
            return true;
        }
    }
    return false;
}

static void keep_entry(const struct explain *e, json_t *where, const char *user_id,
                       struct slice value)
{
    struct order_entry entry;
    struct slice text;

    if (find_entry(e, value, &text, &entry)) {
        (void)json_object_set_new(
            json_object_get(where, "orders"), user_id,
            json_pack("{s:o, s:s, s:o, s:I, s:s?, s:I, s:I, s:o}", "entry", string_of(text),
                      "state", order_state_name(entry.state), "item_id", string_of(entry.item_id),
                      "qty", (json_int_t)entry.qty, "reason",
                      entry.reason == REASON_NONE ? NULL : reason_name(entry.reason), "due",
                      (json_int_t)entry.due, "decided_offset", (json_int_t)entry.offset, "payments",
                      string_of(entry.payments)));
    }
}

/* The users' names; owned by the caller. */
static struct slice *list_users(const struct explain *e)
{
    struct slice *names = xcalloc(json_object_size(e->users) + 1, sizeof(*names));
    const char *user_id;
    const json_t *unused;
    size_t n = 0;

    json_object_foreach(e->users, user_id, unused)
    {
        names[n++] = slice_str(user_id);
    }
    return names;
}

static void ask_redis(struct explain *e)
{
    struct peek *redis = peek_create(&e->settings->redis, e->settings->redis_timeout_ms);
    const size_t n = json_object_size(e->users);
    struct slice *names = list_users(e);
    struct peek_answer answer = {0};
    struct err err = {0};

    if (!peek_lookup(redis, (struct peek_hash){e->partition, "orders"}, names, n, &answer, &err)) {
        remark(e, EXPLAIN_UNKNOWN, "%s", err.text);
    } else if (!answer.has_state) {
        remark(e, EXPLAIN_UNKNOWN, "redis has no state of partition %d", e->partition);
    } else {
        (void)json_object_set_new(e->redis, "watermark", json_integer(answer.watermark));
        for (size_t i = 0; i < answer.n; i++) {
            keep_entry(e, e->redis, names[i].ptr, answer.values[i]);
        }
    }
    peek_answer_fini(&answer);
    peek_destroy(redis);
    free(names);
}

static bool take_row(const struct slice *columns, unsigned n, void *arg)
{
    struct explain *e = arg;
    char user_id[IDS_MAX + 1];

    if (n != 3 || !ids_is_id(columns[0])) {
        return false;
    }
    (void)snprintf(user_id, sizeof(user_id), "%.*s", (int)columns[0].len, columns[0].ptr);
    (void)json_object_set_new(e->users, user_id, json_true());
    if (!slice_eq(columns[2], SLICE_LIT("1"))) {
        remark(e, EXPLAIN_AGREED, "user %s: %s in MySQL, no longer remembered by Redis", user_id,
               order_state_name((enum order_state)columns[1].ptr[0]));
    }
    return true;
}

/* Whose it is: all that is left when the log's head is gone. */
static bool find_users(struct explain *e, struct db *db, struct err *err)
{
    char text[200];
    struct buf sql;
    bool ok;

    buf_init_fixed(&sql, text, sizeof(text));
    buf_puts(&sql, "SELECT user_id, state, remembered FROM orders WHERE order_id = ");
    ledger_put_id(&sql, e->order_id);
    ok = db_connect(db, err) && db_query(db, buf_slice(&sql), take_row, e, err);
    db_rollback(db);
    return ok;
}

static bool take_field(const struct record_field *field, void *arg)
{
    struct explain *e = arg;
    char user_id[IDS_MAX + 1];

    (void)snprintf(user_id, sizeof(user_id), "%.*s", (int)field->name.len, field->name.ptr);
    if (field->is_unsure) {
        remark(e, EXPLAIN_UNKNOWN, "user %s: changed meanwhile; repeat the command", user_id);
    } else {
        keep_entry(e, e->mysql, user_id, field->value);
    }
    return true;
}

/* At Redis's watermark, if there is one. */
static bool ask_mysql(struct explain *e, struct db *db, struct err *err)
{
    const json_t *watermark = json_object_get(e->redis, "watermark");
    struct slice *names = list_users(e);
    struct record_range range = {
        .partition = e->partition,
        .table = RECORD_ORDERS,
        .watermark = watermark == NULL ? INT64_MAX : json_integer_value(watermark),
        .fields = names,
        .n_fields = json_object_size(e->users),
    };
    int64_t position;
    bool ok = record_begin(db, e->partition, watermark == NULL ? -1 : range.watermark,
                           clock_mono_ms() + e->settings->timeout_ms, &position, err);

    if (ok) {
        (void)json_object_set_new(e->mysql, "position", json_integer(position));
        ok = record_scan(db, &range, take_field, e, err);
        db_rollback(db);
    }
    free(names);
    return ok;
}

static void ask_stores(struct explain *e)
{
    const struct db_settings where = settings_db(e->settings);
    struct db *db = db_create(&where, DB_SESSION_READ);
    struct err err = {0};
    bool ok = find_users(e, db, &err);

    if (json_object_size(e->users) > 0) {
        ask_redis(e);
        ok = ok && ask_mysql(e, db, &err);
    }
    if (!ok) {
        remark(e, EXPLAIN_UNKNOWN, "%s", err.text);
    }
    db_destroy(db);
}

/* ---- what to make of it ---- */

static const char *entry_of(const json_t *where, const char *user_id)
{
    return json_string_value(
        json_object_get(json_object_get(json_object_get(where, "orders"), user_id), "entry"));
}

static void judge(struct explain *e)
{
    const char *user_id;
    const json_t *unused;

    if (e->status == EXPLAIN_AGREED && json_object_size(e->users) == 0) {
        remark(e, EXPLAIN_DIFFERENT, "nobody knows this order: it was never ordered, or not here");
    }
    json_object_foreach(e->users, user_id, unused)
    {
        const char *redis = entry_of(e->redis, user_id);
        const char *mysql = entry_of(e->mysql, user_id);

        if (e->status != EXPLAIN_UNKNOWN && (redis == NULL) != (mysql == NULL)) {
            remark(e, EXPLAIN_DIFFERENT, "user %s: only %s has it", user_id,
                   redis == NULL ? "mysql" : "redis");
        } else if (redis != NULL && mysql != NULL && strcmp(redis, mysql) != 0) {
            remark(e, EXPLAIN_DIFFERENT, "user %s: redis and mysql differ", user_id);
        }
    }
}

static const char *const status_names[] = {
    [EXPLAIN_AGREED] = "agreed", [EXPLAIN_DIFFERENT] = "different", [EXPLAIN_UNKNOWN] = "unknown"};

static void put_json(struct buf *out, const json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);

    buf_puts(out, text == NULL ? "null" : text);
    free(text);
}

static void put_line(struct buf *out, const json_t *line, const char *what)
{
    const char *time = json_string_value(json_object_get(line, "time"));

    buf_printf(out, "  %10" JSON_INTEGER_FORMAT "  %-24s  %s ",
               json_integer_value(json_object_get(line, "offset")), time == NULL ? "" : time, what);
    put_json(out, json_object_get(line, what));
    buf_putc(out, '\n');
}

/* Each command, and below it what became of it. */
static void put_history(const struct explain *e, struct buf *out)
{
    size_t n_told = 0;

    for (size_t i = 0; i <= json_array_size(e->commands); i++) {
        const json_t *command = json_array_get(e->commands, i);
        const json_t *event;

        while ((event = json_array_get(e->events, n_told)) != NULL &&
               (command == NULL || json_integer_value(json_object_get(event, "offset")) <
                                       json_integer_value(json_object_get(command, "offset")))) {
            put_line(out, event, "event");
            n_told++;
        }
        if (command != NULL) {
            put_line(out, command, "command");
        }
    }
}

static void put_store(struct buf *out, const char *name, const json_t *at, json_t *orders)
{
    const char *user_id;
    const json_t *order;

    buf_puts(out, name);
    if (at != NULL) {
        buf_printf(out, " at %" JSON_INTEGER_FORMAT, json_integer_value(at));
    }
    buf_puts(out, json_object_size(orders) == 0 ? ": not there\n" : ":\n");
    json_object_foreach(orders, user_id, order)
    {
        buf_printf(out, "  user %s, %s: %s\n", user_id,
                   json_string_value(json_object_get(order, "state")),
                   json_string_value(json_object_get(order, "entry")));
    }
}

static void put_text(const struct explain *e, struct buf *out)
{
    const json_t *text;
    size_t i;

    buf_printf(out, "order %.*s, partition %d\n", (int)e->order_id.len, e->order_id.ptr,
               e->partition);
    put_history(e, out);
    put_store(out, "redis", json_object_get(e->redis, "watermark"),
              json_object_get(e->redis, "orders"));
    put_store(out, "mysql", json_object_get(e->mysql, "position"),
              json_object_get(e->mysql, "orders"));
    json_array_foreach(e->remarks, i, text)
    {
        buf_printf(out, "%s\n", json_string_value(text));
    }
    buf_printf(out, "%s\n", status_names[e->status]);
}

static bool begin(struct explain *e)
{
    bool is_keyed;

    e->doc = json_pack("{s:s, s:[], s:[], s:{s:{}}, s:{s:{}}, s:[]}", "order_id", e->order_id.ptr,
                       "commands", "events", "redis", "orders", "mysql", "orders", "remarks");
    e->commands = json_object_get(e->doc, "commands");
    e->events = json_object_get(e->doc, "events");
    e->redis = json_object_get(e->doc, "redis");
    e->mysql = json_object_get(e->doc, "mysql");
    e->remarks = json_object_get(e->doc, "remarks");
    e->users = json_object();
    e->told = -1;
    if (!ids_parse_order(e->order_id, &e->partition, &is_keyed) ||
        e->partition >= e->settings->kafka.partitions) {
        return false;
    }
    (void)json_object_set_new(e->doc, "partition", json_integer(e->partition));
    (void)json_object_set_new(e->doc, "keyed", json_boolean(is_keyed));
    return true;
}

int explain_run(const struct settings *settings)
{
    struct explain e = {.settings = settings};
    struct buf out;

    if (settings->n_words != 1) {
        (void)fputs("seckill-guardian: explain ORDER_ID, as the door gave it; see --help\n",
                    stderr);
        return EXPLAIN_USAGE;
    }
    e.order_id = slice_str(settings->words[0]);
    buf_init(&out, OUT_BYTES);
    if (!begin(&e)) {
        (void)fprintf(stderr,
                      "seckill-guardian: %s is no order id of a partition below %" PRId64 "\n",
                      settings->words[0], settings->kafka.partitions);
        e.status = EXPLAIN_USAGE;
    } else {
        read_topic(&e, settings->kafka.topic_orders, take_command);
        read_topic(&e, settings->kafka.topic_outcomes, take_outcome);
        ask_stores(&e);
        judge(&e);
        (void)json_object_set_new(e.doc, "status", json_string(status_names[e.status]));
        if (settings->json) {
            put_json(&out, e.doc);
            buf_putc(&out, '\n');
        } else {
            put_text(&e, &out);
        }
        if (!report_print(&out)) {
            e.status = EXPLAIN_UNKNOWN;
        }
    }
    buf_fini(&out);
    json_decref(e.users);
    json_decref(e.doc);
    (void)kafka_wait_ended(1000);
    return e.status;
}
