/*
 * One table (MEMBERS) says for each type which members it has, in the order of docs/protocol.md;
 * parsing, formatting and checking all read it, so they cannot disagree.
 *
 * Parsing has two steps.  The bytes become `members`: the value of each name that the protocol
 * knows at all, and whether there were others.  Then judge() finds the verdict, which no longer
 * depends on how the JSON was written.
 *
 * The first step exists twice.  collect_plain() reads records as our own programs write them, in a
 * tenth of the time; it never refuses: whatever is not plain goes to collect_any(), where jansson
 * decides.  The fuzz target compares the two.
 */
#include "common/command.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/plain.h"

/* SLICE_LIT() is no constant initialiser in pedantic C. */
#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

/* Every member name of the protocol. */
enum name {
    NAME_TYPE,
    NAME_ACTION,
    NAME_CLOSES_AT,
    NAME_HOLD_MS,
    NAME_ITEM_ID,
    NAME_LIMIT,
    NAME_LOG_ID,
    NAME_NOT_AFTER,
    NAME_OPENS_AT,
    NAME_OP_ID,
    NAME_ORDER_ID,
    NAME_PARTITIONS,
    NAME_PAYMENT_ID,
    NAME_PRICE,
    NAME_QTY,
    NAME_RULES,
    NAME_RUN_ID,
    NAME_TOTAL,
    NAME_USERS,
    NAME_USER_ID,
    NAME_COUNT,
};

static const struct slice NAMES[NAME_COUNT] = {
    [NAME_TYPE] = TEXT("type"),
    [NAME_ACTION] = TEXT("action"),
    [NAME_CLOSES_AT] = TEXT("closes_at"),
    [NAME_HOLD_MS] = TEXT("hold_ms"),
    [NAME_ITEM_ID] = TEXT("item_id"),
    [NAME_LIMIT] = TEXT("limit"),
    [NAME_LOG_ID] = TEXT("log_id"),
    [NAME_NOT_AFTER] = TEXT("not_after"),
    [NAME_OPENS_AT] = TEXT("opens_at"),
    [NAME_OP_ID] = TEXT("op_id"),
    [NAME_ORDER_ID] = TEXT("order_id"),
    [NAME_PARTITIONS] = TEXT("partitions"),
    [NAME_PAYMENT_ID] = TEXT("payment_id"),
    [NAME_PRICE] = TEXT("price"),
    [NAME_QTY] = TEXT("qty"),
    [NAME_RULES] = TEXT("rules"),
    [NAME_RUN_ID] = TEXT("run_id"),
    [NAME_TOTAL] = TEXT("total"),
    [NAME_USERS] = TEXT("users"),
    [NAME_USER_ID] = TEXT("user_id"),
};

enum kind {
    KIND_ITEM,  /* struct command_text, an item_id */
    KIND_ID,    /* struct command_text, an id */
    KIND_LOG,   /* struct command_text, a log id */
    KIND_USERS, /* struct slice, ids joined by `,` */
    KIND_ORDER,
    KIND_ACTION,
    KIND_NUMBER, /* int64_t in [min, max] */
    KIND_TERM,   /* as KIND_NUMBER, -1 when absent, only with open and change */
};

/* One member of one type: where it lives in struct command and what it may be. */
struct member {
    enum name name;
    enum kind kind;
    bool optional;
    size_t at;
    int64_t min, max;
};

#define AT(field) offsetof(struct command, field)

