/*
 * AUTH, ROLE, INFO and SCRIPT LOAD are sent at once.  Each answer is judged in turn; the last good one
 * makes the connection UP.  One of them is asked again every second: maxmemory-policy is a setting
 * that may be switched at any time.
 */
#include <string.h>

#include "common/log.h"
#include "common/redis_impl.h"

static void tell_unfit(struct redis *r, enum redis_unfit what, const char *why)
{
    log_limited(LOG_LEVEL_ERROR, "redis.unfit", LOG_STR("host", r->settings.host),
                LOG_INT("port", r->settings.port), LOG_STR("error", why));
    if (r->settings.unfit != NULL) {
        r->settings.unfit(what, why, r->settings.arg);
    }
}

/* Takes one proof off; returns false when the connection is lost or already given up. */
static bool proof_counts(struct redis *r, enum redis_result result)
{
    return result != REDIS_UNKNOWN && r->context != NULL && !r->is_doomed && !r->is_ending;
}

static void proof_made(struct redis *r)
{
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
    struct redis *r = arg;

    if (!proof_counts(r, result)) {
        return;
    }
    if (reply->type == REDIS_REPLY_ERROR && !redis_is_error(reply, "LOADING")) {
        tell_unfit(r, REDIS_REFUSES, reply->str);
        redis_doom(r, reply->str);
        return;
    }
    proof_made(r);
}

static void on_role(enum redis_result result, const redisReply *reply, void *arg)
{
    struct redis *r = arg;

    if (!proof_counts(r, result)) {
        return;
    }
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 1 ||
        reply->element[0]->type != REDIS_REPLY_STRING) {
        redis_doom(r, reply->type == REDIS_REPLY_ERROR ? reply->str : "ROLE was not understood");
        return;
    }
    if (!slice_eq(redis_text(reply->element[0]), SLICE_LIT("master"))) {
        redis_doom(r, "not a master");
        return;
    }
    proof_made(r);
}

/* True when INFO's answer says that nothing is ever evicted. */
static bool forgets_nothing(struct redis *r, const redisReply *reply)
{
    if (strstr(reply->str, "\nmaxmemory_policy:noeviction\r") != NULL) {
        return true;
    }
    tell_unfit(r, REDIS_EVICTS,
               "maxmemory-policy is not noeviction: it would forget stock and orders");
    redis_doom(r, "maxmemory-policy is not noeviction");
    return false;
}

static void on_watched(enum redis_result result, const redisReply *reply, void *arg)
{
    struct redis *r = arg;

    if (proof_counts(r, result) && reply->type == REDIS_REPLY_STRING) {
        (void)forgets_nothing(r, reply); /* it is doomed then */
    }
}

static void on_info(enum redis_result result, const redisReply *reply, void *arg)
{
    struct redis *r = arg;

    if (!proof_counts(r, result)) {
        return;
    }
    if (reply->type != REDIS_REPLY_STRING) {
        redis_doom(r, reply->type == REDIS_REPLY_ERROR ? reply->str : "INFO was not understood");
        return;
    }
    if (strstr(reply->str, "\nloading:0\r") == NULL) {
        redis_doom(r, "still loading");
        return;
    }
    if (forgets_nothing(r, reply)) {
        proof_made(r);
    }
}

static bool is_our_script(const struct redis *r, const redisReply *reply)
{
    for (size_t i = 0; i < r->settings.n_scripts; i++) {
        if (slice_eq(redis_text(reply), slice_str(r->settings.scripts[i].sha1))) {
            return true;
        }
    }
    return false;
}

static void on_script(enum redis_result result, const redisReply *reply, void *arg)
{
    struct redis *r = arg;

    if (!proof_counts(r, result)) {
        return;
    }
    if (reply->type != REDIS_REPLY_STRING) {
        redis_doom(r, reply->type == REDIS_REPLY_ERROR ? reply->str
                                                       : "SCRIPT LOAD was not understood");
        return;
    }
    if (!is_our_script(r, reply)) {
        tell_unfit(r, REDIS_ALTERS, "SCRIPT LOAD answered another digest than ours");
        redis_doom(r, "wrong digest of a script");
        return;
    }
    proof_made(r);
}

void redis_watch(evutil_socket_t fd ATTR_UNUSED, short what ATTR_UNUSED, void *arg)
{
    static const struct slice words[] = {{"INFO", 4}, {"memory", 6}};
    struct redis *r = arg;

    if (redis_is_up(r)) {
        (void)redis_send_own(r, words, 2,
                             on_watched); /* if it is going down, it is asked again when up */
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
