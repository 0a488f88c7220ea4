/*
 * coverage.h - which answers a test has seen, so that a green one cannot be an empty one.
 */
#ifndef TESTS_DIFFERENTIAL_COVERAGE_H
#define TESTS_DIFFERENTIAL_COVERAGE_H

#include <stdbool.h>

#include "common/attr.h"
#include "common/fold.h"

/*
 * Counts the events of one command's line, and the bounds that it shows.  Ends the program when the
 * line is none that the rules know.  fold is the state after the command.
 */
void coverage_line(const struct fold *fold, struct slice line);

/* Counts something by its name; ends the program when there is no such name. */
void coverage_hit(const char *name);

/* Everything was seen; coverage_print() says what was not. */
bool coverage_is_complete(void) ATTR_MUSTCHECK;

/* Prints every name with its count. */
void coverage_print(void);

#endif /* TESTS_DIFFERENTIAL_COVERAGE_H */
