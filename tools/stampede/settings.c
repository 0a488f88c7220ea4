#include "tools/stampede/settings.h"

#include <stdlib.h>
#include <string.h>

#include "common/ids.h"
#include "common/slice.h"

enum { SHOPPERS_MAX = 20000000 };

/* A percentage of the crowd. */
#define PERCENT(key, field, def, text) CONF_ARG_INT(key, struct settings, field, def, 0, 100, text)
#define WEIGHT(key, field, def, text)                                                              \
    CONF_ARG_INT(key, struct settings, field, def, 0, 1000000, text)

static const struct conf_option own[] = {
    CONF_STRING("url", struct settings, url, "http://127.0.0.1:8080", NULL,
                "Address of a producer."),

    CONF_ARG_STRING("item", struct settings, item, "phone",
                    "What the crowd wants; of several, separated by commas, each its share."),
    CONF_ARG_ENUM("arrivals", struct settings, arrivals, "crowd", arrivals_names,
                  "When they come."),
    CONF_ARG_STRING("rate", struct settings, rate, "1000/s",
                    "Arrivals, where it is greatest; all but a crowd."),
    CONF_ARG_MS("duration", struct settings, duration_ms, "10s", 1, 3600000,
                "For how long they come; all but a crowd."),
    CONF_ARG_INT("shoppers", struct settings, shoppers, 20000, 1, 10000000,
                 "How many come; a crowd."),
    CONF_ARG_INT("spread-ms", struct settings, spread_ms, 10000, 1, 3600000,
                 "Time over which they arrive; a crowd."),
    PERCENT("front", front, 50, "Percent of them that come in the first fifth of it; a crowd."),

    WEIGHT("pay", habits.pay, 60, "Weight of those who pay for what they reserved."),
    WEIGHT("cancel", habits.cancel, 15, "Weight of those who cancel it."),
    WEIGHT("abandon", habits.abandon, 25, "Weight of those who leave it to expire."),
    PERCENT("wait", habits.wait, 50,
            "Percent who hold the line for the decision (Prefer: wait); the others poll."),
    CONF_ARG_INT("wait-s", struct settings, habits.wait_s, 5, 1, 60, "How long, in seconds."),
    PERCENT("keyed", habits.keyed, 100, "Percent who send an Idempotency-Key."),
    PERCENT("double-press", habits.double_press, 10, "Percent who press twice at once; keyed."),
    PERCENT("retry", habits.retry, 10,
            "Percent who ask once more with the same key when it is decided."),
    PERCENT("come-back", habits.come_back, 40, "Percent who come back after sold out."),
    CONF_ARG_INT("returns", struct settings, habits.returns, 3, 0, 1000, "How often those do."),
    CONF_ARG_INT("think-ms", struct settings, habits.think_ms, 1500, 0, 3600000,
                 "At most, before they pay or cancel."),
    CONF_ARG_INT("patience-ms", struct settings, patience_ms, 60000, 1000, 3600000,
                 "After the last arrival; then everybody goes home."),

    CONF_ARG_INT("connections", struct settings, connections, 2000, 1, 50000,
                 "Open at once; what comes while all are busy waits, and is counted."),
    CONF_ARG_INT("addresses", struct settings, addresses, 62500, 0, CLIENT_ADDRESSES_MAX,
                 "They come from so many addresses 127.x.y.z, if the door is there; 0: from one."),
    CONF_ARG_MS("timeout", struct settings, timeout_ms, "20s", 100, 600000,
                "Without an answer for so long, nobody knows."),
    CONF_ARG_INT("seed", struct settings, seed, 1, 0, 1000000000,
                 "The same crowd for the same seed."),

    CONF_ARG_STRING("report", struct settings, report, "", "File for the report as JSON."),
    CONF_ARG_STRING("html", struct settings, html, "", "File for the report as a page."),
    CONF_ARG_BOOL("json", struct settings, json, "The report as JSON in the place of text."),
    CONF_ARG_MS("step", struct settings, step_ms, "1s", 100, 60000, "Of the report's series."),
    CONF_ARG_STRING("ledger", struct settings, ledger, "",
                    "File for what each shopper was told; then nothing is judged here."),
    CONF_ARG_BOOL("unjudged", struct settings, unjudged,
                  "Compare nothing with any record: a bench of the door alone."),
    CONF_ARG_STRING("verify", struct settings, verify, "seckill-guardian verify --json",
                    "Command whose JSON is the proof."),
    CONF_ARG_INT("settle-ms", struct settings, settle_ms, 3500, 0, 600000,
                 "How long to wait at the end for the last holds to expire."),
    CONF_ARG_INT("limit", struct settings, limit, 1, 1, 1000, "The sale's limit per user."),
    CONF_OPTIONS_END,
};

