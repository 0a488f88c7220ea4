#include "guardian/findings.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

static int compare(const struct finding *a, int64_t offset, const char *text)
{
    if (a->offset != offset) {
        return a->offset < offset ? -1 : 1;
    }
    return strcmp(a->text, text);
}

/* How many of the kept ones come before it. */
static size_t place_of(const struct findings *f, int64_t offset, const char *text)
{
    size_t low = 0;
    size_t high = f->n_kept;

    while (low < high) {
        const size_t middle = (low + high) / 2;

        if (compare(&f->kept[middle], offset, text) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void findings_add(struct findings *f, int64_t offset, const char *text)
{
    const int64_t at = offset < 0 ? INT64_MAX : offset;
    const size_t place = place_of(f, at, text);

    if (place < f->n_kept && compare(&f->kept[place], at, text) == 0) {
        return;
    }
    f->n++;
    if (place == REPORT_KEPT) {
        return;
    }
    if (f->n_kept == REPORT_KEPT) {
        free(f->kept[--f->n_kept].text);
    }
    memmove(&f->kept[place + 1], &f->kept[place], (f->n_kept - place) * sizeof(*f->kept));
    f->kept[place] = (struct finding){at, xstrdup(text)};
    f->n_kept++;
}

void findings_tell(struct findings *f, struct report *report)
{
    for (size_t i = 0; i < f->n_kept; i++) {
        report_difference(report, "%s", f->kept[i].text);
        free(f->kept[i].text);
    }
    report->differences.n += f->n - f->n_kept;
    f->n = 0;
    f->n_kept = 0;
}
