/*
 * settings.h - the options of stampede, and the storm that they plan.
 */
#ifndef STAMPEDE_SETTINGS_H
#define STAMPEDE_SETTINGS_H

#include <stdbool.h>

#include "common/attr.h"
#include "common/conf.h"
#include "common/options.h"
#include "tools/stampede/storm.h"

struct settings {
    struct options_log log;
    struct options_mysql mysql;
    struct options_token token;
    struct habits habits;
    const char *url, *item, *rate;
    const char *report, *html, *ledger, *verify;
    int arrivals; /* enum arrivals_kind */
    int64_t shoppers, connections, addresses, duration_ms, spread_ms, patience_ms, settle_ms;
    int64_t timeout_ms, step_ms, limit, front, seed;
    bool json, unjudged;
};

extern const struct conf_spec settings_options;

/* The storm that the settings describe; what it borrows lives as long as the conf. */
bool settings_plan(const struct conf *conf, const struct settings *s, struct storm_plan *plan,
                   struct err *err) ATTR_MUSTCHECK;

/* Gives the ledger its items, which settings_plan() has found good. */
void settings_items(const struct settings *s, struct told *ledger);

#endif /* STAMPEDE_SETTINGS_H */
