/*
 * Every option has a slot.  Slots start at their defaults; then flags, file and environment are
 * read, in this order, and a value is checked wherever it stands but stored only when its
 * source ranks at least as high as the stored one's.  So a mistake in a file is found even while
 * a flag hides it, and the order of reading does not matter (flags first, to know the file).
 */
#include "common/conf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/conf_impl.h"
#include "common/ini.h"
#include "common/version.h"
#include "common/xmalloc.h"

enum {
    FILE_BYTES = 1 << 20,
    NAME_BYTES = 128,
};

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

    return conf_slot_set(slot, is_file, value, &origin, err) || blame(err, &origin, SLICE_LIT(""));
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
    return conf_slot_set(slot, is_file, entry->value, origin, err);
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
    if (!conf_read_file(c->file, FILE_BYTES, &text, &len, err)) {
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

    return conf_slot_set(slot, path != NULL, slice_str(text != NULL ? text : path), &origin, err) ||
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
    for (size_t i = 0; i < c->slot_count; i++) {
        conf_slot_default(&c->slots[i]);
    }
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
