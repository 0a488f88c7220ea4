/*
 * log.h - one line per event to stderr, read by machines and by people.
 *
 *     log_info("order.accepted", LOG_STR("order_id", id), LOG_INT("ms", 3));
 *     2026-08-21T10:00:00.123Z info producer order.accepted order_id=0198... ms=3
 *
 * Event names are noun.verb, stable, and listed in docs/operations.md.  Keys are ours; values may
 * come from anybody: they are cut at 256 bytes and quoted and escaped where they could be taken
 * for something else, so a line is always one line of printable ASCII.  With the JSON format a
 * line is an object with time, level, program, event and the fields.  A line is one write() of at
 * most 4,096 bytes; fields that find no room are left out and `cut=true` says so.  No line is waited
 * for: those that a full pipe or disk does not take are dropped, and the next one has `dropped=N`; so is
 * one of which a disk took a part, which stays and is ended.
 *
 * Levels: error = someone must act; warn = we degraded; info = life cycle, a line per connection or
 * partition; debug = per order, switchable while running (SIGUSR1, see daemon.h) and compiled in
 * always.  The arguments of a line that is switched off are not evaluated.
 *
 * errno survives every call.  Any thread, also before log_init().
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/slice.h"

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
};

enum log_format {
    LOG_FORMAT_TEXT,
    LOG_FORMAT_JSON,
};

enum log_field_type {
    LOG_FIELD_END,
    LOG_FIELD_TEXT,
    LOG_FIELD_NUMBER,
    LOG_FIELD_BOOL,
};

/* Made by the LOG_ macros below; the text is borrowed for the length of the call. */
struct log_field {
    const char *key;
    enum log_field_type type;
    struct slice text;
    int64_t number;
};

#define LOG_SLICE(k, s) ((struct log_field){.key = (k), .type = LOG_FIELD_TEXT, .text = (s)})
#define LOG_STR(k, s)   LOG_SLICE(k, slice_str(s))
#define LOG_INT(k, n)   ((struct log_field){.key = (k), .type = LOG_FIELD_NUMBER, .number = (n)})
#define LOG_BOOL(k, b)  ((struct log_field){.key = (k), .type = LOG_FIELD_BOOL, .number = (b)})

/* What a failed function said: error=text. */
#define LOG_ERR(e) LOG_STR("error", (e)->text)

/* An errno value in words: error=text.  Give the saved number, not a call. */
#define LOG_ERRNO(number) LOG_STR("error", strerror(number))

#define LOG_END ((struct log_field){.type = LOG_FIELD_END})

/* log_info("noun.verb", fields...), with no or any number of LOG_ fields. */
#define log_error(...)     log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)      log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)      log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)     log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_at(level, ...) LOG_EMIT(log_event, level, __VA_ARGS__, LOG_END)

/*
 * log_limited(LOG_LEVEL_WARN, "redis.lost", fields...): for failures that repeat.  Per event name
 * one line per 5 s passes; the next one that passes carries suppressed=N.
 */
#define log_limited(level, ...) LOG_EMIT(log_event_limited, level, __VA_ARGS__, LOG_END)

#define LOG_EMIT(emit, level, event, ...)                                                          \
    do {                                                                                           \
        if (log_enabled(level)) {                                                                  \
            emit(level, event, (const struct log_field[]){__VA_ARGS__});                           \
        }                                                                                          \
    } while (0)

/* program (borrowed for ever: a literal) stands in every line. */
void log_init(const char *program, enum log_level level, enum log_format format);

bool log_enabled(enum log_level level);
void log_set_level(enum log_level level);

/* Debug on, or back to the level of log_init(). */
void log_toggle_debug(void);

/* Writes what is still suppressed as log.suppressed lines; the last thing before a program ends. */
void log_flush(void);

/* Name of a level ("info") and of a format, in the order of the enums, NULL at the end. */
extern const char *const log_level_names[];
extern const char *const log_format_names[];

/* For tests: lines (with their newline) go to sink instead of stderr; NULL ends that. */
typedef void log_sink_fn(struct slice line, void *arg);
void log_set_sink(log_sink_fn *sink, void *arg);

/* Behind the macros; fields end with LOG_END. */
void log_event(enum log_level level, const char *event, const struct log_field *fields);
void log_event_limited(enum log_level level, const char *event, const struct log_field *fields);

#endif /* COMMON_LOG_H */
