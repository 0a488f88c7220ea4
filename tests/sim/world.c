#include "tests/sim/world.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "tests/sim/doors.h"
#include "tests/sim/guardians.h"
#include "tests/sim/log.h"
#include "tests/sim/matchers.h"

enum {
    MONO_MAX_MS = 1000000000,
    WALL_OFF_MS = 5000,
};

enum mutant mutant_chosen;
enum mutant mutant_also;

#define COVER_TEXT(name, text) [COVER_##name] = (text),
const char *const cover_texts[COVER_COUNT] = {COVERS(COVER_TEXT)};

void wrong(struct world *w, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(w->complaint, sizeof(w->complaint), fmt, args);
    va_end(args);
    tell(w, "==== %s", w->complaint);
    longjmp(*w->escape, 1);
}

void tell(const struct world *w, const char *fmt, ...)
{
    va_list args;

    if (!w->is_told) {
        return;
    }
    (void)printf("  ");
    va_start(args, fmt);
    (void)vprintf(fmt, args);
    va_end(args);
    (void)printf("\n");
}

/* Of the process that runs now. */
static struct clock_hands hands;

void show_clock(const struct world *w, const struct part_time *off)
{
    const struct part_time now = clock_of(w, off);

    hands = (struct clock_hands){now.mono_ms * 1000, now.wall_ms};
}

void pass_time(struct world *w, int64_t ms)
{
    w->now.mono_ms += ms;
    w->now.wall_ms += ms;
}

static void set_clocks(struct world *w, struct part_time *offs, int n, bool is_off)
{
    for (int i = 0; i < n; i++) {
        offs[i].mono_ms = below(w, MONO_MAX_MS);
        offs[i].wall_ms = is_off ? below(w, INT64_C(2) * WALL_OFF_MS) - WALL_OFF_MS : 0;
    }
}

/* Hosts whose clocks nobody sets right. */
static void make_clocks(struct world *w)
{
    const bool is_off = chance(w, 30);

    set_clocks(w, w->clocks.matchers, MATCHERS, is_off);
    set_clocks(w, w->clocks.guardians, GUARDIANS, is_off);
    set_clocks(w, w->clocks.doors, DOORS, is_off);
    if (is_off) {
        seen(COVER_CLOCKS_OFF);
    }
}

void world_init(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    w->random = (struct random){seed};
    w->seed = seed;
    w->now = (struct part_time){1000, 1700000000000};
    clock_pretend(&hands);
    make_clocks(w);
    w->n_shards = chance(w, 70) ? 1 : 2;
    w->may_cut = chance(w, 20);
    w->percent = (int)(1 + below(w, 8));
    w->zombies = (int)(1 + below(w, 12));
    w->ending = chance(w, 40) ? (int)(10 + below(w, 30)) : 0;
    w->fatal = chance(w, 40) ? COVER_FATAL_FIRST + (enum cover)below(w, FATAL_KINDS) : COVER_NONE;
    w->faults = (unsigned)random_u64(&w->random);
    w->faults |= (unsigned)random_u64(&w->random);
    w->remembered_max = chance(w, 10) ? 1 + below(w, 30) : INT32_MAX;
    w->settings = (struct part_settings){.key_prefix = "t",
                                         .partitions = w->n_shards,
                                         .batch_max = 1 + below(w, 6),
                                         .queue_max = 1 + below(w, 20),
                                         .unacked_max = 1 + below(w, 20),
                                         .outbox_max = 1 + below(w, chance(w, 50) ? 3 : 30),
                                         .remembered_max = w->remembered_max,
                                         .clock_skew_max_ms = 60000,
                                         .tick_min_ms = 250,
                                         .tick_max_ms = 5000,
                                         .idle_ms = 1000};
    for (int i = 0; i < w->n_shards; i++) {
        w->shards[i].number = i;
        w->shards[i].mysql.progress = PROGRESS_NONE;
        w->shards[i].mysql.last_move = -1;
        log_start(w, &w->shards[i]);
    }
    w->rows_max = 1 + below(w, 20);
    buf_init(&w->sql, 1 << 20);
    matchers_init(w);
    guardians_init(w);
    doors_init(w);
}

void world_fini(struct world *w)
{
    doors_fini(w);
    matchers_fini(w);
    guardians_fini(w);
    for (int i = 0; i < w->n_shards; i++) {
        log_fini(&w->shards[i]);
    }
    outcome_fini(&w->outcome);
}
