/* What is said to the scripts and what they answer: matcher/script.c and matcher/replay.c. */
#include "matcher/script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "matcher/replay.h"

static void assert_word(const struct script_words *words, size_t at, const char *text)
{
    assert_true(at < words->n);
    if (!slice_eq(words->list[at], slice_str(text))) {
        fail_msg("word %zu is `%.*s`, not `%s`", at, (int)words->list[at].len, words->list[at].ptr,
                 text);
    }
}

/* What the three commands of the next test say, word by word. */
static const char *const expected[] = {
    "k1",
    "k2",
    "2",
    "0123",
    "-1",
    "000000000000000a",
    "7",
    "000000000000000b",
    "000000000000000c",
    "-1",
    "64",
    "1000",
    "3",
    "S",
    "5",
    "1700000000000",
    "op",
    "item",
    "change",
    "",
    "",
    "",
    "9",
    "",
    "0",
    "O",
    "6",
    "1700000000001",
    "01900000-0000-8000-8000-000000000000",
    "item",
    "user",
    "2",
    "1700000060000",
    "1",
    "P",
    "7",
    "1700000000002",
    "01900000-0000-8000-8000-000000000000",
    "",
    "pay",
};

static void test_words_of_a_batch(void **state)
{
    const struct slice keys[] = {SLICE_LIT("k1"), SLICE_LIT("k2")};
    const struct script_head head = {.rules = 2,
                                     .genesis = "0123",
                                     .prev = -1,
                                     .to = 7,
                                     .chain_before = 10,
                                     .chain_after = 11,
                                     .hash_after = 12,
                                     .acked = -1,
                                     .outbox_max = 64,
                                     .remembered_max = 1000,
                                     .n_commands = 3};
    struct command sale = {.type = COMMAND_SALE,
                           .action = COMMAND_CHANGE,
                           .total = -1,
                           .limit = -1,
                           .hold_ms = -1,
                           .opens_at = 9,
                           .closes_at = -1,
                           .price = 0};
    struct command order = {.type = COMMAND_ORDER,
                            .keyed = true,
                            .qty = 2,
                            .not_after = 1700000060000,
                            .order_id = "01900000-0000-8000-8000-000000000000"};
    struct command pay = {.type = COMMAND_PAY, .order_id = "01900000-0000-8000-8000-000000000000"};
    struct script_words words = {.list = NULL};

    (void)state;
    assert_true(command_set_text(&sale.other_id, SLICE_LIT("op")));
    assert_true(command_set_text(&sale.item_id, SLICE_LIT("item")));
    assert_true(command_set_text(&order.item_id, SLICE_LIT("item")));
    assert_true(command_set_text(&order.user_id, SLICE_LIT("user")));
    assert_true(command_set_text(&pay.other_id, SLICE_LIT("pay")));
    for (int twice = 0; twice < 2; twice++) { /* the second time in the memory of the first */
        script_begin(&words, keys, 2);
        script_put_head(&words, &head);
        script_put_command(&words, 5, 1700000000000, &sale);
        script_put_command(&words, 6, 1700000000001, &order);
        script_put_command(&words, 7, 1700000000002, &pay);
        assert_true(script_end(&words));
        assert_int_equal(words.n, sizeof(expected) / sizeof(expected[0]));
        for (size_t i = 0; i < words.n; i++) {
            assert_word(&words, i, expected[i]);
        }
    }
    script_fini(&words);
}

static void test_many_commands(void **state)
{
    const struct command tick = {.type = COMMAND_TICK};
    struct script_words words = {.list = NULL};

    (void)state;
    script_begin(&words, NULL, 0);
    for (int64_t i = 0; i < 10000; i++) {
        script_put_command(&words, i, i * 7, &tick);
    }
    assert_true(script_end(&words));
    assert_int_equal(words.n, 30000);
    assert_word(&words, 29997, "T");
    assert_word(&words, 29998, "9999");
    assert_word(&words, 29999, "69993");
    script_fini(&words);
}

static void test_replies(void **state)
{
    struct script_reply r;
    struct err err;

    (void)state;
    assert_true(script_parse(SLICE_LIT("ok 17 1700000000000 0 - 0\n"), &r, &err));
    assert_int_equal(r.answer, SCRIPT_OK);
    assert_int_equal(r.watermark, 17);
    assert_true(r.first_prev == SCRIPT_NO_ENTRY);
    assert_int_equal(r.lines.len, 0);
    assert_true(script_parse(SLICE_LIT("ok 17 5 9 -1 3\n4 9\n\n"), &r, &err));
    assert_int_equal(r.first_prev, -1);
    assert_int_equal(r.entries, 3);
    assert_int_equal(r.next_due, 9);
    assert_int_equal(r.lines.len, 5);
    assert_true(script_parse(SLICE_LIT("position x 1 2"), &r, &err));
    assert_int_equal(r.answer, SCRIPT_POSITION);
    assert_true(script_parse(SLICE_LIT("absent"), &r, &err));
    assert_int_equal(r.answer, SCRIPT_ABSENT);
    assert_true(script_parse(SLICE_LIT("rules 2"), &r, &err));
    assert_int_equal(r.rules, 2);
    assert_true(script_parse(SLICE_LIT("full outbox"), &r, &err));
    assert_int_equal(r.answer, SCRIPT_FULL);
    assert_true(script_parse(SLICE_LIT("corrupt due list"), &r, &err));
    assert_int_equal(r.answer, SCRIPT_CORRUPT);
    assert_true(slice_eq(r.text, SLICE_LIT("due list")));
    assert_true(script_parse(SLICE_LIT("bad luck and more"), &r, &err));
    assert_int_equal(r.answer, SCRIPT_BAD);
    assert_true(slice_eq(r.text, SLICE_LIT("luck and more")));
}

