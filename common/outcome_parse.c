/*
 * Two readers of one record.  plain_outcome() takes exactly the bytes that outcome_format() writes,
 * in place; whatever differs, if only by a blank or an unknown member, it leaves to jansson.  So
 * the second decides what is a record and says what is wrong with it, and the first is only fast.
 * The fuzz target compares the two.
 */
#include "common/outcome.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/event_shape.h"
#include "common/plain.h"
#include "common/xmalloc.h"

enum {
    EVENTS_MAX = 1024, /* more than any rules number will need; bounds what a record can allocate */
};

/* The members of a record beside its events, not checked yet. */
struct head {
    int64_t partition, offset, prev, rules, log_time;
    struct slice genesis, hash, chain;
};

static bool set_head(struct outcome *o, const struct head *h, struct err *err)
{
    if (h->partition < 0 || h->partition >= IDS_PARTITIONS_MAX) {
        return err_set(err, ERR_REJECT, "partition is out of range");
    }
    if (h->offset < 0 || h->offset > COMMAND_TIME_MAX) {
        return err_set(err, ERR_REJECT, "offset is out of range");
    }
    if (h->prev < -1 || h->prev >= h->offset) {
        return err_set(err, ERR_REJECT, "prev is out of range");
    }
    if (!ids_is_log(h->genesis) || !slice_copy(h->genesis, o->genesis, sizeof(o->genesis))) {
        return err_set(err, ERR_REJECT, "genesis is no log id");
    }
    if (!ids_hash_parse(h->hash, &o->hash)) {
        return err_set(err, ERR_REJECT, "hash is no hash");
    }
    if (!ids_hash_parse(h->chain, &o->chain)) {
        return err_set(err, ERR_REJECT, "chain is no hash");
    }
    if (h->rules < 1 || h->rules > COMMAND_RULES_MAX) {
        return err_set(err, ERR_REJECT, "rules is out of range");
    }
    if (h->log_time < 0 || h->log_time > COMMAND_TIME_MAX) {
        return err_set(err, ERR_REJECT, "log_time is out of range");
    }
    o->partition = (int)h->partition;
    o->offset = h->offset;
    o->prev = h->prev;
    o->rules = h->rules;
    o->log_time = h->log_time;
    return true;
}

static struct event *add_event(struct outcome *o)
{
    struct event *e;

    if (o->n_events == o->cap_events) {
        o->cap_events = 2 * o->cap_events + 1;
        o->events = xreallocarray(o->events, o->cap_events, sizeof(*o->events));
    }
    e = &o->events[o->n_events];
    event_clear(e);
    e->index = (int)o->n_events++;
    return e;
}

/* Back to what add_event() gave. */
static void reset_event(struct event *e)
{
    const int index = e->index;

    event_fini(e);
    event_clear(e);
    e->index = index;
}

static void drop_events(struct outcome *o)
{
    for (size_t i = 0; i < o->n_events; i++) {
        event_fini(&o->events[i]);
    }
    o->n_events = 0;
}

static bool set_reason(enum reason *reason, struct slice s)
{
    for (int i = REASON_NONE + 1; i < REASON_COUNT; i++) {
        if (slice_eq(s, slice_str(reason_name((enum reason)i)))) {
            *reason = (enum reason)i;
            return true;
        }
    }
    return false;
}

static bool set_state(enum order_state *state, struct slice s)
{
    for (size_t i = 0; EVENT_ORDER_STATES[i] != '\0'; i++) {
        if (slice_eq(s, slice_str(order_state_name((enum order_state)EVENT_ORDER_STATES[i])))) {
            *state = (enum order_state)EVENT_ORDER_STATES[i];
            return true;
        }
    }
    return false;
}

static bool set_item_state(char *state, struct slice s)
{
    for (size_t i = 0; EVENT_ITEM_STATES[i] != '\0'; i++) {
        if (slice_eq(s, slice_str(item_state_name(EVENT_ITEM_STATES[i])))) {
            *state = EVENT_ITEM_STATES[i];
            return true;
        }
    }
    return false;
}

static bool set_payment(char *payment, struct slice s)
{
    for (size_t i = 0; EVENT_PAYMENTS[i] != '\0'; i++) {
        if (slice_eq(s, slice_str(event_payment_name(EVENT_PAYMENTS[i])))) {
            *payment = EVENT_PAYMENTS[i];
            return true;
        }
    }
    return false;
}

