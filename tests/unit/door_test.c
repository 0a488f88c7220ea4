#include "producer/door.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/ids.h"

#define LOG_ID "0123456789abcdef0123456789abcdef"
#define KEYED  "00000000-0000-8000-8000-00000000000a"
#define ENTRY  KEYED " phone 1 H 0 9000 3 -"

enum {
    PARTITIONS = 2,
    LAG_MAX = 10,
    SILENCE_MS = 3000,
};

struct world {
    struct inflight *inflight;
    struct door *door;
    struct door_now now;
};

static void on_done(uint64_t party, enum inflight_fate fate, int64_t offset, void *arg)
{
    (void)party;
    (void)fate;
    (void)offset;
    (void)arg;
}

static struct door_look look(int64_t watermark)
{
    return (struct door_look){
        .result = DOOR_LOOK_GOT,
        .partition = 1,
        .watermark = watermark,
        .log_time = 1,
        .genesis = SLICE_LIT(LOG_ID),
        .horizon = -1,
    };
}

static const struct slice phone = {"phone", 5};

/* A look-up that found the item with `available` units. */
static struct door_look stock(int64_t watermark, bool is_available)
{
    struct door_look l = look(watermark);

    l.item = is_available ? SLICE_LIT("10 10 0 0 2 9000 0 0 o 0")
                          : SLICE_LIT("10 0 10 0 2 9000 0 0 o 0");
    return l;
}

static int setup(void **state)
{
    static struct world w;
    const struct door_settings settings = {
        .partitions = PARTITIONS,
        .items_max = 16,
        .fresh_ms = 1000,
        .silence_ms = SILENCE_MS,
        .lag_max = LAG_MAX,
        .limiter = LIMITER_CLASSIC,
        .seed = 1,
    };
    const struct door_look l = look(3);

    w.inflight = inflight_create(8, 1000, on_done, NULL);
    w.door = door_create(&settings, w.inflight);
    w.now = (struct door_now){.mono_ms = 100, .log_clock_ms = 1000};
    door_on_kafka(w.door, true);
    door_on_stream(w.door, 1, true);
    door_on_look(w.door, &l, (struct slice){NULL, 0}, w.now.mono_ms);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    door_destroy(w->door);
    inflight_destroy(w->inflight);
    return 0;
}

static struct door_order order(bool is_keyed)
{
    return (struct door_order){
        .user_id = SLICE_LIT("ann"),
        .item_id = phone,
        .order_id = is_keyed ? SLICE_LIT(KEYED) : (struct slice){NULL, 0},
        .qty = 1,
        .partition = 1,
    };
}

static void learn(struct world *w, int64_t watermark, bool is_available)
{
    const struct door_look l = stock(watermark, is_available);

    door_on_look(w->door, &l, phone, w->now.mono_ms);
}

static struct door_verdict first(struct world *w, bool is_keyed)
{
    const struct door_order o = order(is_keyed);
    struct door_verdict v;

    door_order(w->door, &o, &w->now, &v);
    return v;
}

static struct door_verdict second(struct world *w, bool is_keyed, const struct door_look *l)
{
    const struct door_order o = order(is_keyed);
    struct door_verdict v;

    door_on_look(w->door, l, phone, w->now.mono_ms);
    door_order_looked(w->door, &o, l, &w->now, &v);
    return v;
}

static void outcome(struct world *w, int64_t offset)
{
    const struct outcome o = {
        .partition = 1, .offset = offset, .prev = offset - 1, .genesis = LOG_ID};

    assert_true(door_on_outcome(w->door, &o, w->now.mono_ms));
}

/* Kafka has it, sent a moment ago. */
static void placed(struct world *w, int64_t offset)
{
    const struct door_placed p = {.partition = 1, .offset = offset, .since_ms = w->now.mono_ms};

    door_on_placed(w->door, &p, w->now.mono_ms);
}

static void unkeyed_of_a_known_item_is_sent_at_once(void **state)
{
    struct world *w = *state;

    assert_int_equal(first(w, false).move, DOOR_LOOK); /* the item is not known */
    learn(w, 3, true);
    assert_int_equal(first(w, false).move, DOOR_SEND);
}

