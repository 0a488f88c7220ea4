/*
 * Three forms of one event: its part of a packed line, struct event, and its JSON.  read_line()
 * leads from the first to the second; from there one table (SHAPES: the members of each kind of
 * event, in the order of docs/protocol.md section 5) leads to JSON and back.
 *
 * A `duplicate` and a `refused` have several shapes, by what the command was.  Each has a member
 * that the others lack, and that tells them apart in both directions.
 */
#include "common/outcome.h"

#include <inttypes.h>
#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

enum {
    EXPIRE_MAX = 64,   /* holds that expire before a command (rules number 1) */
    EVENTS_MAX = 1024, /* more than any rules number will need; bounds what a record can allocate */
};

#define NUMBER_MAX COMMAND_TIME_MAX /* offsets, times and counts are below 2^53 */

enum kind {
    KIND_ORDER, /* char[IDS_ORDER_LEN + 1] */
    KIND_ITEM,  /* struct command_text */
    KIND_ID,    /* struct command_text */
    KIND_LOG,   /* char[IDS_LOG_LEN + 1] */
    KIND_NUMBER,
    KIND_BOOL,
    KIND_REASON,
    KIND_STATE,
    KIND_PAYMENT,
    KIND_ITEM_STATE,
    KIND_ACTION,
    KIND_DETAIL,
    KIND_ITEMS,
};

/* SLICE_LIT() is no constant initialiser in pedantic C. */
#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

/* One member of an event: where it lives in struct event, and a number's range. */
struct member {
    struct slice opening; /* how it begins in JSON: ,"NAME": */
    enum kind kind;
    bool optional; /* absent from JSON when empty or zero */
    size_t at;
    int64_t min, max;
};

#define MEMBER(name, kind, optional, field)                                                        \
    {                                                                                              \
        TEXT(",\"" name "\":"), kind, optional, offsetof(struct event, field), 0, 0                \
    }
#define NUMBER(name, field, min, max)                                                              \
    {                                                                                              \
        TEXT(",\"" name "\":"), KIND_NUMBER, false, offsetof(struct event, field), min, max        \
    }

#define ORDER_ID   MEMBER("order_id", KIND_ORDER, false, order_id)
#define ITEM_ID    MEMBER("item_id", KIND_ITEM, false, item_id)
#define USER_ID    MEMBER("user_id", KIND_ID, false, user_id)
#define USER_GIVEN MEMBER("user_id", KIND_ID, true, user_id)
#define PAYMENT_ID MEMBER("payment_id", KIND_ID, false, payment_id)
#define OP_ID      MEMBER("op_id", KIND_ID, false, op_id)
#define REASON     MEMBER("reason", KIND_REASON, false, reason)
#define QTY        NUMBER("qty", qty, 1, COMMAND_QTY_MAX)
#define AVAILABLE  NUMBER("available", available, 0, COMMAND_TOTAL_MAX)
#define RULES      NUMBER("rules", rules, 1, COMMAND_RULES_MAX)

static const struct member RESERVED[] = {
    ORDER_ID, ITEM_ID, USER_ID, QTY, NUMBER("due", due, 0, NUMBER_MAX), AVAILABLE,
};
static const struct member REJECTED[] = {ORDER_ID, ITEM_ID, USER_ID, QTY, REASON, AVAILABLE};
static const struct member PAID[] = {
    ORDER_ID, ITEM_ID, USER_ID, QTY, PAYMENT_ID, MEMBER("late", KIND_BOOL, false, late), AVAILABLE,
};
static const struct member GIVEN_BACK[] = {ORDER_ID, ITEM_ID, USER_ID, QTY, AVAILABLE};
static const struct member REFUND_DUE[] = {ORDER_ID, USER_GIVEN, PAYMENT_ID, REASON};
static const struct member DUPLICATE_ORDER[] = {
    ORDER_ID,
    ITEM_ID,
    USER_ID,
    QTY,
    MEMBER("state", KIND_STATE, false, state),
    MEMBER("reason", KIND_REASON, true, reason),
};
static const struct member DUPLICATE_PAYMENT[] = {
    ORDER_ID,
    USER_GIVEN,
    PAYMENT_ID,
    MEMBER("first_order_id", KIND_ORDER, false, first_order_id),
    MEMBER("payment", KIND_PAYMENT, false, payment),
};
static const struct member DUPLICATE_OPERATION[] = {OP_ID, ITEM_ID};
static const struct member REFUSED_CANCEL[] = {ORDER_ID, USER_ID, REASON};
static const struct member REFUSED_OPERATION[] = {OP_ID, ITEM_ID, REASON};
static const struct member REFUSED_MALFORMED[] = {
    REASON,
    MEMBER("detail", KIND_DETAIL, false, detail),
};
static const struct member REFUSED_GENESIS[] = {REASON};
static const struct member STOCK[] = {
    OP_ID,
    ITEM_ID,
    MEMBER("action", KIND_ACTION, false, action),
    MEMBER("state", KIND_ITEM_STATE, false, item_state),
    NUMBER("total", total, 0, COMMAND_TOTAL_MAX),
    AVAILABLE,
    NUMBER("held", held, 0, COMMAND_TOTAL_MAX),
    NUMBER("sold", sold, 0, COMMAND_TOTAL_MAX),
    NUMBER("limit", limit, 1, COMMAND_LIMIT_MAX),
    NUMBER("hold_ms", hold_ms, 1, COMMAND_HOLD_MAX_MS),
    NUMBER("opens_at", opens_at, 0, COMMAND_TIME_MAX),
    NUMBER("closes_at", closes_at, 0, COMMAND_TIME_MAX),
    NUMBER("price", price, 0, COMMAND_PRICE_MAX),
};
static const struct member GENESIS[] = {
    MEMBER("log_id", KIND_LOG, false, log_id),
    NUMBER("partitions", partitions, 1, IDS_PARTITIONS_MAX),
    RULES,
};
static const struct member SET_RULES[] = {RULES};
static const struct member MARK[] = {
    MEMBER("run_id", KIND_ID, false, op_id),
    NUMBER("orders", orders, 0, NUMBER_MAX),
    NUMBER("payments", payments, 0, NUMBER_MAX),
    MEMBER("items", KIND_ITEMS, false, items),
};

