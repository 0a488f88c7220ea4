#include "tools/stampede/told.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

const char *const told_end_names[TOLD_ENDS] = {
    [TOLD_PAID] = "paid",           [TOLD_REFUND_DUE] = "refund_due",
    [TOLD_CANCELLED] = "cancelled", [TOLD_ABANDONED] = "abandoned",
    [TOLD_REJECTED] = "rejected",   [TOLD_REFUSED] = "refused",
    [TOLD_UNKNOWN] = "unknown",     [TOLD_UNSERVED] = "unserved",
};

/* The row of a name, which is made when there is none; the last one stands for all that are too many. */
static size_t row_of(struct told_tally *tally, struct slice name)
{
    const size_t len = name.len < TOLD_REASON_MAX - 1 ? name.len : TOLD_REASON_MAX - 1;
    size_t i = 0;

    if (len == 0) {
        return row_of(tally, SLICE_LIT("none"));
    }
    while (i < tally->n && (strlen(tally->rows[i].name) != len ||
                            memcmp(tally->rows[i].name, name.ptr, len) != 0)) {
        i++;
    }
    if (i == TOLD_REASONS) {
        return TOLD_REASONS - 1; /* more reasons than the protocol has */
    }
    if (i == tally->n) {
        memcpy(tally->rows[i].name, name.ptr, len);
        tally->n++;
    }
    return i;
}

void told_tally_add(struct told_tally *tally, struct slice name)
{
    tally->rows[row_of(tally, name)].count++;
}

void told_init(struct told *l, size_t capacity)
{
    l->capacity = capacity + 1;
    l->orders = xcalloc(l->capacity, sizeof(*l->orders));
}

void told_fini(struct told *l)
{
    free(l->orders);
    l->orders = NULL;
    l->n = l->capacity = 0;
}

size_t told_begin(struct told *l, uint32_t shopper, uint16_t press)
{
    if (l->n == l->capacity) {
        l->capacity *= 2;
        l->orders = xreallocarray(l->orders, l->capacity, sizeof(*l->orders));
    }
    l->orders[l->n] = (struct told_order){.shopper = shopper, .press = press};
    return l->n++;
}

const char *told_item(const struct told *l, uint32_t shopper)
{
    return l->items[shopper % l->n_items];
}

size_t told_user(uint32_t shopper, char out[TOLD_NAME_MAX])
{
    return (size_t)snprintf(out, TOLD_NAME_MAX, "shopper-%" PRIu32, shopper);
}

size_t told_payment(const struct told *l, const struct told_order *o, char out[TOLD_NAME_MAX])
{
    return (size_t)snprintf(out, TOLD_NAME_MAX, "pay-%x-%" PRIu32 "-%d", l->run, o->shopper,
                            o->press);
}

void told_note_id(struct told_order *o, struct slice order_id)
{
    char id[sizeof(o->order_id)];

    if (order_id.ptr == NULL) {
        return;
    }
    if (!slice_copy(order_id, id, sizeof(id)) ||
        (o->order_id[0] != '\0' && strcmp(o->order_id, id) != 0)) {
        o->contradicted = true;
        return;
    }
    memcpy(o->order_id, id, sizeof(id));
}

bool told_note_state(struct told *l, struct told_order *o, struct slice state, struct slice reason)
{
    bool untrue = false;

    if (slice_eq(state, SLICE_LIT("reserved"))) {
        untrue = o->rejected;
        o->reserved = true;
    } else if (slice_eq(state, SLICE_LIT("rejected"))) {
        untrue = o->reserved || o->paid || o->cancelled || o->expired;
        o->rejected = true;
        o->reason = (uint8_t)row_of(&l->reasons, reason);
    } else if (slice_eq(state, SLICE_LIT("paid"))) {
        untrue = o->rejected || o->cancelled;
        o->paid = true;
    } else if (slice_eq(state, SLICE_LIT("cancelled"))) {
        untrue = o->rejected || o->paid;
        o->cancelled = true;
    } else if (slice_eq(state, SLICE_LIT("expired"))) {
        untrue = o->rejected;
        o->expired = true;
    } else {
        return false;
    }
    o->unknown = false;
    o->contradicted = o->contradicted || untrue;
    return true;
}

enum told_end told_ended(const struct told_order *o)
{
    if (o->unknown) {
        return TOLD_UNKNOWN;
    }
    if (o->paid) {
        return TOLD_PAID;
    }
    if (o->pay_refund) {
        return TOLD_REFUND_DUE;
    }
    if (o->cancelled) {
        return TOLD_CANCELLED;
    }
    if (o->rejected) {
        return TOLD_REJECTED;
    }
    if (o->expired || (o->reserved && !o->pays && !o->cancels)) {
        return TOLD_ABANDONED;
    }
    if (o->accepted || o->reserved) {
        return TOLD_UNKNOWN;
    }
    return o->refused ? TOLD_REFUSED : TOLD_UNSERVED;
}

static json_t *line_of(const struct told *l, const struct told_order *o)
{
    const struct {
        bool was_told;
        const char *state;
    } states[] = {{o->reserved, "reserved"},
                  {o->rejected, "rejected"},
                  {o->paid, "paid"},
                  {o->cancelled, "cancelled"},
                  {o->expired, "expired"}};
    char name[TOLD_NAME_MAX];
    json_t *told = json_array();
    json_t *line = NULL;

    (void)told_user(o->shopper, name);
    line = json_pack("{s:s,s:s,s:s,s:b,s:o}", "order_id", o->order_id, "user_id", name, "item_id",
                     told_item(l, o->shopper), "accepted", (int)o->accepted, "told", told);
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        if (states[i].was_told) {
            json_array_append_new(told, json_string(states[i].state));
        }
    }
    if (o->rejected) {
        json_object_set_new(line, "reason", json_string(l->reasons.rows[o->reason].name));
    }
    if (o->pay_paid || o->pay_refund) {
        (void)told_payment(l, o, name);
        json_object_set_new(line, "payment_id", json_string(name));
        json_object_set_new(line, "payment", json_string(o->pay_paid ? "paid" : "refund_due"));
    }
    if (o->contradicted || (o->pay_paid && o->pay_refund)) {
        json_object_set_new(line, "contradicted", json_true());
    }
    return line;
}

bool told_write(const struct told *l, const char *path, const char *counts, struct err *err)
{
    FILE *f = fopen(path, "w");
    bool done = f != NULL;

    for (size_t i = 0; done && i < l->n; i++) {
        if (l->orders[i].order_id[0] != '\0') {
            json_t *line = line_of(l, &l->orders[i]);

            done = json_dumpf(line, f, JSON_COMPACT) == 0 && fputc('\n', f) != EOF;
            json_decref(line);
        }
    }
    done = done && fprintf(f, "{\"storm\":%s}\n", counts) > 0;
    if (f != NULL && fclose(f) != 0) {
        done = false;
    }
    return done || err_set(err, ERR_FATAL, "%s cannot be written: %s", path, strerror(errno));
}
