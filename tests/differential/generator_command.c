/*
 * What a well-formed command says.  Some names look like numbers, separators or absent text; most
 * commands name what there is.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/outcome.h"
#include "tests/differential/generator_impl.h"

enum {
    ITEM_RECORDS = 250, /* after that many records, one item more is on sale and one less */
};

static const int64_t usual_holds[] = {1, 7, 20, 50, 200, 1000, 604800000};

/* Names that a careless script would take for something else. */
static const char *const odd_ids[] = {
    "-",  "0",  "-1",  "1e5", "nan",    "P",       "{1}",     "a:b",    "x=y",
    "..", "%s", "*",   "H",   "P-",     "a|b",     "user#1",  "[]",     "'quote'",
    "1",  "00", "0x1", "inf", "due:10", "!$&()*+", "<tag/>?", "^_`{}~", "@",
};

static const char *const odd_items[] = {
    "-", "0", "-1", "1e5", "nan", ".", "_", "A", "a", "phone", "1", "00", "inf", "P-1", "a.b_c-d",
};

struct command_text generator_text(const char *s)
{
    struct command_text text;
    bool fits = command_set_text(&text, slice_str(s));

    assert(fits);
    return text;
}

/* A name of n that is different for every n: odd, usual or as long as may be. */
static struct command_text name_of(const struct generator *g, const char *kind, int64_t n,
                                   const char *const odd[], size_t n_odd)
{
    char s[IDS_MAX + 16],
        suffix[8] = ""; /* room to spare, so that generator_text() sees what is too long */
    const bool is_item = odd == odd_items;

    if (is_item && g->partitions > 1) {
        (void)snprintf(suffix, sizeof(suffix), "@%d", g->partition);
    }
    if ((size_t)n < n_odd) {
        (void)snprintf(s, sizeof(s), "%s%s", odd[n], suffix);
    } else if (n % 7 == 3) {
        (void)snprintf(s, sizeof(s), "%s%0*" PRId64 "%s", kind,
                       (int)(IDS_MAX - strlen(kind) - strlen(suffix)), n, suffix);
    } else {
        (void)snprintf(s, sizeof(s), "%s%" PRId64 "%s", kind, n, suffix);
    }
    return generator_text(s);
}

struct command_text generator_id(const struct generator *g, const char *kind, int64_t n)
{
    return name_of(g, kind, n, odd_ids, sizeof(odd_ids) / sizeof(odd_ids[0]));
}

struct command_text generator_item(const struct generator *g, int64_t n)
{
    return name_of(g, "item", n, odd_items, sizeof(odd_items) / sizeof(odd_items[0]));
}

/* Order number n is keyed when odd; one in fifty stands in another partition. */
static void set_order(struct generator *g, struct command *cmd)
{
    const int64_t n = random_below(&g->random, g->plan.orders);
    int partition = g->partition;

    if (g->partitions > 1 && random_chance(&g->random, 2)) {
        partition = (partition + 1) % g->partitions;
    }
    (void)snprintf(cmd->order_id, sizeof(cmd->order_id),
                   "%08" PRIx32 "-0000-%c%03x-%c000-0000%08" PRIx32, (uint32_t)n * 2654435761u,
                   n % 2 == 1 ? '8' : '7', (unsigned)partition & 0xfff, "89ab"[n % 4], (uint32_t)n);
    cmd->keyed = n % 2 == 1;
}

/* Names one of the last orders and its user, mostly; else a random one. */
static void set_placed(struct generator *g, struct command *cmd)
{
    const size_t n = g->n_placed < GENERATOR_PLACED_MAX ? g->n_placed : GENERATOR_PLACED_MAX;

    set_order(g, cmd);
    if (g->rush == GENERATOR_RUSH_RECORDS - 1 || g->rush == GENERATOR_RUSH_RECORDS - 3) {
        memcpy(cmd->order_id, g->target.order_id, sizeof(cmd->order_id));
        cmd->user_id = g->target.user_id;
    } else if (n > 0 && random_chance(&g->random, 75)) {
        const struct command *placed = &g->placed[random_below(&g->random, (int64_t)n)];

        memcpy(cmd->order_id, placed->order_id, sizeof(cmd->order_id));
        if (!random_chance(&g->random, 8)) {
            cmd->user_id = placed->user_id;
        }
    }
}

