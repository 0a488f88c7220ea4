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

void verify_differ(struct verify *v, const char *source, struct slice name, const char *fmt, ...)
{
    char text[480];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    report_difference(&v->report, "partition %d: offset %" PRId64 ": %s: %s %.*s: %s", v->partition,
                      refold_position(v->refold), source, record_redis_name(v->table),
                      (int)name.len, name.ptr, text);
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
            verify_differ(v, source, name, "log \"%.*s\", %s \"%.*s\"", (int)a.len, a.ptr, source,
                          (int)b.len, b.ptr);
            return;
        }
        log = log_rest;
        other = other_rest;
    }
}

void verify_field(struct verify *v, const char *source, struct slice name, struct slice value)
{
    buf_clear(&v->value);
    if (!fold_value(v, name, &v->value)) {
        verify_differ(v, source, name, "not in the log, %s has \"%.*s\"", source, (int)value.len,
                      value.ptr);
    } else if (!slice_eq(buf_slice(&v->value), value)) {
        tell_first(v, source, name, value);
    }
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
