#include "producer/counters.h"

#define COUNTERS_ROW(id, kind, name, labels, help) STATS_ROW(id, kind, name, labels, help)
const struct stats_row counters_rows[STAT_COUNT] = {HTTP_STATS(STATS_ROW)
                                                        PRODUCER_STATS(STATS_ROW)};
#undef COUNTERS_ROW
