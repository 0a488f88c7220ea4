#include "common/fields.h"

#include <string.h>

struct slice fields_next(struct fields *f)
{
    if (f->rest.ptr == NULL) {
        f->bad = true;
        return (struct slice){NULL, 0};
    }
    return slice_cut(f->rest, f->separator, &f->rest);
}

int64_t fields_number(struct fields *f, int64_t min, int64_t max)
{
    int64_t n = min;

    if (!slice_to_i64(fields_next(f), min, max, &n)) {
        f->bad = true;
    }
    return n;
}

char fields_char(struct fields *f, const char *set)
{
    const struct slice s = fields_next(f);

    if (s.len != 1 || s.ptr[0] == '\0' || strchr(set, s.ptr[0]) == NULL) {
        f->bad = true;
        return set[0];
    }
    return s.ptr[0];
}

void fields_id(struct fields *f, struct command_text *id)
{
    const struct slice s = fields_next(f);

    if (!ids_is_id(s) || !command_set_text(id, s)) {
        f->bad = true;
    }
}

void fields_item(struct fields *f, struct command_text *item_id)
{
    const struct slice s = fields_next(f);

    if (!ids_is_item(s) || !command_set_text(item_id, s)) {
        f->bad = true;
    }
}

void fields_order(struct fields *f, char order_id[IDS_ORDER_LEN + 1], int partition)
{
    const struct slice s = fields_next(f);
    int named;

    if (!ids_parse_order(s, &named, NULL) || named != partition ||
        !slice_copy(s, order_id, IDS_ORDER_LEN + 1)) {
        f->bad = true;
    }
}

enum reason fields_reason(struct fields *f, unsigned allowed)
{
    const int64_t code = fields_number(f, REASON_NONE, REASON_COUNT - 1);

    if ((FIELDS_BIT(code) & allowed) == 0) {
        f->bad = true;
    }
    return (enum reason)code;
}
