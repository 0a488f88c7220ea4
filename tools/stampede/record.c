#include "tools/stampede/record.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/outcome.h"
#include "common/sql.h"
#include "common/xmalloc.h"

enum { MYSQL_TIMEOUT_MS = 60000 };

struct row {
    const char *item_id; /* the ledger's */
    char order_id[IDS_ORDER_LEN + 1];
    char user_id[TOLD_NAME_MAX];
    char state;
    int reason;
    int64_t due, qty;
};

struct payment {
    char payment_id[TOLD_NAME_MAX];
    char order_id[IDS_ORDER_LEN + 1];
    bool paid;
};

struct record {
    struct row *rows; /* by order_id */
    size_t n_rows;
    struct payment *payments; /* by payment_id */
    size_t n_payments;
};

static int by_order(const void *a, const void *b)
{
    return strcmp(((const struct row *)a)->order_id, ((const struct row *)b)->order_id);
}

/* The limit is a user's, of an item. */
static int by_user(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    const int items = strcmp(x->item_id, y->item_id);

    return items != 0 ? items : strcmp(x->user_id, y->user_id);
}

static int by_payment(const void *a, const void *b)
{
    return strcmp(((const struct payment *)a)->payment_id, ((const struct payment *)b)->payment_id);
}

static MYSQL_RES *query(MYSQL *db, const char *text, struct err *err)
{
    MYSQL_RES *rows = mysql_query(db, text) == 0 ? mysql_store_result(db) : NULL;

    if (rows == NULL) {
        (void)err_set(err, ERR_RETRY, "mysql: %s", mysql_error(db));
    }
    return rows;
}

static bool read_orders(MYSQL *db, const char *item_id, struct record *r, struct err *err)
{
    char text[300];
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row;

    /* An item_id has no character that SQL would need escaped. */
    (void)snprintf(
        text, sizeof(text),
        "SELECT order_id, user_id, state, reason, due, qty FROM orders WHERE item_id = '%s'",
        item_id);
    rows = query(db, text, err);
    if (rows == NULL) {
        return false;
    }
    r->rows =
        xreallocarray(r->rows, r->n_rows + (size_t)mysql_num_rows(rows) + 1, sizeof(*r->rows));
    while ((row = mysql_fetch_row(rows)) != NULL) {
        struct row *o = &r->rows[r->n_rows++];

        (void)snprintf(o->order_id, sizeof(o->order_id), "%s", row[0]);
        (void)snprintf(o->user_id, sizeof(o->user_id), "%s", row[1]);
        o->state = row[2][0];
        o->reason = (int)strtol(row[3], NULL, 10);
        o->due = strtoll(row[4], NULL, 10);
        o->qty = strtoll(row[5], NULL, 10);
        o->item_id = item_id;
    }
    mysql_free_result(rows);
    return true;
}

static bool read_payments(MYSQL *db, struct record *r, struct err *err)
{
    MYSQL_RES *rows = query(db, "SELECT payment_id, order_id, answer FROM payments", err);
    MYSQL_ROW row;

    if (rows == NULL) {
        return false;
    }
    r->payments = xcalloc((size_t)mysql_num_rows(rows) + 1, sizeof(*r->payments));
    while ((row = mysql_fetch_row(rows)) != NULL) {
        struct payment *p = &r->payments[r->n_payments++];

        (void)snprintf(p->payment_id, sizeof(p->payment_id), "%s", row[0]);
        (void)snprintf(p->order_id, sizeof(p->order_id), "%s", row[1]);
        p->paid = strcmp(row[2], "paid") == 0;
    }
    mysql_free_result(rows);
    qsort(r->payments, r->n_payments, sizeof(*r->payments), by_payment);
    return true;
}

static bool read_record(const struct options_mysql *mysql, const struct told *ledger,
                        struct record *r, struct err *err)
{
    const struct sql_address where = {
        .host = mysql->host,
        .user = mysql->user,
        .password = mysql->password,
        .database = mysql->database,
        .port = (int)mysql->port,
        .timeout_ms = MYSQL_TIMEOUT_MS,
    };
    MYSQL *db = mysql_init(NULL);
    bool done = false;

    if (db == NULL) {
        return err_set(err, ERR_FATAL, "out of memory");
    }
    if (!sql_connect(db, &where)) {
        (void)err_set(err, ERR_RETRY, "mysql at %s:%d: %s", mysql->host, (int)mysql->port,
                      mysql_error(db));
    } else {
        done = true;
        for (size_t i = 0; done && i < ledger->n_items; i++) {
            done = read_orders(db, ledger->items[i], r, err);
        }
        done = done && read_payments(db, r, err);
    }
    mysql_close(db);
    return done;
}

