#include "tests/sim/flights.h"

#include <string.h>

#include "common/slice.h"
#include "tests/sim/log.h"

static void take(struct world *w, const struct flight *flight)
{
    if (w->n_flights == FLIGHTS_MAX) {
        wrong(w, "more messages fly than there can be");
    }
    w->flights[w->n_flights++] = *flight;
}

static void drop(struct world *w, size_t i)
{
    memmove(w->flights + i, w->flights + i + 1, (w->n_flights - i - 1) * sizeof(w->flights[0]));
    w->n_flights--;
}

static void land_outcome(struct world *w, struct shard *s, struct node *node)
{
    if (s->n_topic == TOPIC_MAX) {
        wrong(w, "more outcomes than the topic takes");
    }
    if (node->landed > 0) {
        seen(COVER_TWICE);
    }
    for (int64_t i = s->n_topic; i > 0 && node->landed == 0; i--) {
        if (s->topic[i - 1]->offset > node->offset) {
            seen(COVER_OUT_OF_ORDER);
            break;
        }
    }
    node->landed++;
    node->has_landed = true;
    s->topic[s->n_topic++] = node;
    tell(w, "outcomes %d: %" PRId64 " has the outcome of %" PRId64, s->number, s->n_topic - 1,
         node->offset);
}

static void land(struct world *w, struct flight *f)
{
    struct shard *s = &w->shards[f->shard];

    f->is_landed = true;
    if (f->is_tick) {
        seen(COVER_TICK);
        log_append_tick(w, s);
    } else if (f->kind == PART_DEAD) {
        seen(COVER_DEAD);
        f->node->is_dead_landed = true;
    } else {
        land_outcome(w, s, f->node);
    }
}

static void fly(struct world *w, size_t i)
{
    struct flight *f = &w->flights[i];
    const int m = f->matcher;
    struct part *part;

    for (size_t k = 0; k < i; k++) {
        if (w->flights[k].matcher == m && w->flights[k].shard == f->shard &&
            w->flights[k].kind == f->kind && !w->flights[k].is_landed) {
            return; /* one instance keeps its order within a partition of a topic */
        }
    }
    if (!f->is_landed) {
        land(w, f);
        return;
    }
    if (m >= 0 && w->matchers[m].is_stopped) {
        return;
    }
    if (m >= 0 && !w->matchers[m].is_broken) {
        part = w->matchers[m].desks[f->shard].part;
        if (f->is_tick) {
            part_ticked(part);
        } else {
            part_acked(part, f->seq, f->kind);
        }
        w->matchers[m].did = COVER_KILLED_ACKED;
    }
    drop(w, i);
}

void flights_go_on(struct world *w)
{
    if (w->n_flights > 0) {
        fly(w, (size_t)below(w, (int64_t)w->n_flights));
    }
}

void flights_orphan(struct world *w, int matcher)
{
    bool is_lost[SHARDS_MAX][2][2] = {{{false}}};

    for (size_t i = 0; i < w->n_flights;) {
        struct flight *f = &w->flights[i];
        bool *lost = &is_lost[f->shard][f->kind == PART_DEAD][f->is_tick];

        if (f->matcher != matcher) {
            i++;
            continue;
        }
        f->matcher = -1;
        *lost = *lost || (!f->is_landed && chance(w, 25));
        if (f->is_landed) {
            seen(COVER_ACK_LOST);
            drop(w, i);
        } else if (*lost) {
            seen(COVER_PRODUCE_FAILED);
            tell(w, "producer of %d: a message is lost", matcher);
            drop(w, i);
        } else {
            i++;
        }
    }
}

/* The record whose outcome this is, byte by byte. */
static struct node *told_node(struct world *w, struct shard *s, const struct part_message *message)
{
    struct node *node = log_at(s, message->offset);
    const bool is_dead = message->kind == PART_DEAD;

    for (struct node *next = s->nodes;; next = next->older) {
        if (node != NULL && node->offset == message->offset) {
            const char *text = is_dead ? node->value : node->outcome;

            if (slice_eq(message->value, slice_str(text)) ||
                (message->value.len == 0 && text == NULL)) {
                return node;
            }
        }
        if (next == NULL) {
            break;
        }
        node = next;
    }
    wrong(w, "promise 3 is broken: at %d/%" PRId64 " was told %.*s", s->number, message->offset,
          (int)message->value.len, message->value.ptr == NULL ? "" : message->value.ptr);
}

void flights_publish(struct world *w, int matcher, struct shard *s,
                     const struct part_action *action)
{
    const struct part_message *message = &action->message;

    if (w->matchers[matcher].is_broken) {
        wrong(w, "a message is published that cannot be");
    }
    take(w, &(struct flight){.matcher = matcher,
                             .shard = s->number,
                             .seq = message->seq,
                             .kind = message->kind,
                             .node = told_node(w, s, message)});
    part_published(w->matchers[matcher].desks[s->number].part);
}

void flights_tick(struct world *w, int matcher, const struct shard *s)
{
    take(w, &(struct flight){.matcher = matcher, .shard = s->number, .is_tick = true});
}

void flights_lose(struct world *w, const struct shard *s)
{
    for (size_t i = 0; i < w->n_flights;) {
        if (w->flights[i].shard == s->number) {
            drop(w, i);
        } else {
            i++;
        }
    }
}

void flights_land_all(struct world *w, int max)
{
    for (int k = 0; k < max && w->n_flights > 0; k++) {
        fly(w, 0);
    }
}
