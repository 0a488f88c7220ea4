#include "tools/stampede/requests.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/jwt.h"
#include "common/xmalloc.h"

enum { TOKEN_MAX = 512, TOKEN_LIFE_S = 86400 };

struct requests {
    char *tokens; /* one after the other, each in stride bytes with its NUL */
    size_t stride;
    char wait[40]; /* the field Prefer, or nothing */
};

/* Where the next byte goes; the end is known to be far: ids and items are bounded. */
struct pen {
    char *at;
    const char *end;
};

static void put(struct pen *p, const char *text)
{
    const size_t len = strlen(text);

    assert((size_t)(p->end - p->at) > len);
    memcpy(p->at, text, len);
    p->at += len;
}

static void put_number(struct pen *p, size_t n)
{
    char digits[24];

    (void)snprintf(digits, sizeof(digits), "%zu", n);
    put(p, digits);
}

struct requests *requests_create(const char *secret, size_t shoppers, int64_t wait_s,
                                 struct err *err)
{
    struct requests *r = xcalloc(1, sizeof(*r));
    char user[TOLD_NAME_MAX];
    char token[TOKEN_MAX] = "";

    (void)snprintf(r->wait, sizeof(r->wait), "Prefer: wait=%" PRId64 "\r\n", wait_s);
    for (size_t i = shoppers;
         i-- > 0;) { /* the last one's name, and so its token, is the longest */
        (void)told_user((uint32_t)i, user);
        if (!jwt_mint(slice_str(secret), slice_str(user), TOKEN_LIFE_S, token, sizeof(token),
                      err)) {
            requests_destroy(r);
            return NULL;
        }
        if (r->tokens == NULL) {
            r->stride = strlen(token) + 8; /* its time of expiry may have a digit more */
            r->tokens = xcalloc(shoppers, r->stride);
        }
        assert(strlen(token) < r->stride);
        memcpy(r->tokens + i * r->stride, token, strlen(token) + 1);
    }
    return r;
}

void requests_destroy(struct requests *r)
{
    if (r != NULL) {
        free(r->tokens);
        free(r);
    }
}

/* The fields that all have, the length of the body, and the body. */
static void put_rest(struct pen *p, const struct requests *r, const struct shopper *s,
                     const char *host, const char *body)
{
    put(p, "Host: ");
    put(p, host);
    put(p, "\r\nAuthorization: Bearer ");
    put(p, r->tokens + s->number * r->stride);
    if (body[0] != '\0') {
        put(p, "\r\nContent-Type: application/json\r\nContent-Length: ");
        put_number(p, strlen(body));
    }
    put(p, "\r\n\r\n");
    put(p, body);
}

static void write_order(struct pen *p, const struct requests *r, const struct crowd *crowd,
                        const struct shopper *s, const char *host)
{
    char body[IDS_MAX + 40];
    struct pen b = {body, body + sizeof(body)};

    put(&b, "{\"item_id\":\"");
    put(&b, told_item(&crowd->ledger, s->number));
    put(&b, "\",\"qty\":1}");
    *b.at = '\0';
    put(p, "POST /v1/orders HTTP/1.1\r\n");
    if (s->keyed) {
        put(p, "Idempotency-Key: press-");
        put_number(p, s->press);
        put(p, "\r\n");
    }
    put(p, s->waits ? r->wait : "");
    put_rest(p, r, s, host, body);
}

size_t requests_write(const struct requests *r, const struct crowd *crowd, const struct shopper *s,
                      const char *host, char out[CLIENT_REQUEST_MAX])
{
    struct pen p = {out, out + CLIENT_REQUEST_MAX};
    struct told_order *o = shopper_order(crowd, s);
    char payment[TOLD_NAME_MAX];
    char body[TOLD_NAME_MAX + 40] = "";

    if (s->step == SHOPPER_ORDER || s->step == SHOPPER_AGAIN) {
        write_order(&p, r, crowd, s, host);
        return (size_t)(p.at - out);
    }
    put(&p, s->step == SHOPPER_PAY      ? "POST /v1/orders/"
            : s->step == SHOPPER_CANCEL ? "DELETE /v1/orders/"
                                        : "GET /v1/orders/");
    put(&p, o->order_id);
    if (s->step == SHOPPER_PAY) {
        o->pays = true;
        (void)told_payment(&crowd->ledger, o, payment);
        (void)snprintf(body, sizeof(body), "{\"payment_id\":\"%s\"}", payment);
        put(&p, "/payment");
    }
    o->cancels = o->cancels || s->step == SHOPPER_CANCEL;
    put(&p, " HTTP/1.1\r\n");
    put(&p, s->waits || s->step != SHOPPER_ASK ? r->wait : ""); /* else it polls */
    put_rest(&p, r, s, host, body);
    return (size_t)(p.at - out);
}
