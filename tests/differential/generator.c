/*
 * Every well-formed command is made with command_format(); the malformed ones are written by hand
 * or cut out of well-formed ones.  The last records are kept, to be sent again as they were.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/hex.h"
#include "common/outcome.h"
#include "common/xmalloc.h"
#include "tests/differential/generator_impl.h"

static const struct plan plans[THEME_COUNT] =
    {
        [THEME_SMALL] = {.users = 3,
                         .items = 3,
                         .orders = 40,
                         .payments = 60,
                         .operations = 4000,
                         .holds = 5,
                         .limit_max = 4,
                         .total_max = 8,
                         .qty_max = 3,
                         .step_ms = 4,
                         .first_hold = 1,
                         .aims = 6,
                         .jump_records = 100,
                         .weights = {[COMMAND_GENESIS] = 1,
                                     [COMMAND_SALE] = 14,
                                     [COMMAND_RESTOCK] = 5,
                                     [COMMAND_ORDER] = 40,
                                     [COMMAND_PAY] = 20,
                                     [COMMAND_CANCEL] = 10,
                                     [COMMAND_TICK] = 3,
                                     [COMMAND_ARCHIVE] = 10,
                                     [COMMAND_MALFORMED] = 3},
                         .users_max = 3},
        [THEME_MEMORY] = {.users = 2,
                          .items = 2,
                          .orders = 400,
                          .payments = 4000,
                          .operations = 1000,
                          .holds = 2,
                          .limit_max = 1000,
                          .total_max = 300,
                          .qty_max = 4,
                          .step_ms = 2,
                          .first_hold = 4,
                          .aims = 3,
                          .jump_records = 100,
                          .weights = {[COMMAND_SALE] = 4,
                                      [COMMAND_RESTOCK] = 2,
                                      [COMMAND_ORDER] = 60,
                                      [COMMAND_PAY] = 20,
                                      [COMMAND_CANCEL] = 12,
                                      [COMMAND_TICK] = 1,
                                      [COMMAND_ARCHIVE] = 3,
                                      [COMMAND_MALFORMED] = 1},
                          .users_max = 2},
        [THEME_CROWD] = {.users = 400,
                         .items = 2,
                         .orders = 100000,
                         .payments = 100000,
                         .operations = 1000,
                         .holds = 3,
                         .limit_max = 1000,
                         .total_max = 20000,
                         .qty_max = 2,
                         .step_ms = 1,
                         .first_hold = 4,
                         .aims = 1,
                         .jump_records = 200,
                         .weights =
                             {[COMMAND_SALE] = 1,
                              [COMMAND_RESTOCK] = 1,
                              [COMMAND_ORDER] = 90,
                              [COMMAND_PAY] = 12,
                              [COMMAND_CANCEL] = 8,
                              [COMMAND_ARCHIVE] = 1,
                              [COMMAND_TICK] = 1},
                         .users_max = 64},
        [THEME_HOLDS] = {.users = 20,
                         .items = 6,
                         .orders = 3000,
                         .payments = 3000,
                         .operations = 100000,
                         .holds = 90,
                         .limit_max = 50,
                         .total_max = 100,
                         .qty_max = 2,
                         .step_ms = 10,
                         .first_hold = 0,
                         .aims = 4,
                         .jump_records = 100,
                         .weights = {[COMMAND_SALE] = 50,
                                     [COMMAND_RESTOCK] = 3,
                                     [COMMAND_ORDER] = 60,
                                     [COMMAND_PAY] = 10,
                                     [COMMAND_CANCEL] = 5,
                                     [COMMAND_ARCHIVE] = 4,
                                     [COMMAND_TICK] = 3},
                         .users_max = 20},
        [THEME_PAYMENTS] = {.users = 2,
                            .items = 2,
                            .orders = 12,
                            .payments = 400,
                            .operations = 1000,
                            .holds = 3,
                            .limit_max = 3,
                            .total_max = 5,
                            .qty_max = 2,
                            .step_ms = 4,
                            .first_hold = 2,
                            .aims = 6,
                            .jump_records = 100,
                            .weights = {[COMMAND_SALE] = 12,
                                        [COMMAND_RESTOCK] = 3,
                                        [COMMAND_ORDER] = 25,
                                        [COMMAND_PAY] = 50,
                                        [COMMAND_CANCEL] = 6,
                                        [COMMAND_TICK] = 2,
                                        [COMMAND_ARCHIVE] = 3,
                                        [COMMAND_MALFORMED] = 1},
                            .users_max = 2},
};

/* Finds what is worth aiming at. */
struct aim {
    struct random *random;
    int64_t seen, chosen;
    int64_t depth;          /* holds to pass over */
    struct command *target; /* the order of the hold chosen */
};

