/*
 * sim - runs schedules of the simulator, in as many processes as there are jobs.
 *
 *   sim [--schedules N] [--seed FIRST] [--jobs N] [--mutant NAME] [--also NAME] [--coverage]
 *   sim --mutants [--schedules N] [--seed FIRST]
 *
 * A schedule is one number.  The first that breaks a promise is shrunk, told step by step, and
 * ends the run with 1.  With --coverage something that never happened does, too; until all has,
 * up to MORE times N are run.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/xmalloc.h"
#include "tests/sim/steps.h"

enum { JOBS_MAX = 64, MORE = 20 };

struct options {
    uint64_t schedules, seed;
    int jobs;
    bool needs_coverage, wants_mutants;
};

/* What a worker shares with the runner. */
struct worker {
    pid_t pid;
    uint64_t at, done, failed; /* seeds; failed 0: none */
    uint64_t counts[COVER_COUNT];
    size_t steps; /* of the shrunk schedule */
    char complaint[COMPLAINT_MAX];
};

uint64_t *cover_counts;

static const char *const mutant_names[] = {"NONE",
#define MUTANT_NAME(name, rule) #name,
                                           MUTANTS(MUTANT_NAME)};
static const char *const mutant_rules[] = {"",
#define MUTANT_RULE(name, rule) rule,
                                           MUTANTS(MUTANT_RULE)};

static uint64_t count_seen(const struct worker *workers, int jobs, int what)
{
    uint64_t n = 0;

    for (int i = 0; i < jobs; i++) {
        n += workers[i].counts[what];
    }
    return n;
}

/* The others still count; what they have seen by now will do. */
static bool has_seen_all(const struct worker *workers, int jobs)
{
    for (int c = COVER_NONE + 1; c < COVER_COUNT; c++) {
        if (count_seen(workers, jobs, c) == 0) {
            return false;
        }
    }
    return true;
}

static bool has_more(const struct worker *workers, const struct options *o, uint64_t i)
{
    return i < o->schedules ||
           (o->needs_coverage && i < MORE * o->schedules && !has_seen_all(workers, o->jobs));
}

/* Runs the schedules of one worker; stops at the first failure. */
static void work(struct worker *workers, const struct options *o, int job, bool tells)
{
    struct worker *me = &workers[job];
    struct schedule *schedule = xcalloc(1, sizeof(*schedule));
    struct world *w = xcalloc(1, sizeof(*w));

    cover_counts = me->counts;
    for (uint64_t i = (uint64_t)job; has_more(workers, o, i); i += (uint64_t)o->jobs) {
        me->at = o->seed + i;
        schedule_make(schedule, me->at);
        if (!schedule_run(w, schedule, false)) {
            me->failed = me->at;
            if (tells) {
                (void)printf("seed %" PRIu64 ": %s\n", me->at, w->complaint);
                (void)fflush(stdout);
            }
            schedule_shrink(w, schedule);
            me->steps = schedule->n;
            if (tells) {
                (void)printf("shrunk to %zu steps:\n", schedule->n);
            }
            if (schedule_run(w, schedule, tells)) {
                (void)printf("which cannot be repeated\n");
            }
            memcpy(me->complaint, w->complaint, sizeof(me->complaint));
            (void)fflush(stdout);
            break;
        }
        me->done++;
    }
    free(w);
    free(schedule);
}

static struct worker *start(const struct options *o, bool tells)
{
    struct worker *workers = mmap(NULL, sizeof(*workers) * (size_t)o->jobs, PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (workers == MAP_FAILED) {
        perror("sim: mmap");
        exit(2);
    }
    (void)fflush(stdout);
    for (int i = 0; i < o->jobs; i++) {
        const pid_t pid = fork();

        if (pid < 0) {
            perror("sim: fork");
            exit(2);
        }
        if (pid == 0) {
            work(workers, o, i, tells);
            exit(0);
        }
        workers[i].pid = pid;
    }
    return workers;
}

static uint64_t count_done(const struct worker *workers, int jobs)
{
    uint64_t done = 0;

    for (int i = 0; i < jobs; i++) {
        done += workers[i].done;
    }
    return done;
}

static uint64_t last_seed(const struct worker *workers, int jobs)
{
    uint64_t last = 0;

    for (int i = 0; i < jobs; i++) {
        last = workers[i].at > last ? workers[i].at : last;
    }
    return last;
}

/* The worker that ended, if a promise is broken; it is the first, so the others are stopped. */
static struct worker *take_end(struct worker *workers, const struct options *o, pid_t pid,
                               int status)
{
    struct worker *failed = NULL;

    for (int i = 0; i < o->jobs; i++) {
        struct worker *worker = &workers[i];

        if (worker->pid == pid && (status != 0 || worker->failed != 0)) {
            failed = worker;
        }
    }
    if (failed != NULL && failed->failed == 0) {
        failed->failed = failed->at;
        (void)snprintf(failed->complaint, sizeof(failed->complaint), "the program dies (status %d)",
                       status);
        (void)fprintf(stderr, "seed %" PRIu64 ": %s\n", failed->at, failed->complaint);
    }
    for (int i = 0; failed != NULL && i < o->jobs; i++) {
        if (workers[i].pid != pid) {
            (void)kill(workers[i].pid, SIGTERM);
        }
    }
    return failed;
}

/* Waits for all; one that failed, or died, ends the others.  Returns it, or NULL. */
static struct worker *wait_for(struct worker *workers, const struct options *o)
{
    const struct timespec pause = {.tv_nsec = 50000000};
    struct worker *failed = NULL;
    int left = o->jobs;

