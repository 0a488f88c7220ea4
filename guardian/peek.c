#include "guardian/peek.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "chunk_lua.h"
#include "common/xmalloc.h"
#include "guardian/peek_reply.h"
#include "position_lua.h"

struct peek {
    const struct options_redis *redis; /* borrowed */
    int64_t timeout_ms;
    redisContext *context; /* NULL: not connected */
};

struct peek *peek_create(const struct options_redis *redis, int64_t timeout_ms)
{
    struct peek *p = xcalloc(1, sizeof(*p));

    p->redis = redis;
    p->timeout_ms = timeout_ms;
    return p;
}

static void close_connection(struct peek *p)
{
    if (p->context != NULL) {
        redisFree(p->context);
        p->context = NULL;
    }
}

void peek_destroy(struct peek *p)
{
    if (p != NULL) {
        close_connection(p);
        free(p);
    }
}

void peek_answer_fini(struct peek_answer *a)
{
    if (a->reply != NULL) {
        freeReplyObject(a->reply);
    }
    free(a->values);
    *a = (struct peek_answer){0};
}

/* Sends one command and waits; the reply is the caller's.  NULL with err set on any failure. */
static redisReply *call(struct peek *p, int argc, const char **argv, const size_t *lens,
                        struct err *err)
{
    redisReply *reply = redisCommandArgv(p->context, argc, argv, lens);

    if (reply == NULL) {
        (void)err_set(err, ERR_RETRY, "redis: no answer: %.100s", p->context->errstr);
        close_connection(p);
        return NULL;
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        (void)err_set(err, ERR_RETRY, "redis: %s", reply->str);
        freeReplyObject(reply);
        close_connection(p);
        return NULL;
    }
    return reply;
}

static bool make_connection(struct peek *p, struct err *err)
{
    struct timeval timeout = {
        .tv_sec = p->timeout_ms / 1000,
        .tv_usec = (p->timeout_ms % 1000) * 1000,
    };
    const char *words[] = {"AUTH", p->redis->password};
    const size_t lens[] = {4, strlen(p->redis->password)};

    if (p->context != NULL) {
        return true;
    }
    p->context = redisConnectWithTimeout(p->redis->host, (int)p->redis->port, timeout);
    if (p->context == NULL || p->context->err != 0) {
        bool rc = err_set(err, ERR_RETRY, "redis %s:%" PRId64 ": %s", p->redis->host,
                          p->redis->port, p->context == NULL ? "no memory" : p->context->errstr);

        close_connection(p);
        return rc;
    }
    if (redisSetTimeout(p->context, timeout) != REDIS_OK) {
        close_connection(p);
        return err_set(err, ERR_RETRY, "redis: the timeout cannot be set");
    }
    if (lens[1] > 0) {
        redisReply *reply = call(p, 2, words, lens, err);

        if (reply == NULL) {
            return false;
        }
        freeReplyObject(reply);
    }
    return true;
}

/* What a replica tells may be of any time, and goes on being told when a master becomes one. */
static bool is_master(struct peek *p, struct err *err)
{
    const char *words[] = {"ROLE"};
    const size_t lens[] = {4};
    redisReply *reply = call(p, 1, words, lens, err);
    bool ok;

    if (reply == NULL) {
        return false;
    }
    ok = peek_reply_is_master(reply);
    freeReplyObject(reply);
    if (!ok) {
        close_connection(p);
        (void)err_set(err, ERR_RETRY, "redis %s:%" PRId64 ": not a master", p->redis->host,
                      p->redis->port);
    }
    return ok;
}

int peek_key(const struct peek *p, int partition, const char *name, char *out, size_t size)
{
    return snprintf(out, size, "%s:{%d}:%s", p->redis->key_prefix, partition, name);
}

enum { KEY_BYTES = 256 };

bool peek_chunk(struct peek *p, struct peek_hash hash, const char *cursor, int count,
                struct peek_answer *a, struct err *err)
{
    char log[KEY_BYTES], key[KEY_BYTES], number[16];
    const char *words[] = {"EVAL", (const char *)chunk_lua, "2", log, key, cursor, number};
    size_t lens[] = {4,
                     sizeof(chunk_lua),
                     1,
                     (size_t)peek_key(p, hash.partition, "log", log, sizeof(log)),
                     (size_t)peek_key(p, hash.partition, hash.name, key, sizeof(key)),
                     strlen(cursor),
                     (size_t)snprintf(number, sizeof(number), "%d", count)};

    peek_answer_fini(a);
    if (!make_connection(p, err)) {
        return false;
    }
    a->reply = call(p, (int)(sizeof(lens) / sizeof(lens[0])), words, lens, err);
    return a->reply != NULL && (peek_reply_chunk(a->reply, a) ||
                                err_set(err, ERR_RETRY, "redis: chunk.lua gave no chunk"));
}

