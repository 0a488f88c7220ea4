/*
 * A batch is made record by record, each applied to the fold at once, so the fold is one batch ahead
 * of Redis until the call.  In that moment the call is spoilt in one way or another, and must change
 * nothing; then it is made for real.  When the history is over, it is played once more into other
 * keys with other cuts.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/xmalloc.h"
#include "tests/differential/coverage.h"
#include "tests/differential/run_impl.h"

enum {
    LINE_MAX_BYTES = 1 << 20,
    SNAPSHOT_MAX_BYTES = 64 << 20,
    WIDE_ITEMS = 4200, /* a few more than may be, also when some are refused */
    MANY_USERS = 4200, /* more than go into one call of HSET or HDEL */
    SMALL_STATE = 300, /* orders; below it the whole state is compared more often */
};

void run_fail(const struct run *run, const char *what)
{
    const struct step *step = run->n_steps == 0 ? NULL : &run->steps[run->n_steps - 1];

    (void)fprintf(stderr, "seed %" PRIu64 ", run %d, batch %d, theme %d, partition %d of %d\n",
                  run->seed, run->number, run->n_batches, (int)run->theme,
                  generator_partition(run->generator), generator_partitions(run->generator));
    if (step != NULL) {
        (void)fprintf(stderr, "last offset %" PRId64 " at %" PRId64 ": %.*s\n",
                      step->record.raw.offset, step->record.raw.timestamp,
                      (int)step->record.raw.value.len, step->record.raw.value.ptr);
    }
    die("%s; the reply: %.300s", what, run->reply.ptr == NULL ? "" : run->reply.ptr);
}

/* One record: through the fold, and into the call. */
static void add_record(struct run *run, struct record *record)
{
    struct fold_log log;
    struct step *step;
    struct err err;

    if (run->n_steps == run->capacity) {
        run->capacity = run->capacity == 0 ? 256 : run->capacity * 2;
        run->steps = xreallocarray(run->steps, run->capacity, sizeof(*run->steps));
    }
    fold_log(run->fold, &log);
    buf_clear(&run->line);
    step = &run->steps[run->n_steps++];
    *step = (struct step){.record = *record, .prev = log.watermark};
    if (!fold_apply(run->fold, &record->raw, &run->line, &err)) {
        run_fail(run, err.text);
    }
    if (!buf_ok(&run->line)) {
        run_fail(run, "the line is too long");
    }
    coverage_line(run->fold, buf_slice(&run->line));
    step->line = xmemdup0(run->line.len == 0 ? "" : run->line.ptr, run->line.len);
    fold_log(run->fold, &log);
    step->chain = log.chain;
    step->hash = log.last_hash;
    step->log_time = log.log_time;
    step->rules = log.rules;
    call_add(&run->call, record->raw.offset, record->raw.timestamp, fold_last_command(run->fold));
}

/* The head of an honest call for a batch that ends with step last (NULL: an empty one). */
static void set_head(struct call *call, const struct fold_log *before, const struct step *first,
                     const struct step *last)
{
    struct command genesis;
    struct fold_log from = *before;

    if (before->watermark < 0 && first != NULL) {
        command_parse(&genesis, first->record.raw.value, COMMAND_RULES, 0, 1);
        memcpy(from.genesis, genesis.other_id.s, sizeof(from.genesis));
        from.chain = ids_chain_start(command_text(&genesis.other_id));
        from.rules = genesis.rules;
    }
    call_set_i64(call, CALL_RULES, from.rules);
    call_set(call, CALL_GENESIS, from.genesis);
    call_set_i64(call, CALL_PREV, from.watermark);
    call_set_hash(call, CALL_CHAIN, from.chain);
    call_set_i64(call, CALL_TO, last == NULL ? from.watermark : last->record.raw.offset);
    call_set_hash(call, CALL_TO_CHAIN, last == NULL ? from.chain : last->chain);
    call_set_hash(call, CALL_TO_HASH, last == NULL ? from.last_hash : last->hash);
    call_set_i64(call, CALL_ACKED, -1);
    call_set_i64(call, CALL_OUTBOX_MAX, RUN_PLENTY);
    call_set_i64(call, CALL_REMEMBERED_MAX, RUN_PLENTY);
}

static const char *word(const char *text, int n)
{
    while (n-- > 0 && text != NULL) {
        text = strchr(text, ' ');
        text = text == NULL ? NULL : text + 1;
    }
    return text == NULL ? "" : text;
}

