/*
 * calls_internal.h - what the files of calls share: calls.c (table, time), calls_parts.c (what
 * comes from the parts), calls_order.c, calls_show.c, calls_command.c (the kinds), calls_reply.c
 * (answers).  Nobody else includes it.
 */
#ifndef PRODUCER_CALLS_INTERNAL_H
#define PRODUCER_CALLS_INTERNAL_H

#include "common/command.h"
#include "common/histogram.h"
#include "producer/calls.h"
#include "producer/counters.h"
#include "producer/inflight.h"
#include "producer/logclock.h"
#include "producer/lookup.h"
#include "producer/publish.h"
#include "producer/record.h"
#include "producer/stream.h"
#include "producer/waiters.h"

#define CALLS_NIL UINT32_MAX

enum {
    /* How long the outcome stream is given, or Redis, before a waiting call is looked up. */
    LOOK_AFTER_MS = 250,
};

enum call_stage {
    STAGE_NEW,     /* nothing under way yet */
    STAGE_LOOKING, /* a look-up is */
    STAGE_FLYING,  /* a command is */
    STAGE_WAITING, /* only the decision is missing */
    STAGE_READING, /* the record is being read */
};

struct call {
    uint32_t generation; /* grows when the call ends */
    uint32_t next;       /* free list, or queue of those to be looked up */
    uint32_t prev;       /* in that queue */
    bool is_used;
    bool is_queued; /* in the queue of those to be looked up */
    bool is_sent;   /* an order that passed the door */
    bool is_gone;   /* the client has closed its side */
    bool is_last;   /* it waits no more: the next thing known is the answer */
    bool is_keyed;
    bool is_replay;
    bool is_behind; /* its last look-up found that Redis has gone back */
    bool has_trace;
    enum calls_kind kind;
    enum call_stage stage;
    struct calls *calls; /* whose it is */
    struct http_request *req;
    int64_t started_us;
    int64_t deadline_ms; /* 0: does not wait */
    int64_t look_ms;     /* when queued: look up then */
    waiters_ticket waiter;
    int partition;
    int64_t qty;
    int64_t offset; /* of its command or order; -1: not known */
    char order_id[IDS_ORDER_LEN + 1];
    struct command_text user_id, item_id, payment_id;
    char traceparent[INPUT_TRACEPARENT_LEN];
};

struct calls {
    struct calls_settings settings;
    struct event_base *base; /* borrowed */
    struct stats *stats;     /* borrowed */
    struct histogram *accepted, *decided;
    struct sha256_key receipt_key;

    struct door *door;
    struct inflight *inflight;
    struct waiters *waiters;
    struct lookup *lookup;
    struct publish *publish;
    struct stream *stream;
    struct record *record;
    struct logclock clock;

    struct call *calls;
    size_t count;
    uint32_t free;
    uint32_t queue_head, queue_tail; /* waiting calls not looked up yet, by look_ms */
    struct event *tick;
    int64_t pulse_ms;     /* when the partitions are looked up next */
    int64_t waits_end_ms; /* draining: -1 before */
    bool has_been_ready;
    bool is_closing;
};

/* ---- calls.c ---- */

uint64_t call_number(const struct calls *c, const struct call *call);
struct call *call_of(const struct calls *c, uint64_t number); /* NULL: it is over */
struct slice call_order_id(const struct call *call);

/* Ends the call; its request was answered. */
void call_end(struct calls *c, struct call *call);

/* Registers the call's waiter, if it waits.  False when there is no room: refused already. */
bool call_await(struct calls *c, struct call *call, enum waiters_topic topic) ATTR_MUSTCHECK;

/*
 * The same for an order that was placed before this call: outcomes up to the door's horizon are told
 * again when Redis went back or the topic lost its end, and are not the state by now.
 */
bool call_await_news(struct calls *c, struct call *call) ATTR_MUSTCHECK;

/* Asks Redis; what is not taken is told as the result of the look-up at once. */
void call_look(struct calls *c, struct call *call, bool with_user, bool with_item);

/* A look-up has come for the call. */
void call_looked(struct calls *c, struct call *call, const struct door_look *look);

/* The wait is over: its deadline has come, the client has left, or we are draining. */
void call_end_wait(struct calls *c, struct call *call);

/* Waits, and looks up what it waits for in a while. */
void call_wait(struct calls *c, struct call *call, int64_t look_in_ms);

/* Records that a look-up at watermark did not know what the call waits for. */
void call_seen(struct calls *c, const struct call *call, int64_t watermark);

/* Hands cmd to Kafka; refuses when there is no room. */
void call_send(struct calls *c, struct call *call, const struct command *cmd);

bool call_is_waiting_on(const struct call *call); /* it waits, and its time is not over */
void call_now(const struct calls *c, struct door_now *now);
void call_copy(struct command_text *to, struct slice from);

/* ---- calls_parts.c ---- */

/* Makes look-ups, publisher, record and outcome stream. */
bool calls_make_parts(struct calls *c, struct err *err) ATTR_MUSTCHECK;

/* ---- the kinds: what has come for a call ---- */

void order_begin(struct calls *c, struct call *call);
void order_on_look(struct calls *c, struct call *call, const struct door_look *look);
void order_on_settled(struct calls *c, struct call *call, enum inflight_fate fate);
void order_on_event(struct calls *c, struct call *call, const struct event *event, int64_t offset);

void show_begin(struct calls *c, struct call *call);
void show_on_look(struct calls *c, struct call *call, const struct door_look *look);
void show_on_record(struct calls *c, struct call *call, enum record_result result,
                    struct slice entry);
void show_on_event(struct calls *c, struct call *call, const struct event *event, int64_t offset);
void item_begin(struct calls *c, struct call *call);
void item_on_look(struct calls *c, struct call *call, const struct door_look *look);

void command_begin(struct calls *c, struct call *call);
void command_on_look(struct calls *c, struct call *call, const struct door_look *look);
void command_on_settled(struct calls *c, struct call *call, enum inflight_fate fate);
void command_on_event(struct calls *c, struct call *call, const struct event *event,
                      int64_t offset);

/* ---- calls_reply.c: each answers the request and ends the call ---- */

void reply_verdict(struct calls *c, struct call *call, const struct door_verdict *verdict);
void reply_refusal(struct calls *c, struct call *call, enum refusal refusal);
void reply_not_delivered(struct calls *c, struct call *call, enum inflight_fate fate);

/* The log has the order, or so we think: queued or unknown (202), with its place and receipt. */
void reply_accepted(struct calls *c, struct call *call, const char *state);

/* An order's state as of now; status 200 or 201. */
void reply_entry(struct calls *c, struct call *call, int status, const struct order_entry *entry);
void reply_event(struct calls *c, struct call *call, int status, const struct event *event,
                 int64_t offset);

/* queued or unknown (200), records_ahead below 0: not known. */
void reply_undecided(struct calls *c, struct call *call, const char *state, int64_t records_ahead);

/* 409 (404 for unknown_order) with reason; state NULL: not told. */
void reply_reason(struct calls *c, struct call *call, enum reason reason, const char *state);

/* answer: 'P', 'R', 'D' (then first_*), or 'Q' for queued. */
void reply_payment(struct calls *c, struct call *call, char answer, enum reason reason,
                   const struct event *duplicate);
void reply_cancel_queued(struct calls *c, struct call *call);
void reply_item(struct calls *c, struct call *call, const struct item_entry *item);

#endif /* PRODUCER_CALLS_INTERNAL_H */
