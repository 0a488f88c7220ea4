/*
 * plot.h - a line plot as SVG: grid, axes with round numbers, legend.
 *
 * The element carries its data (data-plot, JSON), from which the page's script shows the values
 * under the pointer; without a script it is a picture all the same.
 */
#ifndef STAMPEDE_PLOT_H
#define STAMPEDE_PLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { PLOT_LINES = 16 };

struct plot_line {
    const char *name;
    const double *values; /* NaN: a gap */
};

struct plot {
    const char *title;
    const char *unit;   /* of the values: "per second" */
    const char *remark; /* a sentence below the title */
    double step_s;      /* between values; the first one ends at one step */
    size_t points;
    size_t lines;
    struct plot_line line[PLOT_LINES];
    bool is_log;  /* the values' axis; what is not above 0 is a gap */
    bool is_area; /* filled down to the axis, one upon the other */
};

void plot_write(const struct plot *p, FILE *out);

/* The smallest of 1, 2, 5 times a power of ten that cuts span into at most n pieces. */
double plot_tick(double span, int n);

#endif /* STAMPEDE_PLOT_H */
