/*
 * Every option has a slot.  Slots start at their defaults; then flags, file and environment are
 * read, in this order, and a value is checked wherever it stands but stored only when its
 * source ranks at least as high as the stored one's.  So a mistake in a file is found even while
 * a flag hides it, and the order of reading does not matter (flags first, to know the file).
 */
#include "common/conf.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/conf_impl.h"
#include "common/ini.h"
#include "common/version.h"
#include "common/xmalloc.h"

enum {
    FILE_BYTES = 1 << 20,
    SECRET_BYTES = 4096,
    NAME_BYTES = 128,
};

union value {
    const char *text;
    int64_t number;
    bool flag;
    int choice;
};

static const struct conf_origin by_default = {.source = CONF_FROM_DEFAULT};

void conf_origin_format(const struct conf_origin *origin, char *out, size_t size)
{
    if (origin->source == CONF_FROM_FILE) {
        (void)snprintf(out, size, "%s:%d", origin->name, origin->line);
    } else if (origin->source == CONF_FROM_ENV) {
        (void)snprintf(out, size, "environment variable %s", origin->name);
    } else {
        (void)snprintf(out, size, "%s",
                       origin->source == CONF_FROM_FLAG ? origin->name : "default");
    }
}

void conf_env_name(const char *option, char *out, size_t size)
{
    const int n = snprintf(out, size, "SECKILL_%s", option);

    assert(n > 0 && (size_t)n < size);
    for (char *p = out; *p != '\0'; p++) {
        if (*p == '-') {
            *p = '_';
        } else if (*p >= 'a' && *p <= 'z') {
            *p = (char)(*p - 'a' + 'A');
        }
    }
}

static struct conf_origin origin_of(enum conf_source source, const char *name, int line)
{
    struct conf_origin origin = {.source = source, .line = line};

    /* A long path is cut: it is only shown. */
    (void)snprintf(origin.name, sizeof(origin.name), "%s", name);
    return origin;
}

/* Puts the place and the option before what err already says. */
static bool blame(struct err *err, const struct conf_origin *origin, struct slice key)
{
    char where[192];
    char what[sizeof(err->text)];

    conf_origin_format(origin, where, sizeof(where));
    (void)snprintf(what, sizeof(what), "%s", err->text);
    return err_set(err, ERR_FATAL, "%s: %.*s%s%s", where, (int)key.len, key.ptr,
                   key.len > 0 ? " " : "", what);
}

void conf_format_ms(int64_t ms, char *out, size_t size)
{
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = {{3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    size_t i = 0;

    while (ms % units[i].ms != 0 || (ms == 0 && units[i].ms > 1)) {
        i++;
    }
    (void)snprintf(out, size, "%lld%s", (long long)(ms / units[i].ms), units[i].unit);
}

static bool parse_ms(const struct conf_option *o, struct slice s, int64_t *out, struct err *err)
{
    static const struct {
        struct slice unit;
        int64_t ms;
    } units[] = {{{"ms", 2}, 1}, {{"s", 1}, 1000}, {{"m", 1}, 60000}, {{"h", 1}, 3600000}};
    struct slice digits = s;
    int64_t scale = 1;
    char low[32];
    char high[32];

    while (digits.len > 0 &&
           (digits.ptr[digits.len - 1] < '0' || digits.ptr[digits.len - 1] > '9')) {
        digits.len--;
    }
    const struct slice unit = {s.ptr + digits.len, s.len - digits.len};

    if (unit.len > 0) {
        scale = 0;
        for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
            scale = slice_eq(unit, units[i].unit) ? units[i].ms : scale;
        }
    }
    if (scale > 0 && slice_to_i64(digits, 0, INT64_MAX / scale, out)) {
        *out *= scale;
        if (*out >= o->min && *out <= o->max) {
            return true;
        }
    }
    conf_format_ms(o->min, low, sizeof(low));
    conf_format_ms(o->max, high, sizeof(high));
    return err_set(err, ERR_FATAL,
                   "must be a time from %s to %s (like 250ms, 10s, 5m), not \"%.*s\"", low, high,
                   (int)(s.len < 40 ? s.len : 40), s.ptr);
}

static bool parse_bool(struct slice s, bool *out, struct err *err)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (slice_eq(s, slice_str(words[i]))) {
            *out = i % 2 == 1;
            return true;
        }
    }
    return err_set(err, ERR_FATAL, "must be true or false, not \"%.*s\"",
                   (int)(s.len < 40 ? s.len : 40), s.ptr);
}

