/*
 * Outcomes become rows: what the statements of a batch say, what they ask first, and what they refuse.
 * Whether MySQL ends up equal to the fold of the log is for the integration tests.
 */
#include "guardian/ledger.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guardian/pool.h"
#include "guardian/settings.h"

/* Partition 1; keyed ids are version 8. */
#define KEYED     "0198c0de-0000-8001-8000-000000000001"
#define KEYED_2   "0198c0de-0000-8001-8000-000000000002"
#define UNKEYED   "0198c0de-0000-7001-8000-000000000003"
#define UNKEYED_2 "0198c0de-0000-7001-8000-000000000004"

enum { ALL_BYTES = 4 << 20 };

struct fixture {
    struct ledger *ledger;
    struct progress at;
    struct outcome outcome;
    struct buf sql;
    struct buf all; /* every statement, a line each */
    int64_t affected[64];
    size_t n_statements;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->at = (struct progress){
        .position = 9, .chain = 1, .partitions = 4, .rules = 1, .outcomes_offset = 9};
    memset(f->at.genesis, 'a', IDS_LOG_LEN);
    f->ledger = ledger_create(1);
    ledger_begin(f->ledger, &f->at);
    buf_init(&f->sql, ALL_BYTES);
    buf_init(&f->all, ALL_BYTES);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    ledger_destroy(f->ledger);
    outcome_fini(&f->outcome);
    buf_fini(&f->sql);
    buf_fini(&f->all);
    free(f);
    return 0;
}

/* Adds the next command's outcome, with these events (JSON, without index). */
static ATTR_PRINTF(2, 3) bool add(struct fixture *f, const char *events, ...)
{
    char body[2000], text[4000];
    struct err err = {0};
    va_list args;
    size_t len = 0;
    int index = 0;

    va_start(args, events);
    (void)vsnprintf(body, sizeof(body), events, args);
    va_end(args);
    len = (size_t)snprintf(
        text, sizeof(text),
        "{\"partition\":1,\"offset\":%" PRId64 ",\"prev\":%" PRId64
        ",\"genesis\":\"%s\",\"hash\":\"0000000000000001\",\"chain\":\"%016" PRIx64
        "\",\"rules\":1,\"log_time\":%" PRId64 ",\"events\":[",
        f->at.position + 1, f->at.position, f->at.genesis, f->at.chain + 1, f->at.position + 5001);
    for (char *event = strtok(body, "\n"); event != NULL; event = strtok(NULL, "\n")) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s{\"index\":%d,%s}",
                                index == 0 ? "" : ",", index, event);
        index++;
    }
    (void)snprintf(text + len, sizeof(text) - len, "]}");
    if (!outcome_parse(&f->outcome, slice_str(text), &err)) {
        fail_msg("%s: %s", err.text, text);
    }
    f->at.position++;
    f->at.chain++;
    f->at.outcomes_offset = f->at.position;
    f->at.log_time = f->outcome.log_time;
    return ledger_add(f->ledger, &f->outcome, &f->at, &err);
}

#define RESERVED(order, user, qty)                                                                 \
    "\"type\":\"reserved\",\"order_id\":\"" order "\",\"item_id\":\"phone\",\"user_id\":\"" user   \
    "\",\"qty\":" qty ",\"due\":9000,\"available\":50"
#define REJECTED(order, user, reason)                                                              \
    "\"type\":\"rejected\",\"order_id\":\"" order "\",\"item_id\":\"phone\",\"user_id\":\"" user   \
    "\",\"qty\":1,\"reason\":\"" reason "\",\"available\":50"
#define PAID(order, user, qty, payment, late)                                                      \
    "\"type\":\"paid\",\"order_id\":\"" order "\",\"item_id\":\"phone\",\"user_id\":\"" user       \
    "\",\"qty\":" qty ",\"payment_id\":\"" payment "\",\"late\":" late ",\"available\":50"
#define ENDED(type, order, user, qty)                                                              \
    "\"type\":\"" type "\",\"order_id\":\"" order "\",\"item_id\":\"phone\",\"user_id\":\"" user   \
    "\",\"qty\":" qty ",\"available\":50"
