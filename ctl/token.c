#include "ctl/token.h"

#include <stdio.h>

#include "common/jwt.h"

bool token_mint(const struct ctl *c, const char *user, int64_t ttl_s, char out[TOKEN_MAX],
                struct err *err)
{
    return jwt_mint(slice_str(c->token.secret), slice_str(user), ttl_s, out, TOKEN_MAX, err);
}

int token_print(const struct ctl *c, const char *user)
{
    struct err err = {0};
    char token[TOKEN_MAX];

    if (!token_mint(c, user, c->ttl_s, token, &err)) {
        return ctl_say(CTL_USAGE, "%s", err.text);
    }
    printf(c->json ? "{\"token\":\"%s\"}\n" : "%s\n", token);
    return CTL_DONE;
}
