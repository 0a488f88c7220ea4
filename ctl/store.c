#include "ctl/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/outcome.h"
#include "common/sql.h"

/* A command by its words; NULL with err when Redis does not answer it well. */
static redisReply *ask(redisContext *redis, int argc, const char **argv, const size_t *lens,
                       struct err *err)
{
    redisReply *reply = redisCommandArgv(redis, argc, argv, lens);

    if (reply == NULL) {
        (void)err_set(err, ERR_RETRY, "redis: %s", redis->errstr);
    } else if (reply->type == REDIS_REPLY_ERROR) {
        (void)err_set(err, ERR_RETRY, "redis: %s", reply->str);
        freeReplyObject(reply);
        reply = NULL;
    }
    return reply;
}

bool store_open(struct store *store, const struct ctl *c, struct err *err)
{
    struct timeval timeout = {.tv_sec = c->timeout_ms / 1000,
                              .tv_usec = (c->timeout_ms % 1000) * 1000};
    redisContext *redis = redisConnectWithTimeout(c->redis.host, (int)c->redis.port, timeout);
    const char *argv[] = {"AUTH", c->redis.password};
    size_t lens[] = {4, strlen(c->redis.password)};
    redisReply *reply = NULL;

    *store = (struct store){.c = c, .redis = redis};
    if (redis == NULL || redis->err != 0) {
        return err_set(err, ERR_RETRY, "redis at %s:%d: %s", c->redis.host, (int)c->redis.port,
                       redis == NULL ? "out of memory" : redis->errstr);
    }
    if (redisSetTimeout(redis, timeout) != REDIS_OK) {
        return err_set(err, ERR_RETRY, "redis: cannot set a timeout");
    }
    if (lens[1] > 0) {
        reply = ask(redis, 2, argv, lens, err);
        if (reply == NULL) {
            return false;
        }
        freeReplyObject(reply);
    }
    return true;
}

void store_close(struct store *store)
{
    if (store->redis != NULL) {
        redisFree(store->redis);
        store->redis = NULL;
    }
}

static size_t key_of(const struct ctl *c, int partition, const char *name, char *out, size_t size)
{
    int n = snprintf(out, size, "%s:{%d}:%s", c->redis.key_prefix, partition, name);

    return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

int store_field(const struct store *store, int partition, const char *hash, struct slice field,
                redisReply **reply, struct err *err)
{
    char key[300];
    const char *argv[] = {"HGET", key, field.ptr};
    size_t lens[] = {4, key_of(store->c, partition, hash, key, sizeof(key)), field.len};

    *reply = ask(store->redis, 3, argv, lens, err);
    if (*reply == NULL) {
        return -1;
    }
    if ((*reply)->type != REDIS_REPLY_STRING) {
        freeReplyObject(*reply);
        *reply = NULL;
        return 0;
    }
    return 1;
}

redisReply *store_hash(const struct store *store, int partition, const char *hash, struct err *err)
{
    char key[300];
    const char *argv[] = {"HGETALL", key};
    size_t lens[] = {7, key_of(store->c, partition, hash, key, sizeof(key))};

    return ask(store->redis, 2, argv, lens, err);
}

static bool lists_order(struct slice value, const char *order_id)
{
    struct order_entry entry;

    while (order_entry_next(&value, &entry) == 1) {
        if (slice_eq(entry.order_id, slice_str(order_id))) {
            return true;
        }
    }
    return false;
}

bool store_each_user(const struct store *store, int partition, store_user_fn *each, void *arg,
                     struct err *err)
{
    char key[300];
    char cursor[32] = "0";
    bool goes_on = true;

    do {
        const char *argv[] = {"HSCAN", key, cursor, "COUNT", "1000"};
        size_t lens[] = {5, key_of(store->c, partition, "orders", key, sizeof(key)), strlen(cursor),
                         5, 4};
        redisReply *reply = ask(store->redis, 5, argv, lens, err);

        if (reply == NULL) {
            return false;
        }
        if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
            freeReplyObject(reply);
            return err_set(err, ERR_RETRY, "redis: HSCAN gave something else");
        }
        (void)snprintf(cursor, sizeof(cursor), "%s", reply->element[0]->str);
        for (size_t i = 0; goes_on && i + 1 < reply->element[1]->elements; i += 2) {
            const redisReply *field = reply->element[1]->element[i];
            const redisReply *value = reply->element[1]->element[i + 1];

            goes_on = each((struct slice){field->str, field->len},
                           (struct slice){value->str, value->len}, arg);
        }
        freeReplyObject(reply);
    } while (goes_on && strcmp(cursor, "0") != 0);
    return goes_on;
}

struct search {
    const char *order_id;
    struct command_text *user;
    bool is_found;
};

static bool is_another(struct slice user, struct slice orders, void *arg)
{
    struct search *search = arg;

    search->is_found =
        lists_order(orders, search->order_id) && command_set_text(search->user, user);
    return !search->is_found;
}

/* Returns 1, 0 or, when MySQL cannot be asked, -1. */
static int find_in_mysql(const struct ctl *c, const char *order_id, struct command_text *user)
{
    const struct sql_address where = {
        .host = c->mysql.host,
        .user = c->mysql.user,
        .password = c->mysql.password,
        .database = c->mysql.database,
        .port = (int)c->mysql.port,
        .timeout_ms = c->timeout_ms,
    };
    MYSQL *db = mysql_init(NULL);
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row = NULL;
    char query[160];
    int found = -1;

    if (db == NULL || !sql_connect(db, &where)) {
        goto out;
    }
    /* The caller has checked that order_id is a UUID, so it needs no escaping. */
    (void)snprintf(query, sizeof(query), "SELECT user_id FROM orders WHERE order_id = '%s' LIMIT 1",
                   order_id);
    if (mysql_query(db, query) != 0 || (rows = mysql_store_result(db)) == NULL) {
        goto out;
    }
    row = mysql_fetch_row(rows);
    found = row != NULL && row[0] != NULL &&
            command_set_text(user, (struct slice){row[0], mysql_fetch_lengths(rows)[0]});
out:
    if (rows != NULL) {
        mysql_free_result(rows);
    }
    if (db != NULL) {
        mysql_close(db);
    }
    return found;
}

int store_find_user(const struct store *store, int partition, const char *order_id,
                    struct command_text *user, struct err *err)
{
    struct search search = {order_id, user, false};

    if (find_in_mysql(store->c, order_id, user) == 1) {
        return 1;
    }
    if (store_each_user(store, partition, is_another, &search, err)) {
        return 0;
    }
    return search.is_found ? 1 : -1;
}
