/*
 * letter.h - a dead letter: the copy of a malformed record, with what its headers tell.
 *
 * A letter's name is PARTITION:OFFSET of the record that it is a copy of: the topic may hold several
 * copies of one record, all alike.  Whatever stands in a letter came from nobody knows whom, so it
 * is only ever written in printable ASCII.  Pure.
 */
#ifndef GUARDIAN_LETTER_H
#define GUARDIAN_LETTER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/buf.h"
#include "common/slice.h"

enum {
    /* What a copy has of a larger value and of a larger key: docs/protocol.md section 3. */
    LETTER_VALUE_MAX = 8192,
    LETTER_KEY_MAX = 1024,
    LETTER_NAME_SIZE = 32,
};

/* The copy's headers as they came; absent ones are absent. */
struct letter_headers {
    struct slice reason, topic, partition, offset;
};

struct letter {
    int partition;           /* of the record and of its copy */
    int64_t offset;          /* of the record */
    int64_t copy_offset;     /* of the copy, in its own topic */
    int64_t copied_ms;       /* the copy's timestamp */
    const char *reason;      /* a detail of docs/protocol.md section 3 */
    struct slice topic;      /* of the record */
    struct slice key, value; /* ptr NULL: null */
};

/*
 * Reads the headers into l, whose partition is set and which borrows from them; false when they are
 * not what the matcher writes: then the record is no dead letter.
 */
bool letter_read(struct letter *l, const struct letter_headers *headers) ATTR_MUSTCHECK;

/* The reason of this name, NULL when there is none. */
const char *letter_reason(struct slice reason);

/* Whether the record may have been longer than its copy. */
bool letter_is_cut(const struct letter *l);

/* Reads PARTITION:OFFSET. */
bool letter_parse_name(struct slice name, int partitions, int *partition,
                       int64_t *offset) ATTR_MUSTCHECK;
void letter_name(const struct letter *l, char out[LETTER_NAME_SIZE]);

/*
 * Appends at most max bytes of s as printable ASCII: others and the backslash are escaped as in C,
 * and "..." tells that there are more.
 */
void letter_put_escaped(struct buf *out, struct slice s, size_t max);

/* Appends a line of fields with a blank between them, the value's beginning last. */
void letter_put_line(struct buf *out, const struct letter *l);

/* Appends all there is to see of it, in lines of text. */
void letter_put_text(struct buf *out, const struct letter *l);

/* Both as a JSON object; the whole one has the copy's exact bytes too, as hexadecimal digits. */
void letter_put_json(struct buf *out, const struct letter *l);
void letter_put_whole_json(struct buf *out, const struct letter *l);

#endif /* GUARDIAN_LETTER_H */
