/*
 * mend.h - whether a partition's Redis has to be rebuilt, from looking at it again and again.
 *
 * Pure: what was seen in, a cause out.  A cause counts when it was seen twice, MEND_TWICE_MS apart:
 * a failover in between shows something else.
 */
#ifndef GUARDIAN_MEND_H
#define GUARDIAN_MEND_H

#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"
#include "guardian/peek.h"

enum mend_cause {
    MEND_NONE,
    MEND_LOST,        /* an outcome is lost for certain; not found here, see follow.h */
    MEND_KEYS,        /* keys without a watermark */
    MEND_HEAD,        /* the log no longer has what Redis lacks */
    MEND_INTERRUPTED, /* a rebuild was begun, and does not go on */
    MEND_CAUSES,
};

enum {
    MEND_TWICE_MS = 1000,
};

struct mend {
    int64_t stall_ms;
    enum mend_cause suspect;
    int64_t since_ms;
    int64_t first;  /* as it was seen last */
    char token[64]; /* of the rebuild that is watched; "": none */
    int64_t progress;
};

struct mend_view {
    const struct peek_look *look;
    int64_t position;    /* MySQL's */
    const char *genesis; /* MySQL's; the state of another log is not ours to wipe */
    int64_t log_begin;   /* of the orders topic; used where mend_wants_log() */
    int64_t now_ms;
};

/*
 * Whether the log's begin matters: Redis lacks what MySQL has, or its outbox keeps what MySQL has, which
 * is nothing unusual unless it lasts.
 */
static inline bool mend_wants_log(const struct mend *m, const struct peek_look *look,
                                  int64_t position)
{
    return look->found == PEEK_NOTHING ||
           (look->found == PEEK_STATE &&
            (look->watermark < position || (look->first < position && look->first == m->first)));
}

/* Why it has to be rebuilt now; MEND_NONE: not, or not yet. */
enum mend_cause mend_see(struct mend *m, const struct mend_view *view) ATTR_MUSTCHECK;

/* "lost", "keys"... for logs and metrics. */
const char *mend_cause_name(enum mend_cause cause);

#endif /* GUARDIAN_MEND_H */
