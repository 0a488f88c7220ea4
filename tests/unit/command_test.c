#include "common/command.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Records of partition 3 of 4: the item and the orders below belong there. */
#define LOG_ID  "0123456789abcdef0123456789abcdef"
#define UNKEYED "0190163d-8694-7003-b966-02a1b9e15d3c"
#define KEYED   "e787366c-4cc6-8003-b966-02a1b9e15d3c"
#define FOREIGN "0190163d-8694-7002-b966-02a1b9e15d3c"

#define SALE(rest)  "{\"type\":\"sale\",\"op_id\":\"op1\",\"item_id\":\"phone@3\",\"action\":" rest
#define ORDER(rest) "{\"type\":\"order\",\"order_id\":\"" UNKEYED "\",\"item_id\":\"phone@3\"" rest

static struct command parse_slice(struct slice value)
{
    struct command cmd;

    memset(&cmd, 0x55, sizeof(cmd)); /* what was there before must not matter */
    command_parse(&cmd, value, COMMAND_RULES, 3, 4);
    return cmd;
}

/*
 * Parses json twice: as it is, and with a blank after the first brace, which sends it to the JSON
 * library.  Both must say the same.
 */
/* All but users is plain bytes. */
static void assert_equal(const struct command *a, const struct command *b)
{
    assert_memory_equal(a, b, offsetof(struct command, users));
    assert_true(slice_eq(a->users, b->users));
    assert_int_equal(a->users.ptr == NULL, b->users.ptr == NULL);
}

static struct command parse(const char *json)
{
    const struct command cmd = parse_slice(slice_str(json));
    char blank[COMMAND_VALUE_MAX + 2];

    if (json[0] == '{' && strlen(json) < COMMAND_VALUE_MAX) {
        struct command other;

        (void)snprintf(blank, sizeof(blank), "{ %s", json + 1);
        other = parse_slice(slice_str(blank));
        assert_equal(&other, &cmd);
    }
    return cmd;
}

static void assert_detail(const char *json, enum command_detail want)
{
    const struct command cmd = parse(json);

    if (cmd.detail != want) {
        fail_msg("%s: %s, not %s", json, command_detail_name(cmd.detail),
                 command_detail_name(want));
    }
    assert_int_equal(cmd.type == COMMAND_MALFORMED, want != COMMAND_OK);
}

/* Formats cmd, compares with json, parses that again and compares with cmd. */
static void assert_same(const struct command *cmd, const char *json)
{
    struct command again;
    char out[1024];
    const size_t len = command_format(cmd, out, sizeof(out));

    assert_string_equal(out, json);
    assert_int_equal(len, strlen(json));
    again = parse(out);
    assert_equal(&again, cmd);
    for (size_t size = 0; size <= len; size++) {
        assert_int_equal(command_format(cmd, out, size), 0);
    }
    assert_int_equal(command_format(cmd, out, len + 1), len);
}

static struct command assert_parses(const char *json, enum command_type type)
{
    const struct command cmd = parse(json);

    if (cmd.type != type) {
        fail_msg("%s: %s %s", json, command_type_name(cmd.type), command_detail_name(cmd.detail));
    }
    assert_same(&cmd, json);
    return cmd;
}

