/*
 * What a shopper is told is compared with what the log made of his order.  What his door had read
 * when he came, it must not contradict, wherever Redis stands, nor what others may have told before it
 * began, which is all that the log had then.  That something is not decided may be the truth of
 * `floor`, the oldest position that Redis stood at while he waited, where no place in line is told.
 */
#include <stdio.h>
#include <string.h>

#include "tests/sim/log.h"
#include "tests/sim/porch.h"

#define BROKEN(v, promise, fmt, ...)                                                               \
    wrong((v)->world, "promise " promise " is broken: shopper %" PRIu64 " is told " fmt,           \
          (v)->number, __VA_ARGS__)

/* ---- reading an answer ---- */

/* The text of a member; empty when there is none. */
static void text_of(struct slice body, const char *name, char out[IDS_MAX])
{
    char member[24];
    const char *at;
    size_t n = 0;

    out[0] = '\0';
    if (body.ptr == NULL) {
        return;
    }
    (void)snprintf(member, sizeof(member), "\"%s\":", name);
    at = memmem(body.ptr, body.len, member, strlen(member));
    if (at == NULL) {
        return;
    }
    at += strlen(member);
    at += *at == '"';
    while (n + 1 < IDS_MAX && at < body.ptr + body.len && strchr("\",}]", *at) == NULL) {
        out[n++] = *at++;
    }
    out[n] = '\0';
}

static int64_t number_of(struct slice body, const char *name)
{
    char text[IDS_MAX];
    int64_t n;

    text_of(body, name, text);
    return slice_to_i64(slice_str(text), 0, INT64_MAX, &n) ? n : -1;
}

/* ---- what is true ---- */

static struct shard *shard_of(const struct http_request *v)
{
    return &v->world->shards[v->wish->shard];
}

static const struct row_order *row_of(const struct http_request *v, const char *order_id)
{
    char user[NAME_SIZE];

    (void)wish_user(v->wish, user);
    return tables_order(&shard_of(v)->judged, order_id, user);
}

static enum order_state state_of(const char *name)
{
    static const enum order_state states[] = {ORDER_RESERVED, ORDER_REJECTED, ORDER_PAID,
                                              ORDER_CANCELLED, ORDER_EXPIRED};

    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        if (strcmp(name, order_state_name(states[i])) == 0) {
            return states[i];
        }
    }
    return ORDER_NONE;
}

static enum order_state state_in(const char *orders, const char *order_id)
{
    struct slice rest = orders == NULL ? (struct slice){NULL, 0} : slice_str(orders);
    struct order_entry entry;

    while (order_entry_next(&rest, &entry) == 1) {
        if (slice_eq(entry.order_id, slice_str(order_id))) {
            return entry.state;
        }
    }
    return ORDER_NONE;
}

/* The order was in that state at some position from the last one on that his door had read. */
static bool was_so(const struct http_request *v, const char *order_id, enum order_state state)
{
    const struct shard *s = shard_of(v);
    const char *known = NULL;

    for (const struct node *node = log_at(s, s->n - 1); node != NULL; node = node->parent) {
        const char *orders = node->orders[v->wish->user];

        if (orders != known && state_in(orders, order_id) == state) {
            return true;
        }
        known = orders;
        if (node->offset <= v->highest) {
            break;
        }
    }
    return false;
}

/* By the rules; what is archived is remembered until a Redis has come there. */
static bool is_forgotten(const struct http_request *v, const struct row_order *row)
{
    const struct shard *s = shard_of(v);
    const size_t place = (size_t)(row - s->judged.orders);

    return s->judged.is_forgotten[place] && s->judged.archived[place] <= s->farthest;
}

/* The newest position that his door could know of, by Redis or by what it had to know. */
static int64_t known_to(const struct http_request *v)
{
    return v->floor > v->highest ? v->floor : v->highest;
}

/* Remembered by the rules, and decided where everybody could know it. */
static bool is_decided(const struct http_request *v, const char *order_id, int64_t position)
{
    const struct row_order *row = row_of(v, order_id);

    return row != NULL && !is_forgotten(v, row) && row->decided_offset <= position;
}

