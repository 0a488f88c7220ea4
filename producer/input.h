/*
 * input.h - what a client may write into a request, read strictly.
 *
 * Bodies, headers and receipts: bytes in, values or a refusal out.  Pure but for the JSON library's
 * memory, and the receipt's hash.
 */
#ifndef PRODUCER_INPUT_H
#define PRODUCER_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/command.h"
#include "common/ids.h"
#include "common/sha256.h"
#include "common/slice.h"
#include "producer/refusal.h"

enum {
    INPUT_BODY_MAX = 4096,
    INPUT_KEY_MAX = 255,
    INPUT_TRACEPARENT_LEN = 55,
    INPUT_RECEIPT_MAX = 64,
};

/* Why something was refused; detail is a sentence that may quote names of fields, never values. */
struct input_problem {
    enum refusal refusal;
    char detail[160];
};

struct input_order {
    struct command_text item_id;
    int64_t qty;
};

struct input_payment {
    struct command_text payment_id;
};

/* False with *problem set.  A body that is absent is an empty one. */
bool input_order(struct slice body, struct input_order *order,
                 struct input_problem *problem) ATTR_MUSTCHECK;
bool input_payment(struct slice body, struct input_payment *payment,
                   struct input_problem *problem) ATTR_MUSTCHECK;

/* application/json, with no parameter but charset=utf-8. */
bool input_is_json(struct slice content_type);

/*
 * Takes the quotes off an Idempotency-Key; *key is a part of header.  False unless 1..255
 * printable ASCII characters are left.
 */
bool input_key(struct slice header, struct slice *key) ATTR_MUSTCHECK;

/*
 * The milliseconds to wait for `wait` of a Prefer header (as http_list_find() gives it): 0
 * when it is absent or cannot be understood, max_ms when it is bare or larger.
 */
int64_t input_wait_ms(struct slice wait, int64_t max_ms);

/* A well-formed W3C traceparent of version 00. */
bool input_is_traceparent(struct slice header);

/*
 * Receipts: that this door, or another with the same secret, placed order_id at offset.
 * input_receipt_key() derives the key once.
 */
void input_receipt_key(struct slice jwt_secret, struct sha256_key *key);
bool input_receipt_format(const struct sha256_key *key, const char *order_id, int partition,
                          int64_t offset, char out[INPUT_RECEIPT_MAX]) ATTR_MUSTCHECK;

/* The offset that a genuine receipt of this order names; false for any other text. */
bool input_receipt_check(const struct sha256_key *key, const char *order_id, int partition,
                         struct slice receipt, int64_t *offset) ATTR_MUSTCHECK;

#endif /* PRODUCER_INPUT_H */
