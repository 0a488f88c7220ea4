#include "common/outcome.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/fold.h"

#define LOG_ID "0123456789abcdef0123456789abcdef"
#define ONE    "0190163d-8694-7003-b966-02a1b9e15d3c"
#define TWO    "e787366c-4cc6-8003-b966-02a1b9e15d3c"
#define ABROAD "0190163d-8694-7002-b966-02a1b9e15d3c"

#define HEAD                                                                                       \
    "{\"partition\":3,\"offset\":17,\"prev\":16,\"genesis\":\"" LOG_ID                             \
    "\",\"hash\":\"00000000000000fe\",\"chain\":\"00000000000000ff\",\"rules\":1,\"log_time\":1712345678901,\"events\":["

static const struct outcome_head head = {3, 17, 16, LOG_ID, 0xfe, 0xff, 1, 1712345678901};

/* One command of each type, in the order of enum command_type. */
static const char *const commands[] = {
    "{\"type\":\"genesis\",\"log_id\":\"" LOG_ID "\",\"partitions\":4,\"rules\":1}",
    "{\"type\":\"rules\",\"rules\":2}",
    "{\"type\":\"sale\",\"op_id\":\"op1\",\"item_id\":\"phone@3\",\"action\":\"pause\"}",
    "{\"type\":\"restock\",\"op_id\":\"op2\",\"item_id\":\"phone@3\",\"qty\":5}",
    "{\"type\":\"order\",\"order_id\":\"" ONE
    "\",\"item_id\":\"phone@3\",\"user_id\":\"alice\",\"qty\":2,\"not_after\":7}",
    "{\"type\":\"pay\",\"order_id\":\"" ONE "\",\"payment_id\":\"pay1\",\"user_id\":\"alice\"}",
    "{\"type\":\"cancel\",\"order_id\":\"" ONE "\",\"user_id\":\"alice\"}",
    "{\"type\":\"tick\"}",
    "{\"type\":\"mark\",\"run_id\":\"run1\"}",
    "{\"type\":\"archive\",\"op_id\":\"op3\",\"item_id\":\"phone@3\"}",
    "{\"type\":\"nothing\"}",
};

#define PAY_WITHOUT_USER "{\"type\":\"pay\",\"order_id\":\"" ONE "\",\"payment_id\":\"pay1\"}"

static struct command command_of(const char *json)
{
    struct command cmd;

    command_parse(&cmd, slice_str(json), COMMAND_RULES, 3, 4);
    return cmd;
}

static bool takes(const struct command *cmd, struct slice line)
{
    struct buf out;
    struct err err = {.text = ""};
    bool ok;

    buf_init(&out, 1 << 20);
    buf_puts(&out, "before");
    ok = outcome_format(&out, &head, cmd, line, &err);
    if (!ok) {
        assert_int_equal(err.kind, ERR_FATAL);
        assert_true(slice_eq(buf_slice(&out), SLICE_LIT("before")));
    }
    buf_fini(&out);
    return ok;
}

static void assert_takes(const char *json, const char *line, bool want)
{
    const struct command cmd = command_of(json);

    if (takes(&cmd, slice_str(line)) != want) {
        fail_msg("%s answered with %s", json, line);
    }
}

static void assert_same_event(const struct event *a, const struct event *b)
{
    assert_int_equal(a->n_items, b->n_items);
    for (size_t i = 0; i < a->n_items; i++) {
        assert_string_equal(a->items[i].item_id.s, b->items[i].item_id.s);
        assert_int_equal(a->items[i].total, b->items[i].total);
        assert_int_equal(a->items[i].available, b->items[i].available);
        assert_int_equal(a->items[i].held, b->items[i].held);
        assert_int_equal(a->items[i].sold, b->items[i].sold);
    }
    assert_memory_equal(a, b, offsetof(struct event, items)); /* events begin as zero bytes */
}

/* Parses value as it is, and with a blank in front (so by the JSON library): both agree. */
static void parse(struct outcome *o, struct slice value)
{
    struct outcome other = {.events = NULL};
    struct err err = {.text = ""};
    struct buf blank;

    buf_init(&blank, value.len + 1);
    buf_putc(&blank, ' ');
    buf_put_slice(&blank, value);
    memset(o, 0, sizeof(*o));
    if (!outcome_parse(o, value, &err) || !outcome_parse(&other, buf_slice(&blank), &err)) {
        fail_msg("%s: %.*s", err.text, (int)value.len, value.ptr);
    }
    assert_int_equal(o->partition, other.partition);
    assert_int_equal(o->offset, other.offset);
    assert_int_equal(o->prev, other.prev);
    assert_string_equal(o->genesis, other.genesis);
    assert_int_equal(o->hash, other.hash);
    assert_int_equal(o->chain, other.chain);
    assert_int_equal(o->rules, other.rules);
    assert_int_equal(o->log_time, other.log_time);
    assert_int_equal(o->n_events, other.n_events);
    for (size_t i = 0; i < o->n_events; i++) {
        assert_same_event(&o->events[i], &other.events[i]);
    }
    outcome_fini(&other);
    buf_fini(&blank);
}