static void the_gate_refuses_the_unkeyed(void **state)
{
    struct world *w = *state;
    struct door_verdict v;

    learn(w, 3, false);
    v = first(w, false);
    assert_int_equal(v.move, DOOR_REFUSE);
    assert_int_equal(v.refusal, REFUSAL_SOLD_OUT);
}

static void keyed_is_looked_up_before_the_gate(void **state)
{
    struct world *w = *state;
    struct door_look l = stock(3, false);
    struct door_verdict v;

    learn(w, 3, false);
    assert_int_equal(first(w, true).move, DOOR_LOOK);
    l.orders = SLICE_LIT("00000000-0000-8000-8000-0000000000ff phone 1 C 0 0 2 -;" ENTRY);
    v = second(w, true, &l);
    assert_int_equal(v.move, DOOR_KNOWN); /* the last unit's owner */
    assert_int_equal(v.known.state, ORDER_RESERVED);
    l.orders = (struct slice){NULL, 0};
    v = second(w, true, &l);
    assert_int_equal(v.move, DOOR_REFUSE);
    assert_int_equal(v.refusal, REFUSAL_SOLD_OUT);
}

static void no_answer_is_never_the_gates_refusal(void **state)
{
    struct world *w = *state;
    const enum door_look_result results[] = {DOOR_LOOK_ABSENT, DOOR_LOOK_FULL,
                                             DOOR_LOOK_UNANSWERED};

    learn(w, 3, false);
    for (size_t i = 0; i < 3; i++) {
        const struct door_look l = {.result = results[i], .partition = 1};
        const struct door_order o = order(true);
        struct door_verdict v;

        door_order_looked(w->door, &o, &l, &w->now, &v);
        assert_int_equal(v.move, DOOR_REFUSE);
        assert_int_equal(refusal_text(v.refusal)->status, 503);
        assert_true(v.retry_after_s > 0);
        assert_int_equal(v.refusal,
                         results[i] == DOOR_LOOK_FULL ? REFUSAL_QUEUE_FULL : REFUSAL_NOT_READY);
    }
}

static void other_content_under_the_same_key(void **state)
{
    struct world *w = *state;
    struct door_look l = stock(3, true);
    struct door_order o = order(true);
    struct door_verdict v;

    l.orders = SLICE_LIT(ENTRY);
    o.qty = 2;
    door_order_looked(w->door, &o, &l, &w->now, &v);
    assert_int_equal(v.refusal, REFUSAL_KEY_REUSED);
}

static void the_second_goes_with_the_first(void **state)
{
    struct world *w = *state;
    const struct inflight_command cmd = {
        .order_id = SLICE_LIT(KEYED), .user_id = SLICE_LIT("ann"), .partition = 1, .qty = 1};
    const inflight_ticket t = inflight_add(w->inflight, 0, &cmd, 1);
    struct door_order o = order(true);
    struct door_verdict v = first(w, true);

    assert_int_equal(v.move, DOOR_JOIN);
    assert_true(v.found.ticket == t);
    o.qty = 2;
    door_order(w->door, &o, &w->now, &v);
    assert_int_equal(v.refusal, REFUSAL_KEY_REUSED);
    assert_true(inflight_settle(w->inflight, t, INFLIGHT_DELIVERED, 9));
    v = first(w, true);
    assert_int_equal(v.move, DOOR_PLACED);
    assert_int_equal(v.found.offset, 9);
    outcome(w, 8);
    assert_int_equal(first(w, true).move, DOOR_PLACED);
    outcome(w, 9);
    assert_int_equal(first(w, true).move, DOOR_LOOK); /* it is decided: ask how */
}

/* Its outcome was here before Kafka's report: what it came to is known, and not that it waits. */
static void what_is_decided_and_flies_is_looked_up(void **state)
{
    struct world *w = *state;
    const struct inflight_command cmd = {
        .order_id = SLICE_LIT(KEYED), .user_id = SLICE_LIT("ann"), .partition = 1, .qty = 1};
    struct door_look l = stock(3, false);

    assert_true(inflight_add(w->inflight, 0, &cmd, 1) != INFLIGHT_NONE);
    inflight_decided(w->inflight, cmd.order_id);
    assert_int_equal(first(w, true).move, DOOR_LOOK);
    assert_int_equal(second(w, true, &l).move,
                     DOOR_JOIN); /* Redis has forgotten it, or went back */
    l.orders = SLICE_LIT(ENTRY);
    assert_int_equal(second(w, true, &l).move, DOOR_KNOWN);
}

