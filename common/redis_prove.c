/*
 * AUTH, ROLE, INFO and SCRIPT LOAD are sent at once.  Each answer is judged in turn; the last good one
 * makes the connection UP.  Two of them are asked again every second: maxmemory-policy is a setting that
 * may be switched at any time, and of a master that became a replica who only reads hears nothing.
 */
#include <string.h>

#include "common/log.h"
#include "common/redis_impl.h"

/* ---- judging ---- */

static const struct redis_verdict fit = {.fitness = REDIS_FIT};

static struct redis_verdict not_now(const redisReply *reply, const char *why)
{
    return (struct redis_verdict){
        .fitness = REDIS_NOT_NOW,
        .why = reply->type == REDIS_REPLY_ERROR ? reply->str : why,
    };
}

static struct redis_verdict never(enum redis_unfit what, const char *why)
{
    return (struct redis_verdict){.fitness = REDIS_NEVER, .what = what, .why = why};
}

/* Whether AUTH itself was refused.  Whoever it is that answers may also be full, or loading. */
static bool is_refusal(const redisReply *reply)
{
    return redis_is_error(reply, "WRONGPASS") || redis_is_error(reply, "NOAUTH") ||
           redis_is_error(reply, "ERR invalid password") ||
           strstr(reply->str, "without any password configured") != NULL ||
           strstr(reply->str, "no password is set") != NULL;
}

struct redis_verdict redis_judge_auth(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ERROR) {
        return fit;
    }
    return is_refusal(reply) ? never(REDIS_REFUSES, reply->str) : not_now(reply, reply->str);
}

struct redis_verdict redis_judge_role(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 1 ||
        reply->element[0]->type != REDIS_REPLY_STRING) {
        return not_now(reply, "ROLE was not understood");
    }
    return slice_eq(redis_text(reply->element[0]), SLICE_LIT("master"))
               ? fit
               : not_now(reply, "not a master");
}

struct redis_verdict redis_judge_memory(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_STRING) {
        return not_now(reply, "INFO was not understood");
    }
    return strstr(reply->str, "\nmaxmemory_policy:noeviction\r") != NULL
               ? fit
               : never(REDIS_EVICTS,
                       "maxmemory-policy is not noeviction: it would forget stock and orders");
}

struct redis_verdict redis_judge_info(const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_STRING && strstr(reply->str, "\nloading:0\r") == NULL) {
        return not_now(reply, "still loading");
    }
    return redis_judge_memory(reply);
}

struct redis_verdict redis_judge_script(const redisReply *reply, const struct redis_script *scripts,
                                        size_t n)
{
    if (reply->type != REDIS_REPLY_STRING) {
        return not_now(reply, "SCRIPT LOAD was not understood");
    }
    for (size_t i = 0; i < n; i++) {
        if (slice_eq(redis_text(reply), slice_str(scripts[i].sha1))) {
            return fit;
        }
    }
    return never(REDIS_ALTERS, "SCRIPT LOAD answered another digest than ours");
}

/* ---- proving ---- */

/* False when the connection is lost, or already given up. */
static bool is_wanted(const struct redis *r, enum redis_result result)
{
    return result != REDIS_UNKNOWN && r->context != NULL && !r->is_doomed && !r->is_ending;
}

static void give_up(struct redis *r, const struct redis_verdict *verdict)
{
    if (verdict->fitness == REDIS_NEVER) {
        log_limited(LOG_LEVEL_ERROR, "redis.unfit", LOG_STR("host", r->settings.host),
                    LOG_INT("port", r->settings.port), LOG_STR("error", verdict->why));
        if (r->settings.unfit != NULL) {
            r->settings.unfit(verdict->what, verdict->why, r->settings.arg);
        }
    }
    redis_doom(r, verdict->why);
}

static void conclude(struct redis *r, struct redis_verdict verdict)
{
    if (verdict.fitness != REDIS_FIT) {
        give_up(r, &verdict);
        return;
    }
    if (r->proofs_left == 0 || --r->proofs_left > 0 || r->state != REDIS_STATE_PROVING) {
        return;
    }
    r->state = REDIS_STATE_UP;
    r->why[0] = '\0';
    backoff_reset(&r->backoff);
    log_info("redis.up", LOG_STR("host", r->settings.host), LOG_INT("port", r->settings.port));
    r->settings.up(r->settings.arg);
}

static void on_auth(enum redis_result result, const redisReply *reply, void *arg)
{
    if (is_wanted(arg, result)) {
        conclude(arg, redis_judge_auth(reply));
    }
}

static void on_role(enum redis_result result, const redisReply *reply, void *arg)
{
    if (is_wanted(arg, result)) {
        conclude(arg, redis_judge_role(reply));
    }
}

static void on_info(enum redis_result result, const redisReply *reply, void *arg)
{
    if (is_wanted(arg, result)) {
        conclude(arg, redis_judge_info(reply));
    }
}

static void on_script(enum redis_result result, const redisReply *reply, void *arg)
{
    const struct redis *r = arg;

    if (is_wanted(r, result)) {
        conclude(arg, redis_judge_script(reply, r->settings.scripts, r->settings.n_scripts));
    }
}

/* It was fit before, and an answer that is none (BUSY) does not change that. */
static void judge_again(struct redis *r, struct redis_verdict verdict)
{
    if (verdict.fitness != REDIS_FIT) {
        give_up(r, &verdict);
    }
}

static void on_memory(enum redis_result result, const redisReply *reply, void *arg)
{
    if (is_wanted(arg, result) && reply->type == REDIS_REPLY_STRING) {
        judge_again(arg, redis_judge_memory(reply));
    }
}

static void on_role_again(enum redis_result result, const redisReply *reply, void *arg)
{
    if (is_wanted(arg, result) && reply->type == REDIS_REPLY_ARRAY) {
        judge_again(arg, redis_judge_role(reply));
    }
}

void redis_watch(evutil_socket_t fd ATTR_UNUSED, short what ATTR_UNUSED, void *arg)
{
    static const struct slice memory[] = {{"INFO", 4}, {"memory", 6}};
    static const struct slice role[] = {{"ROLE", 4}};
    struct redis *r = arg;

    if (redis_is_up(r)) { /* going down: asked again when up */
        (void)redis_send_own(r, memory, 2, on_memory);
        (void)redis_send_own(r, role, 1, on_role_again);
    }
}

bool redis_load_scripts(struct redis *r)
{
    for (size_t i = 0; i < r->settings.n_scripts; i++) {
        const struct redis_script *script = &r->settings.scripts[i];
        const struct slice words[] = {
            SLICE_LIT("SCRIPT"), SLICE_LIT("LOAD"), {(const char *)script->text, script->len}};

        if (!redis_send_own(r, words, 3, on_script)) {
            return false;
        }
    }
    return true;
}

bool redis_send_proofs(struct redis *r)
{
    const struct slice auth[] = {SLICE_LIT("AUTH"), slice_str(r->settings.password)};
    const struct slice role[] = {SLICE_LIT("ROLE")};
    const struct slice info[] = {SLICE_LIT("INFO")};
    const bool has_password = r->settings.password != NULL && r->settings.password[0] != '\0';

    r->proofs_left = 2 + r->settings.n_scripts + (has_password ? 1 : 0);
    return (!has_password || redis_send_own(r, auth, 2, on_auth)) &&
           redis_send_own(r, role, 1, on_role) && redis_send_own(r, info, 1, on_info) &&
           redis_load_scripts(r);
}