/* One of the items on sale now: closed for ever, they make room for others in time. */
static size_t item_now(struct generator *g)
{
    const int64_t first = (g->n_records / ITEM_RECORDS) % (GENERATOR_NAMES_MAX - g->plan.items - 1);

    return (size_t)(first + random_below(&g->random, g->plan.items + random_chance(&g->random, 5)));
}

static struct command_text pick(struct generator *g, const struct command_text *names, int n)
{
    return names[random_below(&g->random, n)];
}

/* A time near log time, or around a bound of it. */
static int64_t time_near(struct generator *g, const struct fold_log *log, int64_t spread)
{
    const int64_t time = log->log_time + random_between(&g->random, -2, spread);

    return time < 0 ? 0 : time;
}

static int64_t hold_of(struct generator *g)
{
    const int64_t n = g->plan.first_hold + random_below(&g->random, g->plan.holds);

    return n < (int64_t)(sizeof(usual_holds) / sizeof(usual_holds[0])) ? usual_holds[n]
                                                                       : 10 + n * 3;
}

static bool is_on_sale(const struct fold *fold, const struct command *cmd)
{
    struct buf value;
    bool known;

    buf_init(&value, FOLD_VALUE_MAX);
    known = fold_item(fold, command_text(&cmd->item_id), &value);
    buf_fini(&value);
    return known;
}

/* The item as it is, or all zero. */
static struct item_entry item_before(const struct fold *fold, const struct command *cmd)
{
    struct item_entry item = {0};
    struct buf value;

    buf_init(&value, FOLD_VALUE_MAX);
    if (fold_item(fold, command_text(&cmd->item_id), &value) &&
        !item_entry_parse(buf_slice(&value), &item)) {
        item.held = 0;
    }
    buf_fini(&value);
    return item;
}

static void fill_window(struct generator *g, const struct fold_log *log, int64_t opens_before,
                        struct command *cmd)
{
    struct random *r = &g->random;

    if (random_chance(r, 12)) {
        cmd->opens_at = random_chance(r, 60) ? 0 : time_near(g, log, 40);
    }
    if (random_chance(r, 16)) {
        cmd->closes_at = random_chance(r, 60) ? 0 : time_near(g, log, 300);
    } else if (random_chance(r, 4)) {
        const int64_t opens_at = cmd->opens_at >= 0 ? cmd->opens_at : opens_before;

        cmd->closes_at = opens_at + random_below(r, 2);
    }
}

static void fill_terms(struct generator *g, const struct fold *fold, const struct fold_log *log,
                       struct command *cmd)
{
    struct random *r = &g->random;
    const bool is_open = cmd->action == COMMAND_OPEN;
    const struct item_entry before = item_before(fold, cmd);

    if (random_chance(r, is_open ? 97 : 40)) {
        cmd->total = random_below(r, g->plan.total_max + 1);
        if (random_chance(r, g->plan.total_max > 1000 ? 5 : 30)) {
            const int64_t around = before.held + before.sold + random_between(r, -1, 2);

            cmd->total = around < 0 ? 0 : around;
        } else if (random_chance(r, 3)) {
            cmd->total = COMMAND_TOTAL_MAX - random_below(r, 3);
        }
    }
    if (random_chance(r, is_open ? 97 : 30)) {
        cmd->limit = random_between(r, 1, g->plan.limit_max);
    }
    if (random_chance(r, is_open ? 97 : 30)) {
        cmd->hold_ms = hold_of(g);
    }
    fill_window(g, log, before.opens_at, cmd);
    if (random_chance(r, 30)) {
        cmd->price = random_chance(r, 20) ? COMMAND_PRICE_MAX : random_below(r, 1000);
    }
}

void generator_clear_terms(struct command *cmd)
{
    cmd->total = cmd->limit = cmd->hold_ms = -1;
    cmd->opens_at = cmd->closes_at = cmd->price = -1;
}

static enum command_action action_of(struct generator *g)
{
    const int64_t dice = random_below(&g->random, 100);