static bool aim_at_hold(struct slice field, struct slice value, void *arg)
{
    struct aim *aim = arg;
    const struct slice due = slice_cut(value, ' ', &value);
    bool fits;

    (void)field;
    (void)slice_cut(value, ' ', &value);
    fits = slice_to_i64(due, 0, COMMAND_TIME_MAX, &aim->chosen) &&
           slice_copy(slice_cut(value, ' ', &value), aim->target->order_id,
                      sizeof(aim->target->order_id)) &&
           command_set_text(&aim->target->user_id, value);
    assert(fits);
    return aim->seen++ < aim->depth;
}

static bool aim_at_window(struct slice field, struct slice value, void *arg)
{
    struct aim *aim = arg;
    struct item_entry item;

    (void)field;
    if (item_entry_parse(value, &item)) {
        const int64_t time = random_chance(aim->random, 50) ? item.closes_at : item.opens_at;

        if (time > 0 && random_below(aim->random, ++aim->seen) == 0) {
            aim->chosen = time;
        }
    }
    return true;
}

/*
 * Moves the clock of the records: mostly a step on, now and then back, far, or onto a bound.  Far is
 * where some hundred holds are due at once, more than one command expires; the order of the last of
 * them is then paid or cancelled.
 */
static void move_time(struct generator *g, const struct fold *fold)
{
    struct random *r = &g->random;
    struct aim aim = {.random = r, .chosen = -1, .target = &g->target};
    const int64_t dice = random_below(r, 100);
    int64_t next = g->now + random_below(r, g->plan.step_ms + 1);

    if (g->rush > 0) {
        return;
    }
    if (random_below(r, g->plan.jump_records) == 0) {
        aim.depth = random_below(r, 140);
        fold_each_hold(fold, aim_at_hold, &aim);
        g->rush = aim.chosen >= 0 ? GENERATOR_RUSH_RECORDS : 0;
    } else if (dice < g->plan.aims) {
        aim.depth = random_below(r, 4);
        fold_each_hold(fold, aim_at_hold, &aim);
    } else if (dice < g->plan.aims + g->plan.aims) {
        fold_each(fold, FOLD_ITEMS, aim_at_window, &aim);
        g->rush = aim.chosen >= 0 ? GENERATOR_RUSH_RECORDS / 2 : 0;
    } else if (dice < g->plan.aims + g->plan.aims + 3) {
        next = g->now - random_below(r, 30);
    }
    if (aim.chosen >= 0 && aim.chosen < g->now + 100000) {
        next = aim.chosen + (random_chance(r, 50) ? 0 : random_between(r, -1, 1));
    }
    g->now = next < 0 ? 0 : next;
}

static enum command_type type_of(struct generator *g)
{
    int sum = 0;
    int64_t dice;
    int type = 0;

    for (int i = 0; i < GENERATOR_KINDS; i++) {
        sum += g->plan.weights[i];
    }
    dice = random_below(&g->random, sum);
    while (dice >= g->plan.weights[type]) {
        dice -= g->plan.weights[type++];
    }
    return (enum command_type)type;
}

static void set_raw(struct generator *g, struct record *rec, struct slice key, struct slice value)
{
    *rec = (struct record){.raw = {.offset = g->next_offset, .timestamp = g->now}};
    g->next_offset += random_chance(&g->random, 5) ? random_between(&g->random, 2, 9) : 1;
    rec->raw.value.ptr = value.ptr == NULL ? NULL : xmemdup0(value.ptr, value.len);
    rec->raw.value.len = value.len;
    rec->raw.key.ptr = key.ptr == NULL ? NULL : xmemdup0(key.ptr, key.len);
    rec->raw.key.len = key.len;
}

static void set_command(struct generator *g, struct record *rec, const struct command *cmd)
{
    char value[COMMAND_VALUE_MAX];
    struct slice key = {NULL, 0};
    const size_t len = command_format(cmd, value, sizeof(value));

    assert(len > 0);
    if (cmd->type == COMMAND_PAY || cmd->type == COMMAND_CANCEL) {
        key = slice_str(cmd->order_id);
    } else if (cmd->item_id.len > 0 && cmd->type != COMMAND_TICK) {
        key = command_text(&cmd->item_id);
    }
    set_raw(g, rec, key, (struct slice){value, len});
}

