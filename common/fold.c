/*
 * Four hash tables (uthash) hold what Redis holds in four hashes.  Orders hang from their user in
 * order of decision, at most ORDERS_MAX of them, so one look-up serves memory, limit, pay and
 * cancel as it does in Redis; they live in slabs, for nothing is ever forgotten.
 *
 * A hold waits in the queue of its hold_ms.  Log time never goes back, so each queue is in order
 * of (due, offset) by itself, and the earliest hold of all is one of at most HOLDS_MAX heads.
 * A hold leaves its queue the moment it stops being one: unlike Redis's lists, no queue has stale
 * entries.  next_due is never later than the earliest head, which lets a record at which nothing
 * is due pass with one comparison.
 *
 * Invariants: available + held + sold = total in every item; an order is in a queue exactly while
 * its state is ORDER_RESERVED; an item that is not present (a rejected order named it) has no
 * stock and is told to nobody.
 */
#include "common/fold.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/xmalloc.h"

#define HASH_FUNCTION(key, len, hash) ((hash) = (unsigned)XXH3_64bits((key), (len)))
#define uthash_malloc(size)           xmalloc(size)
#include <uthash.h>

enum {
    EXPIRE_MAX = 64,    /* holds that expire per command */
    ORDERS_MAX = 64,    /* orders remembered per user */
    LISTED_MAX = 8,     /* payments listed with an order */
    HOLDS_MAX = 64,     /* distinct hold_ms */
    ITEMS_MAX = 4096,   /* items of a partition */
    SLAB_ORDERS = 1024, /* orders per allocation */
};

/* The head of everything that is found by a name; the name's bytes follow the whole object. */
struct node {
    UT_hash_handle hh;
};

struct stock {
    int64_t total, available, held, sold, limit, hold_ms, opens_at, closes_at, price;
    char state; /* 'o' 'p' 'c' */
};

struct item {
    struct node node;
    bool is_present;
    struct stock stock;
};

struct payment {
    struct node node;
    struct payment *next_listed; /* with the same order */
    char answer;                 /* 'P' or 'R' */
    uint8_t reason;
    char order_id[IDS_ORDER_LEN];
    int64_t offset;
};

struct operation {
    struct node node;
    struct command_text item_id;
    int64_t offset;
};

struct order {
    struct user *user;
    struct item *item;
    struct order *next;                   /* of the same user */
    struct order *due_prev, *due_next;    /* in its queue, while held */
    struct payment *listed, *listed_last; /* at most LISTED_MAX */
    int64_t due, offset;
    int16_t qty;
    char state; /* enum order_state */
    uint8_t reason;
    uint8_t queue; /* index, while held */
    uint8_t n_listed;
    char id[IDS_ORDER_LEN];
};

struct user {
    struct node node;
    struct order *first, *last;
    size_t n_orders;
};

struct queue {
    int64_t hold_ms;
    struct order *first, *last;
};

struct slab {
    struct slab *next;
    struct order orders[SLAB_ORDERS];
};

struct fold {
    int partition, partitions; /* what records are parsed against */
    struct fold_log log;
    struct node *items, *users, *payments, *operations;
    struct queue queues[HOLDS_MAX]; /* in order of first use */
    size_t n_queues;
    int64_t next_due;
    struct slab *slabs;
    size_t slab_used;
    struct command command;

    /* The line being written, for the length of fold_apply(); NULL: nobody wants it. */
    struct buf *line;
    size_t n_events;
    int64_t offset; /* of the record being applied */
};

/* Tables. */

/* NOLINTNEXTLINE(readability-function-cognitive-complexity): the macro is uthash's. */
static struct node *table_find(struct node *table, struct slice id)
{
    struct node *found = NULL;

    HASH_FIND(hh, table, id.ptr, (unsigned)id.len, found);
    return found;
}

/* NOLINTNEXTLINE(readability-function-cognitive-complexity): the macro is uthash's. */
static void *table_add(struct node **table, size_t size, struct slice id)
{
    struct node *node = xcalloc(1, size + id.len);
    char *name = (char *)node + size;

    memcpy(name, id.ptr, id.len);
    HASH_ADD_KEYPTR(hh, *table, name, (unsigned)id.len, node);
    return node;
}

