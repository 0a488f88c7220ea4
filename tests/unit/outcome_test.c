/*
 * What becomes of a command and its line: the events, and their JSON.
 */
#include "common/outcome.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/outcome_check.h"

static void orders_are_decided(void **state)
{
    struct outcome o;

    (void)state;
    check(&o, commands[COMMAND_ORDER], "998 1712345978901",
          FIRST("reserved") CONTENT ",\"due\":1712345978901,\"available\":998}");
    assert_int_equal(o.n_events, 1);
    assert_content(&o.events[0], EVENT_RESERVED);
    assert_int_equal(o.events[0].due, 1712345978901);
    assert_int_equal(o.events[0].available, 998);
    outcome_fini(&o);

    check(&o, commands[COMMAND_ORDER], "-1 0",
          FIRST("rejected") CONTENT ",\"reason\":\"sold_out\",\"available\":0}");
    assert_content(&o.events[0], EVENT_REJECTED);
    assert_int_equal(o.events[0].reason, REASON_SOLD_OUT);
    outcome_fini(&o);

    check(&o, commands[COMMAND_ORDER], "d cup@3 3 R 2",
          FIRST("duplicate") "\"order_id\":\"" ONE
                             "\",\"item_id\":\"cup@3\",\"user_id\":\"alice\",\"qty\":3,"
                             "\"state\":\"rejected\",\"reason\":\"limit_reached\"}");
    assert_int_equal(o.events[0].type, EVENT_DUPLICATE);
    assert_int_equal(o.events[0].state, ORDER_REJECTED);
    assert_int_equal(o.events[0].reason, REASON_LIMIT_REACHED);
    assert_string_equal(o.events[0].item_id.s, "cup@3");
    assert_int_equal(o.events[0].qty, 3);
    outcome_fini(&o);

    check(&o, commands[COMMAND_ORDER], "d phone@3 2 H 0",
          FIRST("duplicate") CONTENT ",\"state\":\"reserved\"}");
    assert_content(&o.events[0], EVENT_DUPLICATE);
    assert_int_equal(o.events[0].state, ORDER_RESERVED);
    assert_int_equal(o.events[0].reason, REASON_NONE);
    outcome_fini(&o);
}

