/*
 * Two independent readings of docs/protocol.md, lua/apply.lua in a real Redis and common/fold.c,
 * play the same random histories and must agree in every byte.
 *
 *     differential [--batches N] [--seed S] [--run R] [--script FILE]
 *
 * The Redis is REDIS_SOCKET, or REDIS_HOST and REDIS_PORT.  Keys start with `differential:` and are
 * removed.  --run plays one run of the seed only, --script another script than the one that is
 * embedded: one with marks in it, or with a fault.  Status 0: no difference, and everything that the
 * rules can answer was seen (not asked for with --run); until it is, up to MORE times N are played.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/slice.h"
#include "tests/differential/coverage.h"
#include "tests/differential/run.h"
#include "tests/differential/script.h"

enum { MORE = 10 };

static redisContext *connect_redis(void)
{
    const char *socket = getenv("REDIS_SOCKET");
    const char *host = getenv("REDIS_HOST");
    const char *port = getenv("REDIS_PORT");
    redisContext *redis = socket != NULL
                              ? redisConnectUnix(socket)
                              : redisConnect(host == NULL ? "127.0.0.1" : host,
                                             port == NULL ? 6379 : (int)strtol(port, NULL, 10));

    if (redis == NULL || redis->err != 0) {
        die("cannot connect to Redis (REDIS_SOCKET, or REDIS_HOST and REDIS_PORT): %s",
            redis == NULL ? "out of memory" : redis->errstr);
    }
    return redis;
}

static int64_t number_of(const char *option, const char *text)
{
    int64_t n;

    if (!slice_to_i64(slice_str(text), 0, INT64_MAX, &n)) {
        die("--%s: %s is no number", option, text);
    }
    return n;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"batches", required_argument, NULL, 'b'},
        {"seed", required_argument, NULL, 's'},
        {"run", required_argument, NULL, 'r'},
        {"script", required_argument, NULL, 'f'},
        {NULL, 0, NULL, 0},
    };
    int64_t batches = 10000, seed = 1, only_run = -1, done = 0;
    const char *script = NULL;
    redisContext *redis;
    int option, number = 0;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'b':
            batches = number_of("batches", optarg);
            break;
        case 's':
            seed = number_of("seed", optarg);
            break;
        case 'r':
            only_run = number_of("run", optarg);
            break;
        case 'f':
            script = optarg;
            break;
        default:
            return EXIT_FAILURE;
        }
    }
    redis = connect_redis();
    script_load(redis, script);
    if (only_run >= 0) {
        done = run_play(redis, (uint64_t)seed, (int)only_run);
    }
    while (only_run < 0 && (done < batches || (!coverage_is_complete() && done < MORE * batches))) {
        done += run_play(redis, (uint64_t)seed, number++);
    }
    redisFree(redis);
    coverage_print();
    (void)printf("%" PRId64 " batches of seed %" PRId64 ": no difference\n", done, seed);
    return only_run >= 0 || coverage_is_complete() ? EXIT_SUCCESS : EXIT_FAILURE;
}