static bool set_action(char action[16], struct slice s)
{
    if (!slice_eq(s, SLICE_LIT("restock"))) {
        int i = COMMAND_OPEN;

        while (!slice_eq(s, slice_str(command_action_name((enum command_action)i)))) {
            if (++i > COMMAND_CLOSE) {
                return false;
            }
        }
    }
    return slice_copy(s, action, 16);
}

static bool set_users(char **users, struct slice s)
{
    if (!command_is_users(s)) {
        return false;
    }
    *users = xmemdup0(s.ptr, s.len);
    return true;
}

static bool set_detail(enum command_detail *detail, struct slice s)
{
    for (int i = COMMAND_NULL_VALUE; i <= COMMAND_WRONG_PARTITION; i++) {
        if (slice_eq(s, slice_str(command_detail_name((enum command_detail)i)))) {
            *detail = (enum command_detail)i;
            return true;
        }
    }
    return false;
}

/* Stores a text in the event; false when the member may not have it. */
static bool set_text(void *field, enum shape_kind kind, struct slice s)
{
    switch (kind) {
    case SHAPE_ORDER:
        return ids_parse_order(s, NULL, NULL) && slice_copy(s, field, IDS_ORDER_LEN + 1);
    case SHAPE_LOG:
        return ids_is_log(s) && slice_copy(s, field, IDS_LOG_LEN + 1);
    case SHAPE_ITEM:
        return ids_is_item(s) && command_set_text(field, s);
    case SHAPE_ID:
        return ids_is_id(s) && command_set_text(field, s);
    case SHAPE_REASON:
        return set_reason(field, s);
    case SHAPE_STATE:
        return set_state(field, s);
    case SHAPE_PAYMENT:
        return set_payment(field, s);
    case SHAPE_ITEM_STATE:
        return set_item_state(field, s);
    case SHAPE_ACTION:
        return set_action(field, s);
    case SHAPE_DETAIL:
        return set_detail(field, s);
    case SHAPE_USERS:
        return set_users(field, s);
    case SHAPE_NUMBER:
    case SHAPE_BOOL:
    case SHAPE_ITEMS:
        break;
    }
    return false;
}

/* ---- as we write it ---- */

/* A number with what stands before it. */
static bool plain_number(struct plain *p, struct slice opening, int64_t *n)
{
    return plain_bytes(p, opening) && plain_i64(p, n);
}

static bool plain_counter(struct plain *p, struct slice opening, int64_t *n)
{
    return plain_number(p, opening, n) && *n >= 0 && *n <= COMMAND_TIME_MAX;
}

static bool plain_item(struct plain *p, struct event_item *item)
{
    struct slice item_id;

    return plain_bytes(p, SLICE_LIT("{\"item_id\":")) && plain_text(p, &item_id) &&
           ids_is_item(item_id) && command_set_text(&item->item_id, item_id) &&
           plain_counter(p, SLICE_LIT(",\"total\":"), &item->total) &&
           plain_counter(p, SLICE_LIT(",\"available\":"), &item->available) &&
           plain_counter(p, SLICE_LIT(",\"held\":"), &item->held) &&
           plain_counter(p, SLICE_LIT(",\"sold\":"), &item->sold) && plain_char(p, '}');
}

static bool plain_items(struct plain *p, struct event *e)
{
    if (!plain_char(p, '[')) {
        return false;
    }
    if (plain_char(p, ']')) {
        return true;
    }
    do {
        if (!plain_item(p, event_add_item(e))) {
            return false;
        }
    } while (plain_char(p, ','));
    return plain_char(p, ']');
}

static bool plain_member(struct plain *p, struct event *e, const struct shape_member *m)
{
    void *field = (char *)e + m->at;
    struct slice s;

    if (!plain_bytes(p, m->opening)) {
        return m->optional;
    }
    switch (m->kind) {
    case SHAPE_NUMBER:
        return plain_i64(p, field) && *(int64_t *)field >= m->min && *(int64_t *)field <= m->max;
    case SHAPE_BOOL:
        *(bool *)field = plain_bytes(p, SLICE_LIT("true"));
        return *(bool *)field || plain_bytes(p, SLICE_LIT("false"));
    case SHAPE_ITEMS:
        return plain_items(p, e);
    default:
        return plain_text(p, &s) && set_text(field, m->kind, s);
    }
}

