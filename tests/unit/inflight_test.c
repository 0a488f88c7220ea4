#include "producer/inflight.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum {
    CAPACITY = 4,
    TIMEOUT_MS = 100,
    SEEN_MAX = 64,
};

struct seen {
    struct inflight *table;
    size_t n;
    uint64_t party[SEEN_MAX];
    enum inflight_fate fate[SEEN_MAX];
    int64_t offset[SEEN_MAX];
    uint64_t add_in_done; /* party to add again from within done; 0: none */
    inflight_ticket added;
};

static const char ids[][IDS_ORDER_LEN + 1] = {
    "00000000-0000-8000-8000-000000000000", "00000000-0000-8000-8000-000000000001",
    "00000000-0000-8000-8000-000000000002", "00000000-0000-8000-8000-000000000003",
    "00000000-0000-8000-8000-000000000004", "00000000-0000-8000-8000-000000000005",
};

static struct inflight_command order(size_t i)
{
    return (struct inflight_command){
        .order_id = slice_str(ids[i]), .user_id = SLICE_LIT("ann"), .partition = 1, .qty = 2};
}

static void on_done(uint64_t party, enum inflight_fate fate, int64_t offset, void *arg)
{
    struct seen *s = arg;

    assert_true(s->n < SEEN_MAX);
    s->party[s->n] = party;
    s->fate[s->n] = fate;
    s->offset[s->n++] = offset;
    if (s->add_in_done != 0) {
        const struct inflight_command again = order(5);

        s->added = inflight_add(s->table, 0, &again, s->add_in_done);
        s->add_in_done = 0;
    }
}

static int setup(void **state)
{
    static struct seen s;

    s = (struct seen){.n = 0};
    s.table = inflight_create(CAPACITY, TIMEOUT_MS, on_done, &s);
    *state = &s;
    return 0;
}

static int teardown(void **state)
{
    struct seen *s = *state;

    inflight_destroy(s->table);
    return 0;
}

static inflight_ticket add(struct seen *s, size_t i, int64_t now_ms)
{
    const struct inflight_command cmd = order(i);

    return inflight_add(s->table, now_ms, &cmd, 100 + i);
}

static void delivered_once(void **state)
{
    struct seen *s = *state;
    const inflight_ticket t = add(s, 0, 0);

    assert_int_not_equal(t, INFLIGHT_NONE);
    assert_int_equal(inflight_count(s->table), 1);
    assert_true(inflight_settle(s->table, t, INFLIGHT_DELIVERED, 17));
    assert_false(inflight_settle(s->table, t, INFLIGHT_FAILED, -1));
    assert_int_equal(s->n, 1);
    assert_int_equal(s->party[0], 100);
    assert_int_equal(s->fate[0], INFLIGHT_DELIVERED);
    assert_int_equal(s->offset[0], 17);
    assert_int_equal(inflight_count(s->table), 0);
}

static void late_report_of_a_reused_slot(void **state)
{
    struct seen *s = *state;
    const inflight_ticket old = add(s, 0, 0);

    assert_int_equal(inflight_expire(s->table, TIMEOUT_MS - 1), 0);
    assert_int_equal(inflight_expire(s->table, TIMEOUT_MS), 1);
    assert_int_equal(s->fate[0], INFLIGHT_UNKNOWN);
    for (size_t i = 1; i <= CAPACITY; i++) {
        assert_int_not_equal(add(s, i, TIMEOUT_MS), INFLIGHT_NONE);
    }
    assert_false(inflight_settle(s->table, old, INFLIGHT_DELIVERED, 1));
    assert_int_equal(inflight_count(s->table), CAPACITY);
    assert_int_equal(s->n, 1);
}

static void full_of_flying(void **state)
{
    struct seen *s = *state;
    inflight_ticket first = add(s, 0, 0);

    for (size_t i = 1; i < CAPACITY; i++) {
        assert_int_not_equal(add(s, i, 0), INFLIGHT_NONE);
    }
    assert_int_equal(add(s, 4, 0), INFLIGHT_NONE);
    assert_true(inflight_settle(s->table, first, INFLIGHT_FAILED, -1));
    assert_int_not_equal(add(s, 4, 0), INFLIGHT_NONE);
}

