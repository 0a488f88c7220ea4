/*
 * conf_impl.h - what the files of conf share: conf.c loads, conf_value.c checks and stores,
 * conf_show.c prints, conf_native.c knows librdkafka's settings.  Nobody else includes it.
 */
#ifndef COMMON_CONF_IMPL_H
#define COMMON_CONF_IMPL_H

#include "common/conf.h"
#include "common/slice.h"

enum conf_source {
    CONF_FROM_DEFAULT,
    CONF_FROM_FILE,
    CONF_FROM_ENV,
    CONF_FROM_FLAG,
};

/* Where a value came from: a file's line, a variable or a flag.  A larger source wins. */
struct conf_origin {
    enum conf_source source;
    int line;
    char name[128];
};

struct conf_slot {
    const struct conf_option *option;
    char *field;
    char *text; /* as it was given, of a secret the secret itself; strings point here */
    struct conf_origin origin;
    int seen_line[2]; /* in the file's common part, in the program's section; 0 = not there */
};

struct conf_native {
    struct conf_kafka setting; /* name and value are ours */
    struct conf_origin origin;
    bool in_section;
};

struct conf {
    const struct conf_spec *spec;
    void *settings;
    struct conf_slot *slots;
    size_t slot_count;
    struct conf_native *natives;
    size_t native_count;
    struct conf_kafka *kafka; /* natives as callers see them, made when loading ends */
    const char **arguments;   /* borrowed from argv; NULL at the end */
    size_t argument_count;
    const char *file; /* borrowed from argv or the environment, or NULL */
    bool wants_check;
    bool wants_print;
};

/* How many words a person needs to find the place: "etc/a.conf:3", "--x", "REDIS_PORT". */
void conf_origin_format(const struct conf_origin *origin, char *out, size_t size);

/* The environment name of an option: SECKILL_REDIS_HOST. */
void conf_env_name(const char *option, char *out, size_t size);

bool conf_is_native(struct slice key);
bool conf_native_add(struct conf *c, struct slice key, struct slice value,
                     const struct conf_origin *origin, bool in_section,
                     struct err *err) ATTR_MUSTCHECK;
bool conf_native_is_secret(const char *name);
void conf_native_publish(struct conf *c);

void conf_slot_default(struct conf_slot *slot);

/* Checks s (is_file: the path of the secret) and stores it unless a higher source has spoken. */
bool conf_slot_set(struct conf_slot *slot, bool is_file, struct slice s,
                   const struct conf_origin *origin, struct err *err) ATTR_MUSTCHECK;

/* Reads a whole small file into *out (malloc'ed). */
bool conf_read_file(const char *path, size_t max_bytes, char **out, size_t *len,
                    struct err *err) ATTR_MUSTCHECK;

/* A duration as a person would write it: 10s, 250ms. */
void conf_format_ms(int64_t ms, char *out, size_t size);

void conf_help(const struct conf *c, FILE *out);

#endif /* COMMON_CONF_IMPL_H */