#define STOCK(op, action, total)                                                                   \
    "\"type\":\"stock\",\"op_id\":\"" op "\",\"item_id\":\"phone\",\"action\":\"" action           \
    "\",\"state\":\"open\",\"total\":" total ",\"available\":" total                               \
    ",\"held\":0,\"sold\":0,\"limit\":2,\"hold_ms\":1000,\"opens_at\":0,\"closes_at\":0,\"price\":5"

/* Answers every question with this number for every id in `ids`, which may be NULL. */
static bool settle(struct fixture *f, const char *id, int64_t number)
{
    struct err err = {0};

    ledger_rewind(f->ledger);
    while (ledger_question(f->ledger, &f->sql)) {
        if (id != NULL) {
            assert_true(ledger_answer(f->ledger, slice_str(id), number));
        }
    }
    return ledger_settle(f->ledger, &err);
}

static const char *statements(struct fixture *f)
{
    int64_t affected;

    buf_clear(&f->all);
    f->n_statements = 0;
    while (ledger_next_statement(f->ledger, &f->sql, &affected)) {
        assert_true(buf_ok(&f->sql));
        f->affected[f->n_statements++] = affected;
        buf_put_slice(&f->all, buf_slice(&f->sql));
        buf_putc(&f->all, '\n');
    }
    return f->all.ptr;
}

static const char *written(struct fixture *f)
{
    assert_true(settle(f, NULL, 0));
    return statements(f);
}

static void has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("no \"%s\" in:\n%s", part, text);
    }
}

static void has_not(const char *text, const char *part)
{
    if (strstr(text, part) != NULL) {
        fail_msg("\"%s\" in:\n%s", part, text);
    }
}

/* x'..' of "phone" and of "ann". */
#define PHONE "x'70686f6e65'"
#define ANN   "x'616e6e'"

static void a_reservation_is_an_order_and_a_movement(void **state)
{
    struct fixture *f = *state;
    const char *sql;

    assert_true(add(f, RESERVED(KEYED, "ann", "2")));
    sql = written(f);
    has(sql, "INSERT INTO orders ");
    has(sql, ANN ",1," PHONE ",2,'H',0,1,9000,10,10,5010,5010)");
    has(sql, "INSERT INTO journal ");
    has(sql, "(1,10,0,'reserved'," PHONE ",");
    has(sql, ANN ",2,5010)");
    has(sql, "available = available + (-2), held = held + (2), sold = sold + (0)");
    has(sql, "UPDATE progress SET position = 10, genesis = 'aaaa");
    has(sql, "WHERE partition_id = 1 AND position = 9");
    assert_int_equal(ledger_end(f->ledger)->position, 10);
    assert_int_equal(ledger_rows(f->ledger), 1);
}

static void touches_of_one_order_become_one_row(void **state)
{
    struct fixture *f = *state;
    const char *sql;

    assert_true(add(f, RESERVED(KEYED, "ann", "2")));
    assert_true(add(f, PAID(KEYED, "ann", "2", "pay-1", "false")));
    sql = written(f);
    has(sql, ANN ",1," PHONE ",2,'P',0,1,9000,10,11,5010,5011)");
    has_not(sql, "'H'");
    has(sql, "(1,10,0,'reserved',");
    has(sql, "(1,11,0,'paid',");
    has(sql, ANN ",2,5011)");
    has(sql, "available = available + (-2), held = held + (0), sold = sold + (2)");
    has(sql, "'paid',0,0,11,5011)");
}

static void a_change_of_an_older_order_presupposes_its_state(void **state)
{
    struct fixture *f = *state;
    const char *sql;

    assert_true(add(f, ENDED("cancelled", KEYED, "ann", "2")));
    assert_true(add(f, ENDED("expired", KEYED_2, "ann", "1")));
    sql = written(f);
    has(sql, "state = IF(state = 'H', VALUES(state), state)");
    /* Two rows changed count twice each; one that is not there would count once. */
    assert_int_equal(f->affected[0], 4);
    has(sql, "(1,10,0,'cancelled',");
    has(sql, "(1,11,0,'expired',");
}

static void a_late_payment_takes_stock_again(void **state)
{
    struct fixture *f = *state;
    const char *sql;

    assert_true(add(f, PAID(KEYED, "ann", "2", "pay-1", "true")));
    sql = written(f);
    has(sql, "state = IF(state = 'E', VALUES(state), state)");
    has(sql, "(1,10,0,'late',");
    has(sql, "available = available + (-2), held = held + (0), sold = sold + (2)");
}

