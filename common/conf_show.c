#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/conf_impl.h"
#include "common/log.h"

static const char masked[] = "********";

static const char *word_for(const struct conf_option *o)
{
    switch (o->type) {
    case CONF_TYPE_INT:
        return "N";
    case CONF_TYPE_MS:
        return "TIME";
    case CONF_TYPE_ENUM:
        return "WORD";
    case CONF_TYPE_STRING:
        return "TEXT";
    case CONF_TYPE_SECRET:
    case CONF_TYPE_BOOL:
    case CONF_TYPE_END:
        break;
    }
    return "";
}

static void show_range(const struct conf_option *o, FILE *out)
{
    char low[32];
    char high[32];

    switch (o->type) {
    case CONF_TYPE_INT:
        (void)fprintf(out, "; %lld to %lld", (long long)o->min, (long long)o->max);
        break;
    case CONF_TYPE_MS:
        conf_format_ms(o->min, low, sizeof(low));
        conf_format_ms(o->max, high, sizeof(high));
        (void)fprintf(out, "; %s to %s", low, high);
        break;
    case CONF_TYPE_ENUM:
        for (size_t i = 0; o->choices[i] != NULL; i++) {
            (void)fprintf(out, "%s%s", i == 0 ? "; " : ", ", o->choices[i]);
        }
        break;
    case CONF_TYPE_STRING:
    case CONF_TYPE_SECRET:
    case CONF_TYPE_BOOL:
    case CONF_TYPE_END:
        break;
    }
}

static void show_option(const struct conf_option *o, FILE *out)
{
    char env[128];

    if (o->type == CONF_TYPE_SECRET) {
        (void)fprintf(out, "  --%s-file=PATH\n", o->name);
    } else {
        (void)fprintf(out, "  --%s%s%s\n", o->name, o->type == CONF_TYPE_BOOL ? "" : "=",
                      word_for(o));
    }
    (void)fprintf(out, "        %s\n        ", o->help);
    if (o->fallback == NULL) {
        (void)fprintf(out, "(needed");
    } else {
        (void)fprintf(out, "(default %s", o->fallback[0] == '\0' ? "empty" : o->fallback);
    }
    show_range(o, out);
    if (!o->is_argument) {
        conf_env_name(o->name, env, sizeof(env));
        (void)fprintf(out, "; %s%s%s", env, o->env == NULL ? "" : ", ",
                      o->env == NULL ? "" : o->env);
    }
    (void)fprintf(out, o->type == CONF_TYPE_SECRET ? ", or either with _FILE)\n" : ")\n");
}

void conf_help(const struct conf *c, FILE *out)
{
    (void)fprintf(out, "%s - %s\n", c->spec->binary, c->spec->summary);
    if (c->spec->usage != NULL) {
        (void)fprintf(out, "\n%s", c->spec->usage);
    }
    for (int arguments = 1; arguments >= 0; arguments--) {
        bool any = false;

        for (size_t i = 0; i < c->slot_count; i++) {
            if (c->slots[i].option->is_argument == (arguments == 1)) {
                if (!any) {
                    (void)fprintf(out, arguments == 1 ? "\nFlags of commands\n" : "\nOptions\n");
                }
                any = true;
                show_option(c->slots[i].option, out);
            }
        }
    }
    (void)fprintf(
        out,
        "\nAlways\n"
        "  --config=FILE     read `name = value` lines; [%s] holds this program's own\n"
        "                    (SECKILL_CONFIG)\n"
        "  -X kafka.NAME=V   a setting of librdkafka; kafka.producer.NAME and\n"
        "                    kafka.consumer.NAME reach only those clients\n"
        "  --check-config    read everything, say what is wrong, do nothing\n"
        "  --print-config    show every value and where it came from\n"
        "  --version  --help\n\n"
        "A flag beats the environment, which beats the file.  Secrets come from files or\n"
        "the environment, never from flags.\n",
        c->spec->program);
}