static void it_flew_while_we_looked(void **state)
{
    struct world *w = *state;
    const struct inflight_command cmd = {
        .order_id = SLICE_LIT(KEYED), .user_id = SLICE_LIT("ann"), .partition = 1, .qty = 1};
    const struct door_look l = stock(3, false);

    assert_int_equal(first(w, true).move, DOOR_LOOK);
    assert_true(inflight_add(w->inflight, 0, &cmd, 1) != INFLIGHT_NONE);
    assert_int_equal(second(w, true, &l).move, DOOR_JOIN);
}

static void a_redis_that_went_back_proves_nothing(void **state)
{
    struct world *w = *state;
    struct door_look l = stock(3, false);
    struct door_verdict v;

    outcome(w, 8);
    outcome(w, 4); /* told again */
    assert_int_equal(door_highest(w->door, 1), 8);
    l.horizon = 8; /* asked when outcome 8 was known; answered as of 3 */
    v = second(w, true, &l);
    assert_int_equal(v.refusal, REFUSAL_RECOVERING);
    assert_int_equal(door_state(w->door, 1, w->now.mono_ms), DOOR_RECOVERING);
    l = stock(8, true);
    l.horizon = 8;
    assert_int_equal(second(w, true, &l).move, DOOR_SEND);
    assert_int_equal(door_state(w->door, 1, w->now.mono_ms), DOOR_READY);
}

static void of_a_redis_that_went_back_the_end_is_true(void **state)
{
    static const struct {
        const char *entry;
        bool is_told;
    } cases[] = {
        {KEYED " phone 1 H 0 9000 2 -", false}, {KEYED " phone 1 E 0 9000 2 -", false},
        {KEYED " phone 1 P 0 9000 2 -", true},  {KEYED " phone 1 C 0 9000 2 -", true},
        {KEYED " phone 1 R 1 0 2 -", true},
    };
    struct world *w = *state;
    struct door_look l = stock(3, true);
    struct door_verdict v;

    outcome(w, 8);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        l.orders = slice_str(cases[i].entry);
        l.horizon = 8;
        v = second(w, true, &l);
        assert_int_equal(v.move, cases[i].is_told ? DOOR_KNOWN : DOOR_REFUSE);
        assert_true(cases[i].is_told || v.refusal == REFUSAL_RECOVERING);
        l.horizon = 3; /* overtaken on its way */
        assert_int_equal(second(w, true, &l).move, DOOR_KNOWN);
    }
}

static void what_the_log_had_when_it_began_counts_as_told(void **state)
{
    struct world *w = *state;
    struct door_look l = stock(3, false);
    struct door_verdict v;

    assert_false(door_has_horizon(w->door, 1));
    door_on_log_end(w->door, 1, 9);
    assert_true(door_has_horizon(w->door, 1));
    assert_false(door_has_horizon(w->door, 0));
    assert_int_equal(door_horizon(w->door, 1), 8);
    assert_int_equal(door_state(w->door, 1, w->now.mono_ms), DOOR_RECOVERING);
    outcome(w, 3); /* told again: an old one */
    assert_int_equal(door_horizon(w->door, 1), 8);
    l.horizon = 8;
    l.orders = SLICE_LIT(ENTRY);
    assert_int_equal(second(w, true, &l).refusal, REFUSAL_RECOVERING);
    l.orders = (struct slice){NULL, 0};
    assert_int_equal(second(w, true, &l).refusal, REFUSAL_RECOVERING);
    v = second(w, false, &l);
    assert_int_equal(v.refusal, REFUSAL_RECOVERING); /* sold out it was then */
    assert_int_equal(first(w, false).refusal, REFUSAL_RECOVERING);
    door_command(w->door, 1, w->now.mono_ms, &v);
    assert_int_equal(v.move, DOOR_SEND);
    learn(w, 7, true);
    assert_int_equal(first(w, false).refusal, REFUSAL_RECOVERING);
    learn(w, 8, true);
    assert_int_equal(door_state(w->door, 1, w->now.mono_ms), DOOR_READY);
    assert_int_equal(first(w, false).move, DOOR_SEND);
    outcome(w, 10);
    assert_int_equal(door_horizon(w->door, 1), 10);
}

