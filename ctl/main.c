/*
 * main.c - seckillctl: topics, sales, tokens and orders from a terminal or a script.
 */
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "ctl/ctl.h"

static const struct conf_option own[] = {
    CONF_STRING("url", struct ctl, url, "http://127.0.0.1:8080", NULL,
                "Address of a producer, for `order` (but not `order show`)."),
    CONF_MS("timeout", struct ctl, timeout_ms, "15s", 100, 600000, "How long a command may take."),
    CONF_ARG_BOOL("json", struct ctl, json, "Print JSON, one object."),
    CONF_ARG_INT("stock", struct ctl, stock, -1, -1, 1000000000, "sale: units in all."),
    CONF_ARG_INT("limit", struct ctl, limit, -1, -1, 1000, "sale: units per user."),
    CONF_ARG_INT("hold-ms", struct ctl, hold_ms, -1, -1, 604800000,
                 "sale: how long a reservation waits for payment."),
    CONF_ARG_INT("opens-at", struct ctl, opens_at, -1, -1, 9007199254740991,
                 "sale: ms since 1970 when ordering begins; 0 = at once."),
    CONF_ARG_INT("closes-at", struct ctl, closes_at, -1, -1, 9007199254740991,
                 "sale: ms since 1970 when ordering ends; 0 = never."),
    CONF_ARG_INT("price", struct ctl, price, -1, -1, 1000000000000, "sale: minor currency units."),
    CONF_ARG_STRING("op-id", struct ctl, op_id, "",
                    "sale: name of this operation; repeated with the same name it counts once."),
    CONF_ARG_INT("rules", struct ctl, rules, 0, 0, 1000000,
                 "topics create: the rules number that a new log begins under; 0 = the newest."),
    CONF_ARG_STRING("user", struct ctl, user, "", "order: on whose behalf."),
    CONF_ARG_STRING("key", struct ctl, key, "", "order place: the Idempotency-Key."),
    CONF_ARG_INT("qty", struct ctl, qty, 1, 1, 1000, "order place: units."),
    CONF_ARG_INT("wait", struct ctl, wait_s, 10, 0, 600,
                 "order: seconds to wait for the decision."),
    CONF_ARG_INT("ttl", struct ctl, ttl_s, 86400, 1, 31536000, "token: seconds it is good for."),
    CONF_ARG_INT("count", struct ctl, count, 0, 0, 1000000000, "sale watch: lines; 0 = until ^C."),
    CONF_ARG_INT("interval-ms", struct ctl, interval_ms, 1000, 50, 3600000,
                 "sale watch: time between lines."),
    CONF_OPTIONS_END,
};

static const struct conf_group groups[] = {
    {options_log, offsetof(struct ctl, log)},
    {options_kafka, offsetof(struct ctl, kafka)},
    {options_redis, offsetof(struct ctl, redis)},
    {options_mysql, offsetof(struct ctl, mysql)},
    {options_token, offsetof(struct ctl, token)},
    {own, 0},
    {NULL, 0},
};

static const char usage[] =
    "  seckillctl topics create [--rules N]  the topics, with a genesis in each empty partition\n"
    "  seckillctl rules show | set N         the rules number of each partition; set appends the\n"
    "                                        command to those that have another\n"
    "  seckillctl sale open ITEM --stock N --limit N --hold-ms N [--opens-at] [--closes-at] [--price]\n"
    "                                        repeating it changes the sale; a paused one resumes\n"
    "  seckillctl sale change ITEM [the same options]\n"
    "  seckillctl sale pause|resume|close ITEM\n"
    "  seckillctl sale restock ITEM N        N more units\n"
    "  seckillctl sale archive ITEM          of a closed one Redis forgets the orders; MySQL keeps them\n"
    "  seckillctl sale show ITEM | list | watch ITEM\n"
    "  seckillctl token USER                 a bearer token for trying things out\n"
    "  seckillctl order place ITEM --user U [--qty N] [--key K] [--wait S]\n"
    "  seckillctl order show ORDER [--user U]\n"
    "  seckillctl order pay ORDER PAYMENT --user U | cancel ORDER --user U\n"
    "  seckillctl health [URL]               is the daemon there ready?  (URL: --url; /readyz if it\n"
    "                                        has no path)\n"
    "Exit: 0 done, 1 refused or not found, 2 could not ask or unknown, 64 wrong usage.\n"
    "After 2 a sale command may be repeated safely with the --op-id it printed, an order with its\n"
    "--key, a payment with its id.\n";

