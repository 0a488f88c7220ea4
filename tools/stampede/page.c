/*
 * The page is page.html with everything that the report says in the place of its line "@".
 */
#include "tools/stampede/page.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "page_html.h"
#include "tools/stampede/plot.h"

#define EACH(object, name, value)                                                                  \
    json_object_foreach((json_t *)(uintptr_t)(object), name, value) /* it only reads */

static const char *const sum_names[] = {"arrived", "accepted", "decided", "reserved", "paid"};

void page_text(FILE *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        const char *entity = *c == '&'    ? "&amp;"
                             : *c == '<'  ? "&lt;"
                             : *c == '>'  ? "&gt;"
                             : *c == '"'  ? "&quot;"
                             : *c == '\'' ? "&#39;"
                                          : NULL;

        if (entity != NULL) {
            (void)fputs(entity, out);
        } else if ((unsigned char)*c >= 0x20) { /* no control character stands in good XML */
            (void)fputc(*c, out);
        }
    }
}

static const json_t *at(const json_t *object, const char *name)
{
    return json_object_get(object, name);
}

static double number(const json_t *value)
{
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* A number as people read it; absent ones as a dash. */
static void put_number(FILE *out, const json_t *value)
{
    const double v = number(value);
    char digits[40];

    if (isnan(v)) {
        (void)fputs("–", out);
        return;
    }
    (void)snprintf(digits, sizeof(digits), json_is_integer(value) ? "%.0f" : "%.2f", v);
    const size_t whole = strcspn(digits, ".");

    for (size_t i = 0; digits[i] != '\0'; i++) {
        if (i > 0 && i < whole && (whole - i) % 3 == 0 && digits[i - 1] != '-') {
            (void)fputc(',', out);
        }
        (void)fputc(digits[i], out);
    }
}

/* A column of the series; times scale, the sum of all before it included when it is running. */
static double *column(const json_t *values, double scale, bool is_running)
{
    double *out = xcalloc(json_array_size(values) + 1, sizeof(*out));
    double sum = 0;

    for (size_t i = 0; i < json_array_size(values); i++) {
        const double v = number(json_array_get(values, i)) * scale;

        sum += v;
        out[i] = is_running ? sum : v;
    }
    return out;
}

static void add_line(struct plot *p, const char *name, const json_t *values, double scale,
                     bool is_running)
{
    if (p->lines < PLOT_LINES && values != NULL) {
        p->points = json_array_size(values);
        p->line[p->lines++] = (struct plot_line){name, column(values, scale, is_running)};
    }
}

static void finish_plot(struct plot *p, FILE *out)
{
    plot_write(p, out);
    for (size_t i = 0; i < p->lines; i++) {
        free((void *)(uintptr_t)p->line[i].values); /* made by column() */
    }
}

static void put_rates(const json_t *series, double step_s, FILE *out)
{
    static const char *const names[] = {"arrived", "requests", "accepted", "decided", "refused"};
    struct plot p = {.title = "Throughput",
                     .unit = "per second",
                     .remark =
                         "Shoppers who came as planned, whatever the door did; requests sent; "
                         "what was answered.",
                     .step_s = step_s};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        add_line(&p, names[i], at(series, names[i]), 1 / step_s, false);
    }
    finish_plot(&p, out);
}

static void put_latency(const json_t *series, const char *what, const char *title,
                        const char *remark, FILE *out)
{
    const json_t *quantiles = at(at(series, "latency_ms"), what);
    struct plot p = {.title = title,
                     .unit = "ms",
                     .remark = remark,
                     .step_s = number(at(series, "step_s")),
                     .is_log = true};
    const char *name = NULL;
    json_t *values = NULL;

    EACH(quantiles, name, values)
    {
        add_line(&p, name, values, 1, false);
    }
    finish_plot(&p, out);
}

/* What the decision's time is made of, as far as one can see from here. */
static void put_parts(const json_t *series, double step_s, FILE *out)
{
    static const char *const names[] = {"decided", "paid", "service", "late"};
    struct plot p = {.title = "Where the time goes, p99",
                     .unit = "ms",
                     .remark =
                         "Service: from a request's bytes to its answer.  Late: what requests "
                         "waited here before; much of it and the load generator is too slow, "
                         "or has too few connections.",
                     .step_s = step_s,
                     .is_log = true};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        add_line(&p, names[i], at(at(at(series, "latency_ms"), names[i]), "p99"), 1, false);
    }
    finish_plot(&p, out);
}

static void put_sums(const json_t *series, double step_s, FILE *out)
{
    struct plot p = {.title = "Funnel over time",
                     .unit = "so far",
                     .remark = "From coming to the door to a paid unit, as shoppers heard it; who "
                               "comes back orders again.",
                     .step_s = step_s};

    for (size_t i = 0; i < sizeof(sum_names) / sizeof(sum_names[0]); i++) {
        add_line(&p, sum_names[i], at(series, sum_names[i]), 1, true);
    }
    finish_plot(&p, out);
}

