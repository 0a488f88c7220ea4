#include "producer/observation.h"

#include "common/fields.h"

bool observation_parse(struct slice line, int partitions, struct observation *o)
{
    struct fields f = fields_start(line, ' ');
    const struct slice name = fields_next(&f);
    struct observation read = {0};
    int side = 0;

    while (side < LIMITER_SIDES && !slice_eq(name, slice_str(limiter_side_names[side]))) {
        side++;
    }
    read.side = (enum limiter_side)side;
    read.partition = (int)fields_number(&f, 0, partitions - 1);
    read.took_ms = fields_number(&f, 0, OBSERVATION_TOOK_MAX_MS);
    read.orders = fields_number(&f, 1, OBSERVATION_ORDERS_MAX);
    if (side == LIMITER_SIDES || !fields_end(&f)) {
        return false;
    }
    *o = read;
    return true;
}
