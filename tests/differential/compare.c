#include "tests/differential/compare.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/outcome.h"
#include "common/xmalloc.h"

enum {
    KEY_LOG,
    KEY_ITEMS,
    KEY_ORDERS,
    KEY_PAYMENTS,
    KEY_OPS,
    KEY_OUTBOX,
    KEY_DUE,
};

void outbox_init(struct outbox *o)
{
    *o = (struct outbox){.n = 0};
}

void outbox_fini(struct outbox *o)
{
    outbox_trim(o, INT64_MAX);
    free(o->entries);
    outbox_init(o);
}

void outbox_add(struct outbox *o, int64_t prev, int64_t to, struct slice text)
{
    if (o->n == o->capacity) {
        o->capacity = o->capacity == 0 ? 16 : o->capacity * 2;
        o->entries = xreallocarray(o->entries, o->capacity, sizeof(*o->entries));
    }
    o->entries[o->n++] = (struct outbox_entry){
        .prev = prev, .to = to, .text = xmemdup0(text.ptr, text.len), .len = text.len};
}

void outbox_trim(struct outbox *o, int64_t acked)
{
    size_t n = 0;

    while (n < o->n && o->entries[n].to <= acked) {
        free(o->entries[n++].text);
    }
    if (n > 0) {
        memmove(o->entries, o->entries + n, (o->n - n) * sizeof(*o->entries));
    }
    o->n -= n;
}

static struct slice text_of(const redisReply *reply)
{
    return (struct slice){reply->str == NULL ? "" : reply->str, (size_t)reply->len};
}

static bool differ(const char *key, struct slice field, struct slice redis, struct slice fold)
{
    (void)fprintf(stderr, "%s %.*s\n  redis: %.*s\n  fold:  %.*s\n", key, (int)field.len, field.ptr,
                  (int)redis.len, redis.ptr, (int)fold.len, fold.ptr);
    return false;
}

typedef bool value_fn(const struct fold *f, struct slice field, struct buf *out);

/* Every field as the fold has it, and as many as it has. */
static bool compare_hash(const struct script *s, int key, const struct fold *fold, value_fn *value,
                         size_t count)
{
    redisReply *all = redis_ask(s->redis, "HGETALL %s", s->keys[key]);
    struct buf want;
    bool same = true;

    buf_init(&want, FOLD_VALUE_MAX);
    for (size_t i = 0; same && i + 1 < all->elements; i += 2) {
        const struct slice field = text_of(all->element[i]);
        const struct slice got = text_of(all->element[i + 1]);

        if (!value(fold, field, &want)) {
            same = differ(s->keys[key], field, got, SLICE_LIT("no such field"));
        } else if (!slice_eq(got, buf_slice(&want))) {
            same = differ(s->keys[key], field, got, buf_slice(&want));
        }
    }
    if (same && all->elements != 2 * count) {
        (void)fprintf(stderr, "%s: %zu fields in Redis, %zu in the fold\n", s->keys[key],
                      all->elements / 2, count);
        same = false;
    }
    buf_fini(&want);
    freeReplyObject(all);
    return same;
}

static bool log_value(const struct fold *f, struct slice field, struct buf *out)
{
    struct fold_log log;
    char hash[IDS_HASH_LEN + 1];

    fold_log(f, &log);
    buf_clear(out);
    if (slice_eq(field, SLICE_LIT("genesis"))) {
        buf_puts(out, log.genesis);
    } else if (slice_eq(field, SLICE_LIT("partitions"))) {
        buf_put_i64(out, log.partitions);
    } else if (slice_eq(field, SLICE_LIT("rules"))) {
        buf_put_i64(out, log.rules);
    } else if (slice_eq(field, SLICE_LIT("watermark"))) {
        buf_put_i64(out, log.watermark);
    } else if (slice_eq(field, SLICE_LIT("chain"))) {
        ids_hash_format(hash, log.chain);
        buf_puts(out, hash);
    } else if (slice_eq(field, SLICE_LIT("last_hash"))) {
        ids_hash_format(hash, log.last_hash);
        buf_puts(out, hash);
    } else if (slice_eq(field, SLICE_LIT("log_time"))) {
        buf_put_i64(out, log.log_time);
    } else if (slice_eq(field, SLICE_LIT("items"))) {
        buf_put_i64(out, (int64_t)log.items);
    } else if (slice_eq(field, SLICE_LIT("orders"))) {
        buf_put_i64(out, (int64_t)log.orders);
    } else if (slice_eq(field, SLICE_LIT("payments"))) {
        buf_put_i64(out, (int64_t)log.payments);
    } else if (slice_eq(field, SLICE_LIT("holds"))) {
        fold_holds(f, out);
    } else {
        return false;
    }
    return true;
}

