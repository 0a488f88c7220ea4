#include "tools/stampede/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static json_int_t number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

/* total = available + held + sold, none negative; and the same everywhere. */
static bool proof_holds(const json_t *proof, json_int_t *oversold)
{
    static const char *const names[] = {"total", "available", "held", "sold"};
    static const char *const sources[] = {"redis", "mysql", "log"};
    const json_t *log = json_object_get(proof, "log");
    bool holds = json_is_true(json_object_get(proof, "ok"));

    for (size_t s = 0; s < 3; s++) {
        const json_t *source = json_object_get(proof, sources[s]);
        json_int_t over = number(source, "held") + number(source, "sold") - number(source, "total");

        *oversold = over > *oversold ? over : *oversold;
        holds = holds && json_is_object(source) && over + number(source, "available") == 0;
        for (size_t i = 0; i < 4; i++) {
            holds = holds && number(source, names[i]) >= 0 &&
                    number(source, names[i]) == number(log, names[i]);
        }
    }
    return holds;
}

static json_t *count(uint64_t n)
{
    return json_integer((json_int_t)n);
}

static json_t *tally(const struct told_tally *t)
{
    json_t *object = json_object();

    for (size_t i = 0; i < t->n; i++) {
        json_object_set_new(object, t->rows[i].name, count(t->rows[i].count));
    }
    return object;
}

/* -1 is unknown. */
static json_t *ms(int64_t us)
{
    return us < 0 ? json_null() : json_real((double)us / 1000);
}

static json_t *latency(const struct histogram *h)
{
    json_t *object = json_object();
    int64_t us[SERIES_QUANTILES];

    series_quantiles(h, us);
    json_object_set_new(object, "count", count(histogram_count(h)));
    for (size_t q = 0; q < SERIES_QUANTILES; q++) {
        json_object_set_new(object, series_quantile_names[q], ms(us[q]));
    }
    return object;
}

static json_t *plan_of(const struct storm_plan *plan, const struct told *ledger)
{
    const struct habits *h = &plan->habits;
    json_t *items = json_array();

    for (size_t i = 0; i < ledger->n_items; i++) {
        json_array_append_new(items, json_string(ledger->items[i]));
    }
    return json_pack(
        "{s:s,s:o,s:s,s:f,s:f,s:I,s:I,s:I,s:{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}}", "url",
        plan->url, "items", items, "arrivals", arrivals_names[plan->arrivals.kind], "rate_per_s",
        plan->arrivals.rate_per_s, "duration_s", (double)plan->arrivals.duration_us / 1e6,
        "connections", (json_int_t)plan->connections, "addresses", (json_int_t)plan->addresses,
        "seed", (json_int_t)plan->seed, "habits", "pay", (json_int_t)h->pay, "cancel",
        (json_int_t)h->cancel, "abandon", (json_int_t)h->abandon, "keyed", (json_int_t)h->keyed,
        "double_press", (json_int_t)h->double_press, "retry", (json_int_t)h->retry, "wait",
        (json_int_t)h->wait, "come_back", (json_int_t)h->come_back, "returns",
        (json_int_t)h->returns, "think_ms", (json_int_t)h->think_ms);
}

/* One column of the series: a number of each row. */
enum column { COLUMN_COUNT, COLUMN_QUANTILE, COLUMN_CPU };

struct cell {
    enum column column;
    size_t i, j;
};

static json_t *value_of(const struct storm *storm, size_t row, struct cell cell)
{
    const struct series *series = &storm->crowd.series;
    const struct series_row *r = &series->rows[row];
    const struct series_state *before = row == 0 ? &storm->before : &series->rows[row - 1].state;
    double used = 0;

    switch (cell.column) {
    case COLUMN_COUNT:
        return count(r->counts[cell.i]);
    case COLUMN_QUANTILE:
        return ms(r->times_us[cell.i][cell.j]);
    case COLUMN_CPU:
        used = r->state.cpu_s[cell.i] - before->cpu_s[cell.i];
        return r->state.cpu_s[cell.i] < 0 || before->cpu_s[cell.i] < 0
                   ? json_null()
                   : json_real(used * 1e6 / (double)series->step_us);
    }
    return json_null();
}

