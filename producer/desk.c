#include "producer/desk.h"

#include <stdlib.h>

#include "common/admin.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/xmalloc.h"
#include "producer/poster.h"

enum {
    METRICS_BYTES = 4 << 20,
    READY_BYTES = 1 << 20,
};

struct desk {
    struct calls *calls;
    struct stats *stats;
    struct poster *metrics, *ready, *checks; /* checks: a verbose ready */
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

/*
 * They take no token of their address: a health check must not fail for what the shoppers did who
 * come by the same proxy.  Instead they are posters.
 */
static void show(struct http_request *req, struct poster *poster, const char *type)
{
    struct slice page;
    const int status = poster_show(poster, &page);

    reply_text(req, status, type, page);
}

static int make_report(const struct desk *d, bool is_verbose, struct buf *page)
{
    struct admin_report report;
    bool is_ready;

    admin_report_init(&report);
    calls_ready(&report, d->calls);
    is_ready = admin_report_write(&report, is_verbose, page);
    admin_report_fini(&report);
    return is_ready ? 200 : 503;
}

static int make_ready(struct buf *page, void *desk)
{
    return make_report(desk, false, page);
}

static int make_checks(struct buf *page, void *desk)
{
    return make_report(desk, true, page);
}

static int make_metrics(struct buf *page, void *desk)
{
    struct desk *d = desk;

    stats_write(d->stats, page);
    return 200;
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
        show(req, request->is_verbose ? d->checks : d->ready, "text/plain; charset=utf-8");
        break;
    case DESK_METRICS:
        show(req, d->metrics, "text/plain; version=0.0.4; charset=utf-8");
        break;
    }
}

struct desk *desk_create(struct calls *calls, struct stats *stats)
{
    struct desk *d = xcalloc(1, sizeof(*d));

    d->calls = calls;
    d->stats = stats;
    d->metrics = poster_create(METRICS_BYTES, make_metrics, d);
    d->ready = poster_create(READY_BYTES, make_ready, d);
    d->checks = poster_create(READY_BYTES, make_checks, d);
    return d;
}

void desk_destroy(struct desk *d)
{
    if (d == NULL) {
        return;
    }
    poster_destroy(d->metrics);
    poster_destroy(d->ready);
    poster_destroy(d->checks);
    free(d);
}
