#include "tools/stampede/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    const char *variable;
} processes[6] = {
    {"producer", "PRODUCER_PID"}, {"matcher", "MATCHER_PID"}, {"guardian", "GUARDIAN_PID"},
    {"kafka", "KAFKA_PID"},       {"redis", "REDIS_PID"},     {"mysql", "MYSQL_PID"},
};

/* utime + stime of /proc/PID/stat, the 14th and 15th fields, counted behind the name's bracket. */
static double cpu_of(const char *pid)
{
    char path[64];
    char line[1024];
    char *at = NULL;
    long ticks = 0;
    FILE *f = NULL;

    if (pid == NULL || snprintf(path, sizeof(path), "/proc/%s/stat", pid) >= (int)sizeof(path) ||
        (f = fopen(path, "r")) == NULL) {
        return -1;
    }
    at = fgets(line, sizeof(line), f) == NULL ? NULL : strrchr(line, ')');
    (void)fclose(f); /* it was only read */
    for (int field = 2; at != NULL && field < 14; field++) {
        at = strchr(at + 1, ' ');
    }
    if (at == NULL) {
        return -1;
    }
    ticks = strtol(at, &at, 10);
    ticks += strtol(at, NULL, 10);
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

void report_cpu_read(double out[6])
{
    for (size_t i = 0; i < 6; i++) {
        out[i] = cpu_of(getenv(processes[i].variable));
    }
}

static json_t *tally(const struct storm_tally *t)
{
    json_t *object = json_object();

    for (size_t i = 0; i < t->n; i++) {
        json_object_set_new(object, t->rows[i].name, json_integer((json_int_t)t->rows[i].count));
    }
    return object;
}

static json_t *latency(const struct histogram *h)
{
    return json_pack("{s:f,s:f,s:f}", "p50", (double)histogram_quantile(h, 0.5) / 1000, "p99",
                     (double)histogram_quantile(h, 0.99) / 1000, "max",
                     (double)histogram_max(h) / 1000);
}

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

json_t *report_make(const struct storm_result *storm, const struct record_check *record,
                    const struct report_cpu *cpu, json_t *proof, const struct storm_plan *plan)
{
    json_int_t oversold = 0;
    bool holds = proof != NULL && proof_holds(proof, &oversold);
    uint64_t spread_ms = (uint64_t)plan->spread_ms;
    const json_t *item_in_log =
        json_object_get(json_object_get(json_object_get(proof, "items"), plan->item_id), "log");
    json_int_t total = number(item_in_log, "total");
    json_int_t resold =
        (json_int_t)record->reserved > total ? (json_int_t)record->reserved - total : 0;
    json_t *report = json_pack(
        "{s:s,s:I,s:I,s:I,s:o,s:o,s:I,s:I,s:I,s:I,s:I,s:I}", "item_id", plan->item_id, "requests",
        (json_int_t)storm->requests, "accepted", (json_int_t)storm->accepted, "reserved",
        (json_int_t)record->reserved, "rejected", tally(&storm->rejected), "refused",
        tally(&storm->refused), "paid", (json_int_t)record->paid, "cancelled",
        (json_int_t)record->cancelled, "expired", (json_int_t)record->expired, "resold", resold,
        "unknown", (json_int_t)storm->unknown, "unexpected", (json_int_t)storm->unexpected);
    json_t *cpu_s = json_object();

    for (size_t i = 0; i < 6; i++) {
        if (cpu->before[i] >= 0 && cpu->after[i] >= 0) {
            json_object_set_new(cpu_s, processes[i].name,
                                json_real(cpu->after[i] - cpu->before[i]));
        }
    }
    json_object_set_new(report, "connections", json_integer((json_int_t)storm->connected));
    json_object_set_new(report, "accepted_per_s",
                        json_integer((json_int_t)(storm->accepted_in_time * 1000 / spread_ms)));
    json_object_set_new(report, "decided_per_s",
                        json_integer((json_int_t)(storm->decided_in_time * 1000 / spread_ms)));
    json_object_set_new(report, "latency_ms",
                        json_pack("{s:o,s:o}", "accepted", latency(&storm->to_accepted), "decided",
                                  latency(&storm->to_decided)));
    json_object_set_new(report, "cpu_s", cpu_s);
    json_object_set(report, "proof", proof == NULL ? json_null() : proof);
    json_object_set_new(report, "oversold", json_integer(oversold));
    json_object_set_new(report, "over_limit", json_integer((json_int_t)record->over_limit));
    json_object_set_new(report, "inconsistent_answers",
                        json_integer((json_int_t)record->inconsistent));
    json_object_set_new(report, "first_inconsistent", json_string(record->first));
    json_object_set_new(report, "ok",
                        json_boolean(holds && oversold == 0 && record->over_limit == 0 &&
                                     record->inconsistent == 0 && storm->unexpected == 0 &&
                                     storm->accepted > 0));
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

void report_print(const json_t *report)
{
    static const char *const counts[] = {
        "requests", "connections", "accepted", "reserved",   "paid",           "cancelled",
        "expired",  "resold",      "unknown",  "unexpected", "accepted_per_s", "decided_per_s"};
    const json_t *latency_ms = json_object_get(report, "latency_ms");
    const json_t *proof = json_object_get(report, "proof");
    const char *first = json_string_value(json_object_get(report, "first_inconsistent"));

    printf("\nthe storm\n");
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        printf("  %-22s %" PRId64 "\n", counts[i], (int64_t)number(report, counts[i]));
    }
    print_object("rejected", json_object_get(report, "rejected"));
    print_object("refused at the door", json_object_get(report, "refused"));
    print_object("ms to accepted", json_object_get(latency_ms, "accepted"));
    print_object("ms to decided", json_object_get(latency_ms, "decided"));
    print_object("CPU seconds", json_object_get(report, "cpu_s"));
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