static void a_gate_shuts_for_nothing_that_is_past(void **state)
{
    struct world *w = *state;
    struct door_look l = stock(3, false);
    struct item_entry item;

    outcome(w, 8);
    l.horizon = 8; /* Redis went back, and is there again at once */
    door_on_look(w->door, &l, phone, w->now.mono_ms);
    assert_int_equal(gates_item(door_gates(w->door), phone, w->now.mono_ms, &item), -1);
    l = look(8);
    l.horizon = 8;
    door_on_look(w->door, &l, (struct slice){NULL, 0}, w->now.mono_ms);
    assert_int_equal(first(w, false).move, DOOR_LOOK);
}

static void a_sale_opens_and_ends_by_the_logs_time(void **state)
{
    struct world *w = *state;
    struct outcome o = {.partition = 1, .offset = 4, .prev = 3, .genesis = LOG_ID};
    struct door_look l = look(3);

    l.item = SLICE_LIT("10 10 0 0 2 9000 2000 3000 o 0");
    door_on_look(w->door, &l, phone, w->now.mono_ms);
    assert_int_equal(first(w, false).refusal, REFUSAL_NOT_OPEN);
    o.log_time = 2000; /* the clock is late */
    assert_true(door_on_outcome(w->door, &o, w->now.mono_ms));
    assert_int_equal(first(w, false).move, DOOR_SEND);
    w->now.log_clock_ms = 9000; /* or fast */
    assert_int_equal(first(w, false).move, DOOR_SEND);
    l.watermark = 4;
    l.log_time = 3000;
    door_on_look(w->door, &l, (struct slice){NULL, 0}, w->now.mono_ms);
    assert_int_equal(first(w, false).refusal, REFUSAL_CLOSED);
    l.log_time = 1; /* Redis went back; time did not */
    door_on_look(w->door, &l, (struct slice){NULL, 0}, w->now.mono_ms);
    assert_int_equal(first(w, false).refusal, REFUSAL_CLOSED);
}

static void what_overtook_the_look_up_does_not_refuse(void **state)
{
    struct world *w = *state;
    struct door_look l = stock(3, true);
    struct outcome o = {.partition = 1, .offset = 4, .prev = 3, .genesis = LOG_ID};
    const struct door_order wanted = order(true);
    struct event sold = {.type = EVENT_RESERVED, .qty = 1, .available = 0};
    struct door_verdict v;

    l.horizon = 3;
    door_on_look(w->door, &l, phone, w->now.mono_ms);
    assert_true(command_set_text(&sold.item_id, phone));
    o.events = &sold;
    o.n_events = 1;
    assert_true(door_on_outcome(w->door, &o, w->now.mono_ms)); /* the last unit: whose? */
    assert_int_equal(first(w, false).refusal, REFUSAL_SOLD_OUT);
    door_order_looked(w->door, &wanted, &l, &w->now, &v);
    assert_int_equal(v.move, DOOR_SEND); /* perhaps its own: the log knows */
    l = stock(4, false);
    l.horizon = 4;
    assert_int_equal(second(w, true, &l).refusal, REFUSAL_SOLD_OUT);
}

static void the_line_is_bounded(void **state)
{
    struct world *w = *state;

    learn(w, 3, true);
    placed(w, 3 + LAG_MAX);
    assert_int_equal(door_lag(w->door, 1), LAG_MAX);
    assert_int_equal(first(w, false).move, DOOR_SEND);
    placed(w, 4 + LAG_MAX);
    assert_int_equal(first(w, false).refusal, REFUSAL_LAGGING);
    placed(w, -1); /* not told */
    assert_int_equal(first(w, false).refusal, REFUSAL_LAGGING);
    outcome(w, 5);
    assert_int_equal(first(w, false).move, DOOR_SEND);
    assert_int_equal(door_lag(w->door, 0), 0);
}