static void placed_orders_give_way(void **state)
{
    struct seen *s = *state;
    struct inflight_order found;

    for (size_t i = 0; i < CAPACITY; i++) {
        assert_true(inflight_settle(s->table, add(s, i, 0), INFLIGHT_DELIVERED, (int64_t)i));
    }
    assert_int_equal(inflight_placed(s->table), CAPACITY);
    assert_true(inflight_find(s->table, slice_str(ids[0]), &found));
    assert_int_equal(found.ticket, INFLIGHT_NONE);
    assert_int_equal(found.offset, 0);
    assert_int_equal(found.qty, 2);
    assert_true(slice_eq(found.user_id, SLICE_LIT("ann")));
    assert_int_not_equal(add(s, 4, 0), INFLIGHT_NONE);
    assert_false(inflight_find(s->table, slice_str(ids[0]), &found)); /* the oldest */
    assert_true(inflight_find(s->table, slice_str(ids[1]), &found));
    assert_int_equal(inflight_placed(s->table), CAPACITY - 1);
}

static void failed_and_unknown_are_not_placed(void **state)
{
    struct seen *s = *state;
    struct inflight_order found;

    assert_true(inflight_settle(s->table, add(s, 0, 0), INFLIGHT_FAILED, 7));
    assert_int_equal(s->offset[0], -1); /* whatever the report said */
    assert_true(inflight_settle(s->table, add(s, 1, 0), INFLIGHT_UNKNOWN, -1));
    assert_false(inflight_find(s->table, slice_str(ids[0]), &found));
    assert_false(inflight_find(s->table, slice_str(ids[1]), &found));
    assert_int_equal(inflight_placed(s->table), 0);
}

static void decided_before_and_after_delivery(void **state)
{
    struct seen *s = *state;
    struct inflight_order found;
    const inflight_ticket t = add(s, 0, 0);

    inflight_decided(s->table, slice_str(ids[0]));
    assert_true(inflight_find(s->table, slice_str(ids[0]), &found) && found.is_decided); /* flies */
    assert_true(inflight_settle(s->table, t, INFLIGHT_DELIVERED, 5));
    assert_false(inflight_find(s->table, slice_str(ids[0]), &found));

    assert_true(inflight_settle(s->table, add(s, 1, 0), INFLIGHT_DELIVERED, 6));
    assert_true(inflight_find(s->table, slice_str(ids[1]), &found));
    inflight_decided(s->table, slice_str(ids[1]));
    assert_false(inflight_find(s->table, slice_str(ids[1]), &found));
    inflight_decided(s->table, slice_str(ids[1])); /* twice is harmless */
    assert_int_equal(inflight_placed(s->table), 0);
}

static void joined_hear_the_same(void **state)
{
    struct seen *s = *state;
    const inflight_ticket t = add(s, 0, 0);

    assert_true(inflight_join(s->table, t, 7));
    assert_true(inflight_join(s->table, t, 8));
    assert_true(inflight_settle(s->table, t, INFLIGHT_DELIVERED, 3));
    assert_int_equal(s->n, 3);
    assert_int_equal(s->party[0] + s->party[1] + s->party[2], 100 + 7 + 8);
    assert_false(inflight_join(s->table, t, 9));
}

static void parties_are_bounded(void **state)
{
    struct seen *s = *state;
    const inflight_ticket t = add(s, 0, 0);
    size_t n = 0;

    while (inflight_join(s->table, t, 7)) {
        n++;
    }
    assert_int_equal(n, 2 * CAPACITY - 1);
    assert_int_equal(add(s, 1, 0), INFLIGHT_NONE);
    assert_true(inflight_settle(s->table, t, INFLIGHT_FAILED, -1));
    assert_int_equal(s->n, 2 * CAPACITY);
    assert_int_not_equal(add(s, 1, 0), INFLIGHT_NONE);
}

static void commands_without_qty_are_not_found(void **state)
{
    struct seen *s = *state;
    struct inflight_order found;
    struct inflight_command pay = order(0);

    pay.qty = 0;
    assert_int_not_equal(inflight_add(s->table, 0, &pay, 1), INFLIGHT_NONE);
    assert_int_not_equal(inflight_add(s->table, 0, &pay, 2), INFLIGHT_NONE);
    assert_false(inflight_find(s->table, slice_str(ids[0]), &found));
}

