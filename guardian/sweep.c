#include "guardian/sweep.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/command.h"
#include "common/outcome.h"
#include "common/xmalloc.h"
#include "guardian/record.h"

enum {
    FIELDS_PER_CHUNK = 500,
    CHUNKS_AHEAD = 32,
    REPEATS_MAX = 20,
    REPEAT_PAUSE_MS = 100,
    NAMES_BYTES = 4 << 20,
};

/* Names, copied; those to look at once more, or the users of a piece of MySQL. */
struct names {
    struct command_text *at;
    size_t n, room;
};

static void add_name(struct names *names, struct slice name)
{
    if (names->n == names->room) {
        names->room = names->room == 0 ? 256 : 2 * names->room;
        names->at = xreallocarray(names->at, names->room, sizeof(*names->at));
    }
    /* Longer ones are no ids; whoever gave them has reported them. */
    names->n += command_set_text(&names->at[names->n], name) ? 1 : 0;
}

/* Some fields of one table as Redis has them, being compared with MySQL. */
struct piece {
    struct sweep *sweep;
    int partition;
    enum record_table table;
    const struct slice *fields, *values; /* values: absent where Redis has none */
    size_t n;
    int64_t watermark;
    bool is_backwards; /* what Redis has was compared before: only look for what it lacks */
    bool *is_seen;     /* MySQL has it */
    struct names *again;
};

static void differ(struct sweep *s, int partition, enum record_table table, struct slice name,
                   const char *fmt, ...) ATTR_PRINTF(5, 6);

static void differ(struct sweep *s, int partition, enum record_table table, struct slice name,
                   const char *fmt, ...)
{
    char text[400];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    report_difference(s->report, "partition %d: %s %.*s: %s", partition, record_redis_name(table),
                      (int)name.len, name.ptr, text);
}

/* What is compared of a value in Redis. */
static struct slice part_of(enum record_table table, struct slice value)
{
    for (int i = 0; table == RECORD_CONFIGS && i < 4; i++) {
        struct slice rest;

        (void)slice_cut(value, ' ', &rest);
        value = rest;
    }
    return value;
}

/* Names the first order in which two users' values differ. */
static void tell_orders(const struct piece *p, struct slice user, struct slice redis,
                        struct slice mysql)
{
    struct slice a, b;

    while (redis.len > 0 || mysql.len > 0) {
        struct slice redis_rest, mysql_rest;

        a = slice_cut(redis, ';', &redis_rest);
        b = slice_cut(mysql, ';', &mysql_rest);
        if (!slice_eq(a, b)) {
            differ(p->sweep, p->partition, p->table, user, "redis \"%.*s\", mysql \"%.*s\"",
                   (int)a.len, a.ptr, (int)b.len, b.ptr);
            return;
        }
        redis = redis_rest;
        mysql = mysql_rest;
    }
}

static size_t place_of(const struct piece *p, struct slice name)
{
    for (size_t i = 0; i < p->n; i++) {
        if (!p->is_seen[i] && slice_eq(p->fields[i], name)) {
            return i;
        }
    }
    return p->n;
}

static bool compare_field(const struct record_field *field, void *arg)
{
    struct piece *p = arg;
    size_t i = place_of(p, field->name);
    struct slice redis;

    if (i == p->n) {
        return true;
    }
    p->is_seen[i] = true;
    if (p->is_backwards && p->values[i].ptr != NULL) {
        return true;
    }
    if (field->is_unsure) {
        add_name(p->again, field->name);
        return true;
    }
    if (p->values[i].ptr == NULL) {
        differ(p->sweep, p->partition, p->table, field->name, "redis lacks it, mysql has \"%.*s\"",
               (int)field->value.len, field->value.ptr);
        return true;
    }
    redis = part_of(p->table, p->values[i]);
    if (slice_eq(redis, field->value)) {
        return true;
    }
    if (p->table == RECORD_ORDERS) {
        tell_orders(p, field->name, redis, field->value);
    } else {
        differ(p->sweep, p->partition, p->table, field->name, "redis \"%.*s\", mysql \"%.*s\"",
               (int)redis.len, redis.ptr, (int)field->value.len, field->value.ptr);
    }
    return true;
}

static void count(struct sweep *s, enum record_table table, size_t n)
{
    size_t configs = 0;
    size_t *const counters[RECORD_TABLES] = {
        [RECORD_ITEMS] = &s->items,           [RECORD_CONFIGS] = &configs,
        [RECORD_ORDERS] = &s->users,          [RECORD_PAYMENTS] = &s->payments,
        [RECORD_OPERATIONS] = &s->operations,
    };

    *counters[table] += n;
}

