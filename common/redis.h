/*
 * redis.h - one asynchronous connection to Redis that comes back by itself.
 *
 * The connection is `up` once the server has proved fit: authenticated, a master, not loading,
 * maxmemory-policy noeviction, and with our scripts loaded.  Otherwise it is down, commands
 * are refused, and it tries again with capped, jittered backoff for ever.
 *
 * Every command taken is answered exactly once.  "No answer" is an answer: a command whose
 * connection broke, or that got no reply in time (which closes the connection with all that
 * is under way), ends REDIS_UNKNOWN: it may have been executed, or may still be.  So commands must
 * bear being sent twice.
 *
 * A script that the server has forgotten (NOSCRIPT) is loaded and the command sent again unseen:
 * NOSCRIPT proves that nothing was executed.
 *
 * All calls and callbacks are on the thread of base; callbacks never run before the call that
 * caused them returns.  Names are resolved without blocking.  Needs hiredis 0.14.1, knows its traps.
 */
#ifndef COMMON_REDIS_H
#define COMMON_REDIS_H

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/slice.h"

struct redis;

/* A script as tools/embed.sh makes it: {apply_lua, sizeof(apply_lua), apply_lua_sha1}. */
struct redis_script {
    const unsigned char *text;
    size_t len;
    const char *sha1;
};

enum redis_result {
    REDIS_GOT,     /* reply is the answer, not an error */
    REDIS_UNKNOWN, /* no reply: executed, or not, or not yet */
    REDIS_LATER,   /* refused without effect (READONLY, LOADING, BUSY, OOM...): try again */
    REDIS_FAILED,  /* reply is an error that will not go away by itself */
};

/* Why a server will never do. */
enum redis_unfit {
    REDIS_EVICTS,  /* maxmemory-policy is not noeviction: it may forget what it was told */
    REDIS_REFUSES, /* the password is wrong */
    REDIS_ALTERS,  /* it answers another digest of a script than ours */
};

/* reply is borrowed for the call, and NULL when the result is REDIS_UNKNOWN. */
typedef void redis_done_fn(enum redis_result result, const redisReply *reply, void *arg);

struct redis_settings {
    const char *host; /* a name, an address, or /path of a unix socket */
    int port;
    const char *password; /* "" or NULL: none */
    int64_t timeout_ms;   /* longest wait for a reply, and for connecting */

    const struct redis_script *scripts; /* borrowed for the life of the connection */
    size_t n_scripts;

    void (*up)(void *arg);
    void (*down)(const char *why, void *arg); /* after up: it went, or is no master; may be NULL */

    /*
     * The server will never do: an operator must look.  The connection keeps trying, so this may be
     * called again.  Whether it evicts is asked every second while it is up.  NULL: only logged.
     */
    void (*unfit)(enum redis_unfit what, const char *why, void *arg);
    void *arg; /* borrowed */
};

/* Starts connecting.  settings is copied, its strings are borrowed. */
struct redis *redis_create(struct event_base *base, const struct redis_settings *settings,
                           struct err *err) ATTR_MUSTCHECK;

/* Answers REDIS_UNKNOWN to all that is under way, then frees.  Not from within a callback. */
void redis_destroy(struct redis *r);

bool redis_is_up(const struct redis *r);

/* Commands taken and not yet answered. */
size_t redis_pending(const struct redis *r);

/*
 * Sends a command of n words, the first being its name; words are copied, and may hold any bytes.
 * done may be NULL.  False with ERR_RETRY, and done is never called, when the connection is down.
 */
bool redis_send(struct redis *r, const struct slice *words, size_t n, redis_done_fn *done,
                void *arg, struct err *err) ATTR_MUSTCHECK;

/*
 * Runs script number `script` of the settings: EVALSHA with the first n_keys of n words as keys.
 */
struct redis_call {
    size_t script;
    const struct slice *words; /* keys, then arguments */
    size_t n_words, n_keys;
};
bool redis_eval(struct redis *r, const struct redis_call *call, redis_done_fn *done, void *arg,
                struct err *err) ATTR_MUSTCHECK;

/* Breaks the connection and starts anew: all that is under way ends REDIS_UNKNOWN. */
void redis_reconnect(struct redis *r, const char *why);

/* How an error reply is to be taken: REDIS_LATER or REDIS_FAILED.  Pure. */
enum redis_result redis_classify(struct slice error);

#endif /* COMMON_REDIS_H */