#define MEMBERS_OF(array) (array), sizeof(array) / sizeof((array)[0])

/* Of the shapes of one type the first whose telling member is there is meant. */
static const struct shape {
    enum event_type type;
    const char *telling; /* NULL: needs none */
    const struct member *members;
    size_t n_members;
} SHAPES[] = {
    {EVENT_RESERVED, NULL, MEMBERS_OF(RESERVED)},
    {EVENT_REJECTED, NULL, MEMBERS_OF(REJECTED)},
    {EVENT_PAID, NULL, MEMBERS_OF(PAID)},
    {EVENT_CANCELLED, NULL, MEMBERS_OF(GIVEN_BACK)},
    {EVENT_EXPIRED, NULL, MEMBERS_OF(GIVEN_BACK)},
    {EVENT_REFUND_DUE, NULL, MEMBERS_OF(REFUND_DUE)},
    {EVENT_DUPLICATE, "op_id", MEMBERS_OF(DUPLICATE_OPERATION)},
    {EVENT_DUPLICATE, "payment_id", MEMBERS_OF(DUPLICATE_PAYMENT)},
    {EVENT_DUPLICATE, NULL, MEMBERS_OF(DUPLICATE_ORDER)},
    {EVENT_REFUSED, "op_id", MEMBERS_OF(REFUSED_OPERATION)},
    {EVENT_REFUSED, "order_id", MEMBERS_OF(REFUSED_CANCEL)},
    {EVENT_REFUSED, "detail", MEMBERS_OF(REFUSED_MALFORMED)},
    {EVENT_REFUSED, NULL, MEMBERS_OF(REFUSED_GENESIS)},
    {EVENT_STOCK, NULL, MEMBERS_OF(STOCK)},
    {EVENT_GENESIS, NULL, MEMBERS_OF(GENESIS)},
    {EVENT_RULES, NULL, MEMBERS_OF(SET_RULES)},
    {EVENT_MARK, NULL, MEMBERS_OF(MARK)},
};

enum { SHAPE_COUNT = sizeof(SHAPES) / sizeof(SHAPES[0]) };

static const struct slice TYPES[] = {
    [EVENT_RESERVED] = TEXT("reserved"),   [EVENT_REJECTED] = TEXT("rejected"),
    [EVENT_PAID] = TEXT("paid"),           [EVENT_CANCELLED] = TEXT("cancelled"),
    [EVENT_EXPIRED] = TEXT("expired"),     [EVENT_REFUND_DUE] = TEXT("refund_due"),
    [EVENT_DUPLICATE] = TEXT("duplicate"), [EVENT_REFUSED] = TEXT("refused"),
    [EVENT_STOCK] = TEXT("stock"),         [EVENT_GENESIS] = TEXT("genesis"),
    [EVENT_RULES] = TEXT("rules"),         [EVENT_MARK] = TEXT("mark"),
};

static const char *const REASONS[REASON_COUNT] = {
    [REASON_NONE] = "none",
    [REASON_SOLD_OUT] = "sold_out",
    [REASON_LIMIT_REACHED] = "limit_reached",
    [REASON_NOT_OPEN] = "not_open",
    [REASON_CLOSED] = "closed",
    [REASON_PAUSED] = "paused",
    [REASON_TIMED_OUT] = "timed_out",
    [REASON_UNKNOWN_ITEM] = "unknown_item",
    [REASON_UNKNOWN_ORDER] = "unknown_order",
    [REASON_ALREADY_PAID] = "already_paid",
    [REASON_ALREADY_CANCELLED] = "already_cancelled",
    [REASON_ALREADY_REJECTED] = "already_rejected",
    [REASON_EXPIRED] = "expired",
    [REASON_BELOW_COMMITTED] = "below_committed",
    [REASON_BAD_OPERATION] = "bad_operation",
    [REASON_MALFORMED] = "malformed",
};

static const char ORDER_STATES[] = {'H', 'R', 'P', 'C', 'E'};
static const char ITEM_STATES[] = {'o', 'p', 'c'};
static const char PAYMENTS[] = {'P', 'R'};

