/*
 * Reading an outcome: what is passed over, and what is refused.
 */
#include "common/outcome.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/outcome_check.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_members_are_passed_over),
        cmocka_unit_test(what_is_no_outcome_is_rejected),
        cmocka_unit_test(members_of_other_shapes_are_checked),
        cmocka_unit_test(an_outcome_is_reused_and_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
