/*
 * proxies.h - which address a request really comes from.
 *
 * X-Forwarded-For is believed only when the peer is a proxy of ours, and only as far back as our
 * proxies wrote it: the client is the last address in it that is not one of them.  Pure.
 */
#ifndef PRODUCER_PROXIES_H
#define PRODUCER_PROXIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"
#include "common/err.h"
#include "producer/http_parse.h"

enum {
    PROXIES_MAX = 64,
    PROXIES_ADDRESS_BYTES = 16,
};

struct proxies {
    size_t n;
    struct proxies_net {
        uint8_t address[PROXIES_ADDRESS_BYTES]; /* IPv4 is mapped */
        unsigned bits;
    } nets[PROXIES_MAX];
};

/* Reads "10.0.0.0/8, 192.0.2.7, 2001:db8::/32"; an empty text is no proxy. */
bool proxies_parse(struct proxies *p, const char *text, struct err *err) ATTR_MUSTCHECK;

/* Writes the client's address to out: the peer's own, or what its headers tell. */
void proxies_client(const struct proxies *p, const uint8_t peer[PROXIES_ADDRESS_BYTES],
                    const struct http_message *msg, uint8_t out[PROXIES_ADDRESS_BYTES]);

#endif /* PRODUCER_PROXIES_H */