static void table_free(struct node **table)
{
    struct node *node = *table;

    HASH_CLEAR(hh, *table);
    while (node != NULL) {
        struct node *next = node->hh.next;

        free(node);
        node = next;
    }
}

static struct slice node_name(const struct node *node)
{
    return (struct slice){node->hh.key, node->hh.keylen};
}

/* The item, or NULL when the sale has none of that name. */
static struct item *find_item(const struct fold *f, struct slice item_id)
{
    struct item *item = (struct item *)table_find(f->items, item_id);

    return item != NULL && item->is_present ? item : NULL;
}

static struct item *name_item(struct fold *f, struct slice item_id)
{
    struct item *item = (struct item *)table_find(f->items, item_id);

    return item != NULL ? item : table_add(&f->items, sizeof(*item), item_id);
}

static struct user *find_user(const struct fold *f, struct slice user_id)
{
    return (struct user *)table_find(f->users, user_id);
}

static struct order *find_order(const struct user *user, const char *order_id)
{
    struct order *order = user == NULL ? NULL : user->first;

    while (order != NULL && memcmp(order->id, order_id, sizeof(order->id)) != 0) {
        order = order->next;
    }
    return order;
}

/* Remembers the command's order with its first state. */
static struct order *remember_order(struct fold *f, struct user *user, struct item *item,
                                    enum order_state state, enum reason reason)
{
    const struct command *cmd = &f->command;
    struct order *order;

    if (f->slabs == NULL || f->slab_used == SLAB_ORDERS) {
        struct slab *slab = xcalloc(1, sizeof(*slab));

        slab->next = f->slabs;
        f->slabs = slab;
        f->slab_used = 0;
    }
    order = &f->slabs->orders[f->slab_used++];
    if (user == NULL) {
        user = table_add(&f->users, sizeof(*user), command_text(&cmd->user_id));
    }
    if (user->last == NULL) {
        user->first = order;
    } else {
        user->last->next = order;
    }
    user->last = order;
    user->n_orders++;
    f->log.orders++;

    order->user = user;
    order->item = item != NULL ? item : name_item(f, command_text(&cmd->item_id));
    order->qty = (int16_t)cmd->qty;
    order->state = (char)state;
    order->reason = (uint8_t)reason;
    order->offset = f->offset;
    memcpy(order->id, cmd->order_id, sizeof(order->id));
    return order;
}

/* Queues of holds. */

/* The queue of hold_ms, or HOLDS_MAX when it was never used. */
static size_t find_queue(const struct fold *f, int64_t hold_ms)
{
    for (size_t i = 0; i < f->n_queues; i++) {
        if (f->queues[i].hold_ms == hold_ms) {
            return i;
        }
    }
    return HOLDS_MAX;
}

static void queue_append(struct fold *f, struct order *order)
{
    struct queue *queue = &f->queues[order->queue];

    order->due_prev = queue->last;
    order->due_next = NULL;
    if (queue->last == NULL) {
        queue->first = order;
    } else {
        queue->last->due_next = order;
    }
    queue->last = order;
    if (order->due < f->next_due) {
        f->next_due = order->due;
    }
}

static void queue_remove(struct fold *f, struct order *order)
{
    struct queue *queue = &f->queues[order->queue];

    if (order->due_prev == NULL) {
        queue->first = order->due_next;
    } else {
        order->due_prev->due_next = order->due_next;
    }
    if (order->due_next == NULL) {
        queue->last = order->due_prev;
    } else {
        order->due_next->due_prev = order->due_prev;
    }
    order->due_prev = NULL;
    order->due_next = NULL;
}

static bool is_earlier(const struct order *a, const struct order *b)
{
    return a->due < b->due || (a->due == b->due && a->offset < b->offset);
}

/* The queue whose head is due first, or n when all are empty. */
static size_t earliest_queue(const struct queue queues[], size_t n)
{
    size_t best = n;

    for (size_t i = 0; i < n; i++) {
        if (queues[i].first != NULL &&
            (best == n || is_earlier(queues[i].first, queues[best].first))) {
            best = i;
        }
    }
    return best;
}

static struct order *earliest_hold(const struct fold *f)
{
    const size_t i = earliest_queue(f->queues, f->n_queues);

    return i == f->n_queues ? NULL : f->queues[i].first;
}

/* Events. */

