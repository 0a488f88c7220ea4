/*
 * Four hash tables (uthash) hold what Redis holds in four hashes.  Orders hang from their user in
 * order of decision, at most ORDERS_REMEMBERED_MAX of them, so one look-up serves memory, limit, pay and
 * cancel as it does in Redis; they live in slabs, and what an archive forgets is used again.
 *
 * A hold waits in the queue of its hold_ms.  Log time never goes back, so each queue is in order
 * of (due, offset) by itself, and the earliest hold of all is one of at most HOLDS_MAX heads.
 * A hold leaves its queue the moment it stops being one: unlike Redis's lists, no queue has stale
 * entries.  next_due is never later than the earliest head, which lets a record at which nothing
 * is due pass with one comparison.
 *
 * Invariants: available + held + sold = total in every item; an order is in a queue exactly while
 * its state is ORDER_RESERVED; an item that is not present (a rejected order named it) has no
 * stock and is told to nobody.
 *
 * fold_table.c finds and keeps, fold_order.c and fold_sale.c hold the rules, fold_tell.c writes
 * events, fold_show.c the state.
 */
#include "common/fold.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/fold_impl.h"
#include "common/xmalloc.h"

static void apply_genesis(struct fold *f)
{
    const struct command *cmd = &f->command;

    if (f->log.genesis[0] != '\0') {
        fold_tell_reason(f, "x", REASON_BAD_OPERATION);
        return;
    }
    memcpy(f->log.genesis, cmd->other_id.s, IDS_LOG_LEN);
    f->log.partitions = cmd->partitions;
    f->log.rules = cmd->rules;
    f->log.chain = ids_chain_start(command_text(&cmd->other_id));
    fold_tell_letter(f, "g");
}

static void apply_command(struct fold *f)
{
    switch (f->command.type) {
    case COMMAND_GENESIS:
        apply_genesis(f);
        break;
    case COMMAND_SET_RULES:
        f->log.rules = f->command.rules;
        fold_tell_letter(f, "v");
        break;
    case COMMAND_SALE:
        fold_apply_sale(f);
        break;
    case COMMAND_RESTOCK:
        fold_apply_restock(f);
        break;
    case COMMAND_ORDER:
        fold_apply_order(f);
        break;
    case COMMAND_PAY:
        fold_apply_pay(f);
        break;
    case COMMAND_CANCEL:
        fold_apply_cancel(f);
        break;
    case COMMAND_TICK:
        break;
    case COMMAND_MARK:
        fold_apply_mark(f);
        break;
    case COMMAND_ARCHIVE:
        fold_apply_archive(f);
        break;
    case COMMAND_MALFORMED:
        fold_tell_reason(f, "x", REASON_MALFORMED);
        break;
    }
}

struct fold *fold_create(int partition, int partitions)
{
    struct fold *f = xcalloc(1, sizeof(*f));

    assert(partitions >= 1 && partitions <= IDS_PARTITIONS_MAX);
    assert(partition >= 0 && partition < partitions);
    f->partition = partition;
    f->partitions = partitions;
    f->log.watermark = -1;
    f->log.changed = (struct fold_changes){-1, -1, -1, -1, -1, -1, -1};
    f->next_due = INT64_MAX;
    return f;
}

void fold_destroy(struct fold *f)
{
    if (f == NULL) {
        return;
    }
    fold_free_table(&f->items);
    fold_free_table(&f->users);
    fold_free_table(&f->payments);
    fold_free_table(&f->operations);
    while (f->slabs != NULL) {
        struct slab *next = f->slabs->next;

        free(f->slabs);
        f->slabs = next;
    }
    free(f);
}

/* Notes what the record at hand has changed since it was so. */
static void note_changes(struct fold *f, const struct fold_log *was, size_t n_queues)
{
    struct fold_changes *changed = &f->log.changed;
    const struct {
        bool is_changed;
        int64_t *at;
    } parts[] = {
        {was->genesis[0] != f->log.genesis[0], &changed->genesis},
        {was->rules != f->log.rules, &changed->rules},
        {was->log_time != f->log.log_time, &changed->log_time},
        {was->items != f->log.items, &changed->items},
        {was->orders != f->log.orders, &changed->orders},
        {was->payments != f->log.payments, &changed->payments},
        {n_queues != f->n_queues, &changed->holds},
    };

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].is_changed) {
            *parts[i].at = f->offset;
        }
    }
}

bool fold_apply(struct fold *f, const struct fold_record *rec, struct buf *line, struct err *err)
{
    const bool is_first = f->log.genesis[0] == '\0';
    const struct fold_log was = f->log;
    const size_t n_queues = f->n_queues;
    uint64_t hash;

    if (rec->offset <= f->log.watermark || rec->offset > COMMAND_TIME_MAX) {
        return err_set(err, ERR_FATAL, "offset %lld does not follow %lld", (long long)rec->offset,
                       (long long)f->log.watermark);
    }
    if (rec->timestamp > COMMAND_TIME_MAX) {
        return err_set(err, ERR_FATAL, "offset %lld has no possible time: %lld",
                       (long long)rec->offset, (long long)rec->timestamp);
    }
    if (!is_first && !command_has_rules(f->log.rules)) {
        return err_set(err, ERR_FATAL, "offset %lld is under rules %lld, this build has 1 to %d",
                       (long long)rec->offset, (long long)f->log.rules, COMMAND_RULES);
    }
    command_parse(&f->command, rec->value, f->log.rules, f->partition, f->partitions);
    if (is_first && f->command.type != COMMAND_GENESIS) {
        return err_set(err, ERR_FATAL, "the first record, offset %lld, is no genesis but %s",
                       (long long)rec->offset, command_type_name(f->command.type));
    }
    f->line = line;
    f->n_events = 0;
    f->offset = rec->offset;
    if (f->log.log_time < rec->timestamp) {
        f->log.log_time = rec->timestamp;
    }
    fold_expire_due(f);
    apply_command(f);
    note_changes(f, &was, n_queues);

    hash = ids_record_hash(rec->offset, rec->timestamp, rec->key, rec->value);
    f->log.chain = ids_chain_next(f->log.chain, hash);
    f->log.last_hash = hash;
    f->log.watermark = rec->offset;
    f->line = NULL;
    return true;
}

void fold_log(const struct fold *f, struct fold_log *log)
{
    *log = f->log;
}

const struct command *fold_last_command(const struct fold *f)
{
    return &f->command;
}
