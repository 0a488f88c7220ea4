/*
 * refusal_reply.h - a refusal as an answer: a problem (docs/protocol.md section 7), counted.
 *
 * Any thread, for its own requests.
 */
#ifndef PRODUCER_REFUSAL_REPLY_H
#define PRODUCER_REFUSAL_REPLY_H

#include <stdint.h>

#include "common/slice.h"
#include "common/stats.h"
#include "producer/http.h"
#include "producer/refusal.h"

struct refusal_details {
    const char *detail;              /* NULL: the usual one */
    int64_t retry_after_s;           /* 0: not told */
    struct slice members;            /* of the problem's, in JSON, or ptr NULL */
    const struct http_field *fields; /* or NULL */
};

/* details may be NULL; stats are the producer's (counters.h). */
void refusal_reply(struct http_request *req, struct stats *stats, enum refusal refusal,
                   const struct refusal_details *details);

#endif /* PRODUCER_REFUSAL_REPLY_H */