static bool parse_choice(const struct conf_option *o, struct slice s, int *out, struct err *err)
{
    char words[160] = "";
    size_t len = 0;

    for (int i = 0; o->choices[i] != NULL; i++) {
        if (slice_eq(s, slice_str(o->choices[i]))) {
            *out = i;
            return true;
        }
        const int n =
            snprintf(words + len, sizeof(words) - len, "%s%s", i == 0 ? "" : ", ", o->choices[i]);

        assert(n > 0 && len + (size_t)n < sizeof(words));
        len += (size_t)n;
    }
    return err_set(err, ERR_FATAL, "must be one of %s, not \"%.*s\"", words,
                   (int)(s.len < 40 ? s.len : 40), s.ptr);
}

static bool check_text(const struct conf_option *o, struct slice s, struct err *err)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f) {
            return err_set(err, ERR_FATAL, "holds a control character");
        }
    }
    if ((int64_t)s.len < o->min) {
        return err_set(err, ERR_FATAL, "may not be empty");
    }
    if ((int64_t)s.len > o->max) {
        return err_set(err, ERR_FATAL, "is longer than %lld bytes", (long long)o->max);
    }
    return true;
}

/* For text, out->text is left alone: it will point to the slot's copy. */
static bool parse_value(const struct conf_option *o, struct slice s, union value *out,
                        struct err *err)
{
    switch (o->type) {
    case CONF_TYPE_INT:
        return slice_to_i64(s, o->min, o->max, &out->number) ||
               err_set(err, ERR_FATAL, "must be a number from %lld to %lld, not \"%.*s\"",
                       (long long)o->min, (long long)o->max, (int)(s.len < 40 ? s.len : 40), s.ptr);
    case CONF_TYPE_MS:
        return parse_ms(o, s, &out->number, err);
    case CONF_TYPE_BOOL:
        return parse_bool(s, &out->flag, err);
    case CONF_TYPE_ENUM:
        return parse_choice(o, s, &out->choice, err);
    case CONF_TYPE_STRING:
    case CONF_TYPE_SECRET:
        return check_text(o, s, err);
    case CONF_TYPE_END:
        break;
    }
    assert(false);
    return false;
}

/* A secret that comes from a file is all text: its value is the zeroed one. */
static void store(struct conf_slot *slot, union value v, struct slice s,
                  const struct conf_origin *origin)
{
    free(slot->text);
    slot->text = xmemdup0(s.ptr, s.len);
    slot->origin = *origin;
    switch (slot->option->type) {
    case CONF_TYPE_INT:
    case CONF_TYPE_MS:
        memcpy(slot->field, &v.number, sizeof(v.number));
        break;
    case CONF_TYPE_BOOL:
        memcpy(slot->field, &v.flag, sizeof(v.flag));
        break;
    case CONF_TYPE_ENUM:
        memcpy(slot->field, &v.choice, sizeof(v.choice));
        break;
    case CONF_TYPE_STRING:
    case CONF_TYPE_SECRET:
        memcpy(slot->field, &slot->text, sizeof(slot->text));
        break;
    case CONF_TYPE_END:
        break;
    }
}

