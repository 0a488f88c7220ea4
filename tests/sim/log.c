/*
 * The fold runs once over each record, when it is appended; everything else only points at nodes.
 * That is the same as running it again and again, because the state after a record is a function of
 * the records up to it and of nothing else, which is what log_check_fold() and the judge watch.
 */
#include "tests/sim/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "tests/sim/judge.h"
#include "tests/sim/mysql.h"

enum {
    TEXT_MAX = 320,
    ENDS_MAX = 40,
    KEPT_BEFORE_CUT = 2,
};

static void new_log_id(struct world *w, struct shard *s)
{
    (void)snprintf(s->log_id, sizeof(s->log_id), "%016" PRIx64 "%016" PRIx64,
                   random_u64(&w->random), random_u64(&w->random));
}

void log_start(struct world *w, struct shard *s)
{
    s->fold = fold_create(s->number, w->n_shards);
    s->cut = -1;
    new_log_id(w, s);
}

/* Those that are not the parent's. */
static void free_fields(char **fields, char *const *parents, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (parents == NULL || fields[i] != parents[i]) {
            free(fields[i]);
        }
    }
}

void log_fini(struct shard *s)
{
    struct node *node = s->nodes;

    while (node != NULL) {
        struct node *older = node->older;

        free(node->value);
        free(node->line);
        free(node->outcome);
        free_fields(node->orders, node->parent == NULL ? NULL : node->parent->orders, USERS);
        free_fields(node->items, node->parent == NULL ? NULL : node->parent->items, ITEMS);
        free(node);
        node = older;
    }
    fold_destroy(s->fold);
}

struct node *log_find(const struct shard *s, int64_t offset, uint64_t chain)
{
    struct node *node = log_at(s, offset);

    if (node != NULL && node->chain == chain) {
        return node;
    }
    for (node = s->nodes; node != NULL; node = node->older) {
        if (node->offset == offset && node->chain == chain) {
            return node;
        }
    }
    return NULL;
}

static bool first_hold(struct slice hold_ms, struct slice entry, void *arg)
{
    (void)hold_ms;
    *(int64_t *)arg = strtoll(entry.ptr, NULL, 10);
    return false;
}

static struct fold_record raw_of(const struct node *node)
{
    return (struct fold_record){
        .offset = node->offset,
        .timestamp = node->timestamp_ms,
        .value = {node->value, node->value == NULL ? 0 : strlen(node->value)},
    };
}

static void note_line(const struct node *node)
{
    if (node->line[0] == 'e' && node->next_due != 0 && node->next_due <= node->log_time) {
        seen(COVER_BACKLOG);
    }
    if (node->line[0] == '\0') {
        seen(COVER_EFFECTLESS);
    }
}

static void write_outcome(struct world *w, struct shard *s, struct node *node,
                          const struct fold_log *log)
{
    const struct outcome_head head = {
        .partition = s->number,
        .offset = node->offset,
        .prev = node->offset - 1,
        .genesis = log->genesis,
        .hash = log->last_hash,
        .chain = log->chain,
        .rules = log->rules,
        .log_time = log->log_time,
    };
    struct buf out;
    struct err err;

    buf_init(&out, 1 << 20);
    if (!outcome_format(&out, &head, fold_last_command(s->fold), slice_str(node->line), &err)) {
        buf_fini(&out);
        wrong(w, "the rules answer %s with `%s`: %s", node->value, node->line, err.text);
    }
    node->outcome = xmemdup0(out.ptr, out.len);
    buf_fini(&out);
}

static char *text_of(bool is_there, struct buf *out)
{
    char *text = is_there ? xmemdup0(out->ptr, out->len) : NULL;

    buf_fini(out);
    return text;
}

static void note_user(struct shard *s, struct node *node, struct slice user_id, bool *is_new)
{
    const int user = user_id.len == 2 ? user_id.ptr[1] - '0' : -1;
    struct buf out;

    if (user >= 0 && user < USERS && !is_new[user]) {
        is_new[user] = true;
        buf_init(&out, FOLD_VALUE_MAX);
        node->orders[user] = text_of(fold_orders(s->fold, user_id, &out), &out);
    }
}

