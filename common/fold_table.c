/*
 * Tables, orders and queues of a fold: what is found by a name, and what waits for its time.
 */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/xmalloc.h"

#define HASH_FUNCTION(key, len, hash) ((hash) = (unsigned)XXH3_64bits((key), (len)))
#define uthash_malloc(size)           xmalloc(size)
#include "common/fold_impl.h"

/* NOLINTNEXTLINE(readability-function-cognitive-complexity): the macro is uthash's. */
struct node *fold_find(struct node *table, struct slice id)
{
    struct node *found = NULL;

    HASH_FIND(hh, table, id.ptr, (unsigned)id.len, found);
    return found;
}

/* NOLINTNEXTLINE(readability-function-cognitive-complexity): the macro is uthash's. */
void *fold_add(struct node **table, size_t size, struct slice id)
{
    struct node *node = xcalloc(1, size + id.len);
    char *name = (char *)node + size;

    memcpy(name, id.ptr, id.len);
    HASH_ADD_KEYPTR(hh, *table, name, (unsigned)id.len, node);
    return node;
}

void fold_free_table(struct node **table)
{
    struct node *node = *table;

    HASH_CLEAR(hh, *table);
    while (node != NULL) {
        struct node *next = node->hh.next;

        free(node);
        node = next;
    }
}

struct slice fold_name(const struct node *node)
{
    return (struct slice){node->hh.key, node->hh.keylen};
}

struct item *fold_find_item(const struct fold *f, struct slice item_id)
{
    struct item *item = (struct item *)fold_find(f->items, item_id);

    return item != NULL && item->is_present ? item : NULL;
}

struct item *fold_name_item(struct fold *f, struct slice item_id)
{
    struct item *item = (struct item *)fold_find(f->items, item_id);

    return item != NULL ? item : fold_add(&f->items, sizeof(*item), item_id);
}

struct user *fold_find_user(const struct fold *f, struct slice user_id)
{
    return (struct user *)fold_find(f->users, user_id);
}

struct order *fold_find_order(const struct user *user, const char *order_id)
{
    struct order *order = user == NULL ? NULL : user->first;

    while (order != NULL && memcmp(order->id, order_id, sizeof(order->id)) != 0) {
        order = order->next;
    }
    if (MUTANT(FORGET_ENDED) && order != NULL && order->state != ORDER_RESERVED &&
        order->state != ORDER_REJECTED) {
        return NULL;
    }
    return order;
}

static struct order *take_order(struct fold *f)
{
    struct order *order = f->free_orders;

    if (order != NULL) {
        f->free_orders = order->next;
        memset(order, 0, sizeof(*order));
        return order;
    }
    if (f->slabs == NULL || f->slab_used == SLAB_ORDERS) {
        struct slab *slab = xcalloc(1, sizeof(*slab));

        slab->next = f->slabs;
        f->slabs = slab;
        f->slab_used = 0;
    }
    return &f->slabs->orders[f->slab_used++];
}

struct order *fold_remember(struct fold *f, struct user *user, struct item *item,
                            enum order_state state, enum reason reason)
{
    const struct command *cmd = &f->command;
    struct order *order = take_order(f);

    if (user == NULL) {
        user = fold_add(&f->users, sizeof(*user), command_text(&cmd->user_id));
    }
    if (user->last == NULL) {
        user->first = order;
    } else {
        user->last->next = order;
    }
    user->last = order;
    user->n_orders++;
    user->changed = f->offset;
    f->log.orders++;

    order->user = user;
    order->item = item != NULL ? item : fold_name_item(f, command_text(&cmd->item_id));
    order->qty = (int16_t)cmd->qty;
    order->state = (char)state;
    order->reason = (uint8_t)reason;
    order->offset = f->offset;
    memcpy(order->id, cmd->order_id, sizeof(order->id));
    fold_note(f, order, FOLD_REMEMBERED);
    return order;
}

void fold_watch(struct fold *f, fold_watch_fn *watch, void *arg)
{
    f->watch = watch;
    f->watch_arg = arg;
}

void fold_note(const struct fold *f, const struct order *order, enum fold_memory memory)
{
    if (f->watch != NULL) {
        f->watch(
            &(struct fold_decision){
                .memory = memory,
                .order_id = {order->id, sizeof(order->id)},
                .item_id = fold_name(&order->item->node),
                .user_id = fold_name(&order->user->node),
                .qty = order->qty,
                .due = order->due,
                .offset = order->offset,
                .at = f->offset,
                .state = (enum order_state)order->state,
                .reason = (enum reason)order->reason,
            },
            f->watch_arg);
    }
}

void fold_note_command(const struct fold *f, enum fold_memory memory, enum reason reason)
{
    const struct command *cmd = &f->command;

    if (f->watch != NULL) {
        f->watch(
            &(struct fold_decision){
                .memory = memory,
                .order_id = slice_str(cmd->order_id),
                .item_id = command_text(&cmd->item_id),
                .user_id = command_text(&cmd->user_id),
                .qty = cmd->qty,
                .offset = f->offset,
                .at = f->offset,
                .state = ORDER_REJECTED,
                .reason = reason,
            },
            f->watch_arg);
    }
}

/* NOLINTNEXTLINE(readability-function-cognitive-complexity): the macro is uthash's. */
static void remove_user(struct fold *f, struct user *user)
{
    struct node *node = &user->node;

    HASH_DEL(f->users, node);
    free(user);
}

size_t fold_forget(struct fold *f, struct user *user, const struct item *item)
{
    struct order *next = user->first;
    size_t n = 0;

    user->first = NULL;
    user->last = NULL;
    while (next != NULL) {
        struct order *order = next;

        next = order->next;
        order->next = NULL;
        if (order->item == item) {
            /* Only in a loaded state, whose item denied that it is held. */
            if (order->state == ORDER_RESERVED) {
                fold_dequeue(f, order);
            }
            fold_note(f, order, FOLD_ARCHIVED);
            order->next = f->free_orders;
            f->free_orders = order;
            n++;
            continue;
        }
        if (user->last == NULL) {
            user->first = order;
        } else {
            user->last->next = order;
        }
        user->last = order;
    }
    if (n > 0) {
        user->changed = f->offset;
    }
    user->n_orders -= n;
    f->log.orders -= n;
    if (user->n_orders == 0) {
        remove_user(f, user);
    }
    return n;
}

size_t fold_find_queue(const struct fold *f, int64_t hold_ms)
{
    for (size_t i = 0; i < f->n_queues; i++) {
        if (f->queues[i].hold_ms == hold_ms) {
            return i;
        }
    }
    return HOLDS_MAX;
}

void fold_enqueue(struct fold *f, struct order *order)
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

void fold_dequeue(struct fold *f, struct order *order)
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

size_t fold_earliest_queue(const struct queue queues[], size_t n)
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

struct order *fold_earliest_hold(const struct fold *f)
{
    const size_t i = fold_earliest_queue(f->queues, f->n_queues);

    return i == f->n_queues ? NULL : f->queues[i].first;
}
