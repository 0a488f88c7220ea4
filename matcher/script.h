/*
 * script.h - what is said to lua/apply.lua and lua/position.lua, and what they answer.
 *
 * Pure: words and replies only; docs/protocol.md section 6 is the contract.
 */
#ifndef MATCHER_SCRIPT_H
#define MATCHER_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/buf.h"
#include "common/command.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/slice.h"

/* The words of one call, reused from call to call.  Zero it before first use. */
struct script_words {
    struct slice *list; /* owned; texts of commands are borrowed, numbers point into text */
    size_t n, capacity;
    struct buf text;
};

/* The head of a call of apply.lua: what stands before the commands. */
struct script_head {
    int64_t rules;       /* in force before the batch; of the first one, its genesis's */
    const char *genesis; /* borrowed */
    int64_t prev, to;
    uint64_t chain_before, chain_after, hash_after;
    int64_t acked; /* -1: none */
    int64_t outbox_max, remembered_max;
    size_t n_commands;
};

/* Starts over with these keys (copied as slices). */
void script_begin(struct script_words *words, const struct slice *keys, size_t n_keys);
void script_put_head(struct script_words *words, const struct script_head *head);
void script_put_command(struct script_words *words, int64_t offset, int64_t timestamp_ms,
                        const struct command *cmd);

/* Makes list valid, until the next script_begin(); false when the call is too large. */
bool script_end(struct script_words *words) ATTR_MUSTCHECK;
void script_fini(struct script_words *words);

enum script_answer {
    SCRIPT_OK,
    SCRIPT_POSITION,
    SCRIPT_ABSENT,
    SCRIPT_RULES,
    SCRIPT_FULL,
    SCRIPT_CORRUPT,
    SCRIPT_BAD,
};

/* A reply of apply.lua; slices are borrowed from it. */
struct script_reply {
    enum script_answer answer;
    int64_t watermark, log_time, next_due;
    int64_t first_prev; /* of the oldest outbox entry; INT64_MIN: the outbox is empty */
    int64_t entries;
    struct slice lines; /* a line per command, each with its newline */
    int64_t rules;
    struct slice text; /* of full, corrupt and bad; the position in words */
};

#define SCRIPT_NO_ENTRY INT64_MIN

/* Fails with ERR_FATAL when text is no reply of that script. */
bool script_parse(struct slice text, struct script_reply *reply, struct err *err) ATTR_MUSTCHECK;

/* One batch in the outbox. */
struct script_entry {
    int64_t prev, to;
    uint64_t chain; /* before the batch, and so are the next two */
    int64_t log_time, rules;
    struct slice lines;
};

/* What position.lua answers, beside the entries. */
struct script_position {
    char genesis[IDS_LOG_LEN + 1];
    int64_t watermark, log_time, rules, partitions;
    uint64_t chain, last_hash;
};

enum { SCRIPT_POSITION_FIELDS = 7 };

/* Reads the first SCRIPT_POSITION_FIELDS elements of the reply; ERR_FATAL when they are not that. */
bool script_parse_position(const struct slice *fields, struct script_position *position,
                           struct err *err) ATTR_MUSTCHECK;
bool script_parse_entry(struct slice text, struct script_entry *entry,
                        struct err *err) ATTR_MUSTCHECK;

/* Takes the next line, without its newline, off *lines; false at the end. */
bool script_next_line(struct slice *lines, struct slice *line);

#endif /* MATCHER_SCRIPT_H */
