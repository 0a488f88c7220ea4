/*
 * Everybody's next moment is known: the arrivals stand in a sorted list, those who are there and
 * think in a heap.  One timer is set to the earliest, and everything that is due then is done in one
 * turn; shoppers live in one array for the whole storm, so requests may point at them.
 */
#include "tools/stampede/storm.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/xmalloc.h"
#include "tools/stampede/requests.h"
#include "tools/stampede/wakes.h"
#include "tools/stampede/watch.h"

enum {
    OPENING_US = 1000000, /* before the first arrival, to open the connections */
    TURN_US = 100,        /* what is due within this is done together */
    PROGRESS_US = 200000,
};

struct visitor {
    struct client_request main, second;
    struct shopper shopper;
    uint32_t second_order; /* what the second press is about */
    bool asking;           /* its main request has no answer yet */
};

struct run {
    const struct storm_plan *plan;
    struct storm *storm;
    struct event_base *base;
    struct event *timer, *interrupt, *terminate;
    struct client *client;
    struct watch *watch;
    struct requests *requests;
    struct visitor *visitors;
    struct wakes wakes;
    int64_t *arrivals; /* us from the start */
    size_t next;       /* arrival */
    size_t home;
    bool has_begun;
    int64_t due_us; /* what the timer is set to */
    int64_t start_us, arrived_us, closing_us, progress_us;
};

static size_t write_request(void *context, struct client_request *r, const char *host,
                            char out[CLIENT_REQUEST_MAX])
{
    const struct run *run = context;
    const struct visitor *v = r->owner;

    series_time(&run->storm->crowd.series, SERIES_LATE, clock_mono_us() - r->planned_us);
    return requests_write(run->requests, &run->storm->crowd, &v->shopper, host, out);
}

static int64_t next_arrival_us(const struct run *run)
{
    return run->next == run->storm->shoppers ? INT64_MAX : run->start_us + run->arrivals[run->next];
}

/* To the earliest of all that is due. */
static void set_timer(struct run *run)
{
    const int64_t now_us = clock_mono_us();
    int64_t due_us = series_due_us(&run->storm->crowd.series);
    struct timeval pause = {.tv_sec = 0};

    due_us = due_us < next_arrival_us(run) ? due_us : next_arrival_us(run);
    due_us = due_us < wakes_next_us(&run->wakes) ? due_us : wakes_next_us(&run->wakes);
    due_us = due_us < now_us + TURN_US ? now_us + TURN_US : due_us;
    pause.tv_sec = (due_us - now_us) / 1000000;
    pause.tv_usec = (due_us - now_us) % 1000000;
    run->due_us = due_us;
    if (event_add(run->timer, &pause) != 0) {
        (void)event_base_loopbreak(run->base);
    }
}

/* What a shopper does next: at a time, or nothing more. */
static void next_step(struct run *run, struct visitor *v, int64_t at_us)
{
    if (at_us >= 0) {
        wakes_add(&run->wakes, at_us, v->shopper.number);
        if (at_us < run->due_us) {
            set_timer(run);
        }
    } else if (++run->home == run->storm->shoppers) {
        (void)event_base_loopexit(run->base, NULL); /* else the closing time ends it */
    }
}

static void on_answer(void *context, struct client_request *r, const struct answer *answer,
                      int64_t now_us)
{
    struct run *run = context;
    struct crowd *crowd = &run->storm->crowd;
    struct visitor *v = r->owner;

    if (answer->status != 0) {
        series_time(&crowd->series, SERIES_SERVICE, now_us - r->sent_us);
    }
    if (r == &v->second) {
        shopper_answered_twice(crowd, v->second_order, answer);
    } else {
        v->asking = false;
        next_step(
            run, v,
            shopper_answered(crowd, &v->shopper, answer, r->planned_us, r->sent_us != 0, now_us));
    }
}

static void act(struct run *run, struct visitor *v, int64_t planned_us)
{
    v->asking = true;
    client_send(run->client, &v->main, planned_us);
    if (v->shopper.presses_twice && v->shopper.step == SHOPPER_ORDER) {
        v->shopper.presses_twice = false;
        v->second_order = v->shopper.order;
        client_send(run->client, &v->second, planned_us);
    }
}