/* The event that reading gives for a command, a line and what both become in JSON. */
static void check(struct outcome *o, const char *json, const char *line, const char *events)
{
    const struct command cmd = command_of(json);
    struct buf out;
    struct buf want;
    struct err err = {.text = ""};

    buf_init(&out, 1 << 16);
    buf_init(&want, 1 << 16);
    buf_puts(&want, HEAD);
    buf_puts(&want, events);
    buf_puts(&want, "]}");
    if (!outcome_format(&out, &head, &cmd, slice_str(line), &err)) {
        fail_msg("%s", err.text);
    }
    assert_string_equal(out.ptr, want.ptr);
    parse(o, buf_slice(&out));
    assert_int_equal(o->partition, 3);
    assert_int_equal(o->offset, 17);
    assert_int_equal(o->prev, 16);
    assert_string_equal(o->genesis, LOG_ID);
    assert_int_equal(o->hash, 0xfe);
    assert_int_equal(o->chain, 0xff);
    assert_int_equal(o->rules, 1);
    assert_int_equal(o->log_time, 1712345678901);
    buf_fini(&out);
    buf_fini(&want);
}

#define FIRST(type) "{\"index\":0,\"type\":\"" type "\","
#define CONTENT     "\"order_id\":\"" ONE "\",\"item_id\":\"phone@3\",\"user_id\":\"alice\",\"qty\":2"

static void assert_content(const struct event *e, enum event_type type)
{
    assert_int_equal(e->type, type);
    assert_string_equal(e->order_id, ONE);
    assert_string_equal(e->item_id.s, "phone@3");
    assert_string_equal(e->user_id.s, "alice");
    assert_int_equal(e->qty, 2);
    assert_int_equal(e->total, -1);
    assert_int_equal(e->price, -1);
}

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

static void a_line_answers_only_its_kind_of_command(void **state)
{
    static const struct {
        const char *line;
        unsigned commands;
    } answers[] = {
        {"7 8", 1U << COMMAND_ORDER},
        {"-1 0", 1U << COMMAND_ORDER},
        {"d phone@3 2 H 0", 1U << COMMAND_ORDER},
        {"p phone@3 2 0 7", 1U << COMMAND_PAY},
        {"r 8", 1U << COMMAND_PAY},
        {"D " TWO " P", 1U << COMMAND_PAY},
        {"c phone@3 2 8", 1U << COMMAND_CANCEL},
        {"x 8", 1U << COMMAND_CANCEL},
        {"x 14", 1U << COMMAND_GENESIS | 1U << COMMAND_SALE | 1U << COMMAND_RESTOCK |
                     1U << COMMAND_ARCHIVE},
        {"x 15", 1U << COMMAND_MALFORMED},
        {"s 1 1 0 0 1 1 0 0 o 0", 1U << COMMAND_SALE | 1U << COMMAND_RESTOCK},
        {"o", 1U << COMMAND_SALE | 1U << COMMAND_RESTOCK | 1U << COMMAND_ARCHIVE},
        {"x 4",
         1U << COMMAND_ORDER | 1U << COMMAND_SALE | 1U << COMMAND_RESTOCK | 1U << COMMAND_ARCHIVE},
        {"a 0 5 5", 1U << COMMAND_ARCHIVE},
        {"g", 1U << COMMAND_GENESIS},
        {"v", 1U << COMMAND_SET_RULES},
        {"m 0 0", 1U << COMMAND_MARK},
        {"", 1U << COMMAND_TICK},
        {"e " TWO " bob cup@3 1 9", 1U << COMMAND_TICK},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        for (int type = 0; type <= COMMAND_MALFORMED; type++) {
            const bool want = (answers[i].commands & 1U << type) != 0;
            char line[256];

            assert_int_equal(command_of(commands[type]).type, type);
            assert_takes(commands[type], answers[i].line, want);
            if (answers[i].line[0] == '\0' || answers[i].line[0] == 'e') {
                continue;
            }
            /* No spare field, no second answer, nothing after it; expiries only before it. */
            (void)snprintf(line, sizeof(line), "%s ", answers[i].line);
            assert_takes(commands[type], line, false);
            (void)snprintf(line, sizeof(line), "%s;", answers[i].line);
            assert_takes(commands[type], line, false);
            (void)snprintf(line, sizeof(line), "%s 1", answers[i].line);
            assert_takes(commands[type], line, false);
            (void)snprintf(line, sizeof(line), "%s;%s", answers[i].line, answers[i].line);
            assert_takes(commands[type], line, false);
            (void)snprintf(line, sizeof(line), "%s;e " TWO " bob cup@3 1 9", answers[i].line);
            assert_takes(commands[type], line, false);
            (void)snprintf(line, sizeof(line), "e " TWO " bob cup@3 1 9;%s", answers[i].line);
            assert_takes(commands[type], line, want);
        }
    }
}

