/*
 * Walks at random through lost replies, late scripts, fail-overs and crashes, and wants every
 * outcome told.
 */
#include "matcher/part.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/part_world.h"

enum { LATE_MAX = 16 };

struct walk {
    struct world *w;
    uint64_t seed;
    struct copied *late[LATE_MAX];
    size_t n_late;
};

static unsigned draw(struct walk *k, unsigned n)
{
    k->seed = k->seed * 6364136223846793005U + 1442695040888963407U;
    return (unsigned)(k->seed >> 33) % n;
}

static void run_late(struct walk *k)
{
    struct buf reply;
    size_t i;

    if (k->n_late == 0) {
        return;
    }
    i = draw(k, (unsigned)k->n_late);
    buf_init(&reply, 4 << 20);
    play_apply(k->w, k->late[i], &reply);
    buf_fini(&reply);
    free_call(k->late[i]);
    k->late[i] = k->late[--k->n_late];
}

static void answer_somehow(struct walk *k)
{
    struct world *w = k->w;
    struct copied *c = w->pending;

    if (c == NULL) {
        return;
    }
    w->pending = NULL;
    switch (draw(k, 6)) {
    case 0:
        answer_apply(w, c, true);
        break;
    case 1:
        part_unanswered(w->part, c->call, false, w->now);
        if (k->n_late < LATE_MAX) {
            k->late[k->n_late++] = c;
        } else {
            free_call(c);
        }
        break;
    case 2:
        part_unanswered(w->part, c->call, true, w->now);
        free_call(c);
        break;
    default:
        answer_apply(w, c, false);
        break;
    }
}

static void crash(struct world *w)
{
    part_destroy(w->part);
    w->part = part_create(&w->settings, 0);
    free_call(w->pending);
    w->pending = NULL;
    w->fetch = -1;
    for (size_t i = 0; i < w->n_told; i++) {
        w->told[i].is_acked = true;
    }
    part_assign(w->part, w->now);
}

/* What Kafka reports; what is not stored is as if it had never been told. */
static void report_somehow(struct walk *k)
{
    struct world *w = k->w;

    for (size_t i = 0; i < w->n_told; i++) {
        if (w->told[i].is_acked) {
            continue;
        }
        if (draw(k, 40) == 0) {
            keep_told(w, i);
            part_resend(w->part);
            return;
        }
        if (draw(k, 3) == 0) {
            return;
        }
        w->told[i].is_acked = true;
        part_acked(w->part, w->told[i].seq, w->told[i].kind);
    }
}

/* To an older state, of a time when nothing was acknowledged yet. */
static void fail_over(struct walk *k)
{
    struct world *w = k->w;
    int64_t upto;

    if (!w->is_there || w->watermark < 2) {
        return;
    }
    upto = w->watermark - (int64_t)draw(k, 4);
    upto = upto < 1 ? 1 : upto;
    fall_back(w, upto, -1);
}

static void step_somehow(struct walk *k)
{
    struct world *w = k->w;

    switch (draw(k, 24)) {
    case 0:
        crash(w);
        break;
    case 1:
        fail_over(k);
        break;
    case 2:
        if (draw(k, 4) == 0) {
            flush_redis(w);
        }
        break;
    case 3:
        part_recheck(w->part);
        break;
    case 4:
        if (w->pending != NULL && k->n_late < LATE_MAX) {
            k->late[k->n_late++] = w->pending;
            w->pending = NULL;
        }
        free_call(w->pending);
        w->pending = NULL;
        part_revoke(w->part);
        w->fetch = -1;
        part_assign(w->part, w->now);
        break;
    case 5:
    case 6:
        run_late(k);
        break;
    case 7:
        append(w, "{nonsense");
        break;
    case 8:
    case 9:
    case 10:
        append_order(w, (int)draw(k, 50));
        break;
    case 11:
    case 12:
    case 13:
    case 14:
        report_somehow(k);
        break;
    default:
        answer_somehow(k);
        break;
    }
}

static void walk_one(struct world *w, uint64_t seed)
{
    struct walk k = {.w = w, .seed = seed};

    append_genesis(w);
    append_sale(w, 500);
    w->holds_acks = true;
    w->holds_calls = true;
    part_assign(w->part, w->now);
    for (int i = 0; i < 300 && w->n_log < LOG_MAX - 60 && w->n_told < TOLD_MAX / 2; i++) {
        step_somehow(&k);
        w->now.mono_ms += (int64_t)draw(&k, 200);
        w->now.wall_ms += (int64_t)draw(&k, 200);
        settle(w);
    }
    /* Heal: everything answers, nothing is late any more. */
    while (k.n_late > 0) {
        run_late(&k);
    }
    if (w->pending != NULL) {
        struct copied *c = w->pending;

        w->pending = NULL;
        answer_apply(w, c, false);
    }
    w->holds_calls = false;
    w->holds_acks = false;
    pass(w, 12000);
    if (w->halt != PART_HALT_NONE || w->watermark != log_end(w)) {
        fail_msg("seed %" PRIu64 ": %s %s, at %" PRId64 " of %" PRId64, seed,
                 part_halt_name(w->halt), w->why, w->watermark, log_end(w));
    }
    check_well(w);
    assert_int_equal(w->n_outbox, 0);
}

static void test_random_walks(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        void *world = NULL;

        (void)setup(&world);
        walk_one(world, seed);
        (void)teardown(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_walks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
