#include "common/failpoint.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/slice.h"

static char wanted[64];
static bool is_stop;
static atomic_long passes_left; /* counted down by all writer threads */

void failpoint_init(void)
{
    struct slice text = slice_str(getenv("SECKILL_FAILPOINT"));
    struct slice count, how;
    int64_t n;
    struct slice name = slice_cut(text, ':', &count);

    count = slice_cut(count, ':', &how);
    is_stop = slice_eq(how, SLICE_LIT("stop"));
    wanted[0] = '\0';
    if (text.len > 0 && slice_to_i64(count, 1, INT32_MAX, &n) &&
        slice_copy(name, wanted, sizeof(wanted))) {
        atomic_store(&passes_left, (long)n);
    }
}

bool failpoint_hit(const char *name)
{
    return wanted[0] != '\0' && strcmp(name, wanted) == 0 && atomic_fetch_sub(&passes_left, 1) == 1;
}

void failpoint_kill(const char *name)
{
    if (failpoint_hit(name)) {
        (void)raise(is_stop ? SIGSTOP : SIGKILL);
    }
}
