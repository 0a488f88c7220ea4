#include "tests/sim/mysql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/hex.h"
#include "guardian/mark.h"
#include "tests/sim/log.h"

enum {
    COLUMNS_MAX = 20,
    TEXT_SIZE = 80,
};

struct db {
    struct world *w;
    struct shard *s;    /* of the transaction; NULL: none was begun */
    struct mysql work;  /* what it has made so far */
    int64_t statements; /* until the connection breaks; -1: it does not */
    enum mysql_fate fate;
};

/* A value of a row as it was written. */
struct value {
    char text[TEXT_SIZE];
    int64_t number;
};

static struct db the_db;

/* ---- reading statements ---- */

static const char *after(const char *sql, const char *what)
{
    const char *at = strstr(sql, what);

    if (at == NULL) {
        wrong(the_db.w, "the simulated MySQL does not know: %.200s", sql);
    }
    return at + strlen(what);
}

static int64_t number_after(const char *sql, const char *what)
{
    return strtoll(after(sql, what), NULL, 10);
}

/* x'..', '..', a number or NULL; returns what follows. */
static const char *read_value(const char *at, struct value *value)
{
    const bool is_hex = *at == 'x';
    size_t n = 0;
    char *end;

    memset(value, 0, sizeof(*value));
    if (is_hex || *at == '\'') {
        at += is_hex ? 2 : 1;
        for (; *at != '\''; at += is_hex ? 2 : 1) {
            value->text[n] = *at;
            if (is_hex && !hex_decode((struct slice){at, 2}, &value->text[n], 1)) {
                wrong(the_db.w, "the simulated MySQL reads a value that is not hexadecimal");
            }
            n++;
        }
        return at + 1;
    }
    if (strncmp(at, "NULL", 4) == 0) {
        return at + 4;
    }
    value->number = strtoll(at, &end, 10);
    return end;
}

/* A row in brackets; returns what follows it. */
static const char *read_row(const char *at, struct value *values)
{
    size_t n = 0;

    do {
        at = read_value(at + 1, &values[n++]);
    } while (*at == ',' && n < COLUMNS_MAX);
    return at + 1;
}

static void set_text(char *out, size_t size, const struct value *value)
{
    tables_name(out, size, slice_str(value->text));
}

static bool refuse(struct err *err, const char *why)
{
    return err_set(err, ERR_FATAL, "mysql: %s", why);
}

/* ---- the tables ---- */

/* The item is part of the key. */
static struct row_order *find_order(struct tables *t, const struct row_order *row)
{
    for (size_t i = 0; i < t->n_orders; i++) {
        struct row_order *known = &t->orders[i];

        if (strcmp(known->order_id, row->order_id) == 0 &&
            strcmp(known->user_id, row->user_id) == 0 &&
            strcmp(known->item_id, row->item_id) == 0) {
            return known;
        }
    }
    return NULL;
}

static bool insert_order(struct tables *t, const struct value *v, const char *sql,
                         int64_t *affected, struct err *err)
{
    struct row_order row = {.qty = v[4].number,
                            .state = (unsigned char)v[5].text[0],
                            .reason = v[6].number,
                            .due = v[8].number,
                            .decided_offset = v[9].number};
    const char *prior = strstr(sql, "changed_offset = IF(state = '");
    struct row_order *known;
    size_t place;

    set_text(row.order_id, sizeof(row.order_id), &v[0]);
    set_text(row.user_id, sizeof(row.user_id), &v[1]);
    set_text(row.item_id, sizeof(row.item_id), &v[3]);
    known = find_order(t, &row);
    if (known == NULL) {
        *affected += 1;
        return tables_add_order(t, &row, v[7].number == 0) || refuse(err, "no room");
    }
    place = (size_t)(known - t->orders);
    if (prior != NULL) {
        if (known->state == (unsigned char)*after(prior, "IF(state = '")) {
            *affected += 2;
            tables_toggle_order(t, known);
            known->state = row.state;
            tables_toggle_order(t, known);
        }
        return true;
    }
    if (strstr(sql, "UPDATE order_id = VALUES(order_id)") != NULL) {
        return true; /* refused, and there is more to be known of it */
    }
    if (!t->is_forgotten[place] || t->archived[place] > 0) {
        return refuse(err, "CHECK orders_remembered: an order is decided twice");
    }
    t->is_forgotten[place] = v[7].number == 0;
    *known = row;
    tables_toggle_order(t, known);
    *affected += 2;
    return true;
}

