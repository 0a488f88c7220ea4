/*
 * Coordinates are the SVG's own user units: WIDTH by HEIGHT, the plot's area within margins.  A log
 * axis is a linear one of logarithms: y_of() is the only place that knows.
 */
#include "tools/stampede/plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "tools/stampede/page.h"

enum { WIDTH = 720, HEIGHT = 250, LEFT = 62, RIGHT = 12, TOP = 12, BOTTOM = 30 };

struct axes {
    double low, high; /* values at the area's bottom and top; logarithms on a log axis */
    double span_s;
    bool is_log;
};

static double x_of(const struct axes *a, double s)
{
    return LEFT + s / a->span_s * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct axes *a, double value)
{
    const double v = a->is_log ? log10(value) : value;

    return TOP + (a->high - v) / (a->high - a->low) * (HEIGHT - TOP - BOTTOM);
}

static bool is_drawn(const struct axes *a, double value)
{
    return isfinite(value) && (!a->is_log || value > 0);
}

double plot_tick(double span, int n)
{
    const double least = span / n;
    const double power = pow(10, floor(log10(least)));
    const double lead = least / power;

    return power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
}

/* Areas are drawn upon each other: the values of all lines up to this one. */
static double *stack(const struct plot *p)
{
    double *values = xcalloc(p->lines * p->points + 1, sizeof(*values));

    for (size_t i = 0; i < p->lines; i++) {
        for (size_t k = 0; k < p->points; k++) {
            const double below = i > 0 && p->is_area ? values[(i - 1) * p->points + k] : 0;

            values[i * p->points + k] = p->line[i].values[k] + below;
        }
    }
    return values;
}

static struct axes axes_of(const struct plot *p, const double *values)
{
    struct axes a = {.low = 0, .high = 0, .is_log = p->is_log};
    double least = (double)INFINITY, most = 0;

    for (size_t i = 0; i < p->lines * p->points; i++) {
        if (is_drawn(&a, values[i])) {
            least = values[i] < least ? values[i] : least;
            most = values[i] > most ? values[i] : most;
        }
    }
    a.span_s = p->points == 0 ? 1 : (double)p->points * p->step_s;
    if (p->is_log) {
        a.low = isfinite(least) ? floor(log10(least)) : 0;
        a.high = most > 0 ? ceil(log10(most)) : 1;
        a.high = a.high > a.low ? a.high : a.low + 1;
    } else {
        const double tick = plot_tick(most > 0 ? most : 1, 4);

        a.high = most > 0 ? ceil(most / tick) * tick : 1;
    }
    return a;
}

/* 12500 as 12.5k: an axis has little room. */
static void put_number(FILE *out, double v)
{
    if (v >= 1e6) {
        (void)fprintf(out, "%.4gM", v / 1e6);
    } else if (v >= 1e4) {
        (void)fprintf(out, "%.4gk", v / 1e3);
    } else {
        (void)fprintf(out, "%.4g", v);
    }
}

static void put_axes(const struct axes *a, FILE *out)
{
    const double tick = a->is_log ? 1 : plot_tick(a->high, 4);
    const double tick_s = plot_tick(a->span_s, 8);

    for (int i = 0; a->low + i * tick <= a->high * 1.0001; i++) {
        const double at = a->low + i * tick;
        const double value = a->is_log ? pow(10, at) : at;
        const double y = y_of(a, value);

        (void)fprintf(out,
                      "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>"
                      "<text class=\"tick\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">",
                      LEFT, WIDTH - RIGHT, y, y, LEFT - 8, y + 4);
        put_number(out, value);
        (void)fputs("</text>\n", out);
    }
    for (int i = 0; i * tick_s <= a->span_s * 1.0001; i++) {
        (void)fprintf(out, "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">",
                      x_of(a, i * tick_s), HEIGHT - BOTTOM + 18);
        put_number(out, i * tick_s);
        (void)fputs(i == 0 ? " s</text>\n" : "</text>\n", out);
    }
}

/* One line, broken at gaps; an area goes back along the one below it. */
static void put_line(const struct plot *p, const struct axes *a, const double *values, size_t i,
                     FILE *out)
{
    const double *line = values + i * p->points;
    bool is_down = false;

    (void)fprintf(out, "<path class=\"%s c%zu\" d=\"", p->is_area ? "area" : "line", i);
    for (size_t k = 0; k < p->points; k++) {
        if (!is_drawn(a, line[k])) {
            is_down = false;
            continue;
        }
        (void)fprintf(out, is_down ? "L%.1f %.1f " : "M%.1f %.1fh.1 ", /* .1: a dot is seen */
                      x_of(a, (double)(k + 1) * p->step_s), y_of(a, line[k]));
        is_down = true;
    }
    for (size_t k = p->points; p->is_area && k-- > 0;) {
        const double below = i == 0 ? 0 : line[k - p->points];

        if (is_drawn(a, line[k])) {
            (void)fprintf(out, "L%.1f %.1f ", x_of(a, (double)(k + 1) * p->step_s), y_of(a, below));
        }
    }
    (void)fputs(p->is_area && is_down ? "Z\"/>\n" : "\"/>\n", out);
}

/* For the page's script: where the points are, and what they say. */
static void put_data(const struct plot *p, FILE *out)
{
    (void)fprintf(out, " data-step=\"%.6g\" data-left=\"%d\" data-width=\"%d\" data-names=\"",
                  p->step_s, LEFT, WIDTH - LEFT - RIGHT);
    for (size_t i = 0; i < p->lines; i++) {
        (void)fputs(i == 0 ? "" : ",", out);
        page_text(out, p->line[i].name);
    }
    (void)fputs("\" data-values=\"", out);
    for (size_t i = 0; i < p->lines; i++) {
        for (size_t k = 0; k < p->points; k++) {
            const double v = p->line[i].values[k];

            (void)fputs(k == 0 ? (i == 0 ? "" : ";") : ",", out);
            if (isfinite(v)) {
                (void)fprintf(out, "%.6g", v);
            }
        }
    }
    (void)fputs("\"", out);
}

void plot_write(const struct plot *p, FILE *out)
{
    double *values = stack(p);
    const struct axes a = axes_of(p, values);

    (void)fputs("<figure>\n<figcaption><b>", out);
    page_text(out, p->title);
    (void)fputs("</b> <i>", out);
    page_text(out, p->unit);
    (void)fputs("</i>", out);
    for (size_t i = 0; i < p->lines; i++) {
        (void)fprintf(out, "<span class=\"key\"><span class=\"dot d%zu\"></span>", i);
        page_text(out, p->line[i].name);
        (void)fputs("</span>", out);
    }
    (void)fputs("</figcaption>\n", out);
    (void)fprintf(out,
                  "<svg viewBox=\"0 0 %d %d\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\"",
                  WIDTH, HEIGHT);
    put_data(p, out);
    (void)fputs(">\n<title>", out);
    page_text(out, p->title);
    (void)fputs("</title>\n", out);
    put_axes(&a, out);
    for (size_t i = p->lines; i-- > 0;) { /* the first one lies on top */
        put_line(p, &a, values, i, out);
    }
    (void)fprintf(out, "<line class=\"cursor\" y1=\"%d\" y2=\"%d\"/>\n</svg>\n<p>", TOP,
                  HEIGHT - BOTTOM);
    page_text(out, p->remark);
    (void)fputs("</p>\n</figure>\n", out);
    free(values);
}
