#include "tests/sim/shoppers.h"

#include <stdio.h>
#include <string.h>

#include "tests/sim/doors.h"
#include "tests/sim/log.h"
#include "tests/sim/porch.h"

enum { PATIENT_MS = 200 };

struct slice wish_user(const struct wish *wish, char out[NAME_SIZE])
{
    (void)snprintf(out, NAME_SIZE, "u%d", wish->user);
    return slice_str(out);
}

struct slice wish_item(const struct wish *wish, char out[NAME_SIZE])
{
    (void)snprintf(out, NAME_SIZE, "%c@%d", wish->item, wish->shard);
    return slice_str(out);
}

/* ---- visits ---- */

static struct http_request *new_visit(struct porch *p, struct wish *wish, enum calls_kind kind)
{
    struct world *w = p->world;
    struct crowd *crowd = w->crowd;
    const struct shard *s = &w->shards[wish->shard];
    const int64_t heard = p->stream.is_assigned ? p->stream.reels[wish->shard].heard : -1;
    const int64_t began = p->began[wish->shard];

    for (size_t i = 0; i < VISITS_MAX; i++) {
        struct http_request *v = &crowd->visits[i];

        if (!v->is_used) {
            *v = (struct http_request){
                .is_used = true,
                .world = w,
                .number = ++crowd->n_visits,
                .porch = p,
                .wish = wish,
                .kind = kind,
                .qty = wish->qty,
                .floor = s->redis.at == NULL ? -1 : s->redis.at->offset,
                .recorded = s->mysql.progress.position,
                .highest = heard > began ? heard : began,
                .is_sound = porch_is_sound(p, wish->shard),
                .is_probe = wish->is_probe && w->is_healing,
            };
            crowd->pending++;
            doors_note_redis(w);
            return v;
        }
    }
    return NULL;
}

/* What producer/routes.c hands on. */
static void begin(struct http_request *v, int64_t wait_ms)
{
    const struct wish *wish = v->wish;
    struct porch *p = v->porch;
    char user[NAME_SIZE];
    char item[NAME_SIZE];
    char key[NAME_SIZE];
    char order_id[IDS_ORDER_LEN + 1];
    struct calls_request request = {
        .kind = v->kind,
        .user_id = wish_user(wish, user),
        .item_id = wish_item(wish, item),
        .order_id = slice_str(wish->order_id),
        .payment_id = slice_str(v->payment_id),
        .qty = v->qty,
        .partition = wish->shard,
        .offset = -1,
        .wait_ms = wait_ms,
    };

    if (v->is_stranger) {
        request.user_id = SLICE_LIT("stranger");
    }
    if (v->kind == CALLS_ORDER) {
        request.order_id = (struct slice){NULL, 0};
        if (wish->key != 0) {
            (void)snprintf(key, sizeof(key), "k%d", wish->key);
            ids_order_keyed(order_id, wish->shard, request.user_id, request.item_id,
                            slice_str(key));
            request.order_id = slice_str(order_id);
        }
    } else if (v->kind == CALLS_SHOW && chance(p->world, 50)) {
        request.offset = wish->position;
    }
    p->visit = v->number;
    porch_wake(p);
    calls_start(p->calls, v, &request);
    p->visit = 0;
}

static void press(struct porch *p, struct wish *wish, int64_t qty, int64_t wait_ms)
{
    struct http_request *v = new_visit(p, wish, CALLS_ORDER);

    if (v != NULL) {
        v->qty = qty;
        wish->is_pressed = true;
        wish->qtys |= 1U << qty;
        tell(p->world, "shopper %" PRIu64 ": u%d orders %" PRId64 " %c@%d at door %d, key %d",
             v->number, wish->user, qty, wish->item, wish->shard, p->number, wish->key);
        begin(v, wait_ms);
    }
}