static bool insert_payment(struct tables *t, const struct value *v, struct err *err)
{
    struct row_payment row = {
        .answer = v[4].text[0] == 'p' ? 'P' : 'R', .reason = v[5].number, .offset = v[7].number};

    set_text(row.payment_id, sizeof(row.payment_id), &v[1]);
    set_text(row.order_id, sizeof(row.order_id), &v[2]);
    if (tables_payment(t, row.payment_id) != NULL) {
        return refuse(err, "1062: a payment twice");
    }
    return tables_add_payment(t, &row) || refuse(err, "no room");
}

static bool insert_operation(struct tables *t, const struct value *v, struct err *err)
{
    struct row_operation row = {.offset = v[3].number};

    set_text(row.op_id, sizeof(row.op_id), &v[1]);
    set_text(row.item_id, sizeof(row.item_id), &v[2]);
    if (tables_operation(t, row.op_id) != NULL) {
        return refuse(err, "1062: an operation twice");
    }
    return tables_add_operation(t, &row) || refuse(err, "no room");
}

/* Rows of the journal have (offset, index) as key, and come in that order. */
static bool insert_journal(int64_t *last, int64_t offset, int64_t index, struct err *err)
{
    const int64_t key = offset * 1000 + index;

    if (key <= *last) {
        return refuse(err, "1062: a journal's row twice");
    }
    *last = key;
    return true;
}

static bool is_sound(const struct row_item *item)
{
    return item->total == item->available + item->held + item->sold && item->available >= 0 &&
           item->held >= 0 && item->sold >= 0;
}

static bool insert_item(struct tables *t, const struct value *v, struct err *err)
{
    struct row_item row = {.total = v[2].number,
                           .available = v[3].number,
                           .held = v[4].number,
                           .sold = v[5].number,
                           .limit = v[6].number,
                           .hold_ms = v[7].number,
                           .opens_at = v[8].number,
                           .closes_at = v[9].number,
                           .state = (unsigned char)v[10].text[0],
                           .price = v[11].number};

    set_text(row.item_id, sizeof(row.item_id), &v[0]);
    if (tables_item(t, row.item_id) != NULL || !is_sound(&row)) {
        return refuse(err, "1062 or CHECK: an item");
    }
    return tables_add_item(t, &row) || refuse(err, "no room");
}

static void copy(struct mysql *to, const struct mysql *from)
{
    to->progress = from->progress;
    to->last_move = from->last_move;
    tables_copy(&to->tables, &from->tables);
}

static bool insert_row(struct mysql *m, const struct value *v, const char *sql, int64_t *affected,
                       struct err *err)
{
    const char *table = sql + strlen("INSERT INTO ");

    if (strncmp(table, "orders", 6) == 0) {
        return insert_order(&m->tables, v, sql, affected, err);
    }
    *affected += 1;
    if (strncmp(table, "payments", 8) == 0) {
        return insert_payment(&m->tables, v, err);
    }
    if (strncmp(table, "operations", 10) == 0) {
        return insert_operation(&m->tables, v, err);
    }
    if (strncmp(table, "journal", 7) == 0) {
        return insert_journal(&m->last_move, v[1].number, v[2].number, err);
    }
    return insert_item(&m->tables, v, err);
}