static void every_type_is_read_and_written(void **state)
{
    struct command cmd;

    (void)state;
    cmd = assert_parses("{\"type\":\"genesis\",\"log_id\":\"" LOG_ID
                        "\",\"partitions\":16,\"rules\":1}",
                        COMMAND_GENESIS);
    assert_string_equal(cmd.other_id.s, LOG_ID);
    assert_int_equal(cmd.partitions, 16);
    assert_int_equal(cmd.rules, 1);
    cmd = assert_parses("{\"type\":\"rules\",\"rules\":2}", COMMAND_SET_RULES);
    assert_int_equal(cmd.rules, 2);
    cmd = assert_parses(SALE("\"pause\"}"), COMMAND_SALE);
    assert_string_equal(cmd.other_id.s, "op1");
    assert_string_equal(cmd.item_id.s, "phone@3");
    assert_int_equal(cmd.action, COMMAND_PAUSE);
    assert_int_equal(cmd.total, -1);
    assert_int_equal(cmd.limit, -1);
    assert_int_equal(cmd.hold_ms, -1);
    assert_int_equal(cmd.opens_at, -1);
    assert_int_equal(cmd.closes_at, -1);
    assert_int_equal(cmd.price, -1);
    cmd = assert_parses(SALE("\"open\",\"total\":1,\"limit\":2,\"hold_ms\":3,\"opens_at\":4,"
                             "\"closes_at\":5,\"price\":6}"),
                        COMMAND_SALE);
    assert_int_equal(cmd.action, COMMAND_OPEN);
    assert_int_equal(cmd.total, 1);
    assert_int_equal(cmd.limit, 2);
    assert_int_equal(cmd.hold_ms, 3);
    assert_int_equal(cmd.opens_at, 4);
    assert_int_equal(cmd.closes_at, 5);
    assert_int_equal(cmd.price, 6);
    cmd = assert_parses(SALE("\"change\",\"closes_at\":0}"), COMMAND_SALE);
    assert_int_equal(cmd.action, COMMAND_CHANGE);
    assert_int_equal(cmd.closes_at, 0);
    assert_int_equal(assert_parses(SALE("\"resume\"}"), COMMAND_SALE).action, COMMAND_RESUME);
    assert_int_equal(assert_parses(SALE("\"close\"}"), COMMAND_SALE).action, COMMAND_CLOSE);
    cmd = assert_parses("{\"type\":\"restock\",\"op_id\":\"op2\",\"item_id\":\"phone@3\","
                        "\"qty\":5000}",
                        COMMAND_RESTOCK);
    assert_int_equal(cmd.qty, 5000);
    cmd = assert_parses("{\"type\":\"pay\",\"order_id\":\"" KEYED
                        "\",\"payment_id\":\"p1\",\"user_id\":\"alice\"}",
                        COMMAND_PAY);
    assert_string_equal(cmd.order_id, KEYED);
    assert_false(cmd.keyed); /* said of orders only */
    assert_string_equal(cmd.other_id.s, "p1");
    assert_string_equal(cmd.user_id.s, "alice");
    cmd = assert_parses("{\"type\":\"pay\",\"order_id\":\"" KEYED "\",\"payment_id\":\"p1\"}",
                        COMMAND_PAY);
    assert_int_equal(cmd.user_id.len, 0);
    cmd = assert_parses("{\"type\":\"cancel\",\"order_id\":\"" UNKEYED "\",\"user_id\":\"alice\"}",
                        COMMAND_CANCEL);
    assert_string_equal(cmd.order_id, UNKEYED);
    (void)assert_parses("{\"type\":\"tick\"}", COMMAND_TICK);
    cmd = assert_parses("{\"type\":\"mark\",\"run_id\":\"r1\"}", COMMAND_MARK);
    assert_string_equal(cmd.other_id.s, "r1");
    cmd = assert_parses("{\"type\":\"archive\",\"op_id\":\"op3\",\"item_id\":\"phone@3\",\"users\":"
                        "\"alice,bob\"}",
                        COMMAND_ARCHIVE);
    assert_true(slice_eq(cmd.users, SLICE_LIT("alice,bob")));
    cmd = assert_parses("{\"type\":\"archive\",\"op_id\":\"op3\",\"item_id\":\"phone@3\"}",
                        COMMAND_ARCHIVE);
    assert_null(cmd.users.ptr);
    assert_string_equal(cmd.other_id.s, "op3");
}

static void an_order_says_whether_it_is_keyed(void **state)
{
    struct command cmd;

    (void)state;
    cmd = assert_parses(ORDER(",\"user_id\":\"alice\",\"qty\":2,\"not_after\":7}"), COMMAND_ORDER);
    assert_false(cmd.keyed);
    assert_string_equal(cmd.order_id, UNKEYED);
    assert_string_equal(cmd.item_id.s, "phone@3");
    assert_string_equal(cmd.user_id.s, "alice");
    assert_int_equal(cmd.qty, 2);
    assert_int_equal(cmd.not_after, 7);
    cmd = assert_parses("{\"type\":\"order\",\"order_id\":\"" KEYED
                        "\",\"item_id\":\"phone@3\",\"user_id\":\"alice\",\"qty\":1,"
                        "\"not_after\":0}",
                        COMMAND_ORDER);
    assert_true(cmd.keyed);
}

