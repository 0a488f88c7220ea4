/*
 * The names of a partition's keys: those of docs/protocol.md section 6, and no others.
 */
#include "guardian/verify_impl.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    PREFIX_BYTES = 256,
};

struct keys {
    struct verify *verify;
    char prefix[PREFIX_BYTES];
    struct names holds; /* of the due lists that the log has no hold_ms for, so far */
};

static void tell_key(struct verify *v, struct slice name, const char *why)
{
    buf_clear(&v->value);
    buf_json_string(&v->value, name);
    verify_differ(v, -1, "redis: key %.200s: %s", v->value.ptr, why);
}

static bool is_known(struct slice name)
{
    static const char *const names[] = {"log", "items",  "orders", "payments",
                                        "ops", "outbox", "rebuild"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (slice_eq(name, slice_str(names[i]))) {
            return true;
        }
    }
    return false;
}

static bool is_hold_ms(const struct verify *v, struct slice hold_ms)
{
    struct buf holds;
    struct slice rest;
    bool is_found = false;

    buf_init(&holds, 4096);
    fold_holds(verify_fold(v), &holds);
    rest = buf_slice(&holds);
    while (!is_found && rest.len > 0) {
        is_found = slice_eq(slice_cut(rest, ',', &rest), hold_ms);
    }
    buf_fini(&holds);
    return is_found;
}

static void take_key(struct slice key, void *arg)
{
    struct keys *k = arg;
    const struct slice prefix = slice_str(k->prefix);
    struct slice name, hold_ms;
    int64_t number;

    if (!slice_starts(key, prefix)) {
        return;
    }
    name = (struct slice){key.ptr + prefix.len, key.len - prefix.len};
    if (is_known(name)) {
        return;
    }
    if (!slice_eq(slice_cut(name, ':', &hold_ms), SLICE_LIT("due")) ||
        !slice_to_i64(hold_ms, 1, COMMAND_TIME_MAX, &number)) {
        tell_key(k->verify, name, "the protocol has no such key");
    } else if (!is_hold_ms(k->verify, hold_ms)) {
        (void)verify_collect(hold_ms, (struct slice){NULL, 0}, &k->holds);
    }
}

/* A due list may have come with a record that was not folded yet: it is now. */
static bool judge_holds(struct keys *k, struct err *err)
{
    struct verify *v = k->verify;
    const struct slice field = SLICE_LIT("watermark");
    struct peek_answer answer = {0};
    bool is_old = false;
    bool ok;

    do {
        ok = peek_lookup(v->redis, (struct peek_hash){v->partition, "log"}, &field, 1, &answer,
                         err) &&
             verify_follow(v, &answer, &is_old, err);
    } while (ok && is_old);
    peek_answer_fini(&answer);
    for (size_t i = 0; ok && i < k->holds.n; i++) {
        char name[80];
        const struct slice hold_ms = command_text(&k->holds.at[i]);

        if (!is_hold_ms(v, hold_ms)) {
            (void)snprintf(name, sizeof(name), "due:%s", k->holds.at[i].s);
            tell_key(v, slice_str(name), "the log has no such hold_ms");
        }
    }
    return ok;
}

bool verify_keys(struct verify *v, struct err *err)
{
    struct keys k = {.verify = v};
    bool ok;

    (void)peek_key(v->redis, v->partition, "", k.prefix, sizeof(k.prefix));
    ok = peek_each_key(v->redis, v->partition, take_key, &k, err) &&
         (k.holds.n == 0 || judge_holds(&k, err));
    free(k.holds.at);
    return ok;
}