static bool insert_rows(struct mysql *m, const char *sql, int64_t *affected, struct err *err)
{
    const char *at = after(sql, " VALUES ");
    struct value values[COLUMNS_MAX];

    while (*at == '(' || *at == ',') {
        at = read_row(*at == ',' ? at + 1 : at, values);
        if (!insert_row(m, values, sql, affected, err)) {
            return false;
        }
    }
    return true;
}

static bool update_item(struct mysql *m, const char *sql, int64_t *affected, struct err *err)
{
    struct value id;
    struct row_item *item;

    (void)read_value(after(sql, " WHERE item_id = "), &id);
    item = tables_item(&m->tables, id.text);
    if (item == NULL) {
        return true;
    }
    tables_toggle_item(&m->tables, item);
    item->total += number_after(sql, "total = total + (");
    item->available += number_after(sql, "available = available + (");
    item->held += number_after(sql, "held = held + (");
    item->sold += number_after(sql, "sold = sold + (");
    if (strstr(sql, "item_limit = ") != NULL) {
        item->limit = number_after(sql, "item_limit = ");
        item->hold_ms = number_after(sql, "hold_ms = ");
        item->opens_at = number_after(sql, "opens_at = ");
        item->closes_at = number_after(sql, "closes_at = ");
        item->state = (unsigned char)*after(sql, " state = '");
        item->price = number_after(sql, "price = ");
    }
    tables_toggle_item(&m->tables, item);
    *affected = 1;
    return is_sound(item) || refuse(err, "CHECK: an item's counters");
}

/* An archive: the item, which must be closed and have these counters. */
static void update_archived(struct mysql *m, const char *sql, int64_t *affected)
{
    struct value id;
    struct row_item *item;

    (void)read_value(after(sql, " AND item_id = "), &id);
    item = tables_item(&m->tables, id.text);
    if (item == NULL || (item->state != 'c' && item->state != 'a') || item->held != 0 ||
        item->total != number_after(sql, " AND total = ") ||
        item->sold != number_after(sql, " AND sold = ")) {
        return;
    }
    tables_toggle_item(&m->tables, item);
    item->state = 'a';
    tables_toggle_item(&m->tables, item);
    *affected = 1;
}

/* ... and the orders of the users that it names. */
static void forget_orders(struct mysql *m, const char *sql, int64_t *affected)
{
    const char *at = after(sql, " IN (") - 1;
    char users[USERS * NAME_SIZE] = "";
    struct value item_id;
    size_t n = 0;

    while (*at == '(' || *at == ',') {
        struct value id;

        at = read_value(at + 1, &id);
        n += (size_t)snprintf(users + n, sizeof(users) - n, "%s%s", n == 0 ? "" : ",", id.text);
    }
    (void)read_value(after(sql, " AND item_id = "), &item_id);
    *affected = tables_archive(&m->tables, item_id.text, (struct slice){users, n},
                               number_after(sql, "changed_offset = "));
}

static void update_progress(struct mysql *m, const char *sql, int64_t *affected)
{
    struct progress *p = &m->progress;
    struct value text;

    if (number_after(sql, " AND position = ") != p->position) {
        return;
    }
    p->position = number_after(sql, "position = ");
    (void)read_value(after(sql, "genesis = "), &text);
    memcpy(p->genesis, text.text, sizeof(p->genesis));
    (void)read_value(after(sql, "chain = "), &text);
    p->chain = strtoull(text.text, NULL, 16);
    p->partitions = number_after(sql, "partitions = ");
    p->rules = number_after(sql, "rules = ");
    p->log_time = number_after(sql, "log_time = ");
    p->outcomes_offset = number_after(sql, "outcomes_offset = ");
    *affected = 1;
}

/* ---- guardian/db.h ---- */

static bool is_broken(struct db *db, struct err *err)
{
    if (db->statements == 0) {
        (void)err_set(err, ERR_RETRY, "the connection breaks");
        return true;
    }
    db->statements--;
    return false;
}