static void a_reason_is_given_only_where_the_rules_give_it(void **state)
{
    const struct {
        const char *json, *before, *after;
        unsigned reasons; /* bit per code of docs/protocol.md section 4 */
    } places[] = {
        {commands[COMMAND_ORDER], "-", " 0", 0x00fe},
        {commands[COMMAND_ORDER], "d phone@3 2 R ", "", 0x00fe},
        {commands[COMMAND_ORDER], "d phone@3 2 P ", "", 0x0001},
        {commands[COMMAND_ORDER], "d phone@3 2 E ", "", 0x0001},
        {commands[COMMAND_PAY], "r ", "", 0x0f36},
        {PAY_WITHOUT_USER, "r ", "", 0x0100},
        {commands[COMMAND_CANCEL], "x ", "", 0x1f00},
        {commands[COMMAND_SALE], "x ", "", 0x6090},
        {commands[COMMAND_GENESIS], "x ", "", 0x4000},
        {commands[COMMAND_MALFORMED], "x ", "", 0x8000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        for (int code = 0; code <= 17; code++) {
            char line[64];

            if (code == 0 && places[i].before[0] == '-') {
                continue; /* "-0" is no number; see below */
            }
            (void)snprintf(line, sizeof(line), "%s%d%s", places[i].before, code, places[i].after);
            assert_takes(places[i].json, line, (places[i].reasons & 1U << code) != 0);
        }
    }
    assert_takes(commands[COMMAND_ORDER], "-0 0", false);
    assert_takes(commands[COMMAND_CANCEL], "x -8", false);
    assert_takes(commands[COMMAND_CANCEL], "x 08", false);
}

static void what_no_rule_says_is_fatal(void **state)
{
    static const struct {
        enum command_type type;
        const char *line;
    } bad[] = {
        {COMMAND_ORDER, "7"},
        {COMMAND_ORDER, "7 "},
        {COMMAND_ORDER, " 7 8"},
        {COMMAND_ORDER, "7  8"},
        {COMMAND_ORDER, "07 8"},
        {COMMAND_ORDER, "7 8.0"},
        {COMMAND_ORDER, "7 -8"},
        {COMMAND_ORDER, "7 8\n"},
        {COMMAND_ORDER, "1000000001 8"},
        {COMMAND_ORDER, "7 9007199254740992"},
        {COMMAND_ORDER, "-1"},
        {COMMAND_ORDER, "-1 -1"},
        {COMMAND_ORDER, "-"},
        {COMMAND_ORDER, "d phone@3 2 X 0"},
        {COMMAND_ORDER, "d phone@3 2 HH 0"},
        {COMMAND_ORDER, "d phone@3 0 H 0"},
        {COMMAND_ORDER, "d phone@3 1001 H 0"},
        {COMMAND_ORDER, "d pho\"ne 2 H 0"},
        {COMMAND_ORDER, ";7 8"},
        {COMMAND_ORDER, "q"},
        {COMMAND_ORDER, "dd phone@3 2 H 0"},
        {COMMAND_PAY, "p phone@3 2 2 7"},
        {COMMAND_PAY, "D " ABROAD " P"},
        {COMMAND_PAY, "D " TWO " E"},
        {COMMAND_PAY, "D x P"},
        {COMMAND_TICK, "e " ABROAD " bob cup@3 1 9"},
        {COMMAND_TICK, "e " TWO " b,b cup@3 1 9"},
        {COMMAND_TICK, "e " TWO "  cup@3 1 9"},
        {COMMAND_TICK, "e " TWO " bob cup@3 1"},
        {COMMAND_TICK, "e"},
        {COMMAND_TICK, "e "},
        {COMMAND_TICK, ";"},
        {COMMAND_TICK, "t"},
        {COMMAND_SALE, "s 1 1 0 0 1 1 0 0 x 0"},
        {COMMAND_SALE, "s 1 1 0 0 0 1 0 0 o 0"},
        {COMMAND_SALE, "s 1 1 0 0 1 1 0 0 o"},
        {COMMAND_SALE, "s 1 1 0 0 1 1 0 0 o 1000000000001"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_takes(commands[bad[i].type], bad[i].line, false);
    }
    assert_takes(PAY_WITHOUT_USER, "p phone@3 2 0 7", false);
}

static void only_64_holds_expire_before_a_command(void **state)
{
    static const struct {
        const char *answer;
        enum command_type type;
        int max;
    } limits[] = {
        {"", COMMAND_TICK, 64},       {"7 8", COMMAND_ORDER, 64},
        {"r 12", COMMAND_PAY, -1}, /* no reason of a payment at all */
        {"r 1", COMMAND_PAY, 65},  /* its own hold too */
        {"x 12", COMMAND_CANCEL, 65},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        const struct command cmd = command_of(commands[limits[i].type]);

        for (int n = 63; n <= 66; n++) {
            struct buf line;

            buf_init(&line, 1 << 16);
            for (int k = 0; k < n; k++) {
                buf_puts(&line, k == 0 ? "" : ";");
                buf_puts(&line, "e " TWO " bob cup@3 1 9");
            }
            if (limits[i].answer[0] != '\0') {
                buf_printf(&line, ";%s", limits[i].answer);
            }
            assert_int_equal(takes(&cmd, buf_slice(&line)), n <= limits[i].max);
            buf_fini(&line);
        }
    }
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

/* ---- reading ---- */

static void assert_rejected(const char *json)
{
    struct outcome o = {.events = NULL};
    struct err err = {.text = ""};

    if (outcome_parse(&o, slice_str(json), &err)) {
        fail_msg("%s", json);
    }
    assert_int_equal(err.kind, ERR_REJECT);
    assert_string_not_equal(err.text, "");
    assert_int_equal(o.n_events, 0);
    outcome_fini(&o);
}

#define RESERVED FIRST("reserved") CONTENT ",\"due\":8,\"available\":7}"

static void unknown_members_are_passed_over(void **state)
{
    static const char *const json =
        "{ \"new\":{\"a\":[1,2.5,null]},\"log_time\":9,\"rules\":3,\"chain\":\"00000000000000ff\",\"hash\":\"00000000000000fe\","
        "\"events\":[{\"qty\":2,\"type\":\"cancelled\",\"index\":0,\"new\":null,\"available\":1,"
        "\"order_id\":\"" ONE "\",\"item_id\":\"phone@3\",\"user_id\":\"alice\"}],\"prev\":-1,"
        "\"genesis\":\"" LOG_ID "\",\"partition\":0,\"offset\":0}";
    struct outcome o;

    (void)state;
    parse(&o, slice_str(json));
    assert_int_equal(o.prev, -1);
    assert_int_equal(o.offset, 0);
    assert_int_equal(o.rules, 3);
    assert_int_equal(o.log_time, 9);
    assert_int_equal(o.n_events, 1);
    assert_content(&o.events[0], EVENT_CANCELLED);
    outcome_fini(&o);
}

static void replace(const char *json, const char *old, const char *new, char *out, size_t size)
{
    const char *at = strstr(json, old);

    assert_non_null(at);
    (void)snprintf(out, size, "%.*s%s%s", (int)(at - json), json, new, at + strlen(old));
}

static void what_is_no_outcome_is_rejected(void **state)
{
    static const char *const good = HEAD RESERVED "]}";
    static const struct {
        const char *old, *new;
    } changes[] = {
        {"\"partition\":3", "\"partition\":4096"},
        {"\"partition\":3", "\"partition\":-1"},
        {"\"partition\":3", "\"partition\":\"3\""},
        {"\"partition\":3,", ""},
        {"\"offset\":17", "\"offset\":16"},
        {"\"offset\":17", "\"offset\":9007199254740992"},
        {"\"offset\":17", "\"offset\":17.0"},
        {"\"offset\":17,", ""},
        {"\"prev\":16", "\"prev\":-2"},
        {"\"prev\":16", "\"prev\":17"},
        {"\"prev\":16,", ""},
        {LOG_ID, "0123456789abcdef0123456789abcdeF"},
        {"\"genesis\":\"" LOG_ID "\",", ""},
        {"00000000000000ff", "0000000000000ff"},
        {"\"hash\":\"00000000000000fe\",", ""},
        {"\"hash\":\"00000000000000fe\"", "\"hash\":\"fe\""},
        {"\"chain\":\"00000000000000ff\",", ""},
        {"\"rules\":1", "\"rules\":0"},
        {"\"rules\":1,", ""},
        {"\"log_time\":1712345678901", "\"log_time\":-1"},
        {"\"log_time\":1712345678901,", ""},
        {"\"events\":", "\"event\":"},
        {"\"events\":[", "\"events\":{},\"x\":["},
        {"\"events\":[", "\"events\":[7,"},
        {"\"index\":0", "\"index\":1"},
        {"\"index\":0,", ""},
        {"\"type\":\"reserved\",", ""},
        {"\"type\":\"reserved\"", "\"type\":7"},
        {"\"type\":\"reserved\"", "\"type\":\"sold\""},
        {"\"type\":\"reserved\"", "\"type\":\"rejected\""},
        {"\"type\":\"reserved\"", "\"type\":\"duplicate\""},
        {"\"type\":\"reserved\"", "\"type\":\"mark\""},
        {"\"order_id\":\"" ONE "\",", ""},
        {"\"item_id\":\"phone@3\",", ""},
        {"phone@3", "pho ne"},
        {"\"user_id\":\"alice\",", ""},
        {"alice", "al,ice"},
        {"\"qty\":2", "\"qty\":0"},
        {"\"qty\":2", "\"qty\":1001"},
        {"\"qty\":2,", ""},
        {"\"due\":8", "\"due\":null"},
        {",\"available\":7", ""},
        {"\"available\":7", "\"available\":-7"},
        {"]}", "]}x"},
        {"]}", "]"},
        {"\"qty\":2", "\"qty\":2,\"qty\":2"},
    };
    char json[1024];

    (void)state;
    assert_rejected("");
    assert_rejected("null");
    assert_rejected("[]");
    assert_rejected("{}");
    assert_rejected(NULL);
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        replace(good, changes[i].old, changes[i].new, json, sizeof(json));
        assert_rejected(json);
    }
    for (size_t len = 0; len < strlen(good); len++) {
        (void)snprintf(json, sizeof(json), "%.*s", (int)len, good);
        assert_rejected(json);
    }
}

static void members_of_other_shapes_are_checked(void **state)
{
    static const char *const bad[] = {
        FIRST("rejected") CONTENT ",\"reason\":\"lazy\",\"available\":0}",
        FIRST("rejected") CONTENT ",\"reason\":\"none\",\"available\":0}",
        FIRST("paid") CONTENT ",\"payment_id\":\"p\",\"late\":1,\"available\":0}",
        FIRST("duplicate") CONTENT ",\"state\":\"queued\"}",
        FIRST("duplicate") CONTENT ",\"state\":\"rejected\",\"reason\":7}",
        FIRST("duplicate") "\"order_id\":\"" ONE "\",\"payment_id\":\"p\",\"first_order_id\":\"" TWO
                           "\",\"payment\":\"duplicate\"}",
        FIRST("duplicate") "\"order_id\":\"" ONE "\",\"payment_id\":\"p\",\"first_order_id\":\"x\","
                           "\"payment\":\"paid\"}",
        FIRST("duplicate") "\"op_id\":\"o\"}",
        FIRST("refused") "\"order_id\":\"" ONE "\",\"reason\":\"expired\"}",
        FIRST("refused") "\"reason\":\"malformed\",\"detail\":\"ok\"}",
        FIRST("refused") "\"reason\":\"malformed\",\"detail\":7}",
        FIRST("refused") "\"detail\":\"not_json\"}",
        FIRST("refused") "\"op_id\":\"\",\"item_id\":\"a\",\"reason\":\"closed\"}",
        FIRST("genesis") "\"log_id\":\"7\",\"partitions\":4,\"rules\":1}",
        FIRST("genesis") "\"log_id\":\"" LOG_ID "\",\"partitions\":0,\"rules\":1}",
        FIRST("rules") "\"rules\":0}",
        FIRST("mark") "\"run_id\":\"r\",\"orders\":0,\"payments\":0,\"items\":{}}",
        FIRST("mark") "\"run_id\":\"r\",\"orders\":0,\"payments\":0,\"items\":[7]}",
        FIRST("mark") "\"run_id\":\"r\",\"orders\":0,\"payments\":0,\"items\":[{\"item_id\":\"a\","
                      "\"total\":0,\"available\":0,\"held\":0,\"sold\":0},{\"item_id\":\"b\"}]}",
        FIRST(
            "stock") "\"op_id\":\"o\",\"item_id\":\"a\",\"action\":\"sell\",\"state\":\"open\","
                     "\"total\":0,\"available\":0,\"held\":0,\"sold\":0,\"limit\":1,\"hold_ms\":1,"
                     "\"opens_at\":0,\"closes_at\":0,\"price\":0}",
        FIRST(
            "stock") "\"op_id\":\"o\",\"item_id\":\"a\",\"action\":\"open\",\"state\":\"none\","
                     "\"total\":0,\"available\":0,\"held\":0,\"sold\":0,\"limit\":1,\"hold_ms\":1,"
                     "\"opens_at\":0,\"closes_at\":0,\"price\":0}",
    };
    char json[1024];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        (void)snprintf(json, sizeof(json), HEAD "%s]}", bad[i]);
        assert_rejected(json);
    }
}

static void an_outcome_is_reused_and_bounded(void **state)
{
    struct outcome o = {.events = NULL};
    struct err err;

    (void)state;
    for (int n = 1023; n <= 1025; n++) {
        struct buf json;

        buf_init(&json, 1 << 20);
        buf_puts(&json, HEAD);
        for (int i = 0; i < n; i++) {
            buf_printf(&json, "%s{\"index\":%d,\"type\":\"rules\",\"rules\":1}", i == 0 ? "" : ",",
                       i);
        }
        buf_puts(&json, "]}");
        assert_int_equal(outcome_parse(&o, buf_slice(&json), &err), n <= 1024);
        assert_int_equal(o.n_events, n <= 1024 ? n : 0);
        buf_putc(&json, ' '); /* and by the JSON library */
        assert_int_equal(outcome_parse(&o, buf_slice(&json), &err), n <= 1024);
        assert_int_equal(o.n_events, n <= 1024 ? n : 0);
        buf_fini(&json);
    }
    assert_true(outcome_parse(&o, SLICE_LIT(HEAD RESERVED "]}"), &err));
    assert_int_equal(o.n_events, 1);
    assert_content(&o.events[0], EVENT_RESERVED);
    outcome_fini(&o);
    outcome_fini(&o);
}

/* ---- values in Redis ---- */

static void a_users_orders_are_read_one_by_one(void **state)
{
    struct slice value = SLICE_LIT(ONE " phone@3 2 P 0 5 6 PpayA,RpayB;" TWO " cup@3 1 R 7 0 8 -");
    struct order_entry entry;
    struct slice payment_id;
    char answer;

    (void)state;
    assert_int_equal(order_entry_next(&value, &entry), 1);
    assert_true(slice_eq(entry.order_id, SLICE_LIT(ONE)));
    assert_true(slice_eq(entry.item_id, SLICE_LIT("phone@3")));
    assert_int_equal(entry.qty, 2);
    assert_int_equal(entry.state, ORDER_PAID);
    assert_int_equal(entry.reason, REASON_NONE);
    assert_int_equal(entry.due, 5);
    assert_int_equal(entry.offset, 6);
    assert_int_equal(order_payment_next(&entry.payments, &answer, &payment_id), 1);
    assert_int_equal(answer, 'P');
    assert_true(slice_eq(payment_id, SLICE_LIT("payA")));
    assert_int_equal(order_payment_next(&entry.payments, &answer, &payment_id), 1);
    assert_int_equal(answer, 'R');
    assert_true(slice_eq(payment_id, SLICE_LIT("payB")));
    assert_int_equal(order_payment_next(&entry.payments, &answer, &payment_id), 0);
    assert_int_equal(order_payment_next(&entry.payments, &answer, &payment_id), 0);

    assert_int_equal(order_entry_next(&value, &entry), 1);
    assert_true(slice_eq(entry.order_id, SLICE_LIT(TWO)));
    assert_int_equal(entry.state, ORDER_REJECTED);
    assert_int_equal(entry.reason, REASON_UNKNOWN_ITEM);
    assert_int_equal(order_payment_next(&entry.payments, &answer, &payment_id), 0);
    assert_int_equal(order_entry_next(&value, &entry), 0);
    assert_int_equal(order_entry_next(&value, &entry), 0);
}

static void a_spoilt_value_is_noticed(void **state)
{
    static const char *const entries[] = {
        ";",
        ONE " phone@3 2 P 0 5 6 -;",
        ";" ONE " phone@3 2 P 0 5 6 -",
        ONE " phone@3 2 P 0 5 6",
        ONE " phone@3 2 P 0 5 6 ",
        ONE " phone@3 2 P 0 5 6 - ",
        ONE " phone@3 2 P 1 5 6 -",
        ONE " phone@3 2 R 0 5 6 -",
        ONE " phone@3 2 Q 0 5 6 -",
        ONE " phone@3 0 P 0 5 6 -",
        ONE " phone@3 2 P 0 -5 6 -",
        "x phone@3 2 P 0 5 6 -",
        ONE "  2 P 0 5 6 -",
        " ",
    };
    static const char *const payments[] = {",", "P", "Pa,", "Qa", "a", "Pa b"};
    struct order_entry entry;
    struct slice payment_id;
    char answer;

    (void)state;
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        struct slice value = slice_str(entries[i]);

        assert_int_equal(order_entry_next(&value, &entry), -1);
    }
    for (size_t i = 0; i < sizeof(payments) / sizeof(payments[0]); i++) {
        struct slice value = slice_str(payments[i]);

        assert_int_equal(order_payment_next(&value, &answer, &payment_id), -1);
    }
}

