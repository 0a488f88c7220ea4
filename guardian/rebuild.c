/*
 * Everything that may refuse comes before the first write, and so does the long wait: MySQL sorts
 * all orders before it gives the first one, and until then the partition stays as it is.  From the
 * first write on it is closed, and the pieces are numbered, so that one whose answer was lost can be
 * sent again.
 */
#include "guardian/rebuild.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/failpoint.h"
#include "common/hex.h"
#include "common/log.h"
#include "common/xmalloc.h"
#include "guardian/anchor.h"
#include "guardian/commit.h"
#include "guardian/peek.h"
#include "guardian/pick.h"
#include "guardian/refill.h"
#include "guardian/snapshot.h"
#include "rebuild_begin_lua.h"
#include "rebuild_end_lua.h"
#include "rebuild_put_lua.h"

enum {
    KEY_BYTES = 256,
    TOKEN_BYTES = 16,
    KEYS_MAX = 4096, /* of one partition: 7, a due list per hold_ms, and rubbish */
    PATIENCE_MS = 30000,
    PAUSE_MS = 200,
    RANGE_WAIT_MS = 10000,
    LOG_BYTES = 16384,
};

struct work {
    struct rebuild *r;
    struct progress at;
    struct anchor anchor;
    struct db *db;
    struct peek *redis;
    struct refill refill;
    bool has_looked;         /* before anything was read */
    struct peek_look before; /* then */
    char token[2 * TOKEN_BYTES + 1];
    char fence[KEY_BYTES]; /* the key `rebuild` */
    bool is_taken;
};

/* ---- Redis ---- */

static bool is_cancelled(const struct work *w)
{
    return w->r->cancelled != NULL && atomic_load(w->r->cancelled);
}

/* False when there is no time left to try once more. */
static bool may_try_again(const struct work *w, int64_t deadline_ms)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};

    (void)nanosleep(&pause, NULL);
    return clock_mono_ms() < deadline_ms && !is_cancelled(w);
}

/* Insists on an answer, and on that it is `ok`. */
static bool insist(struct work *w, const struct peek_call *call, struct err *err)
{
    const int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    char said[64];

    while (!peek_script(w->redis, call, said, sizeof(said), err)) {
        if (!may_try_again(w, deadline_ms)) {
            return false;
        }
    }
    if (strcmp(said, "ok") != 0) {
        w->is_taken = strcmp(said, "lost") == 0;
        return err_set(err, ERR_RETRY, "%s",
                       w->is_taken ? "another rebuild has taken over"
                                   : "the pieces are out of order");
    }
    return true;
}

struct keys {
    struct slice at[KEYS_MAX + 3]; /* owned; the first is `rebuild`, the second `log` */
    size_t n;
};

/* One that is there already may come again, but for `rebuild`, which must not be wiped. */
static void take_key(struct slice key, void *arg)
{
    struct keys *keys = arg;

    if (keys->n < KEYS_MAX && (keys->n == 0 || !slice_eq(key, keys->at[0]))) {
        keys->at[keys->n++] = (struct slice){xmemdup0(key.ptr, key.len), key.len};
    }
}

/* Those with fixed names in any case: a matcher may bring them into being after the SCAN. */
static bool find_keys(struct work *w, struct keys *keys, struct err *err)
{
    static const char *const names[] = {"rebuild",  "log", "items", "orders",
                                        "payments", "ops", "outbox"};
    char key[KEY_BYTES];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const int len = peek_key(w->redis, w->r->partition, names[i], key, sizeof(key));

        take_key((struct slice){key, (size_t)len}, keys);
    }
    return peek_each_key(w->redis, w->r->partition, take_key, keys, err);
}

/*
 * Reading took its time.  Who has begun meanwhile, or goes on, is left alone, and what has come to
 * MySQL's position is whole again.  A Redis of which nothing can be told is wiped like any other.
 */