static void add_column(json_t *to, const char *name, const struct storm *storm, struct cell cell)
{
    json_t *column = json_array();

    for (size_t row = 0; row + 1 < storm->crowd.series.n; row++) { /* the last one was not ended */
        json_array_append_new(column, value_of(storm, row, cell));
    }
    json_object_set_new(to, name, column);
}

static json_t *states_of(const struct storm *storm)
{
    const struct series *series = &storm->crowd.series;
    json_t *columns = json_object();

    for (size_t i = 0; i < 7; i++) {
        static const char *const names[] = {"requests",  "connected", "under_way", "backlog",
                                            "available", "held",      "sold"};
        json_t *column = json_array();
        uint64_t requests = storm->before.requests;

        for (size_t row = 0; row + 1 < series->n; row++) {
            const struct series_state *s = &series->rows[row].state;
            const json_int_t values[] = {(json_int_t)(s->requests - requests),
                                         (json_int_t)s->connected,
                                         (json_int_t)s->under_way,
                                         (json_int_t)s->backlog,
                                         (json_int_t)s->available,
                                         (json_int_t)s->held,
                                         (json_int_t)s->sold};

            requests = s->requests;
            json_array_append_new(column, values[i] < 0 ? json_null() : json_integer(values[i]));
        }
        json_object_set_new(columns, names[i], column);
    }
    return columns;
}

static json_t *series_of(const struct storm *storm)
{
    json_t *columns = states_of(storm);
    json_t *latencies = json_object();
    json_t *cpu = json_object();

    for (size_t i = 0; i < SERIES_COUNTS; i++) {
        add_column(columns, series_count_names[i], storm, (struct cell){COLUMN_COUNT, i, 0});
    }
    for (size_t i = 0; i < SERIES_TIMES; i++) {
        json_t *quantiles = json_object();

        for (size_t q = 0; q < SERIES_QUANTILES; q++) {
            add_column(quantiles, series_quantile_names[q], storm,
                       (struct cell){COLUMN_QUANTILE, i, q});
        }
        json_object_set_new(latencies, series_time_names[i], quantiles);
    }
    for (size_t i = 0; i < SERIES_PROCESSES && storm->processes[i][0] != '\0'; i++) {
        add_column(cpu, storm->processes[i], storm, (struct cell){COLUMN_CPU, i, 0});
    }
    json_object_set_new(columns, "step_s", json_real((double)storm->crowd.series.step_us / 1e6));
    json_object_set_new(columns, "latency_ms", latencies);
    json_object_set_new(columns, "cpu_cores", cpu);
    return columns;
}

json_t *report_counts(const struct storm *storm)
{
    const uint64_t *n = storm->crowd.series.counts;
    json_t *counts = json_object();

    json_object_set_new(counts, "requests", count(storm->counts.requests));
    json_object_set_new(counts, "accepted", count(n[SERIES_ACCEPTED]));
    json_object_set_new(counts, "unknown", count(n[SERIES_UNKNOWN]));
    json_object_set_new(counts, "unexpected", count(n[SERIES_UNEXPECTED]));
    json_object_set_new(counts, "refused", tally(&storm->crowd.ledger.refused));
    return counts;
}

/* Their names in a row. */
static const char *items_of(const struct told *ledger, char out[TOLD_ITEMS * (IDS_MAX + 2)])
{
    char *at = out;

    for (size_t i = 0; i < ledger->n_items; i++) {
        at += sprintf(at, "%s%s", i == 0 ? "" : ", ", ledger->items[i]);
    }
    return out;
}

