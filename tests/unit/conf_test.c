#include "common/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "common/options.h"

struct settings {
    struct options_log log;
    struct options_redis redis;
    int64_t batch;
    int64_t wait_ms;
    bool ticks;
    const char *note;
    int64_t stock;
    bool json;
};

static const struct conf_option own[] = {
    CONF_INT("batch", struct settings, batch, 500, 1, 5000, "Commands per script."),
    CONF_MS("wait", struct settings, wait_ms, "2s", 10, 3600000, "Longest wait."),
    CONF_BOOL("ticks", struct settings, ticks, true, "Append ticks."),
    CONF_TEXT("note", struct settings, note, "", NULL, "Anything."),
    CONF_ARG_INT("stock", struct settings, stock, 0, 0, 1000000, "Units."),
    CONF_ARG_BOOL("json", struct settings, json, "For scripts."),
    CONF_OPTIONS_END,
};

static const struct conf_group groups[] = {
    {options_log, offsetof(struct settings, log)},
    {options_redis, offsetof(struct settings, redis)},
    {own, 0},
    {NULL, 0},
};

static bool check(const void *settings, struct err *err)
{
    const struct settings *s = settings;

    return s->batch != 13 || err_set(err, ERR_FATAL, "batch brings bad luck");
}

static const struct conf_spec spec = {
    .program = "matcher",
    .binary = "seckill-matcher",
    .summary = "tests",
    .groups = groups,
    .family = &options_family,
    .check = check,
    .kafka_denied = (const char *const[]){"fetch.min.bytes", NULL},
};

static struct settings settings;
static struct conf *conf;
static struct err err;
static char path[64];

/* Writes a file below /tmp and leaves its name in path. */
static const char *write_file(const char *text)
{
    (void)strcpy(path, "/tmp/conf_test.XXXXXX");
    const int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(close(fd), 0);
    return path;
}

static int start(void **state)
{
    (void)state;
    conf = conf_create(&spec, &settings);
    path[0] = '\0';
    return 0;
}

static int stop(void **state)
{
    static const char *const names[] = {
        "SECKILL_BATCH", "SECKILL_REDIS_HOST", "REDIS_HOST",
        "REDIS_PORT",    "REDIS_PASSWORD",     "REDIS_PASSWORD_FILE",
        "SECKILL_NOTE",  "SECKILL_CONFIG",     "SECKILL_REDIS_PASSWORD"};

    (void)state;
    conf_destroy(conf);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        assert_int_equal(unsetenv(names[i]), 0);
    }
    if (path[0] != '\0') {
        assert_int_equal(unlink(path), 0);
    }
    return 0;
}

/* Words after the program's name, at most five; NULL ends them. */
static enum conf_next load(const char *a, const char *b, const char *c, const char *d)
{
    const char *words[] = {"seckill-matcher", a, b, c, d, NULL};
    char *argv[6] = {NULL};
    int argc = 0;

    for (; words[argc] != NULL; argc++) {
        argv[argc] = (char *)(uintptr_t)words[argc];
    }
    /* The words are literals, and stay. */
    return conf_load(conf, argc, argv, &err);
}

static enum conf_next load_text(const char *text)
{
    if (!conf_read_text(conf, "a.conf", slice_str(text), &err)) {
        return CONF_WRONG;
    }
    return CONF_RUN;
}

static void wrong(enum conf_next next, const char *text)
{
    assert_int_equal(next, CONF_WRONG);
    if (strstr(err.text, text) == NULL) {
        assert_string_equal(err.text, text); /* shows both */
    }
}

static void setvar(const char *name, const char *value)
{
    assert_int_equal(setenv(name, value, 1), 0);
}

static void defaults_come_from_the_table(void **state)
{
    (void)state;
    assert_int_equal(load(NULL, NULL, NULL, NULL), CONF_RUN);
    assert_int_equal(settings.batch, 500);
    assert_int_equal(settings.wait_ms, 2000);
    assert_true(settings.ticks);
    assert_string_equal(settings.note, "");
    assert_string_equal(settings.redis.host, "127.0.0.1");
    assert_int_equal(settings.redis.port, 6379);
    assert_string_equal(settings.redis.password, "");
    assert_int_equal(settings.log.level, 2);
    assert_false(conf_given(conf, "batch"));
}