static void payments_are_answered(void **state)
{
    struct outcome o;

    (void)state;
    check(&o, commands[COMMAND_PAY], "p phone@3 2 0 7",
          FIRST("paid") CONTENT ",\"payment_id\":\"pay1\",\"late\":false,\"available\":7}");
    assert_content(&o.events[0], EVENT_PAID);
    assert_string_equal(o.events[0].payment_id.s, "pay1");
    assert_false(o.events[0].late);
    assert_int_equal(o.events[0].available, 7);
    outcome_fini(&o);

    check(&o, commands[COMMAND_PAY], "e " ONE " alice phone@3 2 9;p phone@3 2 1 7",
          FIRST("expired") CONTENT ",\"available\":9},{\"index\":1,\"type\":\"paid\"," CONTENT
                                   ",\"payment_id\":\"pay1\",\"late\":true,\"available\":7}");
    assert_int_equal(o.n_events, 2);
    assert_content(&o.events[0], EVENT_EXPIRED);
    assert_int_equal(o.events[0].available, 9);
    assert_content(&o.events[1], EVENT_PAID);
    assert_int_equal(o.events[1].index, 1);
    assert_true(o.events[1].late);
    assert_true(outcome_is_passing(&o, 0)); /* it is paid, and was never told to be expired */
    assert_false(outcome_is_passing(&o, 1));
    outcome_fini(&o);

    check(&o, commands[COMMAND_PAY], "e " TWO " bob phone@3 1 9;p phone@3 2 1 7",
          FIRST("expired") "\"order_id\":\"" TWO
                           "\",\"item_id\":\"phone@3\",\"user_id\":\"bob\",\"qty\":1,"
                           "\"available\":9},{\"index\":1,\"type\":\"paid\"," CONTENT
                           ",\"payment_id\":\"pay1\",\"late\":true,\"available\":7}");
    assert_false(outcome_is_passing(&o, 0)); /* another's */
    outcome_fini(&o);

    check(&o, commands[COMMAND_PAY], "r 10",
          FIRST("refund_due") "\"order_id\":\"" ONE
                              "\",\"user_id\":\"alice\",\"payment_id\":\"pay1\","
                              "\"reason\":\"already_cancelled\"}");
    assert_int_equal(o.events[0].type, EVENT_REFUND_DUE);
    assert_int_equal(o.events[0].reason, REASON_ALREADY_CANCELLED);
    assert_string_equal(o.events[0].user_id.s, "alice");
    outcome_fini(&o);

    check(&o, PAY_WITHOUT_USER, "r 8",
          FIRST("refund_due") "\"order_id\":\"" ONE
                              "\",\"payment_id\":\"pay1\",\"reason\":\"unknown_order\"}");
    assert_int_equal(o.events[0].user_id.len, 0);
    outcome_fini(&o);

    check(&o, commands[COMMAND_PAY], "D " TWO " P",
          FIRST("duplicate") "\"order_id\":\"" ONE
                             "\",\"user_id\":\"alice\",\"payment_id\":\"pay1\","
                             "\"first_order_id\":\"" TWO "\",\"payment\":\"paid\"}");
    assert_int_equal(o.events[0].type, EVENT_DUPLICATE);
    assert_string_equal(o.events[0].first_order_id, TWO);
    assert_int_equal(o.events[0].payment, 'P');
    assert_int_equal(o.events[0].state, ORDER_NONE);
    outcome_fini(&o);

    check(&o, PAY_WITHOUT_USER, "D " ONE " R",
          FIRST("duplicate") "\"order_id\":\"" ONE "\",\"payment_id\":\"pay1\","
                             "\"first_order_id\":\"" ONE "\",\"payment\":\"refund_due\"}");
    assert_int_equal(o.events[0].payment, 'R');
    outcome_fini(&o);
}

static void orders_are_cancelled_or_not(void **state)
{
    struct outcome o;

    (void)state;
    check(&o, commands[COMMAND_CANCEL], "c phone@3 2 8",
          FIRST("cancelled") CONTENT ",\"available\":8}");
    assert_content(&o.events[0], EVENT_CANCELLED);
    assert_int_equal(o.events[0].available, 8);
    outcome_fini(&o);

    check(&o, commands[COMMAND_CANCEL], "x 12",
          FIRST("refused") "\"order_id\":\"" ONE
                           "\",\"user_id\":\"alice\",\"reason\":\"expired\"}");
    assert_int_equal(o.events[0].type, EVENT_REFUSED);
    assert_string_equal(o.events[0].order_id, ONE);
    assert_int_equal(o.events[0].reason, REASON_EXPIRED);
    assert_int_equal(o.events[0].detail, COMMAND_OK);
    outcome_fini(&o);
}