bool db_connect(struct db *db, struct err *err)
{
    db->s = NULL;
    return !is_broken(db, err);
}

bool db_exec(struct db *db, struct slice sql, int64_t *affected, struct err *err)
{
    struct mysql *m = &db->work;
    int64_t n = 0;
    bool ok = true;

    if (is_broken(db, err)) {
        return false;
    }
    if (strncmp(sql.ptr, "INSERT", 6) == 0) {
        ok = insert_rows(m, sql.ptr, &n, err);
    } else if (strncmp(sql.ptr, "UPDATE items SET state = 'a'", 28) == 0) {
        update_archived(m, sql.ptr, &n);
    } else if (strncmp(sql.ptr, "UPDATE items", 12) == 0) {
        ok = update_item(m, sql.ptr, &n, err);
    } else if (strncmp(sql.ptr, "UPDATE orders", 13) == 0) {
        forget_orders(m, sql.ptr, &n);
    } else {
        update_progress(m, sql.ptr, &n);
    }
    if (affected != NULL) {
        *affected = n;
    }
    return ok;
}

static void answer_progress(struct db *db, const char *sql, db_row_fn *row, void *arg)
{
    const struct progress *p;
    char texts[7][24];
    char chain[IDS_HASH_LEN + 1];
    struct slice columns[7];

    db->s = &db->w->shards[number_after(sql, "partition_id = ")];
    copy(&db->work, &db->s->mysql);
    p = &db->work.progress;
    ids_hash_format(chain, p->chain);
    (void)snprintf(texts[0], sizeof(texts[0]), "%" PRId64, p->position);
    (void)snprintf(texts[3], sizeof(texts[3]), "%" PRId64, p->partitions);
    (void)snprintf(texts[4], sizeof(texts[4]), "%" PRId64, p->rules);
    (void)snprintf(texts[5], sizeof(texts[5]), "%" PRId64, p->log_time);
    (void)snprintf(texts[6], sizeof(texts[6]), "%" PRId64, p->outcomes_offset);
    for (size_t i = 0; i < 7; i++) {
        columns[i] = slice_str(i == 1 ? p->genesis : i == 2 ? chain : texts[i]);
    }
    (void)row(columns, 7, arg);
}

/* `SELECT id, number FROM ... WHERE id IN (...)`: totals of items, or remembered orders of users. */
static void answer_question(struct db *db, const char *sql, db_row_fn *row, void *arg)
{
    const bool is_items = strstr(sql, "FROM items") != NULL;
    const char *at = after(sql, " IN (") - 1;
    struct tables *t = &db->work.tables;

    while (*at == '(' || *at == ',') {
        struct value id;
        char text[24];
        int64_t n = 0;
        bool is_there = !is_items;

        at = read_value(at + 1, &id);
        if (is_items) {
            const struct row_item *item = tables_item(t, id.text);

            is_there = item != NULL;
            n = is_there ? item->total : 0;
        } else {
            for (size_t i = 0; i < t->n_orders; i++) {
                n += strcmp(t->orders[i].user_id, id.text) == 0 && !t->is_forgotten[i] ? 1 : 0;
            }
        }
        (void)snprintf(text, sizeof(text), "%" PRId64, n);
        if (is_there) {
            const struct slice columns[] = {slice_str(id.text), slice_str(text)};

            (void)row(columns, 2, arg);
        }
    }
}

bool db_query(struct db *db, struct slice sql, db_row_fn *row, void *arg, struct err *err)
{
    if (is_broken(db, err)) {
        return false;
    }
    if (strstr(sql.ptr, "FROM progress") != NULL) {
        answer_progress(db, sql.ptr, row, arg);
    } else {
        answer_question(db, sql.ptr, row, arg);
    }
    return true;
}

