/*
 * lookup_reply.h - what lua/lookup.lua answered.  Pure.
 */
#ifndef PRODUCER_LOOKUP_REPLY_H
#define PRODUCER_LOOKUP_REPLY_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/slice.h"

/* Borrowed from the reply. */
struct lookup_reply {
    bool has_state; /* else nothing below is set */
    int64_t watermark, log_time;
    struct slice genesis;
    redisReply *const *values; /* one per user, then one per item that was asked for */
};

/* False when it is no answer to a question for n values. */
bool lookup_reply_parse(const redisReply *reply, size_t n, struct lookup_reply *out) ATTR_MUSTCHECK;

/* Value i; ptr NULL: there is none. */
static inline struct slice lookup_reply_value(const struct lookup_reply *reply, size_t i)
{
    const redisReply *value = reply->values[i];

    return value->type == REDIS_REPLY_STRING ? (struct slice){value->str, value->len}
                                             : (struct slice){NULL, 0};
}

#endif /* PRODUCER_LOOKUP_REPLY_H */
