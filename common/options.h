/*
 * options.h - the options that several programs have, so that they are the same everywhere.
 *
 * A program takes the groups it needs: it embeds the struct in its settings and names the array in
 * its conf_group list.  A key of a group it does not take is passed over in the part of the
 * file that is common to all programs.
 */
#ifndef COMMON_OPTIONS_H
#define COMMON_OPTIONS_H

#include <stdint.h>

#include "common/conf.h"

struct options_log {
    int level;  /* enum log_level */
    int format; /* enum log_format */
};

struct options_kafka {
    const char *brokers;
    const char *topic_orders;
    const char *topic_outcomes;
    const char *topic_dead;
    int64_t partitions;
    int64_t replicas_min;
};

struct options_redis {
    const char *host;
    int64_t port;
    const char *password; /* "" = none */
    const char *key_prefix;
};

struct options_mysql {
    const char *host;
    int64_t port;
    const char *user;
    const char *password;
    const char *database;
};

/* For the programs that check or mint bearer tokens. */
struct options_token {
    const char *secret; /* "" when not given: the program says whether it can do without */
};

struct options_metrics {
    const char *listen; /* "" = off */
};

extern const struct conf_option options_log[];
extern const struct conf_option options_kafka[];
extern const struct conf_option options_redis[];
extern const struct conf_option options_mysql[];
extern const struct conf_option options_token[];
extern const struct conf_option options_metrics[];

extern const struct conf_family options_family;

#endif /* COMMON_OPTIONS_H */
