/*
 * ctl.h - what the commands of seckillctl share: settings, exit codes, output.
 *
 * seckillctl is a tool for people and scripts: it blocks, does one thing and leaves.  Each command
 * is a function that returns one of the exit codes; it has said why on stderr when that is not
 * CTL_DONE.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/options.h"

enum {
    CTL_DONE = 0,    /* it is so */
    CTL_REFUSED = 1, /* the system's answer is no */
    CTL_UNKNOWN =
        2, /* could not ask, or nobody knows; asking again is safe where the help says so */
    CTL_USAGE = 64, /* the command line or the settings are wrong */
};

/* The settings; numbers of a sale are -1 when not given. */
struct ctl {
    struct options_log log;
    struct options_kafka kafka;
    struct options_redis redis;
    struct options_mysql mysql;
    struct options_token token;
    const char *url;
    int64_t timeout_ms;

    bool json;
    int64_t stock, limit, hold_ms, opens_at, closes_at, price;
    int64_t rules;
    const char *op_id;
    const char *user;
    const char *key;
    int64_t qty;
    int64_t wait_s;
    int64_t ttl_s;
    int64_t count;
    int64_t interval_ms;

    const struct conf *conf; /* borrowed */
};

/* Says what went wrong on stderr and gives the exit code of its kind. */
int ctl_fail(const struct err *err);

/* The same with a text of our own and any code. */
int ctl_say(int code, const char *fmt, ...) ATTR_PRINTF(2, 3);

/* The commands; words are those after the command's name. */
int topics_create(const struct ctl *c);
int rules_show(const struct ctl *c);
int rules_set(const struct ctl *c, const char *number);
int token_print(const struct ctl *c, const char *user);
int sale_apply(const struct ctl *c, const char *action, const char *item_id, const char *units);
int sale_archive(const struct ctl *c, const char *item_id);
int sale_show(const struct ctl *c, const char *item_id);
int sale_list(const struct ctl *c);
int sale_watch(const struct ctl *c, const char *item_id);
int order_place(const struct ctl *c, const char *item_id);
int order_show(const struct ctl *c, const char *order_id);
int order_pay(const struct ctl *c, const char *order_id, const char *payment_id);
int order_cancel(const struct ctl *c, const char *order_id);
int health_ask(const struct ctl *c, const char *url);

#endif /* CTL_CTL_H */
