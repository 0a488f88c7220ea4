/*
 * part_world.h - a part (matcher/part.h) with a Redis and a log that live in memory: the scripts are
 * played by common/fold.c, which was written from the same rules as lua/apply.lua.  Whatever cannot
 * be fails the test.  Names have no prefix: these are the words that the tests are written in.
 */
#ifndef TESTS_UNIT_PART_WORLD_H
#define TESTS_UNIT_PART_WORLD_H

#include "common/fold.h"
#include "matcher/part.h"

enum {
    LOG_MAX = 400,
    TOLD_MAX = 8000,
    WORDS_MAX = 20000,
    ENTRIES_MAX = 400,
    KEYS = 8,
};

struct raw {
    int64_t offset, timestamp_ms;
    char value[400];
    bool is_log_append_time;
};

/* A batch in the outbox of the fake Redis. */
struct batch {
    int64_t prev, to;
    char *text;
};

/* A call of apply.lua, with copies of its words. */
struct copied {
    uint32_t call;
    size_t n;
    char *words[WORDS_MAX];
};

struct told {
    uint64_t seq;
    enum part_message_kind kind;
    int64_t offset;
    char *value;
    bool is_acked;
};

struct world {
    struct part_settings settings;
    struct part *part;
    struct part_time now;

    struct raw log[LOG_MAX];
    size_t n_log;
    int64_t begin;   /* of the log */
    int64_t trimmed; /* records before this offset are gone */

    bool is_there;
    const char *absence; /* without a state: what position.lua says first; NULL: nothing */
    int64_t watermark;
    struct batch outbox[ENTRIES_MAX];
    size_t n_outbox;
    bool is_full, is_broken;

    int64_t fetch; /* the next record to deliver; -1: none asked for */
    int fetches, ranges, reads, applies, empty_applies, ticks;
    bool no_delivery;
    struct told told[TOLD_MAX];
    size_t n_told;
    bool holds_acks;
    enum part_halt halt;
    char why[256];

    struct copied *pending; /* asked and not yet played */
    bool holds_calls;
    unsigned can;
};

/* A world of its own for each test, where nothing has happened yet. */
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int setup(void **state);
int teardown(void **state);

/* ---- the log ---- */

/* A record of this moment; the others write the command, too. */
void append(struct world *w, const char *value);
void append_genesis(struct world *w);
void append_sale(struct world *w, int64_t hold_ms);
void append_order(struct world *w, int user);
void append_orders(struct world *w, int n);

/* Its last offset. */
int64_t log_end(const struct world *w);

/* The state after offset; lines of what came after `from` go to lines, if it is not NULL. */
struct fold *fold_to(const struct world *w, int64_t offset, int64_t from, struct buf *lines);

/* ---- Redis ---- */

void flush_redis(struct world *w);

/* Redis as it was after `upto`, with the outbox from the batch after `acked` on. */
void fall_back(struct world *w, int64_t upto, int64_t acked);
void push_batch(struct world *w, int64_t prev, int64_t to, struct slice lines);
void drop_outbox(struct world *w, int64_t upto);

/* Plays apply.lua; the reply goes to out. */
void play_apply(struct world *w, const struct copied *c, struct buf *out);

/* Plays it and frees c; the part hears the reply, or that none has come. */
void answer_apply(struct world *w, struct copied *c, bool is_lost);
void free_call(struct copied *c);

/* ---- the loop ---- */

/* Does what the part asks for. */
void act(struct world *w, const struct part_action *a);

/* One record, if the part wants one; false: nothing came. */
bool deliver(struct world *w);
void ack_all(struct world *w);

/* Until nothing happens any more at this moment. */
void settle(struct world *w);
void pass(struct world *w, int64_t ms);

/* Genesis, a sale, n orders, all of it applied and told. */
void begin(struct world *w, int n);

/* ---- what has become of it ---- */

/* Only what is told from now on counts, besides the first n. */
void keep_told(struct world *w, size_t n);

/* The whole log is applied, and all of it told as the fold says. */
void check_well(const struct world *w);
struct part_view look(const struct world *w);

#endif /* TESTS_UNIT_PART_WORLD_H */