static void an_items_value_is_read(void **state)
{
    static const char *const bad[] = {"",
                                      "10 5 3 2 1 300000 4 5 p",
                                      "10 5 3 2 1 300000 4 5 p 1999 ",
                                      "10 5 3 2 1 300000 4 5 p 1999 1",
                                      "10 5 3 2 1 300000 4 5 x 1999",
                                      "10 5 3 2 0 300000 4 5 p 1999",
                                      "10 -5 3 2 1 300000 4 5 p 1999",
                                      "10 5 3 2 1 3e5 4 5 p 1999"};
    struct item_entry item;

    (void)state;
    assert_true(item_entry_parse(SLICE_LIT("10 5 3 2 1 300000 4 5 p 1999"), &item));
    assert_int_equal(item.total, 10);
    assert_int_equal(item.available, 5);
    assert_int_equal(item.held, 3);
    assert_int_equal(item.sold, 2);
    assert_int_equal(item.limit, 1);
    assert_int_equal(item.hold_ms, 300000);
    assert_int_equal(item.opens_at, 4);
    assert_int_equal(item.closes_at, 5);
    assert_int_equal(item.state, 'p');
    assert_int_equal(item.price, 1999);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(item_entry_parse(slice_str(bad[i]), &item));
    }
    assert_false(item_entry_parse(slice_str(NULL), &item));
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

