/*
 * fields.h - the fields of a packed text: what stands between single separators.
 *
 * Take them one by one and ask at the end, with fields_end(): a field that is missing or is not
 * what was asked for makes the text bad for good, and what was returned for it means nothing.
 * Pure; slices are borrowed from the text.
 */
#ifndef COMMON_FIELDS_H
#define COMMON_FIELDS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/command.h"
#include "common/ids.h"
#include "common/outcome.h"
#include "common/slice.h"

struct fields {
    struct slice rest; /* ptr NULL: there are no more */
    char separator;
    bool bad;
};

static inline struct fields fields_start(struct slice text, char separator)
{
    return (struct fields){text, separator, false};
}

/* True when every field was there and good, and none is left. */
static inline bool fields_end(const struct fields *f)
{
    return !f->bad && f->rest.ptr == NULL;
}

struct slice fields_next(struct fields *f);
int64_t fields_number(struct fields *f, int64_t min, int64_t max);

/* One of the characters of set, which is not empty. */
char fields_char(struct fields *f, const char *set);

void fields_id(struct fields *f, struct command_text *id);
void fields_item(struct fields *f, struct command_text *item_id);

/* An order of this partition. */
void fields_order(struct fields *f, char order_id[IDS_ORDER_LEN + 1], int partition);

/* A reason's code, one of a set of FIELDS_BIT(reason). */
#define FIELDS_BIT(reason) (1U << (reason))
enum reason fields_reason(struct fields *f, unsigned allowed);

#endif /* COMMON_FIELDS_H */
