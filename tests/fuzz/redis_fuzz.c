/*
 * A Redis that answers anything, one reply after the other: to the look-ups of the door and of the
 * guardian, and to the questions whether it is fit.  In the input `[` and `]` stand around an array, `_`
 * is nil, and `$` `+` `-` `:` begin a string, a status, an error, a number, up to a vertical tab.
 *
 * What is taken is what the reply says, and may be read to its end; where there is no state, none is told of.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/redis_impl.h"
#include "common/xmalloc.h"
#include "guardian/peek_reply.h"
#include "producer/lookup_reply.h"

#define SHA1 "0123456789abcdef0123456789abcdef01234567"

enum {
    DEPTH_MAX = 4,
    REPLIES_MAX = 300,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact)
{
    if (!fact) {
        abort();
    }
}

/* ---- replies, as hiredis would make them ---- */

static redisReply *add(redisReply *array, int type)
{
    redisReply *reply = xcalloc(1, sizeof(*reply));

    reply->type = type;
    /* NOLINTNEXTLINE(bugprone-sizeof-expression): of pointers */
    array->element = xreallocarray(array->element, array->elements + 1, sizeof(redisReply *));
    array->element[array->elements++] = reply;
    return reply;
}

static void set_text(redisReply *reply, struct slice text)
{
    if (reply->type == REDIS_REPLY_INTEGER) {
        reply->integer = (long long)text.len;
        return;
    }
    reply->str = xmemdup0(text.len == 0 ? "" : text.ptr, text.len);
    reply->len = text.len;
}

/* An array of all the replies. */
static redisReply *read_replies(struct slice rest)
{
    static const char letters[] = "$+-:";
    static const int types[] = {REDIS_REPLY_STRING, REDIS_REPLY_STATUS, REDIS_REPLY_ERROR,
                                REDIS_REPLY_INTEGER};
    redisReply *open[DEPTH_MAX + 1] = {xcalloc(1, sizeof(redisReply))};
    size_t depth = 0;

    open[0]->type = REDIS_REPLY_ARRAY;
    for (int n = 0; n < REPLIES_MAX && rest.len > 0; n++) {
        const char c = rest.ptr[0];
        const char *letter = c == '\0' ? NULL : strchr(letters, c);

        rest = (struct slice){rest.ptr + 1, rest.len - 1};
        if (letter != NULL) {
            set_text(add(open[depth], types[letter - letters]), slice_cut(rest, '\v', &rest));
        } else if (c == '_') {
            (void)add(open[depth], REDIS_REPLY_NIL);
        } else if (c == '[' && depth < DEPTH_MAX) {
            open[depth + 1] = add(open[depth], REDIS_REPLY_ARRAY);
            depth++;
        } else if (c == ']' && depth > 0) {
            depth--;
        }
    }
    return open[0];
}

/* ---- what is read of one ---- */

/* Reads it to its end, so that the sanitizer sees what is not its own. */
static size_t weigh(struct slice text)
{
    size_t sum = 0;

    for (size_t i = 0; i < text.len; i++) {
        sum += (unsigned char)text.ptr[i];
    }
    return sum;
}

static void judge(const redisReply *reply)
{
    static const struct redis_script scripts[] = {{NULL, 0, SHA1}};
    const struct redis_verdict verdicts[] = {
        redis_judge_auth(reply),
        redis_judge_role(reply),
        redis_judge_info(reply),
        redis_judge_memory(reply),
        redis_judge_script(reply, scripts, 1),
    };

    for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
        require((verdicts[i].fitness == REDIS_FIT) == (verdicts[i].why == NULL));
        require(verdicts[i].why == NULL || strlen(verdicts[i].why) < SIZE_MAX);
    }
    require(verdicts[1].fitness != REDIS_FIT ||
            slice_eq(redis_text(reply->element[0]), SLICE_LIT("master")));
    require(verdicts[2].fitness != REDIS_FIT || verdicts[3].fitness == REDIS_FIT);
    require(verdicts[4].fitness != REDIS_FIT || slice_eq(redis_text(reply), SLICE_LIT(SHA1)));
}

static void weigh_answer(bool ok, struct peek_answer *a)
{
    require(ok || a->n <= REPLIES_MAX);
    for (size_t i = 0; ok && i < a->n; i++) {
        (void)weigh(a->values[i]);
    }
    require(!ok || !a->has_state || a->watermark >= 0);
    require(a->has_state || a->n == 0);
    require(memchr(a->cursor, '\0', sizeof(a->cursor)) != NULL);
    free(a->values);
}

static void weigh_key(struct slice key, void *arg)
{
    size_t *n = arg;

    (void)weigh(key);
    ++*n;
}

static void peek(const redisReply *reply)
{
    struct peek_answer chunk = {0}, values = {0};
    struct follow_probe probe = {0};
    struct peek_look look = {.watermark = -1};
    char cursor[PEEK_CURSOR_BYTES] = "0";
    size_t n_keys = 0;

    weigh_answer(peek_reply_chunk(reply, &chunk), &chunk);
    weigh_answer(peek_reply_values(reply, &values), &values);
    if (peek_reply_probe(reply, &probe)) {
        require(probe.watermark >= 0 && strlen(probe.genesis) < sizeof(probe.genesis));
        require(!probe.has_outbox || probe.first_prev >= -1);
    }
    if (peek_reply_look(reply, &look)) {
        require((look.found == PEEK_STATE) == (look.watermark >= 0));
        require(look.found != PEEK_REBUILD || look.progress >= 0);
        require(strlen(look.genesis) < sizeof(look.genesis) &&
                strlen(look.token) < sizeof(look.token));
    }
    if (peek_reply_keys(reply, cursor, weigh_key, &n_keys)) {
        require(n_keys == reply->element[1]->elements && strlen(cursor) < sizeof(cursor));
    }
}

static void look_up(const redisReply *reply, size_t n)
{
    struct lookup_reply found;

    if (lookup_reply_parse(reply, n, &found) && found.has_state) {
        require(found.watermark >= -1 && found.log_time >= 0 && found.genesis.ptr != NULL);
        (void)weigh(found.genesis);
        for (size_t i = 0; i < n; i++) {
            (void)weigh(lookup_reply_value(&found, i));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    redisReply *replies = read_replies((struct slice){(const char *)data, size});

    for (size_t i = 0; i < replies->elements; i++) {
        const redisReply *reply = replies->element[i];

        judge(reply);
        peek(reply);
        look_up(reply, 2);
        look_up(reply, reply->elements < 3 ? 0 : reply->elements - 3);
    }
    freeReplyObject(replies);
    return 0;
}