static void count_rows(struct record *r, int64_t limit, struct record_check *check)
{
    int64_t units = 0;

    if (r->n_rows == 0) {
        return;
    }
    qsort(r->rows, r->n_rows, sizeof(*r->rows), by_user);
    for (size_t i = 0; i < r->n_rows; i++) {
        const struct row *o = &r->rows[i];

        check->orders++;
        check->reserved += o->due > 0;
        check->paid += o->state == ORDER_PAID;
        check->cancelled += o->state == ORDER_CANCELLED;
        check->expired += o->state == ORDER_EXPIRED;
        check->held += o->state == ORDER_RESERVED;
        check->rejected += o->state == ORDER_REJECTED;
        if (i == 0 || by_user(&r->rows[i - 1], o) != 0) {
            units = 0;
        }
        if (o->state == ORDER_PAID || o->state == ORDER_RESERVED) {
            units += o->qty;
            check->over_limit += units > limit && units - o->qty <= limit;
        }
    }
}

/* Why the record does not bear out what was told, or NULL. */
static const char *fault(const struct told *l, const struct told_order *told, const struct row *row)
{
    if (told->contradicted) {
        return "two answers contradict each other";
    }
    if (row == NULL) {
        return told->accepted || told->reserved || told->rejected || told->paid
                   ? "accepted, and not in the record"
                   : NULL;
    }
    if (told->rejected &&
        (row->state != ORDER_REJECTED ||
         strcmp(reason_name((enum reason)row->reason), l->reasons.rows[told->reason].name) != 0)) {
        return "told rejected with another reason or state than the record's";
    }
    if ((told->reserved || told->paid || told->cancelled || told->expired) && row->due == 0) {
        return "told reserved, and never held in the record";
    }
    if (told->paid && row->state != ORDER_PAID) {
        return "told paid, and not paid in the record";
    }
    if (told->cancelled && row->state != ORDER_CANCELLED) {
        return "told cancelled, and not cancelled in the record";
    }
    if (told->expired && row->state != ORDER_EXPIRED && row->state != ORDER_PAID) {
        return "told expired, and neither expired nor paid late in the record";
    }
    return NULL;
}

static const char *payment_fault(const struct told *l, const struct told_order *told,
                                 const struct record *r)
{
    struct payment key;
    const struct payment *found = NULL;

    if (!told->pay_paid && !told->pay_refund) {
        return NULL;
    }
    (void)told_payment(l, told, key.payment_id);
    found = bsearch(&key, r->payments, r->n_payments, sizeof(key), by_payment);
    if (found == NULL || strcmp(found->order_id, told->order_id) != 0) {
        return "the payment's answer is not in the record";
    }
    if (found->paid != told->pay_paid || (told->pay_paid && told->pay_refund)) {
        return "the payment was answered otherwise than in the record";
    }
    return NULL;
}

static void check_told(struct record *r, const struct told *l, struct record_check *check)
{
    assert(r->rows != NULL && r->payments != NULL); /* read_record() has made both */
    qsort(r->rows, r->n_rows, sizeof(*r->rows), by_order);
    for (size_t i = 0; i < l->n; i++) {
        const struct told_order *o = &l->orders[i];
        struct row key;
        const struct row *row = NULL;
        const char *why = NULL;

        if (o->order_id[0] == '\0') {
            continue;
        }
        memcpy(key.order_id, o->order_id, sizeof(key.order_id));
        row = bsearch(&key, r->rows, r->n_rows, sizeof(key), by_order);
        check->unknown_recorded += o->unknown && row != NULL;
        why = fault(l, o, row);
        if (why == NULL) {
            why = payment_fault(l, o, r);
        }
        if (why != NULL && check->inconsistent++ == 0) {
            (void)snprintf(check->first, sizeof(check->first), "%s of shopper-%u: %s (record: %c)",
                           o->order_id, o->shopper, why, row == NULL ? '-' : row->state);
        }
    }
}

bool record_check(const struct options_mysql *mysql, int64_t limit, const struct told *told,
                  struct record_check *check, struct err *err)
{
    struct record r = {.rows = NULL};
    bool done = read_record(mysql, told, &r, err);

    memset(check, 0, sizeof(*check));
    if (done) {
        count_rows(&r, limit, check);
        check_told(&r, told, check);
    }
    free(r.rows);
    free(r.payments);
    return done;
}
