/*
 * A state in the text of Redis, from anybody: the first line is `holds`, each other one a letter, a
 * tab, and fields with tabs between them: `i` an item, `o` an operation, `p` a payment and `u` a user's
 * orders have name and value, `h` a hold has hold_ms, order and user.
 *
 * What is taken is shown again as it was, and nothing else; then the fold goes on under any command.
 */
#include "common/fold.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINES_MAX = 200,
    WATERMARK = 100,
    LOG_TIME = 5000,
    PARTITIONS = 4,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact)
{
    if (!fact) {
        abort();
    }
}

struct line {
    char letter;
    struct slice name, value, user;
};

struct state {
    struct slice holds;
    struct line lines[LINES_MAX];
    size_t n;
};

static void cut_state(struct state *s, struct slice rest)
{
    s->n = 0;
    s->holds = slice_cut(rest, '\n', &rest);
    while (rest.len > 0 && s->n < LINES_MAX) {
        struct slice line = slice_cut(rest, '\n', &rest);
        const struct slice letter = slice_cut(line, '\t', &line);
        struct line *l = &s->lines[s->n];

        l->letter = ' ';
        if (letter.len == 1) {
            l->letter = letter.ptr[0];
        }
        l->name = slice_cut(line, '\t', &line);
        l->value = slice_cut(line, '\t', &l->user);
        if (l->letter != '\0' && strchr("iopuh", l->letter) != NULL) {
            s->n++;
        }
    }
}

/* Where a field goes; false: it is a hold. */
static bool find_table(const struct line *l, enum fold_table *table)
{
    static const char letters[] = {'i', 'u', 'p', 'o'};
    const char *at = memchr(letters, l->letter, sizeof(letters));

    if (at != NULL) {
        *table = (enum fold_table)(at - letters);
    }
    return at != NULL;
}

static bool load(struct fold *f, const struct state *s)
{
    static const struct fold_log log = {.genesis = "00112233445566778899aabbccddeeff",
                                        .partitions = PARTITIONS,
                                        .rules = 2,
                                        .watermark = WATERMARK,
                                        .log_time = LOG_TIME};
    struct err err = {.text = ""};
    bool ok = fold_load_log(f, &log, s->holds, &err);

    for (size_t i = 0; ok && i < s->n; i++) {
        const struct line *l = &s->lines[i];
        const struct fold_field field = {l->name, l->value};
        const struct fold_hold hold = {l->name, l->value, l->user};
        enum fold_table table;

        ok = find_table(l, &table) ? fold_load(f, table, &field, &err)
                                   : fold_load_hold(f, &hold, &err);
    }
    require(ok || (err.kind == ERR_FATAL && err.text[0] != '\0'));
    return ok;
}

/* ---- what it shows ---- */

static bool count(struct slice field, struct slice value, void *arg)
{
    size_t *n = arg;

    (void)field;
    (void)value;
    ++*n;
    return true;
}

static bool show(const struct fold *f, enum fold_table table, struct slice name, struct buf *out)
{
    switch (table) {
    case FOLD_ITEMS:
        return fold_item(f, name, out);
    case FOLD_ORDERS:
        return fold_orders(f, name, out);
    case FOLD_PAYMENTS:
        return fold_payment(f, name, out);
    case FOLD_OPERATIONS:
        return fold_operation(f, name, out);
    }
    return false;
}

static size_t check_fields(const struct fold *f, const struct state *s, struct buf *out)
{
    size_t n[4] = {0}, holds = 0, shown_holds = 0;
    struct fold_log log;

    for (size_t i = 0; i < s->n; i++) {
        const struct line *l = &s->lines[i];
        enum fold_table table;

        if (!find_table(l, &table)) {
            holds++;
            continue;
        }
        n[table]++;
        require(show(f, table, l->name, out) && slice_eq(buf_slice(out), l->value));
        require(fold_changed(f, table, l->name) >= 0);
    }
    for (enum fold_table table = FOLD_ITEMS; table <= FOLD_OPERATIONS; table++) {
        size_t shown = 0;

        fold_each(f, table, count, &shown);
        require(shown == n[table]);
    }
    fold_each_hold(f, count, &shown_holds);
    require(shown_holds == holds);
    fold_log(f, &log);
    require(log.items + log.archived == n[FOLD_ITEMS] && log.payments == n[FOLD_PAYMENTS]);
    require(log.operations == n[FOLD_OPERATIONS] && fold_users(f) == n[FOLD_ORDERS]);
    return holds;
}

/* How many orders there are, and how many of them are reserved. */
static size_t count_orders(const struct state *s, size_t *reserved)
{
    struct order_entry entry;
    size_t n = 0;

    *reserved = 0;
    for (size_t i = 0; i < s->n; i++) {
        struct slice value = s->lines[i].value;

        while (s->lines[i].letter == 'u' && order_entry_next(&value, &entry) == 1) {
            n++;
            *reserved += entry.state == ORDER_RESERVED ? 1 : 0;
        }
    }
    return n;
}

