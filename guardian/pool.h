/*
 * pool.h - writer threads: what blocks on MySQL or Redis runs here, the loop never waits.
 *
 * The loop hands over jobs and gets each back, done, exactly once on its own thread.  A job belongs
 * to the pool in between.  How many jobs there are is the caller's bound: at most one writing and
 * one asking per partition.
 *
 * The pool grows when jobs queue up behind busy threads and shrinks when half of them have been idle
 * for half a minute; there are at least POOL_THREADS_MIN, each with its own connections.  A thread that
 * runs a long job does not count: another takes its place as far as threads_max allows, so that
 * short jobs do not wait for it.  At most half of threads_max run long ones; more of them wait for their turn.
 */
#ifndef GUARDIAN_POOL_H
#define GUARDIAN_POOL_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/options.h"
#include "guardian/db.h"
#include "guardian/peek.h"

enum {
    POOL_THREADS_MIN = 4,
    POOL_SQL_BYTES = 8 << 20, /* half of the smallest max_allowed_packet in use */
};

/* What a thread owns and lends to the job it runs. */
struct pool_tools {
    struct db *db;
    struct peek *redis;
    struct buf sql; /* up to POOL_SQL_BYTES */
};

/* Embedded as the first member of whatever a job is. */
struct pool_job {
    void (*run)(struct pool_job *job, struct pool_tools *tools); /* on a writer thread */
    void (*done)(struct pool_job *job, void *arg);               /* on the loop's */
    bool is_long;                                                /* it may take minutes */
    struct pool_job *next;
};

struct pool_settings {
    const struct db_settings *mysql; /* borrowed, as is all in here */
    const struct options_redis *redis;
    int64_t redis_timeout_ms;
    size_t threads_max;
    void *arg; /* for done */
};

struct pool;

/* NULL with err set when threads cannot be had.  settings is borrowed. */
struct pool *pool_create(struct event_base *base, const struct pool_settings *settings,
                         struct err *err) ATTR_MUSTCHECK;

/*
 * Waits for the jobs that run, and forgets those that are queued or done without giving them back.
 * NULL is allowed.
 */
void pool_destroy(struct pool *p);

void pool_submit(struct pool *p, struct pool_job *job);

size_t pool_threads(struct pool *p);

/* What decides about growing and shrinking; threads that run a long job are none of these. */
struct pool_load {
    size_t threads, threads_max, idle, queued;
    int64_t half_idle_ms; /* for how long half of them have been idle */
};

/* How many threads there should be: one more, one fewer, or as many as there are.  Pure. */
size_t pool_size(const struct pool_load *load);

#endif /* GUARDIAN_POOL_H */
