/*
 * verify_impl.h - the inside of a verification, shared by the verify*.c files only.
 */
#ifndef GUARDIAN_VERIFY_IMPL_H
#define GUARDIAN_VERIFY_IMPL_H

#include "guardian/findings.h"
#include "guardian/forgotten.h"
#include "guardian/peek.h"
#include "guardian/proof.h"
#include "guardian/record.h"
#include "guardian/refold.h"
#include "guardian/report.h"
#include "guardian/tail.h"
#include "guardian/verify.h"

/* An item as Redis has it. */
struct redis_item {
    struct command_text item_id;
    char value[256];
};

/* The items of a partition, all read at one watermark. */
struct redis_items {
    bool has_state;
    int64_t watermark;
    struct redis_item *at; /* owned */
    size_t n, room;
};

/* Names of fields, copied. */
struct names {
    struct command_text *at;
    size_t n, room;
};

struct verify {
    const struct settings *settings;
    struct report report;
    struct proof proof;
    struct db_settings mysql;
    struct db *db; /* its one transaction is the snapshot */
    struct peek *redis;
    struct kafka_settings kafka;
    struct refold *refold;
    struct forgotten *forgotten; /* of the partition in work, up to where the fold is */
    int n_parts;
    struct refold_range *ranges;     /* by partition: of the log, at the start */
    struct progress *progress;       /* by partition: MySQL's */
    struct redis_items *redis_items; /* by partition */
    bool is_settled;
    int64_t started_ms;
    int64_t deadline_ms; /* at the start of waiting for all; then for a Redis that went back */
    size_t compared[2];  /* fields, of Redis and of MySQL */
    size_t n_loaded;     /* partitions that were folded from MySQL's position */

    /* Of the partition in work. */
    int partition;
    enum record_table table;
    size_t n_seen, n_known; /* fields; those that the log has */
    struct buf value;
    struct findings findings;
    struct tail tail; /* from tail_from on, where Redis's outbox began at the start */
    int64_t tail_from;
};

static inline const struct fold *verify_fold(const struct verify *v)
{
    return refold_fold(v->refold);
}

/* verify_compare.c */

extern const enum record_table verify_tables[];
enum { VERIFY_TABLES = 4 };

void verify_pause(void);
enum fold_table verify_fold_table(enum record_table table);

/* A fold_each_fn that adds the field's name to the struct names that arg is. */
bool verify_collect(struct slice field, struct slice value, void *arg);

/* Notes a difference; offset: of the last record that changed what differs, -1: none did. */
void verify_differ(struct verify *v, int64_t offset, const char *fmt, ...) ATTR_PRINTF(3, 4);

/* The same of source's value of a field of the table in work. */
void verify_differ_field(struct verify *v, int64_t offset, const char *source, struct slice name,
                         const char *fmt, ...) ATTR_PRINTF(5, 6);

/* The offset of the last record that changed a field of the table in work; -1: the log has none such. */
int64_t verify_changed(const struct verify *v, struct slice name);

/* Compares one field of the table in work with the fold's, both in Redis's text; false: it has none. */
bool verify_field(struct verify *v, const char *source, struct slice name, struct slice value);

/* Whether the partition in work is folded from MySQL's position, the log's head being gone. */
static inline bool verify_is_loaded(const struct verify *v)
{
    return v->ranges[v->partition].begin > 0;
}

/* Starts its fold there. */
bool verify_load(struct verify *v, struct err *err) ATTR_MUSTCHECK;

/* verify_redis.c */

/*
 * Folds on to the watermark of what Redis answered.  *is_old: the answer is from before, ask again.
 * False with err when Redis has no state, or stays behind.
 */
bool verify_follow(struct verify *v, const struct peek_answer *answer, bool *is_old,
                   struct err *err) ATTR_MUSTCHECK;

/* peek_list(), the fold being where the answer is valid. */
bool verify_read_list(struct verify *v, const char *name, int64_t first, int64_t last,
                      struct peek_answer *answer, struct err *err) ATTR_MUSTCHECK;

/* The rest of what Redis holds: the holds in due order, outcomes not yet told, and no other keys. */
bool verify_due(struct verify *v, struct err *err) ATTR_MUSTCHECK;
bool verify_outbox(struct verify *v, struct err *err) ATTR_MUSTCHECK;
bool verify_keys(struct verify *v, struct err *err) ATTR_MUSTCHECK;

/* Around the opening of the fold: from the outbox's beginning on its lines are kept. */
bool verify_begin_tail(struct verify *v, struct err *err) ATTR_MUSTCHECK;
void verify_opened_tail(struct verify *v);

/* The partition in work; the fold goes on to where each stands, MySQL first. */
bool verify_mysql(struct verify *v, struct err *err) ATTR_MUSTCHECK;
bool verify_redis(struct verify *v, struct err *err) ATTR_MUSTCHECK;

#endif /* GUARDIAN_VERIFY_IMPL_H */
