/*
 * kafka.h - librdkafka 2.0.2 on a libevent loop, with its traps handled in one place.
 *
 * A producer sends records to explicit partitions and reports on each exactly once; a consumer
 * reads one topic, as a member of a group or by itself.  Both live on the loop of their base: all
 * calls and all callbacks are on its thread, nothing blocks except where said, and callbacks
 * never run before the call that caused them returns.
 *
 * Positions are never kept in Kafka: the owner says where to start, and the consumer group only
 * shares out partitions.
 *
 * Neither object may be destroyed from within one of its own callbacks.
 */
#ifndef COMMON_KAFKA_H
#define COMMON_KAFKA_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/slice.h"

/* What every client needs; borrowed for the life of what is created with it. */
struct kafka_settings {
    const char *brokers;
    const char *client_id;
    const struct conf_kafka *native; /* from conf_kafka(); may be NULL */
    size_t n_native;
};

/* What a topic must be like; zero members are not checked. */
struct kafka_topic {
    const char *name;
    int partitions;
    int replicas_min;        /* 3 asks for 3 replicas and min.insync.replicas >= 2 */
    bool is_log_append_time; /* and message.timestamp.type=LogAppendTime */
    bool keeps_all;          /* and retention.ms and retention.bytes -1: only we delete from it */
};

/*
 * Asks the cluster about n topics, for at most timeout_ms: blocks, so for starting up.  The
 * partition count of topic 0 goes to *partitions (may be NULL).  ERR_RETRY: nobody answered or a
 * topic is not there yet; ERR_FATAL: a topic is not as it must be.
 */
bool kafka_check_topics(const struct kafka_settings *settings, const struct kafka_topic *topics,
                        size_t n, int64_t timeout_ms, int *partitions,
                        struct err *err) ATTR_MUSTCHECK;

/* ---- producer: idempotent, acks=all ---- */

struct kafka_producer;

enum kafka_delivery {
    KAFKA_DELIVERED, /* stored by all in-sync replicas */
    KAFKA_FAILED,    /* certainly not stored */
    KAFKA_UNKNOWN,   /* may be stored, now or later */
};

/* What became of one message. */
struct kafka_report {
    uint64_t ticket;
    enum kafka_delivery delivery;
    const char *topic; /* borrowed for the call */
    int partition;
    int64_t offset;       /* -1: not told, which happens for delivered messages too */
    int64_t timestamp_ms; /* the broker's LogAppendTime; -1: not told */
    const char *why;      /* in words, unless delivered; borrowed for the call */
};

typedef void kafka_report_fn(const struct kafka_report *report, void *arg);

/*
 * The instance is beyond repair (librdkafka 2.0.2 gets there when a broker bounces at the wrong
 * moment): it accepts nothing more.  Reports on what is in flight still come; then, or at once,
 * destroy it and create another.  Called once.
 */
typedef void kafka_fatal_fn(const char *why, void *arg);

struct kafka_producer_settings {
    const struct kafka_settings *kafka;
    int64_t linger_ms;          /* how long a batch may wait for company */
    int64_t message_timeout_ms; /* when a message is given up; 0: never */
    int64_t queue_max;          /* messages not yet reported on, at most; 0: 100,000 */
    kafka_report_fn *report;
    kafka_fatal_fn *fatal;
    void *arg; /* borrowed */
};

struct kafka_header {
    const char *name;
    struct slice value;
};

/* Everything is copied by kafka_producer_send(). */
struct kafka_message {
    const char *topic;
    int partition;
    struct slice key, value; /* ptr NULL: null */
    const struct kafka_header *headers;
    size_t n_headers;
    uint64_t ticket; /* comes back in the report */
};

/* base is borrowed.  NULL with err set when the settings are refused. */
struct kafka_producer *kafka_producer_create(struct event_base *base,
                                             const struct kafka_producer_settings *settings,
                                             struct err *err) ATTR_MUSTCHECK;

/*
 * Gives up what has not been reported on: no more callbacks, the fate of those messages is unknown.
 * Returns at once; librdkafka's threads end in the background, see kafka_wait_ended().  NULL is
 * allowed.
 */
void kafka_producer_destroy(struct kafka_producer *p);

/*
 * Has the client ask where the topic's partitions are, so that the first message need not wait: it
 * looks for topics without leaders only once a second.  Optional.
 */
void kafka_producer_warm(struct kafka_producer *p, const char *topic);

/*
 * True: taken, one report will come.  Otherwise no report: ERR_RETRY (its queue is full),
 * ERR_REJECT (this message can never be sent), ERR_FATAL (the instance is at its end).
 */
bool kafka_producer_send(struct kafka_producer *p, const struct kafka_message *message,
                         struct err *err) ATTR_MUSTCHECK;

/* Messages taken and not yet reported on. */
size_t kafka_producer_unreported(const struct kafka_producer *p);

/* ---- consumer ---- */

struct kafka_consumer;

/* Where to start a partition, beside real offsets. */
enum kafka_offset {
    KAFKA_OFFSET_END = -1,   /* what is appended from now on */
    KAFKA_OFFSET_BEGIN = -2, /* the oldest record there is */
};

struct kafka_record {
    int partition;
    int64_t offset;
    int64_t timestamp_ms;
    bool is_log_append_time;
    struct slice key, value; /* ptr NULL: null; borrowed for the call */
    const void *native;      /* for kafka_record_header() */
};

