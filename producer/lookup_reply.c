#include "producer/lookup_reply.h"

#include "common/command.h"

enum {
    FIXED = 3, /* watermark, log_time, genesis */
};

static struct slice text_at(const redisReply *reply, size_t i)
{
    return (struct slice){reply->element[i]->str, reply->element[i]->len};
}

bool lookup_reply_parse(const redisReply *reply, size_t n, struct lookup_reply *out)
{
    *out = (struct lookup_reply){0};
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0) {
        return reply->type == REDIS_REPLY_ARRAY;
    }
    if (reply->elements != FIXED + n) {
        return false;
    }
    for (size_t i = 0; i < reply->elements; i++) {
        const int type = reply->element[i]->type;

        if (type != REDIS_REPLY_STRING && (type != REDIS_REPLY_NIL || i < FIXED)) {
            return false;
        }
    }
    out->has_state = true;
    out->genesis = text_at(reply, 2);
    out->values = reply->element + FIXED;
    return slice_to_i64(text_at(reply, 0), -1, COMMAND_TIME_MAX, &out->watermark) &&
           slice_to_i64(text_at(reply, 1), 0, COMMAND_TIME_MAX, &out->log_time);
}
