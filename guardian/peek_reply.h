/*
 * peek_reply.h - what Redis answered to the questions of peek.h.
 *
 * Pure.  False: the reply is none that there can be, and what was filled means nothing.
 */
#ifndef GUARDIAN_PEEK_REPLY_H
#define GUARDIAN_PEEK_REPLY_H

#include <hiredis/hiredis.h>

#include "common/attr.h"
#include "guardian/peek.h"

/* Of chunk.lua.  The slices are the reply's, here and below. */
bool peek_reply_chunk(const redisReply *reply, struct peek_answer *a) ATTR_MUSTCHECK;

/* Of a transaction: the watermark, then an array. */
bool peek_reply_values(const redisReply *reply, struct peek_answer *a) ATTR_MUSTCHECK;

/* Of a transaction: genesis and watermark, then the outbox's oldest entry.  False also without a state. */
bool peek_reply_probe(const redisReply *reply, struct follow_probe *probe) ATTR_MUSTCHECK;

/* Of TIME, in ms. */
bool peek_reply_time(const redisReply *reply, int64_t *time_ms) ATTR_MUSTCHECK;

/* Of ROLE: whether it said master. */
bool peek_reply_is_master(const redisReply *reply) ATTR_MUSTCHECK;

/* Of position.lua. */
bool peek_reply_look(const redisReply *reply, struct peek_look *look) ATTR_MUSTCHECK;

/* Of SCAN: the next cursor, then keys, of which each is told. */
bool peek_reply_keys(const redisReply *reply, char cursor[PEEK_CURSOR_BYTES],
                     void (*each)(struct slice key, void *arg), void *arg) ATTR_MUSTCHECK;

/* False when it is no string. */
bool peek_reply_text(const redisReply *reply, struct slice *text) ATTR_MUSTCHECK;

#endif /* GUARDIAN_PEEK_REPLY_H */
