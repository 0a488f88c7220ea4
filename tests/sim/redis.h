/*
 * redis.h - the simulated Redis: position.lua and apply.lua as docs/protocol.md section 6 has them,
 * over states that are nodes of the log; and what may befall a Redis.
 */
#ifndef TESTS_SIM_REDIS_H
#define TESTS_SIM_REDIS_H

#include "common/buf.h"
#include "matcher/script.h"
#include "tests/sim/world.h"

/* What the words of a call of apply.lua ask for. */
void redis_read_request(struct world *w, struct shard *s, const struct part_action *action,
                        struct request *request);

/* Plays the script on r, and writes what it answers.  Fields of a position end with a NUL. */
void redis_play_position(const struct world *w, const struct redis *r, struct buf *out);
void redis_play_apply(struct world *w, struct shard *s, struct redis *r,
                      const struct request *request, struct buf *out);

/* The log id that the state was made with. */
void redis_genesis(const struct node *node, char text[IDS_LOG_LEN + 1]);

/*
 * The scripts of a rebuild: begin wipes and fences, each piece and the end check the fence.  The end is
 * the piece behind the last; from it on the state is the one at node.
 */
void redis_rebuild_begin(struct world *w, struct shard *s, int token);
bool redis_rebuild_put(struct world *w, struct shard *s, int token, int piece, struct node *node);

void redis_fail_over(struct world *w, struct shard *s);
void redis_fail_over_last(struct world *w, struct shard *s);
void redis_flush(struct world *w, struct shard *s);

/* Back to before the log was cut. */
void redis_restore(struct world *w, struct shard *s);

/*
 * One more step of the slot's way to another server.  At its end it has all its keys, none, or some without
 * the log; what was left behind may be its state again later.
 */
void redis_move_slot(struct world *w, struct shard *s);

/* Scripts are refused there, without effect. */
static inline bool redis_is_away(const struct shard *s)
{
    return s->slot == SLOT_SPREAD || s->slot == SLOT_GONE;
}

/* A second master is made from an older state; the first goes on until it gives up. */
void redis_split(struct world *w, struct shard *s);
void redis_unsplit(struct world *w, struct shard *s);

#endif /* TESTS_SIM_REDIS_H */
