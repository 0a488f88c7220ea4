/*
 * On the loop's thread an outcome is only taken apart and appended to arrays; sorting, merging and
 * adding up are done by ledger_settle() on the writer's.
 */
#include "guardian/ledger.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mutant.h"
#include "common/xmalloc.h"
#include "guardian/ledger_impl.h"

void *ledger_grow(void *at, size_t n, size_t *room, size_t size)
{
    if (n == *room) {
        *room = n == 0 ? 64 : 2 * n;
        at = xreallocarray(at, *room, size);
    }
    assert(at != NULL);
    return at;
}

struct ledger *ledger_create(int partition)
{
    struct ledger *l = xcalloc(1, sizeof(*l));

    l->partition = partition;
    return l;
}

void ledger_destroy(struct ledger *l)
{
    if (l == NULL) {
        return;
    }
    free(l->mark.items);
    free(l->archive.users);
    free(l->refused.at);
    free(l->touches.at);
    free(l->moves.at);
    free(l->payments.at);
    free(l->operations.at);
    free(l->users.at);
    free(l->items.at);
    free(l->orders.at);
    free(l->sorted.at);
    free(l);
}

void ledger_begin(struct ledger *l, const struct progress *base)
{
    l->base = *base;
    l->end = *base;
    l->records = 0;
    l->rows = 0;
    free(l->mark.items);
    l->mark = (struct ledger_mark){0};
    l->has_mark = false;
    free(l->archive.users);
    l->archive = (struct ledger_archive){0};
    l->has_archive = false;
    l->refused.n = 0;
    l->touches.n = 0;
    l->moves.n = 0;
    l->payments.n = 0;
    l->operations.n = 0;
    ledger_rewind(l);
}

int ledger_partition(const struct ledger *l)
{
    return l->partition;
}

const struct progress *ledger_base(const struct ledger *l)
{
    return &l->base;
}

const struct progress *ledger_end(const struct ledger *l)
{
    return &l->end;
}

size_t ledger_records(const struct ledger *l)
{
    return l->records;
}

size_t ledger_rows(const struct ledger *l)
{
    return l->rows;
}

const struct ledger_mark *ledger_mark(const struct ledger *l)
{
    return l->has_mark ? &l->mark : NULL;
}

void ledger_skip_mark(struct ledger *l)
{
    l->mark.is_skipped = l->has_mark;
}

bool ledger_is_alone(const struct outcome *o)
{
    for (size_t i = 0; i < o->n_events; i++) {
        if (o->events[i].type == EVENT_MARK || o->events[i].type == EVENT_ARCHIVED) {
            return true;
        }
    }
    return false;
}

bool ledger_is_full(const struct ledger *l)
{
    return l->has_mark || l->has_archive;
}

/* Taking outcomes apart. */

static struct ledger_touch *add_touch(struct ledger *l, const struct outcome *o,
                                      const struct event *e)
{
    uint32_t seq = (uint32_t)l->touches.n;
    struct ledger_touch *t = LEDGER_GROW(l->touches);

    *t = (struct ledger_touch){
        .user_id = e->user_id,
        .item_id = e->item_id,
        .qty = e->qty,
        .due = e->due,
        .offset = o->offset,
        .log_time = o->log_time,
        .seq = seq,
    };
    memcpy(t->order_id, e->order_id, sizeof(t->order_id));
    return t;
}

static void add_move(struct ledger *l, const struct outcome *o, const struct event *e,
                     enum ledger_cause cause)
{
    struct ledger_move *m = LEDGER_GROW(l->moves);

    *m = (struct ledger_move){
        .cause = cause,
        .index = e->index,
        .offset = o->offset,
        .log_time = o->log_time,
        .item_id = e->item_id,
        .user_id = e->user_id,
        .qty = e->qty,
    };
    memcpy(m->order_id, e->order_id, sizeof(m->order_id));
}

static void add_payment(struct ledger *l, const struct outcome *o, const struct event *e)
{
    struct ledger_payment *p = LEDGER_GROW(l->payments);

    *p = (struct ledger_payment){
        .payment_id = e->payment_id,
        .user_id = e->user_id,
        .reason = e->type == EVENT_PAID ? REASON_NONE : e->reason,
        .late = e->late,
        .offset = o->offset,
        .log_time = o->log_time,
    };
    memcpy(p->order_id, e->order_id, sizeof(p->order_id));
}

static void add_operation(struct ledger *l, const struct outcome *o, const struct event *e)
{
    size_t place = l->operations.n;
    struct ledger_operation *op = LEDGER_GROW(l->operations);

    *op = (struct ledger_operation){
        .op_id = e->op_id,
        .item_id = e->item_id,
        .reason = e->reason, /* none of what was done */
        .state = e->item_state,
        .offset = o->offset,
        .log_time = o->log_time,
    };
    if (e->reason != REASON_NONE) {
        return;
    }
    memcpy(op->action, e->action, sizeof(op->action));
    op->total = e->total;
    op->available = e->available;
    op->held = e->held;
    op->sold = e->sold;
    op->limit = e->limit;
    op->hold_ms = e->hold_ms;
    op->opens_at = e->opens_at;
    op->closes_at = e->closes_at;
    op->price = e->price;
    if (e->type == EVENT_STOCK) {
        add_move(l, o, e, LEDGER_STOCK);
        l->moves.at[l->moves.n - 1].operation = place;
        l->moves.at[l->moves.n - 1].qty = 0;
    }
}

