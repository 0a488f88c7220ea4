/*
 * conf.h - the settings of a program, from one table of options.
 *
 * A program lists its options once; flags, environment, file, defaults, --help, --print-config and
 * the checks come from that table.  What wins: flag, then environment, then file, then default.
 *
 *     struct settings { struct options_kafka kafka; int64_t batch; bool ticks; };
 *
 *     static const struct conf_option own[] = {
 *         CONF_INT("batch", struct settings, batch, 500, 1, 5000, "Commands per script."),
 *         CONF_BOOL("ticks", struct settings, ticks, true, "Append ticks when holds are due."),
 *         CONF_OPTIONS_END,
 *     };
 *     static const struct conf_group groups[] = {
 *         {options_kafka, offsetof(struct settings, kafka)}, {own, 0}, {NULL, 0},
 *     };
 *     static const struct conf_spec spec = {
 *         .program = "matcher", .binary = "seckill-matcher", .summary = "...",
 *         .groups = groups, .family = &options_family, .check = check_settings,
 *     };
 *
 *     struct conf *conf = conf_create(&spec, &settings);
 *     switch (conf_load(conf, argc, argv, &err)) {
 *     case CONF_RUN: break;
 *     case CONF_DONE: exit 0 (--help, --version, --check-config, --print-config were obeyed)
 *     case CONF_WRONG: say err.text, exit 1
 *     }
 *
 * Flags: --name=value or --name value; a switch (bool) is --name or --name=false and takes no word
 * after it.  `--` ends flags.  Other words are arguments, in order, wherever they stand.
 * Environment: SECKILL_REDIS_HOST for redis-host, and the option's plain name (REDIS_HOST) if it
 * has one, which the longer name beats.  An empty variable means unset, except for a string
 * that may be empty.
 *
 * File (--config FILE or SECKILL_CONFIG): lines `name = value`; `#` starts a comment line; no
 * quoting, no continuation.  Keys before any section are for all programs of the family: one that
 * another program knows is passed over.  `[matcher]` is for that program and beats them; other
 * programs' sections are passed over.  An unknown or repeated name, a value out of range, an
 * unknown section refuse to start, with file and line.
 *
 * Secrets: `redis-password` (file and environment; not as a flag, which `ps` shows) or
 * `redis-password-file`, of which one line is read.  They are never printed.
 *
 * librdkafka's own settings: `kafka.NAME`, `kafka.producer.NAME`, `kafka.consumer.NAME` in the file,
 * `-X kafka.NAME=value` as a flag.  Those that would break a promise are refused with the reason.
 *
 * Strings in the settings live as long as the conf.  One thread, at start.
 */
#ifndef COMMON_CONF_H
#define COMMON_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/slice.h"

enum conf_type {
    CONF_TYPE_END,
    CONF_TYPE_STRING, /* const char *, never NULL; min and max bound its length */
    CONF_TYPE_INT,    /* int64_t */
    CONF_TYPE_BOOL,   /* bool: true/false, yes/no, on/off, 1/0 */
    CONF_TYPE_MS,     /* int64_t: 250ms, 10s, 5m, 1h; a bare number is milliseconds */
    CONF_TYPE_ENUM,   /* int: place of the word in choices */
    CONF_TYPE_SECRET, /* const char *, "" when not given */
};

/* One row; made by the CONF_ macros, which check the field's type. */
struct conf_option {
    const char *name; /* redis-host */
    enum conf_type type;
    bool is_argument; /* only as a flag: a word of one command, not a setting */
    size_t offset;
    const char *fallback; /* the default, as it would be written in a file */
    int64_t min;
    int64_t max;
    const char *const *choices; /* NULL at the end */
    const char *env;            /* plain environment name, or NULL */
    const char *help;           /* one sentence */
};

/* offsetof, refused by the compiler when the field is not of that type. */
#define CONF_FIELD(record, field, field_type)                                                      \
    (offsetof(record, field) + /* NOLINTNEXTLINE(bugprone-macro-parentheses): a type has none */   \
     0 * sizeof(_Generic(((record *)NULL)->field, field_type : 0)))

#define CONF_STRING(key, record, field, def, plain_env, text)                                      \
    {                                                                                              \
        .name = (key), .type = CONF_TYPE_STRING,                                                   \
        .offset = CONF_FIELD(record, field, const char *), .fallback = (def), .min = 1,            \
        .max = 4096, .env = (plain_env), .help = (text)                                            \
    }
/* A string that may be empty. */
#define CONF_TEXT(key, record, field, def, plain_env, text)                                        \
    {                                                                                              \
        .name = (key), .type = CONF_TYPE_STRING,                                                   \
        .offset = CONF_FIELD(record, field, const char *), .fallback = (def), .min = 0,            \
        .max = 4096, .env = (plain_env), .help = (text)                                            \
    }
#define CONF_INT_ENV(key, record, field, def, low, high, plain_env, text)                          \
    {                                                                                              \
        .name = (key), .type = CONF_TYPE_INT, .offset = CONF_FIELD(record, field, int64_t),        \
        .fallback = #def, .min = (low), .max = (high), .env = (plain_env), .help = (text)          \
    }
#define CONF_INT(key, record, field, def, low, high, text)                                         \
    CONF_INT_ENV(key, record, field, def, low, high, NULL, text)
#define CONF_BOOL(key, record, field, def, text)                                                   \
    {                                                                                              \
        .name = (key), .type = CONF_TYPE_BOOL, .offset = CONF_FIELD(record, field, bool),          \
        .fallback = (def) ? "true" : "false", .help = (text)                                       \
    }