static const struct member GENESIS[] = {
    {NAME_LOG_ID, KIND_LOG, false, AT(other_id), 0, 0},
    {NAME_PARTITIONS, KIND_NUMBER, false, AT(partitions), 1, IDS_PARTITIONS_MAX},
    {NAME_RULES, KIND_NUMBER, false, AT(rules), 1, COMMAND_RULES_MAX},
};
static const struct member SET_RULES[] = {
    {NAME_RULES, KIND_NUMBER, false, AT(rules), 1, COMMAND_RULES_MAX},
};
static const struct member SALE[] = {
    {NAME_OP_ID, KIND_ID, false, AT(other_id), 0, 0},
    {NAME_ITEM_ID, KIND_ITEM, false, AT(item_id), 0, 0},
    {NAME_ACTION, KIND_ACTION, false, AT(action), 0, 0},
    {NAME_TOTAL, KIND_TERM, true, AT(total), 0, COMMAND_TOTAL_MAX},
    {NAME_LIMIT, KIND_TERM, true, AT(limit), 1, COMMAND_LIMIT_MAX},
    {NAME_HOLD_MS, KIND_TERM, true, AT(hold_ms), 1, COMMAND_HOLD_MAX_MS},
    {NAME_OPENS_AT, KIND_TERM, true, AT(opens_at), 0, COMMAND_TIME_MAX},
    {NAME_CLOSES_AT, KIND_TERM, true, AT(closes_at), 0, COMMAND_TIME_MAX},
    {NAME_PRICE, KIND_TERM, true, AT(price), 0, COMMAND_PRICE_MAX},
};
static const struct member RESTOCK[] = {
    {NAME_OP_ID, KIND_ID, false, AT(other_id), 0, 0},
    {NAME_ITEM_ID, KIND_ITEM, false, AT(item_id), 0, 0},
    {NAME_QTY, KIND_NUMBER, false, AT(qty), 1, COMMAND_TOTAL_MAX},
};
static const struct member ORDER[] = {
    {NAME_ORDER_ID, KIND_ORDER, false, AT(order_id), 0, 0},
    {NAME_ITEM_ID, KIND_ITEM, false, AT(item_id), 0, 0},
    {NAME_USER_ID, KIND_ID, false, AT(user_id), 0, 0},
    {NAME_QTY, KIND_NUMBER, false, AT(qty), 1, COMMAND_QTY_MAX},
    {NAME_NOT_AFTER, KIND_NUMBER, false, AT(not_after), 0, COMMAND_TIME_MAX},
};
static const struct member PAY[] = {
    {NAME_ORDER_ID, KIND_ORDER, false, AT(order_id), 0, 0},
    {NAME_PAYMENT_ID, KIND_ID, false, AT(other_id), 0, 0},
    {NAME_USER_ID, KIND_ID, true, AT(user_id), 0, 0},
};
static const struct member CANCEL[] = {
    {NAME_ORDER_ID, KIND_ORDER, false, AT(order_id), 0, 0},
    {NAME_USER_ID, KIND_ID, false, AT(user_id), 0, 0},
};
static const struct member MARK[] = {
    {NAME_RUN_ID, KIND_ID, false, AT(other_id), 0, 0},
};
static const struct member ARCHIVE[] = {
    {NAME_OP_ID, KIND_ID, false, AT(other_id), 0, 0},
    {NAME_ITEM_ID, KIND_ITEM, false, AT(item_id), 0, 0},
    {NAME_USERS, KIND_USERS, true, AT(users), 0, 0},
};

#define MEMBERS_OF(array) (array), sizeof(array) / sizeof((array)[0])

static const struct shape {
    struct slice type;
    const struct member *members;
    size_t n_members;
} SHAPES[COMMAND_MALFORMED] = {
    [COMMAND_GENESIS] = {TEXT("genesis"), MEMBERS_OF(GENESIS)},
    [COMMAND_SET_RULES] = {TEXT("rules"), MEMBERS_OF(SET_RULES)},
    [COMMAND_SALE] = {TEXT("sale"), MEMBERS_OF(SALE)},
    [COMMAND_RESTOCK] = {TEXT("restock"), MEMBERS_OF(RESTOCK)},
    [COMMAND_ORDER] = {TEXT("order"), MEMBERS_OF(ORDER)},
    [COMMAND_PAY] = {TEXT("pay"), MEMBERS_OF(PAY)},
    [COMMAND_CANCEL] = {TEXT("cancel"), MEMBERS_OF(CANCEL)},
    [COMMAND_TICK] = {TEXT("tick"), NULL, 0},
    [COMMAND_MARK] = {TEXT("mark"), MEMBERS_OF(MARK)},
    [COMMAND_ARCHIVE] = {TEXT("archive"), MEMBERS_OF(ARCHIVE)},
};

