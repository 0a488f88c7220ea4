/*
 * What is taken is wiped from the store: later it tells nobody which ids were given out.
 */
#include "common/entropy.h"

#include <assert.h>
#include <openssl/rand.h>
#include <string.h>

enum { STORE_BYTES = 4096 };

static unsigned char store[STORE_BYTES];
static size_t left;

bool entropy_take(void *out, size_t len)
{
    assert(len <= ENTROPY_MAX);
    if (left < len) {
        if (RAND_bytes(store, sizeof(store)) != 1) {
            return false;
        }
        left = sizeof(store);
    }
    left -= len;
    memcpy(out, store + left, len);
    memset(store + left, 0, len);
    return true;
}
