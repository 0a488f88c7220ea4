/*
 * Which line of the script may answer which command; every other is fatal.
 */
#include "common/outcome.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/outcome_check.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_answers_only_its_kind_of_command),
        cmocka_unit_test(a_reason_is_given_only_where_the_rules_give_it),
        cmocka_unit_test(what_no_rule_says_is_fatal),
        cmocka_unit_test(only_64_holds_expire_before_a_command),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