static const struct conf_group groups[] = {
    {options_log, offsetof(struct settings, log)},
    {options_mysql, offsetof(struct settings, mysql)},
    {options_token, offsetof(struct settings, token)},
    {own, 0},
    {NULL, 0},
};

const struct conf_spec settings_options = {
    .program = "ctl",
    .binary = "stampede",
    .summary = "a crowd storms a sale, and what it was told is compared with the record",
    .usage =
        "Shoppers come at their planned times, whatever the door does; latency counts from there.\n"
        "At the end every answer is compared with MySQL and the log: exit status 0 if all is true.\n"
        "\n"
        "  stampede --item phone --shoppers 20000              a crowd, most of it early\n"
        "  stampede --item phone --arrivals spike --rate 5000/s --duration 10s --html sale.html\n"
        "  stampede --item phone --arrivals poisson --rate 800 --wait 100 --pay 1 --cancel 0 "
        "--abandon 0\n"
        "\n"
        "  crowd     --shoppers over --spread-ms, --front percent of them in its first fifth\n"
        "  steady    at even distances;  poisson: independent of each other\n"
        "  ramp      from nothing to --rate\n"
        "  spike     --rate in the middle fifth of --duration, a tenth of it before and behind\n"
        "\n"
        "Processes named by the environment (PRODUCER_PID, MATCHER_2_PID, REDIS_PID ...) have their\n"
        "CPU in the report.  How to read it: docs/stampede.md.\n",
    .groups = groups,
    .family = &options_family,
};

/* Options that say nothing about these arrivals are a mistake. */
static bool check_given(const struct conf *conf, bool is_crowd, struct err *err)
{
    static const char *const of_crowd[] = {"shoppers", "spread-ms", "front", NULL};
    static const char *const of_others[] = {"rate", "duration", NULL};

    for (const char *const *name = is_crowd ? of_others : of_crowd; *name != NULL; name++) {
        if (conf_given(conf, *name)) {
            return err_set(err, ERR_REJECT, "--%s says nothing about %s", *name,
                           is_crowd ? "a crowd; see --arrivals" : "arrivals other than a crowd");
        }
    }
    return true;
}

static bool check_items(const char *items, struct err *err)
{
    struct slice rest = slice_str(items);
    size_t n = 0;

    for (; rest.ptr != NULL; n++) {
        const struct slice item = slice_cut(rest, ',', &rest);

        if (!ids_is_item(item) || n == TOLD_ITEMS) {
            return err_set(err, ERR_REJECT, "--item %.80s: 1 to %d ids, separated by commas", items,
                           TOLD_ITEMS);
        }
    }
    return true;
}

void settings_items(const struct settings *s, struct told *ledger)
{
    struct slice rest = slice_str(s->item);

    for (ledger->n_items = 0; rest.ptr != NULL; ledger->n_items++) {
        if (!slice_copy(slice_cut(rest, ',', &rest), ledger->items[ledger->n_items],
                        sizeof(ledger->items[0]))) {
            return;
        }
    }
}

bool settings_plan(const struct conf *conf, const struct settings *s, struct storm_plan *plan,
                   struct err *err)
{
    const bool is_crowd = s->arrivals == ARRIVALS_CROWD;
    struct arrivals *a = &plan->arrivals;

    *plan = (struct storm_plan){.url = s->url,
                                .secret = s->token.secret,
                                .habits = s->habits,
                                .connections = (size_t)s->connections,
                                .addresses = (size_t)s->addresses,
                                .timeout_ms = s->timeout_ms,
                                .patience_ms = s->patience_ms,
                                .step_ms = s->step_ms,
                                .seed = (uint64_t)s->seed};
    a->kind = (enum arrivals_kind)s->arrivals;
    a->duration_us = 1000 * (is_crowd ? s->spread_ms : s->duration_ms);
    a->shoppers = (size_t)s->shoppers;
    a->front = (unsigned)s->front;
    if (!check_given(conf, is_crowd, err) || !check_items(s->item, err)) {
        return false;
    }
    if (s->habits.pay + s->habits.cancel + s->habits.abandon == 0) {
        return err_set(err, ERR_REJECT, "--pay, --cancel and --abandon are all 0");
    }
    if (is_crowd) {
        return true;
    }
    if (!arrivals_rate(s->rate, &a->rate_per_s, err)) {
        return false;
    }
    if (a->rate_per_s * (double)a->duration_us / 1e6 > SHOPPERS_MAX) {
        return err_set(err, ERR_REJECT, "more than %d shoppers would come", SHOPPERS_MAX);
    }
    return true;
}