/* What look-ups tell of those whom the outcome names. */
static void note_fields(struct world *w, struct shard *s, struct node *node)
{
    bool is_new[USERS] = {false};
    bool is_moved[ITEMS] = {false};
    struct buf out;

    node->first = node->parent == NULL ? node : node->parent->first;
    if (node->parent != NULL) {
        memcpy(node->orders, node->parent->orders, sizeof(node->orders));
        memcpy(node->items, node->parent->items, sizeof(node->items));
    }
    buf_init(&out, FOLD_VALUE_MAX);
    for (size_t i = 0; i < w->outcome.n_events; i++) {
        const struct event *e = &w->outcome.events[i];
        struct slice users = e->users == NULL ? (struct slice){NULL, 0} : slice_str(e->users);
        const int item = e->item_id.len > 0 ? e->item_id.s[0] - 'x' : -1;

        note_user(s, node, command_text(&e->user_id), is_new);
        while (users.ptr != NULL) {
            note_user(s, node, slice_cut(users, ',', &users), is_new);
        }
        if (item >= 0 && item < ITEMS && !is_moved[item]) {
            is_moved[item] = true;
            node->items[item] = text_of(fold_item(s->fold, command_text(&e->item_id), &out), &out);
        }
    }
}

/* What the rules make of the record. */
static void work_out(struct world *w, struct shard *s, struct node *node)
{
    const struct fold_record raw = raw_of(node);
    struct fold_log log;
    struct buf line;
    struct err err;

    buf_init(&line, 1 << 20);
    if (!fold_apply(s->fold, &raw, &line, &err)) {
        buf_fini(&line);
        wrong(w, "the fold: %s", err.text);
    }
    node->line = xmemdup0(line.ptr == NULL ? "" : line.ptr, line.len);
    buf_fini(&line);
    fold_log(s->fold, &log);
    node->log_time = log.log_time;
    node->rules = log.rules;
    node->hash = log.last_hash;
    node->chain = log.chain;
    node->remembered = (int64_t)(log.orders + log.payments);
    fold_each_hold(s->fold, first_hold, &node->next_due);
    node->type = fold_last_command(s->fold)->type;
    note_line(node);
    write_outcome(w, s, node, &log);
    judge(w, s, node, fold_last_command(s->fold));
    node->digest = s->judged.digest;
    note_fields(w, s, node);
}

bool log_has_room(const struct shard *s)
{
    return s->n < LOG_MAX && !s->has_rules && s->judged.n_orders + 2 <= ROWS_ORDERS &&
           s->judged.n_payments + 2 <= ROWS_PAYMENTS;
}

void log_append(struct world *w, struct shard *s, const char *value)
{
    struct node *node;

    if (!log_has_room(s)) {
        return;
    }
    node = xcalloc(1, sizeof(*node));
    node->older = s->nodes;
    s->nodes = node;
    node->parent = s->n == 0 ? NULL : s->log[s->n - 1];
    node->offset = s->n;
    node->timestamp_ms = w->now.wall_ms + w->broker_skew_ms + (chance(w, 5) ? -below(w, 3000) : 0);
    node->value = value == NULL ? NULL : xstrdup(value);
    s->log[s->n++] = node;
    work_out(w, s, node);
    tell(w, "log %d: %" PRId64 " at %" PRId64 ": %s", s->number, node->offset,
         node->timestamp_ms % 1000000, value == NULL ? "(null)" : value);
    tell(w, "        -> %s", node->line);
    seen(COVER_RECORD);
    if (node->type == COMMAND_MALFORMED) {
        seen(COVER_MALFORMED);
    }
    if (chance(w, 12)) {
        log_check_fold(w, s);
    }
}

void log_check_fold(struct world *w, struct shard *s)
{
    if (s->judged.digest != tables_fold_digest(s->fold)) {
        wrong(w, "what outcomes up to %" PRId64 " tell of partition %d is not what the fold holds",
              s->n - 1, s->number);
    }
}

/* ---- what is appended ---- */

static void append_genesis(struct world *w, struct shard *s)
{
    char text[TEXT_MAX];

    (void)snprintf(text, sizeof(text),
                   "{\"type\":\"genesis\",\"log_id\":\"%s\",\"partitions\":%d,\"rules\":%d}",
                   s->log_id, w->n_shards,
                   (int)(chance(w, 50) ? COMMAND_RULES : 1 + below(w, COMMAND_RULES)));
    log_append(w, s, text);
}

