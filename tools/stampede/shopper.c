#include "tools/stampede/shopper.h"

enum {
    TRIES_MAX = 60, /* with the longest pauses, some minutes */
    POLL_FIRST_MS = 50,
    POLL_LAST_MS = 5000,
    BACKOFF_MS = 300,
};

static const int64_t GONE_HOME = -1;

static int64_t go_home(struct shopper *s)
{
    s->step = SHOPPER_HOME;
    return GONE_HOME;
}

static int64_t go(struct shopper *s, enum shopper_step step, int64_t at_us)
{
    s->step = (uint8_t)step;
    s->tries = 0;
    s->step_us = at_us;
    return at_us;
}

/* Within ms from now: people are not machines. */
static int64_t soon(struct crowd *crowd, int64_t now_us, int64_t ms)
{
    return now_us + random_below(&crowd->dice, ms * 1000 + 1);
}

static void begin_order(struct crowd *crowd, struct shopper *s, int64_t planned_us)
{
    s->order = (uint32_t)told_begin(&crowd->ledger, s->number, ++s->press);
    s->since_us = planned_us;
    (void)go(s, SHOPPER_ORDER, planned_us);
}

void shopper_arrive(struct crowd *crowd, struct shopper *s, uint32_t number, int64_t planned_us)
{
    const struct habits *h = &crowd->habits;
    struct random *dice = &crowd->dice;
    const int64_t fate = random_below(dice, h->pay + h->cancel + h->abandon);

    *s = (struct shopper){.number = number};
    s->waits = random_chance(dice, h->wait);
    s->keyed = random_chance(dice, h->keyed);
    s->presses_twice = random_chance(dice, h->double_press) && s->keyed;
    s->asks_again = random_chance(dice, h->retry) && s->keyed;
    s->returns = random_chance(dice, h->come_back) ? (uint16_t)h->returns : 0;
    s->then = "pca"[(fate >= h->pay) + (fate >= h->pay + h->cancel)];
    series_add(&crowd->series, SERIES_ARRIVED);
    begin_order(crowd, s, planned_us);
}

static void note_accepted(struct crowd *crowd, struct told_order *o)
{
    if (!o->accepted) {
        o->accepted = true;
        series_add(&crowd->series, SERIES_ACCEPTED);
    }
}

/* Sold out is not the end for those who come back: holds expire. */
static int64_t turned_away(struct crowd *crowd, struct shopper *s, struct slice reason,
                           int64_t now_us)
{
    if (s->returns == 0 || !slice_eq(reason, SLICE_LIT("sold_out"))) {
        return go_home(s);
    }
    s->returns--;
    begin_order(crowd, s, now_us + 1500000 + random_below(&crowd->dice, 3000000));
    return s->since_us;
}

/* What it has in mind for the units that it holds. */
static int64_t use_hold(struct crowd *crowd, struct shopper *s, int64_t now_us)
{
    if (s->then == 'a') {
        return go_home(s);
    }
    return go(s, s->then == 'p' ? SHOPPER_PAY : SHOPPER_CANCEL,
              soon(crowd, now_us, crowd->habits.think_ms));
}

static int64_t decided(struct crowd *crowd, struct shopper *s, struct slice reason, int64_t now_us)
{
    const struct told_order *o = shopper_order(crowd, s);

    series_add(&crowd->series, SERIES_DECIDED);
    series_time(&crowd->series, SERIES_TO_DECIDED, now_us - s->since_us);
    if (o->rejected) {
        told_tally_add(&crowd->ledger.reasons, reason);
    } else {
        series_add(&crowd->series, SERIES_RESERVED);
    }
    if (s->asks_again) {
        s->asks_again = false;
        return go(s, SHOPPER_AGAIN, soon(crowd, now_us, 300));
    }
    if (o->rejected) {
        return turned_away(crowd, s, reason, now_us);
    }
    return use_hold(crowd, s, now_us);
}