/* Sends MULTI, two commands and EXEC in one go, and returns the reply of EXEC. */
static redisReply *transact(struct peek *p, const struct slice *const commands[2],
                            const int words[2], struct err *err)
{
    redisReply *last = NULL;
    bool sent = redisAppendCommand(p->context, "MULTI") == REDIS_OK;

    for (int c = 0; c < 2; c++) {
        const char **argv = xreallocarray(NULL, (size_t)words[c], sizeof(*argv));
        size_t *lens = xreallocarray(NULL, (size_t)words[c], sizeof(*lens));

        for (int i = 0; i < words[c]; i++) {
            argv[i] = commands[c][i].ptr;
            lens[i] = commands[c][i].len;
        }
        sent = sent && redisAppendCommandArgv(p->context, words[c], argv, lens) == REDIS_OK;
        free(argv);
        free(lens);
    }
    sent = sent && redisAppendCommand(p->context, "EXEC") == REDIS_OK;
    for (int i = 0; sent && i < 4; i++) {
        void *reply = NULL;

        if (last != NULL) {
            freeReplyObject(last);
            last = NULL;
        }
        sent = redisGetReply(p->context, &reply) == REDIS_OK && reply != NULL;
        last = reply;
    }
    if (!sent || last == NULL || last->type != REDIS_REPLY_ARRAY || last->elements != 2) {
        (void)err_set(err, ERR_RETRY, "redis: %s",
                      p->context->err != 0                              ? p->context->errstr
                      : last != NULL && last->type == REDIS_REPLY_ERROR ? last->str
                                                                        : "no transaction");
        if (last != NULL) {
            freeReplyObject(last);
        }
        close_connection(p);
        return NULL;
    }
    return last;
}

/* Reads the answer of a transaction. */
static bool take_values(struct peek_answer *a, struct err *err)
{
    return a->reply != NULL && (peek_reply_values(a->reply, a) ||
                                err_set(err, ERR_RETRY, "redis: a look-up gave something else"));
}

bool peek_lookup(struct peek *p, struct peek_hash hash, const struct slice *fields, size_t n,
                 struct peek_answer *a, struct err *err)
{
    char log[KEY_BYTES], key[KEY_BYTES];
    const struct slice first[] = {
        SLICE_LIT("HGET"),
        {log, (size_t)peek_key(p, hash.partition, "log", log, sizeof(log))},
        SLICE_LIT("watermark"),
    };
    struct slice *second = xreallocarray(NULL, n + 2, sizeof(*second));
    const struct slice *const commands[] = {first, second};
    const int words[] = {3, (int)n + 2};
    peek_answer_fini(a);
    second[0] = SLICE_LIT("HMGET");
    second[1] =
        (struct slice){key, (size_t)peek_key(p, hash.partition, hash.name, key, sizeof(key))};
    for (size_t i = 0; i < n; i++) {
        second[i + 2] = fields[i];
    }
    if (make_connection(p, err)) {
        a->reply = transact(p, commands, words, err);
    }
    free(second);
    if (!take_values(a, err)) {
        return false;
    }
    return !a->has_state || a->n == n ||
           err_set(err, ERR_RETRY, "redis: a look-up gave %zu values, not %zu", a->n, n);
}

bool peek_list(struct peek *p, struct peek_hash list, int64_t first, int64_t last,
               struct peek_answer *a, struct err *err)
{
    char log[KEY_BYTES], key[KEY_BYTES], from[24], to[24];
    const struct slice watermark[] = {
        SLICE_LIT("HGET"),
        {log, (size_t)peek_key(p, list.partition, "log", log, sizeof(log))},
        SLICE_LIT("watermark"),
    };
    const struct slice range[] = {
        SLICE_LIT("LRANGE"),
        {key, (size_t)peek_key(p, list.partition, list.name, key, sizeof(key))},
        {from, (size_t)snprintf(from, sizeof(from), "%" PRId64, first)},
        {to, (size_t)snprintf(to, sizeof(to), "%" PRId64, last)},
    };
    const struct slice *const commands[] = {watermark, range};
    const int words[] = {3, 4};

    peek_answer_fini(a);
    if (!make_connection(p, err)) {
        return false;
    }
    a->reply = transact(p, commands, words, err);
    return take_values(a, err);
}

bool peek_probe(struct peek *p, int partition, struct follow_probe *probe, struct err *err)
{
    char log[KEY_BYTES], outbox[KEY_BYTES];
    const struct slice first[] = {
        SLICE_LIT("HMGET"),
        {log, (size_t)peek_key(p, partition, "log", log, sizeof(log))},
        SLICE_LIT("genesis"),
        SLICE_LIT("watermark"),
    };
    const struct slice second[] = {
        SLICE_LIT("LINDEX"),
        {outbox, (size_t)peek_key(p, partition, "outbox", outbox, sizeof(outbox))},
        SLICE_LIT("0"),
    };
    const struct slice *const commands[] = {first, second};
    const int words[] = {4, 3};
    redisReply *reply;

    *probe = (struct follow_probe){0};
    if (!make_connection(p, err)) {
        return false;
    }
    reply = transact(p, commands, words, err);
    if (reply == NULL) {
        return false;
    }
    probe->is_known = peek_reply_probe(reply, probe);
    freeReplyObject(reply);
    return is_master(p, err);
}