static void add_archive(struct ledger *l, const struct outcome *o, const struct event *e)
{
    struct ledger_operation *op;

    add_operation(l, o, e);
    op = &l->operations.at[l->operations.n - 1];
    (void)snprintf(op->action, sizeof(op->action), "archive");
    op->state = 'a';
    op->held = 0;
    op->available = e->total - e->sold;
    l->has_archive = true;
    l->archive = (struct ledger_archive){
        .item_id = e->item_id,
        .users = e->users == NULL ? NULL : xstrdup(e->users),
        .orders = e->orders,
        .total = e->total,
        .sold = e->sold,
        .offset = o->offset,
    };
}

static void add_refused(struct ledger *l, const struct outcome *o, const struct event *e)
{
    struct ledger_refused *r = LEDGER_GROW(l->refused);

    *r = (struct ledger_refused){
        .user_id = e->user_id,
        .item_id = e->item_id,
        .reason = e->reason,
        .qty = e->qty,
        .offset = o->offset,
        .log_time = o->log_time,
    };
    memcpy(r->order_id, e->order_id, sizeof(r->order_id));
}

static void add_decision(struct ledger *l, const struct outcome *o, const struct event *e)
{
    struct ledger_touch *t = add_touch(l, o, e);
    bool is_keyed = false;

    t->prior = ORDER_NONE;
    if (e->type == EVENT_RESERVED) {
        t->state = ORDER_RESERVED;
        t->memory = LEDGER_REMEMBERED;
        add_move(l, o, e, LEDGER_RESERVED);
        return;
    }
    t->state = ORDER_REJECTED;
    t->reason = e->reason;
    if (!ids_parse_order(slice_str(e->order_id), NULL, &is_keyed) || !is_keyed) {
        t->memory = LEDGER_FORGOTTEN;
    } else {
        t->memory = e->reason == REASON_LIMIT_REACHED ? LEDGER_DEPENDS : LEDGER_REMEMBERED;
    }
}

static void add_change(struct ledger *l, const struct outcome *o, const struct event *e)
{
    struct ledger_touch *t = add_touch(l, o, e);

    t->prior = e->type == EVENT_PAID && e->late ? ORDER_EXPIRED : ORDER_RESERVED;
    switch (e->type) {
    case EVENT_PAID:
        t->state = ORDER_PAID;
        add_move(l, o, e, e->late ? LEDGER_LATE : LEDGER_PAID);
        add_payment(l, o, e);
        break;
    case EVENT_CANCELLED:
        t->state = ORDER_CANCELLED;
        add_move(l, o, e, LEDGER_CANCELLED);
        break;
    default:
        t->state = ORDER_EXPIRED;
        add_move(l, o, e, LEDGER_EXPIRED);
        break;
    }
}

static void add_mark(struct ledger *l, const struct outcome *o, const struct event *e)
{
    free(l->mark.items);
    l->has_mark = true;
    l->mark = (struct ledger_mark){
        .run_id = e->op_id,
        .offset = o->offset,
        .log_time = o->log_time,
        .orders = e->orders,
        .payments = e->payments,
        .n_items = e->n_items,
        .items = xreallocarray(NULL, e->n_items + 1, sizeof(*l->mark.items)),
    };
    if (e->n_items > 0) {
        memcpy(l->mark.items, e->items, e->n_items * sizeof(*e->items));
    }
}

static bool add_event(struct ledger *l, const struct outcome *o, const struct event *e)
{
    switch (e->type) {
    case EVENT_RESERVED:
    case EVENT_REJECTED:
        if (e->type == EVENT_RESERVED || !MUTANT(REJECTED_UNRECORDED)) {
            add_decision(l, o, e);
        }
        return true;
    case EVENT_PAID:
    case EVENT_CANCELLED:
    case EVENT_EXPIRED:
        add_change(l, o, e);
        return true;
    case EVENT_REFUND_DUE:
        add_payment(l, o, e);
        return true;
    case EVENT_STOCK:
        add_operation(l, o, e);
        return true;
    case EVENT_REFUSED:
        if (e->op_id.len > 0) {
            add_operation(l, o, e);
        } else if (e->qty > 0) {
            add_refused(l, o, e);
        }
        return true;
    case EVENT_ARCHIVED:
        if (l->records > 0) {
            return false;
        }
        add_archive(l, o, e);
        return true;
    case EVENT_MARK:
        if (l->records > 0) {
            return false;
        }
        add_mark(l, o, e);
        return true;
    case EVENT_DUPLICATE:
    case EVENT_GENESIS:
    case EVENT_RULES:
        return true;
    }
    return false;
}

bool ledger_add(struct ledger *l, const struct outcome *o, const struct progress *after,
                struct err *err)
{
    const size_t n_events = MUTANT(POSITION_IN_COMMAND) && o->n_events > 1 ? 1 : o->n_events;

    if (ledger_is_full(l)) {
        return err_set(err, ERR_FATAL, "offset %" PRId64 " follows what must be alone in its batch",
                       o->offset);
    }
    for (size_t i = 0; i < n_events; i++) {
        if (!add_event(l, o, &o->events[i])) {
            return err_set(err, ERR_FATAL, "offset %" PRId64 ": event %zu cannot be recorded",
                           o->offset, i);
        }
    }
    l->rows += o->n_events;
    l->records++;
    l->end = *after;
    return true;
}