static void not_ready_says_so(void **state)
{
    struct world *w = *state;
    struct door_look absent = {.result = DOOR_LOOK_ABSENT, .partition = 1};
    struct door_verdict v;

    learn(w, 3, true);
    door_on_kafka(w->door, false);
    assert_int_equal(first(w, false).refusal, REFUSAL_NOT_READY);
    door_on_kafka(w->door, true);
    door_on_stream(w->door, 1, false);
    assert_int_equal(first(w, false).refusal, REFUSAL_NOT_READY);
    door_on_stream(w->door, 1, true);
    door_on_look(w->door, &absent, (struct slice){NULL, 0}, w->now.mono_ms);
    assert_int_equal(door_state(w->door, 1, w->now.mono_ms), DOOR_NO_GENESIS);
    assert_int_equal(first(w, false).refusal, REFUSAL_NOT_READY);
    learn(w, 3, true);
    assert_int_equal(first(w, false).move, DOOR_SEND);
    w->now.mono_ms += SILENCE_MS;
    assert_int_equal(door_state(w->door, 1, w->now.mono_ms), DOOR_READY);
    w->now.mono_ms += 1;
    assert_int_equal(door_state(w->door, 1, w->now.mono_ms), DOOR_NO_REDIS);
    assert_int_equal(first(w, false).refusal, REFUSAL_NOT_READY);
    learn(w, 3, true);
    door_on_drain(w->door);
    assert_int_equal(first(w, false).refusal, REFUSAL_DRAINING);
    door_command(w->door, 1, w->now.mono_ms, &v);
    assert_int_equal(v.refusal, REFUSAL_DRAINING);
}

static void another_log_shuts_the_partition(void **state)
{
    struct world *w = *state;
    const struct outcome o = {
        .partition = 1, .offset = 5, .genesis = "ffffffffffffffffffffffffffffffff"};

    learn(w, 3, true);
    assert_false(door_on_outcome(w->door, &o, w->now.mono_ms));
    assert_int_equal(door_highest(w->door, 1), -1);
    assert_int_equal(first(w, false).refusal, REFUSAL_NOT_READY);
    learn(w, 4, true); /* and it stays so */
    assert_int_equal(first(w, false).refusal, REFUSAL_NOT_READY);
}

static void payments_pass_a_long_line(void **state)
{
    struct world *w = *state;
    struct door_verdict v;

    placed(w, 1000);
    door_command(w->door, 1, w->now.mono_ms, &v);
    assert_int_equal(v.move, DOOR_SEND);
}

/* A window of the limiters in which a crowd wants in; how many are refused as slow. */
static int crowd(struct world *w)
{
    int refused = 0;

    learn(w, 3, true);
    for (int i = 0; i < LIMITER_CROWD; i++) {
        refused += first(w, false).refusal == REFUSAL_SLOW;
    }
    w->now.mono_ms += LIMITER_WINDOW_MS;
    door_on_tick(w->door, w->now.mono_ms);
    return refused;
}

static void a_slow_kafka_narrows_its_partition(void **state)
{
    struct world *w = *state;
    struct door_placed p = {.partition = 1, .offset = -1};
    struct door_verdict v;

    (void)crowd(w);
    for (int i = 0; i < LIMITER_STRIKES; i++) {
        p.since_ms = w->now.mono_ms;
        door_on_placed(w->door, &p, w->now.mono_ms + 21);
        assert_int_equal(crowd(w), 0);
    }
    assert_true(door_limiter(w->door, 1, LIMITER_KAFKA)->is_armed);
    assert_false(door_limiter(w->door, 1, LIMITER_DECISION)->is_armed);
    assert_false(door_limiter(w->door, 0, LIMITER_KAFKA)->is_armed);
    learn(w, 3, true);
    v = first(w, false);
    assert_int_equal(v.move, DOOR_REFUSE);
    assert_int_equal(v.refusal, REFUSAL_SLOW);
    assert_int_equal(refusal_text(v.refusal)->status, 503);
    assert_true(v.retry_after_s >= 1);
    door_command(w->door, 1, w->now.mono_ms, &v); /* a payment is not an order */
    assert_int_equal(v.move, DOOR_SEND);
}

static void a_line_without_decisions_narrows_its_partition(void **state)
{
    struct world *w = *state;
    int windows = 0;

    (void)crowd(w);
    placed(w, 4);
    door_on_stream(w->door, 1, false);
    for (int i = 0; i < 10; i++) {
        (void)crowd(w); /* not ready: that is another matter */
    }
    door_on_stream(w->door, 1, true);
    placed(w, 4);
    while (!door_limiter(w->door, 1, LIMITER_DECISION)->is_armed) {
        assert_int_equal(crowd(w), 0);
        assert_true(windows++ < 10);
    }
    assert_true(windows > LIMITER_STRIKES);
    assert_int_equal(crowd(w), LIMITER_CROWD);
}