/* The line, ready for the next event; NULL when nobody wants it. */
static struct buf *next_event(struct fold *f)
{
    if (f->line != NULL && f->n_events++ > 0) {
        buf_putc(f->line, ';');
    }
    return f->line;
}

static void put_number(struct buf *out, int64_t n)
{
    buf_putc(out, ' ');
    buf_put_i64(out, n);
}

static void put_text(struct buf *out, struct slice s)
{
    buf_putc(out, ' ');
    buf_put_slice(out, s);
}

static void put_stock(struct buf *out, const struct stock *s)
{
    const char state[] = {' ', s->state, '\0'};

    buf_put_i64(out, s->total);
    put_number(out, s->available);
    put_number(out, s->held);
    put_number(out, s->sold);
    put_number(out, s->limit);
    put_number(out, s->hold_ms);
    put_number(out, s->opens_at);
    put_number(out, s->closes_at);
    buf_puts(out, state);
    put_number(out, s->price);
}

/* `letter item qty available`, with `late` before the last for a payment. */
static void tell_order(struct fold *f, const struct order *order, const char *letter, int late)
{
    struct buf *line = next_event(f);

    if (line == NULL) {
        return;
    }
    buf_puts(line, letter);
    put_text(line, node_name(&order->item->node));
    put_number(line, order->qty);
    if (late >= 0) {
        put_number(line, late);
    }
    put_number(line, order->item->stock.available);
}

static void tell_rejected(struct fold *f, enum reason reason, const struct item *item)
{
    struct buf *line = next_event(f);

    if (line != NULL) {
        buf_put_i64(line, -(int64_t)reason);
        put_number(line, item == NULL ? 0 : item->stock.available);
    }
}

/* `letter reason`: refused or refund_due. */
static void tell_reason(struct fold *f, const char *letter, enum reason reason)
{
    struct buf *line = next_event(f);

    if (line != NULL) {
        buf_puts(line, letter);
        put_number(line, reason);
    }
}

static void tell_letter(struct fold *f, const char *letter)
{
    struct buf *line = next_event(f);

    if (line != NULL) {
        buf_puts(line, letter);
    }
}

static void tell_stock(struct fold *f, const struct item *item)
{
    struct buf *line = next_event(f);

    if (line != NULL) {
        buf_puts(line, "s ");
        put_stock(line, &item->stock);
    }
}

/* Orders: the steps between states. */

static void expire_order(struct fold *f, struct order *order)
{
    struct stock *stock = &order->item->stock;
    struct buf *line = next_event(f);

    queue_remove(f, order);
    order->state = ORDER_EXPIRED;
    stock->held -= order->qty;
    stock->available += order->qty;
    if (line != NULL) {
        buf_puts(line, "e ");
        buf_append(line, order->id, sizeof(order->id));
        put_text(line, node_name(&order->user->node));
        put_text(line, node_name(&order->item->node));
        put_number(line, order->qty);
        put_number(line, stock->available);
    }
}

static void expire_due(struct fold *f)
{
    struct order *order;

    if (f->next_due > f->log.log_time) {
        return;
    }
    order = earliest_hold(f);
    for (int n = 0; n < EXPIRE_MAX && order != NULL && order->due <= f->log.log_time; n++) {
        expire_order(f, order);
        order = earliest_hold(f);
    }
    f->next_due = order == NULL ? INT64_MAX : order->due;
}

/* A hold past its time that EXPIRE_MAX left standing is none any more for pay and cancel. */
static void expire_lapsed(struct fold *f, struct order *order)
{
    if (order->state == ORDER_RESERVED && order->due <= f->log.log_time) {
        expire_order(f, order);
    }
}

static bool is_past_end(const struct fold *f, const struct stock *stock)
{
    return stock->state == 'c' || (stock->closes_at != 0 && f->log.log_time >= stock->closes_at);
}

/* Does the user's limit of this item forbid qty more? */
static bool is_over_limit(const struct user *user, const struct item *item, int64_t qty)
{
    const struct order *order = user == NULL ? NULL : user->first;
    int64_t sum = qty;

    for (; order != NULL; order = order->next) {
        if (order->item == item && (order->state == ORDER_RESERVED || order->state == ORDER_PAID)) {
            sum += order->qty;
        }
    }
    return sum > item->stock.limit;
}

