/*
 * sale.c - opening, changing and watching sales.
 *
 * A sale is changed by a command in the log, never by writing to Redis.  What is shown is Redis'
 * present state.
 */
#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/hex.h"
#include "ctl/bus.h"
#include "ctl/store.h"

static int partition_of(const struct ctl *c, const char *item_id, struct err *err)
{
    int partition = ids_route(slice_str(item_id), (int)c->kafka.partitions);

    if (partition < 0) {
        (void)err_set(err, ERR_REJECT,
                      "%s is no item_id: 1..64 of A-Z a-z 0-9 . _ - and perhaps @N for partition N",
                      item_id);
    }
    return partition;
}

static bool name_operation(const struct ctl *c, struct command *cmd, struct err *err)
{
    unsigned char bytes[12];
    char name[2 * sizeof(bytes) + 1];

    if (c->op_id[0] != '\0') {
        if (!ids_is_id(slice_str(c->op_id)) ||
            !command_set_text(&cmd->other_id, slice_str(c->op_id))) {
            return err_set(err, ERR_REJECT,
                           "--op-id takes 1..64 printable characters without \" , ; \\");
        }
        return true;
    }
    if (RAND_bytes(bytes, sizeof(bytes)) != 1) {
        return err_set(err, ERR_FATAL, "no random bytes for an op_id");
    }
    hex_encode(bytes, sizeof(bytes), name);
    return command_set_text(&cmd->other_id, slice_str(name)) || err_set(err, ERR_FATAL, "op_id");
}

static bool fill(const struct ctl *c, struct command *cmd, const char *action, const char *item_id,
                 const char *units, struct err *err)
{
    cmd->type = COMMAND_SALE;
    cmd->total = cmd->limit = cmd->hold_ms = cmd->opens_at = cmd->closes_at = cmd->price = -1;
    if (units != NULL) {
        cmd->type = COMMAND_RESTOCK;
        if (!slice_to_i64(slice_str(units), 1, COMMAND_TOTAL_MAX, &cmd->qty)) {
            return err_set(err, ERR_REJECT, "%s is no number of units (1..%d)", units,
                           COMMAND_TOTAL_MAX);
        }
    }
    for (int a = COMMAND_OPEN; a <= COMMAND_CLOSE; a++) {
        if (strcmp(action, command_action_name((enum command_action)a)) == 0) {
            cmd->action = (enum command_action)a;
        }
    }
    if (units == NULL && (cmd->action == COMMAND_OPEN || cmd->action == COMMAND_CHANGE)) {
        cmd->total = c->stock;
        cmd->limit = c->limit;
        cmd->hold_ms = c->hold_ms;
        cmd->opens_at = c->opens_at;
        cmd->closes_at = c->closes_at;
        cmd->price = c->price;
        if (cmd->limit == 0 || cmd->hold_ms == 0) {
            return err_set(err, ERR_REJECT, "--limit and --hold-ms are at least 1");
        }
    }
    return command_set_text(&cmd->item_id, slice_str(item_id)) ||
           err_set(err, ERR_REJECT, "the item_id is too long");
}

static void print_item(const struct ctl *c, struct slice item_id, const struct item_entry *it)
{
    if (c->json) {
        printf("{\"item_id\":\"%.*s\",\"state\":\"%s\",\"total\":%" PRId64 ",\"available\":%" PRId64
               ",\"held\":%" PRId64 ",\"sold\":%" PRId64 ",\"limit\":%" PRId64
               ",\"hold_ms\":%" PRId64 ",\"opens_at\":%" PRId64 ",\"closes_at\":%" PRId64
               ",\"price\":%" PRId64 "}",
               (int)item_id.len, item_id.ptr, item_state_name(it->state), it->total, it->available,
               it->held, it->sold, it->limit, it->hold_ms, it->opens_at, it->closes_at, it->price);
        return;
    }
    printf("%-24.*s %-7s total %-9" PRId64 " available %-9" PRId64 " held %-9" PRId64
           " sold %-9" PRId64 " limit %" PRId64 " hold %" PRId64 " ms",
           (int)item_id.len, item_id.ptr, item_state_name(it->state), it->total, it->available,
           it->held, it->sold, it->limit, it->hold_ms);
}

static void print_event(const struct ctl *c, const struct event *e)
{
    struct item_entry it = {.total = e->total,
                            .available = e->available,
                            .held = e->held,
                            .sold = e->sold,
                            .limit = e->limit,
                            .hold_ms = e->hold_ms,
                            .opens_at = e->opens_at,
                            .closes_at = e->closes_at,
                            .state = e->item_state,
                            .price = e->price};

    print_item(c, command_text(&e->item_id), &it);
    printf("\n");
}