/* Finds the first line that differs, for a person. */
static void fail_lines(struct run *run, const struct step *steps, size_t n, const char *lines)
{
    for (size_t i = 0; i < n; i++) {
        const size_t len = strlen(steps[i].line);

        if (strncmp(lines, steps[i].line, len) != 0 || lines[len] != '\n') {
            (void)fprintf(stderr, "offset %" PRId64 " at %" PRId64 ": %.*s\n",
                          steps[i].record.raw.offset, steps[i].record.raw.timestamp,
                          (int)steps[i].record.raw.value.len, steps[i].record.raw.value.ptr);
            (void)fprintf(stderr, "  redis: %.*s\n  fold:  %s\n", (int)strcspn(lines, "\n"), lines,
                          steps[i].line);
            break;
        }
        lines += len + 1;
    }
    run_fail(run, "the lines differ");
}

/* Checks an `ok` reply to steps, and puts the batch into outbox. */
static void check_ok(struct run *run, struct outbox *outbox, const struct place *place, size_t n)
{
    const struct step *steps = run->steps + place->first_step;
    const struct step *last = n == 0 ? NULL : &steps[n - 1];
    const char *lines = strchr(run->reply.ptr, '\n');
    struct buf want;
    char first_prev[24] = "-";

    if (strncmp(run->reply.ptr, "ok ", 3) != 0 || lines == NULL) {
        run_fail(run, "no ok");
    }
    coverage_hit("reply ok");
    run->next_due = strtoll(word(run->reply.ptr, 3), NULL, 10);

    buf_init(&want, 2 * (size_t)CALL_BYTES_MAX);
    for (size_t i = 0; i < n; i++) {
        buf_puts(&want, steps[i].line);
        buf_putc(&want, '\n');
    }
    if (!slice_eq(slice_str(lines + 1), buf_slice(&want))) {
        fail_lines(run, steps, n, lines + 1);
    }
    if (n > 0) {
        char chain[IDS_HASH_LEN + 1];
        struct buf entry;

        ids_hash_format(chain, place->log.watermark < 0
                                   ? strtoull(run->call.head[CALL_CHAIN], NULL, 16)
                                   : place->log.chain);
        buf_init(&entry, 2 * (size_t)CALL_BYTES_MAX);
        buf_printf(&entry, "%" PRId64 " %" PRId64 " %s %" PRId64, place->log.watermark,
                   last->record.raw.offset, chain, place->log.log_time);
        if (strcmp(run->call.head[CALL_RULES], "1") != 0) {
            buf_printf(&entry, " %s", run->call.head[CALL_RULES]);
        }
        buf_putc(&entry, '\n');
        buf_put_slice(&entry, buf_slice(&want));
        outbox_add(outbox, place->log.watermark, last->record.raw.offset, buf_slice(&entry));
        buf_fini(&entry);
    }
    if (outbox->n > 0) {
        (void)snprintf(first_prev, sizeof(first_prev), "%" PRId64, outbox->entries[0].prev);
    }
    buf_clear(&want);
    buf_printf(&want, "ok %" PRId64 " %" PRId64 " %" PRId64 " %s %zu\n",
               last == NULL ? place->log.watermark : last->record.raw.offset,
               last == NULL ? place->log.log_time : last->log_time, run->next_due, first_prev,
               outbox->n);
    if (strncmp(run->reply.ptr, want.ptr, want.len) != 0) {
        (void)fprintf(stderr, "expected: %s", want.ptr);
        run_fail(run, "the head of the reply is wrong");
    }
    buf_fini(&want);
}

/* Some offset up to which all is acknowledged, never going back. */
static void advance_acked(struct run *run, int64_t watermark)
{
    if (watermark > run->acked && random_chance(&run->random, 30)) {
        run->acked = random_between(&run->random, run->acked, watermark);
    }
}

void run_trim(struct run *run, struct outbox *outbox, int64_t acked)
{
    const size_t n = outbox->n;

    outbox_trim(outbox, acked);
    call_set_i64(&run->call, CALL_ACKED, acked);
    if (outbox->n < n) {
        coverage_hit("outbox trimmed");
    }
}

/* What is asked between batches: the same batch again, and nothing. */
static void ask_again(struct run *run)
{
    struct fold_log log;

    fold_log(run->fold, &log);
    compare_snapshot(&run->script, &run->before);
    if (random_chance(&run->random, 50)) {
        call_set_i64(&run->call, CALL_ACKED, log.watermark);
        spoil_expect_position(run, &run->call, &log);
    }
    call_clear(&run->call);
    set_head(&run->call, &log, NULL, NULL);
    advance_acked(run, log.watermark);
    run_trim(run, &run->outbox, run->acked);
    script_call(&run->script, &run->call, &run->reply);
    check_ok(run, &run->outbox, &(struct place){.log = log}, 0);
    coverage_hit("empty batch");
    if (!compare_state(&run->script, run->fold, &run->outbox, run->next_due)) {
        run_fail(run, "an empty batch changed the state");
    }
}