static void json_may_be_written_in_any_way(void **state)
{
    static const char *const same[] = {
        "{\"user_id\":\"alice\",\"type\":\"cancel\",\"order_id\":\"" UNKEYED "\"}",
        " \t\r\n{\n  \"type\" : \"cancel\",\"user_id\":\"alice\",\n\"order_id\":\"" UNKEYED
        "\"}\n ",
        "{\"type\":\"cancel\",\"user_id\":\"\\u0061lice\",\"order_id\":\"" UNKEYED "\"}",
        "{\"t\\u0079pe\":\"cancel\",\"user_id\":\"\\u0061lice\",\"order_id\":\"" UNKEYED "\"}",
    };
    const struct command want =
        parse("{\"type\":\"cancel\",\"order_id\":\"" UNKEYED "\",\"user_id\":\"alice\"}");

    (void)state;
    assert_int_equal(want.type, COMMAND_CANCEL);
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        const struct command cmd = parse(same[i]);

        assert_equal(&cmd, &want);
    }
}

static void what_is_no_json_object_is_malformed(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "x",
        "null",
        "1",
        "\"tick\"",
        "[]",
        "[{\"type\":\"tick\"}]",
        "{",
        "{\"type\"",
        "{\"type\":",
        "{\"type\":\"tick",
        "{\"type\":\"tick\"",
        "{\"type\":\"tick\",",
        "{\"type\":\"tick\",}",
        "{,\"type\":\"tick\"}",
        "{\"type\":\"tick\"}x",
        "{\"type\":\"tick\"}{}",
        "{\"type\":\"tick\"},",
        "{\"type\" \"tick\"}",
        "{'type':'tick'}",
        "{type:\"tick\"}",
        "{\"type\":\"tick\",\"type\":\"tick\"}",
        "{\"type\":\"tick\",\"a\":1,\"\\u0061\":1}",
        "{\"type\":\"tick\",\"a\":{\"b\":1,\"b\":2}}",
        "{\"type\":\"ti\tck\"}",
        "{\"type\":\"tick\",\"a\":\"\\u0000\"}",
        "{\"type\":\"tick\",\"a\":\"\\ud800\"}",
        "{\"type\":\"tick\",\"a\":\"\\x\"}",
        "{\"type\":\"tick\",\"a\":\"\xc0\x80\"}",
        "{\"type\":\"tick\",\"a\":\"\xff\"}",
        "{\"type\":\"tick\",\"a\":01}",
        "{\"type\":\"rules\",\"rules\":01}",
        "{\"type\":\"rules\",\"rules\":-01}",
        "{\"type\":\"rules\",\"rules\":-}",
        "{\"type\":\"rules\",\"rules\":}",
        "{\"type\":\"rules\",\"rules\":1x}",
        "{\"type\":\"tick\",\"a\":-}",
        "{\"type\":\"tick\",\"a\":+1}",
        "{\"type\":\"tick\",\"a\":1.}",
        "{\"type\":\"tick\",\"a\":.5}",
        "{\"type\":\"tick\",\"a\":0x1}",
        "{\"type\":\"tick\",\"a\":NaN}",
        "{\"type\":\"tick\",\"a\":True}",
        "{\"type\":\"tick\",\"a\":9223372036854775808}",
        "{\"type\":\"tick\",\"a\":1e999}",
        "\xef\xbb\xbf{\"type\":\"tick\"}",
        "{\"type\":\"tick\"}/**/",
    };
    char nested[COMMAND_VALUE_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_detail(bad[i], COMMAND_NOT_JSON);
    }
    assert_int_equal(parse_slice((struct slice){"{\"type\":\"tick\"}", 16}).detail,
                     COMMAND_NOT_JSON); /* the NUL behind it */
    memset(nested, '[', sizeof(nested));
    assert_int_equal(parse_slice((struct slice){nested, sizeof(nested)}).detail, COMMAND_NOT_JSON);
}