static int64_t unexpected(struct crowd *crowd, struct shopper *s)
{
    series_add(&crowd->series, SERIES_UNEXPECTED);
    return go_home(s);
}

static int64_t on_order(struct crowd *crowd, struct shopper *s, const struct answer *a,
                        const struct answer_words *words, int64_t now_us)
{
    struct told_order *o = shopper_order(crowd, s);

    told_note_id(o, words->order_id);
    if (a->status < 300 || (a->status == 409 && words->order_id.ptr != NULL)) {
        o->unknown = false;
        note_accepted(crowd, o);
    }
    if (told_note_state(&crowd->ledger, o, words->state, words->reason)) {
        return decided(crowd, s, words->reason, now_us);
    }
    if (a->status == 202 || a->status == 200) {
        return go(s, SHOPPER_ASK, soon(crowd, now_us, 100) + 20000);
    }
    if (a->status == 409) { /* the door's own refusal: no order was made */
        o->refused = true;
        series_add(&crowd->series, SERIES_REFUSED);
        told_tally_add(&crowd->ledger.refused, words->reason);
        return turned_away(crowd, s, words->reason, now_us);
    }
    return unexpected(crowd, s);
}

static int64_t on_ask(struct crowd *crowd, struct shopper *s, const struct answer *a,
                      const struct answer_words *words, int64_t now_us)
{
    struct told_order *o = shopper_order(crowd, s);
    int64_t pause_ms = POLL_FIRST_MS;

    if (a->status == 200 && told_note_state(&crowd->ledger, o, words->state, words->reason)) {
        note_accepted(crowd, o); /* an order of unknown fate was one after all */
        return decided(crowd, s, words->reason, now_us);
    }
    if (a->status != 200 && a->status != 404) {
        return unexpected(crowd, s);
    }
    if (++s->tries > TRIES_MAX) { /* accepted and never decided */
        o->contradicted = o->accepted;
        return go_home(s);
    }
    pause_ms <<= s->tries < 7 ? s->tries - 1 : 7;
    return now_us + 1000 * (pause_ms < POLL_LAST_MS ? pause_ms : POLL_LAST_MS);
}

static int64_t on_again(struct crowd *crowd, struct shopper *s, const struct answer *a,
                        const struct answer_words *words, int64_t now_us)
{
    struct told_order *o = shopper_order(crowd, s);

    (void)a;
    told_note_id(o, words->order_id);
    (void)told_note_state(&crowd->ledger, o, words->state, words->reason); /* or it says nothing */
    return o->reserved ? use_hold(crowd, s, now_us) : go_home(s);
}

static int64_t on_pay(struct crowd *crowd, struct shopper *s, const struct answer *a,
                      const struct answer_words *words, int64_t now_us)
{
    struct told_order *o = shopper_order(crowd, s);
    struct slice payment = words->payment;

    (void)a;
    if (slice_eq(payment, SLICE_LIT("queued"))) {
        if (++s->tries > TRIES_MAX) {
            o->contradicted = true;
            return go_home(s);
        }
        return now_us + 100000; /* the same payment once more: its answer is remembered */
    }
    if (slice_eq(payment, SLICE_LIT("duplicate"))) {
        payment = words->first_payment;
    }
    if (slice_eq(payment, SLICE_LIT("paid"))) {
        o->pay_paid = true;
        (void)told_note_state(&crowd->ledger, o, payment, payment);
        series_add(&crowd->series, SERIES_PAID);
        series_time(&crowd->series, SERIES_TO_PAID, now_us - s->step_us);
    } else if (slice_eq(payment, SLICE_LIT("refund_due"))) {
        o->pay_refund = true;
        o->unknown = false;
    } else {
        return unexpected(crowd, s);
    }
    return go_home(s);
}