/* The fold's holds: per entry its hold_ms and text, in due order. */
struct hold {
    int64_t hold_ms;
    char entry[160];
};

struct holds {
    struct hold *all; /* owned */
    size_t n, capacity;
};

static bool add_hold(struct slice field, struct slice value, void *arg)
{
    struct holds *holds = arg;
    struct hold *hold;

    if (holds->n == holds->capacity) {
        holds->capacity = holds->capacity == 0 ? 256 : holds->capacity * 2;
        holds->all = xreallocarray(holds->all, holds->capacity, sizeof(*holds->all));
    }
    hold = &holds->all[holds->n++];
    return slice_to_i64(field, 0, INT64_MAX, &hold->hold_ms) &&
           slice_copy(value, hold->entry, sizeof(hold->entry));
}

/* True when the fold, too, says that the entry's order is no longer held, or is another one. */
static bool is_stale(const struct fold *fold, struct slice entry)
{
    struct order_entry order;
    struct slice order_id, value;
    struct buf orders;
    struct slice offset;
    bool stale = true; /* if it was forgotten */

    (void)slice_cut(entry, ' ', &entry);
    offset = slice_cut(entry, ' ', &entry);
    order_id = slice_cut(entry, ' ', &entry);
    buf_init(&orders, FOLD_VALUE_MAX);
    if (fold_orders(fold, entry, &orders)) {
        value = buf_slice(&orders);
        while (order_entry_next(&value, &order) == 1) {
            if (slice_eq(order.order_id, order_id)) {
                int64_t decided;

                stale = order.state != ORDER_RESERVED ||
                        !slice_to_i64(offset, 0, COMMAND_TIME_MAX, &decided) ||
                        decided != order.offset;
            }
        }
    }
    buf_fini(&orders);
    return stale;
}

/* The live entries of the list of hold_ms are those of the fold, in order; sets its head's due. */
static bool compare_list(const struct script *s, const struct fold *fold, const struct holds *holds,
                         int64_t hold_ms, int64_t *head_due)
{
    redisReply *list =
        redis_ask(s->redis, "LRANGE %s:%lld 0 -1", s->keys[KEY_DUE], (long long)hold_ms);
    size_t next = 0;
    bool same = true;

    *head_due = 0;
    for (size_t i = 0; same && i <= list->elements; i++) {
        const struct slice got =
            i < list->elements ? text_of(list->element[i]) : SLICE_LIT("the end");
        struct slice want = SLICE_LIT("no hold");
        struct slice rest;

        while (next < holds->n && holds->all[next].hold_ms != hold_ms) {
            next++;
        }
        if (next < holds->n) {
            want = slice_str(holds->all[next].entry);
        }
        if (i == 0 && list->elements > 0 &&
            !slice_to_i64(slice_cut(got, ' ', &rest), 0, COMMAND_TIME_MAX, head_due)) {
            same = differ(s->keys[KEY_DUE], SLICE_LIT("head"), got, want);
        } else if (slice_eq(got, want)) {
            next++;
        } else if (i == list->elements ? next < holds->n : !is_stale(fold, got)) {
            same = differ(s->keys[KEY_DUE], SLICE_LIT("entry"), got, want);
        }
    }
    freeReplyObject(list);
    return same;
}

static bool compare_holds(const struct script *s, const struct fold *fold, int64_t next_due)
{
    struct holds holds = {.n = 0};
    struct buf text;
    struct slice rest;
    int64_t earliest = 0;
    bool same = true;

    fold_each_hold(fold, add_hold, &holds);
    buf_init(&text, FOLD_VALUE_MAX);
    fold_holds(fold, &text);
    rest = buf_slice(&text);
    while (same && rest.len > 0) {
        int64_t hold_ms = 0, due = 0;

        same = slice_to_i64(slice_cut(rest, ',', &rest), 1, COMMAND_HOLD_MAX_MS, &hold_ms) &&
               compare_list(s, fold, &holds, hold_ms, &due);
        if (due != 0 && (earliest == 0 || due < earliest)) {
            earliest = due;
        }
    }
    if (same && earliest != next_due) {
        (void)fprintf(stderr, "next_due is %" PRId64 " in the reply, %" PRId64 " in the lists\n",
                      next_due, earliest);
        same = false;
    }
    buf_fini(&text);
    free(holds.all);
    return same;
}

