/*
 * The first byte says what the others are: the body of an order or a payment, an Idempotency-Key, a
 * receipt, or another header's value.  What is taken must be what the protocol allows, what is
 * refused must come with a sentence, and only receipts that this door's secret made are genuine.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "producer/input.h"

#define ORDER "0190163d-8694-7003-b966-02a1b9e15d3c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact)
{
    if (!fact) {
        abort();
    }
}

static void require_explained(const struct input_problem *problem)
{
    const size_t len = strnlen(problem->detail, sizeof(problem->detail));

    require(len > 0 && len < sizeof(problem->detail));
}

static void read_order(struct slice body)
{
    struct input_order order;
    struct input_problem problem = {.detail = ""};

    if (input_order(body, &order, &problem)) {
        require(ids_is_item(command_text(&order.item_id)));
        require(order.qty >= 1 && order.qty <= COMMAND_QTY_MAX);
    } else {
        require_explained(&problem);
    }
}

static void read_payment(struct slice body)
{
    struct input_payment payment;
    struct input_problem problem = {.detail = ""};

    if (input_payment(body, &payment, &problem)) {
        require(ids_is_id(command_text(&payment.payment_id)));
    } else {
        require_explained(&problem);
    }
}

static void read_key(struct slice header)
{
    struct slice key;
    struct slice again;

    if (input_key(header, &key)) {
        require(key.len >= 1 && key.len <= INPUT_KEY_MAX);
        require(key.ptr >= header.ptr && key.ptr + key.len <= header.ptr + header.len);
        /* Bare and quoted are the same key, unless blanks only live within quotes. */
        require(!input_key(key, &again) || again.len <= key.len);
    }
}

static void read_receipt(struct slice receipt)
{
    struct sha256_key key;
    char genuine[INPUT_RECEIPT_MAX];
    int64_t offset = -1;

    input_receipt_key(SLICE_LIT("0123456789abcdef0123456789abcdef"), &key);
    if (input_receipt_check(&key, ORDER, 3, receipt, &offset)) {
        require(input_receipt_format(&key, ORDER, 3, offset, genuine));
        require(slice_eq(receipt, slice_str(genuine)));
        require(!input_receipt_check(&key, ORDER, 2, receipt, &offset));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text;
    char *copy;

    if (size == 0 || size > 8192) {
        return 0;
    }
    /* Exactly as long as it is, so that the sanitizer sees an over-read. */
    copy = malloc(size);
    require(copy != NULL);
    memcpy(copy, data, size);
    text = (struct slice){copy + 1, size - 1};
    switch (copy[0]) {
    case 'o':
        read_order(text);
        break;
    case 'p':
        read_payment(text);
        break;
    case 'k':
        read_key(text);
        break;
    case 'r':
        read_receipt(text);
        break;
    case 'w': {
        const int64_t wait_ms = input_wait_ms(text, 30000);

        require(wait_ms >= 0 && wait_ms <= 30000);
        break;
    }
    default:
        (void)input_is_json(text);
        require(!input_is_traceparent(text) || text.len == INPUT_TRACEPARENT_LEN);
        break;
    }
    free(copy);
    return 0;
}
