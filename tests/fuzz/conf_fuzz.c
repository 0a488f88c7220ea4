/*
 * Any text as a settings file: it is read or refused, never worse.  What was read prints as a file
 * that is read again, with the same result (secrets and their files aside, which are not printed).
 */
#include <assert.h>
#include <stdlib.h>

#include "common/buf.h"
#include "common/conf.h"
#include "common/options.h"

struct settings {
    struct options_log log;
    struct options_kafka kafka;
    struct options_redis redis;
    struct options_metrics metrics;
    int64_t wait_ms;
    bool ticks;
};

static const struct conf_option own[] = {
    CONF_MS("wait", struct settings, wait_ms, "2s", 10, 3600000, "Longest wait."),
    CONF_BOOL("ticks", struct settings, ticks, true, "Append ticks."),
    CONF_OPTIONS_END,
};

static const struct conf_group groups[] = {
    {options_log, offsetof(struct settings, log)},
    {options_kafka, offsetof(struct settings, kafka)},
    {options_redis, offsetof(struct settings, redis)},
    {options_metrics, offsetof(struct settings, metrics)},
    {own, 0},
    {NULL, 0},
};

static const struct conf_spec spec = {
    .program = "matcher",
    .binary = "seckill-matcher",
    .summary = "fuzzed",
    .groups = groups,
    .family = &options_family,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads text; if it is good, returns what --print-config shows, without the comment lines. */
static bool read_and_print(struct slice text, struct buf *out)
{
    struct settings settings;
    struct err err;
    struct conf *conf = conf_create(&spec, &settings);
    const bool good = conf_read_text(conf, "fuzz.conf", text, &err);

    if (good) {
        char *printed = NULL;
        size_t len = 0;
        FILE *f = open_memstream(&printed, &len);

        assert(f != NULL);
        conf_print(conf, f);
        assert(fclose(f) == 0);
        for (struct slice rest = {printed, len}; rest.len > 0;) {
            const struct slice line = slice_cut(rest, '\n', &rest);

            if (!slice_starts(line, SLICE_LIT("#"))) {
                buf_put_slice(out, line);
                buf_putc(out, '\n');
            }
        }
        free(printed);
    } else {
        assert(err.text[0] != '\0');
    }
    conf_destroy(conf);
    return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf first;
    struct buf second;

    buf_init(&first, 1 << 20);
    buf_init(&second, 1 << 20);
    if (read_and_print((struct slice){(const char *)data, size}, &first)) {
        const bool again = read_and_print(buf_slice(&first), &second);

        assert(again && slice_eq(buf_slice(&first), buf_slice(&second)));
    }
    buf_fini(&first);
    buf_fini(&second);
    return 0;
}