static void append_sale(struct world *w, struct shard *s, char item)
{
    char text[TEXT_MAX];

    (void)snprintf(text, sizeof(text),
                   "{\"type\":\"sale\",\"op_id\":\"s%c\",\"item_id\":\"%c@%d\",\"action\":\"open\","
                   "\"total\":%" PRId64 ",\"limit\":%" PRId64 ",\"hold_ms\":%" PRId64 "}",
                   item, item, s->number, 2 + below(w, 10), 1 + below(w, 4),
                   500 + 500 * below(w, 6));
    log_append(w, s, text);
}

#define OUR_IDS "01900000-"

static void order_id(const struct shard *s, char *out, size_t size, int64_t n)
{
    (void)snprintf(out, size, OUR_IDS "0000-%c%03x-8000-%012" PRIx64, n % 2 == 0 ? '7' : '8',
                   (unsigned)s->number, n);
}

static bool is_our_key(const char *id)
{
    bool is_keyed = false;

    return strncmp(id, OUR_IDS, strlen(OUR_IDS)) == 0 &&
           ids_parse_order(slice_str(id), NULL, &is_keyed) && is_keyed;
}

static char some_item(struct world *w)
{
    return chance(w, 85) ? 'x' : 'y';
}

static void append_order_of(struct world *w, struct shard *s, const char *id, char item,
                            int64_t user)
{
    char text[TEXT_MAX];

    (void)snprintf(text, sizeof(text),
                   "{\"type\":\"order\",\"order_id\":\"%s\",\"item_id\":\"%c@%d\",\"user_id\":\"u"
                   "%" PRId64 "\",\"qty\":%d,\"not_after\":%" PRId64 "}",
                   id, item, s->number, user, chance(w, 85) ? 1 : 2,
                   w->now.wall_ms + (chance(w, 5) ? -10000 : 60000));
    log_append(w, s, text);
}

static void append_order(struct world *w, struct shard *s)
{
    char id[40];

    order_id(s, id, sizeof(id), chance(w, 10) ? below(w, s->orders + 1) : s->orders++);
    /* Somebody has so many that there is no room for more, until some are forgotten. */
    append_order_of(w, s, id, some_item(w), chance(w, w->ending) ? 0 : below(w, USERS));
}

/* Once more, with its key, what is forgotten; but no shopper's, who would hear of what he did not do. */
static void append_forgotten(struct world *w, struct shard *s)
{
    const struct tables *t = &s->judged;
    const size_t from = t->n_orders == 0 ? 0 : (size_t)below(w, (int64_t)t->n_orders);

    for (size_t i = from; i < t->n_orders; i++) {
        const struct row_order *row = &t->orders[i];

        if (t->is_forgotten[i] && is_our_key(row->order_id)) {
            append_order_of(w, s, row->order_id, row->item_id[0], row->user_id[1] - '0');
            return;
        }
    }
}

/* The user of an order, mostly the right one. */
static int64_t user_of(struct world *w, struct shard *s, const char *id)
{
    for (size_t i = s->judged.n_orders; i > 0 && chance(w, 90); i--) {
        const struct row_order *row = &s->judged.orders[i - 1];

        if (strcmp(row->order_id, id) == 0) {
            return row->user_id[1] - '0';
        }
    }
    return below(w, USERS);
}

/* Payments and cancels, mostly of orders that are still open. */
static void append_answer(struct world *w, struct shard *s)
{
    char id[40];
    char text[TEXT_MAX];

    order_id(s, id, sizeof(id), below(w, s->orders + 1));
    if (chance(w, 70)) {
        for (size_t i = 0; i < s->judged.n_orders; i++) {
            if (s->judged.orders[i].state == ORDER_RESERVED && chance(w, 40)) {
                memcpy(id, s->judged.orders[i].order_id, sizeof(id));
                break;
            }
        }
    }
    if (chance(w, 60)) {
        (void)snprintf(text, sizeof(text),
                       "{\"type\":\"pay\",\"order_id\":\"%s\",\"payment_id\":\"p%" PRId64
                       "\",\"user_id\":\"u%" PRId64 "\"}",
                       id, chance(w, 15) ? below(w, s->payments + 1) : s->payments++,
                       user_of(w, s, id));
    } else {
        (void)snprintf(text, sizeof(text),
                       "{\"type\":\"cancel\",\"order_id\":\"%s\",\"user_id\":\"u%" PRId64 "\"}", id,
                       user_of(w, s, id));
    }
    log_append(w, s, text);
}