static int batch_size(struct run *run)
{
    const int64_t dice = random_below(&run->random, 1000);

    if (dice < 850) {
        return (int)random_between(&run->random, 1, 6);
    }
    if (dice < 994 || run->theme == THEME_SMALL) {
        return (int)random_between(&run->random, 1, 30);
    }
    return (int)random_between(&run->random, 200, 900);
}

static void finish_batch(struct run *run, const struct place *place)
{
    const size_t n = run->n_steps - place->first_step;
    struct fold_log log;

    set_head(&run->call, &place->log, &run->steps[place->first_step],
             &run->steps[run->n_steps - 1]);
    if (place->log.watermark < 0 || random_chance(&run->random, 12)) {
        spoil_batch(run, place);
    }
    advance_acked(run, place->log.watermark);
    run_trim(run, &run->outbox, run->acked);
    if (random_chance(&run->random, 20)) {
        /* The largest numbers that do not reach the bounds. */
        call_set_i64(&run->call, CALL_OUTBOX_MAX, (int64_t)run->outbox.n + 1);
        call_set_i64(&run->call, CALL_REMEMBERED_MAX,
                     (int64_t)(place->log.orders + place->log.payments) + 1);
    }
    script_call(&run->script, &run->call, &run->reply);
    check_ok(run, &run->outbox, place, n);
    run->n_batches++;

    fold_log(run->fold, &log);
    if (random_chance(&run->random, log.orders + log.items < SMALL_STATE ? 30 : 2)) {
        if (!compare_identity(run->fold) ||
            !compare_state(&run->script, run->fold, &run->outbox, run->next_due)) {
            run_fail(run, "the states differ");
        }
    }
    if (command_has_rules(log.rules) && random_chance(&run->random, 5)) {
        ask_again(run);
    }
}

static void begin_batch(struct run *run, struct place *place)
{
    fold_log(run->fold, &place->log);
    place->first_step = run->n_steps;
    call_clear(&run->call);
}

static void play_batch(struct run *run)
{
    const int size = batch_size(run);
    struct place place;
    struct record record;

    begin_batch(run, &place);
    if (run->n_steps > 0 && random_chance(&run->random, 4)) {
        generator_mark(run->generator, &record);
        add_record(run, &record);
    } else {
        for (int i = 0; i < size; i++) {
            generator_next(run->generator, run->fold, &record);
            add_record(run, &record);
        }
        if (random_chance(&run->random, 2)) {
            generator_rules(run->generator, random_between(&run->random, 1, COMMAND_RULES),
                            &record);
            add_record(run, &record);
        }
    }
    finish_batch(run, &place);
}

static void play_wide(struct run *run)
{
    struct place place;
    struct record record;

    for (int i = 0; i < WIDE_ITEMS;) {
        begin_batch(run, &place);
        for (int k = 0; k < 500 && i < WIDE_ITEMS; k++) {
            generator_open(run->generator, i++, &record);
            add_record(run, &record);
        }
        finish_batch(run, &place);
    }
    begin_batch(run, &place);
    generator_mark(run->generator, &record);
    add_record(run, &record);
    finish_batch(run, &place);
}

/*
 * Batches that write, push and forget more than goes into one call of Redis.  While so many are due, the
 * last ones lapse when they are paid or cancelled.
 */
static void play_many(struct run *run)
{
    enum { EXPIRED_AT_ONCE = 64 };
    static const enum command_type late[] = {COMMAND_PAY, COMMAND_CANCEL};
    struct place place;
    struct record record;

    begin_batch(run, &place);
    generator_rules(run->generator, COMMAND_RULES, &record);
    add_record(run, &record);
    finish_batch(run, &place);
    begin_batch(run, &place);
    for (int i = 0; i <= MANY_USERS; i++) {
        generator_many(run->generator, i, &record);
        add_record(run, &record);
    }
    finish_batch(run, &place);
    begin_batch(run, &place);
    for (int i = 0; i <= MANY_USERS / EXPIRED_AT_ONCE; i++) {
        generator_late(run->generator, i < 2 ? late[i] : COMMAND_TICK, MANY_USERS - i, &record);
        add_record(run, &record);
    }
    finish_batch(run, &place);
    begin_batch(run, &place);
    for (int i = 0; i <= MANY_USERS; i += COMMAND_USERS_MAX) {
        generator_forget(run->generator, i, &record);
        add_record(run, &record);
    }
    finish_batch(run, &place);
}