/* ---- with the fold ---- */

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

/* Over few items, so that they meet. */
static void random_sale(uint32_t *seed, struct buf *out)
{
    static const char *const states[] = {"pause", "resume"};
    const unsigned item = next_random(seed) % 3;

    switch (next_random(seed) % 4) {
    case 0:
        buf_printf(out,
                   "{\"type\":\"sale\",\"op_id\":\"o%u\",\"item_id\":\"i%u@3\",\"action\":\"%s\","
                   "\"total\":%u,\"limit\":%u,\"hold_ms\":%u}",
                   next_random(seed) % 200, item, next_random(seed) % 2 == 0 ? "open" : "change",
                   next_random(seed) % 40, next_random(seed) % 30 + 1,
                   next_random(seed) % 3 * 500 + 500);
        break;
    case 1:
        buf_printf(out,
                   "{\"type\":\"sale\",\"op_id\":\"p%u\",\"item_id\":\"i%u@3\",\"action\":\"%s\"}",
                   next_random(seed) % 900, item,
                   next_random(seed) % 40 == 0 ? "close" : states[next_random(seed) % 2]);
        break;
    case 2:
        buf_printf(out, "{\"type\":\"restock\",\"op_id\":\"o%u\",\"item_id\":\"i%u@3\",\"qty\":%u}",
                   next_random(seed) % 200, item, next_random(seed) % 5 + 1);
        break;
    default:
        buf_printf(out, "{\"type\":\"archive\",\"op_id\":\"a%u\",\"item_id\":\"i%u@3\"%s}",
                   next_random(seed) % 300, item,
                   next_random(seed) % 4 == 0 ? "" : ",\"users\":\"u0,u2\"");
        break;
    }
}

