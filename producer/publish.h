/*
 * publish.h - commands on their way into the orders topic.
 *
 * A command that is taken waits in its partition's line here, where the burst is shaped: it is
 * handed to Kafka when enough company has come or the oldest wait is over, with whatever stands in
 * the other lines, and never faster than the rate of the settings.  How long it may wait follows the
 * load: alone it goes at once; the more commands per second come, the more it pays to send them
 * together.
 *
 * Every command taken is reported exactly once, unless its Kafka client was given up or the object
 * destroyed: whoever waits keeps a deadline of its own (inflight.h) and calls that "unknown".  A
 * command still in line at its deadline was never sent: that is "failed", certainly.
 *
 * All calls and callbacks are on the loop's thread; report never runs before publish_send() returns.
 */
#ifndef PRODUCER_PUBLISH_H
#define PRODUCER_PUBLISH_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/command.h"
#include "common/err.h"
#include "common/kafka.h"
#include "common/stats.h"
#include "producer/inflight.h"

struct publish;

struct publish_report {
    inflight_ticket ticket;
    enum inflight_fate fate;
    int partition;
    int64_t offset;       /* -1: not told */
    int64_t timestamp_ms; /* the broker's; -1: not told */
};

struct publish_settings {
    const struct kafka_settings *kafka; /* borrowed */
    const char *topic;
    int partitions;
    int64_t linger_min_ms, linger_max_ms;
    int64_t batch;       /* so many in line are sent at once */
    int64_t queue_max;   /* commands in line, all partitions */
    int64_t rate;        /* commands per second handed to Kafka; 0: as fast as they come */
    int64_t timeout_ms;  /* from publish_send() to certainty, as far as we can */
    struct stats *stats; /* borrowed */
    void (*report)(const struct publish_report *report, void *arg);
    void *arg; /* borrowed */
};

struct publish *publish_create(struct event_base *base, const struct publish_settings *settings,
                               struct err *err) ATTR_MUSTCHECK;

/* Without further reports.  NULL is allowed. */
void publish_destroy(struct publish *p);

/*
 * Takes a command for partition; everything is copied.  traceparent goes along as a header when
 * its ptr is not NULL.  False when the line is full, or the command cannot be written.
 */
bool publish_send(struct publish *p, const struct command *cmd, int partition,
                  struct slice traceparent, inflight_ticket ticket) ATTR_MUSTCHECK;

bool publish_has_room(const struct publish *p);

/* From now on nothing waits for company. */
void publish_hurry(struct publish *p);

/* Commands in line, and with Kafka. */
size_t publish_queued(const struct publish *p);
size_t publish_unreported(const struct publish *p);

/* How long a command may wait for company when rate of them come per second in all; pure. */
int64_t publish_linger_ms(const struct publish_settings *settings, int64_t rate);

#endif /* PRODUCER_PUBLISH_H */
