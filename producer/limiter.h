/*
 * limiter.h - how many new orders a second go into a line, by how the line does.
 *
 * A line is what stands between the door and something slower: between the door and Kafka's
 * acknowledgement (kafka), between that and the decision (decision).  Each has a limiter of its
 * own.  It judges one window of LIMITER_WINDOW_MS after the other, by
 *   - how long those took who came out: which share of them was above a bound,
 *   - how long those will take who have stood in line since before the window: their number by
 *     the rate at which the line moves, or, if it does not, how long it has stood still.
 *
 * What comes out in bursts is measured from one to the next: by whom each leaves in line, and when.
 *
 * What one takes who meets no crowd (the base) is not held against a line: letting fewer in would not
 * help.  Nor does a line that stands still tell what it takes when it moves: it is shut for as long, but
 * for the few who show that it moves again, and the limit stays.  `classic` knows bounds only.
 *
 * Slow windows arm it, LIMITER_STRIKES in a row: the limit becomes a part of what was let in of
 * late.  From then on each slow window takes a part off the limit, and a pause lets the line
 * drain; each other window widens the limit, little by little up to where it was before, then
 * faster.  Back at LIMITER_RATE_MAX, it is disarmed.
 *
 * Who went in before the limit was narrowed waits in the line that made it necessary, and is not
 * held against it.  A window in which fewer than LIMITER_CROWD came proves nothing: there is
 * nobody to limit.  Nor does one of more than twice its time: it was we who stood still.
 *
 * Pure: time is passed in (milliseconds, monotonic).  Not thread-safe.
 */
#ifndef PRODUCER_LIMITER_H
#define PRODUCER_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"

enum {
    LIMITER_WINDOW_MS = 100,
    LIMITER_STRIKES = 3,
    LIMITER_CROWD = 20,
    LIMITER_RATE_MIN = 20, /* per second: some must get through to show that it goes again */
    LIMITER_RATE_MAX = 1000000,
    LIMITER_MEMORY = 5, /* windows; the line's rate is that of its fastest, */
    LIMITER_BURSTS = 3, /* or, if it moves less often, that from one of these to the next */
};

enum limiter_side {
    LIMITER_KAFKA,
    LIMITER_DECISION,
    LIMITER_SIDES,
};

/* What the lines are called outside: "kafka", "decision". */
extern const char *const limiter_side_names[LIMITER_SIDES];

enum limiter_preset {
    LIMITER_OFF,
    LIMITER_STEADY,  /* bounds that a loaded machine keeps */
    LIMITER_CLASSIC, /* 20 ms, 15 ms, 25 ms; 10 %, 1 s */
    LIMITER_PRESETS,
};

extern const char *const limiter_preset_names[]; /* NULL at the end */

struct limiter {
    const struct limiter_rule *rule; /* of a preset and a side; NULL is off */
    bool is_armed;
    bool is_still; /* nothing comes out, not for want of company, and no burst is due */
    int strikes;
    int64_t limit;      /* per second; LIMITER_RATE_MAX unless armed */
    int64_t ceiling;    /* the limit before it was narrowed */
    int64_t step;       /* that a good window adds, */
    int64_t widened_ms; /* last */
    int64_t since_ms;   /* who went in before is not held against the limit */
    int64_t pause_until_ms;
    int64_t queue_ms; /* what the line's length makes one take, if it is a crowd's */
    int64_t tokens;   /* thousandths */
    int64_t tokens_ms;

    int64_t base_ms; /* what an order takes that meets no crowd */
    bool knows_base;
    bool is_crowded;       /* the last who went in met a crowd; */
    int64_t alone_from_ms; /* when the first went in of those who met none, */
    int64_t alone_to_ms;   /* and when the last */

    int64_t window_ms; /* when the window began, and in it: */
    int64_t came, admitted;
    int64_t seen, late;
    int64_t fastest_ms;     /* of those who came out, */
    int64_t alone_ms;       /* of those who had met no crowd; INT64_MAX: nobody */
    int64_t inside, passed; /* at its begin */
    int64_t moved_ms;       /* the end of the last window in which the line moved, or was empty */
    int64_t moved;          /* so many in the last window */
    int64_t rates[LIMITER_MEMORY]; /* per second, at which it moved in two windows */
    int64_t rate;                  /* the greatest of them, or that of bursts */
    int newest;

    struct limiter_burst {
        int64_t began_ms;
        int64_t passed;       /* by its first window */
        int64_t left;         /* in line by it, of those who were before */
    } bursts[LIMITER_BURSTS]; /* the newest first */
    int bursts_known;
    int flowing; /* windows in a row in which it moved */
};

void limiter_init(struct limiter *l, enum limiter_preset preset, enum limiter_side side);

/* Whether one more may go in. */
bool limiter_admit(struct limiter *l, int64_t now_ms) ATTR_MUSTCHECK;

/* One that went in at since_ms came out. */
void limiter_observe(struct limiter *l, int64_t since_ms, int64_t now_ms);

/* Somebody else saw that of so many, on a part of the line. */
void limiter_told(struct limiter *l, int64_t since_ms, int64_t count, int64_t now_ms);

/*
 * A window is over, the next begins: so many stand in line, so many have come out since whenever.
 * To be called every LIMITER_WINDOW_MS.
 */
void limiter_judge(struct limiter *l, int64_t inside, int64_t passed, int64_t now_ms);

/* What may go in now, per second. */
int64_t limiter_limit(const struct limiter *l, int64_t now_ms);

#endif /* PRODUCER_LIMITER_H */