static void arrive(struct run *run)
{
    const int64_t planned_us = run->start_us + run->arrivals[run->next];
    struct visitor *v = &run->visitors[run->next];

    v->main.owner = v->second.owner = v;
    shopper_arrive(&run->storm->crowd, &v->shopper, (uint32_t)run->next++, planned_us);
    act(run, v, planned_us);
}

static void read_state(const struct run *run, struct series_state *state)
{
    const struct client_counts *counts = client_counts(run->client);

    *state = (struct series_state){.requests = counts->requests,
                                   .connected = counts->connected,
                                   .under_way = counts->under_way,
                                   .backlog = counts->backlog};
    watch_read(run->watch, state);
}

/* A bar, and the numbers that people look for. */
static void show_progress(const struct run *run, int64_t now_us)
{
    static const char bar[] = "##############################";
    const struct series *s = &run->storm->crowd.series;
    const int64_t ms = now_us > run->start_us ? (now_us - run->start_us) / 1000 : 0;
    const int done = (int)(run->home * (sizeof(bar) - 1) / run->storm->shoppers);
    const struct client_counts *counts = client_counts(run->client);

    (void)fprintf(stderr,
                  "\r[%-30.*s] %3d%% %3" PRId64 ".%" PRId64 " s  arrived %zu  requests %" PRIu64
                  "  accepted %" PRIu64 "  decided %" PRIu64 "  paid %" PRIu64 "  unknown %" PRIu64
                  "  waiting %zu\033[K",
                  done, bar, (int)(run->home * 100 / run->storm->shoppers), ms / 1000,
                  ms % 1000 / 100, run->next, counts->requests, s->counts[SERIES_ACCEPTED],
                  s->counts[SERIES_DECIDED], s->counts[SERIES_PAID], s->counts[SERIES_UNKNOWN],
                  counts->backlog);
}

/* The clock's part of the turn: rows of the series, the end of the arrivals, the line on stderr. */
static void look_at_clock(struct run *run, int64_t now_us)
{
    struct series *series = &run->storm->crowd.series;
    struct series_state state;

    if (!run->has_begun && now_us >= run->start_us) { /* what opening cost is not the storm's */
        run->has_begun = true;
        read_state(run, &run->storm->before);
    }
    if (run->arrived_us != 0 && now_us >= run->arrived_us) {
        memcpy(run->storm->arrived, series->counts, sizeof(run->storm->arrived));
        run->arrived_us = 0;
    }
    if (series_due_us(series) <= now_us) {
        read_state(run, &state);
        while (series_due_us(series) <= now_us) {
            series_step(series, &state);
        }
        watch_ask(run->watch);
    }
    if (run->plan->progress && run->progress_us <= now_us) {
        run->progress_us = now_us + PROGRESS_US;
        show_progress(run, now_us);
    }
    if (run->closing_us <= now_us) {
        (void)event_base_loopexit(run->base, NULL); /* tried again in the next turn */
    }
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct run *run = arg;
    const int64_t now_us = clock_mono_us();

    (void)fd;
    (void)what;
    while (next_arrival_us(run) <= now_us) {
        arrive(run);
    }
    while (wakes_next_us(&run->wakes) <= now_us) {
        const struct wake wake = wakes_take(&run->wakes);

        act(run, &run->visitors[wake.who], wake.at_us);
    }
    look_at_clock(run, now_us);
    set_timer(run);
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct run *run = arg;

    (void)fd;
    (void)what;
    run->storm->interrupted = true;
    run->closing_us = 0; /* in the next turn, or by the second signal */
    (void)event_base_loopexit(run->base, NULL);
}