static void expiry_and_late_payment_in_one_record(void **state)
{
    struct fixture *f = *state;
    const char *sql;

    assert_true(
        add(f, ENDED("expired", KEYED, "ann", "2") "\n" PAID(KEYED, "ann", "2", "pay-1", "true")));
    sql = written(f);
    has(sql, "state = IF(state = 'H', VALUES(state), state)");
    has_not(sql, "IF(state = 'E'");
    has(sql, "'P',");
    has(sql, "(1,10,0,");
    has(sql, "(1,10,1,");
}

static void contradictions_are_refused(void **state)
{
    struct fixture *f = *state;

    assert_true(add(f, PAID(KEYED, "ann", "2", "pay-1", "false")));
    assert_true(add(f, ENDED("cancelled", KEYED, "ann", "2")));
    assert_false(settle(f, NULL, 0));
}

static void an_order_is_decided_once(void **state)
{
    struct fixture *f = *state;

    assert_true(add(f, RESERVED(KEYED, "ann", "2")));
    assert_true(add(f, RESERVED(KEYED, "ann", "2")));
    assert_false(settle(f, NULL, 0));
}

static void another_user_has_another_order(void **state)
{
    struct fixture *f = *state;

    assert_true(add(f, RESERVED(KEYED, "ann", "2")));
    assert_true(add(f, RESERVED(KEYED, "bob", "2")));
    assert_true(settle(f, NULL, 0));
}

static void rejections_are_remembered_if_keyed(void **state)
{
    struct fixture *f = *state;
    const char *sql;

    assert_true(add(f, REJECTED(KEYED, "ann", "sold_out")));
    assert_true(add(f, REJECTED(UNKEYED, "ann", "sold_out")));
    sql = written(f);
    has(sql, "'R',1,1,0,10,10,");
    has(sql, "'R',1,0,0,11,11,");
    has_not(sql, "UPDATE items");
}

static void a_forgotten_rejection_may_be_decided_once_more(void **state)
{
    struct fixture *f = *state;
    const char *sql;

    assert_true(add(f, REJECTED(UNKEYED, "ann", "sold_out")));
    assert_true(add(f, RESERVED(UNKEYED, "ann", "1")));
    sql = written(f);
    has(sql, "'H',0,1,9000,11,11,");
    has(sql, "remembered = IF(remembered = 0, VALUES(remembered), 3)");
}

static void a_remembered_rejection_is_decided_for_ever(void **state)
{
    struct fixture *f = *state;

    assert_true(add(f, REJECTED(KEYED, "ann", "sold_out")));
    assert_true(add(f, RESERVED(KEYED, "ann", "1")));
    assert_false(settle(f, NULL, 0));
}

static void the_65th_order_of_a_user_is_forgotten(void **state)
{
    struct fixture *f = *state;
    const char *sql;

    assert_true(add(f, REJECTED(KEYED, "ann", "limit_reached")));
    assert_true(add(f, REJECTED(KEYED_2, "ann", "limit_reached")));
    assert_true(settle(f, "ann", 63));
    sql = statements(f);
    has(sql, "'R',2,1,0,10,10,");
    has(sql, "'R',2,0,0,11,11,");
}

static void asks_how_many_orders_a_user_has(void **state)
{
    struct fixture *f = *state;

    assert_true(add(f, REJECTED(KEYED, "ann", "limit_reached")));
    assert_true(add(f, REJECTED(UNKEYED, "bob", "limit_reached")));
    ledger_rewind(f->ledger);
    assert_true(ledger_question(f->ledger, &f->sql));
    has(f->sql.ptr, "SELECT user_id, COUNT(*) FROM orders WHERE user_id IN (" ANN
                    ") AND partition_id = 1 AND remembered = 1 GROUP BY user_id");
    assert_false(ledger_answer(f->ledger, SLICE_LIT("bob"), 1));
    assert_false(ledger_question(f->ledger, &f->sql));
}

