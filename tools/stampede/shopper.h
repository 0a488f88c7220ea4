/*
 * shopper.h - one shopper: presses, and does what its habits say about each answer.
 *
 * A state machine: answers in, the time of the next step out.  What an answer says is noted in
 * the ledger and counted.  It has at most one request of its main line under way, and at most
 * one second press beside it.  No I/O; one thread.
 */
#ifndef STAMPEDE_SHOPPER_H
#define STAMPEDE_SHOPPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/random.h"
#include "tools/stampede/answer.h"
#include "tools/stampede/series.h"
#include "tools/stampede/told.h"

enum shopper_step {
    SHOPPER_ORDER, /* POST the order */
    SHOPPER_ASK,   /* GET until it is decided */
    SHOPPER_AGAIN, /* POST it once more, with the same key */
    SHOPPER_PAY,
    SHOPPER_CANCEL,
    SHOPPER_HOME, /* done */
};

/* What a crowd is like; percent where nothing else is said. */
struct habits {
    int64_t pay, cancel, abandon; /* weights of what follows a reservation */
    int64_t keyed;                /* have an Idempotency-Key, and may so press again */
    int64_t double_press;         /* of the keyed, press twice at once */
    int64_t retry;                /* of the keyed, ask once more with the same key when decided */
    int64_t wait;                 /* hold the line for the decision; the others poll */
    int64_t wait_s;               /* how long */
    int64_t come_back;            /* come back when all is sold out */
    int64_t returns;              /* so often */
    int64_t think_ms;             /* at most, before they pay or cancel */
};

/* What shoppers share. */
struct crowd {
    struct habits habits;
    struct told ledger;
    struct series series;
    struct random dice;
};

struct shopper {
    uint32_t number;
    uint32_t order;   /* in the ledger */
    int64_t since_us; /* planned moment of the order's first press */
    int64_t step_us;  /* planned moment of the step's first request */
    uint16_t press;   /* number of the order */
    uint16_t returns; /* times it may still come back */
    uint8_t tries;    /* of this step */
    uint8_t step;     /* enum shopper_step */
    char then;        /* when reserved: 'p' pays, 'c' cancels, 'a' abandons */
    bool waits : 1, keyed : 1, presses_twice : 1, asks_again : 1;
};

/* The moment of its first press has come. */
void shopper_arrive(struct crowd *crowd, struct shopper *s, uint32_t number, int64_t planned_us);

/*
 * An answer to its request, which was planned for planned_us; reached says whether the request ever left.
 * Returns the time of its next request, or -1: it is home.
 */
int64_t shopper_answered(struct crowd *crowd, struct shopper *s, const struct answer *answer,
                         int64_t planned_us, bool reached, int64_t now_us);

/* The answer to the second press for that order: it must speak of the same one. */
void shopper_answered_twice(struct crowd *crowd, uint32_t order, const struct answer *answer);

/* Its request will have no answer any more: it does not know what became of it. */
void shopper_unanswered(struct crowd *crowd, const struct shopper *s);

static inline struct told_order *shopper_order(const struct crowd *crowd, const struct shopper *s)
{
    return &crowd->ledger.orders[s->order];
}

#endif /* STAMPEDE_SHOPPER_H */
