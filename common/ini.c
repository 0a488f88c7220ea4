#include "common/ini.h"

void ini_init(struct ini *r, struct slice text)
{
    *r = (struct ini){.rest = text};
}

/* Letters that option names, librdkafka's names and sections are made of. */
static bool is_name(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        const char c = s.ptr[i];

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
              c == '.')) {
            return false;
        }
    }
    return s.len > 0;
}

static bool has_control(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        const unsigned char c = (unsigned char)s.ptr[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return true;
        }
    }
    return false;
}

static bool has_comment(struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] == '#' &&
            (i == 0 || value.ptr[i - 1] == ' ' || value.ptr[i - 1] == '\t')) {
            return true;
        }
    }
    return false;
}

static enum ini_found wrong(struct err *err, const char *what)
{
    (void)err_set(err, ERR_FATAL, "%s", what); /* returns false by design */
    return INI_WRONG;
}

static enum ini_found read_section(struct ini *r, struct slice line, struct err *err)
{
    const struct slice name = {line.ptr + 1, line.len < 2 ? 0 : line.len - 2};

    if (line.ptr[line.len - 1] != ']' || !is_name(name)) {
        return wrong(err, "a section is a name in brackets, like [matcher]");
    }
    r->section = name;
    return INI_SECTION;
}

static enum ini_found read_entry(struct ini *r, struct slice line, struct err *err)
{
    struct slice value;

    r->key = slice_trim(slice_cut(line, '=', &value));
    if (value.ptr == NULL) {
        return wrong(err, "expected `name = value`, `[section]` or `# comment`");
    }
    if (!is_name(r->key)) {
        return wrong(err, "a name before = has lower-case letters, digits and - _ . only");
    }
    r->value = slice_trim(value);
    if (has_comment(r->value)) {
        return wrong(err, "a comment needs a line of its own (a # begins a word of the value)");
    }
    return INI_ENTRY;
}

enum ini_found ini_next(struct ini *r, struct err *err)
{
    while (r->rest.len > 0) {
        struct slice line = slice_cut(r->rest, '\n', &r->rest);

        r->line++;
        line = slice_trim(line);
        if (has_control(line)) {
            return wrong(err, "the line holds a control character");
        }
        if (line.len == 0 || line.ptr[0] == '#') {
            continue;
        }
        return line.ptr[0] == '[' ? read_section(r, line, err) : read_entry(r, line, err);
    }
    return INI_END;
}
