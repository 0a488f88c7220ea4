#include "tools/stampede/ledger.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static void add_state(json_t *told, bool was_told, const char *state)
{
    if (was_told) {
        json_array_append_new(told, json_string(state));
    }
}

static json_t *line_of(const struct storm_order *o, const char *item_id)
{
    json_t *told = json_array();
    json_t *line =
        json_pack("{s:s,s:s,s:s,s:b,s:o}", "order_id", o->order_id, "user_id", o->user_id,
                  "item_id", item_id, "accepted", (int)o->accepted, "told", told);

    add_state(told, o->reserved, "reserved");
    add_state(told, o->rejected, "rejected");
    add_state(told, o->paid, "paid");
    add_state(told, o->cancelled, "cancelled");
    add_state(told, o->expired, "expired");
    if (o->rejected) {
        json_object_set_new(line, "reason", json_string(o->reason));
    }
    if (o->pay_paid || o->pay_refund) {
        json_object_set_new(line, "payment_id", json_string(o->payment_id));
        json_object_set_new(line, "payment", json_string(o->pay_paid ? "paid" : "refund_due"));
    }
    if (o->contradicted || (o->pay_paid && o->pay_refund)) {
        json_object_set_new(line, "contradicted", json_true());
    }
    return line;
}

static json_t *counts_of(const struct storm_result *storm)
{
    json_t *refused = json_object();

    for (size_t i = 0; i < storm->refused.n; i++) {
        json_object_set_new(refused, storm->refused.rows[i].name,
                            json_integer((json_int_t)storm->refused.rows[i].count));
    }
    return json_pack("{s:{s:I,s:I,s:I,s:I,s:o}}", "storm", "requests", (json_int_t)storm->requests,
                     "accepted", (json_int_t)storm->accepted, "unknown", (json_int_t)storm->unknown,
                     "unexpected", (json_int_t)storm->unexpected, "refused", refused);
}

static bool write_line(FILE *f, json_t *line)
{
    const bool done = json_dumpf(line, f, JSON_COMPACT) == 0 && fputc('\n', f) != EOF;

    json_decref(line);
    return done;
}

bool ledger_write(const char *path, const char *item_id, const struct storm_result *storm,
                  struct err *err)
{
    FILE *f = fopen(path, "w");
    bool done = f != NULL;

    for (size_t i = 0; done && i < storm->n_orders; i++) {
        if (storm->orders[i].order_id[0] != '\0') {
            done = write_line(f, line_of(&storm->orders[i], item_id));
        }
    }
    done = done && write_line(f, counts_of(storm));
    if (f != NULL && fclose(f) != 0) {
        done = false;
    }
    return done || err_set(err, ERR_FATAL, "%s cannot be written: %s", path, strerror(errno));
}