static bool is_still_wanted(struct work *w, struct err *err)
{
    const struct peek_look *before = &w->before;
    struct peek_look now;
    struct err ignored;

    if (is_cancelled(w)) {
        return err_set(err, ERR_RETRY, "given up");
    }
    if (!w->has_looked || !peek_look(w->redis, w->r->partition, &now, &ignored)) {
        return true;
    }
    if (now.found == PEEK_REBUILD) {
        w->is_taken = before->found != PEEK_REBUILD || strcmp(before->token, now.token) != 0 ||
                      before->progress != now.progress;
        return !w->is_taken || err_set(err, ERR_RETRY, "another rebuild is under way");
    }
    w->is_taken =
        now.found == PEEK_STATE && before->found != PEEK_STATE && now.watermark >= w->at.position;
    return !w->is_taken || err_set(err, ERR_RETRY, "it has come to its position meanwhile");
}

/* Nor may what follows MySQL's position have been trimmed from the log. */
static bool has_log(struct work *w, struct err *err)
{
    const struct kafka_settings kafka = settings_kafka(w->r->settings);
    const char *topic = w->r->settings->kafka.topic_orders;
    const struct pick_wait wait = {RANGE_WAIT_MS, w->r->cancelled};
    const int64_t needed = w->at.position < 0 ? 0 : w->at.position;
    struct pick *pick = pick_create(&kafka, topic, w->r->partition, &wait, err);
    int64_t first, end;
    bool ok = pick != NULL && pick_range(pick, &first, &end, err);

    pick_destroy(pick);
    if (ok && first > needed) {
        ok = err_set(err, ERR_RETRY, "the log was trimmed meanwhile: it starts at %" PRId64, first);
    }
    return ok;
}

/*
 * The call that wipes.  One that was given up may still be on its way: it is good for as long as we wait
 * for its answer, by the clock of who would execute it, and the next is sent when that is over.
 */
static bool insist_begin(struct work *w, struct peek_call *call, struct slice *not_after,
                         struct err *err)
{
    const int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    const int64_t good_ms = w->r->settings->redis_timeout_ms;
    int64_t free_at_ms = 0;
    int64_t now_ms;
    char said[64], text[24];

    do {
        if (clock_mono_ms() < free_at_ms || !peek_time(w->redis, &now_ms, err)) {
            continue;
        }
        free_at_ms = clock_mono_ms() + good_ms + PAUSE_MS;
        *not_after = (struct slice){
            text, (size_t)snprintf(text, sizeof(text), "%" PRId64, now_ms + good_ms)};
        if (peek_script(w->redis, call, said, sizeof(said), err)) {
            if (strcmp(said, "ok") == 0) {
                return true;
            }
            (void)err_set(err, ERR_RETRY, "redis: it came too late");
        }
    } while (may_try_again(w, deadline_ms));
    return false;
}

static bool begin(struct work *w, struct err *err)
{
    struct keys *keys = xcalloc(1, sizeof(*keys));
    unsigned char random[TOKEN_BYTES];
    char due[KEY_BYTES];
    struct peek_call call = {rebuild_begin_lua, sizeof(rebuild_begin_lua), keys->at, 0, 0};
    bool ok = is_still_wanted(w, err) && has_log(w, err);

    arc4random_buf(random, sizeof(random));
    hex_encode(random, sizeof(random), w->token);
    ok = ok && find_keys(w, keys, err);
    failpoint_kill("rebuild.found");
    call.n_keys = keys->n;
    keys->at[keys->n] = slice_str(w->token);
    keys->at[keys->n + 1] =
        (struct slice){due, (size_t)peek_key(w->redis, w->r->partition, "due", due, sizeof(due))};
    call.n_words = keys->n + 3;
    w->r->has_begun = ok;
    ok = ok && insist_begin(w, &call, &keys->at[keys->n + 2], err);
    for (size_t i = 0; i < keys->n; i++) {
        free((char *)(uintptr_t)keys->at[i].ptr);
    }
    free(keys);
    failpoint_kill("rebuild.begun");
    return ok;
}