static enum reason judge_order(const struct fold *f, const struct user *user,
                               const struct item *item)
{
    const struct command *cmd = &f->command;

    if (cmd->not_after < f->log.log_time) {
        return REASON_TIMED_OUT;
    }
    if (item == NULL) {
        return REASON_UNKNOWN_ITEM;
    }
    if (is_past_end(f, &item->stock)) {
        return REASON_CLOSED;
    }
    if (f->log.log_time < item->stock.opens_at) {
        return REASON_NOT_OPEN;
    }
    if (item->stock.state == 'p') {
        return REASON_PAUSED;
    }
    if (is_over_limit(user, item, cmd->qty)) {
        return REASON_LIMIT_REACHED;
    }
    return item->stock.available < cmd->qty ? REASON_SOLD_OUT : REASON_NONE;
}

static void reserve(struct fold *f, struct user *user, struct item *item)
{
    struct order *order = remember_order(f, user, item, ORDER_RESERVED, REASON_NONE);
    struct buf *line = next_event(f);

    order->due = f->log.log_time + item->stock.hold_ms;
    order->queue = (uint8_t)find_queue(f, item->stock.hold_ms);
    queue_append(f, order);
    item->stock.available -= order->qty;
    item->stock.held += order->qty;
    if (line != NULL) {
        buf_put_i64(line, item->stock.available);
        put_number(line, order->due);
    }
}

static void apply_order(struct fold *f)
{
    const struct command *cmd = &f->command;
    struct item *item = find_item(f, command_text(&cmd->item_id));
    struct user *user = find_user(f, command_text(&cmd->user_id));
    const struct order *known = find_order(user, cmd->order_id);
    enum reason reason;

    if (known != NULL) {
        struct buf *line = next_event(f);

        if (line != NULL) {
            const char state[] = {' ', known->state, '\0'};

            buf_putc(line, 'd');
            put_text(line, node_name(&known->item->node));
            put_number(line, known->qty);
            buf_puts(line, state);
            put_number(line, known->reason);
        }
        return;
    }
    if (user != NULL && user->n_orders >= ORDERS_MAX) {
        tell_rejected(f, REASON_LIMIT_REACHED, item);
        return;
    }
    reason = judge_order(f, user, item);
    if (reason == REASON_NONE) {
        reserve(f, user, item);
        return;
    }
    tell_rejected(f, reason, item);
    if (cmd->keyed) {
        (void)remember_order(f, user, item, ORDER_REJECTED, reason);
    }
}

/* May an expired order be paid after all? */
static enum reason judge_late(const struct fold *f, const struct order *order)
{
    const struct stock *stock = &order->item->stock;

    if (is_past_end(f, stock)) {
        return REASON_CLOSED;
    }
    if (stock->state == 'p') {
        return REASON_PAUSED;
    }
    if (is_over_limit(order->user, order->item, order->qty)) {
        return REASON_LIMIT_REACHED;
    }
    return stock->available < order->qty ? REASON_SOLD_OUT : REASON_NONE;
}

/* Pays the order, or says why the money is due back. */
static enum reason pay_order(struct fold *f, struct order *order)
{
    struct stock *stock;
    enum reason reason;

    if (order == NULL) {
        return REASON_UNKNOWN_ORDER;
    }
    expire_lapsed(f, order);
    stock = &order->item->stock;
    switch (order->state) {
    case ORDER_RESERVED:
        queue_remove(f, order);
        stock->held -= order->qty;
        stock->sold += order->qty;
        order->state = ORDER_PAID;
        tell_order(f, order, "p", 0);
        return REASON_NONE;
    case ORDER_EXPIRED:
        reason = judge_late(f, order);
        if (reason == REASON_NONE) {
            stock->available -= order->qty;
            stock->sold += order->qty;
            order->state = ORDER_PAID;
            tell_order(f, order, "p", 1);
        }
        return reason;
    case ORDER_PAID:
        return REASON_ALREADY_PAID;
    case ORDER_CANCELLED:
        return REASON_ALREADY_CANCELLED;
    default:
        return REASON_ALREADY_REJECTED;
    }
}

static void list_payment(struct order *order, struct payment *payment)
{
    if (order == NULL || order->n_listed >= LISTED_MAX) {
        return;
    }
    if (order->listed_last == NULL) {
        order->listed = payment;
    } else {
        order->listed_last->next_listed = payment;
    }
    order->listed_last = payment;
    order->n_listed++;
}

