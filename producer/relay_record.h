/*
 * relay_record.h - what goes over the relay's rings: requests to the door's thread, answers back.
 *
 * Records are of fixed size with their texts inside, so nothing is allocated for one.  The exception
 * is an answer that has no room in its record (a page of /metrics): its bytes are one allocation,
 * which changes hands with the record.
 *
 * Pure.  A record is written by one thread and read by the other; what is read borrows from it.
 */
#ifndef PRODUCER_RELAY_RECORD_H
#define PRODUCER_RELAY_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "producer/desk.h"
#include "producer/http_answer.h"

enum {
    RELAY_TEXTS_BYTES = 3 * IDS_MAX + IDS_ORDER_LEN + INPUT_TRACEPARENT_LEN,
    RELAY_ANSWER_BYTES = 1000, /* an ordinary order's, or a problem's */
    RELAY_FIELDS_MAX = 16,
};

/* Which request of an HTTP thread: its slot, and how often that was used before. */
struct relay_handle {
    uint32_t slot;
    uint32_t generation;
};

enum relay_asked {
    RELAY_REQUEST,
    RELAY_LEFT, /* the client has left before its answer */
};

/* From an HTTP thread. */
struct relay_ask {
    struct relay_handle handle;
    uint32_t thread;
    uint8_t asked; /* enum relay_asked; the rest is of a RELAY_REQUEST */
    uint8_t kind;  /* enum desk_kind */
    uint8_t call_kind;
    bool is_verbose;
    bool is_left;
    uint8_t user_id_len, item_id_len, order_id_len, payment_id_len, traceparent_len;
    uint8_t address[DESK_ADDRESS_BYTES];
    int32_t partition;
    int64_t since_us; /* when it was written */
    int64_t qty, offset, wait_ms;
    char texts[RELAY_TEXTS_BYTES]; /* one behind the other, in the order of their lengths */
};

/* Writes the request's members; the others are the caller's. */
void relay_ask_put(struct relay_ask *ask, const struct desk_request *request);
void relay_ask_get(const struct relay_ask *ask, struct desk_request *request);

enum relay_told {
    RELAY_ANSWER,
    RELAY_DRAIN, /* for the thread itself: take no more clients */
    RELAY_END,   /* and leave */
};

/* To an HTTP thread. */
struct relay_answer {
    struct relay_handle handle;
    uint8_t told; /* enum relay_told; the rest is of a RELAY_ANSWER */
    uint8_t n_fields;
    uint16_t status;
    uint32_t body_bytes;
    char *
        elsewhere; /* names and values, each with a NUL, and the body behind; NULL: they are here */
    char here[RELAY_ANSWER_BYTES];
};

/* Writes the answer's members. */
void relay_answer_put(struct relay_answer *answer, int status, const struct http_field *fields,
                      struct slice body);

/* Sets fields, ended by {NULL, NULL}; returns the body. */
struct slice relay_answer_get(const struct relay_answer *answer,
                              struct http_field fields[RELAY_FIELDS_MAX + 1]);

/* Frees what was elsewhere; by the thread that has read the record. */
void relay_answer_fini(const struct relay_answer *answer);

#endif /* PRODUCER_RELAY_RECORD_H */
