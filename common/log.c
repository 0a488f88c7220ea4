/*
 * A line is built in a buffer on the stack and written with one write(), so threads and processes
 * that share stderr do not mix their lines (pipes keep up to 4,096 bytes together).  What cannot be
 * written now is dropped and counted, and the next line says how many: nobody waits for whoever
 * reads the log.
 *
 * Threads write in turns: two that were told of room for one line would otherwise both write, and one
 * would wait.  Shared too are the level, the count and whether the last line is torn (atomic), and
 * the table behind log_event_limited() (mutex).
 */
#include "common/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"

enum {
    LINE_BYTES = 4096,
    TAIL_BYTES = 16, /* room kept for the end of a line that was cut */
    VALUE_BYTES = 256,
    LIMITED_EVENTS = 128,
    LIMITED_EVERY_MS = 5000,
};

const char *const log_level_names[] = {"error", "warn", "info", "debug", NULL};
const char *const log_format_names[] = {"text", "json", NULL};

static struct {
    const char *program;
    enum log_level configured;
    enum log_format format;
    _Atomic int level;
    _Atomic int64_t dropped; /* lines since the last that was written */
    _Atomic bool is_torn;    /* what was written last is the beginning of a line */
    pthread_mutex_t writing;
    log_sink_fn *sink;
    void *sink_arg;
} self = {
    .program = "-",
    .configured = LOG_LEVEL_INFO,
    .level = LOG_LEVEL_INFO,
    .writing = PTHREAD_MUTEX_INITIALIZER,
};

struct limited {
    const char *event;
    int64_t open_ms; /* from then on the next line passes */
    int64_t suppressed;
};

static struct {
    pthread_mutex_t mutex;
    struct limited events[LIMITED_EVENTS];
    size_t count;
} table = {.mutex = PTHREAD_MUTEX_INITIALIZER};

void log_init(const char *program, enum log_level level, enum log_format format)
{
    self.program = program;
    self.configured = level;
    self.format = format;
    log_set_level(level);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&self.level, memory_order_relaxed);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&self.level, (int)level, memory_order_relaxed);
}

void log_toggle_debug(void)
{
    log_set_level(log_enabled(LOG_LEVEL_DEBUG) ? self.configured : LOG_LEVEL_DEBUG);
}

void log_set_sink(log_sink_fn *sink, void *arg)
{
    self.sink = sink;
    self.sink_arg = arg;
}

static void put_time(struct buf *b)
{
    char text[CLOCK_TEXT_SIZE];

    clock_text(clock_wall_ms(), text);
    buf_puts(b, text);
}

/* A character that needs no quotes: it cannot end a value, nor look like `key=` or an escape. */
static bool is_plain(unsigned char c)
{
    return c > 0x20 && c < 0x7f && c != '"' && c != '\\' && c != '=';
}

static void put_quoted(struct buf *b, struct slice s)
{
    buf_putc(b, '"');
    for (size_t i = 0; i < s.len; i++) {
        const unsigned char c = (unsigned char)s.ptr[i];

        if (c == '"' || c == '\\') {
            buf_printf(b, "\\%c", c);
        } else if (c == '\n') {
            buf_puts(b, "\\n");
        } else if (c < 0x20 || c >= 0x7f) {
            buf_printf(b, "\\x%02x", c);
        } else {
            buf_putc(b, (char)c);
        }
    }
    buf_putc(b, '"');
}

static void put_text(struct buf *b, struct slice s)
{
    bool plain = s.len > 0;

    for (size_t i = 0; plain && i < s.len; i++) {
        plain = is_plain((unsigned char)s.ptr[i]);
    }
    if (plain) {
        buf_put_slice(b, s);
    } else {
        put_quoted(b, s);
    }
}

static struct slice cut_value(struct slice s)
{
    if (s.len > VALUE_BYTES) {
        s.len = VALUE_BYTES;
        /* Not in the middle of a character, at most three bytes back. */
        for (int i = 0; i < 3 && ((unsigned char)s.ptr[s.len] & 0xc0) == 0x80; i++) {
            s.len--;
        }
    }
    return s;
}

static void put_field(struct buf *b, const struct log_field *field)
{
    const bool is_json = self.format == LOG_FORMAT_JSON;

    buf_printf(b, is_json ? ",\"%s\":" : " %s=", field->key);
    switch (field->type) {
    case LOG_FIELD_TEXT:
        if (is_json) {
            buf_json_string(b, cut_value(field->text));
        } else {
            put_text(b, cut_value(field->text));
        }
        break;
    case LOG_FIELD_NUMBER:
        buf_put_i64(b, field->number);
        break;
    case LOG_FIELD_BOOL:
        buf_puts(b, field->number != 0 ? "true" : "false");
        break;
    case LOG_FIELD_END:
        break;
    }
}

