/*
 * Values stand in one array in the order of the rows; a metric with several label sets is a run of
 * rows with the same name, and gets its HELP and TYPE at the first.
 */
#include "common/stats.h"

#include <assert.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/version.h"
#include "common/xmalloc.h"

enum {
    HISTOGRAMS_MAX = 32,
    COLLECTORS_MAX = 8,
    FIRST_BOUND_BITS = 8, /* 256 us */
    LAST_BOUND_BITS = 24, /* 16.8 s */
};

struct latency {
    const char *name;
    const char *labels;
    const char *help;
    struct histogram *histogram;
};

struct collector {
    stats_collect_fn *collect;
    void *arg;
};

struct stats {
    const char *program;
    const struct stats_row *rows;
    size_t count;
    _Atomic int64_t *values;
    struct latency latencies[HISTOGRAMS_MAX];
    size_t latency_count;
    struct collector collectors[COLLECTORS_MAX];
    size_t collector_count;
    double started; /* seconds since 1970 */
};

struct stats *stats_create(const char *program, const struct stats_row *rows, size_t count)
{
    struct stats *s = xcalloc(1, sizeof(*s));

    s->program = program;
    s->rows = rows;
    s->count = count;
    s->values = xcalloc(count, sizeof(*s->values));
    s->started = (double)clock_wall_ms() / 1000;
    return s;
}

void stats_destroy(struct stats *s)
{
    if (s == NULL) {
        return;
    }
    for (size_t i = 0; i < s->latency_count; i++) {
        free(s->latencies[i].histogram);
    }
    free(s->values);
    free(s);
}

void stats_add(struct stats *s, size_t id, int64_t n)
{
    assert(id < s->count);
    atomic_fetch_add_explicit(&s->values[id], n, memory_order_relaxed);
}

void stats_set(struct stats *s, size_t id, int64_t value)
{
    assert(id < s->count);
    atomic_store_explicit(&s->values[id], value, memory_order_relaxed);
}

int64_t stats_get(const struct stats *s, size_t id)
{
    assert(id < s->count);
    return atomic_load_explicit(&s->values[id], memory_order_relaxed);
}

struct histogram *stats_histogram(struct stats *s, const char *name, const char *labels,
                                  const char *help)
{
    assert(s->latency_count < HISTOGRAMS_MAX);
    struct histogram *h = xcalloc(1, sizeof(*h));

    s->latencies[s->latency_count++] = (struct latency){name, labels, help, h};
    return h;
}

void stats_collect(struct stats *s, stats_collect_fn *collect, void *arg)
{
    assert(s->collector_count < COLLECTORS_MAX);
    s->collectors[s->collector_count++] = (struct collector){collect, arg};
}

static void put_head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void stats_put_head(struct buf *out, const char *name, enum stats_kind kind, const char *help)
{
    put_head(out, name, kind == STATS_COUNTER ? "counter" : "gauge", help);
}

static void put_sample(struct buf *out, const char *name, const char *labels, int64_t value)
{
    if (labels[0] == '\0') {
        buf_printf(out, "%s %" PRId64 "\n", name, value);
    } else {
        buf_printf(out, "%s{%s} %" PRId64 "\n", name, labels, value);
    }
}

void stats_put_sample(struct buf *out, const char *name, int64_t value, const char *labels_fmt, ...)
{
    char labels[256];
    va_list ap;
    int n = 0;

    va_start(ap, labels_fmt);
    n = vsnprintf(labels, sizeof(labels), labels_fmt, ap);
    va_end(ap);
    assert(n >= 0 && (size_t)n < sizeof(labels)); /* labels are ours, and short */
    put_sample(out, name, labels, value);
}

static void put_rows(const struct stats *s, struct buf *out)
{
    const char *previous = "";

    for (size_t i = 0; i < s->count; i++) {
        const struct stats_row *row = &s->rows[i];

        if (strcmp(row->name, previous) != 0) {
            stats_put_head(out, row->name, row->kind, row->help);
            previous = row->name;
        }
        put_sample(out, row->name, row->labels, stats_get(s, i));
    }
}