static void append_other(struct world *w, struct shard *s)
{
    static const char *const others[] = {
        "{\"type\":\"mark\",\"run_id\":\"r\"}",
        "{\"type\":\"tick\"}",
        "nonsense",
        "",
        "{\"type\":\"order\"}",
        "{\"type\":\"restock\",\"op_id\":\"r1\",\"item_id\":\"x@%d\",\"qty\":3}",
        "{\"type\":\"restock\",\"op_id\":\"r2\",\"item_id\":\"x@%d\",\"qty\":1}",
        "{\"type\":\"sale\",\"op_id\":\"p1\",\"item_id\":\"x@%d\",\"action\":\"pause\"}",
        "{\"type\":\"sale\",\"op_id\":\"p2\",\"item_id\":\"x@%d\",\"action\":\"resume\"}",
        "{\"type\":\"sale\",\"op_id\":\"p3\",\"item_id\":\"y@%d\",\"action\":\"close\"}",
        "{\"type\":\"sale\",\"op_id\":\"p4\",\"item_id\":\"x@%d\",\"action\":\"change\",\"limit\":2}",
    };
    char text[TEXT_MAX];
    const char *other = others[below(w, (int64_t)(sizeof(others) / sizeof(others[0])))];
    const char *place = strstr(other, "%d");

    if (place == NULL) {
        log_append(w, s, other);
        return;
    }
    (void)snprintf(text, sizeof(text), "%.*s%d%s", (int)(place - other), other, s->number,
                   place + 2);
    log_append(w, s, text);
}

/* It is closed, and nothing of it is held: an archive finds nothing to refuse. */
static bool can_archive(struct shard *s, char item)
{
    const struct row_item *row;
    char name[NAME_SIZE];

    (void)snprintf(name, sizeof(name), "%c@%d", item, s->number);
    row = tables_item(&s->judged, name);
    return row != NULL && row->state != 'o' && row->state != 'p' && row->held == 0;
}

/* The end of a sale: it is closed, and its users are forgotten, some at a time. */
static void append_end(struct world *w, struct shard *s)
{
    const bool is_x =
        can_archive(s, 'x') != can_archive(s, 'y') ? can_archive(s, 'x') : chance(w, 50);
    const char item = is_x ? 'x' : 'y';
    const int op = chance(w, 10) || s->ends == ENDS_MAX ? (int)below(w, s->ends + 1) : s->ends++;
    char users[USERS * 3] = "";
    char text[TEXT_MAX];
    size_t n = 0;

    for (int i = chance(w, 20) ? USERS : 0; i < USERS; i++) {
        if (chance(w, 50)) {
            n += (size_t)snprintf(users + n, sizeof(users) - n, "%su%d", n == 0 ? "" : ",", i);
        }
    }
    if (chance(w, can_archive(s, item) ? 5 : 70)) {
        (void)snprintf(text, sizeof(text),
                       "{\"type\":\"sale\",\"op_id\":\"e%d\",\"item_id\":\"%c@%d\","
                       "\"action\":\"close\"}",
                       op, item, s->number);
    } else {
        (void)snprintf(text, sizeof(text),
                       "{\"type\":\"archive\",\"op_id\":\"e%d\",\"item_id\":\"%c@%d\"%s%s%s}", op,
                       item, s->number, n == 0 ? "" : ",\"users\":\"", users, n == 0 ? "" : "\"");
    }
    log_append(w, s, text);
}

