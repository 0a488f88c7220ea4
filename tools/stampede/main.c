/*
 * main.c - stampede: a crowd storms a sale through the HTTP API, and everything it was told is
 * compared with the record.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/log.h"
#include "tools/stampede/ledger.h"
#include "tools/stampede/report.h"

struct settings {
    struct options_log log;
    struct options_mysql mysql;
    struct options_token token;
    const char *url;
    const char *item;
    const char *report;
    const char *ledger;
    const char *verify;
    int64_t shoppers, connections, spread_ms, patience_ms, settle_ms, limit, returns, front, seed;
};

static const struct conf_option own[] = {
    CONF_STRING("url", struct settings, url, "http://127.0.0.1:8080", NULL,
                "Address of a producer."),
    CONF_ARG_STRING("item", struct settings, item, "phone", "What the crowd wants."),
    CONF_ARG_STRING("report", struct settings, report, "", "File for the report as JSON."),
    CONF_ARG_STRING("ledger", struct settings, ledger, "",
                    "File for what each shopper was told; then nothing is judged here."),
    CONF_ARG_STRING("verify", struct settings, verify, "seckill-guardian verify --json",
                    "Command whose JSON is the proof."),
    CONF_ARG_INT("shoppers", struct settings, shoppers, 20000, 1, 10000000, "How many come."),
    CONF_ARG_INT("connections", struct settings, connections, 2000, 1, 50000, "Open at once."),
    CONF_ARG_INT("spread-ms", struct settings, spread_ms, 10000, 1, 3600000,
                 "Time over which they arrive."),
    CONF_ARG_INT("front", struct settings, front, 50, 0, 100,
                 "Percent of them that come in the first fifth of it."),
    CONF_ARG_INT("patience-ms", struct settings, patience_ms, 60000, 1000, 3600000,
                 "When everybody goes home."),
    CONF_ARG_INT("settle-ms", struct settings, settle_ms, 3500, 0, 600000,
                 "How long to wait at the end for the last holds to expire."),
    CONF_ARG_INT("limit", struct settings, limit, 1, 1, 1000, "The sale's limit per user."),
    CONF_ARG_INT("returns", struct settings, returns, 3, 0, 1000,
                 "How often some come back after sold out."),
    CONF_ARG_INT("seed", struct settings, seed, 1, 0, 1000000000,
                 "The same crowd for the same seed."),
    CONF_OPTIONS_END,
};

static const struct conf_group groups[] = {
    {options_log, offsetof(struct settings, log)},
    {options_mysql, offsetof(struct settings, mysql)},
    {options_token, offsetof(struct settings, token)},
    {own, 0},
    {NULL, 0},
};

static const struct conf_spec spec = {
    .program = "ctl",
    .binary = "stampede",
    .summary = "a crowd storms a sale, and what it was told is compared with the record",
    .groups = groups,
    .family = &options_family,
};

/* A connection is a file descriptor; libevent, MySQL and the log need a few more. */
static void raise_files(int64_t connections)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (rlim_t)connections + 100) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            log_warn("files.limited", LOG_INT("limit", (int64_t)limit.rlim_cur));
        }
    }
}

static void settle(int64_t ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};

    while (nanosleep(&pause, &pause) != 0) {
        /* a signal that did not end us */
    }
}

/* The proof: what `seckill-guardian verify --json` prints. */
static json_t *ask_proof(const char *command)
{
    FILE *f = popen(command, "r");
    json_error_t error;
    json_t *proof = NULL;

    if (f != NULL) {
        proof = json_loadf(f, 0, &error);
        (void)pclose(f); /* `ok` inside says what its exit code says */
    }
    if (proof == NULL) {
        log_error("proof.missing", LOG_STR("command", command));
    }
    return proof;
}

static bool write_report(const json_t *report, const char *path)
{
    if (path[0] != '\0' && json_dump_file(report, path, JSON_INDENT(2)) != 0) {
        log_error("report.unwritten", LOG_STR("file", path));
        return false;
    }
    return true;
}

static int run(const struct settings *s)
{
    struct storm_plan plan = {.url = s->url,
                              .item_id = s->item,
                              .secret = s->token.secret,
                              .shoppers = (size_t)s->shoppers,
                              .connections = (size_t)s->connections,
                              .spread_ms = s->spread_ms,
                              .patience_ms = s->patience_ms,
                              .returns = (int)s->returns,
                              .front = (unsigned)s->front,
                              .seed = (uint64_t)s->seed,
                              .run = (unsigned)clock_wall_ms(),
                              .progress = isatty(STDERR_FILENO)};
    struct storm_result *storm = calloc(1, sizeof(*storm));
    struct record_check record;
    struct report_cpu cpu;
    struct err err = {0};
    json_t *proof = NULL;
    json_t *report = NULL;
    int code = 1;

    if (storm == NULL) {
        return 1;
    }
    report_cpu_read(cpu.before);
    if (!storm_run(&plan, storm, &err)) {
        log_error("storm.failed", LOG_ERR(&err));
        goto out;
    }
    report_cpu_read(cpu.after);
    if (s->ledger[0] != '\0') {
        if (ledger_write(s->ledger, s->item, storm, &err)) {
            code = 0;
        } else {
            log_error("ledger.unwritten", LOG_ERR(&err));
        }
        goto out;
    }
    settle(s->settle_ms);
    proof = ask_proof(s->verify);
    if (!record_check(&s->mysql, s->item, s->limit, storm, &record, &err)) {
        log_error("record.unread", LOG_ERR(&err));
        goto out;
    }
    report = report_make(storm, &record, &cpu, proof, &plan);
    report_print(report);
    if (write_report(report, s->report) && json_is_true(json_object_get(report, "ok"))) {
        code = 0;
    }
out:
    json_decref(report);
    json_decref(proof);
    storm_fini(storm);
    free(storm);
    return code;
}

int main(int argc, char **argv)
{
    struct settings s;
    struct err err = {0};
    struct conf *conf = conf_create(&spec, &s);
    int code = 0;

    switch (conf_load(conf, argc, argv, &err)) {
    case CONF_RUN:
        log_init("stampede", (enum log_level)s.log.level, (enum log_format)s.log.format);
        raise_files(s.connections);
        code = run(&s);
        break;
    case CONF_DONE:
        break;
    case CONF_WRONG:
        (void)fprintf(stderr, "stampede: %s\n", err.text);
        code = 1;
        break;
    }
    conf_destroy(conf);
    return code;
}
