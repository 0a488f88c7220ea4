/*
 * ledger.h - what each shopper was told, for a judge outside this program.
 */
#ifndef STAMPEDE_LEDGER_H
#define STAMPEDE_LEDGER_H

#include <stdbool.h>

#include "common/attr.h"
#include "common/err.h"
#include "tools/stampede/storm.h"

/*
 * One JSON object per line and order that was heard of: order_id, user_id, item_id, accepted, the
 * states told (told), and where there is one: reason, payment_id with its answer (payment),
 * contradicted.  The last line, {"storm":{...}}, has the counts; a ledger without it is not whole.
 */
bool ledger_write(const char *path, const char *item_id, const struct storm_result *storm,
                  struct err *err) ATTR_MUSTCHECK;

#endif /* STAMPEDE_LEDGER_H */
