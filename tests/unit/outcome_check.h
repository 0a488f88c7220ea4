/*
 * outcome_check.h - what the tests of common/outcome.h check an outcome with.  Whatever is not so
 * fails the test.
 */
#ifndef TESTS_UNIT_OUTCOME_CHECK_H
#define TESTS_UNIT_OUTCOME_CHECK_H

#include "common/outcome.h"

#define LOG_ID "0123456789abcdef0123456789abcdef"
#define ONE    "0190163d-8694-7003-b966-02a1b9e15d3c"
#define TWO    "e787366c-4cc6-8003-b966-02a1b9e15d3c"
#define ABROAD "0190163d-8694-7002-b966-02a1b9e15d3c"

#define HEAD                                                                                       \
    "{\"partition\":3,\"offset\":17,\"prev\":16,\"genesis\":\"" LOG_ID                             \
    "\",\"hash\":\"00000000000000fe\",\"chain\":\"00000000000000ff\",\"rules\":1,\"log_time\":1712345678901,\"events\":["

#define FIRST(type) "{\"index\":0,\"type\":\"" type "\","
#define CONTENT     "\"order_id\":\"" ONE "\",\"item_id\":\"phone@3\",\"user_id\":\"alice\",\"qty\":2"

/* HEAD, parsed. */
extern const struct outcome_head head;

/* One command of each type, in the order of enum command_type. */
extern const char *const commands[];

#define PAY_WITHOUT_USER "{\"type\":\"pay\",\"order_id\":\"" ONE "\",\"payment_id\":\"pay1\"}"

struct command command_of(const char *json);

/* Whether an outcome is made of a command and this line of the script; it is that, or fatal. */
bool takes(const struct command *cmd, struct slice line);
void assert_takes(const char *json, const char *line, bool want);

/* Parses value as it is, and with a blank in front (so by the JSON library): both agree. */
void parse(struct outcome *o, struct slice value);

/* The event that reading gives for a command, a line and what both become in JSON. */
void check(struct outcome *o, const char *json, const char *line, const char *events);

/* An event of this type that tells all of CONTENT, and neither total nor price. */
void assert_content(const struct event *e, enum event_type type);

#endif /* TESTS_UNIT_OUTCOME_CHECK_H */
