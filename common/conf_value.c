/*
 * One value: from text to its type, and into its slot if nothing of a higher rank stands there.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/conf_impl.h"
#include "common/xmalloc.h"

enum {
    SECRET_BYTES = 4096,
};

union value {
    const char *text;
    int64_t number;
    bool flag;
    int choice;
};

static const struct conf_origin by_default = {.source = CONF_FROM_DEFAULT};

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

bool conf_read_file(const char *path, size_t max_bytes, char **out, size_t *len, struct err *err)
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
    if (!conf_read_file(name, SECRET_BYTES, &text, &len, err)) {
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

bool conf_slot_set(struct conf_slot *slot, bool is_file, struct slice s,
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

void conf_slot_default(struct conf_slot *slot)
{
    const struct conf_option *o = slot->option;
    const struct slice text = slice_str(o->fallback == NULL ? "" : o->fallback);
    union value v = {0};
    struct err err;
    const bool fits = o->fallback == NULL || parse_value(o, text, &v, &err);

    assert(fits); /* a default out of its own range is a mistake in the table */
    store(slot, v, text, &by_default);
}
