/*
 * Whatever the fold says of random commands becomes an outcome, and what it shows can be read.
 */
#include "common/outcome.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/fold.h"
#include "tests/unit/outcome_check.h"

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
        cmocka_unit_test(whatever_the_fold_says_can_be_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
