/*
 * report.h - what reconcile and verify found: differences, what could not be checked, and what had to be
 * taken for granted (it changes no status).
 *
 * All are counted; the first ones are kept to be shown.
 */
#ifndef GUARDIAN_REPORT_H
#define GUARDIAN_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/attr.h"
#include "common/buf.h"

enum {
    REPORT_KEPT = 1000,
};

/* Exit statuses of the checking commands; the worst of several is the larger. */
enum report_status {
    REPORT_CLEAN = 0,
    REPORT_DIFFERENT = 1,
    REPORT_UNCHECKED = 2,
};

struct report_list {
    size_t n;
    char *kept[REPORT_KEPT]; /* owned; the first of the n */
};

struct report {
    struct report_list differences, unchecked, unproven;
};

void report_fini(struct report *r);

void report_difference(struct report *r, const char *fmt, ...) ATTR_PRINTF(2, 3);
void report_unchecked(struct report *r, const char *fmt, ...) ATTR_PRINTF(2, 3);
void report_unproven(struct report *r, const char *fmt, ...) ATTR_PRINTF(2, 3);

enum report_status report_status(const struct report *r);
const char *report_status_name(enum report_status status);

/* Appends the kept ones as a JSON array of strings. */
void report_json(const struct report_list *list, struct buf *out);

/* Appends a line per kept one, and how many more there are. */
void report_text(const struct report_list *list, const char *what, struct buf *out);

/* Prints what out holds; false, with a line on stderr, when not all of it could be told. */
bool report_print(const struct buf *out) ATTR_MUSTCHECK;

#endif /* GUARDIAN_REPORT_H */