static bool put(const struct refill_piece *piece, void *arg, struct err *err)
{
    struct work *w = arg;
    struct slice *words = xreallocarray(NULL, piece->n + 5, sizeof(*words));
    const struct peek_call call = {rebuild_put_lua, sizeof(rebuild_put_lua), words, piece->n + 5,
                                   2};
    char key[KEY_BYTES], number[24];
    bool ok;

    if (!w->r->has_begun && !begin(w, err)) {
        free(words);
        return false;
    }
    failpoint_kill("rebuild.piece");
    w->r->pieces++;
    words[0] = slice_str(w->fence);
    words[1] = (struct slice){
        key, (size_t)peek_key(w->redis, w->r->partition, piece->name, key, sizeof(key))};
    words[2] = slice_str(w->token);
    words[3] =
        (struct slice){number, (size_t)snprintf(number, sizeof(number), "%" PRId64, w->r->pieces)};
    words[4] = slice_str(piece->command);
    memcpy(words + 5, piece->words, piece->n * sizeof(*words));
    ok = is_cancelled(w) ? err_set(err, ERR_RETRY, "given up") : insist(w, &call, err);
    free(words);
    return ok;
}

static bool end(struct work *w, struct err *err)
{
    struct slice words[64];
    struct peek_call call = {rebuild_end_lua, sizeof(rebuild_end_lua), words, 4, 2};
    char key[KEY_BYTES], number[24];
    struct peek_look look;
    struct buf text;
    struct slice rest;
    bool ok;

    if (!w->r->has_begun && !begin(w, err)) {
        return false;
    }
    buf_init(&text, LOG_BYTES);
    words[0] = slice_str(w->fence);
    words[1] =
        (struct slice){key, (size_t)peek_key(w->redis, w->r->partition, "log", key, sizeof(key))};
    words[2] = slice_str(w->token);
    words[3] =
        (struct slice){number, (size_t)snprintf(number, sizeof(number), "%" PRId64, w->r->pieces)};
    if (w->at.position >= 0) {
        refill_log(&w->refill, &w->at, w->anchor.hash, &text);
    }
    rest = buf_slice(&text);
    while (rest.len > 0) {
        words[call.n_words++] = slice_cut(rest, '\0', &rest);
    }
    failpoint_kill("rebuild.end");
    ok = insist(w, &call, err);
    if (!ok && w->is_taken && peek_look(w->redis, w->r->partition, &look, err) &&
        look.found == PEEK_STATE && look.watermark >= w->at.position) {
        /* The answer may have been lost, or another has finished: it is open, which is all we want. */
        w->is_taken = false;
        ok = true;
    }
    buf_fini(&text);
    return ok;
}

/* ---- MySQL ---- */

static bool use_hold_ms(struct slice hold_ms, void *arg, struct err *err ATTR_UNUSED)
{
    struct work *w = arg;

    refill_use_hold(&w->refill, hold_ms);
    return true;
}

static bool take_field(enum record_table table, const struct record_field *field, void *arg,
                       struct err *err)
{
    struct work *w = arg;

    return refill_field(&w->refill, record_redis_name(table), field->name, field->value, err);
}

static bool take_hold(const struct snapshot_hold *hold, void *arg, struct err *err)
{
    struct work *w = arg;

    return refill_due(&w->refill, hold, err);
}

static bool fill(struct work *w, struct err *err)
{
    const struct snapshot_sink sink = {use_hold_ms, take_field, take_hold, w};
    bool ok =
        w->at.position < 0 || (snapshot_read_orders_first(w->db, w->r->partition, &sink, err) &&
                               refill_flush(&w->refill, err));

    w->r->orders = w->refill.orders;
    w->r->payments = w->refill.payments;
    return ok;
}

static bool is_like(const struct peek_look *seen, const struct peek_look *now)
{
    return now->found == seen->found && now->progress == seen->progress &&
           strcmp(now->token, seen->token) == 0 &&
           (now->found != PEEK_STATE ||
            (now->first == seen->first && strcmp(now->genesis, seen->genesis) == 0));
}

static bool look_at_redis(struct work *w, struct err *err)
{
    struct err why;

    w->has_looked = peek_look(w->redis, w->r->partition, &w->before, &why);
    if (w->r->seen == NULL) {
        return true;
    }
    if (!w->has_looked) {
        *err = why;
        return false;
    }
    w->is_taken = !is_like(w->r->seen, &w->before);
    return !w->is_taken || err_set(err, ERR_RETRY, "it is not as it was any more");
}

