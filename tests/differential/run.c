/*
 * A batch is made record by record, each applied to the fold at once, so the fold is one batch ahead
 * of Redis until the call.  In that moment the call is spoilt in one way or another, and must change
 * nothing; then it is made for real.  When the history is over, it is played once more into other
 * keys with other cuts.
 */
#include "tests/differential/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/xmalloc.h"
#include "tests/differential/compare.h"
#include "tests/differential/coverage.h"
#include "tests/differential/generator.h"

enum {
    LINE_MAX_BYTES = 1 << 20,
    SNAPSHOT_MAX_BYTES = 64 << 20,
    WIDE_ITEMS = 4200,   /* a few more than may be, also when some are refused */
    MANY_USERS = 4200,   /* more than go into one call of HSET or HDEL */
    SMALL_STATE = 300,   /* orders; below it the whole state is compared more often */
    PLENTY = 1000000000, /* a bound that is never reached */
    RULES_TO_COME = COMMAND_RULES + 1,
};

/* A record and what became of it. */
struct step {
    struct record record;
    char *line;     /* owned */
    int64_t prev;   /* position before it */
    uint64_t chain; /* after it */
    uint64_t hash;
    int64_t log_time; /* after it */
    int64_t rules;    /* after it */
};

struct run {
    uint64_t seed;
    int number;
    enum theme theme;
    struct random random;
    struct generator *generator;
    struct fold *fold;
    struct script script;
    struct outbox outbox;
    struct call call;
    struct buf line, reply, before, after;
    struct step *steps;
    size_t n_steps, capacity;
    int n_batches;
    int64_t acked, next_due;
};

/* Where Redis stands while the fold is ahead, and what the reply must repeat. */
struct place {
    struct fold_log log;
    size_t first_step;
};

