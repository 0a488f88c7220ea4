#include "producer/desk.h"

#include <stdlib.h>

#include "common/admin.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/xmalloc.h"

enum {
    METRICS_BYTES = 4 << 20,
    READY_BYTES = 1 << 20,
};

struct desk {
    struct calls *calls;
    struct stats *stats;
};

static void take_call(struct desk *d, struct http_request *req, const struct desk_request *request)
{
    const struct calls_request *call = &request->call;
    const bool is_order = call->kind == CALLS_ORDER;
    const struct bucket_visit visit = {
        .keys =
            {
                [BUCKET_IP] = {(const char *)request->address, sizeof(request->address)},
                [BUCKET_USER] = call->user_id,
                [BUCKET_ITEM] = is_order ? call->item_id : (struct slice){NULL, 0},
            },
        .is_global = is_order,
    };
    struct door_verdict verdict;

    if (door_admit(calls_door(d->calls), &visit, clock_mono_ms(), &verdict)) {
        calls_start(d->calls, req, call);
    } else {
        calls_refuse(d->calls, req, &verdict);
    }
}

/* ---- for operators ---- */

static void reply_text(struct http_request *req, int status, const char *type, struct slice body)
{
    const struct http_field fields[] = {
        {"Content-Type", type}, {"Cache-Control", "no-store"}, {NULL, NULL}};

    http_reply(req, status, fields, body);
}

static void tell_ready(struct desk *d, struct http_request *req, bool is_verbose)
{
    struct admin_report report;
    struct buf body;
    bool is_ready;

    admin_report_init(&report);
    buf_init(&body, READY_BYTES);
    calls_ready(&report, d->calls);
    is_ready = admin_report_write(&report, is_verbose, &body);
    reply_text(req, is_ready ? 200 : 503, "text/plain; charset=utf-8", buf_slice(&body));
    buf_fini(&body);
    admin_report_fini(&report);
}

static void tell_metrics(struct desk *d, struct http_request *req)
{
    struct buf body;

    buf_init(&body, METRICS_BYTES);
    calls_measure(d->calls);
    stats_write(d->stats, &body);
    reply_text(req, buf_ok(&body) ? 200 : 500, "text/plain; version=0.0.4; charset=utf-8",
               buf_slice(&body));
    buf_fini(&body);
}

void desk_take(struct http_request *req, const struct desk_request *request, void *desk)
{
    struct desk *d = desk;

    switch (request->kind) {
    case DESK_CALL:
        take_call(d, req, request);
        break;
    case DESK_LIVE:
        reply_text(req, 200, "text/plain; charset=utf-8", SLICE_LIT("alive\n"));
        break;
    case DESK_READY:
        tell_ready(d, req, request->is_verbose);
        break;
    case DESK_METRICS:
        tell_metrics(d, req);
        break;
    }
}

struct desk *desk_create(struct calls *calls, struct stats *stats)
{
    struct desk *d = xcalloc(1, sizeof(*d));

    d->calls = calls;
    d->stats = stats;
    return d;
}

void desk_destroy(struct desk *d)
{
    free(d);
}
