/*
 * A batch is collecting, under way, or in the free list.  Per partition at most one collects and at
 * most UNDER_WAY_MAX are under way.  The collecting one is sent at the end of the loop's turn when
 * nothing is under way, else with the next reply or when it is full: a script costs Redis more than
 * a question, so the more there is to ask the fewer scripts ask it.  When it is full and cannot be sent,
 * it refuses.  Redis answers a connection's commands in order, but nothing here depends on it.
 */
#include "producer/lookup.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/command.h"
#include "common/log.h"
#include "common/redis.h"
#include "common/xmalloc.h"
#include "lookup_lua.h"
#include "producer/counters.h"
#include "producer/lookup_reply.h"

enum {
    BATCH_MAX = 256,
    UNDER_WAY_MAX = 16, /* with BATCH_MAX: 4,096 questions per partition */
    KEYS = 4,
    NUMBERS = 2,
    KEY_SIZE = 128,
};

/* What a question may ask for, in the script's order. */
enum part {
    PART_USER,
    PART_ITEM,
    PART_PAYMENT,
    PARTS,
};

struct question {
    uint64_t party;
    int64_t horizon;
    struct command_text parts[PARTS]; /* empty: not asked */
};

struct batch {
    struct lookup *lookup;
    struct batch *next; /* free list */
    int partition;
    size_t count;
    struct question questions[BATCH_MAX];
};

struct partition {
    struct batch *collecting; /* NULL: nothing asked */
    size_t under_way;
    char keys[KEYS][KEY_SIZE];
};

struct lookup {
    struct lookup_settings settings;
    struct redis *redis;
    struct event *flush;
    struct batch *free_batches;
    bool is_closing;
    struct partition *partitions;
};

static const struct redis_script scripts[] = {
    {lookup_lua, sizeof(lookup_lua), lookup_lua_sha1},
};

static struct batch *take_batch(struct lookup *l, int partition)
{
    struct batch *b = l->free_batches;

    if (b == NULL) {
        b = xmalloc(sizeof(*b)); /* at most UNDER_WAY_MAX + 1 per partition, kept for ever */
    } else {
        l->free_batches = b->next;
    }
    b->lookup = l;
    b->partition = partition;
    b->count = 0;
    return b;
}

static void free_batch(struct lookup *l, struct batch *b)
{
    b->next = l->free_batches;
    l->free_batches = b;
}

static void answer_all(struct batch *b, enum door_look_result result)
{
    struct lookup *l = b->lookup;

    for (size_t i = 0; i < b->count; i++) {
        const struct question *q = &b->questions[i];
        const struct door_look look = {
            .result = result,
            .partition = b->partition,
            .watermark = -1,
            .horizon = q->horizon,
        };

        l->settings.done(q->party, &look, command_text(&q->parts[PART_ITEM]), l->settings.arg);
    }
}

/* How many of its questions ask for that part. */
static size_t count_of(const struct batch *b, enum part part)
{
    size_t n = 0;

    for (size_t i = 0; i < b->count; i++) {
        n += b->questions[i].parts[part].len > 0;
    }
    return n;
}

static size_t count_words(const struct batch *b)
{
    return count_of(b, PART_USER) + count_of(b, PART_ITEM) + count_of(b, PART_PAYMENT);
}

static struct slice next_value(const struct lookup_reply *reply, const struct question *q,
                               enum part part, size_t at[PARTS])
{
    return q->parts[part].len > 0 ? lookup_reply_value(reply, at[part]++) : (struct slice){NULL, 0};
}

/* Hands each question its part of the reply. */
static void answer_each(struct batch *b, const struct lookup_reply *reply)
{
    struct lookup *l = b->lookup;
    const size_t users = count_of(b, PART_USER);
    size_t at[PARTS] = {0, users, users + count_of(b, PART_ITEM)};
    struct door_look look = {
        .result = DOOR_LOOK_GOT,
        .partition = b->partition,
        .watermark = reply->watermark,
        .log_time = reply->log_time,
        .genesis = reply->genesis,
    };

    for (size_t i = 0; i < b->count; i++) {
        const struct question *q = &b->questions[i];

        look.horizon = q->horizon;
        look.orders = next_value(reply, q, PART_USER, at);
        look.item = next_value(reply, q, PART_ITEM, at);
        look.payment = next_value(reply, q, PART_PAYMENT, at);
        l->settings.done(q->party, &look, command_text(&q->parts[PART_ITEM]), l->settings.arg);
    }
}

static void send_batch(struct lookup *l, struct partition *p);

static void on_reply(enum redis_result result, const redisReply *reply, void *arg)
{
    struct batch *b = arg;
    struct lookup *l = b->lookup;
    struct partition *p = &l->partitions[b->partition];
    struct lookup_reply parsed;

    p->under_way--;
    if (result == REDIS_GOT && lookup_reply_parse(reply, count_words(b), &parsed)) {
        if (parsed.has_state) {
            answer_each(b, &parsed);
        } else {
            answer_all(b, DOOR_LOOK_ABSENT);
        }
    } else {
        if (result == REDIS_FAILED || result == REDIS_GOT) {
            log_limited(
                LOG_LEVEL_ERROR, "lookup.failed", LOG_INT("partition", b->partition),
                LOG_STR("error", reply->type == REDIS_REPLY_ERROR ? reply->str : "not its reply"));
        }
        stats_add(l->settings.stats, STAT_LOOKUPS_LOST, (int64_t)b->count);
        answer_all(b, DOOR_LOOK_UNANSWERED);
    }
    free_batch(l, b);
    if (p->collecting != NULL && !l->is_closing) {
        send_batch(l, p);
    }
}