/* Reads the members of one shape and the closing brace. */
static bool plain_shape(struct plain *p, struct event *e, const struct shape *shape)
{
    e->type = shape->type;
    for (size_t i = 0; i < shape->n_members; i++) {
        if (!plain_member(p, e, &shape->members[i])) {
            return false;
        }
    }
    return plain_char(p, '}');
}

static bool plain_event(struct plain *p, struct outcome *o)
{
    struct event *e = add_event(o);
    size_t n;
    const struct shape *shapes = shape_list(&n);
    struct slice type;
    int64_t index;

    if (!plain_bytes(p, SLICE_LIT("{\"index\":")) || !plain_i64(p, &index) || index != e->index ||
        !plain_bytes(p, SLICE_LIT(",\"type\":")) || !plain_text(p, &type)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        struct plain attempt = *p;

        if (!slice_eq(type, slice_str(event_type_name(shapes[i].type)))) {
            continue;
        }
        if (plain_shape(&attempt, e, &shapes[i])) {
            *p = attempt;
            return true;
        }
        reset_event(e);
    }
    return false;
}

static bool plain_outcome(struct outcome *o, struct slice value)
{
    struct plain p = plain_start(value);
    struct head h;

    if (!plain_number(&p, SLICE_LIT("{\"partition\":"), &h.partition) ||
        !plain_number(&p, SLICE_LIT(",\"offset\":"), &h.offset) ||
        !plain_number(&p, SLICE_LIT(",\"prev\":"), &h.prev) ||
        !plain_bytes(&p, SLICE_LIT(",\"genesis\":")) || !plain_text(&p, &h.genesis) ||
        !plain_bytes(&p, SLICE_LIT(",\"hash\":")) || !plain_text(&p, &h.hash) ||
        !plain_bytes(&p, SLICE_LIT(",\"chain\":")) || !plain_text(&p, &h.chain) ||
        !plain_number(&p, SLICE_LIT(",\"rules\":"), &h.rules) ||
        !plain_number(&p, SLICE_LIT(",\"log_time\":"), &h.log_time) ||
        !plain_bytes(&p, SLICE_LIT(",\"events\":[")) || !set_head(o, &h, NULL)) {
        return false;
    }
    if (!plain_char(&p, ']')) {
        do {
            if (o->n_events == EVENTS_MAX || !plain_event(&p, o)) {
                return false;
            }
        } while (plain_char(&p, ','));
        if (!plain_char(&p, ']')) {
            return false;
        }
    }
    return plain_char(&p, '}') && plain_is_end(&p);
}

/* ---- any JSON ---- */

static bool get_text(const json_t *json, struct slice *s)
{
    if (!json_is_string(json)) {
        return false;
    }
    *s = (struct slice){json_string_value(json), json_string_length(json)};
    return true;
}

static bool get_number(const json_t *json, int64_t min, int64_t max, int64_t *n)
{
    if (!json_is_integer(json) || json_integer_value(json) < min ||
        json_integer_value(json) > max) {
        return false;
    }
    *n = json_integer_value(json);
    return true;
}

static bool get_items(const json_t *json, struct event *e)
{
    if (!json_is_array(json)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(json); i++) {
        const json_t *entry = json_array_get(json, i);
        struct event_item *item = event_add_item(e);
        struct slice item_id;

        if (!get_text(json_object_get(entry, "item_id"), &item_id) || !ids_is_item(item_id) ||
            !command_set_text(&item->item_id, item_id) ||
            !get_number(json_object_get(entry, "total"), 0, COMMAND_TIME_MAX, &item->total) ||
            !get_number(json_object_get(entry, "available"), 0, COMMAND_TIME_MAX,
                        &item->available) ||
            !get_number(json_object_get(entry, "held"), 0, COMMAND_TIME_MAX, &item->held) ||
            !get_number(json_object_get(entry, "sold"), 0, COMMAND_TIME_MAX, &item->sold)) {
            return false;
        }
    }
    return true;
}

static bool get_member(const json_t *json, struct event *e, const struct shape_member *m)
{
    void *field = (char *)e + m->at;
    struct slice s;

    switch (m->kind) {
    case SHAPE_NUMBER:
        return get_number(json, m->min, m->max, field);
    case SHAPE_BOOL:
        *(bool *)field = json_is_true(json);
        return json_is_boolean(json);
    case SHAPE_ITEMS:
        return get_items(json, e);
    default:
        return get_text(json, &s) && set_text(field, m->kind, s);
    }
}

