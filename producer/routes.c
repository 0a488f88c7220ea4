/*
 * A path is matched by its segments against a table: a literal, or `*` for an id.  The same path
 * with another method is 405 with what is allowed.
 */
#include "producer/routes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/ids.h"
#include "common/xmalloc.h"
#include "producer/refusal_reply.h"

enum { SEGMENTS_MAX = 5 };

struct routes {
    struct routes_settings settings;
    struct sha256_key receipt_key;
};

/* What is known of a request while it is being read. */
struct visit {
    struct http_request *req;
    const struct http_message *msg;
    struct slice id; /* what stands for `*` in its path */
    struct command_text user_id;
};

typedef void route_fn(struct routes *r, struct visit *v);

static void refuse(const struct routes *r, const struct visit *v, enum refusal refusal,
                   const char *detail)
{
    refusal_reply(v->req, r->settings.stats, refusal, &(struct refusal_details){.detail = detail});
}

/* ---- what every call needs ---- */

static void refuse_token(const struct routes *r, const struct visit *v, enum refusal refusal,
                         const struct err *err)
{
    char challenge[JWT_CHALLENGE_MAX];
    char detail[sizeof(err->text) + 64];
    const struct http_field fields[] = {{"WWW-Authenticate", challenge}, {NULL, NULL}};
    struct refusal_details details = {.fields = fields};

    jwt_challenge(err, challenge);
    if (err != NULL) {
        (void)snprintf(detail, sizeof(detail), "The token is refused: %s. Get a new one.",
                       err->text); /* fits */
        details.detail = detail;
    }
    refusal_reply(v->req, r->settings.stats, refusal, &details);
}

/* Sets v->user_id from the bearer token, or refuses. */
static bool authenticate(struct routes *r, struct visit *v)
{
    const struct slice token = jwt_bearer(v->msg->known[HTTP_AUTHORIZATION]);
    struct jwt_identity identity;
    struct err err;

    if (token.ptr == NULL) {
        refuse_token(r, v, REFUSAL_UNAUTHENTICATED, NULL);
        return false;
    }
    if (!jwt_verify(r->settings.jwt, token, clock_wall_ms(), &identity, &err) ||
        !command_set_text(&v->user_id, (struct slice){identity.user_id, identity.user_id_len})) {
        refuse_token(r, v, REFUSAL_INVALID_TOKEN, &err);
        return false;
    }
    return true;
}

static bool has_json(struct routes *r, const struct visit *v)
{
    if (!input_is_json(v->msg->known[HTTP_CONTENT_TYPE])) {
        refuse(r, v, REFUSAL_MEDIA_TYPE, NULL);
        return false;
    }
    return true;
}

static bool has_no_body(struct routes *r, const struct visit *v)
{
    if (v->msg->body.len > 0) {
        refuse(r, v, REFUSAL_BAD_REQUEST, "This call takes no body.");
        return false;
    }
    return true;
}

/* The partition of the order that the path names; false, refused, when there can be none. */
static bool find_order(struct routes *r, const struct visit *v, int *partition)
{
    if (!ids_parse_order(v->id, partition, NULL) || *partition >= r->settings.partitions) {
        refuse(r, v, REFUSAL_UNKNOWN_ORDER,
               "This is no order id of ours: use the one that the order was answered with.");
        return false;
    }
    return true;
}

/* What every call has; texts are of v and its message. */
static void prepare(const struct routes *r, const struct visit *v, enum calls_kind kind,
                    struct desk_request *request)
{
    const struct slice trace = v->msg->known[HTTP_TRACEPARENT];
    const struct slice none = {NULL, 0};

    *request = (struct desk_request){
        .kind = DESK_CALL,
        .call =
            {
                .kind = kind,
                .user_id = v->user_id.len > 0 ? command_text(&v->user_id) : none,
                .traceparent = input_is_traceparent(trace) ? trace : none,
                .offset = -1,
                .wait_ms = input_wait_ms(http_list_find(v->msg, HTTP_PREFER, SLICE_LIT("wait")),
                                         r->settings.wait_max_ms),
                .is_left = http_has_left(v->req),
            },
    };
    proxies_client(&r->settings.proxies, http_peer(v->req)->address, v->msg, request->address);
}

static void pass_on(const struct routes *r, const struct visit *v,
                    const struct desk_request *request)
{
    r->settings.take(v->req, request, r->settings.take_arg);
}

/* ---- the calls ---- */

static void post_order(struct routes *r, struct visit *v)
{
    const struct slice header = v->msg->known[HTTP_IDEMPOTENCY_KEY];
    char order_id[IDS_ORDER_LEN + 1];
    struct slice key = {NULL, 0};
    struct input_order order;
    struct input_problem problem;
    struct desk_request request;
    int partition;

    if (!authenticate(r, v) || !has_json(r, v)) {
        return;
    }
    if (header.ptr != NULL && !input_key(header, &key)) {
        refuse(r, v, REFUSAL_BAD_KEY, NULL);
        return;
    }
    if (!input_order(v->msg->body, &order, &problem)) {
        refuse(r, v, problem.refusal, problem.detail);
        return;
    }
    partition = ids_route(command_text(&order.item_id), r->settings.partitions);
    if (partition < 0) {
        refuse(r, v, REFUSAL_BAD_FIELD, "The item_id names a partition that there is not.");
        return;
    }
    prepare(r, v, CALLS_ORDER, &request);
    request.call.item_id = command_text(&order.item_id);
    request.call.qty = order.qty;
    request.call.partition = partition;
    if (key.ptr != NULL) {
        ids_order_keyed(order_id, partition, request.call.user_id, request.call.item_id, key);
        request.call.order_id = slice_str(order_id);
    }
    pass_on(r, v, &request);
}

