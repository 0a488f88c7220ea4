/*
 * world.h - everything there is in one schedule: logs, Redis, topics, clocks, processes.
 *
 * A world is made from a seed, changed by steps (steps.h), and healed now and then.  All that is
 * random in it is drawn from `random`, which each step sets anew from its own luck; so a schedule
 * is a list of numbers, any of which can be left out, and what remains is a schedule again.
 *
 * What must be true is checked where it happens; wrong() ends the schedule.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/fold.h"
#include "common/mutant.h"
#include "common/outcome.h"
#include "common/random.h"
#include "guardian/follow.h"
#include "guardian/ledger.h"
#include "guardian/mend.h"
#include "matcher/part.h"
#include "tests/sim/cover.h"
#include "tests/sim/tables.h"

enum {
    SHARDS_MAX = 2,
    MATCHERS = 3,
    GUARDIANS = 2,
    DOORS = 2,
    BATCHES_MAX = 3,
    MYSQL_PAST_MAX = 6,
    LOG_MAX = 300,
    TOPIC_MAX = 4096,
    BOX_MAX = 48,
    PAST_MAX = 12,
    CALLS_MAX = 64,
    FLIGHTS_MAX = 4096,
    USERS = 6,
    ITEMS = 2,
    ORDERS_REMEMBERED = 6, /* per user: TEST_BOUND in common/fold.c */
    FATAL_PERCENT = 40,
    COMPLAINT_MAX = 1024,
};

#define FAULT_BIT_MYSQL (1U << 31)

/*
 * A record of the log, and all that follows from it by the rules.  Its ancestors are the log before
 * it; so a node stands for a prefix of a log, and a log that was cut and grew again is a branch.
 */
struct node {
    struct node *parent; /* NULL: the first record */
    struct node *older;  /* all nodes of a shard, newest first */
    int64_t offset, timestamp_ms, log_time, rules, next_due, remembered;
    uint64_t hash, chain, digest;
    char *value; /* owned; NULL: a tombstone */
    char *line, *outcome;
    struct node *first;  /* the genesis before it, or it itself */
    char *orders[USERS]; /* as in Redis, NULL: none; the parent's, unless the record changed it */
    char *items[ITEMS];
    enum command_type type;
    int landed;      /* copies in the outcomes topic */
    bool has_landed; /* ... though they may be lost since */
    bool is_dead_landed;
};

struct batch {
    struct node *prev, *to;
};

/* Where a partition's slot is, on its way from one server to another. */
enum slot {
    SLOT_HERE,
    SLOT_OFFERED, /* all its keys are where they were */
    SLOT_SPREAD,  /* some are here and some there: TRYAGAIN, ASK */
    SLOT_GONE,    /* MOVED */
};

/* A Redis master, for one partition. */
struct redis {
    struct node *at; /* NULL: no state */
    struct batch box[BOX_MAX];
    size_t n;
    bool is_torn; /* without a state, but some of its keys are there */
    int token;    /* of the rebuild that is under way; 0: none */
    int pieces;
    const struct node *piece_of[4]; /* the position that each piece has been read at */
};

/* A partition in MySQL. */
struct mysql {
    struct progress progress;
    struct tables tables;
    int64_t last_move; /* row of the journal */
};

/* One partition with all that belongs to it. */
struct shard {
    int number;
    char log_id[IDS_LOG_LEN + 1];
    struct node *log[LOG_MAX];
    int64_t n;
    struct node *nodes; /* owned, all */
    struct fold *fold;  /* of the log */
    struct tables judged;
    int64_t begin; /* the records before it are deleted */
    int64_t cut;   /* -1: never cut */
    bool has_rules, is_recreated, has_leapt;
    int orders, payments, ends;
    int64_t farthest; /* that a Redis has ever applied */

    struct redis redis;  /* the master */
    struct redis former; /* the one before, which does not know yet */
    bool is_split;
    int splits;     /* times so far */
    int topic_cuts; /* times so far that the topic of outcomes lost its end */
    enum slot slot;
    struct redis left; /* a state whose slot went elsewhere without it */
    bool has_left;
    struct redis past[PAST_MAX];
    size_t n_past;

    struct node *topic[TOPIC_MAX]; /* outcomes */
    int64_t n_topic, topic_begin;

    struct mysql mysql;
    struct mysql mysql_past[MYSQL_PAST_MAX];
    size_t n_mysql_past;
    bool has_mysql_moved;
};

/* A rebuild, between two calls of its scripts. */
struct rebuilding {
    bool is_active;
    bool has_snapshot;     /* of MySQL */
    enum mend_cause cause; /* MEND_NONE: by hand */
    int token, piece;
    struct node *node;
};

/* What a guardian was shown of a Redis that has no state. */
struct watched {
    enum mend_cause ill;
    int token, pieces;
};