/* What the crowd saw; no judge is asked. */
static json_t *seen(const struct storm_plan *plan, const struct storm *storm)
{
    const struct client_counts *c = &storm->counts;
    const double arriving_s = (double)plan->arrivals.duration_us / 1e6;
    char items[TOLD_ITEMS * (IDS_MAX + 2)];
    json_t *report = report_counts(storm);
    json_t *latencies = json_object();
    json_t *ends = json_object();
    json_t *cpu_s = json_object();

    for (size_t i = 0; i < SERIES_COUNTS; i++) {
        if (i != SERIES_REFUSED) { /* by reason */
            json_object_set_new(report, series_count_names[i],
                                count(storm->crowd.series.counts[i]));
        }
    }
    for (size_t i = 0; i < SERIES_TIMES; i++) {
        json_object_set_new(latencies, series_time_names[i],
                            latency(&storm->crowd.series.times[i]));
    }
    for (size_t i = 0; i < TOLD_ENDS; i++) {
        json_object_set_new(ends, told_end_names[i], count(storm->ends[i]));
    }
    for (size_t i = 0; i < SERIES_PROCESSES && storm->processes[i][0] != '\0'; i++) {
        if (storm->before.cpu_s[i] >= 0 && storm->after.cpu_s[i] >= 0) {
            json_object_set_new(cpu_s, storm->processes[i],
                                json_real(storm->after.cpu_s[i] - storm->before.cpu_s[i]));
        }
    }
    json_object_set_new(report, "item_id", json_string(items_of(&storm->crowd.ledger, items)));
    json_object_set_new(report, "plan", plan_of(plan, &storm->crowd.ledger));
    json_object_set_new(report, "shoppers", count(storm->shoppers));
    json_object_set_new(report, "interrupted", json_boolean(storm->interrupted));
    json_object_set_new(report, "rejected", tally(&storm->crowd.ledger.reasons));
    json_object_set_new(report, "ends", ends);
    json_object_set_new(report, "connections", count(c->connected_peak));
    json_object_set_new(report, "connections_failed", count(c->failed));
    json_object_set_new(report, "connections_broken", count(c->broken));
    json_object_set_new(report, "timeouts", count(c->timeouts));
    json_object_set_new(report, "backlog_peak", count(c->backlog_peak));
    json_object_set_new(report, "accepted_per_s",
                        count((uint64_t)((double)storm->arrived[SERIES_ACCEPTED] / arriving_s)));
    json_object_set_new(report, "decided_per_s",
                        count((uint64_t)((double)storm->arrived[SERIES_DECIDED] / arriving_s)));
    json_object_set_new(report, "latency_ms", latencies);
    json_object_set_new(report, "cpu_s", cpu_s);
    json_object_set_new(report, "series", series_of(storm));
    return report;
}

/* Units of all items, as the log has them. */
static json_int_t total_of(const json_t *proof, const struct told *ledger)
{
    const json_t *items = json_object_get(proof, "items");
    json_int_t total = 0;

    for (size_t i = 0; i < ledger->n_items; i++) {
        total += number(json_object_get(json_object_get(items, ledger->items[i]), "log"), "total");
    }
    return total;
}

json_t *report_make(const struct storm_plan *plan, const struct storm *storm,
                    const struct report_judges *judges)
{
    json_t *report = seen(plan, storm);
    const uint64_t *n = storm->crowd.series.counts;
    json_int_t oversold = 0;
    bool holds = false;

    if (judges == NULL) {
        return report;
    }
    const struct record_check *record = judges->record;
    const json_int_t reserved = (json_int_t)record->reserved;
    const json_int_t total = total_of(judges->proof, &storm->crowd.ledger);

    holds = judges->proof != NULL && proof_holds(judges->proof, &oversold);
    holds = holds && oversold == 0 && record->over_limit == 0 && record->inconsistent == 0 &&
            n[SERIES_UNEXPECTED] == 0 && n[SERIES_ACCEPTED] > 0;
    /* Where the record knows better than what was heard. */
    json_object_set_new(report, "reserved", json_integer(reserved));
    json_object_set_new(report, "paid", count(record->paid));
    json_object_set_new(report, "cancelled", count(record->cancelled));
    json_object_set_new(report, "expired", count(record->expired));
    json_object_set_new(report, "resold", json_integer(reserved > total ? reserved - total : 0));
    json_object_set_new(report, "unknown_recorded", count(record->unknown_recorded));
    json_object_set(report, "proof", judges->proof == NULL ? json_null() : judges->proof);
    json_object_set_new(report, "oversold", json_integer(oversold));
    json_object_set_new(report, "over_limit", count(record->over_limit));
    json_object_set_new(report, "inconsistent_answers", count(record->inconsistent));
    json_object_set_new(report, "first_inconsistent", json_string(record->first));
    json_object_set_new(report, "ok", json_boolean(holds));
    return report;
}

