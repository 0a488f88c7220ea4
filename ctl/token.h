/*
 * token.h - bearer tokens for trying things out.
 */
#ifndef CTL_TOKEN_H
#define CTL_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "ctl/ctl.h"

enum { TOKEN_MAX = 1024 };

/* Writes a token for user, good for ttl_s seconds, and a NUL to out. */
bool token_mint(const struct ctl *c, const char *user, int64_t ttl_s, char out[TOKEN_MAX],
                struct err *err) ATTR_MUSTCHECK;

#endif /* CTL_TOKEN_H */
