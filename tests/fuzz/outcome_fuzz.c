/*
 * The first byte says what the others are: a packed line that answers one of a few commands, an
 * outcome record, or a value out of Redis.  A line is refused or becomes a record that can be read.
 * A record reads the same in place and (with a blank in front) by the JSON library.
 */
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/outcome.h"

#define ORDER "0190163d-8694-7003-b966-02a1b9e15d3c"
#define LOG   "0123456789abcdef0123456789abcdef"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const commands[] = {
    "{\"type\":\"genesis\",\"log_id\":\"" LOG "\",\"partitions\":4,\"rules\":1}",
    "{\"type\":\"rules\",\"rules\":2}",
    "{\"type\":\"sale\",\"op_id\":\"op1\",\"item_id\":\"a@3\",\"action\":\"pause\"}",
    "{\"type\":\"restock\",\"op_id\":\"op2\",\"item_id\":\"a@3\",\"qty\":5}",
    "{\"type\":\"order\",\"order_id\":\"" ORDER
    "\",\"item_id\":\"a@3\",\"user_id\":\"u\",\"qty\":2,\"not_after\":7}",
    "{\"type\":\"pay\",\"order_id\":\"" ORDER "\",\"payment_id\":\"p\",\"user_id\":\"u\"}",
    "{\"type\":\"pay\",\"order_id\":\"" ORDER "\",\"payment_id\":\"p\"}",
    "{\"type\":\"cancel\",\"order_id\":\"" ORDER "\",\"user_id\":\"u\"}",
    "{\"type\":\"tick\"}",
    "{\"type\":\"mark\",\"run_id\":\"run1\"}",
    "{\"type\":\"archive\",\"op_id\":\"op3\",\"item_id\":\"a@3\"}",
    "{\"type\":\"archive\",\"op_id\":\"op3\",\"item_id\":\"a@3\",\"users\":\"u,v\"}",
    "{\"type\":\"nothing\"}",
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void assert_same(const struct outcome *a, const struct outcome *b)
{
    assert(a->partition == b->partition && a->offset == b->offset && a->prev == b->prev);
    assert(a->chain == b->chain && a->rules == b->rules && a->log_time == b->log_time);
    assert(strcmp(a->genesis, b->genesis) == 0 && a->n_events == b->n_events);
    for (size_t i = 0; i < a->n_events; i++) {
        const struct event *x = &a->events[i];
        const struct event *y = &b->events[i];

        assert(x->n_items == y->n_items);
        assert((x->users == NULL) == (y->users == NULL));
        assert(x->users == NULL || strcmp(x->users, y->users) == 0);
        for (size_t k = 0; k < x->n_items; k++) {
            assert(strcmp(x->items[k].item_id.s, y->items[k].item_id.s) == 0);
            assert(x->items[k].total == y->items[k].total);
            assert(x->items[k].available == y->items[k].available);
            assert(x->items[k].held == y->items[k].held && x->items[k].sold == y->items[k].sold);
        }
        /* events begin as zero bytes, so their padding compares too */
        assert(memcmp((const char *)x, (const char *)y, offsetof(struct event, items)) == 0);
    }
}

static bool read_twice(struct slice value)
{
    struct outcome o = {.events = NULL};
    struct outcome other = {.events = NULL};
    struct err err = {.text = ""};
    struct buf spaced;
    bool ok;

    buf_init(&spaced, value.len + 1);
    buf_putc(&spaced, ' ');
    buf_put_slice(&spaced, value);
    ok = outcome_parse(&o, value, &err);
    assert(ok == outcome_parse(&other, buf_slice(&spaced), NULL));
    if (ok) {
        assert_same(&o, &other);
    } else {
        assert(err.kind == ERR_REJECT && err.text[0] != '\0' && o.n_events == 0);
    }
    outcome_fini(&o);
    outcome_fini(&other);
    buf_fini(&spaced);
    return ok;
}

static void tell(const char *json, struct slice line)
{
    static const struct outcome_head head = {3, 17, 16, LOG, 0xfe, 0xff, 1, 1712345678901};
    struct command cmd;
    struct buf out;
    struct err err = {.text = ""};

    command_parse(&cmd, slice_str(json), COMMAND_RULES, 3, 4);
    buf_init(&out, 1 << 20);
    if (outcome_format(&out, &head, &cmd, line, &err)) {
        const bool readable = read_twice(buf_slice(&out));

        assert(readable);
    } else {
        assert(err.kind == ERR_FATAL && out.len == 0);
    }
    buf_fini(&out);
}

static void read_redis(struct slice value)
{
    struct slice rest = value;
    struct order_entry entry;
    struct item_entry item;

    while (order_entry_next(&rest, &entry) == 1) {
        struct slice payment_id;
        char answer;

        while (order_payment_next(&entry.payments, &answer, &payment_id) == 1) {
            assert(payment_id.len > 0 && (answer == 'P' || answer == 'R'));
        }
    }
    if (item_entry_parse(value, &item)) {
        assert(item.total >= 0 && item.limit > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text;

    if (size == 0) {
        return 0;
    }
    text = (struct slice){(const char *)data + 1, size - 1};
    if (data[0] < 'a' || data[0] >= 'a' + COMMANDS) {
        (void)read_twice(text);
        read_redis(text);
    } else {
        tell(commands[data[0] - 'a'], text);
    }
    return 0;
}
