#include "producer/refusal_reply.h"

#include "producer/counters.h"

void refusal_reply(struct http_request *req, struct stats *stats, enum refusal refusal,
                   const struct refusal_details *details)
{
    static const struct refusal_details none;
    const struct refusal_details *d = details != NULL ? details : &none;
    const struct refusal_text *text = refusal_text(refusal);
    const struct http_problem problem = {
        .status = text->status,
        .reason = text->reason,
        .title = text->title,
        .detail = d->detail != NULL ? d->detail : text->detail,
        .members = d->members,
        .retry_after_s = d->retry_after_s,
    };

    stats_add(stats, counters_refused(refusal), 1);
    http_reply_problem(req, &problem, d->fields);
}