static void apply_pay(struct fold *f)
{
    const struct command *cmd = &f->command;
    struct slice payment_id = command_text(&cmd->other_id);
    struct slice user_id = command_text(&cmd->user_id);
    struct payment *payment = (struct payment *)table_find(f->payments, payment_id);
    struct order *order;
    enum reason reason;

    if (payment != NULL) {
        struct buf *line = next_event(f);

        if (line != NULL) {
            const char answer[] = {' ', payment->answer, '\0'};

            buf_puts(line, "D ");
            buf_append(line, payment->order_id, sizeof(payment->order_id));
            buf_puts(line, answer);
        }
        return;
    }
    order = user_id.len == 0 ? NULL : find_order(find_user(f, user_id), cmd->order_id);
    reason = pay_order(f, order);
    if (reason != REASON_NONE) {
        tell_reason(f, "r", reason);
    }
    payment = table_add(&f->payments, sizeof(*payment), payment_id);
    payment->answer = reason == REASON_NONE ? 'P' : 'R';
    payment->reason = (uint8_t)reason;
    payment->offset = f->offset;
    memcpy(payment->order_id, cmd->order_id, sizeof(payment->order_id));
    f->log.payments++;
    list_payment(order, payment);
}

static enum reason cancel_order(struct fold *f, struct order *order)
{
    if (order == NULL) {
        return REASON_UNKNOWN_ORDER;
    }
    expire_lapsed(f, order);
    switch (order->state) {
    case ORDER_RESERVED:
        queue_remove(f, order);
        order->item->stock.held -= order->qty;
        order->item->stock.available += order->qty;
        order->state = ORDER_CANCELLED;
        tell_order(f, order, "c", -1);
        return REASON_NONE;
    case ORDER_PAID:
        return REASON_ALREADY_PAID;
    case ORDER_CANCELLED:
        return REASON_ALREADY_CANCELLED;
    case ORDER_EXPIRED:
        return REASON_EXPIRED;
    default:
        return REASON_ALREADY_REJECTED;
    }
}

static void apply_cancel(struct fold *f)
{
    const struct command *cmd = &f->command;
    const struct user *user = find_user(f, command_text(&cmd->user_id));
    enum reason reason = cancel_order(f, find_order(user, cmd->order_id));

    if (reason != REASON_NONE) {
        tell_reason(f, "x", reason);
    }
}

/* Sales. */

/* False, and told as a duplicate, when the operation was seen before. */
static bool is_new_operation(struct fold *f)
{
    struct slice op_id = command_text(&f->command.other_id);
    struct operation *operation;

    if (table_find(f->operations, op_id) != NULL) {
        tell_letter(f, "o");
        return false;
    }
    operation = table_add(&f->operations, sizeof(*operation), op_id);
    operation->item_id = f->command.item_id;
    operation->offset = f->offset;
    f->log.operations++;
    return true;
}

static void replace(int64_t *member, int64_t value)
{
    if (value >= 0) {
        *member = value;
    }
}

/* Puts the command's members over next and judges the result. */
static enum reason merge_terms(const struct fold *f, struct stock *next)
{
    const struct command *cmd = &f->command;

    replace(&next->total, cmd->total);
    replace(&next->limit, cmd->limit);
    replace(&next->hold_ms, cmd->hold_ms);
    replace(&next->opens_at, cmd->opens_at);
    replace(&next->closes_at, cmd->closes_at);
    replace(&next->price, cmd->price);
    if (next->total < next->held + next->sold) {
        return REASON_BELOW_COMMITTED;
    }
    if (next->closes_at != 0 && next->closes_at <= next->opens_at) {
        return REASON_BAD_OPERATION;
    }
    if (f->n_queues == HOLDS_MAX && find_queue(f, next->hold_ms) == HOLDS_MAX) {
        return REASON_BAD_OPERATION;
    }
    next->available = next->total - next->held - next->sold;
    return REASON_NONE;
}

/* What the item becomes, in next. */
static enum reason change_sale(const struct fold *f, const struct item *item, struct stock *next)
{
    const struct command *cmd = &f->command;