/* Runs a script; the reply is the caller's.  NULL with err set on any failure. */
static redisReply *run(struct peek *p, const struct peek_call *script, struct err *err)
{
    const size_t n = 3 + script->n_words;
    const char **words = xreallocarray(NULL, n, sizeof(*words));
    size_t *lens = xreallocarray(NULL, n, sizeof(*lens));
    redisReply *reply = NULL;
    char number[24];

    words[0] = "EVAL";
    lens[0] = 4;
    words[1] = (const char *)script->script;
    lens[1] = script->script_len;
    words[2] = number;
    lens[2] = (size_t)snprintf(number, sizeof(number), "%zu", script->n_keys);
    for (size_t i = 0; i < script->n_words; i++) {
        words[3 + i] = script->words[i].ptr == NULL ? "" : script->words[i].ptr;
        lens[3 + i] = script->words[i].len;
    }
    if (make_connection(p, err)) {
        reply = call(p, (int)n, words, lens, err);
    }
    free(words);
    free(lens);
    return reply;
}

bool peek_script(struct peek *p, const struct peek_call *script, char *text, size_t size,
                 struct err *err)
{
    redisReply *reply = run(p, script, err);
    struct slice said;
    bool ok;

    if (reply == NULL) {
        return false;
    }
    ok = peek_reply_text(reply, &said) && slice_copy(said, text, size);
    freeReplyObject(reply);
    return ok || err_set(err, ERR_RETRY, "redis: a script answered something else");
}

bool peek_time(struct peek *p, int64_t *time_ms, struct err *err)
{
    const char *words[] = {"TIME"};
    const size_t lens[] = {4};
    redisReply *reply;
    bool ok;

    if (!make_connection(p, err)) {
        return false;
    }
    reply = call(p, 1, words, lens, err);
    if (reply == NULL) {
        return false;
    }
    ok = peek_reply_time(reply, time_ms);
    freeReplyObject(reply);
    return ok || err_set(err, ERR_RETRY, "redis: TIME answered something else");
}

bool peek_look(struct peek *p, int partition, struct peek_look *look, struct err *err)
{
    static const char *const names[] = {"log",      "outbox", "items",  "orders",
                                        "payments", "ops",    "rebuild"};
    enum { KEYS = sizeof(names) / sizeof(names[0]) };
    char keys[KEYS][KEY_BYTES];
    struct slice words[KEYS + 1];
    const struct peek_call script = {position_lua, sizeof(position_lua), words, KEYS + 1, KEYS};
    redisReply *reply;
    bool ok;

    *look = (struct peek_look){.watermark = -1};
    for (size_t i = 0; i < KEYS; i++) {
        const int len = peek_key(p, partition, names[i], keys[i], sizeof(keys[i]));

        words[i] = (struct slice){keys[i], (size_t)len};
    }
    words[KEYS] = SLICE_LIT("1"); /* the outbox's oldest entry */
    reply = run(p, &script, err);
    if (reply == NULL) {
        return false;
    }
    ok = peek_reply_look(reply, look);
    freeReplyObject(reply);
    return ok ? is_master(p, err)
              : err_set(err, ERR_RETRY, "redis: position.lua answered something else");
}

/* The pattern that only a partition's keys match: glob characters of the prefix are escaped. */
static size_t pattern_of(const struct peek *p, int partition, char *out, size_t size)
{
    size_t n = 0;

    for (const char *at = p->redis->key_prefix; *at != '\0' && n + 32 < size; at++) {
        if (strchr("*?[]\\^-", *at) != NULL) {
            out[n++] = '\\';
        }
        out[n++] = *at;
    }
    return n + (size_t)snprintf(out + n, size - n, ":{%d}:*", partition);
}

bool peek_each_key(struct peek *p, int partition, void (*each)(struct slice key, void *arg),
                   void *arg, struct err *err)
{
    char pattern[2 * KEY_BYTES];
    char cursor[PEEK_CURSOR_BYTES] = "0";
    const size_t len = pattern_of(p, partition, pattern, sizeof(pattern));
    bool ok = make_connection(p, err);

    while (ok) {
        const char *words[] = {"SCAN", cursor, "MATCH", pattern, "COUNT", "1000"};
        const size_t lens[] = {4, strlen(cursor), 5, len, 5, 4};
        redisReply *reply = call(p, 6, words, lens, err);

        if (reply == NULL) {
            return false;
        }
        ok = peek_reply_keys(reply, cursor, each, arg) ||
             err_set(err, ERR_RETRY, "redis: SCAN gave something else");
        freeReplyObject(reply);
        if (strcmp(cursor, "0") == 0) {
            break;
        }
    }
    return ok;
}
