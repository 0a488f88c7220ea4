/*
 * Rows of a partition as pieces for rebuild_put.lua: in order, bounded, and with what goes into `log`.
 */
#include "guardian/refill.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* What was put, as text: `name command word word ...` and a newline per piece. */
struct put_log {
    struct buf text;
    size_t pieces, largest;
    bool is_refusing;
};

static bool note(const struct refill_piece *piece, void *arg, struct err *err)
{
    struct put_log *log = arg;

    if (log->is_refusing) {
        return err_set(err, ERR_RETRY, "no");
    }
    log->pieces++;
    log->largest = piece->n > log->largest ? piece->n : log->largest;
    buf_printf(&log->text, "%s %s", piece->name, piece->command);
    for (size_t i = 0; i < piece->n; i++) {
        buf_printf(&log->text, " %.*s", (int)piece->words[i].len, piece->words[i].ptr);
    }
    buf_putc(&log->text, '\n');
    return true;
}

struct world {
    struct put_log log;
    struct refill refill;
    struct err err;
};

static int set_up(void **state)
{
    static struct world w;

    memset(&w, 0, sizeof(w));
    buf_init(&w.log.text, 16 << 20);
    refill_init(&w.refill, note, &w.log);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    refill_fini(&w->refill);
    buf_fini(&w->log.text);
    return 0;
}

static void add(struct world *w, const char *name, const char *field, const char *value)
{
    assert_true(refill_field(&w->refill, name, slice_str(field), slice_str(value), &w->err));
}

static void add_due(struct world *w, const char *hold_ms, const char *order)
{
    const struct snapshot_hold hold = {slice_str(hold_ms), SLICE_LIT("9"), SLICE_LIT("7"),
                                       slice_str(order), SLICE_LIT("ann")};

    assert_true(refill_due(&w->refill, &hold, &w->err));
}

static void each_key_has_pieces_of_its_own(void **state)
{
    struct world *w = *state;

    add(w, "items", "lamp", "1 2 3");
    add(w, "items", "desk", "4");
    add(w, "orders", "ann", "a;b;c");
    add(w, "orders", "bob", "d");
    add_due(w, "700", "a");
    add_due(w, "700", "b");
    add_due(w, "60000", "c");
    assert_true(refill_flush(&w->refill, &w->err));
    assert_true(refill_flush(&w->refill, &w->err)); /* nothing is left */
    buf_putc(&w->log.text, '\0');
    assert_string_equal(w->log.text.ptr, "items HSET lamp 1 2 3 desk 4\n"
                                         "orders HSET ann a;b;c bob d\n"
                                         "due:700 RPUSH 9 7 a ann 9 7 b ann\n"
                                         "due:60000 RPUSH 9 7 c ann\n");
}

static void pieces_are_bounded(void **state)
{
    struct world *w = *state;
    static char large[60000];
    char name[32];

    for (int i = 0; i < 3 * REFILL_WORDS_MAX / 2; i++) {
        (void)snprintf(name, sizeof(name), "payment%d", i);
        add(w, "payments", name, "P 0 x 1");
    }
    assert_true(refill_flush(&w->refill, &w->err));
    assert_int_equal(w->log.pieces, 3);
    assert_int_equal(w->log.largest, REFILL_WORDS_MAX);
    memset(large, 'x', sizeof(large) - 1);
    for (int i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof(name), "user%d", i);
        add(w, "orders", name, large);
    }
    assert_true(refill_flush(&w->refill, &w->err));
    assert_int_equal(w->log.pieces, 3 + 4); /* of five each */
}

static void the_log_is_counted(void **state)
{
    struct world *w = *state;
    const struct progress at = {.position = 41,
                                .genesis = "00112233445566778899aabbccddeeff",
                                .chain = 0xabc,
                                .partitions = 4,
                                .rules = 1,
                                .log_time = 1712345678901};
    static const char expected[] = "genesis\0"
                                   "00112233445566778899aabbccddeeff\0partitions\0"
                                   "4\0rules\0"
                                   "1\0chain\0"
                                   "0000000000000abc\0last_hash\0"
                                   "00000000000000ff\0log_time\0"
                                   "1712345678901\0items\0"
                                   "1\0orders\0"
                                   "3\0payments\0"
                                   "2\0holds\0"
                                   "700,60000\0watermark\0"
                                   "41";
    struct buf out;

    buf_init(&out, 4096);
    refill_use_hold(&w->refill, SLICE_LIT("700"));
    refill_use_hold(&w->refill, SLICE_LIT("60000"));
    add(w, "items", "lamp", "1 1 0 0 1 700 0 0 o 0");
    add(w, "items", "desk", "1 1 0 0 1 700 0 0 a 0"); /* archived ones do not count */
    add(w, "ops", "op", "lamp 1");
    add(w, "payments", "p", "P 0 x 1");
    add(w, "payments", "q", "P 0 x 1");
    add(w, "orders", "ann", "a;b");
    add(w, "orders", "bob", "c");
    refill_log(&w->refill, &at, 0xff, &out);
    assert_int_equal(out.len, sizeof(expected));
    assert_memory_equal(out.ptr, expected, sizeof(expected));
    buf_fini(&out);
}

static void a_refusal_ends_it(void **state)
{
    struct world *w = *state;

    add(w, "items", "lamp", "1");
    w->log.is_refusing = true;
    assert_false(refill_field(&w->refill, "orders", SLICE_LIT("ann"), SLICE_LIT("a"), &w->err));
    assert_string_equal(w->err.text, "no");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_key_has_pieces_of_its_own),
        TEST(pieces_are_bounded),
        TEST(the_log_is_counted),
        TEST(a_refusal_ends_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
