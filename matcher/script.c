/*
 * Numbers are written one after the other into one growing text, which may move while it grows; so
 * a number's word has no pointer until script_end() walks the list and deals them out in order.
 */
#include "matcher/script.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

enum {
    TEXT_MAX_BYTES = 4 << 20,
};

static void put_word(struct script_words *words, struct slice word)
{
    if (words->n == words->capacity) {
        words->capacity = words->capacity == 0 ? 1024 : words->capacity * 2;
        words->list = xreallocarray(words->list, words->capacity, sizeof(*words->list));
    }
    words->list[words->n++] = word;
}

/* An absent text is an empty word. */
static void put_text(struct script_words *words, struct slice text)
{
    put_word(words, text.ptr == NULL || text.len == 0 ? SLICE_LIT("") : text);
}

static void put_number(struct script_words *words, int64_t n)
{
    const size_t before = words->text.len;

    buf_put_i64(&words->text, n);
    put_word(words, (struct slice){NULL, words->text.len - before});
}

/* -1 stands for absent. */
static void put_optional(struct script_words *words, int64_t n)
{
    if (n < 0) {
        put_text(words, SLICE_LIT(""));
    } else {
        put_number(words, n);
    }
}

static void put_hash(struct script_words *words, uint64_t hash)
{
    char text[IDS_HASH_LEN + 1];

    ids_hash_format(text, hash);
    buf_append(&words->text, text, IDS_HASH_LEN);
    put_word(words, (struct slice){NULL, IDS_HASH_LEN});
}

void script_begin(struct script_words *words, const struct slice *keys, size_t n_keys)
{
    if (words->text.max_bytes == 0) {
        buf_init(&words->text, TEXT_MAX_BYTES);
    }
    buf_clear(&words->text);
    words->n = 0;
    for (size_t i = 0; i < n_keys; i++) {
        put_text(words, keys[i]);
    }
}

void script_put_head(struct script_words *words, const struct script_head *head)
{
    put_number(words, head->rules);
    put_text(words, slice_str(head->genesis));
    put_number(words, head->prev);
    put_hash(words, head->chain_before);
    put_number(words, head->to);
    put_hash(words, head->chain_after);
    put_hash(words, head->hash_after);
    put_number(words, head->acked);
    put_number(words, head->outbox_max);
    put_number(words, head->remembered_max);
    put_number(words, (int64_t)head->n_commands);
}

static void put_sale(struct script_words *words, const struct command *cmd)
{
    put_text(words, command_text(&cmd->other_id));
    put_text(words, command_text(&cmd->item_id));
    put_text(words, slice_str(command_action_name(cmd->action)));
    put_optional(words, cmd->total);
    put_optional(words, cmd->limit);
    put_optional(words, cmd->hold_ms);
    put_optional(words, cmd->opens_at);
    put_optional(words, cmd->closes_at);
    put_optional(words, cmd->price);
}

static void put_order(struct script_words *words, const struct command *cmd)
{
    put_text(words, slice_str(cmd->order_id));
    put_text(words, command_text(&cmd->item_id));
    put_text(words, command_text(&cmd->user_id));
    put_number(words, cmd->qty);
    put_number(words, cmd->not_after);
    put_text(words, cmd->keyed ? SLICE_LIT("1") : SLICE_LIT("0"));
}

void script_put_command(struct script_words *words, int64_t offset, int64_t timestamp_ms,
                        const struct command *cmd)
{
    static const char *const letters[] = {
        [COMMAND_GENESIS] = "G", [COMMAND_SET_RULES] = "V", [COMMAND_SALE] = "S",
        [COMMAND_RESTOCK] = "R", [COMMAND_ORDER] = "O",     [COMMAND_PAY] = "P",
        [COMMAND_CANCEL] = "C",  [COMMAND_TICK] = "T",      [COMMAND_MARK] = "M",
        [COMMAND_ARCHIVE] = "A", [COMMAND_MALFORMED] = "X",
    };

    put_text(words, slice_str(letters[cmd->type]));
    put_number(words, offset);
    put_number(words, timestamp_ms);
    switch (cmd->type) {
    case COMMAND_GENESIS:
        put_text(words, command_text(&cmd->other_id));
        put_number(words, cmd->partitions);
        put_number(words, cmd->rules);
        break;
    case COMMAND_SET_RULES:
        put_number(words, cmd->rules);
        break;
    case COMMAND_SALE:
        put_sale(words, cmd);
        break;
    case COMMAND_RESTOCK:
        put_text(words, command_text(&cmd->other_id));
        put_text(words, command_text(&cmd->item_id));
        put_number(words, cmd->qty);
        break;
    case COMMAND_ORDER:
        put_order(words, cmd);
        break;
    case COMMAND_PAY:
        put_text(words, slice_str(cmd->order_id));
        put_text(words, command_text(&cmd->user_id));
        put_text(words, command_text(&cmd->other_id));
        break;
    case COMMAND_CANCEL:
        put_text(words, slice_str(cmd->order_id));
        put_text(words, command_text(&cmd->user_id));
        break;
    case COMMAND_ARCHIVE:
        put_text(words, command_text(&cmd->other_id));
        put_text(words, command_text(&cmd->item_id));
        put_text(words, cmd->users);
        break;
    case COMMAND_TICK:
    case COMMAND_MARK:
    case COMMAND_MALFORMED:
        break;
    }
}