static void operations_are_answered(void **state)
{
    static const enum command_type operations[] = {COMMAND_SALE, COMMAND_RESTOCK, COMMAND_ARCHIVE};
    struct outcome o;

    (void)state;
    check(&o, commands[COMMAND_SALE], "s 10 5 3 2 1 300000 4 5 p 1999",
          FIRST("stock") "\"op_id\":\"op1\",\"item_id\":\"phone@3\",\"action\":\"pause\","
                         "\"state\":\"paused\",\"total\":10,\"available\":5,\"held\":3,\"sold\":2,"
                         "\"limit\":1,\"hold_ms\":300000,\"opens_at\":4,\"closes_at\":5,"
                         "\"price\":1999}");
    assert_int_equal(o.events[0].type, EVENT_STOCK);
    assert_string_equal(o.events[0].op_id.s, "op1");
    assert_string_equal(o.events[0].action, "pause");
    assert_int_equal(o.events[0].item_state, 'p');
    assert_int_equal(o.events[0].total, 10);
    assert_int_equal(o.events[0].available, 5);
    assert_int_equal(o.events[0].held, 3);
    assert_int_equal(o.events[0].sold, 2);
    assert_int_equal(o.events[0].limit, 1);
    assert_int_equal(o.events[0].hold_ms, 300000);
    assert_int_equal(o.events[0].opens_at, 4);
    assert_int_equal(o.events[0].closes_at, 5);
    assert_int_equal(o.events[0].price, 1999);
    outcome_fini(&o);

    check(&o, commands[COMMAND_RESTOCK], "s 10 10 0 0 1 1 0 0 o 0",
          FIRST("stock") "\"op_id\":\"op2\",\"item_id\":\"phone@3\",\"action\":\"restock\","
                         "\"state\":\"open\",\"total\":10,\"available\":10,\"held\":0,\"sold\":0,"
                         "\"limit\":1,\"hold_ms\":1,\"opens_at\":0,\"closes_at\":0,\"price\":0}");
    assert_string_equal(o.events[0].action, "restock");
    outcome_fini(&o);

    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        char want[128];
        const char *op_id[] = {"op1", "op2", "op3"};

        (void)snprintf(want, sizeof(want),
                       FIRST("duplicate") "\"op_id\":\"%s\",\"item_id\":\"phone@3\"}", op_id[i]);
        check(&o, commands[operations[i]], "o", want);
        assert_int_equal(o.events[0].type, EVENT_DUPLICATE);
        assert_string_equal(o.events[0].op_id.s, op_id[i]);
        assert_string_equal(o.events[0].item_id.s, "phone@3");
        outcome_fini(&o);

        (void)snprintf(want, sizeof(want),
                       FIRST("refused") "\"op_id\":\"%s\",\"item_id\":\"phone@3\","
                                        "\"reason\":\"bad_operation\"}",
                       op_id[i]);
        check(&o, commands[operations[i]], "x 14", want);
        assert_int_equal(o.events[0].type, EVENT_REFUSED);
        assert_int_equal(o.events[0].reason, REASON_BAD_OPERATION);
        outcome_fini(&o);
    }
}

static void an_archive_is_told(void **state)
{
    static const char named[] = "{\"type\":\"archive\",\"op_id\":\"op3\",\"item_id\":\"phone@3\","
                                "\"users\":\"alice,bob\"}";
    struct outcome o;

    (void)state;
    check(&o, named, "a 3 10 7",
          FIRST("archived") "\"op_id\":\"op3\",\"item_id\":\"phone@3\",\"users\":\"alice,bob\","
                            "\"orders\":3,\"total\":10,\"sold\":7}");
    assert_int_equal(o.events[0].type, EVENT_ARCHIVED);
    assert_string_equal(o.events[0].users, "alice,bob");
    assert_int_equal(o.events[0].orders, 3);
    outcome_fini(&o);
    check(&o, commands[COMMAND_ARCHIVE], "a 0 10 7",
          FIRST("archived") "\"op_id\":\"op3\",\"item_id\":\"phone@3\",\"orders\":0,"
                            "\"total\":10,\"sold\":7}");
    assert_null(o.events[0].users);
    outcome_fini(&o);
    assert_takes(commands[COMMAND_ARCHIVE], "a 1 10 7", false); /* it names nobody */

    check(&o, commands[COMMAND_ORDER], "x 4",
          FIRST("refused") "\"order_id\":\"" ONE "\",\"item_id\":\"phone@3\",\"user_id\":"
                           "\"alice\",\"qty\":2,\"reason\":\"closed\"}");
    assert_int_equal(o.events[0].type, EVENT_REFUSED);
    assert_int_equal(o.events[0].qty, 2);
    outcome_fini(&o);
}

