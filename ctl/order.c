/*
 * order.c - placing, paying, cancelling (through a producer, as a shopper) and showing orders (from
 * Redis, as an operator).
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/outcome.h"
#include "ctl/http.h"
#include "ctl/store.h"

static const char *text_of(json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text == NULL ? "" : text;
}

/* Prints a producer's answer; the exit code that its status means. */
static int tell(const struct ctl *c, const struct http_answer *answer)
{
    json_t *object = json_loads(answer->body, 0, NULL);
    const char *detail = text_of(object, "detail");
    int code = answer->status < 300 ? CTL_DONE : answer->status < 500 ? CTL_REFUSED : CTL_UNKNOWN;

    if (c->json || object == NULL) {
        printf("%s\n", answer->body);
    } else {
        const char *names[] = {"order_id", "state", "payment", "reason"};

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            const char *text = text_of(object, names[i]);

            if (text[0] != '\0') {
                printf("%s %s\n", names[i], text);
            }
        }
    }
    if (code != CTL_DONE) {
        (void)ctl_say(code, "%d %s", answer->status, detail);
    }
    json_decref(object);
    return code;
}

static int ask(const struct ctl *c, const char *method, const char *path, json_t *body,
               const char *key)
{
    struct err err = {0};
    struct http_answer answer;
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    struct http_question question = {.method = method, .path = path, .body = text, .key = key};
    bool done = http_ask(c, &question, &answer, &err);

    free(text);
    json_decref(body);
    return done ? tell(c, &answer) : ctl_fail(&err);
}

int order_place(const struct ctl *c, const char *item_id)
{
    json_t *body = json_pack("{s:s,s:I}", "item_id", item_id, "qty", (json_int_t)c->qty);

    if (body == NULL) {
        return ctl_say(CTL_USAGE, "the item_id is not text");
    }
    return ask(c, "POST", "/v1/orders", body, c->key[0] == '\0' ? NULL : c->key);
}

static bool path_of(const char *order_id, const char *suffix, char *out, size_t size)
{
    return ids_parse_order(slice_str(order_id), NULL, NULL) &&
           snprintf(out, size, "/v1/orders/%s%s", order_id, suffix) < (int)size;
}

int order_pay(const struct ctl *c, const char *order_id, const char *payment_id)
{
    char path[100];
    json_t *body = json_pack("{s:s}", "payment_id", payment_id);

    if (body == NULL || !path_of(order_id, "/payment", path, sizeof(path))) {
        json_decref(body);
        return ctl_say(CTL_USAGE, "%s is no order_id", order_id);
    }
    return ask(c, "POST", path, body, NULL);
}

int order_cancel(const struct ctl *c, const char *order_id)
{
    char path[100];

    if (!path_of(order_id, "", path, sizeof(path))) {
        return ctl_say(CTL_USAGE, "%s is no order_id", order_id);
    }
    return ask(c, "DELETE", path, NULL, NULL);
}

static void print_payments(const struct ctl *c, struct slice payments)
{
    struct slice id;
    char answer = 0;
    const char *separator = "";

    while (order_payment_next(&payments, &answer, &id) == 1) {
        const char *word = answer == 'P' ? "paid" : "refund_due";

        printf(c->json ? "%s{\"payment_id\":\"%.*s\",\"payment\":\"%s\"}" : "%s\npayment %.*s %s",
               separator, (int)id.len, id.ptr, word);
        separator = c->json ? "," : "";
    }
}

static void print_order(const struct ctl *c, const struct order_entry *o, struct slice user)
{
    const char *reason = o->reason == REASON_NONE ? "" : reason_name(o->reason);

    if (!c->json) {
        printf("order_id %.*s\nitem_id %.*s\nuser_id %.*s\nqty %" PRId64
               "\nstate %s%s%s\nposition %" PRId64,
               (int)o->order_id.len, o->order_id.ptr, (int)o->item_id.len, o->item_id.ptr,
               (int)user.len, user.ptr, o->qty, order_state_name(o->state),
               reason[0] == '\0' ? "" : " ", reason, o->offset);
        print_payments(c, o->payments);
        printf("\n");
        return;
    }
    printf("{\"order_id\":\"%.*s\",\"item_id\":\"%.*s\",\"user_id\":\"%.*s\",\"qty\":%" PRId64
           ",\"state\":\"%s\",",
           (int)o->order_id.len, o->order_id.ptr, (int)o->item_id.len, o->item_id.ptr,
           (int)user.len, user.ptr, o->qty, order_state_name(o->state));
    if (reason[0] != '\0') {
        printf("\"reason\":\"%s\",", reason);
    }
    if (o->due > 0) {
        printf("\"due\":%" PRId64 ",", o->due);
    }
    printf("\"position\":%" PRId64 ",\"payments\":[", o->offset);
    print_payments(c, o->payments);
    printf("]}\n");
}

/* Prints the order if the user has it: 1, 0, or -1 with err. */
static int show_of_user(const struct ctl *c, const struct store *store, int partition,
                        const char *order_id, struct slice user, struct err *err)
{
    redisReply *reply = NULL;
    int found = store_field(store, partition, "orders", user, &reply, err);
    struct slice value;
    struct order_entry entry;

    if (found != 1) {
        return found;
    }
    value = (struct slice){reply->str, reply->len};
    found = 0;
    while (found == 0 && order_entry_next(&value, &entry) == 1) {
        if (slice_eq(entry.order_id, slice_str(order_id))) {
            print_order(c, &entry, user);
            found = 1;
        }
    }
    freeReplyObject(reply);
    return found;
}

int order_show(const struct ctl *c, const char *order_id)
{
    struct err err = {0};
    struct command_text user = {.len = 0};
    int partition = -1;
    struct store store;
    int found = 0;

    if (!ids_parse_order(slice_str(order_id), &partition, NULL) ||
        partition >= (int)c->kafka.partitions) {
        return ctl_say(CTL_USAGE, "%s is no order_id", order_id);
    }
    if (!store_open(&store, c, &err)) {
        return ctl_fail(&err);
    }
    found = c->user[0] != '\0' ? (command_set_text(&user, slice_str(c->user)) ? 1 : 0)
                               : store_find_user(&store, partition, order_id, &user, &err);
    if (found == 1) {
        found = show_of_user(c, &store, partition, order_id, command_text(&user), &err);
    }
    store_close(&store);
    if (found < 0) {
        return ctl_fail(&err);
    }
    return found == 1
               ? CTL_DONE
               : ctl_say(CTL_REFUSED,
                         "unknown_order: %s is not remembered (an unkeyed rejected order never "
                         "is), or still in line",
                         order_id);
}