/* What no one can read: by hand, or a good command with one byte changed or its end cut off. */
static void set_malformed(struct generator *g, const struct fold *fold, struct record *rec)
{
    static const char *const bad[] = {
        "",
        "{}",
        "[]",
        "null",
        "{\"type\":\"tick\"} x",
        "{\"type\":\"nope\"}",
        "{",
        "\xff",
        "tick",
        "{\"type\":1}",
        "{\"type\":\"tick\",\"type\":\"tick\"}",
        "{\"type\":\"tick\",\"more\":1}",
        "{\"type\":\"order\"}",
    };
    struct random *r = &g->random;
    const int64_t dice = random_below(r, 100);
    struct command cmd = {.type = COMMAND_ORDER};

    if (dice < 5) {
        set_raw(g, rec, (struct slice){"k", 1}, (struct slice){NULL, 0});
    } else if (dice < 10) {
        char *large = xmalloc(COMMAND_VALUE_MAX + 1);

        memset(large, ' ', COMMAND_VALUE_MAX + 1);
        set_raw(g, rec, (struct slice){NULL, 0}, (struct slice){large, COMMAND_VALUE_MAX + 1});
        free(large);
    } else if (dice < 60) {
        const int64_t n = random_below(r, (int64_t)(sizeof(bad) / sizeof(bad[0])));

        set_raw(g, rec, (struct slice){NULL, 0}, slice_str(bad[n]));
    } else {
        char value[COMMAND_VALUE_MAX];
        size_t len;

        generator_fill(g, fold, &cmd);
        len = command_format(&cmd, value, sizeof(value));
        if (dice < 80) {
            len = (size_t)random_below(r, (int64_t)len);
        } else {
            value[random_below(r, (int64_t)len)] = (char)random_below(r, 256);
        }
        set_raw(g, rec, (struct slice){NULL, 0}, (struct slice){value, len});
    }
}

static void set_genesis(struct generator *g, struct record *rec)
{
    struct command cmd = {.type = COMMAND_GENESIS,
                          .partitions = g->partitions,
                          .rules = random_chance(&g->random, 80) ? COMMAND_RULES : 1};
    const uint64_t words[2] = {random_u64(&g->random), random_u64(&g->random)};
    char log_id[IDS_LOG_LEN + 1];

    hex_encode(words, sizeof(words), log_id);
    cmd.other_id = generator_text(log_id);
    set_command(g, rec, &cmd);
}

static void keep(struct generator *g, const struct record *rec)
{
    struct record *slot = &g->earlier[g->n_earlier++ % GENERATOR_EARLIER_MAX];

    record_free(slot);
    *slot = *rec;
    slot->raw.key.ptr =
        rec->raw.key.ptr == NULL ? NULL : xmemdup0(rec->raw.key.ptr, rec->raw.key.len);
    slot->raw.value.ptr =
        rec->raw.value.ptr == NULL ? NULL : xmemdup0(rec->raw.value.ptr, rec->raw.value.len);
}

struct generator *generator_create(uint64_t seed, enum theme theme)
{
    static const int partitions[] = {1, 4, 4096};
    static const int64_t times[] = {0, 1000, 1700000000000, 9000000000000000};
    static const int64_t offsets[] = {0, 17, 9000000000000000};
    struct generator *g = xcalloc(1, sizeof(*g));
    struct random *r = &g->random;
    const int64_t first_user = random_below((r->state = seed, r), 60);
    const int64_t first_item = random_below(r, 20);

    g->plan = plans[theme];
    g->partitions = partitions[random_below(r, 3)];
    g->partition = (int)random_below(r, g->partitions);
    g->now = times[random_below(r, 4)];
    g->next_offset = offsets[random_below(r, 3)];
    for (int i = 0; i < GENERATOR_NAMES_MAX; i++) {
        g->users[i] = generator_id(g, "user", first_user + i);
        g->items[i] = generator_item(g, first_item + i);
    }
    return g;
}

void generator_destroy(struct generator *g)
{
    if (g == NULL) {
        return;
    }
    for (size_t i = 0; i < GENERATOR_EARLIER_MAX; i++) {
        record_free(&g->earlier[i]);
    }
    free(g);
}

int generator_partition(const struct generator *g)
{
    return g->partition;
}

int generator_partitions(const struct generator *g)
{
    return g->partitions;
}