bool compare_outbox(const struct script *s, const struct outbox *outbox)
{
    redisReply *list = redis_ask(s->redis, "LRANGE %s 0 -1", s->keys[KEY_OUTBOX]);
    bool same = list->elements == outbox->n;

    if (!same) {
        (void)fprintf(stderr, "outbox: %zu entries in Redis, %zu expected\n", list->elements,
                      outbox->n);
    }
    for (size_t i = 0; same && i < outbox->n; i++) {
        const struct slice want = {outbox->entries[i].text, outbox->entries[i].len};

        if (!slice_eq(text_of(list->element[i]), want)) {
            same = differ(s->keys[KEY_OUTBOX], SLICE_LIT("entry"), text_of(list->element[i]), want);
        }
    }
    freeReplyObject(list);
    return same;
}

/* Every key of the partition. */
static redisReply *list_keys(const struct script *s)
{
    char pattern[sizeof(s->keys[0]) + 1];

    (void)snprintf(pattern, sizeof(pattern), "%.*s*", (int)(strlen(s->keys[KEY_LOG]) - 3),
                   s->keys[KEY_LOG]);
    return redis_ask(s->redis, "KEYS %s", pattern);
}

/* Lists of a hold_ms that the log never used would be found nowhere else. */
static bool compare_keys(const struct script *s, const struct fold *fold)
{
    redisReply *keys = list_keys(s);
    bool same = true;

    for (size_t i = 0; same && i < keys->elements; i++) {
        const struct slice key = text_of(keys->element[i]);
        const struct slice due = slice_str(s->keys[KEY_DUE]);
        bool known = false;

        for (int k = KEY_LOG; k <= KEY_OUTBOX; k++) {
            known = known || slice_eq(key, slice_str(s->keys[k]));
        }
        if (!known && slice_starts(key, due) && key.len > due.len + 1) {
            struct buf holds;
            struct slice rest;
            const struct slice name = {key.ptr + due.len + 1, key.len - due.len - 1};

            buf_init(&holds, FOLD_VALUE_MAX);
            fold_holds(fold, &holds);
            rest = buf_slice(&holds);
            while (rest.len > 0) {
                known = slice_eq(slice_cut(rest, ',', &rest), name) || known;
            }
            buf_fini(&holds);
        }
        if (!known) {
            same = differ("key", key, SLICE_LIT("there"), SLICE_LIT("none"));
        }
    }
    freeReplyObject(keys);
    return same;
}

bool compare_state(const struct script *s, const struct fold *fold, const struct outbox *outbox,
                   int64_t next_due)
{
    struct fold_log log;

    fold_log(fold, &log);
    return compare_hash(s, KEY_LOG, fold, log_value, 11) &&
           compare_hash(s, KEY_ITEMS, fold, fold_item, log.items + log.archived) &&
           compare_hash(s, KEY_ORDERS, fold, fold_orders, fold_users(fold)) &&
           compare_hash(s, KEY_PAYMENTS, fold, fold_payment, log.payments) &&
           compare_hash(s, KEY_OPS, fold, fold_operation, log.operations) &&
           compare_holds(s, fold, next_due) && compare_outbox(s, outbox) && compare_keys(s, fold);
}

/* The identity: sums over all orders, per item. */
struct sums {
    struct sum {
        struct command_text item_id;
        struct item_entry item;
        int64_t held, sold;
    } * items;
    size_t n, capacity, n_orders;
    bool ok;
};

static bool add_item(struct slice field, struct slice value, void *arg)
{
    struct sums *sums = arg;
    struct sum *sum;

    if (sums->n == sums->capacity) {
        sums->capacity = sums->capacity == 0 ? 16 : sums->capacity * 2;
        sums->items = xreallocarray(sums->items, sums->capacity, sizeof(*sums->items));
    }
    sum = &sums->items[sums->n++];
    *sum = (struct sum){.held = 0};
    sums->ok = command_set_text(&sum->item_id, field) && item_entry_parse(value, &sum->item);
    return sums->ok;
}