const char *reason_name(enum reason reason)
{
    return reason >= 0 && reason < REASON_COUNT ? REASONS[reason] : "unknown";
}

const char *order_state_name(enum order_state state)
{
    switch (state) {
    case ORDER_RESERVED:
        return "reserved";
    case ORDER_REJECTED:
        return "rejected";
    case ORDER_PAID:
        return "paid";
    case ORDER_CANCELLED:
        return "cancelled";
    case ORDER_EXPIRED:
        return "expired";
    case ORDER_NONE:
        break;
    }
    return "none";
}

const char *item_state_name(char state)
{
    switch (state) {
    case 'o':
        return "open";
    case 'p':
        return "paused";
    case 'c':
        return "closed";
    default:
        return "none";
    }
}

const char *event_type_name(enum event_type type)
{
    return TYPES[type].ptr;
}

static const char *payment_name(char payment)
{
    return payment == 'P' ? "paid" : "refund_due";
}

static bool is_one_of(char c, const char *set, size_t n)
{
    return memchr(set, c, n) != NULL;
}

/* ---- the packed line ---- */

/* The fields of one event of a line; what is wrong with one makes it bad for good. */
struct fields {
    struct slice rest; /* ptr NULL: there are no more */
    bool bad;
};

static struct slice take(struct fields *f)
{
    if (f->rest.ptr == NULL) {
        f->bad = true;
        return (struct slice){NULL, 0};
    }
    return slice_cut(f->rest, ' ', &f->rest);
}

static int64_t take_number(struct fields *f, int64_t min, int64_t max)
{
    int64_t n = min;

    if (!slice_to_i64(take(f), min, max, &n)) {
        f->bad = true;
    }
    return n;
}

static char take_char(struct fields *f, const char *set, size_t n)
{
    const struct slice s = take(f);

    if (s.len != 1 || !is_one_of(s.ptr[0], set, n)) {
        f->bad = true;
        return set[0];
    }
    return s.ptr[0];
}

static void take_item(struct fields *f, struct command_text *item_id)
{
    const struct slice s = take(f);

    if (!ids_is_item(s) || !command_set_text(item_id, s)) {
        f->bad = true;
    }
}

static void take_order(struct fields *f, char order_id[IDS_ORDER_LEN + 1], int partition)
{
    const struct slice s = take(f);
    int named;

    if (!ids_parse_order(s, &named, NULL) || named != partition ||
        !slice_copy(s, order_id, IDS_ORDER_LEN + 1)) {
        f->bad = true;
    }
}

#define BIT(n) (1U << (n))

enum {
    WHY_REJECTED = BIT(REASON_SOLD_OUT) | BIT(REASON_LIMIT_REACHED) | BIT(REASON_NOT_OPEN) |
                   BIT(REASON_CLOSED) | BIT(REASON_PAUSED) | BIT(REASON_TIMED_OUT) |
                   BIT(REASON_UNKNOWN_ITEM),
    WHY_NOT_PAID = BIT(REASON_UNKNOWN_ORDER) | BIT(REASON_CLOSED) | BIT(REASON_PAUSED) |
                   BIT(REASON_LIMIT_REACHED) | BIT(REASON_SOLD_OUT) | BIT(REASON_ALREADY_PAID) |
                   BIT(REASON_ALREADY_CANCELLED) | BIT(REASON_ALREADY_REJECTED),
    WHY_NOT_CANCELLED = BIT(REASON_UNKNOWN_ORDER) | BIT(REASON_ALREADY_PAID) |
                        BIT(REASON_ALREADY_CANCELLED) | BIT(REASON_ALREADY_REJECTED) |
                        BIT(REASON_EXPIRED),
    WHY_NOT_DONE = BIT(REASON_UNKNOWN_ITEM) | BIT(REASON_CLOSED) | BIT(REASON_BELOW_COMMITTED) |
                   BIT(REASON_BAD_OPERATION),
};

static enum reason check_reason(struct fields *f, int64_t code, unsigned allowed)
{
    if ((BIT(code) & allowed) == 0) {
        f->bad = true;
    }
    return (enum reason)code;
}

static enum reason take_reason(struct fields *f, unsigned allowed)
{
    return check_reason(f, take_number(f, REASON_NONE, REASON_COUNT - 1), allowed);
}

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
    const int64_t n = take_number(f, -(REASON_COUNT - 1), COMMAND_TOTAL_MAX);

    set_order(c);
    e->item_id = c->cmd->item_id;
    e->qty = c->cmd->qty;
    if (n < 0) {
        e->type = EVENT_REJECTED;
        e->reason = check_reason(f, -n, WHY_REJECTED);
        e->available = take_number(f, 0, COMMAND_TOTAL_MAX);
    } else {
        e->type = EVENT_RESERVED;
        e->available = n;
        e->due = take_number(f, 0, NUMBER_MAX);
    }
}