    if (dice < 40) {
        return COMMAND_OPEN;
    }
    if (dice < 70) {
        return COMMAND_CHANGE;
    }
    if (dice < 79) {
        return COMMAND_PAUSE;
    }
    return dice < 93 ? COMMAND_RESUME : COMMAND_CLOSE;
}

/* Finds an item that is closed, at random. */
struct closed {
    struct random *random;
    int64_t seen;
    struct command_text *item_id;
};

static bool find_closed(struct slice field, struct slice value, void *arg)
{
    struct closed *closed = arg;
    struct item_entry item;

    if (item_entry_parse(value, &item) && (item.state == 'c' || item.state == 'a') &&
        random_below(closed->random, ++closed->seen) == 0) {
        const bool fits = command_set_text(closed->item_id, field);

        assert(fits);
    }
    return true;
}

/* Mostly of a closed item; some users, or none. */
static void fill_archive(struct generator *g, const struct fold *fold, struct command *cmd)
{
    struct random *r = &g->random;
    struct closed closed = {.random = r, .item_id = &cmd->item_id};
    const int64_t n = random_chance(r, 20) ? 0 : random_between(r, 1, g->plan.users_max);
    struct buf named;

    cmd->other_id = generator_id(g, "op", random_below(r, g->plan.operations));
    if (random_chance(r, 90)) {
        fold_each(fold, FOLD_ITEMS, find_closed, &closed);
    }
    buf_init_fixed(&named, g->named, 3600); /* what is too much for a record is not named */
    for (int64_t i = 0; i < n; i++) {
        const struct command_text user = pick(g, g->users, g->plan.users + random_chance(r, 3));

        if (named.len + user.len + 1 < 3600) {
            buf_puts(&named, i > 0 ? "," : "");
            buf_put_slice(&named, command_text(&user));
            cmd->users = buf_slice(&named);
        }
    }
}

void generator_fill(struct generator *g, const struct fold *fold, struct command *cmd)
{
    struct random *r = &g->random;
    struct fold_log log;

    fold_log(fold, &log);
    cmd->item_id = g->items[item_now(g)];
    cmd->user_id = pick(g, g->users, g->plan.users + random_chance(r, 3));
    generator_clear_terms(cmd);
    cmd->action = action_of(g);
    if (cmd->type == COMMAND_ORDER && random_chance(r, 60) && !is_on_sale(fold, cmd)) {
        cmd->type = COMMAND_SALE;
        cmd->action = COMMAND_OPEN;
    }
    switch (cmd->type) {
    case COMMAND_SALE:
        cmd->other_id = generator_id(g, "op", random_below(r, g->plan.operations));
        if (cmd->action == COMMAND_OPEN || cmd->action == COMMAND_CHANGE) {
            fill_terms(g, fold, &log, cmd);
        }
        break;
    case COMMAND_RESTOCK:
        cmd->other_id = generator_id(g, "op", random_below(r, g->plan.operations));
        cmd->qty = random_chance(r, 5) ? COMMAND_TOTAL_MAX : random_between(r, 1, 5);
        break;
    case COMMAND_ARCHIVE:
        fill_archive(g, fold, cmd);
        break;
    case COMMAND_ORDER:
        set_order(g, cmd);
        cmd->qty = random_chance(r, 2) ? COMMAND_QTY_MAX : random_between(r, 1, g->plan.qty_max);
        cmd->not_after = random_chance(r, 4) ? time_near(g, &log, 2) : g->now + 1000000;
        g->placed[g->n_placed++ % GENERATOR_PLACED_MAX] = *cmd;
        break;
    case COMMAND_PAY:
        set_placed(g, cmd);
        cmd->other_id = generator_id(g, "pay", random_below(r, g->plan.payments));
        if (random_chance(r, 4)) {
            cmd->user_id = (struct command_text){.len = 0};
        }
        break;
    case COMMAND_CANCEL:
        set_placed(g, cmd);
        break;
    case COMMAND_GENESIS:
        cmd->other_id = generator_text("00112233445566778899aabbccddeeff");
        cmd->partitions = g->partitions;
        cmd->rules = random_between(r, 1, COMMAND_RULES + 1);
        break;
    default:
        break;
    }
}
