/*
 * One list is both what may be seen and what must be: an event outside it is a broken rule, an
 * entry never counted is a hole in the test.
 */
#include "tests/differential/coverage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/outcome.h"
#include "tests/differential/script.h"

static struct {
    const char *name;
    uint64_t count;
} points[] = {
    {"reserved", 0},
    {"rejected sold_out", 0},
    {"rejected limit_reached", 0},
    {"rejected not_open", 0},
    {"rejected closed", 0},
    {"rejected paused", 0},
    {"rejected timed_out", 0},
    {"rejected unknown_item", 0},
    {"expired", 0},
    {"paid in time", 0},
    {"paid late", 0},
    {"cancelled", 0},
    {"refund_due sold_out", 0},
    {"refund_due limit_reached", 0},
    {"refund_due closed", 0},
    {"refund_due paused", 0},
    {"refund_due unknown_order", 0},
    {"refund_due already_paid", 0},
    {"refund_due already_cancelled", 0},
    {"refund_due already_rejected", 0},
    {"duplicate order H", 0},
    {"duplicate order R", 0},
    {"duplicate order P", 0},
    {"duplicate order C", 0},
    {"duplicate order E", 0},
    {"duplicate payment P", 0},
    {"duplicate payment R", 0},
    {"duplicate operation", 0},
    {"refused closed", 0},
    {"refused unknown_item", 0},
    {"refused unknown_order", 0},
    {"refused already_paid", 0},
    {"refused already_cancelled", 0},
    {"refused already_rejected", 0},
    {"refused expired", 0},
    {"refused below_committed", 0},
    {"refused bad_operation", 0},
    {"refused malformed", 0},
    {"an order of an archived item refused", 0},
    {"archived, naming none", 0},
    {"archived, forgetting none", 0},
    {"archived, forgetting orders", 0},
    {"archived, of expired holds", 0},
    {"archived once more", 0},
    {"refused archive under rules 1", 0},
    {"refused archive of no item", 0},
    {"refused archive of an open item", 0},
    {"refused archive under holds", 0},
    {"stock", 0},
    {"genesis", 0},
    {"rules", 0},
    {"mark", 0},
    {"no event", 0},
    {"64 expired by one command", 0},
    {"lapsed hold paid", 0},
    {"lapsed hold cancelled", 0},
    {"a user's 65th order", 0},
    {"an order's 9th payment", 0},
    {"a partition's 65th hold_ms", 0},
    {"a partition's 4097th item", 0},
    {"reply ok", 0},
    {"reply position", 0},
    {"reply absent", 0},
    {"reply absent: keys", 0},
    {"reply absent: rebuild", 0},
    {"reply rules", 0},
    {"reply full outbox", 0},
    {"reply full remembered", 0},
    {"reply bad", 0},
    {"empty batch", 0},
    {"outbox trimmed", 0},
    {"cut differently", 0},
};

void coverage_hit(const char *name)
{
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        if (strcmp(points[i].name, name) == 0) {
            points[i].count++;
            return;
        }
    }
    die("no rule gives this: %s", name);
}

static void hit_reason(const char *what, struct slice number)
{
    char name[64];
    int64_t reason;

    if (!slice_to_i64(number, 1, REASON_COUNT - 1, &reason)) {
        die("%s with no reason: %.*s", what, (int)number.len, number.ptr);
    }
    (void)snprintf(name, sizeof(name), "%s %s", what, reason_name((enum reason)reason));
    coverage_hit(name);
}

static void hit_letter(const char *what, struct slice letter)
{
    char name[64];

    (void)snprintf(name, sizeof(name), "%s %.*s", what, (int)letter.len, letter.ptr);
    coverage_hit(name);
}

static struct slice nth_word(struct slice s, int n)
{
    struct slice rest = s, word = slice_cut(s, ' ', &rest);

    while (n-- > 0) {
        word = slice_cut(rest, ' ', &rest);
    }
    return word;
}

static void hit_event(struct slice event)
{
    if (event.len == 0) {
        die("an event without a letter");
    }
    switch (event.ptr[0]) {
    case '-':
        hit_reason("rejected", (struct slice){event.ptr + 1, nth_word(event, 0).len - 1});
        break;
    case 'e':
        coverage_hit("expired");
        break;
    case 'p':
        coverage_hit(slice_eq(nth_word(event, 3), SLICE_LIT("1")) ? "paid late" : "paid in time");
        break;
    case 'c':
        coverage_hit("cancelled");
        break;
    case 'r':
        hit_reason("refund_due", nth_word(event, 1));
        break;
    case 'd':
        hit_letter("duplicate order", nth_word(event, 3));
        break;
    case 'D':
        hit_letter("duplicate payment", nth_word(event, 2));
        break;
    case 'o':
        coverage_hit("duplicate operation");
        break;
    case 'x':
        hit_reason("refused", nth_word(event, 1));
        break;
    case 's':
        coverage_hit("stock");
        break;
    case 'a':
        break; /* told apart by hit_archive() */
    case 'g':
        coverage_hit("genesis");
        break;
    case 'v':
        coverage_hit("rules");
        break;
    case 'm':
        coverage_hit("mark");
        break;
    default:
        if (event.ptr[0] < '0' || event.ptr[0] > '9') {
            die("no rule gives this: %.*s", (int)event.len, event.ptr);
        }
        coverage_hit("reserved");
        break;
    }
}

