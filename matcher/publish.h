/*
 * publish.h - outcomes, dead letters and ticks into Kafka, go-back-N.
 *
 * A message never times out.  When one fails all the same, or the producer becomes fatal, the whole
 * instance is thrown away and a new one made after a pause; renewed() then says that everything not
 * acknowledged, of all partitions, is to be sent again in order.  What the old instance may still
 * have under way lands among it: readers drop what they have seen (docs/protocol.md section 5).
 *
 * On the thread of base.
 */
#ifndef MATCHER_PUBLISH_H
#define MATCHER_PUBLISH_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/kafka.h"
#include "matcher/part.h"

struct publish;

struct publish_settings {
    const struct kafka_settings *kafka;
    const char *topic_orders, *topic_outcomes, *topic_dead;
    int64_t linger_ms;

    /* A message is stored; for a tick also when it is not. */
    void (*acked)(int partition, uint64_t seq, enum part_message_kind kind, void *arg);
    void (*ticked)(int partition, void *arg);
    void (*renewed)(void *arg);
    void (*open)(void *arg); /* there is room again */
    void *arg;               /* borrowed */
};

struct publish *publish_create(struct event_base *base, const struct publish_settings *settings,
                               struct err *err) ATTR_MUSTCHECK;
void publish_destroy(struct publish *p);

/* Whether messages are taken at the moment. */
bool publish_is_open(const struct publish *p);

/* False: not taken; try again when publish_is_open(). */
bool publish_message(struct publish *p, int partition,
                     const struct part_message *message) ATTR_MUSTCHECK;
bool publish_tick(struct publish *p, int partition) ATTR_MUSTCHECK;

/* How many times the producer was made anew. */
uint64_t publish_renewals(const struct publish *p);

#endif /* MATCHER_PUBLISH_H */