int sale_apply(const struct ctl *c, const char *action, const char *item_id, const char *units)
{
    struct err err = {0};
    struct command cmd = {0};
    struct outcome outcome = {0};
    int partition = partition_of(c, item_id, &err);
    int code = CTL_DONE;

    if (partition < 0 || !name_operation(c, &cmd, &err) ||
        !fill(c, &cmd, action, item_id, units, &err)) {
        return ctl_say(CTL_USAGE, "%s", err.text);
    }
    if (!bus_ask(c, &cmd, partition, &outcome, &err)) {
        outcome_fini(&outcome);
        return ctl_say(CTL_UNKNOWN, "%s; repeat with --op-id %s, it counts once", err.text,
                       cmd.other_id.s);
    }
    if (outcome.n_events == 0) {
        code = ctl_say(CTL_UNKNOWN, "the outcome says nothing");
    } else {
        const struct event *e = &outcome.events[outcome.n_events - 1];

        if (e->type == EVENT_STOCK) {
            print_event(c, e);
        } else if (e->type == EVENT_DUPLICATE) {
            printf(c->json ? "{\"duplicate\":true,\"op_id\":\"%s\"}\n"
                           : "operation %s was answered before; nothing changed\n",
                   cmd.other_id.s);
        } else {
            code =
                ctl_say(CTL_REFUSED, "%s %s: refused, %s", action, item_id, reason_name(e->reason));
        }
    }
    outcome_fini(&outcome);
    return code;
}

/* Prints an item as it is now; 1 done, 0 unknown, -1 with err. */
static int show(const struct ctl *c, const struct store *store, const char *item_id,
                struct err *err)
{
    int partition = partition_of(c, item_id, err);
    redisReply *reply = NULL;
    struct item_entry it;
    int found = partition < 0
                    ? -1
                    : store_field(store, partition, "items", slice_str(item_id), &reply, err);

    if (found == 1) {
        if (item_entry_parse((struct slice){reply->str, reply->len}, &it)) {
            print_item(c, slice_str(item_id), &it);
        } else {
            (void)err_set(err, ERR_FATAL, "redis holds something else than an item: %s",
                          reply->str);
            found = -1;
        }
        freeReplyObject(reply);
    }
    return found;
}

int sale_show(const struct ctl *c, const char *item_id)
{
    struct err err = {0};
    struct store store;
    int found = store_open(&store, c, &err) ? show(c, &store, item_id, &err) : -1;

    store_close(&store);
    if (found < 0) {
        return ctl_fail(&err);
    }
    if (found == 0) {
        return ctl_say(CTL_REFUSED,
                       "no item %s; open a sale: seckillctl sale open %s --stock N "
                       "--limit N --hold-ms N",
                       item_id, item_id);
    }
    printf("\n");
    return CTL_DONE;
}

int sale_list(const struct ctl *c)
{
    struct err err = {0};
    struct store store;
    const char *separator = "";
    bool done = store_open(&store, c, &err);

    if (done && c->json) {
        printf("{\"items\":[");
    }
    for (int p = 0; done && p < (int)c->kafka.partitions; p++) {
        redisReply *reply = store_hash(&store, p, "items", &err);

        done = reply != NULL;
        for (size_t i = 0; done && i + 1 < reply->elements; i += 2) {
            struct item_entry it;
            struct slice value = {reply->element[i + 1]->str, reply->element[i + 1]->len};

            if (item_entry_parse(value, &it)) {
                printf("%s", separator);
                print_item(c, (struct slice){reply->element[i]->str, reply->element[i]->len}, &it);
                separator = c->json ? "," : "\n";
            }
        }
        if (reply != NULL) {
            freeReplyObject(reply);
        }
    }
    store_close(&store);
    if (!done) {
        return ctl_fail(&err);
    }
    printf(c->json ? "]}\n" : "%s", separator[0] == '\0' ? "no items\n" : "\n");
    return CTL_DONE;
}

int sale_watch(const struct ctl *c, const char *item_id)
{
    struct err err = {0};
    struct store store;
    struct timespec pause = {.tv_sec = c->interval_ms / 1000,
                             .tv_nsec = (c->interval_ms % 1000) * 1000000};
    bool live = isatty(STDOUT_FILENO) && !c->json; /* on a terminal one line that moves */
    int found = store_open(&store, c, &err) ? 1 : -1;

    for (int64_t i = 0; found == 1 && (c->count == 0 || i < c->count); i++) {
        found = show(c, &store, item_id, &err);
        if (found == 1) {
            printf(live && (c->count == 0 || i + 1 < c->count) ? "\r" : "\n");
            (void)fflush(stdout);
            if (c->count == 0 || i + 1 < c->count) {
                (void)nanosleep(&pause, NULL); /* ^C ends us; a shorter pause harms nobody */
            }
        }
    }
    store_close(&store);
    if (found < 0) {
        return ctl_fail(&err);
    }
    return found == 1 ? CTL_DONE : ctl_say(CTL_REFUSED, "no item %s", item_id);
}