static void send_batch(struct lookup *l, struct partition *p)
{
    struct batch *b = p->collecting;
    struct slice words[KEYS + NUMBERS + PARTS * BATCH_MAX];
    struct redis_call call = {.script = 0, .words = words, .n_keys = KEYS};
    char numbers[NUMBERS][24];
    size_t n = 0;
    struct err err;

    for (size_t i = 0; i < KEYS; i++) {
        words[n++] = slice_str(p->keys[i]);
    }
    for (size_t i = 0; i < NUMBERS; i++) {
        (void)snprintf(numbers[i], sizeof(numbers[i]), "%zu", count_of(b, (enum part)i)); /* fits */
        words[n++] = slice_str(numbers[i]);
    }
    for (int part = 0; part < PARTS; part++) {
        for (size_t i = 0; i < b->count; i++) {
            if (b->questions[i].parts[part].len > 0) {
                words[n++] = command_text(&b->questions[i].parts[part]);
            }
        }
    }
    call.n_words = n;
    p->collecting = NULL;
    stats_add(l->settings.stats, STAT_LOOKUP_SCRIPTS, 1);
    if (redis_eval(l->redis, &call, on_reply, b, &err)) {
        p->under_way++;
        return;
    }
    stats_add(l->settings.stats, STAT_LOOKUPS_LOST, (int64_t)b->count);
    answer_all(b, DOOR_LOOK_UNANSWERED);
    free_batch(l, b);
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
    struct lookup *l = arg;

    (void)fd;
    (void)what;
    for (int i = 0; i < l->settings.partitions; i++) {
        struct partition *p = &l->partitions[i];

        if (p->collecting != NULL && p->under_way == 0) {
            send_batch(l, p);
        }
    }
}

enum door_look_result lookup_ask(struct lookup *l, const struct lookup_question *question)
{
    struct partition *p = &l->partitions[question->partition];
    struct question *q;

    stats_add(l->settings.stats, STAT_LOOKUPS, 1);
    if (l->is_closing || !redis_is_up(l->redis)) {
        stats_add(l->settings.stats, STAT_LOOKUPS_DOWN, 1);
        return DOOR_LOOK_UNANSWERED;
    }
    if (p->collecting != NULL && p->collecting->count == BATCH_MAX) {
        if (p->under_way >= UNDER_WAY_MAX) {
            stats_add(l->settings.stats, STAT_LOOKUPS_FULL, 1);
            return DOOR_LOOK_FULL;
        }
        send_batch(l, p);
    }
    if (p->collecting == NULL) {
        p->collecting = take_batch(l, question->partition);
        event_active(l->flush, EV_TIMEOUT, 0);
    }
    q = &p->collecting->questions[p->collecting->count];
    q->party = question->party;
    q->horizon = question->horizon;
    if (!command_set_text(&q->parts[PART_USER], question->user_id) ||
        !command_set_text(&q->parts[PART_ITEM], question->item_id) ||
        !command_set_text(&q->parts[PART_PAYMENT], question->payment_id)) {
        assert(false); /* ids were checked at the door */
    }
    p->collecting->count++;
    return DOOR_LOOK_GOT;
}

bool lookup_is_up(const struct lookup *l)
{
    return redis_is_up(l->redis);
}

static void on_up(void *arg)
{
    struct lookup *l = arg;

    if (l->settings.up != NULL) {
        l->settings.up(l->settings.arg);
    }
}

struct lookup *lookup_create(struct event_base *base, const struct lookup_settings *settings,
                             struct err *err)
{
    static const char *const names[KEYS] = {"log", "orders", "items", "payments"};
    struct lookup *l = xcalloc(1, sizeof(*l));
    const struct redis_settings redis = {
        .host = settings->host,
        .port = settings->port,
        .password = settings->password,
        .timeout_ms = settings->timeout_ms,
        .scripts = scripts,
        .n_scripts = sizeof(scripts) / sizeof(scripts[0]),
        .up = on_up,
        .arg = l,
    };

    l->settings = *settings;
    l->partitions = xcalloc((size_t)settings->partitions, sizeof(*l->partitions));
    for (int p = 0; p < settings->partitions; p++) {
        for (size_t k = 0; k < KEYS; k++) {
            const int n = snprintf(l->partitions[p].keys[k], KEY_SIZE, "%s:{%d}:%s",
                                   settings->key_prefix, p, names[k]);

            if (n < 0 || n >= KEY_SIZE) {
                (void)err_set(err, ERR_FATAL, "the key prefix is too long");
                goto failed;
            }
        }
    }
    l->flush = event_new(base, -1, 0, on_flush, l);
    if (l->flush == NULL) {
        (void)err_set(err, ERR_FATAL, "no event for look-ups");
        goto failed;
    }
    l->redis = redis_create(base, &redis, err);
    if (l->redis == NULL) {
        goto failed;
    }
    return l;
failed:
    lookup_destroy(l);
    return NULL;
}

void lookup_destroy(struct lookup *l)
{
    if (l == NULL) {
        return;
    }
    l->is_closing = true;
    if (l->redis != NULL) {
        redis_destroy(l->redis);
    }
    for (int i = 0; i < l->settings.partitions; i++) {
        struct batch *b = l->partitions[i].collecting;

        if (b != NULL) {
            answer_all(b, DOOR_LOOK_UNANSWERED);
            free_batch(l, b);
        }
    }
    while (l->free_batches != NULL) {
        struct batch *b = l->free_batches;

        l->free_batches = b->next;
        free(b);
    }
    if (l->flush != NULL) {
        event_free(l->flush);
    }
    free(l->partitions);
    free(l);
}
