/*
 * archive.c - having Redis forget the orders of a sale that is over.
 *
 * An archive names the users whose orders it forgets, 64 at most, because the rules cannot list them; so they
 * are read from Redis here.  Commands without users go before, to hear whether it is allowed at all,
 * and after, to hear that those between them are applied.  Whoever is found twice is named
 * twice, and whatever is left half done is done by the next one: nothing happens twice.
 */
#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/hex.h"
#include "common/ids.h"
#include "ctl/bus.h"
#include "ctl/store.h"

enum {
    USERS_MAX = 64,
    SWEEPS_MAX = 10,
    RUN_BYTES = 12,
    LIST_BYTES = COMMAND_VALUE_MAX - 256, /* of names; what is around them is less than the rest */
};

struct archive {
    const struct ctl *c;
    const char *item_id;
    int partition;
    struct store store;
    rd_kafka_t *producer;
    char run[2 * RUN_BYTES + 1]; /* the op_ids begin with it */
    int64_t commands, users, orders;
    int64_t asked_at;  /* offset of the last command that was waited for */
    struct buf listed; /* users not named in a command yet, joined by `,` */
    size_t n_listed;
    struct err *err;
};

static bool make_command(struct archive *a, struct command *cmd)
{
    char op_id[sizeof(a->run) + 24];
    const int len = snprintf(op_id, sizeof(op_id), "%s.%" PRId64, a->run, a->commands++);

    *cmd = (struct command){.type = COMMAND_ARCHIVE};
    if (a->n_listed > 0) {
        cmd->users = buf_slice(&a->listed);
    }
    return (command_set_text(&cmd->other_id, (struct slice){op_id, (size_t)len}) &&
            command_set_text(&cmd->item_id, slice_str(a->item_id))) ||
           err_set(a->err, ERR_FATAL, "the item_id is too long");
}

static bool name_listed(struct archive *a)
{
    struct command cmd;
    const bool done =
        a->n_listed == 0 ||
        (make_command(a, &cmd) && bus_append(a->c, a->producer, &cmd, a->partition, NULL, a->err));

    a->users += done ? (int64_t)a->n_listed : 0;
    a->n_listed = 0;
    buf_truncate(&a->listed, 0);
    if (isatty(STDERR_FILENO)) {
        (void)fprintf(stderr, "\r%" PRId64 " users", a->users);
    }
    return done;
}

static bool take_user(struct slice user, struct slice orders, void *arg)
{
    struct archive *a = arg;
    struct order_entry entry;
    int64_t found = 0;

    while (order_entry_next(&orders, &entry) == 1) {
        found += slice_eq(entry.item_id, slice_str(a->item_id));
    }
    if (found == 0) {
        return true;
    }
    if ((a->n_listed == USERS_MAX || a->listed.len + 1 + user.len > LIST_BYTES) &&
        !name_listed(a)) {
        return false;
    }
    a->orders += found;
    if (a->n_listed++ > 0) {
        buf_putc(&a->listed, ',');
    }
    buf_put_slice(&a->listed, user);
    return true;
}

/* Whether what was read is the state after the last command that was waited for, and no older or other one. */
static bool was_present(const struct archive *a)
{
    redisReply *reply = NULL;
    int64_t watermark = -1;
    const int found =
        store_field(&a->store, a->partition, "log", SLICE_LIT("watermark"), &reply, a->err);

    if (found == 1) {
        if (!slice_to_i64((struct slice){reply->str, reply->len}, 0, INT64_MAX, &watermark)) {
            watermark = -1;
        }
        freeReplyObject(reply);
    }
    return found >= 0 &&
           (watermark >= a->asked_at ||
            err_set(a->err, ERR_RETRY, "redis has no state of partition %d, or an older one",
                    a->partition));
}

/* Waits for what a command without users becomes: CTL_DONE when the item is archived. */
static int ask(struct archive *a)
{
    struct command cmd;
    struct outcome outcome = {0};
    int code = CTL_UNKNOWN;

    if (make_command(a, &cmd) && bus_ask(a->c, &cmd, a->partition, &outcome, a->err)) {
        const struct event *e =
            outcome.n_events == 0 ? NULL : &outcome.events[outcome.n_events - 1];

        a->asked_at = outcome.offset;
        if (e != NULL && e->type == EVENT_ARCHIVED) {
            code = CTL_DONE;
        } else if (e != NULL && e->type == EVENT_REFUSED) {
            code = CTL_REFUSED;
            (void)err_set(a->err, ERR_REJECT,
                          "archive %s: refused, %s; it takes a sale that is closed and holds "
                          "nothing, and rules number 2 (seckillctl rules show)",
                          a->item_id, reason_name(e->reason));
        } else {
            (void)err_set(a->err, ERR_RETRY, "the outcome says something else");
        }
    }
    outcome_fini(&outcome);
    return code;
}

/* Until nobody is left. */
static int forget(struct archive *a)
{
    int code = ask(a);

    for (int i = 0; code == CTL_DONE; i++) {
        const int64_t before = a->users;

        if (i == SWEEPS_MAX) {
            (void)err_set(a->err, ERR_RETRY, "orders of %s come again; is Redis rebuilt?",
                          a->item_id);
            return CTL_UNKNOWN;
        }
        if (!store_each_user(&a->store, a->partition, take_user, a, a->err) || !was_present(a) ||
            !name_listed(a)) {
            return CTL_UNKNOWN;
        }
        if (a->users == before) {
            break;
        }
        code = ask(a);
    }
    return code;
}

int sale_archive(const struct ctl *c, const char *item_id)
{
    struct err err = {0};
    struct archive a = {.c = c, .item_id = item_id, .err = &err};
    unsigned char random[RUN_BYTES];
    int code = CTL_UNKNOWN;

    a.partition = ids_route(slice_str(item_id), (int)c->kafka.partitions);
    if (a.partition < 0 || c->op_id[0] != '\0') {
        return ctl_say(CTL_USAGE,
                       a.partition < 0 ? "%s is no item_id"
                                       : "sale archive %s takes no --op-id: it may be "
                                         "repeated as it is",
                       item_id);
    }
    if (RAND_bytes(random, sizeof(random)) != 1) {
        return ctl_say(CTL_UNKNOWN, "no random bytes for an op_id");
    }
    hex_encode(random, sizeof(random), a.run);
    buf_init(&a.listed, COMMAND_VALUE_MAX);
    if (store_open(&a.store, c, &err) &&
        (a.producer = bus_client(c, RD_KAFKA_PRODUCER, &err)) != NULL) {
        code = forget(&a);
    }
    if (a.producer != NULL) {
        rd_kafka_destroy(a.producer);
    }
    store_close(&a.store);
    buf_fini(&a.listed);
    if (a.users > 0 && isatty(STDERR_FILENO)) {
        (void)fputc('\n', stderr);
    }
    if (code != CTL_DONE) {
        return ctl_say(code, code == CTL_REFUSED ? "%s" : "%s; repeat it, it goes on", err.text);
    }
    printf(c->json ? "{\"item_id\":\"%s\",\"users\":%" PRId64 ",\"orders\":%" PRId64 "}\n"
                   : "%s is archived: of %" PRId64 " users %" PRId64
                     " orders were forgotten; MySQL keeps them\n",
           item_id, a.users, a.orders);
    return CTL_DONE;
}