static bool is_in_log(const struct http_request *v, const char *order_id, int64_t position)
{
    const struct shard *s = shard_of(v);

    for (int64_t i = position < 0 ? 0 : position; i < (position < 0 ? s->n : position + 1); i++) {
        const struct node *node = log_at(s, i);

        if (node != NULL && node->type == COMMAND_ORDER && strstr(node->value, order_id) != NULL) {
            return true;
        }
    }
    return false;
}

/* ---- what is told ---- */

static void learn(struct http_request *v, const char *order_id)
{
    struct wish *wish = v->wish;

    if (order_id[0] == '\0') {
        BROKEN(v, "2", "no order id%s", "");
    }
    if (wish->order_id[0] != '\0' && strcmp(wish->order_id, order_id) != 0) {
        BROKEN(v, "2", "of a second order %s: his first is %s", order_id, wish->order_id);
    }
    for (size_t i = 0; i < v->world->crowd->n_wishes; i++) {
        const struct wish *other = &v->world->crowd->wishes[i];

        if (other != wish && strcmp(other->order_id, order_id) == 0) {
            BROKEN(v, "2", "%s, which is another key's or another's order", order_id);
        }
    }
    memcpy(wish->order_id, order_id, sizeof(wish->order_id));
}

/*
 * Nobody remembers that an order without a key was rejected: where its record landed twice, the second
 * may be decided otherwise; nor that one was rejected because its user had too many, of which an archive
 * may have forgotten some since (docs/protocol.md, section 4).
 */
static bool was_rejected(const struct http_request *v, const char *order_id, const char *reason)
{
    const struct shard *s = shard_of(v);
    const bool is_remembered =
        v->wish->key != 0 && strcmp(reason, reason_name(REASON_LIMIT_REACHED)) != 0;
    bool found = false;

    for (int64_t i = 0; !is_remembered && i < s->n && !found; i++) {
        const struct node *node = log_at(s, i);

        found = node != NULL && node->type == COMMAND_ORDER &&
                strstr(node->value, order_id) != NULL && node->outcome != NULL &&
                strstr(node->outcome, order_state_name(ORDER_REJECTED)) != NULL &&
                strstr(node->outcome, reason) != NULL;
    }
    return found;
}

/* An order's state, decided: true of him, of his order, and of what he asked for. */
static void check_state(struct http_request *v, const char *order_id, const char *state,
                        const char *reason)
{
    const struct row_order *row = row_of(v, order_id);
    const enum order_state told = state_of(state);
    bool is_as_it_stands;

    if (v->is_stranger) {
        BROKEN(v, "3", "of %s, which is not his", order_id);
    }
    if (told == ORDER_NONE) {
        BROKEN(v, "3", "`%s` of %s, which is no state", state, order_id);
    }
    if (shard_of(v)->cut >= 0) {
        return; /* it may have been so before */
    }
    if (row == NULL) {
        BROKEN(v, "3", "`%s` of %s, which the log does not decide", state, order_id);
    }
    is_as_it_stands =
        told == row->state && strcmp(reason, reason_name((enum reason)row->reason)) == 0;
    if (told == ORDER_REJECTED && !is_as_it_stands && was_rejected(v, order_id, reason)) {
        return;
    }
    /* What the rules do not remember may have been rejected before, with other content. */
    if (v->kind == CALLS_ORDER && row->qty != v->qty && !is_forgotten(v, row)) {
        BROKEN(v, "2", "of an order of %" PRId64 " where he wants %" PRId64, row->qty, v->qty);
    }
    /* What it came to in the end, it came to; the rest may have changed on the answer's way. */
    if (told != row->state && (order_state_is_final(told) || !was_so(v, order_id, told))) {
        BROKEN(v, "3", "`%s` of %s, which it was not since %" PRId64, state, order_id, v->highest);
    }
    if (told == ORDER_REJECTED && !is_as_it_stands) {
        BROKEN(v, "3", "that %s was rejected for `%s`", order_id, reason);
    }
    if (shard_of(v)->judged.archived[row - shard_of(v)->judged.orders] > 0) {
        seen(COVER_TOLD_FORGOTTEN);
    }
}

