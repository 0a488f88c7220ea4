/*
 * script.h - lua/apply.lua as docs/protocol.md section 6 describes it: arguments in, reply out.
 *
 * A call is built by hand here, apart from the matcher's own code, so that a misreading of the
 * contract shows itself.  Every argument can be spoilt before the call is made.
 *
 * What Redis itself refuses ends the program with a message: this is a test.
 */
#ifndef TESTS_DIFFERENTIAL_SCRIPT_H
#define TESTS_DIFFERENTIAL_SCRIPT_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/buf.h"
#include "common/command.h"

/* ARGV 1 to 11. */
enum call_head {
    CALL_RULES,
    CALL_GENESIS,
    CALL_PREV,
    CALL_CHAIN,
    CALL_TO,
    CALL_TO_CHAIN,
    CALL_TO_HASH,
    CALL_ACKED,
    CALL_OUTBOX_MAX,
    CALL_REMEMBERED_MAX,
    CALL_COMMANDS,
    CALL_HEAD_COUNT,
};

enum {
    SCRIPT_KEYS = 8,
    SCRIPT_DUE = 6,     /* its place among the keys */
    SCRIPT_REBUILD = 7, /* likewise */
    CALL_BYTES_MAX = 4 << 20,
};

struct call {
    char head[CALL_HEAD_COUNT][40];
    struct buf bytes; /* of the commands' arguments */
    size_t *ends;     /* of each argument in bytes; owned */
    size_t n_args, capacity;
    size_t n_commands;
};

struct script {
    redisContext *redis;
    char keys[SCRIPT_KEYS][128]; /* log items orders payments ops outbox due rebuild */
};

void die(const char *fmt, ...) ATTR_PRINTF(1, 2) ATTR_NORETURN;

void call_init(struct call *call);
void call_fini(struct call *call);

/* Forgets the commands; the head stays. */
void call_clear(struct call *call);

void call_set(struct call *call, enum call_head i, const char *text);
void call_set_i64(struct call *call, enum call_head i, int64_t n);
void call_set_hash(struct call *call, enum call_head i, uint64_t hash);

/* Appends a command and counts it. */
void call_add(struct call *call, int64_t offset, int64_t timestamp, const struct command *cmd);

/* Appends one bare argument. */
void call_arg(struct call *call, struct slice arg);

/* Loads the script into Redis: the embedded one, or that of a file. */
void script_load(redisContext *redis, const char *path);

/* Names the keys of a partition. */
void script_init(struct script *s, redisContext *redis, const char *prefix, int partition);

/* Runs the script and puts its reply into reply. */
void script_call(const struct script *s, const struct call *call, struct buf *reply);

/* A command with printf's %s and %b, its reply freed by the caller; errors end the program. */
redisReply *redis_ask(redisContext *redis, const char *fmt, ...) ATTR_MUSTCHECK;

/* Removes every key of the partition. */
void script_wipe(const struct script *s);

#endif /* TESTS_DIFFERENTIAL_SCRIPT_H */
