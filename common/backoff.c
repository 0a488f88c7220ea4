#include "common/backoff.h"

#include <assert.h>

int64_t backoff_next(struct backoff *b, uint32_t random)
{
    int64_t ceiling = b->base_ms;

    assert(b->base_ms > 0 && b->max_ms >= b->base_ms);
    for (unsigned i = 0; i < b->attempts && ceiling < b->max_ms; i++) {
        ceiling = ceiling > b->max_ms / 2 ? b->max_ms : ceiling * 2;
    }
    if (ceiling < b->max_ms) {
        b->attempts++; /* beyond the cap counting on would only overflow one day */
    }
    const int64_t half = ceiling / 2;

    return half + (int64_t)(random % (uint64_t)(ceiling - half + 1));
}

void backoff_reset(struct backoff *b)
{
    b->attempts = 0;
}