void generator_next(struct generator *g, const struct fold *fold, struct record *rec)
{
    struct command cmd = {0};

    if (!g->has_genesis) {
        g->has_genesis = true;
        set_genesis(g, rec);
        return;
    }
    move_time(g, fold);
    g->n_records++;
    if (g->n_earlier > 0 && random_chance(&g->random, 6)) {
        const size_t n =
            g->n_earlier < GENERATOR_EARLIER_MAX ? g->n_earlier : GENERATOR_EARLIER_MAX;
        const struct record *old = &g->earlier[random_below(&g->random, (int64_t)n)];

        set_raw(g, rec, old->raw.key, old->raw.value);
        return;
    }
    cmd.type = type_of(g);
    if (g->rush > 0) {
        g->rush--;
        if (g->rush == GENERATOR_RUSH_RECORDS - 1 || random_chance(&g->random, 60)) {
            cmd.type = random_chance(&g->random, 50) ? COMMAND_PAY : COMMAND_CANCEL;
        } else if (random_chance(&g->random, 30)) {
            cmd.type = COMMAND_ARCHIVE; /* of what has just lapsed, perhaps */
        }
    }
    if (cmd.type == COMMAND_MALFORMED) {
        set_malformed(g, fold, rec);
    } else {
        generator_fill(g, fold, &cmd);
        set_command(g, rec, &cmd);
    }
    keep(g, rec);
}

void generator_mark(struct generator *g, struct record *rec)
{
    const struct command cmd = {.type = COMMAND_MARK, .other_id = generator_text("run-1")};

    set_command(g, rec, &cmd);
    rec->kind = RECORD_MARK;
}

void generator_rules(struct generator *g, int64_t rules, struct record *rec)
{
    const struct command cmd = {.type = COMMAND_SET_RULES, .rules = rules};

    set_command(g, rec, &cmd);
    rec->kind = RECORD_RULES;
}

enum { WIDE_HOLDS = 80 };

void generator_open(struct generator *g, int n, struct record *rec)
{
    struct command cmd = {.type = COMMAND_SALE, .action = COMMAND_OPEN};

    generator_clear_terms(&cmd);
    cmd.item_id = generator_item(g, n);
    cmd.other_id = generator_id(g, "wide", n);
    cmd.total = n;
    cmd.limit = 1 + n % COMMAND_LIMIT_MAX;
    cmd.hold_ms = 1000 + (n < WIDE_HOLDS ? n : 0);
    set_command(g, rec, &cmd);
}

enum { MANY_ITEM = 900000, MANY_HOLD_MS = 50 };

/* The n-th user's order there. */
static void name_many(const struct generator *g, int n, struct command *cmd)
{
    cmd->user_id = generator_id(g, "many", MANY_ITEM + n);
    (void)snprintf(cmd->order_id, sizeof(cmd->order_id), "%08x-0000-8%03x-8000-00000000aaaa",
                   (unsigned)n, (unsigned)g->partition & 0xfff);
    cmd->keyed = true;
}

void generator_many(struct generator *g, int n, struct record *rec)
{
    struct command cmd = {.type = COMMAND_ORDER, .qty = 1, .not_after = COMMAND_TIME_MAX};

    if (n == 0) {
        cmd.type = COMMAND_SALE;
        cmd.action = COMMAND_OPEN;
        generator_clear_terms(&cmd);
        cmd.other_id = generator_text("open-many");
        cmd.total = COMMAND_TOTAL_MAX;
        cmd.limit = 1;
        cmd.hold_ms = MANY_HOLD_MS;
    } else {
        name_many(g, n, &cmd);
    }
    cmd.item_id = generator_item(g, MANY_ITEM);
    set_command(g, rec, &cmd);
}

void generator_late(struct generator *g, enum command_type type, int n, struct record *rec)
{
    struct command cmd = {.type = type};

    if (type != COMMAND_TICK) {
        name_many(g, n, &cmd);
        cmd.other_id = generator_text("pay-many");
    }
    g->now += MANY_HOLD_MS;
    set_command(g, rec, &cmd);
}

void generator_forget(struct generator *g, int n, struct record *rec)
{
    struct command cmd = {.type = COMMAND_ARCHIVE, .item_id = generator_item(g, MANY_ITEM)};
    char op_id[32];
    struct buf named;

    (void)snprintf(op_id, sizeof(op_id), "forget-many-%d", n);
    cmd.other_id = generator_text(op_id);
    if (n == 0) {
        cmd.type = COMMAND_SALE;
        cmd.action = COMMAND_CLOSE;
        generator_clear_terms(&cmd);
    } else {
        buf_init_fixed(&named, g->named, sizeof(g->named));
        for (int i = 0; i < COMMAND_USERS_MAX; i++) {
            const struct command_text user =
                generator_id(g, "many", MANY_ITEM + n - COMMAND_USERS_MAX + 1 + i);

            buf_puts(&named, i > 0 ? "," : "");
            buf_put_slice(&named, command_text(&user));
        }
        cmd.users = buf_slice(&named);
    }
    set_command(g, rec, &cmd);
}

void record_free(struct record *rec)
{
    free((void *)(uintptr_t)rec->raw.key.ptr);
    free((void *)(uintptr_t)rec->raw.value.ptr);
    *rec = (struct record){.raw = {.offset = 0}};
}
