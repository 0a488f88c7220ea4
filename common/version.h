/*
 * version.h - which build this is, and on which libraries it runs.
 */
#ifndef COMMON_VERSION_H
#define COMMON_VERSION_H

#include "common/buf.h"

/* As `git describe` named the source, or "unknown". */
const char *version_string(void);

/* Appends "librdkafka=2.0.2 libevent=2.1.12-stable ..." of the libraries loaded now. */
void version_libraries(struct buf *out);

/* The start line of a program: program.started with version, revision and libraries, at info. */
void version_log(void);

#endif /* COMMON_VERSION_H */
