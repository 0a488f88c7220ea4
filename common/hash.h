/*
 * hash.h - seeds for hash tables whose keys strangers choose: whoever can choose keys cannot choose
 * collisions.  A seed is as good as secret, and another one each time.  Thread-safe.
 */
#ifndef COMMON_HASH_H
#define COMMON_HASH_H

#include <stdint.h>
#include <stdlib.h>

static inline uint64_t hash_seed(void)
{
    return (uint64_t)arc4random() << 32 | arc4random();
}

#endif /* COMMON_HASH_H */
