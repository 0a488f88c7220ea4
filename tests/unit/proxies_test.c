#include "producer/proxies.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void address(const char *text, uint8_t out[PROXIES_ADDRESS_BYTES])
{
    memset(out, 0, PROXIES_ADDRESS_BYTES);
    if (strchr(text, ':') != NULL) {
        assert_int_equal(inet_pton(AF_INET6, text, out), 1);
        return;
    }
    out[10] = out[11] = 0xff;
    assert_int_equal(inet_pton(AF_INET, text, out + 12), 1);
}

/* The client that proxies see behind peer, with up to two header lines. */
static void expect(const char *proxies, const char *peer, const char *line1, const char *line2,
                   const char *client)
{
    struct proxies p;
    struct http_message msg = {.header_count = 3};
    uint8_t from[PROXIES_ADDRESS_BYTES];
    uint8_t wanted[PROXIES_ADDRESS_BYTES];
    uint8_t got[PROXIES_ADDRESS_BYTES];
    struct err err;

    assert_true(proxies_parse(&p, proxies, &err));
    address(peer, from);
    address(client, wanted);
    msg.headers[0] = (struct http_header){SLICE_LIT("X-Forwarded-For"), slice_str(line1)};
    msg.headers[1] = (struct http_header){SLICE_LIT("Host"), SLICE_LIT("9.9.9.9")};
    msg.headers[2] = (struct http_header){SLICE_LIT("x-forwarded-for"), slice_str(line2)};
    proxies_client(&p, from, &msg, got);
    assert_memory_equal(got, wanted, PROXIES_ADDRESS_BYTES);
}

static void believed_only_from_proxies(void **state)
{
    (void)state;
    expect("", "10.0.0.1", "1.2.3.4", "", "10.0.0.1");
    expect("10.0.0.0/8", "11.0.0.1", "1.2.3.4", "", "11.0.0.1");
    expect("10.0.0.0/8", "10.0.0.1", "1.2.3.4", "", "1.2.3.4");
    expect("10.0.0.0/8", "10.0.0.1", "", "", "10.0.0.1");
}

static void the_last_stranger_counts(void **state)
{
    (void)state;
    expect("10.0.0.0/8", "10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", "", "1.2.3.4");
    expect("10.0.0.0/8", "10.0.0.1", "6.6.6.6", "1.2.3.4, 10.0.0.2", "1.2.3.4");
    expect("10.0.0.0/8", "10.0.0.1", "6.6.6.6", "10.0.0.2", "6.6.6.6");
    expect("10.0.0.0/8", "10.0.0.1", "10.0.0.3,10.0.0.2", "", "10.0.0.3");
}

static void nonsense_is_not_followed(void **state)
{
    (void)state;
    expect("10.0.0.0/8", "10.0.0.1", "1.2.3.4, unknown, 10.0.0.2", "", "10.0.0.2");
    expect("10.0.0.0/8", "10.0.0.1", "1.2.3.4:80", "", "10.0.0.1");
    expect("10.0.0.0/8", "10.0.0.1", "1.2.3.4,,", "", "10.0.0.1");
}

static void ipv6_and_odd_prefixes(void **state)
{
    (void)state;
    expect("2001:db8::/33", "2001:db8:7fff::1", "2001:db9::5", "", "2001:db9::5");
    expect("2001:db8::/33", "2001:db8:8000::1", "2001:db9::5", "", "2001:db8:8000::1");
    expect("::1, 192.0.2.128/25", "192.0.2.129", "[2001:db9::5]", "", "2001:db9::5");
    expect("::1, 192.0.2.128/25", "192.0.2.127", "2001:db9::5", "", "192.0.2.127");
}

static void bad_settings(void **state)
{
    static const char *const bad[] = {"10.0.0.0/33", "10.0.0", "x", "::/129", "1.2.3.4/"};
    struct proxies p;
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(proxies_parse(&p, bad[i], &err));
    }
    assert_true(proxies_parse(&p, "0.0.0.0/0, ::/0", &err));
    assert_int_equal(p.n, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(believed_only_from_proxies),
        cmocka_unit_test(the_last_stranger_counts),
        cmocka_unit_test(nonsense_is_not_followed),
        cmocka_unit_test(ipv6_and_odd_prefixes),
        cmocka_unit_test(bad_settings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