/* Who looks after a partition's Redis. */
struct mender {
    struct mend mend;
    bool is_looking;
    int64_t again_ms;
    int64_t position; /* MySQL's, when the look began */
    char genesis[IDS_LOG_LEN + 1];
    struct watched watched;
    int64_t watched_ms; /* it has shown nothing else since */
    struct rebuilding rebuild;
};

/* One partition in a guardian. */
struct keeper {
    struct follow follow;
    bool is_assigned, is_loaded, is_probing;
    bool is_sent; /* the first batch has been tried */
    int64_t at, seek;
    int stale;
    struct ledger *batches[BATCHES_MAX]; /* owned */
    size_t n_batches;
    struct follow_probe probe;
    int scan_cuts; /* of the topic, when the scan began */
    struct mender mender;
};

struct request {
    int64_t rules, prev, to, acked, outbox_max, remembered_max, count;
    uint64_t chain_before;
    struct node *from, *end; /* the records: behind from, up to end */
};

struct call {
    bool is_used, is_read, is_played, is_forgotten;
    bool is_lost; /* no answer will come */
    int former;   /* sent to the master before the nth split; 0: to the one there is */
    int matcher, shard;
    uint32_t number;
    struct request request;
    struct buf reply;
};

struct flight {
    int matcher; /* -1: of an instance that is gone; nobody hears of it */
    int shard;
    uint64_t seq;
    enum part_message_kind kind;
    bool is_tick, is_landed;
    struct node *node;
};

/* One partition in a matcher. */
struct desk {
    struct part *part;
    bool is_halted, asks_range;
    int64_t at;   /* what the consumer delivers next; -1: nothing */
    int64_t seek; /* asked for and not yet done; -1: none */
    int stale;    /* records that still come before the seek is done */
    bool
        is_odd; /* the consumer skipped, repeated or lost a seek, and has not been put right since */
    const char *phase;
};

struct matcher {
    struct desk desks[SHARDS_MAX];
    bool is_stopped, is_down, is_broken, is_full;
    bool is_behind; /* speaks to the former master */
    enum cover did; /* last: what is seen if it is killed now */
};

/* How far the clocks of a process are off those of the world; their monotonic times are unrelated. */
struct clocks {
    struct part_time matchers[MATCHERS], guardians[GUARDIANS], doors[DOORS];
};

struct world {
    struct random random;
    uint64_t seed;
    bool is_told; /* each step is printed */
    jmp_buf *escape;
    char complaint[COMPLAINT_MAX];

    struct part_settings settings;
    struct part_time now;
    struct clocks clocks; /* each process has its own */
    int64_t broker_skew_ms;
    unsigned faults;  /* which kinds may happen */
    int percent;      /* of steps that are trouble */
    enum cover fatal; /* who has just done this is often killed */
    int zombies;      /* percent of turns in which a matcher takes a partition */
    int ending;       /* percent of the log's commands that end a sale */
    bool may_cut;
    bool has_lost; /* outcomes that the topic had */
    bool is_healing;
    int64_t remembered_max; /* the setting while trouble lasts */

    int n_shards;
    struct shard shards[SHARDS_MAX];
    struct matcher matchers[MATCHERS];
    struct keeper guardians[GUARDIANS][SHARDS_MAX];
    bool is_guardian_stopped[GUARDIANS];
    enum cover guardian_did[GUARDIANS]; /* last, as for a matcher */
    int64_t rows_max;                   /* of a batch of a guardian */
    int tokens;
    struct buf sql; /* room for statements */
    struct call calls[CALLS_MAX];
    struct flight flights[FLIGHTS_MAX];
    size_t n_flights;
    struct outcome outcome; /* room to parse */
    struct crowd *crowd;    /* doors and shoppers */
};

/* Ends the schedule: a promise is broken. */
void wrong(struct world *w, const char *fmt, ...) __attribute__((noreturn, format(printf, 2, 3)));

/* Tells what happens, when somebody wants to read it. */
void tell(const struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline bool chance(struct world *w, int percent)
{
    return random_chance(&w->random, percent);
}

static inline int64_t below(struct world *w, int64_t n)
{
    return random_below(&w->random, n);
}

static inline struct shard *any_shard(struct world *w)
{
    return &w->shards[w->n_shards == 1 ? 0 : below(w, w->n_shards)];
}

void world_init(struct world *w, uint64_t seed);
void world_fini(struct world *w);

void pass_time(struct world *w, int64_t ms);

/* What a process's clocks show. */
static inline struct part_time clock_of(const struct world *w, const struct part_time *off)
{
    return (struct part_time){w->now.mono_ms + off->mono_ms, w->now.wall_ms + off->wall_ms};
}

/* Whoever reads common/clock.h from now on is that process. */
void show_clock(const struct world *w, const struct part_time *off);

#endif /* TESTS_SIM_WORLD_H */