/* A secret's line is a comment, so that what was printed can be read again without it. */
static void print_secret(const struct conf_slot *slot, FILE *out)
{
    if (slot->text[0] == '\0') {
        (void)fprintf(out, "#%s-file =\n", slot->option->name);
    } else {
        (void)fprintf(out, "#%s = %s\n", slot->option->name, masked);
    }
}

void conf_print(const struct conf *c, FILE *out)
{
    static const char *const roles[] = {
        [CONF_KAFKA_ANY] = "",
        [CONF_KAFKA_PRODUCER] = "producer.",
        [CONF_KAFKA_CONSUMER] = "consumer.",
    };
    char where[192];

    (void)fprintf(out, "[%s]\n", c->spec->program);
    for (size_t i = 0; i < c->slot_count; i++) {
        const struct conf_slot *slot = &c->slots[i];

        if (slot->option->is_argument) {
            continue;
        }
        conf_origin_format(&slot->origin, where, sizeof(where));
        (void)fprintf(out, "# %s (%s)\n", slot->option->help, where);
        if (slot->option->type == CONF_TYPE_SECRET) {
            print_secret(slot, out);
        } else {
            (void)fprintf(out, "%s =%s%s\n", slot->option->name, slot->text[0] == '\0' ? "" : " ",
                          slot->text);
        }
    }
    for (size_t i = 0; i < c->native_count; i++) {
        const struct conf_kafka *k = &c->natives[i].setting;

        conf_origin_format(&c->natives[i].origin, where, sizeof(where));
        if (conf_native_is_secret(k->name)) {
            (void)fprintf(out, "# (%s)\n#kafka.%s%s = %s\n", where, roles[k->role], k->name,
                          masked);
        } else {
            (void)fprintf(out, "# (%s)\nkafka.%s%s = %s\n", where, roles[k->role], k->name,
                          k->value);
        }
    }
}

/* Other programs' variables are normal here: one environment configures them all. */
static void log_unknown_variables(const struct conf *c)
{
    for (char *const *entry = environ; *entry != NULL; entry++) {
        struct slice rest;
        const struct slice name = slice_cut(slice_str(*entry), '=', &rest);
        bool known = slice_eq(name, SLICE_LIT("SECKILL_CONFIG"));

        if (!slice_starts(name, SLICE_LIT("SECKILL_"))) {
            continue;
        }
        for (size_t i = 0; !known && i < c->slot_count; i++) {
            char own[128];

            conf_env_name(c->slots[i].option->name, own, sizeof(own));
            known = slice_starts(name, slice_str(own)) &&
                    (name.len == strlen(own) ||
                     (c->slots[i].option->type == CONF_TYPE_SECRET &&
                      strncmp(name.ptr + strlen(own), "_FILE=", strlen("_FILE=")) == 0));
        }
        if (!known) {
            log_debug("conf.ignored", LOG_SLICE("variable", name));
        }
    }
}

void conf_log(const struct conf *c)
{
    char where[192];

    log_info("conf.loaded", LOG_STR("file", c->file == NULL ? "none" : c->file));
    for (size_t i = 0; i < c->slot_count; i++) {
        const struct conf_slot *slot = &c->slots[i];

        if (slot->origin.source != CONF_FROM_DEFAULT) {
            conf_origin_format(&slot->origin, where, sizeof(where));
            log_info("conf.set", LOG_STR("name", slot->option->name),
                     LOG_STR("value", slot->option->type == CONF_TYPE_SECRET ? masked : slot->text),
                     LOG_STR("from", where));
        }
    }
    for (size_t i = 0; i < c->native_count; i++) {
        const struct conf_kafka *k = &c->natives[i].setting;

        conf_origin_format(&c->natives[i].origin, where, sizeof(where));
        log_info("conf.set_kafka", LOG_STR("name", k->name), LOG_INT("role", k->role),
                 LOG_STR("value", conf_native_is_secret(k->name) ? masked : k->value),
                 LOG_STR("from", where));
    }
    log_unknown_variables(c);
}