/*
 * `unknown` of an order whose decision stood in Redis all the time; `queued`, or that there is no such
 * order, of one whose decision the door had to know of.
 */
static void check_undecided(struct http_request *v, const char *state)
{
    const int64_t known = strcmp(state, "unknown") == 0 ? v->floor : known_to(v);
    const struct row_order *row = row_of(v, v->wish->order_id);

    if (!v->is_stranger && shard_of(v)->cut < 0 && is_decided(v, v->wish->order_id, known)) {
        BROKEN(v, "3", "`%s` of %s, which is decided", state, v->wish->order_id);
    }
    /* Without a key nobody sends it again: also what the rules forget is never in line once more. */
    if (!v->is_stranger && shard_of(v)->cut < 0 && strcmp(state, "queued") == 0 &&
        v->wish->key == 0 && v->wish->told > 0 && v->wish->told < v->number && row != NULL &&
        row->decided_offset <= known_to(v)) {
        BROKEN(v, "3", "`queued` of %s, of which he was told the state", v->wish->order_id);
    }
}

static void check_queued(struct http_request *v, const char *order_id, int64_t position)
{
    if (shard_of(v)->cut < 0 && !is_in_log(v, order_id, position)) {
        BROKEN(v, "2", "that %s is accepted at %" PRId64 ", where the log has it not", order_id,
               position);
    }
    v->wish->position = position >= 0 ? position : v->wish->position;
}

static bool is_undecided(const char *state)
{
    return strcmp(state, "queued") == 0 || strcmp(state, "unknown") == 0;
}

static void hear_order(struct http_request *v, int status, struct slice body)
{
    char order_id[IDS_MAX];
    char state[IDS_MAX];
    char reason[IDS_MAX];

    text_of(body, "order_id", order_id);
    text_of(body, "state", state);
    text_of(body, "reason", reason);
    if (v->kind == CALLS_ORDER) {
        learn(v, order_id);
    }
    if (status == 202) {
        check_queued(v, order_id, number_of(body, "position"));
        seen(COVER_TOLD_QUEUED);
    } else if (is_undecided(state)) {
        check_undecided(v, state);
    } else {
        check_state(v, order_id, state, reason);
        if (status == 201 && strcmp(state, "reserved") != 0) {
            BROKEN(v, "3", "201 with `%s`", state);
        }
        v->wish->is_final = true;
        v->wish->told = v->world->crowd->n_visits;
        seen(COVER_TOLD_STATE);
    }
}

static void hear_payment(struct http_request *v, struct slice body)
{
    struct shard *s = shard_of(v);
    const struct row_payment *row = tables_payment(&s->judged, v->payment_id);
    char payment[IDS_MAX];

    text_of(body, "payment", payment);
    if (s->cut >= 0 || strcmp(payment, "queued") == 0 || strcmp(payment, "duplicate") == 0) {
        return;
    }
    seen(COVER_TOLD_PAYMENT);
    if (row == NULL || row->answer != (strcmp(payment, "paid") == 0 ? 'P' : 'R')) {
        BROKEN(v, "5", "`%s` of a payment that is not", payment);
    }
}

static void end_visit(struct http_request *v)
{
    v->is_used = false;
    v->porch->did = COVER_LEFT_ANSWERING;
    v->world->crowd->pending--;
}

/* What is said to one who left, or by a process that was killed, is heard by nobody. */
static bool is_heard(const struct http_request *v)
{
    return !v->porch->is_killed && !v->is_gone;
}

void http_reply_json(struct http_request *req, int status, const struct http_field *fields,
                     struct slice body)
{
    struct http_request *v = req;