    for (int turn = 1; left > 0; turn++) {
        int status;
        const pid_t pid = waitpid(-1, &status, WNOHANG);

        if (pid > 0) {
            left--;
            failed = failed != NULL ? failed : take_end(workers, o, pid, status);
            continue;
        }
        if (turn % 20 == 0 && isatty(STDERR_FILENO) == 1) {
            (void)fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " schedules ",
                          count_done(workers, o->jobs), o->schedules);
        }
        (void)nanosleep(&pause, NULL);
    }
    return failed;
}

static int show_coverage(const struct worker *workers, const struct options *o)
{
    int missing = 0;

    for (int c = COVER_NONE + 1; c < COVER_COUNT; c++) {
        const uint64_t n = count_seen(workers, o->jobs, c);

        if (n == 0) {
            missing++;
            (void)printf("never happened: %s\n", cover_texts[c]);
        } else if (!o->needs_coverage) {
            (void)printf("%12" PRIu64 "  %s\n", n, cover_texts[c]);
        }
    }
    return missing;
}

static int run(const struct options *o)
{
    struct worker *workers = start(o, true);
    const struct worker *failed = wait_for(workers, o);
    int status = 0;

    if (failed != NULL) {
        (void)printf("again: make sim SEED=%" PRIu64 " SCHEDULES=1\n", failed->failed);
        status = 1;
    } else {
        (void)printf("%" PRIu64 " schedules of seeds %" PRIu64 " to %" PRIu64
                     ": no promise is broken\n",
                     count_done(workers, o->jobs), o->seed, last_seed(workers, o->jobs));
        if (show_coverage(workers, o) > 0 && o->needs_coverage) {
            status = 1;
        }
    }
    (void)munmap(workers, sizeof(*workers) * (size_t)o->jobs);
    return status;
}

/* The rule that would hide the loss of this one: both are left out. */
static enum mutant hidden_behind(enum mutant m)
{
    return m == MUTANT_OVERLAP_UNCHECKED ? MUTANT_LINK_UNCHECKED : MUTANT_NONE;
}

static void print_row(const struct options *o, const struct worker *failed)
{
    (void)printf("| `%s`", mutant_names[mutant_chosen]);
    if (mutant_also != MUTANT_NONE) {
        (void)printf(" with `%s`", mutant_names[mutant_also]);
    }
    (void)printf(" | %s | ", mutant_rules[mutant_chosen]);
    if (failed == NULL) {
        (void)printf("**not in %" PRIu64 "** | | |\n", o->schedules);
    } else {
        (void)printf("%" PRIu64 " | %zu | %.120s |\n", failed->failed - o->seed + 1, failed->steps,
                     failed->complaint);
    }
    (void)fflush(stdout);
}

/* Looks for each mutant; a row of the table each. */
static int run_mutants(const struct options *given)
{
    int missed = 0;

    (void)printf("| mutant | the rule left out | found after | steps | what is seen |\n"
                 "|---|---|---|---|---|\n");
    for (int m = 1; m < MUTANT_COUNT; m++) {
        struct options o = *given;
        struct worker *workers;
        const struct worker *failed;

        mutant_chosen = (enum mutant)m;
        mutant_also = hidden_behind(mutant_chosen);
        workers = start(&o, false);
        failed = wait_for(workers, &o);
        missed += failed == NULL ? 1 : 0;
        print_row(&o, failed);
        (void)munmap(workers, sizeof(*workers) * (size_t)o.jobs);
    }
    return missed > 0 ? 1 : 0;
}

static enum mutant mutant_of(const char *name)
{
    for (int m = 1; m < MUTANT_COUNT; m++) {
        if (strcmp(mutant_names[m], name) == 0) {
            return (enum mutant)m;
        }
    }
    (void)fprintf(stderr, "sim: there is no mutant %s\n", name);
    exit(2);
}

static uint64_t number_of(const char *text)
{
    char *end;
    uint64_t n;

    errno = 0;
    n = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0') {
        (void)fprintf(stderr, "sim: not a number: %s\n", text);
        exit(2);
    }
    return n;
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"schedules", required_argument, NULL, 'n'}, {"seed", required_argument, NULL, 's'},
        {"jobs", required_argument, NULL, 'j'},      {"mutant", required_argument, NULL, 'm'},
        {"also", required_argument, NULL, 'a'},      {"coverage", no_argument, NULL, 'c'},
        {"mutants", no_argument, NULL, 'M'},         {NULL, 0, NULL, 0},
    };
    struct options o = {.schedules = 2000, .seed = 1, .jobs = 1};
    int c;

    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (c) {
        case 'n':
            o.schedules = number_of(optarg);
            break;
        case 's':
            o.seed = number_of(optarg);
            break;
        case 'j':
            o.jobs = (int)number_of(optarg);
            break;
        case 'm':
            mutant_chosen = mutant_of(optarg);
            break;
        case 'a':
            mutant_also = mutant_of(optarg);
            break;
        case 'c':
            o.needs_coverage = true;
            break;
        case 'M':
            o.wants_mutants = true;
            break;
        default:
            return 2;
        }
    }
    o.jobs = o.jobs < 1 ? 1 : o.jobs > JOBS_MAX ? JOBS_MAX : o.jobs;
    return o.wants_mutants ? run_mutants(&o) : run(&o);
}
