/*
 * An outbox's entries against what the log says of their records.
 */
#include "guardian/tail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
/* cmocka.h needs most of the above */
#include <cmocka.h>

#define LOG_ID "00112233445566778899aabbccddeeff"

enum { NONE = -1 };

/* The state after a record, told by its offset alone. */
static struct fold_log log_at(int64_t offset)
{
    struct fold_log log = {
        .rules = offset < 20 ? 1 : 2,
        .watermark = offset,
        .chain = 0x1000 + (uint64_t)offset,
        .log_time = 100 * offset,
    };

    memcpy(log.genesis, LOG_ID, sizeof(log.genesis));
    return log;
}

static void note(struct tail *t, int64_t offset, const char *line)
{
    const struct fold_log log = log_at(offset);

    tail_note(t, &log, slice_str(line));
}

/* From offset 10 on; the line of each is its letter. */
static struct tail some_tail(void)
{
    struct tail t = {0};
    char line[2] = "a";

    tail_clear(&t);
    for (int64_t offset = 10; offset <= 22; offset++) {
        note(&t, offset, line);
        line[0]++;
    }
    return t;
}

static int64_t compare(const struct tail *t, const char *entry, const char *text)
{
    struct tail_entry parsed;
    struct slice found;
    int64_t offset;

    assert_true(tail_parse(slice_str(entry), &parsed));
    offset = tail_compare(t, &parsed, &found);
    assert_true(offset == NONE || slice_eq(found, slice_str(text)));
    return offset;
}

static void an_entry_is_what_the_log_says(void **state)
{
    struct tail t = some_tail();

    (void)state;
    assert_int_equal(compare(&t, "10 13 000000000000100a 1000\nb\nc\nd\n", ""), NONE);
    assert_int_equal(compare(&t, "20 21 0000000000001014 2000 2\nl\n", ""), NONE);
    /* What was told before that is not known. */
    assert_int_equal(compare(&t, "8 11 anything\nx\ny\nb\n", ""), NONE);
    assert_int_equal(compare(&t, "8 11 anything\nx\ny\nc\n", "c"), 11);
    tail_fini(&t);
}

static void the_first_record_that_differs_is_told(void **state)
{
    static const struct {
        const char *entry, *text;
        int64_t offset;
    } cases[] = {
        {"10 13 000000000000100b 1000\nb\nc\nd\n", "10 13 000000000000100b 1000", 11},
        {"10 13 000000000000100a 1001\nb\nc\nd\n", "10 13 000000000000100a 1001", 11},
        {"10 13 000000000000100a 1000 1\nb\nc\nd\n", "10 13 000000000000100a 1000 1", 11},
        {"20 21 0000000000001014 2000\nl\n", "20 21 0000000000001014 2000", 21},
        {"10 13 000000000000100a 1000\nb\nx\ny\n", "x", 12},
        {"10 13 000000000000100a 1000\nb\nc\nx\n", "x", 13},
        {"10 13 000000000000100a 1000\nb\n\nd\n", "", 12},
        {"10 13 000000000000100a 1000\nb\nc\n", "", 13},
        {"10 13 000000000000100a 1000\nb\nc\nd", "d", 13},
        {"10 13 000000000000100a 1000\nb\nc\nd\ne\n", "e\n", 13},
        {"10 13 000000000000100a 1000", "", 11},
        {"21 23 0000000000001015 2100 2\nm\nn\n", "n", 23}, /* beyond the log */
        {"30 31 0000000000001015 2100 2\nm\n", "30 31 0000000000001015 2100 2", 31},
    };
    struct tail t = some_tail();

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(compare(&t, cases[i].entry, cases[i].text), cases[i].offset);
    }
    tail_fini(&t);
}

static void the_first_batch_has_the_genesis(void **state)
{
    struct tail t = {0};
    char chain[IDS_HASH_LEN + 1];
    char entry[80];

    (void)state;
    tail_clear(&t);
    note(&t, 0, "g");
    note(&t, 1, "");
    ids_hash_format(chain, ids_chain_start(SLICE_LIT(LOG_ID)));
    (void)snprintf(entry, sizeof(entry), "-1 1 %s 0\ng\n\n", chain);
    assert_int_equal(compare(&t, entry, ""), NONE);
    assert_int_equal(compare(&t, "-1 1 0000000000000000 0\ng\n\n", "-1 1 0000000000000000 0"), 0);
    tail_fini(&t);
}

static void what_cannot_be_read_is_no_entry(void **state)
{
    static const char *const wrong[] = {"",          "1",          "x 2 3 4\n",
                                        "1 x 3 4\n", "-2 1 c 0\n", "1 -1 c 0\n"};
    struct tail_entry entry;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(tail_parse(slice_str(wrong[i]), &entry));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_is_what_the_log_says),
        cmocka_unit_test(the_first_record_that_differs_is_told),
        cmocka_unit_test(the_first_batch_has_the_genesis),
        cmocka_unit_test(what_cannot_be_read_is_no_entry),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