/* A random command over few orders, users, items and payments, so that they meet. */
static void random_command(uint32_t *seed, int64_t now, struct buf *out)
{
    static const char *const payers[] = {"", ",\"user_id\":\"u0\"", ",\"user_id\":\"u1\"",
                                         ",\"user_id\":\"u2\""};
    const unsigned order = next_random(seed) % 24;
    const unsigned user = order % 3;

    buf_clear(out);
    switch (next_random(seed) % 10) {
    case 0:
    case 1:
    case 2:
        random_sale(seed, out);
        break;
    case 3:
        buf_puts(out, next_random(seed) % 4 == 0 ? "{\"type\":\"mark\",\"run_id\":\"r\"}"
                                                 : "{\"type\":\"tick\"}");
        break;
    case 4:
        buf_puts(out, next_random(seed) % 4 == 0 ? commands[next_random(seed) % 11] : "[]");
        break;
    case 5:
        buf_printf(out,
                   "{\"type\":\"cancel\",\"order_id\":\"%08x-4cc6-8003-b966-02a1b9e15d3c\","
                   "\"user_id\":\"u%u\"}",
                   order, user);
        break;
    case 6:
        buf_printf(out,
                   "{\"type\":\"pay\",\"order_id\":\"%08x-4cc6-8003-b966-02a1b9e15d3c\","
                   "\"payment_id\":\"p%u\"%s}",
                   order, next_random(seed) % 300,
                   payers[next_random(seed) % 8 == 0 ? 0 : user + 1]);
        break;
    default:
        buf_printf(out,
                   "{\"type\":\"order\",\"order_id\":\"%08x-4cc6-%d003-b966-02a1b9e15d3c\","
                   "\"item_id\":\"i%u@3\",\"user_id\":\"u%u\",\"qty\":%u,\"not_after\":%lld}",
                   order, next_random(seed) % 4 == 0 ? 7 : 8, next_random(seed) % 3, user,
                   next_random(seed) % 4 + 1, (long long)(now + next_random(seed) % 500 - 20));
        break;
    }
}