static void put_states(const json_t *series, double step_s, FILE *out)
{
    static const char *const stock[] = {"sold", "held", "available"};
    static const char *const waiting[] = {"under_way", "backlog", "connected"};
    struct plot p = {.title = "Stock",
                     .unit = "units",
                     .remark = "As the door told it meanwhile: sold + held + available = total.",
                     .step_s = step_s,
                     .is_area = true};

    for (size_t i = 0; i < 3; i++) {
        add_line(&p, stock[i], at(series, stock[i]), 1, false);
    }
    finish_plot(&p, out);
    p = (struct plot){.title = "Waiting",
                      .unit = "requests, connections",
                      .remark =
                          "Under way: sent and not answered.  Backlog: due, and no connection "
                          "is free for it.",
                      .step_s = step_s};
    for (size_t i = 0; i < 3; i++) {
        add_line(&p, waiting[i], at(series, waiting[i]), 1, false);
    }
    finish_plot(&p, out);
}

static void put_cpu(const json_t *series, double step_s, FILE *out)
{
    struct plot p = {.title = "CPU",
                     .unit = "cores",
                     .remark = "Of each process that the environment names, and of this one.",
                     .step_s = step_s,
                     .is_area = true};
    const char *name = NULL;
    json_t *values = NULL;

    EACH(at(series, "cpu_cores"), name, values)
    {
        add_line(&p, name, values, 1, false);
    }
    finish_plot(&p, out);
}

/* Names and numbers, each with a bar of its share. */
static void put_bars(const char *title, const json_t *counts, const char *const *names, FILE *out)
{
    const char *name = NULL;
    json_t *value = NULL;
    double most = 1;
    size_t i = 0;

    EACH(counts, name, value)
    {
        most = number(value) > most ? number(value) : most;
    }
    (void)fputs("<div class=\"card\"><h3>", out);
    page_text(out, title);
    (void)fputs("</h3><table>\n", out);
    EACH(counts, name, value)
    {
        if (number(value) > 0 || names != NULL) {
            (void)fputs("<tr><td>", out);
            page_text(out, name);
            (void)fputs("</td><td>", out);
            put_number(out, value);
            (void)fprintf(out,
                          "</td><td class=\"wide\"><span class=\"bar d%zu\" style=\"width:%.1f%%\">"
                          "</span></td></tr>\n",
                          i % 10, number(value) * 100 / most);
            i++;
        }
    }
    if (i == 0) {
        (void)fputs("<tr><td>none</td></tr>\n", out);
    }
    (void)fputs("</table></div>\n", out);
}

static void put_funnel(const json_t *report, FILE *out)
{
    json_t *funnel = json_object();

    for (size_t i = 0; i < sizeof(sum_names) / sizeof(sum_names[0]); i++) {
        json_object_set(funnel, sum_names[i], json_object_get(report, sum_names[i]));
    }
    put_bars("Funnel", funnel, sum_names, out);
    json_decref(funnel);
}

/* A table of objects of numbers: a row each, columns by the first one's members. */
static void put_table(const char *title, const json_t *rows, FILE *out)
{
    const char *name = NULL, *member = NULL;
    json_t *row = NULL, *value = NULL;
    bool has_head = false;

    (void)fputs("<div class=\"card\"><h3>", out);
    page_text(out, title);
    (void)fputs("</h3><table>\n", out);
    EACH(rows, name, row)
    {
        if (!has_head) {
            has_head = true;
            (void)fputs("<tr><th></th>", out);
            EACH(row, member, value)
            {
                (void)fputs("<th>", out);
                page_text(out, member);
                (void)fputs("</th>", out);
            }
            (void)fputs("</tr>\n", out);
        }
        (void)fputs("<tr><td>", out);
        page_text(out, name);
        (void)fputs("</td>", out);
        EACH(row, member, value)
        {
            (void)fputs("<td>", out);
            put_number(out, value);
            (void)fputs("</td>", out);
        }
        (void)fputs("</tr>\n", out);
    }
    (void)fputs("</table></div>\n", out);
}

/* total, available, held, sold: of Redis, MySQL and the log. */
static void put_proof(const json_t *proof, FILE *out)
{
    static const char *const sources[] = {"redis", "mysql", "log"};
    static const char *const members[] = {"total", "available", "held", "sold"};
    json_t *rows = json_object();

    for (size_t i = 0; i < 3; i++) {
        json_t *row = json_object();

        for (size_t k = 0; k < 4; k++) {
            json_object_set(row, members[k], json_object_get(at(proof, sources[i]), members[k]));
        }
        json_object_set_new(rows, sources[i], row);
    }
    put_table("The proof: the same in all three, total = available + held + sold", rows, out);
    json_decref(rows);
}

