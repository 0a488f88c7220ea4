/*
 * Strict on purpose: a line comes from a script that runs elsewhere, and what it says becomes the
 * record for ever.  So each letter is taken only for the commands it answers, each reason only
 * where the rules give it.  What the line lacks stands in the command.
 */
#include "common/outcome_line.h"

#include <stdlib.h>
#include <string.h>

#include "common/event_shape.h"
#include "common/fields.h"
#include "common/xmalloc.h"

#define COMMAND_BIT(type) (1U << (type))

enum {
    WHY_NOT_PAID = FIELDS_BIT(REASON_UNKNOWN_ORDER) | FIELDS_BIT(REASON_CLOSED) |
                   FIELDS_BIT(REASON_PAUSED) | FIELDS_BIT(REASON_LIMIT_REACHED) |
                   FIELDS_BIT(REASON_SOLD_OUT) | FIELDS_BIT(REASON_ALREADY_PAID) |
                   FIELDS_BIT(REASON_ALREADY_CANCELLED) | FIELDS_BIT(REASON_ALREADY_REJECTED),
    WHY_NOT_CANCELLED = FIELDS_BIT(REASON_UNKNOWN_ORDER) | FIELDS_BIT(REASON_ALREADY_PAID) |
                        FIELDS_BIT(REASON_ALREADY_CANCELLED) | FIELDS_BIT(REASON_ALREADY_REJECTED) |
                        FIELDS_BIT(REASON_EXPIRED),
    WHY_NOT_DONE = FIELDS_BIT(REASON_UNKNOWN_ITEM) | FIELDS_BIT(REASON_CLOSED) |
                   FIELDS_BIT(REASON_BELOW_COMMITTED) | FIELDS_BIT(REASON_BAD_OPERATION),
};

/* One command and the event being read for it. */
struct context {
    const struct command *cmd;
    int partition;
    struct event *event;
};

static void set_order(const struct context *c)
{
    memcpy(c->event->order_id, c->cmd->order_id, sizeof(c->event->order_id));
    c->event->user_id = c->cmd->user_id;
}

static void set_operation(const struct context *c)
{
    c->event->op_id = c->cmd->other_id;
    c->event->item_id = c->cmd->item_id;
}

/* The first field is `available`, or minus the reason. */
static void read_decision(const struct context *c, struct fields *f)
{
    struct event *e = c->event;
    const int64_t n = fields_number(f, -(REASON_COUNT - 1), COMMAND_TOTAL_MAX);

    set_order(c);
    e->item_id = c->cmd->item_id;
    e->qty = c->cmd->qty;
    if (n < 0) {
        e->type = EVENT_REJECTED;
        e->reason = (enum reason) - n;
        if ((FIELDS_BIT(-n) & EVENT_WHY_REJECTED) == 0) {
            f->bad = true;
        }
        e->available = fields_number(f, 0, COMMAND_TOTAL_MAX);
    } else {
        e->type = EVENT_RESERVED;
        e->available = n;
        e->due = fields_number(f, 0, COMMAND_TIME_MAX);
    }
}

static void read_expired(const struct context *c, struct fields *f)
{
    struct event *e = c->event;

    e->type = EVENT_EXPIRED;
    fields_order(f, e->order_id, c->partition);
    fields_id(f, &e->user_id);
    fields_item(f, &e->item_id);
    e->qty = fields_number(f, 1, COMMAND_QTY_MAX);
    e->available = fields_number(f, 0, COMMAND_TOTAL_MAX);
}

static void read_paid(const struct context *c, struct fields *f)
{
    struct event *e = c->event;

    e->type = EVENT_PAID;
    set_order(c);
    if (e->user_id.len == 0) {
        f->bad = true; /* without a user no order is found */
    }
    e->payment_id = c->cmd->other_id;
    fields_item(f, &e->item_id);
    e->qty = fields_number(f, 1, COMMAND_QTY_MAX);
    e->late = fields_number(f, 0, 1) == 1;
    e->available = fields_number(f, 0, COMMAND_TOTAL_MAX);
}

static void read_cancelled(const struct context *c, struct fields *f)
{
    struct event *e = c->event;

    e->type = EVENT_CANCELLED;
    set_order(c);
    fields_item(f, &e->item_id);
    e->qty = fields_number(f, 1, COMMAND_QTY_MAX);
    e->available = fields_number(f, 0, COMMAND_TOTAL_MAX);
}

static void read_refund(const struct context *c, struct fields *f)
{
    c->event->type = EVENT_REFUND_DUE;
    set_order(c);
    c->event->payment_id = c->cmd->other_id;
    c->event->reason = fields_reason(f, c->cmd->user_id.len == 0 ? FIELDS_BIT(REASON_UNKNOWN_ORDER)
                                                                 : WHY_NOT_PAID);
}

