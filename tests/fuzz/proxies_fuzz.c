/*
 * Trusted proxies on the first line, X-Forwarded-For on the others: who is no proxy of ours is
 * believed nothing, and what a client wrote before our proxies did never changes who it is.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/slice.h"
#include "producer/proxies.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    LINES_MAX = 4,
};

typedef uint8_t address[PROXIES_ADDRESS_BYTES];

static const address inside = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1};
static const address outside = {[10] = 0xff, [11] = 0xff, [12] = 198, 51, 100, 7};

static void require(bool fact)
{
    if (!fact) {
        abort();
    }
}

static void add_line(struct http_message *msg, struct slice value)
{
    msg->headers[msg->header_count++] =
        (struct http_header){.name = SLICE_LIT("X-Forwarded-For"), .value = value};
}

static bool is_believed(const struct proxies *p, const address who, struct slice told)
{
    static struct http_message msg;
    address client;

    msg.header_count = 0;
    add_line(&msg, told);
    proxies_client(p, who, &msg, client);
    return memcmp(client, who, sizeof(client)) != 0;
}

/* Of two clients at least one is not the proxy itself. */
static bool is_proxy(const struct proxies *p, const address who)
{
    return is_believed(p, who, SLICE_LIT("203.0.113.9")) ||
           is_believed(p, who, SLICE_LIT("203.0.113.10"));
}

static void check(const struct proxies *p, const address peer, struct slice rest)
{
    static struct http_message msg, forged;
    address client, again;

    msg.header_count = forged.header_count = 0;
    add_line(&forged, SLICE_LIT("192.0.2.1, 10.0.0.7"));
    while (rest.len > 0 && msg.header_count < LINES_MAX) {
        const struct slice line = slice_cut(rest, '\n', &rest);

        add_line(&msg, line);
        add_line(&forged, line);
    }
    proxies_client(p, peer, &msg, client);
    proxies_client(p, peer, &forged, again);
    require(is_proxy(p, peer) || memcmp(client, peer, sizeof(client)) == 0);
    require(is_proxy(p, client) || memcmp(client, again, sizeof(client)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = {(const char *)data, size};
    const struct slice line = slice_cut(rest, '\n', &rest);
    char *settings = calloc(1, line.len + 1);
    struct proxies p;
    struct err err;

    require(settings != NULL);
    memcpy(settings, line.ptr == NULL ? "" : line.ptr, line.len);
    if (!proxies_parse(&p, settings, &err)) {
        require(proxies_parse(&p, "10.0.0.0/8, 2001:db8::/32", &err));
    }
    check(&p, inside, rest);
    check(&p, outside, rest);
    free(settings);
    return 0;
}