static void fail(const struct run *run, const char *what)
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
        fail(run, err.text);
    }
    if (!buf_ok(&run->line)) {
        fail(run, "the line is too long");
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
    call_set_i64(call, CALL_OUTBOX_MAX, PLENTY);
    call_set_i64(call, CALL_REMEMBERED_MAX, PLENTY);
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
    fail(run, "the lines differ");
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
        fail(run, "no ok");
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
        fail(run, "the head of the reply is wrong");
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

static void trim(struct run *run, struct outbox *outbox, int64_t acked)
{
    const size_t n = outbox->n;

    outbox_trim(outbox, acked);
    call_set_i64(&run->call, CALL_ACKED, acked);
    if (outbox->n < n) {
        coverage_hit("outbox trimmed");
    }
}

/* Ways to spoil a call. */

static const char *const no_numbers[] = {
    "x",   "1.5", "1e3", "0x10",
    " 1",  "1 ",  "-",   "+1",
    "--1", "nan", "inf", "99999999999999999999",
    "1\n", "-1x", "007", "9007199254740992",
};

static const char *no_number(struct run *run)
{
    return no_numbers[random_below(&run->random,
                                   (int64_t)(sizeof(no_numbers) / sizeof(no_numbers[0])))];
}

/* Calls and sees that nothing changed; the reply starts with want. */
static void expect_refusal(struct run *run, const struct call *call, const char *want)
{
    script_call(&run->script, call, &run->reply);
    if (strncmp(run->reply.ptr, want, strlen(want)) != 0) {
        (void)fprintf(stderr, "expected: %s\n", want);
        for (int i = 0; i < CALL_HEAD_COUNT; i++) {
            (void)fprintf(stderr, "ARGV %d: %s\n", i + 1, call->head[i]);
        }
        if (call->n_commands < 5) {
            (void)fprintf(stderr, "commands: %.*s\n", (int)call->bytes.len, call->bytes.ptr);
        }
        fail(run, "another refusal was expected");
    }
    compare_snapshot(&run->script, &run->after);
    if (!slice_eq(buf_slice(&run->before), buf_slice(&run->after))) {
        fail(run, "a refused call changed the state");
    }
    if (!compare_outbox(&run->script, &run->outbox)) {
        fail(run, "a refused call changed the outbox");
    }
}

/* What a caller hears that is not where Redis is. */
static void expect_position(struct run *run, const struct call *call, const struct fold_log *log)
{
    char want[160];
    char chain[IDS_HASH_LEN + 1];

    ids_hash_format(chain, log->chain);
    (void)snprintf(want, sizeof(want), "position %s %" PRId64 " %s %" PRId64 " %" PRId64,
                   log->genesis, log->watermark, chain, log->rules, log->log_time);
    expect_refusal(run, call, want);
    if (run->reply.len != strlen(want)) {
        fail(run, "more than a position");
    }
    coverage_hit("reply position");
}

static void expect_bad(struct run *run, const struct call *call)
{
    expect_refusal(run, call, "bad ");
    coverage_hit("reply bad");
}

/* A state starts with this genesis and nothing else, and not with more under other rules. */
static void spoil_start(struct run *run, const struct place *place)
{
    const struct step *first = &run->steps[place->first_step];
    const int64_t offset = first->record.raw.offset;
    struct command cmd = {.type = COMMAND_TICK};
    struct call call;

    call_init(&call);
    memcpy(call.head, run->call.head, sizeof(call.head));
    call_set_i64(&call, CALL_TO, offset);
    call_add(&call, offset, 0, &cmd);
    expect_bad(run, &call);

    call_clear(&call);
    command_parse(&cmd, first->record.raw.value, COMMAND_RULES, 0, 1);
    cmd.rules = RULES_TO_COME;
    call_add(&call, offset, 0, &cmd);
    cmd.type = COMMAND_TICK;
    call_add(&call, offset + 1, 0, &cmd);
    call_set_i64(&call, CALL_TO, offset + 1);
    expect_bad(run, &call);

    call_clear(&call);
    cmd.type = COMMAND_GENESIS;
    cmd.other_id.s[0] = cmd.other_id.s[0] == 'a' ? 'b' : 'a';
    call_add(&call, offset, 0, &cmd);
    call_set_i64(&call, CALL_TO, offset);
    expect_bad(run, &call);
    call_set_i64(&call, CALL_RULES, RULES_TO_COME);
    expect_bad(run, &call);
    call_fini(&call);
}

/* No state may be started beside keys of another, nor while somebody rebuilds it. */
static void spoil_absence(struct run *run)
{
    const struct script *script = &run->script;
    const size_t key = random_below(&run->random, 2) == 0 ? 0 : SCRIPT_REBUILD;

    freeReplyObject(redis_ask(script->redis, "HSET %s token x", script->keys[key]));
    compare_snapshot(script, &run->before);
    expect_refusal(run, &run->call, "absent");
    coverage_hit(key == 0 ? "reply absent: keys" : "reply absent: rebuild");
    freeReplyObject(redis_ask(script->redis, "DEL %s", script->keys[key]));
    compare_snapshot(script, &run->before);
}

/* A caller at another place: its genesis, prev or chain is not Redis's. */
static void spoil_position(struct run *run, const struct place *place)
{
    struct call *call = &run->call;
    char head[3][40];
    const int64_t prev = place->log.watermark;

    memcpy(head, call->head[CALL_GENESIS], sizeof(head));
    if (prev < 0) {
        call_set_i64(call, CALL_PREV, 0);
        expect_refusal(run, call, "absent");
        coverage_hit("reply absent");
        memcpy(call->head[CALL_GENESIS], head, sizeof(head));
        spoil_absence(run);
        spoil_start(run, place);
    } else {
        switch (random_below(&run->random, 5)) {
        case 0:
            call->head[CALL_GENESIS][5] = call->head[CALL_GENESIS][5] == 'a' ? 'b' : 'a';
            break;
        case 1:
            call->head[CALL_CHAIN][5] = call->head[CALL_CHAIN][5] == 'a' ? 'b' : 'a';
            break;
        case 2:
            call_set_i64(call, CALL_PREV, -1);
            break;
        case 3:
            call_set_i64(call, CALL_PREV, prev == 0 ? 3 : prev - 1);
            break;
        default:
            call_set_i64(call, CALL_PREV, prev + 1);
            break;
        }
        /* A batch that starts before its prev is no honest batch: an empty one asks instead. */
        {
            struct call empty;

            call_init(&empty);
            memcpy(empty.head, call->head, sizeof(empty.head));
            call_clear(&empty);
            call_set(&empty, CALL_TO, call->head[CALL_PREV]);
            call_set(&empty, CALL_TO_CHAIN, call->head[CALL_CHAIN]);
            expect_position(run, &empty, &place->log);
            call_fini(&empty);
        }
    }
    memcpy(call->head[CALL_GENESIS], head, sizeof(head));
}

static void spoil_rules(struct run *run, const struct place *place)
{
    if (place->log.watermark >= 0) {
        char want[40];

        (void)snprintf(want, sizeof(want), "rules %" PRId64, place->log.rules);
        call_set_i64(&run->call, CALL_RULES, place->log.rules + 1);
        expect_refusal(run, &run->call, want);
        coverage_hit("reply rules");
        call_set_i64(&run->call, CALL_RULES, place->log.rules);
    }
}

static void spoil_head(struct run *run)
{
    static const enum call_head numbers[] = {CALL_TO, CALL_ACKED, CALL_OUTBOX_MAX,
                                             CALL_REMEMBERED_MAX, CALL_COMMANDS};
    const enum call_head i =
        numbers[random_below(&run->random, sizeof(numbers) / sizeof(numbers[0]))];
    char saved[40];

    memcpy(saved, run->call.head[i], sizeof(saved));
    if (i == CALL_COMMANDS && random_chance(&run->random, 60)) {
        call_set_i64(&run->call, i,
                     (int64_t)run->call.n_commands + (random_chance(&run->random, 50) ? 1 : -1));
    } else {
        call_set(&run->call, i, random_chance(&run->random, 20) ? "" : no_number(run));
    }
    expect_bad(run, &run->call);
    memcpy(run->call.head[i], saved, sizeof(saved));
}

/*
 * Commands that no caller may send, `|` between arguments, `;` between commands; o and t stand for
 * offset and time, `#` for a number that is none, `%` for one that may also not be empty.
 */
static const char *const bad_commands[] = {
    "T|%|t",
    "T|o|%",
    "O|o|t|00000000-0000-7000-8000-000000000000|a|u|%|5|0",
    "O|o|t|00000000-0000-7000-8000-000000000000|a|u|1|%|0",
    "S|o|t|op|a|open|#|1|1|||",
    "S|o|t|op|a|open|1|#|1|||",
    "S|o|t|op|a|open|1|1|#|||",
    "S|o|t|op|a|change||||#||",
    "S|o|t|op|a|change|||||#|",
    "S|o|t|op|a|change||||||#",
    "S|o|t|op|a|explode||||||",
    "R|o|t|op|a|%",
    "O|o|t|00000000-0000-7000-8000-000000000000|a|u|1|5|2",
    "V|o|t|%",
    "Z|o|t",
    "|o|t",
    "T|o",
    "T",
    "T|o|t|more",
    "V|o|t|1;T|o|t",
    "M|o|t;T|o|t",
    "T|o|t;M|o|t",
    "M|o|t;M|o|t",
};

static void spoil_command(struct run *run, const struct place *place)
{
    const struct step *last = &run->steps[run->n_steps - 1];
    const int64_t first = place->log.watermark + 1;
    struct slice rest = slice_str(bad_commands[random_below(
        &run->random, (int64_t)(sizeof(bad_commands) / sizeof(bad_commands[0])))]);
    struct call call;
    int64_t offset = first;

    if (place->log.watermark < 0) {
        return;
    }
    call_init(&call);
    memcpy(call.head, run->call.head, sizeof(call.head));
    while (rest.len > 0) {
        struct slice command = slice_cut(rest, ';', &rest);

        do {
            const struct slice arg = slice_cut(command, '|', &command);
            char text[40];

            if (slice_eq(arg, SLICE_LIT("o"))) {
                (void)snprintf(text, sizeof(text), "%" PRId64, offset++);
                call_arg(&call, slice_str(text));
            } else if (slice_eq(arg, SLICE_LIT("t"))) {
                (void)snprintf(text, sizeof(text), "%" PRId64, last->record.raw.timestamp);
                call_arg(&call, slice_str(text));
            } else if (slice_eq(arg, SLICE_LIT("#"))) {
                call_arg(&call, slice_str(no_number(run)));
            } else if (slice_eq(arg, SLICE_LIT("%"))) {
                call_arg(&call, random_chance(&run->random, 20) ? SLICE_LIT("")
                                                                : slice_str(no_number(run)));
            } else {
                call_arg(&call, arg);
            }
        } while (command.ptr != NULL);
        call.n_commands++;
    }
    call_set_i64(&call, CALL_COMMANDS, (int64_t)call.n_commands);
    call_set_i64(&call, CALL_TO, offset == first ? first : offset - 1);
    expect_bad(run, &call);
    call_fini(&call);
}

/* A bound that is just reached; what is acknowledged is trimmed all the same. */
static void spoil_bounds(struct run *run, const struct place *place)
{
    const size_t remembered = place->log.orders + place->log.payments;

    trim(run, &run->outbox, random_chance(&run->random, 50) ? run->acked : -1);
    if (random_chance(&run->random, 50)) {
        call_set_i64(&run->call, CALL_OUTBOX_MAX, (int64_t)run->outbox.n);
        expect_refusal(run, &run->call, "full outbox");
        coverage_hit("reply full outbox");
        call_set_i64(&run->call, CALL_OUTBOX_MAX, PLENTY);
    } else {
        call_set_i64(&run->call, CALL_REMEMBERED_MAX, (int64_t)remembered);
        expect_refusal(run, &run->call, "full remembered");
        coverage_hit("reply full remembered");
        call_set_i64(&run->call, CALL_REMEMBERED_MAX, PLENTY);
    }
    call_set_i64(&run->call, CALL_ACKED, -1);
}

/* Two faults at once: which one is told is open, that nothing changes is not. */
static void spoil_twice(struct run *run, const struct place *place)
{
    char saved[CALL_HEAD_COUNT][40];

    if (place->log.watermark < 0) {
        return;
    }
    memcpy(saved, run->call.head, sizeof(saved));
    call_set(&run->call, CALL_GENESIS, "ffffffffffffffffffffffffffffffff");
    call_set_i64(&run->call, CALL_RULES, 7);
    call_set(&run->call, CALL_CHAIN, random_chance(&run->random, 50) ? "" : "0123456789abcdef");
    if (random_chance(&run->random, 50)) {
        call_set(&run->call, CALL_TO, no_number(run));
    }
    call_set_i64(&run->call, CALL_ACKED, place->log.watermark);
    script_call(&run->script, &run->call, &run->reply);
    if (strncmp(run->reply.ptr, "ok", 2) == 0) {
        fail(run, "two faults, and ok");
    }
    expect_refusal(run, &run->call, "");
    memcpy(run->call.head, saved, sizeof(saved));
}

static void spoil(struct run *run, const struct place *place)
{
    compare_snapshot(&run->script, &run->before);
    switch (place->log.watermark < 0 ? 0 : random_below(&run->random, 6)) {
    case 0:
        spoil_position(run, place);
        break;
    case 1:
        spoil_rules(run, place);
        break;
    case 2:
        spoil_head(run);
        break;
    case 3:
        spoil_command(run, place);
        break;
    case 4:
        spoil_bounds(run, place);
        break;
    default:
        spoil_twice(run, place);
        break;
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
        expect_position(run, &run->call, &log);
    }
    call_clear(&run->call);
    set_head(&run->call, &log, NULL, NULL);
    advance_acked(run, log.watermark);
    trim(run, &run->outbox, run->acked);
    script_call(&run->script, &run->call, &run->reply);
    check_ok(run, &run->outbox, &(struct place){.log = log}, 0);
    coverage_hit("empty batch");
    if (!compare_state(&run->script, run->fold, &run->outbox, run->next_due)) {
        fail(run, "an empty batch changed the state");
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
        spoil(run, place);
    }
    advance_acked(run, place->log.watermark);
    trim(run, &run->outbox, run->acked);
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
            fail(run, "the states differ");
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
    generator_rules(run->generator, RULES_TO_COME, &record);
    add_record(run, &record);
    finish_batch(run, &place);

    begin_batch(run, &place);
    generator_next(run->generator, run->fold, &record);
    if (fold_apply(run->fold, &record.raw, NULL, &err)) {
        fail(run, "the fold went on under rules it does not have");
    }
    record_free(&record);
    set_head(&run->call, &place.log, NULL, NULL);
    compare_snapshot(&run->script, &run->before);
    (void)snprintf(want, sizeof(want), "rules %d", RULES_TO_COME);
    expect_refusal(run, &run->call, want); /* also of one who says he has them */
    call_set_i64(&run->call, CALL_RULES, COMMAND_RULES);
    expect_refusal(run, &run->call, want);
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
        trim(run, &outbox, run->acked);
        script_call(&script, &run->call, &run->reply);
        check_ok(run, &outbox, &place, (size_t)n);
        memcpy(place.log.genesis, run->call.head[CALL_GENESIS], sizeof(place.log.genesis));
        place.log.watermark = run->steps[i - 1].record.raw.offset;
        place.log.chain = run->steps[i - 1].chain;
        place.log.log_time = run->steps[i - 1].log_time;
        place.log.rules = run->steps[i - 1].rules;
    }
    if (!compare_state(&script, run->fold, &outbox, run->next_due)) {
        fail(run, "cut differently, the state differs");
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
        fail(&run, "the states differ in the end");
    }
    prefix[strlen(prefix) - 1] = 'b';
    play_again(&run, prefix);
    script_wipe(&run.script);
    n_batches = run.n_batches;
    run_fini(&run);
    return n_batches;
}
