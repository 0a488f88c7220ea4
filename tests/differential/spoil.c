/*
 * Ways to spoil a call.  Redis stands before the batch then, as place tells.
 */
#include <inttypes.h>
#include <stdio.h>

#include "tests/differential/coverage.h"
#include "tests/differential/run_impl.h"

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

void spoil_expect(struct run *run, const struct call *call, const char *want)
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
        run_fail(run, "another refusal was expected");
    }
    compare_snapshot(&run->script, &run->after);
    if (!slice_eq(buf_slice(&run->before), buf_slice(&run->after))) {
        run_fail(run, "a refused call changed the state");
    }
    if (!compare_outbox(&run->script, &run->outbox)) {
        run_fail(run, "a refused call changed the outbox");
    }
}

void spoil_expect_position(struct run *run, const struct call *call, const struct fold_log *log)
{
    char want[160];
    char chain[IDS_HASH_LEN + 1];

    ids_hash_format(chain, log->chain);
    (void)snprintf(want, sizeof(want), "position %s %" PRId64 " %s %" PRId64 " %" PRId64,
                   log->genesis, log->watermark, chain, log->rules, log->log_time);
    spoil_expect(run, call, want);
    if (run->reply.len != strlen(want)) {
        run_fail(run, "more than a position");
    }
    coverage_hit("reply position");
}

static void expect_bad(struct run *run, const struct call *call)
{
    spoil_expect(run, call, "bad ");
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
    cmd.rules = RUN_RULES_TO_COME;
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
    call_set_i64(&call, CALL_RULES, RUN_RULES_TO_COME);
    expect_bad(run, &call);
    call_fini(&call);
}

/* No state may be started beside any key of another, nor while somebody rebuilds it. */
static void spoil_absence(struct run *run)
{
    const struct script *script = &run->script;

    for (size_t key = 0; key < SCRIPT_KEYS; key++) {
        if (key == SCRIPT_DUE) {
            continue;
        }
        freeReplyObject(redis_ask(script->redis, "HSET %s token x", script->keys[key]));
        script_call(script, &run->call, &run->reply);
        if (strcmp(run->reply.ptr, "absent") != 0) {
            run_fail(run, "a state was started beside a key that was there");
        }
        coverage_hit(key == SCRIPT_REBUILD ? "reply absent: rebuild" : "reply absent: keys");
        freeReplyObject(redis_ask(script->redis, "DEL %s", script->keys[key]));
    }
    compare_snapshot(script, &run->after);
    if (!slice_eq(buf_slice(&run->before), buf_slice(&run->after))) {
        run_fail(run, "a refused call changed the state");
    }
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
        spoil_expect(run, call, "absent");
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
            spoil_expect_position(run, &empty, &place->log);
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
        spoil_expect(run, &run->call, want);
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

    run_trim(run, &run->outbox, random_chance(&run->random, 50) ? run->acked : -1);
    if (random_chance(&run->random, 50)) {
        call_set_i64(&run->call, CALL_OUTBOX_MAX, (int64_t)run->outbox.n);
        spoil_expect(run, &run->call, "full outbox");
        coverage_hit("reply full outbox");
        call_set_i64(&run->call, CALL_OUTBOX_MAX, RUN_PLENTY);
    } else {
        call_set_i64(&run->call, CALL_REMEMBERED_MAX, (int64_t)remembered);
        spoil_expect(run, &run->call, "full remembered");
        coverage_hit("reply full remembered");
        call_set_i64(&run->call, CALL_REMEMBERED_MAX, RUN_PLENTY);
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
        run_fail(run, "two faults, and ok");
    }
    spoil_expect(run, &run->call, "");
    memcpy(run->call.head, saved, sizeof(saved));
}

void spoil_batch(struct run *run, const struct place *place)
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