static void put_latency(const struct latency *l, struct buf *out)
{
    const struct histogram *h = l->histogram;
    const char *comma = l->labels[0] == '\0' ? "" : ",";
    const char *open = l->labels[0] == '\0' ? "" : "{";
    const char *close = l->labels[0] == '\0' ? "" : "}";
    /*
     * All of them, and not the separate count: buckets of one exposition may not contradict each
     * other, even while another thread adds.
     */
    uint64_t total = 0;
    uint64_t below = 0;

    for (unsigned bits = FIRST_BOUND_BITS; bits <= LAST_BOUND_BITS; bits++) {
        const uint64_t n = histogram_below(h, bits);

        below = n > below ? n : below;
        buf_printf(out, "%s_bucket{%s%sle=\"%.6f\"} %" PRIu64 "\n", l->name, l->labels, comma,
                   (double)(UINT64_C(1) << bits) / 1e6, below);
    }
    total = histogram_below(h, HISTOGRAM_MAX_BITS);
    total = total > below ? total : below;
    buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", l->name, l->labels, comma, total);
    buf_printf(out, "%s_sum%s%s%s %.6f\n", l->name, open, l->labels, close,
               (double)atomic_load_explicit(&h->sum_us, memory_order_relaxed) / 1e6);
    buf_printf(out, "%s_count%s%s%s %" PRIu64 "\n", l->name, open, l->labels, close, total);
}

static void put_latencies(const struct stats *s, struct buf *out)
{
    for (size_t i = 0; i < s->latency_count; i++) {
        if (i == 0 || strcmp(s->latencies[i].name, s->latencies[i - 1].name) != 0) {
            put_head(out, s->latencies[i].name, "histogram", s->latencies[i].help);
        }
        put_latency(&s->latencies[i], out);
    }
}

static int64_t resident_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    char line[128] = "";
    struct slice rest = {NULL, 0};
    int64_t pages = 0;

    if (f == NULL) {
        return 0;
    }
    if (fgets(line, sizeof(line), f) != NULL) {
        (void)slice_cut(slice_str(line), ' ', &rest);
        if (!slice_to_i64(slice_cut(rest, ' ', &rest), 0, INT64_MAX / 65536, &pages)) {
            pages = 0;
        }
    }
    (void)fclose(f); /* only read */
    return pages * sysconf(_SC_PAGESIZE);
}

static int64_t open_fds(void)
{
    struct stat fds;
    DIR *dir;
    int64_t n = -3; /* ".", "..", and the one that reads */

    /* Linux tells it from 6.2 on; to read the directory takes a microsecond for each. */
    if (stat("/proc/self/fd", &fds) == 0 && fds.st_size > 0) {
        return fds.st_size;
    }
    dir = opendir("/proc/self/fd");
    if (dir == NULL) {
        return 0;
    }
    while (readdir(dir) != NULL) {
        n++;
    }
    (void)closedir(dir);
    return n;
}

static void put_process(const struct stats *s, struct buf *out)
{
    struct rlimit limit = {0};
    struct timespec cpu = {0};

    /* Neither can fail: the constants are valid and the pointers good. */
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    put_head(out, "process_cpu_seconds_total", "counter", "User and system CPU time spent.");
    buf_printf(out, "process_cpu_seconds_total %.6f\n",
               (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
    put_head(out, "process_resident_memory_bytes", "gauge", "Resident memory.");
    put_sample(out, "process_resident_memory_bytes", "", resident_bytes());
    put_head(out, "process_open_fds", "gauge", "Open file descriptors.");
    put_sample(out, "process_open_fds", "", open_fds());
    put_head(out, "process_max_fds", "gauge", "Most file descriptors allowed.");
    put_sample(out, "process_max_fds", "", (int64_t)limit.rlim_cur);
    put_head(out, "process_start_time_seconds", "gauge", "Start, in seconds since 1970.");
    buf_printf(out, "process_start_time_seconds %.3f\n", s->started);
    put_head(out, "seckill_build_info", "gauge", "Which build this is.");
    stats_put_sample(out, "seckill_build_info", 1, "program=\"%s\",version=\"%s\"", s->program,
                     version_string());
}

void stats_write(const struct stats *s, struct buf *out)
{
    for (size_t i = 0; i < s->collector_count; i++) {
        s->collectors[i].collect(out, s->collectors[i].arg);
    }
    put_rows(s, out);
    put_latencies(s, out);
    put_process(s, out);
}
