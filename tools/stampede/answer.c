#include "tools/stampede/answer.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define MAX_NUMBER 1000000000

/* The number that a field begins with; -1 when it is none. */
static int64_t number(struct slice value)
{
    int64_t n = -1;

    for (size_t i = 0; i < value.len && isdigit((unsigned char)value.ptr[i]); i++) {
        n = (n < 0 ? 0 : n) * 10 + (value.ptr[i] - '0');
        if (n > MAX_NUMBER) {
            return -1;
        }
    }
    return n;
}

static bool is_named(struct slice line, struct slice name)
{
    return line.len > name.len && line.ptr[name.len] == ':' &&
           strncasecmp(line.ptr, name.ptr, name.len) == 0;
}

static struct slice value_of(struct slice line, struct slice name)
{
    return slice_trim((struct slice){line.ptr + name.len + 1, line.len - name.len - 1});
}

/* One field; false when it makes the answer bad. */
static bool take_field(struct slice line, struct answer *answer, int64_t *body_bytes)
{
    const struct slice length = SLICE_LIT("Content-Length"), retry = SLICE_LIT("Retry-After"),
                       connection = SLICE_LIT("Connection");

    switch (line.ptr[0] | 0x20) {
    case 'c':
        if (is_named(line, length)) {
            *body_bytes = number(value_of(line, length));
            return *body_bytes >= 0 && *body_bytes <= ANSWER_BODY_MAX;
        }
        if (is_named(line, connection)) {
            const struct slice value = value_of(line, connection);

            answer->closes = value.len == 5 && strncasecmp(value.ptr, "close", 5) == 0;
        }
        return true;
    case 'r':
        if (is_named(line, retry)) {
            answer->retry_after_s = number(value_of(line, retry));
        }
        return true;
    case 't': /* chunks are not for us */
        return !is_named(line, SLICE_LIT("Transfer-Encoding"));
    default:
        return true;
    }
}

enum answer_read answer_read(struct slice bytes, struct answer *answer, size_t *used)
{
    const struct slice version = SLICE_LIT("HTTP/1.1 ");
    const char *end = memmem(bytes.ptr, bytes.len, "\r\n\r\n", 4);
    struct slice rest = {NULL, 0};
    int64_t body_bytes = 0;

    if (memcmp(bytes.ptr, version.ptr, bytes.len < version.len ? bytes.len : version.len) != 0) {
        return ANSWER_BAD;
    }
    if (end == NULL) {
        return bytes.len > ANSWER_HEAD_MAX ? ANSWER_BAD : ANSWER_MORE;
    }
    *answer = (struct answer){.retry_after_s = -1};
    rest = (struct slice){bytes.ptr + version.len, (size_t)(end - bytes.ptr) - version.len};
    answer->status = (int)number(slice_cut(rest, '\n', &rest));
    if (answer->status < 200 || answer->status > 599) {
        return ANSWER_BAD;
    }
    while (rest.len > 0) {
        if (!take_field(slice_cut(rest, '\n', &rest), answer, &body_bytes)) {
            return ANSWER_BAD;
        }
    }
    *used = (size_t)(end - bytes.ptr) + 4 + (size_t)body_bytes;
    answer->body = (struct slice){end + 4, (size_t)body_bytes};
    return bytes.len >= *used ? ANSWER_WHOLE : ANSWER_MORE;
}

/* The text that begins behind the quote at i; i moves behind its end.  Absent if it has escapes. */
static struct slice take_text(struct slice body, size_t *i)
{
    const size_t start = *i;
    bool escaped = false;

    while (*i < body.len && body.ptr[*i] != '"') {
        escaped = escaped || body.ptr[*i] == '\\';
        *i += body.ptr[*i] == '\\' ? 2 : 1;
    }
    if (*i >= body.len) {
        *i = body.len;
        return (struct slice){NULL, 0};
    }
    (*i)++;
    return escaped ? (struct slice){NULL, 0} : (struct slice){body.ptr + start, *i - 1 - start};
}

static void take_member(struct answer_words *words, struct slice name, struct slice text)
{
    const struct {
        struct slice name;
        struct slice *word;
    } known[] = {
        {SLICE_LIT("order_id"), &words->order_id},
        {SLICE_LIT("state"), &words->state},
        {SLICE_LIT("reason"), &words->reason},
        {SLICE_LIT("payment"), &words->payment},
        {SLICE_LIT("first_payment"), &words->first_payment},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (slice_eq(name, known[i].name)) {
            *known[i].word = text;
            return;
        }
    }
}

void answer_words(struct slice body, struct answer_words *words)
{
    struct slice name = {NULL, 0};
    int depth = 0;

    memset(words, 0, sizeof(*words));
    for (size_t i = 0; i < body.len;) {
        const char c = body.ptr[i++];

        if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            depth--;
        } else if (c == '"') {
            const struct slice text = take_text(body, &i);

            if (depth != 1) {
                continue;
            }
            if (i < body.len && body.ptr[i] == ':') {
                name = text;
            } else {
                take_member(words, name, text);
            }
        }
    }
}
