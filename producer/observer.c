/*
 * The pipe is open for writing, too, so it has no end when its last writer leaves.  A line that is
 * longer than any good one is thrown away as far as it has come; its rest is then no line either.
 */
#include "producer/observer.h"

#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/slice.h"
#include "common/xmalloc.h"
#include "producer/counters.h"
#include "producer/observation.h"

enum {
    LINE_MAX_BYTES = 64,
};

struct observer {
    struct door *door;
    struct stats *stats;
    int fd;
    struct event *readable;
    struct evbuffer *bytes;
};

static bool take_line(struct observer *o, struct slice line)
{
    struct observation seen;

    if (!observation_parse(line, door_partitions(o->door), &seen)) {
        return false;
    }
    door_observe(o->door, seen.partition, seen.side, seen.took_ms, seen.orders, clock_mono_ms());
    stats_add(o->stats, STAT_OBSERVED, seen.orders);
    return true;
}

static void refuse(struct observer *o)
{
    stats_add(o->stats, STAT_OBSERVED_BAD, 1);
    log_limited(LOG_LEVEL_WARN, "observer.malformed",
                LOG_STR("hint", "a line is: kafka or decision, partition, milliseconds, orders"));
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct observer *o = arg;
    char *line;
    size_t len;

    (void)what;
    if (evbuffer_read(o->bytes, fd, -1) < 0 && errno != EAGAIN && errno != EINTR) {
        log_limited(LOG_LEVEL_WARN, "observer.unreadable", LOG_STR("error", strerror(errno)));
        return;
    }
    while ((line = evbuffer_readln(o->bytes, &len, EVBUFFER_EOL_LF)) != NULL) {
        if (!take_line(o, (struct slice){line, len})) {
            refuse(o);
        }
        free(line);
    }
    if (evbuffer_get_length(o->bytes) > LINE_MAX_BYTES) {
        (void)evbuffer_drain(o->bytes, evbuffer_get_length(o->bytes));
        refuse(o);
    }
}

static bool open_pipe(struct observer *o, const char *path, struct err *err)
{
    struct stat found;

    if (mkfifo(path, S_IRUSR | S_IWUSR) != 0 && errno != EEXIST) {
        return err_set(err, ERR_FATAL, "limiter-observer %s: %s", path, strerror(errno));
    }
    o->fd = open(path, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (o->fd < 0 || fstat(o->fd, &found) != 0) {
        return err_set(err, ERR_FATAL, "limiter-observer %s: %s", path, strerror(errno));
    }
    return S_ISFIFO(found.st_mode) ||
           err_set(err, ERR_FATAL, "limiter-observer %s is no named pipe: give it another path",
                   path);
}

struct observer *observer_create(struct event_base *base, const char *path, struct door *door,
                                 struct stats *stats, struct err *err)
{
    struct observer *o = xcalloc(1, sizeof(*o));

    o->door = door;
    o->stats = stats;
    o->fd = -1;
    if (!open_pipe(o, path, err)) {
        goto failed;
    }
    o->bytes = evbuffer_new();
    o->readable = event_new(base, o->fd, EV_READ | EV_PERSIST, on_readable, o);
    if (o->bytes == NULL || o->readable == NULL || event_add(o->readable, NULL) != 0) {
        (void)err_set(err, ERR_FATAL, "no event for limiter-observer");
        goto failed;
    }
    return o;
failed:
    observer_destroy(o);
    return NULL;
}

void observer_destroy(struct observer *o)
{
    if (o == NULL) {
        return;
    }
    if (o->readable != NULL) {
        event_free(o->readable);
    }
    if (o->bytes != NULL) {
        evbuffer_free(o->bytes);
    }
    if (o->fd >= 0) {
        (void)close(o->fd);
    }
    free(o);
}