static const struct conf_spec spec = {
    .program = "ctl",
    .binary = "seckillctl",
    .summary = "topics, sales, tokens and orders from a terminal or a script",
    .usage = usage,
    .groups = groups,
    .family = &options_family,
};

static int run_sale(const struct ctl *c, const char *const *w, size_t n)
{
    static const char *const plain[] = {"open", "change", "pause", "resume", "close"};

    if (n == 2 && strcmp(w[1], "list") == 0) {
        return sale_list(c);
    }
    if (n == 3 && strcmp(w[1], "show") == 0) {
        return sale_show(c, w[2]);
    }
    if (n == 3 && strcmp(w[1], "watch") == 0) {
        return sale_watch(c, w[2]);
    }
    if (n == 3 && strcmp(w[1], "archive") == 0) {
        return sale_archive(c, w[2]);
    }
    if (n == 4 && strcmp(w[1], "restock") == 0) {
        return sale_apply(c, w[1], w[2], w[3]);
    }
    for (size_t i = 0; n == 3 && i < sizeof(plain) / sizeof(plain[0]); i++) {
        if (strcmp(w[1], plain[i]) == 0) {
            return sale_apply(c, w[1], w[2], NULL);
        }
    }
    return ctl_say(CTL_USAGE, "not a sale command; see seckillctl --help");
}

static int run_order(const struct ctl *c, const char *const *w, size_t n)
{
    if (n == 3 && strcmp(w[1], "show") == 0) {
        return order_show(c, w[2]);
    }
    if (c->user[0] == '\0' && n >= 2) {
        return ctl_say(CTL_USAGE, "order %s needs --user", w[1]);
    }
    if (n == 3 && strcmp(w[1], "place") == 0) {
        return order_place(c, w[2]);
    }
    if (n == 4 && strcmp(w[1], "pay") == 0) {
        return order_pay(c, w[2], w[3]);
    }
    if (n == 3 && strcmp(w[1], "cancel") == 0) {
        return order_cancel(c, w[2]);
    }
    return ctl_say(CTL_USAGE, "not an order command; see seckillctl --help");
}

static int run(const struct ctl *c)
{
    size_t n = 0;
    const char *const *w = conf_arguments(c->conf, &n);

    if (n == 2 && strcmp(w[0], "topics") == 0 && strcmp(w[1], "create") == 0) {
        return topics_create(c);
    }
    if (n == 2 && strcmp(w[0], "rules") == 0 && strcmp(w[1], "show") == 0) {
        return rules_show(c);
    }
    if (n == 3 && strcmp(w[0], "rules") == 0 && strcmp(w[1], "set") == 0) {
        return rules_set(c, w[2]);
    }
    if (n == 2 && strcmp(w[0], "token") == 0) {
        return token_print(c, w[1]);
    }
    if (n >= 1 && strcmp(w[0], "sale") == 0) {
        return run_sale(c, w, n);
    }
    if (n >= 1 && strcmp(w[0], "order") == 0) {
        return run_order(c, w, n);
    }
    if ((n == 1 || n == 2) && strcmp(w[0], "health") == 0) {
        return health_ask(c, n == 2 ? w[1] : c->url);
    }
    return ctl_say(CTL_USAGE, "%s; see seckillctl --help",
                   n == 0 ? "no command" : "unknown command");
}

int main(int argc, char **argv)
{
    struct ctl c = {0};
    struct err err = {0};
    struct conf *conf = conf_create(&spec, &c);
    int code = CTL_DONE;

    switch (conf_load(conf, argc, argv, &err)) {
    case CONF_RUN:
        c.conf = conf;
        log_init("ctl", (enum log_level)c.log.level, (enum log_format)c.log.format);
        code = run(&c);
        break;
    case CONF_DONE:
        break;
    case CONF_WRONG:
        code = ctl_say(CTL_USAGE, "%s", err.text);
        break;
    }
    conf_destroy(conf);
    if (fflush(stdout) != 0) {
        code = ctl_say(CTL_UNKNOWN, "cannot write the answer");
    }
    return code;
}
