/*
 * rules.c - the rules number that each partition goes by: showing it, and switching all of them.
 *
 * A switch is a command in each log, so it takes place partition by partition, at one record of
 * each.  One that has the number already is left alone: after a failure the same command finishes.
 */
#include <inttypes.h>
#include <stdio.h>

#include "ctl/bus.h"
#include "ctl/store.h"

/* The number in force in Redis. */
static bool number_of(const struct store *store, int partition, int64_t *rules, struct err *err)
{
    redisReply *reply = NULL;
    int found = store_field(store, partition, "log", SLICE_LIT("rules"), &reply, err);
    bool is_number;

    if (found < 0) {
        return false;
    }
    if (found == 0) {
        return err_set(err, ERR_RETRY, "partition %d has no state in Redis: is a matcher running?",
                       partition);
    }
    is_number = slice_to_i64((struct slice){reply->str, reply->len}, 1, COMMAND_RULES_MAX, rules);
    freeReplyObject(reply);
    return is_number ||
           err_set(err, ERR_FATAL, "partition %d: redis holds no rules number", partition);
}

static void print_begin(const struct ctl *c)
{
    if (c->json) {
        printf("{\"partitions\":[");
    }
}

static void print_number(const struct ctl *c, int partition, int64_t rules)
{
    if (c->json) {
        printf("%s{\"partition\":%d,\"rules\":%" PRId64 "}", partition == 0 ? "" : ",", partition,
               rules);
    } else {
        printf("partition %d: rules %" PRId64 "\n", partition, rules);
    }
}

static void print_end(const struct ctl *c)
{
    if (c->json) {
        printf("]}\n");
    }
}

int rules_show(const struct ctl *c)
{
    struct err err = {0};
    struct store store;
    bool done = store_open(&store, c, &err);

    print_begin(c);
    for (int p = 0; done && p < (int)c->kafka.partitions; p++) {
        int64_t rules = 0;

        done = number_of(&store, p, &rules, &err);
        if (done) {
            print_number(c, p, rules);
        }
    }
    print_end(c);
    store_close(&store);
    return done ? CTL_DONE : ctl_fail(&err);
}

static bool switch_one(const struct ctl *c, int partition, int64_t rules, struct err *err)
{
    const struct command cmd = {.type = COMMAND_SET_RULES, .rules = rules};
    struct outcome outcome = {0};
    bool done = bus_ask(c, &cmd, partition, &outcome, err);

    if (done && outcome.rules != rules) {
        done = err_set(err, ERR_RETRY, "partition %d: rules %" PRId64 " are in force", partition,
                       outcome.rules);
    }
    outcome_fini(&outcome);
    return done;
}

int rules_set(const struct ctl *c, const char *number)
{
    struct err err = {0};
    struct store store;
    int64_t rules;
    bool done;

    if (!slice_to_i64(slice_str(number), 1, COMMAND_RULES, &rules)) {
        return ctl_say(CTL_USAGE, "%s is no rules number of this build (1..%d)", number,
                       COMMAND_RULES);
    }
    done = store_open(&store, c, &err);
    print_begin(c);
    for (int p = 0; done && p < (int)c->kafka.partitions; p++) {
        int64_t now = 0;

        done = number_of(&store, p, &now, &err) && (now == rules || switch_one(c, p, rules, &err));
        if (done) {
            print_number(c, p, rules);
        }
    }
    print_end(c);
    store_close(&store);
    return done ? CTL_DONE : ctl_fail(&err);
}
