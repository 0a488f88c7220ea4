/*
 * Each call of a script is answered exactly once; "no answer" is one, and the part asks again.
 */
#include <stdlib.h>
#include <string.h>

#include "apply_lua.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/probe.h"
#include "common/xmalloc.h"
#include "matcher/matcher_impl.h"
#include "position_lua.h"

enum {
    SCRIPT_NUMBER_APPLY = 0,
    SCRIPT_NUMBER_POSITION = 1,
};

/* One script under way; answered exactly once. */
struct call {
    struct matcher *matcher;
    int partition;
    uint32_t number;
    bool is_read;
    int64_t sent_us;
};

/* Another matcher may have been first; and a rewrite that fails is asked for by the next connection. */
static void on_rewrite(enum redis_result result, const redisReply *reply, void *arg ATTR_UNUSED)
{
    if (result != REDIS_GOT) {
        log_debug("redis.not_rewritten",
                  LOG_STR("error", reply != NULL ? reply->str : "no answer"));
    }
}

static bool says(const redisReply *reply, const char *line)
{
    return strstr(reply->str, line) != NULL;
}

static void on_persistence(enum redis_result result, const redisReply *reply, void *arg)
{
    static const struct slice words[] = {{"BGREWRITEAOF", 12}};
    struct matcher *m = arg;
    struct err err;

    if (result == REDIS_GOT && reply->type == REDIS_REPLY_STRING &&
        says(reply, "\naof_enabled:1\r") &&
        (says(reply, "\naof_last_rewrite_time_sec:-1\r") ||
         says(reply, "\naof_last_bgrewrite_status:err\r")) &&
        !redis_send(m->redis, words, 1, on_rewrite, NULL, &err)) {
        log_debug("redis.not_rewritten", LOG_ERR(&err));
    }
}

/*
 * The append-only file that a server was started with may have been cut in the middle of a script's
 * writes; Redis 7.0 then leaves the torn half in the file, where the next start would execute it
 * together with what was appended since.  A rewritten file has none of it, and whether anybody
 * had heard of that script is no matter: so whoever meets a server that has not rewritten its file
 * since its start asks for it.
 */
static void heal_append_only_file(struct matcher *m)
{
    static const struct slice words[] = {{"INFO", 4}, {"persistence", 11}};
    struct err err;

    if (!redis_send(m->redis, words, 2, on_persistence, m, &err)) {
        log_debug("redis.not_rewritten", LOG_ERR(&err));
    }
}

static void look_back(const struct matcher *m, int partition, int64_t before)
{
    struct part_view view;

    part_look(m->parts[partition], &view);
    if (view.wait == PART_WAIT_NONE && view.watermark < before) {
        log_warn("redis.went_back", LOG_INT("partition", partition), LOG_INT("from", before),
                 LOG_INT("to", view.watermark));
    }
}

static void answer_position(struct call *c, const redisReply *reply)
{
    struct part *part = c->matcher->parts[c->partition];
    struct part_view before;
    struct slice *fields;
    bool ok = reply->type == REDIS_REPLY_ARRAY;

    part_look(part, &before);

    fields = xcalloc(ok ? reply->elements + 1 : 1, sizeof(*fields));
    for (size_t i = 0; ok && i < reply->elements; i++) {
        const redisReply *element = reply->element[i];

        ok = element->type == REDIS_REPLY_STRING;
        fields[i] = (struct slice){element->str, ok ? element->len : 0};
    }
    if (ok) {
        part_position(part, c->number, fields, reply->elements, matcher_now());
        look_back(c->matcher, c->partition, before.watermark);
    } else {
        part_failed(part, c->number, SLICE_LIT("position.lua answered something else"));
    }
    free(fields);
}

