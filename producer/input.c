/*
 * A body in the usual form is read in place.  Any other, and whatever is to be refused, is read by
 * jansson, which refuses repeated names, bad UTF-8, NUL characters and trailing bytes; every
 * member must then be one that the call defines.
 */
#include "producer/input.h"

#include <inttypes.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/buf.h"
#include "common/flat.h"
#include "common/hex.h"

static bool refuse(struct input_problem *problem, enum refusal refusal, const char *fmt, ...)
    ATTR_PRINTF(3, 4);

static bool refuse(struct input_problem *problem, enum refusal refusal, const char *fmt, ...)
{
    va_list ap;

    problem->refusal = refusal;
    va_start(ap, fmt);
    (void)vsnprintf(problem->detail, sizeof(problem->detail), fmt, ap); /* cutting is fine */
    va_end(ap);
    return false;
}

static json_t *load(struct slice body, const char *const *names, struct input_problem *problem)
{
    json_error_t error;
    json_t *object;
    const char *name;
    json_t *value;

    if (body.len == 0) {
        (void)refuse(problem, REFUSAL_BAD_JSON, "The body is empty: send a JSON object.");
        return NULL;
    }
    object = json_loadb(body.ptr, body.len, JSON_REJECT_DUPLICATES, &error);
    if (object == NULL) {
        (void)refuse(problem, REFUSAL_BAD_JSON,
                     "The body is not JSON at line %d, column %d; each name once, nothing after "
                     "the object.",
                     error.line, error.column);
        return NULL;
    }
    if (!json_is_object(object)) {
        (void)refuse(problem, REFUSAL_BAD_JSON, "The body must be a JSON object.");
        json_decref(object);
        return NULL;
    }
    json_object_foreach(object, name, value)
    {
        const char *const *known = names;

        while (*known != NULL && strcmp(*known, name) != 0) {
            known++;
        }
        if (*known == NULL) {
            (void)refuse(problem, REFUSAL_UNKNOWN_FIELD,
                         "This call has no such field; it takes %s%s%s.", names[0],
                         names[1] != NULL ? " and " : "", names[1] != NULL ? names[1] : "");
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

/* The string member name, for which good() holds. */
static bool text_member(const json_t *object, const char *name, bool (*good)(struct slice),
                        struct command_text *text, struct input_problem *problem)
{
    const json_t *value = json_object_get(object, name);

    if (value == NULL) {
        return refuse(problem, REFUSAL_BAD_FIELD, "%s is missing.", name);
    }
    if (!json_is_string(value)) {
        return refuse(problem, REFUSAL_BAD_FIELD, "%s must be a string.", name);
    }
    if (!good((struct slice){json_string_value(value), json_string_length(value)}) ||
        !command_set_text(text, slice_str(json_string_value(value)))) {
        return refuse(problem, REFUSAL_BAD_FIELD,
                      "%s has characters that are not allowed, or not 1 to %d of them.", name,
                      IDS_MAX);
    }
    return true;
}

/* A good order in the usual form; false for any other. */
static bool flat_order(struct slice body, struct input_order *order)
{
    struct flat f;
    const struct flat_member *item_id;
    const struct flat_member *qty;

    if (!flat_read(&f, body)) {
        return false;
    }
    item_id = flat_find(&f, SLICE_LIT("item_id"));
    qty = flat_find(&f, SLICE_LIT("qty"));
    if (item_id == NULL || f.n != (qty == NULL ? 1 : 2) || !ids_is_item(item_id->text) ||
        (qty != NULL && (qty->number < 1 || qty->number > COMMAND_QTY_MAX))) {
        return false;
    }
    order->qty = qty == NULL ? 1 : qty->number;
    return command_set_text(&order->item_id, item_id->text);
}

static bool flat_payment(struct slice body, struct input_payment *payment)
{
    struct flat f;
    const struct flat_member *payment_id;

    if (!flat_read(&f, body)) {
        return false;
    }
    payment_id = flat_find(&f, SLICE_LIT("payment_id"));
    return payment_id != NULL && f.n == 1 && ids_is_id(payment_id->text) &&
           command_set_text(&payment->payment_id, payment_id->text);
}

static bool json_order(struct slice body, struct input_order *order, struct input_problem *problem)
{
    static const char *const names[] = {"item_id", "qty", NULL};
    json_t *object = load(body, names, problem);
    const json_t *qty;
    bool ok = false;

    if (object == NULL) {
        return false;
    }
    qty = json_object_get(object, "qty");
    order->qty = 1;
    if (!text_member(object, "item_id", ids_is_item, &order->item_id, problem)) {
        goto out;
    }
    if (qty != NULL) {
        if (!json_is_integer(qty) || json_integer_value(qty) < 1 ||
            json_integer_value(qty) > COMMAND_QTY_MAX) {
            (void)refuse(problem, REFUSAL_BAD_FIELD, "qty must be an integer from 1 to %d.",
                         COMMAND_QTY_MAX);
            goto out;
        }
        order->qty = json_integer_value(qty);
    }
    ok = true;
out:
    json_decref(object);
    return ok;
}

static bool json_payment(struct slice body, struct input_payment *payment,
                         struct input_problem *problem)
{
    static const char *const names[] = {"payment_id", NULL};
    json_t *object = load(body, names, problem);
    bool ok;

    if (object == NULL) {
        return false;
    }
    ok = text_member(object, "payment_id", ids_is_id, &payment->payment_id, problem);
    json_decref(object);
    return ok;
}

bool input_order(struct slice body, struct input_order *order, struct input_problem *problem)
{
    return flat_order(body, order) || json_order(body, order, problem);
}

bool input_payment(struct slice body, struct input_payment *payment, struct input_problem *problem)
{
    return flat_payment(body, payment) || json_payment(body, payment, problem);
}

static bool is_text(struct slice s, const char *text)
{
    return s.len == strlen(text) && strncasecmp(s.ptr, text, s.len) == 0;
}

bool input_is_json(struct slice content_type)
{
    struct slice parameter;
    const struct slice type = slice_trim(slice_cut(content_type, ';', &parameter));

    if (content_type.ptr == NULL || !is_text(type, "application/json")) {
        return false;
    }
    parameter = slice_trim(parameter);
    return parameter.len == 0 || is_text(parameter, "charset=utf-8") ||
           is_text(parameter, "charset=\"utf-8\"");
}

bool input_key(struct slice header, struct slice *key)
{
    struct slice k = slice_trim(header);
    const bool is_quoted = k.len >= 1 && k.ptr[0] == '"';

    if (is_quoted) {
        if (k.len < 2 || k.ptr[k.len - 1] != '"') {
            return false;
        }
        k = (struct slice){k.ptr + 1, k.len - 2};
    }
    if (k.len < 1 || k.len > INPUT_KEY_MAX) {
        return false;
    }
    for (size_t i = 0; i < k.len; i++) {
        if (k.ptr[i] < 0x20 || k.ptr[i] > 0x7e || k.ptr[i] == '"' ||
            (is_quoted && k.ptr[i] == '\\')) {
            return false;
        }
    }
    *key = k;
    return true;
}

int64_t input_wait_ms(struct slice wait, int64_t max_ms)
{
    int64_t seconds;

    if (wait.ptr == NULL) {
        return 0;
    }
    if (wait.len == 0) {
        return max_ms;
    }
    if (wait.len >= 2 && wait.ptr[0] == '"' && wait.ptr[wait.len - 1] == '"') {
        wait = (struct slice){wait.ptr + 1, wait.len - 2};
    }
    if (!slice_to_i64(wait, 0, INT64_MAX / 1000, &seconds)) {
        return 0;
    }
    return seconds * 1000 < max_ms ? seconds * 1000 : max_ms;
}

static bool is_hex(struct slice s)
{
    bool has_one = false;

    for (size_t i = 0; i < s.len; i++) {
        if ((s.ptr[i] < '0' || s.ptr[i] > '9') && (s.ptr[i] < 'a' || s.ptr[i] > 'f')) {
            return false;
        }
        has_one = has_one || s.ptr[i] != '0';
    }
    return has_one;
}

bool input_is_traceparent(struct slice header)
{
    /* 00-<trace id: 32>-<parent id: 16>-<flags: 2>; an id of zeroes is none */
    return header.len == INPUT_TRACEPARENT_LEN && memcmp(header.ptr, "00-", 3) == 0 &&
           header.ptr[35] == '-' && header.ptr[52] == '-' &&
           is_hex((struct slice){header.ptr + 3, 32}) &&
           is_hex((struct slice){header.ptr + 36, 16}) &&
           (is_hex((struct slice){header.ptr + 53, 2}) || memcmp(header.ptr + 53, "00", 2) == 0);
}

void input_receipt_key(struct slice jwt_secret, struct sha256_key *key)
{
    unsigned char derived[SHA256_BYTES];
    struct sha256_key tokens;

    sha256_key_set(&tokens, jwt_secret);
    sha256_mac(&tokens, SLICE_LIT("seckill receipt 1"), derived);
    sha256_key_set(key, (struct slice){(const char *)derived, sizeof(derived)});
}

bool input_receipt_format(const struct sha256_key *key, const char *order_id, int partition,
                          int64_t offset, char out[INPUT_RECEIPT_MAX])
{
    unsigned char mac[SHA256_BYTES];
    char storage[96];
    struct buf text;
    struct buf place;

    buf_init_fixed(&text, storage, sizeof(storage));
    buf_puts(&text, order_id);
    buf_putc(&text, '.');
    buf_put_i64(&text, partition);
    buf_putc(&text, '.');
    buf_put_i64(&text, offset);
    if (!buf_ok(&text) || offset < 0) {
        return false;
    }
    sha256_mac(key, buf_slice(&text), mac);
    buf_init_fixed(&place, out, INPUT_RECEIPT_MAX);
    buf_put_i64(&place, offset);
    buf_putc(&place, '.');
    hex_encode(mac, 16, out + place.len); /* at most 20 characters, then 33 */
    return true;
}

bool input_receipt_check(const struct sha256_key *key, const char *order_id, int partition,
                         struct slice receipt, int64_t *offset)
{
    char genuine[INPUT_RECEIPT_MAX];
    struct slice mac;
    int64_t at;

    if (!slice_to_i64(slice_cut(receipt, '.', &mac), 0, COMMAND_TIME_MAX, &at) ||
        !input_receipt_format(key, order_id, partition, at, genuine) ||
        strlen(genuine) != receipt.len || CRYPTO_memcmp(genuine, receipt.ptr, receipt.len) != 0) {
        return false;
    }
    *offset = at;
    return true;
}
