/*
 * main.c - stampede: a crowd storms a sale through the HTTP API, and everything it was told is
 * compared with the record.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "tools/stampede/page.h"
#include "tools/stampede/report.h"
#include "tools/stampede/settings.h"

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

static bool write_ledger(const struct storm *storm, const char *path)
{
    json_t *counts = report_counts(storm);
    char *text = json_dumps(counts, JSON_COMPACT);
    struct err err = {0};
    const bool done = text != NULL && told_write(&storm->crowd.ledger, path, text, &err);

    if (!done) {
        log_error("ledger.unwritten", LOG_ERR(&err));
    }
    free(text);
    json_decref(counts);
    return done;
}

/* On the terminal, and into the files that were asked for. */
static bool publish(const struct settings *s, const json_t *report)
{
    struct err err = {0};
    bool done = true;

    if (s->json) {
        done = json_dumpf(report, stdout, JSON_INDENT(2)) == 0 && putchar('\n') != EOF;
    } else {
        report_tell(report);
    }
    if (s->report[0] != '\0' && json_dump_file(report, s->report, JSON_INDENT(2)) != 0) {
        log_error("report.unwritten", LOG_STR("file", s->report));
        done = false;
    }
    if (s->html[0] != '\0' && !page_write(report, s->html, &err)) {
        log_error("report.unwritten", LOG_ERR(&err));
        done = false;
    }
    return done;
}

/* The report with its verdict; NULL when the record could not be asked. */
static json_t *judge(const struct settings *s, const struct storm_plan *plan,
                     const struct storm *storm)
{
    struct record_check record;
    struct report_judges judges = {.record = &record};
    struct err err = {0};
    json_t *report = NULL;

    settle(s->settle_ms);
    judges.proof = ask_proof(s->verify);
    if (record_check(&s->mysql, s->limit, &storm->crowd.ledger, &record, &err)) {
        report = report_make(plan, storm, &judges);
    } else {
        log_error("record.unread", LOG_ERR(&err));
    }
    json_decref(judges.proof);
    return report;
}

/* 0: all that was asked for was done, and what was judged was true. */
static int run(const struct settings *s, const struct storm_plan *plan)
{
    struct storm *storm = calloc(1, sizeof(*storm));
    const bool is_judged = s->ledger[0] == '\0' && !s->unjudged;
    struct err err = {0};
    json_t *report = NULL;
    int code = 1;

    if (storm == NULL) {
        return 1;
    }
    settings_items(s, &storm->crowd.ledger);
    storm->crowd.ledger.run = (unsigned)clock_wall_ms();
    if (!storm_run(plan, storm, &err)) {
        log_error("storm.failed", LOG_ERR(&err));
        goto out;
    }
    if (s->ledger[0] != '\0' && !write_ledger(storm, s->ledger)) {
        goto out;
    }
    report = is_judged ? judge(s, plan, storm) : report_make(plan, storm, NULL);
    if (report != NULL && publish(s, report) &&
        (!is_judged || json_is_true(json_object_get(report, "ok")))) {
        code = 0;
    }
out:
    json_decref(report);
    storm_fini(storm);
    free(storm);
    return code;
}

int main(int argc, char **argv)
{
    struct settings s;
    struct storm_plan plan;
    struct err err = {0};
    struct conf *conf = conf_create(&settings_options, &s);
    enum conf_next next = conf_load(conf, argc, argv, &err);
    int code = 0;

    if (next == CONF_RUN && !settings_plan(conf, &s, &plan, &err)) {
        next = CONF_WRONG;
    }
    switch (next) {
    case CONF_RUN:
        log_init("stampede", (enum log_level)s.log.level, (enum log_format)s.log.format);
        raise_files(s.connections);
        plan.progress = isatty(STDERR_FILENO) != 0;
        code = run(&s, &plan);
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
