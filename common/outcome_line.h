/*
 * outcome_line.h - one event of a packed line (docs/protocol.md section 6), for outcome.c.
 *
 * Pure.
 */
#ifndef COMMON_OUTCOME_LINE_H
#define COMMON_OUTCOME_LINE_H

#include <stdbool.h>

#include "common/attr.h"
#include "common/command.h"
#include "common/outcome.h"
#include "common/slice.h"

/*
 * Reads text, one event of the line that answers cmd in partition, into event, whose items the
 * caller frees whatever the result.  *is_answer is false for an `expired`: it answers no command.
 * False when the rules never say this to such a command.
 */
bool outcome_line_event(const struct command *cmd, int partition, struct slice text,
                        struct event *event, bool *is_answer) ATTR_MUSTCHECK;

#endif /* COMMON_OUTCOME_LINE_H */
