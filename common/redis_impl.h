/*
 * redis_impl.h - the inside of a connection, shared by redis.c (connecting, commands) and redis_prove.c
 * (whether the server is fit) only.
 */
#ifndef COMMON_REDIS_IMPL_H
#define COMMON_REDIS_IMPL_H

#include <event2/util.h>
#include <hiredis/async.h>
#include <sys/queue.h>

#include "common/backoff.h"
#include "common/redis.h"

enum redis_state {
    REDIS_STATE_WAITING,
    REDIS_STATE_RESOLVING,
    REDIS_STATE_PROVING,
    REDIS_STATE_UP,
};

struct command_sent;

struct redis {
    struct event_base *base; /* borrowed */
    struct redis_settings settings;
    redisAsyncContext *context; /* NULL while WAITING and RESOLVING */
    enum redis_state state;
    bool is_doomed; /* the context is to be freed by the next turn of the loop */
    bool is_ending;
    size_t proofs_left; /* answers that PROVING still needs */
    struct event *timer;
    struct event *watch; /* every WATCH_S */
    struct backoff backoff;
    int64_t answered_ms; /* when the last answer came, or the attempt began */
    char why[128];       /* why it went or will go down */

    struct evdns_base *dns; /* made when a name needs it */
    struct evdns_getaddrinfo_request *lookup;

    TAILQ_HEAD(, command_sent) commands;
    size_t pending; /* whose answer somebody waits for */
};

static inline struct slice redis_text(const redisReply *reply)
{
    return (struct slice){reply->str, reply->str == NULL ? 0 : reply->len};
}

static inline bool redis_is_error(const redisReply *reply, const char *prefix)
{
    return reply->type == REDIS_REPLY_ERROR && slice_starts(redis_text(reply), slice_str(prefix));
}

/* redis.c */

/* Frees the context in a turn of its own; from anywhere. */
void redis_doom(struct redis *r, const char *why);

/* Sends a command of ours, also while proving; its answer does not count among the owner's. */
bool redis_send_own(struct redis *r, const struct slice *words, size_t n, redis_done_fn *done);

/* redis_prove.c */

/* Asks all that makes the connection UP when it is answered well. */
bool redis_send_proofs(struct redis *r);
bool redis_load_scripts(struct redis *r);

/* Asks again what may change at any time: an event. */
void redis_watch(evutil_socket_t fd, short what, void *arg);

enum redis_fitness {
    REDIS_FIT,
    REDIS_NOT_NOW,
    REDIS_NEVER,
};

/* What an answer says of the server. */
struct redis_verdict {
    enum redis_fitness fitness;
    enum redis_unfit what; /* of one that never is */
    const char *why;       /* unless it is fit; lives as long as the reply */
};

/* Pure; of the answers to AUTH, ROLE, INFO, INFO memory and SCRIPT LOAD of one of n scripts. */
struct redis_verdict redis_judge_auth(const redisReply *reply);
struct redis_verdict redis_judge_role(const redisReply *reply);
struct redis_verdict redis_judge_info(const redisReply *reply);
struct redis_verdict redis_judge_memory(const redisReply *reply);
struct redis_verdict redis_judge_script(const redisReply *reply, const struct redis_script *scripts,
                                        size_t n);

#endif /* COMMON_REDIS_IMPL_H */