static void put_head(const json_t *report, FILE *out)
{
    const json_t *plan = at(report, "plan");
    const json_t *ok = at(report, "ok");
    const char *first = json_string_value(at(report, "first_inconsistent"));
    const char *items = json_string_value(at(report, "item_id"));

    (void)fputs("<header><h1>Stampede for ", out);
    page_text(out, items == NULL ? "" : items);
    (void)fputs("</h1>\n<p>", out);
    put_number(out, at(report, "shoppers"));
    (void)fprintf(out, " shoppers, arrivals %s over %.4g s, seed %.0f, at ",
                  json_string_value(at(plan, "arrivals")), number(at(plan, "duration_s")),
                  number(at(plan, "seed")));
    page_text(out, json_string_value(at(plan, "url")));
    (void)fputs("</p></header>\n", out);
    (void)fprintf(out, "<div class=\"verdict %s\">",
                  ok == NULL         ? "none"
                  : json_is_true(ok) ? "good"
                                     : "bad");
    (void)fputs(ok == NULL         ? "Not judged: nothing was compared with the record."
                : json_is_true(ok) ? "Every unit is accounted for, every answer was true."
                                   : "Not all is true: see the proof below, and the logs. ",
                out);
    page_text(out, first == NULL ? "" : first);
    (void)fputs("</div>\n", out);
}

static void put_tile(const char *title, const json_t *value, FILE *out)
{
    (void)fputs("<div class=\"tile\"><b>", out);
    put_number(out, value);
    (void)fputs("</b><span>", out);
    page_text(out, title);
    (void)fputs("</span></div>\n", out);
}

static void put_tiles(const json_t *report, FILE *out)
{
    const json_t *latencies = at(report, "latency_ms");

    (void)fputs("<div class=\"tiles\">\n", out);
    put_tile("requests", at(report, "requests"), out);
    put_tile("accepted per second, while they came", at(report, "accepted_per_s"), out);
    put_tile("decided per second, while they came", at(report, "decided_per_s"), out);
    put_tile("ms to accepted, p99", at(at(latencies, "accepted"), "p99"), out);
    put_tile("ms to decided, p99", at(at(latencies, "decided"), "p99"), out);
    put_tile("units paid for", at(report, "paid"), out);
    put_tile("answers: nobody knows", at(report, "unknown"), out);
    put_tile("most that waited for a connection", at(report, "backlog_peak"), out);
    (void)fputs("</div>\n", out);
}

static void put_report(const json_t *report, FILE *out)
{
    const json_t *series = at(report, "series");
    const double step_s = number(at(series, "step_s"));

    put_head(report, out);
    put_tiles(report, out);
    (void)fputs("<h2>The storm</h2>\n<div class=\"plots\">\n", out);
    put_rates(series, step_s, out);
    put_states(series, step_s, out);
    put_latency(series, "accepted", "Time to accepted",
                "From the planned moment of the press to 202; those who wait for the decision are "
                "not in it.",
                out);
    put_latency(series, "decided", "Time to decided",
                "From the planned moment of the first press to the decision, with all refusals, "
                "pauses and polls between.",
                out);
    put_parts(series, step_s, out);
    put_sums(series, step_s, out);
    put_cpu(series, step_s, out);
    (void)fputs("</div>\n<h2>In all</h2>\n<div class=\"columns\">\n", out);
    put_funnel(report, out);
    put_bars("How shoppers ended", at(report, "ends"), NULL, out);
    put_table("Latency, ms", at(report, "latency_ms"), out);
    put_bars("CPU seconds", at(report, "cpu_s"), NULL, out);
    put_bars("Rejected by the sale", at(report, "rejected"), NULL, out);
    put_bars("Turned away at the door", at(report, "refused"), NULL, out);
    if (at(report, "ok") != NULL) {
        put_proof(at(report, "proof"), out);
    }
    (void)fputs("</div>\n", out);
}

bool page_write(const json_t *report, const char *path, struct err *err)
{
    static const char mark[] = "\n@\n";
    const char *page = (const char *)page_html;
    const char *middle = memmem(page, sizeof(page_html), mark, strlen(mark));
    const size_t before = middle == NULL ? 0 : (size_t)(middle - page) + 1;
    const size_t behind = sizeof(page_html) - before - (strlen(mark) - 1);
    FILE *out = fopen(path, "w");
    bool done = out != NULL;

    if (done) {
        done = fwrite(page, 1, before, out) == before;
        put_report(report, out);
        done = fwrite(page + before + strlen(mark) - 1, 1, behind, out) == behind && done &&
               ferror(out) == 0;
        done = fclose(out) == 0 && done;
    }
    return done || err_set(err, ERR_FATAL, "%s cannot be written: %s", path, strerror(errno));
}
