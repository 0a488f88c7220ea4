#include "guardian/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

static void free_list(struct report_list *list)
{
    for (size_t i = 0; i < list->n && i < REPORT_KEPT; i++) {
        free(list->kept[i]);
    }
    list->n = 0;
}

void report_fini(struct report *r)
{
    free_list(&r->differences);
    free_list(&r->unchecked);
    free_list(&r->unproven);
}

static ATTR_PRINTF(2, 0) void add(struct report_list *list, const char *fmt, va_list args)
{
    char text[600];

    if (list->n < REPORT_KEPT) {
        (void)vsnprintf(text, sizeof(text), fmt, args);
        list->kept[list->n] = xstrdup(text);
    }
    list->n++;
}

void report_difference(struct report *r, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(&r->differences, fmt, args);
    va_end(args);
}

void report_unchecked(struct report *r, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(&r->unchecked, fmt, args);
    va_end(args);
}

void report_unproven(struct report *r, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(&r->unproven, fmt, args);
    va_end(args);
}

enum report_status report_status(const struct report *r)
{
    if (r->unchecked.n > 0) {
        return REPORT_UNCHECKED;
    }
    return r->differences.n > 0 ? REPORT_DIFFERENT : REPORT_CLEAN;
}

const char *report_status_name(enum report_status status)
{
    static const char *const names[] = {"clean", "different", "unchecked"};

    return names[status];
}

void report_json(const struct report_list *list, struct buf *out)
{
    buf_putc(out, '[');
    for (size_t i = 0; i < list->n && i < REPORT_KEPT; i++) {
        buf_puts(out, i == 0 ? "" : ",");
        buf_json_string(out, slice_str(list->kept[i]));
    }
    buf_putc(out, ']');
}

void report_text(const struct report_list *list, const char *what, struct buf *out)
{
    for (size_t i = 0; i < list->n && i < REPORT_KEPT; i++) {
        buf_printf(out, "%s: %s\n", what, list->kept[i]);
    }
    if (list->n > REPORT_KEPT) {
        buf_printf(out, "%s: and %zu more\n", what, list->n - REPORT_KEPT);
    }
}

bool report_print(const struct buf *out)
{
    if (!buf_ok(out)) {
        (void)fprintf(stderr, "seckill-guardian: there is too much to print\n");
        return false;
    }
    errno = 0;
    if ((out->len > 0 && fwrite(out->ptr, 1, out->len, stdout) != out->len) ||
        fflush(stdout) != 0) {
        (void)fprintf(stderr, "seckill-guardian: printing: %s\n", strerror(errno));
        return false;
    }
    return true;
}
