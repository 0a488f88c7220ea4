/*
 * run.h - one random history of one partition: through the script, through the fold, compared.
 *
 * Every difference ends the program, naming what makes it happen again.
 */
#ifndef TESTS_DIFFERENTIAL_RUN_H
#define TESTS_DIFFERENTIAL_RUN_H

#include <hiredis/hiredis.h>
#include <stdint.h>

/* Plays run number `number` of seed and returns how many batches it had. */
int run_play(redisContext *redis, uint64_t seed, int number);

#endif /* TESTS_DIFFERENTIAL_RUN_H */