    if (item == NULL) {
        if (cmd->action != COMMAND_OPEN) {
            return REASON_UNKNOWN_ITEM;
        }
        if (cmd->total < 0 || cmd->limit < 0 || cmd->hold_ms < 0 || f->log.items >= ITEMS_MAX) {
            return REASON_BAD_OPERATION;
        }
        *next = (struct stock){.state = 'o'};
        return merge_terms(f, next);
    }
    if (item->stock.state == 'c') {
        return REASON_CLOSED;
    }
    *next = item->stock;
    switch (cmd->action) {
    case COMMAND_PAUSE:
        next->state = 'p';
        return REASON_NONE;
    case COMMAND_RESUME:
        next->state = 'o';
        return REASON_NONE;
    case COMMAND_CLOSE:
        next->state = 'c';
        return REASON_NONE;
    case COMMAND_OPEN:
        next->state = 'o';
        return merge_terms(f, next);
    case COMMAND_CHANGE:
        break;
    }
    return merge_terms(f, next);
}

static void apply_sale(struct fold *f)
{
    struct slice item_id = command_text(&f->command.item_id);
    struct item *item = find_item(f, item_id);
    struct stock next;
    enum reason reason;

    if (!is_new_operation(f)) {
        return;
    }
    reason = change_sale(f, item, &next);
    if (reason != REASON_NONE) {
        tell_reason(f, "x", reason);
        return;
    }
    if (item == NULL) {
        item = name_item(f, item_id);
        item->is_present = true;
        f->log.items++;
    }
    item->stock = next;
    if (find_queue(f, next.hold_ms) == HOLDS_MAX) {
        f->queues[f->n_queues++] = (struct queue){.hold_ms = next.hold_ms};
    }
    tell_stock(f, item);
}

static void apply_restock(struct fold *f)
{
    const struct command *cmd = &f->command;
    struct item *item = find_item(f, command_text(&cmd->item_id));

    if (!is_new_operation(f)) {
        return;
    }
    if (item == NULL) {
        tell_reason(f, "x", REASON_UNKNOWN_ITEM);
    } else if (item->stock.state == 'c') {
        tell_reason(f, "x", REASON_CLOSED);
    } else if (item->stock.total + cmd->qty > COMMAND_TOTAL_MAX) {
        tell_reason(f, "x", REASON_BAD_OPERATION);
    } else {
        item->stock.total += cmd->qty;
        item->stock.available += cmd->qty;
        tell_stock(f, item);
    }
}

static int compare_items(const void *a, const void *b)
{
    const struct slice x = node_name(&(*(struct item *const *)a)->node);
    const struct slice y = node_name(&(*(struct item *const *)b)->node);
    const int order = memcmp(x.ptr, y.ptr, x.len < y.len ? x.len : y.len);

    return order != 0 ? order : (x.len > y.len) - (x.len < y.len);
}

static void apply_mark(struct fold *f)
{
    struct buf *line = next_event(f);
    const struct item **items;
    size_t n = 0;

    if (line == NULL) {
        return;
    }
    items = xcalloc(f->log.items, sizeof(struct item *));
    for (const struct node *node = f->items; node != NULL; node = node->hh.next) {
        const struct item *item = (const struct item *)node;

        if (item->is_present) {
            items[n++] = item;
        }
    }
    qsort(items, n, sizeof(struct item *), compare_items);

    buf_putc(line, 'm');
    put_number(line, (int64_t)f->log.orders);
    put_number(line, (int64_t)f->log.payments);
    for (size_t i = 0; i < n; i++) {
        const struct stock *stock = &items[i]->stock;
        const int64_t counters[] = {stock->total, stock->available, stock->held, stock->sold};

        put_text(line, node_name(&items[i]->node));
        for (size_t k = 0; k < 4; k++) {
            buf_putc(line, ',');
            buf_put_i64(line, counters[k]);
        }
    }
    free(items);
}

static void apply_genesis(struct fold *f)
{
    const struct command *cmd = &f->command;

    if (f->log.genesis[0] != '\0') {
        tell_reason(f, "x", REASON_BAD_OPERATION);
        return;
    }
    memcpy(f->log.genesis, cmd->other_id.s, IDS_LOG_LEN);
    f->log.partitions = cmd->partitions;
    f->log.rules = cmd->rules;
    f->log.chain = ids_chain_start(command_text(&cmd->other_id));
    tell_letter(f, "g");
}