/* Reads a whole small file into *out (malloc'ed). */
static bool read_file(const char *path, size_t max_bytes, char **out, size_t *len, struct err *err)
{
    FILE *f = fopen(path, "re");
    char *text = NULL;
    bool ok = false;

    if (f == NULL) {
        return err_set(err, ERR_FATAL, "cannot open %s: %s", path, strerror(errno));
    }
    text = xmalloc(max_bytes + 1);
    *len = fread(text, 1, max_bytes + 1, f);
    if (ferror(f) != 0) {
        (void)err_set(err, ERR_FATAL, "cannot read %s: %s", path, strerror(errno));
    } else if (*len > max_bytes) {
        (void)err_set(err, ERR_FATAL, "%s is larger than %zu bytes", path, max_bytes);
    } else {
        ok = true;
    }
    (void)fclose(f); /* only read: nothing can be lost */
    if (!ok) {
        free(text);
        return false;
    }
    *out = text;
    return true;
}

static bool set_secret_file(struct conf_slot *slot, struct slice path,
                            const struct conf_origin *origin, struct err *err)
{
    char name[1024];
    char *text = NULL;
    size_t len = 0;
    bool ok = false;

    if (path.len == 0 || !slice_copy(path, name, sizeof(name))) {
        return err_set(err, ERR_FATAL, "must be the path of a file");
    }
    if (!read_file(name, SECRET_BYTES, &text, &len, err)) {
        return false;
    }
    if (len > 0 && text[len - 1] == '\n') {
        len--;
    }
    if (len == 0) {
        (void)err_set(err, ERR_FATAL, "names an empty file");
    } else if (check_text(slot->option, (struct slice){text, len}, err)) {
        if (origin->source >= slot->origin.source) {
            store(slot, (union value){0}, (struct slice){text, len}, origin);
        }
        ok = true;
    }
    free(text);
    return ok;
}

static bool set(struct conf_slot *slot, bool is_file, struct slice s,
                const struct conf_origin *origin, struct err *err)
{
    union value v = {0};

    if (is_file) {
        return set_secret_file(slot, s, origin, err);
    }
    if (!parse_value(slot->option, s, &v, err)) {
        return false;
    }
    if (origin->source >= slot->origin.source) {
        store(slot, v, s, origin);
    }
    return true;
}

/* Whether key names the option, or the file of the secret. */
static bool is_named(const struct conf_option *o, struct slice key, bool *is_file)
{
    static const struct slice suffix = {"-file", 5};
    const struct slice name = slice_str(o->name);

    *is_file = false;
    if (slice_eq(key, name)) {
        return true;
    }
    *is_file = o->type == CONF_TYPE_SECRET && key.len == name.len + suffix.len &&
               slice_starts(key, name) &&
               slice_eq((struct slice){key.ptr + name.len, suffix.len}, suffix);
    return *is_file;
}

static struct conf_slot *find_slot(const struct conf *c, struct slice key, bool *is_file)
{
    for (size_t i = 0; i < c->slot_count; i++) {
        if (is_named(c->slots[i].option, key, is_file)) {
            return &c->slots[i];
        }
    }
    return NULL;
}

static bool is_known_to_family(const struct conf *c, struct slice key)
{
    bool is_file = false;

    if (c->spec->family == NULL) {
        return false;
    }
    for (const struct conf_option *const *group = c->spec->family->options; *group != NULL;
         group++) {
        for (const struct conf_option *o = *group; o->name != NULL; o++) {
            if (is_named(o, key, &is_file)) {
                return true;
            }
        }
    }
    return false;
}

static bool set_native_flag(struct conf *c, const char *text, struct err *err)
{
    const struct conf_origin origin = origin_of(CONF_FROM_FLAG, "-X", 0);
    struct slice value;
    const struct slice key = slice_cut(slice_str(text), '=', &value);

    if (value.ptr == NULL || !conf_is_native(key)) {
        return err_set(err, ERR_FATAL, "-X takes kafka.NAME=value, not \"%s\"; see --help", text);
    }
    return conf_native_add(c, key, value, &origin, false, err) || blame(err, &origin, key);
}