/* Compares some fields of Redis with what MySQL has of them. */
static bool compare_piece(struct piece *p, struct err *err)
{
    struct sweep *s = p->sweep;
    const struct record_range range = {
        .partition = p->partition,
        .table = p->table,
        .watermark = p->watermark,
        .fields = p->fields,
        .n_fields = p->n,
    };
    int64_t position;
    bool ok;

    if (p->n == 0) {
        return true;
    }
    p->is_seen = xcalloc(p->n, sizeof(*p->is_seen));
    ok = record_begin(s->db, p->partition, p->watermark, clock_mono_ms() + s->patience_ms,
                      &position, err) &&
         record_scan(s->db, &range, compare_field, p, err);
    db_rollback(s->db);
    for (size_t i = 0; ok && i < p->n && !p->is_backwards; i++) {
        if (!p->is_seen[i] && p->values[i].ptr != NULL) {
            differ(s, p->partition, p->table, p->fields[i], "mysql lacks it, redis has \"%.*s\"",
                   (int)p->values[i].len, p->values[i].ptr);
        }
    }
    free(p->is_seen);
    return ok;
}

static bool no_state(int partition, struct err *err)
{
    return err_set(err, ERR_RETRY, "partition %d: redis has no state", partition);
}

/* Fields of Redis that are yet to be compared; values point into the answer. */
struct chunk {
    struct peek_answer answer;
    struct slice *fields, *values;
    size_t n;
};

/*
 * One table of one partition, in one direction.  Redis is read some chunks ahead, so that MySQL, which
 * lags behind it, is waited for once for all of them.
 */
struct pass {
    struct sweep *sweep;
    int partition;
    enum record_table table;
    bool is_backwards;
    struct names again;
    struct chunk ahead[CHUNKS_AHEAD];
    size_t n_ahead;
};

static void drop_ahead(struct pass *pass)
{
    for (size_t i = 0; i < pass->n_ahead; i++) {
        struct chunk *chunk = &pass->ahead[i];

        peek_answer_fini(&chunk->answer);
        free(chunk->fields);
        free(chunk->values);
        *chunk = (struct chunk){0};
    }
    pass->n_ahead = 0;
}

/* Compares what was read ahead. */
static bool compare_ahead(struct pass *pass, struct names *again, struct err *err)
{
    bool ok = true;

    for (size_t i = 0; ok && i < pass->n_ahead; i++) {
        struct piece piece = {
            .sweep = pass->sweep,
            .partition = pass->partition,
            .table = pass->table,
            .is_backwards = pass->is_backwards,
            .fields = pass->ahead[i].fields,
            .values = pass->ahead[i].values,
            .n = pass->ahead[i].n,
            .watermark = pass->ahead[i].answer.watermark,
            .again = again,
        };

        ok = compare_piece(&piece, err);
    }
    drop_ahead(pass);
    return ok;
}

/* Room for a chunk of n fields, which the caller fills from chunk->answer. */
static struct chunk *next_chunk(struct pass *pass, size_t n)
{
    struct chunk *chunk = &pass->ahead[pass->n_ahead++];

    chunk->n = n;
    chunk->fields = xreallocarray(chunk->fields, n + 1, sizeof(*chunk->fields));
    chunk->values = xreallocarray(chunk->values, n + 1, sizeof(*chunk->values));
    return chunk;
}

/* Looks some fields up in Redis and compares them. */
static bool compare_names(struct pass *pass, const struct names *names, struct names *again,
                          struct err *err)
{
    const struct peek_hash hash = {pass->partition, record_redis_name(pass->table)};
    bool ok = true;

    for (size_t from = 0; ok && from < names->n; from += FIELDS_PER_CHUNK) {
        struct chunk *chunk = next_chunk(
            pass, names->n - from < FIELDS_PER_CHUNK ? names->n - from : FIELDS_PER_CHUNK);

        for (size_t i = 0; i < chunk->n; i++) {
            chunk->fields[i] = command_text(&names->at[from + i]);
        }
        ok = peek_lookup(pass->sweep->redis, hash, chunk->fields, chunk->n, &chunk->answer, err) &&
             (chunk->answer.has_state || no_state(pass->partition, err));
        for (size_t i = 0; ok && i < chunk->n; i++) {
            chunk->values[i] = chunk->answer.values[i];
        }
        if (ok && pass->n_ahead == CHUNKS_AHEAD) {
            ok = compare_ahead(pass, again, err);
        }
    }
    ok = ok && compare_ahead(pass, again, err);
    drop_ahead(pass);
    return ok;
}