static void read_duplicate_order(const struct context *c, struct fields *f)
{
    struct event *e = c->event;

    e->type = EVENT_DUPLICATE;
    set_order(c);
    fields_item(f, &e->item_id);
    e->qty = fields_number(f, 1, COMMAND_QTY_MAX);
    e->state = (enum order_state)fields_char(f, EVENT_ORDER_STATES);
    e->reason =
        fields_reason(f, e->state == ORDER_REJECTED ? EVENT_WHY_REJECTED : FIELDS_BIT(REASON_NONE));
}

static void read_duplicate_payment(const struct context *c, struct fields *f)
{
    struct event *e = c->event;

    e->type = EVENT_DUPLICATE;
    set_order(c);
    e->payment_id = c->cmd->other_id;
    fields_order(f, e->first_order_id, c->partition);
    e->payment = fields_char(f, EVENT_PAYMENTS);
}

static void read_duplicate_operation(const struct context *c, struct fields *f)
{
    (void)f;
    c->event->type = EVENT_DUPLICATE;
    set_operation(c);
}

static void read_refused(const struct context *c, struct fields *f)
{
    unsigned allowed = FIELDS_BIT(REASON_BAD_OPERATION);

    c->event->type = EVENT_REFUSED;
    if (c->cmd->type == COMMAND_CANCEL) {
        set_order(c);
        allowed = WHY_NOT_CANCELLED;
    } else if (c->cmd->type == COMMAND_ORDER) { /* its item is archived */
        set_order(c);
        c->event->item_id = c->cmd->item_id;
        c->event->qty = c->cmd->qty;
        allowed = FIELDS_BIT(REASON_CLOSED);
    } else if (c->cmd->type == COMMAND_MALFORMED) {
        c->event->detail = c->cmd->detail;
        allowed = FIELDS_BIT(REASON_MALFORMED);
    } else if (c->cmd->type != COMMAND_GENESIS) {
        set_operation(c);
        allowed = WHY_NOT_DONE;
    }
    c->event->reason = fields_reason(f, allowed);
}

static void read_stock(const struct context *c, struct fields *f)
{
    struct event *e = c->event;
    const char *action =
        c->cmd->type == COMMAND_RESTOCK ? "restock" : command_action_name(c->cmd->action);

    e->type = EVENT_STOCK;
    set_operation(c);
    memcpy(e->action, action, strlen(action) + 1);
    e->total = fields_number(f, 0, COMMAND_TOTAL_MAX);
    e->available = fields_number(f, 0, COMMAND_TOTAL_MAX);
    e->held = fields_number(f, 0, COMMAND_TOTAL_MAX);
    e->sold = fields_number(f, 0, COMMAND_TOTAL_MAX);
    e->limit = fields_number(f, 1, COMMAND_LIMIT_MAX);
    e->hold_ms = fields_number(f, 1, COMMAND_HOLD_MAX_MS);
    e->opens_at = fields_number(f, 0, COMMAND_TIME_MAX);
    e->closes_at = fields_number(f, 0, COMMAND_TIME_MAX);
    e->item_state = fields_char(f, EVENT_ITEM_STATES);
    e->price = fields_number(f, 0, COMMAND_PRICE_MAX);
}

static void read_genesis(const struct context *c, struct fields *f)
{
    (void)f;
    c->event->type = EVENT_GENESIS;
    memcpy(c->event->log_id, c->cmd->other_id.s, sizeof(c->event->log_id));
    c->event->partitions = c->cmd->partitions;
    c->event->rules = c->cmd->rules;
}

static void read_rules(const struct context *c, struct fields *f)
{
    (void)f;
    c->event->type = EVENT_RULES;
    c->event->rules = c->cmd->rules;
}

static void read_archived(const struct context *c, struct fields *f)
{
    struct event *e = c->event;

    e->type = EVENT_ARCHIVED;
    set_operation(c);
    if (c->cmd->users.ptr != NULL) {
        e->users = xmemdup0(c->cmd->users.ptr, c->cmd->users.len);
    }
    e->orders = fields_number(f, 0, c->cmd->users.ptr == NULL ? 0 : COMMAND_TIME_MAX);
    e->total = fields_number(f, 0, COMMAND_TOTAL_MAX);
    e->sold = fields_number(f, 0, COMMAND_TOTAL_MAX);
}

static int compare_items(const void *a, const void *b)
{
    const struct event_item *x = a;
    const struct event_item *y = b;

    return strcmp(x->item_id.s, y->item_id.s); /* compares unsigned bytes; item ids are ASCII */
}