static bool set_flag(struct conf *c, struct slice key, struct slice value, struct err *err)
{
    bool is_file = false;
    struct conf_slot *slot = find_slot(c, key, &is_file);
    char flag[NAME_BYTES];

    (void)snprintf(flag, sizeof(flag), "--%.*s", (int)key.len, key.ptr);
    if (slot == NULL) {
        return err_set(err, ERR_FATAL, "%s: unknown flag; see --help", flag);
    }
    if (slot->option->type == CONF_TYPE_SECRET && !is_file) {
        return err_set(err, ERR_FATAL,
                       "%s: everybody could read it in the process list; use %s-file or the "
                       "environment",
                       flag, flag);
    }
    const struct conf_origin origin = origin_of(CONF_FROM_FLAG, flag, 0);

    return set(slot, is_file, value, &origin, err) || blame(err, &origin, SLICE_LIT(""));
}

static bool set_builtin(struct conf *c, struct slice key, struct slice value)
{
    if (slice_eq(key, SLICE_LIT("config"))) {
        c->file = value.ptr; /* the end of an argv word: NUL-terminated */
    } else if (slice_eq(key, SLICE_LIT("check-config"))) {
        c->wants_check = true;
    } else if (slice_eq(key, SLICE_LIT("print-config"))) {
        c->wants_print = true;
    } else {
        return false;
    }
    return true;
}

/* Whether a flag without = takes the next word as its value. */
static bool takes_word(const struct conf *c, struct slice key)
{
    bool is_file = false;
    const struct conf_slot *slot = find_slot(c, key, &is_file);

    return slice_eq(key, SLICE_LIT("config")) ||
           (slot != NULL && slot->option->type != CONF_TYPE_BOOL);
}

/* Reads the flag at argv[*i]; moves *i to the last word it used. */
static bool read_flag(struct conf *c, int argc, char *const *argv, int *i, struct err *err)
{
    const char *word = argv[*i];

    if (strncmp(word, "-X", 2) == 0) {
        if (word[2] != '\0') {
            return set_native_flag(c, word + 2, err);
        }
        return *i + 1 < argc ? set_native_flag(c, argv[++*i], err)
                             : err_set(err, ERR_FATAL, "-X takes kafka.NAME=value; see --help");
    }
    if (strncmp(word, "--", 2) != 0) {
        return err_set(err, ERR_FATAL, "%.40s: unknown flag; see --help", word);
    }
    struct slice value;
    const struct slice key = slice_cut(slice_str(word + 2), '=', &value);

    if (value.ptr == NULL && takes_word(c, key)) {
        if (*i + 1 == argc) {
            return err_set(err, ERR_FATAL, "%.80s needs a value; see --help", word);
        }
        value = slice_str(argv[++*i]);
    }
    if (set_builtin(c, key, value)) {
        return true;
    }
    return set_flag(c, key, value.ptr == NULL ? SLICE_LIT("true") : value, err);
}

static bool read_flags(struct conf *c, int argc, char *const *argv, struct err *err)
{
    bool flags_ended = false;

    c->arguments = xcalloc((size_t)argc + 1, sizeof(*c->arguments));
    for (int i = 1; i < argc; i++) {
        if (flags_ended || argv[i][0] != '-' || argv[i][1] == '\0') {
            c->arguments[c->argument_count++] = argv[i];
        } else if (strcmp(argv[i], "--") == 0) {
            flags_ended = true;
        } else if (!read_flag(c, argc, argv, &i, err)) {
            return false;
        }
    }
    return true;
}

static bool take_entry(struct conf *c, const struct ini *entry, const struct conf_origin *origin,
                       struct err *err)
{
    const bool in_section = entry->section.ptr != NULL;
    bool is_file = false;

    if (conf_is_native(entry->key)) {
        return conf_native_add(c, entry->key, entry->value, origin, in_section, err);
    }
    struct conf_slot *slot = find_slot(c, entry->key, &is_file);

    if (slot == NULL || slot->option->is_argument) {
        if (!in_section && is_known_to_family(c, entry->key)) {
            return true;
        }
        return err_set(err, ERR_FATAL, "is not an option %s; %s --help lists them",
                       in_section ? "of this program"
                                  : "that all programs share (it may belong below a [section])",
                       c->spec->binary);
    }
    if (slot->seen_line[in_section] != 0) {
        return err_set(err, ERR_FATAL, "is already set in line %d; remove one of them",
                       slot->seen_line[in_section]);
    }
    slot->seen_line[in_section] = entry->line;
    return set(slot, is_file, entry->value, origin, err);
}