static void apply_command(struct fold *f)
{
    switch (f->command.type) {
    case COMMAND_GENESIS:
        apply_genesis(f);
        break;
    case COMMAND_SET_RULES:
        f->log.rules = f->command.rules;
        tell_letter(f, "v");
        break;
    case COMMAND_SALE:
        apply_sale(f);
        break;
    case COMMAND_RESTOCK:
        apply_restock(f);
        break;
    case COMMAND_ORDER:
        apply_order(f);
        break;
    case COMMAND_PAY:
        apply_pay(f);
        break;
    case COMMAND_CANCEL:
        apply_cancel(f);
        break;
    case COMMAND_TICK:
        break;
    case COMMAND_MARK:
        apply_mark(f);
        break;
    case COMMAND_ARCHIVE:
        if (is_new_operation(f)) {
            tell_reason(f, "x", REASON_BAD_OPERATION);
        }
        break;
    case COMMAND_MALFORMED:
        tell_reason(f, "x", REASON_MALFORMED);
        break;
    }
}

struct fold *fold_create(int partition, int partitions)
{
    struct fold *f = xcalloc(1, sizeof(*f));

    assert(partitions >= 1 && partitions <= IDS_PARTITIONS_MAX);
    assert(partition >= 0 && partition < partitions);
    f->partition = partition;
    f->partitions = partitions;
    f->log.watermark = -1;
    f->next_due = INT64_MAX;
    return f;
}

void fold_destroy(struct fold *f)
{
    if (f == NULL) {
        return;
    }
    table_free(&f->items);
    table_free(&f->users);
    table_free(&f->payments);
    table_free(&f->operations);
    while (f->slabs != NULL) {
        struct slab *next = f->slabs->next;

        free(f->slabs);
        f->slabs = next;
    }
    free(f);
}

bool fold_apply(struct fold *f, const struct fold_record *rec, struct buf *line, struct err *err)
{
    const bool is_first = f->log.genesis[0] == '\0';
    uint64_t hash;

    if (rec->offset <= f->log.watermark || rec->offset > COMMAND_TIME_MAX) {
        return err_set(err, ERR_FATAL, "offset %lld does not follow %lld", (long long)rec->offset,
                       (long long)f->log.watermark);
    }
    if (rec->timestamp > COMMAND_TIME_MAX) {
        return err_set(err, ERR_FATAL, "offset %lld has no possible time: %lld",
                       (long long)rec->offset, (long long)rec->timestamp);
    }
    if (!is_first && f->log.rules != COMMAND_RULES) {
        return err_set(err, ERR_FATAL, "offset %lld is under rules %lld, this build has %d",
                       (long long)rec->offset, (long long)f->log.rules, COMMAND_RULES);
    }
    command_parse(&f->command, rec->value, f->partition, f->partitions);
    if (is_first && f->command.type != COMMAND_GENESIS) {
        return err_set(err, ERR_FATAL, "the first record, offset %lld, is no genesis but %s",
                       (long long)rec->offset, command_type_name(f->command.type));
    }
    f->line = line;
    f->n_events = 0;
    f->offset = rec->offset;
    if (f->log.log_time < rec->timestamp) {
        f->log.log_time = rec->timestamp;
    }
    expire_due(f);
    apply_command(f);

    hash = ids_record_hash(rec->offset, rec->timestamp, rec->key, rec->value);
    f->log.chain = ids_chain_next(f->log.chain, hash);
    f->log.last_hash = hash;
    f->log.watermark = rec->offset;
    f->line = NULL;
    return true;
}

void fold_log(const struct fold *f, struct fold_log *log)
{
    *log = f->log;
}

const struct command *fold_last_command(const struct fold *f)
{
    return &f->command;
}

/* The state in Redis's words. */

static void write_item(const struct node *node, struct buf *out)
{
    put_stock(out, &((const struct item *)node)->stock);
}

static void write_order(const struct order *order, struct buf *out)
{
    const char state[] = {' ', order->state, '\0'};
    char separator = ' ';

    buf_append(out, order->id, sizeof(order->id));
    put_text(out, node_name(&order->item->node));
    put_number(out, order->qty);
    buf_puts(out, state);
    put_number(out, order->reason);
    put_number(out, order->due);
    put_number(out, order->offset);
    if (order->listed == NULL) {
        buf_puts(out, " -");
    }
    for (const struct payment *p = order->listed; p != NULL; p = p->next_listed) {
        buf_putc(out, separator);
        buf_putc(out, p->answer);
        buf_put_slice(out, node_name(&p->node));
        separator = ',';
    }
}