static void print_object(const char *title, const json_t *object)
{
    const char *name = NULL;
    json_t *value = NULL;

    printf("  %-22s", title);
    if (json_object_size(object) == 0) {
        printf(" none");
    }
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        if (json_is_real(value)) {
            printf(" %s %.2f ", name, json_real_value(value));
        } else {
            printf(" %s %" PRId64 " ", name, (int64_t)json_integer_value(value));
        }
    }
    printf("\n");
}

static void print_source(const json_t *proof, const char *source)
{
    const json_t *s = json_object_get(proof, source);

    printf("  %-10s %8" PRId64 "   = %8" PRId64 "   + %6" PRId64 " + %6" PRId64 "\n", source,
           (int64_t)number(s, "total"), (int64_t)number(s, "available"), (int64_t)number(s, "held"),
           (int64_t)number(s, "sold"));
}

static void print_latencies(const json_t *latencies)
{
    const char *name = NULL;
    json_t *latency_ms = NULL;

    printf("\nlatency, ms      count       p50       p90       p99     p99.9       max\n");
    json_object_foreach((json_t *)(uintptr_t)latencies, name, latency_ms)
    {
        if (number(latency_ms, "count") == 0) {
            continue;
        }
        printf("  %-12s %8" PRId64, name, (int64_t)number(latency_ms, "count"));
        for (size_t q = 0; q < SERIES_QUANTILES; q++) {
            printf(" %9.2f",
                   json_number_value(json_object_get(latency_ms, series_quantile_names[q])));
        }
        printf("\n");
    }
}

static void print_proof(const json_t *report)
{
    const json_t *proof = json_object_get(report, "proof");
    const char *first = json_string_value(json_object_get(report, "first_inconsistent"));

    printf("\nthe proof     total     = available   +   held +   sold\n");
    print_source(proof, "redis");
    print_source(proof, "mysql");
    print_source(proof, "log");
    printf("  oversold %" PRId64 ", users over their limit %" PRId64
           ", answers that the record does not bear out %" PRId64 "\n",
           (int64_t)number(report, "oversold"), (int64_t)number(report, "over_limit"),
           (int64_t)number(report, "inconsistent_answers"));
    if (first != NULL && first[0] != '\0') {
        printf("  the first: %s\n", first);
    }
    printf("  %s\n\n", json_is_true(json_object_get(report, "ok"))
                           ? "ok: every unit is accounted for, every answer was true"
                           : "NOT OK: see above, and the logs");
}

void report_tell(const json_t *report)
{
    static const char *const counts[] = {
        "shoppers",   "requests",  "connections",  "accepted",       "reserved",
        "paid",       "cancelled", "expired",      "resold",         "unknown",
        "unexpected", "timeouts",  "backlog_peak", "accepted_per_s", "decided_per_s"};

    printf("\nthe storm\n");
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        if (json_object_get(report, counts[i]) != NULL) {
            printf("  %-22s %" PRId64 "\n", counts[i], (int64_t)number(report, counts[i]));
        }
    }
    print_object("rejected", json_object_get(report, "rejected"));
    print_object("refused at the door", json_object_get(report, "refused"));
    print_object("how shoppers ended", json_object_get(report, "ends"));
    print_object("CPU seconds", json_object_get(report, "cpu_s"));
    print_latencies(json_object_get(report, "latency_ms"));
    if (json_object_get(report, "ok") != NULL) {
        print_proof(report);
    }
}