/* False when the field would eat the room for the end of the line; nothing of it stays then. */
static bool add_field(struct buf *b, const struct log_field *field)
{
    const size_t before = b->len;

    put_field(b, field);
    if (!buf_ok(b) || b->len > LINE_BYTES - 1 - TAIL_BYTES) {
        buf_truncate(b, before);
        return false;
    }
    return true;
}

static void put_start(struct buf *b, enum log_level level, const char *event)
{
    if (self.format == LOG_FORMAT_JSON) {
        buf_puts(b, "{\"time\":\"");
        put_time(b);
        buf_printf(b, "\",\"level\":\"%s\",\"program\":\"%s\",\"event\":\"%s\"",
                   log_level_names[level], self.program, event);
    } else {
        put_time(b);
        buf_printf(b, " %s %s %s", log_level_names[level], self.program, event);
    }
}

/* A pipe says so only while it takes a whole line at once, of one writer; a file always does. */
static bool has_room(void)
{
    struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};

    return self.sink != NULL || poll(&fd, 1, 0) != 0;
}

/* False when not all of it stands there.  A disk that fills up takes a part. */
static bool write_line(struct slice line)
{
    ssize_t n = 0;

    if (self.sink != NULL) {
        self.sink(line, self.sink_arg);
        return true;
    }
    do {
        n = write(STDERR_FILENO, line.ptr, line.len);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        atomic_store(&self.is_torn, line.ptr[n - 1] != '\n');
    }
    return n == (ssize_t)line.len;
}

static void emit(enum log_level level, const char *event, const struct log_field *fields,
                 int64_t suppressed)
{
    static const struct log_field cut = {.key = "cut", .type = LOG_FIELD_BOOL, .number = 1};
    const int saved_errno = errno;
    char storage[LINE_BYTES + 1];
    struct buf b;
    bool complete = true;
    int64_t dropped;

    pthread_mutex_lock(&self.writing);
    if (!has_room()) {
        pthread_mutex_unlock(&self.writing);
        atomic_fetch_add(&self.dropped, 1);
        errno = saved_errno;
        return;
    }
    dropped = atomic_exchange(&self.dropped, 0);
    buf_init_fixed(&b, storage, sizeof(storage));
    if (atomic_load(&self.is_torn)) {
        buf_putc(&b, '\n');
    }
    put_start(&b, level, event);
    /* These two first, so they always fit. */
    if (dropped > 0) {
        (void)add_field(&b, &LOG_INT("dropped", dropped));
    }
    if (suppressed > 0) {
        (void)add_field(&b, &LOG_INT("suppressed", suppressed));
    }
    for (; complete && fields->type != LOG_FIELD_END; fields++) {
        complete = add_field(&b, fields);
    }
    if (!complete) {
        put_field(&b, &cut);
    }
    buf_puts(&b, self.format == LOG_FORMAT_JSON ? "}\n" : "\n");
    if (!write_line(buf_slice(&b))) {
        atomic_fetch_add(&self.dropped, dropped + 1);
    }
    pthread_mutex_unlock(&self.writing);
    errno = saved_errno;
}

void log_event(enum log_level level, const char *event, const struct log_field *fields)
{
    emit(level, event, fields, 0);
}

/* NULL when the table is full: such an event passes unlimited, which is loud and not lost. */
static struct limited *find_limited(const char *event)
{
    for (size_t i = 0; i < table.count; i++) {
        if (strcmp(table.events[i].event, event) == 0) {
            return &table.events[i];
        }
    }
    if (table.count == LIMITED_EVENTS) {
        return NULL;
    }
    table.events[table.count] = (struct limited){.event = event, .open_ms = INT64_MIN};
    return &table.events[table.count++];
}

void log_event_limited(enum log_level level, const char *event, const struct log_field *fields)
{
    const int saved_errno = errno;
    const int64_t now_ms = clock_mono_ms();
    int64_t suppressed = 0;
    bool passes = true;

    (void)pthread_mutex_lock(&table.mutex); /* a normal, valid mutex: cannot fail */
    struct limited *limited = find_limited(event);

    if (limited != NULL) {
        passes = now_ms >= limited->open_ms;
        if (passes) {
            suppressed = limited->suppressed;
            limited->suppressed = 0;
            limited->open_ms = now_ms + LIMITED_EVERY_MS;
        } else {
            limited->suppressed++;
        }
    }
    (void)pthread_mutex_unlock(&table.mutex);
    if (passes) {
        emit(level, event, fields, suppressed);
    }
    errno = saved_errno;
}

void log_flush(void)
{
    (void)pthread_mutex_lock(&table.mutex);
    for (size_t i = 0; i < table.count; i++) {
        if (table.events[i].suppressed > 0) {
            log_info("log.suppressed", LOG_STR("event", table.events[i].event),
                     LOG_INT("count", table.events[i].suppressed));
            table.events[i].suppressed = 0;
        }
    }
    (void)pthread_mutex_unlock(&table.mutex);
}