/* What to do with the entries of a section. */
static bool open_section(const struct conf *c, struct slice name, bool *is_ours, struct err *err)
{
    *is_ours = slice_eq(name, slice_str(c->spec->program));
    if (*is_ours) {
        return true;
    }
    if (c->spec->family != NULL) {
        for (const char *const *p = c->spec->family->programs; *p != NULL; p++) {
            if (slice_eq(name, slice_str(*p))) {
                return true;
            }
        }
    }
    return err_set(err, ERR_FATAL, "is not a program's section (this one's is [%s])",
                   c->spec->program);
}

bool conf_read_text(struct conf *c, const char *name, struct slice text, struct err *err)
{
    struct ini r;
    bool is_ours = true; /* before any section */

    ini_init(&r, text);
    for (;;) {
        const enum ini_found found = ini_next(&r, err);
        const struct conf_origin origin = origin_of(CONF_FROM_FILE, name, r.line);

        switch (found) {
        case INI_END:
            return true;
        case INI_WRONG:
            return blame(err, &origin, SLICE_LIT(""));
        case INI_SECTION:
            if (!open_section(c, r.section, &is_ours, err)) {
                return blame(err, &origin, r.section);
            }
            break;
        case INI_ENTRY:
            if (is_ours && !take_entry(c, &r, &origin, err)) {
                return blame(err, &origin, r.key);
            }
            break;
        }
    }
}

static bool read_conf_file(struct conf *c, struct err *err)
{
    char *text = NULL;
    size_t len = 0;
    bool ok = false;

    if (c->file == NULL) {
        return true;
    }
    if (!read_file(c->file, FILE_BYTES, &text, &len, err)) {
        return false;
    }
    ok = conf_read_text(c, c->file, (struct slice){text, len}, err);
    free(text);
    return ok;
}

/* An empty variable counts as unset unless the option may be empty. */
static const char *variable(const struct conf_option *o, const char *name)
{
    const char *text = getenv(name);
    const bool may_be_empty = o->type == CONF_TYPE_STRING && o->min == 0;

    return text == NULL || (text[0] == '\0' && !may_be_empty) ? NULL : text;
}

/* Sets the slot from the variable `name`, or `name`_FILE for a secret; *found tells whether. */
static bool read_variable(struct conf_slot *slot, const char *name, bool *found, struct err *err)
{
    char file_name[NAME_BYTES];
    const char *text = variable(slot->option, name);
    const char *path = NULL;

    (void)snprintf(file_name, sizeof(file_name), "%s_FILE", name);
    if (slot->option->type == CONF_TYPE_SECRET) {
        path = variable(slot->option, file_name);
    }
    *found = text != NULL || path != NULL;
    if (!*found) {
        return true;
    }
    if (text != NULL && path != NULL) {
        return err_set(err, ERR_FATAL, "%s and %s are both set; unset one of them", name,
                       file_name);
    }
    const struct conf_origin origin = origin_of(CONF_FROM_ENV, text != NULL ? name : file_name, 0);

    return set(slot, path != NULL, slice_str(text != NULL ? text : path), &origin, err) ||
           blame(err, &origin, SLICE_LIT(""));
}

static bool read_environment(struct conf *c, struct err *err)
{
    for (size_t i = 0; i < c->slot_count; i++) {
        const struct conf_option *o = c->slots[i].option;
        char name[NAME_BYTES];
        bool found = false;

        if (o->is_argument) {
            continue;
        }
        conf_env_name(o->name, name, sizeof(name));
        if (!read_variable(&c->slots[i], name, &found, err)) {
            return false;
        }
        if (!found && o->env != NULL && !read_variable(&c->slots[i], o->env, &found, err)) {
            return false;
        }
    }
    return true;
}