static void the_log_itself_is_told(void **state)
{
    struct outcome o;

    (void)state;
    check(&o, commands[COMMAND_GENESIS], "g",
          FIRST("genesis") "\"log_id\":\"" LOG_ID "\",\"partitions\":4,\"rules\":1}");
    assert_int_equal(o.events[0].type, EVENT_GENESIS);
    assert_string_equal(o.events[0].log_id, LOG_ID);
    assert_int_equal(o.events[0].partitions, 4);
    assert_int_equal(o.events[0].rules, 1);
    outcome_fini(&o);
    check(&o, commands[COMMAND_GENESIS], "x 14", FIRST("refused") "\"reason\":\"bad_operation\"}");
    assert_int_equal(o.events[0].type, EVENT_REFUSED);
    outcome_fini(&o);
    check(&o, commands[COMMAND_SET_RULES], "v", FIRST("rules") "\"rules\":2}");
    assert_int_equal(o.events[0].type, EVENT_RULES);
    assert_int_equal(o.events[0].rules, 2);
    outcome_fini(&o);
    check(&o, commands[COMMAND_TICK], "", "");
    assert_int_equal(o.n_events, 0);
    outcome_fini(&o);
    check(&o, commands[COMMAND_TICK], "e " TWO " bob cup@3 1 9",
          FIRST("expired") "\"order_id\":\"" TWO
                           "\",\"item_id\":\"cup@3\",\"user_id\":\"bob\",\"qty\":1,"
                           "\"available\":9}");
    assert_string_equal(o.events[0].user_id.s, "bob");
    outcome_fini(&o);
}

static void a_malformed_record_is_told_with_its_detail(void **state)
{
    struct command cmd = {.type = COMMAND_MALFORMED};

    (void)state;
    for (int i = COMMAND_NULL_VALUE; i <= COMMAND_WRONG_PARTITION; i++) {
        struct err err;
        struct buf out;
        struct outcome o;
        char want[512];

        cmd.detail = (enum command_detail)i;
        buf_init(&out, 4096);
        assert_true(outcome_format(&out, &head, &cmd, SLICE_LIT("x 15"), &err));
        (void)snprintf(want, sizeof(want),
                       HEAD FIRST("refused") "\"reason\":\"malformed\",\"detail\":\"%s\"}]}",
                       command_detail_name(cmd.detail));
        assert_string_equal(out.ptr, want);
        parse(&o, buf_slice(&out));
        assert_int_equal(o.events[0].type, EVENT_REFUSED);
        assert_int_equal(o.events[0].reason, REASON_MALFORMED);
        assert_int_equal(o.events[0].detail, i);
        outcome_fini(&o);
        buf_fini(&out);
    }
}

static void a_mark_lists_items_by_bytes(void **state)
{
    struct outcome o;

    (void)state;
    check(&o, commands[COMMAND_MARK], "m 0 0",
          FIRST("mark") "\"run_id\":\"run1\",\"orders\":0,\"payments\":0,\"items\":[]}");
    assert_int_equal(o.events[0].n_items, 0);
    outcome_fini(&o);
    check(&o, commands[COMMAND_MARK], "m 5 4 b@3,1,1,0,0 a@3,6,1,2,3 Z@3,0,0,0,0",
          FIRST("mark") "\"run_id\":\"run1\",\"orders\":5,\"payments\":4,\"items\":["
                        "{\"item_id\":\"Z@3\",\"total\":0,\"available\":0,\"held\":0,\"sold\":0},"
                        "{\"item_id\":\"a@3\",\"total\":6,\"available\":1,\"held\":2,\"sold\":3},"
                        "{\"item_id\":\"b@3\",\"total\":1,\"available\":1,\"held\":0,\"sold\":0}]"
                        "}");
    assert_int_equal(o.events[0].type, EVENT_MARK);
    assert_string_equal(o.events[0].op_id.s, "run1");
    assert_int_equal(o.events[0].orders, 5);
    assert_int_equal(o.events[0].payments, 4);
    assert_int_equal(o.events[0].n_items, 3);
    assert_int_equal(o.events[0].items[1].sold, 3);
    outcome_fini(&o);
    assert_takes(commands[COMMAND_MARK], "m 5 4 a@3,1,1,0,0 a@3,1,1,0,0", false);
    assert_takes(commands[COMMAND_MARK], "m 5 4 a@3,1,1,0", false);
    assert_takes(commands[COMMAND_MARK], "m 5 4 a@3,1,1,0,0,0", false);
    assert_takes(commands[COMMAND_MARK], "m 5 4 a@3,1,1,0,-1", false);
    assert_takes(commands[COMMAND_MARK], "m 5 4 a,b,1,1,0,0", false);
    assert_takes(commands[COMMAND_MARK], "m 5 4 ", false);
    assert_takes(commands[COMMAND_MARK], "m 5", false);
}