static const struct shape *find_shape(const json_t *json, struct slice type)
{
    size_t n;
    const struct shape *shapes = shape_list(&n);

    for (size_t i = 0; i < n; i++) {
        if (slice_eq(type, slice_str(event_type_name(shapes[i].type))) &&
            (shapes[i].telling == NULL || json_object_get(json, shapes[i].telling) != NULL)) {
            return &shapes[i];
        }
    }
    return NULL;
}

static bool get_event(const json_t *json, struct event *e, struct err *err)
{
    const struct shape *shape;
    int64_t index = 0;
    struct slice type;

    if (!get_number(json_object_get(json, "index"), 0, EVENTS_MAX - 1, &index) ||
        index != e->index) {
        return err_set(err, ERR_REJECT, "event %d: not its index", e->index);
    }
    if (!get_text(json_object_get(json, "type"), &type)) {
        return err_set(err, ERR_REJECT, "event %d: no type", e->index);
    }
    shape = find_shape(json, type);
    if (shape == NULL) {
        return err_set(err, ERR_REJECT, "event %d: unknown type", e->index);
    }
    e->type = shape->type;
    for (size_t i = 0; i < shape->n_members; i++) {
        const struct shape_member *m = &shape->members[i];
        const struct slice name = shape_member_name(m);
        const json_t *value = json_object_getn(json, name.ptr, name.len);

        if ((value != NULL || !m->optional) && !get_member(value, e, m)) {
            return err_set(err, ERR_REJECT, "event %d, %s: %.*s is missing or wrong", e->index,
                           event_type_name(e->type), (int)name.len, name.ptr);
        }
    }
    return true;
}

static bool get_head(const json_t *json, struct head *h, struct err *err)
{
    const struct {
        const char *name;
        int64_t *number;
        struct slice *text;
    } members[] = {
        {"partition", &h->partition, NULL}, {"offset", &h->offset, NULL},
        {"prev", &h->prev, NULL},           {"genesis", NULL, &h->genesis},
        {"hash", NULL, &h->hash},           {"chain", NULL, &h->chain},
        {"rules", &h->rules, NULL},         {"log_time", &h->log_time, NULL},
    };

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        const json_t *value = json_object_get(json, members[i].name);

        if (members[i].number != NULL ? !get_number(value, INT64_MIN, INT64_MAX, members[i].number)
                                      : !get_text(value, members[i].text)) {
            return err_set(err, ERR_REJECT, "%s is missing or of another kind", members[i].name);
        }
    }
    return true;
}

static bool get_outcome(const json_t *json, struct outcome *o, struct err *err)
{
    const json_t *events = json_object_get(json, "events");
    struct head h = {.partition = -1};

    if (!get_head(json, &h, err) || !set_head(o, &h, err)) {
        return false;
    }
    if (!json_is_array(events) || json_array_size(events) > EVENTS_MAX) {
        return err_set(err, ERR_REJECT, "events is not a list of at most %d", EVENTS_MAX);
    }
    for (size_t i = 0; i < json_array_size(events); i++) {
        if (!get_event(json_array_get(events, i), add_event(o), err)) {
            return false;
        }
    }
    return true;
}

static bool any_outcome(struct outcome *o, struct slice value, struct err *err)
{
    json_error_t error;
    json_t *json = json_loadb(value.ptr, value.len, JSON_REJECT_DUPLICATES, &error);
    bool ok;

    if (json == NULL) {
        return err_set(err, ERR_REJECT, "not JSON: %s at byte %d", error.text, error.position);
    }
    ok = get_outcome(json, o, err);
    json_decref(json);
    return ok;
}

bool outcome_parse(struct outcome *o, struct slice value, struct err *err)
{
    drop_events(o);
    if (value.ptr == NULL) {
        return err_set(err, ERR_REJECT, "the value is null");
    }
    if (plain_outcome(o, value)) {
        return true;
    }
    drop_events(o);
    if (!any_outcome(o, value, err)) {
        drop_events(o);
        return false;
    }
    return true;
}

void outcome_fini(struct outcome *o)
{
    drop_events(o);
    free(o->events);
    *o = (struct outcome){.events = NULL};
}

bool outcome_is_passing(const struct outcome *o, size_t i)
{
    const struct event *last = &o->events[o->n_events - 1]; /* what the command itself did */

    return o->events[i].type == EVENT_EXPIRED && last->type == EVENT_PAID &&
           strcmp(o->events[i].order_id, last->order_id) == 0;
}