static bool read_item(struct slice field, struct slice value, void *arg)
{
    struct item_entry item;

    (void)field;
    (void)arg;
    assert_true(item_entry_parse(value, &item));
    assert_int_equal(item.total, item.available + item.held + item.sold);
    return true;
}

static bool read_orders(struct slice field, struct slice value, void *arg)
{
    size_t *n = arg;
    struct order_entry entry;
    int more;

    (void)field;
    while ((more = order_entry_next(&value, &entry)) == 1) {
        struct slice payment_id;
        char answer;

        *n += 1;
        while ((more = order_payment_next(&entry.payments, &answer, &payment_id)) == 1) {
        }
        assert_int_equal(more, 0);
    }
    assert_int_equal(more, 0);
    return true;
}

static void whatever_the_fold_says_can_be_told(void **state)
{
    struct fold *fold = fold_create(3, 4);
    struct fold_log log;
    struct outcome_head at = head;
    struct buf json;
    struct buf line;
    struct buf out;
    size_t seen[EVENT_COUNT] = {0};
    size_t n_orders = 0;
    uint32_t seed = 42;
    int64_t now = 1000;

    (void)state;
    buf_init(&json, 4096);
    buf_init(&line, 1 << 16);
    buf_init(&out, 1 << 16);
    buf_puts(&json,
             "{\"type\":\"genesis\",\"log_id\":\"" LOG_ID "\",\"partitions\":4,\"rules\":2}");
    for (int64_t offset = 0; offset < 6000; offset++) {
        const struct fold_record rec = {offset, now, {NULL, 0}, buf_slice(&json)};
        struct err err = {.text = ""};
        struct outcome o;

        buf_clear(&line);
        buf_clear(&out);
        if (!fold_apply(fold, &rec, &line, &err)) {
            fail_msg("%s: %s", err.text, json.ptr);
        }
        at.offset = offset;
        at.prev = offset - 1;
        if (!outcome_format(&out, &at, fold_last_command(fold), buf_slice(&line), &err)) {
            fail_msg("%s: %s", err.text, json.ptr);
        }
        parse(&o, buf_slice(&out));
        for (size_t i = 0; i < o.n_events; i++) {
            seen[o.events[i].type]++;
        }
        outcome_fini(&o);
        now += next_random(&seed) % 40;
        random_command(&seed, now, &json);
    }
    for (size_t i = 0; i < EVENT_COUNT; i++) {
        if (seen[i] == 0) {
            fail_msg("no %s in this run", event_type_name((enum event_type)i));
        }
    }
    fold_log(fold, &log);
    fold_each(fold, FOLD_ITEMS, read_item, NULL);
    fold_each(fold, FOLD_ORDERS, read_orders, &n_orders);
    assert_int_equal(n_orders, log.orders);
    buf_fini(&json);
    buf_fini(&line);
    buf_fini(&out);
    fold_destroy(fold);
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
        cmocka_unit_test(a_line_answers_only_its_kind_of_command),
        cmocka_unit_test(a_reason_is_given_only_where_the_rules_give_it),
        cmocka_unit_test(what_no_rule_says_is_fatal),
        cmocka_unit_test(only_64_holds_expire_before_a_command),
        cmocka_unit_test(an_outcome_that_does_not_fit_leaves_nothing),
        cmocka_unit_test(unknown_members_are_passed_over),
        cmocka_unit_test(what_is_no_outcome_is_rejected),
        cmocka_unit_test(members_of_other_shapes_are_checked),
        cmocka_unit_test(an_outcome_is_reused_and_bounded),
        cmocka_unit_test(a_users_orders_are_read_one_by_one),
        cmocka_unit_test(a_spoilt_value_is_noticed),
        cmocka_unit_test(an_items_value_is_read),
        cmocka_unit_test(names_are_the_protocols),
        cmocka_unit_test(whatever_the_fold_says_can_be_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