static void set_defaults(struct conf *c)
{
    for (size_t i = 0; i < c->slot_count; i++) {
        struct conf_slot *slot = &c->slots[i];
        const struct conf_option *o = slot->option;
        union value v = {0};
        struct err err;
        const struct slice text = slice_str(o->fallback == NULL ? "" : o->fallback);
        const bool fits = o->fallback == NULL || parse_value(o, text, &v, &err);

        assert(fits); /* a default out of its own range is a mistake in the table */
        store(slot, v, text, &by_default);
    }
}

struct conf *conf_create(const struct conf_spec *spec, void *settings)
{
    struct conf *c = xcalloc(1, sizeof(*c));

    c->spec = spec;
    c->settings = settings;
    for (const struct conf_group *g = spec->groups; g->options != NULL; g++) {
        for (const struct conf_option *o = g->options; o->name != NULL; o++) {
            c->slots = xreallocarray(c->slots, c->slot_count + 1, sizeof(*c->slots));
            c->slots[c->slot_count++] = (struct conf_slot){
                .option = o,
                .field = (char *)settings + g->base + o->offset,
            };
        }
    }
    set_defaults(c);
    return c;
}

void conf_destroy(struct conf *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < c->slot_count; i++) {
        free(c->slots[i].text);
    }
    for (size_t i = 0; i < c->native_count; i++) {
        free((void *)(uintptr_t)c->natives[i].setting.name);
        free((void *)(uintptr_t)c->natives[i].setting.value);
    }
    free(c->slots);
    free(c->natives);
    free(c->kafka);
    free(c->arguments);
    free(c);
}

static bool check_all(const struct conf *c, struct err *err)
{
    for (size_t i = 0; i < c->slot_count; i++) {
        const struct conf_slot *slot = &c->slots[i];

        if (slot->option->fallback == NULL && slot->origin.source == CONF_FROM_DEFAULT) {
            return err_set(err, ERR_FATAL, "%s has no default: set it (--%s; %s --help)",
                           slot->option->name, slot->option->name, c->spec->binary);
        }
    }
    return c->spec->check == NULL || c->spec->check(c->settings, err);
}

/* --help and --version are obeyed whatever else is wrong. */
static bool is_asked(int argc, char *const *argv, const char *word)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], word) == 0) {
            return true;
        }
    }
    return false;
}

enum conf_next conf_load(struct conf *c, int argc, char *const *argv, struct err *err)
{
    if (is_asked(argc, argv, "--help") || is_asked(argc, argv, "-h")) {
        conf_help(c, stdout);
        return CONF_DONE;
    }
    if (is_asked(argc, argv, "--version")) {
        (void)printf("%s %s\n", c->spec->binary, version_string());
        return CONF_DONE;
    }
    if (!read_flags(c, argc, argv, err)) {
        return CONF_WRONG;
    }
    if (c->file == NULL) {
        c->file = getenv("SECKILL_CONFIG");
        c->file = c->file != NULL && c->file[0] == '\0' ? NULL : c->file;
    }
    if (!read_conf_file(c, err) || !read_environment(c, err) || !check_all(c, err)) {
        return CONF_WRONG;
    }
    conf_native_publish(c);
    if (c->wants_print) {
        conf_print(c, stdout);
    } else if (c->wants_check) {
        (void)printf("%s: the configuration is good\n", c->spec->binary);
    }
    return c->wants_print || c->wants_check ? CONF_DONE : CONF_RUN;
}

const char *const *conf_arguments(const struct conf *c, size_t *count)
{
    *count = c->argument_count;
    return c->arguments;
}

bool conf_given(const struct conf *c, const char *name)
{
    bool is_file = false;
    const struct conf_slot *slot = find_slot(c, slice_str(name), &is_file);

    assert(slot != NULL);
    return slot->origin.source != CONF_FROM_DEFAULT;
}

const struct conf_kafka *conf_kafka(const struct conf *c, size_t *count)
{
    *count = c->native_count;
    return c->kafka;
}
