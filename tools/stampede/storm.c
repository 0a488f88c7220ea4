/*
 * A shopper is a small state machine: it has at most one request of its main line under way, and
 * at most one "second press" beside it.  It lives in one array for the whole storm, so answers may
 * point at it.
 */
#include "tools/stampede/storm.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/jwt.h"
#include "common/xmalloc.h"

enum { TOKEN_MAX = 512, ASKS_MAX = 60, WAIT_S = 5 };

enum step {
    STEP_ORDER, /* POST the order */
    STEP_ASK,   /* GET until it is decided */
    STEP_AGAIN, /* POST it once more, with the same key */
    STEP_PAY,
    STEP_CANCEL,
    STEP_DONE,
};

struct crowd;

struct shopper {
    struct crowd *crowd;
    struct event *timer;
    enum step step;
    int tries;   /* of this step */
    int returns; /* times it may still come back after "sold out" */
    bool waits;  /* with Prefer: wait */
    bool presses_twice;
    bool asks_again;
    char then;        /* when reserved: 'p' pays, 'c' cancels, 'a' abandons */
    int64_t since_us; /* scheduled moment of the press */
    int key;          /* number of the press */
    size_t number;
    size_t order; /* in result->orders */
    char *token;
};

struct crowd {
    const struct storm_plan *plan;
    struct storm_result *result;
    struct event_base *base;
    struct client *client;
    struct shopper *shoppers;
    struct event *progress;
    struct event *closing;
    size_t capacity; /* of result->orders */
    size_t home;     /* shoppers that are done */
    uint64_t random;
    int64_t start_us;
};

