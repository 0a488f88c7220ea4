/*
 * porch.h - what the files of the doors share: doors.c (their processes), porch.c (what stands in for
 * Redis, Kafka, MySQL and HTTP around the real calls), shoppers.c (who comes), told.c (what they hear).
 */
#ifndef TESTS_SIM_PORCH_H
#define TESTS_SIM_PORCH_H

#include "producer/calls.h"
#include "producer/http.h"
#include "producer/lookup.h"
#include "producer/publish.h"
#include "producer/record.h"
#include "producer/stream.h"
#include "tests/sim/loop.h"
#include "tests/sim/world.h"

enum {
    QUESTIONS_MAX = 4,
    READINGS_MAX = 8,
    PARCELS_MAX = 64,
    PARCEL_SIZE = 320,
    VISITS_MAX = 24,
    WISHES_MAX = 40,
    FRESH_MS = 1000,
};

/* A question to Redis; played, it is the answer as of `node`. */
struct question {
    bool is_played, is_absent;
    int partition, former;
    const struct node *node;
    int64_t horizon, asked_ms;
    uint64_t party, visit;
    char user_id[NAME_SIZE], item_id[NAME_SIZE];
};

struct lookup {
    struct porch *porch; /* NULL: not made */
    struct lookup_settings settings;
    struct question questions[QUESTIONS_MAX];
    size_t n;
};

struct publish {
    struct porch *porch;
    struct publish_settings settings;
};

/* A partition of the outcomes topic, as a door reads it. */
struct reel {
    int64_t at, end; /* end: found at start */
    bool is_ready;
    bool has_log_end;
    int64_t heard;  /* offset of the newest outcome that was heard; -1: none */
    int64_t gap_ms; /* when something may last have been missed */
};

struct stream {
    struct porch *porch;
    struct stream_settings settings;
    bool is_assigned, is_up;
    struct reel reels[SHARDS_MAX];
};

struct reading {
    uint64_t party;
    int partition;
    char order_id[IDS_ORDER_LEN + 1];
    char user_id[NAME_SIZE];
};

struct record {
    struct porch *porch;
    struct record_settings settings;
    struct reading readings[READINGS_MAX];
    size_t n;
};

/* A door's process. */
struct porch {
    struct world *world;
    int number;
    struct calls *calls; /* NULL: it is down */
    struct event_base base;
    struct lookup lookup;
    struct publish publish;
    struct stream stream;
    struct record record;
    uint64_t visit; /* on whose behalf it runs now; 0: nobody's */
    bool is_stopped, is_down, is_full;
    bool is_behind;  /* speaks to the former master */
    bool is_killed;  /* nothing it says is heard */
    bool is_leaving; /* drains */
    enum cover did;  /* last: what is seen if it is killed now */

    /* The last offset of each log when it was started: all that may have been told before. */
    int64_t began[SHARDS_MAX];
};

/* A command on its way from a door into the log, and its report on the way back. */
struct parcel {
    int porch; /* -1: of a process that is gone */
    int shard;
    inflight_ticket ticket;
    uint64_t visit;
    bool is_landed, is_slow;
    bool is_denied; /* whom it is from was told that nothing was placed */
    int64_t offset, timestamp_ms;
    char value[PARCEL_SIZE];
};

/* What a shopper wants: an order of his, or of a key of his. */
struct wish {
    int user, shard;
    char item;
    int64_t qty;
    int key; /* 0: none */
    bool is_pressed, is_final;
    uint64_t told;                    /* by then he had heard a state; 0: he had not */
    bool is_probe;                    /* nothing stands in its way while all heals */
    unsigned qtys;                    /* that were asked for, a bit each */
    char order_id[IDS_ORDER_LEN + 1]; /* empty: not told */
    int64_t position;                 /* of its record, as told; -1 */
    int payments;
};

/* A request, from the shopper's side. */
struct http_request {
    bool is_used, is_gone;
    bool has_landed; /* what was sent for it stands in the log */
    struct world *world;
    uint64_t number;
    struct porch *porch;
    struct wish *wish;
    enum calls_kind kind;
    bool is_stranger;
    int64_t qty;
    char payment_id[NAME_SIZE];
    int64_t floor;    /* the oldest position that Redis has stood at since */
    int64_t recorded; /* the oldest that MySQL has stood at since */
    int64_t highest;  /* what the door had read when he came, or the log had when it began */
    bool is_sound;    /* what the door believed of items then */
    bool is_probe;    /* he is sold what is there, whoever else comes */
    http_leave_fn *leave;
    void *leave_arg;
};

/* All that belongs to the doors of a world. */
struct crowd {
    struct porch porches[DOORS];
    struct calls_settings settings;
    struct parcel parcels[PARCELS_MAX];
    size_t n_parcels;
    struct wish wishes[WISHES_MAX];
    size_t n_wishes;
    struct http_request visits[VISITS_MAX];
    uint64_t n_visits;
    size_t pending;
};

/* ---- porch.c ---- */

/* The clocks show the door's time; before anything of the door runs. */
static inline void porch_wake(const struct porch *p)
{
    show_clock(p->world, &p->world->clocks.doors[p->number]);
}

/* One step of what the door's parts do by themselves. */
void porch_ask_redis(struct porch *p);
void porch_read_outcomes(struct porch *p, int shard);
void porch_read_mysql(struct porch *p);
void porch_tick(struct porch *p);
void porch_move_parcel(struct world *w);

/* The same, all of it, without trouble. */
void porch_settle(struct porch *p);

/* It has read outcomes without a gap, and no older state, for as long as it believes what it knows. */
bool porch_is_sound(const struct porch *p, int shard);

/* Draws of the ids of orders without a key. */
void porch_seed(uint64_t seed);

void porch_move_all_parcels(struct world *w);

/* ---- shoppers.c ---- */

struct slice wish_user(const struct wish *wish, char out[NAME_SIZE]);
struct slice wish_item(const struct wish *wish, char out[NAME_SIZE]);
void shoppers_left(struct porch *p); /* the door is killed: its visitors hear nothing */

#endif /* TESTS_SIM_PORCH_H */