static bool add_orders(struct slice field, struct slice value, void *arg)
{
    struct sums *sums = arg;
    struct order_entry order;
    int rc;

    (void)field;
    while ((rc = order_entry_next(&value, &order)) == 1) {
        sums->n_orders++;
        for (size_t i = 0; i < sums->n; i++) {
            struct sum *sum = &sums->items[i];

            if (slice_eq(command_text(&sum->item_id), order.item_id)) {
                sum->held += order.state == ORDER_RESERVED ? order.qty : 0;
                sum->sold += order.state == ORDER_PAID ? order.qty : 0;
                break;
            }
        }
    }
    sums->ok = rc == 0;
    return sums->ok;
}

bool compare_identity(const struct fold *fold)
{
    struct sums sums = {.ok = true};
    struct fold_log log;

    fold_log(fold, &log);
    fold_each(fold, FOLD_ITEMS, add_item, &sums);
    if (sums.ok) {
        fold_each(fold, FOLD_ORDERS, add_orders, &sums);
    }
    if (sums.n != log.items + log.archived || sums.n_orders != log.orders) {
        sums.ok = false;
    }
    for (size_t i = 0; sums.ok && i < sums.n; i++) {
        const struct sum *sum = &sums.items[i];
        const struct item_entry *item = &sum->item;

        /* Of an archived item some who bought are forgotten. */
        if (item->held != sum->held ||
            (item->state == 'a' ? item->sold < sum->sold : item->sold != sum->sold) ||
            item->available < 0 || item->total != item->available + item->held + item->sold) {
            (void)fprintf(stderr,
                          "item %s: total %" PRId64 " available %" PRId64 " held %" PRId64
                          " sold %" PRId64 "; its orders hold %" PRId64 ", bought %" PRId64 "\n",
                          sum->item_id.s, item->total, item->available, item->held, item->sold,
                          sum->held, sum->sold);
            sums.ok = false;
        }
    }
    if (!sums.ok) {
        (void)fprintf(stderr, "the fold's counters do not fit its orders\n");
    }
    free(sums.items);
    return sums.ok;
}

static int by_bytes(const void *a, const void *b)
{
    const redisReply *x = *(redisReply *const *)a;
    const redisReply *y = *(redisReply *const *)b;
    const int order = memcmp(x->str, y->str, (size_t)(x->len < y->len ? x->len : y->len));

    return order != 0 ? order : (int)(x->len > y->len) - (int)(x->len < y->len);
}

/* A hash's fields in byte order: Redis's own order may change under a read. */
static void put_hash(const struct script *s, const char *key, struct buf *out)
{
    redisReply *all = redis_ask(s->redis, "HGETALL %s", key);

    if (all->elements > 0) {
        qsort(all->element, all->elements / 2, 2 * sizeof(redisReply *), by_bytes);
    }
    for (size_t i = 0; i < all->elements; i++) {
        buf_putc(out, '\n');
        buf_put_slice(out, text_of(all->element[i]));
    }
    freeReplyObject(all);
}

static void put_list(const struct script *s, const char *key, struct buf *out)
{
    redisReply *all = redis_ask(s->redis, "LRANGE %s 0 -1", key);

    for (size_t i = 0; i < all->elements; i++) {
        buf_putc(out, '\n');
        buf_put_slice(out, text_of(all->element[i]));
    }
    freeReplyObject(all);
}

void compare_snapshot(const struct script *s, struct buf *out)
{
    redisReply *keys = list_keys(s);

    if (keys->elements > 0) { /* hiredis has no array then, which qsort() may not be given */
        qsort(keys->element, keys->elements, sizeof(redisReply *), by_bytes);
    }
    buf_clear(out);
    for (size_t i = 0; i < keys->elements; i++) {
        const char *key = keys->element[i]->str;

        if (strcmp(key, s->keys[KEY_OUTBOX]) == 0) {
            continue;
        }
        buf_putc(out, '\n');
        buf_puts(out, key);
        if (slice_starts(text_of(keys->element[i]), slice_str(s->keys[KEY_DUE]))) {
            put_list(s, key, out);
        } else {
            put_hash(s, key, out);
        }
    }
    freeReplyObject(keys);
    if (!buf_ok(out)) {
        die("a snapshot is larger than its buffer");
    }
}