static void a_value_is_there_and_has_a_bound(void **state)
{
    const struct slice tick = SLICE_LIT("{\"type\":\"tick\"}");
    char value[COMMAND_VALUE_MAX + 1];

    (void)state;
    assert_int_equal(parse_slice((struct slice){NULL, 0}).detail, COMMAND_NULL_VALUE);
    memset(value, ' ', sizeof(value));
    memcpy(value, tick.ptr, tick.len);
    assert_int_equal(parse_slice((struct slice){value, COMMAND_VALUE_MAX}).type, COMMAND_TICK);
    assert_int_equal(parse_slice((struct slice){value, COMMAND_VALUE_MAX + 1}).detail,
                     COMMAND_TOO_LARGE);
}

static void the_first_fault_is_told(void **state)
{
    (void)state;
    assert_detail("{}", COMMAND_UNKNOWN_TYPE);
    assert_detail("{\"item_id\":\"phone@3\"}", COMMAND_UNKNOWN_TYPE);
    assert_detail("{\"type\":null}", COMMAND_UNKNOWN_TYPE);
    assert_detail("{\"type\":1}", COMMAND_UNKNOWN_TYPE);
    assert_detail("{\"type\":\"\"}", COMMAND_UNKNOWN_TYPE);
    assert_detail("{\"type\":\"Tick\"}", COMMAND_UNKNOWN_TYPE);
    assert_detail("{\"type\":\"malformed\"}", COMMAND_UNKNOWN_TYPE);
    assert_detail("{\"type\":\"sell\",\"x\":1}", COMMAND_UNKNOWN_TYPE);

    /* missing before unknown, unknown before bad, bad before foreign */
    assert_detail("{\"type\":\"cancel\",\"order_id\":7,\"x\":1}", COMMAND_MISSING_FIELD);
    assert_detail("{\"type\":\"cancel\",\"order_id\":7,\"user_id\":7,\"x\":1}",
                  COMMAND_UNKNOWN_FIELD);
    assert_detail("{\"type\":\"cancel\",\"order_id\":\"" FOREIGN "\",\"user_id\":\"\"}",
                  COMMAND_BAD_FIELD);
    assert_detail("{\"type\":\"cancel\",\"order_id\":\"" FOREIGN "\",\"user_id\":\"alice\"}",
                  COMMAND_WRONG_PARTITION);
    assert_detail("{\"type\":\"tick\",\"x\":{\"y\":[1,2.5,null,true]}}", COMMAND_UNKNOWN_FIELD);
    assert_detail("{\"type\":\"tick\",\"qty\":1}", COMMAND_UNKNOWN_FIELD);
    assert_detail("{\"type\":\"tick\",\"\":1}", COMMAND_UNKNOWN_FIELD);
}

/* Leaves one member out of json, a flat object without commas in texts. */
static void without(const char *json, const char *name, char *out, size_t size)
{
    char quoted[32];
    const char *start;
    const char *end;

    (void)snprintf(quoted, sizeof(quoted), ",\"%s\":", name);
    start = strstr(json, quoted);
    assert_non_null(start);
    end = strpbrk(start + 1, ",}");
    (void)snprintf(out, size, "%.*s%s", (int)(start - json), json, end);
}

