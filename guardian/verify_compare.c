/*
 * One field of Redis or MySQL against the fold, all in Redis's own text.
 */
#include "guardian/verify_impl.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "common/xmalloc.h"

enum {
    PAUSE_MS = 50,
    TEXT_BYTES = 600,
};

const enum record_table verify_tables[VERIFY_TABLES] = {RECORD_ITEMS, RECORD_ORDERS,
                                                        RECORD_PAYMENTS, RECORD_OPERATIONS};

void verify_pause(void)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};

    (void)nanosleep(&pause, NULL);
}

static bool fold_value(const struct verify *v, struct slice name, struct buf *out)
{
    switch (v->table) {
    case RECORD_ITEMS:
        return fold_item(verify_fold(v), name, out);
    case RECORD_ORDERS:
        return fold_orders(verify_fold(v), name, out);
    case RECORD_PAYMENTS:
        return fold_payment(verify_fold(v), name, out);
    default:
        return fold_operation(verify_fold(v), name, out);
    }
}

void verify_differ(struct verify *v, int64_t offset, const char *fmt, ...)
{
    /* What was loaded was changed then at the latest. */
    const bool is_bound = verify_is_loaded(v) && offset == v->progress[v->partition].position;
    char text[TEXT_BYTES];
    va_list args;
    int len;

    if (offset < 0) {
        len = snprintf(text, sizeof(text), "partition %d: no offset: ", v->partition);
    } else {
        len = snprintf(text, sizeof(text), "partition %d: offset %s%" PRId64 ": ", v->partition,
                       is_bound ? "up to " : "", offset);
    }
    va_start(args, fmt);
    (void)vsnprintf(text + len, sizeof(text) - (size_t)len, fmt, args);
    va_end(args);
    findings_add(&v->findings, offset, text);
}

void verify_differ_field(struct verify *v, int64_t offset, const char *source, struct slice name,
                         const char *fmt, ...)
{
    char text[TEXT_BYTES];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    verify_differ(v, offset, "%s: %s %.*s: %s", source, record_redis_name(v->table), (int)name.len,
                  name.ptr, text);
}

int64_t verify_changed(const struct verify *v, struct slice name)
{
    return fold_changed(verify_fold(v), verify_fold_table(v->table), name);
}

/* Where the log has a user's orders no longer: the record that archived the first of those there are. */
static int64_t archived_at(const struct verify *v, struct slice user_id, struct slice value)
{
    struct order_entry order;
    char storage[256];
    struct buf key;

    if (v->table != RECORD_ORDERS || order_entry_next(&value, &order) != 1) {
        return -1;
    }
    buf_init_fixed(&key, storage, sizeof(storage));
    buf_put_slice(&key, order.order_id);
    buf_putc(&key, ' ');
    buf_put_slice(&key, user_id);
    buf_putc(&key, ' ');
    buf_put_slice(&key, order.item_id);
    return forgotten_changed(v->forgotten, buf_slice(&key));
}

/* Shows the first of the parts, between semicolons, in which two values differ. */
static void tell_first(struct verify *v, const char *source, struct slice name, struct slice other)
{
    struct slice log = buf_slice(&v->value);

    while (log.len > 0 || other.len > 0) {
        struct slice log_rest, other_rest;
        struct slice a = slice_cut(log, ';', &log_rest);
        struct slice b = slice_cut(other, ';', &other_rest);

        if (!slice_eq(a, b)) {
            verify_differ_field(v, verify_changed(v, name), source, name,
                                "log \"%.*s\", %s \"%.*s\"", (int)a.len, a.ptr, source, (int)b.len,
                                b.ptr);
            return;
        }
        log = log_rest;
        other = other_rest;
    }
}

bool verify_field(struct verify *v, const char *source, struct slice name, struct slice value)
{
    buf_clear(&v->value);
    if (!fold_value(v, name, &v->value)) {
        const int64_t offset = archived_at(v, name, value);

        verify_differ_field(v, offset, source, name, "%s in the log, %s has \"%.*s\"",
                            offset < 0 ? "not" : "no longer", source, (int)value.len, value.ptr);
        return false;
    }
    if (!slice_eq(buf_slice(&v->value), value)) {
        tell_first(v, source, name, value);
    }
    return true;
}

enum fold_table verify_fold_table(enum record_table table)
{
    switch (table) {
    case RECORD_ITEMS:
        return FOLD_ITEMS;
    case RECORD_ORDERS:
        return FOLD_ORDERS;
    case RECORD_PAYMENTS:
        return FOLD_PAYMENTS;
    default:
        return FOLD_OPERATIONS;
    }
}

static void add_name(struct names *names, struct slice name)
{
    if (names->n == names->room) {
        names->room = names->room == 0 ? 256 : 2 * names->room;
        names->at = xreallocarray(names->at, names->room, sizeof(*names->at));
    }
    names->n += command_set_text(&names->at[names->n], name) ? 1 : 0;
}

bool verify_collect(struct slice field, struct slice value ATTR_UNUSED, void *arg)
{
    add_name(arg, field);
    return true;
}
