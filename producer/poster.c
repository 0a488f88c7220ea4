/*
 * Time passing earns a credit, POSTER_SHARE times what a page took is taken off it.  The credit is
 * bounded both ways: so much may be made at once, and after a page that took very long the next is
 * due after so long.
 */
#include "producer/poster.h"

#include <stdint.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/xmalloc.h"

#define CREDIT_MAX_US ((int64_t)POSTER_AGE_MAX_MS * 1000)

struct poster {
    poster_make_fn *make;
    void *arg;
    struct buf page;
    int status; /* 0: there is none yet */
    int64_t credit_us;
    int64_t since_us; /* the credit is of then */
};

struct poster *poster_create(size_t max_bytes, poster_make_fn *make, void *arg)
{
    struct poster *p = xcalloc(1, sizeof(*p));

    p->make = make;
    p->arg = arg;
    buf_init(&p->page, max_bytes);
    p->credit_us = CREDIT_MAX_US;
    p->since_us = clock_mono_us();
    return p;
}

void poster_destroy(struct poster *p)
{
    if (p == NULL) {
        return;
    }
    buf_fini(&p->page);
    free(p);
}

static void make_anew(struct poster *p, int64_t now_us)
{
    buf_clear(&p->page);
    p->status = p->make(&p->page, p->arg);
    if (!buf_ok(&p->page)) {
        p->status = 500;
    }
    p->since_us = clock_mono_us();
    p->credit_us -= (p->since_us - now_us) * POSTER_SHARE;
    if (p->credit_us < -CREDIT_MAX_US) {
        p->credit_us = -CREDIT_MAX_US;
    }
}

int poster_show(struct poster *p, struct slice *page)
{
    const int64_t now_us = clock_mono_us();

    p->credit_us += now_us - p->since_us;
    p->since_us = now_us;
    if (p->credit_us > CREDIT_MAX_US) {
        p->credit_us = CREDIT_MAX_US;
    }
    if (p->credit_us >= 0 || p->status == 0) {
        make_anew(p, now_us);
    }
    *page = buf_slice(&p->page);
    return p->status;
}