static void every_member_but_the_optional_ones_must_be_there(void **state)
{
    static const struct {
        const char *json;
        const char *names[6];
    } commands[] = {
        {"{\"type\":\"genesis\",\"log_id\":\"" LOG_ID "\",\"partitions\":4,\"rules\":1}",
         {"log_id", "partitions", "rules"}},
        {"{\"type\":\"rules\",\"rules\":1}", {"rules"}},
        {SALE("\"open\",\"total\":1}"), {"op_id", "item_id", "action"}},
        {"{\"type\":\"restock\",\"op_id\":\"o\",\"item_id\":\"phone@3\",\"qty\":1}",
         {"op_id", "item_id", "qty"}},
        {ORDER(",\"user_id\":\"alice\",\"qty\":2,\"not_after\":7}"),
         {"order_id", "item_id", "user_id", "qty", "not_after"}},
        {"{\"type\":\"pay\",\"order_id\":\"" KEYED "\",\"payment_id\":\"p1\"}",
         {"order_id", "payment_id"}},
        {"{\"type\":\"cancel\",\"order_id\":\"" KEYED "\",\"user_id\":\"alice\"}",
         {"order_id", "user_id"}},
        {"{\"type\":\"mark\",\"run_id\":\"r\"}", {"run_id"}},
        {"{\"type\":\"archive\",\"op_id\":\"o\",\"item_id\":\"phone@3\"}", {"op_id", "item_id"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        char json[512];

        assert_detail(commands[i].json, COMMAND_OK);
        for (size_t k = 0; k < 6 && commands[i].names[k] != NULL; k++) {
            without(commands[i].json, commands[i].names[k], json, sizeof(json));
            assert_detail(json, COMMAND_MISSING_FIELD);
        }
        (void)snprintf(json, sizeof(json), "%.*s,\"x\":1}", (int)strlen(commands[i].json) - 1,
                       commands[i].json);
        assert_detail(json, COMMAND_UNKNOWN_FIELD);
    }
}

static void a_sale_has_terms_only_when_it_opens_or_changes(void **state)
{
    static const char *const terms[] = {"total",    "limit",     "hold_ms",
                                        "opens_at", "closes_at", "price"};
    char json[256];

    (void)state;
    for (size_t i = 0; i < sizeof(terms) / sizeof(terms[0]); i++) {
        static const char *const without_terms[] = {"pause", "resume", "close"};

        for (size_t k = 0; k < sizeof(without_terms) / sizeof(without_terms[0]); k++) {
            (void)snprintf(json, sizeof(json), SALE("\"%s\",\"%s\":1}"), without_terms[k],
                           terms[i]);
            assert_detail(json, COMMAND_UNKNOWN_FIELD);
        }
        (void)snprintf(json, sizeof(json), SALE("\"change\",\"%s\":1}"), terms[i]);
        assert_detail(json, COMMAND_OK);
        (void)snprintf(json, sizeof(json), SALE("\"change\",\"%s\":null}"), terms[i]);
        assert_detail(json, COMMAND_BAD_FIELD);
        /* An action that there is not may have had terms. */
        (void)snprintf(json, sizeof(json), SALE("\"stop\",\"%s\":1}"), terms[i]);
        assert_detail(json, COMMAND_BAD_FIELD);
    }
    assert_detail(SALE("7,\"total\":1}"), COMMAND_BAD_FIELD);
    assert_detail(SALE("\"stop\"}"), COMMAND_BAD_FIELD);
    assert_detail(SALE("\"Open\"}"), COMMAND_BAD_FIELD);
}

/* before and after surround a number in a command that is good with min..max there. */
static void assert_range(const char *before, const char *after, int64_t min, int64_t max)
{
    static const char *const never[] = {"\"1\"",
                                        "1.0",
                                        "1e0",
                                        "null",
                                        "true",
                                        "[]",
                                        "{}",
                                        "-9223372036854775808",
                                        "9223372036854775807",
                                        "0.5"};
    const struct {
        int64_t n;
        enum command_detail want;
    } edges[] = {
        {min - 1, COMMAND_BAD_FIELD}, {min, COMMAND_OK}, {min + 1, COMMAND_OK}, {max, COMMAND_OK},
        {max + 1, COMMAND_BAD_FIELD},
    };
    char json[512];

    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
        (void)snprintf(json, sizeof(json), "%s%" PRId64 "%s", before, edges[i].n, after);
        assert_detail(json, edges[i].want);
    }
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        (void)snprintf(json, sizeof(json), "%s%s%s", before, never[i], after);
        assert_detail(json, COMMAND_BAD_FIELD);
    }
    (void)snprintf(json, sizeof(json), "%s9223372036854775808%s", before, after);
    assert_detail(json, COMMAND_NOT_JSON);
}

