/*
 * page.h - the report as one page that needs nothing else: no other file, no network.
 */
#ifndef STAMPEDE_PAGE_H
#define STAMPEDE_PAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "common/attr.h"
#include "common/err.h"

bool page_write(const json_t *report, const char *path, struct err *err) ATTR_MUSTCHECK;

/* Text as it may stand between tags and in quoted attributes. */
void page_text(FILE *out, const char *text);

#endif /* STAMPEDE_PAGE_H */
