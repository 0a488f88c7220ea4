#include "guardian/proof.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/outcome.h"
#include "common/xmalloc.h"

static const char *const source_names[PROOF_SOURCES] = {"redis", "mysql", "log"};

void proof_init(struct proof *p, int n_parts)
{
    *p = (struct proof){.n_parts = n_parts};
    for (int s = 0; s < PROOF_SOURCES; s++) {
        p->positions[s] = xreallocarray(NULL, (size_t)n_parts, sizeof(**p->positions));
        for (int i = 0; i < n_parts; i++) {
            p->positions[s][i] = -1;
        }
    }
}

void proof_fini(struct proof *p)
{
    free(p->items);
    for (int s = 0; s < PROOF_SOURCES; s++) {
        free(p->positions[s]);
    }
    *p = (struct proof){0};
}

static struct proof_item *item_of(struct proof *p, const struct command_text *item_id)
{
    size_t low = 0;
    size_t high = p->n_items;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (strcmp(p->items[middle].item_id.s, item_id->s) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low < p->n_items && strcmp(p->items[low].item_id.s, item_id->s) == 0) {
        return &p->items[low];
    }
    if (p->n_items == p->room) {
        p->room = p->room == 0 ? 64 : 2 * p->room;
        p->items = xreallocarray(p->items, p->room, sizeof(*p->items));
    }
    memmove(&p->items[low + 1], &p->items[low], (p->n_items - low) * sizeof(*p->items));
    p->items[low] = (struct proof_item){.item_id = *item_id};
    p->n_items++;
    return &p->items[low];
}

bool proof_add(struct proof *p, enum proof_source source, struct slice item_id, struct slice value)
{
    struct command_text id;
    struct item_entry item;

    if (!command_set_text(&id, item_id) || !item_entry_parse(value, &item)) {
        return false;
    }
    item_of(p, &id)->of[source] = (struct proof_counters){
        .is_known = true,
        .total = item.total,
        .available = item.available,
        .held = item.held,
        .sold = item.sold,
    };
    return true;
}

static struct proof_counters sum_of(const struct proof *p, enum proof_source source)
{
    struct proof_counters sum = {.is_known = true};

    for (size_t i = 0; i < p->n_items; i++) {
        const struct proof_counters *c = &p->items[i].of[source];

        sum.total += c->total;
        sum.available += c->available;
        sum.held += c->held;
        sum.sold += c->sold;
    }
    return sum;
}

static void put_counters(const struct proof_counters *c, struct buf *out)
{
    buf_printf(out,
               "\"total\":%" PRId64 ",\"available\":%" PRId64 ",\"held\":%" PRId64
               ",\"sold\":%" PRId64,
               c->total, c->available, c->held, c->sold);
}

void proof_json(const struct proof *p, struct buf *out)
{
    for (int s = 0; s < PROOF_SOURCES; s++) {
        struct proof_counters sum = sum_of(p, (enum proof_source)s);

        buf_printf(out, "%s\"%s\":{", s == 0 ? "" : ",", source_names[s]);
        put_counters(&sum, out);
        buf_puts(out, ",\"positions\":{");
        for (int i = 0; i < p->n_parts; i++) {
            buf_printf(out, "%s\"%d\":%" PRId64, i == 0 ? "" : ",", i, p->positions[s][i]);
        }
        buf_puts(out, "}}");
    }
    buf_puts(out, ",\"items\":{");
    for (size_t i = 0; i < p->n_items; i++) {
        const struct proof_item *item = &p->items[i];

        buf_puts(out, i == 0 ? "" : ",");
        buf_json_string(out, command_text(&item->item_id));
        buf_puts(out, ":{");
        for (int s = 0; s < PROOF_SOURCES; s++) {
            buf_printf(out, "%s\"%s\":", s == 0 ? "" : ",", source_names[s]);
            if (!item->of[s].is_known) {
                buf_puts(out, "null");
                continue;
            }
            buf_putc(out, '{');
            put_counters(&item->of[s], out);
            buf_putc(out, '}');
        }
        buf_putc(out, '}');
    }
    buf_putc(out, '}');
}

void proof_text(const struct proof *p, struct buf *out)
{
    buf_printf(out, "%-6s %12s %12s %12s %12s\n", "", "total", "available", "held", "sold");
    for (int s = 0; s < PROOF_SOURCES; s++) {
        struct proof_counters sum = sum_of(p, (enum proof_source)s);

        buf_printf(out, "%-6s %12" PRId64 " %12" PRId64 " %12" PRId64 " %12" PRId64 "\n",
                   source_names[s], sum.total, sum.available, sum.held, sum.sold);
    }
}