static void done_may_add(void **state)
{
    struct seen *s = *state;
    inflight_ticket t = add(s, 0, 0);

    for (size_t i = 1; i < CAPACITY; i++) {
        assert_int_not_equal(add(s, i, 0), INFLIGHT_NONE);
    }
    s->add_in_done = 77;
    assert_true(inflight_settle(s->table, t, INFLIGHT_FAILED, -1));
    assert_int_not_equal(s->added, INFLIGHT_NONE);
    assert_int_equal(inflight_count(s->table), CAPACITY);
}

static void deadlines_in_order(void **state)
{
    struct seen *s = *state;
    const inflight_ticket first = add(s, 0, 10);
    const inflight_ticket second = add(s, 1, 20);

    assert_int_equal(inflight_flying(s->table, 1), 2);
    assert_int_equal(inflight_since(s->table, first), 10);
    assert_int_equal(inflight_since(s->table, second), 20);
    assert_int_equal(inflight_expire(s->table, 9 + TIMEOUT_MS), 0);
    assert_int_equal(inflight_expire(s->table, 10 + TIMEOUT_MS), 1);
    assert_int_equal(inflight_since(s->table, first), -1);
    assert_int_equal(inflight_flying(s->table, 1), 1);
    assert_int_equal(inflight_flying(s->table, 0), 0);
    assert_int_equal(inflight_since(s->table, second), 20);
}

static void destroy_reports_unknown(void **state)
{
    struct seen *s = *state;

    assert_int_not_equal(add(s, 0, 0), INFLIGHT_NONE);
    s->add_in_done = 5;
    inflight_destroy(s->table);
    s->table = NULL;
    assert_int_equal(s->n, 1);
    assert_int_equal(s->fate[0], INFLIGHT_UNKNOWN);
    assert_int_equal(s->added, INFLIGHT_NONE);
}

/* Conservation under a long random history: what was added equals what left plus what flies. */
static void conservation(void **state)
{
    struct seen local = {.n = 0};
    struct inflight *t;
    inflight_ticket tickets[64];
    uint64_t random = 42;
    size_t added = 0;
    size_t left = 0;

    (void)state;
    t = inflight_create(16, 50, on_done, &local);
    for (size_t i = 0; i < 64; i++) {
        tickets[i] = INFLIGHT_NONE;
    }
    for (int64_t step = 0; step < 20000; step++) {
        char id[64];
        struct inflight_order found;
        size_t at;

        random = random * 6364136223846793005U + 1442695040888963407U;
        at = (random >> 33) % 64;
        (void)snprintf(id, sizeof(id), "00000000-0000-8000-8000-0000000000%02zx", at);
        local.n = 0;
        switch ((random >> 50) % 4) {
        case 0:
        case 1:
            if (!inflight_find(t, slice_str(id), &found) || found.ticket == INFLIGHT_NONE) {
                const struct inflight_command cmd = {
                    .order_id = slice_str(id), .user_id = SLICE_LIT("u"), .qty = 1};

                tickets[at] = inflight_add(t, step, &cmd, at + 1);
                added += tickets[at] != INFLIGHT_NONE;
            }
            break;
        case 2:
            left += inflight_settle(t, tickets[at], (enum inflight_fate)((random >> 40) % 3), step);
            break;
        default:
            left += inflight_expire(t, step - 20);
            inflight_decided(t, slice_str(id));
            break;
        }
        assert_int_equal(added, left + inflight_count(t));
        assert_true(inflight_count(t) + inflight_placed(t) <= 16);
    }
    assert_true(added > 1000);
    local.n = 0;
    inflight_destroy(t);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(delivered_once),
        TEST(late_report_of_a_reused_slot),
        TEST(full_of_flying),
        TEST(placed_orders_give_way),
        TEST(failed_and_unknown_are_not_placed),
        TEST(decided_before_and_after_delivery),
        TEST(joined_hear_the_same),
        TEST(parties_are_bounded),
        TEST(commands_without_qty_are_not_found),
        TEST(done_may_add),
        TEST(deadlines_in_order),
        TEST(destroy_reports_unknown),
        TEST(conservation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