static void numbers_have_their_ranges(void **state)
{
    (void)state;
    assert_range("{\"type\":\"genesis\",\"log_id\":\"" LOG_ID "\",\"rules\":1,\"partitions\":", "}",
                 1, 4096);
    assert_range("{\"type\":\"genesis\",\"log_id\":\"" LOG_ID "\",\"partitions\":1,\"rules\":", "}",
                 1, 1000000);
    assert_range("{\"type\":\"rules\",\"rules\":", "}", 1, 1000000);
    assert_range(SALE("\"open\",\"total\":"), "}", 0, 1000000000);
    assert_range(SALE("\"open\",\"limit\":"), "}", 1, 1000);
    assert_range(SALE("\"open\",\"hold_ms\":"), "}", 1, 604800000);
    assert_range(SALE("\"change\",\"opens_at\":"), "}", 0, 9007199254740991);
    assert_range(SALE("\"change\",\"closes_at\":"), "}", 0, 9007199254740991);
    assert_range(SALE("\"open\",\"price\":"), "}", 0, 1000000000000);
    assert_range("{\"type\":\"restock\",\"op_id\":\"o\",\"item_id\":\"phone@3\",\"qty\":", "}", 1,
                 1000000000);
    assert_range(ORDER(",\"user_id\":\"alice\",\"not_after\":7,\"qty\":"), "}", 1, 1000);
    assert_range(ORDER(",\"user_id\":\"alice\",\"qty\":7,\"not_after\":"), "}", 0,
                 9007199254740991);
}

/* opening becomes a good command with an id of up to 64 characters and a brace behind it. */
static void assert_id(const char *opening, const char *suffix)
{
    static const char *const never[] = {"7",           "null",        "{}",         "[]",
                                        "true",        "\"\"",        "\"a b\"",    "\"a,b\"",
                                        "\"a;b\"",     "\"a\\\\b\"",  "\"a\\\"b\"", "\"\xc3\xa9\"",
                                        "\"\\u00e9\"", "\"a\\u007f\""};
    char id[80];
    char json[512];

    for (size_t len = 63; len <= 65; len++) {
        memset(id, 'x', len);
        memcpy(id + len - strlen(suffix), suffix, strlen(suffix) + 1);
        (void)snprintf(json, sizeof(json), "%s\"%s\"}", opening, id);
        assert_detail(json, len <= 64 ? COMMAND_OK : COMMAND_BAD_FIELD);
    }
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        (void)snprintf(json, sizeof(json), "%s%s}", opening, never[i]);
        assert_detail(json, COMMAND_BAD_FIELD);
    }
}

static void ids_have_their_form(void **state)
{
    (void)state;
    assert_id("{\"type\":\"mark\",\"run_id\":", "");
    assert_id("{\"type\":\"archive\",\"item_id\":\"phone@3\",\"op_id\":", "");
    assert_id("{\"type\":\"archive\",\"op_id\":\"o\",\"item_id\":", "@3");
    assert_id("{\"type\":\"sale\",\"action\":\"close\",\"item_id\":\"phone@3\",\"op_id\":", "");
    assert_id("{\"type\":\"sale\",\"action\":\"close\",\"op_id\":\"o\",\"item_id\":", "@3");
    assert_id("{\"type\":\"restock\",\"qty\":1,\"item_id\":\"phone@3\",\"op_id\":", "");
    assert_id("{\"type\":\"restock\",\"qty\":1,\"op_id\":\"o\",\"item_id\":", "@3");
    assert_id("{\"type\":\"order\",\"order_id\":\"" KEYED
              "\",\"user_id\":\"alice\",\"qty\":1,\"not_after\":7,\"item_id\":",
              "@3");
    assert_id(ORDER(",\"qty\":1,\"not_after\":7,\"user_id\":"), "");
    assert_id("{\"type\":\"pay\",\"order_id\":\"" KEYED "\",\"payment_id\":", "");
    assert_id("{\"type\":\"pay\",\"order_id\":\"" KEYED "\",\"payment_id\":\"p\",\"user_id\":", "");
    assert_id("{\"type\":\"cancel\",\"order_id\":\"" KEYED "\",\"user_id\":", "");
    assert_detail("{\"type\":\"cancel\",\"user_id\":\"a\",\"order_id\":\"0190163D-8694-7003-b966-"
                  "02a1b9e15d3c\"}",
                  COMMAND_BAD_FIELD);
    assert_detail("{\"type\":\"cancel\",\"user_id\":\"a\",\"order_id\":\"0190163d-8694-4003-b966-"
                  "02a1b9e15d3c\"}",
                  COMMAND_BAD_FIELD);
    assert_detail("{\"type\":\"genesis\",\"partitions\":4,\"rules\":1,\"log_id\":\"0\"}",
                  COMMAND_BAD_FIELD);
}

