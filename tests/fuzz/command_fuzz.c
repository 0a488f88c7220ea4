/*
 * Any bytes as a record: one command or one detail comes out, the same whether the bytes are read
 * in place or (with a blank in front, which is not plain) by the JSON library.  What was read is
 * written so that it is read again as the same command.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/command.h"

static void assert_same(const struct command *a, const struct command *b)
{
    assert(memcmp(a, b, offsetof(struct command, users)) == 0);
    assert(slice_eq(a->users, b->users) && (a->users.ptr == NULL) == (b->users.ptr == NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char nothing[1];
    char spaced[COMMAND_VALUE_MAX];
    char out[COMMAND_VALUE_MAX];
    struct command cmd;
    struct command again;
    size_t len;

    /* An empty value is not a null one. */
    command_parse(&cmd, (struct slice){size == 0 ? nothing : (const char *)data, size},
                  COMMAND_RULES, 3, 4);
    assert((cmd.type == COMMAND_MALFORMED) == (cmd.detail != COMMAND_OK));
    if (size < sizeof(spaced)) {
        spaced[0] = ' ';
        memcpy(spaced + 1, data, size);
        command_parse(&again, (struct slice){spaced, size + 1}, COMMAND_RULES, 3, 4);
        assert_same(&again, &cmd);
    }
    len = command_format(&cmd, out, sizeof(out));
    assert((len == 0) == (cmd.type == COMMAND_MALFORMED));
    if (len > 0) {
        command_parse(&again, (struct slice){out, len}, COMMAND_RULES, 3, 4);
        assert_same(&again, &cmd);
    }
    return 0;
}