static void one_decision_at_a_time_is_timed(void **state)
{
    struct world *w = *state;
    const struct limiter *l = door_limiter(w->door, 1, LIMITER_DECISION);

    (void)crowd(w);
    placed(w, -1); /* not told where */
    outcome(w, 4);
    assert_int_equal(l->seen, 0);
    placed(w, 4); /* its outcome came first */
    outcome(w, 5);
    assert_int_equal(l->seen, 0);
    placed(w, 7);
    w->now.mono_ms += 1;
    placed(w, 8);
    w->now.mono_ms += 20;
    outcome(w, 6);
    assert_int_equal(l->seen, 0);
    outcome(w, 7);
    assert_int_equal(l->seen, 1);
    assert_int_equal(l->late, 1);
    outcome(w, 8);
    assert_int_equal(l->seen, 1);
    placed(w, 9);
    door_on_stream(w->door, 1, false); /* what comes now was missed for a while */
    (void)crowd(w);
    outcome(w, 9);
    assert_int_equal(l->seen, 0);
}

static void rates(void **state)
{
    const struct door_settings settings = {
        .partitions = 1,
        .items_max = 16,
        .rates = {.rates = {[BUCKET_USER] = {1, 2}, [BUCKET_GLOBAL] = {1, 3}}, .keys_max = 64},
    };
    struct world *w = *state;
    struct door *d = door_create(&settings, w->inflight);
    struct bucket_visit ann = {.keys = {[BUCKET_USER] = SLICE_LIT("ann")}, .is_global = true};
    struct bucket_visit bob = {.keys = {[BUCKET_USER] = SLICE_LIT("bob")}, .is_global = true};
    struct door_verdict v;

    assert_true(door_admit(d, &ann, 0, &v));
    assert_true(door_admit(d, &ann, 0, &v));
    assert_false(door_admit(d, &ann, 0, &v));
    assert_int_equal(v.refusal, REFUSAL_RATE_USER);
    assert_int_equal(refusal_text(v.refusal)->status, 429);
    assert_true(v.retry_after_s >= 1);
    assert_true(door_admit(d, &bob, 0, &v));
    assert_false(door_admit(d, &bob, 0, &v));
    assert_int_equal(v.refusal, REFUSAL_RATE_GLOBAL);
    assert_int_equal(refusal_text(v.refusal)->status, 503);
    door_destroy(d);
}

static void every_refusal_has_its_words(void **state)
{
    (void)state;
    for (int r = REFUSAL_NONE + 1; r < REFUSAL_COUNT; r++) {
        const struct refusal_text *text = refusal_text((enum refusal)r);

        assert_in_range(text->status, 400, 504);
        assert_true(strlen(text->reason) > 0 && strlen(text->title) > 0);
        assert_true(strlen(text->detail) > 10);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(unkeyed_of_a_known_item_is_sent_at_once),
        TEST(the_gate_refuses_the_unkeyed),
        TEST(keyed_is_looked_up_before_the_gate),
        TEST(no_answer_is_never_the_gates_refusal),
        TEST(other_content_under_the_same_key),
        TEST(the_second_goes_with_the_first),
        TEST(what_is_decided_and_flies_is_looked_up),
        TEST(it_flew_while_we_looked),
        TEST(a_redis_that_went_back_proves_nothing),
        TEST(what_overtook_the_look_up_does_not_refuse),
        TEST(of_a_redis_that_went_back_the_end_is_true),
        TEST(what_the_log_had_when_it_began_counts_as_told),
        TEST(a_gate_shuts_for_nothing_that_is_past),
        TEST(a_sale_opens_and_ends_by_the_logs_time),
        TEST(the_line_is_bounded),
        TEST(not_ready_says_so),
        TEST(another_log_shuts_the_partition),
        TEST(payments_pass_a_long_line),
        TEST(a_slow_kafka_narrows_its_partition),
        TEST(a_line_without_decisions_narrows_its_partition),
        TEST(one_decision_at_a_time_is_timed),
        TEST(rates),
        TEST(every_refusal_has_its_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
