/*
 * bus.h - one command into Kafka, and what became of it; blocking, for a tool.
 *
 * A bus lives for one command of seckillctl.  One thread.
 */
#ifndef CTL_BUS_H
#define CTL_BUS_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/command.h"
#include "common/err.h"
#include "common/outcome.h"
#include "ctl/ctl.h"

/* A new client with the settings' brokers and native properties; NULL with err on failure. */
rd_kafka_t *bus_client(const struct ctl *c, rd_kafka_type_t type, struct err *err) ATTR_MUSTCHECK;

/*
 * Appends cmd to its partition and waits until Kafka has it.  Sets *offset (may be NULL).
 * Fails with ERR_RETRY when nobody knows whether it is there.
 */
bool bus_append(const struct ctl *c, rd_kafka_t *producer, const struct command *cmd, int partition,
                int64_t *offset, struct err *err) ATTR_MUSTCHECK;

/*
 * Appends cmd and waits for its outcome, of which the last event is cmd's own.  The caller
 * finishes outcome with outcome_fini().
 */
bool bus_ask(const struct ctl *c, const struct command *cmd, int partition, struct outcome *outcome,
             struct err *err) ATTR_MUSTCHECK;

#endif /* CTL_BUS_H */