static void a_record_of_another_partition_is_refused(void **state)
{
    (void)state;
    assert_detail("{\"type\":\"archive\",\"op_id\":\"o\",\"item_id\":\"phone@2\"}",
                  COMMAND_WRONG_PARTITION);
    assert_detail("{\"type\":\"archive\",\"op_id\":\"o\",\"item_id\":\"phone@4\"}",
                  COMMAND_WRONG_PARTITION);
    /* murmur2("foobar") is 2 modulo 4, murmur2("21") is 0 and that of "a-little..." is 3 */
    assert_detail("{\"type\":\"archive\",\"op_id\":\"o\",\"item_id\":\"foobar\"}",
                  COMMAND_WRONG_PARTITION);
    assert_detail("{\"type\":\"archive\",\"op_id\":\"o\",\"item_id\":\"a-little-bit-longer-"
                  "string\"}",
                  COMMAND_OK);
    assert_detail("{\"type\":\"restock\",\"op_id\":\"o\",\"item_id\":\"phone@0\",\"qty\":1}",
                  COMMAND_WRONG_PARTITION);
    assert_detail("{\"type\":\"sale\",\"op_id\":\"o\",\"item_id\":\"phone@0\",\"action\":"
                  "\"close\"}",
                  COMMAND_WRONG_PARTITION);
    assert_detail("{\"type\":\"order\",\"order_id\":\"" FOREIGN
                  "\",\"item_id\":\"phone@3\",\"user_id\":\"alice\",\"qty\":1,\"not_after\":7}",
                  COMMAND_WRONG_PARTITION);
    assert_detail("{\"type\":\"order\",\"order_id\":\"" KEYED
                  "\",\"item_id\":\"phone@2\",\"user_id\":\"alice\",\"qty\":1,\"not_after\":7}",
                  COMMAND_WRONG_PARTITION);
    assert_detail("{\"type\":\"pay\",\"order_id\":\"" FOREIGN "\",\"payment_id\":\"p\"}",
                  COMMAND_WRONG_PARTITION);
}