static int64_t on_cancel(struct crowd *crowd, struct shopper *s, const struct answer *a,
                         const struct answer_words *words)
{
    struct told_order *o = shopper_order(crowd, s);
    struct slice state = {NULL, 0};

    if (a->status == 200) {
        state = words->state;
    } else if (slice_eq(words->reason, SLICE_LIT("already_cancelled"))) {
        state = SLICE_LIT("cancelled"); /* an earlier try of ours did it */
    } else if (slice_eq(words->reason, SLICE_LIT("expired"))) {
        state = words->reason;
    } else if (a->status != 202) {
        return unexpected(crowd, s);
    }
    if (told_note_state(&crowd->ledger, o, state, state) && o->cancelled) {
        series_add(&crowd->series, SERIES_CANCELLED);
    }
    return go_home(s);
}

/* 429, 503, 504 and silence: the same request again, later. */
static bool is_no_answer(const struct answer *a)
{
    return a->status == 0 || a->status == 429 || a->status == 503 || a->status == 504;
}

void shopper_unanswered(struct crowd *crowd, const struct shopper *s)
{
    struct told_order *o = shopper_order(crowd, s);

    o->unknown = o->unknown || (s->step != SHOPPER_ASK && s->step != SHOPPER_AGAIN);
}

static int64_t try_again(struct crowd *crowd, struct shopper *s, const struct answer *a,
                         const struct answer_words *words, bool reached, int64_t now_us)
{
    struct told_order *o = shopper_order(crowd, s);
    const bool unknown = (a->status == 0 && reached) || a->status == 504;
    int64_t pause_ms = BACKOFF_MS << (s->tries < 50 ? s->tries / 10 : 4); /* less and less often */

    if (unknown) {
        series_add(&crowd->series, SERIES_UNKNOWN);
        shopper_unanswered(crowd, s);
        told_note_id(o, words->order_id);
        if (s->step == SHOPPER_ORDER && !s->keyed) { /* to press again would be another order */
            return o->order_id[0] == '\0' ? go_home(s)
                                          : go(s, SHOPPER_ASK, now_us + pause_ms * 1000);
        }
    } else if (a->status != 0) {
        o->refused = true;
        series_add(&crowd->series, SERIES_REFUSED);
        told_tally_add(&crowd->ledger.refused, words->reason);
        pause_ms = a->retry_after_s > 0 ? a->retry_after_s * 1000 : BACKOFF_MS;
    }
    if (++s->tries > TRIES_MAX) {
        return go_home(s);
    }
    return soon(crowd, now_us + pause_ms * 1000, 200);
}

int64_t shopper_answered(struct crowd *crowd, struct shopper *s, const struct answer *a,
                         int64_t planned_us, bool reached, int64_t now_us)
{
    struct answer_words words;

    answer_words(a->body, &words);
    if (is_no_answer(a)) {
        return try_again(crowd, s, a, &words, reached, now_us);
    }
    if (s->step == SHOPPER_ORDER && a->status == 202 && !s->waits) {
        series_time(&crowd->series, SERIES_TO_ACCEPTED, now_us - planned_us);
    }
    switch ((enum shopper_step)s->step) {
    case SHOPPER_ORDER:
        return on_order(crowd, s, a, &words, now_us);
    case SHOPPER_ASK:
        return on_ask(crowd, s, a, &words, now_us);
    case SHOPPER_AGAIN:
        return on_again(crowd, s, a, &words, now_us);
    case SHOPPER_PAY:
        return on_pay(crowd, s, a, &words, now_us);
    case SHOPPER_CANCEL:
        return on_cancel(crowd, s, a, &words);
    case SHOPPER_HOME:
        break;
    }
    return GONE_HOME;
}

void shopper_answered_twice(struct crowd *crowd, uint32_t order, const struct answer *a)
{
    struct told_order *o = &crowd->ledger.orders[order];
    struct answer_words words;

    answer_words(a->body, &words);
    if (!is_no_answer(a)) {
        told_note_id(o, words.order_id);
        (void)told_note_state(&crowd->ledger, o, words.state,
                              words.reason); /* or it says nothing */
    }
}