static void answer_apply(struct call *c, const redisReply *reply)
{
    struct part *part = c->matcher->parts[c->partition];

    failpoint_kill("apply.after");
    if (c->matcher->latency != NULL) {
        histogram_add(c->matcher->latency, clock_mono_us() - c->sent_us);
    }
    if (reply->type == REDIS_REPLY_STRING) {
        part_applied(part, c->number, (struct slice){reply->str, reply->len}, matcher_now());
    } else {
        part_failed(part, c->number, SLICE_LIT("apply.lua answered something else"));
    }
}

static void on_answer(enum redis_result result, const redisReply *reply, void *arg)
{
    struct call *c = arg;
    struct part *part = c->matcher->parts[c->partition];

    PROBE(script_answered, c->partition, c->number, (int)result);
    switch (result) {
    case REDIS_GOT:
        if (c->is_read) {
            answer_position(c, reply);
        } else {
            answer_apply(c, reply);
        }
        break;
    case REDIS_UNKNOWN:
        part_unanswered(part, c->number, false, matcher_now());
        break;
    case REDIS_LATER:
        log_limited(LOG_LEVEL_WARN, "script.refused", LOG_INT("partition", c->partition),
                    LOG_STR("error", reply->str));
        part_unanswered(part, c->number, true, matcher_now());
        break;
    case REDIS_FAILED:
        part_failed(part, c->number, (struct slice){reply->str, reply->len});
        break;
    }
    matcher_touch(c->matcher, c->partition);
    free(c);
}

void matcher_call_script(struct matcher *m, int partition, const struct part_action *action)
{
    const struct redis_call call = {
        .script = action->type == PART_READ ? SCRIPT_NUMBER_POSITION : SCRIPT_NUMBER_APPLY,
        .words = action->words->list,
        .n_words = action->words->n,
        .n_keys = action->n_keys,
    };
    struct call *c = xcalloc(1, sizeof(*c));
    struct err err;

    if (action->type == PART_APPLY) {
        failpoint_kill("apply.before");
    }
    c->matcher = m;
    c->partition = partition;
    c->number = action->call;
    c->is_read = action->type == PART_READ;
    c->sent_us = clock_mono_us();
    if (redis_eval(m->redis, &call, on_answer, c, &err)) { /* which never answers at once */
        PROBE(script_sent, partition, action->call, action->n_commands);
    } else {
        part_unanswered(m->parts[partition], action->call, true, matcher_now());
        free(c);
    }
}

static void on_redis_up(void *arg)
{
    struct matcher *m = arg;

    heal_append_only_file(m);
    for (int i = 0; i < m->n; i++) {
        part_wake(m->parts[i]);
    }
    matcher_touch_all(m);
}

/* A server that evicts from the start is a wrong setting; one that begins to may have forgotten. */
static void on_redis_unfit(enum redis_unfit what, const char *why, void *arg)
{
    struct matcher *m = arg;

    if (m->is_draining) {
        return;
    }
    if (what != REDIS_EVICTS || !m->is_ready || matcher_count(m).ours == 0) {
        m->calls.failed(why, m->calls.arg);
        return;
    }
    for (int i = 0; i < m->n; i++) {
        part_evicting(m->parts[i], why);
    }
    matcher_touch_all(m);
}

bool matcher_open_redis(struct matcher *m, struct err *err)
{
    static const struct redis_script scripts[] = {
        [SCRIPT_NUMBER_APPLY] = {apply_lua, sizeof(apply_lua), apply_lua_sha1},
        [SCRIPT_NUMBER_POSITION] = {position_lua, sizeof(position_lua), position_lua_sha1},
    };
    const struct settings *s = m->settings;
    const struct redis_settings redis = {
        .host = s->redis.host,
        .port = (int)s->redis.port,
        .password = s->redis.password,
        .timeout_ms = s->redis_timeout_ms,
        .scripts = scripts,
        .n_scripts = sizeof(scripts) / sizeof(scripts[0]),
        .up = on_redis_up,
        .unfit = on_redis_unfit,
        .arg = m,
    };

    m->redis = redis_create(m->base, &redis, err);
    return m->redis != NULL;
}
