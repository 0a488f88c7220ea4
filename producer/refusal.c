#include "producer/refusal.h"

#include <assert.h>

#define REFUSAL_ROW(id, status, reason, title, detail) {(status), (reason), (title), (detail)},
static const struct refusal_text texts[REFUSAL_COUNT] = {{0, "", "", ""}, REFUSALS(REFUSAL_ROW)};

const struct refusal_text *refusal_text(enum refusal refusal)
{
    assert(refusal > REFUSAL_NONE && refusal < REFUSAL_COUNT);
    return &texts[refusal];
}