static void a_sale_opens(void **state)
{
    struct fixture *f = *state;
    const char *sql;

    assert_true(add(f, STOCK("op-1", "open", "100")));
    assert_true(add(f, RESERVED(KEYED, "ann", "2")));
    sql = written(f);
    has(sql, "INSERT INTO operations ");
    has(sql, "INSERT INTO items ");
    has(sql, "(" PHONE ",1,100,98,2,0,2,1000,0,0,'o',5,10,10,11)");
    has(sql, "'added'," PHONE ",'','',100,");
}

static void a_total_changes_by_the_difference(void **state)
{
    struct fixture *f = *state;
    const char *sql;

    assert_true(add(f, STOCK("op-1", "change", "90")));
    assert_true(add(f, STOCK("op-2", "restock", "95")));
    ledger_rewind(f->ledger);
    assert_true(ledger_question(f->ledger, &f->sql));
    has(f->sql.ptr, "SELECT item_id, total FROM items WHERE item_id IN (" PHONE ") FOR UPDATE");
    assert_true(settle(f, "phone", 100));
    sql = statements(f);
    has(sql, "'removed'," PHONE ",'','',10,");
    has(sql, "'added'," PHONE ",'','',5,");
    has(sql, "total = total + (-5), available = available + (-5)");
    has(sql, "config_offset = 11");
}

static void a_pause_moves_nothing(void **state)
{
    struct fixture *f = *state;
    const char *sql;

    assert_true(add(f, STOCK("op-1", "pause", "100")));
    assert_true(settle(f, "phone", 100));
    sql = statements(f);
    has_not(sql, "journal");
    has(sql, "UPDATE items SET total = total + (0)");
}

static void an_unknown_item_can_only_be_opened(void **state)
{
    struct fixture *f = *state;

    assert_true(add(f, STOCK("op-1", "pause", "100")));
    assert_false(settle(f, NULL, 0));
}

static void refusals_of_operations_are_remembered_others_not(void **state)
{
    struct fixture *f = *state;
    const char *sql;

    assert_true(add(f, "\"type\":\"refused\",\"op_id\":\"op-1\",\"item_id\":\"phone\",\"reason\":"
                       "\"unknown_item\""));
    assert_true(add(f, "\"type\":\"refused\",\"order_id\":\"" KEYED
                       "\",\"user_id\":\"ann\",\"reason\":\"unknown_order\""));
    assert_true(add(f, "\"type\":\"duplicate\",\"op_id\":\"op-1\",\"item_id\":\"phone\""));
    assert_true(add(f, "%s", ""));
    sql = written(f);
    has(sql, "(1,x'6f702d31'," PHONE ",10,5010,7,NULL,");
    assert_int_equal(f->n_statements, 2); /* that and the progress */
    has(sql, "SET position = 13");
}

static void a_refund_is_an_answer(void **state)
{
    struct fixture *f = *state;
    const char *sql;

    assert_true(add(f, "\"type\":\"refund_due\",\"order_id\":\"" KEYED
                       "\",\"payment_id\":\"pay-1\",\"reason\":\"unknown_order\""));
    sql = written(f);
    has(sql, "x'7061792d31'");
    has(sql, "'','refund_due',8,0,10,5010)");
}

static void a_mark_stands_alone(void **state)
{
    struct fixture *f = *state;
    const struct ledger_mark *mark;
    const char *mark_event = "\"type\":\"mark\",\"run_id\":\"run-1\",\"orders\":3,\"payments\":2,"
                             "\"items\":[{\"item_id\":\"phone\",\"total\":10,\"available\":5,"
                             "\"held\":3,\"sold\":2}]";

    assert_true(add(f, "%s", mark_event));
    assert_true(ledger_is_alone(&f->outcome));
    assert_false(add(f, "%s", ""));
    mark = ledger_mark(f->ledger);
    assert_non_null(mark);
    assert_string_equal(mark->run_id.s, "run-1");
    assert_int_equal(mark->n_items, 1);
    assert_int_equal(mark->items[0].held, 3);
    ledger_begin(f->ledger, &f->at);
    assert_null(ledger_mark(f->ledger));
    assert_true(add(f, "%s", ""));
    assert_false(add(f, "%s", mark_event));
}

