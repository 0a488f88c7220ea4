#include "common/event_shape.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

/* SLICE_LIT() is no constant initialiser in pedantic C. */
#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

#define MEMBER(name, kind, optional, field)                                                        \
    {                                                                                              \
        TEXT(",\"" name "\":"), kind, optional, offsetof(struct event, field), 0, 0                \
    }
#define NUMBER(name, field, min, max)                                                              \
    {                                                                                              \
        TEXT(",\"" name "\":"), SHAPE_NUMBER, false, offsetof(struct event, field), min, max       \
    }

#define ORDER_ID   MEMBER("order_id", SHAPE_ORDER, false, order_id)
#define ITEM_ID    MEMBER("item_id", SHAPE_ITEM, false, item_id)
#define USER_ID    MEMBER("user_id", SHAPE_ID, false, user_id)
#define USER_GIVEN MEMBER("user_id", SHAPE_ID, true, user_id)
#define PAYMENT_ID MEMBER("payment_id", SHAPE_ID, false, payment_id)
#define OP_ID      MEMBER("op_id", SHAPE_ID, false, op_id)
#define REASON     MEMBER("reason", SHAPE_REASON, false, reason)
#define QTY        NUMBER("qty", qty, 1, COMMAND_QTY_MAX)
#define AVAILABLE  NUMBER("available", available, 0, COMMAND_TOTAL_MAX)
#define RULES      NUMBER("rules", rules, 1, COMMAND_RULES_MAX)

