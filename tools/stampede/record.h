/*
 * record.h - the orders and payments that stand in MySQL, compared with what shoppers were told.
 *
 * Blocking; one thread.
 */
#ifndef STAMPEDE_RECORD_H
#define STAMPEDE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/options.h"
#include "tools/stampede/told.h"

/* What the record says of the items, and of the shoppers' answers. */
struct record_check {
    uint64_t orders;   /* orders of the items in the record */
    uint64_t reserved; /* ever */
    uint64_t paid, cancelled, expired, held, rejected;
    uint64_t over_limit;       /* users with more than limit units */
    uint64_t unknown_recorded; /* orders of unknown fate that were placed after all */
    uint64_t inconsistent;     /* answers that the record does not bear out */
    char first[256];           /* the first of them, in words; empty when there is none */
};

bool record_check(const struct options_mysql *mysql, int64_t limit, const struct told *told,
                  struct record_check *check, struct err *err) ATTR_MUSTCHECK;

#endif /* STAMPEDE_RECORD_H */