    (void)fields;
    end_visit(v);
    if (!is_heard(v)) {
        return;
    }
    tell(v->world, "shopper %" PRIu64 ": hears %d %.*s", v->number, status, (int)body.len,
         body.ptr);
    switch (v->kind) {
    case CALLS_ORDER:
    case CALLS_SHOW:
        hear_order(v, status, body);
        break;
    case CALLS_PAY:
        hear_payment(v, body);
        break;
    case CALLS_CANCEL:
        if (status == 200) {
            check_state(v, v->wish->order_id, "cancelled", "");
        }
        break;
    case CALLS_ITEM:
        break;
    }
}

/* ---- refusals ---- */

/* He is told that this request placed nothing: what was sent for it must never stand in the log. */
static void check_placed_nothing(struct http_request *v)
{
    struct crowd *crowd = v->world->crowd;

    if (v->has_landed) {
        BROKEN(v, "2", "that nothing was placed, and the log has it: %s", v->wish->order_id);
    }
    for (size_t i = 0; i < crowd->n_parcels; i++) {
        crowd->parcels[i].is_denied =
            crowd->parcels[i].is_denied || crowd->parcels[i].visit == v->number;
    }
}

/* A gate may refuse an order of qty for this reason while the item is so; NULL: there is none. */
static bool may_refuse(const char *text, int64_t qty, const char *reason)
{
    struct item_entry item;

    if (text == NULL || !item_entry_parse(slice_str(text), &item)) {
        return strcmp(reason, "unknown_item") == 0;
    }
    return (strcmp(reason, "sold_out") == 0 && item.available < qty) ||
           (strcmp(reason, "paused") == 0 && item.state == 'p') ||
           (strcmp(reason, "limit_reached") == 0 && item.limit < qty) ||
           (strcmp(reason, "not_open") == 0 && item.opens_at > 0) ||
           (strcmp(reason, "closed") == 0 &&
            (item.closes_at > 0 || item.state == 'c' || item.state == 'a'));
}

/* It was so at some position from the last one on that his door had to know. */
static bool was_refusable(const struct http_request *v, const char *reason)
{
    const struct shard *s = shard_of(v);

    for (const struct node *node = log_at(s, s->n - 1); node != NULL; node = node->parent) {
        if (may_refuse(node->items[v->wish->item - 'x'], v->qty, reason)) {
            return true;
        }
        if (node->offset <= v->highest) {
            break;
        }
    }
    return false;
}

/* The door itself says that there is nothing for him. */
static void check_gate(struct http_request *v, const char *reason)
{
    char order_id[IDS_ORDER_LEN + 1];
    char user[NAME_SIZE];
    char item[NAME_SIZE];
    char key[NAME_SIZE];

    if (shard_of(v)->cut >= 0) {
        return;
    }
    if (v->wish->key != 0) {
        (void)snprintf(key, sizeof(key), "k%d", v->wish->key);
        ids_order_keyed(order_id, v->wish->shard, wish_user(v->wish, user),
                        wish_item(v->wish, item), slice_str(key));
        if (is_decided(v, order_id, known_to(v))) {
            BROKEN(v, "3", "`%s` by a gate, and his order %s is decided", reason, order_id);
        }
    }
    if (strcmp(reason, "sold_out") == 0) {
        seen(COVER_GATE_SHUT);
    }
    if (v->is_sound && porch_is_sound(v->porch, v->wish->shard) && !was_refusable(v, reason)) {
        BROKEN(v, "9", "`%s` by a gate that has read that it is not so", reason);
    }
    if (v->is_probe && strcmp(reason, "sold_out") == 0) {
        BROKEN(v, "9", "`%s` when units are there and nothing is amiss", reason);
    }
    v->wish->is_final = true;
}

/* His order stands in the log, and is no longer decided there: so there is no state. */
static void check_archived(struct http_request *v, const char *reason)
{
    char name[NAME_SIZE];
    const struct row_item *item;

    (void)wish_item(v->wish, name);
    item = tables_item(&shard_of(v)->judged, name);
    seen(COVER_TOLD_ARCHIVED);
    if (shard_of(v)->cut < 0 &&
        (item == NULL || item->state != 'a' || strcmp(reason, "closed") != 0)) {
        BROKEN(v, "3", "`%s` of %s without a state, and its item is not archived", reason,
               v->wish->order_id);
    }
}