static int compare_texts(const void *a, const void *b)
{
    const struct command_text *x = a, *y = b;
    const size_t len = x->len < y->len ? x->len : y->len;
    const int order = memcmp(x->s, y->s, len);

    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

/* A hash that shrinks while it is scanned gives some fields twice; MySQL's answer has each once. */
static void drop_repeated(struct names *names)
{
    size_t kept = 0;

    if (names->n > 0) {
        qsort(names->at, names->n, sizeof(*names->at), compare_texts);
    }
    for (size_t i = 0; i < names->n; i++) {
        if (kept == 0 || compare_texts(&names->at[kept - 1], &names->at[i]) != 0) {
            names->at[kept++] = names->at[i];
        }
    }
    names->n = kept;
}

/* What had changed is looked at again; under traffic some of it changes once more. */
static bool compare_again(struct pass *pass, struct err *err)
{
    const struct timespec pause = {.tv_nsec = REPEAT_PAUSE_MS * 1000000L};
    struct names *names = &pass->again;
    bool ok = true;

    drop_repeated(names);
    for (int round = 0; ok && names->n > 0 && round < REPEATS_MAX; round++) {
        struct names again = {0};

        pass->sweep->repeated += names->n;
        if (round > 0) {
            (void)nanosleep(&pause, NULL);
        }
        ok = compare_names(pass, names, &again, err);
        free(names->at);
        *names = again;
    }
    /* An item that sells all the time never stands still; the mark has compared its counters. */
    if (ok && names->n > 0 && pass->table != RECORD_ITEMS) {
        report_unchecked(pass->sweep->report, "partition %d: %zu fields of %s change all the time",
                         pass->partition, names->n, record_redis_name(pass->table));
    }
    return ok;
}

static bool sweep_forwards(struct pass *pass, struct err *err)
{
    const struct peek_hash hash = {pass->partition, record_redis_name(pass->table)};
    char cursor[PEEK_CURSOR_BYTES] = "0";
    bool ok;

    do {
        struct chunk *chunk;
        struct peek_answer answer = {0};

        ok = peek_chunk(pass->sweep->redis, hash, cursor, FIELDS_PER_CHUNK, &answer, err) &&
             (answer.has_state || no_state(pass->partition, err));
        chunk = next_chunk(pass, ok ? answer.n / 2 : 0);
        chunk->answer = answer;
        for (size_t i = 0; i < chunk->n; i++) {
            chunk->fields[i] = answer.values[2 * i];
            chunk->values[i] = answer.values[2 * i + 1];
        }
        memcpy(cursor, answer.cursor, sizeof(cursor));
        count(pass->sweep, pass->table, chunk->n);
        if (ok && pass->n_ahead == CHUNKS_AHEAD) {
            ok = compare_ahead(pass, &pass->again, err);
        }
    } while (ok && strcmp(cursor, "0") != 0);
    ok = ok && compare_ahead(pass, &pass->again, err);
    drop_ahead(pass);
    return ok;
}

/* The next fields of MySQL in key order, whatever their values. */
static bool take_name(const struct slice *columns, unsigned n, void *arg)
{
    (void)n;
    add_name(arg, columns[0]);
    return true;
}

static bool next_names(const struct pass *pass, const struct command_text *after,
                       struct names *names, struct err *err)
{
    static const char *const selects[RECORD_TABLES] = {
        [RECORD_ITEMS] = "SELECT item_id FROM items WHERE partition_id = %d AND item_id > x'",
        [RECORD_CONFIGS] = "SELECT item_id FROM items WHERE partition_id = %d AND item_id > x'",
        [RECORD_ORDERS] =
            "SELECT DISTINCT user_id FROM orders WHERE partition_id = %d AND user_id > x'",
        [RECORD_PAYMENTS] =
            "SELECT payment_id FROM payments WHERE partition_id = %d AND payment_id > x'",
        [RECORD_OPERATIONS] = "SELECT op_id FROM operations WHERE partition_id = %d AND op_id > x'",
    };
    struct slice select = slice_str(selects[pass->table]);
    struct slice rest;
    struct slice head = slice_cut(select, '%', &rest);
    struct buf sql;
    int64_t position;
    bool ok;

    buf_init(&sql, 1024);
    buf_put_slice(&sql, head);
    buf_put_i64(&sql, pass->partition);
    buf_put_slice(&sql, (struct slice){rest.ptr + 1, rest.len - 1});
    for (size_t i = 0; i < after->len; i++) {
        buf_printf(&sql, "%02x", (unsigned char)after->s[i]);
    }
    buf_printf(&sql, "' ORDER BY 1 LIMIT %d", FIELDS_PER_CHUNK * CHUNKS_AHEAD);
    names->n = 0;
    ok = record_begin(pass->sweep->db, pass->partition, -1, 0, &position, err) &&
         db_query(pass->sweep->db, buf_slice(&sql), take_name, names, err);
    db_rollback(pass->sweep->db);
    buf_fini(&sql);
    return ok;
}

static bool sweep_backwards(struct pass *pass, struct err *err)
{
    struct command_text after = {0};
    struct names names = {0};
    bool ok;

    do {
        ok =
            next_names(pass, &after, &names, err) && compare_names(pass, &names, &pass->again, err);
        if (names.n > 0) {
            after = names.at[names.n - 1];
        }
    } while (ok && names.n == (size_t)FIELDS_PER_CHUNK * CHUNKS_AHEAD);
    free(names.at);
    return ok;
}

bool sweep_partition(struct sweep *s, int partition)
{
    struct err err = {0};
    bool ok = true;

    for (int step = 0; ok && step < 2 * RECORD_TABLES; step++) {
        struct pass pass = {
            .sweep = s,
            .partition = partition,
            .table = (enum record_table)(step / 2),
            .is_backwards = step % 2 == 1,
        };

        ok = (pass.is_backwards ? sweep_backwards(&pass, &err) : sweep_forwards(&pass, &err)) &&
             compare_again(&pass, &err);
        free(pass.again.at);
    }
    if (!ok) {
        report_unchecked(s->report, "%s", err.text);
    }
    return ok;
}
