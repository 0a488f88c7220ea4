/*
 * A Redis that says anything, to a partition of a real log.  The input is what it answers, one reply
 * after the other, each up to a form feed: a reply of apply.lua as it is, one of position.lua with
 * a vertical tab between its elements.  Whatever comes, the partition goes on, starts anew or halts
 * with a reason, and tells only of records that there are; a reply is read whole or refused.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/ids.h"
#include "matcher/part.h"

#define LOG    "0123456789abcdef0123456789abcdef"
#define ORDER1 "0190163d-8694-7000-b966-02a1b9e15d3c"
#define ORDER2 "e787366c-4cc6-8000-b966-02a1b9e15d3c"

enum {
    STEPS_MAX = 300,
    FIELDS_MAX = 64,
    FIRST_MS = 1000000,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const values[] = {
    "{\"type\":\"genesis\",\"log_id\":\"" LOG "\",\"partitions\":4,\"rules\":1}",
    "{\"type\":\"sale\",\"op_id\":\"o1\",\"item_id\":\"a@0\",\"action\":\"open\",\"total\":5,"
    "\"limit\":2,\"hold_ms\":1000}",
    "{\"type\":\"order\",\"order_id\":\"" ORDER1
    "\",\"item_id\":\"a@0\",\"user_id\":\"u\",\"qty\":2,\"not_after\":9007199254740991}",
    "{\"type\":\"order\",\"order_id\":\"" ORDER2
    "\",\"item_id\":\"a@0\",\"user_id\":\"u\",\"qty\":1,\"not_after\":9007199254740991}",
    "{\"type\":\"pay\",\"order_id\":\"" ORDER1 "\",\"payment_id\":\"p\",\"user_id\":\"u\"}",
    "{\"type\":\"cancel\",\"order_id\":\"" ORDER1 "\",\"user_id\":\"u\"}",
    "nothing",
    "{\"type\":\"tick\"}",
    "{\"type\":\"mark\",\"run_id\":\"r\"}",
    "{\"type\":\"rules\",\"rules\":1}",
};

enum { RECORDS = sizeof(values) / sizeof(values[0]) };

static const struct part_settings settings = {
    .key_prefix = "seckill",
    .partitions = 4,
    .batch_max = 3,
    .queue_max = 8,
    .unacked_max = 16,
    .outbox_max = 8,
    .remembered_max = 1000,
    .clock_skew_max_ms = 60000,
    .tick_min_ms = 250,
    .tick_max_ms = 5000,
    .idle_ms = 1000,
};

struct play {
    struct part *part;
    struct part_time now;
    struct slice replies; /* still to be given */
};

static void require(bool fact)
{
    if (!fact) {
        abort();
    }
}

static void read_alone(struct slice text)
{
    struct script_reply reply;
    struct script_entry entry;
    struct slice lines;
    struct slice line;
    struct err err = {.text = ""};

    if (script_parse(text, &reply, &err)) {
        lines = reply.lines;
        while (script_next_line(&lines, &line)) {
            require(memchr(line.ptr, '\n', line.len) == NULL);
        }
    } else {
        require(err.kind == ERR_FATAL && err.text[0] != '\0');
    }
    if (script_parse_entry(text, &entry, &err)) {
        require(entry.prev < entry.to && entry.to <= COMMAND_TIME_MAX);
    }
}

static void answer_read(struct play *p, uint32_t call, struct slice reply)
{
    struct slice fields[FIELDS_MAX];
    size_t n = 0;

    while (reply.ptr != NULL && reply.len > 0 && n < FIELDS_MAX) {
        fields[n++] = slice_cut(reply, '\v', &reply);
    }
    part_position(p->part, call, fields, n, p->now);
}

static void fetch(struct play *p, int64_t offset)
{
    for (int64_t i = offset < 0 ? 0 : offset; i < RECORDS; i++) {
        const struct part_record record = {
            .offset = i,
            .timestamp_ms = FIRST_MS + 400 * i,
            .is_log_append_time = true,
            .key = SLICE_LIT("a@0"),
            .value = slice_str(values[i]),
        };

        if (!part_wants(p->part)) {
            return;
        }
        part_record(p->part, &record, p->now);
    }
}

static void hear(struct play *p, const struct part_message *message)
{
    require(message->offset >= 0 && message->offset < RECORDS);
    require(message->kind == PART_OUTCOME || message->detail != NULL);
    require(message->value.len > 0);
    part_published(p->part);
    part_acked(p->part, message->seq, message->kind);
}

static bool step(struct play *p)
{
    struct part_action action;

    if (!part_next(p->part, p->now, PART_CAN_CALL | PART_CAN_PUBLISH, &action)) {
        p->now.mono_ms += 500;
        p->now.wall_ms += 500;
        fetch(p, 0);
        return p->replies.ptr != NULL;
    }
    switch (action.type) {
    case PART_READ:
        answer_read(p, action.call, slice_cut(p->replies, '\f', &p->replies));
        break;
    case PART_APPLY:
        part_applied(p->part, action.call, slice_cut(p->replies, '\f', &p->replies), p->now);
        break;
    case PART_FETCH:
        fetch(p, action.offset);
        break;
    case PART_RANGE:
        part_range(p->part, true, 0, RECORDS, p->now);
        break;
    case PART_PUBLISH:
        hear(p, &action.message);
        break;
    case PART_TICK:
        part_ticked(p->part);
        break;
    case PART_HALT:
        require(action.text != NULL && action.halt != PART_HALT_NONE);
        return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct play play = {
        .part = part_create(&settings, 0),
        .now = {.mono_ms = 1000, .wall_ms = FIRST_MS + 10000},
        .replies = {(const char *)data, size},
    };

    read_alone(play.replies);
    part_assign(play.part, play.now);
    for (int i = 0; i < STEPS_MAX && step(&play); i++) {
    }
    part_destroy(play.part);
    return 0;
}