/* Under rules 1 an archive names no users. */
static const struct shape ARCHIVE_1 = {TEXT("archive"), ARCHIVE, 2};

static const struct shape *shape_of(enum command_type type, int64_t rules)
{
    return type == COMMAND_ARCHIVE && rules < 2 ? &ARCHIVE_1 : &SHAPES[type];
}

static const struct slice ACTIONS[] = {
    [COMMAND_OPEN] = TEXT("open"),   [COMMAND_CHANGE] = TEXT("change"),
    [COMMAND_PAUSE] = TEXT("pause"), [COMMAND_RESUME] = TEXT("resume"),
    [COMMAND_CLOSE] = TEXT("close"),
};

enum { ACTION_COUNT = sizeof(ACTIONS) / sizeof(ACTIONS[0]) };

static const char *const DETAILS[] = {
    [COMMAND_OK] = "ok",
    [COMMAND_NULL_VALUE] = "null_value",
    [COMMAND_TOO_LARGE] = "too_large",
    [COMMAND_NOT_JSON] = "not_json",
    [COMMAND_UNKNOWN_TYPE] = "unknown_type",
    [COMMAND_MISSING_FIELD] = "missing_field",
    [COMMAND_UNKNOWN_FIELD] = "unknown_field",
    [COMMAND_BAD_FIELD] = "bad_field",
    [COMMAND_WRONG_PARTITION] = "wrong_partition",
};

/* A member's value as far as the protocol cares. */
struct value {
    enum { VALUE_TEXT, VALUE_INTEGER, VALUE_OTHER } is;
    struct slice text; /* borrowed from the record or the JSON tree */
    int64_t number;
};

/* What a record's object holds; value[n] counts only where bit n of present is set. */
struct members {
    uint32_t present;
    bool has_unknown;
    struct value value[NAME_COUNT];
};

static enum name find_name(struct slice s)
{
    for (int i = 0; i < NAME_COUNT; i++) {
        /* The first byte saves most calls of memcmp(). */
        if (s.len == NAMES[i].len && s.ptr[0] == NAMES[i].ptr[0] && slice_eq(s, NAMES[i])) {
            return (enum name)i;
        }
    }
    return NAME_COUNT;
}

static struct value value_of_json(const json_t *json)
{
    if (json_is_string(json)) {
        return (struct value){
            .is = VALUE_TEXT,
            .text = {json_string_value(json), json_string_length(json)},
        };
    }
    if (json_is_integer(json)) {
        return (struct value){.is = VALUE_INTEGER, .number = json_integer_value(json)};
    }
    return (struct value){.is = VALUE_OTHER};
}

/*
 * Fills m from a flat object in plain JSON whose names are all known and different; false when it
 * is anything else.
 */
static bool collect_plain(struct slice text, struct members *m)
{
    struct plain p = plain_start(text);

    m->present = 0;
    m->has_unknown = false;
    if (!plain_char(&p, '{')) {
        return false;
    }
    do {
        struct slice key;
        enum name name;
        struct value *v;

        if (!plain_text(&p, &key) || !plain_char(&p, ':')) {
            return false;
        }
        name = find_name(key);
        if (name == NAME_COUNT || (m->present & 1U << name) != 0) {
            return false;
        }
        m->present |= 1U << name;
        v = &m->value[name];
        if (plain_peek(&p) == '"') {
            v->is = VALUE_TEXT;
            if (!plain_text(&p, &v->text)) {
                return false;
            }
        } else {
            v->is = VALUE_INTEGER;
            if (!plain_i64(&p, &v->number)) {
                return false;
            }
        }
    } while (plain_char(&p, ','));
    return plain_char(&p, '}') && plain_is_end(&p);
}

