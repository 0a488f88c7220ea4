#include "tests/unit/outcome_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

const struct outcome_head head = {3, 17, 16, LOG_ID, 0xfe, 0xff, 1, 1712345678901};

const char *const commands[] = {
    "{\"type\":\"genesis\",\"log_id\":\"" LOG_ID "\",\"partitions\":4,\"rules\":1}",
    "{\"type\":\"rules\",\"rules\":2}",
    "{\"type\":\"sale\",\"op_id\":\"op1\",\"item_id\":\"phone@3\",\"action\":\"pause\"}",
    "{\"type\":\"restock\",\"op_id\":\"op2\",\"item_id\":\"phone@3\",\"qty\":5}",
    "{\"type\":\"order\",\"order_id\":\"" ONE
    "\",\"item_id\":\"phone@3\",\"user_id\":\"alice\",\"qty\":2,\"not_after\":7}",
    "{\"type\":\"pay\",\"order_id\":\"" ONE "\",\"payment_id\":\"pay1\",\"user_id\":\"alice\"}",
    "{\"type\":\"cancel\",\"order_id\":\"" ONE "\",\"user_id\":\"alice\"}",
    "{\"type\":\"tick\"}",
    "{\"type\":\"mark\",\"run_id\":\"run1\"}",
    "{\"type\":\"archive\",\"op_id\":\"op3\",\"item_id\":\"phone@3\"}",
    "{\"type\":\"nothing\"}",
};

struct command command_of(const char *json)
{
    struct command cmd;

    command_parse(&cmd, slice_str(json), COMMAND_RULES, 3, 4);
    return cmd;
}

bool takes(const struct command *cmd, struct slice line)
{
    struct buf out;
    struct err err = {.text = ""};
    bool ok;

    buf_init(&out, 1 << 20);
    buf_puts(&out, "before");
    ok = outcome_format(&out, &head, cmd, line, &err);
    if (!ok) {
        assert_int_equal(err.kind, ERR_FATAL);
        assert_true(slice_eq(buf_slice(&out), SLICE_LIT("before")));
    }
    buf_fini(&out);
    return ok;
}

void assert_takes(const char *json, const char *line, bool want)
{
    const struct command cmd = command_of(json);

    if (takes(&cmd, slice_str(line)) != want) {
        fail_msg("%s answered with %s", json, line);
    }
}

static void assert_same_event(const struct event *a, const struct event *b)
{
    assert_int_equal(a->n_items, b->n_items);
    for (size_t i = 0; i < a->n_items; i++) {
        assert_string_equal(a->items[i].item_id.s, b->items[i].item_id.s);
        assert_int_equal(a->items[i].total, b->items[i].total);
        assert_int_equal(a->items[i].available, b->items[i].available);
        assert_int_equal(a->items[i].held, b->items[i].held);
        assert_int_equal(a->items[i].sold, b->items[i].sold);
    }
    assert_memory_equal(a, b, offsetof(struct event, items)); /* events begin as zero bytes */
}

void parse(struct outcome *o, struct slice value)
{
    struct outcome other = {.events = NULL};
    struct err err = {.text = ""};
    struct buf blank;

    buf_init(&blank, value.len + 1);
    buf_putc(&blank, ' ');
    buf_put_slice(&blank, value);
    memset(o, 0, sizeof(*o));
    if (!outcome_parse(o, value, &err) || !outcome_parse(&other, buf_slice(&blank), &err)) {
        fail_msg("%s: %.*s", err.text, (int)value.len, value.ptr);
    }
    assert_int_equal(o->partition, other.partition);
    assert_int_equal(o->offset, other.offset);
    assert_int_equal(o->prev, other.prev);
    assert_string_equal(o->genesis, other.genesis);
    assert_int_equal(o->hash, other.hash);
    assert_int_equal(o->chain, other.chain);
    assert_int_equal(o->rules, other.rules);
    assert_int_equal(o->log_time, other.log_time);
    assert_int_equal(o->n_events, other.n_events);
    for (size_t i = 0; i < o->n_events; i++) {
        assert_same_event(&o->events[i], &other.events[i]);
    }
    outcome_fini(&other);
    buf_fini(&blank);
}

void check(struct outcome *o, const char *json, const char *line, const char *events)
{
    const struct command cmd = command_of(json);
    struct buf out;
    struct buf want;
    struct err err = {.text = ""};

    buf_init(&out, 1 << 16);
    buf_init(&want, 1 << 16);
    buf_puts(&want, HEAD);
    buf_puts(&want, events);
    buf_puts(&want, "]}");
    if (!outcome_format(&out, &head, &cmd, slice_str(line), &err)) {
        fail_msg("%s", err.text);
    }
    assert_string_equal(out.ptr, want.ptr);
    parse(o, buf_slice(&out));
    assert_int_equal(o->partition, 3);
    assert_int_equal(o->offset, 17);
    assert_int_equal(o->prev, 16);
    assert_string_equal(o->genesis, LOG_ID);
    assert_int_equal(o->hash, 0xfe);
    assert_int_equal(o->chain, 0xff);
    assert_int_equal(o->rules, 1);
    assert_int_equal(o->log_time, 1712345678901);
    buf_fini(&out);
    buf_fini(&want);
}

void assert_content(const struct event *e, enum event_type type)
{
    assert_int_equal(e->type, type);
    assert_string_equal(e->order_id, ONE);
    assert_string_equal(e->item_id.s, "phone@3");
    assert_string_equal(e->user_id.s, "alice");
    assert_int_equal(e->qty, 2);
    assert_int_equal(e->total, -1);
    assert_int_equal(e->price, -1);
}