static void flag_beats_environment_beats_file(void **state)
{
    (void)state;
    setvar("SECKILL_CONFIG", write_file("batch = 1\nredis-port = 1\nwait = 1s\n"));
    setvar("REDIS_PORT", "2");
    setvar("SECKILL_BATCH", "2");
    assert_int_equal(load("--batch=3", NULL, NULL, NULL), CONF_RUN);
    assert_int_equal(settings.batch, 3);
    assert_int_equal(settings.redis.port, 2);
    assert_int_equal(settings.wait_ms, 1000);
    assert_true(conf_given(conf, "wait"));
}

static void the_long_variable_beats_the_plain_one(void **state)
{
    (void)state;
    setvar("SECKILL_REDIS_HOST", "long");
    setvar("REDIS_HOST", "plain");
    assert_int_equal(load(NULL, NULL, NULL, NULL), CONF_RUN);
    assert_string_equal(settings.redis.host, "long");
}

static void an_empty_variable_is_unset_unless_empty_is_a_value(void **state)
{
    (void)state;
    setvar("REDIS_HOST", "");
    setvar("REDIS_PORT", "");
    setvar("REDIS_PASSWORD", "");
    setvar("SECKILL_NOTE", "");
    assert_int_equal(load(NULL, NULL, NULL, NULL), CONF_RUN);
    assert_string_equal(settings.redis.host, "127.0.0.1");
    assert_int_equal(settings.redis.port, 6379);
    assert_false(conf_given(conf, "redis-password"));
    assert_true(conf_given(conf, "note"));
}

static void a_section_beats_what_is_common(void **state)
{
    (void)state;
    assert_int_equal(load_text("batch = 1\nmysql-host = db\nnote = all\n"
                               "[guardian]\nworkers = 8\nbatch = x\n"
                               "[matcher]\nbatch = 2\n[producer]\n"),
                     CONF_RUN);
    assert_int_equal(settings.batch, 2);
    assert_string_equal(settings.note, "all");
}