static void read_expired(const struct context *c, struct fields *f)
{
    struct event *e = c->event;
    struct slice user_id;

    e->type = EVENT_EXPIRED;
    take_order(f, e->order_id, c->partition);
    user_id = take(f);
    if (!ids_is_id(user_id) || !command_set_text(&e->user_id, user_id)) {
        f->bad = true;
    }
    take_item(f, &e->item_id);
    e->qty = take_number(f, 1, COMMAND_QTY_MAX);
    e->available = take_number(f, 0, COMMAND_TOTAL_MAX);
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
    take_item(f, &e->item_id);
    e->qty = take_number(f, 1, COMMAND_QTY_MAX);
    e->late = take_number(f, 0, 1) == 1;
    e->available = take_number(f, 0, COMMAND_TOTAL_MAX);
}

static void read_cancelled(const struct context *c, struct fields *f)
{
    struct event *e = c->event;

    e->type = EVENT_CANCELLED;
    set_order(c);
    take_item(f, &e->item_id);
    e->qty = take_number(f, 1, COMMAND_QTY_MAX);
    e->available = take_number(f, 0, COMMAND_TOTAL_MAX);
}

static void read_refund(const struct context *c, struct fields *f)
{
    c->event->type = EVENT_REFUND_DUE;
    set_order(c);
    c->event->payment_id = c->cmd->other_id;
    c->event->reason =
        take_reason(f, c->cmd->user_id.len == 0 ? BIT(REASON_UNKNOWN_ORDER) : WHY_NOT_PAID);
}

static void read_duplicate_order(const struct context *c, struct fields *f)
{
    struct event *e = c->event;

    e->type = EVENT_DUPLICATE;
    set_order(c);
    take_item(f, &e->item_id);
    e->qty = take_number(f, 1, COMMAND_QTY_MAX);
    e->state = (enum order_state)take_char(f, ORDER_STATES, sizeof(ORDER_STATES));
    e->reason = take_reason(f, e->state == ORDER_REJECTED ? WHY_REJECTED : BIT(REASON_NONE));
}

static void read_duplicate_payment(const struct context *c, struct fields *f)
{
    struct event *e = c->event;

    e->type = EVENT_DUPLICATE;
    set_order(c);
    e->payment_id = c->cmd->other_id;
    take_order(f, e->first_order_id, c->partition);
    e->payment = take_char(f, PAYMENTS, sizeof(PAYMENTS));
}

static void read_duplicate_operation(const struct context *c, struct fields *f)
{
    (void)f;
    c->event->type = EVENT_DUPLICATE;
    set_operation(c);
}

static void read_refused(const struct context *c, struct fields *f)
{
    unsigned allowed = BIT(REASON_BAD_OPERATION);

    c->event->type = EVENT_REFUSED;
    if (c->cmd->type == COMMAND_CANCEL) {
        set_order(c);
        allowed = WHY_NOT_CANCELLED;
    } else if (c->cmd->type == COMMAND_MALFORMED) {
        c->event->detail = c->cmd->detail;
        allowed = BIT(REASON_MALFORMED);
    } else if (c->cmd->type != COMMAND_GENESIS) {
        set_operation(c);
        allowed = WHY_NOT_DONE;
    }
    c->event->reason = take_reason(f, allowed);
}