static void every_cut_of_a_record_is_malformed(void **state)
{
    static const char *const whole[] = {
        ORDER(",\"user_id\":\"alice\",\"qty\":2,\"not_after\":7}"),
        SALE("\"open\",\"total\":1,\"limit\":2,\"hold_ms\":3}"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
        for (size_t len = 0; len < strlen(whole[i]); len++) {
            /* Of exactly this size, so that a sanitizer sees a read past its end. */
            char *cut = malloc(len + 1);

            assert_non_null(cut);
            memcpy(cut, whole[i], len);
            assert_int_equal(parse_slice((struct slice){cut, len}).detail, COMMAND_NOT_JSON);
            free(cut);
        }
    }
}

static void only_what_can_be_read_back_is_written(void **state)
{
    const struct command good = parse(ORDER(",\"user_id\":\"alice\",\"qty\":2,\"not_after\":7}"));
    struct command cmd = good;
    char out[512];

    (void)state;
    assert_int_not_equal(command_format(&cmd, out, sizeof(out)), 0);
    cmd.qty = 0;
    assert_int_equal(command_format(&cmd, out, sizeof(out)), 0);
    cmd = good;
    cmd.not_after = COMMAND_TIME_MAX + 1;
    assert_int_equal(command_format(&cmd, out, sizeof(out)), 0);
    cmd = good;
    assert_true(command_set_text(&cmd.user_id, SLICE_LIT("a\"b")));
    assert_int_equal(command_format(&cmd, out, sizeof(out)), 0);
    cmd = good;
    cmd.user_id.len = 0;
    assert_int_equal(command_format(&cmd, out, sizeof(out)), 0);
    cmd = good;
    cmd.order_id[0] = 'x';
    assert_int_equal(command_format(&cmd, out, sizeof(out)), 0);
    cmd = good;
    cmd.type = COMMAND_MALFORMED;
    assert_int_equal(command_format(&cmd, out, sizeof(out)), 0);
    cmd = parse(SALE("\"pause\"}"));
    cmd.total = 1;
    assert_int_equal(command_format(&cmd, out, sizeof(out)), 0);
}

static void a_text_holds_64_bytes(void **state)
{
    struct command_text text;
    char bytes[IDS_MAX + 1];

    (void)state;
    memset(bytes, 'x', sizeof(bytes));
    assert_true(command_set_text(&text, (struct slice){bytes, IDS_MAX}));
    assert_int_equal(strlen(text.s), IDS_MAX);
    assert_true(slice_eq(command_text(&text), (struct slice){bytes, IDS_MAX}));
    assert_false(command_set_text(&text, (struct slice){bytes, IDS_MAX + 1}));
    assert_int_equal(text.len, 0);
    assert_string_equal(text.s, "");
    assert_true(command_set_text(&text, slice_str(NULL)));
    assert_int_equal(text.len, 0);
}

static void names_are_the_protocols(void **state)
{
    static const char *const details[] = {
        "ok",
        "null_value",
        "too_large",
        "not_json",
        "unknown_type",
        "missing_field",
        "unknown_field",
        "bad_field",
        "wrong_partition",
    };

    (void)state;
    for (int i = COMMAND_OK; i <= COMMAND_WRONG_PARTITION; i++) {
        assert_string_equal(command_detail_name((enum command_detail)i), details[i]);
    }
    assert_string_equal(command_type_name(COMMAND_SET_RULES), "rules");
    assert_string_equal(command_type_name(COMMAND_MALFORMED), "malformed");
    assert_string_equal(command_action_name(COMMAND_CLOSE), "close");
}

static void what_a_detail_is_about(void **state)
{
    static const struct {
        const char *json;
        const char *member;
    } cases[] = {
        {ORDER(",\"user_id\":\"u\",\"qty\":0,\"not_after\":-1}"), "qty"},
        {ORDER(",\"user_id\":\"u\",\"qty\":1,\"not_after\":-1}"), "not_after"},
        {ORDER(",\"qty\":1,\"not_after\":-1}"), "user_id"},
        {SALE("\"open\",\"price\":-1}"), "price"},
        {SALE("\"stop\",\"price\":1}"), "action"},
        {SALE("\"pause\",\"price\":1}"), NULL},
        {ORDER(",\"user_id\":\"u\",\"qty\":1,\"not_after\":1}"), NULL},
        {"{\"type\":\"nothing\"}", NULL},
        {"{", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *member = command_blame(slice_str(cases[i].json));

        if (cases[i].member == NULL) {
            assert_null(member);
        } else {
            assert_non_null(member);
            assert_string_equal(member, cases[i].member);
        }
    }
    assert_null(command_blame((struct slice){NULL, 0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_read_and_written),
        cmocka_unit_test(an_order_says_whether_it_is_keyed),
        cmocka_unit_test(json_may_be_written_in_any_way),
        cmocka_unit_test(what_is_no_json_object_is_malformed),
        cmocka_unit_test(a_value_is_there_and_has_a_bound),
        cmocka_unit_test(the_first_fault_is_told),
        cmocka_unit_test(every_member_but_the_optional_ones_must_be_there),
        cmocka_unit_test(a_sale_has_terms_only_when_it_opens_or_changes),
        cmocka_unit_test(numbers_have_their_ranges),
        cmocka_unit_test(ids_have_their_form),
        cmocka_unit_test(a_record_of_another_partition_is_refused),
        cmocka_unit_test(every_cut_of_a_record_is_malformed),
        cmocka_unit_test(only_what_can_be_read_back_is_written),
        cmocka_unit_test(a_text_holds_64_bytes),
        cmocka_unit_test(names_are_the_protocols),
        cmocka_unit_test(what_a_detail_is_about),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