static void write_orders(const struct node *node, struct buf *out)
{
    const struct user *user = (const struct user *)node;

    for (const struct order *order = user->first; order != NULL; order = order->next) {
        if (order != user->first) {
            buf_putc(out, ';');
        }
        write_order(order, out);
    }
}

static void write_payment(const struct node *node, struct buf *out)
{
    const struct payment *payment = (const struct payment *)node;

    buf_putc(out, payment->answer);
    put_number(out, payment->reason);
    buf_putc(out, ' ');
    buf_append(out, payment->order_id, sizeof(payment->order_id));
    put_number(out, payment->offset);
}

static void write_operation(const struct node *node, struct buf *out)
{
    const struct operation *operation = (const struct operation *)node;

    buf_put_slice(out, command_text(&operation->item_id));
    put_number(out, operation->offset);
}

typedef void write_fn(const struct node *node, struct buf *out);

static bool write_field(const struct node *node, struct buf *out, write_fn *write)
{
    buf_clear(out);
    if (node == NULL) {
        return false;
    }
    write(node, out);
    return true;
}

bool fold_item(const struct fold *f, struct slice item_id, struct buf *out)
{
    return write_field((const struct node *)find_item(f, item_id), out, write_item);
}

bool fold_orders(const struct fold *f, struct slice user_id, struct buf *out)
{
    return write_field(table_find(f->users, user_id), out, write_orders);
}

bool fold_payment(const struct fold *f, struct slice payment_id, struct buf *out)
{
    return write_field(table_find(f->payments, payment_id), out, write_payment);
}

bool fold_operation(const struct fold *f, struct slice op_id, struct buf *out)
{
    return write_field(table_find(f->operations, op_id), out, write_operation);
}

void fold_holds(const struct fold *f, struct buf *out)
{
    buf_clear(out);
    for (size_t i = 0; i < f->n_queues; i++) {
        if (i > 0) {
            buf_putc(out, ',');
        }
        buf_put_i64(out, f->queues[i].hold_ms);
    }
}

size_t fold_users(const struct fold *f)
{
    return HASH_COUNT(f->users);
}

void fold_each(const struct fold *f, enum fold_table table, fold_each_fn *each, void *arg)
{
    static write_fn *const writes[] = {
        [FOLD_ITEMS] = write_item,
        [FOLD_ORDERS] = write_orders,
        [FOLD_PAYMENTS] = write_payment,
        [FOLD_OPERATIONS] = write_operation,
    };
    const struct node *const tables[] = {
        [FOLD_ITEMS] = f->items,
        [FOLD_ORDERS] = f->users,
        [FOLD_PAYMENTS] = f->payments,
        [FOLD_OPERATIONS] = f->operations,
    };
    struct buf value;

    buf_init(&value, FOLD_VALUE_MAX);
    for (const struct node *node = tables[table]; node != NULL; node = node->hh.next) {
        if (table == FOLD_ITEMS && !((const struct item *)node)->is_present) {
            continue;
        }
        buf_clear(&value);
        writes[table](node, &value);
        if (!each(node_name(node), buf_slice(&value), arg)) {
            break;
        }
    }
    buf_fini(&value);
}

void fold_each_hold(const struct fold *f, fold_each_fn *each, void *arg)
{
    struct queue queues[HOLDS_MAX]; /* each cut off at the front as it is told */
    char hold_text[24], entry_text[160];
    struct buf hold, entry;
    size_t i;

    memcpy(queues, f->queues, sizeof(queues));
    buf_init_fixed(&hold, hold_text, sizeof(hold_text));
    buf_init_fixed(&entry, entry_text, sizeof(entry_text));
    while ((i = earliest_queue(queues, f->n_queues)) < f->n_queues) {
        const struct order *order = queues[i].first;

        queues[i].first = order->due_next;
        buf_clear(&hold);
        buf_put_i64(&hold, queues[i].hold_ms);
        buf_clear(&entry);
        buf_put_i64(&entry, order->due);
        put_number(&entry, order->offset);
        buf_putc(&entry, ' ');
        buf_append(&entry, order->id, sizeof(order->id));
        put_text(&entry, node_name(&order->user->node));
        if (!each(buf_slice(&hold), buf_slice(&entry), arg)) {
            break;
        }
    }
}
