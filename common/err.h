/*
 * err.h - the error value: what kind of failure, and a sentence for a person.
 *
 * A fallible function returns bool (or a pointer) and takes struct err * last.  Lower layers
 * describe; the layer that retries, rejects or stops logs.
 */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

#include <stdbool.h>

#include "common/attr.h"

enum err_kind {
    ERR_RETRY = 1, /* the other side is unwell; the same call may work later */
    ERR_REJECT,    /* this input can never succeed; set it aside and go on */
    ERR_FATAL,     /* we cannot continue safely; stop the partition or the process */
};

struct err {
    enum err_kind kind;
    char text[256]; /* truncated, always NUL-terminated, no trailing newline */
};

/* Fills err (which may be NULL) and returns false, so that `return err_set(...)` fails. */
bool err_set(struct err *err, enum err_kind kind, const char *fmt, ...) ATTR_PRINTF(3, 4);

#endif /* COMMON_ERR_H */
