/*
 * jwt.h - bearer tokens: JSON Web Tokens signed with HS256.
 */
#ifndef COMMON_JWT_H
#define COMMON_JWT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "common/slice.h"

/*
 * Writes a token for user_id, good for ttl_s seconds from now, and a NUL to out: for development
 * and tests; a shop's own login makes the real ones.  Fails with ERR_REJECT when there is no
 * secret, user_id is no id, or out is too small.
 */
bool jwt_mint(struct slice secret, struct slice user_id, int64_t ttl_s, char *out, size_t size,
              struct err *err) ATTR_MUSTCHECK;

#endif /* COMMON_JWT_H */