static void a_full_partition_fits_into_a_mark(void **state)
{
    const struct command cmd = command_of(commands[COMMAND_MARK]);
    struct buf line;
    struct buf out;
    struct err err;
    struct outcome o;

    (void)state;
    buf_init(&line, 1 << 20);
    buf_init(&out, 1000000); /* what a broker takes by default */
    buf_puts(&line, "m 1000000000 1000000000");
    for (int i = 4095; i >= 0; i--) {
        buf_printf(&line, " %059d@%04d,1000000000,1000000000,1000000000,1000000000", i, 1000);
    }
    assert_true(outcome_format(&out, &head, &cmd, buf_slice(&line), &err));
    parse(&o, buf_slice(&out));
    assert_int_equal(o.events[0].n_items, 4096);
    assert_int_equal(o.events[0].items[7].item_id.s[58], '7');
    outcome_fini(&o);
    buf_fini(&line);
    buf_fini(&out);
}

static void an_outcome_that_does_not_fit_leaves_nothing(void **state)
{
    const struct command cmd = command_of(commands[COMMAND_ORDER]);
    struct buf out;
    struct err err;
    size_t len;

    (void)state;
    buf_init(&out, 4096);
    assert_true(outcome_format(&out, &head, &cmd, SLICE_LIT("7 8"), &err));
    len = out.len;
    buf_fini(&out);
    for (size_t size = 0; size < len; size++) {
        buf_init(&out, size);
        assert_false(outcome_format(&out, &head, &cmd, SLICE_LIT("7 8"), &err));
        assert_int_equal(err.kind, ERR_FATAL);
        assert_int_equal(out.len, 0);
        assert_true(buf_ok(&out));
        buf_fini(&out);
    }
}

static void names_are_the_protocols(void **state)
{
    static const char *const reasons[] = {
        "none",          "sold_out",        "limit_reached",     "not_open",
        "closed",        "paused",          "timed_out",         "unknown_item",
        "unknown_order", "already_paid",    "already_cancelled", "already_rejected",
        "expired",       "below_committed", "bad_operation",     "malformed",
    };

    (void)state;
    assert_int_equal(sizeof(reasons) / sizeof(reasons[0]), REASON_COUNT);
    for (int i = 0; i < REASON_COUNT; i++) {
        assert_string_equal(reason_name((enum reason)i), reasons[i]);
    }
    assert_string_equal(order_state_name(ORDER_RESERVED), "reserved");
    assert_string_equal(order_state_name(ORDER_REJECTED), "rejected");
    assert_string_equal(order_state_name(ORDER_PAID), "paid");
    assert_string_equal(order_state_name(ORDER_CANCELLED), "cancelled");
    assert_string_equal(order_state_name(ORDER_EXPIRED), "expired");
    assert_string_equal(item_state_name('o'), "open");
    assert_string_equal(item_state_name('p'), "paused");
    assert_string_equal(item_state_name('c'), "closed");
    assert_string_equal(event_type_name(EVENT_REFUND_DUE), "refund_due");
    assert_string_equal(event_type_name(EVENT_MARK), "mark");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders_are_decided),
        cmocka_unit_test(payments_are_answered),
        cmocka_unit_test(orders_are_cancelled_or_not),
        cmocka_unit_test(operations_are_answered),
        cmocka_unit_test(an_archive_is_told),
        cmocka_unit_test(the_log_itself_is_told),
        cmocka_unit_test(a_malformed_record_is_told_with_its_detail),
        cmocka_unit_test(a_mark_lists_items_by_bytes),
        cmocka_unit_test(a_full_partition_fits_into_a_mark),
        cmocka_unit_test(an_outcome_that_does_not_fit_leaves_nothing),
        cmocka_unit_test(names_are_the_protocols),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
