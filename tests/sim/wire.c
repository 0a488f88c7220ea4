/*
 * A call is sent, played by its Redis at some time, and answered at some later time; each may stay away.
 */
#include "tests/sim/wire.h"

#include <string.h>

#include "common/buf.h"
#include "common/slice.h"
#include "tests/sim/matchers.h"
#include "tests/sim/redis.h"

enum { REPLY_MAX = 1 << 20 };

static void free_call(struct call *c)
{
    buf_fini(&c->reply);
    *c = (struct call){.is_used = false};
}

static struct call *new_call(struct world *w)
{
    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (!w->calls[i].is_used) {
            return &w->calls[i];
        }
    }
    for (size_t i = 0; i < CALLS_MAX; i++) { /* too many that came late: those never run */
        if (w->calls[i].is_forgotten) {
            free_call(&w->calls[i]);
        }
    }
    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (!w->calls[i].is_used) {
            return &w->calls[i];
        }
    }
    wrong(w, "more calls than partitions are under way");
}

void wire_send(struct world *w, int matcher, struct shard *s, const struct part_action *action)
{
    struct call *c = new_call(w);

    *c = (struct call){.is_used = true,
                       .is_read = action->type == PART_READ,
                       .former = w->matchers[matcher].is_behind && s->is_split ? s->splits : 0,
                       .matcher = matcher,
                       .shard = s->number,
                       .number = action->call};
    buf_init(&c->reply, REPLY_MAX);
    if (!c->is_read) {
        redis_read_request(w, s, action, &c->request);
    }
    tell(w, "matcher %d/%d: %s %" PRId64 "..%" PRId64 " acked %" PRId64, matcher, s->number,
         c->is_read ? "asks for the position" : "sends", c->request.prev + 1, c->request.to,
         c->request.acked);
}

static void play(struct world *w, struct call *c)
{
    struct shard *s = &w->shards[c->shard];
    struct redis *r = c->former > 0 ? &s->former : &s->redis;

    if (c->is_played) {
        return;
    }
    c->is_played = true;
    c->is_lost = (c->former > 0 && (!s->is_split || s->splits != c->former)) || redis_is_away(s);
    if (c->is_forgotten) {
        seen(COVER_CALL_LATE);
        tell(w, "redis %d: a late call of matcher %d runs", c->shard, c->matcher);
    }
    if (c->is_lost) {
        return; /* that master is gone, or has not got the slot */
    }
    if (c->is_read) {
        redis_play_position(w, r, &c->reply);
    } else {
        redis_play_apply(w, s, r, &c->request, &c->reply);
    }
}

static void answer(struct world *w, struct call *c)
{
    struct part *part = w->matchers[c->matcher].desks[c->shard].part;
    struct slice fields[BOX_MAX + 16];
    struct slice rest = buf_slice(&c->reply);
    size_t n = 0;

    if (c->is_lost) {
        part_unanswered(part, c->number, false, matchers_now(w, c->matcher));
    } else if (!c->is_read) {
        tell(w, "matcher %d/%d: hears `%.*s`", c->matcher, c->shard,
             (int)slice_cut(rest, '\n', &(struct slice){NULL, 0}).len, rest.ptr);
        part_applied(part, c->number, rest, matchers_now(w, c->matcher));
        w->matchers[c->matcher].did = COVER_KILLED_APPLIED;
    } else {
        while (rest.len > 0) {
            fields[n++] = slice_cut(rest, '\0', &rest);
        }
        tell(w, "matcher %d/%d: hears the position, %zu fields", c->matcher, c->shard, n);
        part_position(part, c->number, fields, n, matchers_now(w, c->matcher));
        w->matchers[c->matcher].did = COVER_KILLED_PLACED;
    }
    free_call(c);
}

/* Nobody waits for them any more; the server may still run them. */
void wire_forget(struct world *w, int matcher, bool tells)
{
    for (size_t i = 0; i < CALLS_MAX; i++) {
        struct call *c = &w->calls[i];

        if (c->is_used && !c->is_forgotten && c->matcher == matcher) {
            c->is_forgotten = true;
            if (c->is_played) {
                seen(COVER_REPLY_LOST);
            }
            if (tells) {
                part_unanswered(w->matchers[matcher].desks[c->shard].part, c->number, false,
                                matchers_now(w, matcher));
            }
        }
    }
}

static void call_somehow(struct world *w, struct call *c)
{
    if (c->is_forgotten) {
        if (chance(w, 30)) {
            play(w, c);
        }
        if (chance(w, 50)) {
            free_call(c);
        }
    } else if (!c->is_played && (redis_is_away(&w->shards[c->shard]) || chance(w, 5))) {
        seen(redis_is_away(&w->shards[c->shard]) ? COVER_CALL_ASTRAY : COVER_CALL_REFUSED);
        part_unanswered(w->matchers[c->matcher].desks[c->shard].part, c->number, true,
                        matchers_now(w, c->matcher));
        free_call(c);
    } else if (!c->is_played) {
        play(w, c);
    } else if (!w->matchers[c->matcher].is_stopped) {
        answer(w, c);
    }
}

/* Any of those under way. */
void wire_go_on(struct world *w)
{
    size_t used[CALLS_MAX];
    int64_t n = 0;

    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (w->calls[i].is_used) {
            used[n++] = i;
        }
    }
    if (n > 0) {
        call_somehow(w, &w->calls[used[below(w, n)]]);
    }
}

void wire_end_forgotten(struct world *w)
{
    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (w->calls[i].is_used && w->calls[i].is_forgotten) {
            free_call(&w->calls[i]);
        }
    }
}

void wire_answer_all(struct world *w)
{
    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (w->calls[i].is_used) {
            play(w, &w->calls[i]);
            answer(w, &w->calls[i]);
        }
    }
}

void wire_fini(struct world *w)
{
    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (w->calls[i].is_used) {
            free_call(&w->calls[i]);
        }
    }
}