static void a_wrong_file_is_refused_with_its_line(void **state)
{
    static const struct {
        const char *text;
        const char *says;
    } bad[] = {
        {"\nbatsh = 1", "a.conf:2: batsh is not an option"},
        {"[matcher]\nmysql-host = db", "a.conf:2: mysql-host is not an option of this program"},
        {"stock = 1", "a.conf:1: stock is not an option"},
        {"batch = 1\n\nbatch = 1", "a.conf:3: batch is already set in line 1"},
        {"[matcher]\nbatch = 1\n[matcher]\nbatch = 1", "a.conf:4: batch is already set in line 2"},
        {"batch = 0", "a.conf:1: batch must be a number from 1 to 5000, not \"0\""},
        {"batch = 5001", "a.conf:1: batch must be a number"},
        {"batch =", "a.conf:1: batch must be a number"},
        {"wait = 10x", "a.conf:1: wait must be a time from 10ms to 1h"},
        {"wait = 9", "a.conf:1: wait must be a time"},
        {"wait = 61m", "a.conf:1: wait must be a time"},
        {"wait = 9223372036854775807h", "a.conf:1: wait must be a time"},
        {"wait = 5124095576031h", "a.conf:1: wait must be a time"}, /* wraps into the range */
        {"ticks = maybe", "a.conf:1: ticks must be true or false"},
        {"redis-host =", "a.conf:1: redis-host may not be empty"},
        {"log-level = loud", "a.conf:1: log-level must be one of error, warn, info, debug"},
        {"[producr]", "a.conf:1: producr is not a program's section"},
        {"batch", "a.conf:1: expected"},
        {"redis-password = a\nredis-password-file = b", "a.conf:2: redis-password-file is already"},
        {"redis-password-file = /nowhere/at/all", "cannot open /nowhere/at/all"},
        {"kafka.acks = 1", "a.conf:1: kafka.acks cannot be set"},
        {"kafka.producer.enable.idempotence = false", "cannot be set"},
        {"kafka.consumer.fetch.min.bytes = 1", "seckill-matcher needs its own"},
        {"kafka.lingr.ms = 1", "librdkafka: No such configuration property"},
        {"kafka.linger.ms = 1\nkafka.linger.ms = 1", "a.conf:2: kafka.linger.ms is already"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        conf_destroy(conf);
        conf = conf_create(&spec, &settings);
        wrong(load_text(bad[i].text), bad[i].says);
    }
}

static void a_mistake_is_found_even_when_hidden(void **state)
{
    (void)state;
    setvar("SECKILL_BATCH", "0");
    wrong(load("--batch=3", NULL, NULL, NULL), "environment variable SECKILL_BATCH: must be");
}

static void wrong_flags_are_refused(void **state)
{
    static const char *const bad[][2] = {
        {"--batsh=1", "--batsh: unknown flag"},     {"--batch", "--batch needs a value"},
        {"--batch=x", "--batch: must be a number"}, {"-v", "-v: unknown flag"},
        {"--redis-password=x", "process list"},     {"--config=/nowhere/at/all", "cannot open"},
        {"--batch=13", "batch brings bad luck"},    {"--ticks=2", "must be true or false"},
        {"-Xlinger.ms=3", "-X takes kafka.NAME"},   {"-Xkafka.acks=1", "-X: kafka.acks cannot be"},
        {"-X", "-X takes kafka.NAME=value"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        conf_destroy(conf);
        conf = conf_create(&spec, &settings);
        wrong(load(bad[i][0], NULL, NULL, NULL), bad[i][1]);
    }
}

static void words_stand_anywhere(void **state)
{
    size_t n = 0;

    (void)state;
    assert_int_equal(load("sale", "--stock", "10", "open"), CONF_RUN);
    assert_int_equal(settings.stock, 10);
    const char *const *words = conf_arguments(conf, &n);

    assert_int_equal(n, 2);
    assert_string_equal(words[0], "sale");
    assert_string_equal(words[1], "open");
    assert_null(words[2]);
}

static void a_switch_takes_no_word(void **state)
{
    size_t n = 0;

    (void)state;
    assert_int_equal(load("--json", "show", "--ticks=false", NULL), CONF_RUN);
    assert_true(settings.json);
    assert_false(settings.ticks);
    assert_string_equal(conf_arguments(conf, &n)[0], "show");
}

static void after_two_dashes_all_are_words(void **state)
{
    size_t n = 0;

    (void)state;
    assert_int_equal(load("-", "--", "--json", "--"), CONF_RUN);
    assert_false(settings.json);
    const char *const *words = conf_arguments(conf, &n);

    assert_int_equal(n, 3);
    assert_string_equal(words[1], "--json");
}

static void secrets_come_from_files(void **state)
{
    (void)state;
    setvar("REDIS_PASSWORD_FILE", write_file("s3cret # x\n"));
    assert_int_equal(load(NULL, NULL, NULL, NULL), CONF_RUN);
    assert_string_equal(settings.redis.password, "s3cret # x");
    conf_destroy(conf);
    conf = conf_create(&spec, &settings);
    setvar("REDIS_PASSWORD", "other");
    wrong(load(NULL, NULL, NULL, NULL), "REDIS_PASSWORD and REDIS_PASSWORD_FILE are both set");
    conf_destroy(conf);
    conf = conf_create(&spec, &settings);
    setvar("SECKILL_REDIS_PASSWORD", "third");
    assert_int_equal(load(NULL, NULL, NULL, NULL), CONF_RUN);
    assert_string_equal(settings.redis.password, "third");
}

static void secrets_are_one_line(void **state)
{
    (void)state;
    setvar("REDIS_PASSWORD_FILE", write_file("a\nb\n"));
    wrong(load(NULL, NULL, NULL, NULL), "control character");
}

static void native_settings_reach_the_clients(void **state)
{
    size_t n = 0;

    (void)state;
    setvar("SECKILL_CONFIG", write_file("kafka.producer.linger.ms = 7\nkafka.linger.ms = 5\n"
                                        "[matcher]\nkafka.linger.ms = 6\n"));
    assert_int_equal(
        load("-X", "kafka.producer.linger.ms=8", "-Xkafka.consumer.sasl.password=a=b", NULL),
        CONF_RUN);
    const struct conf_kafka *k = conf_kafka(conf, &n);

    assert_int_equal(n, 3);
    assert_int_equal(k[0].role, CONF_KAFKA_ANY);
    assert_string_equal(k[0].name, "linger.ms");
    assert_string_equal(k[0].value, "6");
    for (size_t i = 1; i < n; i++) {
        assert_string_equal(k[i].value, k[i].role == CONF_KAFKA_PRODUCER ? "8" : "a=b");
    }
}

static void print(char *out, size_t size)
{
    FILE *f = fmemopen(out, size, "w");

    assert_non_null(f);
    conf_print(conf, f);
    assert_int_equal(fclose(f), 0);
}

static void what_is_printed_can_be_read_and_hides_secrets(void **state)
{
    static char first[8192];
    static char second[8192];

    (void)state;
    setvar("REDIS_PASSWORD", "hunter2");
    setvar("SECKILL_BATCH", "77");
    assert_int_equal(load("-Xkafka.sasl.password=hunter2", "--wait=3s", NULL, NULL), CONF_RUN);
    print(first, sizeof(first));
    assert_null(strstr(first, "hunter2"));
    assert_null(strstr(first, "stock"));
    assert_non_null(strstr(first, "script. (environment variable SECKILL_BATCH)\nbatch = 77\n"));
    assert_non_null(strstr(first, "# Longest wait. (--wait)\nwait = 3s\n"));
    assert_non_null(
        strstr(first, "(environment variable REDIS_PASSWORD)\n#redis-password = ********\n"));

    assert_int_equal(stop(NULL), 0);
    assert_int_equal(start(NULL), 0);
    setvar("SECKILL_CONFIG", write_file(first));
    assert_int_equal(load(NULL, NULL, NULL, NULL), CONF_RUN);
    assert_int_equal(settings.batch, 77);
    assert_int_equal(settings.wait_ms, 3000);
    print(second, sizeof(second));
    assert_non_null(strstr(second, "batch = 77\n"));
}

static const struct conf_option needed[] = {
    {.name = "url",
     .type = CONF_TYPE_STRING,
     .offset = offsetof(struct settings, note),
     .max = 99,
     .help = "Where."},
    CONF_OPTIONS_END,
};

static void an_option_without_default_is_needed(void **state)
{
    static const struct conf_group only[] = {{needed, 0}, {NULL, 0}};
    static const struct conf_spec small = {.program = "p", .binary = "p", .groups = only};

    (void)state;
    conf_destroy(conf);
    conf = conf_create(&small, &settings);
    wrong(load(NULL, NULL, NULL, NULL), "url has no default");
    conf_destroy(conf);
    conf = conf_create(&small, &settings);
    assert_int_equal(load("--url=x", NULL, NULL, NULL), CONF_RUN);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(defaults_come_from_the_table),
        CASE(flag_beats_environment_beats_file),
        CASE(the_long_variable_beats_the_plain_one),
        CASE(an_empty_variable_is_unset_unless_empty_is_a_value),
        CASE(a_section_beats_what_is_common),
        CASE(a_wrong_file_is_refused_with_its_line),
        CASE(a_mistake_is_found_even_when_hidden),
        CASE(wrong_flags_are_refused),
        CASE(words_stand_anywhere),
        CASE(a_switch_takes_no_word),
        CASE(after_two_dashes_all_are_words),
        CASE(secrets_come_from_files),
        CASE(secrets_are_one_line),
        CASE(native_settings_reach_the_clients),
        CASE(what_is_printed_can_be_read_and_hides_secrets),
        CASE(an_option_without_default_is_needed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