/* How many orders the user has, and the payments of the command's order in text. */
static size_t find_payments(const struct fold *fold, const struct command *cmd, struct buf *value,
                            struct slice *payments)
{
    struct order_entry order;
    struct slice rest;
    size_t n = 0;

    *payments = SLICE_LIT("");
    if (!fold_orders(fold, command_text(&cmd->user_id), value)) {
        return 0;
    }
    rest = buf_slice(value);
    while (order_entry_next(&rest, &order) == 1) {
        n++;
        if (slice_eq(order.order_id, slice_str(cmd->order_id))) {
            *payments = order.payments;
        }
    }
    return n;
}

/* The 9th payment is answered like any other, and not listed. */
static void hit_unlisted(const struct command *cmd, struct slice payments)
{
    struct slice payment_id;
    char answer;
    int n = 0;

    while (order_payment_next(&payments, &answer, &payment_id) == 1) {
        n++;
        if (slice_eq(payment_id, command_text(&cmd->other_id))) {
            return;
        }
    }
    if (n == 8) {
        coverage_hit("an order's 9th payment");
    }
}

/* What became of an archive; fold is the state after it. */
static void hit_archive(const struct fold *fold, struct slice line, struct slice last)
{
    const struct command *cmd = fold_last_command(fold);
    struct item_entry item;
    struct fold_log log;
    struct buf value;

    fold_log(fold, &log);
    buf_init(&value, FOLD_VALUE_MAX);
    if (last.ptr[0] == 'o') {
        coverage_hit("duplicate operation");
    } else if (slice_eq(last, SLICE_LIT("x 7"))) {
        coverage_hit("refused archive of no item");
    } else if (last.ptr[0] == 'x' && log.rules == 1) {
        coverage_hit("refused archive under rules 1");
    } else if (last.ptr[0] == 'x') {
        const bool is_known = fold_item(fold, command_text(&cmd->item_id), &value) &&
                              item_entry_parse(buf_slice(&value), &item);

        coverage_hit(is_known && item.state == 'c' ? "refused archive under holds"
                                                   : "refused archive of an open item");
    } else {
        if (cmd->users.ptr == NULL) {
            coverage_hit("archived, naming none");
        } else if (slice_eq(nth_word(last, 1), SLICE_LIT("0"))) {
            coverage_hit("archived, forgetting none");
        } else {
            coverage_hit("archived, forgetting orders");
        }
        if (line.ptr[0] == 'e') {
            coverage_hit("archived, of expired holds");
        }
        if (log.archived > 1) {
            coverage_hit("archived once more");
        }
    }
    buf_fini(&value);
}

static void hit_bounds(const struct fold *fold, struct slice last)
{
    const struct command *cmd = fold_last_command(fold);
    struct fold_log log;
    struct buf value;
    struct slice payments;

    fold_log(fold, &log);
    buf_init(&value, FOLD_VALUE_MAX);
    if (cmd->type == COMMAND_ORDER && last.ptr[0] == 'x') {
        coverage_hit("an order of an archived item refused");
    } else if (cmd->type == COMMAND_ORDER && slice_starts(last, SLICE_LIT("-2 "))) {
        if (find_payments(fold, cmd, &value, &payments) == 64 && payments.len == 0) {
            coverage_hit("a user's 65th order");
        }
    } else if (cmd->type == COMMAND_PAY && last.ptr[0] == 'r') {
        (void)find_payments(fold, cmd, &value, &payments);
        hit_unlisted(cmd, payments);
    } else if (cmd->type == COMMAND_SALE && slice_eq(last, SLICE_LIT("x 14"))) {
        size_t commas = 0;

        fold_holds(fold, &value);
        for (size_t i = 0; i < value.len; i++) {
            commas += value.ptr[i] == ',';
        }
        if (commas == 63) {
            coverage_hit("a partition's 65th hold_ms");
        }
        if (log.items == 4096 && !fold_item(fold, command_text(&cmd->item_id), &value)) {
            coverage_hit("a partition's 4097th item");
        }
    }
    buf_fini(&value);
}

void coverage_line(const struct fold *fold, struct slice line)
{
    const struct command *cmd = fold_last_command(fold);
    struct slice rest = line, last = line;
    size_t expired = 0;

    if (line.len == 0) {
        coverage_hit("no event");
        return;
    }
    while (rest.len > 0) {
        last = slice_cut(rest, ';', &rest);
        hit_event(last);
        expired += last.ptr[0] == 'e';
    }
    if (expired == 64) {
        coverage_hit("64 expired by one command");
    }
    if (expired > 64) {
        coverage_hit(cmd->type == COMMAND_PAY ? "lapsed hold paid" : "lapsed hold cancelled");
    }
    if (cmd->type == COMMAND_ARCHIVE) {
        hit_archive(fold, line, last);
    } else if (last.len > 0) {
        hit_bounds(fold, last);
    }
}

bool coverage_is_complete(void)
{
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        if (points[i].count == 0) {
            return false;
        }
    }
    return true;
}

void coverage_print(void)
{
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        (void)printf("%10" PRIu64 "  %s%s\n", points[i].count, points[i].name,
                     points[i].count == 0 ? ", never seen" : "");
    }
}