void log_append_something(struct world *w, struct shard *s)
{
    if (s->n == 0) {
        append_genesis(w, s);
    } else if (s->n == 1) {
        append_sale(w, s, 'x');
    } else if (s->n == 4) {
        append_sale(w, s, 'y');
    } else if (chance(w, w->ending)) {
        if (chance(w, 30)) {
            append_forgotten(w, s);
        } else {
            append_end(w, s);
        }
    } else if (chance(w, 55)) {
        append_order(w, s);
    } else if (chance(w, 60)) {
        append_answer(w, s);
    } else if (chance(w, 5)) {
        log_append(w, s, NULL);
    } else {
        append_other(w, s);
    }
}

void log_append_tick(struct world *w, struct shard *s)
{
    if (s->n > 0) {
        log_append(w, s, "{\"type\":\"tick\"}");
    }
}

void log_append_rules(struct world *w, struct shard *s)
{
    char text[TEXT_MAX];

    if (s->n < 2 || s->n >= LOG_MAX || s->has_rules) {
        return;
    }
    (void)snprintf(text, sizeof(text), "{\"type\":\"rules\",\"rules\":%d}",
                   s->cut < 0 && chance(w, 15) ? COMMAND_RULES_MAX
                                               : (int)(1 + below(w, COMMAND_RULES)));
    log_append(w, s, text);
    s->has_rules = s->log[s->n - 1]->rules == COMMAND_RULES_MAX;
    seen(s->has_rules ? COVER_SET_RULES : COVER_SWITCH_RULES);
}

/* The fold and the judge up to where the log was cut. */
static void begin_branch(struct world *w, struct shard *s, int64_t n)
{
    fold_destroy(s->fold);
    s->fold = fold_create(s->number, w->n_shards);
    s->judged = (struct tables){.n_orders = 0};
    s->n = n;
    for (int64_t i = 0; i < n; i++) {
        const struct fold_record raw = raw_of(s->log[i]);
        struct err err;

        if (!fold_apply(s->fold, &raw, NULL, &err)) {
            wrong(w, "the fold, again: %s", err.text);
        }
        judge(w, s, s->log[i], fold_last_command(s->fold));
    }
}

void log_cut(struct world *w, struct shard *s)
{
    if (!w->may_cut || s->cut >= 0 || s->has_rules || s->n < KEPT_BEFORE_CUT + 2) {
        return;
    }
    s->is_recreated = chance(w, 20);
    s->cut = s->is_recreated ? 0 : KEPT_BEFORE_CUT + below(w, s->n - KEPT_BEFORE_CUT);
    tell(w, "log %d: is cut at %" PRId64, s->number, s->cut);
    begin_branch(w, s, s->cut);
    seen(COVER_CUT);
    if (s->is_recreated) {
        new_log_id(w, s);
        seen(COVER_RECREATED);
    }
    pass_time(w, 1); /* no two records are the same */
    for (int i = 0; i < MATCHERS; i++) {
        part_recheck(w->matchers[i].desks[s->number].part);
    }
}

/*
 * As `archive --trim --upto=`: what MySQL and Redis have passed, and the oldest copy of MySQL that somebody
 * would go back to.  Of the outcomes, what this MySQL has passed.
 */
void log_trim(struct world *w, struct shard *s)
{
    const struct progress *at = &s->mysql.progress;
    const struct redis *r = &s->redis;
    int64_t first;

    if (w->may_cut || r->at == NULL || at->position < 0) {
        return;
    }
    /* It is refused where the outcome at MySQL's position is gone. */
    if (at->outcomes_offset < s->topic_begin || at->outcomes_offset >= s->n_topic) {
        return;
    }
    first = at->position < r->at->offset ? at->position : r->at->offset;
    if (r->n > 0) {
        const int64_t oldest = r->box[0].prev == NULL ? 0 : r->box[0].prev->offset + 1;

        first = oldest < first ? oldest : first;
    }
    mysql_forget_past(s, chance(w, 50) ? first : below(w, first + 1)); /* upto */
    for (size_t i = 0; i < s->n_mysql_past; i++) {
        const int64_t copy = s->mysql_past[i].progress.position;

        first = copy < first ? copy : first;
    }
    if (first <= s->begin) {
        return;
    }
    s->begin = first;
    s->topic_begin = at->outcomes_offset;
    tell(w, "log %d: begins at %" PRId64 " now, its outcomes at %" PRId64, s->number, s->begin,
         s->topic_begin);
    seen(COVER_TRIMMED);
}