/* The value of the record's last header of this name, absent without one; borrowed as the record. */
struct slice kafka_record_header(const struct kafka_record *record, const char *name);

struct kafka_start {
    int partition;
    int64_t offset; /* or an enum kafka_offset */
};

struct kafka_consumer_calls {
    /* Per partition in log order; after a seek nothing older than it comes any more. */
    void (*record)(const struct kafka_record *record, void *arg);

    /*
     * Groups only.  The group gave us exactly these partitions: answer with
     * kafka_consumer_assign(), for all of them, within the session timeout (not from within).
     */
    void (*assigned)(const int *partitions, size_t n, void *arg);

    /* Groups only.  All partitions were taken away; nothing of them comes any more. */
    void (*revoked)(void *arg);

    /*
     * Reading stands still at this partition until the next seek: the offset is not in the log
     * (is_out_of_range), or something else is wrong with it.  Errors that cure themselves are
     * logged and not told.
     */
    void (*stuck)(int partition, bool is_out_of_range, const char *why, void *arg);

    /* The client cannot go on (another one took our group.instance.id).  Called once. */
    kafka_fatal_fn *fatal;

    /* Answer to kafka_consumer_query(): the log is [begin, end); ok false: nobody answered. */
    void (*range)(int partition, bool ok, int64_t begin, int64_t end, void *arg);

    /* Answer to kafka_consumer_query_other(): that log ends before end; ok false: nobody answered. */
    void (*other_end)(int partition, bool ok, int64_t end, void *arg);
};

struct kafka_consumer_settings {
    const struct kafka_settings *kafka;
    const char *topic;
    const char *group_id;       /* NULL: no group, the owner assigns */
    const char *instance_id;    /* static membership; NULL or "": none */
    int64_t session_timeout_ms; /* 0: 10 s */
    /*
     * Each partition has its own queue, so that one can be held back with
     * kafka_consumer_want() without losing what was fetched, and without holding up the others.
     */
    bool is_split;
    /* What is little may come 100 ms later: fewer and fuller answers, which cost less on both sides. */
    bool is_patient;
    struct kafka_consumer_calls calls; /* unused ones may be NULL */
    void *arg;                         /* borrowed */
};

/* base is borrowed.  A group is joined at once.  NULL with err set when the settings are refused. */
struct kafka_consumer *kafka_consumer_create(struct event_base *base,
                                             const struct kafka_consumer_settings *settings,
                                             struct err *err) ATTR_MUSTCHECK;

/* At once and without leaving the group properly, unless it was closed.  NULL is allowed. */
void kafka_consumer_destroy(struct kafka_consumer *c);

/*
 * Leaves the group: revoked() is called if there is an assignment, and kafka_consumer_is_closed()
 * becomes true within seconds if the coordinator answers.
 */
void kafka_consumer_close(struct kafka_consumer *c);
bool kafka_consumer_is_closed(const struct kafka_consumer *c);

/* Reads from these partitions, and no others, starting there. */
bool kafka_consumer_assign(struct kafka_consumer *c, const struct kafka_start *starts, size_t n,
                           struct err *err) ATTR_MUSTCHECK;

/*
 * Goes on from offset (or an enum kafka_offset) in one assigned partition, the others undisturbed.
 * It may get lost when the partition has only just been assigned: whoever needs the record at that
 * offset asks again after a while.
 */
bool kafka_consumer_seek(struct kafka_consumer *c, int partition, int64_t offset,
                         struct err *err) ATTR_MUSTCHECK;

/* Split consumers: whether records of the partition are delivered (they are at first). */
void kafka_consumer_want(struct kafka_consumer *c, int partition, bool is_wanted);

/* Asks for begin and end of a partition's log; range() answers within about 5 s. */
void kafka_consumer_query(struct kafka_consumer *c, int partition);

/* Asks for the end of a partition of another topic (always the same one); other_end() answers likewise. */
void kafka_consumer_query_other(struct kafka_consumer *c, const char *topic, int partition);

/*
 * The end of a partition of any topic, asked over c's connections.  Blocks for at most timeout_ms; any
 * thread.  False: nobody answered.
 */
bool kafka_consumer_ask_end(const struct kafka_consumer *c, const char *topic, int partition,
                            int64_t timeout_ms, int64_t *end) ATTR_MUSTCHECK;

/*
 * A number that has risen whenever a record delivered after it was read may come from another log
 * than the records before: over another connection, from another leader, of a topic made anew.  It
 * rises without a reason too, every 10 s or so.
 */
uint64_t kafka_consumer_lineage(const struct kafka_consumer *c);

/* The end of the partition's log as of the last fetch; -1: not known yet. */
int64_t kafka_consumer_end(const struct kafka_consumer *c, int partition);

/*
 * Deletes of each partition what lies before the offset given for it, for ever.  Blocks.  ERR_RETRY
 * when Kafka does not answer or does not do it; some of them may have been trimmed then.
 */
bool kafka_delete_before(const struct kafka_settings *settings, const char *topic,
                         const struct kafka_start *first, size_t n, int64_t timeout_ms,
                         struct err *err) ATTR_MUSTCHECK;

/* Waits, for at most timeout_ms, until the threads of all destroyed clients have ended. */
bool kafka_wait_ended(int64_t timeout_ms);

#endif /* COMMON_KAFKA_H */