static bool look_up(struct work *w, struct err *err)
{
    const struct pick_wait wait = {w->r->settings->timeout_ms, w->r->cancelled};

    if (!db_connect(w->db, err) ||
        !db_exec(w->db, SLICE_LIT("START TRANSACTION WITH CONSISTENT SNAPSHOT"), NULL, err) ||
        !commit_read_progress(w->db, w->r->partition, false, &w->at, err)) {
        return false;
    }
    w->r->position = w->at.position;
    if (w->at.position >= 0 && !command_has_rules(w->at.rules)) {
        return err_set(err, ERR_FATAL,
                       "the record follows rules %" PRId64 ", this build lacks them", w->at.rules);
    }
    if (w->at.position >= 0 && w->at.partitions != w->r->settings->kafka.partitions) {
        return err_set(err, ERR_FATAL, "the record was made for %" PRId64 " partitions",
                       w->at.partitions);
    }
    if (!anchor_find(w->r->settings, w->r->partition, &w->at, &wait, &w->anchor, err)) {
        return false;
    }
    w->r->is_proven = w->at.position < 0 || w->anchor.is_proven;
    return look_at_redis(w, err);
}

enum rebuild_end rebuild_partition(struct rebuild *r, struct err *err)
{
    struct db_settings mysql = settings_db(r->settings);
    const int64_t started_ms = clock_mono_ms();
    struct work *w = xcalloc(1, sizeof(*w));
    enum rebuild_end result = REBUILD_FAILED;
    bool ok;

    mysql.cancelled = r->cancelled;
    w->r = r;
    w->db = db_create(&mysql, DB_SESSION_READ);
    w->redis = peek_create(&r->settings->redis, r->settings->redis_timeout_ms);
    refill_init(&w->refill, put, w);
    (void)peek_key(w->redis, r->partition, "rebuild", w->fence, sizeof(w->fence));
    ok = look_up(w, err) && fill(w, err) && end(w, err);
    r->took_ms = clock_mono_ms() - started_ms;
    if (ok) {
        result = REBUILD_DONE;
    } else if (w->is_taken) {
        result = REBUILD_TAKEN;
    } else if (err->kind == ERR_FATAL && !r->has_begun) {
        result = REBUILD_REFUSED;
    }
    refill_fini(&w->refill);
    peek_destroy(w->redis);
    db_destroy(w->db);
    free(w);
    return result;
}

/* ---- the command ---- */

static enum rebuild_end rebuild_one(const struct settings *settings, int partition)
{
    struct rebuild r = {.settings = settings, .partition = partition};
    struct err err = {0};
    const enum rebuild_end result = rebuild_partition(&r, &err);

    if (result == REBUILD_DONE) {
        (void)printf("partition %d: at %" PRId64 ", %" PRId64 " orders and %" PRId64
                     " payments in %.2f s%s\n",
                     partition, r.position, r.orders, r.payments, (double)r.took_ms / 1000,
                     r.is_proven ? "" : "; its chain could not be checked");
    } else {
        (void)printf("partition %d: %s: %s\n", partition,
                     !r.has_begun ? "unchanged" : "closed until it is rebuilt", err.text);
    }
    return result;
}

/* Only if it has no state. */
static enum rebuild_end rebuild_if_lost(const struct settings *settings, struct peek *redis,
                                        int partition)
{
    struct peek_look look;
    struct err err;

    if (!peek_look(redis, partition, &look, &err)) {
        (void)printf("partition %d: unchanged: %s\n", partition, err.text);
        return REBUILD_FAILED;
    }
    if (look.found == PEEK_STATE) {
        (void)printf("partition %d: unchanged: has a state, at %" PRId64 "\n", partition,
                     look.watermark);
        return REBUILD_DONE;
    }
    return rebuild_one(settings, partition);
}

int rebuild_run(const struct settings *settings)
{
    const int64_t n = settings->kafka.partitions;
    struct peek *redis;
    int status = REBUILD_DONE;

    failpoint_init();
    redis = peek_create(&settings->redis, settings->redis_timeout_ms);
    for (int64_t i = 0; i < n; i++) {
        enum rebuild_end result = REBUILD_DONE;

        if (settings->partition < 0) {
            result = rebuild_if_lost(settings, redis, (int)i);
        } else if (settings->partition == i) {
            result = rebuild_one(settings, (int)i);
        }
        status = (int)result > status ? (int)result : status;
    }
    peek_destroy(redis);
    return fflush(stdout) == 0 ? status : REBUILD_FAILED;
}
