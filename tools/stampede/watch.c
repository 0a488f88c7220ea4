#include "tools/stampede/watch.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/xmalloc.h"
#include "tools/stampede/client.h"

enum { ITEMS_MAX = 16, NAME_MAX_BYTES = 32, ANSWER_TIMEOUT_MS = 2000 };

struct count {
    int64_t available, held, sold;
};

struct watch {
    struct client *client;
    const struct told *ledger;
    struct client_request requests[ITEMS_MAX];
    bool asked[ITEMS_MAX]; /* and not answered */
    bool heard[ITEMS_MAX];
    struct count counts[ITEMS_MAX];
    size_t n_items;
    struct {
        char name[NAME_MAX_BYTES];
        int pid;
    } processes[SERIES_PROCESSES];
    size_t n_processes;
};

static void add_process(struct watch *w, const char *name, size_t len, int pid)
{
    if (w->n_processes == SERIES_PROCESSES || len >= NAME_MAX_BYTES || pid <= 0) {
        return;
    }
    for (size_t i = 0; i < len; i++) {
        w->processes[w->n_processes].name[i] =
            (char)(name[i] == '_' ? '-' : tolower((unsigned char)name[i]));
    }
    w->processes[w->n_processes++].pid = pid;
}

/* PRODUCER_PID=17 and the like. */
static void find_processes(struct watch *w)
{
    static const char *const kinds[] = {"PRODUCER", "MATCHER", "GUARDIAN",
                                        "KAFKA",    "REDIS",   "MYSQL"};

    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        for (char **e = environ; *e != NULL; e++) {
            const char *end = strstr(*e, "_PID=");

            if (end != NULL && strchr(*e, '=') == end + 4 &&
                strncmp(*e, kinds[k], strlen(kinds[k])) == 0) {
                add_process(w, *e, (size_t)(end - *e), (int)strtol(end + 5, NULL, 10));
            }
        }
    }
    add_process(w, "stampede", strlen("stampede"), (int)getpid());
}

static size_t write_request(void *context, struct client_request *r, const char *host,
                            char out[CLIENT_REQUEST_MAX])
{
    const struct watch *w = context;
    const size_t i = (size_t)(r - w->requests);

    return (size_t)snprintf(out, CLIENT_REQUEST_MAX,
                            "GET /v1/items/%s HTTP/1.1\r\nHost: %s\r\n\r\n", w->ledger->items[i],
                            host);
}

static void on_answer(void *context, struct client_request *r, const struct answer *answer,
                      int64_t now_us)
{
    struct watch *w = context;
    const size_t i = (size_t)(r - w->requests);
    json_t *item =
        answer->status == 200 ? json_loadb(answer->body.ptr, answer->body.len, 0, NULL) : NULL;
    json_int_t available = 0, held = 0, sold = 0;

    (void)now_us;
    w->asked[i] = false;
    if (item != NULL && json_unpack(item, "{s:I,s:I,s:I}", "available", &available, "held", &held,
                                    "sold", &sold) == 0) {
        w->counts[i] = (struct count){available, held, sold};
        w->heard[i] = true;
    }
    json_decref(item);
}

struct watch *watch_create(struct event_base *base, const char *url, const struct told *ledger,
                           struct err *err)
{
    struct watch *w = xcalloc(1, sizeof(*w));
    const struct client_settings settings = {.url = url,
                                             .connections = 1,
                                             .timeout_ms = ANSWER_TIMEOUT_MS,
                                             .write = write_request,
                                             .answered = on_answer,
                                             .context = w};

    w->ledger = ledger;
    w->n_items = ledger->n_items < ITEMS_MAX ? ledger->n_items : ITEMS_MAX;
    find_processes(w);
    w->client = client_create(base, &settings, err);
    if (w->client == NULL) {
        watch_destroy(w);
        return NULL;
    }
    return w;
}

void watch_destroy(struct watch *w)
{
    if (w != NULL) {
        client_destroy(w->client);
        free(w);
    }
}

void watch_ask(struct watch *w)
{
    for (size_t i = 0; i < w->n_items; i++) {
        if (!w->asked[i]) {
            w->asked[i] = true;
            client_send(w->client, &w->requests[i], clock_mono_us());
        }
    }
}

/* utime + stime of /proc/PID/stat, the 14th and 15th fields, counted behind the name's bracket. */
static double cpu_of(int pid)
{
    char path[64];
    char line[1024];
    char *at = NULL;
    long ticks = 0;
    FILE *f = NULL;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    f = fopen(path, "r");
    if (f == NULL) {
        return -1;
    }
    at = fgets(line, sizeof(line), f) == NULL ? NULL : strrchr(line, ')');
    (void)fclose(f); /* it was only read */
    for (int field = 2; at != NULL && field < 14; field++) {
        at = strchr(at + 1, ' ');
    }
    if (at == NULL) {
        return -1;
    }
    ticks = strtol(at, &at, 10);
    ticks += strtol(at, NULL, 10);
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

void watch_read(const struct watch *w, struct series_state *state)
{
    bool heard = true;

    state->available = state->held = state->sold = 0;
    for (size_t i = 0; i < w->n_items; i++) {
        heard = heard && w->heard[i];
        state->available += w->counts[i].available;
        state->held += w->counts[i].held;
        state->sold += w->counts[i].sold;
    }
    if (!heard) {
        state->available = state->held = state->sold = -1;
    }
    for (size_t i = 0; i < w->n_processes; i++) {
        state->cpu_s[i] = cpu_of(w->processes[i].pid);
    }
}

const char *watch_process(const struct watch *w, size_t i)
{
    return i < w->n_processes ? w->processes[i].name : NULL;
}
