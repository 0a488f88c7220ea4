/*
 * follow.h - which outcome records one partition applies, and when it must stop.
 *
 * A pure state machine: events in, a verdict or an action out; no I/O, no clock, no threads.  It
 * knows the position up to which records were handed on to be written (the head), which runs ahead
 * of what MySQL has committed.
 *
 *     loading --loaded--> checking --the record at the position--> reading
 *        ^                   | it is not there: from the topic's start      |
 *        +---- reset --------+----------------------------------------------+
 *     and from everywhere: halted, for ever
 *
 * A record is applied only if its prev is the head; older ones are dropped, later ones are not
 * applied: the missing record follows further on in the topic.  If it does not, follow_tick() asks
 * for a probe of Redis, and when the outbox no longer holds it, the watermark is past it, and the
 * whole topic up to an end looked up after that lacks it, it is lost for certain.  Then Redis has to
 * be put back to MySQL's position, and the outcome comes again.
 */
#ifndef GUARDIAN_FOLLOW_H
#define GUARDIAN_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/outcome.h"
#include "guardian/progress.h"

/* Where to seek, beside real offsets. */
#define FOLLOW_BEGIN ((int64_t)-2)

enum follow_state {
    FOLLOW_LOADING, /* MySQL's position is not known */
    FOLLOW_CHECKING,
    FOLLOW_READING,
    FOLLOW_LOST, /* an outcome is: until the owner, having rebuilt Redis, resets */
    FOLLOW_HALTED,
};

/* Why a partition is halted: follow_halt_name() and follow_halt_todo(). */
enum follow_halt {
    FOLLOW_HALT_NONE,
    FOLLOW_HALT_RULES,      /* a rules number that this build does not have */
    FOLLOW_HALT_PARTITIONS, /* made for another number of partitions */
    FOLLOW_HALT_GENESIS,    /* another log, or one that does not start with its genesis */
    FOLLOW_HALT_CHAIN,      /* not the history that MySQL was made from */
    FOLLOW_HALT_SHORT,      /* the log ends before MySQL's position */
    FOLLOW_HALT_LOST,       /* an outcome is lost for certain */
    FOLLOW_HALT_TOPIC,      /* the outcomes cannot be read */
    FOLLOW_HALT_RECORD, /* what stands in MySQL contradicts the log, or MySQL refuses the rows */
    FOLLOW_HALT_COUNT,
};

/* What to do with a record. */
enum follow_verdict {
    FOLLOW_APPLY, /* write it; it is the head now */
    FOLLOW_DROP,
    FOLLOW_LATER,   /* dropped too: a record before it is missing so far */
    FOLLOW_FOREIGN, /* dropped too: not an outcome of this partition's log position */
};

/* What to do beside that; a seek goes to follow_seek_offset(). */
enum follow_action {
    FOLLOW_NOTHING,
    FOLLOW_SEEK,
    FOLLOW_PROBE,   /* ask Redis, then the topic's end, then follow_probed() */
    FOLLOW_REBUILD, /* an outcome is lost; follow_why() says which; told once */
    FOLLOW_HALT,    /* follow_why() says why; told once */
};

/* What Redis said: its position and what its outbox still holds, as of one moment. */
struct follow_probe {
    bool is_known; /* false: Redis did not answer, or has no state */
    char genesis[IDS_LOG_LEN + 1];
    int64_t watermark;
    bool has_outbox;
    int64_t first_prev;             /* of the oldest outbox entry */
    int64_t topic_begin, topic_end; /* looked up after that: the topic is [begin, end) */
};

struct follow {
    int partition, partitions;
    int64_t probe_ms;
    enum follow_state state;
    struct progress head;
    int64_t seek_offset;
    int64_t next_offset; /* in the topic: what was read last, + 1; -1: nothing since the seek */
    int64_t scan_end;    /* >= 0: if the missing record is not before it, it is lost */
    int64_t scan_next;   /* everything before it was read by the scan, without a hole */
    int64_t scan_ms;     /* when scan_next moved last */
    bool has_gap;        /* a later record was seen since the head moved */
    int64_t moved_ms;    /* when the head moved, or was asked about, last */
    int64_t read_ms;     /* when anything was read last */
    int64_t sought_ms;
    int shorts; /* times that the log seemed too short, in a row */
    int stuck;  /* times that it could not be read at the same place */
    int64_t stuck_at;
    int64_t still_at;                /* where nothing is read though there is more; -1: nowhere */
    int64_t still_ms, still_wait_ms; /* since when, and how long that may be */
    enum follow_halt halt;
    char why[256];
};

