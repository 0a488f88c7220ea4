/*
 * ini.h - reads a settings file line by line: `[section]`, `key = value`, `# comment`.
 *
 * Strict where a lenient reader would guess: a comment has a line of its own (a value with a word
 * that begins with # is refused, for it was probably meant as one), there is no quoting and no continuation, and
 * control characters and NUL are refused.  Lines may have any length.  Pure; the results point
 * into the text given.
 */
#ifndef COMMON_INI_H
#define COMMON_INI_H

#include "common/attr.h"
#include "common/err.h"
#include "common/slice.h"

struct ini {
    struct slice rest;
    struct slice section; /* absent before the first one */
    int line;             /* of the last entry, from 1 */
    struct slice key;
    struct slice value; /* trimmed; may be empty */
};

enum ini_found {
    INI_ENTRY,   /* section, line, key and value are set */
    INI_SECTION, /* section and line are set */
    INI_END,
    INI_WRONG, /* err says what about that line */
};

void ini_init(struct ini *r, struct slice text);
enum ini_found ini_next(struct ini *r, struct err *err) ATTR_MUSTCHECK;

#endif /* COMMON_INI_H */