/* As collect_plain(), from any JSON; m borrows from the tree that it returns, or NULL. */
static json_t *collect_any(struct slice text, struct members *m)
{
    json_t *tree = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL);
    const char *key;
    json_t *json;

    m->present = 0;
    m->has_unknown = false;
    if (!json_is_object(tree)) {
        json_decref(tree);
        return NULL;
    }
    json_object_foreach(tree, key, json)
    {
        const enum name name = find_name(slice_str(key));

        if (name == NAME_COUNT) {
            m->has_unknown = true;
        } else {
            m->present |= 1U << name;
            m->value[name] = value_of_json(json);
        }
    }
    return tree;
}

static bool set_action(enum command_action *action, struct slice s)
{
    for (int i = 0; i < ACTION_COUNT; i++) {
        if (slice_eq(s, ACTIONS[i])) {
            *action = (enum command_action)i;
            return true;
        }
    }
    return false;
}

static bool set_number(int64_t *number, const struct member *member, const struct value *v)
{
    if (v->is != VALUE_INTEGER || v->number < member->min || v->number > member->max) {
        return false;
    }
    *number = v->number;
    return true;
}

/* True when s is a good text for a member of this kind. */
static bool is_good_text(enum kind kind, struct slice s)
{
    switch (kind) {
    case KIND_ITEM:
        return ids_is_item(s);
    case KIND_ID:
        return ids_is_id(s);
    case KIND_LOG:
        return ids_is_log(s);
    case KIND_ORDER:
        return ids_parse_order(s, NULL, NULL);
    case KIND_USERS:
        return command_is_users(s);
    case KIND_ACTION:
    case KIND_NUMBER:
    case KIND_TERM:
        break;
    }
    return false;
}

/* Stores one member's value in cmd; false when it is not what the member may be. */
static bool set_member(struct command *cmd, const struct member *member, const struct value *v)
{
    void *field = (char *)cmd + member->at;

    if (member->kind == KIND_NUMBER || member->kind == KIND_TERM) {
        return set_number(field, member, v);
    }
    if (v->is != VALUE_TEXT) {
        return false;
    }
    if (member->kind == KIND_ACTION) {
        return set_action(field, v->text);
    }
    if (!is_good_text(member->kind, v->text)) {
        return false;
    }
    if (member->kind == KIND_ORDER) {
        memcpy(field, v->text.ptr, IDS_ORDER_LEN);
        return true;
    }
    if (member->kind == KIND_USERS) {
        *(struct slice *)field = v->text;
        return true;
    }
    return command_set_text(field, v->text);
}

static bool find_type(const struct members *m, enum command_type *type)
{
    const struct value *v = &m->value[NAME_TYPE];

    if ((m->present & 1U << NAME_TYPE) == 0 || v->is != VALUE_TEXT) {
        return false;
    }
    for (int i = 0; i < COMMAND_MALFORMED; i++) {
        if (slice_eq(v->text, SHAPES[i].type)) {
            *type = (enum command_type)i;
            return true;
        }
    }
    return false;
}

/* A sale that neither opens nor changes has no terms: there they are unknown members. */
static bool takes_terms(const struct members *m)
{
    const struct value *v = &m->value[NAME_ACTION];
    enum command_action action;

    return (m->present & 1U << NAME_ACTION) == 0 || v->is != VALUE_TEXT ||
           !set_action(&action, v->text) || action == COMMAND_OPEN || action == COMMAND_CHANGE;
}

/* Compares where cmd's ids belong with where it was found; on the way an order's keyed is set. */
static bool is_elsewhere(struct command *cmd, int partition, int partitions)
{
    bool keyed;
    int named;

    if (cmd->item_id.len > 0 && ids_route(command_text(&cmd->item_id), partitions) != partition) {
        return true;
    }
    if (cmd->order_id[0] == '\0') {
        return false;
    }
    if (!ids_parse_order((struct slice){cmd->order_id, IDS_ORDER_LEN}, &named, &keyed) ||
        named != partition) {
        return true;
    }
    cmd->keyed = cmd->type == COMMAND_ORDER && keyed;
    return false;
}

/*
 * Turns what the object held into cmd, whose type is already set; *about becomes the member that a
 * missing_field or a bad_field is about.
 */