/* ---- how it goes on ---- */

struct play {
    struct fold *fold;
    int64_t offset, now;
    struct buf text, line;
};

static void apply(struct play *p)
{
    const struct fold_record record = {p->offset++, p->now, {NULL, 0}, buf_slice(&p->text)};
    struct err err;

    require(buf_ok(&p->text));
    buf_clear(&p->line);
    require(fold_apply(p->fold, &record, &p->line, &err));
    buf_clear(&p->text);
}

static void put(struct play *p, const char *before, struct slice name)
{
    buf_puts(&p->text, before);
    buf_put_slice(&p->text, name);
}

static void touch_orders(struct play *p, const struct line *l)
{
    struct slice value = l->value;
    struct order_entry entry;

    while (order_entry_next(&value, &entry) == 1) {
        if (p->offset % 2 == 0) {
            put(p, "{\"type\":\"pay\",\"order_id\":\"", entry.order_id);
            buf_printf(&p->text, "\",\"payment_id\":\"new%" PRId64, p->offset);
        } else {
            put(p, "{\"type\":\"cancel\",\"order_id\":\"", entry.order_id);
        }
        put(p, "\",\"user_id\":\"", l->name);
        buf_puts(&p->text, "\"}");
        apply(p);
    }
}

static void touch_item(struct play *p, const struct line *l, const char *order_id)
{
    put(p, "{\"type\":\"order\",\"order_id\":\"", slice_str(order_id));
    put(p, "\",\"item_id\":\"", l->name);
    buf_puts(&p->text, "\",\"user_id\":\"newcomer\",\"qty\":1,\"not_after\":9007199254740991}");
    apply(p);
}

static void archive(struct play *p, const struct line *l, const struct state *s)
{
    buf_printf(&p->text, "{\"type\":\"sale\",\"op_id\":\"close%" PRId64, p->offset);
    put(p, "\",\"item_id\":\"", l->name);
    buf_puts(&p->text, "\",\"action\":\"close\"}");
    apply(p);
    buf_printf(&p->text, "{\"type\":\"archive\",\"op_id\":\"archive%" PRId64, p->offset);
    put(p, "\",\"item_id\":\"", l->name);
    buf_puts(&p->text, "\",\"users\":\"newcomer");
    for (size_t i = 0; i < s->n; i++) {
        if (s->lines[i].letter == 'u') {
            put(p, ",", s->lines[i].name);
        }
    }
    buf_puts(&p->text, "\"}");
    apply(p);
}

static void for_each(struct play *p, const struct state *s, char letter, int round)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct line *l = &s->lines[i];

        if (l->letter != letter) {
            continue;
        }
        if (letter == 'u') {
            touch_orders(p, l);
        } else if (round == 0) {
            touch_item(p, l, "00000000-0000-7000-8000-0000000000aa");
            touch_item(p, l, "00000000-0000-8000-8000-0000000000bb");
        } else {
            archive(p, l, s);
        }
    }
}

static void go_on(struct fold *f, const struct state *s, bool archives_first)
{
    struct play p = {.fold = f, .offset = WATERMARK + 1, .now = LOG_TIME};

    buf_init(&p.text, 1 << 20);
    buf_init(&p.line, 1 << 20);
    if (archives_first) {
        for_each(&p, s, 'i', 1);
    }
    for_each(&p, s, 'i', 0);
    for_each(&p, s, 'u', 0);
    for_each(&p, s, 'i', 1);
    p.now = LOG_TIME + COMMAND_HOLD_MAX_MS;
    for (int i = 0; i < 3; i++) {
        buf_puts(&p.text, "{\"type\":\"tick\"}");
        apply(&p);
    }
    buf_puts(&p.text, "{\"type\":\"mark\",\"run_id\":\"r\"}");
    apply(&p);
    for_each(&p, s, 'u', 0);
    for_each(&p, s, 'i', 1);
    buf_fini(&p.text);
    buf_fini(&p.line);
}

static void play(const struct state *s, bool archives_first)
{
    struct fold *f = fold_create(0, PARTITIONS);
    struct buf out;

    buf_init(&out, FOLD_VALUE_MAX);
    if (load(f, s)) {
        struct fold_log log;
        size_t reserved;
        const size_t holds = check_fields(f, s, &out);

        fold_log(f, &log);
        require(log.orders == count_orders(s, &reserved) && holds <= reserved);
        fold_holds(f, &out);
        require(slice_eq(buf_slice(&out), s->holds));
        if (holds == reserved) { /* else it is not the whole state */
            go_on(f, s, archives_first);
        }
    }
    buf_fini(&out);
    fold_destroy(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct state s;

    if (size <= 16384) {
        cut_state(&s, (struct slice){(const char *)data, size});
        play(&s, false);
        play(&s, true);
    }
    return 0;
}