/* Rules that this build does not have: neither the script nor the fold goes on. */
static void play_rules(struct run *run)
{
    struct place place;
    struct record record;
    struct err err;
    char want[40];

    begin_batch(run, &place);
    generator_rules(run->generator, RUN_RULES_TO_COME, &record);
    add_record(run, &record);
    finish_batch(run, &place);

    begin_batch(run, &place);
    generator_next(run->generator, run->fold, &record);
    if (fold_apply(run->fold, &record.raw, NULL, &err)) {
        run_fail(run, "the fold went on under rules it does not have");
    }
    record_free(&record);
    set_head(&run->call, &place.log, NULL, NULL);
    compare_snapshot(&run->script, &run->before);
    (void)snprintf(want, sizeof(want), "rules %d", RUN_RULES_TO_COME);
    spoil_expect(run, &run->call, want); /* also of one who says he has them */
    call_set_i64(&run->call, CALL_RULES, COMMAND_RULES);
    spoil_expect(run, &run->call, want);
    coverage_hit("reply rules");
}

/* The same records into other keys, cut differently: the same lines and the same end. */
static void play_again(struct run *run, const char *prefix)
{
    struct outbox outbox;
    struct place place = {.log = {.watermark = -1}};
    struct script script;

    outbox_init(&outbox);
    script_init(&script, run->script.redis, prefix, generator_partition(run->generator));
    run->acked = -1;
    for (size_t i = 0; i < run->n_steps;) {
        const int size = batch_size(run);
        int n = 0;

        place.first_step = i;
        call_clear(&run->call);
        while (i < run->n_steps && n < size) {
            const struct step *step = &run->steps[i];
            struct command cmd;

            if (step->record.kind == RECORD_MARK && n > 0) {
                break;
            }
            command_parse(
                &cmd, step->record.raw.value, i == 0 ? COMMAND_RULES : run->steps[i - 1].rules,
                generator_partition(run->generator), generator_partitions(run->generator));
            call_add(&run->call, step->record.raw.offset, step->record.raw.timestamp, &cmd);
            i++;
            n++;
            if (step->record.kind != RECORD_ANY) {
                break;
            }
        }
        set_head(&run->call, &place.log, &run->steps[place.first_step], &run->steps[i - 1]);
        advance_acked(run, place.log.watermark);
        run_trim(run, &outbox, run->acked);
        script_call(&script, &run->call, &run->reply);
        check_ok(run, &outbox, &place, (size_t)n);
        memcpy(place.log.genesis, run->call.head[CALL_GENESIS], sizeof(place.log.genesis));
        place.log.watermark = run->steps[i - 1].record.raw.offset;
        place.log.chain = run->steps[i - 1].chain;
        place.log.log_time = run->steps[i - 1].log_time;
        place.log.rules = run->steps[i - 1].rules;
    }
    if (!compare_state(&script, run->fold, &outbox, run->next_due)) {
        run_fail(run, "cut differently, the state differs");
    }
    coverage_hit("cut differently");
    script_wipe(&script);
    outbox_fini(&outbox);
}

static void run_fini(struct run *run)
{
    for (size_t i = 0; i < run->n_steps; i++) {
        record_free(&run->steps[i].record);
        free(run->steps[i].line);
    }
    free(run->steps);
    outbox_fini(&run->outbox);
    call_fini(&run->call);
    buf_fini(&run->line);
    buf_fini(&run->reply);
    buf_fini(&run->before);
    buf_fini(&run->after);
    fold_destroy(run->fold);
    generator_destroy(run->generator);
}

int run_play(redisContext *redis, uint64_t seed, int number)
{
    struct run run = {.seed = seed, .number = number, .acked = -1};
    char prefix[64];
    int length, n_batches;

    run.random.state = seed * 1000003 + (uint64_t)number;
    run.theme = (enum theme)(number % THEME_COUNT);
    run.generator = generator_create(random_u64(&run.random), run.theme);
    run.fold = fold_create(generator_partition(run.generator), generator_partitions(run.generator));
    outbox_init(&run.outbox);
    call_init(&run.call);
    buf_init(&run.line, LINE_MAX_BYTES);
    buf_init(&run.reply, 2 * (size_t)CALL_BYTES_MAX);
    buf_init(&run.before, SNAPSHOT_MAX_BYTES);
    buf_init(&run.after, SNAPSHOT_MAX_BYTES);
    (void)snprintf(prefix, sizeof(prefix), "differential:%" PRIu64 ":%d:a", seed, number);
    script_init(&run.script, redis, prefix, generator_partition(run.generator));

    length = (int)random_between(&run.random, 50, 800);
    play_batch(&run);
    if (number == 0) {
        play_many(&run);
        play_wide(&run);
        length = run.n_batches + 10;
    }
    while (run.n_batches < length) {
        play_batch(&run);
    }
    if (random_chance(&run.random, 30)) {
        play_rules(&run);
    }
    if (!compare_identity(run.fold) ||
        !compare_state(&run.script, run.fold, &run.outbox, run.next_due)) {
        run_fail(&run, "the states differ in the end");
    }
    prefix[strlen(prefix) - 1] = 'b';
    play_again(&run, prefix);
    script_wipe(&run.script);
    n_batches = run.n_batches;
    run_fini(&run);
    return n_batches;
}
