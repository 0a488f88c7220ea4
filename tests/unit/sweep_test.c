/*
 * What reconcile makes of Redis's fields and MySQL's.  Both servers are played: what peek.h, record.h
 * and db.h promise is here.
 */
#include "guardian/sweep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guardian/record.h"

enum {
    WATERMARK = 100,
};

static struct {
    const char *const *chunks; /* the users that each chunk of `orders` gives, one per chunk */
    size_t n_chunks;
    size_t unsure;   /* how many answers of MySQL are about what has changed since */
    size_t scans;    /* of orders, by MySQL */
    size_t asked[8]; /* for how many users, each */
} played;

static const struct slice value = {"order item 1 H 0 5 7-", 21};

/* ---- Redis ---- */

static void answer(struct peek_answer *a, size_t n)
{
    *a = (struct peek_answer){.has_state = true, .watermark = WATERMARK, .cursor = "0", .n = n};
    a->values = calloc(n + 1, sizeof(*a->values));
}

bool peek_chunk(struct peek *p, struct peek_hash hash, const char *cursor, int count,
                struct peek_answer *a, struct err *err)
{
    const size_t at = strtoul(cursor, NULL, 10);
    const bool is_orders = strcmp(hash.name, "orders") == 0;

    (void)p;
    (void)count;
    (void)err;
    answer(a, is_orders ? 2 : 0);
    if (is_orders) {
        a->values[0] = slice_str(played.chunks[at]);
        a->values[1] = value;
        (void)snprintf(a->cursor, sizeof(a->cursor), "%zu", (at + 1) % played.n_chunks);
    }
    return true;
}

bool peek_lookup(struct peek *p, struct peek_hash hash, const struct slice *fields, size_t n,
                 struct peek_answer *a, struct err *err)
{
    (void)p;
    (void)hash;
    (void)fields;
    (void)err;
    answer(a, n);
    for (size_t i = 0; i < n; i++) {
        a->values[i] = value;
    }
    return true;
}

void peek_answer_fini(struct peek_answer *a)
{
    free(a->values);
    *a = (struct peek_answer){0};
}

/* ---- MySQL ---- */

const char *record_redis_name(enum record_table table)
{
    static const char *const names[RECORD_TABLES] = {
        [RECORD_ITEMS] = "items",       [RECORD_CONFIGS] = "items",  [RECORD_ORDERS] = "orders",
        [RECORD_PAYMENTS] = "payments", [RECORD_OPERATIONS] = "ops",
    };

    return names[table];
}

bool record_begin(struct db *db, int partition, int64_t watermark, int64_t deadline_ms,
                  int64_t *position, struct err *err)
{
    (void)db;
    (void)partition;
    (void)deadline_ms;
    (void)err;
    *position = watermark;
    return true;
}

/* As IN (...) does: a name that is asked for twice is answered once. */
bool record_scan(struct db *db, const struct record_range *range, record_field_fn *each, void *arg,
                 struct err *err)
{
    (void)db;
    (void)err;
    played.asked[played.scans++] = range->n_fields;
    for (size_t i = 0; i < range->n_fields; i++) {
        struct record_field field = {.name = range->fields[i], .value = value};
        bool is_first = true;

        for (size_t k = 0; k < i; k++) {
            is_first = is_first && !slice_eq(range->fields[k], range->fields[i]);
        }
        if (is_first) {
            field.is_unsure = played.unsure > 0;
            played.unsure -= played.unsure > 0 ? 1 : 0;
            (void)each(&field, arg);
        }
    }
    return true;
}

bool db_query(struct db *db, struct slice sql, db_row_fn *row, void *arg, struct err *err)
{
    (void)db;
    (void)sql;
    (void)row;
    (void)arg;
    (void)err;
    return true;
}

void db_rollback(struct db *db)
{
    (void)db;
}

/* ---- tests ---- */

static void a_field_that_comes_twice_is_one(void **state)
{
    static const char *const chunks[] = {"ann", "bob", "ann"};
    struct report report = {0};
    struct sweep s = {.report = &report, .patience_ms = 1000};

    (void)state;
    played.chunks = chunks;
    played.n_chunks = 3;
    played.unsure = 3;
    assert_true(sweep_partition(&s, 0));
    /* Three chunks, and what has changed since once more. */
    assert_int_equal(played.scans, 4);
    assert_int_equal(played.asked[3], 2);
    assert_int_equal(s.repeated, 2);
    assert_int_equal(report.differences.n, 0);
    assert_int_equal(report.unchecked.n, 0);
    report_fini(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_field_that_comes_twice_is_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
