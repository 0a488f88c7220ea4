#include "tests/differential/script.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "apply_lua.h"
#include "common/ids.h"
#include "common/xmalloc.h"

void die(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    exit(EXIT_FAILURE);
}

void call_init(struct call *call)
{
    *call = (struct call){.n_args = 0};
    buf_init(&call->bytes, CALL_BYTES_MAX);
}

void call_fini(struct call *call)
{
    buf_fini(&call->bytes);
    free(call->ends);
    call->ends = NULL;
}

void call_clear(struct call *call)
{
    buf_clear(&call->bytes);
    call->n_args = 0;
    call->n_commands = 0;
    call_set_i64(call, CALL_COMMANDS, 0);
}

void call_set(struct call *call, enum call_head i, const char *text)
{
    (void)snprintf(call->head[i], sizeof(call->head[i]), "%s", text);
}

void call_set_i64(struct call *call, enum call_head i, int64_t n)
{
    (void)snprintf(call->head[i], sizeof(call->head[i]), "%" PRId64, n);
}

void call_set_hash(struct call *call, enum call_head i, uint64_t hash)
{
    char text[IDS_HASH_LEN + 1];

    ids_hash_format(text, hash);
    call_set(call, i, text);
}

void call_arg(struct call *call, struct slice arg)
{
    if (call->n_args == call->capacity) {
        call->capacity = call->capacity == 0 ? 64 : call->capacity * 2;
        call->ends = xreallocarray(call->ends, call->capacity, sizeof(*call->ends));
    }
    buf_put_slice(&call->bytes, arg);
    call->ends[call->n_args++] = call->bytes.len;
}

static void add_i64(struct call *call, int64_t n)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%" PRId64, n);
    call_arg(call, slice_str(text));
}

static void add_optional(struct call *call, int64_t n)
{
    if (n < 0) {
        call_arg(call, SLICE_LIT(""));
    } else {
        add_i64(call, n);
    }
}

static void add_sale(struct call *call, const struct command *cmd)
{
    call_arg(call, command_text(&cmd->other_id));
    call_arg(call, command_text(&cmd->item_id));
    call_arg(call, slice_str(command_action_name(cmd->action)));
    add_optional(call, cmd->total);
    add_optional(call, cmd->limit);
    add_optional(call, cmd->hold_ms);
    add_optional(call, cmd->opens_at);
    add_optional(call, cmd->closes_at);
    add_optional(call, cmd->price);
}

static void add_order(struct call *call, const struct command *cmd)
{
    call_arg(call, slice_str(cmd->order_id));
    call_arg(call, command_text(&cmd->item_id));
    call_arg(call, command_text(&cmd->user_id));
    add_i64(call, cmd->qty);
    add_i64(call, cmd->not_after);
    call_arg(call, cmd->keyed ? SLICE_LIT("1") : SLICE_LIT("0"));
}

void call_add(struct call *call, int64_t offset, int64_t timestamp, const struct command *cmd)
{
    static const char letters[] = {
        [COMMAND_GENESIS] = 'G', [COMMAND_SET_RULES] = 'V', [COMMAND_SALE] = 'S',
        [COMMAND_RESTOCK] = 'R', [COMMAND_ORDER] = 'O',     [COMMAND_PAY] = 'P',
        [COMMAND_CANCEL] = 'C',  [COMMAND_TICK] = 'T',      [COMMAND_MARK] = 'M',
        [COMMAND_ARCHIVE] = 'A', [COMMAND_MALFORMED] = 'X',
    };

    call_arg(call, (struct slice){&letters[cmd->type], 1});
    add_i64(call, offset);
    add_i64(call, timestamp);
    switch (cmd->type) {
    case COMMAND_GENESIS:
        call_arg(call, command_text(&cmd->other_id));
        add_i64(call, cmd->partitions);
        add_i64(call, cmd->rules);
        break;
    case COMMAND_SET_RULES:
        add_i64(call, cmd->rules);
        break;
    case COMMAND_SALE:
        add_sale(call, cmd);
        break;
    case COMMAND_RESTOCK:
        call_arg(call, command_text(&cmd->other_id));
        call_arg(call, command_text(&cmd->item_id));
        add_i64(call, cmd->qty);
        break;
    case COMMAND_ORDER:
        add_order(call, cmd);
        break;
    case COMMAND_PAY:
        call_arg(call, slice_str(cmd->order_id));
        call_arg(call, command_text(&cmd->user_id));
        call_arg(call, command_text(&cmd->other_id));
        break;
    case COMMAND_CANCEL:
        call_arg(call, slice_str(cmd->order_id));
        call_arg(call, command_text(&cmd->user_id));
        break;
    case COMMAND_ARCHIVE:
        call_arg(call, command_text(&cmd->other_id));
        call_arg(call, command_text(&cmd->item_id));
        call_arg(call, cmd->users);
        break;
    case COMMAND_TICK:
    case COMMAND_MARK:
    case COMMAND_MALFORMED:
        break;
    }
    call->n_commands++;
    call_set_i64(call, CALL_COMMANDS, (int64_t)call->n_commands);
}