static void ids_are_never_parsed_as_sql(void **state)
{
    struct fixture *f = *state;
    const char *sql;

    assert_true(add(f, RESERVED(UNKEYED, "x')#--", "1")));
    sql = written(f);
    has_not(sql, "--");
    has(sql, "x'782729232d2d'");
}

static void starting_over_gives_the_same_statements(void **state)
{
    struct fixture *f = *state;
    char *first;

    assert_true(add(f, STOCK("op-1", "open", "100")));
    assert_true(add(f, RESERVED(KEYED, "ann", "2")));
    assert_true(add(f, REJECTED(KEYED_2, "ann", "limit_reached")));
    assert_true(add(f, REJECTED(UNKEYED_2, "ann", "limit_reached")));
    first = strdup(written(f));
    assert_string_equal(written(f), first);
    free(first);
}

static void long_batches_are_cut_into_statements(void **state)
{
    struct fixture *f = *state;
    size_t inserts = 0;
    const char *sql;

    for (int i = 0; i < 2500; i++) {
        assert_true(add(f,
                        "\"type\":\"reserved\",\"order_id\":\"0198c0de-0000-7001-8000-%012d\","
                        "\"item_id\":\"phone\",\"user_id\":\"ann\",\"qty\":1,\"due\":9000,"
                        "\"available\":50",
                        i));
    }
    assert_int_equal(ledger_rows(f->ledger), 2500);
    assert_int_equal(ledger_records(f->ledger), 2500);
    sql = written(f);
    for (const char *p = sql; (p = strstr(p, "INSERT INTO orders ")) != NULL; p++) {
        inserts++;
    }
    assert_int_equal(inserts, 3);
    has(sql, "available = available + (-2500), held = held + (2500)");
}

static void begins_anew(void **state)
{
    struct fixture *f = *state;

    assert_true(add(f, RESERVED(KEYED, "ann", "2")));
    ledger_begin(f->ledger, &f->at);
    assert_int_equal(ledger_rows(f->ledger), 0);
    assert_int_equal(ledger_base(f->ledger)->position, 10);
    has_not(written(f), "orders");
}

/* Rejections at the limit, each of another user with the longest id there is: all are asked about. */
static void the_largest_batch_fits_into_a_query(void **state)
{
    struct fixture *f = *state;
    struct buf sql;
    size_t questions = 0;

    for (int i = 0; i < SETTINGS_BATCH_ROWS_MAX; i++) {
        assert_true(add(f,
                        "\"type\":\"rejected\",\"order_id\":\"" KEYED "\",\"item_id\":\"phone\","
                        "\"user_id\":\"%064d\",\"qty\":1,\"reason\":\"limit_reached\","
                        "\"available\":50",
                        i));
    }
    buf_init(&sql, POOL_SQL_BYTES);
    ledger_rewind(f->ledger);
    while (ledger_question(f->ledger, &sql)) {
        assert_true(buf_ok(&sql));
        questions++;
    }
    assert_int_equal(questions, 1);
    buf_fini(&sql);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_reservation_is_an_order_and_a_movement),
        TEST(touches_of_one_order_become_one_row),
        TEST(a_change_of_an_older_order_presupposes_its_state),
        TEST(a_late_payment_takes_stock_again),
        TEST(expiry_and_late_payment_in_one_record),
        TEST(contradictions_are_refused),
        TEST(an_order_is_decided_once),
        TEST(another_user_has_another_order),
        TEST(rejections_are_remembered_if_keyed),
        TEST(a_forgotten_rejection_may_be_decided_once_more),
        TEST(a_remembered_rejection_is_decided_for_ever),
        TEST(the_65th_order_of_a_user_is_forgotten),
        TEST(asks_how_many_orders_a_user_has),
        TEST(a_sale_opens),
        TEST(a_total_changes_by_the_difference),
        TEST(a_pause_moves_nothing),
        TEST(an_unknown_item_can_only_be_opened),
        TEST(refusals_of_operations_are_remembered_others_not),
        TEST(a_refund_is_an_answer),
        TEST(a_mark_stands_alone),
        TEST(ids_are_never_parsed_as_sql),
        TEST(starting_over_gives_the_same_statements),
        TEST(long_batches_are_cut_into_statements),
        TEST(the_largest_batch_fits_into_a_query),
        TEST(begins_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