/* One `item_id,total,available,held,sold` of a mark. */
static bool read_mark_item(struct slice text, struct event_item *item)
{
    struct fields f = fields_start(text, ',');

    fields_item(&f, &item->item_id);
    item->total = fields_number(&f, 0, COMMAND_TIME_MAX);
    item->available = fields_number(&f, 0, COMMAND_TIME_MAX);
    item->held = fields_number(&f, 0, COMMAND_TIME_MAX);
    item->sold = fields_number(&f, 0, COMMAND_TIME_MAX);
    return fields_end(&f);
}

/* The order of a mark's items is the script's; the outcome's is by bytes, whatever the locale. */
static void read_mark(const struct context *c, struct fields *f)
{
    struct event *e = c->event;

    e->type = EVENT_MARK;
    e->op_id = c->cmd->other_id;
    e->orders = fields_number(f, 0, COMMAND_TIME_MAX);
    e->payments = fields_number(f, 0, COMMAND_TIME_MAX);
    while (!f->bad && f->rest.ptr != NULL) {
        if (!read_mark_item(fields_next(f), event_add_item(e))) {
            f->bad = true;
        }
    }
    if (f->bad || e->n_items == 0) {
        return;
    }
    qsort(e->items, e->n_items, sizeof(*e->items), compare_items);
    for (size_t i = 1; i < e->n_items; i++) {
        if (compare_items(&e->items[i - 1], &e->items[i]) == 0) {
            f->bad = true;
        }
    }
}

/* What a line may say, by its letter, and of which commands. */
static const struct answer {
    char letter;
    unsigned commands;
    void (*read)(const struct context *c, struct fields *f);
} ANSWERS[] = {
    {'p', COMMAND_BIT(COMMAND_PAY), read_paid},
    {'c', COMMAND_BIT(COMMAND_CANCEL), read_cancelled},
    {'r', COMMAND_BIT(COMMAND_PAY), read_refund},
    {'d', COMMAND_BIT(COMMAND_ORDER), read_duplicate_order},
    {'D', COMMAND_BIT(COMMAND_PAY), read_duplicate_payment},
    {'o', COMMAND_BIT(COMMAND_SALE) | COMMAND_BIT(COMMAND_RESTOCK) | COMMAND_BIT(COMMAND_ARCHIVE),
     read_duplicate_operation},
    {'x',
     COMMAND_BIT(COMMAND_ORDER) | COMMAND_BIT(COMMAND_CANCEL) | COMMAND_BIT(COMMAND_SALE) |
         COMMAND_BIT(COMMAND_RESTOCK) | COMMAND_BIT(COMMAND_ARCHIVE) |
         COMMAND_BIT(COMMAND_GENESIS) | COMMAND_BIT(COMMAND_MALFORMED),
     read_refused},
    {'s', COMMAND_BIT(COMMAND_SALE) | COMMAND_BIT(COMMAND_RESTOCK), read_stock},
    {'a', COMMAND_BIT(COMMAND_ARCHIVE), read_archived},
    {'g', COMMAND_BIT(COMMAND_GENESIS), read_genesis},
    {'v', COMMAND_BIT(COMMAND_SET_RULES), read_rules},
    {'m', COMMAND_BIT(COMMAND_MARK), read_mark},
};

static bool read_answer(const struct context *c, struct fields *f)
{
    const struct slice letter = fields_next(f);

    for (size_t i = 0; i < sizeof(ANSWERS) / sizeof(ANSWERS[0]); i++) {
        if (letter.len == 1 && letter.ptr[0] == ANSWERS[i].letter &&
            (ANSWERS[i].commands & COMMAND_BIT(c->cmd->type)) != 0) {
            ANSWERS[i].read(c, f);
            return fields_end(f);
        }
    }
    return false;
}

bool outcome_line_event(const struct command *cmd, int partition, struct slice text,
                        struct event *event, bool *is_answer)
{
    const struct context c = {cmd, partition, event};
    struct fields f = fields_start(text, ' ');

    event_clear(event);
    *is_answer = !slice_starts(text, SLICE_LIT("e "));
    if (!*is_answer) {
        (void)fields_next(&f);
        read_expired(&c, &f);
        return fields_end(&f);
    }
    if (text.len > 0 && (text.ptr[0] == '-' || (text.ptr[0] >= '0' && text.ptr[0] <= '9'))) {
        read_decision(&c, &f);
        return cmd->type == COMMAND_ORDER && fields_end(&f);
    }
    return read_answer(&c, &f);
}