static void ask(struct porch *p, struct wish *wish, bool is_stranger, int64_t wait_ms)
{
    struct http_request *v = new_visit(p, wish, CALLS_SHOW);

    if (v != NULL) {
        v->is_stranger = is_stranger;
        tell(p->world, "shopper %" PRIu64 ": %s asks for u%d's %s at door %d", v->number,
             is_stranger ? "a stranger" : "he", wish->user, wish->order_id, p->number);
        begin(v, wait_ms);
    }
}

static void answer_hold(struct porch *p, struct wish *wish, int64_t wait_ms)
{
    const bool is_pay = chance(p->world, 50);
    struct http_request *v = new_visit(p, wish, is_pay ? CALLS_PAY : CALLS_CANCEL);

    if (v != NULL) {
        if (is_pay) {
            (void)snprintf(v->payment_id, sizeof(v->payment_id), "q%d.%d",
                           (int)(wish - p->world->crowd->wishes),
                           chance(p->world, 30) ? wish->payments : ++wish->payments);
        }
        tell(p->world, "shopper %" PRIu64 ": u%d %s %s at door %d", v->number, wish->user,
             is_pay ? "pays" : "cancels", wish->order_id, p->number);
        begin(v, wait_ms);
    }
}

void http_on_leave(struct http_request *req, http_leave_fn *leave, void *arg)
{
    req->leave = leave;
    req->leave_arg = arg;
}

static void leave_some(struct world *w)
{
    struct http_request *v = &w->crowd->visits[below(w, VISITS_MAX)];

    if (v->is_used && v->leave != NULL && !v->is_gone && !v->porch->is_stopped) {
        seen(COVER_SHOPPER_LEFT);
        tell(w, "shopper %" PRIu64 ": leaves", v->number);
        v->is_gone = true;
        porch_wake(v->porch);
        v->leave(v, v->leave_arg);
    }
}

void shoppers_left(struct porch *p)
{
    struct crowd *crowd = p->world->crowd;

    for (size_t i = 0; i < VISITS_MAX; i++) {
        if (crowd->visits[i].is_used && crowd->visits[i].porch == p) {
            crowd->visits[i].is_used = false;
            crowd->pending--;
        }
    }
}

/* ---- what they do ---- */

static struct wish *new_wish(struct world *w)
{
    struct crowd *crowd = w->crowd;
    struct wish *wish = &crowd->wishes[crowd->n_wishes];

    if (crowd->n_wishes == WISHES_MAX) {
        return NULL;
    }
    *wish = (struct wish){
        .user = (int)below(w, USERS),
        .shard = any_shard(w)->number,
        .item = chance(w, 85) ? 'x' : 'y',
        .qty = chance(w, 85) ? 1 : 2,
        .key = chance(w, 80) ? 1 : 0,
        .position = -1,
    };
    for (size_t i = 0; i < crowd->n_wishes && wish->key != 0; i++) {
        const struct wish *other = &crowd->wishes[i];

        /* The keys of another are nobody else's business, so they may be the same. */
        wish->key += other->key != 0 && other->user == wish->user ? 1 : 0;
    }
    crowd->n_wishes++;
    return wish;
}

static struct wish *some_wish(struct world *w)
{
    return w->crowd->n_wishes == 0 ? NULL
                                   : &w->crowd->wishes[below(w, (int64_t)w->crowd->n_wishes)];
}

static int64_t some_wait(struct world *w)
{
    return chance(w, 50) ? 0 : 50 + below(w, chance(w, 50) ? 300 : 4000);
}

void shoppers_go_on(struct world *w)
{
    struct porch *p = &w->crowd->porches[below(w, DOORS)];
    struct wish *wish = some_wish(w);
    const int64_t wait_ms = some_wait(w);

    if (p->calls == NULL || p->is_stopped) {
        return;
    }
    switch (below(w, 9)) {
    case 0:
    case 1:
    case 2:
        wish = new_wish(w);
        if (wish != NULL) {
            press(p, wish, wish->qty, wait_ms);
        }
        break;
    case 3:
    case 4:
        if (wish != NULL && wish->key != 0) {
            seen(COVER_PRESSED_AGAIN);
            press(p, wish, chance(w, 95) ? wish->qty : 3 - wish->qty, wait_ms);
        }
        break;
    case 5:
    case 6:
        if (wish != NULL && wish->order_id[0] != '\0') {
            ask(p, wish, chance(w, 15), wait_ms);
        }
        break;
    case 7:
        if (wish != NULL && wish->order_id[0] != '\0') {
            answer_hold(p, wish, wait_ms);
        }
        break;
    default:
        leave_some(w);
        break;
    }
}