redisReply *redis_ask(redisContext *redis, const char *fmt, ...)
{
    redisReply *reply;
    va_list ap;

    va_start(ap, fmt);
    reply = redisvCommand(redis, fmt, ap);
    va_end(ap);
    if (reply == NULL) {
        die("redis: %s", redis->errstr);
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        die("redis: %s: %s", fmt, reply->str);
    }
    return reply;
}

static char loaded[41]; /* the script's name in Redis */

static char *read_file(const char *path, size_t *len)
{
    enum { FILE_MAX = 1 << 20 };
    char *text = xmalloc(FILE_MAX);
    FILE *file = fopen(path, "re");

    if (file == NULL) {
        die("cannot open %s", path);
    }
    *len = fread(text, 1, FILE_MAX, file);
    (void)fclose(file);
    return text;
}

void script_load(redisContext *redis, const char *path)
{
    size_t len = sizeof(apply_lua);
    char *text = path == NULL ? NULL : read_file(path, &len);
    redisReply *reply =
        redis_ask(redis, "SCRIPT LOAD %b", path == NULL ? (const char *)apply_lua : text, len);

    if (path == NULL && strcmp(reply->str, apply_lua_sha1) != 0) {
        die("the script is %s in Redis, %s in the program", reply->str, apply_lua_sha1);
    }
    (void)snprintf(loaded, sizeof(loaded), "%s", reply->str);
    freeReplyObject(reply);
    free(text);
}

void script_init(struct script *s, redisContext *redis, const char *prefix, int partition)
{
    static const char *const names[SCRIPT_KEYS] = {"log", "items",  "orders", "payments",
                                                   "ops", "outbox", "due",    "rebuild"};

    s->redis = redis;
    for (size_t i = 0; i < SCRIPT_KEYS; i++) {
        (void)snprintf(s->keys[i], sizeof(s->keys[i]), "%s:{%d}:%s", prefix, partition, names[i]);
    }
}

void script_call(const struct script *s, const struct call *call, struct buf *reply)
{
    const size_t n = 3 + SCRIPT_KEYS + CALL_HEAD_COUNT + call->n_args;
    const char **argv = xcalloc(n, sizeof(*argv));
    size_t *lens = xcalloc(n, sizeof(*lens));
    redisReply *answer;
    size_t k = 3, start = 0;

    argv[0] = "EVALSHA";
    argv[1] = loaded;
    argv[2] = "8";
    for (size_t i = 0; i < SCRIPT_KEYS; i++) {
        argv[k++] = s->keys[i];
    }
    for (size_t i = 0; i < CALL_HEAD_COUNT; i++) {
        argv[k++] = call->head[i];
    }
    for (size_t i = 0; i < k; i++) {
        lens[i] = strlen(argv[i]);
    }
    for (size_t i = 0; i < call->n_args; i++) {
        argv[k] = call->bytes.ptr == NULL ? "" : call->bytes.ptr + start;
        lens[k++] = call->ends[i] - start;
        start = call->ends[i];
    }
    answer = redisCommandArgv(s->redis, (int)n, argv, lens);
    free(argv);
    free(lens);
    if (answer == NULL) {
        die("redis: %s", s->redis->errstr);
    }
    if (answer->type != REDIS_REPLY_STRING && answer->type != REDIS_REPLY_STATUS) {
        die("the script answered type %d: %s", answer->type,
            answer->str == NULL ? "-" : answer->str);
    }
    buf_clear(reply);
    buf_append(reply, answer->str, (size_t)answer->len);
    freeReplyObject(answer);
}

void script_wipe(const struct script *s)
{
    redisReply *holds = redis_ask(s->redis, "HGET %s holds", s->keys[0]);
    struct slice rest = {holds->str, holds->str == NULL ? 0 : (size_t)holds->len};

    while (rest.len > 0) {
        struct slice hold = slice_cut(rest, ',', &rest);

        freeReplyObject(redis_ask(s->redis, "DEL %s:%b", s->keys[SCRIPT_DUE], hold.ptr, hold.len));
    }
    freeReplyObject(holds);
    for (size_t i = 0; i < SCRIPT_KEYS; i++) {
        freeReplyObject(redis_ask(s->redis, "DEL %s", s->keys[i]));
    }
}