static bool gather(struct run *run, struct err *err)
{
    const struct storm_plan *plan = run->plan;
    struct storm *storm = run->storm;
    struct event_config *config = event_config_new();
    const struct client_settings settings = {.url = plan->url,
                                             .connections = plan->connections,
                                             .addresses = plan->addresses,
                                             .timeout_ms = plan->timeout_ms,
                                             .write = write_request,
                                             .answered = on_answer,
                                             .context = run};

    if (config == NULL || event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER) != 0) {
        return err_set(err, ERR_FATAL, "out of memory");
    }
    run->base = event_base_new_with_config(config);
    event_config_free(config);
    if (run->base == NULL) {
        return err_set(err, ERR_FATAL, "no event loop");
    }
    run->requests = requests_create(plan->secret, storm->shoppers, plan->habits.wait_s, err);
    if (run->requests == NULL) {
        return false;
    }
    run->client = client_create(run->base, &settings, err);
    if (run->client == NULL) {
        return false;
    }
    run->watch = watch_create(run->base, plan->url, &storm->crowd.ledger, err);
    if (run->watch == NULL) {
        return false;
    }
    run->timer = evtimer_new(run->base, on_timer, run);
    run->interrupt = evsignal_new(run->base, SIGINT, on_signal, run);
    run->terminate = evsignal_new(run->base, SIGTERM, on_signal, run);
    if (run->timer == NULL || run->interrupt == NULL || run->terminate == NULL ||
        event_add(run->interrupt, NULL) != 0 || event_add(run->terminate, NULL) != 0) {
        return err_set(err, ERR_FATAL, "out of memory");
    }
    return true;
}

/* Opens the connections and the doors, and lets them come. */
static bool let_come(struct run *run, struct err *err)
{
    struct storm *storm = run->storm;
    const struct storm_plan *plan = run->plan;

    run->start_us = clock_mono_us() + OPENING_US;
    run->arrived_us = run->start_us + plan->arrivals.duration_us;
    run->closing_us = run->arrived_us + plan->patience_ms * 1000;
    series_init(&storm->crowd.series, run->start_us, plan->step_ms * 1000);
    client_open_all(run->client);
    watch_ask(run->watch);
    read_state(run, &storm->before);
    on_timer(-1, 0, run);
    if (event_base_dispatch(run->base) < 0) {
        return err_set(err, ERR_FATAL, "the event loop failed");
    }
    return true;
}

/* How each shopper fared; who is still waiting for an answer does not know. */
static void take_stock(struct run *run)
{
    struct storm *storm = run->storm;

    for (size_t i = 0; i < run->next; i++) {
        const struct visitor *v = &run->visitors[i];

        if (v->asking && v->main.sent_us != 0) {
            shopper_unanswered(&storm->crowd, &v->shopper);
        }
        storm->ends[told_ended(shopper_order(&storm->crowd, &v->shopper))]++;
    }
}

static void dismiss(struct run *run)
{
    client_destroy(run->client);
    watch_destroy(run->watch);
    requests_destroy(run->requests);
    struct event *const events[] = {run->timer, run->interrupt, run->terminate};

    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        if (events[i] != NULL) {
            event_free(events[i]);
        }
    }
    if (run->base != NULL) {
        event_base_free(run->base);
    }
    wakes_fini(&run->wakes);
    free(run->visitors);
    free(run->arrivals);
}

bool storm_run(const struct storm_plan *plan, struct storm *storm, struct err *err)
{
    struct run run = {.plan = plan, .storm = storm};
    bool done = false;

    storm->crowd.habits = plan->habits;
    storm->crowd.dice.state = plan->seed;
    run.arrivals = arrivals_plan(&plan->arrivals, &storm->crowd.dice, &storm->shoppers);
    if (storm->shoppers == 0 || storm->shoppers > UINT32_MAX) {
        free(run.arrivals);
        return err_set(err, ERR_REJECT, "%zu shoppers would come", storm->shoppers);
    }
    run.visitors = xcalloc(storm->shoppers, sizeof(*run.visitors));
    wakes_init(&run.wakes, storm->shoppers);
    told_init(&storm->crowd.ledger, storm->shoppers);
    if (gather(&run, err) && let_come(&run, err)) {
        read_state(&run, &storm->after);
        series_step(&storm->crowd.series, &storm->after);
        if (run.arrived_us != 0) { /* all went home before the last could have come */
            memcpy(storm->arrived, storm->crowd.series.counts, sizeof(storm->arrived));
        }
        if (plan->progress) {
            show_progress(&run, clock_mono_us());
            (void)fputc('\n', stderr);
        }
        storm->counts = *client_counts(run.client);
        for (size_t i = 0; watch_process(run.watch, i) != NULL; i++) {
            (void)snprintf(storm->processes[i], sizeof(storm->processes[i]), "%s",
                           watch_process(run.watch, i));
        }
        take_stock(&run);
        done = true;
    }
    dismiss(&run);
    return done;
}

void storm_fini(struct storm *storm)
{
    told_fini(&storm->crowd.ledger);
    series_fini(&storm->crowd.series);
}