/* def is text ("10s"); low and high are milliseconds. */
#define CONF_MS(key, record, field, def, low, high, text)                                          \
    {                                                                                              \
        .name = (key), .type = CONF_TYPE_MS, .offset = CONF_FIELD(record, field, int64_t),         \
        .fallback = (def), .min = (low), .max = (high), .help = (text)                             \
    }
#define CONF_ENUM(key, record, field, def, words, text)                                            \
    {                                                                                              \
        .name = (key), .type = CONF_TYPE_ENUM, .offset = CONF_FIELD(record, field, int),           \
        .fallback = (def), .choices = (words), .help = (text)                                      \
    }
#define CONF_SECRET(key, record, field, plain_env, text)                                           \
    {                                                                                              \
        .name = (key), .type = CONF_TYPE_SECRET,                                                   \
        .offset = CONF_FIELD(record, field, const char *), .fallback = "", .max = 4096,            \
        .env = (plain_env), .help = (text)                                                         \
    }
/* Words of one command (`--stock N`): only as flags; conf_given() tells whether they were there. */
#define CONF_ARG_STRING(key, record, field, def, text)                                             \
    {                                                                                              \
        .name = (key), .type = CONF_TYPE_STRING, .is_argument = true,                              \
        .offset = CONF_FIELD(record, field, const char *), .fallback = (def), .min = 0,            \
        .max = 4096, .help = (text)                                                                \
    }
#define CONF_ARG_INT(key, record, field, def, low, high, text)                                     \
    {                                                                                              \
        .name = (key), .type = CONF_TYPE_INT, .is_argument = true,                                 \
        .offset = CONF_FIELD(record, field, int64_t), .fallback = #def, .min = (low),              \
        .max = (high), .help = (text)                                                              \
    }
#define CONF_ARG_BOOL(key, record, field, text)                                                    \
    {                                                                                              \
        .name = (key), .type = CONF_TYPE_BOOL, .is_argument = true,                                \
        .offset = CONF_FIELD(record, field, bool), .fallback = "false", .help = (text)             \
    }
#define CONF_ARG_MS(key, record, field, def, low, high, text)                                      \
    {                                                                                              \
        .name = (key), .type = CONF_TYPE_MS, .is_argument = true,                                  \
        .offset = CONF_FIELD(record, field, int64_t), .fallback = (def), .min = (low),             \
        .max = (high), .help = (text)                                                              \
    }
#define CONF_ARG_ENUM(key, record, field, def, words, text)                                        \
    {                                                                                              \
        .name = (key), .type = CONF_TYPE_ENUM, .is_argument = true,                                \
        .offset = CONF_FIELD(record, field, int), .fallback = (def), .choices = (words),           \
        .help = (text)                                                                             \
    }
#define CONF_OPTIONS_END                                                                           \
    {                                                                                              \
        .name = NULL                                                                               \
    }

/* Options whose fields lie in a struct at base within the program's settings. */
struct conf_group {
    const struct conf_option *options; /* CONF_OPTIONS_END at the end */
    size_t base;
};

/* Who shares one file: names of all sections, and options that any of them may have. */
struct conf_family {
    const char *const *programs;              /* NULL at the end */
    const struct conf_option *const *options; /* arrays; NULL at the end */
};

struct conf_spec {
    const char *program;              /* its section: "matcher" */
    const char *binary;               /* "seckill-matcher" */
    const char *summary;              /* one line for --help */
    const char *usage;                /* more lines for --help, or NULL */
    const struct conf_group *groups;  /* {NULL, 0} at the end */
    const struct conf_family *family; /* or NULL */
    const char *const *kafka_denied;  /* more than conf refuses anyway, or NULL */
    bool (*check)(const void *settings, struct err *err); /* what spans options, or NULL */
};

enum conf_next {
    CONF_RUN,
    CONF_DONE,
    CONF_WRONG,
};

enum conf_kafka_role {
    CONF_KAFKA_ANY,
    CONF_KAFKA_PRODUCER,
    CONF_KAFKA_CONSUMER,
};

/* One native setting of librdkafka, to be given to rd_kafka_conf_set(). */
struct conf_kafka {
    enum conf_kafka_role role;
    const char *name;
    const char *value;
};

struct conf;

/* spec and settings are borrowed for the life of the object; settings gets its defaults here. */
struct conf *conf_create(const struct conf_spec *spec, void *settings) ATTR_MUSTCHECK;

/* Also ends the life of every string in the settings.  NULL is allowed. */
void conf_destroy(struct conf *c);

/* Once.  What --help and the like print goes to stdout. */
enum conf_next conf_load(struct conf *c, int argc, char *const *argv,
                         struct err *err) ATTR_MUSTCHECK;

/*
 * Takes the text of a file, as --config would; name stands in messages.  For tests and the fuzzer,
 * before conf_load().
 */
bool conf_read_text(struct conf *c, const char *name, struct slice text,
                    struct err *err) ATTR_MUSTCHECK;

/* The words that are not flags; *count of them, NULL at the end. */
const char *const *conf_arguments(const struct conf *c, size_t *count);

/* Whether the option got a value from anywhere but its default. */
bool conf_given(const struct conf *c, const char *name);

/*
 * The native settings, *count of them, in the order to give them to rd_kafka_conf_set(): those for
 * any role first.  Set your tunable defaults before them; none of them touches an invariant.
 */
const struct conf_kafka *conf_kafka(const struct conf *c, size_t *count);

/* As --print-config: valid as a file, secrets masked, with where each value came from. */
void conf_print(const struct conf *c, FILE *out);

/*
 * The start's lines in the log: conf.loaded, then conf.set for each option that is not at its
 * default (secrets masked); at debug, SECKILL_ variables that this program does not know.
 */
void conf_log(const struct conf *c);

#endif /* COMMON_CONF_H */