bool db_commit(struct db *db, struct err *err)
{
    struct shard *s = db->s;

    if (is_broken(db, err) || s == NULL) {
        return false;
    }
    if (db->fate == MYSQL_NO_COMMIT) {
        return err_set(err, ERR_RETRY, "the connection breaks at COMMIT");
    }
    if (s->n_mysql_past == MYSQL_PAST_MAX) {
        for (size_t i = 1; i < MYSQL_PAST_MAX; i++) {
            copy(&s->mysql_past[i - 1], &s->mysql_past[i]);
        }
        s->n_mysql_past--;
    }
    copy(&s->mysql_past[s->n_mysql_past++], &s->mysql);
    copy(&s->mysql, &db->work);
    seen(COVER_COMMIT);
    if (db->fate == MYSQL_LOST_REPLY) {
        seen(COVER_COMMIT_LOST);
        return err_set(err, ERR_RETRY, "the connection breaks behind COMMIT");
    }
    return true;
}

void db_rollback(struct db *db)
{
    db->s = NULL;
}

/* Promise 7: at one position of the log both have the same counters. */
bool mark_record_run(struct db *db, const struct ledger *l, struct err *err)
{
    const struct ledger_mark *mark = ledger_mark(l);
    struct tables *t = &db->work.tables;

    (void)err;
    for (size_t i = 0; i < mark->n_items && !mark->is_skipped; i++) {
        const struct event_item *told = &mark->items[i];
        const struct row_item *item = tables_item(t, told->item_id.s);

        if (item == NULL || item->total != told->total || item->available != told->available ||
            item->held != told->held || item->sold != told->sold) {
            wrong(db->w, "promise 7 is broken: the mark at %" PRId64 " finds other counters",
                  mark->offset);
        }
    }
    seen(COVER_MARK);
    return true;
}

/* ---- the simulator's side ---- */

enum commit_result mysql_commit(struct world *w, struct ledger *ledger, enum mysql_fate fate,
                                struct progress *now, struct err *err)
{
    enum commit_result result;

    the_db.w = w;
    the_db.s = NULL;
    the_db.fate = fate;
    the_db.statements = fate == MYSQL_BREAKS ? below(w, 10) : -1;
    result = commit_batch(&the_db, ledger, &w->sql, now, err);
    mysql_check(w, &w->shards[ledger_partition(ledger)]);
    return result;
}

void mysql_fail_over(struct world *w, struct shard *s)
{
    size_t i;

    if (s->n_mysql_past == 0) {
        return;
    }
    i = (size_t)below(w, (int64_t)s->n_mysql_past);
    copy(&s->mysql, &s->mysql_past[i]);
    s->n_mysql_past = i;
    s->has_mysql_moved = true;
    tell(w, "mysql %d: falls back to %" PRId64, s->number, s->mysql.progress.position);
    seen(COVER_MYSQL_FAILOVER);
}

void mysql_forget_past(struct shard *s, int64_t position)
{
    size_t n = 0;

    while (n < s->n_mysql_past && s->mysql_past[n].progress.position < position) {
        n++;
    }
    s->n_mysql_past -= n;
    for (size_t i = 0; n > 0 && i < s->n_mysql_past; i++) {
        copy(&s->mysql_past[i], &s->mysql_past[i + n]);
    }
}

void mysql_check(struct world *w, struct shard *s)
{
    const struct progress *p = &s->mysql.progress;
    const struct node *node = p->position < 0 ? NULL : log_find(s, p->position, p->chain);

    if (p->position < 0) {
        if (s->mysql.tables.digest != 0) {
            wrong(w, "promise 6 is broken: MySQL has rows of partition %d and no position",
                  s->number);
        }
        return;
    }
    if (node == NULL || p->rules != node->rules || p->log_time != node->log_time) {
        wrong(w, "promise 6 is broken: the progress of %d is not that of the record at %" PRId64,
              s->number, p->position);
    }
    if (s->mysql.tables.digest != node->digest) {
        wrong(w, "promise 6 is broken: MySQL is not the fold of partition %d up to %" PRId64,
              s->number, p->position);
    }
}