static void get_order(struct routes *r, struct visit *v)
{
    const struct slice receipt = http_query_find(v->msg->query, SLICE_LIT("receipt"));
    char order_id[IDS_ORDER_LEN + 1];
    struct desk_request request;
    int partition = 0;

    if (!authenticate(r, v) || !has_no_body(r, v) || !find_order(r, v, &partition)) {
        return;
    }
    prepare(r, v, CALLS_SHOW, &request);
    request.call.order_id = v->id;
    request.call.partition = partition;
    if (receipt.ptr != NULL && (!slice_copy(v->id, order_id, sizeof(order_id)) ||
                                !input_receipt_check(&r->receipt_key, order_id, partition, receipt,
                                                     &request.call.offset))) {
        refuse(
            r, v, REFUSAL_BAD_REQUEST,
            "The receipt is not one of this order: use the address in Location, or leave it out.");
        return;
    }
    pass_on(r, v, &request);
}

static void post_payment(struct routes *r, struct visit *v)
{
    struct input_payment payment;
    struct input_problem problem;
    struct desk_request request;
    int partition = 0;

    if (!authenticate(r, v) || !has_json(r, v) || !find_order(r, v, &partition)) {
        return;
    }
    if (!input_payment(v->msg->body, &payment, &problem)) {
        refuse(r, v, problem.refusal, problem.detail);
        return;
    }
    prepare(r, v, CALLS_PAY, &request);
    request.call.order_id = v->id;
    request.call.partition = partition;
    request.call.payment_id = command_text(&payment.payment_id);
    pass_on(r, v, &request);
}

static void delete_order(struct routes *r, struct visit *v)
{
    struct desk_request request;
    int partition = 0;

    if (!authenticate(r, v) || !has_no_body(r, v) || !find_order(r, v, &partition)) {
        return;
    }
    prepare(r, v, CALLS_CANCEL, &request);
    request.call.order_id = v->id;
    request.call.partition = partition;
    pass_on(r, v, &request);
}

static void get_item(struct routes *r, struct visit *v)
{
    struct desk_request request;
    const int partition = ids_is_item(v->id) ? ids_route(v->id, r->settings.partitions) : -1;

    if (!has_no_body(r, v)) {
        return;
    }
    if (partition < 0) {
        refuse(r, v, REFUSAL_UNKNOWN_ITEM, NULL);
        return;
    }
    prepare(r, v, CALLS_ITEM, &request);
    request.call.item_id = v->id;
    request.call.partition = partition;
    request.call.wait_ms = 0;
    pass_on(r, v, &request);
}

/* ---- for operators ---- */

static void get_livez(struct routes *r, struct visit *v)
{
    pass_on(r, v, &(struct desk_request){.kind = DESK_LIVE});
}

static void get_readyz(struct routes *r, struct visit *v)
{
    pass_on(r, v,
            &(struct desk_request){
                .kind = DESK_READY,
                .is_verbose = http_query_find(v->msg->query, SLICE_LIT("verbose")).ptr != NULL,
            });
}

static void get_metrics(struct routes *r, struct visit *v)
{
    pass_on(r, v, &(struct desk_request){.kind = DESK_METRICS});
}

/* ---- the table ---- */

static const struct route {
    const char *segments[SEGMENTS_MAX]; /* NULL at the end; "*" is an id */
    route_fn *methods[HTTP_METHOD_COUNT];
    const char *allow;
} table[] = {
    {{"v1", "orders"}, {[HTTP_POST] = post_order}, "POST"},
    {{"v1", "orders", "*"},
     {[HTTP_GET] = get_order, [HTTP_DELETE] = delete_order},
     "GET, HEAD, DELETE"},
    {{"v1", "orders", "*", "payment"}, {[HTTP_POST] = post_payment}, "POST"},
    {{"v1", "items", "*"}, {[HTTP_GET] = get_item}, "GET, HEAD"},
    {{"livez"}, {[HTTP_GET] = get_livez}, "GET, HEAD"},
    {{"readyz"}, {[HTTP_GET] = get_readyz}, "GET, HEAD"},
    {{"metrics"}, {[HTTP_GET] = get_metrics}, "GET, HEAD"},
};

static bool matches(const struct route *route, struct slice path, struct slice *id)
{
    struct slice rest = {path.ptr + 1, path.len - 1}; /* behind the first '/' */

    for (size_t i = 0; i < SEGMENTS_MAX && route->segments[i] != NULL; i++) {
        struct slice segment;

        if (rest.ptr == NULL) {
            return false;
        }
        segment = slice_cut(rest, '/', &rest);
        if (strcmp(route->segments[i], "*") == 0) {
            *id = segment;
        } else if (!slice_eq(segment, slice_str(route->segments[i]))) {
            return false;
        }
    }
    return rest.ptr == NULL;
}

void routes_handle(struct http_request *req, void *routes)
{
    struct routes *r = routes;
    struct visit v = {.req = req, .msg = http_message(req)};

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (!matches(&table[i], v.msg->path, &v.id)) {
            continue;
        }
        if (table[i].methods[v.msg->method] != NULL) {
            table[i].methods[v.msg->method](r, &v);
        } else {
            const struct http_field allow[] = {{"Allow", table[i].allow}, {NULL, NULL}};

            refusal_reply(req, r->settings.stats, REFUSAL_METHOD,
                          &(struct refusal_details){.fields = allow});
        }
        return;
    }
    refuse(r, &v, REFUSAL_NOT_FOUND, NULL);
}

struct routes *routes_create(const struct routes_settings *settings)
{
    struct routes *r = xcalloc(1, sizeof(*r));

    r->settings = *settings;
    input_receipt_key(settings->secret, &r->receipt_key);
    return r;
}

void routes_destroy(struct routes *r)
{
    free(r);
}
