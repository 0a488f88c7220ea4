/*
 * Events in the words of docs/protocol.md section 6, for a line that somebody may want.
 */
#include "common/fold_impl.h"

struct buf *fold_next_event(struct fold *f)
{
    if (f->line != NULL && f->n_events++ > 0) {
        buf_putc(f->line, ';');
    }
    return f->line;
}

void fold_put_number(struct buf *out, int64_t n)
{
    buf_putc(out, ' ');
    buf_put_i64(out, n);
}

void fold_put_text(struct buf *out, struct slice s)
{
    buf_putc(out, ' ');
    buf_put_slice(out, s);
}

void fold_put_stock(struct buf *out, const struct stock *s)
{
    const char state[] = {' ', s->state, '\0'};

    buf_put_i64(out, s->total);
    fold_put_number(out, s->available);
    fold_put_number(out, s->held);
    fold_put_number(out, s->sold);
    fold_put_number(out, s->limit);
    fold_put_number(out, s->hold_ms);
    fold_put_number(out, s->opens_at);
    fold_put_number(out, s->closes_at);
    buf_puts(out, state);
    fold_put_number(out, s->price);
}

void fold_tell_order(struct fold *f, const struct order *order, const char *letter, int late)
{
    struct buf *line = fold_next_event(f);

    if (line == NULL) {
        return;
    }
    buf_puts(line, letter);
    fold_put_text(line, fold_name(&order->item->node));
    fold_put_number(line, order->qty);
    if (late >= 0) {
        fold_put_number(line, late);
    }
    fold_put_number(line, order->item->stock.available);
}

void fold_tell_rejected(struct fold *f, enum reason reason, const struct item *item)
{
    struct buf *line = fold_next_event(f);

    if (line != NULL) {
        buf_put_i64(line, -(int64_t)reason);
        fold_put_number(line, item == NULL ? 0 : item->stock.available);
    }
}

void fold_tell_reason(struct fold *f, const char *letter, enum reason reason)
{
    struct buf *line = fold_next_event(f);

    if (line != NULL) {
        buf_puts(line, letter);
        fold_put_number(line, reason);
    }
}

void fold_tell_letter(struct fold *f, const char *letter)
{
    struct buf *line = fold_next_event(f);

    if (line != NULL) {
        buf_puts(line, letter);
    }
}

void fold_tell_stock(struct fold *f, const struct item *item)
{
    struct buf *line = fold_next_event(f);

    if (line != NULL) {
        buf_puts(line, "s ");
        fold_put_stock(line, &item->stock);
    }
}
