/*
 * Three forms of one event: its part of a packed line, struct event, and its JSON.  outcome_line.c
 * leads from the first to the second, this file to the third, and outcome_parse.c back to the
 * second; event_shape.c says which members there are.
 */
#include "common/outcome.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/event_shape.h"
#include "common/outcome_line.h"

enum {
    EXPIRE_MAX = 64, /* holds that expire before a command (rules number 1) */
};

/* Quotes what is known to need no escaping: ids and names. */
static void put_quoted(struct buf *out, const char *text, size_t len)
{
    buf_putc(out, '"');
    buf_append(out, text, len);
    buf_putc(out, '"');
}

static void put_name(struct buf *out, const char *name)
{
    put_quoted(out, name, strlen(name));
}

static void put_items(struct buf *out, const struct event *e)
{
    buf_putc(out, '[');
    for (size_t i = 0; i < e->n_items; i++) {
        const struct event_item *item = &e->items[i];

        buf_printf(out,
                   "%s{\"item_id\":\"%s\",\"total\":%" PRId64 ",\"available\":%" PRId64
                   ",\"held\":%" PRId64 ",\"sold\":%" PRId64 "}",
                   i == 0 ? "" : ",", item->item_id.s, item->total, item->available, item->held,
                   item->sold);
    }
    buf_putc(out, ']');
}

static bool is_absent(const struct event *e, const struct shape_member *m)
{
    const void *field = (const char *)e + m->at;

    if (!m->optional) {
        return false;
    }
    if (m->kind == SHAPE_USERS) {
        return *(char *const *)field == NULL;
    }
    return m->kind == SHAPE_REASON ? *(const enum reason *)field == REASON_NONE
                                   : ((const struct command_text *)field)->len == 0;
}

static void put_value(struct buf *out, const struct event *e, const struct shape_member *m)
{
    const void *field = (const char *)e + m->at;

    switch (m->kind) {
    case SHAPE_ORDER:
        put_quoted(out, field, IDS_ORDER_LEN);
        break;
    case SHAPE_LOG:
        put_quoted(out, field, IDS_LOG_LEN);
        break;
    case SHAPE_ITEM:
    case SHAPE_ID:
        put_quoted(out, ((const struct command_text *)field)->s,
                   ((const struct command_text *)field)->len);
        break;
    case SHAPE_NUMBER:
        buf_put_i64(out, *(const int64_t *)field);
        break;
    case SHAPE_BOOL:
        buf_puts(out, *(const bool *)field ? "true" : "false");
        break;
    case SHAPE_REASON:
        put_name(out, reason_name(*(const enum reason *)field));
        break;
    case SHAPE_STATE:
        put_name(out, order_state_name(*(const enum order_state *)field));
        break;
    case SHAPE_PAYMENT:
        put_name(out, event_payment_name(*(const char *)field));
        break;
    case SHAPE_ITEM_STATE:
        put_name(out, item_state_name(*(const char *)field));
        break;
    case SHAPE_ACTION:
        put_name(out, field);
        break;
    case SHAPE_DETAIL:
        put_name(out, command_detail_name(*(const enum command_detail *)field));
        break;
    case SHAPE_ITEMS:
        put_items(out, e);
        break;
    case SHAPE_USERS:
        put_name(out, *(char *const *)field);
        break;
    }
}

static void put_event(struct buf *out, const struct event *e)
{
    const struct shape *shape = shape_of_event(e);

    buf_puts(out, e->index == 0 ? "{\"index\":" : ",{\"index\":");
    buf_put_i64(out, e->index);
    buf_puts(out, ",\"type\":");
    put_name(out, event_type_name(e->type));
    for (size_t i = 0; i < shape->n_members; i++) {
        const struct shape_member *m = &shape->members[i];

        if (!is_absent(e, m)) {
            buf_put_slice(out, m->opening);
            put_value(out, e, m);
        }
    }
    buf_putc(out, '}');
}

static void put_head(struct buf *out, const struct outcome_head *head)
{
    char hash[IDS_HASH_LEN + 1], chain[IDS_HASH_LEN + 1];

    ids_hash_format(hash, head->hash);
    ids_hash_format(chain, head->chain);
    buf_puts(out, "{\"partition\":");
    buf_put_i64(out, head->partition);
    buf_puts(out, ",\"offset\":");
    buf_put_i64(out, head->offset);
    buf_puts(out, ",\"prev\":");
    buf_put_i64(out, head->prev);
    buf_puts(out, ",\"genesis\":");
    put_name(out, head->genesis);
    buf_puts(out, ",\"hash\":");
    put_quoted(out, hash, IDS_HASH_LEN);
    buf_puts(out, ",\"chain\":");
    put_quoted(out, chain, IDS_HASH_LEN);
    buf_puts(out, ",\"rules\":");
    buf_put_i64(out, head->rules);
    buf_puts(out, ",\"log_time\":");
    buf_put_i64(out, head->log_time);
    buf_puts(out, ",\"events\":[");
}

/*
 * Appends the events of line.  A line is any number of `expired` and then the command's answer;
 * only a tick has none.
 */
static bool put_events(struct buf *out, int partition, const struct command *cmd, struct slice line)
{
    /* A due hold that is paid or cancelled expires first, beside those that any command expires. */
    const bool may_expire_own = cmd->type == COMMAND_PAY || cmd->type == COMMAND_CANCEL;
    const int expire_max = EXPIRE_MAX + (may_expire_own ? 1 : 0);
    const bool needs_answer = cmd->type != COMMAND_TICK;
    struct slice rest = line;
    bool is_answered = false;

    if (line.len == 0) {
        return !needs_answer;
    }
    for (int index = 0; rest.ptr != NULL; index++) {
        struct event event;
        bool ok;

        if (is_answered) {
            return false;
        }
        ok =
            outcome_line_event(cmd, partition, slice_cut(rest, ';', &rest), &event, &is_answered) &&
            (is_answered || index < expire_max);
        if (ok) {
            event.index = index;
            put_event(out, &event);
        }
        event_fini(&event);
        if (!ok) {
            return false;
        }
    }
    return is_answered == needs_answer;
}

bool outcome_format(struct buf *out, const struct outcome_head *head, const struct command *cmd,
                    struct slice line, struct err *err)
{
    const size_t start = out->len;

    put_head(out, head);
    if (!put_events(out, head->partition, cmd, line)) {
        buf_truncate(out, start);
        return err_set(err, ERR_FATAL, "offset %" PRId64 ": %s cannot be answered with: %.*s",
                       head->offset, command_type_name(cmd->type),
                       (int)(line.len < 160 ? line.len : 160), line.ptr == NULL ? "" : line.ptr);
    }
    buf_puts(out, "]}");
    if (!buf_ok(out)) {
        buf_truncate(out, start);
        return err_set(err, ERR_FATAL, "offset %" PRId64 ": the outcome is larger than %zu bytes",
                       head->offset, out->max_bytes);
    }
    return true;
}