bool script_end(struct script_words *words)
{
    const char *next = words->text.ptr;

    if (!buf_ok(&words->text)) {
        return false;
    }
    for (size_t i = 0; i < words->n; i++) {
        if (words->list[i].ptr == NULL) {
            words->list[i].ptr = next;
            next += words->list[i].len;
        }
    }
    return true;
}

void script_fini(struct script_words *words)
{
    free(words->list);
    buf_fini(&words->text);
    *words = (struct script_words){.list = NULL};
}

/* ---- replies ---- */

static bool take_i64(struct slice *rest, int64_t min, int64_t *out)
{
    const struct slice word = slice_cut(*rest, ' ', rest);

    return slice_to_i64(word, min, COMMAND_TIME_MAX, out);
}

static bool parse_ok(struct slice head, struct script_reply *reply)
{
    struct slice word;

    if (!take_i64(&head, -1, &reply->watermark) || !take_i64(&head, 0, &reply->log_time) ||
        !take_i64(&head, 0, &reply->next_due)) {
        return false;
    }
    word = slice_cut(head, ' ', &head);
    reply->first_prev = SCRIPT_NO_ENTRY;
    if (!slice_eq(word, SLICE_LIT("-")) &&
        !slice_to_i64(word, -1, COMMAND_TIME_MAX, &reply->first_prev)) {
        return false;
    }
    return take_i64(&head, 0, &reply->entries) && head.ptr == NULL;
}

bool script_parse(struct slice text, struct script_reply *reply, struct err *err)
{
    struct slice lines;
    struct slice head = slice_cut(text, '\n', &lines);
    const struct slice word = slice_cut(head, ' ', &head);
    bool ok = true;

    *reply = (struct script_reply){.text = head, .first_prev = SCRIPT_NO_ENTRY};
    if (slice_eq(word, SLICE_LIT("ok"))) {
        reply->answer = SCRIPT_OK;
        reply->lines = lines;
        ok = parse_ok(head, reply);
    } else if (slice_eq(word, SLICE_LIT("position"))) {
        reply->answer = SCRIPT_POSITION;
    } else if (slice_eq(word, SLICE_LIT("absent"))) {
        reply->answer = SCRIPT_ABSENT;
    } else if (slice_eq(word, SLICE_LIT("rules"))) {
        reply->answer = SCRIPT_RULES;
        ok = slice_to_i64(head, 0, COMMAND_TIME_MAX, &reply->rules);
    } else if (slice_eq(word, SLICE_LIT("full"))) {
        reply->answer = SCRIPT_FULL;
    } else if (slice_eq(word, SLICE_LIT("corrupt"))) {
        reply->answer = SCRIPT_CORRUPT;
    } else if (slice_eq(word, SLICE_LIT("bad"))) {
        reply->answer = SCRIPT_BAD;
    } else {
        ok = false;
    }
    return ok || err_set(err, ERR_FATAL, "apply.lua answered `%.*s`",
                         (int)(text.len < 100 ? text.len : 100), text.ptr);
}

bool script_parse_position(const struct slice *fields, struct script_position *position,
                           struct err *err)
{
    if (!ids_is_log(fields[0]) ||
        !slice_copy(fields[0], position->genesis, sizeof(position->genesis)) ||
        !slice_to_i64(fields[1], 0, COMMAND_TIME_MAX, &position->watermark) ||
        !ids_hash_parse(fields[2], &position->chain) ||
        !ids_hash_parse(fields[3], &position->last_hash) ||
        !slice_to_i64(fields[4], 0, COMMAND_TIME_MAX, &position->log_time) ||
        !slice_to_i64(fields[5], 0, COMMAND_TIME_MAX, &position->rules) ||
        !slice_to_i64(fields[6], 0, COMMAND_TIME_MAX, &position->partitions)) {
        return err_set(err, ERR_FATAL, "the position in Redis is not one");
    }
    return true;
}

bool script_parse_entry(struct slice text, struct script_entry *entry, struct err *err)
{
    struct slice head = slice_cut(text, '\n', &entry->lines);
    bool ok = take_i64(&head, -1, &entry->prev) && take_i64(&head, 0, &entry->to);

    ok = ok && ids_hash_parse(slice_cut(head, ' ', &head), &entry->chain) &&
         take_i64(&head, 0, &entry->log_time) && entry->prev < entry->to;
    entry->rules = 1; /* not written under these, which were the first */
    ok = ok && (head.ptr == NULL || (take_i64(&head, 2, &entry->rules) && head.ptr == NULL));
    return ok || err_set(err, ERR_FATAL, "an outbox entry is not one: `%.*s`",
                         (int)(text.len < 100 ? text.len : 100), text.ptr);
}

bool script_next_line(struct slice *lines, struct slice *line)
{
    if (lines->ptr == NULL || lines->len == 0) {
        return false;
    }
    *line = slice_cut(*lines, '\n', lines);
    return true;
}
