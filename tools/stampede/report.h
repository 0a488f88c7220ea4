/*
 * report.h - the end of a demo: a table for people, build/demo/report.json for scripts.
 */
#ifndef STAMPEDE_REPORT_H
#define STAMPEDE_REPORT_H

#include <jansson.h>
#include <stdbool.h>

#include "tools/stampede/record.h"
#include "tools/stampede/storm.h"

/* Where the programs stood; processes are named by variables such as PRODUCER_PID. */
struct report_cpu {
    double before[6];
    double after[6];
};

/* Reads the CPU seconds of each process into out (-1: no such process). */
void report_cpu_read(double out[6]);

/*
 * Puts everything together.  proof is `seckill-guardian verify --json`'s answer (borrowed; may be
 * NULL when there was none).  The caller owns the object; its member `ok` says whether all holds.
 */
json_t *report_make(const struct storm_result *storm, const struct record_check *record,
                    const struct report_cpu *cpu, json_t *proof, const struct storm_plan *plan);

void report_print(const json_t *report);

#endif /* STAMPEDE_REPORT_H */
