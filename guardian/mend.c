#include "guardian/mend.h"

#include <string.h>

#include "common/mutant.h"

/* What one look shows by itself. */
static enum mend_cause suspect(const struct mend_view *view)
{
    const int64_t first = MUTANT(MEND_OUTBOX_LEFT) ? view->look->watermark : view->look->first;

    switch (view->look->found) {
    case PEEK_STATE:
        if (strcmp(view->look->genesis, view->genesis) != 0) {
            return MEND_NONE;
        }
        /* What must be read again has to be there, the record at the watermark too. */
        return first < view->position && view->log_begin > first && !MUTANT(MEND_HEAD_LEFT)
                   ? MEND_HEAD
                   : MEND_NONE;
    case PEEK_NOTHING:
        return view->log_begin > 0 && !MUTANT(MEND_HEAD_LEFT) ? MEND_HEAD : MEND_NONE;
    case PEEK_KEYS:
        return MUTANT(MEND_KEYS_LEFT) ? MEND_NONE : MEND_KEYS;
    case PEEK_REBUILD:
        return MUTANT(MEND_UNRESUMED) ? MEND_NONE : MEND_INTERRUPTED;
    }
    return MEND_NONE;
}

static bool has_moved(struct mend *m, const struct peek_look *look)
{
    if (strcmp(m->token, look->token) == 0 && m->progress == look->progress) {
        return false;
    }
    memcpy(m->token, look->token, sizeof(m->token));
    m->progress = look->progress;
    return true;
}

enum mend_cause mend_see(struct mend *m, const struct mend_view *view)
{
    const enum mend_cause seen = suspect(view);
    const int64_t patience_ms =
        seen == MEND_INTERRUPTED && !MUTANT(MEND_IMPATIENT) ? m->stall_ms : MEND_TWICE_MS;

    m->first = view->look->first;
    if ((has_moved(m, view->look) && !MUTANT(MEND_UNWATCHED)) || seen != m->suspect) {
        m->suspect = seen;
        m->since_ms = view->now_ms;
        return MUTANT(MEND_ONCE) ? seen : MEND_NONE;
    }
    return view->now_ms - m->since_ms >= patience_ms ? seen : MEND_NONE;
}

const char *mend_cause_name(enum mend_cause cause)
{
    static const char *const names[MEND_CAUSES] = {
        [MEND_NONE] = "none",
        [MEND_LOST] = "lost",
        [MEND_KEYS] = "keys",
        [MEND_HEAD] = "head",
        [MEND_INTERRUPTED] = "interrupted",
    };

    return names[cause];
}