/* splitmix64: small, and the same crowd for the same seed. */
static uint64_t draw(struct crowd *crowd)
{
    uint64_t z = (crowd->random += 0x9e3779b97f4a7c15U);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static bool chance(struct crowd *crowd, unsigned percent)
{
    return draw(crowd) % 100 < percent;
}

void storm_count(struct storm_tally *tally, const char *name)
{
    size_t i = 0;

    while (i < tally->n && strncmp(tally->rows[i].name, name, STORM_REASON_MAX - 1) != 0) {
        i++;
    }
    if (i == STORM_REASONS) {
        return; /* more reasons than the protocol has */
    }
    if (i == tally->n) {
        (void)snprintf(tally->rows[i].name, STORM_REASON_MAX, "%s", name);
        tally->n++;
    }
    tally->rows[i].count++;
}

static struct storm_order *order_of(const struct shopper *s)
{
    return &s->crowd->result->orders[s->order];
}

static void new_order(struct shopper *s)
{
    struct crowd *crowd = s->crowd;
    struct storm_result *r = crowd->result;
    struct storm_order *o = NULL;

    if (r->n_orders == crowd->capacity) {
        crowd->capacity *= 2;
        r->orders = xreallocarray(r->orders, crowd->capacity, sizeof(*r->orders));
    }
    s->order = r->n_orders++;
    o = order_of(s);
    memset(o, 0, sizeof(*o));
    (void)snprintf(o->user_id, sizeof(o->user_id), "shopper-%zu", s->number);
    s->key++;
}

/* Wakes the shopper in ms; what lies in the past is now. */
static void later(struct shopper *s, int64_t ms)
{
    struct timeval tv = {.tv_sec = 0};

    if (ms > 0) {
        tv = (struct timeval){.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
    }
    if (event_add(s->timer, &tv) != 0) {
        s->step = STEP_DONE;
    }
}

static void go_home(struct shopper *s)
{
    struct crowd *crowd = s->crowd;

    if (s->step != STEP_DONE) {
        s->step = STEP_DONE;
        crowd->home++;
        if (crowd->home == crowd->plan->shoppers) {
            (void)event_base_loopexit(crowd->base, NULL); /* else the closing timer ends it */
        }
    }
}

static void go(struct shopper *s, enum step step, int64_t ms)
{
    s->step = step;
    s->tries = 0;
    later(s, ms);
}

/* Whether the crowd is still arriving: rates count what happens until then. */
static bool in_time(const struct crowd *crowd)
{
    return clock_mono_us() <= crowd->start_us + crowd->plan->spread_ms * 1000;
}

static void note_accepted(struct shopper *s)
{
    struct storm_result *r = s->crowd->result;
    struct storm_order *o = order_of(s);

    if (!o->accepted) {
        o->accepted = true;
        r->accepted++;
        r->accepted_in_time += in_time(s->crowd);
    }
}

static void note_decided(struct shopper *s)
{
    struct storm_result *r = s->crowd->result;

    r->decided++;
    r->decided_in_time += in_time(s->crowd);
    histogram_add(&r->to_decided, clock_mono_us() - s->since_us);
}

/* Notes an order_id; two different ones for one key contradict each other. */
static void note_id(struct shopper *s, const char *order_id)
{
    struct storm_order *o = order_of(s);

    if (order_id == NULL) {
        return;
    }
    if (o->order_id[0] != '\0' && strcmp(o->order_id, order_id) != 0) {
        o->contradicted = true;
    }
    (void)snprintf(o->order_id, sizeof(o->order_id), "%s", order_id);
}

/* Notes a state; states that cannot follow each other contradict each other. */
static void note_state(struct shopper *s, const char *state, const char *reason)
{
    struct storm_order *o = order_of(s);

    if (strcmp(state, "reserved") == 0) {
        o->contradicted = o->contradicted || o->rejected;
        o->reserved = true;
    } else if (strcmp(state, "rejected") == 0) {
        o->contradicted = o->contradicted || o->reserved || o->paid || o->cancelled || o->expired;
        o->rejected = true;
        (void)snprintf(o->reason, sizeof(o->reason), "%s", reason == NULL ? "" : reason);
    } else if (strcmp(state, "paid") == 0) {
        o->contradicted = o->contradicted || o->rejected || o->cancelled;
        o->paid = true;
    } else if (strcmp(state, "cancelled") == 0) {
        o->contradicted = o->contradicted || o->rejected || o->paid;
        o->cancelled = true;
    } else if (strcmp(state, "expired") == 0) {
        o->contradicted = o->contradicted || o->rejected;
        o->expired = true;
    }
}

static bool is_decided(const char *state)
{
    return strcmp(state, "reserved") == 0 || strcmp(state, "rejected") == 0 ||
           strcmp(state, "paid") == 0 || strcmp(state, "cancelled") == 0 ||
           strcmp(state, "expired") == 0;
}

/* Sold out is not the end for those who come back: holds expire. */
static void turned_away(struct shopper *s, const char *reason)
{
    if (strcmp(reason, "sold_out") == 0 && s->returns > 0) {
        s->returns--;
        new_order(s);
        s->since_us = 0; /* set when it presses */
        go(s, STEP_ORDER, 1500 + (int64_t)(draw(s->crowd) % 3000));
    } else {
        go_home(s);
    }
}

static void decided(struct shopper *s, const char *state, const char *reason)
{
    struct crowd *crowd = s->crowd;

    if (strcmp(state, "rejected") == 0) {
        storm_count(&crowd->result->rejected, reason == NULL ? "none" : reason);
    }
    note_decided(s);
    if (s->asks_again) {
        s->asks_again = false;
        go(s, STEP_AGAIN, (int64_t)(draw(crowd) % 300));
    } else if (strcmp(state, "reserved") == 0 && s->then == 'p') {
        go(s, STEP_PAY, (int64_t)(draw(crowd) % 1500));
    } else if (strcmp(state, "reserved") == 0 && s->then == 'c') {
        go(s, STEP_CANCEL, (int64_t)(draw(crowd) % 1000));
    } else if (strcmp(state, "rejected") == 0) {
        turned_away(s, reason == NULL ? "" : reason);
    } else {
        go_home(s);
    }
}

/* 429, 503, 504 and silence: the same request again, later.  False for other answers. */
static bool try_again(struct shopper *s, const struct client_answer *a, const char *reason)
{
    struct storm_result *r = s->crowd->result;
    int64_t wait_ms = a->retry_after_s > 0 ? a->retry_after_s * 1000 : 300;

    if (a->status == 0 || a->status == 504) {
        r->unknown++;
        wait_ms = 300;
    } else if (a->status == 429 || a->status == 503) {
        storm_count(&r->refused, reason == NULL ? "none" : reason);
    } else {
        return false;
    }
    if (++s->tries > ASKS_MAX) {
        go_home(s);
    } else {
        later(s, wait_ms + (int64_t)(draw(s->crowd) % 200));
    }
    return true;
}

static const char *text_of(json_t *body, const char *name)
{
    return json_string_value(json_object_get(body, name));
}

static void on_order(struct shopper *s, const struct client_answer *a, json_t *body)
{
    const char *state = text_of(body, "state");
    const char *reason = text_of(body, "reason");

    if (s->step == STEP_ORDER && s->tries == 0 && (a->status == 202 || a->status == 201)) {
        histogram_add(&s->crowd->result->to_accepted, clock_mono_us() - s->since_us);
    }
    if (try_again(s, a, reason)) {
        return;
    }
    note_id(s, text_of(body, "order_id"));
    if (a->status < 300) {
        note_accepted(s);
    }
    if (state != NULL && is_decided(state)) {
        if (a->status == 409) {
            note_accepted(s);
        }
        note_state(s, state, reason);
        decided(s, state, reason);
    } else if (a->status == 202 || a->status == 200) {
        go(s, STEP_ASK, 20 + (int64_t)(draw(s->crowd) % 100));
    } else if (a->status == 409) { /* the door's own refusal: no order was made */
        storm_count(&s->crowd->result->refused, reason == NULL ? "none" : reason);
        turned_away(s, reason == NULL ? "" : reason);
    } else {
        s->crowd->result->unexpected++;
        go_home(s);
    }
}

static void on_ask(struct shopper *s, const struct client_answer *a, json_t *body)
{
    const char *state = text_of(body, "state");

    if (try_again(s, a, text_of(body, "reason"))) {
        return;
    }
    if (a->status == 200 && state != NULL && is_decided(state)) {
        note_state(s, state, text_of(body, "reason"));
        decided(s, state, text_of(body, "reason"));
    } else if (a->status == 200 || a->status == 404) { /* still in line */
        if (++s->tries > ASKS_MAX) {
            order_of(s)->contradicted = true; /* accepted and never decided */
            go_home(s);
        } else {
            later(s, a->status == 404 ? 500 : 50);
        }
    } else {
        s->crowd->result->unexpected++;
        go_home(s);
    }
}

static void on_pay(struct shopper *s, const struct client_answer *a, json_t *body)
{
    const char *payment = text_of(body, "payment");
    const char *first = text_of(body, "first_payment");
    struct storm_order *o = order_of(s);

    if (try_again(s, a, text_of(body, "reason"))) {
        return;
    }
    if (payment != NULL && strcmp(payment, "queued") == 0) {
        if (++s->tries > ASKS_MAX) {
            o->contradicted = true;
            go_home(s);
        } else {
            later(s, 100); /* the same payment once more: its answer is remembered */
        }
        return;
    }
    if (payment != NULL && strcmp(payment, "duplicate") == 0) {
        payment = first;
    }
    if (payment != NULL && strcmp(payment, "paid") == 0) {
        o->pay_paid = true;
        note_state(s, "paid", NULL);
    } else if (payment != NULL && strcmp(payment, "refund_due") == 0) {
        o->pay_refund = true;
    } else {
        s->crowd->result->unexpected++;
    }
    go_home(s);
}

static void on_cancel(struct shopper *s, const struct client_answer *a, json_t *body)
{
    const char *state = text_of(body, "state");
    const char *reason = text_of(body, "reason");

    if (try_again(s, a, reason)) {
        return;
    }
    if (a->status == 200 && state != NULL) {
        note_state(s, state, NULL);
    } else if (a->status == 409 && reason != NULL && strcmp(reason, "already_cancelled") == 0) {
        note_state(s, "cancelled", NULL); /* an earlier try of ours did it */
    } else if (a->status == 409 && reason != NULL && strcmp(reason, "expired") == 0) {
        note_state(s, "expired", NULL);
    } else if (a->status != 202) {
        s->crowd->result->unexpected++;
    }
    go_home(s);
}

static void on_again(struct shopper *s, const struct client_answer *a, json_t *body)
{
    const char *state = text_of(body, "state");

    if (try_again(s, a, text_of(body, "reason"))) {
        return;
    }
    note_id(s, text_of(body, "order_id"));
    if (state != NULL && is_decided(state)) {
        note_state(s, state, text_of(body, "reason"));
    }
    if (order_of(s)->reserved && s->then != 'a') {
        go(s, s->then == 'p' ? STEP_PAY : STEP_CANCEL, (int64_t)(draw(s->crowd) % 1000));
    } else {
        go_home(s);
    }
}

static void on_answer(const struct client_answer *a, void *arg)
{
    struct shopper *s = arg;
    json_t *body = json_loadb(a->body.ptr == NULL ? "" : a->body.ptr, a->body.len, 0, NULL);

    switch (s->step) {
    case STEP_ORDER:
        on_order(s, a, body);
        break;
    case STEP_ASK:
        on_ask(s, a, body);
        break;
    case STEP_AGAIN:
        on_again(s, a, body);
        break;
    case STEP_PAY:
        on_pay(s, a, body);
        break;
    case STEP_CANCEL:
        on_cancel(s, a, body);
        break;
    case STEP_DONE:
        break;
    }
    json_decref(body);
}

/* The second press of a shopper who pressed twice: it must speak of the same order. */
static void on_second_press(const struct client_answer *a, void *arg)
{
    struct shopper *s = arg;
    json_t *body = json_loadb(a->body.ptr == NULL ? "" : a->body.ptr, a->body.len, 0, NULL);
    const char *state = text_of(body, "state");

    if (a->status >= 200 && a->status < 300 && s->key == 1) {
        note_id(s, text_of(body, "order_id"));
        if (state != NULL && is_decided(state)) {
            note_state(s, state, text_of(body, "reason"));
        }
    }
    json_decref(body);
}

static void press(struct shopper *s)
{
    const struct storm_plan *plan = s->crowd->plan;
    char request[TOKEN_MAX + 400];
    char body[200];

    if (s->since_us == 0) {
        s->since_us = clock_mono_us();
    }
    (void)snprintf(request, sizeof(request),
                   "POST /v1/orders HTTP/1.1\r\nAuthorization: Bearer %s\r\nContent-Type: "
                   "application/json\r\nIdempotency-Key: press-%d\r\n%s",
                   s->token, s->key, s->waits ? "Prefer: wait=5\r\n" : "");
    (void)snprintf(body, sizeof(body), "{\"item_id\":\"%s\",\"qty\":1}", plan->item_id);
    client_send(s->crowd->client, request, body, on_answer, s);
    if (s->presses_twice) {
        s->presses_twice = false;
        client_send(s->crowd->client, request, body, on_second_press, s);
    }
}

static void send_step(struct shopper *s)
{
    struct storm_order *o = order_of(s);
    bool pays = s->step == STEP_PAY;
    char request[TOKEN_MAX + 400];
    char body[100];

    if (pays) {
        (void)snprintf(o->payment_id, sizeof(o->payment_id), "pay-%x-%zu-%d", s->crowd->plan->run,
                       s->number, s->key);
        (void)snprintf(body, sizeof(body), "{\"payment_id\":\"%s\"}", o->payment_id);
    }
    (void)snprintf(
        request, sizeof(request),
        "%s /v1/orders/%s%s HTTP/1.1\r\nAuthorization: Bearer %s\r\nPrefer: wait=%d\r\n%s",
        pays                     ? "POST"
        : s->step == STEP_CANCEL ? "DELETE"
                                 : "GET",
        o->order_id, pays ? "/payment" : "", s->token, WAIT_S,
        pays ? "Content-Type: application/json\r\n" : "");
    client_send(s->crowd->client, request, pays ? body : NULL, on_answer, s);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct shopper *s = arg;

    (void)fd;
    (void)what;
    if (s->step == STEP_ORDER || s->step == STEP_AGAIN) {
        press(s);
    } else if (s->step != STEP_DONE) {
        send_step(s);
    }
}

static void on_progress(evutil_socket_t fd, short what, void *arg)
{
    struct crowd *crowd = arg;
    const struct storm_result *r = crowd->result;
    int64_t ms = (clock_mono_us() - crowd->start_us) / 1000;
    size_t connected = client_connected(crowd->client);

    (void)fd;
    (void)what;
    if (connected > crowd->result->connected) {
        crowd->result->connected = connected;
    }
    if (crowd->plan->progress) {
        (void)fprintf(stderr,
                      "\r%3" PRId64 ".%" PRId64 " s  requests %" PRIu64 "  accepted %" PRIu64
                      "  decided %" PRIu64 "  gone home %zu of %zu \033[K",
                      ms / 1000, ms % 1000 / 100, client_requests(crowd->client), r->accepted,
                      r->decided, crowd->home, crowd->plan->shoppers);
    }
}

static void on_closing(evutil_socket_t fd, short what, void *arg)
{
    struct crowd *crowd = arg;

    (void)fd;
    (void)what;
    (void)event_base_loopexit(crowd->base, NULL); /* the patience is over either way */
}

static int64_t arrival_ms(struct crowd *crowd)
{
    int64_t spread = crowd->plan->spread_ms;
    int64_t fifth = spread / 5 + 1;

    return chance(crowd, crowd->plan->front) ? (int64_t)(draw(crowd) % (uint64_t)fifth)
                                             : (int64_t)(draw(crowd) % (uint64_t)(spread + 1));
}

static bool invite(struct crowd *crowd, size_t number, struct err *err)
{
    struct shopper *s = &crowd->shoppers[number];
    char user[32];
    char token[TOKEN_MAX];
    unsigned fate = (unsigned)(draw(crowd) % 100);
    int64_t at_ms = arrival_ms(crowd);

    (void)snprintf(user, sizeof(user), "shopper-%zu", number);
    if (!jwt_mint(slice_str(crowd->plan->secret), slice_str(user), 3600, token, sizeof(token),
                  err)) {
        return false;
    }
    s->crowd = crowd;
    s->number = number;
    s->token = xstrdup(token);
    s->waits = chance(crowd, 50);
    s->presses_twice = chance(crowd, 10);
    s->asks_again = chance(crowd, 10);
    s->returns = chance(crowd, 40) ? crowd->plan->returns : 0;
    s->then = "pca"[(fate >= 60) + (fate >= 75)];
    s->timer = evtimer_new(crowd->base, on_timer, s);
    if (s->timer == NULL) {
        return err_set(err, ERR_FATAL, "out of memory");
    }
    new_order(s);
    s->since_us = crowd->start_us + at_ms * 1000;
    go(s, STEP_ORDER, (s->since_us - clock_mono_us()) / 1000);
    return true;
}

static bool gather(struct crowd *crowd, struct err *err)
{
    const struct storm_plan *plan = crowd->plan;
    struct timeval tick = {.tv_usec = 200000};
    struct timeval patience = {.tv_sec = plan->patience_ms / 1000};

    crowd->base = event_base_new();
    crowd->client = crowd->base == NULL
                        ? NULL
                        : client_create(crowd->base, plan->url, plan->connections, 20000, err);
    if (crowd->client == NULL) {
        return false;
    }
    crowd->progress = event_new(crowd->base, -1, EV_PERSIST, on_progress, crowd);
    crowd->closing = evtimer_new(crowd->base, on_closing, crowd);
    if (crowd->progress == NULL || crowd->closing == NULL ||
        event_add(crowd->progress, &tick) != 0 || event_add(crowd->closing, &patience) != 0) {
        return err_set(err, ERR_FATAL, "out of memory");
    }
    crowd->start_us = clock_mono_us() + 1000000; /* a second to open the connections and to mint */
    client_open_all(crowd->client);
    for (size_t i = 0; i < plan->shoppers; i++) {
        if (!invite(crowd, i, err)) {
            return false;
        }
    }
    return true;
}

static void dismiss(struct crowd *crowd)
{
    for (size_t i = 0; i < crowd->plan->shoppers; i++) {
        free(crowd->shoppers[i].token);
        if (crowd->shoppers[i].timer != NULL) {
            event_free(crowd->shoppers[i].timer);
        }
    }
    free(crowd->shoppers);
    client_destroy(crowd->client);
    if (crowd->progress != NULL) {
        event_free(crowd->progress);
    }
    if (crowd->closing != NULL) {
        event_free(crowd->closing);
    }
    if (crowd->base != NULL) {
        event_base_free(crowd->base);
    }
}

bool storm_run(const struct storm_plan *plan, struct storm_result *result, struct err *err)
{
    struct crowd crowd = {.plan = plan, .result = result, .random = plan->seed};
    bool done = false;

    memset(result, 0, sizeof(*result));
    crowd.shoppers = xcalloc(plan->shoppers, sizeof(*crowd.shoppers));
    crowd.capacity = plan->shoppers + 1;
    result->orders = xcalloc(crowd.capacity, sizeof(*result->orders));
    if (gather(&crowd, err)) {
        done = event_base_dispatch(crowd.base) >= 0 ||
               err_set(err, ERR_FATAL, "the event loop failed");
        on_progress(-1, 0, &crowd);
        if (plan->progress) {
            (void)fputc('\n', stderr);
        }
        result->requests = client_requests(crowd.client);
    }
    dismiss(&crowd);
    return done;
}

void storm_fini(struct storm_result *result)
{
    free(result->orders);
    result->orders = NULL;
}
