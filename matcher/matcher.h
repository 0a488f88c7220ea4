/*
 * matcher.h - the parts, and the Kafka and Redis they act on.
 *
 * Executes what the parts (part.h) want done and tells them what came of it.  One loop, one thread.
 */
#ifndef MATCHER_MATCHER_H
#define MATCHER_MATCHER_H

#include <event2/event.h>
#include <stdbool.h>

#include "common/admin.h"
#include "common/attr.h"
#include "common/err.h"
#include "common/kafka.h"
#include "common/stats.h"
#include "matcher/settings.h"

struct matcher;

struct matcher_calls {
    /* All partitions that we have are halted: nothing is left to do. */
    void (*all_halted)(void *arg);
    /* Cannot go on; why is for people. */
    void (*failed)(const char *why, void *arg);
    /* Draining is done: everything is finished and the group is left. */
    void (*drained)(void *arg);
    /* The first time that Redis is up and the group has given partitions. */
    void (*ready)(void *arg);
    void *arg; /* borrowed */
};

/* settings and kafka are borrowed for its life; joins the group. */
struct matcher *matcher_create(struct event_base *base, const struct settings *settings,
                               const struct kafka_settings *kafka,
                               const struct matcher_calls *calls, struct err *err) ATTR_MUSTCHECK;
void matcher_destroy(struct matcher *m);

/* Takes nothing more, finishes what is under way, leaves the group, calls drained(). */
void matcher_drain(struct matcher *m);

/* Whether a partition was halted while it was ours. */
bool matcher_has_halted(const struct matcher *m);

/* Registers its numbers; stats must outlive it. */
void matcher_register(struct matcher *m, struct stats *stats);

/* For /readyz. */
void matcher_check(struct matcher *m, struct admin_report *report);

#endif /* MATCHER_MATCHER_H */
