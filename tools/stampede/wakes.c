#include "tools/stampede/wakes.h"

#include <stdlib.h>

#include "common/xmalloc.h"

void wakes_init(struct wakes *w, size_t capacity)
{
    w->heap = xcalloc(capacity + 1, sizeof(*w->heap));
    w->n = 0;
}

void wakes_fini(struct wakes *w)
{
    free(w->heap);
    w->heap = NULL;
    w->n = 0;
}

void wakes_add(struct wakes *w, int64_t at_us, uint32_t who)
{
    size_t i = w->n++;

    for (; i > 0 && w->heap[(i - 1) / 2].at_us > at_us; i = (i - 1) / 2) {
        w->heap[i] = w->heap[(i - 1) / 2];
    }
    w->heap[i] = (struct wake){at_us, who};
}

struct wake wakes_take(struct wakes *w)
{
    const struct wake first = w->heap[0];
    const struct wake last = w->heap[--w->n];
    size_t i = 0;

    for (size_t child = 1; child < w->n; child = 2 * i + 1) {
        child += child + 1 < w->n && w->heap[child + 1].at_us < w->heap[child].at_us;
        if (w->heap[child].at_us >= last.at_us) {
            break;
        }
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return first;
}
