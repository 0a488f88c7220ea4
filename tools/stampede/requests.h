/*
 * requests.h - the bytes of what shoppers ask, put together from parts made beforehand: a token
 * per shopper is signed once, before the storm.
 *
 * One thread.
 */
#ifndef STAMPEDE_REQUESTS_H
#define STAMPEDE_REQUESTS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/attr.h"
#include "common/err.h"
#include "tools/stampede/client.h"
#include "tools/stampede/shopper.h"

struct requests;

/* Tokens for as many shoppers.  NULL with err when they cannot be signed. */
struct requests *requests_create(const char *secret, size_t shoppers, int64_t wait_s,
                                 struct err *err) ATTR_MUSTCHECK;
void requests_destroy(struct requests *r);

/* What the shopper asks in its present step.  Returns the number of bytes. */
size_t requests_write(const struct requests *r, const struct crowd *crowd, const struct shopper *s,
                      const char *host, char out[CLIENT_REQUEST_MAX]);

#endif /* STAMPEDE_REQUESTS_H */
