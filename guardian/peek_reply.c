#include "guardian/peek_reply.h"

#include <stdlib.h>

#include "common/xmalloc.h"

enum {
    POSITION_FIELDS = 7, /* of position.lua's answer, before the outbox's entries */
};

bool peek_reply_text(const redisReply *reply, struct slice *text)
{
    if (reply->type != REDIS_REPLY_STRING) {
        *text = (struct slice){NULL, 0};
        return false;
    }
    *text = (struct slice){reply->str, reply->len};
    return true;
}

static bool has_elements(const redisReply *reply, size_t n)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements >= n;
}

static bool take_watermark(const redisReply *reply, int64_t *watermark)
{
    struct slice text;

    return peek_reply_text(reply, &text) && slice_to_i64(text, 0, INT64_MAX, watermark);
}

static bool take_values(redisReply *const *values, size_t n, struct peek_answer *a)
{
    a->has_state = true;
    a->values = xreallocarray(a->values, n + 1, sizeof(*a->values));
    a->n = n;
    for (size_t i = 0; i < n; i++) {
        if (!peek_reply_text(values[i], &a->values[i]) && values[i]->type != REDIS_REPLY_NIL) {
            return false;
        }
    }
    return true;
}

bool peek_reply_time(const redisReply *reply, int64_t *time_ms)
{
    struct slice seconds, us;
    int64_t s, part;

    if (!has_elements(reply, 2) || !peek_reply_text(reply->element[0], &seconds) ||
        !peek_reply_text(reply->element[1], &us) ||
        !slice_to_i64(seconds, 0, INT64_MAX / 2000, &s) || !slice_to_i64(us, 0, 999999, &part)) {
        return false;
    }
    *time_ms = s * 1000 + part / 1000;
    return true;
}

bool peek_reply_chunk(const redisReply *reply, struct peek_answer *a)
{
    struct slice cursor;

    if (!has_elements(reply, 1)) {
        return has_elements(reply, 0);
    }
    return has_elements(reply, 2) && take_watermark(reply->element[0], &a->watermark) &&
           peek_reply_text(reply->element[1], &cursor) &&
           slice_copy(cursor, a->cursor, sizeof(a->cursor)) &&
           take_values(reply->element + 2, reply->elements - 2, a);
}

bool peek_reply_values(const redisReply *reply, struct peek_answer *a)
{
    const redisReply *values;

    if (!has_elements(reply, 2)) {
        return false;
    }
    if (reply->element[0]->type != REDIS_REPLY_STRING) {
        return true; /* no watermark, or no hash that could have one */
    }
    values = reply->element[1];
    return take_watermark(reply->element[0], &a->watermark) && has_elements(values, 0) &&
           take_values(values->element, values->elements, a);
}

bool peek_reply_probe(const redisReply *reply, struct follow_probe *probe)
{
    const redisReply *state;
    struct slice genesis, entry, rest;

    if (!has_elements(reply, 2) || !has_elements(reply->element[0], 2)) {
        return false;
    }
    state = reply->element[0];
    if (!peek_reply_text(state->element[0], &genesis) ||
        !slice_copy(genesis, probe->genesis, sizeof(probe->genesis)) ||
        !take_watermark(state->element[1], &probe->watermark)) {
        return false;
    }
    probe->has_outbox = peek_reply_text(reply->element[1], &entry);
    return !probe->has_outbox ||
           slice_to_i64(slice_cut(entry, ' ', &rest), -1, INT64_MAX, &probe->first_prev);
}

/* Of an entry that is damaged nothing is known: its matcher halts on it. */
static int64_t first_of(const redisReply *reply, int64_t watermark)
{
    struct slice entry, rest;
    int64_t prev;

    if (has_elements(reply, POSITION_FIELDS + 1) &&
        peek_reply_text(reply->element[POSITION_FIELDS], &entry) &&
        slice_to_i64(slice_cut(entry, ' ', &rest), -1, watermark, &prev)) {
        return prev + 1;
    }
    return watermark;
}

bool peek_reply_is_master(const redisReply *reply)
{
    struct slice role;

    return reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 &&
           peek_reply_text(reply->element[0], &role) && slice_eq(role, SLICE_LIT("master"));
}

bool peek_reply_look(const redisReply *reply, struct peek_look *look)
{
    struct slice first, second, third;

    if (!has_elements(reply, 1)) {
        look->found = PEEK_NOTHING;
        return has_elements(reply, 0);
    }
    if (!peek_reply_text(reply->element[0], &first)) {
        return false;
    }
    if (reply->elements == 1) {
        look->found = PEEK_KEYS;
        return slice_eq(first, SLICE_LIT("keys"));
    }
    if (slice_eq(first, SLICE_LIT("rebuild"))) {
        look->found = PEEK_REBUILD;
        return reply->elements == 3 && peek_reply_text(reply->element[1], &second) &&
               peek_reply_text(reply->element[2], &third) &&
               slice_copy(second, look->token, sizeof(look->token)) &&
               slice_to_i64(third, 0, INT64_MAX, &look->progress);
    }
    look->found = PEEK_STATE;
    if (!slice_copy(first, look->genesis, sizeof(look->genesis)) ||
        !take_watermark(reply->element[1], &look->watermark)) {
        return false;
    }
    look->first = first_of(reply, look->watermark);
    return true;
}

bool peek_reply_keys(const redisReply *reply, char cursor[PEEK_CURSOR_BYTES],
                     void (*each)(struct slice key, void *arg), void *arg)
{
    struct slice next, key;

    if (!has_elements(reply, 2) || !has_elements(reply->element[1], 0) ||
        !peek_reply_text(reply->element[0], &next) ||
        !slice_copy(next, cursor, PEEK_CURSOR_BYTES)) {
        return false;
    }
    for (size_t i = 0; i < reply->element[1]->elements; i++) {
        if (!peek_reply_text(reply->element[1]->element[i], &key)) {
            return false;
        }
        each(key, arg);
    }
    return true;
}