static void test_replies_that_are_none(void **state)
{
    static const char *const texts[] = {
        "",
        "ok",
        "ok 1 2 3 -",
        "ok 1 2 3 - 0 9",
        "ok x 2 3 - 0",
        "ok 1 2 3 - -1",
        "okay 1 2 3 - 0",
        "rules",
        "rules x",
        "ok 1 2 3  0",
        "ok 01 2 3 - 0",
    };
    struct script_reply r;
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (script_parse(slice_str(texts[i]), &r, &err)) {
            fail_msg("`%s` was understood", texts[i]);
        }
        assert_int_equal(err.kind, ERR_FATAL);
    }
}

static void test_position(void **state)
{
    struct slice fields[] = {SLICE_LIT("00112233445566778899aabbccddeeff"),
                             SLICE_LIT("5"),
                             SLICE_LIT("00000000000000ff"),
                             SLICE_LIT("00000000000000fe"),
                             SLICE_LIT("1700000000000"),
                             SLICE_LIT("1"),
                             SLICE_LIT("4")};
    struct script_position position;
    struct err err;

    (void)state;
    assert_true(script_parse_position(fields, &position, &err));
    assert_int_equal(position.watermark, 5);
    assert_int_equal(position.chain, 255);
    assert_int_equal(position.last_hash, 254);
    assert_int_equal(position.partitions, 4);
    for (size_t i = 0; i < SCRIPT_POSITION_FIELDS; i++) {
        const struct slice good = fields[i];

        fields[i] = SLICE_LIT("?");
        assert_false(script_parse_position(fields, &position, &err));
        fields[i] = good;
    }
}

static void test_replay(void **state)
{
    const struct slice entries[] = {SLICE_LIT("3 5 00000000000000aa 100\n1 2\n\n"),
                                    SLICE_LIT("5 6 00000000000000bb 200\nx 3\n")};
    struct replay r = {.entries = NULL};
    struct slice line;
    struct err err;

    (void)state;
    assert_true(replay_load(&r, entries, 2, 6, &err));
    assert_int_equal(replay_oldest(&r)->prev, 3);
    assert_true(replay_take(&r, 4, &line, &err));
    assert_true(slice_eq(line, SLICE_LIT("1 2")));
    assert_true(replay_check(&r, 0x1, 1, &err)); /* in the middle nothing is compared */
    assert_true(replay_take(&r, 5, &line, &err));
    assert_int_equal(line.len, 0);
    assert_true(replay_check(&r, 0xbb, 200, &err));
    assert_true(replay_take(&r, 6, &line, &err));
    assert_true(replay_check(&r, 0x2, 2, &err)); /* the end is compared with the position */
    assert_false(replay_is_open(&r));
    replay_fini(&r);
}

static void test_replay_of_another_log(void **state)
{
    const struct slice entries[] = {SLICE_LIT("3 5 00000000000000aa 100\n1 2\n\n"),
                                    SLICE_LIT("5 6 00000000000000bb 200\nx 3\n")};
    struct replay r = {.entries = NULL};
    struct slice line;
    struct err err;

    (void)state;
    assert_true(replay_load(&r, entries, 2, 6, &err));
    assert_false(replay_take(&r, 6, &line, &err)); /* past the batch's end */
    assert_true(replay_load(&r, entries, 2, 6, &err));
    assert_false(replay_take(&r, 5, &line, &err)); /* too few records for its lines */
    assert_true(replay_load(&r, entries, 2, 6, &err));
    assert_true(replay_take(&r, 4, &line, &err) && replay_take(&r, 5, &line, &err));
    assert_false(replay_check(&r, 0xbc, 200, &err));
    assert_true(replay_load(&r, entries, 2, 6, &err));
    assert_true(replay_take(&r, 4, &line, &err) && replay_take(&r, 5, &line, &err));
    assert_false(replay_check(&r, 0xbb, 201, &err));
    replay_fini(&r);
}

static void test_outboxes_that_are_none(void **state)
{
    static const char *const second[] = {
        "4 6 00000000000000bb 200\nx 3\n", /* does not follow */
        "5 7 00000000000000bb 200\nx 3\n", /* does not end at the watermark */
        "5 6 00000000000000bb 200\nx 3",   /* half a line */
        "5 6 00000000000000bb 200\n",      /* no line */
        "5 6 00000000000000bb\nx 3\n",     "5 5 00000000000000bb 200\nx 3\n", "",
    };
    struct replay r = {.entries = NULL};
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(second) / sizeof(second[0]); i++) {
        const struct slice entries[] = {SLICE_LIT("3 5 00000000000000aa 100\n1 2\n\n"),
                                        slice_str(second[i])};

        if (replay_load(&r, entries, 2, 6, &err)) {
            fail_msg("`%s` was taken", second[i]);
        }
        assert_int_equal(err.kind, ERR_FATAL);
    }
    replay_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_of_a_batch),
        cmocka_unit_test(test_many_commands),
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_replies_that_are_none),
        cmocka_unit_test(test_position),
        cmocka_unit_test(test_replay),
        cmocka_unit_test(test_replay_of_another_log),
        cmocka_unit_test(test_outboxes_that_are_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
