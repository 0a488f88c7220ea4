#include "producer/proxies.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "common/slice.h"

enum {
    MAPPED_BITS = 96, /* before the IPv4 address in a mapped one */
};

/* An address in text, as 16 bytes; *is_v4 tells how it was written. */
static bool parse_address(struct slice text, uint8_t out[PROXIES_ADDRESS_BYTES], bool *is_v4)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    char name[INET6_ADDRSTRLEN];

    if (text.len >= 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']') {
        text = (struct slice){text.ptr + 1, text.len - 2};
    }
    if (!slice_copy(text, name, sizeof(name))) {
        return false;
    }
    memcpy(out, mapped, sizeof(mapped));
    *is_v4 = inet_pton(AF_INET, name, out + sizeof(mapped)) == 1;
    return *is_v4 || inet_pton(AF_INET6, name, out) == 1;
}

bool proxies_parse(struct proxies *p, const char *text, struct err *err)
{
    struct slice rest = slice_str(text);

    p->n = 0;
    while (rest.len > 0) {
        const struct slice entry = slice_trim(slice_cut(rest, ',', &rest));
        struct slice bits_text;
        const struct slice address = slice_cut(entry, '/', &bits_text);
        struct proxies_net net;
        int64_t bits;
        bool is_v4 = false;

        if (p->n == PROXIES_MAX) {
            return err_set(err, ERR_REJECT, "more than %d trusted proxies", PROXIES_MAX);
        }
        if (!parse_address(address, net.address, &is_v4)) {
            return err_set(err, ERR_REJECT, "\"%.*s\" is no address", (int)address.len,
                           address.ptr == NULL ? "" : address.ptr);
        }
        bits = is_v4 ? 32 : 128;
        if (bits_text.ptr != NULL && !slice_to_i64(bits_text, 0, bits, &bits)) {
            return err_set(err, ERR_REJECT, "\"%.*s\" is no prefix length", (int)bits_text.len,
                           bits_text.ptr);
        }
        net.bits = (unsigned)bits + (is_v4 ? MAPPED_BITS : 0);
        p->nets[p->n++] = net;
    }
    return true;
}

static bool is_trusted(const struct proxies *p, const uint8_t address[PROXIES_ADDRESS_BYTES])
{
    for (size_t i = 0; i < p->n; i++) {
        const size_t bytes = p->nets[i].bits / 8;
        const unsigned rest = p->nets[i].bits % 8;
        const unsigned mask = rest == 0 ? 0 : (0xffU << (8 - rest)) & 0xffU;

        if (memcmp(address, p->nets[i].address, bytes) == 0 &&
            (rest == 0 || (address[bytes] & mask) == (p->nets[i].address[bytes] & mask))) {
            return true;
        }
    }
    return false;
}

void proxies_client(const struct proxies *p, const uint8_t peer[PROXIES_ADDRESS_BYTES],
                    const struct http_message *msg, uint8_t out[PROXIES_ADDRESS_BYTES])
{
    memcpy(out, peer, PROXIES_ADDRESS_BYTES);
    if (p->n == 0 || !is_trusted(p, peer)) {
        return;
    }
    /* From the last line backwards, and in each from its end: the nearest proxy wrote last. */
    for (size_t i = msg->header_count; i-- > 0;) {
        static const char name[] = "x-forwarded-for";
        struct slice list = msg->headers[i].value;

        if (msg->headers[i].name.len != sizeof(name) - 1 ||
            strncasecmp(msg->headers[i].name.ptr, name, sizeof(name) - 1) != 0) {
            continue;
        }
        while (list.len > 0) {
            size_t start = list.len;
            uint8_t address[PROXIES_ADDRESS_BYTES];
            bool is_v4;

            while (start > 0 && list.ptr[start - 1] != ',') {
                start--;
            }
            if (!parse_address(slice_trim((struct slice){list.ptr + start, list.len - start}),
                               address, &is_v4)) {
                return; /* a proxy of ours wrote nonsense: the last hop we know stands */
            }
            memcpy(out, address, PROXIES_ADDRESS_BYTES);
            if (!is_trusted(p, address)) {
                return;
            }
            list.len = start > 0 ? start - 1 : 0;
        }
    }
}