/* probe_ms: silence after which Redis is asked whether something is missing. */
void follow_init(struct follow *f, int partition, int partitions, int64_t probe_ms);

/* Forgets the head: the position has to be loaded anew (a write failed, a partition was taken). */
void follow_reset(struct follow *f);

/* MySQL's position.  Always answers FOLLOW_SEEK, or FOLLOW_HALT for rules we do not carry. */
enum follow_action follow_loaded(struct follow *f, const struct progress *committed,
                                 int64_t now_ms) ATTR_MUSTCHECK;

/* A record read at `offset` of the topic.  *action may be anything but FOLLOW_PROBE. */
enum follow_verdict follow_record(struct follow *f, const struct outcome *o, int64_t offset,
                                  int64_t now_ms, enum follow_action *action) ATTR_MUSTCHECK;

/* What was read at `offset` is not an outcome record at all. */
enum follow_action follow_garbage(struct follow *f, int64_t offset, int64_t now_ms) ATTR_MUSTCHECK;

/*
 * Reading stands still: the offset is not in the topic (then it is read from its start), or the
 * topic cannot be read there.  Where that comes again and again at one place the partition halts:
 * behind a damaged batch librdkafka asks for an offset that is none.
 */
enum follow_action follow_stuck(struct follow *f, bool is_out_of_range, const char *why,
                                int64_t now_ms) ATTR_MUSTCHECK;

/*
 * Time has passed.  Answers FOLLOW_PROBE when the head has not moved for probe_ms and either nothing
 * is read any more or a record is missing; FOLLOW_SEEK when a seek seems lost.  Not to be called
 * while the owner holds the topic back.
 */
enum follow_action follow_tick(struct follow *f, int64_t now_ms) ATTR_MUSTCHECK;

/* The answer to FOLLOW_PROBE. */
enum follow_action follow_probed(struct follow *f, const struct follow_probe *probe,
                                 int64_t now_ms) ATTR_MUSTCHECK;

/*
 * The topic, which has records, ends at topic_end, and is not held back.  True when for ten seconds nothing
 * was read of what there is: the client has lost the partition (librdkafka 2.0.2, of a topic made anew)
 * and has to be assigned it again.  If nothing comes then either, it has twice the time, and so on: what is
 * only slow (a broker's quota) must not be broken off each time.
 */
bool follow_stands_still(struct follow *f, int64_t topic_end, int64_t now_ms) ATTR_MUSTCHECK;

/* The log of the commands ends at end.  True of MySQL: what it has applied is in there. */
enum follow_action follow_log_end(struct follow *f, int64_t end) ATTR_MUSTCHECK;

/* Stops for ever, for a reason from outside. */
enum follow_action follow_halt(struct follow *f, enum follow_halt why, const char *text);

/* The word for logs and metrics, and what an operator does about it. */
const char *follow_halt_name(enum follow_halt why);
const char *follow_halt_todo(enum follow_halt why);

static inline bool follow_is_halted(const struct follow *f)
{
    return f->state == FOLLOW_HALTED;
}

static inline bool follow_is_lost(const struct follow *f)
{
    return f->state == FOLLOW_LOST;
}

static inline int64_t follow_seek_offset(const struct follow *f)
{
    return f->seek_offset;
}

/* From where to read on, if the consumer has to be told anew. */
static inline int64_t follow_read_offset(const struct follow *f)
{
    return f->next_offset >= 0 ? f->next_offset : f->seek_offset;
}

static inline const char *follow_why(const struct follow *f)
{
    return f->why;
}

#endif /* GUARDIAN_FOLLOW_H */
