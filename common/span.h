/*
 * span.h - where a text stops being plain: printable ASCII without `"` and `\`.
 *
 * Nearly every text that is read or written is plain from end to end, so eight bytes are looked at
 * at a time.
 */
#ifndef COMMON_SPAN_H
#define COMMON_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline bool span_is_plain(char c)
{
    return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

/* Whether all eight bytes of the word are plain. */
static inline bool span_is_plain_word(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t quote = word ^ (ones * '"');
    const uint64_t backslash = word ^ (ones * '\\');
    /*
     * The top bit of a byte that is below ' ', DEL or beyond ASCII, or that has become 0.  A borrow
     * or a carry may mark the next byte too, but only from one that is marked itself.
     */
    const uint64_t marks = word | (word + ones) | (word - ones * ' ') | ((quote - ones) & ~quote) |
                           ((backslash - ones) & ~backslash);

    return (marks & (ones << 7)) == 0;
}

/* The number of plain bytes at the front. */
static inline size_t span_plain(const char *text, size_t len)
{
    size_t n = 0;
    uint64_t word;

    while (len - n >= sizeof(word)) {
        memcpy(&word, text + n, sizeof(word));
        if (!span_is_plain_word(word)) {
            break;
        }
        n += sizeof(word);
    }
    while (n < len && span_is_plain(text[n])) {
        n++;
    }
    return n;
}

#endif /* COMMON_SPAN_H */
