/*
 * seckill-guardian: the daemon, and the commands that look after the record.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/daemon.h"
#include "common/log.h"
#include "guardian/archive.h"
#include "guardian/db.h"
#include "guardian/dead.h"
#include "guardian/explain.h"
#include "guardian/migrate.h"
#include "guardian/rebuild.h"
#include "guardian/reconcile.h"
#include "guardian/service.h"
#include "guardian/settings.h"
#include "guardian/verify.h"

static int migrate(const struct settings *settings)
{
    struct db_settings where = settings_db(settings);
    struct db *db = db_create(&where, DB_SESSION_WRITE);
    struct err err = {0};
    int applied = 0;
    bool ok = migrate_run(db, &applied, &err);

    db_destroy(db);
    if (!ok) {
        log_error("schema.refused", LOG_ERR(&err));
        return DAEMON_EXIT_START;
    }
    log_info("schema.current", LOG_INT("version", migrate_version()), LOG_INT("applied", applied));
    return DAEMON_EXIT_OK;
}

static int serve(const struct settings *settings)
{
    bool is_forced;
    int status;

    conf_log(settings->conf);
    status = service_run(settings, &is_forced);
    if (is_forced) {
        log_flush();
        _exit(status);
    }
    return status;
}

static const struct command_row {
    const char *name;
    int (*run)(const struct settings *settings);
    bool has_words; /* it judges the words after its name itself */
} commands[] = {
    {"dead", dead_run, true},        {"explain", explain_run, true},
    {"migrate", migrate, false},     {"reconcile", reconcile_run, false},
    {"verify", verify_run, false},   {"rebuild", rebuild_run, false},
    {"archive", archive_run, false},
};

static const struct command_row *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(name, commands[i].name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

/*
 * Whether argv, which may be wrong and so was not read yet, means a command: what the exit status of
 * a wrong one depends on.  The daemon's first word is a flag, if it has any.
 */
static bool is_command(int argc, char *const *argv)
{
    for (int i = 1; i < argc; i++) {
        if ((i == 1 && argv[i][0] != '-') || find_command(argv[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static int run_command(const struct settings *settings, const char *name)
{
    const struct command_row *command = find_command(name);

    if (command == NULL) {
        (void)fprintf(stderr, "seckill-guardian: there is no command %s; see --help\n", name);
        return DAEMON_EXIT_USAGE;
    }
    if (settings->n_words > 0 && !command->has_words) {
        (void)fprintf(stderr, "seckill-guardian: %s takes no more words; see --help\n", name);
        return DAEMON_EXIT_USAGE;
    }
    return command->run(settings);
}

int main(int argc, char **argv)
{
    struct settings settings = {0};
    struct conf *conf = conf_create(&settings_spec, &settings);
    struct err err = {0};
    const char *const *words;
    size_t n_words;
    int status = is_command(argc, argv) ? DAEMON_EXIT_USAGE : DAEMON_EXIT_START;

    if (!daemon_configure(conf, argc, argv, &status)) {
        return status;
    }
    log_init("guardian", (enum log_level)settings.log.level, (enum log_format)settings.log.format);
    words = conf_arguments(conf, &n_words);
    if (!db_library_start(&err)) {
        log_error("program.failed", LOG_ERR(&err));
        status = n_words > 0 ? DAEMON_EXIT_FATAL : DAEMON_EXIT_START;
    } else {
        settings.conf = conf;
        if (n_words > 0) {
            settings.words = words + 1;
            settings.n_words = n_words - 1;
        }
        status = n_words > 0 ? run_command(&settings, words[0]) : serve(&settings);
        db_library_stop();
    }
    log_flush();
    conf_destroy(conf);
    return status;
}