/* ---- a time without trouble ---- */

/* Nothing more can be told of it: its log was cut, ended with strange rules, or takes no more. */
static bool is_over(const struct world *w, const struct wish *wish)
{
    const struct shard *s = &w->shards[wish->shard];

    return s->cut >= 0 || s->has_rules || !log_has_room(s);
}

static bool is_visiting(const struct world *w, const struct wish *wish)
{
    for (size_t i = 0; i < VISITS_MAX && w->crowd->pending > 0; i++) {
        if (w->crowd->visits[i].is_used && w->crowd->visits[i].wish == wish) {
            return true;
        }
    }
    return false;
}

/* What the log made of it; NULL: it never came there. */
static const struct row_order *row_of(struct world *w, const struct wish *wish)
{
    char user[NAME_SIZE];

    (void)wish_user(wish, user);
    return wish->order_id[0] == '\0'
               ? NULL
               : tables_order(&w->shards[wish->shard].judged, wish->order_id, user);
}

void shoppers_insist(struct world *w)
{
    struct crowd *crowd = w->crowd;

    for (size_t i = 0; i < crowd->n_wishes; i++) {
        struct wish *wish = &crowd->wishes[i];
        struct tables *t = &w->shards[wish->shard].judged;
        struct porch *p = &crowd->porches[crowd->n_visits % DOORS];
        const struct row_order *row;

        if (!wish->is_pressed || wish->is_final || is_over(w, wish) || !chance(w, 25) ||
            is_visiting(w, wish)) {
            continue;
        }
        row = row_of(w, wish);
        if (wish->key != 0 && !(row != NULL && t->is_forgotten[row - t->orders]) &&
            (row == NULL || chance(w, 50))) {
            press(p, wish, wish->qty, chance(w, 50) ? 0 : PATIENT_MS);
        } else if (wish->order_id[0] != '\0') {
            ask(p, wish, false, chance(w, 50) ? 0 : PATIENT_MS);
        } else {
            wish->is_final = true; /* nobody has ever told him its id */
        }
    }
}

void shoppers_ask_all(struct world *w)
{
    for (size_t i = 0; i < w->crowd->n_wishes; i++) {
        struct wish *wish = &w->crowd->wishes[i];

        if (row_of(w, wish) != NULL) {
            wish->is_final = false;
        }
    }
}

void shoppers_probe(struct world *w)
{
    const struct shard *s = any_shard(w);
    const struct node *last = log_at(s, s->n - 1);
    struct item_entry item;

    if (w->has_lost || s->cut >= 0 || s->has_rules || last == NULL || last->items[0] == NULL ||
        !item_entry_parse(slice_str(last->items[0]), &item) || item.state != 'o' ||
        item.available < 1) {
        return;
    }
    for (int i = 0; i < DOORS; i++) {
        struct wish *wish = new_wish(w);

        if (wish != NULL) {
            seen(COVER_PROBED);
            wish->shard = s->number;
            wish->item = 'x';
            wish->qty = 1;
            wish->is_probe = true;
            press(&w->crowd->porches[i], wish, 1, PATIENT_MS);
        }
    }
}

bool shoppers_are_done(const struct world *w)
{
    for (size_t i = 0; i < w->crowd->n_wishes; i++) {
        const struct wish *wish = &w->crowd->wishes[i];

        if (wish->is_pressed && !is_over(w, wish) && (!wish->is_final || is_visiting(w, wish))) {
            return false;
        }
    }
    return true;
}
