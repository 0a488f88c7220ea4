/*
 * kafka_internal.h - what the Kafka modules share behind common/kafka.h; nobody else includes it.
 */
#ifndef COMMON_KAFKA_INTERNAL_H
#define COMMON_KAFKA_INTERNAL_H

#include <event2/event.h>
#include <librdkafka/rdkafka.h>

#include "common/kafka.h"

/* One property of librdkafka. */
struct kafka_property {
    const char *name;
    const char *value;
};

/*
 * A librdkafka configuration from the settings: the tunables first, then the operator's own, then
 * the invariants, so that nobody can lose those.  The arrays end with a NULL name.  NULL with err
 * set when librdkafka refuses a value.
 */
rd_kafka_conf_t *kafka_conf(const struct kafka_settings *settings, enum conf_kafka_role role,
                            const struct kafka_property *tunables,
                            const struct kafka_property *invariants,
                            struct err *err) ATTR_MUSTCHECK;

/* Makes the client; conf is consumed also on failure.  is_watched: it has interceptors. */
rd_kafka_t *kafka_client(rd_kafka_type_t type, rd_kafka_conf_t *conf, bool is_watched,
                         struct err *err) ATTR_MUSTCHECK;

/* Logs RD_KAFKA_EVENT_LOG and errors that cure themselves, at a bounded rate. */
void kafka_log_event(rd_kafka_event_t *event);

/*
 * Ends rk in the background, which can take seconds.  On the other thread: calls first(arg) unless
 * it is NULL, destroys rk, and then frees opaque, which its threads may have used until then.
 */
void kafka_end(rd_kafka_t *rk, void (*first)(void *arg), void *arg, void *opaque);

/* A librdkafka queue served by the loop. */
struct kafka_pump;
typedef void kafka_event_fn(rd_kafka_event_t *event, void *arg);

/* Takes queue, also on failure.  serve does not destroy the event. */
struct kafka_pump *kafka_pump_create(struct event_base *base, rd_kafka_queue_t *queue,
                                     kafka_event_fn *serve, void *arg,
                                     struct err *err) ATTR_MUSTCHECK;

/* Not from within serve.  NULL is allowed. */
void kafka_pump_destroy(struct kafka_pump *pump);

/* While held, nothing is served; what comes waits in librdkafka. */
void kafka_pump_hold(struct kafka_pump *pump, bool is_held);

/* Watermark queries block in librdkafka, so a thread of their own makes them. */
struct kafka_query;
typedef void kafka_range_fn(const char *topic, int partition, bool ok, int64_t begin, int64_t end,
                            void *arg);

struct kafka_query *kafka_query_create(struct event_base *base, rd_kafka_t *rk,
                                       kafka_range_fn *range, void *arg,
                                       struct err *err) ATTR_MUSTCHECK;

/* Answers later, always; a partition already asked about is asked once. */
void kafka_query_ask(struct kafka_query *q, const char *topic, int partition);

/* Asks and waits, on any thread.  False: nobody answered, which is logged. */
bool kafka_query_range(rd_kafka_t *rk, const char *topic, int partition, int64_t timeout_ms,
                       int64_t *begin, int64_t *end) ATTR_MUSTCHECK;

/* No more answers.  kafka_query_end(), which may block for seconds, frees it; NULL is allowed. */
void kafka_query_stop(struct kafka_query *q);
void kafka_query_end(void *arg);

#endif /* COMMON_KAFKA_INTERNAL_H */