static void read_stock(const struct context *c, struct fields *f)
{
    struct event *e = c->event;
    const char *action =
        c->cmd->type == COMMAND_RESTOCK ? "restock" : command_action_name(c->cmd->action);

    e->type = EVENT_STOCK;
    set_operation(c);
    memcpy(e->action, action, strlen(action) + 1);
    e->total = take_number(f, 0, COMMAND_TOTAL_MAX);
    e->available = take_number(f, 0, COMMAND_TOTAL_MAX);
    e->held = take_number(f, 0, COMMAND_TOTAL_MAX);
    e->sold = take_number(f, 0, COMMAND_TOTAL_MAX);
    e->limit = take_number(f, 1, COMMAND_LIMIT_MAX);
    e->hold_ms = take_number(f, 1, COMMAND_HOLD_MAX_MS);
    e->opens_at = take_number(f, 0, COMMAND_TIME_MAX);
    e->closes_at = take_number(f, 0, COMMAND_TIME_MAX);
    e->item_state = take_char(f, ITEM_STATES, sizeof(ITEM_STATES));
    e->price = take_number(f, 0, COMMAND_PRICE_MAX);
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

static int compare_items(const void *a, const void *b)
{
    const struct event_item *x = a;
    const struct event_item *y = b;

    return strcmp(x->item_id.s, y->item_id.s); /* compares unsigned bytes; item ids are ASCII */
}

static struct event_item *add_item(struct event *e)
{
    if ((e->n_items & (e->n_items + 1)) == 0) { /* grows at 0, 1, 3, 7, ... */
        e->items = xreallocarray(e->items, 2 * e->n_items + 1, sizeof(*e->items));
    }
    return &e->items[e->n_items++];
}

/* One ` item_id,total,available,held,sold` of a mark. */
static void read_mark_item(struct fields *f, struct slice text, struct event_item *item)
{
    int64_t *const numbers[] = {&item->total, &item->available, &item->held, &item->sold};
    struct slice part = slice_cut(text, ',', &text);

    if (!ids_is_item(part) || !command_set_text(&item->item_id, part)) {
        f->bad = true;
        return;
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        part = slice_cut(text, ',', &text);
        if (!slice_to_i64(part, 0, NUMBER_MAX, numbers[i])) {
            f->bad = true;
            return;
        }
    }
    if (text.ptr != NULL) {
        f->bad = true;
    }
}

/* The order of a mark's items is the script's; the outcome's is by bytes, whatever the locale. */
static void read_mark(const struct context *c, struct fields *f)
{
    struct event *e = c->event;

    e->type = EVENT_MARK;
    e->op_id = c->cmd->other_id;
    e->orders = take_number(f, 0, NUMBER_MAX);
    e->payments = take_number(f, 0, NUMBER_MAX);
    while (!f->bad && f->rest.ptr != NULL) {
        read_mark_item(f, take(f), add_item(e));
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
    {'p', BIT(COMMAND_PAY), read_paid},
    {'c', BIT(COMMAND_CANCEL), read_cancelled},
    {'r', BIT(COMMAND_PAY), read_refund},
    {'d', BIT(COMMAND_ORDER), read_duplicate_order},
    {'D', BIT(COMMAND_PAY), read_duplicate_payment},
    {'o', BIT(COMMAND_SALE) | BIT(COMMAND_RESTOCK) | BIT(COMMAND_ARCHIVE),
     read_duplicate_operation},
    {'x',
     BIT(COMMAND_CANCEL) | BIT(COMMAND_SALE) | BIT(COMMAND_RESTOCK) | BIT(COMMAND_ARCHIVE) |
         BIT(COMMAND_GENESIS) | BIT(COMMAND_MALFORMED),
     read_refused},
    {'s', BIT(COMMAND_SALE) | BIT(COMMAND_RESTOCK), read_stock},
    {'g', BIT(COMMAND_GENESIS), read_genesis},
    {'v', BIT(COMMAND_SET_RULES), read_rules},
    {'m', BIT(COMMAND_MARK), read_mark},
};

static void clear_event(struct event *e)
{
    *e = (struct event){
        .total = -1,
        .held = -1,
        .sold = -1,
        .limit = -1,
        .hold_ms = -1,
        .opens_at = -1,
        .closes_at = -1,
        .price = -1,
    };
}

/* Reads one event of a line; *is_answer is false for an `expired`, which answers no command. */
static bool read_line_event(const struct context *c, struct slice text, bool *is_answer)
{
    struct fields f = {text, false};
    struct slice letter;

    clear_event(c->event);
    *is_answer = true;
    if (text.len > 0 && (text.ptr[0] == '-' || (text.ptr[0] >= '0' && text.ptr[0] <= '9'))) {
        if (c->cmd->type != COMMAND_ORDER) {
            return false;
        }
        read_decision(c, &f);
        return !f.bad && f.rest.ptr == NULL;
    }
    letter = take(&f);
    if (letter.len != 1) {
        return false;
    }
    if (letter.ptr[0] == 'e') {
        *is_answer = false;
        read_expired(c, &f);
        return !f.bad && f.rest.ptr == NULL;
    }
    for (size_t i = 0; i < sizeof(ANSWERS) / sizeof(ANSWERS[0]); i++) {
        if (ANSWERS[i].letter == letter.ptr[0] && (ANSWERS[i].commands & BIT(c->cmd->type)) != 0) {
            ANSWERS[i].read(c, &f);
            return !f.bad && f.rest.ptr == NULL;
        }
    }
    return false;
}

/* ---- JSON out ---- */

static const struct shape *shape_of(const struct event *e)
{
    const char *telling = NULL;

    if (e->op_id.len > 0) {
        telling = "op_id";
    } else if (e->type == EVENT_DUPLICATE && e->payment_id.len > 0) {
        telling = "payment_id";
    } else if (e->type == EVENT_REFUSED && e->order_id[0] != '\0') {
        telling = "order_id";
    } else if (e->type == EVENT_REFUSED && e->detail != COMMAND_OK) {
        telling = "detail";
    }
    for (size_t i = 0; i < SHAPE_COUNT; i++) {
        if (SHAPES[i].type == e->type &&
            (SHAPES[i].telling == NULL ||
             (telling != NULL && strcmp(telling, SHAPES[i].telling) == 0))) {
            return &SHAPES[i];
        }
    }
    return NULL;
}

/* Quotes what is known to need no escaping: ids and names. */
static void put_quoted(struct buf *out, const char *text, size_t len)
{
    buf_putc(out, '"');
    buf_append(out, text, len);
    buf_putc(out, '"');
}

static void put_name(struct buf *out, const char *name)
{
    put_quoted(out, name, strlen(name));
}

static void put_items(struct buf *out, const struct event *e)
{
    buf_putc(out, '[');
    for (size_t i = 0; i < e->n_items; i++) {
        const struct event_item *item = &e->items[i];

        buf_printf(out,
                   "%s{\"item_id\":\"%s\",\"total\":%" PRId64 ",\"available\":%" PRId64
                   ",\"held\":%" PRId64 ",\"sold\":%" PRId64 "}",
                   i == 0 ? "" : ",", item->item_id.s, item->total, item->available, item->held,
                   item->sold);
    }
    buf_putc(out, ']');
}

static bool is_absent(const struct event *e, const struct member *m)
{
    const void *field = (const char *)e + m->at;

    if (!m->optional) {
        return false;
    }
    return m->kind == KIND_REASON ? *(const enum reason *)field == REASON_NONE
                                  : ((const struct command_text *)field)->len == 0;
}

static void put_value(struct buf *out, const struct event *e, const struct member *m)
{
    const void *field = (const char *)e + m->at;

    switch (m->kind) {
    case KIND_ORDER:
        put_quoted(out, field, IDS_ORDER_LEN);
        break;
    case KIND_LOG:
        put_quoted(out, field, IDS_LOG_LEN);
        break;
    case KIND_ITEM:
    case KIND_ID:
        put_quoted(out, ((const struct command_text *)field)->s,
                   ((const struct command_text *)field)->len);
        break;
    case KIND_NUMBER:
        buf_put_i64(out, *(const int64_t *)field);
        break;
    case KIND_BOOL:
        buf_puts(out, *(const bool *)field ? "true" : "false");
        break;
    case KIND_REASON:
        put_name(out, reason_name(*(const enum reason *)field));
        break;
    case KIND_STATE:
        put_name(out, order_state_name(*(const enum order_state *)field));
        break;
    case KIND_PAYMENT:
        put_name(out, payment_name(*(const char *)field));
        break;
    case KIND_ITEM_STATE:
        put_name(out, item_state_name(*(const char *)field));
        break;
    case KIND_ACTION:
        put_name(out, field);
        break;
    case KIND_DETAIL:
        put_name(out, command_detail_name(*(const enum command_detail *)field));
        break;
    case KIND_ITEMS:
        put_items(out, e);
        break;
    }
}

static void put_event(struct buf *out, const struct event *e)
{
    const struct shape *shape = shape_of(e);

    buf_puts(out, e->index == 0 ? "{\"index\":" : ",{\"index\":");
    buf_put_i64(out, e->index);
    buf_puts(out, ",\"type\":");
    put_quoted(out, TYPES[e->type].ptr, TYPES[e->type].len);
    for (size_t i = 0; i < shape->n_members; i++) {
        const struct member *m = &shape->members[i];

        if (!is_absent(e, m)) {
            buf_put_slice(out, m->opening);
            put_value(out, e, m);
        }
    }
    buf_putc(out, '}');
}

static void put_head(struct buf *out, const struct outcome_head *head)
{
    char chain[IDS_HASH_LEN + 1];

    ids_hash_format(chain, head->chain);
    buf_puts(out, "{\"partition\":");
    buf_put_i64(out, head->partition);
    buf_puts(out, ",\"offset\":");
    buf_put_i64(out, head->offset);
    buf_puts(out, ",\"prev\":");
    buf_put_i64(out, head->prev);
    buf_puts(out, ",\"genesis\":");
    put_name(out, head->genesis);
    buf_puts(out, ",\"chain\":");
    put_quoted(out, chain, IDS_HASH_LEN);
    buf_puts(out, ",\"rules\":");
    buf_put_i64(out, head->rules);
    buf_puts(out, ",\"log_time\":");
    buf_put_i64(out, head->log_time);
    buf_puts(out, ",\"events\":[");
}

/*
 * Appends the events of line.  A line is any number of `expired` and then the command's answer;
 * only a tick has none.
 */
static bool put_events(struct buf *out, const struct context *c, struct slice line)
{
    const int expire_max =
        EXPIRE_MAX + (c->cmd->type == COMMAND_PAY || c->cmd->type == COMMAND_CANCEL ? 1 : 0);
    const bool needs_answer = c->cmd->type != COMMAND_TICK;
    struct slice rest = line;
    bool is_answered = false;

    if (line.len == 0) {
        return !needs_answer;
    }
    for (int index = 0; rest.ptr != NULL; index++) {
        bool ok = !is_answered && index <= expire_max &&
                  read_line_event(c, slice_cut(rest, ';', &rest), &is_answered) &&
                  (is_answered || index < expire_max);

        if (ok) {
            c->event->index = index;
            put_event(out, c->event);
        }
        free(c->event->items);
        c->event->items = NULL;
        if (!ok) {
            return false;
        }
    }
    return is_answered == needs_answer;
}

bool outcome_format(struct buf *out, const struct outcome_head *head, const struct command *cmd,
                    struct slice line, struct err *err)
{
    const size_t start = out->len;
    struct event event = {.items = NULL};
    const struct context c = {cmd, head->partition, &event};

    put_head(out, head);
    if (!put_events(out, &c, line)) {
        buf_truncate(out, start);
        return err_set(err, ERR_FATAL, "offset %" PRId64 ": %s cannot be answered with: %.*s",
                       head->offset, command_type_name(cmd->type),
                       (int)(line.len < 160 ? line.len : 160), line.ptr == NULL ? "" : line.ptr);
    }
    buf_puts(out, "]}");
    if (!buf_ok(out)) {
        buf_truncate(out, start);
        return err_set(err, ERR_FATAL, "offset %" PRId64 ": the outcome is larger than %zu bytes",
                       head->offset, out->max_bytes);
    }
    return true;
}

/* ---- JSON in ---- */

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
    size_t i;
    const json_t *entry;

    if (!json_is_array(json)) {
        return false;
    }
    json_array_foreach(json, i, entry)
    {
        struct event_item *item = add_item(e);
        struct slice item_id;

        if (!get_text(json_object_get(entry, "item_id"), &item_id) || !ids_is_item(item_id) ||
            !command_set_text(&item->item_id, item_id) ||
            !get_number(json_object_get(entry, "total"), 0, NUMBER_MAX, &item->total) ||
            !get_number(json_object_get(entry, "available"), 0, NUMBER_MAX, &item->available) ||
            !get_number(json_object_get(entry, "held"), 0, NUMBER_MAX, &item->held) ||
            !get_number(json_object_get(entry, "sold"), 0, NUMBER_MAX, &item->sold)) {
            return false;
        }
    }
    return true;
}

static bool set_reason(enum reason *reason, struct slice s)
{
    for (int i = REASON_NONE + 1; i < REASON_COUNT; i++) {
        if (slice_eq(s, slice_str(REASONS[i]))) {
            *reason = (enum reason)i;
            return true;
        }
    }
    return false;
}

static bool set_state(enum order_state *state, struct slice s)
{
    for (size_t i = 0; i < sizeof(ORDER_STATES); i++) {
        if (slice_eq(s, slice_str(order_state_name((enum order_state)ORDER_STATES[i])))) {
            *state = (enum order_state)ORDER_STATES[i];
            return true;
        }
    }
    return false;
}

static bool set_item_state(char *state, struct slice s)
{
    for (size_t i = 0; i < sizeof(ITEM_STATES); i++) {
        if (slice_eq(s, slice_str(item_state_name(ITEM_STATES[i])))) {
            *state = ITEM_STATES[i];
            return true;
        }
    }
    return false;
}

static bool set_payment(char *payment, struct slice s)
{
    for (size_t i = 0; i < sizeof(PAYMENTS); i++) {
        if (slice_eq(s, slice_str(payment_name(PAYMENTS[i])))) {
            *payment = PAYMENTS[i];
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
static bool set_text(void *field, enum kind kind, struct slice s)
{
    switch (kind) {
    case KIND_ORDER:
        return ids_parse_order(s, NULL, NULL) && slice_copy(s, field, IDS_ORDER_LEN + 1);
    case KIND_LOG:
        return ids_is_log(s) && slice_copy(s, field, IDS_LOG_LEN + 1);
    case KIND_ITEM:
        return ids_is_item(s) && command_set_text(field, s);
    case KIND_ID:
        return ids_is_id(s) && command_set_text(field, s);
    case KIND_REASON:
        return set_reason(field, s);
    case KIND_STATE:
        return set_state(field, s);
    case KIND_PAYMENT:
        return set_payment(field, s);
    case KIND_ITEM_STATE:
        return set_item_state(field, s);
    case KIND_ACTION:
        return set_action(field, s);
    case KIND_DETAIL:
        return set_detail(field, s);
    case KIND_NUMBER:
    case KIND_BOOL:
    case KIND_ITEMS:
        break;
    }
    return false;
}

static bool get_member(const json_t *json, struct event *e, const struct member *m)
{
    void *field = (char *)e + m->at;
    struct slice s;

    switch (m->kind) {
    case KIND_NUMBER:
        return get_number(json, m->min, m->max, field);
    case KIND_BOOL:
        *(bool *)field = json_is_true(json);
        return json_is_boolean(json);
    case KIND_ITEMS:
        return get_items(json, e);
    default:
        return get_text(json, &s) && set_text(field, m->kind, s);
    }
}

/* The member's name, without what surrounds it in JSON. */
static struct slice member_name(const struct member *m)
{
    return (struct slice){m->opening.ptr + 2, m->opening.len - 4};
}

static const struct shape *find_shape(const json_t *json, struct slice type)
{
    for (size_t i = 0; i < SHAPE_COUNT; i++) {
        if (slice_eq(type, TYPES[SHAPES[i].type]) &&
            (SHAPES[i].telling == NULL || json_object_get(json, SHAPES[i].telling) != NULL)) {
            return &SHAPES[i];
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
        const struct member *m = &shape->members[i];
        const struct slice name = member_name(m);
        const json_t *value = json_object_getn(json, name.ptr, name.len);

        if ((value != NULL || !m->optional) && !get_member(value, e, m)) {
            return err_set(err, ERR_REJECT, "event %d, %s: %.*s is missing or wrong", e->index,
                           TYPES[e->type].ptr, (int)name.len, name.ptr);
        }
    }
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
    clear_event(e);
    e->index = (int)o->n_events++;
    return e;
}

static void drop_events(struct outcome *o)
{
    for (size_t i = 0; i < o->n_events; i++) {
        free(o->events[i].items);
    }
    o->n_events = 0;
}

static bool get_head(const json_t *json, struct outcome *o, struct err *err)
{
    int64_t partition = 0;
    struct slice genesis;
    struct slice chain;

    if (!get_number(json_object_get(json, "partition"), 0, IDS_PARTITIONS_MAX - 1, &partition)) {
        return err_set(err, ERR_REJECT, "partition is missing or wrong");
    }
    o->partition = (int)partition;
    if (!get_number(json_object_get(json, "offset"), 0, NUMBER_MAX, &o->offset) ||
        !get_number(json_object_get(json, "prev"), -1, o->offset - 1, &o->prev)) {
        return err_set(err, ERR_REJECT, "offset or prev is missing or wrong");
    }
    if (!get_text(json_object_get(json, "genesis"), &genesis) || !ids_is_log(genesis) ||
        !slice_copy(genesis, o->genesis, sizeof(o->genesis))) {
        return err_set(err, ERR_REJECT, "genesis is missing or wrong");
    }
    if (!get_text(json_object_get(json, "chain"), &chain) || !ids_hash_parse(chain, &o->chain)) {
        return err_set(err, ERR_REJECT, "chain is missing or wrong");
    }
    if (!get_number(json_object_get(json, "rules"), 1, COMMAND_RULES_MAX, &o->rules) ||
        !get_number(json_object_get(json, "log_time"), 0, NUMBER_MAX, &o->log_time)) {
        return err_set(err, ERR_REJECT, "rules or log_time is missing or wrong");
    }
    return true;
}

static bool get_outcome(const json_t *json, struct outcome *o, struct err *err)
{
    const json_t *events = json_object_get(json, "events");
    const json_t *event;
    size_t i;

    if (!get_head(json, o, err)) {
        return false;
    }
    if (!json_is_array(events) || json_array_size(events) > EVENTS_MAX) {
        return err_set(err, ERR_REJECT, "events is not a list of at most %d", EVENTS_MAX);
    }
    json_array_foreach(events, i, event)
    {
        if (!get_event(event, add_event(o), err)) {
            return false;
        }
    }
    return true;
}

bool outcome_parse(struct outcome *o, struct slice value, struct err *err)
{
    json_error_t error;
    json_t *json;
    bool ok;

    drop_events(o);
    if (value.ptr == NULL) {
        return err_set(err, ERR_REJECT, "the value is null");
    }
    json = json_loadb(value.ptr, value.len, JSON_REJECT_DUPLICATES, &error);
    if (json == NULL) {
        return err_set(err, ERR_REJECT, "not JSON: %s at byte %d", error.text, error.position);
    }
    ok = get_outcome(json, o, err);
    json_decref(json);
    if (!ok) {
        drop_events(o);
    }
    return ok;
}

void outcome_fini(struct outcome *o)
{
    drop_events(o);
    free(o->events);
    *o = (struct outcome){.events = NULL};
}

/* ---- values in Redis ---- */

int order_entry_next(struct slice *value, struct order_entry *entry)
{
    struct fields f = {.bad = false};

    if (value->len == 0) {
        return 0;
    }
    f.rest = slice_cut(*value, ';', value);
    if (value->ptr != NULL && value->len == 0) {
        return -1; /* a separator with nothing after it */
    }
    entry->order_id = take(&f);
    entry->item_id = take(&f);
    entry->qty = take_number(&f, 1, COMMAND_QTY_MAX);
    entry->state = (enum order_state)take_char(&f, ORDER_STATES, sizeof(ORDER_STATES));
    entry->reason =
        take_reason(&f, entry->state == ORDER_REJECTED ? WHY_REJECTED : BIT(REASON_NONE));
    entry->due = take_number(&f, 0, NUMBER_MAX);
    entry->offset = take_number(&f, 0, NUMBER_MAX);
    entry->payments = take(&f);
    if (f.bad || f.rest.ptr != NULL || entry->payments.len == 0 ||
        !ids_parse_order(entry->order_id, NULL, NULL) || !ids_is_item(entry->item_id)) {
        return -1;
    }
    return 1;
}

int order_payment_next(struct slice *payments, char *answer, struct slice *payment_id)
{
    struct slice payment;

    if (payments->len == 0) {
        return 0;
    }
    if (slice_eq(*payments, SLICE_LIT("-"))) {
        *payments = (struct slice){NULL, 0};
        return 0;
    }
    payment = slice_cut(*payments, ',', payments);
    if (payment.len == 0 || !is_one_of(payment.ptr[0], PAYMENTS, sizeof(PAYMENTS)) ||
        (payments->ptr != NULL && payments->len == 0)) {
        return -1;
    }
    *answer = payment.ptr[0];
    *payment_id = (struct slice){payment.ptr + 1, payment.len - 1};
    return ids_is_id(*payment_id) ? 1 : -1;
}

bool item_entry_parse(struct slice value, struct item_entry *item)
{
    struct fields f = {value, false};

    item->total = take_number(&f, 0, COMMAND_TOTAL_MAX);
    item->available = take_number(&f, 0, COMMAND_TOTAL_MAX);
    item->held = take_number(&f, 0, COMMAND_TOTAL_MAX);
    item->sold = take_number(&f, 0, COMMAND_TOTAL_MAX);
    item->limit = take_number(&f, 1, COMMAND_LIMIT_MAX);
    item->hold_ms = take_number(&f, 1, COMMAND_HOLD_MAX_MS);
    item->opens_at = take_number(&f, 0, COMMAND_TIME_MAX);
    item->closes_at = take_number(&f, 0, COMMAND_TIME_MAX);
    item->state = take_char(&f, ITEM_STATES, sizeof(ITEM_STATES));
    item->price = take_number(&f, 0, COMMAND_PRICE_MAX);
    return !f.bad && f.rest.ptr == NULL;
}
