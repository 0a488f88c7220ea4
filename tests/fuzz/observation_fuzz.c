/*
 * What somebody writes into the pipe of limiter-observer, line by line.  What is taken is within its
 * bounds and is, written again, the same line: there is one way to say it.
 */
#include "producer/observation.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/buf.h"

enum { PARTITIONS = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact)
{
    if (!fact) {
        abort();
    }
}

static void check(struct slice line)
{
    struct observation o;
    char storage[100];
    struct buf text;

    if (!observation_parse(line, PARTITIONS, &o)) {
        return;
    }
    require(o.side < LIMITER_SIDES && o.partition >= 0 && o.partition < PARTITIONS);
    require(o.took_ms >= 0 && o.took_ms <= OBSERVATION_TOOK_MAX_MS);
    require(o.orders >= 1 && o.orders <= OBSERVATION_ORDERS_MAX);
    buf_init_fixed(&text, storage, sizeof(storage));
    buf_printf(&text, "%s %d %" PRId64 " %" PRId64, limiter_side_names[o.side], o.partition,
               o.took_ms, o.orders);
    require(slice_eq(buf_slice(&text), line));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = {(const char *)data, size};

    while (rest.len > 0) {
        check(slice_cut(rest, '\n', &rest));
    }
    return 0;
}