static enum command_detail judge(struct command *cmd, const struct members *m, int64_t rules,
                                 enum name *about)
{
    const struct shape *shape = shape_of(cmd->type, rules);
    uint32_t allowed = 1U << NAME_TYPE;

    for (size_t i = 0; i < shape->n_members; i++) {
        *about = shape->members[i].name;
        if (!shape->members[i].optional && (m->present & 1U << *about) == 0) {
            return COMMAND_MISSING_FIELD;
        }
    }
    for (size_t i = 0; i < shape->n_members; i++) {
        if (shape->members[i].kind != KIND_TERM || takes_terms(m)) {
            allowed |= 1U << shape->members[i].name;
        }
    }
    if (m->has_unknown || (m->present & ~allowed) != 0) {
        return COMMAND_UNKNOWN_FIELD;
    }
    for (size_t i = 0; i < shape->n_members; i++) {
        const struct member *member = &shape->members[i];

        *about = member->name;
        if ((m->present & 1U << member->name) == 0) {
            if (member->kind == KIND_TERM) {
                *(int64_t *)(void *)((char *)cmd + member->at) = -1;
            }
        } else if (!set_member(cmd, member, &m->value[member->name])) {
            return COMMAND_BAD_FIELD;
        }
    }
    return COMMAND_OK;
}

static enum command_detail parse_members(struct command *cmd, const struct members *m,
                                         int64_t rules, enum name *about)
{
    return find_type(m, &cmd->type) ? judge(cmd, m, rules, about) : COMMAND_UNKNOWN_TYPE;
}

/* Users that stand in the JSON tree move to where they outlive it. */
static void keep_users(struct command *cmd)
{
    static _Thread_local char kept[COMMAND_VALUE_MAX];

    if (cmd->users.ptr != NULL) {
        memcpy(kept, cmd->users.ptr, cmd->users.len);
        cmd->users.ptr = kept;
    }
}

static enum command_detail parse(struct command *cmd, struct slice value, int64_t rules,
                                 enum name *about)
{
    struct members m;
    json_t *tree;
    enum command_detail detail;

    if (value.ptr == NULL) {
        return COMMAND_NULL_VALUE;
    }
    if (value.len > COMMAND_VALUE_MAX) {
        return COMMAND_TOO_LARGE;
    }
    if (collect_plain(value, &m)) {
        return parse_members(cmd, &m, rules, about);
    }
    tree = collect_any(value, &m);
    if (tree == NULL) {
        return COMMAND_NOT_JSON;
    }
    detail = parse_members(cmd, &m, rules, about);
    keep_users(cmd);
    json_decref(tree);
    return detail;
}

void command_parse(struct command *cmd, struct slice value, int64_t rules, int partition,
                   int partitions)
{
    enum command_detail detail;
    enum name about;

    memset(cmd, 0, sizeof(*cmd));
    detail = parse(cmd, value, rules, &about);
    if (detail == COMMAND_OK && is_elsewhere(cmd, partition, partitions)) {
        detail = COMMAND_WRONG_PARTITION;
    }
    if (detail != COMMAND_OK) {
        memset(cmd, 0, sizeof(*cmd));
        cmd->type = COMMAND_MALFORMED;
        cmd->detail = detail;
    }
}

const char *command_blame(struct slice value)
{
    struct command cmd;
    enum name about;
    enum command_detail detail;

    memset(&cmd, 0, sizeof(cmd));
    detail = parse(&cmd, value, COMMAND_RULES, &about);
    return detail == COMMAND_MISSING_FIELD || detail == COMMAND_BAD_FIELD ? NAMES[about].ptr : NULL;
}

static bool put_number(struct buf *b, const struct member *member, int64_t n)
{
    if (n < member->min || n > member->max) {
        return false;
    }
    buf_put_i64(b, n);
    return true;
}

static bool put_text(struct buf *b, enum kind kind, struct slice s)
{
    if (!is_good_text(kind, s)) {
        return false;
    }
    buf_putc(b, '"'); /* a good text holds nothing that JSON escapes */
    buf_put_slice(b, s);
    buf_putc(b, '"');
    return true;
}