/* That his payment or cancel did nothing: of a payment nobody is told so, and a cancel was refused. */
static void check_refused(struct http_request *v, const struct http_problem *problem)
{
    const struct shard *s = shard_of(v);
    bool found = false;

    if (v->kind == CALLS_PAY) {
        BROKEN(v, "5", "`%s` of a payment", problem->reason);
    }
    for (int64_t i = 0; i < s->n && !found; i++) {
        const struct node *node = log_at(s, i);

        found = node != NULL && node->type == COMMAND_CANCEL &&
                strstr(node->value, v->wish->order_id) != NULL && node->outcome != NULL &&
                strstr(node->outcome, "\"refused\"") != NULL;
    }
    if (s->cut < 0 && !found) {
        BROKEN(v, "3", "`%s` of a cancel, and none was refused", problem->reason);
    }
}

static void hear_conflict(struct http_request *v, const struct http_problem *problem)
{
    char order_id[IDS_MAX];
    char state[IDS_MAX];

    text_of(problem->members, "order_id", order_id);
    if (v->kind != CALLS_ORDER) {
        check_refused(v, problem);
        return;
    }
    if (order_id[0] == '\0') {
        check_placed_nothing(v);
        check_gate(v, problem->reason);
        return;
    }
    learn(v, order_id);
    text_of(problem->members, "state", state);
    if (state[0] == '\0') {
        check_archived(v, problem->reason);
    } else {
        check_state(v, order_id, "rejected", problem->reason);
        v->wish->told = v->world->crowd->n_visits;
        seen(COVER_TOLD_REJECTED);
    }
    v->wish->is_final = true;
}

static void hear_unknown(struct http_request *v, const struct http_problem *problem)
{
    char order_id[IDS_MAX];

    text_of(problem->members, "order_id", order_id);
    if (v->kind == CALLS_ORDER) {
        learn(v, order_id);
    }
    seen(COVER_TOLD_UNKNOWN);
}

/* What Redis has forgotten stands in MySQL. */
static void check_unrecorded(struct http_request *v)
{
    const struct row_order *row = row_of(v, v->wish->order_id);

    if (!v->is_stranger && shard_of(v)->cut < 0 && row != NULL &&
        row->decided_offset <= v->recorded) {
        BROKEN(v, "3", "that there is no %s, which MySQL has", v->wish->order_id);
    }
}

static void hear_not_found(struct http_request *v, const struct http_problem *problem)
{
    if (v->kind == CALLS_ORDER) {
        check_placed_nothing(v);
        check_gate(v, problem->reason);
    } else if (v->kind == CALLS_SHOW) {
        check_undecided(v, problem->reason);
        check_unrecorded(v);
        v->wish->is_final = v->wish->is_final || v->world->is_healing;
    } else {
        check_refused(v, problem);
    }
}

void http_reply_problem(struct http_request *req, const struct http_problem *problem,
                        const struct http_field *fields)
{
    struct http_request *v = req;

    (void)fields;
    end_visit(v);
    if (!is_heard(v)) {
        return;
    }
    tell(v->world, "shopper %" PRIu64 ": hears %d %s: %s", v->number, problem->status,
         problem->reason, problem->detail);
    switch (problem->status) {
    case 404:
        hear_not_found(v, problem);
        break;
    case 409:
        hear_conflict(v, problem);
        break;
    case 422:
        seen(COVER_TOLD_REUSED);
        if ((v->wish->qtys & ~(1U << v->qty)) == 0) {
            BROKEN(v, "2", "`%s`, and he never asked for anything else", problem->reason);
        }
        v->wish->is_final = true;
        break;
    case 503:
        check_placed_nothing(v);
        seen(COVER_TOLD_LATER);
        break;
    case 504:
        hear_unknown(v, problem);
        break;
    default:
        BROKEN(v, "3", "%d %s", problem->status, problem->reason);
    }
}