static const struct shape_member RESERVED[] = {
    ORDER_ID, ITEM_ID, USER_ID, QTY, NUMBER("due", due, 0, COMMAND_TIME_MAX), AVAILABLE,
};
static const struct shape_member REJECTED[] = {ORDER_ID, ITEM_ID, USER_ID, QTY, REASON, AVAILABLE};
static const struct shape_member PAID[] = {
    ORDER_ID, ITEM_ID, USER_ID, QTY, PAYMENT_ID, MEMBER("late", SHAPE_BOOL, false, late), AVAILABLE,
};
static const struct shape_member GIVEN_BACK[] = {ORDER_ID, ITEM_ID, USER_ID, QTY, AVAILABLE};
static const struct shape_member REFUND_DUE[] = {ORDER_ID, USER_GIVEN, PAYMENT_ID, REASON};
static const struct shape_member DUPLICATE_ORDER[] = {
    ORDER_ID,
    ITEM_ID,
    USER_ID,
    QTY,
    MEMBER("state", SHAPE_STATE, false, state),
    MEMBER("reason", SHAPE_REASON, true, reason),
};
static const struct shape_member DUPLICATE_PAYMENT[] = {
    ORDER_ID,
    USER_GIVEN,
    PAYMENT_ID,
    MEMBER("first_order_id", SHAPE_ORDER, false, first_order_id),
    MEMBER("payment", SHAPE_PAYMENT, false, payment),
};
static const struct shape_member DUPLICATE_OPERATION[] = {OP_ID, ITEM_ID};
static const struct shape_member REFUSED_CANCEL[] = {ORDER_ID, USER_ID, REASON};
static const struct shape_member REFUSED_OPERATION[] = {OP_ID, ITEM_ID, REASON};
static const struct shape_member REFUSED_ORDER[] = {ORDER_ID, ITEM_ID, USER_ID, QTY, REASON};
static const struct shape_member REFUSED_MALFORMED[] = {
    REASON,
    MEMBER("detail", SHAPE_DETAIL, false, detail),
};
static const struct shape_member REFUSED_GENESIS[] = {REASON};
static const struct shape_member STOCK[] = {
    OP_ID,
    ITEM_ID,
    MEMBER("action", SHAPE_ACTION, false, action),
    MEMBER("state", SHAPE_ITEM_STATE, false, item_state),
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
static const struct shape_member GENESIS[] = {
    MEMBER("log_id", SHAPE_LOG, false, log_id),
    NUMBER("partitions", partitions, 1, IDS_PARTITIONS_MAX),
    RULES,
};
static const struct shape_member SET_RULES[] = {RULES};
static const struct shape_member MARK[] = {
    MEMBER("run_id", SHAPE_ID, false, op_id),
    NUMBER("orders", orders, 0, COMMAND_TIME_MAX),
    NUMBER("payments", payments, 0, COMMAND_TIME_MAX),
    MEMBER("items", SHAPE_ITEMS, false, items),
};

static const struct shape_member ARCHIVED[] = {
    OP_ID,
    ITEM_ID,
    MEMBER("users", SHAPE_USERS, true, users),
    NUMBER("orders", orders, 0, COMMAND_TIME_MAX),
    NUMBER("total", total, 0, COMMAND_TOTAL_MAX),
    NUMBER("sold", sold, 0, COMMAND_TOTAL_MAX),
};

#define MEMBERS_OF(array) (array), sizeof(array) / sizeof((array)[0])

static const struct shape SHAPES[] = {
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
    {EVENT_REFUSED, "qty", MEMBERS_OF(REFUSED_ORDER)},
    {EVENT_REFUSED, "order_id", MEMBERS_OF(REFUSED_CANCEL)},
    {EVENT_REFUSED, "detail", MEMBERS_OF(REFUSED_MALFORMED)},
    {EVENT_REFUSED, NULL, MEMBERS_OF(REFUSED_GENESIS)},
    {EVENT_STOCK, NULL, MEMBERS_OF(STOCK)},
    {EVENT_GENESIS, NULL, MEMBERS_OF(GENESIS)},
    {EVENT_RULES, NULL, MEMBERS_OF(SET_RULES)},
    {EVENT_MARK, NULL, MEMBERS_OF(MARK)},
    {EVENT_ARCHIVED, NULL, MEMBERS_OF(ARCHIVED)},
};

enum { N_SHAPES = sizeof(SHAPES) / sizeof(SHAPES[0]) };

static const char *const TYPES[] = {
    [EVENT_RESERVED] = "reserved",   [EVENT_REJECTED] = "rejected",
    [EVENT_PAID] = "paid",           [EVENT_CANCELLED] = "cancelled",
    [EVENT_EXPIRED] = "expired",     [EVENT_REFUND_DUE] = "refund_due",
    [EVENT_DUPLICATE] = "duplicate", [EVENT_REFUSED] = "refused",
    [EVENT_STOCK] = "stock",         [EVENT_GENESIS] = "genesis",
    [EVENT_RULES] = "rules",         [EVENT_MARK] = "mark",
    [EVENT_ARCHIVED] = "archived",
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

const char EVENT_ORDER_STATES[] = "HRPCE";
const char EVENT_ITEM_STATES[] = "opca";
const char EVENT_PAYMENTS[] = "PR";

const char *reason_name(enum reason reason)
{
    return reason >= 0 && reason < REASON_COUNT ? REASONS[reason] : "unknown";
}

bool order_state_is_final(enum order_state state)
{
    return state == ORDER_REJECTED || state == ORDER_PAID || state == ORDER_CANCELLED;
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
    case 'a':
        return "archived";
    default:
        return "none";
    }
}

const char *event_type_name(enum event_type type)
{
    return TYPES[type];
}

const char *event_payment_name(char payment)
{
    return payment == 'P' ? "paid" : "refund_due";
}

const struct shape *shape_list(size_t *n)
{
    *n = N_SHAPES;
    return SHAPES;
}

const struct shape *shape_of_event(const struct event *e)
{
    const char *telling = NULL;

    if (e->op_id.len > 0) {
        telling = "op_id";
    } else if (e->type == EVENT_DUPLICATE && e->payment_id.len > 0) {
        telling = "payment_id";
    } else if (e->type == EVENT_REFUSED && e->qty > 0) {
        telling = "qty";
    } else if (e->type == EVENT_REFUSED && e->order_id[0] != '\0') {
        telling = "order_id";
    } else if (e->type == EVENT_REFUSED && e->detail != COMMAND_OK) {
        telling = "detail";
    }
    for (size_t i = 0; i < N_SHAPES; i++) {
        if (SHAPES[i].type == e->type &&
            (SHAPES[i].telling == NULL ||
             (telling != NULL && strcmp(telling, SHAPES[i].telling) == 0))) {
            return &SHAPES[i];
        }
    }
    return NULL;
}

void event_fini(struct event *e)
{
    free(e->items);
    free(e->users);
}

void event_clear(struct event *e)
{
    memset(e, 0, sizeof(*e));
    e->total = -1;
    e->held = -1;
    e->sold = -1;
    e->limit = -1;
    e->hold_ms = -1;
    e->opens_at = -1;
    e->closes_at = -1;
    e->price = -1;
}

struct event_item *event_add_item(struct event *e)
{
    if ((e->n_items & (e->n_items + 1)) == 0) { /* grows at 0, 1, 3, 7, ... */
        e->items = xreallocarray(e->items, 2 * e->n_items + 1, sizeof(*e->items));
    }
    return &e->items[e->n_items++];
}