static bool is_absent(const struct command *cmd, const struct member *member)
{
    const void *field = (const char *)cmd + member->at;

    if (!member->optional) {
        return false;
    }
    if (member->kind == KIND_TERM) {
        return *(const int64_t *)field == -1;
    }
    if (member->kind == KIND_USERS) {
        return ((const struct slice *)field)->ptr == NULL;
    }
    return ((const struct command_text *)field)->len == 0;
}

static bool put_member(struct buf *b, const struct command *cmd, const struct member *member)
{
    const void *field = (const char *)cmd + member->at;

    buf_puts(b, ",\"");
    buf_put_slice(b, NAMES[member->name]);
    buf_puts(b, "\":");
    switch (member->kind) {
    case KIND_ACTION:
        buf_printf(b, "\"%s\"", command_action_name(*(const enum command_action *)field));
        return true;
    case KIND_NUMBER:
        return put_number(b, member, *(const int64_t *)field);
    case KIND_TERM:
        return (cmd->action == COMMAND_OPEN || cmd->action == COMMAND_CHANGE) &&
               put_number(b, member, *(const int64_t *)field);
    case KIND_ORDER:
        return put_text(b, member->kind, slice_str(field));
    case KIND_USERS:
        return put_text(b, member->kind, *(const struct slice *)field);
    case KIND_ITEM:
    case KIND_ID:
    case KIND_LOG:
        break;
    }
    return put_text(b, member->kind, command_text(field));
}

size_t command_format(const struct command *cmd, char *out, size_t size)
{
    const struct shape *shape = &SHAPES[cmd->type];
    struct buf b;

    if (size == 0 || cmd->type == COMMAND_MALFORMED) {
        return 0;
    }
    buf_init_fixed(&b, out, size);
    buf_puts(&b, "{\"type\":\"");
    buf_put_slice(&b, shape->type);
    buf_putc(&b, '"');
    for (size_t i = 0; i < shape->n_members; i++) {
        const struct member *member = &shape->members[i];

        if (!is_absent(cmd, member) && !put_member(&b, cmd, member)) {
            return 0;
        }
    }
    buf_putc(&b, '}');
    return buf_ok(&b) ? b.len : 0;
}

bool command_is_users(struct slice s)
{
    size_t n = 0;

    do {
        if (!ids_is_id(slice_cut(s, ',', &s)) || ++n > COMMAND_USERS_MAX) {
            return false;
        }
    } while (s.ptr != NULL);
    return true;
}

bool command_set_text(struct command_text *text, struct slice s)
{
    text->len = 0;
    if (s.len > IDS_MAX) {
        text->s[0] = '\0';
        return false;
    }
    if (s.len > 0) {
        memcpy(text->s, s.ptr, s.len);
    }
    text->s[s.len] = '\0';
    text->len = (uint8_t)s.len;
    return true;
}

struct slice command_text(const struct command_text *text)
{
    return (struct slice){text->s, text->len};
}

const char *command_type_name(enum command_type type)
{
    return type == COMMAND_MALFORMED ? "malformed" : SHAPES[type].type.ptr;
}

const char *command_action_name(enum command_action action)
{
    return ACTIONS[action].ptr;
}

const char *command_detail_name(enum command_detail detail)
{
    return DETAILS[detail];
}

struct slice command_key(const struct command *cmd)
{
    switch (cmd->type) {
    case COMMAND_SALE:
    case COMMAND_RESTOCK:
    case COMMAND_ORDER:
    case COMMAND_ARCHIVE:
        return command_text(&cmd->item_id);
    case COMMAND_PAY:
    case COMMAND_CANCEL:
        return slice_str(cmd->order_id);
    case COMMAND_GENESIS:
    case COMMAND_SET_RULES:
    case COMMAND_TICK:
    case COMMAND_MARK:
    case COMMAND_MALFORMED:
        break;
    }
    return (struct slice){NULL, 0};
}
