#include "producer/relay_record.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

/* ---- requests ---- */

static uint8_t put_text(char **at, const char *end, struct slice text)
{
    assert(text.len <= (size_t)(end - *at) && text.len <= UINT8_MAX); /* checked by routes.c */
    if (text.len > 0) {
        memcpy(*at, text.ptr, text.len);
    }
    *at += text.len;
    return (uint8_t)text.len;
}

void relay_ask_put(struct relay_ask *ask, const struct desk_request *request)
{
    const struct calls_request *call = &request->call;
    const char *end = ask->texts + sizeof(ask->texts);
    char *at = ask->texts;

    ask->kind = (uint8_t)request->kind;
    ask->call_kind = (uint8_t)call->kind;
    ask->is_verbose = request->is_verbose;
    ask->is_left = call->is_left;
    memcpy(ask->address, request->address, sizeof(ask->address));
    ask->partition = call->partition;
    ask->qty = call->qty;
    ask->offset = call->offset;
    ask->wait_ms = call->wait_ms;
    ask->user_id_len = put_text(&at, end, call->user_id);
    ask->item_id_len = put_text(&at, end, call->item_id);
    ask->order_id_len = put_text(&at, end, call->order_id);
    ask->payment_id_len = put_text(&at, end, call->payment_id);
    ask->traceparent_len = put_text(&at, end, call->traceparent);
}

static struct slice get_text(const char **at, uint8_t len)
{
    const struct slice text = {len > 0 ? *at : NULL, len};

    *at += len;
    return text;
}

void relay_ask_get(const struct relay_ask *ask, struct desk_request *request)
{
    struct calls_request *call = &request->call;
    const char *at = ask->texts;

    *request = (struct desk_request){
        .kind = (enum desk_kind)ask->kind,
        .is_verbose = ask->is_verbose,
        .call =
            {
                .kind = (enum calls_kind)ask->call_kind,
                .qty = ask->qty,
                .partition = ask->partition,
                .offset = ask->offset,
                .wait_ms = ask->wait_ms,
                .is_left = ask->is_left,
            },
    };
    memcpy(request->address, ask->address, sizeof(request->address));
    call->user_id = get_text(&at, ask->user_id_len);
    call->item_id = get_text(&at, ask->item_id_len);
    call->order_id = get_text(&at, ask->order_id_len);
    call->payment_id = get_text(&at, ask->payment_id_len);
    call->traceparent = get_text(&at, ask->traceparent_len);
}

/* ---- answers ---- */

static char *put_string(char *at, const char *text)
{
    const size_t size = strlen(text) + 1;

    memcpy(at, text, size);
    return at + size;
}

void relay_answer_put(struct relay_answer *answer, int status, const struct http_field *fields,
                      struct slice body)
{
    size_t bytes = body.len, n = 0;
    char *at;

    for (const struct http_field *f = fields; f != NULL && f->name != NULL; f++) {
        bytes += strlen(f->name) + strlen(f->value) + 2;
        n++;
    }
    assert(n <= RELAY_FIELDS_MAX && bytes <= UINT32_MAX);
    answer->told = RELAY_ANSWER;
    answer->status = (uint16_t)status;
    answer->n_fields = (uint8_t)n;
    answer->body_bytes = (uint32_t)body.len;
    answer->elsewhere = bytes > sizeof(answer->here) ? xmalloc(bytes) : NULL;
    at = answer->elsewhere != NULL ? answer->elsewhere : answer->here;
    for (size_t i = 0; i < n; i++) {
        at = put_string(put_string(at, fields[i].name), fields[i].value);
    }
    if (body.len > 0) {
        memcpy(at, body.ptr, body.len);
    }
}

struct slice relay_answer_get(const struct relay_answer *answer,
                              struct http_field fields[RELAY_FIELDS_MAX + 1])
{
    const char *at = answer->elsewhere != NULL ? answer->elsewhere : answer->here;

    for (size_t i = 0; i < answer->n_fields; i++) {
        fields[i].name = at;
        at += strlen(at) + 1;
        fields[i].value = at;
        at += strlen(at) + 1;
    }
    fields[answer->n_fields] = (struct http_field){NULL, NULL};
    return (struct slice){at, answer->body_bytes};
}

void relay_answer_fini(const struct relay_answer *answer)
{
    free(answer->elsewhere);
}
